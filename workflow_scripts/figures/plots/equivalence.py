"""How far pruned networks differ from the dense ones, against the weights that remain. Differences in {measures}.
Marks: means over replicates of the difference from the dense network of the same replicate. {bars} Grey band: the
margin that the config sets; less is no change. {marks} {references} {line} A unit is a detector if its IoU with its
best concept is {detector_iou}. {n}. {layers}.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density, of_role
from workflow_scripts.figures.facts import describe_nine_tenths, list_references, sentence
from workflow_scripts.figures.intervals import (
    describe_marks,
    draw_intervals,
    draw_margin,
    interval_handles,
    look_of_arm,
    side_by_side,
)
from workflow_scripts.figures.panels import (
    add_legend,
    all_dense,
    columns_within,
    layout,
    mark_nine_tenths,
    place_layout,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import TEXT_WIDTH
from workflow_scripts.findings.words import joined
from workflow_scripts.plan.keys import CURVE, REFERENCE

ORDER = 42

ACCURACY = "accuracy"
TITLES = {
    "units": "Detectors, change (% of dense)",
    "concepts": "Concepts, change (% of dense)",
    "units_above_rotation": "Units above rotation, change (% of dense detectors)",
    ACCURACY: "Test accuracy, change (points)",
}
IN_WORDS = {
    ("units", "concepts"): "detectors and unique concepts (in per cent of the dense networks' mean)",
    (ACCURACY,): "test accuracy (in percentage points)",
    ("units_above_rotation",): (
        "units above rotation (detectors minus those in a random basis, in per cent of the dense networks' detectors)"
    ),
}


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The differences from the dense networks: a row for each layer, a panel for each measure."""
    rows = relate(frames["equivalence"])
    layers = list(rows.loc[rows["measure"] != ACCURACY, "layer"].unique()) or [""]
    measures = [measure for measure in TITLES if (rows["measure"] == measure).any()]
    counts = [measure for measure in measures if measure != ACCURACY]
    width = width or TEXT_WIDTH
    rows_of_panels = layout(layers, counts, ACCURACY in measures, columns_within(len(measures), width))
    figure, cells = place_layout(rows_of_panels, width, panel_height=1.8)
    shown = {f"{count} {layer}": (layer, count) for layer in layers for count in counts} | {ACCURACY: ("", ACCURACY)}
    for name, axes in cells.items():
        layer, measure = shown[name]
        draw_differences(axes, rows[(rows["measure"] == measure) & (rows["layer"] == layer)], rows)
        axes.set_ylabel(TITLES[measure])
        axes.set_title(layer)
    add_legend(figure, interval_handles(rows, rows["shown"] == "equivalent"), columns=4)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    if not all_dense(relate(frames["equivalence"])):
        return ""
    return "No network of known density here is a pruned copy of a dense one, so there is nothing to compare."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What is measured, and what marks and bars are."""
    rows = relate(frames["equivalence"])
    drawn = [words for measures, words in IN_WORDS.items() if rows["measure"].isin(measures).any()]
    references = list_references(of_role(rows, REFERENCE))
    return {
        "measures": joined(drawn),
        **describe_marks(rows, rows["shown"] == "equivalent"),
        "line": sentence(describe_nine_tenths(sparsest(rows))),
        "references": f"Black marks: {references}." if references else "",
    }


def relate(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of known density that compare with dense networks, in per cent of these; accuracy in points.

    Rows without a dense count are left out.
    """
    rows = of_known_density(rows[rows["against"] == "dense"])
    most = rows.sort_values("n", kind="stable").drop_duplicates(["base", "layer", "measure"], keep="last")
    dense = most.set_index(["base", "layer", "measure"])["mean_against"]
    kinds = rows["measure"].replace("units_above_rotation", "units")
    places = zip(rows["base"], rows["layer"], kinds, strict=True)
    scales = np.array([1.0 if place[2] == ACCURACY else dense.get(place, np.nan) for place in places])
    columns = ["difference", "low90", "high90", "margin"]
    related = rows.assign(**{column: 100 * rows[column] / scales for column in columns})
    return related[scales > 0]


def draw_differences(axes: Axes, rows: pd.DataFrame, everything: pd.DataFrame) -> None:
    """Draw the differences of one measure in one layer; `everything` is drawn in the figure."""
    lowest = sparsest(everything)
    mark_nine_tenths(axes)
    if len(rows):
        draw_margin(axes, rows["margin"].iloc[0])
    for role in (CURVE, REFERENCE):
        arms = list(everything.loc[everything["role"] == role, "arm"].unique())
        for arm, of_arm in rows[rows["role"] == role].groupby("arm", sort=False):
            of_arm = of_arm.sort_values("remaining %", ascending=False, kind="stable")
            places = side_by_side(of_arm, arms.index(arm), len(arms), lowest)
            draw_intervals(axes, places, of_arm, of_arm["shown"] == "equivalent", look_of_arm(of_arm))
    set_density_axis(axes, lowest)
