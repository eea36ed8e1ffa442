// The view of all units of a layer: what is chosen at the left, the cards beside it.
"use strict";

/** The units that a state's filters leave, in its order. */
function chosenUnits(state, units) {
  const chosen = units.filter((unit) => passes(state, unit));
  // All orders are stable: equals stay in the order of their numbers.
  if (state.sort !== "unit") chosen.sort((one, other) => (other.best[0]?.iou ?? 0) - (one.best[0]?.iou ?? 0));
  if (state.sort === "concept") chosen.sort(byName);
  return chosen;
}

/** Detectors by the names of their concepts, before all others. */
function byName(one, other) {
  const [name, otherName] = [one, other].map((unit) => (unit.detector ? shownName(unit.best[0]).toLowerCase() : ""));
  if (!name || !otherName || name === otherName) return Number(!name) - Number(!otherName);
  return name < otherName ? -1 : 1;
}

function passes(state, unit) {
  const named = namedConcept(unit);
  return (
    (!state.detectors || unit.detector) &&
    (!state.category || (named && categoryName(named) === state.category)) &&
    (!state.concept || (named && keyOf(named) === state.concept)) &&
    (!state.since || (state.since === "dead" ? unit.dead : unit.since === state.since)) &&
    isFound(state.search, unit)
  );
}

/** The concept that a unit detects, or undefined. */
function namedConcept(unit) {
  return unit.detector ? unit.best[0] : undefined;
}

/** Whether a search finds a unit: by its number, or by part of the name of a concept that its card lists. */
function isFound(search, unit) {
  const text = search.trim().toLowerCase();
  return !text || unitNumber(search) === unit.number || listedConcepts(unit).some((each) => isCalled(each, text));
}

/** The number that a search is for: of "17", "unit 17" or "#17" it is 17; null if it is for a name. */
function unitNumber(search) {
  const [, number] = /^\s*(?:unit)?\s*#?(\d+)\s*$/iu.exec(search) ?? [];
  return number === undefined ? null : Number(number);
}

/** Whether a text in lower case is part of a concept's name, as people read it or as the set has it. */
function isCalled(each, text) {
  return [shownName(each), each.name].some((name) => name.toLowerCase().includes(text));
}

/** The best concept, and the others above the IoU threshold. */
function listedConcepts(unit) {
  return unit.best.filter(({ iou }, rank) => rank === 0 || isDetected(iou));
}

/** What became of a unit's name: kept, renamed, lost or new; nothing where it never had one. */
function changeSince(before, unit) {
  const [name, now] = [namedConcept(before), namedConcept(unit)];
  if (!name) return now ? "new" : "";
  if (!now) return "lost";
  return keyOf(name) === keyOf(now) ? "kept" : "renamed";
}

// ---------------------------------------------------------------- cards

// Cards stand in blocks, which the browser passes over as a whole while they are off the screen: two thousand cards one
// by one are too many to look at in every frame. A block has whole rows, so its height is known before it is laid out.
const COLUMNS = [12, 8, 6, 4, 3, 2, 1];
const CARDS_OF_BLOCK = 24; // a multiple of each
const LEAST_TILE = 60; // pixels
const LEAST_CARD = 230; // pixels: a name has room

const nearBlocks = whenNear("50%", (block) => [...block.children].forEach((card) => nearby.observe(card)));

const cards = new WeakMap(); // grid -> {units, scale, elements}

/** Show the cards of a network, and perhaps those of another beside it, as `loadBeside` returns it. */
function showCards(state, units, beside) {
  const scale = scaleOf([...units, ...(beside?.units ?? [])]);
  nearby.disconnect();
  nearBlocks.disconnect();
  const chosen = chosenUnits(state, units);
  fillGrid("grid", state, units, chosen, scale);
  byId("cards").classList.toggle("two", Boolean(beside));
  for (const id of ["here", "there", "grid-beside"]) byId(id).hidden = !beside;
  byId("nothing-beside").hidden = true;
  if (beside) showCardsBeside(state, beside, chosen, scale);
  byId("nothing").hidden = chosen.length > 0;
  showCount(state, chosen.length, units.length);
}

function showCardsBeside(state, beside, chosen, scale) {
  byId("here").textContent = titleOfNetwork(networkOf(state));
  const facts = beside.problem || factsOf(beside.network, state.layer);
  byId("there").textContent = `${titleOfNetwork(beside.network)}: ${facts}`;
  const there = { ...state, ...beside.place };
  const others = beside.corresponds
    ? chosen.map(({ number }) => beside.units[number]).filter(Boolean)
    : chosenUnits(there, beside.units);
  fillGrid("grid-beside", there, beside.units, others, scale);
  byId("nothing-beside").hidden = others.length > 0 || Boolean(beside.problem);
}

function titleOfNetwork({ name, replicate, level }) {
  return `${name}, replicate ${replicate}, level ${level}`;
}

function fillGrid(id, state, units, chosen, scale) {
  const grid = byId(id);
  if (cards.get(grid)?.units !== units || cards.get(grid).scale !== scale) {
    cards.set(grid, { units, scale, elements: units.map((unit) => makeCard(unit, scale)) });
  }
  const addresses = addressUpTo({ ...state, beside: null }, "unit");
  const elements = chosen.map((unit) => cards.get(grid).elements[unit.number]);
  for (const element of elements) element.href = addresses + element.dataset.unit;
  // At the next level the focus is on the unit of that number.
  renew(grid, "data-unit", () => grid.replaceChildren(...blocksOf(elements)));
}

function blocksOf(elements) {
  const blocks = [];
  for (let first = 0; first < elements.length; first += CARDS_OF_BLOCK) {
    blocks.push(make("div", { className: "block" }, ...elements.slice(first, first + CARDS_OF_BLOCK)));
    nearBlocks.observe(blocks.at(-1));
  }
  return blocks;
}

/** As many columns as there is room for, and the height of the blocks that follows. */
function fitColumns(grid) {
  const { clientWidth: width } = grid;
  if (!width) return; // not shown
  const { images } = gallery.about;
  const columns = COLUMNS.find((most) => width / most >= Math.max(images * LEAST_TILE, LEAST_CARD)) ?? 1;
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--rows", CARDS_OF_BLOCK / columns);
  grid.style.setProperty("--width", `${width}px`);
}

function makeCard(unit, scale) {
  const [best, ...others] = listedConcepts(unit);
  const line = make("span", { className: "line" }, make("b", {}, `unit ${unit.number}`), " ");
  const about = make("span", { className: "about" }, line);
  if (best) {
    line.append(nameOf(best), " ", make("span", { className: "iou" }, three(best.iou)));
    about.append(bar(best, scale));
  }
  const also = others.map((other) => `${shownName(other)} ${three(other.iou)}`).join(", ");
  const note = unit.detector ? also && `also ${also}` : "not a detector";
  about.append(make("span", { className: "also" }, note));
  const card = make("a", { className: unit.detector ? "card" : "card weak" }, strip(unit), about);
  card.dataset.unit = unit.number;
  return card;
}

function showCount(state, shown, all) {
  byId("shown").textContent = shown === all ? count(all, "unit") : `${shown} of ${count(all, "unit")}`;
  byId("facts").textContent = factsOf(networkOf(state), state.layer);
  byId("elsewhere").hidden = !state.search.trim() || unitNumber(state.search) !== null;
  byId("elsewhere").href = addressOf({ ...state, view: "concepts" });
  byId("elsewhere").textContent = `Concepts called “${state.search.trim()}” in all networks and levels`;
}

function factsOf(network, layerName) {
  const layer = layerOf(network, layerName);
  return [
    layer && `${count(layer.detectors, "detector")} of ${count(layer.concepts, "concept")}`,
    `accuracy ${percent(network.accuracy)}`,
    weights(network),
  ]
    .filter(Boolean)
    .join(" · ");
}

/** The card to which an arrow key leads, or undefined. */
function cardBeside(card, key) {
  const grid = card.closest(".grid");
  const across = Number(grid.style.getPropertyValue("--columns"));
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  const all = [...grid.querySelectorAll(".card")];
  return step && all[all.indexOf(card) + step];
}

// ---------------------------------------------------------------- detectors by concept

/** A bar for each concept that the other filters leave, as high as it has detectors; a click filters by it. */
function showGraph(state, units) {
  const counts = countConcepts(state, units);
  const most = Math.max(...counts.map(([, number]) => number));
  byId("graph-title").hidden = !counts.length;
  byId("graph-title").firstElementChild.textContent = `Detectors by concept (${count(counts.length, "concept")})`;
  const bars = counts.map(([key, number, named]) => {
    const fill = make("i", { className: colourOf(named.category) });
    const name = make("span", {}, shownName(named));
    const label = `${shownName(named)}, ${categoryName(named)}: ${count(number, "detector")}`;
    const button = make("button", { type: "button", value: key, title: label }, make("b", {}, number), fill, name);
    button.style.setProperty("--share", number / most);
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-pressed", key === state.concept);
    return button;
  });
  renew(byId("graph"), "value", () => byId("graph").replaceChildren(...bars));
}

/** [key, number of detectors, concept] of each concept that the filters but that of concepts leave, the most first. */
function countConcepts(state, units) {
  const named = new Map();
  const counts = countOf(units, { ...state, concept: "" }, (each) => {
    named.set(keyOf(each), each);
    return keyOf(each);
  });
  return [...counts]
    .sort(([one, n], [other, m]) => m - n || (one < other ? -1 : 1))
    .map(([key, number]) => [key, number, named.get(key)]);
}
