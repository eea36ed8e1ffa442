"""Draw the figures from the collected tables, and from nothing else."""

import argparse
import logging
import math
import textwrap
from itertools import product
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
    BLUE,
    CURVE_COLOURS,
    CURVE_SHAPES,
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
# every other arm is a curve. The floors and the one-shot arms of an arm have its name before theirs: lite0_untrained.
# Of each floor: its name, its colour, where its dashes begin; those of floors that coincide fall between each other.
FLOORS = {
    "untrained": ("untrained", VERMILION, 0),
    "untrained_calibrated": ("untrained, calibrated", PURPLE, 4),
    "shuffled_labels": ("dense, labels shuffled", GREEN, 8),
}
FLOOR_DASHES = ((4, 8), (2, 2), (9, 2))  # of the first arm's floors, of the second's, ...
TWIN = "trained_twice"
CURVE = "curve"
CURVE_NAMES = {"imp": "iterative magnitude pruning"}
ONE_SHOT_NAMES = {
    "global": "one-shot, global magnitude",
    "layerwise": "one-shot, layerwise magnitude",
    "random": "one-shot, random",
    "structured": "one-shot, whole filters",
}
SUFFIX_NAMES = {floor: name for floor, (name, *_) in FLOORS.items()} | ONE_SHOT_NAMES | {TWIN: "dense, trained twice"}

REMAINING, PRUNED = "Weights remaining (%)", "Weights pruned (%)"
CLAIMED = 10  # % of the weights that remain where the paper sees the decline set in
DENSE = 99  # %; a few weights of a network that nobody pruned may be zero, and count as pruned

LEGEND_HEIGHT = 0.7  # inches
COUNT_TICKS = {"nbins": 6, "steps": (1, 2, 5, 10), "integer": True}
OTHER_NAME = "units counted in every category"
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
MEAN_LINE = {"linewidth": 1.6, "markersize": 2.8}
REPLICATE_DOT = {"marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.5, "linestyle": "none"}
OTHER_DOT = {"marker": "x", "markersize": 4, "linestyle": "none"}


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

    There is no figure "accuracy" where no network's was measured.
    `tables` is the folder that `collect` has written, `detector_iou` the cut that it was written with.
    Raises UserError if a table is missing, or was collected with another cut.
    """
    frames = read_tables(tables, detector_iou)
    with matplotlib.rc_context(STYLE):
        for name in FIGURES:
            if name == "accuracy" and not has_accuracy(frames["networks"]):
                continue
            save_figure(make_figure(name, frames, detector_iou), out, name)


def read_tables(tables: str | Path, detector_iou: float) -> dict[str, pd.DataFrame]:
    """The tables that figures need, by name, without the arms that are not drawn.

    Columns are added: shares in per cent, and those of `describe_arms`.
    """
    frames = {}
    for table in ("networks", "categories", "units"):
        path = Path(tables) / f"{table}.csv"
        try:
            # An arm, a layer or a concept may be called "7", "true" or "NA".
            frames[table] = pd.read_csv(
                path,
                dtype=dict.fromkeys(("arm", "layer", "category", "label"), str),
                keep_default_na=False,
                na_values={"test_accuracy": [""]},
            )
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
    arms = describe_arms(networks)
    return {table: frame.merge(arms, on="arm") for table, frame in frames.items()}


def describe_arms(networks: pd.DataFrame) -> pd.DataFrame:
    """How arms are drawn: a row for each that is, with the columns arm, base, role, name (str) and number (int).

    base    the arm whose floor or one-shot arm it is, or "" for a floor of them all; of other arms the arm itself
    role    "curve", a key of `FLOORS`, or `TWIN`
    name    what figures call it: with its base, where it could be another's as well
    number  gives it its look: counts the curves; counts the bases of floors, where their floors share panels

    An arm of one network (of each replicate) is not drawn if it has one-shot arms: their curves begin with it.
    """
    arms = pd.DataFrame(
        [(arm, *split_arm(arm, networks)) for arm in networks["arm"].unique()], columns=["arm", "base", "suffix"]
    )
    one_shot = arms["suffix"].isin(ONE_SHOT_NAMES)
    levels = networks.groupby(["arm", "replicate"])["level"].nunique().groupby("arm").max()
    arms = arms[~arms["arm"].isin(arms.loc[one_shot, "base"]) | (arms["arm"].map(levels) > 1)]
    curve = arms["suffix"].isin(["", *ONE_SHOT_NAMES])
    if not curve.any():  # floors of nothing
        curve = ~curve
    several = arms.loc[curve, "base"].nunique() > 1
    shared = networks.merge(arms[curve], on="arm").groupby("layer")["base"].nunique().max() > 1
    say_base = np.where(curve, several, shared)
    floor_bases, _ = pd.factorize(arms["base"].where(~curve))
    return pd.DataFrame(
        {
            "arm": arms["arm"],
            "base": arms["base"],
            "role": arms["suffix"].where(~curve, CURVE),
            "name": [name_arm(*row) for row in zip(arms["base"], arms["suffix"], say_base, strict=True)],
            "number": np.where(curve, curve.cumsum() - 1, floor_bases * shared),
        }
    )


def split_arm(arm: str, networks: pd.DataFrame) -> tuple[str, str]:
    """The base of `arm` and what follows it: ("lite0", "untrained"); ("", "untrained"); of others ("lite0", "")."""
    if arm in FLOORS or arm == TWIN:
        return "", arm
    for suffix in (*FLOORS, *ONE_SHOT_NAMES):
        base = arm.removesuffix(f"_{suffix}")
        if base == arm or base not in networks["arm"].to_numpy():
            continue
        if suffix in FLOORS or first_networks(arm, networks).equals(first_networks(base, networks)):
            return base, suffix
    return arm, ""


def first_networks(arm: str, networks: pd.DataFrame) -> pd.DataFrame:
    """All that was measured of an arm's first network of each replicate."""
    rows = networks[networks["arm"] == arm]
    first = rows["level"] == rows.groupby("replicate")["level"].transform("min")
    return rows[first].drop(columns=["arm", "level"]).reset_index(drop=True)


def name_arm(base: str, suffix: str, say_base: bool) -> str:
    base_name = CURVE_NAMES.get(base, base.replace("_", " "))
    if not suffix:
        return base_name
    return f"{base_name}, {SUFFIX_NAMES[suffix]}" if say_base and base else SUFFIX_NAMES[suffix]


def has_accuracy(networks: pd.DataFrame) -> bool:
    return networks["accuracy %"].notna().any()


def make_figure(name: str, frames: dict[str, pd.DataFrame], detector_iou: float) -> Figure:
    """The figure of that name in `FIGURES`, from the tables of `read_tables`; call it inside `STYLE`."""
    match name:
        case "overview":
            return draw_overview(frames["networks"])
        case "accuracy":
            return draw_single(ACCURACY, accuracy_rows(frames["networks"]))
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


def accuracy_rows(networks: pd.DataFrame) -> pd.DataFrame:
    """A row per network whose accuracy was measured, of no layer: it belongs to the network."""
    measured = networks[networks["accuracy %"].notna()]
    return measured.drop_duplicates(["arm", "replicate", "level"]).assign(layer="")


def draw_overview(networks: pd.DataFrame) -> Figure:
    """The paper's question: accuracy, interpretable units and unique concepts against density."""
    measures = [*([ACCURACY] if has_accuracy(networks) else []), UNITS, CONCEPTS._replace(other=None)]
    if all_dense(networks):
        return draw_dense([("", networks, measure) for measure in measures])
    layers = networks["layer"].unique()
    figure, grid = panels(len(layers), len(measures), width=TEXT_WIDTH, panel_height=2.0)
    for row, layer in zip(grid, layers, strict=True):
        of_layer = networks[networks["layer"] == layer]
        for axes, measure in zip(row, measures, strict=True):
            draw_measure(axes, of_layer, measure)
        if has_accuracy(networks) and not has_accuracy(of_layer):
            row[0].remove()
        row[-2].set_ylabel(units_title(of_layer))
        if len(layers) > 1:
            row[-2].set_title(layer)
    finish(figure, grid, networks, max_ticks=6)
    return figure


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
    finish(figure, grid, categories, max_ticks=6, other=measure.other, top_axis=False, label_floors=False)
    return figure


def draw_iou_distribution(units: pd.DataFrame, detector_iou: float) -> Figure:
    """The share of units whose best IoU is above x, a curve per level; at the cut, the detectors."""
    curves = units[units["role"] == CURVE]
    layers, arms = curves["layer"].unique(), curves["arm"].unique()
    drawn = set(zip(curves["layer"], curves["arm"], strict=True))
    places = [place for place in product(layers, arms) if place in drawn]
    columns = min(2, len(arms))
    figure, grid = panels(
        math.ceil(len(places) / columns),
        columns,
        width=(0.65 if columns == 1 else 0.8) * TEXT_WIDTH,
        panel_height=2.8 if columns == 1 else 2.3,
    )
    colours = ScalarMappable(LogNorm(min(sparsest(units), DENSE), 100), DENSITY_COLOURS)
    end = max(2 * detector_iou, units["score"].max())
    cuts = np.union1d(np.linspace(0, end, 500), [detector_iou])
    for axes, (layer, arm) in zip(grid.flat, places, strict=False):
        of_layer = units[units["layer"] == layer]
        axes.axvline(detector_iou, color=GREY, linewidth=0.8, label=f"detectors: IoU > {detector_iou:g}")
        of_arm = of_layer[of_layer["arm"] == arm]
        own = of_layer[of_layer["base"].isin(["", of_arm["base"].iloc[0]])]
        for floor, (name, colour, _) in FLOORS.items():
            scores = own.loc[own["role"] == floor, "score"]
            if len(scores):
                shares = share_above(scores, cuts)
                axes.plot(cuts, shares, color=colour, linestyle="--", linewidth=1, label=name)
        # The dense network last, so that it lies on top.
        for _, of_level in sorted(of_arm.groupby("level"), reverse=True):
            remaining = of_level["remaining %"].mean()
            colour = colours.to_rgba(remaining)
            width = 2 if remaining >= DENSE else 1.1
            axes.plot(cuts, share_above(of_level["score"], cuts), color=colour, linewidth=width)
        axes.set(xlim=(0, end), ylim=(0, 102), xlabel="IoU of a unit with its best concept")
        axes.set_ylabel("Units above that IoU (%)")
        title = [layer] if len(layers) > 1 or len(arms) == 1 else []
        title += textwrap.wrap(of_arm["name"].iloc[0], 38, break_on_hyphens=False) if len(arms) > 1 else []
        axes.set_title("\n".join(title), loc="right")
    for axes in grid.flat[len(places) :]:
        axes.remove()
    if not all_dense(units):
        add_density_bar(figure, colours)
    add_legend(figure, labelled_lines(figure), columns=2)
    return figure


def add_density_bar(figure: Figure, colours: ScalarMappable) -> None:
    bar = figure.colorbar(colours, ax=figure.axes, aspect=30, pad=0.02)
    ticks = density_ticks(colours.norm.vmin, 9)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.invert_yaxis()
    bar.set_label(REMAINING)


def share_above(scores: pd.Series, cuts: np.ndarray) -> np.ndarray:
    """The share of `scores`, in per cent, strictly greater than each of `cuts` (c,): float64 (c,)."""
    return 100 * (scores.to_numpy()[:, None] > cuts).mean(axis=0)


def panels(rows: int, columns: int, width: float, panel_height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns); sizes in inches, with room for a legend."""
    figure = Figure(figsize=(width, rows * panel_height + LEGEND_HEIGHT), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def all_dense(rows: pd.DataFrame) -> bool:
    return sparsest(rows) >= DENSE


def sparsest(rows: pd.DataFrame) -> float:
    """How much of its weights the sparsest network of all curves has left, in per cent."""
    return rows.loc[rows["role"] == CURVE, "remaining %"].min()


def draw_dense(cells: list[tuple[str, pd.DataFrame, Measure]]) -> Figure:
    """Dense networks, a panel for each of `cells` (title, rows, measure): a line per arm and layer, no density axis."""
    _, rows, _ = cells[0]
    dots = rows.loc[rows["role"] == CURVE, ["arm", "base", "name", "layer"]].drop_duplicates()
    columns = min(3, len(cells))
    figure, grid = panels(
        math.ceil(len(cells) / columns),
        columns,
        width=TEXT_WIDTH if columns > 1 else 0.65 * TEXT_WIDTH,
        panel_height=0.6 + 0.35 * len(dots),
    )
    for axes, (title, rows, measure) in zip(grid.flat, cells, strict=False):
        draw_dots(axes, rows, measure, dots)
        axes.set_title(title)
    for axes in grid[:, 0]:
        labels = [f"{name}\n{layer}".strip() for name, layer in zip(dots["name"], dots["layer"], strict=True)]
        axes.set_yticks(range(len(dots)), labels=labels)
    for axes in grid.flat[len(cells) :]:
        axes.remove()
    add_legend(figure, labelled_lines(figure), columns=4 if columns > 1 else 2)
    return figure


def draw_dots(axes: Axes, rows: pd.DataFrame, measure: Measure, dots: pd.DataFrame) -> None:
    """Draw one measure of dense networks: from the top down a line for each of `dots`, on it its floors as strokes.

    `rows` is as for `draw_measure`; `dots` has the columns arm, base, name and layer.
    """
    measured = rows[rows[measure.column].notna()]
    for place, (arm, base, _, layer) in enumerate(dots.itertuples(index=False)):
        axes.axhline(place, color=LIGHT_GREY, linewidth=0.6, zorder=0)
        of_layer = measured[(measured["layer"] == layer) & measured["base"].isin(["", base])]
        if measure is not ACCURACY:
            draw_strokes(axes, of_layer, measure, place)
        of_arm = of_layer[of_layer["arm"] == arm]
        if len(of_arm) > 1:
            places = [place] * len(of_arm)
            axes.plot(of_arm[measure.column], places, color=BLUE, label="one replicate", **REPLICATE_DOT)
        if len(of_arm):
            label = "mean of replicates" if len(of_arm) > 1 else "dense"
            axes.plot(of_arm[measure.column].mean(), place, color=BLUE, label=label, **DENSE_MARK)
        if measure.other and len(of_arm):
            axes.plot(of_arm[measure.other].mean(), place, color=BLUE, label=OTHER_NAME, **OTHER_DOT)
        twins = of_layer[of_layer["role"] == TWIN]
        if len(twins):
            axes.plot(twins[measure.column].mean(), place, label=SUFFIX_NAMES[TWIN], **TWIN_MARK)
    axes.set(xlabel=measure.title, ylim=(len(dots) - 0.5, -0.5), yticks=[])
    if measure is ACCURACY:
        axes.margins(x=0.15)
    else:
        axes.set_xlim(count_limits(rows, measure))
        axes.xaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def draw_strokes(axes: Axes, rows: pd.DataFrame, measure: Measure, place: float) -> None:
    """The floors in `rows` as strokes across the line at `place`, below each other, so that none hides another."""
    present = [floor for floor in FLOORS if (rows["role"] == floor).any()]
    height = 0.8 / max(len(present), 1)
    for number, floor in enumerate(present):
        name, colour, _ = FLOORS[floor]
        value = rows.loc[rows["role"] == floor, measure.column].mean()
        top = place - 0.4 + number * height
        axes.plot([value, value], [top, top + height], color=colour, linewidth=1.6, label=name)


def draw_measure(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw one measure against density: replicates thin, their mean bold, controls as floors and a point.

    `rows` has one row per network, with the columns of `describe_arms`, replicate, level, "remaining %" and the
    measure's; where the measure's is empty a network is left out.
    """
    counted = measure is not ACCURACY
    axes.axvline(CLAIMED, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    rows = rows[rows[measure.column].notna()]
    if counted:
        for name, look, of_floor in floors(rows):
            axes.axhline(of_floor[measure.column].mean(), linewidth=1, label=name, **look)
    for number, of_arm in rows[rows["role"] == CURVE].groupby("number"):
        draw_curve(axes, of_arm, measure, curve_look(number))
    twins = rows[rows["role"] == TWIN]
    if len(twins):
        axes.plot(twins["remaining %"].mean(), twins[measure.column].mean(), **TWIN_MARK)
    axes.set_ylabel(measure.title)
    if counted:
        axes.set_ylim(count_limits(rows, measure))
        axes.yaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def floors(rows: pd.DataFrame) -> list[tuple[str, dict, pd.DataFrame]]:
    """Each floor in `rows`: its name, its colour and dashes, and its rows."""
    return [
        (name, {"color": colour, "linestyle": (start, FLOOR_DASHES[number % len(FLOOR_DASHES)])}, of_floor)
        for floor, (_, colour, start) in FLOORS.items()
        for (number, name), of_floor in rows[rows["role"] == floor].groupby(["number", "name"])
    ]


def count_limits(rows: pd.DataFrame, measure: Measure) -> tuple[float, float]:
    top = max(1, rows[measure.column].max(), rows[measure.other].max() if measure.other else 0)
    return -0.03 * top, 1.06 * top


def curve_look(number: int) -> dict:
    """Colour, marker and dashes of the curve of that number: all colours with one shape, then all with the next."""
    shape = CURVE_SHAPES[number // len(CURVE_COLOURS) % len(CURVE_SHAPES)]
    return {"color": CURVE_COLOURS[number % len(CURVE_COLOURS)], **shape}


def draw_curve(axes: Axes, rows: pd.DataFrame, measure: Measure, look: dict) -> None:
    colour = look["color"]
    rows = rows.sort_values("remaining %", ascending=False, kind="stable")
    for _, of_replicate in rows.groupby("replicate"):
        style = REPLICATE_LINE if len(of_replicate) > 1 else REPLICATE_DOT
        axes.plot(of_replicate["remaining %"], of_replicate[measure.column], color=colour, **style)
    mean = mean_of_replicates(rows)
    if measure.other:
        axes.plot(mean["remaining %"], mean[measure.other], color=colour, **OTHER_LINE)
    axes.plot(mean["remaining %"], mean[measure.column], **look, **MEAN_LINE)
    dense = mean[mean["remaining %"] >= DENSE]
    axes.plot(dense["remaining %"], dense[measure.column], color=colour, **DENSE_MARK | {"marker": look["marker"]})


def mean_of_replicates(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of every number over the replicates, indexed by level, the levels in the order of `rows`."""
    return rows.drop(columns="replicate").groupby("level", sort=False).mean(numeric_only=True)


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
    """Give every panel its density axis and the figure its legend.

    The floors are named there, or with `label_floors` on their lines, if all in a panel belong to one arm.
    """
    for axes in figure.axes:
        set_density_axis(axes, sparsest(rows), max_ticks)
    if top_axis:
        for column in grid.T:
            add_pruned_axis(next(axes for axes in column if axes in figure.axes))
    handles = legend_handles(rows, other)
    several = rows.loc[rows["role"].isin(FLOORS), "number"].any()
    on_lines = label_floors and not several
    if not on_lines:
        dashed = {} if several else {"linestyle": "--"}
        looks = {name: look | dashed for name, look, _ in floors(rows)}
        handles += [Line2D([], [], linewidth=1, label=name, **look) for name, look in looks.items()]
    add_legend(figure, handles, legend_columns)
    if on_lines:
        figure.draw_without_rendering()  # settles where things are
        for axes in figure.axes:
            name_floors(axes)


def add_legend(figure: Figure, handles: list[Line2D], columns: int) -> None:
    """A legend below the panels, in at most so many columns and no wider than the figure, which grows if need be."""
    for ncols in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=ncols)
        extent = legend.get_window_extent()
        if ncols == 1 or extent.width <= figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + max(0, extent.height / figure.dpi - LEGEND_HEIGHT))


def labelled_lines(figure: Figure) -> list[Line2D]:
    """A line for each label in the panels, in the order of drawing."""
    by_label = {}
    for axes in figure.axes:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            by_label.setdefault(label, line)
    return list(by_label.values())


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
    if (rows["role"] == TWIN).any():
        handles.append(Line2D([], [], label=SUFFIX_NAMES[TWIN], **TWIN_MARK))
    if other:
        handles.append(Line2D([], [], color=colour, label=OTHER_NAME, **OTHER_LINE))
    return handles


def floor_lines(axes: Axes) -> list[Line2D]:
    """The floors of a panel against density: there they are the lines that have a label."""
    return [line for line in axes.lines if not line.get_label().startswith("_")]


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
