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
  byId("figure-command").textContent = figureCommand(state);
  byId("close").textContent = history.state?.from === "about" ? "← Back" : "← All units";
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
    unit.shown ? `Pictures ${unit.images.join(", ")} of the concept set. ` : "",
    unit.dead ? "Dead: the same activation everywhere." : "",
    unit.dead ? "" : `Threshold ${shortNumber(unit.threshold)}, highest activation ${shortNumber(unit.maximum)}.`,
  );
  const pictures = make("div", { className: "enlargeable" }, strip(unit));
  if (gallery.about.enlarged_pixels) pictures.append(...enlargeButtons(unit, network, state.layer));
  const activations = make("div", { className: "activations" });
  byId("focus").replaceChildren(
    make("div", { className: "pictures" }, pictures, facts, legend(unit)),
    make(
      "div",
      { className: "concepts" },
      make("h3", {}, levelName(network)),
      ...(unit.best.length
        ? [conceptTable(state, unit, scale), make("p", { className: "muted", id: "validation" }, validationOf(unit))]
        : [make("p", { className: "muted" }, "It overlaps no concept.")]),
    ),
    make("div", { className: "curve" }, ...curveOf(state, found, scale)),
    activations,
  );
  nearby.observe(byId("focus"));
  showHistogram(activations, network, state.layer, unit);
}

/** The best IoU over the levels, where there are several. */
function curveOf(state, found, scale) {
  return found.length > 1 ? [make("h3", {}, "Best IoU"), curve(state, found, scale)] : [];
}

/** What the edges in the pictures are. */
function legend(unit) {
  if (!unit.shown) return "";
  const [best] = unit.best;
  const parts = [make("i", { className: "edge mask-edge" }), "the unit's mask"];
  if (best && unit.outlined) parts.push(make("i", { className: "edge label-edge" }), `label “${shownName(best)}”`);
  return make("p", { className: "edges" }, ...parts);
}

function levelName(network) {
  return `Level ${network.level}, ${weights(network)}`;
}

function conceptTable(state, unit, scale) {
  const addresses = addressUpTo(state, "about");
  const rows = unit.best.map((each) =>
    make(
      "li",
      { className: isDetected(each.iou) ? "" : "weak" },
      nameOf(each, addresses),
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
  const all = await Promise.allSettled(levels.map((network) => loadUnits(network, state.layer)));
  return levels.map((network, index) => {
    const { value: units, reason } = all[index];
    if (reason) return { network, problem: reason.message };
    const unit = units[state.unit];
    return unit ? { network, unit } : { network, problem: `There is no unit ${state.unit} in this network.` };
  });
}

function showAcross(state, found, scale) {
  byId("across").classList.toggle("many", found.length > 10);
  const rows = found.map((each, index) => {
    const before = found.slice(0, index).findLast(({ unit }) => unit);
    return levelRow(state, each, before?.unit, scale);
  });
  renew(byId("across"), "data-level", () => byId("across").replaceChildren(...rows));
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
    `Named after its best concept while it is a detector. ` +
    (changes ? `◆: the name changes (${often}).` : "The name never changes.")
  );
}

function levelRow(state, { network, unit, problem }, before, scale) {
  const here = network.level === state.level;
  const link = make(
    "a",
    { className: "level", href: addressOf({ ...state, level: network.level }) },
    make("b", {}, percent(network.density)),
    " ",
    make("span", {}, `level ${network.level}`),
    " ",
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

function changeOf(before, unit) {
  const change = changeSince(before, unit);
  if (change === "renamed") return `was ${shownName(before.best[0])}`;
  return { lost: "no longer a detector", new: "becomes a detector" }[change] ?? "";
}

function shortConcepts(unit, scale) {
  if (!unit.best.length) return make("p", { className: "short muted" }, unit.dead ? "" : "overlaps no concept");
  const each = unit.best.map((best) =>
    make(
      "span",
      { className: isDetected(best.iou) ? "" : "weak" },
      make("span", { className: "name", title: best.name }, shownName(best)),
      " ",
      make("small", {}, categoryName(best)),
      " ",
      make("span", { className: "iou" }, three(best.iou)),
      bar(best, scale),
    ),
  );
  return make("div", { className: "short" }, ...each);
}
