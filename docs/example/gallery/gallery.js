// The page: one state, read from the address, shown in one of two views, changed by what people do.
"use strict";

let state;
let turn = 0; // counts what was asked for: what arrives late is not shown
let browseScroll = 0;
let changesAtReturn = {}; // to the state that is gone back to when a unit is closed
let unitSeen = null; // the last one that was open

/** Change the state, and the address with it; a unit that is opened can be left by going back. */
function go(changes, opens = false) {
  state = settle({ ...state, ...changes });
  const address = addressOf(state);
  const url = address === "#" ? location.href.split("#")[0] : address;
  if (opens) history.pushState({ opened: true }, "", url);
  else history.replaceState(history.state, "", url);
  return show();
}

async function show() {
  const mine = ++turn;
  showNetworks(state);
  document.title = `${state.unit === null ? "" : `Unit ${state.unit}, `}${gallery.about.name}: unit gallery`;
  let units;
  try {
    units = await loadUnits(networkOf(state), state.layer);
  } catch (error) {
    if (mine === turn) showNoUnits(error.message);
    return;
  }
  if (mine !== turn) return;
  complain("layer", "");
  if (state.unit === null) showBrowse(units);
  else await showUnit(units, mine);
}

function showNoUnits(sentence) {
  complain("layer", sentence);
  turnTo("browse");
  byId("grid").replaceChildren();
  byId("shown").textContent = "No units";
  byId("facts").textContent = "";
}

function showBrowse(units) {
  showFilters(state, units);
  showCards(state, units);
  if (!turnTo("browse")) return;
  scrollTo(0, browseScroll);
  if (unitSeen !== null) byId("grid").querySelector(`[data-unit="${unitSeen}"]`)?.focus();
  unitSeen = null;
}

async function showUnit(units, mine) {
  showUnitHead(state, units);
  const found = await unitAtLevels(state);
  if (mine !== turn) return;
  const scale = scaleOf(found.flatMap(({ unit }) => unit ?? []));
  showFocus(state, found, scale);
  showAcross(state, found, scale);
  unitSeen = state.unit;
  if (!turnTo("unit")) return;
  scrollTo(0, 0);
  byId("unit-title").focus({ preventScroll: true });
}

/** Show one of the views; whether it was not shown before. */
function turnTo(id) {
  const other = id === "unit" ? "browse" : "unit";
  const isNew = byId(id).hidden;
  if (isNew && !byId(other).hidden && id === "unit") browseScroll = scrollY;
  byId(other).hidden = true;
  byId(id).hidden = false;
  document.body.dataset.view = id;
  return isNew;
}

/** Change a filter, and go to where its units begin. */
function filter(changes) {
  go(changes);
  const top = byId("units").getBoundingClientRect().top + scrollY;
  if (scrollY > top) scrollTo(0, top);
}

/** Back to all units, at the level that was gone to. */
function closeUnit() {
  if (!history.state?.opened) return go({ unit: null });
  changesAtReturn = { level: state.level };
  history.back();
}

/** Go so many levels on; an open unit goes along, where it is the same unit there. */
function goToLevel(step) {
  const network = levelBeside(state, step);
  if (network && (state.unit === null || network.same_units)) go({ level: network.level });
}

// ---------------------------------------------------------------- what people do

function listen() {
  byId("network").onchange = ({ target }) => {
    const [arm, replicate] = JSON.parse(target.value);
    go({ arm, replicate });
  };
  byId("layer").onchange = ({ target }) => go({ layer: target.value });
  byId("levels").onchange = ({ target }) => go({ level: Number(target.value) });
  byId("level-before").onclick = () => goToLevel(-1);
  byId("level-after").onclick = () => goToLevel(1);
  byId("search").oninput = ({ target }) => filter({ search: target.value });
  byId("detectors").onchange = ({ target }) => filter({ detectors: target.checked });
  byId("concept").onchange = ({ target }) => filter({ concept: target.value });
  byId("categories").onclick = ({ target }) => {
    const chip = target.closest("button");
    if (chip) filter({ category: chip.value === state.category ? "" : chip.value, concept: "" });
  };
  for (const choice of document.querySelectorAll("input[name=sort]")) {
    choice.onchange = () => filter({ sort: choice.value });
  }
  byId("clear").onclick = () => filter(NO_FILTERS);
  byId("controls").querySelector("form").onsubmit = (event) => event.preventDefault();

  byId("grid").onclick = (event) => follow(event, ".card", ({ unit }) => go({ unit: Number(unit) }, true));
  byId("across").onclick = (event) => follow(event, ".level", ({ level }) => go({ level: Number(level) }));
  byId("close").onclick = closeUnit;
  for (const id of ["unit-before", "unit-after"]) byId(id).onclick = ({ target }) => go({ unit: Number(target.value) });
  new ResizeObserver(fitColumns).observe(byId("grid"));
  document.onkeydown = onKey;
  window.onhashchange = () => {
    state = readAddress(location.hash);
    go(changesAtReturn);
    changesAtReturn = {};
  };
  // What is printed is loaded at once, as far as the browser waits for it.
  window.onbeforeprint = () => document.querySelectorAll("[data-sheet]").forEach(showPictures);
}

/** Follow a link within the page, unless it is to open elsewhere. */
function follow(event, selector, act) {
  const link = event.target.closest(selector);
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  act(link.dataset);
}

function onKey(event) {
  const { key, target } = event;
  // With AltGr some keyboards write "[".
  const isCommand = (event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph");
  if (isCommand || target.matches("input[type=search], select")) return;
  const act = actionOf(key, target);
  if (!act) return;
  event.preventDefault();
  act();
}

/** What a key does, or undefined. */
function actionOf(key, target) {
  if (key === "[") return () => goToLevel(-1);
  if (key === "]") return () => goToLevel(1);
  if (state.unit === null) {
    if (key === "/") return () => byId("search").focus();
    const card = target.matches(".card") ? cardBeside(target, key) : undefined;
    return card && (() => card.focus());
  }
  if (key === "Escape") return closeUnit;
  if (key === "ArrowLeft") return () => byId("unit-before").click();
  if (key === "ArrowRight") return () => byId("unit-after").click();
}

/** On a narrow screen the units come first: the filters open when they are asked for. */
function foldControls() {
  const narrow = matchMedia("(max-width: 760px)");
  narrow.onchange = () => (byId("controls").open = !narrow.matches);
  narrow.onchange();
}

function start() {
  if (!gallery.about?.networks?.length) {
    complain("experiment", "experiment.js is missing or damaged, or lists no network. Run the workflow again.");
    return;
  }
  const { name, quantile, detector_iou: cut, detector_rule: rule, images } = gallery.about;
  byId("experiment").textContent = name;
  byId("quantile").textContent = percent(quantile);
  byId("cut").textContent = `${rule === "at_least" ? "at least" : "above"} ${cut}`;
  document.body.style.setProperty("--images", images);
  history.scrollRestoration = "manual"; // the page is empty until its data are there
  foldControls();
  listen();
  state = readAddress(location.hash);
  go({});
}

start();
