"""What detectors do for their network: the change of test accuracy when all units that detect a class are switched
off{against}. Coloured points: single classes in single replicates, on their own pictures; bold: the mean over the
classes{replicates}. Each network has its own classes: those that its units detect. Grey: the same with {sets} of as
many live units off. Dashed: the change on the pictures of all other classes. Detectors are chosen by IoU alone; where
the bold line lies far below the grey one, the network recognises a class by the units that detect it. Last panel:
accuracy with all units on, of each class (thin and grey) and of all pictures (bold). {line} A unit is a detector if its
IoU with its best concept is {detector_iou}. {n}.
"""

import math
import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.arms import look_of, of_known_density
from workflow_scripts.figures.facts import describe_nine_tenths, has_spread, sentence
from workflow_scripts.figures.measures import ACCURACY
from workflow_scripts.figures.numbers import span
from workflow_scripts.figures.panels import (
    MOST_CURVES,
    add_legend,
    all_dense,
    columns_within,
    first_curves,
    height_on_page,
    mark_nine_tenths,
    panels,
    say_left_out,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import GREY, LIGHT_GREY, MEAN_LINE, TEXT_WIDTH, curve_look
from workflow_scripts.plan.keys import CURVE

ORDER = 47
NEEDS_ABLATION = True

COLUMNS, ROWS = 3, 4  # of panels on a page, at most
SHARES = ("own", "others", "random_own_mean", "accuracy")
POINT: dict[str, Any] = {"marker": "o", "markersize": 2.4, "markeredgewidth": 0, "alpha": 0.45, "linestyle": "none"}
RANDOM_LINE: dict[str, Any] = {"color": GREY, "marker": "s", "markersize": 2.2, "linewidth": 1.2}
RANDOM_POINT: dict[str, Any] = POINT | {"color": GREY, "marker": "s", "markersize": 1.8, "alpha": 0.3}
OTHERS_LINE: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.1, "marker": "_", "markersize": 5}
CLASS_LINE: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "marker": "o", "markersize": 1}
CLASS_OPACITY, CROWD = 0.5, 20  # with more classes than that, lines are paler


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The change of accuracy without a class's detectors, and each class's accuracy, against density."""
    changes, classes = (in_percent(frames[name]) for name in ("ablation", "classes"))
    dense = all_dense(classes)
    if dense:
        changes, classes = (frame.assign(**{"remaining %": 100.0}) for frame in (changes, classes))
    changes, classes = of_known_density(changes), of_known_density(classes)
    width = width or TEXT_WIDTH
    most = changes["layer"].nunique() + 1
    columns = columns_within(min(most, COLUMNS), width)
    rows = math.ceil(most / columns)
    classes, left_out = first_curves(classes, max(1, min(MOST_CURVES, ROWS // rows)))
    changes = changes[changes["arm"].isin(classes["arm"])]
    arms = [of_arm for _, of_arm in classes.groupby("number")]
    figure, grid = panels(
        rows * len(arms), columns, width, height_on_page(rows * len(arms), 2.2 if len(arms) == 1 else 1.9)
    )
    limits = limits_of(changes[["own", "others", "random_own_mean"]])
    accuracies = limits_of(classes[["accuracy"]])
    for number, of_arm in enumerate(arms):
        cells = list(grid[number * rows : (number + 1) * rows].flat)
        changes_of_arm = changes[changes["arm"] == of_arm["arm"].iloc[0]]
        name = of_arm["name"].iloc[0] if len(arms) > 1 else ""
        for layer, of_layer in changes_of_arm.groupby("layer", sort=False):
            axes = cells.pop(0)
            draw_changes(axes, of_layer)
            axes.set(ylim=limits, title=title_of(layer, name))
        axes = cells.pop(0)
        draw_accuracies(axes, of_arm)
        axes.set(ylim=accuracies, title=title_of("all units on", name))
        for axes in cells:
            axes.remove()
    for axes in figure.axes:
        if dense:
            axes.set_xticks([100], labels=["dense"])
        else:
            mark_nine_tenths(axes)
            set_density_axis(axes, sparsest(classes))
    add_legend(figure, handles_of(arms), columns=3)
    say_left_out(figure, left_out)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    if (frames["ablation"]["role"] == CURVE).any():
        return ""
    return (
        "No class of the test pictures has a concept of its name that units of a curve detect;"
        " ablation.classes in the config says which concept a class is."
    )


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """How many random sets of units there are, and means over replicates."""
    return {
        "sets": f"{span(list(frames['ablation']['sets']))} random sets",
        "line": sentence(describe_nine_tenths(sparsest(of_known_density(in_percent(frames["classes"]))))),
        "replicates": " of a replicate, then over replicates" if has_spread(frames["classes"]) else "",
    }


def in_percent(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of curves, with shares in per cent."""
    rows = rows[rows["role"] == CURVE]
    return rows.assign(**{column: 100 * rows[column] for column in SHARES if column in rows})


def limits_of(values: pd.DataFrame) -> tuple[float, float]:
    """The ends of an axis of percentages that is the same in several panels."""
    low, high = values.min().min(), values.max().max()
    edge = max(0.05 * (high - low), 1)
    return low - edge, high + edge


def title_of(what: str, name: str) -> str:
    """The title of a panel: what it shows and, below, a name, wrapped."""
    return "\n".join([what, *textwrap.wrap(name, 38, break_on_hyphens=False)])


def draw_changes(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw what one layer's units do for the networks of one curve; a point for each class and replicate."""
    look = curve_look(*look_of(rows))
    means = mean_of(rows, ["remaining %", "own", "others", "random_own_mean"])
    axes.axhline(0, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    axes.plot(rows["remaining %"], rows["random_own_mean"], **RANDOM_POINT)
    axes.plot(rows["remaining %"], rows["own"], **POINT | {"color": look["color"]})
    axes.plot(means["remaining %"], means["random_own_mean"], **RANDOM_LINE)
    axes.plot(means["remaining %"], means["others"], color=look["color"], **OTHERS_LINE)
    axes.plot(means["remaining %"], means["own"], **MEAN_LINE | look)
    axes.set_ylabel("Change of accuracy (points)")


def mean_of(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The means of each level, from dense to sparse: of the rows of each replicate, then of these means.

    So a replicate with more classes that units detect weighs no more than another.
    """
    means = rows.groupby(["level", "replicate"])[columns].mean().groupby("level").mean()
    return means.sort_values("remaining %", ascending=False, kind="stable")


def draw_accuracies(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the accuracy of each class, and of all pictures, in the networks of one curve."""
    of_classes = rows.groupby("class", sort=False)
    opacity = CLASS_OPACITY * min(1, CROWD / of_classes.ngroups)
    for _, of_class in of_classes:
        means = mean_of(of_class, ["remaining %", "accuracy"])
        axes.plot(means["remaining %"], means["accuracy"], alpha=opacity, **CLASS_LINE)
    right = rows.assign(accuracy=rows["accuracy"].fillna(0) * rows["pictures"])
    means = mean_of(right, ["remaining %", "accuracy", "pictures"])
    look = curve_look(*look_of(rows))
    axes.plot(means["remaining %"], means["accuracy"] / means["pictures"], **MEAN_LINE | look)
    axes.set_ylabel(ACCURACY.title)


def handles_of(arms: list[pd.DataFrame]) -> list[Line2D]:
    """What the legend names."""
    look = curve_look(*look_of(arms[0]))
    colour = look["color"] if len(arms) == 1 else "black"
    marks = {"color": colour, "marker": look["marker"]}
    return [
        Line2D([], [], label="the class whose detectors are off, mean", **MEAN_LINE | marks),
        Line2D([], [], label="one class", **POINT | {"color": colour}),
        Line2D([], [], label="all other classes, mean", color=colour, **OTHERS_LINE),
        Line2D([], [], label="as many random units off, mean", **RANDOM_LINE),
        Line2D([], [], label="accuracy of all pictures", **MEAN_LINE | marks),
        Line2D([], [], label="accuracy of one class", alpha=CLASS_OPACITY, **CLASS_LINE),
    ]
