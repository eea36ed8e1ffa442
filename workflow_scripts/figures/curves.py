"""Measures against density, a curve for each arm: one measure in large, or by category, or parts of a figure."""

from collections.abc import Sequence
from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.arms import look_of, of_known_density, of_role
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
    EACH,
    MOST_COLUMNS,
    MOST_CURVES,
    add_legend,
    add_pruned_axis,
    all_dense,
    columns_for,
    columns_within,
    count_replicates,
    mark_nine_tenths,
    place_panels,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    COUNT_TICKS,
    CURVE_SHAPES,
    DENSE_MARK,
    FAINT,
    GREY,
    MEAN_LINE,
    OTHER_LINE,
    REPLICATE_DOT,
    REPLICATE_LINE,
    TEXT_WIDTH,
    baseline_line,
    curve_look,
    marked_at,
    reference_mark,
)
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE

LEAST_SINGLE = 2.8  # inches of a panel with an axis at both sides


def draw_single(measure: Measure, networks: pd.DataFrame, width: float | None = None) -> Figure:
    """One measure, large, in both ways of counting; a panel per layer. Width in inches, if not the figure's own."""
    if all_dense(networks):
        return draw_dense([("", networks, measure)], width)
    networks = of_known_density(networks)
    layers = networks["layer"].unique()
    width = width or (COLUMN_WIDTH if len(layers) == 1 else TEXT_WIDTH)
    columns = columns_for(len(layers), width, LEAST_SINGLE)
    figure, panels_of_layers = place_panels(len(layers), columns, width, panel_height=2.4)
    for axes, layer in zip(panels_of_layers, layers, strict=True):
        of_layer = networks[networks["layer"] == layer]
        draw_measure(axes, of_layer, measure)
        if measure is UNITS:
            add_count_axis(axes, of_layer)
        axes.set_title(layer)
    finish(figure, panels_of_layers, networks, other=measure.other)
    return figure


def draw_by_category(measure: Measure, categories: pd.DataFrame, width: float | None = None) -> Figure:
    """One panel per layer and category; every panel has a scale of its own. Width in inches, if not the figure's."""
    if all_dense(categories):
        by_category = categories.groupby("category", sort=False)
        return draw_dense([(category, rows, measure) for category, rows in by_category], width)
    categories = of_known_density(categories)
    layers, names = categories["layer"].unique(), categories["category"].unique()
    shown = list(product(layers, names))
    width = width or TEXT_WIDTH
    columns = columns_within(min(MOST_COLUMNS, len(names)), width)
    figure, cells = place_panels(len(shown), columns, width, panel_height=1.6)
    for axes, (layer, name) in zip(cells, shown, strict=True):
        rows = categories[(categories["layer"] == layer) & (categories["category"] == name)]
        draw_measure(axes, rows, measure)
        axes.set_title(name if len(layers) == 1 else f"{layer}: {name}")
    finish(figure, [], categories, other=measure.other)
    return figure


def draw_measure(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw one measure against density: replicates thin, their mean bold, baselines grey, references as points.

    `rows` has one row per network, with the columns of `describe_arms`, replicate, level, "remaining %" and the
    measure's; where the measure's is empty a network is left out.
    """
    counted = measure is not ACCURACY
    mark_nine_tenths(axes)
    rows = rows[rows[measure.column].notna()]
    if counted:
        for of_baseline in of_role(rows, BASELINE):
            draw_baseline(axes, of_baseline, measure)
    curves = rows[rows["role"] == CURVE].groupby("number")
    for _, of_arm in curves:
        look = curve_look(*look_of(of_arm))
        draw_curve(axes, of_arm, measure, look, crowded=len(curves) > MOST_CURVES)
        mark_dense(axes, of_arm, measure, look)
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
    look = {"label": rows["name"].iloc[0], **line_of(rows)}
    if rows["level"].nunique() == 1:
        across = [0, *marked_at(rows["look"].iloc[0]), 1]
        height = [rows[measure.column].mean()] * len(across)
        axes.plot(across, height, transform=axes.get_yaxis_transform(), markevery=[1, 2], **look)
    else:
        mean = mean_of_replicates(rows.sort_values("remaining %", ascending=False, kind="stable"))
        axes.plot(mean["remaining %"], mean[measure.column], **look)


def line_of(rows: pd.DataFrame) -> dict:
    """The look of the line of the one baseline that `rows` are of."""
    return baseline_line(rows["look"].iloc[0], rows["number"].iloc[0])


def draw_curve(
    axes: Axes, rows: pd.DataFrame, measure: Measure, look: dict, crowded: bool = False, bold: str = ""
) -> None:
    """Draw one arm's measure: each replicate thin, and faint where it is `crowded`, and their mean bold.

    `bold` names the column of the bold line, the same in all replicates, if it is not their mean.
    """
    colour, faintness = look["color"], {"alpha": FAINT} if crowded else {}
    rows = rows.sort_values("remaining %", ascending=False, kind="stable")
    for _, of_replicate in rows.groupby("replicate"):
        style = REPLICATE_LINE if len(of_replicate) > 1 else REPLICATE_DOT
        axes.plot(of_replicate["remaining %"], of_replicate[measure.column], color=colour, **style | faintness)
    mean = mean_of_replicates(rows)
    if measure.other:
        axes.plot(mean["remaining %"], mean[measure.other], color=colour, **OTHER_LINE)
    axes.plot(mean["remaining %"], mean[bold or measure.column], **MEAN_LINE | look)


def mark_dense(axes: Axes, rows: pd.DataFrame, measure: Measure, look: dict) -> None:
    """Mark the mean of an arm's dense networks, in the colour and with the marker of its curve."""
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
        right.set_ylabel(f"Detectors (of {counts[0]} units)")


def finish(figure: Figure, topped: Sequence[Axes], rows: pd.DataFrame, other: str | None = None) -> None:
    """Give every panel its density axis, those that are `topped` one of weights pruned, and the figure its legend."""
    for axes in figure.axes:
        set_density_axis(axes, sparsest(rows))
    for axes in topped:
        add_pruned_axis(axes)
    add_legend(figure, legend_handles(rows, other), columns=4)


def legend_handles(rows: pd.DataFrame, other: str | None) -> list[Line2D]:
    """What the legend names: each curve, then what all curves have, then baselines and references."""
    curves = rows[rows["role"] == CURVE]
    arms = [(of_arm["name"].iloc[0], curve_look(*look_of(of_arm))) for _, of_arm in curves.groupby("number")]
    colour = GREY if len(arms) > 1 else arms[0][1]["color"]
    handles = [Line2D([], [], label=name, **MEAN_LINE | look) for name, look in arms]
    if curves["replicate"].nunique() > 1:
        mean = f"mean of {count_replicates(curves)}"
        if len(arms) == 1:
            handles[0].set_label(f"{arms[0][0]}, {mean}")
        else:
            handles.append(Line2D([], [], color=colour, label=mean, **CURVE_SHAPES[0], **MEAN_LINE))
        handles.append(Line2D([], [], color=colour, label=EACH, **REPLICATE_LINE))
    if (curves["remaining %"] >= DENSE).any():
        handles.append(Line2D([], [], color=colour, label="dense", **DENSE_MARK))
    if other:
        handles.append(Line2D([], [], color=colour, label=OTHER_NAME, **OTHER_LINE))
    looks = {of_arm["name"].iloc[0]: line_of(of_arm) for of_arm in of_role(rows, BASELINE)}
    looks |= {of_arm["name"].iloc[0]: reference_mark(of_arm["look"].iloc[0]) for of_arm in of_role(rows, REFERENCE)}
    return handles + [Line2D([], [], label=name, **look) for name, look in looks.items()]
