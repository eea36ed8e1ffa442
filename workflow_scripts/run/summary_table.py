"""The main numbers of an experiment as tables of the report: one for each layer, a row for each arm and level."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

import pandas as pd

from workflow_scripts.findings.summarise import ROTATED, epochs, weights
from workflow_scripts.findings.words import counted, mean_and_sd
from workflow_scripts.plan.keys import ROLES
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.run.page import cell, framed, head, prose
from workflow_scripts.tables.arms import begin_with_base, name_arms, read_arms
from workflow_scripts.tables.read_tables import detector_rule_of, farthest, read_rotations, read_table

COLUMNS = {  # by the column of networks.csv, or one that is added
    "accuracy %": "test accuracy (%)",
    "detectors_a": "detectors",
    ROTATED: "in a random basis",
    "concepts_a": "concepts",
}
ROLE_NAMES = {"curve": "", "baseline": "baseline: ", "reference": "reference: "}


def show_summary(tables: Path) -> list[str]:
    """Return what the numbers are, and a table for each layer.

    Raises:
        UserError: a table of these is missing or damaged.
    """
    networks = read_table(tables / "networks.csv")
    arms = read_arms(tables / "arms.csv", networks)
    networks["accuracy %"] = 100 * networks["test_accuracy"]
    heading = explain(networks)
    rotations = read_rotations(tables, arms)
    if rotations is not None:
        network = ["arm", "replicate", "level", "layer"]
        turned = farthest(rotations).groupby(network)["detectors_a"].mean().rename(ROTATED)
        networks = networks.merge(turned, on=network, how="left")
        heading += " In a random basis: as many directions of the layer's space in place of its units."
    layers = networks.groupby("layer", sort=False)
    return [f"<p>{prose(heading)}</p>", *(layer_table(str(layer), rows, arms) for layer, rows in layers)]


def explain(networks: pd.DataFrame) -> str:
    """What the numbers are."""
    threshold, rule = detector_rule_of(networks)
    return (
        "Mean ± standard deviation over n replicates (random seeds). Weights: the share that remains. A unit is a"
        f" detector if the IoU with its best concept is {DETECTOR_RULES[rule]} {threshold:g}; concepts are the distinct"
        " ones of the detectors. Baselines: the same counting without training, or with the labels of other pictures."
    )


def layer_table(layer: str, rows: pd.DataFrame, arms: pd.DataFrame) -> str:
    """The table of one layer: curves, then baselines, then references."""
    columns = [column for column in COLUMNS if column in rows and rows[column].notna().any()]
    titles = ["weights", "n", *(COLUMNS[column] for column in columns)]
    units = " or ".join(map(str, sorted(set(rows["units"]))))
    bodies = (arm_body(name, of_arm, columns) for name, of_arm in arms_in_order(rows, arms))
    return framed(f"{layer}, {counted(units, 'unit')}", head(titles, [True] * len(titles)) + "".join(bodies))


def arms_in_order(rows: pd.DataFrame, arms: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """What each arm is called, and its rows, without those that are its base's networks."""
    called, repeating = name_arms(arms), begin_with_base(arms)
    for arm in arms.sort_values("role", key=lambda roles: roles.map(ROLES.index), kind="stable").itertuples():
        of_arm = rows[rows["arm"] == arm.arm]
        if arm.arm in repeating and of_arm["level"].nunique() > 1:
            of_arm = of_arm[of_arm["level"] > 0]
        if len(of_arm):
            yield ROLE_NAMES[arm.role] + called[arm.arm], of_arm


def arm_body(name: str, rows: pd.DataFrame, columns: list[str]) -> str:
    """The part of a table with an arm: its name in a row of its own, then its levels."""
    levels = [of_level for _, of_level in rows.groupby("level")]
    # The weights, unless it is the epochs that tell the levels apart.
    size = max((weights, epochs), key=lambda cell: len({cell(level) for level in levels}))
    lines = [f'<tr><th scope="rowgroup" colspan="{2 + len(columns)}">{escape(name)}</th></tr>']
    for level in levels:
        cells = [size(level), str(level["replicate"].nunique()), *(mean_and_sd(level[column]) for column in columns)]
        lines.append(f"<tr>{''.join(cell(text, True) for text in cells)}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"
