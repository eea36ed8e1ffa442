"""How many detectors another IoU threshold would give: for every level, the units whose IoU with their best concept is
{above} the value on the horizontal axis, in per cent of the units of all replicates. Vertical line: the experiment's
IoU threshold; there a curve gives the share of detectors, whose IoU is {detector_iou}. {overlap} {dense} {baselines}
{n}. {layers}.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.dissect.name_units import detects
from workflow_scripts.figures.arms import first_level, of_role
from workflow_scripts.figures.facts import list_baselines
from workflow_scripts.figures.numbers import span
from workflow_scripts.figures.panels import (
    DENSE,
    MOST_COLUMNS,
    add_density_bar,
    add_legend,
    all_dense,
    columns_for,
    columns_within,
    curves_on_page,
    density_colours,
    first_curves,
    labelled,
    place_panels,
    places,
    say_left_out,
    sparsest,
)
from workflow_scripts.figures.style import COLUMN_WIDTH, GREY, TEXT_WIDTH, baseline_line, marked_at
from workflow_scripts.plan.keys import BASELINE, CURVE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.tables.read_tables import detector_rule_of

ORDER = 90

WORDS = {"above": "above", "at_least": "at least"}  # of rules for detectors
LEAST_HEIGHT, LEAST_WIDTH = 2.1, 2  # inches of a panel


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The share of units whose best IoU is above x, or at least x as the rule has it; at the cut, the detectors."""
    units = frames["units"]
    detector_iou, detector_rule = detector_rule_of(frames["networks"])
    curves = units[units["role"] == CURVE]
    one_panel = len(curves[["arm", "layer"]].drop_duplicates()) == 1
    width = width or (COLUMN_WIDTH if one_panel else TEXT_WIDTH)
    units, left_out = first_curves(
        units, curves_on_page(units, LEAST_HEIGHT, columns_within(MOST_COLUMNS, width, LEAST_WIDTH))
    )
    shown = places(units)
    figure, panels = place_panels(len(shown), columns_for(len(shown), width, LEAST_WIDTH), width, panel_height=2.3)
    colours = density_colours(sparsest(units))
    end = max(2 * detector_iou, units["score"].max())
    sign = DETECTOR_RULES[detector_rule]
    before = -0.03 * end  # every unit is above that: the step at 0 are units with IoU 0
    thresholds = np.union1d([before, *np.linspace(0, end, 500)], [detector_iou])
    for axes, place in zip(panels, shown, strict=True):
        axes.axvline(detector_iou, color=GREY, linewidth=0.8, label=f"detectors: IoU {sign} {detector_iou:g}")
        for of_baseline in of_role(place.comparisons, BASELINE):
            number = of_baseline["look"].iloc[0]
            shares = share_above(first_level(of_baseline)["score"], thresholds, detector_rule)
            marked = [int(np.argmax(shares <= 100 * (1 - fall))) for fall in marked_at(number)]
            look = baseline_line(number, 0) | {"label": of_baseline["short_name"].iloc[0]}
            axes.plot(thresholds, shares, markevery=marked, zorder=3, drawstyle="steps-post", **look)
        # The dense network last, so that it lies on top.
        for _, of_level in sorted(place.rows.groupby("level"), reverse=True):
            remaining = of_level["remaining %"].mean()
            look = {"color": colours.to_rgba(remaining), "linewidth": 2 if remaining >= DENSE else 1.1}
            axes.plot(
                thresholds, share_above(of_level["score"], thresholds, detector_rule), drawstyle="steps-post", **look
            )
        axes.set(xlim=(before, end), ylim=(0, 102), xlabel="IoU x with the best concept")
        axes.set_ylabel(f"Units with best IoU {WORDS[detector_rule]} x (%)")
        axes.set_title("\n".join([place.title, *without_overlap(place.rows)]))
    if not all_dense(units):
        add_density_bar(figure, colours)
    add_legend(figure, labelled(figure), columns=4)
    say_left_out(figure, left_out)
    return figure


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """How the rule for detectors compares, and what else there is: units without overlap, dense curves, baselines."""
    units = frames["units"]
    curves, baselines = units[units["role"] == CURVE], of_role(units, BASELINE)
    overlap = (
        "A step at IoU 0 is the share of units that overlap no concept. The line above a panel gives this share, and"
        " that of dead units among them, which are constant over all concept pictures: lowest to highest of all levels."
    )
    dense = not all_dense(units) and (curves["remaining %"] >= DENSE).any()
    return {
        "above": WORDS[detector_rule_of(frames["networks"])[1]],
        "overlap": overlap if (curves["score"] == 0).any() else "",
        "dense": "Thick: the dense network." if dense else "",
        "baselines": f"Grey lines: {list_baselines(baselines, 'short_name')}. Their markers only tell the lines apart."
        if baselines
        else "",
    }


def share_above(scores: pd.Series, thresholds: np.ndarray, detector_rule: str) -> np.ndarray:
    """The share of `scores`, in per cent, that detect at each of `thresholds` (t,), all below 0: float64 (t,)."""
    detected = detects(scores.to_numpy()[:, None], thresholds, detector_rule) | (thresholds < 0)
    return 100 * detected.mean(axis=0)


def without_overlap(rows: pd.DataFrame) -> list[str]:
    """A line that says how many units of an arm overlap no concept, and how many of them are dead; none if all do."""
    words = "units without overlap: {} %; dead: {} %"
    silent, dead = (100 * shares.groupby(rows["level"]).mean() for shares in (rows["score"] == 0, rows["dead"]))
    return [words.format(span(list(silent)), span(list(dead)))] if silent.any() else []
