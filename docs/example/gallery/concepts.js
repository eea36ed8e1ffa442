// The views of concepts: all that are detected, at each level of the chosen network; and one, wherever it is detected.
"use strict";

// ---------------------------------------------------------------- all concepts

/** A row for each concept that is detected anywhere, or that a search finds: how many detectors at each level. */
function showConceptList(state, concepts, detectors) {
  const levels = levelsOf(state);
  const found = conceptRows(state, concepts, detectors, levels);
  const rows = found.filter(({ named }) => !state.category || categoryName(named) === state.category);
  const counts = new Map();
  for (const { named } of found) counts.set(categoryName(named), (counts.get(categoryName(named)) ?? 0) + 1);
  showCategories(state, counts);
  const most = Math.max(1, ...rows.flatMap((row) => row.counts));
  const head = [
    make("th", { scope: "col" }, "concept"),
    ...levels.map((network) => levelHead(state, network)),
    make("th", { scope: "col" }, "all detectors"),
    make("th", { scope: "col" }, "networks"),
  ];
  const addresses = addressUpTo(state, "about");
  const body = rows.map((row) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, nameOf(row.named, addresses)),
      ...row.counts.map((number) => heatCell(number, most)),
      make("td", {}, row.all),
      make("td", {}, row.networks),
    ),
  );
  byId("heat-map").replaceChildren(
    make("caption", {}, `Detectors in ${state.layer} of ${networkOf(state).name}, replicate ${state.replicate}`),
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...body),
  );
  byId("heat-map-region").hidden = !rows.length;
  byId("no-concept").hidden = rows.length > 0;
  byId("shown").textContent = count(rows.length, "concept");
  byId("facts").textContent = state.search.trim()
    ? `found among the ${count(concepts.length, "label")} of the concept set`
    : `detected in any network and layer; a search finds all ${count(concepts.length, "label")}`;
}

function levelHead(state, network) {
  const { level } = network;
  const text = percent(network.density);
  const link = make("a", { href: addressOf({ ...state, view: null, level }) }, text);
  const shown = layerOf(network, state.layer) ? link : text;
  const cell = make("th", { scope: "col" }, shown, " ", make("small", {}, `level ${level}`));
  if (level === state.level) cell.setAttribute("aria-current", "true");
  return cell;
}

/** How many detectors, or a dash where the level has no such layer. */
function heatCell(number, most) {
  const cell = make("td", { className: number ? "heat" : "" }, number ?? "–");
  cell.style.setProperty("--heat", `${6 + (34 * (number ?? 0)) / most}%`);
  return cell;
}

/** The concepts that the search finds, or without one those that are detected, with their numbers of detectors. */
function conceptRows(state, concepts, detectors, levels) {
  const text = state.search.trim().toLowerCase();
  const none = levels.map((network) => (layerOf(network, state.layer) ? 0 : null));
  const left = concepts.filter((each) => !text || isCalled(each, text));
  const rows = new Map(left.map((named) => [named.key, { named, counts: [...none], all: 0, networks: 0 }]));
  gallery.about.networks.forEach((network, index) => {
    const level = levels.indexOf(network);
    const seen = new Set();
    for (const { key, layer } of detectors[index]) {
      const row = rows.get(key);
      if (!row) continue;
      row.all += 1;
      if (!seen.has(key)) row.networks += 1;
      seen.add(key);
      if (level >= 0 && layer === state.layer) row.counts[level] += 1;
    }
  });
  const total = ({ counts }) => counts.reduce((sum, number) => sum + number, 0);
  return [...rows.values()]
    .filter(({ all }) => text || all)
    .sort(
      (one, other) => total(other) - total(one) || other.all - one.all || (one.named.key < other.named.key ? -1 : 1),
    );
}

// ---------------------------------------------------------------- one concept

const DETECTING = ["network", "weights remaining", "layer", "units"]; // columns

/** Examples of a concept, and which units of which networks and levels detect it. */
function showConcept(state, { concepts, problem, detectors }) {
  const named = concepts.find(({ key }) => key === state.about);
  byId("concept-title").textContent = named ? shownName(named) : state.about;
  const given = named && named.name !== shownName(named) ? ` · called “${named.name}” in the concept set` : "";
  byId("concept-place").textContent = named ? categoryName(named) + given : "";
  const examples = named ? examplesOf(named) : [make("p", {}, problem || "The concept set has no such label.")];
  byId("examples").replaceChildren(...examples);
  const rows = detectorRows(state.about, detectors);
  const found = rows.reduce((sum, { units }) => sum + units.length, 0);
  const networks = new Set(rows.map(({ network }) => network)).size;
  byId("detected").textContent = found
    ? `${count(found, "detector")}, in ${networks} of ${count(gallery.about.networks.length, "network")}. ` +
      "A unit counts once at each level, and for its best concept only: " +
      "its own page names others that it overlaps as well."
    : "No unit of any network detects it.";
  byId("detecting-region").hidden = !found;
  byId("detecting").replaceChildren(
    make("caption", {}, "Units whose best concept it is"),
    make("thead", {}, make("tr", {}, ...DETECTING.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map((row) => detectingRow(state, row))),
  );
  nearby.observe(byId("examples"));
}

function examplesOf(named) {
  const share = named.share > 0 ? `${percent(named.share)} of all pixels` : "no pixel";
  const facts = `Labelled in ${count(named.pictures, "picture")}, on ${share}.`;
  if (!named.shown) return [make("p", {}, facts)];
  const note = `${facts} Shown: the pictures with the most of it, dark outside the label.`;
  const description = `${count(named.shown, "picture")} labelled ${shownName(named)}`;
  return [rowOfSheet(named, description), make("p", { className: "muted" }, note)];
}

/** For each network and layer with detectors of a concept: their numbers. */
function detectorRows(key, detectors) {
  return gallery.about.networks.flatMap((network, index) =>
    network.layers
      .map((layer) => ({
        network,
        layer: layer.name,
        units: detectors[index].filter((each) => each.key === key && each.layer === layer.name).map(({ unit }) => unit),
      }))
      .filter(({ units }) => units.length),
  );
}

function detectingRow(state, { network, layer, units }) {
  const { arm, replicate, level } = network;
  const place = { ...state, ...NO_FILTERS, arm, replicate, level, layer, about: null, view: null };
  const addresses = addressUpTo(place, "unit");
  const links = units.flatMap((unit) => [make("a", { href: addresses + unit }, unit), " "]);
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, titleOfNetwork(network)),
    make("td", { className: "number" }, percent(network.density)),
    make("td", {}, layer),
    make("td", {}, make("span", { className: "numbers" }, ...links)),
  );
}
