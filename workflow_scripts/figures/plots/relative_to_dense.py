"""What pruned networks keep, in per cent of the dense network, against the weights that remain. {measures} {lines}
Horizontal line: the dense network. {line} {edge} A unit is a detector if its IoU with its best concept is
{detector_iou}. {n}. {layers}.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.arms import compared_with, first_level, of_known_density, of_role
from workflow_scripts.figures.curves import draw_curve
from workflow_scripts.figures.facts import describe_nine_tenths, has_spread, list_baselines, sentence
from workflow_scripts.figures.measures import Measure
from workflow_scripts.figures.panels import (
    DENSE,
    EACH,
    MOST_COLUMNS,
    Place,
    add_legend,
    add_pruned_axis,
    axes_width,
    columns_for,
    columns_within,
    count_replicates,
    curves_on_page,
    first_curves,
    mark_nine_tenths,
    place_panels,
    places,
    say_left_out,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import (
    COLUMN_WIDTH,
    GREY,
    LIGHT_GREY,
    MEASURE_COLOURS,
    REPLICATE_LINE,
    TEXT_WIDTH,
    baseline_mark,
    scaled,
)
from workflow_scripts.findings.words import joined
from workflow_scripts.plan.keys import BASELINE, CURVE

ORDER = 10

LEAST_HEIGHT, LEAST_WIDTH = 2.1, 2  # inches of a panel
EDGE = 0.18  # inches across for each baseline

MEASURES = (
    Measure("accuracy %", None, "test accuracy"),
    Measure("detectors_a %", None, "detectors"),
    Measure("concepts_a", None, "unique concepts"),
)
MARKERS = (("o", 3), ("s", 2.8), ("^", 3.6))  # and their sizes
LOOKS: list[dict[str, Any]] = [
    {"color": colour, "linestyle": "-", "marker": marker, "markersize": size}
    for colour, (marker, size) in zip(MEASURE_COLOURS, MARKERS, strict=True)
]


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """What each network has of its own dense network's accuracy, detectors and concepts; by layer and curve."""
    related = relate_to_dense(frames["networks"])
    one_panel = len(related[["arm", "layer"]].drop_duplicates()) == 1
    width = width or (COLUMN_WIDTH if one_panel else TEXT_WIDTH)
    most = curves_on_page(related, LEAST_HEIGHT, columns_within(MOST_COLUMNS, width, LEAST_WIDTH))
    related, left_out = first_curves(related, most)
    shown = places(related)
    columns = columns_for(len(shown), width, LEAST_WIDTH)
    figure, panels = place_panels(len(shown), columns, width, panel_height=2.3)
    drawn: list[Line2D] = []
    for axes, place in zip(panels, shown, strict=True):
        draw_related(axes, place.rows)
        drawn += draw_baselines(axes, place, frames["networks"])
        set_density_axis(axes, sparsest(related))
        add_pruned_axis(axes)
        axes.set_title(place.title)
    top = max(axes.get_ylim()[1] for axes in figure.axes)
    for axes in figure.axes:
        axes.set_ylim(-0.03 * top, top)
    handles = [
        Line2D([], [], label=measure.title, **look)
        for measure, look in zip(MEASURES, LOOKS, strict=True)
        if related[measure.column].notna().any()
    ]
    if related["replicate"].nunique() > 1:
        mean = f"bold: ratio of means, {count_replicates(related)}"
        handles.append(Line2D([], [], color=GREY, label=f"{EACH}; {mean}", **REPLICATE_LINE))
    handles += {mark.get_label(): mark for mark in drawn}.values()
    add_legend(figure, handles, columns=4)
    say_left_out(figure, left_out)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    related = relate_to_dense(frames["networks"])
    if related.empty:
        return "No network of known density here is a pruned copy of a dense one, so there is nothing to relate."
    if related[[measure.column for measure in MEASURES]].isna().all(axis=None):
        return "The dense networks have no detectors, and their accuracy is not known, so there is nothing to relate."
    return ""


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What is measured, what thin and bold lines are, and marks at the right edge."""
    networks = frames["networks"]
    related, baselines = relate_to_dense(networks), of_role(networks, BASELINE)
    lines = (
        "Bold: the mean over replicates, in per cent of the dense networks' mean, as in ``robustness``; thin: each"
        " replicate, in per cent of its own dense network."
    )
    edge = (
        f"Marks beyond the right edge: {list_baselines(baselines, 'short_name')}. They have the colour of the measure,"
        " and are in per cent of the dense networks' mean."
    )
    measured = [measure.title for measure in MEASURES if related[measure.column].notna().any()]
    return {
        "measures": sentence(f"{joined(measured)} share a panel: where the curves part, they do not decline together"),
        "lines": lines if has_spread(related) else "",
        "line": sentence(describe_nine_tenths(sparsest(related))),
        "edge": edge if baselines else "",
    }


def relate_to_dense(networks: pd.DataFrame) -> pd.DataFrame:
    """The rows of curves that begin at a dense network and go on, their measures in per cent of that network's.

    The dense network is that of the same arm and replicate; a measure that is 0 there, or unknown, is unknown. Beside
    each measure's column stands, named by `bold`, the mean of its level in per cent of the dense networks' mean.
    """
    curves = of_known_density(networks[networks["role"] == CURVE])
    keys, columns = ["arm", "replicate", "layer"], [measure.column for measure in MEASURES]
    dense = curves[curves["remaining %"] >= DENSE].drop_duplicates(keys)
    related = curves.merge(dense[[*keys, *columns]], on=keys, suffixes=("", " dense"))
    for column in columns:
        of_dense = related.pop(f"{column} dense")
        mean = related.groupby(["arm", "level", "layer"])[column].transform("mean")
        mean_of_dense = of_dense.groupby([related["arm"], related["level"], related["layer"]]).transform("mean")
        related[bold(column)] = 100 * mean / mean_of_dense.where(mean_of_dense > 0)
        related[column] = 100 * related[column] / of_dense.where(of_dense > 0)
    return related[related.groupby("arm")["remaining %"].transform("min") < DENSE]


def bold(column: str) -> str:
    """The name of the column of a measure's bold line."""
    return f"{column}, means"


def draw_related(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the measures of one arm in per cent of its dense networks; one that was not measured is left out."""
    mark_nine_tenths(axes)
    axes.axhline(100, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for measure, look in zip(MEASURES, LOOKS, strict=True):
        measured = rows[rows[measure.column].notna()]
        if len(measured):
            draw_curve(axes, measured, measure, look, bold=bold(measure.column))
    axes.set_ylim(0, max(105, 1.04 * axes.dataLim.y1))
    axes.set_ylabel("Relative to dense (%)")


def draw_baselines(axes: Axes, place: Place, networks: pd.DataFrame) -> list[Line2D]:
    """Draw what a panel's baselines count, in per cent of its dense networks, beyond the right end of the axes.

    Each baseline has a place across, and a mark for each measure there. Returns a mark for each, as legends show it.
    """
    arm, base, layer = place.rows[["arm", "base", "layer"]].iloc[0]
    of_layer = networks[networks["layer"] == layer]
    dense = of_layer[(of_layer["arm"] == arm) & (of_layer["remaining %"] >= DENSE)]
    handles = []
    for number, of_baseline in enumerate(of_role(compared_with(of_layer, arm, base), BASELINE)):
        mark = baseline_mark(of_baseline["look"].iloc[0])
        for half, (measure, look) in enumerate(zip(MEASURES[1:], LOOKS[1:], strict=True)):
            across = 1 + scaled(EDGE) * (number + 0.5 + half / 2) / axes_width(axes)
            if not dense[measure.column].mean() > 0:
                continue
            share = 100 * first_level(of_baseline)[measure.column].mean() / dense[measure.column].mean()
            beyond = {"transform": axes.get_yaxis_transform(), "clip_on": False, "color": look["color"]}
            axes.plot(across, share, **mark | beyond)
            axes.set_ylim(top=max(axes.get_ylim()[1], 1.04 * share))
        handles.append(Line2D([], [], label=of_baseline["short_name"].iloc[0], **mark))
    return handles
