"""How far pruned networks differ from the dense ones: interpretable units, unique concepts, test accuracy and, where
layers are rotated, units beyond those of a random basis, against the weights that remain. Mean over replicates of the
difference from the dense network of the same replicate, in per cent of what the dense networks have in the mean; test
accuracy in percentage points, units above rotation in per cent of the dense networks' units. Bars: 90 % intervals
(Student's t). Grey band: the margin, which the config fixed before the run: less is no change. Filled marks: the
level is shown to be equivalent, that is, its interval lies within the band; hollow: it is not, be it that it differs or
that there are too few replicates to tell. Open black marks: references, as the dense training once more in another
order, which tells the noise. A row for each layer; intervals of several arms at one level stand beside each other.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.intervals import draw_intervals, draw_margin, interval_handles, look_of_arm, side_by_side
from workflow_scripts.figures.panels import (
    LEGEND_HEIGHT,
    add_legend,
    all_dense,
    draw_sentence,
    mark_nine_tenths,
    panels,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import PAGE_HEIGHT, TEXT_WIDTH
from workflow_scripts.plan.keys import CURVE, REFERENCE

ORDER = 42

ACCURACY = "accuracy"
TITLES = {
    "units": "Units, change (% of dense)",
    "concepts": "Concepts, change (% of dense)",
    "units_above_rotation": "Units above rotation,\nchange (% of dense units)",
    ACCURACY: "Test accuracy, change (points)",
}


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """The differences from the dense networks: a row for each layer, a panel for each measure."""
    rows = relate(frames["equivalence"])
    if all_dense(rows):
        return draw_sentence("No network here is a pruned copy of a dense one: there is nothing to compare.")
    layers = list(rows.loc[rows["measure"] != ACCURACY, "layer"].unique()) or [""]
    measures = [measure for measure in TITLES if (rows["measure"] == measure).any()]
    height = min(2.0, (PAGE_HEIGHT - LEGEND_HEIGHT) / len(layers))
    figure, grid = panels(len(layers), len(measures), TEXT_WIDTH, panel_height=height)
    for number, (panels_of_layer, layer) in enumerate(zip(grid, layers, strict=True)):
        for axes, measure in zip(panels_of_layer, measures, strict=True):
            if measure == ACCURACY and number > 0:  # it belongs to no layer
                axes.remove()
                continue
            here = rows[(rows["measure"] == measure) & rows["layer"].isin(["" if measure == ACCURACY else layer])]
            draw_differences(axes, here, rows)
            axes.set_ylabel(TITLES[measure])
        panels_of_layer[0].set_title(layer, loc="left")
    add_legend(figure, interval_handles(rows, "shown to be equivalent", "not shown"), columns=4)
    return figure


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
    set_density_axis(axes, lowest, max_ticks=4)
