"""Count a network's units again under other dissection settings: sweep.csv.

For one setting after another, thresholds are found, labels are tallied, and both are removed; only numbers are kept.
"""

import argparse
import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from workflow_scripts.dissect.dissect_dump import dissect_dump
from workflow_scripts.dissect.interpolation import read_receptive_fields
from workflow_scripts.plan.protocols import Protocol
from workflow_scripts.plan.robustness import COLUMNS, Variation, from_json
from workflow_scripts.shared.files import run_command, scratch_file, whole_file
from workflow_scripts.shared.gpus import use_gpus


def sweep_units(
    activations: Path,
    concepts: Path,
    variations: Sequence[Variation],
    folder: Path,
    receptive_fields: dict | None = None,
    threads: int = 1,
    shuffle_labels: int | None = None,
) -> Iterator[dict]:
    """Yield a row of sweep.csv for each variation and layer, with further columns.

    `folder` is for temporary files; other arguments are those of `tally_units`.

    Raises:
        UserError: as in `find_thresholds` and `tally_units`; or a dump of candidates lacks maps that a variation needs.
    """
    counted: dict[Protocol, dict[str, dict]] = {}  # a protocol may differ only in its knots
    for choice, value, choices in variations:
        if choices not in counted:
            logging.info("%s %s", choice, value)
            counted[choices] = dissect_dump(
                activations, concepts, choices, folder, receptive_fields, threads, shuffle_labels
            )
        for layer, row in counted[choices].items():
            yield {"choice": choice, "value": value, "layer": layer} | row


def main() -> None:
    """Count units under each variation on the command line, and write sweep.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--activations", type=Path, required=True, help="activations.h5")
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument(
        "--variations", type=from_json, required=True, help="JSON: a list of objects with choice, value and choices"
    )
    parser.add_argument("--receptive-fields", type=Path, help="receptive_fields.json, if knots need them")
    parser.add_argument("--shuffle-labels", type=int, metavar="SEED", help="baseline: pair images at random")
    parser.add_argument("--threads", type=int, default=1, help="number of threads, which share the images")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")
    parser.add_argument("--out", type=Path, required=True, help="sweep.csv to write")
    args = parser.parse_args()
    use_gpus(args.gpus)
    fields = read_receptive_fields(args.receptive_fields)
    with scratch_file(args.out) as folder, whole_file(args.out) as part, open(part, "w", newline="") as file:
        folder.mkdir()
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            sweep_units(
                args.activations, args.concepts, args.variations, folder, fields, args.threads, args.shuffle_labels
            )
        )


if __name__ == "__main__":
    run_command(main)
