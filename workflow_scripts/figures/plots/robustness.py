"""Do the conclusions hold under other choices? Detectors and unique concepts, in per cent of the dense network's,
against the weights that remain. Each line is one setting of {choices}. Black and bold: the experiment's own setting,
the same line in each panel, with an IoU {detector_iou}. {lines} Where lines coincide, the decline does not depend on
the choice. {few} {line} {n}. {layers}.
"""

import textwrap
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.facts import describe_nine_tenths, has_spread, sentence
from workflow_scripts.figures.panels import (
    DENSE,
    LINE_HEIGHT,
    REMAINING,
    Place,
    axes_width,
    columns_within,
    curves_on_page,
    first_curves,
    lines_of,
    mark_nine_tenths,
    places,
    say_left_out,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    CURVE_COLOURS,
    LIGHT_GREY,
    PAGE_HEIGHT,
    TEXT_WIDTH,
    scaled,
    small,
)
from workflow_scripts.findings.words import joined
from workflow_scripts.plan.keys import CURVE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.tables.read_tables import detector_rule_of

ORDER = 95

COUNTING = "counting"
TITLES = {
    "detector_iou": "IoU threshold",
    "quantile": "Quantile",
    "protocol": "Protocol",
    "knots": "Knots",
    COUNTING: "Way of counting",
}
IN_WORDS = {
    "detector_iou": "the IoU threshold",
    "quantile": "the quantile (the share of activations above a unit's threshold)",
    "protocol": "the protocol",
    "knots": "the knots (where activations lie in the picture)",
    COUNTING: "the way of counting: a unit counts once (A) or in every category in which it detects a concept (B)",
}
NUMBERS = ("detector_iou", "quantile")  # choices whose values have an order, as their colours then
MEASURES = {"units": "Detectors", "concepts": "Concepts"}
WAYS = {"A": "once (A)", "B": "per category (B)"}
FEWEST = 5  # units or concepts of the dense networks: in per cent of fewer, one more or less is a leap
HIGHEST = 200  # per cent: what is above leaves the panel
PAIR_HEIGHT = 2.8  # inches of a layer's two rows: how many curves a page has room for
ROW_HEIGHT = 1.55  # inches
ENTRY_HEIGHT = 0.14  # inches of a line of the legends
LEAST_WIDTH = 1.4  # inches of a panel and its legend
BELOW = 0.36  # inches between a panel and its legend, for the axis
OWN_LOOK: dict[str, Any] = {"color": "black", "linewidth": 2, "zorder": 3}
OTHER_LOOK: dict[str, Any] = {"linewidth": 1.1, "markersize": 2.5}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


Choices: TypeAlias = "dict[str, list[Setting]]"


class Setting(NamedTuple):
    """One line of a panel: its value, what the legend calls it, and its look."""

    value: str
    name: str
    look: dict


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Detectors and concepts in per cent of the dense network; a column for each choice, two rows a layer."""
    related = relate_to_dense(with_ways_of_counting(frames["sweep"]))
    choices = settings_of(related, *detector_rule_of(frames["networks"]))
    width = width or (COLUMN_WIDTH if len(choices) == 1 else TEXT_WIDTH)
    columns, entries = columns_within(len(choices), width, LEAST_WIDTH), list(choices.items())
    bands = [dict(entries[first : first + columns]) for first in range(0, len(entries), columns)]
    related, left_out = first_curves(related, curves_on_page(related, len(bands) * PAIR_HEIGHT, columns=1))
    shown = list(product(places(related), MEASURES))
    rows = len(bands) * len(shown)
    legends = sum(scaled(ENTRY_HEIGHT) * (max(map(len, band.values())) + 5) for band in bands)
    height = min(scaled(ROW_HEIGHT), (PAGE_HEIGHT - legends) / rows)
    figure = Figure(figsize=(width, rows * height + legends), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for number, band in enumerate(bands):
        draw_band(grid[number * len(shown) : (number + 1) * len(shown)], shown, band, related)
    say_left_out(figure, left_out)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    if len(relate_to_dense(with_ways_of_counting(frames["sweep"]))):
        return ""
    return "No network of known density here is a pruned copy of a dense one, so there is no decline to compare."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Which choices are drawn, and whether lines are missing."""
    related = relate_to_dense(with_ways_of_counting(frames["sweep"]))
    choices = settings_of(related, *detector_rule_of(frames["networks"]))
    drawn = related[related["choice"].isin(list(choices))]
    several = has_spread(frames["sweep"])
    few = (
        f"There is no line for a setting with which the dense networks have fewer than {FEWEST} detectors, or concepts,"
        " on average."
    )
    return {
        "lines": "Lines are means over replicates, in per cent of the dense networks' mean." if several else "",
        "choices": joined([IN_WORDS[choice] for choice in choices], "or"),
        "line": sentence(describe_nine_tenths(sparsest(related))),
        "few": few if drawn[list(MEASURES)].isna().any(axis=None) else "",
    }


def draw_band(grid: np.ndarray, shown: list[tuple[Place, str]], choices: Choices, related: pd.DataFrame) -> None:
    """Draw some choices beside each other, a row of the grid for each layer and measure, and legends below them."""
    for axes in grid[:, len(choices) :].flat:
        axes.remove()
    grid = grid[:, : len(choices)]
    for row, (place, measure) in zip(grid, shown, strict=True):
        draw_row(row, place, measure, choices)
    for axes in grid.flat:
        mark_nine_tenths(axes)
        set_density_axis(axes, sparsest(related))
    for axes in grid[:-1].flat:
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)
    for axes in grid[:, 1:].flat:
        axes.tick_params(labelleft=False)
    for axes, choice in zip(grid[0], choices, strict=True):
        axes.set_title(TITLES[choice])
    for axes, settings in zip(grid[-1], choices.values(), strict=True):
        handles = [Line2D([], [], label=setting.name, **setting.look) for setting in settings]
        lines = lines_of(REMAINING, axes_width(axes), rcParams["font.size"])
        axes.set_xlabel("\n".join(lines))
        below = scaled(BELOW + LINE_HEIGHT * (len(lines) - 1))
        down = ScaledTranslation(0, -below, axes.get_figure(root=True).dpi_scale_trans)
        look: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "fontsize": small()}
        axes.legend(handles=handles, bbox_transform=axes.transAxes + down, **look)


def with_ways_of_counting(sweep: pd.DataFrame) -> pd.DataFrame:
    """The rows of curves with the columns units and concepts, counted in way A; and both ways as one more choice."""
    sweep = of_known_density(sweep[sweep["role"] == CURVE])
    own = sweep[(sweep["choice"] == "detector_iou") & sweep["own"]]
    ways = [own.assign(choice=COUNTING, value=way, own=way == "A") for way in WAYS]
    counted = [
        rows.assign(units=rows[f"detectors_{way.lower()}"], concepts=rows[f"concepts_{way.lower()}"])
        for rows, way in zip([sweep, *ways], ["A", *WAYS], strict=True)
    ]
    return pd.concat(counted, ignore_index=True)


def relate_to_dense(sweep: pd.DataFrame) -> pd.DataFrame:
    """A row for each level of an arm, layer and setting: means of replicates, in per cent of that at the dense level.

    Of arms that begin at a dense network and go on. Measures that are less than `FEWEST` there are unknown.
    """
    measures = list(MEASURES)
    setting = ["arm", "layer", "choice", "value"]
    described = dict.fromkeys(("role", "base", "name", "number", "own"), "first")
    means = sweep.groupby([*setting, "level"], sort=False).agg(
        described | dict.fromkeys(["remaining %", *measures], "mean")
    )
    means = means.reset_index()
    dense = means[means["remaining %"] >= DENSE].drop_duplicates(setting)
    related = means.merge(dense[[*setting, *measures]], on=setting, suffixes=("", " dense"))
    for measure in measures:
        of_dense = related.pop(f"{measure} dense")
        related[measure] = 100 * related[measure] / of_dense.where(of_dense >= FEWEST)
    return related[related.groupby("arm")["remaining %"].transform("min") < DENSE]


def settings_of(related: pd.DataFrame, detector_iou: float, detector_rule: str) -> dict[str, list[Setting]]:
    """The settings of each choice that has more than one, in their order, with their looks."""
    found = {}
    for choice in TITLES:
        rows = related[related["choice"] == choice].drop_duplicates("value")
        if len(rows) > 1:
            values = sorted(rows["value"], key=float) if choice in NUMBERS else list(rows["value"])
            own = set(rows.loc[rows["own"], "value"])
            looks = iter(looks_of(len(values) - len(own), choice in NUMBERS))
            found[choice] = [
                Setting(value, name_of(choice, value, detector_rule), OWN_LOOK if value in own else next(looks))
                for value in values
            ]
    return found


def looks_of(count: int, ordered: bool) -> list[dict]:
    """The looks of so many settings besides the experiment's own: from light to dark where they have an order."""
    colours = colormaps["viridis_r"](np.linspace(0.1, 0.85, count)) if ordered else CURVE_COLOURS
    return [
        {"color": colours[number % len(colours)], "marker": MARKERS[number % len(MARKERS)], **OTHER_LOOK}
        for number in range(count)
    ]


def name_of(choice: str, value: str, detector_rule: str) -> str:
    """What the legend calls a value."""
    if choice == "detector_iou":
        return f"{DETECTOR_RULES[detector_rule]} {value}"
    return WAYS[value] if choice == COUNTING else value.replace("_", " ")


def draw_row(row: np.ndarray, place: Place, measure: str, choices: Choices) -> None:
    """Draw one measure of one layer and curve, a panel for each choice, on one scale."""
    known = place.rows[measure]
    top = np.clip(1.05 * known.max(), 105, HIGHEST) if known.notna().any() else 105
    for axes, (choice, settings) in zip(row, choices.items(), strict=True):
        axes.axhline(100, color=LIGHT_GREY, linewidth=0.8, zorder=0)
        draw_settings(axes, place.rows[place.rows["choice"] == choice], measure, settings)
        axes.set_ylim(-0.03 * top, top)
    title = textwrap.fill(place.title.replace("\n", ", "), 24, break_on_hyphens=False)
    row[0].set_ylabel(f"{title}\n{MEASURES[measure]} (% of dense)")


def draw_settings(axes: Axes, rows: pd.DataFrame, measure: str, settings: list[Setting]) -> None:
    """Draw one measure against density, a line for each setting."""
    for value, _, look in settings:
        line = rows[(rows["value"] == value) & rows[measure].notna()].sort_values("remaining %", ascending=False)
        if len(line):
            axes.plot(line["remaining %"], line[measure], **look)
