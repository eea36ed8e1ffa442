// What is chosen at the left: the network, its level, and which of its units are shown.
"use strict";

function showNetworks(state) {
  byId("network").replaceChildren(...networkChoices());
  byId("network").value = JSON.stringify([state.arm, state.replicate]);
  const layers = networkOf(state).layers.map((layer) => make("option", { value: layer.name }, layer.name));
  byId("layer").replaceChildren(...layers);
  byId("layer").value = state.layer;
  byId("layer-field").hidden = layers.length < 2;
  showLevels(state);
  showBeside(state);
}

/** An option for each arm and replicate. */
function networkChoices() {
  const choices = new Map();
  for (const { arm, name, replicate } of gallery.about.networks) {
    const value = JSON.stringify([arm, replicate]);
    choices.set(value, make("option", { value }, `${name}, replicate ${replicate}`));
  }
  return choices.values();
}

/** The network beside the chosen one: its arm and replicate, and its level. */
function showBeside(state) {
  const beside = besideOf(state);
  byId("beside").replaceChildren(make("option", { value: "" }, "none"), ...networkChoices());
  byId("beside").value = beside ? JSON.stringify([beside.arm, beside.replicate]) : "";
  const levels = beside ? levelsOf(beside) : [];
  byId("beside-level").replaceChildren(
    ...levels.map((each) => make("option", { value: nameOfNetwork(each) }, `level ${each.level}, ${weights(each)}`)),
  );
  byId("beside-level").value = state.beside ?? "";
  byId("beside-level").hidden = levels.length < 2;
  byId("beside-field").hidden = gallery.about.networks.length < 2;
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
  const layer = layerOf(network, layerName);
  const detectors = layer ? `${layer.detectors} of ${layer.units} units are detectors` : "this layer is not there";
  const text = `level ${network.level}: ${weights(network)}, ${detectors}`;
  const input = make("input", { type: "radio", name: "level", value: network.level, ariaLabel: text });
  const height = make("span", { className: "height" });
  height.style.setProperty("--share", `${layer ? (100 * layer.detectors) / Math.max(1, layer.units) : 0}%`);
  return make("label", { title: text }, input, height);
}

function showFilters(state, { units, compared }) {
  byId("detectors").checked = state.detectors;
  document.querySelector(`input[name=sort][value=${state.sort}]`).checked = true;
  showCategories(state, countOf(units, { ...state, category: "", concept: "" }, categoryName));
  showConcepts(state, units);
  showSince(state, units, compared);
}

/** How many detectors have each value, of those that the other filters leave. */
function countOf(units, state, valueOf) {
  const counts = new Map();
  for (const unit of units) {
    const named = namedConcept(unit);
    if (!named || !passes(state, unit)) continue;
    counts.set(valueOf(named), (counts.get(valueOf(named)) ?? 0) + 1);
  }
  return counts;
}

/** The search, and a button for each category with its number of what is searched. */
function showCategories(state, counts) {
  byId("search").value = state.search;
  const place = byId("categories");
  if (!place.children.length) place.append(...gallery.about.categories.map(categoryChip));
  for (const button of place.children) showChip(button, state.category, counts.get(button.value) ?? 0);
}

function categoryChip(name, index) {
  return chip(name, make("i", { className: `dot ${colourOf(index)}` }), make("span", {}, name));
}

function chip(value, ...content) {
  return make("button", { type: "button", className: "chip", value }, ...content, " ", make("b"));
}

function showChip(button, chosen, number) {
  button.setAttribute("aria-pressed", button.value === chosen);
  button.lastChild.textContent = number;
}

function showConcepts(state, units) {
  const counts = countConcepts(state, units);
  const options = counts.map(([value, number, named]) => make("option", { value }, `${shownName(named)} (${number})`));
  if (state.concept && !counts.some(([key]) => key === state.concept)) {
    options.push(make("option", { value: state.concept }, `${state.concept} (0)`));
  }
  byId("concept").replaceChildren(make("option", { value: "" }, `all concepts (${counts.length})`), ...options);
  byId("concept").value = state.concept;
}

/** How many units have become what since the first level, if they are compared with it, and how many are dead. */
function showSince(state, units, compared) {
  const place = byId("since");
  if (!place.children.length) place.append(...SINCE.map((value) => chip(value, make("span", {}, value))));
  const left = units.filter((unit) => passes({ ...state, since: "" }, unit));
  for (const button of place.children) {
    const isDead = button.value === "dead";
    showChip(button, state.since, left.filter((unit) => (isDead ? unit.dead : unit.since === button.value)).length);
    button.hidden = !compared && !isDead && state.since !== button.value;
  }
  byId("since-title").textContent = compared ? `Since level ${levelsOf(state)[0].level}` : "State";
}
