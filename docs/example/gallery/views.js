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
  const others = ["graph-title", "here", "there", "elsewhere", "nothing", "nothing-beside", "no-concept"];
  for (const id of others) byId(id).hidden = true;
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
  const here = await loadCompared(networkOf(state), state.layer);
  const beside = await loadBeside(state);
  return () => {
    complain("since", here.problem);
    showFilters(state, here);
    showGraph(state, here.units);
    showCards(state, here.units, beside);
    showPane("units-pane", "cards");
    if (!turnTo("browse")) return;
    scrollTo(0, browseScroll);
    if (unitSeen !== null) byId("grid").querySelector(`[data-unit="${unitSeen}"]`)?.focus();
    unitSeen = null;
  };
}

/** The network beside the chosen one, its units, and whether they are the same units; or undefined. */
async function loadBeside(state) {
  const network = besideOf(state);
  if (!network) return undefined;
  const { arm, replicate, level } = network;
  const corresponds = network.same_units && arm === state.arm && replicate === state.replicate;
  const found = { network, corresponds, place: { arm, replicate, level } };
  try {
    const { units, problem } = await loadCompared(network, state.layer);
    return { ...found, units, problem };
  } catch (error) {
    return { ...found, units: [], problem: error.message };
  }
}

async function prepareConceptList(state) {
  const [concepts, detectors] = await Promise.all([loadConcepts(), loadDetectors()]);
  return () => {
    showConceptList(state, concepts, detectors);
    byId("elsewhere").hidden = true;
    showPane("concepts-pane", "heat-map-region");
    if (turnTo("browse")) scrollTo(0, browseScroll);
  };
}

async function prepareConcept(state) {
  const detectors = await loadDetectors();
  let [concepts, problem] = [[], ""];
  try {
    concepts = await loadConcepts();
  } catch (error) {
    problem = error.message;
  }
  return () => {
    showConcept(state, { concepts, problem, detectors });
    if (!turnTo("about")) return;
    scrollTo(0, 0);
    byId("concept-title").focus({ preventScroll: true });
  };
}

async function prepareUnit(state) {
  const { units } = await loadCompared(networkOf(state), state.layer);
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

/** Show the units of a layer, or its concepts; `start` is where what is shown begins. */
function showPane(id, start) {
  for (const pane of ["units-pane", "concepts-pane"]) byId(pane).hidden = pane !== id;
  document.body.dataset.pane = id;
  document.querySelector(".skip").href = `#${start}`;
}

/** Show one of the views; whether it was not shown before. */
function turnTo(id) {
  const isNew = byId(id).hidden;
  if (isNew && !byId("browse").hidden) browseScroll = scrollY;
  for (const section of ["browse", "unit", "about"]) byId(section).hidden = section !== id;
  document.body.dataset.view = id;
  return isNew;
}
