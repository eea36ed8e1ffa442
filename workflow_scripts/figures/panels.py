"""What figures share: panels, what each shows, the axis of densities, legends."""

import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from workflow_scripts.figures.arms import compared_with
from workflow_scripts.figures.numbers import exact, span
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    DENSITY_COLOURS,
    GREY,
    LIGHT_GREY,
    PAGE_HEIGHT,
    scaled,
    small,
)
from workflow_scripts.plan.keys import CURVE

EACH = "each replicate"  # what legends call thin lines and small points
REMAINING, PRUNED = "Weights remaining (%)", "Weights pruned (%)"
NINE_TENTHS_PRUNED = 10  # % of the weights that remain where the paper sees the decline set in
DENSE = 99  # %; a few weights of a network that nobody pruned may be zero, and count as pruned
LEGEND_HEIGHT = 0.7  # inches
MOST_COLUMNS = 3  # of panels
LEAST_WIDTH = 1.5  # inches of a panel with its labels
SIDES = 0.65  # inches of a panel's width that its axes do not have
TICK = 0.055, 0.08  # inches: of a letter of a tick's label, and between labels
MOST_CURVES = 6  # that have panels, or columns of a heat map, to themselves
LINE_HEIGHT = 0.13  # inches
LEGEND_MARK = 4.4  # of a text's size: how wide a legend's mark is
LETTER = 0.55  # of a text's size: how wide a letter is
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


def count_replicates(rows: pd.DataFrame) -> str:
    """How many replicates the arms of `rows` have, in words: "1 replicate", "3 replicates", "2 to 5 replicates"."""
    counts = rows.groupby("arm")["replicate"].nunique()
    return f"{span(list(counts))} replicate{'s' if counts.max() > 1 else ''}"


def curves_on_page(rows: pd.DataFrame, panel_height: float, columns: int) -> int:
    """For how many curves a page has room, if each has a panel for each layer, as high as that (inches)."""
    layers = rows["layer"].nunique()
    panels_on_page = columns * int((PAGE_HEIGHT - LEGEND_HEIGHT) / scaled(panel_height))
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
    figure, grid = panels(rows, columns, width, height_on_page(rows, panel_height))
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])


def height_on_page(rows: int, panel_height: float) -> float:
    """How high each of so many rows of panels is, in inches: as given for `FONT_SIZE`, or as a page has room for."""
    return min(scaled(panel_height), (PAGE_HEIGHT - LEGEND_HEIGHT) / rows)


def layout(layers: Sequence[str], counts: Sequence[str], accuracy: bool, columns: int) -> list[list[str]]:
    """Which panels stand where, for `subplot_mosaic`: "units layer4" for a count in a layer, "accuracy", "." for none.

    Accuracy is of no layer, so it is there once: beside the counts, where these leave room, or above them.
    """
    if not counts:
        return [["accuracy"]]
    beside = accuracy and columns > len(counts)
    across = min(columns - beside, len(counts))
    rows = []
    for layer in layers:
        names = [f"{count} {layer}" for count in counts]
        names += ["."] * (-len(names) % across)
        rows += [names[first : first + across] for first in range(0, len(names), across)]
    if beside:
        return [["." if number else "accuracy", *row] for number, row in enumerate(rows)]
    if accuracy and rows[-1][-1] == ".":
        rows[-1][-1] = "accuracy"
        return rows
    return [["accuracy"] * across, *rows] if accuracy else rows


def place_layout(rows: list[list[str]], width: float, panel_height: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with the panels of a `layout`, by name; sizes as for `place_panels`."""
    height = len(rows) * height_on_page(len(rows), panel_height) + LEGEND_HEIGHT
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplot_mosaic(rows)  # type: ignore[arg-type]


def columns_for(count: int, width: float, least: float = LEAST_WIDTH) -> int:
    """In how many columns so many panels of one kind stand, each at least so wide (inches, for `FONT_SIZE`)."""
    wanted = 1 if count == 1 else 2 if count <= 4 else MOST_COLUMNS
    return columns_within(wanted, width, least)


def columns_within(most: int, width: float, least: float = LEAST_WIDTH) -> int:
    """How many columns of panels a figure has, at most so many; its width and the least of a panel's in inches."""
    return max(1, min(most, int(width / scaled(least))))


def axes_width(axes: Axes) -> float:
    """Inches across the axes of a panel in a grid, about."""
    figure, place = axes.get_figure(root=True), axes.get_subplotspec()
    assert figure and place, "the axes are in a grid"
    share = len(place.colspan) / place.get_gridspec().ncols
    return max(0.3, figure.get_figwidth() * share - scaled(SIDES))


def lines_of(text: str, inches: float, size: float) -> list[str]:
    """`text` in lines that are so long, where its words allow it; `size` of its letters in points."""
    letters = max(1, int(inches / (LETTER * size / 72)))
    return textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False)


def write_above(figure: Figure, words: str) -> None:
    """Write a sentence above the panels, in lines as long as the figure is wide."""
    lines = lines_of(words, figure.get_figwidth(), small())
    make_room(figure, scaled(LINE_HEIGHT) * len(lines))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=small(), color=GREY)


def say_left_out(figure: Figure, names: Sequence[str]) -> None:
    """Write above the panels which arms have none."""
    if names:
        write_above(figure, f"Not shown: {'; '.join(names)}. Choose with --arm or figures.arms.")


def draw_sentence(sentence: str, width: float | None = None) -> Figure:
    """A figure that says why there is nothing to draw, so wide (inches), or a column."""
    figure = Figure(figsize=(width or COLUMN_WIDTH, scaled(0.8)), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    lines = lines_of(sentence, 0.9 * figure.get_figwidth(), rcParams["font.size"])
    axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=axes.transAxes)
    return figure


def all_dense(rows: pd.DataFrame) -> bool:
    """Whether no curve has a network that is known to be sparse."""
    return not (rows.loc[rows["role"] == CURVE, "remaining %"] < DENSE).any()


def sparsest(rows: pd.DataFrame) -> float:
    """How much of its weights the sparsest network of all curves has left, in per cent, as far as that is known."""
    return rows.loc[rows["role"] == CURVE, "remaining %"].fillna(100).min()


def set_density_axis(axes: Axes, lowest: float) -> None:
    """Weights remaining, on a log axis with the dense network at the left."""
    end = axis_end(lowest)
    ticks = density_ticks(end, axes_width(axes))
    axes.set_xscale("log")
    axes.set_xlim(100 * lowest / end, end)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, labels=[exact(tick) for tick in ticks])
    axes.set_xlabel(REMAINING)


def add_pruned_axis(axes: Axes) -> None:
    """The same ticks at the top, as weights pruned."""
    ticks = axes.get_xticks()
    top = axes.secondary_xaxis("top")
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xticks(ticks, labels=[exact(100 - tick) for tick in ticks])
    top.set_xlabel(PRUNED)


def axis_end(lowest: float) -> float:
    """Where an axis of densities ends whose sparsest network has `lowest` per cent of its weights."""
    return lowest / max(100 / lowest, 1.1) ** 0.06


def reaches_nine_tenths(lowest: float) -> bool:
    """Tell whether an axis of densities has the line of `mark_nine_tenths`."""
    return axis_end(lowest) <= NINE_TENTHS_PRUNED


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
    ticks = density_ticks(lowest, min(BAR, figure.get_figheight() - 1), upright=True)
    bar.set_ticks(ticks, labels=[exact(tick) for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.invert_yaxis()
    bar.set_label(label)


def density_ticks(lowest: float, inches: float, upright: bool = False) -> list[float]:
    """Round percentages from 100 down to `lowest`, as many as a logarithmic axis of that length has room for.

    An axis is `upright` or lies, and then has weights pruned above it at the same ticks.
    """
    letter, apart = TICK
    for series in ((9, 8, 7, 6, 5, 4, 3, 2, 1), (5, 2, 1), (5, 1), (1,)):
        decades = range(1, -6, -1)
        ticks = [100.0] + [float(f"{digit}e{decade}") for decade in decades for digit in series]
        ticks = [tick for tick in ticks if tick >= lowest]
        places = inches * np.log10(ticks) / math.log10(max(100 / lowest, 1.1))
        letters = [1 if upright else max(len(exact(tick)), len(exact(100 - tick))) for tick in ticks]
        needed = [scaled(apart + letter * (one + other) / 2) for one, other in pairwise(letters)]
        if (-np.diff(places) >= needed).all():
            return ticks
    return ticks


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """A legend below the panels, in at most so many columns and no wider than the figure, which grows if need be."""
    size = rcParams["legend.fontsize"]
    room = figure.get_figwidth() - LEGEND_MARK * size / 72
    for handle in handles:
        handle.set_label("\n".join(lines_of(str(handle.get_label()), room, size)))
    for ncols in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=ncols)
        extent = legend.get_window_extent()
        if ncols == 1 or extent.width <= 0.96 * figure.bbox.width:
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
