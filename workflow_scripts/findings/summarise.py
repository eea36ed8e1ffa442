"""Summarise what an experiment found, and list where its files are, on one screen.

python -m workflow_scripts summarise results/shapes
"""

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.findings.changes import headlines
from workflow_scripts.plan.keys import BASELINE, CURVE, ROLES
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.shared.files import run_command
from workflow_scripts.tables.arms import asked_curves, begin_with_base, name_arms, read_arms
from workflow_scripts.tables.read_tables import detector_rule_of, farthest, read_rotations, read_table

ROWS, WIDTH = 26, 100  # most rows of the table, and columns of the screen
NAMED = 3  # arms in a sentence
LARGE_QUANTILE = 0.1  # share of places; above it, IoU depends more on a concept's size than on what a unit detects
PLACES = {
    "findings": "findings.md",
    "report": "report.html",
    "figures": "figures",
    "gallery": "gallery/index.html",
    "tables": "tables",
    "costs": "costs.csv",
}
HEAD = ("", "weights", "test accuracy", "detectors", "unique concepts")
ROTATED = "rotated"  # the column after the detectors, if there are rotations
NETWORK = ["arm", "replicate", "level", "layer"]


def summarise(results: Path, quantile: float | None = None) -> str:
    """Return what comparisons with dense networks show, and a table of means with a row for each arm and level.

    Curves come first, then baselines, then references. What does not fit on a screen is left out, and a line says what:
    layers before the last, then levels between the densest and the sparsest, then arms. Another line names curves
    without a baseline. If networks are rotated, a column has the share of detectors in the random bases that are turned
    farthest.

    Args:
        results: the folder of the experiment.
        quantile: the quantile of the thresholds, if it is known; a line says if it is doubtfully large.

    Raises:
        UserError: the experiment has no table of networks or of arms.
    """
    path = results / "tables" / "networks.csv"
    networks = read_table(path)
    arms = read_arms(path.with_name("arms.csv"), networks)
    layers = list(dict.fromkeys(networks["layer"]))
    shown = last_layers(networks, layers)
    rotations = read_rotations(path.parent, arms)
    curves = asked_curves(arms, networks)
    lines, head = [*found(path.with_name("equivalence.csv"), curves), heading(networks)], list(HEAD)
    if rotations is not None:
        rotations = farthest(rotations)
        networks = with_rotations(networks, rotations)
        lines.append(rotation_heading(rotations))
        head.insert(head.index("unique concepts"), ROTATED)
    rows, left_out = tabulate(networks, arms, shown)
    lines += align([head, *rows])
    if quantile is not None and quantile > LARGE_QUANTILE:
        share = f"{100 * quantile:g} %"
        lines.append(
            f"Doubtful: dissection.quantile is {quantile:g}, so masks cover {share} of places; 0.005 is usual."
        )
    lines += missing_baselines(arms)
    if len(shown) < len(layers):
        left_out.append(f"{len(layers) - len(shown)} of {len(layers)} layers")
    if left_out:
        lines.append(f"Left out here: {' and '.join(left_out)}; {path} has all.")
    return "\n".join(lines)


def found(equivalence: Path, curves: Sequence[str]) -> list[str]:
    """What comparisons with the dense networks show, in lines, then an empty line; nothing before they are made."""
    if not equivalence.is_file():
        return []
    lines = [line for text in headlines(read_table(equivalence), curves) for line in textwrap.wrap(text, WIDTH)]
    return [*lines, ""] if lines else []


def list_places(results: Path) -> str:
    """Return where the results of an experiment are that exist already, a line each."""
    places = [(name, results / place) for name, place in PLACES.items() if (results / place).exists()]
    return "\n".join(f"{name:<8} {place}" for name, place in places)


def with_rotations(networks: pd.DataFrame, rotations: pd.DataFrame) -> pd.DataFrame:
    """The networks with a column `ROTATED`: the mean share of detectors in their rotations, in per cent."""
    means = rotations.groupby(NETWORK)["detectors_a %"].mean().rename(ROTATED)
    return networks.merge(means, on=NETWORK, how="left")


def rotation_heading(rotations: pd.DataFrame) -> str:
    """The line that explains the column `ROTATED`."""
    text = f"{ROTATED.capitalize()}: means for the directions of random bases instead of units"
    if partly := sorted(set(rotations["alpha"]) - {1}):
        text += f" (turned only part of the way: alpha {' or '.join(f'{alpha:g}' for alpha in partly)})"
    return f"{text}."


def heading(networks: pd.DataFrame) -> str:
    """The line that explains the numbers."""
    replicates = networks["replicate"].nunique()
    means = f"Means of {replicates} replicates (lowest to highest). " if replicates > 1 else ""
    threshold, rule = detector_rule_of(networks)
    return f"{means}Detector: a unit whose best concept has IoU {DETECTOR_RULES[rule]} {threshold:g}."


def last_layers(networks: pd.DataFrame, layers: list[str]) -> list[str]:
    """The last layers, as many as there is room for, but at least one."""
    of_layer = networks.drop_duplicates(["layer", "arm", "level"])["layer"].value_counts()
    for first in range(len(layers)):
        if sum(of_layer[layer] + 1 for layer in layers[first:]) <= ROWS:
            return layers[first:]
    return layers[-1:]


def missing_baselines(arms: pd.DataFrame) -> list[str]:
    """A sentence, in lines, that names the curves without a baseline of their own or of their base, if any."""
    with_baseline = arms.loc[arms["role"] == BASELINE, "base"]
    curves = arms[arms["role"] == CURVE]
    bare = curves.loc[~(curves["base"].isin(with_baseline) | curves["arm"].isin(with_baseline)), "arm"].tolist()
    if not bare:
        return []
    named = bare if len(bare) <= NAMED else [*bare[:NAMED], f"{len(bare) - NAMED} more"]
    subject = f"Arm {named[0]} has" if len(named) == 1 else f"Arms {', '.join(named[:-1])} and {named[-1]} have"
    return textwrap.wrap(f"{subject} no baseline, so it is unknown how many detectors chance alone gives.", WIDTH)


def tabulate(
    networks: pd.DataFrame, arms: pd.DataFrame, layers: Sequence[str]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The rows of these layers, and what is left out of them."""
    rows: list[tuple[str, ...]] = []
    left_out: list[str] = []
    called = name_arms(arms)
    # The level 0 of these arms is the network they start from, which has a row of its own.
    repeating = begin_with_base(arms)
    order = arms.sort_values("role", key=lambda roles: roles.map(ROLES.index), kind="stable")["arm"].tolist()
    for layer in layers:
        of_layer = networks[networks["layer"] == layer]
        units = sorted(set(of_layer["units"]))
        rows.append((f"{layer}, {' or '.join(map(str, units))} units",))
        levels_of = {arm: list(levels.groupby("level")) for arm, levels in of_layer.groupby("arm")}
        for arm, levels in levels_of.items():
            if arm in repeating and len(levels) > 1 and levels[0][0] == 0:
                del levels[0]
        names = [arm for arm in order if arm in levels_of]
        if len(names) > ROWS:
            left_out.append(f"{len(names) - ROWS} of {len(names)} arms")
        counts = [len(levels_of[arm]) for arm in names[:ROWS]]
        shares = share_out(counts) if len(layers) == 1 else counts
        if shares != counts:
            left_out.append("some levels")
        for arm, share in zip(names, shares, strict=False):
            name = f"  {called[arm]}"
            # The share of weights, unless the levels differ more in epochs.
            size = max((weights, epochs), key=lambda cell: len({cell(level) for _, level in levels_of[arm]}))
            for _, level in spread(levels_of[arm], share):
                rows.append((name, size(level), *measures(level)))
                name = ""
    return rows, left_out


def share_out(counts: Sequence[int]) -> list[int]:
    """How many of its levels each arm shows: an equal share of the room, and the first arms what is left over."""
    shares = [min(count, 1) for count in counts]
    for most in range(2, max(counts, default=0) + 1):
        for place, count in enumerate(counts):
            if count >= most and sum(shares) < ROWS:
                shares[place] = most
    return shares


def spread(levels: list, most: int) -> list:
    """At most `most` of the levels, evenly spread; the last is always among them, and the first if there are two."""
    places = np.linspace(len(levels) - 1, 0, min(most, len(levels))).round().astype(int)
    return [levels[place] for place in sorted(places)]


def weights(level: pd.DataFrame) -> str:
    """The share of weights at a level: its density or, for a smaller network, its share of the dense one's weights."""
    share = level["density"].fillna(level["share_of_base"]).mean()
    return "-" if np.isnan(share) else f"{100 * share:.3g} %"


def epochs(level: pd.DataFrame) -> str:
    """For how many epochs the weights of a level were trained, if that is known."""
    trained = level["epochs_in_all"].mean()
    return "-" if np.isnan(trained) else f"{trained:g} epochs"


def measures(level: pd.DataFrame) -> tuple[str, ...]:
    """The cells with the measurements of one level of an arm; `level` has a row for each replicate."""
    rotated = [f"{level[ROTATED].mean():.1f} %" if level[ROTATED].notna().any() else "-"] if ROTATED in level else []
    return (
        with_range(100 * level["test_accuracy"].dropna(), "%"),
        with_range(100 * level["detectors_a"] / level["units"], "%"),
        *rotated,
        with_range(level["concepts_a"], ""),
    )


def with_range(values: pd.Series, unit: str) -> str:
    """The mean and, if there are several values, the lowest and highest: "96.6 % (96.5-96.8)"."""
    if values.empty:
        return "-"
    digits = 0 if pd.api.types.is_integer_dtype(values) else 1
    if len(values) == 1:
        return f"{values.iloc[0]:.{digits}f} {unit}".strip()
    mean = f"{values.mean():.1f} {unit}".strip()
    return f"{mean} ({values.min():.{digits}f}-{values.max():.{digits}f})"


def align(rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows as lines with columns below each other, names to the left and numbers to the right.

    The first row is the head. A row of one cell may be longer than its column.
    """
    head, *others = rows
    rows = [head, *align_ranges(others)]
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) > 1), strict=True)]
    widths[0] = min(widths[0], WIDTH - sum(2 + width for width in widths[1:]))
    wrap_names(rows, widths[0])
    lines = []
    for row in rows:
        name, *numbers = shortened(row, widths[0]) if len(row) > 1 else row
        cells = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=False))
        lines.append("  ".join([f"{name:<{widths[0]}}", *cells]).rstrip())
    return lines


def align_ranges(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The rows with room for the longest range of each column after its means, so that these end at one place."""
    split = [[cell.partition(" (") for cell in row[1:]] for row in rows]  # into mean, " (" and the rest
    columns = zip_longest(*split, fillvalue=("", "", ""))
    room = [max(len(space + rest) for _, space, rest in column) for column in columns]
    return [
        (row[0], *(f"{mean}{space + rest:>{width}}" for (mean, space, rest), width in zip(cells, room, strict=False)))
        for row, cells in zip(rows, split, strict=True)
    ]


def wrap_names(rows: list[Sequence[str]], width: int) -> None:
    """Wrap first cells longer than `width` into the row below, in place, if the first cell there is empty."""
    for place, (row, below) in enumerate(pairwise(rows)):
        lines = textwrap.wrap(row[0], width, subsequent_indent="    ", break_on_hyphens=False)
        if len(row) > 1 and len(lines) == 2 and not below[0]:
            rows[place : place + 2] = [(lines[0], *row[1:]), (lines[1], *below[1:])]


def shortened(row: Sequence[str], width: int) -> Sequence[str]:
    """The row with its first cell shortened to `width` in the middle, because names may differ at either end."""
    start, end = (width - 3) // 2, (width - 2) // 2
    return row if len(row[0]) <= width else (f"{row[0][:start]}...{row[0][-end:]}", *row[1:])


def main() -> None:
    """Print the summary of an experiment, and where its files are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder of an experiment")
    parser.add_argument("--quantile", type=float, help="the quantile of the thresholds; a line says if it is doubtful")
    args = parser.parse_args()
    print(summarise(args.results, args.quantile), list_places(args.results), sep="\n\n")


if __name__ == "__main__":
    run_command(main)
