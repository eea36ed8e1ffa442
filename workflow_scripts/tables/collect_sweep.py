"""Collect the counts of units and concepts under other dissection settings in one tidy table."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.plan.robustness import COLUMNS as OF_NETWORK
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.tables.collect import (
    KEYS,
    add_network_arguments,
    count_detectors,
    networks_of,
    read_units,
    with_detectors,
)
from workflow_scripts.tables.columns import of_network
from workflow_scripts.tables.read_tables import read_columns

NUMBERS = ("detector_iou", "quantile")  # choices whose values are numbers
COUNTS = ["units", "detectors_a", "concepts_a", "detectors_b", "concepts_b", "dead_units"]
COLUMNS = [*KEYS, "layer", "choice", "value", "own", *COUNTS]


class SweptNetwork(NamedTuple):
    """One network, its units.csv and, if more than the IoU threshold varies, its sweep.csv."""

    arm: str
    replicate: int
    level: int
    units: Path
    sweep: Path | None = None


def collect_sweep(
    networks: Sequence[SweptNetwork], detector_rule: str, values: Mapping[str, Sequence[str]], out: Path
) -> None:
    """Write sweep.csv: a row for each network, layer, choice and value of that choice.

    Rows are sorted by arm, replicate and level, layers in the order of their dissection, then by choice as in `values`;
    numbers ascend, and for other choices the experiment's own value comes first.

    Args:
        networks: the networks; several may share files under different keys.
        detector_rule: as `detects` takes it.
        values: for each choice, including detector_iou, the experiment's own value and then others, as text. The
            experiment's own counts and those at other IoU thresholds follow from units.csv.
        out: sweep.csv, to write.

    Raises:
        UserError: a file is missing or damaged, or a sweep.csv lacks one of the values.
    """
    rows = [row for network in sorted(networks) for row in rows_of(network, detector_rule, values)]
    with whole_file(out) as part:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(part, index=False, lineterminator="\n")


def rows_of(network: SweptNetwork, detector_rule: str, values: Mapping[str, Sequence[str]]) -> Iterator[dict]:
    """Yield the rows of one network."""
    units = read_units(network.units)
    by_threshold = {
        value: count_layers(with_detectors(units, float(value), detector_rule)) for value in values["detector_iou"]
    }
    others = [(choice, value) for choice in values if choice != "detector_iou" for value in values[choice][1:]]
    swept = {}
    if others:
        if network.sweep is None:
            raise UserError(
                f"{network.units} needs a sweep.csv beside it, because more than the IoU threshold varies: name it"
            )
        swept = read_sweep(network.sweep, others, list(units["layer"].unique()))
    for layer in units["layer"].unique():
        for choice, (own, *_) in values.items():
            for value in sorted(values[choice], key=float) if choice in NUMBERS else values[choice]:
                if choice == "detector_iou":
                    counts = by_threshold[value][layer]
                elif value == own:
                    counts = by_threshold[values["detector_iou"][0]][layer]
                else:
                    counts = swept[choice, value, layer]
                key = dict(zip(KEYS, network, strict=False))
                yield key | {"layer": layer, "choice": choice, "value": value, "own": value == own} | counts


def count_layers(units: pd.DataFrame) -> dict[str, dict]:
    """Return the counts of each layer, by column."""
    return {
        layer: {
            "units": len(of_layer),
            **count_detectors(of_layer).drop(columns="category").sum(),
            "dead_units": of_layer["dead"].sum(),
        }
        for layer, of_layer in units.groupby("layer", sort=False)
    }


def read_sweep(
    path: Path, wanted: Sequence[tuple[str, str]], layers: Sequence[str]
) -> dict[tuple[str, str, str], dict]:
    """Return the counts in a network's sweep.csv by choice, value and layer; UserError if a `wanted` one is missing."""
    columns, unique = of_network("sweep")
    rows = read_columns(path, {name: columns[name] for name in OF_NETWORK}, unique, "sweep that network again")
    keys = rows[["choice", "value", "layer"]].itertuples(index=False, name=None)
    found = dict(zip(keys, rows[COUNTS].to_dict("records"), strict=True))
    for choice, value in wanted:
        for layer in layers:
            if (choice, value, layer) not in found:
                raise UserError(f"{path} has no {choice} {value} of layer {layer}: sweep that network again")
    return found


def main() -> None:
    """Collect the counts of the networks on the command line, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_network_arguments(parser, required=False)
    parser.add_argument("--detector-rule", choices=DETECTOR_RULES, required=True, help="for IoUs at the IoU threshold")
    parser.add_argument(
        "--values",
        nargs="+",
        action="append",
        required=True,
        metavar=("CHOICE OWN", "OTHER"),
        help="the experiment's own value of a choice, then others; once for each choice, including detector_iou",
    )
    parser.add_argument("--out", type=Path, required=True, help="sweep.csv to write")
    args = parser.parse_args()
    values = {choice: of_choice for choice, *of_choice in args.values}
    names = ("units.csv", "sweep.csv") if len(values) > 1 else ("units.csv",)
    collect_sweep([SweptNetwork(*words) for words in networks_of(args, *names)], args.detector_rule, values, args.out)


if __name__ == "__main__":
    run_command(main)
