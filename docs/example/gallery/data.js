// The data: what the scripts in networks/ hand over, loaded when it is wanted.
// A page opened from disk may not read files, but may run scripts; each calls one of gallery's functions.
"use strict";

const gallery = {
  about: null, // of experiment.js
  received: new Map(), // of the other scripts, by their path without its ending
  experiment(about) {
    gallery.about = about;
  },
  data(name, contents) {
    gallery.received.set(name, contents);
  },
};

const LISTS = ["best", "chance", "agreement", "slot", "shown", "image", "threshold", "maximum"]; // one entry a unit

const loading = new Map(); // name of a script -> promise of what is made of it

/** What `use` makes of a script's contents, once; rejected with a sentence if it is missing or damaged. */
function load(name, use) {
  if (!loading.has(name)) loading.set(name, loadScript(`${name}.js`).then(() => read(name, use)));
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

function read(name, use) {
  const columns = gallery.received.get(name);
  gallery.received.delete(name);
  try {
    return use(columns);
  } catch {
    throw new Error(`${name}.js is damaged. Run the workflow again.`);
  }
}

/** A network's layer of that name, or undefined. */
function layerOf({ layers }, layerName) {
  return layers.find(({ name }) => name === layerName);
}

/** The units of a network's layer; rejected with a sentence if it has no such layer. */
async function loadUnits(network, layerName) {
  const layer = layerOf(network, layerName);
  if (!layer) throw new Error(`There is no layer ${layerName} in this network.`);
  const sheets = `${network.folder}/sheets/layer_${network.layers.indexOf(layer)}`;
  return load(scriptOf(network, layerName), (columns) => unitsOf(columns, sheets, layer.units));
}

/**
 * The units of a network's layer, each with what became of it `since` the network's first level; whether they are
 * `compared` with that; and the `problem` if they should be and cannot.
 */
async function loadCompared(network, layerName) {
  const units = await loadUnits(network, layerName);
  const [first] = levelsOf(network);
  if (!network.same_units || first === network) return { units, compared: false, problem: "" };
  try {
    const before = await loadUnits(first, layerName);
    for (const unit of units) unit.since = before[unit.number] ? changeSince(before[unit.number], unit) : "";
    return { units, compared: true, problem: "" };
  } catch (error) {
    return { units, compared: false, problem: `Units cannot be compared with level ${first.level}. ${error.message}` };
  }
}

/** How the names of a layer's scripts begin. */
function scriptOf(network, layerName) {
  return `${network.folder}/layer_${network.layers.indexOf(layerOf(network, layerName))}`;
}

/** How often a unit has which activation: {samples, low, counts}. */
async function loadHistogram(network, layerName, unit) {
  const { units } = layerOf(network, layerName);
  const { samples, low, counts } = await load(`${scriptOf(network, layerName)}_histograms`, (columns) => {
    if (columns.low.length !== units || columns.counts.length !== units) throw new Error("lengths differ");
    return columns;
  });
  return { samples, low: low[unit], counts: counts[unit] };
}

/** All labels of the concept set, as {key, name, category, pictures, share, examples, sheet}. */
function loadConcepts() {
  return load("concepts/concepts", ({ labels, pictures, share, image }) =>
    labels.map(([name, category], place) => ({
      key: keyOf({ name, category }),
      name,
      category,
      pictures: pictures[place],
      share: share[place],
      shown: image[place].length,
      sheet: sheetOf(place, labels.length, "concepts/sheet"),
    })),
  );
}

/** For each network the detectors of all its layers, as {layer, unit, key}. */
function loadDetectors() {
  return load("detectors", ({ labels, networks }) => {
    const keys = labels.map(([name, category]) => keyOf({ name, category }));
    return gallery.about.networks.map((network, index) =>
      network.layers.flatMap((layer, place) => {
        const pairs = networks[index][place];
        return Array.from({ length: pairs.length / 2 }, (_, i) => ({
          layer: layer.name,
          unit: pairs[2 * i],
          key: keys[pairs[2 * i + 1]],
        }));
      }),
    );
  });
}

/** A layer's columns as one object for each unit; `sheets` is how the paths of its sheets begin. */
function unitsOf(columns, sheets, count) {
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
      images: columns.image[number],
      threshold: columns.threshold[number],
      maximum: columns.maximum[number],
      outlined: columns.outlined,
      sheet: sheetOf(columns.slot[number], slots, sheets),
    };
  });
}

/** What tells a concept from all others, also in addresses: "part/wheel". */
function keyOf(concept) {
  return `${categoryName(concept)}/${concept.name}`;
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
