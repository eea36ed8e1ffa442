"""Measures of dense networks alone: a line for each network and layer, in place of the axis of densities."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.arms import compared_with, of_role
from workflow_scripts.figures.measures import ACCURACY, OTHER_NAME, Measure, count_limits
from workflow_scripts.figures.panels import (
    EACH,
    LINE_HEIGHT,
    MOST_COLUMNS,
    add_legend,
    columns_within,
    count_replicates,
    labelled,
    panels,
)
from workflow_scripts.figures.style import (
    BLUE,
    COLUMN_WIDTH,
    COUNT_TICKS,
    DENSE_MARK,
    LIGHT_GREY,
    REPLICATE_DOT,
    TEXT_WIDTH,
    baseline_mark,
    break_words,
    reference_mark,
    scaled,
)
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE

LONGEST_NAME, NAMES = 24, 1.2  # letters of a line's name; inches for all names
OTHER_DOT: dict[str, Any] = {"marker": "x", "markersize": 4, "linestyle": "none"}


def draw_dense(cells: list[tuple[str, pd.DataFrame, Measure]], width: float | None = None) -> Figure:
    """Dense networks, a panel for each of `cells` (title, rows, measure): a line per arm and layer, no density axis.

    Width in inches; of its own a panel alone has a column's, several have a page's.
    """
    _, rows, _ = cells[0]
    dots = rows.loc[rows["role"] == CURVE, ["arm", "base", "name", "layer"]].drop_duplicates()
    width = width or (COLUMN_WIDTH if len(cells) == 1 else TEXT_WIDTH)
    names = [f"{name}\n{layer}".strip() for name, layer in zip(dots["name"], dots["layer"], strict=True)]
    names = [break_words(name, LONGEST_NAME / max(map(len, name.splitlines()))) for name in names]
    lines = sum(2 + name.count("\n") for name in names)
    columns = columns_within(min(MOST_COLUMNS, len(cells)), width - scaled(NAMES))
    height = scaled(0.5 + LINE_HEIGHT * lines)
    figure, grid = panels(math.ceil(len(cells) / columns), columns, width, height)
    for axes, (title, rows, measure) in zip(grid.flat, cells, strict=False):
        draw_dots(axes, rows, measure, dots)
        axes.set_title(title)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(dots)), labels=names)
    for axes in grid.flat[len(cells) :]:
        axes.remove()
    add_legend(figure, labelled(figure), columns=4)
    return figure


def draw_dots(axes: Axes, rows: pd.DataFrame, measure: Measure, dots: pd.DataFrame) -> None:
    """Draw one measure of dense networks: from the top down a line for each of `dots`, on it its baselines.

    `rows` is as for `draw_measure`; `dots` has the columns arm, base, name and layer.
    """
    measured = rows[rows[measure.column].notna()]
    for place, (arm, base, _, layer) in enumerate(dots.itertuples(index=False)):
        axes.axhline(place, color=LIGHT_GREY, linewidth=0.6, zorder=0)
        of_layer = measured[measured["layer"] == layer]
        comparisons = compared_with(of_layer, arm, base)
        if measure is not ACCURACY:
            draw_baselines(axes, of_role(comparisons, BASELINE), measure, place)
        of_arm = of_layer[of_layer["arm"] == arm]
        if len(of_arm) > 1:
            places = [place] * len(of_arm)
            axes.plot(of_arm[measure.column], places, color=BLUE, label=EACH, **REPLICATE_DOT)
        if len(of_arm):
            label = f"mean of {count_replicates(of_arm)}" if len(of_arm) > 1 else "dense"
            axes.plot(of_arm[measure.column].mean(), place, color=BLUE, label=label, **DENSE_MARK)
        if measure.other and len(of_arm):
            axes.plot(of_arm[measure.other].mean(), place, color=BLUE, label=OTHER_NAME, **OTHER_DOT)
        for reference in of_role(comparisons, REFERENCE):
            look = {"label": reference["short_name"].iloc[0], **reference_mark(reference["look"].iloc[0])}
            for _, of_level in reference.groupby("level"):
                axes.plot(of_level[measure.column].mean(), place, **look)
    axes.set(xlabel=measure.title, ylim=(len(dots) - 0.5, -0.5), yticks=[])
    if measure is ACCURACY:
        axes.margins(x=0.15)
    else:
        axes.set_xlim(count_limits(rows, measure))
        axes.xaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def draw_baselines(axes: Axes, baselines: list[pd.DataFrame], measure: Measure, place: float) -> None:
    """Draw baselines as marks around the line at `place`, below each other, so that none hides another."""
    apart = 0.8 / max(len(baselines), 1)
    for number, rows in enumerate(baselines):
        look = {"label": rows["short_name"].iloc[0], **baseline_mark(rows["look"].iloc[0])}
        axes.plot(rows[measure.column].mean(), place - 0.4 + (number + 0.5) * apart, **look)
