"""Interpretable units by the category of their concept, in per cent of the layer's units. A unit counts once, under
its best concept, so a bar's height is the share of interpretable units in the overview. Bars from dense to sparse,
below each the weights that remain; apart, at the right, the baselines and references, of several levels the first.
Means of the replicates; a panel for each layer and each curve of the other figures. If a page has no room for all
curves, the first ones are shown, and a line above names the others.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from workflow_scripts.figures.arms import first_level, of_role
from workflow_scripts.figures.heat_maps import levels_of
from workflow_scripts.figures.measures import units_title
from workflow_scripts.figures.panels import (
    REMAINING,
    add_legend,
    columns_for,
    curves_on_page,
    first_curves,
    percent,
    place_panels,
    places,
    say_left_out,
)
from workflow_scripts.figures.style import TEXT_WIDTH, category_looks
from workflow_scripts.plan.keys import BASELINE, REFERENCE

ORDER = 60

PANEL_HEIGHT = 2.8  # inches
BAR, COMPARISONS_APART = 0.85, 0.7  # of a bar's place
FEWEST = 5  # bars: with fewer they do not grow wider
SIDES = 0.6  # inches of a panel's width that are not bars
LABELLED = 0.25  # inches: below narrower bars all labels are turned, and on one line


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """A bar for each level and, apart, for each baseline and reference; a panel for each layer and curve."""
    categories = frames["categories"]
    categories, left_out = first_curves(categories, curves_on_page(categories, PANEL_HEIGHT))
    shown = places(categories)
    columns = columns_for(len(shown))
    width = (0.65 if columns == 1 else 1) * TEXT_WIDTH
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
        add_legend(figure, handles, columns=len(handles))
    say_left_out(figure, left_out)
    return figure


def bars_of_levels(rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """How much of its weights each level has, and the heights of its bar by category; dense first."""
    return [
        (percent(remaining), mean_shares(rows[rows["level"] == level])) for level, remaining in levels_of(rows).items()
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
    axes.set_xticks(at)
    axes.set_xlim(-0.6, max(at[-1], FEWEST) + 0.6)


def label_bars(axes: Axes, levels: list[str], comparisons: list[str]) -> None:
    """Write below the bars how much the levels have of their weights, and what baselines and references are called."""
    place, figure = axes.get_subplotspec(), axes.get_figure(root=True)
    assert place and figure, "the axes are of a grid in a figure"
    wide = (figure.get_figwidth() / place.get_gridspec().ncols - SIDES) / np.diff(axes.get_xlim())[0]
    few = wide >= LABELLED
    if few:
        comparisons = [name.replace(", ", ",\n") for name in comparisons]
    axes.set_xticks(axes.get_xticks(), labels=levels + comparisons)
    axes.tick_params(axis="x", length=0)
    for number, label in enumerate(axes.get_xticklabels()):
        label.set_rotation(0 if few and number < len(levels) else 90)
    axes.annotate(
        REMAINING,
        ((len(levels) - 1) / 2, 0),
        xycoords=("data", "axes fraction"),
        xytext=(0, -15 if few else -26),
        textcoords="offset points",
        ha="center",
        va="top",
    )
