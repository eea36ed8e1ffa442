"""Do units detect more than random directions of the same space? Detectors among the units, and in random bases of the
layer{against}. {panels} {alphas} A unit is a detector if its IoU with its best concept is {detector_iou}. {curves} {n}.
{layers}.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.arms import look_of, of_known_density
from workflow_scripts.figures.curves import draw_curve, draw_measure, legend_handles, mark_dense
from workflow_scripts.figures.dense import draw_dense
from workflow_scripts.figures.facts import FACTS
from workflow_scripts.figures.measures import UNITS, Measure, count_limits, units_title
from workflow_scripts.figures.numbers import span
from workflow_scripts.figures.panels import (
    DENSE,
    MOST_COLUMNS,
    NINE_TENTHS_PRUNED,
    add_legend,
    add_pruned_axis,
    all_dense,
    columns_within,
    height_on_page,
    mark_nine_tenths,
    panels,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    COUNT_TICKS,
    DENSE_MARK,
    GREY,
    LIGHT_GREY,
    TEXT_WIDTH,
    curve_look,
)
from workflow_scripts.plan.keys import BASELINE, CURVE
from workflow_scripts.tables.read_tables import farthest

ORDER = 45
NEEDS_ROTATIONS = True

EXCESS = Measure("excess", None, "Units minus random basis (points)")
NETWORK = ["arm", "replicate", "level", "layer"]
ROTATED_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.5}
SPARSE_MARK: dict[str, Any] = {"marker": "s", "markersize": 3.5, "linestyle": "none"}
BAND = 0.15  # opacity


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Detectors beside those of random bases, what they have beyond these, and how it goes with alpha."""
    rotations = frames["rotations"]
    rotations = rotations[rotations["role"] == CURVE]
    turned = farthest(rotations)
    networks = relate_to_rotations(frames["networks"], turned)
    if all_dense(networks):
        return draw_dense([("", with_baselines(networks), UNITS)], width)
    networks, turned, rotations = (of_known_density(frame) for frame in (networks, turned, rotations))
    several = rotations.groupby("arm")["alpha"].nunique().max() > 1
    layers = networks["layer"].unique()
    width = width or (COLUMN_WIDTH if len(layers) == 1 else TEXT_WIDTH)
    columns, kinds = columns_within(min(MOST_COLUMNS, len(layers)), width), 3 if several else 2
    rows = math.ceil(len(layers) / columns) * kinds
    figure, grid = panels(rows, columns, width, height_on_page(rows, 2))
    for number, layer in enumerate(layers):
        column, row = number % columns, number // columns * kinds
        top, middle, *bottom = grid[row : row + kinds, column]
        of_layer, turned_layer, all_turned = (frame[frame["layer"] == layer] for frame in (networks, turned, rotations))
        draw_beside_rotations(top, of_layer, turned_layer)
        draw_excess(middle, of_layer)
        for axes in (top, middle):
            set_density_axis(axes, sparsest(networks))
        if row == 0:
            add_pruned_axis(top)
        for axes in bottom:
            draw_alphas(axes, of_layer, all_turned)
        top.set_title(layer)
    for axes in grid[-kinds:, (len(layers) - 1) % columns + 1 :].flat:
        axes.remove()
    handles = legend_handles(networks, None) + rotation_handles(networks, several)
    add_legend(figure, handles, columns=4)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    curves = (frames["rotations"]["role"] == CURVE).any()
    return "" if curves else "No curve here is rotated; rotations.csv has the networks that are."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What the panels show, and how many rotations there are."""
    rotations = frames["rotations"][frames["rotations"]["role"] == CURVE]
    seeds = span(list(rotations.groupby(["arm", "alpha"])["seed"].nunique()))
    drawn = frames | {"networks": relate_to_rotations(frames["networks"], farthest(rotations))}
    of_drawn = {name: FACTS[name](drawn) for name in ("against", "curves", "n", "layers")}
    if all_dense(drawn["networks"]):
        words = (
            f"Grey marks: means over random bases, that is, random rotations of the units ({seeds} of each network)."
        )
        return of_drawn | {"panels": words, "alphas": ""}
    panels = (
        f"Top: the units; dotted: the mean over random bases, that is, random rotations of the units ({seeds} of each"
        " network); band: from the lowest to the highest. Below: the units minus the mean of the same network's random"
        " bases, in percentage points; above the grey line at 0, the units detect more."
    )
    alphas = "Both at the largest alpha. Last: detectors against alpha, from the units' own basis (0) on."
    return of_drawn | {
        "panels": panels,
        "alphas": alphas if rotations.groupby("arm")["alpha"].nunique().max() > 1 else "",
    }


def relate_to_rotations(networks: pd.DataFrame, turned: pd.DataFrame) -> pd.DataFrame:
    """The networks that are rotated, with the mean of their own rotations, "chance", and what they have beyond it."""
    of_networks = turned.groupby(NETWORK).agg(chance=("detectors_a %", "mean"), basis=("basis", "first"))
    related = networks.merge(of_networks, on=NETWORK)
    return related.assign(excess=related["detectors_a %"] - related["chance"])


def with_baselines(networks: pd.DataFrame) -> pd.DataFrame:
    """The networks, and rows of baselines that have the means of their rotations; each arm has its own alone."""
    networks = networks.assign(base=networks["arm"])
    columns = {"detectors_a %": networks["chance"], "short_name": networks["basis"], "look": 0}
    rotated = networks.assign(arm=networks["arm"] + ", rotated", role=BASELINE, **columns)
    return pd.concat([networks, rotated], ignore_index=True)


def draw_beside_rotations(axes: Axes, networks: pd.DataFrame, turned: pd.DataFrame) -> None:
    """Draw the units of one layer's networks against density, and their rotations."""
    for _, of_arm in turned.groupby("number"):
        levels = of_arm.groupby("level")
        places = levels["remaining %"].mean().sort_values(ascending=False)
        draw_band(
            axes, places, levels["detectors_a %"].agg(["mean", "min", "max"]).loc[places.index], colour_of(of_arm)
        )
    draw_measure(axes, networks, UNITS)
    axes.set_ylim(count_limits(pd.concat([networks, turned]), UNITS))
    axes.set_ylabel(units_title(networks))


def colour_of(rows: pd.DataFrame) -> str:
    """The colour of the one curve that `rows` are of."""
    return curve_look(*look_of(rows))["color"]


def draw_band(axes: Axes, places: pd.Series | pd.Index, values: pd.DataFrame, colour: str) -> None:
    """Draw means dotted, in a band from the lowest to the highest.

    `values` has the columns mean, min and max. At a single place the band is a bar.
    """
    if len(places) == 1:
        axes.vlines(places, values["min"], values["max"], color=colour, alpha=BAND, linewidth=6)
        axes.plot(places, values["mean"], color=colour, marker="_", linestyle="none")
        return
    axes.fill_between(places, values["min"], values["max"], color=colour, alpha=BAND, linewidth=0)
    axes.plot(places, values["mean"], color=colour, **ROTATED_LINE)


def draw_excess(axes: Axes, networks: pd.DataFrame) -> None:
    """Draw what one layer's networks have beyond the mean of their rotations, against density."""
    mark_nine_tenths(axes)
    axes.axhline(0, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for _, of_arm in networks.groupby("number"):
        draw_curve(axes, of_arm, EXCESS, curve_look(*look_of(of_arm)))
        mark_dense(axes, of_arm, EXCESS, curve_look(*look_of(of_arm)))
    axes.set_ylabel(EXCESS.title)
    axes.yaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def draw_alphas(axes: Axes, networks: pd.DataFrame, rotations: pd.DataFrame) -> None:
    """Draw one layer's detectors against alpha, of each curve's dense level and of that nearest to 90 % pruned."""
    rows = pd.concat([networks.assign(alpha=0.0), rotations[rotations["alpha"] > 0]])
    for _, of_arm in rows.groupby("number"):
        colour = colour_of(of_arm)
        for level, mark in marked_levels(of_arm):
            by_alpha = of_arm[of_arm["level"] == level].groupby("alpha")["detectors_a %"].agg(["mean", "min", "max"])
            draw_band(axes, by_alpha.index, by_alpha, colour)
            axes.plot(by_alpha.index, by_alpha["mean"], color=colour, **mark)
    axes.set(xlabel="Alpha: how far the basis is turned", ylim=count_limits(rows, UNITS))
    axes.set_ylabel(units_title(networks))
    axes.yaxis.set_major_locator(MaxNLocator(**COUNT_TICKS))


def marked_levels(rows: pd.DataFrame) -> list[tuple[int, dict]]:
    """The dense level of an arm and that nearest to 90 % pruned, as far as there are such, with their marks."""
    remaining = rows.groupby("level")["remaining %"].mean()
    sparse = remaining[remaining < DENSE]
    found = [(remaining.idxmax(), DENSE_MARK)] if remaining.max() >= DENSE else []
    if len(sparse):
        found.append((np.abs(np.log(sparse / NINE_TENTHS_PRUNED)).idxmin(), SPARSE_MARK))
    return found


def rotation_handles(networks: pd.DataFrame, several: bool) -> list[Line2D]:
    """What the legend says of rotations; of `several` alphas, too."""
    colour = colour_of(networks) if networks["arm"].nunique() == 1 else GREY
    basis = " or ".join(networks["basis"].unique())
    handles = [
        Line2D([], [], color=colour, label=f"{basis}, mean", **ROTATED_LINE),
        Line2D([], [], color=colour, label="lowest to highest", alpha=BAND, linewidth=6),
    ]
    if several:
        handles.append(Line2D([], [], color=colour, label="nearest to 90 % pruned", **SPARSE_MARK))
    return handles
