// A picture enlarged: where a unit is active in it, its mask, and the outline of the label.
"use strict";

const ENLARGED = 560; // pixels of the canvas: the page scales it down where there is less room
const OVERLAYS = ["activation", "mask", "label"];

let enlarged = null; // {unit, place, network, layer} of the picture that is shown

/** Buttons over the pictures of a strip, one for each. */
function enlargeButtons(unit, network, layer) {
  return unit.images.map((image, place) => {
    const button = make("button", { type: "button", className: "enlarge" });
    button.style.setProperty("--place", place);
    button.setAttribute("aria-label", `Enlarge picture ${place + 1} of ${unit.shown}`);
    button.onclick = () => showEnlarged({ unit, place, network, layer });
    return button;
  });
}

async function showEnlarged(what) {
  enlarged = what;
  const { unit, place, network, layer } = what;
  const image = unit.images[place];
  let [name, maps, picture] = ["", null, null];
  try {
    const loads = [nameOfPicture(image), loadMaps(network, layer, unit.number), loadPicture(image)];
    [name, maps, picture] = await Promise.all(loads);
  } catch (error) {
    return complain("enlarged", error.message);
  }
  if (enlarged !== what) return;
  complain("enlarged", "");
  const values = valuesOf(maps, place);
  byId("enlarged-title").textContent = `Unit ${unit.number}, picture ${place + 1} of ${unit.shown}`;
  const [best] = unit.best;
  byId("enlarged-facts").replaceChildren(
    ...[
      ["file", name],
      ["picture", `${image} of the concept set`],
      ["highest activation", shortNumber(Math.max(...values))],
      ["threshold", shortNumber(unit.threshold)],
      ["best concept", best ? `${shownName(best)} (${categoryName(best)}), IoU ${three(best.iou)}` : "none"],
    ].flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]),
  );
  byId("enlarged-before").disabled = place === 0;
  byId("enlarged-after").disabled = place === unit.shown - 1;
  const label = maps.units.labels[place];
  document.querySelector("#overlays [value=label]").disabled = !label;
  const size = [maps.rows[0].length, maps.columns[0].length];
  drawEnlarged(picture, image, {
    size,
    heat: interpolate(values, maps),
    cut: maps.units.cut,
    highest: unit.maximum,
    label: label && maskOf(label, size),
  });
  if (!byId("enlarged").open) byId("enlarged").showModal();
}

function turnEnlarged(step) {
  const place = enlarged.place + step;
  if (place >= 0 && place < enlarged.unit.shown) showEnlarged({ ...enlarged, place });
}

async function nameOfPicture(image) {
  const names = await load("pictures/names", (list) => list.map(String));
  return names[image] ?? "not known";
}

/** The maps of the script that a unit is in, `units` being its own alone. */
async function loadMaps(network, layer, unit) {
  const most = gallery.about.units_per_script;
  const number = Math.floor(unit / most);
  const { units } = layerOf(network, layer);
  const maps = await load(`${scriptOf(network, layer)}_maps_${number}`, (columns) => {
    if (columns.units.length !== Math.min(most, units - number * most)) throw new Error("lengths differ");
    return columns;
  });
  return { ...maps, units: maps.units[unit % most] };
}

function loadPicture(image) {
  const picture = new Image();
  const path = `pictures/sheet_${Math.floor(image / gallery.about.pictures_per_row ** 2)}.webp`;
  picture.src = path;
  return new Promise((resolve, reject) => {
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error(`${path} is missing or damaged. Run the workflow again.`));
  });
}

// ---------------------------------------------------------------- numbers

/** A picture's map as numbers, row by row. */
function valuesOf({ size: [height, width], half, units }, place) {
  const bytes = Uint8Array.from(atob(units.values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const count = height * width;
  const read = half ? (i) => halfOf(view.getUint16(2 * i, true)) : (i) => view.getFloat32(4 * i, true);
  return Float32Array.from({ length: count }, (_, i) => read(place * count + i));
}

/** A half-precision number from its bits. */
function halfOf(bits) {
  const sign = bits < 0x8000 ? 1 : -1;
  const [exponent, fraction] = [Math.floor((bits % 0x8000) / 1024), bits % 1024];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** A map at the resolution of the label maps, bit for bit as the masks were made: see interpolation.py. */
function interpolate(values, { size: [height, width], border, rows, columns }) {
  const single = Math.fround;
  const knot = (y, x) => {
    const [row, column] = [y - border, x - border];
    return row < 0 || column < 0 || row >= height || column >= width ? 0 : values[row * width + column];
  };
  const between = (first, second, weight) => single(first + single(single(weight) * single(second - first)));
  const [left, right, across] = columns;
  const [upper, lower, down] = rows;
  const wide = Array.from({ length: height + 2 * border }, (_, y) =>
    across.map((weight, x) => between(knot(y, left[x]), knot(y, right[x]), weight)),
  );
  return down.map((weight, y) => across.map((_, x) => between(wide[upper[y]][x], wide[lower[y]][x], weight)));
}

/** A mask from the lengths of its runs, the first outside: rows of truth values. */
function maskOf(runs, [height, width]) {
  const flat = runs.flatMap((length, index) => new Array(length).fill(index % 2 === 1));
  return Array.from({ length: height }, (_, y) => flat.slice(y * width, (y + 1) * width));
}

// ---------------------------------------------------------------- drawing

function drawEnlarged(picture, image, { size, heat, cut, highest, label }) {
  const canvas = byId("enlarged-picture");
  const pen = canvas.getContext("2d");
  const across = gallery.about.pictures_per_row;
  const side = picture.naturalWidth / across;
  const place = image % across ** 2;
  Object.assign(canvas, { width: ENLARGED, height: ENLARGED });
  const [left, top] = [side * (place % across), side * Math.floor(place / across)];
  pen.drawImage(picture, left, top, side, side, 0, 0, ENLARGED, ENLARGED);
  const shown = Object.fromEntries(OVERLAYS.map((name) => [name, isOverlaid(name)]));
  if (shown.activation) pen.drawImage(heatImage(heat, size, cut, highest), 0, 0, ENLARGED, ENLARGED);
  if (shown.label && label) strokeEdge(pen, label, size, "#1e90ff");
  if (shown.mask) strokeEdge(pen, heat.map((row) => row.map((value) => value > cut)), size, "#ffd60a");
  const what = OVERLAYS.filter((name) => shown[name] && (name !== "label" || label)).join(", ");
  canvas.setAttribute("aria-label", `${byId("enlarged-title").textContent}${what ? `, with ${what}` : ""}`);
}

function isOverlaid(name) {
  return document.querySelector(`#overlays [value=${name}]`).checked;
}

/** Activations as colours over the picture: none below half of the threshold, full red at the unit's highest. */
function heatImage(heat, [height, width], cut, highest) {
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(width, height);
  const low = Math.min(cut, cut / 2);
  heat.flat().forEach((value, i) => {
    const share = Math.min(1, Math.max(0, (value - low) / (highest - low || 1)));
    pixels.data.set([255, Math.round(200 * (1 - share)), 0, Math.round(200 * share)], 4 * i);
  });
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Draw the edge of a mask, between the pixels; the picture's border is no edge. */
function strokeEdge(pen, mask, [height, width], colour) {
  const [down, right] = [ENLARGED / height, ENLARGED / width];
  const lines = new Path2D();
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (x > 0 && mask[y][x] !== mask[y][x - 1]) addLine(lines, x * right, y * down, x * right, (y + 1) * down);
      if (y > 0 && mask[y][x] !== mask[y - 1][x]) addLine(lines, x * right, y * down, (x + 1) * right, y * down);
    }
  }
  for (const [lineWidth, strokeStyle] of [[5, "rgb(0 0 0 / 55%)"], [2.5, colour]]) {
    Object.assign(pen, { lineWidth, strokeStyle, lineCap: "square" });
    pen.stroke(lines);
  }
}

function addLine(lines, x, y, toX, toY) {
  lines.moveTo(x, y);
  lines.lineTo(toX, toY);
}

function listenToEnlarged() {
  byId("overlays").onchange = () => showEnlarged(enlarged);
  byId("enlarged-before").onclick = () => turnEnlarged(-1);
  byId("enlarged-after").onclick = () => turnEnlarged(1);
  byId("enlarged-close").onclick = () => byId("enlarged").close();
  byId("enlarged").onclose = () => (enlarged = null);
}
