"""Mean differences with their 90 % intervals against density, in a band of what is no change."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from workflow_scripts.figures.arms import look_of
from workflow_scripts.figures.facts import sentence
from workflow_scripts.figures.style import GREY, LIGHT_GREY, curve_look, reference_mark
from workflow_scripts.plan.keys import CURVE

SHOWN, NOT_SHOWN = "shown to be equivalent", "not shown to be equivalent"  # what filled and hollow marks are
APART = 0.02  # between the intervals of arms at one level, as a share of the axis
CROWDED = 0.7  # of the distance between levels, at most, for all of them
BAND: dict[str, Any] = {"color": LIGHT_GREY, "alpha": 0.5, "linewidth": 0, "zorder": 0}
INTERVAL: dict[str, Any] = {"linewidth": 0.9}
LINE: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.6}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8}


def side_by_side(rows: pd.DataFrame, number: int, count: int, lowest: float) -> np.ndarray:
    """Where the intervals of an arm stand, the one of that number of so many: beside those of others, on a log axis."""
    apart = min(APART, CROWDED / max(rows["level"].nunique(), 1) / count)
    shift = max(100 / lowest, 1.1) ** (-apart * (number - (count - 1) / 2))
    return rows["remaining %"].to_numpy() * shift


def draw_intervals(axes: Axes, places: np.ndarray, rows: pd.DataFrame, filled: pd.Series, look: dict) -> None:
    """Draw a mark for the difference of each row, filled or hollow, with its interval, and join them by a thin line.

    Args:
        axes: to draw on.
        places: where each mark stands across, (rows,).
        rows: with the columns difference, low90 and high90; an interval that is not known is left out.
        filled: bool, of each row.
        look: color, marker and, where they are joined, linestyle.
    """
    mark = {key: value for key, value in look.items() if key != "linestyle"} | {"markersize": 3.6, "linestyle": "none"}
    if look.get("linestyle", "none") != "none":
        axes.plot(places, rows["difference"], color=look["color"], linestyle=look["linestyle"], **LINE)
    known = rows["low90"].notna().to_numpy()
    axes.vlines(places[known], rows["low90"][known], rows["high90"][known], color=look["color"], **INTERVAL)
    for chosen, style in ((filled.to_numpy(), {"markerfacecolor": look["color"]}), (~filled.to_numpy(), HOLLOW)):
        if chosen.any():
            axes.plot(places[chosen], rows["difference"][chosen], **mark | style)


def draw_margin(axes: Axes, margin: float) -> None:
    """Draw the band of what is no change around 0, if there is one."""
    if not np.isnan(margin):
        axes.axhspan(-margin, margin, **BAND)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)


def look_of_arm(rows: pd.DataFrame) -> dict:
    """Color and marker of the one arm that `rows` are of, and of a curve how its marks are joined."""
    if (rows["role"] == CURVE).any():
        return curve_look(*look_of(rows))
    return {"color": "black", "marker": reference_mark(rows["look"].iloc[0])["marker"]}


def describe_marks(rows: pd.DataFrame, equivalent: pd.Series) -> dict[str, str]:
    """What captions say of the marks of `rows` that are `equivalent` or not, and of bars, as far as there are such."""
    because = "because the networks differ or the replicates are too few to tell"
    return {
        "bars": "Bars: 90 % intervals (Student's t)." if rows["low90"].notna().any() else "",
        "marks": sentence(
            f"filled marks: {SHOWN}, that is, the interval lies within the band" if equivalent.any() else "",
            "" if equivalent.all() else f"hollow marks: {NOT_SHOWN}, {because}",
        ),
    }


def interval_handles(rows: pd.DataFrame, equivalent: pd.Series) -> list[Line2D]:
    """What the legend says of the arms that `rows` are of, of intervals and the band; of marks, `equivalent` or not."""
    arms = [(of_arm["name"].iloc[0], look_of_arm(of_arm)) for _, of_arm in rows.groupby("arm", sort=False)]
    arms.sort(key=lambda arm: arm[1]["color"] == "black")
    bar = Line2D([], [], color=GREY, label="90 % interval", marker="|", markersize=8, linestyle="none")
    dot: dict[str, Any] = {"color": GREY, "marker": "o", "markersize": 3.6, "linestyle": "none"}
    return [
        *(Line2D([], [], label=name, **{"markersize": 3.6, "linestyle": "none"} | look) for name, look in arms),
        *([Line2D([], [], label=SHOWN, **dot)] if equivalent.any() else []),
        *([] if equivalent.all() else [Line2D([], [], label=NOT_SHOWN, **dot | HOLLOW)]),
        *([bar] if rows["low90"].notna().any() else []),
        Line2D([], [], color=LIGHT_GREY, alpha=0.5, linewidth=6, label="margin: no change"),
    ]
