// What both views are made of. Text from the data goes into the page as text, never as HTML.
"use strict";

function byId(id) {
  return document.getElementById(id);
}

/** An element: make("p", {className: "count"}, "text", child, ...). */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** 0.0625 as "6.2 %", 0.0039 as "0.39 %". */
function percent(share) {
  if (share === null) return "not measured";
  const value = 100 * share;
  return `${Number(value >= 1 ? value.toFixed(1) : value.toPrecision(2))}\u00A0%`;
}

function weights(network) {
  return network.density === null ? "density not known" : `${percent(network.density)} of the weights`;
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** An IoU to three digits after the point. */
function three(iou) {
  return iou.toFixed(3);
}

function shortNumber(value) {
  return value === null ? "not measured" : String(Number(value.toPrecision(3)));
}

/** A concept's name as people read it: underscores, and Broden's endings of scenes and colours, are left out. */
function shownName({ name, category }) {
  const ending = { scene: "-s", color: "-c" }[gallery.about.categories[category]];
  const bare = ending && name.endsWith(ending) ? name.slice(0, -ending.length) : name;
  return bare.replaceAll("_", " ").trim() || name;
}

function categoryName({ category }) {
  return gallery.about.categories[category];
}

/** The class that gives a category its colour. */
function colourOf(category) {
  return `category-${category % 8}`;
}

/** The end of the bars' scale for some units: their largest IoU, to the next tenth. */
function scaleOf(units) {
  const largest = units.reduce((most, unit) => Math.max(most, unit.best[0]?.iou ?? 0), gallery.about.detector_iou);
  return Math.min(1, Math.ceil(10 * largest - 1e-9) / 10);
}

/** A concept's name between its category's colour and name; a link if it is given how addresses of concepts begin. */
function nameOf({ name, category }, addresses) {
  const look = { className: "name", title: name };
  const text = shownName({ name, category });
  const href = addresses && addresses + encodeURIComponent(keyOf({ name, category }));
  return make(
    "span",
    { className: "concept" },
    make("i", { className: `dot ${colourOf(category)}` }),
    href ? make("a", { ...look, href }, text) : make("span", look, text),
    make("small", {}, gallery.about.categories[category]),
  );
}

/** A bar as long as an IoU, with a mark at the IoU threshold. */
function bar({ category, iou }, scale) {
  const element = make("span", { className: `bar ${colourOf(category)}` }, make("i"));
  element.style.setProperty("--length", `${(100 * iou) / scale}%`);
  element.style.setProperty("--cut", `${(100 * gallery.about.detector_iou) / scale}%`);
  return element;
}

const missingSheets = new Set();
const loadedSheets = new Set();

/** Observes elements, and acts on each once it comes near the screen: within `margin` of its height. */
function whenNear(margin, act) {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        act(target);
      }
    },
    { rootMargin: `${margin} 0px` },
  );
  return observer;
}

const nearby = whenNear("25%", (target) => target.querySelectorAll("[data-sheet]").forEach(showPictures));

/** The pictures of a unit, or why there are none. */
function strip(unit) {
  if (!unit.shown) {
    const why = unit.dead ? "dead: the same activation everywhere" : "no picture above its threshold";
    return make("span", { className: "strip blank" }, make("span", {}, why));
  }
  const [best] = unit.best;
  const many = `the ${unit.shown} pictures with its highest activations`;
  const what = unit.shown === 1 ? "the picture with its highest activation" : many;
  return rowOfSheet(unit, `Unit ${unit.number}, ${what}${best ? `; best concept ${shownName(best)}` : ""}`);
}

/** A row of a sheet, which `nearby` loads when it observes what the row is in. */
function rowOfSheet({ shown, sheet }, description) {
  const { path, row, rows } = sheet;
  const element = make("span", { className: "strip" });
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", description);
  element.dataset.sheet = path;
  // Per cent, so that a strip shows its row at whatever width it has.
  element.style.backgroundSize = `100% ${100 * rows}%`;
  element.style.backgroundPosition = `0 ${rows > 1 ? (100 * row) / (rows - 1) : 0}%`;
  const hidden = gallery.about.images - shown;
  if (hidden) element.style.clipPath = `inset(0 ${(100 * hidden) / gallery.about.images}% 0 0)`;
  if (loadedSheets.has(path)) showPictures(element);
  return element;
}

function showPictures(element) {
  const path = element.dataset.sheet;
  element.style.backgroundImage = `url("${path}")`;
  if (loadedSheets.has(path)) return;
  loadedSheets.add(path);
  // A background that cannot be shown says nothing; a picture does.
  const probe = new Image();
  probe.onerror = () => {
    missingSheets.add(path);
    const others = missingSheets.size > 1 ? ` So are ${missingSheets.size - 1} more.` : "";
    const [first] = missingSheets;
    complain("sheets", `The pictures ${first} are missing or damaged.${others} Run the workflow again.`);
  };
  probe.src = path;
}

/** Draw anew what stands in a place, and leave the focus on the element that has the same `key` as before. */
function renew(place, key, draw) {
  const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute(key) : null;
  draw();
  if (focused !== null) place.querySelector(`[${key}="${CSS.escape(focused)}"]`)?.focus();
}

/** Say what is wrong, above everything; a kind of problem has one sentence, and none once it is empty. */
function complain(kind, sentence) {
  const place = byId("problems");
  place.querySelector(`[data-kind=${kind}]`)?.remove();
  if (sentence) {
    const line = make("p", {}, sentence);
    line.dataset.kind = kind;
    place.append(line);
  }
  place.hidden = !place.children.length;
}
