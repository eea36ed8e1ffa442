"""The paper's three curves in one panel: test accuracy, interpretable units and unique concepts of every network,
each in per cent of what the dense network of the same replicate has, against the weights that remain. Bold: the mean
of the replicates; thin: one replicate. Grey lines: the dense network's level, and 90 % pruned, the paper's mark.
Curves that part say that the measures do not decline together. A panel for each layer and each curve of the other
figures; if a page has no room for all curves, the first ones, and a line above names the others. Accuracy is shown
where it was measured, and nothing where no dense network was pruned.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.curves import draw_curve
from workflow_scripts.figures.measures import Measure
from workflow_scripts.figures.panels import (
    DENSE,
    add_legend,
    add_pruned_axis,
    columns_for,
    curves_on_page,
    draw_sentence,
    first_curves,
    mark_nine_tenths,
    place_panels,
    places,
    say_left_out,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    GREY,
    LIGHT_GREY,
    MEASURE_COLOURS,
    REPLICATE_LINE,
    TEXT_WIDTH,
)
from workflow_scripts.plan.keys import CURVE

ORDER = 10

LEAST_HEIGHT = 2.1  # inches of a panel

MEASURES = (
    Measure("accuracy %", None, "test accuracy"),
    Measure("detectors_a %", None, "interpretable units"),
    Measure("concepts_a", None, "unique concepts"),
)
MARKERS = (("o", 3), ("s", 2.8), ("^", 3.6))  # and their sizes
LOOKS: list[dict[str, Any]] = [
    {"color": colour, "linestyle": "-", "marker": marker, "markersize": size}
    for colour, (marker, size) in zip(MEASURE_COLOURS, MARKERS, strict=True)
]


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """What each network has of its own dense network's accuracy, units and concepts; a panel per layer and curve."""
    related = relate_to_dense(frames["networks"])
    if related.empty:
        return draw_sentence("No network here is a pruned copy of a dense one: there is nothing to relate.")
    related, left_out = first_curves(related, curves_on_page(related, LEAST_HEIGHT))
    shown = places(related)
    columns = columns_for(len(shown))
    figure, panels = place_panels(len(shown), columns, min(columns * COLUMN_WIDTH, TEXT_WIDTH), panel_height=2.3)
    for axes, place in zip(panels, shown, strict=True):
        draw_related(axes, place.rows)
        set_density_axis(axes, sparsest(related), max_ticks=9 if columns < 3 else 6)
        add_pruned_axis(axes)
        axes.set_title(place.title)
    top = max(axes.get_ylim()[1] for axes in figure.axes)
    for axes in figure.axes:
        axes.set_ylim(-0.03 * top, top)
    drawn = [measure.column for measure in MEASURES if related[measure.column].notna().any()]
    handles = [
        Line2D([], [], label=measure.title, **look)
        for measure, look in zip(MEASURES, LOOKS, strict=True)
        if measure.column in drawn
    ]
    if related["replicate"].nunique() > 1:
        handles.append(Line2D([], [], color=GREY, label="one replicate", **REPLICATE_LINE))
    add_legend(figure, handles, columns=2 * columns)
    say_left_out(figure, left_out)
    return figure


def relate_to_dense(networks: pd.DataFrame) -> pd.DataFrame:
    """The rows of curves that begin at a dense network and go on, their measures in per cent of that network's.

    The dense network is that of the same arm and replicate; a measure that is 0 there, or unknown, is unknown.
    """
    curves = of_known_density(networks[networks["role"] == CURVE])
    keys, columns = ["arm", "replicate", "layer"], [measure.column for measure in MEASURES]
    dense = curves[curves["remaining %"] >= DENSE].drop_duplicates(keys)
    related = curves.merge(dense[[*keys, *columns]], on=keys, suffixes=("", " dense"))
    for column in columns:
        of_dense = related.pop(f"{column} dense")
        related[column] = 100 * related[column] / of_dense.where(of_dense > 0)
    return related[related.groupby("arm")["remaining %"].transform("min") < DENSE]


def draw_related(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the measures of one arm in per cent of its dense networks; one that was not measured is left out."""
    mark_nine_tenths(axes)
    axes.axhline(100, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for measure, look in zip(MEASURES, LOOKS, strict=True):
        measured = rows[rows[measure.column].notna()]
        if len(measured):
            draw_curve(axes, measured, measure, look)
    axes.set_ylim(0, max(105, 1.04 * axes.dataLim.y1))
    axes.set_ylabel("% of the dense network")
