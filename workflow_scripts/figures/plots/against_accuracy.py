"""Does interpretability follow accuracy or sparsity? A point for each network: interpretable units and unique
concepts against test accuracy (the axis is logarithmic in the error), coloured by the weights that remain. Lines join
the networks of a replicate from dense to sparse. Where they fall steeply, interpretability goes while accuracy stays;
where networks of unlike colours lie together, it follows accuracy whatever the sparsity. Crosses, stars and other
filled marks in colours of their own: baselines; open marks: references. A row for each layer and each curve of the
other figures.
"""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.arms import of_role
from workflow_scripts.figures.measures import ACCURACY, CONCEPTS, UNITS, Measure, count_limits, units_title
from workflow_scripts.figures.panels import (
    Place,
    add_density_bar,
    add_legend,
    all_dense,
    density_colours,
    labelled,
    panels,
    places,
    sparsest,
)
from workflow_scripts.figures.style import COUNT_TICKS, GREY, LIGHT_GREY, TEXT_WIDTH, baseline_mark, reference_mark
from workflow_scripts.plan.keys import BASELINE, REFERENCE

ORDER = 70
NEEDS_ACCURACY = True

LEAST_ERROR = 0.01  # %: where no error at all is drawn
# In per cent; of two that are too close, the first in this order is written.
ROUND_ACCURACIES = (0, 90, 99, 99.9, 50, 80, 95, 98, 99.5, *range(10, 80, 10), *range(55, 90, 10), *range(91, 98))
TICKS_APART = 0.1  # of the axis
JOIN = "#aaaaaa"
REPLICATE_MARKERS = "os^v<>ph"
EDGE = {"edgecolors": GREY, "linewidths": 0.4}
LEGEND_DOT = {
    "linestyle": "none",
    "markersize": 4,
    "color": LIGHT_GREY,
    "markeredgecolor": GREY,
    "markeredgewidth": 0.4,
}


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """Units and concepts against accuracy, where that was measured; a row of panels for each layer and curve."""
    networks = frames["networks"]
    measured = networks[networks["accuracy %"].notna()]
    shown = places(measured)
    figure, grid = panels(len(shown), 2, width=TEXT_WIDTH, panel_height=2.2 if len(shown) < 4 else 1.7)
    colours = density_colours(sparsest(measured))
    for row, place in zip(grid, shown, strict=True):
        for axes, measure in zip(row, (UNITS, CONCEPTS._replace(other=None)), strict=True):
            draw_networks(axes, place, measure, colours)
        row[0].set_ylabel(units_title(place.rows))
        row[0].set_title(place.title, loc="left")
    if not all_dense(measured):
        add_density_bar(figure, colours)
    add_legend(figure, labelled(figure), columns=4)
    return figure


def draw_networks(axes: Axes, place: Place, measure: Measure, colours: ScalarMappable) -> None:
    """Draw networks of an arm as points, those of each replicate joined from dense to sparse, and its comparisons."""
    for marker, (replicate, rows) in zip(cycle(REPLICATE_MARKERS), place.rows.groupby("replicate"), strict=False):
        rows = rows.sort_values("remaining %", ascending=False, kind="stable")
        points = rows["accuracy %"], rows[measure.column]
        axes.plot(*points, color=JOIN, linewidth=0.7, zorder=1)
        axes.scatter(*points, s=16, c=colours.to_rgba(rows["remaining %"]), marker=marker, **EDGE, zorder=2)
        axes.plot([], [], marker=marker, label=f"replicate {replicate}", **LEGEND_DOT)
    for role, mark in ((BASELINE, baseline_mark), (REFERENCE, reference_mark)):
        for of_arm in of_role(place.comparisons, role):
            look = {"label": of_arm["short_name"].iloc[0], **mark(of_arm["look"].iloc[0])}
            axes.plot(of_arm["accuracy %"], of_arm[measure.column], zorder=3, **look)
    drawn = pd.concat([place.rows, place.comparisons])
    set_accuracy_axis(axes, drawn["accuracy %"])
    axes.set_ylabel(measure.title)
    axes.set_ylim(count_limits(drawn, measure))
    axes.yaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def set_accuracy_axis(axes: Axes, accuracy: pd.Series) -> None:
    """Accuracy on an axis that is logarithmic in the error: most networks lie close to the best."""
    error = (100 - accuracy).clip(lower=LEAST_ERROR)
    edge = max(error.max() / error.min(), 1.1) ** 0.06
    low, high = 100 - error.max() * edge, 100 - error.min() / edge
    axes.set_xscale("function", functions=(to_place, to_accuracy))
    axes.set_xlim(low, high)
    ticks = []
    for tick in ROUND_ACCURACIES:
        apart = [abs(to_place(tick) - to_place(other)) for other in ticks]
        if low <= tick <= high and min(apart, default=np.inf) > TICKS_APART * (to_place(high) - to_place(low)):
            ticks.append(tick)
    if len(ticks) < 2:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.set_xlabel(ACCURACY.title)


def to_place(accuracy: np.ndarray) -> np.ndarray:
    return -np.log10(np.maximum(100 - accuracy, LEAST_ERROR))


def to_accuracy(place: np.ndarray) -> np.ndarray:
    return 100 - 10**-place
