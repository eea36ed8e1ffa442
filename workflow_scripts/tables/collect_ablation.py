"""Collect what switching units off costs, and networks' accuracies by class, in two tidy tables."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS, advice
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.tables.collect import KEYS, add_network_arguments, networks_of
from workflow_scripts.tables.columns import FILLED, of_network
from workflow_scripts.tables.read_tables import read_columns, require_rows


class AblatedNetwork(NamedTuple):
    """One network and the files that say what its units do."""

    arm: str
    replicate: int
    level: int
    ablation: Path
    classes: Path


def collect_ablation(networks: Sequence[AblatedNetwork], given: Sequence[str], ablation: Path, classes: Path) -> None:
    """Write ablation.csv and classes.csv: the rows of each network, sorted by arm, replicate and level.

    If no class has a concept with detectors, ablation.csv has only a header.

    Args:
        networks: the networks; several may share files under different keys.
        given: the classes that the config gives concepts. Networks may have different classes, and need not have all.
        ablation: ablation.csv, to write.
        classes: classes.csv, to write.

    Raises:
        UserError: a file is missing, damaged, or has other columns; or no network has one of the classes in `given`.
    """
    tables = {
        ablation: gather(networks, "ablation", COLUMNS),
        classes: gather(networks, "classes", CLASS_COLUMNS),
    }
    require_classes(given, list(tables[classes]["class"].unique()))
    for out, table in tables.items():
        with whole_file(out) as part:
            table.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def gather(networks: Sequence[AblatedNetwork], name: str, columns: list[str]) -> pd.DataFrame:
    """Return the rows of all networks' tables called `name`, with these columns after those of the network's key."""
    frames = []
    for network in sorted(networks):
        rows = read_rows(getattr(network, name), name, columns)
        frames.append(rows.assign(arm=network.arm, replicate=network.replicate, level=network.level))
    table = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    return table[[*KEYS, *columns]]


def require_classes(given: Sequence[str], known: Sequence[str]) -> None:
    """Raise UserError unless all classes in `given` are known."""
    for name in given:
        if name not in known:
            raise UserError(
                f"ablation.classes names the class {name!r}, which no network's test pictures have;"
                f" {advice(name, known)}"
            )


def read_rows(path: Path, name: str, columns: list[str]) -> pd.DataFrame:
    """Return a table of one network; names stay text, even if a class is called 7."""
    again = "switch off that network's units again"
    table = read_columns(path, *of_network(name), again)[columns]
    if name in FILLED:
        require_rows(path, table, again)
    return table


def main() -> None:
    """Collect the ablations of the networks on the command line, and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_network_arguments(parser)
    parser.add_argument(
        "--given", type=json.loads, required=True, help="JSON: the classes that the config gives concepts"
    )
    parser.add_argument("--ablation", type=Path, required=True, help="ablation.csv to write")
    parser.add_argument("--classes", type=Path, required=True, help="classes.csv to write")
    args = parser.parse_args()
    networks = [AblatedNetwork(*words) for words in networks_of(args, "ablation.csv", "classes.csv")]
    collect_ablation(networks, args.given, args.ablation, args.classes)


if __name__ == "__main__":
    run_command(main)
