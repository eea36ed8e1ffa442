// What is taken along from a unit: its data, the command that draws it, and what is copied.
"use strict";

/** What the page knows of a unit at all levels, as a file to keep. */
function downloadUnit(state, found) {
  const levels = found.map(({ network, unit, problem }) => ({
    ...{ arm: network.arm, replicate: network.replicate, level: network.level },
    ...{ density: network.density, accuracy: network.accuracy },
    ...(unit
      ? {
          ...{ detector: unit.detector, dead: unit.dead, threshold: unit.threshold, maximum: unit.maximum },
          ...{ iou_chance: unit.chance, agreement: unit.agreement, pictures: unit.images },
          concepts: unit.best.map((each) => ({ label: each.name, category: categoryName(each), iou: each.iou })),
        }
      : { problem }),
  }));
  const { name, quantile, detector_iou, detector_rule } = gallery.about;
  const { layer, unit } = state;
  const content = { experiment: name, quantile, detector_iou, detector_rule, layer, unit, levels };
  const link = make("a", { download: `${name}_${layer}_unit_${unit}.json` });
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: "application/json" }));
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The command that draws a unit as a figure: a page opened from disk may not save pictures. */
function figureCommand(state) {
  const { arm, replicate, level, layer, unit } = state;
  const quoted = [arm, layer].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const place = `results/${gallery.about.name}/gallery`;
  const network = `--arm ${quoted[0]} --replicate ${replicate} --layer ${quoted[1]}`;
  const levels = networkOf(state).same_units ? "" : ` --level ${level}`; // others have other units
  const which = `${network}${levels} --unit ${unit}`;
  return `python -m workflow_scripts draw_unit --gallery ${place} ${which} --out unit_${unit}.pdf`;
}

/** Copy a text that a button names, or else the address; the button says for a while that it is done. */
async function copy(button) {
  const text = button.dataset.of ? byId(button.dataset.of).textContent : location.href;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    prompt("Copy this:", text); // where the browser lets no page copy
    return;
  }
  button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = button.dataset.label), 1500);
}
