"""Count what random rotations of a network's layers detect: rotations.csv, a baseline for counts of units.

The maps are made once, or taken from a dump that has all of them. For one rotation after another, they are rotated,
dissected like the units' own maps, and removed; only numbers are kept.
"""

import argparse
import csv
import logging
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from workflow_scripts.dissect.dissect_dump import dissect_dump
from workflow_scripts.dissect.dump_activations import add_dump_arguments, dump_network
from workflow_scripts.dissect.interpolation import read_receptive_fields
from workflow_scripts.dissect.rotations import turn_maps
from workflow_scripts.dissect.tallied_layers import add_choices
from workflow_scripts.plan.protocols import DETECTOR_RULES, Protocol
from workflow_scripts.plan.rotations import COLUMNS
from workflow_scripts.shared.files import remove, run_command, scratch_file, whole_file
from workflow_scripts.shared.gpus import use_gpus


def rotate_units(
    activations: Path,
    concepts: Path,
    replicate: int,
    rotations: list[tuple[float, int]],
    choices: Protocol,
    folder: Path,
    receptive_fields: dict | None = None,
    threads: int = 1,
) -> Iterator[dict]:
    """Yield a row of rotations.csv for each layer and rotation.

    Args:
        activations: a dump with all maps.
        concepts: the concept set of the dump.
        replicate: the replicate of the network; with a rotation's seed it seeds the matrix, so levels share it.
        rotations: pairs of alpha and seed.
        choices: the settings of the dissection.
        folder: a folder for temporary files.
        receptive_fields: as `layer_knots` takes them.
        threads: the number of threads, which share the images.
    """
    # Rotated maps hardly compress, and only a seventh of them can be active; interpolated samples need all.
    candidates = None if choices.quantile_of == "upsampled" else (choices.quantile, choices.mask)
    turned = folder / "turned.h5"
    for alpha, seed in rotations:
        logging.info("alpha %g, seed %d", alpha, seed)
        turn_maps(activations, (replicate, seed), alpha, turned, candidates)
        counted = dissect_dump(turned, concepts, choices, folder, receptive_fields, threads)
        remove(turned)
        for layer, row in counted.items():
            yield {"layer": layer, "alpha": alpha, "seed": seed} | row


def main() -> None:
    """Count what the rotations on the command line detect, from a dump or a forward pass; write rotations.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dump_arguments(parser)
    parser.add_argument("--activations", type=Path, help="a dump with all maps, instead of a forward pass")
    parser.add_argument("--replicate", type=int, required=True, help="the replicate of the network")
    parser.add_argument("--alphas", type=float, nargs="+", required=True, help="how far to rotate: 1 is all the way")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="seeds of the rotations")
    parser.add_argument("--quantile", type=float, required=True, help="share of samples above the threshold")
    parser.add_argument(
        "--quantile-of", choices=("raw", "upsampled"), required=True, help="which maps samples are taken from"
    )
    add_choices(parser)
    parser.add_argument("--detector-iou", type=float, required=True, help="the IoU threshold of a detector")
    parser.add_argument("--detector-rule", choices=DETECTOR_RULES, required=True, help="above it, or at least it")
    parser.add_argument("--threads", type=int, default=1, help="number of threads, which share the images")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")
    parser.add_argument("--out", type=Path, required=True, help="rotations.csv to write")
    args = parser.parse_args()
    use_gpus(args.gpus)
    choices = Protocol(**{field.name: getattr(args, field.name) for field in fields(Protocol)})
    receptive_fields = read_receptive_fields(args.receptive_fields)
    rotations = [(alpha, seed) for alpha in args.alphas for seed in args.seeds]
    with scratch_file(args.out) as folder, whole_file(args.out) as part, open(part, "w", newline="") as file:
        folder.mkdir()
        activations = args.activations
        if activations is None:
            activations = folder / "activations.h5"
            dump_network(args, activations, candidates=None)
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            rotate_units(
                activations, args.concepts, args.replicate, rotations, choices, folder, receptive_fields, args.threads
            )
        )


if __name__ == "__main__":
    run_command(main)
