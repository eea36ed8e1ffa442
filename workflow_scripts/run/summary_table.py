"""The main numbers of an experiment as tables of the report: one for each layer, a row for each arm and level."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

import pandas as pd

from workflow_scripts.findings.summarise import ROTATED, epochs, rotation_heading, weights, with_rotations
from workflow_scripts.findings.words import counted, mean_and_sd
from workflow_scripts.plan.keys import ROLES
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.run.page import cell, framed, head
from workflow_scripts.tables.arms import begin_with_base, name_arms, read_arms
from workflow_scripts.tables.read_tables import detector_rule_of, farthest, read_rotations, read_table

COLUMNS = {  # by the column of networks.csv, or one that is added
    "accuracy %": "test accuracy (%)",
    "detectors_a": "detectors",
    "detectors_a %": "of the units (%)",
    ROTATED: "in a random basis (%)",
    "concepts_a": "concepts",
}
HEADINGS = {"curve": "", "baseline": "baseline: ", "reference": "reference: "}


def show_summary(tables: Path) -> list[str]:
    """Return what the numbers are, and a table for each layer.

    Raises:
        UserError: a table of these is missing or damaged.
    """
    networks = read_table(tables / "networks.csv")
    arms = read_arms(tables / "arms.csv", networks)
    rotations = read_rotations(tables, arms)
    networks["accuracy %"] = 100 * networks["test_accuracy"]
    networks["detectors_a %"] = 100 * networks["detectors_a"] / networks["units"]
    heading = explain(networks)
    if rotations is not None:
        rotations = farthest(rotations)
        networks = with_rotations(networks, rotations)
        heading += " " + rotation_heading(rotations).replace("Rotated: the same", "In a random basis: the share")
    layers = networks.groupby("layer", sort=False)
    return [f"<p>{escape(heading)}</p>", *(layer_table(str(layer), rows, arms) for layer, rows in layers)]


def explain(networks: pd.DataFrame) -> str:
    """What the numbers are."""
    threshold, rule = detector_rule_of(networks)
    return (
        "Mean ± standard deviation over n replicates (random seeds). A unit counts once, under its best concept, and is"
        f" a detector if its IoU with that is {DETECTOR_RULES[rule]} {threshold:g}; concepts are the distinct ones"
        " among the detectors."
    )


def layer_table(layer: str, rows: pd.DataFrame, arms: pd.DataFrame) -> str:
    """The table of one layer: curves, then baselines, then references."""
    columns = [column for column in COLUMNS if column in rows and rows[column].notna().any()]
    titles = ["", "weights", "n", *(COLUMNS[column] for column in columns)]
    units = " or ".join(map(str, sorted(set(rows["units"]))))
    title = f"{layer}, {counted(units, 'unit')}"
    bodies = (arm_body(name, of_arm, columns) for name, of_arm in arms_in_order(rows, arms))
    return framed(title, head(titles, [False, *[True] * (len(titles) - 1)]) + "".join(bodies))


def arms_in_order(rows: pd.DataFrame, arms: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """What each arm is called, and its rows, without those that are its base's networks."""
    called, repeating = name_arms(arms), begin_with_base(arms)
    for arm in arms.sort_values("role", key=lambda roles: roles.map(ROLES.index), kind="stable").itertuples():
        of_arm = rows[rows["arm"] == arm.arm]
        if arm.arm in repeating and of_arm["level"].nunique() > 1:
            of_arm = of_arm[of_arm["level"] > 0]
        if len(of_arm):
            yield HEADINGS[arm.role] + called[arm.arm], of_arm


def arm_body(name: str, rows: pd.DataFrame, columns: list[str]) -> str:
    """The part of a table with the levels of one arm."""
    levels = [of_level for _, of_level in rows.groupby("level")]
    # The weights, unless it is the epochs that tell the levels apart.
    size = max((weights, epochs), key=lambda cell: len({cell(level) for level in levels}))
    lines: list[str] = []
    for level in levels:
        cells = [size(level), str(level["replicate"].nunique()), *(mean_and_sd(level[column]) for column in columns)]
        start = f'<th scope="rowgroup" rowspan="{len(levels)}">{escape(name)}</th>' if not lines else ""
        lines.append(f"<tr>{start}{''.join(cell(text, True) for text in cells)}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"
