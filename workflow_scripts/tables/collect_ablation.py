"""Gather what switching units off costs, and networks' accuracies by class, into two tidy tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS
from workflow_scripts.shared.files import UserError, reading, require_file, run_command, whole_file
from workflow_scripts.tables.collect import KEYS, parse_key

NAMES = ("layer", "class", "concept", "by")


class AblatedNetwork(NamedTuple):
    """One network and the files that tell what its units do."""

    arm: str
    replicate: int
    level: int
    ablation: Path
    classes: Path


def collect_ablation(networks: Sequence[AblatedNetwork], ablation: Path, classes: Path) -> None:
    """Write ablation.csv and classes.csv: the rows of each network, sorted by arm, replicate and level.

    Several networks may have the same files, under their own names. Where no class has a concept with detectors,
    ablation.csv has a header alone.

    Raises:
        UserError: a file is missing, damaged, or has other columns.
    """
    for out, name, columns in ((ablation, "ablation", COLUMNS), (classes, "classes", CLASS_COLUMNS)):
        frames = []
        for network in sorted(networks):
            rows = read_rows(getattr(network, name), columns)
            frames.append(rows.assign(arm=network.arm, replicate=network.replicate, level=network.level))
        table = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
        with whole_file(out) as part:
            table[[*KEYS, *columns]].to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def read_rows(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a table of one network; names stay text, also where a class is called 7."""
    require_file(path, "switch off that network's units first")
    empty = {column: [""] for column in columns if column not in NAMES}
    with reading(path, ValueError):
        rows = pd.read_csv(path, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=empty)
    if list(rows.columns) != columns:
        raise UserError(f"{path} has other columns than {', '.join(columns)}: switch off that network's units again")
    return rows


def parse_network(words: Sequence[str]) -> AblatedNetwork:
    return AblatedNetwork(*parse_key(*words[:3]), *map(Path, words[3:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--network",
        nargs=5,
        action="append",
        required=True,
        metavar=("ARM", "REPLICATE", "LEVEL", "ABLATION", "CLASSES"),
        help="a network, its ablation.csv and its classes.csv; may be repeated",
    )
    parser.add_argument("--ablation", type=Path, required=True, help="ablation.csv to write")
    parser.add_argument("--classes", type=Path, required=True, help="classes.csv to write")
    args = parser.parse_args()
    collect_ablation([parse_network(words) for words in args.network], args.ablation, args.classes)


if __name__ == "__main__":
    run_command(main)
