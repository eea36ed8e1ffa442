// The view of one unit: at the chosen level large, then at all levels at which it is the same unit, below each other.
"use strict";

function showUnitHead(state, units) {
  const chosen = chosenUnits(state, units);
  const place = chosen.findIndex((unit) => unit.number === state.unit);
  // A unit that the filters leave out stands before all that they leave.
  showNeighbour("unit-before", place > 0 ? chosen[place - 1] : undefined, (name) => `‹ ${name}`);
  showNeighbour("unit-after", chosen[place + 1], (name) => `${name} ›`);
  const { name } = networkOf(state);
  byId("unit-title").textContent = `Unit ${state.unit}`;
  byId("unit-place").textContent = `${state.layer} · ${name}, replicate ${state.replicate}`;
}

function showNeighbour(id, unit, text) {
  const button = byId(id);
  button.disabled = !unit;
  button.value = unit?.number ?? "";
  button.textContent = text(unit ? `unit ${unit.number}` : "none");
}

/** The chosen level: its pictures, its concepts, and the curve over all levels; `found` as of `unitAtLevels`. */
function showFocus(state, found, scale) {
  const { network, unit } = found.find((each) => each.network.level === state.level);
  const facts = make("p", { className: "muted" });
  facts.append(
    unit.shown ? `Pictures ${unit.images} of the concept set. ` : "",
    unit.dead ? "Dead: the same activation everywhere." : "",
    unit.dead ? "" : `Threshold ${shortNumber(unit.threshold)}, largest activation ${shortNumber(unit.maximum)}.`,
  );
  byId("focus").replaceChildren(
    make("div", { className: "pictures" }, strip(unit), facts),
    make(
      "div",
      { className: "concepts" },
      make("h3", {}, levelName(network)),
      ...(unit.best.length
        ? [conceptTable(unit, scale), make("p", { className: "muted", id: "validation" }, validationOf(unit))]
        : [make("p", { className: "muted" }, "It touches no concept.")]),
    ),
  );
  if (found.length > 1) byId("focus").append(make("div", {}, make("h3", {}, "Best IoU"), curve(state, found, scale)));
  nearby.observe(byId("focus"));
}

function levelName(network) {
  return `Level ${network.level}, ${weights(network)}`;
}

function conceptTable(unit, scale) {
  const rows = unit.best.map((each) =>
    make(
      "li",
      { className: isDetected(each.iou) ? "" : "weak" },
      concept(each),
      make("span", { className: "iou" }, three(each.iou)),
      bar(each, scale),
    ),
  );
  return make("ol", { className: "concept-table" }, ...rows);
}

/** How sure a unit's best concept is: what chance gives the two, and how often half of the pictures give the same. */
function validationOf({ chance, agreement }) {
  const iou = chance < 0.0005 ? "less than 0.001" : three(chance);
  return (
    `Chance gives this unit and its best concept an IoU of ${iou}. ` +
    `It has the same best concept on ${percent(agreement)} of random halves of the pictures.`
  );
}

// ---------------------------------------------------------------- across the levels

/** The same unit at every level that has it: [{network, unit}], or {network, problem} where it cannot be shown. */
async function unitAtLevels(state) {
  const chosen = networkOf(state);
  const levels = chosen.same_units ? levelsOf(state) : [chosen];
  const all = await Promise.allSettled(levels.map((network) => unitsAt(network, state.layer)));
  return levels.map((network, index) => {
    const { value: units, reason } = all[index];
    if (reason) return { network, problem: reason.message };
    const unit = units[state.unit];
    return unit ? { network, unit } : { network, problem: `There is no unit ${state.unit} in this network.` };
  });
}

async function unitsAt(network, layerName) {
  if (!network.layers.some((layer) => layer.name === layerName)) throw new Error("This layer is not there.");
  return loadUnits(network, layerName);
}

function showAcross(state, found, scale) {
  byId("across").classList.toggle("many", found.length > 10);
  byId("across").replaceChildren(
    ...found.map((each, index) => {
      const before = found.slice(0, index).findLast(({ unit }) => unit);
      return levelRow(state, each, before?.unit, scale);
    }),
  );
  for (const row of byId("across").children) nearby.observe(row);
  byId("across-title").hidden = found.length < 2;
  byId("across-note").hidden = levelsOf(state).length < 2;
  byId("across-note").textContent = acrossNote(state);
}

/** What is said of the levels below, or why there are none. */
function acrossNote(state) {
  if (!networkOf(state).same_units) {
    return (
      `Unit ${state.unit} of another level is another unit: every level of this arm has a shape, or initial weights, ` +
      "of its own."
    );
  }
  const changes = byId("across").querySelectorAll(".changed").length;
  const often = changes === 1 ? "once" : `${changes} times`;
  return (
    "Its name is its best concept, if it is a detector. " +
    (changes ? `The name changes ${often}, marked ◆.` : "It never changes.")
  );
}

function levelRow(state, { network, unit, problem }, before, scale) {
  const here = network.level === state.level;
  const link = make(
    "a",
    { className: "level", href: addressOf({ ...state, level: network.level }) },
    make("b", {}, percent(network.density)),
    make("span", {}, `level ${network.level}`),
    make("span", {}, network.accuracy === null ? "" : `accuracy ${percent(network.accuracy)}`),
  );
  link.dataset.level = network.level;
  if (here) link.setAttribute("aria-current", "true");
  if (!unit) return make("li", { className: here ? "here" : "" }, link, make("p", { className: "muted" }, problem));
  const change = before ? changeOf(before, unit) : "";
  if (change) link.append(make("em", {}, `◆ ${change}`));
  const className = `${here ? "here" : ""} ${change ? "changed" : ""}`;
  return make("li", { className }, link, strip(unit), shortConcepts(unit, scale));
}

/** What a unit is named by: its best concept if it is a detector. */
function nameOf(unit) {
  return unit.detector ? unit.best[0].name : "";
}

function changeOf(before, unit) {
  if (nameOf(before) === nameOf(unit)) return "";
  if (!nameOf(unit)) return "name lost";
  return nameOf(before) ? `was ${nameOf(before)}` : "named";
}

function shortConcepts(unit, scale) {
  if (!unit.best.length) return make("p", { className: "short muted" }, unit.dead ? "" : "touches no concept");
  const each = unit.best.map((best) =>
    make(
      "span",
      { className: isDetected(best.iou) ? "" : "weak" },
      make("span", { className: "name", title: best.name }, best.name),
      make("small", {}, categoryName(best)),
      make("span", { className: "iou" }, three(best.iou)),
      bar(best, scale),
    ),
  );
  return make("div", { className: "short" }, ...each);
}

// ---------------------------------------------------------------- its best IoU over the levels

const CURVE = { width: 420, height: 190, left: 34, right: 20, top: 10, bottom: 26 };

function curve(state, found, scale) {
  const { width, height, left, right, top, bottom } = CURVE;
  const x = (index) => left + ((width - left - right) * index) / Math.max(1, found.length - 1);
  const y = (iou) => height - bottom - ((height - top - bottom) * iou) / scale;
  const cut = gallery.about.detector_iou;
  const points = found
    .map(({ network, unit }, index) => ({ network, unit, x: x(index), y: y(unit?.best[0]?.iou ?? 0) }))
    .filter(({ unit }) => unit);
  const every = Math.ceil(found.length / 7); // labels that fit beside each other
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", `Best IoU over the levels: ${points.map((point) => pointText(point)).join("; ")}`);
  svg.append(
    ...[0, scale / 2, scale].flatMap((iou) => [
      draw("line", { class: "grid", x1: left, x2: width - right, y1: y(iou), y2: y(iou) }),
      draw("text", { x: left - 6, y: y(iou) + 4, "text-anchor": "end" }, shortNumber(iou)),
    ]),
    draw("line", { class: "cut", x1: left, x2: width - right, y1: y(cut), y2: y(cut) }),
    ...found.flatMap(({ network }, index) => {
      const place = { x: x(index), y: height - 8, "text-anchor": "middle" };
      return index % every ? [] : [draw("text", place, percent(network.density))];
    }),
    draw("polyline", { points: points.map((point) => `${point.x},${point.y}`).join(" ") }),
    ...points.map((point) => {
      const { network, unit } = point;
      const colour = unit.best.length ? colourOf(unit.best[0].category) : "";
      const look = `${colour} ${unit.detector ? "" : "weak"}`;
      const radius = network.level === state.level ? 6 : 3.5;
      return draw("circle", { class: look, cx: point.x, cy: point.y, r: radius }, draw("title", {}, pointText(point)));
    }),
  );
  return svg;
}

function pointText({ network, unit }) {
  const [named] = unit.best;
  return `${percent(network.density)} ${named ? `${named.name} ${three(named.iou)}` : "none"}`;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
