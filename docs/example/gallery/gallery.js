// The page: one state, read from the address, shown in one of two views, changed by what people do.
"use strict";

let state;
let turn = 0; // counts what was asked for: what arrives late is not shown
let placeAtReturn = null; // {arm, replicate, level} at which a unit was closed, if it was taken to another level

/** Change the state, and the address with it; a unit that is opened can be left by going back. */
function go(changes, opens = false) {
  const asked = { ...state, ...changes };
  const from = state && viewOf(state);
  state = settle(asked);
  const isMoved = asked.layer !== null && asked.layer !== state.layer;
  const title = `${titleOfNetwork(networkOf(state))} has no layer ${asked.layer}`;
  complain("address", isMoved ? `${title}: ${state.layer} is shown.` : "");
  const address = addressOf(state);
  const url = address === "#" ? location.href.split("#")[0] : address;
  if (opens) history.pushState({ opened: true, from, level: state.level }, "", url);
  else history.replaceState(history.state, "", url);
  return show();
}

async function show() {
  const mine = ++turn;
  byId("enlarged").close();
  complain("enlarged", "");
  showNetworks(state);
  showPlaces(state);
  document.title = `${titleOf(state)}${gallery.about.name}: unit gallery`;
  try {
    const render = await VIEWS[viewOf(state)](state);
    if (mine !== turn) return;
    complain("layer", "");
    render();
  } catch (error) {
    if (mine === turn) showNoUnits(error.message);
  }
}

/** Change a filter, and go to where its units begin. */
function filter(changes) {
  go(changes);
  const top = byId("units").getBoundingClientRect().top + scrollY;
  if (scrollY > top) scrollTo(0, top);
}

/** Go where a link within the page leads, with a way back. */
function followLink(link) {
  const { hash } = new URL(link.href);
  state = readAddress(hash);
  go({}, true);
}

/** Back to all units, at the level that was gone to. */
function closeUnit() {
  if (!history.state?.opened) return go({ unit: null });
  const { arm, replicate, level } = state;
  placeAtReturn = level === history.state.level ? null : { arm, replicate, level };
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
  byId("graph").onclick = ({ target }) => toggle(target, "concept");
  byId("categories").onclick = ({ target }) => toggle(target, "category", { concept: "" });
  byId("since").onclick = ({ target }) => toggle(target, "since");
  byId("beside").onchange = ({ target }) => go({ beside: target.value ? besideLike(JSON.parse(target.value)) : null });
  byId("beside-level").onchange = ({ target }) => go({ beside: target.value });
  for (const choice of document.querySelectorAll("input[name=sort]")) {
    choice.onchange = () => filter({ sort: choice.value });
  }
  for (const button of document.querySelectorAll(".clear")) button.onclick = () => filter(NO_FILTERS);
  byId("controls").querySelector("form").onsubmit = (event) => event.preventDefault();

  byId("across").onclick = (event) => follow(event, ".level", ({ dataset }) => go({ level: Number(dataset.level) }));
  document.body.addEventListener("click", (event) => {
    if (!event.defaultPrevented) follow(event, 'a[href^="#"]:not(.skip)', followLink);
  });
  document.querySelector(".skip").onclick = (event) => {
    event.preventDefault(); // an address holds the view
    document.querySelector(event.target.hash).focus();
  };
  byId("close").onclick = closeUnit;
  byId("close-concept").onclick = () => (history.state?.opened ? history.back() : go({ about: null }));
  byId("download").onclick = () => downloadUnit(state, shownUnit);
  for (const button of document.querySelectorAll(".copy")) button.onclick = () => copy(button);
  listenToEnlarged();
  for (const id of ["unit-before", "unit-after"]) byId(id).onclick = ({ target }) => go({ unit: Number(target.value) });
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => fitColumns(target)));
  for (const grid of document.querySelectorAll(".grid")) sizes.observe(grid);
  document.onkeydown = onKey;
  window.onhashchange = () => {
    openAddress(placeAtReturn);
    placeAtReturn = null;
  };
  // What is printed is loaded at once, as far as the browser waits for it.
  window.onbeforeprint = () => document.querySelectorAll("[data-sheet]").forEach(showPictures);
}

/** Show what the address asks for, but at the level of a `place` in the same chain, and say what is not there. */
function openAddress(place) {
  const missing = missingIn(location.hash);
  state = readAddress(location.hash);
  const isSame = place && place.arm === state.arm && place.replicate === state.replicate;
  go(isSame ? { level: place.level } : {});
  const sentence = `This link asks for what this gallery does not have: ${missing}. The nearest view is shown.`;
  if (missing) complain("address", sentence);
}

/** Set a filter to the value of the button that was hit, or clear it if it has that value. */
function toggle(target, key, others = {}) {
  const button = target.closest("button");
  if (button) filter({ ...others, [key]: button.value === state[key] ? "" : button.value });
}

/** Of an arm and replicate the network at the chosen level, or at the last one before. */
function besideLike([arm, replicate]) {
  const levels = levelsOf({ arm, replicate });
  return nameOfNetwork(levelAt(levels, state.level));
}

/** Follow a link within the page, unless it is to open elsewhere. */
function follow(event, selector, act) {
  const link = event.target.closest(selector);
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  act(link);
}

function onKey(event) {
  const { key, target } = event;
  // With AltGr some keyboards write "[".
  const isCommand = (event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph");
  if (byId("enlarged").open) {
    if (!isCommand && ["ArrowLeft", "ArrowRight"].includes(key)) turnEnlarged(key === "ArrowLeft" ? -1 : 1);
    return;
  }
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
  const view = viewOf(state);
  if (view === "about") return key === "Escape" ? () => byId("close-concept").click() : undefined;
  if (view !== "unit") {
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
  const { name, quantile, detector_iou: cut, detector_rule: rule, images, enlarged_pixels } = gallery.about;
  byId("experiment").textContent = name;
  byId("quantile").textContent = percent(quantile);
  byId("cut").textContent = `${rule === "at_least" ? "at least" : "above"} ${cut}`;
  document.body.style.setProperty("--images", images);
  byId("enlarging").hidden = !enlarged_pixels;
  history.scrollRestoration = "manual"; // the page is empty until its data are there
  foldControls();
  listen();
  openAddress(null);
}

start();
