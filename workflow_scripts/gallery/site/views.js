// The views: all units or all concepts of a layer, one unit, one concept.
"use strict";

let browseScroll = 0;
let unitSeen = null; // the last one that was open
let shownUnit = []; // at its levels, as of `unitAtLevels`

/** What each view loads, and then shows at once. */
const VIEWS = { browse: prepareBrowse, concepts: prepareConceptList, unit: prepareUnit, about: prepareConcept };

function viewOf({ about, unit, view }) {
  if (about !== null) return "about";
  if (unit !== null) return "unit";
  return view ?? "browse";
}

function titleOf(state) {
  const [, name] = (state.about ?? "").split(/\/(.*)/su);
  return { unit: `Unit ${state.unit}, `, about: `${name ?? state.about}, ` }[viewOf(state)] ?? "";
}

function showNoUnits(sentence) {
  complain("layer", sentence);
  turnTo("browse");
  for (const id of ["grid", "grid-beside", "graph", "heat-map"]) byId(id).replaceChildren();
  byId("shown").textContent = "No units";
  byId("facts").textContent = "";
}

/** The links to all units and to all concepts, of which one is shown. */
function showPlaces(state) {
  const at = viewOf(state);
  for (const [id, view] of [["to-units", null], ["to-concepts", "concepts"]]) {
    byId(id).href = addressOf({ ...state, view, unit: null, about: null });
    byId(id).setAttribute("aria-current", at === (view ?? "browse") ? "page" : "false");
  }
}

async function prepareBrowse(state) {
  const units = await loadUnits(networkOf(state), state.layer);
  const beside = await loadBeside(state);
  const [first] = levelsOf(state);
  noteSince(units, networkOf(state).same_units ? await unitsAt(first, state.layer).catch(() => null) : null);
  return () => {
    showFilters(state, units);
    showGraph(state, units);
    showCards(state, units, beside);
    showPane("units-pane");
    if (!turnTo("browse")) return;
    scrollTo(0, browseScroll);
    if (unitSeen !== null) byId("grid").querySelector(`[data-unit="${unitSeen}"]`)?.focus();
    unitSeen = null;
  };
}

/** The network beside the chosen one with its units, and whether they are the same units; or undefined. */
async function loadBeside(state) {
  const network = besideOf(state);
  if (!network) return undefined;
  const units = await unitsAt(network, state.layer);
  const { arm, replicate, level } = network;
  const corresponds = network.same_units && arm === state.arm && replicate === state.replicate;
  return { network, units, corresponds, place: { arm, replicate, level } };
}

async function prepareConceptList(state) {
  const detectors = await loadDetectors();
  const units = await loadUnits(networkOf(state), state.layer);
  return () => {
    showFilters(state, units);
    showConceptList(state, detectors);
    byId("elsewhere").hidden = true;
    showPane("concepts-pane");
    turnTo("browse");
  };
}

async function prepareConcept(state) {
  const [concepts, detectors] = await Promise.all([loadConcepts(), loadDetectors()]);
  return () => {
    showConcept(state, { concepts, detectors });
    if (!turnTo("about")) return;
    scrollTo(0, 0);
    byId("concept-title").focus({ preventScroll: true });
  };
}

async function prepareUnit(state) {
  const units = await loadUnits(networkOf(state), state.layer);
  const found = await unitAtLevels(state);
  const scale = scaleOf(found.flatMap(({ unit }) => unit ?? []));
  return () => {
    showUnitHead(state, units);
    showFocus(state, found, scale);
    showAcross(state, found, scale);
    shownUnit = found;
    unitSeen = state.unit;
    if (!turnTo("unit")) return;
    scrollTo(0, 0);
    byId("unit-title").focus({ preventScroll: true });
  };
}

/** Show the units of a layer, or its concepts. */
function showPane(id) {
  for (const pane of ["units-pane", "concepts-pane"]) byId(pane).hidden = pane !== id;
  document.body.dataset.pane = id;
}

/** Show one of the views; whether it was not shown before. */
function turnTo(id) {
  const isNew = byId(id).hidden;
  if (isNew && !byId("browse").hidden) browseScroll = scrollY;
  for (const section of ["browse", "unit", "about"]) byId(section).hidden = section !== id;
  document.body.dataset.view = id;
  return isNew;
}
