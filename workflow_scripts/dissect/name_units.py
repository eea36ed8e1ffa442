"""Name each unit after the concept that it matches best, overall and within each category."""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import open_hdf5
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.files import run_command, whole_file


def name_units(tally: str | Path, concepts: str | Path, out: str | Path) -> None:
    """Write units.csv: a row per layer and unit, with the columns of the published tables.

    `layer, unit` (from 0), `category, label, score` (the best concept and its IoU), `threshold, maximum,
    minimum`, then for each category X its best label and the counts behind it: `X-label, X-truth` (the
    label's pixels), `X-activation` (the unit's pixels), `X-intersect, X-iou`. Ties go to the lowest label
    number; labels that never occur take no part. No IoU cut is applied.

    Raises UserError if an input is missing or damaged or the tally was made with other concepts.
    """
    with open_hdf5(tally, "concepts", "shuffle_labels") as counts, ConceptData(concepts) as labels:
        require_same(tally, counts.attrs["concepts"], concepts, labels.fingerprint)
        header = ["layer", "unit", "category", "label", "score", "threshold", "maximum", "minimum"]
        for category in labels.category_name:
            header += [f"{category}-{column}" for column in ("label", "truth", "activation", "intersect", "iou")]
        with whole_file(out) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for layer, group in counts.items():
                writer.writerows([layer, *row] for row in unit_rows(group, labels))


def unit_rows(group: h5py.Group, labels: ConceptData) -> Iterator[list]:
    """The rows of a layer's units, without the layer's name."""
    intersection, unit_area, label_area = (group[n][:] for n in ("intersection", "unit_area", "label_area"))
    scores = iou(intersection, unit_area, label_area, labels.label_category)
    occurring = label_area > 0
    # Labels lie by rising number and argmax takes the first of equals: ties go to the lowest number.
    best = best_label(scores, occurring)
    best_of_category = [
        best_label(scores, occurring & (labels.label_category == category))
        for category in range(len(labels.category_name))
    ]
    for unit in range(len(scores)):
        row = [unit, "", "", 0.0]
        if best is not None:
            label = best[unit]
            category = labels.category_name[labels.label_category[label]]
            row = [unit, category, labels.label_name[label], float(scores[unit, label])]
        row += [float(group[name][unit]) for name in ("threshold", "maximum", "minimum")]
        for category, best_here in enumerate(best_of_category):
            if best_here is None:
                row += ["", 0, 0, 0, 0.0]
                continue
            label = best_here[unit]
            row += [labels.label_name[label], label_area[label], unit_area[unit, category]]
            row += [intersection[unit, label], float(scores[unit, label])]
        yield row


def best_label(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray | None:
    """For each unit the candidate label of the highest score, intp (units); None without candidates."""
    if not candidates.any():
        return None
    return np.where(candidates, scores, -1).argmax(axis=1)


def iou(
    intersection: np.ndarray, unit_area: np.ndarray, label_area: np.ndarray, label_category: np.ndarray
) -> np.ndarray:
    """Intersection over union of every unit and label, float64 (U, L) (Bau et al. 2017, equation 1).

    I / (A + L - I) with `intersection` (U, L), `unit_area` (U, C) taken at the label's primary category
    `label_category` (L), and `label_area` (L); 0 where the union is empty.
    """
    union = unit_area[:, label_category] + label_area - intersection
    return intersection / np.maximum(union, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tally", required=True, help="tally.h5")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--out", required=True, help="units.csv to write")
    arguments = parser.parse_args()
    name_units(arguments.tally, arguments.concepts, arguments.out)


if __name__ == "__main__":
    run_command(main)
