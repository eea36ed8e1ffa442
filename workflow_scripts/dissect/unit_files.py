"""Read a layer's units from thresholds.h5 and tally.h5."""

from typing import NamedTuple

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import (
    MOST_COUNTED,
    find_group,
    read_attribute,
    read_extremes,
    read_flags,
    read_singles,
    read_whole_numbers,
    wrong,
)
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.networks.weight_files import shown
from workflow_scripts.plan.protocols import SCHEMES


class Thresholds(NamedTuple):
    """float32 (U): each unit's threshold, and its largest and smallest value."""

    threshold: np.ndarray
    maximum: np.ndarray
    minimum: np.ndarray


class Counts(NamedTuple):
    """The contents of tally.h5 for a layer, as `tally_units` describes them, and its attribute `knots`."""

    intersection: np.ndarray
    unit_area: np.ndarray
    label_area: np.ndarray
    thresholds: Thresholds
    dead: np.ndarray
    knots: str


def read_thresholds(file: h5py.File, layer: str, units: int | None = None) -> Thresholds:
    """Read the thresholds of a layer, which must have `units` units if that is given.

    Raises:
        UserError: they are missing, damaged, not finite, or of another number of units.
    """
    group = find_group(file, layer)
    threshold = read_singles(group, "threshold", (units,))
    if not np.isfinite(threshold).all():
        raise wrong(group, "threshold", "is not finite")
    return Thresholds(threshold, *read_extremes(group, len(threshold)))


def read_counts(file: h5py.File, layer: str, labels: ConceptData) -> Counts:
    """Read the counts of a layer, which must fit the labels of a concept set.

    Raises:
        UserError: they are missing or damaged, the number of labels or categories differs, or an intersection is larger
            than its label.
    """
    group, thresholds = find_group(file, layer), read_thresholds(file, layer)
    units, count = len(thresholds.threshold), len(labels.label_number)
    intersection = read_whole_numbers(group, "intersection", (units, count), 0, MOST_COUNTED)
    unit_area = read_whole_numbers(group, "unit_area", (units, len(labels.category_name)), 0, MOST_COUNTED)
    label_area = read_whole_numbers(group, "label_area", (count,), 0, MOST_COUNTED)
    if (intersection > label_area).any():
        raise wrong(group, "intersection", "has more pixels than a label")
    knots = read_attribute(group, "knots", str)
    if knots not in SCHEMES:
        raise wrong(group, "knots", f"is {shown(knots)!r}, not one of {', '.join(SCHEMES)}")
    return Counts(intersection, unit_area, label_area, thresholds, read_flags(group, "dead", (units,)), knots)
