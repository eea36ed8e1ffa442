"""Does interpretability follow accuracy or sparsity? Detectors and unique concepts against test accuracy (the axis is
logarithmic in the error). {reading} {points} {baselines} {references} A unit is a detector if its IoU with its best
concept is {detector_iou}. {n}. {layers}.
"""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.arms import look_of, of_role
from workflow_scripts.figures.curves import mean_of_replicates
from workflow_scripts.figures.facts import has_spread, list_baselines, list_references, sentence
from workflow_scripts.figures.measures import ACCURACY, CONCEPTS, UNITS, Measure, count_limits, units_title
from workflow_scripts.figures.numbers import exact
from workflow_scripts.figures.panels import (
    DENSE,
    EACH,
    add_density_bar,
    add_legend,
    all_dense,
    axes_width,
    curves_on_page,
    density_colours,
    density_ticks,
    first_curves,
    height_on_page,
    labelled,
    panels,
    places,
    say_left_out,
    sparsest,
)
from workflow_scripts.figures.style import (
    COUNT_TICKS,
    GREY,
    LIGHT_GREY,
    REPLICATE_DOT,
    TEXT_WIDTH,
    baseline_mark,
    curve_look,
    reference_mark,
    scaled,
)
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE

ORDER = 70
NEEDS_ACCURACY = True

MEASURES = (UNITS, CONCEPTS._replace(other=None))
LEAST_HEIGHT = 1.7  # inches of a panel
LEAST_ERROR = 0.01  # %: where no error at all is drawn
# In per cent; of two that are too close, the first in this order is written.
ROUND_ACCURACIES = (0, 90, 99, 99.9, 50, 80, 95, 98, 99.5, *range(10, 80, 10), *range(55, 90, 10), *range(91, 98))
TICKS_APART = 0.29  # inches
JOIN = "#aaaaaa"
REPLICATE_MARKERS = "os^v<>ph"
SIZES = 0.6  # inches: of an axis whose ticks are few enough for the legend of sizes
EDGE: dict[str, Any] = {"edgecolors": GREY, "linewidths": 0.4}
LEGEND_DOT: dict[str, Any] = {
    "linestyle": "none",
    "markersize": 4,
    "color": LIGHT_GREY,
    "markeredgecolor": GREY,
    "markeredgewidth": 0.4,
}
NETWORK_DOT: dict[str, Any] = REPLICATE_DOT | {"markersize": 2}
SMALLEST, LARGEST = 2, 6.5  # points across: marks of the sparsest network and of a dense one


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Detectors and concepts against accuracy, where that was measured; a row for each layer and network."""
    networks = frames["networks"]
    measured = networks[networks["accuracy %"].notna()]
    return (draw_methods if has_several_methods(networks) else draw_densities)(measured, width or TEXT_WIDTH)


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What points, lines, colours and grey and black marks are, and how to read them where networks are pruned."""
    networks = frames["networks"]
    measured = networks[networks["accuracy %"].notna()]
    curves = measured[measured["role"] == CURVE]
    reading = (
        "Where points fall steeply, interpretability declines while accuracy stays; where networks of different density"
        " lie together, it follows accuracy whatever the sparsity."
    )
    if has_several_methods(networks):
        each = "small points: each replicate" if has_spread(curves) else ""
        points = sentence("colours: methods", each, "lines join means; smaller marks: less of the weights remains")
    elif all_dense(measured):
        points = "Points: networks."
    else:
        points = "Points: networks, coloured by the weights that remain; lines join those of a replicate."
    baselines = of_role(measured, BASELINE)
    references = list_references(of_role(measured, REFERENCE), "short_name")
    return {
        "reading": "" if all_dense(measured) else reading,
        "points": points,
        "baselines": f"Filled grey marks: {list_baselines(baselines, 'short_name')}." if baselines else "",
        "references": f"Open black marks: {references}." if references else "",
    }


def has_several_methods(networks: pd.DataFrame) -> bool:
    """Tell whether a network has several curves, among the networks whose accuracy was measured."""
    curves = networks[(networks["role"] == CURVE) & networks["accuracy %"].notna()]
    return curves.groupby("network")["arm"].nunique().max() > 1


def draw_methods(measured: pd.DataFrame, width: float) -> Figure:
    """All arms of a network together, coloured by method."""
    of_networks = [rows for _, rows in measured.groupby("network", sort=False) if (rows["role"] == CURVE).any()]
    most = curves_on_page(measured, LEAST_HEIGHT, columns=1)
    shown = [
        (rows, layer) for rows in of_networks[:most] for layer in rows.loc[rows["role"] == CURVE, "layer"].unique()
    ]
    figure, grid = panels(len(shown), 2, width, height_on_page(len(shown), 2.8 if len(shown) < 3 else LEAST_HEIGHT))
    lowest = min(sparsest(measured), DENSE)
    for row, (rows, layer) in zip(grid, shown, strict=True):
        of_layer = rows[rows["layer"] == layer]
        for axes, measure in zip(row, MEASURES, strict=True):
            for _, of_arm in of_layer[of_layer["role"] == CURVE].groupby("number"):
                draw_arm(axes, of_arm, measure, lowest)
            draw_comparisons(axes, of_layer, measure, means=True)
            set_axes(axes, of_layer, measure)
        row[0].set_ylabel(units_title(of_layer))
        name = rows["network_name"].iloc[0]
        row[0].set_title(layer if len(of_networks) == 1 else f"{layer}, {name}", loc="left")
    curves_first = sorted(labelled(figure), key=lambda line: line.get_linestyle() == "None")
    add_legend(figure, curves_first + mark_handles(measured, lowest), columns=4)
    left_out = [name for rows in of_networks[most:] for name in rows.loc[rows["role"] == CURVE, "name"].unique()]
    say_left_out(figure, left_out)
    return figure


def draw_arm(axes: Axes, rows: pd.DataFrame, measure: Measure, lowest: float) -> None:
    """Draw one arm's networks as small points, and join the means of its levels from dense to sparse."""
    look = curve_look(*look_of(rows))
    mean = mean_of_replicates(rows.sort_values("remaining %", ascending=False, kind="stable"))
    if rows["replicate"].nunique() > 1:
        axes.plot(rows["accuracy %"], rows[measure.column], color=look["color"], zorder=1, **NETWORK_DOT)
    sizes = mark_size(mean["remaining %"].fillna(lowest), lowest)
    points = mean["accuracy %"], mean[measure.column]
    axes.plot(*points, linewidth=1.1, zorder=2, label=rows["name"].iloc[0], **look | {"markersize": 0})
    axes.scatter(*points, s=sizes**2, color=look["color"], marker=look["marker"], linewidths=0, zorder=2)


def mark_size(remaining: float | pd.Series, lowest: float) -> float | pd.Series:
    """Points across a mark of a network with so many of its weights (%), if the sparsest has `lowest`."""
    share = np.log(remaining / lowest) / np.log(100 / lowest)
    return SMALLEST + (LARGEST - SMALLEST) * share


def mark_handles(measured: pd.DataFrame, lowest: float) -> list[Line2D]:
    """What the legend says of sizes and of small points."""
    handles = [
        Line2D(
            [],
            [],
            marker="o",
            label=f"{exact(tick)} % of the weights",
            **LEGEND_DOT | {"markersize": mark_size(tick, lowest)},
        )
        for tick in density_ticks(lowest, scaled(SIZES))
    ]
    if measured.loc[measured["role"] == CURVE, "replicate"].nunique() > 1:
        handles.append(Line2D([], [], color=GREY, label=EACH, **NETWORK_DOT))
    return handles


def draw_densities(measured: pd.DataFrame, width: float) -> Figure:
    """One arm a panel, coloured by the weights that remain."""
    measured, left_out = first_curves(measured, curves_on_page(measured, LEAST_HEIGHT, columns=1))
    shown = places(measured)
    figure, grid = panels(len(shown), 2, width, height_on_page(len(shown), 2.2 if len(shown) < 4 else LEAST_HEIGHT))
    colours = density_colours(sparsest(measured))
    for row, place in zip(grid, shown, strict=True):
        for axes, measure in zip(row, MEASURES, strict=True):
            draw_replicates(axes, place.rows, measure, colours)
            draw_comparisons(axes, place.comparisons, measure)
            set_axes(axes, pd.concat([place.rows, place.comparisons]), measure)
        row[0].set_ylabel(units_title(place.rows))
        row[0].set_title(place.title, loc="left")
    if not all_dense(measured):
        add_density_bar(figure, colours)
    add_legend(figure, labelled(figure), columns=4)
    say_left_out(figure, left_out)
    return figure


def draw_replicates(axes: Axes, rows: pd.DataFrame, measure: Measure, colours: ScalarMappable) -> None:
    """Draw networks of an arm as points, those of each replicate joined from dense to sparse."""
    for marker, (replicate, of_replicate) in zip(cycle(REPLICATE_MARKERS), rows.groupby("replicate"), strict=False):
        of_replicate = of_replicate.sort_values("remaining %", ascending=False, kind="stable")
        points = of_replicate["accuracy %"], of_replicate[measure.column]
        axes.plot(*points, color=JOIN, linewidth=0.7, zorder=1)
        axes.scatter(*points, s=16, c=colours.to_rgba(of_replicate["remaining %"]), marker=marker, **EDGE, zorder=2)
        axes.plot([], [], marker=marker, label=f"replicate {replicate}", **LEGEND_DOT)


def draw_comparisons(axes: Axes, rows: pd.DataFrame, measure: Measure, means: bool = False) -> None:
    """Draw the networks of baselines and references, or the `means` of their replicates."""
    for role, mark in ((BASELINE, baseline_mark), (REFERENCE, reference_mark)):
        for of_arm in of_role(rows, role):
            look = {"label": of_arm["short_name"].iloc[0], **mark(of_arm["look"].iloc[0])}
            points = mean_of_replicates(of_arm) if means else of_arm
            axes.plot(points["accuracy %"], points[measure.column], zorder=3, **look)


def set_axes(axes: Axes, drawn: pd.DataFrame, measure: Measure) -> None:
    """Set both axes of a panel: accuracy across, counts of a measure upwards."""
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
    apart_at_least = scaled(TICKS_APART) / axes_width(axes) * (to_place(high) - to_place(low))
    ticks: list[float] = []
    for tick in ROUND_ACCURACIES:
        apart = [abs(to_place(tick) - to_place(other)) for other in ticks]
        if low <= tick <= high and min(apart, default=np.inf) > apart_at_least:
            ticks.append(tick)
    if len(ticks) < 2:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    axes.set_xticks(ticks, labels=[exact(tick) for tick in ticks])
    axes.set_xlabel(ACCURACY.title)


def to_place(accuracy: np.ndarray | float) -> np.ndarray:
    """Where an accuracy in per cent lies on the axis: the negative logarithm of its error, at least LEAST_ERROR."""
    return -np.log10(np.maximum(100 - accuracy, LEAST_ERROR))


def to_accuracy(place: np.ndarray) -> np.ndarray:
    """The accuracy in per cent that lies at a place of the axis."""
    return 100 - 10**-place
