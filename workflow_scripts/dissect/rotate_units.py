"""Count what random rotations of a network's layers detect: rotations.csv, the baseline of counts of units.

The maps are made once, or taken from a dump that has all of them. One rotation after the other they are turned,
dissected as the units' own are, and removed; numbers alone are kept.
"""

import argparse
import csv
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from workflow_scripts.data.hdf5 import member_names, open_hdf5
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.dump_activations import add_dump_arguments, dump_network
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.interpolation import read_receptive_fields
from workflow_scripts.dissect.name_units import detects, iou
from workflow_scripts.dissect.rotations import turn_maps
from workflow_scripts.dissect.tallied_layers import add_choices
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.dissect.unit_files import Counts, read_counts
from workflow_scripts.plan.protocols import DETECTOR_RULES, SCHEMES
from workflow_scripts.plan.rotations import COLUMNS
from workflow_scripts.shared.files import remove, run_command, scratch_file, whole_file
from workflow_scripts.shared.gpus import use_gpus


def rotate_units(
    activations: Path,
    concepts: Path,
    replicate: int,
    rotations: list[tuple[float, int]],
    folder: Path,
    dissection: Callable[[Path, Path, Path], None],
    rule: tuple[float, str],
    candidates: tuple[float, str] | None,
) -> Iterator[dict]:
    """Yield a row of rotations.csv for each layer and rotation.

    Args:
        activations: a dump with all maps.
        replicate: of the network; with a rotation's seed it draws the matrix, so that levels share it.
        rotations: pairs of alpha and seed.
        folder: for passing files.
        dissection: writes the tally of a dump: its arguments are the dump, a file for thresholds, one for the tally.
        rule: what makes a detector, as `detects` takes it.
        candidates: as `turn_maps` takes it.
    """
    turned, thresholds, tally = (folder / name for name in ("turned.h5", "thresholds.h5", "tally.h5"))
    with ConceptData(concepts) as labels:
        for alpha, seed in rotations:
            logging.info("alpha %g, seed %d", alpha, seed)
            turn_maps(activations, (replicate, seed), alpha, turned, candidates)
            dissection(turned, thresholds, tally)
            with open_hdf5(tally) as counts:
                for layer in member_names(counts):
                    row = count(read_counts(counts, layer, labels), labels, rule)
                    yield {"layer": layer, "alpha": alpha, "seed": seed} | row
            for file in (turned, thresholds, tally):
                remove(file)


def count(counts: Counts, labels: ConceptData, rule: tuple[float, str]) -> dict:
    """Return the numbers of a layer as networks.csv has them, by column: each unit under its best concept."""
    scores = iou(counts.intersection, counts.unit_area, counts.label_area, labels.label_category)
    best = scores.max(axis=1)
    named = scores.argmax(axis=1)[detects(best, *rule)]
    return {
        "units": len(best),
        "detectors_a": len(named),
        "concepts_a": len(np.unique(named)),
        "dead_units": int(counts.dead.sum()),
        "median_score": float(np.median(best)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dump_arguments(parser)
    parser.add_argument("--activations", type=Path, help="a dump with all maps, in place of a pass")
    parser.add_argument("--replicate", type=int, required=True, help="of the network")
    parser.add_argument("--alphas", type=float, nargs="+", required=True, help="how far to turn: 1 is all the way")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of the rotations")
    parser.add_argument("--quantile", type=float, required=True, help="share of samples above the threshold")
    parser.add_argument("--upsampled", choices=SCHEMES, help="take samples of interpolated maps, with these knots")
    add_choices(parser)
    parser.add_argument("--detector-iou", type=float, required=True, help="a detector's IoU is above this")
    parser.add_argument("--detector-rule", choices=DETECTOR_RULES, required=True, help="or at least this")
    parser.add_argument("--threads", type=int, default=1, help="that share out the images")
    parser.add_argument("--gpus", type=int, help="0 for none; without this one is used if there is one")
    parser.add_argument("--out", type=Path, required=True, help="rotations.csv to write")
    args = parser.parse_args()
    use_gpus(args.gpus)
    fields = read_receptive_fields(args.receptive_fields)

    def dissect(dump: Path, thresholds: Path, tally: Path) -> None:
        find_thresholds(
            dump, args.quantile, thresholds, args.upsampled, args.concepts, fields, args.threads, args.border
        )
        tally_units(
            dump, thresholds, args.concepts, tally, None, args.knots, args.mask, args.counted_images, fields,
            args.threads, args.border, args.planes,
        )  # fmt: skip

    # Turned maps hardly compress, and a seventh of them can be active; for interpolated samples all are needed.
    candidates = None if args.upsampled else (args.quantile, args.mask)
    rotations = [(alpha, seed) for alpha in args.alphas for seed in args.seeds]
    with scratch_file(args.out) as folder, whole_file(args.out) as part, open(part, "w", newline="") as file:
        folder.mkdir()
        activations = args.activations
        if activations is None:
            activations = folder / "activations.h5"
            dump_network(args, activations, candidates=None)
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        rule = args.detector_iou, args.detector_rule
        writer.writerows(
            rotate_units(activations, args.concepts, args.replicate, rotations, folder, dissect, rule, candidates)
        )


if __name__ == "__main__":
    run_command(main)
