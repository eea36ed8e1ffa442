"""What figures share: panels, what each shows, the axis of densities, legends."""

import math
import textwrap
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from workflow_scripts.figures.arms import compared_with
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    DENSITY_COLOURS,
    GREY,
    LIGHT_GREY,
    PAGE_HEIGHT,
    SMALL,
)
from workflow_scripts.plan.keys import CURVE

REMAINING, PRUNED = "Weights remaining (%)", "Weights pruned (%)"
NINE_TENTHS_PRUNED = 10  # % of the weights that remain where the paper sees the decline set in
DENSE = 99  # %; a few weights of a network that nobody pruned may be zero, and count as pruned
LEGEND_HEIGHT = 0.7  # inches
MOST_COLUMNS = 3  # of panels
MOST_CURVES = 6  # that have panels, or columns of a heat map, to themselves
LINE_HEIGHT = 0.13  # inches
BAR = 2.5  # inches: the length of a bar of colours, at most


class Place(NamedTuple):
    """What a panel of its own shows: an arm in a layer, and the baselines and references that it is compared with.

    `title` says which arm and layer.
    """

    title: str
    rows: pd.DataFrame
    comparisons: pd.DataFrame


def first_curves(rows: pd.DataFrame, most: int = MOST_CURVES) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all arms but curves beyond so many, and what these are called."""
    curves = rows.loc[rows["role"] == CURVE, ["arm", "name"]].drop_duplicates()
    left_out = curves.iloc[most:]
    return rows[~rows["arm"].isin(left_out["arm"])], list(left_out["name"])


def curves_on_page(rows: pd.DataFrame, panel_height: float, columns: int = MOST_COLUMNS) -> int:
    """For how many curves a page has room, if each has a panel for each layer, as high as that (inches)."""
    layers = rows["layer"].nunique()
    panels_on_page = columns * int((PAGE_HEIGHT - LEGEND_HEIGHT) / panel_height)
    return max(1, min(MOST_CURVES, panels_on_page // layers))


def places(rows: pd.DataFrame) -> list[Place]:
    """A place for each layer and curve in `rows`, which have the columns of `describe_arms` and layer."""
    curves = rows[rows["role"] == CURVE]
    layers, arms = curves["layer"].unique(), curves["arm"].unique()
    found = []
    for layer, arm in product(layers, arms):
        of_layer = rows[rows["layer"] == layer]
        of_arm = of_layer[of_layer["arm"] == arm]
        if of_arm.empty:
            continue
        title = [layer] if len(layers) > 1 or len(arms) == 1 else []
        title += textwrap.wrap(of_arm["name"].iloc[0], 38, break_on_hyphens=False) if len(arms) > 1 else []
        found.append(Place("\n".join(title), of_arm, compared_with(of_layer, arm, of_arm["base"].iloc[0])))
    return found


def panels(rows: int, columns: int, width: float, panel_height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns); sizes in inches, with room for a legend."""
    figure = Figure(figsize=(width, rows * panel_height + LEGEND_HEIGHT), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def place_panels(count: int, columns: int, width: float, panel_height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row in so many columns; lower than `panel_height` where a page wants it."""
    rows = math.ceil(count / columns)
    figure, grid = panels(rows, columns, width, min(panel_height, (PAGE_HEIGHT - LEGEND_HEIGHT) / rows))
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])


def columns_for(count: int) -> int:
    """In how many columns so many panels of one kind stand."""
    return 1 if count == 1 else 2 if count <= 4 else MOST_COLUMNS


def say_left_out(figure: Figure, names: Sequence[str]) -> None:
    """Write above the panels which arms have none."""
    if not names:
        return
    letters = int(figure.get_figwidth() / (0.55 * SMALL / 72))
    words = f"Not shown: {'; '.join(names)}. Choose with --arm or figures.arms."
    lines = textwrap.wrap(words, letters, break_on_hyphens=False)
    make_room(figure, LINE_HEIGHT * len(lines))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color=GREY)


def draw_sentence(sentence: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(COLUMN_WIDTH, 0.8), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(sentence, 50), ha="center", va="center", transform=axes.transAxes)
    return figure


def all_dense(rows: pd.DataFrame) -> bool:
    """Whether no curve has a network that is known to be sparse."""
    return not (rows.loc[rows["role"] == CURVE, "remaining %"] < DENSE).any()


def sparsest(rows: pd.DataFrame) -> float:
    """How much of its weights the sparsest network of all curves has left, in per cent, as far as that is known."""
    return rows.loc[rows["role"] == CURVE, "remaining %"].fillna(100).min()


def set_density_axis(axes: Axes, lowest: float, max_ticks: int) -> None:
    """Weights remaining, on a log axis with the dense network at the left."""
    edge = max(100 / lowest, 1.1) ** 0.06
    ticks = density_ticks(lowest / edge, max_ticks)
    axes.set_xscale("log")
    axes.set_xlim(100 * edge, lowest / edge)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.set_xlabel(REMAINING)


def add_pruned_axis(axes: Axes) -> None:
    """The same ticks at the top, as weights pruned."""
    ticks = axes.get_xticks()
    top = axes.secondary_xaxis("top")
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xticks(ticks, labels=[f"{100 - tick:g}" for tick in ticks])
    top.set_xlabel(PRUNED)


def percent(share: float) -> str:
    """A share in per cent, in few letters: "100", "12", "6.2", "0.39", "0.08"; "?" if it is not known."""
    if math.isnan(share):
        return "?"
    return f"{share:.0f}" if share >= 9.95 else f"{share:.2g}" if share >= 0.095 else f"{share:.1g}"


def mark_nine_tenths(axes: Axes) -> None:
    """Draw a thin line where nine in ten weights are pruned."""
    axes.axvline(NINE_TENTHS_PRUNED, color=LIGHT_GREY, linewidth=0.8, zorder=0)


def density_colours(lowest: float) -> ScalarMappable:
    """The colours of weights remaining, from 100 down to `lowest` per cent; grey where that is not known."""
    return ScalarMappable(LogNorm(min(lowest, DENSE), 100), colormaps[DENSITY_COLOURS].with_extremes(bad=GREY))


def bar_look(figure: Figure) -> dict:
    """The arguments for a bar of colours at the right, no longer than `BAR`."""
    shrink = BAR / max(figure.get_figheight() - 1, BAR)
    return {"aspect": 20, "shrink": shrink, "anchor": (0, 1), "pad": 0.02}


def add_density_bar(figure: Figure, colours: ScalarMappable, label: str = REMAINING) -> None:
    """Add the bar of `density_colours` at the right, dense at its foot."""
    bar = figure.colorbar(colours, ax=figure.axes, **bar_look(figure))
    lowest, _ = colours.get_clim()
    ticks = density_ticks(lowest, 9)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.invert_yaxis()
    bar.set_label(label)


def density_ticks(lowest: float, max_ticks: int) -> list[float]:
    """At most `max_ticks` round percentages from 100 down to `lowest`."""
    for series in ((9, 8, 7, 6, 5, 4, 3, 2, 1), (5, 2, 1), (5, 1), (1,)):
        decades = range(1, -6, -1)
        ticks = [100.0] + [float(f"{digit}e{decade}") for decade in decades for digit in series]
        ticks = [tick for tick in ticks if tick >= lowest]
        if len(ticks) <= max_ticks:
            return ticks
    return ticks


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """A legend below the panels, in at most so many columns and no wider than the figure, which grows if need be."""
    for ncols in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=ncols)
        extent = legend.get_window_extent()
        if ncols == 1 or extent.width <= figure.bbox.width:
            break
        legend.remove()
    make_room(figure, max(0, extent.height / figure.dpi - LEGEND_HEIGHT))


def make_room(figure: Figure, inches: float) -> None:
    """Make a figure so much higher, but if it fits on a page, no higher than that."""
    height = figure.get_figheight()
    figure.set_figheight(min(height + inches, max(height, PAGE_HEIGHT)))


def labelled(figure: Figure) -> list[Any]:
    """One of what is drawn for each label in the panels, in the order of drawing."""
    by_label: dict[str, Any] = {}
    for axes in figure.axes:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            by_label.setdefault(label, line)
    return list(by_label.values())
