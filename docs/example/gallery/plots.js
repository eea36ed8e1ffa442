// A unit's plots: its best IoU over the levels, and how often it has which activation.
"use strict";

// ---------------------------------------------------------------- its best IoU over the levels

const PLOT = { width: 420, height: 190, left: 34, right: 20, top: 10, bottom: 26 };

function curve(state, found, scale) {
  const { width, height, left, right, top, bottom } = PLOT;
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
  return `${percent(network.density)} ${named ? `${shownName(named)} ${three(named.iou)}` : "none"}`;
}

// ---------------------------------------------------------------- how often it has which activation

/** Add the histogram of a unit's activations, with its threshold, once it is loaded. */
async function showHistogram(place, network, layer, unit) {
  if (unit.dead) return;
  let found;
  try {
    found = await loadHistogram(network, layer, unit.number);
  } catch (error) {
    place.append(make("p", { className: "muted" }, error.message));
    return;
  }
  const note = make("p", { className: "muted" }, histogramNote(found));
  place.append(make("h3", {}, "Activations"), histogram(found, unit), note);
}

function histogramNote({ samples, low, counts }) {
  const rest = samples - counts.reduce((sum, number) => sum + number, 0);
  return (
    `Bars are logarithmic. Of ${samples.toLocaleString("en")} activations ${percent(rest / samples)} are at or below ` +
    `${shortNumber(low)}, and not drawn. The dashed line is the threshold.`
  );
}

function histogram({ low, counts }, unit) {
  const { width, height, left, right, top, bottom } = PLOT;
  const high = unit.maximum;
  const x = (value) => left + ((width - left - right) * (value - low)) / (high - low || 1);
  const most = Math.log10(1 + Math.max(...counts, 1));
  const y = (number) => height - bottom - ((height - top - bottom) * Math.log10(1 + number)) / most;
  const step = (high - low) / counts.length;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const range = `from ${shortNumber(low)} to ${shortNumber(high)}`;
  svg.setAttribute("aria-label", `Histogram of activations ${range}, threshold ${shortNumber(unit.threshold)}`);
  svg.append(
    draw("line", { class: "grid", x1: left, x2: width - right, y1: y(0), y2: y(0) }),
    ...counts.map((number, bin) => {
      const from = low + bin * step;
      const wide = Math.max(0.5, x(from + step) - x(from) - 1);
      const place = { x: x(from), y: y(number), width: wide, height: y(0) - y(number) };
      const text = `${shortNumber(from)} to ${shortNumber(from + step)}: ${number.toLocaleString("en")}`;
      return draw("rect", { class: "count-bar", ...place }, draw("title", {}, text));
    }),
    draw("line", { class: "cut", x1: x(unit.threshold), x2: x(unit.threshold), y1: top, y2: y(0) }),
    ...[low, high].map((value) => {
      return draw("text", { x: x(value), y: height - 8, "text-anchor": "middle" }, shortNumber(value));
    }),
  );
  return svg;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
