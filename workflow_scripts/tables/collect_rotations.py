"""Collect what random rotations of networks' layers detect in one tidy table."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.rotations import COLUMNS, Rotations
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.tables.collect import add_network_arguments, networks_of
from workflow_scripts.tables.columns import of_network
from workflow_scripts.tables.read_tables import read_columns


class RotatedNetwork(NamedTuple):
    """One network and the rotations.csv of its layers."""

    arm: str
    replicate: int
    level: int
    rotations: Path


def collect_rotations(networks: Sequence[RotatedNetwork], asked: Mapping[str, Rotations], out: Path) -> None:
    """Write rotations.csv: a row for each network, layer, alpha and seed.

    Rows are sorted by arm, replicate and level, layers in the order of their dissection, then by alpha and seed.

    Args:
        networks: the networks; several may share a file under different keys.
        asked: the rotations that each arm asks for; a file may have more, which another arm asks for.
        out: rotations.csv, to write.

    Raises:
        UserError: a file is missing, or lacks rotations that its arm asks for.
    """
    frames = []
    for network in sorted(networks):
        rows = read_rotations(network.rotations, asked[network.arm])
        frames.append(rows.assign(arm=network.arm, replicate=network.replicate, level=network.level))
    table = pd.concat(frames, ignore_index=True)[["arm", "replicate", "level", *COLUMNS]]
    with whole_file(out) as part:
        table.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def read_rotations(path: Path, asked: Rotations) -> pd.DataFrame:
    """Return the rows of a network's rotations.csv that are asked for, layer by layer."""
    rows = read_columns(path, *of_network("rotations"), "rotate that network again")[COLUMNS]
    rows = rows[rows["alpha"].isin(asked.alphas) & (rows["seed"] <= asked.seeds)]
    if len(rows) != rows["layer"].nunique() * len(asked.alphas) * asked.seeds or rows.empty:
        raise UserError(f"{path} lacks rotations that its arm asks for: rotate that network again")
    place = rows["layer"].map({layer: place for place, layer in enumerate(rows["layer"].unique())})
    return rows.assign(place=place).sort_values(["place", "alpha", "seed"]).drop(columns="place")


def main() -> None:
    """Collect the rotations of the networks on the command line, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_network_arguments(parser)
    parser.add_argument(
        "--rotated",
        nargs="+",
        action="append",
        required=True,
        metavar=("ARM SEEDS", "ALPHA"),
        help="the number of rotations of an arm's networks at each alpha; once for each arm",
    )
    parser.add_argument("--out", type=Path, required=True, help="rotations.csv to write")
    args = parser.parse_args()
    asked = {arm: Rotations(tuple(map(float, alphas)), int(seeds)) for arm, seeds, *alphas in args.rotated}
    collect_rotations([RotatedNetwork(*words) for words in networks_of(args, "rotations.csv")], asked, args.out)


if __name__ == "__main__":
    run_command(main)
