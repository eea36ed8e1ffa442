"""What is measured of a network, and how figures call it."""

from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.keys import BASELINE, CURVE

OTHER_NAME = "units counted in every category"


class Measure(NamedTuple):
    """Something drawn against density: its column, that of the other way of counting, its title."""

    column: str
    other: str | None
    title: str


ACCURACY = Measure("accuracy %", None, "Test accuracy (%)")
UNITS = Measure("detectors_a %", None, "Detectors (% of units)")
CONCEPTS = Measure("concepts_a", "concepts_b", "Unique concepts")
UNITS_IN_CATEGORY = Measure("detectors_a", "detectors_b", "Detectors")


def accuracy_rows(networks: pd.DataFrame) -> pd.DataFrame:
    """A row per network whose accuracy was measured, of no layer: it belongs to the network. Chance has its counts."""
    measured = networks[networks["accuracy %"].notna() & (networks["role"] != BASELINE)]
    return measured.drop_duplicates(["arm", "replicate", "level"]).assign(layer="")


def has_accuracy(networks: pd.DataFrame) -> bool:
    """Tell whether a network of a curve has a test accuracy."""
    return networks.loc[networks["role"] == CURVE, "accuracy %"].notna().any()


def count_limits(rows: pd.DataFrame, measure: Measure) -> tuple[float, float]:
    """The ends of an axis for a measure, from just below 0 to just above the largest."""
    top = max(1, rows[measure.column].max(), rows[measure.other].max() if measure.other else 0)
    return -0.03 * top, 1.06 * top


def units_title(rows: pd.DataFrame) -> str:
    """The title of an axis of detectors in per cent of the units, with their number if all networks have the same."""
    counts = rows["units"].unique()
    return f"Detectors (% of {counts[0]} units)" if len(counts) == 1 else UNITS.title
