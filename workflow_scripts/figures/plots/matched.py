"""Do detectors and concepts follow accuracy or sparsity? Differences between pruned networks and those of another arm
that are as accurate, or as dense, against the weights that remain. Marks: detectors and concepts of {bases} minus those
of the other arm, means over replicates. The other arm is interpolated between its networks (linearly over accuracy, and
over the logarithm of density), never extrapolated: where there is no mark, it has no network of that accuracy or
density. {bars} Grey band: the margin; less is no difference. {marks} A count follows accuracy if the arms are
equivalent at equal accuracy and differ at equal density, and sparsity the other way round; ``matched.csv`` says which.
{references} {line} A unit is a detector if its IoU with its best concept is {detector_iou}. {n}. {layers}.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density, of_role
from workflow_scripts.figures.facts import as_rst, describe_nine_tenths, list_references, sentence
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
    columns_within,
    height_on_page,
    mark_nine_tenths,
    panels,
    set_density_axis,
)
from workflow_scripts.figures.style import TEXT_WIDTH
from workflow_scripts.findings.words import joined
from workflow_scripts.plan.keys import REFERENCE
from workflow_scripts.plan.replicates import LEAST_REPLICATES

ORDER = 72

NAMES = {"units": "Detectors", "concepts": "Concepts"}
PANELS = [(measure, by) for measure in NAMES for by in ("accuracy", "density")]


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The differences at equal accuracy and at equal density: a row for each network and layer."""
    rows = known_differences(frames)
    shown = list(rows[["imp_arm", "layer"]].drop_duplicates().itertuples(index=False, name=None))
    width = width or TEXT_WIDTH
    columns = 4 if columns_within(4, width) == 4 else 2  # both ways to match side by side
    height = height_on_page(len(shown) * len(PANELS) // columns, 2)
    figure, grid = panels(len(shown) * len(PANELS) // columns, columns, width, height)
    lowest = rows["remaining %"].min()
    for panels_of_layer, (base, layer) in zip(grid.reshape(len(shown), -1), shown, strict=True):
        of_layer = rows[(rows["imp_arm"] == base) & (rows["layer"] == layer)]
        for axes, (measure, by) in zip(panels_of_layer, PANELS, strict=True):
            arms = list(of_layer["arm"].unique())
            draw_differences(axes, of_layer[of_layer["measure"] == measure], by, arms, lowest)
            axes.set_ylabel(f"{NAMES[measure]}, difference")
            axes.set_title(f"at equal {by}", loc="left")
        network = of_layer["network_name"].iloc[0]
        title = f"{layer}, {network}" if rows["imp_arm"].nunique() > 1 else layer
        panels_of_layer[0].set_title(f"{title}\n{panels_of_layer[0].get_title(loc='left')}", loc="left")
    add_legend(figure, interval_handles(rows, rows["equivalent"].eq(True)), columns=3)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    if len(known_differences(frames)):
        return ""
    return "No other arm here has networks of equal accuracy or density to compare."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Which arm others are compared with, and what marks and bars are."""
    rows = known_differences(frames)
    described = describe_marks(rows, rows["equivalent"].eq(True))
    leaving = " Those of two replicates may leave the panel." if (rows["n"] < LEAST_REPLICATES).any() else ""
    references = list_references(of_role(rows, REFERENCE))
    return {
        "bases": joined([as_rst(name) for name in rows["network_name"].unique()]),
        "marks": described["marks"],
        "bars": described["bars"] and f"{described['bars']}{leaving}",
        "line": sentence(describe_nine_tenths(rows["remaining %"].min())),
        "references": f"Black marks: {references}." if references else "",
    }


def known_differences(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows that are drawn."""
    rows = frames["matched"]
    return of_known_density(rows[rows["difference"].notna()])


def draw_differences(axes: Axes, rows: pd.DataFrame, by: str, arms: list[str], lowest: float) -> None:
    """Draw the differences of one measure in one layer at equal accuracy or density, both on one scale."""
    mark_nine_tenths(axes)
    if len(rows):
        draw_margin(axes, rows["margin"].iloc[0])
        testable = rows[rows["n"] >= LEAST_REPLICATES]  # intervals of two replicates would hide all others
        most = rows["difference"].abs().max(), *testable[["low90", "high90"]].abs().max(), rows["margin"].iloc[0], 1
        most = 1.08 * np.nanmax(most)
        axes.set_ylim(-most, most)
    for arm, of_arm in rows[rows["matched_by"] == by].groupby("arm", sort=False):
        of_arm = of_arm.sort_values("remaining %", ascending=False, kind="stable")
        places = side_by_side(of_arm, arms.index(arm), len(arms), lowest)
        draw_intervals(axes, places, of_arm, of_arm["equivalent"].eq(True), look_of_arm(of_arm))
    set_density_axis(axes, lowest)
