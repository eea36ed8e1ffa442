"""Name each unit after the concept that it matches best, overall and within each category."""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.data.hdf5 import member_names, open_hdf5, read_attribute
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.dissect.unit_files import Counts, read_counts
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.shared.files import run_command, whole_file

LEAST = np.nextafter(0, 1)  # the smallest number above 0


def name_units(
    tally: str | Path, concepts: str | Path, detector_iou: float, detector_rule: str, out: str | Path
) -> None:
    """Write units.csv: a row per layer and unit, with the columns of the published tables and some more.

    `layer, unit` (from 0), `category, label, score` (the best concept and its IoU), `threshold, maximum, minimum`;
    `detector`, whether the unit detects that concept, as `detects` says; `dead`, as in the tally; `knots`, where its
    activations lie. Then for each category X the best label and the counts behind it: `X-label, X-truth` (the label's
    pixels), `X-activation` (the unit's pixels), `X-intersect, X-iou`, and `X-detector`. Ties go to the lowest label
    number. A label that shares no pixel with a unit's mask does not name it: if the best IoU is 0, as for an empty
    mask, there is no label.

    Raises UserError if an input is missing or damaged or the tally was made with other concepts.
    """
    with open_hdf5(tally, "concepts", "border") as counts, ConceptData(concepts) as labels:
        require_same(tally, read_attribute(counts, "concepts", str), concepts, labels.fingerprint)
        header = ["layer", "unit", "category", "label", "score", "threshold", "maximum", "minimum"]
        header += ["detector", "dead", "knots"]
        for category in labels.category_name:
            columns = ("label", "truth", "activation", "intersect", "iou", "detector")
            header += [f"{category}-{column}" for column in columns]
        with whole_file(out) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for layer in member_names(counts):
                rows = unit_rows(read_counts(counts, layer, labels), labels, detector_iou, detector_rule)
                writer.writerows([layer, *row] for row in rows)


def unit_rows(counted: Counts, labels: ConceptData, detector_iou: float, detector_rule: str) -> Iterator[list]:
    """The rows of a layer's units, without the layer's name."""
    intersection, unit_area, label_area, thresholds, dead, knots = counted
    scores = iou(intersection, unit_area, label_area, labels.label_category)
    detected = detects(scores, detector_iou, detector_rule)
    categories = range(len(labels.category_name))
    within = [best_labels(np.where(labels.label_category == category, scores, 0)) for category in categories]
    for unit, best in enumerate(best_labels(scores)):
        row = [unit, "", "", 0.0]
        if best is not None:
            category = labels.category_name[labels.label_category[best]]
            row = [unit, category, labels.label_name[best], float(scores[unit, best])]
        row += [float(value[unit]) for value in thresholds]
        row += [best is not None and bool(detected[unit, best]), bool(dead[unit])]
        row.append(knots)
        for category in categories:
            best, area = within[category][unit], unit_area[unit, category]
            if best is None:
                row += ["", 0, area, 0, 0.0, False]
            else:
                row += [labels.label_name[best], label_area[best], area, intersection[unit, best]]
                row += [float(scores[unit, best]), bool(detected[unit, best])]
        yield row


def best_labels(scores: np.ndarray) -> list[int | None]:
    """For each unit the label with the highest of its scores (U, L); None if that is 0."""
    # Labels are in ascending order and argmax takes the first of equals, so ties go to the lowest number.
    best = scores.argmax(axis=1)
    return [int(label) if score > 0 else None for label, score in zip(best, scores.max(axis=1), strict=True)]


def detects(iou: np.ndarray, detector_iou: float | np.ndarray, detector_rule: str) -> np.ndarray:
    """Which IoUs make a detector: those "above" `detector_iou` (Bau et al. 2017, section 2.3), or "at_least" it.

    An IoU of 0 never makes a detector.
    """
    return iou >= least_iou(detector_iou, detector_rule)


def least_iou(detector_iou: float | np.ndarray, detector_rule: str) -> Any:
    """The smallest IoU that makes a detector, float64; an array for an array."""
    return np.nextafter(detector_iou, np.inf) if detector_rule == "above" else np.maximum(detector_iou, LEAST)


def iou(
    intersection: np.ndarray, unit_area: np.ndarray, label_area: np.ndarray, label_category: np.ndarray
) -> np.ndarray:
    """Intersection over union of every unit and label, float64 (U, L) (Bau et al. 2017, equation 1).

    I / (A + L - I) with `intersection` (U, L), `unit_area` (U, C) at the label's primary category
    `label_category` (L), and `label_area` (L); 0 if the union is empty.
    """
    union = unit_area[:, label_category] + label_area - intersection
    return intersection / np.maximum(union, 1)


def main() -> None:
    """Name the units of the tally that the command line names, and write units.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tally", required=True, help="tally.h5")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--detector-iou", type=float, required=True, help="the IoU threshold of a detector")
    parser.add_argument("--detector-rule", choices=DETECTOR_RULES, required=True, help="above it, or at least it")
    parser.add_argument("--out", required=True, help="units.csv to write")
    arguments = parser.parse_args()
    rule = arguments.detector_iou, arguments.detector_rule
    name_units(arguments.tally, arguments.concepts, *rule, arguments.out)


if __name__ == "__main__":
    run_command(main)
