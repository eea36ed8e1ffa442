"""Detectors by the category of their concept, in per cent of the layer's units{zero}. A unit is a detector if its IoU
with its best concept is {detector_iou}; it counts once, under that concept. {levels} {comparisons} {spread} {n}.
{layers}.
"""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from workflow_scripts.figures.arms import first_level, of_role
from workflow_scripts.figures.facts import has_spread, list_baselines, list_references
from workflow_scripts.figures.heat_maps import levels_of
from workflow_scripts.figures.measures import units_title
from workflow_scripts.figures.numbers import rounded
from workflow_scripts.figures.panels import (
    LEAST_WIDTH,
    MOST_COLUMNS,
    REMAINING,
    SIDES,
    add_legend,
    all_dense,
    axes_width,
    columns_for,
    columns_within,
    curves_on_page,
    first_curves,
    lines_of,
    place_panels,
    places,
    say_left_out,
)
from workflow_scripts.figures.style import COLUMN_WIDTH, TEXT_WIDTH, category_looks, scaled, small
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE

ORDER = 60

PANEL_HEIGHT = 2.8  # inches
BAR, COMPARISONS_APART = 0.85, 0.7  # of a bar's place
FEWEST = 5  # bars: with fewer they do not grow wider
LEAST_BAR = 0.105  # inches: a turned label
LABELLED = 0.25  # inches: below narrower bars all labels are turned, and on one line


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """A bar for each level and, apart, for each baseline and reference; a panel for each layer and curve."""
    categories = frames["categories"]
    curves = categories[categories["role"] == CURVE]
    one_panel = len(curves[["arm", "layer"]].drop_duplicates()) == 1
    width = width or (COLUMN_WIDTH if one_panel else TEXT_WIDTH)
    most = curves_on_page(categories, PANEL_HEIGHT, columns_within(MOST_COLUMNS, width))
    categories, left_out = first_curves(categories, most)
    shown = places(categories)
    bars = max(len(levels_of(place.rows)) + place.comparisons["arm"].nunique() for place in shown)
    columns = columns_for(len(shown), width, max(LEAST_WIDTH, SIDES + LEAST_BAR * bars))
    figure, panels = place_panels(len(shown), columns, width, PANEL_HEIGHT)
    looks = category_looks(categories["category"].unique())
    top = max(1, 1.04 * categories.groupby(["arm", "level", "replicate", "layer"])["detectors_a %"].sum().max())
    for axes, place in zip(panels, shown, strict=True):
        levels, comparisons = bars_of_levels(place.rows), bars_of_comparisons(place.comparisons)
        heights = np.array([[bar.get(name, 0) for name in looks] for _, bar in levels + comparisons]).T
        draw_bars(axes, heights, list(looks.values()), len(levels))
        label_bars(axes, [label for label, _ in levels], [label for label, _ in comparisons])
        axes.set(title=place.title, ylabel=units_title(place.rows), ylim=(0, top))
    found = categories.groupby("category")["detectors_a"].sum()
    handles = [Patch(label=name, **look) for name, look in looks.items() if found[name]]
    if handles:
        add_legend(figure, handles, columns=4)
    say_left_out(figure, left_out)
    return figure


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What the bars are: of levels, of baselines and references; whether there are bars of nothing, and means."""
    categories = frames["categories"]
    curves = categories[categories["role"] == CURVE]
    others = [of_arm for role in (BASELINE, REFERENCE) for of_arm in of_role(categories, role)]
    baselines = of_role(categories, BASELINE)
    words = [list_baselines(baselines, "short_name")] if baselines else []
    words += filter(None, [list_references(of_role(categories, REFERENCE), "short_name")])
    first = " Of an arm with several levels: the first." if any(rows["level"].nunique() > 1 for rows in others) else ""
    bars = pd.concat([curves, *map(first_level, others)])
    empty = bars.groupby(["arm", "level", "layer"])["detectors_a"].sum() == 0
    return {
        "zero": "; 0: none" if empty.any() else "",
        "levels": f"Bars{'' if all_dense(curves) else ' from dense to sparse'}, below each the weights that remain.",
        "comparisons": f"Apart, at the right: {'; '.join(words)}.{first}" if words else "",
        "spread": "Means over replicates; the overview shows their spread." if has_spread(curves) else "",
    }


def bars_of_levels(rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """How much of its weights each level has, and the heights of its bar by category; dense first."""
    return [
        (rounded(remaining), mean_shares(rows[rows["level"] == level])) for level, remaining in levels_of(rows).items()
    ]


def bars_of_comparisons(rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """What each baseline and then each reference is called, and the heights of its bar: its first level's."""
    arms = of_role(rows, BASELINE) + of_role(rows, REFERENCE)
    return [(of_arm["short_name"].iloc[0], mean_shares(first_level(of_arm))) for of_arm in arms]


def mean_shares(rows: pd.DataFrame) -> pd.Series:
    """The units of each category in per cent of the layer's, the mean over the replicates."""
    return rows.groupby("category")["detectors_a %"].mean()


def draw_bars(axes: Axes, heights: np.ndarray, looks: list[dict], levels: int) -> None:
    """Draw `heights` (categories, bars) on each other, each row in its look; the bars after `levels` stand apart."""
    at = np.arange(heights.shape[1], dtype=float)
    at[levels:] += COMPARISONS_APART
    bottoms = np.cumsum(heights, axis=0) - heights
    for of_category, bottom, look in zip(heights, bottoms, looks, strict=True):
        axes.bar(at, of_category, BAR, bottom, **look)
    for place in at[heights.sum(axis=0) == 0]:
        axes.text(place, 0, "0", fontsize=small(), ha="center", va="bottom")
    axes.set_xticks(at)
    axes.set_xlim(-0.6, max(at[-1], FEWEST) + 0.6)


def label_bars(axes: Axes, levels: list[str], comparisons: list[str]) -> None:
    """Write below the bars how much the levels have of their weights, and what baselines and references are called."""
    place = axes_width(axes) / np.diff(axes.get_xlim())[0]
    few = place >= scaled(LABELLED)
    if few:
        comparisons = [name.replace(", ", ",\n") for name in comparisons]
    axes.set_xticks(axes.get_xticks(), labels=levels + comparisons)
    axes.tick_params(axis="x", length=0)
    for number, label in enumerate(axes.get_xticklabels()):
        label.set_rotation(0 if few and number < len(levels) else 90)
    axes.annotate(
        "\n".join(lines_of(REMAINING, place * len(levels), rcParams["font.size"])),
        ((len(levels) - 1) / 2, 0),
        xycoords=("data", "axes fraction"),
        xytext=(0, scaled(-15 if few else -26)),
        textcoords="offset points",
        ha="center",
        va="top",
    )
