// The address: all that is chosen stands behind its #, as far as it differs from the default.
"use strict";

const NO_FILTERS = { category: "", concept: "", search: "", detectors: false, since: "" };
const SORTS = ["iou", "concept", "unit"];
const SINCE = ["kept", "renamed", "lost", "new", "dead"]; // what became of a unit since the first level

/** What an address says, made to fit what there is: readAddress("#level=3&unit=17"). */
function readAddress(hash) {
  const given = wordsOf(hash);
  return settle({
    arm: given.get("arm"),
    replicate: numberOr(given.get("replicate"), null),
    level: numberOr(given.get("level"), 0),
    layer: given.get("layer"),
    sort: given.get("sort"),
    category: given.get("category") ?? "",
    concept: given.get("concept") ?? "",
    search: given.get("search") ?? "",
    detectors: given.get("detectors") === "1",
    since: given.get("since") ?? "",
    beside: given.get("beside"),
    view: given.get("view"),
    unit: numberOr(given.get("unit"), null),
    about: given.get("about"),
  });
}

function wordsOf(hash) {
  return new URLSearchParams(hash.replace(/^#/u, ""));
}

/** What an address asks for that is not there, in words; empty if all is there. */
function missingIn(hash) {
  const found = readAddress(hash);
  const missing = [...wordsOf(hash)].filter(([key, value]) => !isShown(found[key], value));
  return missing.map(([key, value]) => `${key} ${value}`).join(", ");
}

function isShown(found, asked) {
  return found === true ? asked === "1" : found !== undefined && String(found ?? "") === asked;
}

function numberOr(text, otherwise) {
  return /^\d{1,9}$/u.test(text ?? "") ? Number(text) : otherwise;
}

/** The same state with what does not exist replaced by what does. */
function settle(state) {
  const { networks, categories } = gallery.about;
  const pick = (list, key) => list.filter((network) => network[key] === state[key]);
  const first = (list, key) => list.filter((network) => network[key] === list[0][key]);
  const found = (list, key) => (pick(list, key).length ? pick(list, key) : first(list, key));
  const levels = found(found(networks, "arm"), "replicate");
  const network = levelAt(levels, state.level);
  const layer = layerOf(network, state.layer) ?? network.layers[0];
  return {
    ...state,
    arm: network.arm,
    replicate: network.replicate,
    level: network.level,
    layer: layer.name,
    sort: SORTS.includes(state.sort) ? state.sort : SORTS[0],
    since: SINCE.includes(state.since) ? state.since : "",
    beside: networks.some((each) => nameOfNetwork(each) === state.beside) ? state.beside : null,
    view: state.view === "concepts" ? "concepts" : null,
    category: categories.includes(state.category) ? state.category : "",
    unit: state.unit !== null && state.unit < layer.units ? state.unit : null,
  };
}

/** The address of a state: "#level=3&unit=17". What would be read the same without standing there is left out. */
function addressOf(state) {
  const { networks } = gallery.about;
  const ofArm = networks.filter(({ arm }) => arm === state.arm);
  const levels = levelsOf(state);
  const unsaid = {
    ...{ arm: networks[0].arm, replicate: ofArm[0].replicate, level: levelAt(levels, 0).level },
    ...{ layer: networkOf(state).layers[0].name, sort: SORTS[0] },
  };
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    const isSaid = value !== null && value !== "" && value !== false && value !== unsaid[key];
    if (isSaid) words.set(key, value === true ? "1" : value);
  }
  return `#${words}`;
}

/** How the addresses begin that differ from a state in the value of one key, which is to follow. */
function addressUpTo(state, key) {
  const address = addressOf({ ...state, [key]: null });
  return `${address === "#" ? "#" : `${address}&`}${key}=`;
}

/** Of the networks of an arm and replicate the one at a level, or at the last level before. */
function levelAt(levels, level) {
  return levels.findLast((network) => network.level <= level) ?? levels[0];
}

/** What addresses call a network. */
function nameOfNetwork({ arm, replicate, level }) {
  return `${arm}/${replicate}/${level}`;
}

/** The network beside the chosen one, or undefined. */
function besideOf(state) {
  return gallery.about.networks.find((network) => nameOfNetwork(network) === state.beside);
}

/** The networks of the chosen arm and replicate, by level. */
function levelsOf(state) {
  return gallery.about.networks.filter(
    (network) => network.arm === state.arm && network.replicate === state.replicate,
  );
}

function networkOf(state) {
  return levelsOf(state).find((network) => network.level === state.level);
}

/** The network so many levels after this one, or undefined. */
function levelBeside(state, step) {
  const levels = levelsOf(state);
  return levels[levels.findIndex((network) => network.level === state.level) + step];
}
