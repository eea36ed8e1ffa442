"""Draw the figures from the collected tables, and from nothing else."""

import argparse
import logging
import math
from itertools import cycle, product
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from workflow_scripts.figures.style import (
    CURVE_COLOURS,
    DENSITY_COLOURS,
    GREEN,
    GREY,
    LIGHT_GREY,
    PURPLE,
    SMALL,
    STYLE,
    TEXT_WIDTH,
    VERMILION,
    save_figure,
)
from workflow_scripts.files import UserError, run_command

FIGURES = (
    "overview",
    "accuracy",
    "interpretable_units",
    "unique_concepts",
    "units_by_category",
    "concepts_by_category",
    "iou_distribution",
)

# Controls are single networks. Floors become horizontal lines, the dense network's twin a point;
# every other arm is a curve.
# The dashes of floors that coincide fall between each other.
FLOORS = {
    "untrained": ("untrained", VERMILION, (0, (4, 8))),
    "untrained_calibrated": ("untrained, calibrated", PURPLE, (4, (4, 8))),
    "shuffled_labels": ("dense, labels shuffled", GREEN, (8, (4, 8))),
}
TWIN = "trained_twice"
CURVE_NAMES = {"imp": "iterative magnitude pruning"}

REMAINING, PRUNED = "Weights remaining (%)", "Weights pruned (%)"
CLAIMED = 10  # % of the weights that remain where the paper sees the decline set in

TWIN_MARK = {
    "marker": "D",
    "markersize": 4.5,
    "color": "black",
    "markerfacecolor": "none",
    "linestyle": "none",
}
DENSE_MARK = {"marker": "o", "markersize": 6, "markerfacecolor": "white", "linestyle": "none"}
OTHER_LINE = {"linestyle": ":", "linewidth": 1.3}
REPLICATE_LINE = {"linewidth": 0.7, "alpha": 0.5}
MEAN_LINE = {"linewidth": 1.6, "marker": "o", "markersize": 2.8}


class Measure(NamedTuple):
    """Something drawn against density: its column, that of the other way of counting, its title."""

    column: str
    other: str | None
    title: str


ACCURACY = Measure("accuracy %", None, "Test accuracy (%)")
UNITS = Measure("detectors_a %", None, "Interpretable units (%)")
CONCEPTS = Measure("concepts_a", "concepts_b", "Unique concepts")
UNITS_IN_CATEGORY = Measure("detectors_a", "detectors_b", "Interpretable units")


def draw_figures(tables: str | Path, detector_iou: float, out: str | Path) -> None:
    """Write every figure of `FIGURES` into the folder `out`, as PDF, SVG and PNG.

    `tables` is the folder that `collect` has written, `detector_iou` the cut that it was written with.
    Raises UserError if a table is missing, or was collected with another cut.
    """
    frames = read_tables(tables, detector_iou)
    with matplotlib.rc_context(STYLE):
        for name in FIGURES:
            save_figure(make_figure(name, frames, detector_iou), out, name)


def read_tables(tables: str | Path, detector_iou: float) -> dict[str, pd.DataFrame]:
    """The tables that figures need, by name; shares are added as columns in per cent."""
    frames = {}
    for table in ("networks", "categories", "units"):
        path = Path(tables) / f"{table}.csv"
        try:
            frames[table] = pd.read_csv(path, keep_default_na=False)
        except FileNotFoundError:
            raise UserError(f"{path} is not there: collect the tables first") from None
    networks = frames["networks"]
    for collected in networks["detector_iou"].unique():
        if not np.isclose(collected, detector_iou):
            raise UserError(
                f"{tables}/networks.csv was collected with the detector IoU {collected:g}, "
                f"not {detector_iou:g}: collect the tables again"
            )
    networks["remaining %"] = 100 * networks["density"]
    networks["accuracy %"] = 100 * networks["test_accuracy"]
    networks["detectors_a %"] = 100 * networks["detectors_a"] / networks["units"]
    keys = ["arm", "replicate", "level", "layer"]
    for table in ("categories", "units"):
        frames[table] = frames[table].merge(networks[[*keys, "remaining %"]], on=keys, how="left")
    return frames


def make_figure(name: str, frames: dict[str, pd.DataFrame], detector_iou: float) -> Figure:
    """The figure of that name in `FIGURES`, from the tables of `read_tables`; call it inside `STYLE`."""
    match name:
        case "overview":
            return draw_overview(frames["networks"])
        case "accuracy":
            # Accuracy belongs to the network: any layer's rows show all of it.
            networks = frames["networks"]
            return draw_single(ACCURACY, networks[networks["layer"] == networks["layer"].iloc[0]])
        case "interpretable_units":
            return draw_single(UNITS, frames["networks"])
        case "unique_concepts":
            return draw_single(CONCEPTS, frames["networks"])
        case "units_by_category":
            return draw_by_category(UNITS_IN_CATEGORY, frames["categories"])
        case "concepts_by_category":
            return draw_by_category(CONCEPTS, frames["categories"])
        case "iou_distribution":
            return draw_iou_distribution(frames["units"], detector_iou)
    raise ValueError(f"no figure is called {name}")


def draw_overview(networks: pd.DataFrame) -> Figure:
    """The paper's question: accuracy, interpretable units and unique concepts against density."""
    layers = networks["layer"].unique()
    figure, grid = panels(len(layers), 3, width=TEXT_WIDTH, panel_height=2.0)
    for row, layer in zip(grid, layers, strict=True):
        of_layer = networks[networks["layer"] == layer]
        for axes, measure in zip(row, (ACCURACY, UNITS, CONCEPTS._replace(other=None)), strict=True):
            draw_measure(axes, of_layer, measure)
        row[1].set_ylabel(units_title(of_layer))
        if len(layers) > 1:
            row[1].set_title(layer)
    finish(figure, grid, networks, max_ticks=6)
    return figure


def draw_single(measure: Measure, networks: pd.DataFrame) -> Figure:
    """One measure, large, in both ways of counting; a panel per layer."""
    layers = networks["layer"].unique()
    figure, grid = panels(len(layers), 1, width=0.65 * TEXT_WIDTH, panel_height=2.8)
    for axes, layer in zip(grid[:, 0], layers, strict=True):
        of_layer = networks[networks["layer"] == layer]
        draw_measure(axes, of_layer, measure)
        if measure is UNITS:
            add_count_axis(axes, of_layer)
        if measure is not ACCURACY:
            axes.set_title(layer)
    finish(figure, grid, networks, max_ticks=9, other=measure.other, legend_columns=2)
    return figure


def draw_by_category(measure: Measure, categories: pd.DataFrame) -> Figure:
    """One panel per layer and category; every panel has a scale of its own."""
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
    finish(figure, grid, categories, max_ticks=6, other=measure.other, top_axis=False, label_floors=False)
    return figure


def draw_iou_distribution(units: pd.DataFrame, detector_iou: float) -> Figure:
    """The share of units whose best IoU is above x, a curve per level; at the cut, the detectors."""
    layers = units["layer"].unique()
    arms = curve_arms(units)
    figure, grid = panels(len(layers), len(arms), width=max(0.65, 0.4 * len(arms)) * TEXT_WIDTH, panel_height=2.8)
    sparsest = units["remaining %"].min()
    colours = ScalarMappable(LogNorm(min(sparsest, 99), 100), DENSITY_COLOURS)
    end = max(2 * detector_iou, units["score"].max())
    cuts = np.union1d(np.linspace(0, end, 500), [detector_iou])
    for axes, (layer, arm) in zip(grid.flat, product(layers, arms), strict=True):
        of_layer = units[units["layer"] == layer]
        axes.axvline(detector_iou, color=GREY, linewidth=0.8, label=f"detectors: IoU > {detector_iou:g}")
        for control, (name, colour, _) in FLOORS.items():
            scores = of_layer.loc[of_layer["arm"] == control, "score"]
            if len(scores):
                shares = share_above(scores, cuts)
                axes.plot(cuts, shares, color=colour, linestyle="--", linewidth=1, label=name)
        of_arm = of_layer[of_layer["arm"] == arm]
        # The dense network last, so that it lies on top.
        for level, of_level in sorted(of_arm.groupby("level"), reverse=True):
            colour = colours.to_rgba(of_level["remaining %"].mean())
            width = 2 if level == 0 else 1.1
            axes.plot(cuts, share_above(of_level["score"], cuts), color=colour, linewidth=width)
        axes.set(xlim=(0, end), ylim=(0, 102), xlabel="IoU of a unit with its best concept")
        axes.set_ylabel("Units above that IoU (%)")
        title = [layer] if len(layers) > 1 or len(arms) == 1 else []
        axes.set_title("\n".join([*title, *([curve_name(arm)] if len(arms) > 1 else [])]), loc="right")
    bar = figure.colorbar(colours, ax=grid, aspect=30, pad=0.02)
    ticks = density_ticks(sparsest, 9)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.invert_yaxis()
    bar.set_label(REMAINING)
    handles, _ = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def share_above(scores: pd.Series, cuts: np.ndarray) -> np.ndarray:
    """The share of `scores`, in per cent, strictly greater than each of `cuts` (c,): float64 (c,)."""
    return 100 * (scores.to_numpy()[:, None] > cuts).mean(axis=0)


def panels(rows: int, columns: int, width: float, panel_height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns); sizes in inches, with room for a legend."""
    figure = Figure(figsize=(width, rows * panel_height + 0.7), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def curve_arms(rows: pd.DataFrame) -> list[str]:
    return [arm for arm in rows["arm"].unique() if arm not in FLOORS and arm != TWIN]


def curve_name(arm: str) -> str:
    return CURVE_NAMES.get(arm, arm.replace("_", " "))


def draw_measure(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw one measure against density: replicates thin, their mean bold, controls as floors and a point.

    `rows` has one row per network, with the columns arm, replicate, level, "remaining %" and the measure's.
    """
    counted = measure is not ACCURACY
    axes.axvline(CLAIMED, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for control, (name, colour, dashes) in FLOORS.items():
        values = rows.loc[rows["arm"] == control, measure.column]
        if counted and len(values):
            axes.axhline(values.mean(), color=colour, linestyle=dashes, linewidth=1, label=name)
    for colour, arm in zip(cycle(CURVE_COLOURS), curve_arms(rows), strict=False):
        draw_curve(axes, rows[rows["arm"] == arm], measure, colour)
    twins = rows[rows["arm"] == TWIN]
    if len(twins):
        axes.plot(twins["remaining %"].mean(), twins[measure.column].mean(), **TWIN_MARK)
    axes.set_ylabel(measure.title)
    if counted:
        top = max(1, rows[measure.column].max(), rows[measure.other].max() if measure.other else 0)
        axes.set_ylim(-0.03 * top, 1.06 * top)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10), integer=True))


def draw_curve(axes: Axes, rows: pd.DataFrame, measure: Measure, colour: str) -> None:
    for _, of_replicate in rows.groupby("replicate"):
        axes.plot(of_replicate["remaining %"], of_replicate[measure.column], color=colour, **REPLICATE_LINE)
    mean = mean_of_replicates(rows)
    if measure.other:
        axes.plot(mean["remaining %"], mean[measure.other], color=colour, **OTHER_LINE)
    axes.plot(mean["remaining %"], mean[measure.column], color=colour, **MEAN_LINE)
    dense = mean[mean.index == 0]
    axes.plot(dense["remaining %"], dense[measure.column], color=colour, **DENSE_MARK)


def mean_of_replicates(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of every number over the replicates, indexed by level."""
    return rows.drop(columns="replicate").groupby("level").mean(numeric_only=True)


def units_title(rows: pd.DataFrame) -> str:
    counts = rows["units"].unique()
    return f"Interpretable units (% of {counts[0]})" if len(counts) == 1 else UNITS.title


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
    label_floors: bool = True,
) -> None:
    """Give every panel its density axis and the figure its legend; name the floors on them or there."""
    for axes in figure.axes:
        set_density_axis(axes, rows["remaining %"].min(), max_ticks)
    if top_axis:
        for axes in grid[0]:
            add_pruned_axis(axes)
    handles = legend_handles(rows, other)
    if not label_floors:
        handles += [
            Line2D([], [], color=floor.get_color(), linestyle="--", linewidth=1, label=floor.get_label())
            for floor in floor_lines(grid[0, 0])
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(legend_columns, len(handles)))
    if label_floors:
        figure.draw_without_rendering()  # settles where things are
        for axes in grid.flat:
            name_floors(axes)


def set_density_axis(axes: Axes, sparsest: float, max_ticks: int) -> None:
    """Weights remaining, on a log axis with the dense network at the left."""
    edge = max(100 / sparsest, 1.1) ** 0.06
    ticks = density_ticks(sparsest / edge, max_ticks)
    axes.set_xscale("log")
    axes.set_xlim(100 * edge, sparsest / edge)
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


def density_ticks(lowest: float, max_ticks: int) -> list[float]:
    """At most `max_ticks` round percentages from 100 down to `lowest`."""
    for series in ((9, 8, 7, 6, 5, 4, 3, 2, 1), (5, 2, 1), (5, 1), (1,)):
        decades = range(1, -6, -1)
        ticks = [100.0] + [float(f"{digit}e{decade}") for decade in decades for digit in series]
        ticks = [tick for tick in ticks if tick >= lowest]
        if len(ticks) <= max_ticks:
            return ticks
    return ticks


def legend_handles(rows: pd.DataFrame, other: str | None) -> list[Line2D]:
    arms = curve_arms(rows)
    colour = CURVE_COLOURS[0] if len(arms) == 1 else GREY
    handles = []
    if len(arms) > 1:
        handles += [
            Line2D([], [], color=of_arm, label=curve_name(arm), **MEAN_LINE)
            for of_arm, arm in zip(cycle(CURVE_COLOURS), arms, strict=False)
        ]
    if rows.loc[rows["arm"].isin(arms), "replicate"].nunique() > 1:
        handles += [
            Line2D([], [], color=colour, label="mean of replicates", **MEAN_LINE),
            Line2D([], [], color=colour, label="one replicate", **REPLICATE_LINE),
        ]
    handles.append(Line2D([], [], color=colour, label="dense", **DENSE_MARK))
    if (rows["arm"] == TWIN).any():
        handles.append(Line2D([], [], label="dense, trained twice", **TWIN_MARK))
    if other:
        handles.append(Line2D([], [], color=colour, label="units counted in every category", **OTHER_LINE))
    return handles


def floor_lines(axes: Axes) -> list[Line2D]:
    names = [name for name, *_ in FLOORS.values()]
    return [line for line in axes.lines if line.get_label() in names]


def name_floors(axes: Axes) -> None:
    """Write each floor's name over its line, at the dense end; where lines lie close, stack the names above them."""
    points = 72 / axes.figure.dpi
    lines = sorted(floor_lines(axes), key=lambda line: line.get_ydata()[0])
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True, help="the folder of the collected tables")
    parser.add_argument("--detector-iou", type=float, required=True, help="the cut they were collected with")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write the figures into")
    arguments = parser.parse_args()
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph that it embeds
    draw_figures(arguments.tables, arguments.detector_iou, arguments.out)


if __name__ == "__main__":
    run_command(main)
