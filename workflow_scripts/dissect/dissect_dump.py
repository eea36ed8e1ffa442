"""A whole dissection of one dump at once, which keeps only numbers."""

from pathlib import Path

import numpy as np

from workflow_scripts.data.hdf5 import member_names, open_hdf5
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.name_units import detects, iou
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.dissect.unit_files import Counts, read_counts
from workflow_scripts.plan.protocols import Protocol
from workflow_scripts.shared.files import remove


def dissect_dump(
    activations: Path,
    concepts: Path,
    choices: Protocol,
    folder: Path,
    receptive_fields: dict | None,
    threads: int,
    shuffle_labels: int | None = None,
) -> dict[str, dict]:
    """Count the units of a dump: a dict of numbers, as `count_units` returns it, for each layer in the dump's order.

    Thresholds and tallies are in `folder` meanwhile, and are removed at the end. Other arguments are those of
    `find_thresholds` and `tally_units`, whose UserErrors it raises.
    """
    thresholds, tally = folder / "thresholds.h5", folder / "tally.h5"
    upsampled = choices.knots if choices.quantile_of == "upsampled" else None
    find_thresholds(
        activations, choices.quantile, thresholds, upsampled, concepts, receptive_fields, threads, choices.border
    )
    tally_units(
        activations, thresholds, concepts, tally, shuffle_labels, choices.knots, choices.mask, choices.counted_images,
        receptive_fields, threads, choices.border, choices.planes,
    )  # fmt: skip
    rule = choices.detector_iou, choices.detector_rule
    with open_hdf5(tally) as file, ConceptData(concepts) as labels:
        counted = {layer: count_units(read_counts(file, layer, labels), labels, rule) for layer in member_names(file)}
    for file in (thresholds, tally):
        remove(file)
    return counted


def count_units(counts: Counts, labels: ConceptData, rule: tuple[float, str]) -> dict:
    """Return the numbers of a layer, by column of networks.csv.

    A: each unit counts under its best concept; B: in every category whose best concept it detects. `rule` is the rule
    for detectors, as `detects` takes it.
    """
    scores = iou(counts.intersection, counts.unit_area, counts.label_area, labels.label_category)
    best = scores.max(axis=1)
    named = scores.argmax(axis=1)[detects(best, *rule)]
    within = [np.where(labels.label_category == category, scores, 0) for category in range(len(labels.category_name))]
    named_within = [of.argmax(axis=1)[detects(of.max(axis=1), *rule)] for of in within]
    return {
        "units": len(best),
        "detectors_a": len(named),
        "concepts_a": len(np.unique(named)),
        "detectors_b": sum(map(len, named_within)),
        "concepts_b": sum(len(np.unique(of)) for of in named_within),
        "dead_units": int(counts.dead.sum()),
        "median_score": float(np.median(best)),
    }
