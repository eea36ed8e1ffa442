"""Measures against density, a curve for each arm: one measure in large, or by category, or parts of a figure."""

import math
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.arms import of_role
from workflow_scripts.figures.dense import draw_dense
from workflow_scripts.figures.measures import (
    ACCURACY,
    OTHER_NAME,
    UNITS,
    Measure,
    count_limits,
)
from workflow_scripts.figures.panels import (
    DENSE,
    add_legend,
    add_pruned_axis,
    all_dense,
    mark_nine_tenths,
    panels,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import (
    COUNT_TICKS,
    CURVE_COLOURS,
    CURVE_SHAPES,
    DENSE_MARK,
    GREY,
    MEAN_LINE,
    OTHER_LINE,
    REPLICATE_DOT,
    REPLICATE_LINE,
    SMALL,
    TEXT_WIDTH,
    baseline_line,
    reference_mark,
)
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE


def draw_single(measure: Measure, networks: pd.DataFrame) -> Figure:
    """One measure, large, in both ways of counting; a panel per layer."""
    if all_dense(networks):
        return draw_dense([("", networks, measure)])
    layers = networks["layer"].unique()
    figure, grid = panels(len(layers), 1, width=0.65 * TEXT_WIDTH, panel_height=2.8)
    for axes, layer in zip(grid[:, 0], layers, strict=True):
        of_layer = networks[networks["layer"] == layer]
        draw_measure(axes, of_layer, measure)
        if measure is UNITS:
            add_count_axis(axes, of_layer)
        axes.set_title(layer)
    finish(figure, grid, networks, max_ticks=9, other=measure.other, legend_columns=2)
    return figure


def draw_by_category(measure: Measure, categories: pd.DataFrame) -> Figure:
    """One panel per layer and category; every panel has a scale of its own."""
    if all_dense(categories):
        by_category = categories.groupby("category", sort=False)
        return draw_dense([(category, rows, measure) for category, rows in by_category])
    layers, names = categories["layer"].unique(), categories["category"].unique()
    places = list(product(layers, names))
    columns = min(3, len(names))
    rows_of_panels = math.ceil(len(places) / columns)
    figure, grid = panels(rows_of_panels, columns, width=TEXT_WIDTH, panel_height=1.5)
    for axes, (layer, name) in zip(grid.flat, places, strict=False):
        rows = categories[(categories["layer"] == layer) & (categories["category"] == name)]
        draw_measure(axes, rows, measure)
        axes.set_title(name if len(layers) == 1 else f"{layer}: {name}")
    for axes in grid.flat[len(places) :]:
        axes.remove()
    finish(figure, grid, categories, max_ticks=6, other=measure.other, top_axis=False, label_baselines=False)
    return figure


def draw_measure(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw one measure against density: replicates thin, their mean bold, baselines dashed, references as points.

    `rows` has one row per network, with the columns of `describe_arms`, replicate, level, "remaining %" and the
    measure's; where the measure's is empty a network is left out.
    """
    counted = measure is not ACCURACY
    mark_nine_tenths(axes)
    rows = rows[rows[measure.column].notna()]
    if counted:
        for of_baseline in of_role(rows, BASELINE):
            draw_baseline(axes, of_baseline, measure)
    for number, of_arm in rows[rows["role"] == CURVE].groupby("number"):
        draw_curve(axes, of_arm, measure, curve_look(number))
        mark_dense(axes, of_arm, measure, curve_look(number))
    for of_reference in of_role(rows, REFERENCE):
        mark = reference_mark(of_reference["look"].iloc[0])
        for _, of_level in of_reference.groupby("level"):
            axes.plot(of_level["remaining %"].mean(), of_level[measure.column].mean(), **mark)
    axes.set_ylabel(measure.title)
    if counted:
        axes.set_ylim(count_limits(rows, measure))
        axes.yaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def draw_baseline(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw the mean of a baseline's networks: one level as a line across the panel, several against density."""
    look = {"linewidth": 1, "label": rows["name"].iloc[0], **look_of(rows)}
    if rows["level"].nunique() == 1:
        axes.axhline(rows[measure.column].mean(), **look)
    else:
        mean = mean_of_replicates(rows.sort_values("remaining %", ascending=False, kind="stable"))
        axes.plot(mean["remaining %"], mean[measure.column], **look)


def look_of(rows: pd.DataFrame) -> dict:
    """Colour and dashes of the baseline that `rows` belong to."""
    return baseline_line(rows["look"].iloc[0], rows["number"].iloc[0])


def curve_look(number: int) -> dict:
    """Colour, marker and dashes of the curve of that number: all colours with one shape, then all with the next."""
    shape = CURVE_SHAPES[number // len(CURVE_COLOURS) % len(CURVE_SHAPES)]
    return {"color": CURVE_COLOURS[number % len(CURVE_COLOURS)], **shape}


def draw_curve(axes: Axes, rows: pd.DataFrame, measure: Measure, look: dict) -> None:
    """Draw one arm's measure: each replicate thin, and their mean bold."""
    colour = look["color"]
    rows = rows.sort_values("remaining %", ascending=False, kind="stable")
    for _, of_replicate in rows.groupby("replicate"):
        style = REPLICATE_LINE if len(of_replicate) > 1 else REPLICATE_DOT
        axes.plot(of_replicate["remaining %"], of_replicate[measure.column], color=colour, **style)
    mean = mean_of_replicates(rows)
    if measure.other:
        axes.plot(mean["remaining %"], mean[measure.other], color=colour, **OTHER_LINE)
    axes.plot(mean["remaining %"], mean[measure.column], **MEAN_LINE | look)


def mark_dense(axes: Axes, rows: pd.DataFrame, measure: Measure, look: dict) -> None:
    mean = mean_of_replicates(rows)
    dense = mean[mean["remaining %"] >= DENSE]
    mark = DENSE_MARK | {"marker": look["marker"], "color": look["color"]}
    axes.plot(dense["remaining %"], dense[measure.column], **mark)


def mean_of_replicates(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of every number over the replicates, indexed by level, the levels in the order of `rows`."""
    return rows.drop(columns="replicate").groupby("level", sort=False).mean(numeric_only=True)


def add_count_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """The number of units on the right, where all networks have as many."""
    counts = rows["units"].unique()
    if len(counts) == 1:
        of_percent = counts[0] / 100
        right = axes.secondary_yaxis("right", functions=(lambda y: y * of_percent, lambda y: y / of_percent))
        right.set_ylabel(f"Interpretable units (of {counts[0]})")


def finish(
    figure: Figure,
    grid: np.ndarray,
    rows: pd.DataFrame,
    max_ticks: int,
    other: str | None = None,
    legend_columns: int = 4,
    top_axis: bool = True,
    label_baselines: bool = True,
) -> None:
    """Give every panel its density axis and the figure its legend.

    The baselines are named there, or with `label_baselines` on their lines, if these are level and of one base.
    """
    for axes in figure.axes:
        set_density_axis(axes, sparsest(rows), max_ticks)
    if top_axis:
        for column in grid.T:
            add_pruned_axis(next(axes for axes in column if axes in figure.axes))
    handles = legend_handles(rows, other)
    baselines = of_role(rows, BASELINE)
    several = any(of_baseline["number"].iloc[0] for of_baseline in baselines)
    level = all(of_baseline["level"].nunique() == 1 for of_baseline in baselines)
    on_lines = label_baselines and level and not several
    if not on_lines:
        dashed = {} if several else {"linestyle": "--"}
        looks = {of_baseline["name"].iloc[0]: look_of(of_baseline) | dashed for of_baseline in baselines}
        handles += [Line2D([], [], linewidth=1, label=name, **look) for name, look in looks.items()]
    add_legend(figure, handles, legend_columns)
    if on_lines:
        figure.draw_without_rendering()  # settles where things are
        for axes in figure.axes:
            name_baselines(axes)


def legend_handles(rows: pd.DataFrame, other: str | None) -> list[Line2D]:
    curves = rows[rows["role"] == CURVE]
    arms = curves[["number", "name"]].drop_duplicates().sort_values("number")
    colour = CURVE_COLOURS[0] if len(arms) == 1 else GREY
    handles = []
    if len(arms) > 1:
        handles += [
            Line2D([], [], label=name, **curve_look(number), **MEAN_LINE)
            for number, name in arms.itertuples(index=False)
        ]
    if curves["replicate"].nunique() > 1:
        handles += [
            Line2D([], [], color=colour, label="mean of replicates", **CURVE_SHAPES[0], **MEAN_LINE),
            Line2D([], [], color=colour, label="one replicate", **REPLICATE_LINE),
        ]
    if (curves["remaining %"] >= DENSE).any():
        handles.append(Line2D([], [], color=colour, label="dense", **DENSE_MARK))
    for of_reference in of_role(rows, REFERENCE):
        handles.append(
            Line2D([], [], label=of_reference["name"].iloc[0], **reference_mark(of_reference["look"].iloc[0]))
        )
    if other:
        handles.append(Line2D([], [], color=colour, label=OTHER_NAME, **OTHER_LINE))
    return handles


def baseline_lines(axes: Axes) -> list[Line2D]:
    """The baselines of a panel against density: there they are the lines that have a label."""
    return [line for line in axes.lines if not line.get_label().startswith("_")]


def name_baselines(axes: Axes) -> None:
    """Write each baseline's name over its line, at the dense end; where lines lie close, stack the names above them."""
    points = 72 / axes.figure.dpi
    lines = sorted(baseline_lines(axes), key=lambda line: line.get_ydata()[0])
    heights = [axes.transData.transform((100, line.get_ydata()[0]))[1] * points for line in lines]
    free = -np.inf
    for line, line_at in zip(lines, heights, strict=True):
        text_at = max(line_at + 2, free)
        for height in heights:
            if text_at - 2 < height < text_at + SMALL:
                text_at = height + 2
        free = text_at + 1.2 * SMALL
        y = line.get_ydata()[0]
        axes.annotate(
            line.get_label(),
            (0.03, y),
            xycoords=("axes fraction", "data"),
            xytext=(0, text_at - line_at),
            textcoords="offset points",
            fontsize=SMALL,
            color=line.get_color(),
        )
