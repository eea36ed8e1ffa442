// The view of all units of a layer: what is chosen at the left, the cards beside it.
"use strict";

/** The units that a state's filters leave, in its order. */
function chosenUnits(state, units) {
  const chosen = units.filter((unit) => passes(state, unit));
  // Both orders are stable: equal IoUs stay in the order of their numbers.
  if (state.sort === "iou") chosen.sort((one, other) => (other.best[0]?.iou ?? 0) - (one.best[0]?.iou ?? 0));
  return chosen;
}

function passes(state, unit) {
  const [named] = unit.best;
  return (
    (!state.detectors || unit.detector) &&
    (!state.category || (named && categoryName(named) === state.category)) &&
    (!state.concept || named?.name === state.concept) &&
    isFound(state.search, unit)
  );
}

/** Whether a search finds a unit: by its number, or by part of the name of a concept that its card lists. */
function isFound(search, unit) {
  const text = search.trim().toLowerCase();
  return (
    !text || text === String(unit.number) || listedConcepts(unit).some((each) => each.name.toLowerCase().includes(text))
  );
}

/** The best concept, and the others past the cut. */
function listedConcepts(unit) {
  return unit.best.filter(({ iou }, rank) => rank === 0 || isDetected(iou));
}

// ---------------------------------------------------------------- cards

// Cards stand in blocks, which the browser passes over as a whole while they are off the screen: two thousand cards one
// by one are too many to look at in every frame. A block has whole rows, so its height is known before it is laid out.
const COLUMNS = [12, 8, 6, 4, 3, 2, 1];
const CARDS_OF_BLOCK = 24; // a multiple of each
const LEAST_TILE = 60; // pixels

const nearBlocks = whenNear("50%", (block) => [...block.children].forEach((card) => nearby.observe(card)));

let cards = { units: null, elements: [] };

function showCards(state, units) {
  const grid = byId("grid");
  if (cards.units !== units) cards = { units, elements: makeCards(units) };
  const chosen = chosenUnits(state, units);
  const address = addressOf({ ...state, unit: null });
  const prefix = address === "#" ? "#unit=" : `${address}&unit=`;
  const elements = chosen.map((unit) => cards.elements[unit.number]);
  for (const element of elements) element.href = prefix + element.dataset.unit;
  const focused = document.activeElement.dataset.unit;
  nearby.disconnect();
  nearBlocks.disconnect();
  grid.replaceChildren(...blocksOf(elements));
  // At the next level the focus is on the unit of that number.
  if (focused) grid.querySelector(`[data-unit="${focused}"]`)?.focus();
  byId("nothing").hidden = chosen.length > 0;
  showCount(state, chosen.length, units.length);
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
function fitColumns() {
  const grid = byId("grid");
  const { clientWidth: width } = grid;
  if (!width) return; // not shown
  const { images } = gallery.about;
  const columns = COLUMNS.find((most) => width / most >= images * LEAST_TILE) ?? 1;
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--rows", CARDS_OF_BLOCK / columns);
  grid.style.setProperty("--width", `${width}px`);
}

function makeCards(units) {
  const scale = scaleOf(units);
  return units.map((unit) => makeCard(unit, scale));
}

function makeCard(unit, scale) {
  const [named, ...others] = listedConcepts(unit);
  const line = make("span", { className: "line" }, make("b", {}, `unit ${unit.number}`));
  const about = make("span", { className: "about" }, line);
  if (named) {
    line.append(concept(named), make("span", { className: "iou" }, three(named.iou)));
    about.append(bar(named, scale));
  }
  const also = others.map((other) => `${other.name} ${three(other.iou)}`).join(", ");
  const note = unit.detector ? also && `also ${also}` : "not a detector";
  about.append(make("span", { className: "also" }, note));
  const card = make("a", { className: unit.detector ? "card" : "card weak" }, strip(unit), about);
  card.dataset.unit = unit.number;
  return card;
}

/** A concept's name, behind its category's colour and before its name. */
function concept({ name, category }) {
  return make(
    "span",
    { className: "concept" },
    make("i", { className: `dot ${colourOf(category)}` }),
    make("span", { className: "name", title: name }, name),
    make("small", {}, gallery.about.categories[category]),
  );
}

function showCount(state, shown, all) {
  const network = networkOf(state);
  const layer = network.layers.find(({ name }) => name === state.layer);
  byId("shown").textContent = shown === all ? count(all, "unit") : `${shown} of ${count(all, "unit")}`;
  byId("facts").textContent = [
    `${count(layer.detectors, "detector")} of ${count(layer.concepts, "concept")}`,
    `accuracy ${percent(network.accuracy)}`,
    weights(network),
  ].join(" · ");
}

/** The card to which an arrow key leads, or undefined. */
function cardBeside(card, key) {
  const across = Number(byId("grid").style.getPropertyValue("--columns"));
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  const all = [...byId("grid").querySelectorAll(".card")];
  return step && all[all.indexOf(card) + step];
}

// ---------------------------------------------------------------- what is chosen

function showNetworks(state) {
  const choices = new Map();
  for (const { arm, name, replicate } of gallery.about.networks) {
    const value = JSON.stringify([arm, replicate]);
    choices.set(value, make("option", { value }, `${name}, ${replicate}`));
  }
  byId("network").replaceChildren(...choices.values());
  byId("network").value = JSON.stringify([state.arm, state.replicate]);
  const layers = networkOf(state).layers.map((layer) => make("option", { value: layer.name }, layer.name));
  byId("layer").replaceChildren(...layers);
  byId("layer").value = state.layer;
  byId("layer-field").hidden = layers.length < 2;
  showLevels(state);
}

/** A bar for each level, as high as its share of detectors, to choose among. */
function showLevels(state) {
  const levels = levelsOf(state);
  const [place, now] = [byId("levels"), networkOf(state)];
  const shown = JSON.stringify([state.arm, state.replicate, state.layer]);
  if (place.dataset.shown !== shown) {
    place.dataset.shown = shown;
    place.replaceChildren(...levels.map((network) => levelChoice(network, state.layer)));
  }
  place.querySelector(`input[value="${now.level}"]`).checked = true;
  byId("level-now").textContent = `${percent(now.density)}, level ${now.level}`;
  byId("level-before").disabled = !levelBeside(state, -1);
  byId("level-after").disabled = !levelBeside(state, 1);
  byId("level-field").hidden = levels.length < 2;
}

function levelChoice(network, layerName) {
  const layer = network.layers.find(({ name }) => name === layerName);
  const detectors = layer ? `${layer.detectors} of ${layer.units} units are detectors` : "this layer is not there";
  const text = `level ${network.level}: ${weights(network)}, ${detectors}`;
  const input = make("input", { type: "radio", name: "level", value: network.level, ariaLabel: text });
  const height = make("span", { className: "height" });
  height.style.setProperty("--share", `${layer ? (100 * layer.detectors) / Math.max(1, layer.units) : 0}%`);
  return make("label", { title: text }, input, height);
}

function showFilters(state, units) {
  byId("search").value = state.search;
  byId("detectors").checked = state.detectors;
  document.querySelector(`input[name=sort][value=${state.sort}]`).checked = true;
  showCategories(state, units);
  showConcepts(state, units);
}

/** How many units have each value, of those that the other filters leave. */
function countOf(units, state, keyOf) {
  const counts = new Map();
  for (const unit of units) {
    const key = unit.best.length > 0 && passes(state, unit) ? keyOf(unit.best[0]) : undefined;
    if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function showCategories(state, units) {
  const counts = countOf(units, { ...state, category: "", concept: "" }, categoryName);
  const place = byId("categories");
  if (!place.children.length) place.append(...gallery.about.categories.map(categoryChip));
  for (const chip of place.children) {
    chip.setAttribute("aria-pressed", chip.value === state.category);
    chip.lastChild.textContent = counts.get(chip.value) ?? 0;
  }
}

function categoryChip(name, index) {
  const dot = make("i", { className: `dot ${colourOf(index)}` });
  return make("button", { type: "button", className: "chip", value: name }, dot, make("span", {}, name), make("b"));
}

function showConcepts(state, units) {
  const counts = countOf(units, { ...state, concept: "" }, (named) => named.name);
  if (state.concept && !counts.has(state.concept)) counts.set(state.concept, 0);
  const byCount = [...counts].sort(([one, n], [other, m]) => m - n || (one < other ? -1 : 1));
  byId("concept").replaceChildren(
    make("option", { value: "" }, `any of ${counts.size}`),
    ...byCount.map(([name, count]) => make("option", { value: name }, `${name} (${count})`)),
  );
  byId("concept").value = state.concept;
}
