// The data: what the scripts in networks/ hand over, loaded when it is wanted.
// A page opened from disk may not read files, but may run scripts; each calls gallery.experiment or gallery.layer.
"use strict";

const gallery = {
  about: null, // of experiment.js
  columns: new Map(), // of the layers' scripts, by name
  experiment(about) {
    gallery.about = about;
  },
  layer(name, columns) {
    gallery.columns.set(name, columns);
  },
};

const LISTS = ["best", "chance", "agreement", "slot", "shown", "image", "threshold", "maximum"]; // one entry a unit

const loading = new Map(); // name of a layer's script -> promise of its units

/** The units of a network's layer; rejected with a sentence if its script is missing or damaged. */
function loadUnits(network, layerName) {
  const index = network.layers.findIndex((layer) => layer.name === layerName);
  const name = `${network.folder}/layer_${index}`;
  if (!loading.has(name)) {
    const sheets = `${network.folder}/sheets/layer_${index}`;
    loading.set(name, loadScript(`${name}.js`).then(() => unitsOf(name, sheets, network.layers[index].units)));
  }
  return loading.get(name);
}

function loadScript(path) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = path;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${path} is missing. Run the workflow again.`));
    document.head.append(script);
  });
}

/** A layer's columns as one object for each unit; `sheets` is how the paths of its sheets begin. */
function unitsOf(name, sheets, count) {
  const columns = gallery.columns.get(name);
  gallery.columns.delete(name);
  try {
    const lists = LISTS.map((key) => columns[key]);
    if (lists.some((list) => list.length !== count)) throw new Error("lengths differ");
    const dead = new Set(columns.dead);
    const slots = Math.max(...columns.slot) + 1;
    return Array.from({ length: count }, (_, number) => {
      const best = conceptsOf(columns.best[number], columns.labels);
      return {
        number,
        best,
        detector: best.length > 0 && isDetected(best[0].iou),
        chance: columns.chance[number],
        agreement: columns.agreement[number],
        dead: dead.has(number),
        shown: columns.shown[number],
        images: columns.image[number].join(", "),
        threshold: columns.threshold[number],
        maximum: columns.maximum[number],
        sheet: sheetOf(columns.slot[number], slots, sheets),
      };
    });
  } catch {
    throw new Error(`${name}.js is damaged. Run the workflow again.`);
  }
}

/** [position, IoU, position, IoU, ...] as {name, category, iou}. */
function conceptsOf(flat, labels) {
  const concepts = [];
  for (let i = 0; i < flat.length; i += 2) {
    const [name, category] = labels[flat[i]];
    concepts.push({ name, category, iou: flat[i + 1] });
  }
  return concepts;
}

function isDetected(iou) {
  return iou >= gallery.about.least_iou;
}

/** Where the pictures of a slot lie: `units_per_sheet` rows a sheet, fewer in the last of them. */
function sheetOf(slot, slots, sheets) {
  const most = gallery.about.units_per_sheet;
  const number = Math.floor(slot / most);
  return { path: `${sheets}_${number}.webp`, row: slot % most, rows: Math.min(most, slots - number * most) };
}
