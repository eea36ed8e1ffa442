"""For every level the share of units whose IoU with their best concept is above the value on the horizontal axis (or
at least it, as the experiment's rule for detectors has it), all replicates together; a panel for each layer and each
curve of the other figures. Where a curve crosses the vertical line, the experiment's IoU threshold, it gives the
share of interpretable units; elsewhere, what another threshold would have found. Thick: dense. Grey and dashed, with
marks: the network's baselines. If a page has no room for all curves, the first ones are shown, and a line above names
the others.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.dissect.name_units import detects
from workflow_scripts.figures.arms import first_level, of_role
from workflow_scripts.figures.panels import (
    DENSE,
    add_density_bar,
    add_legend,
    all_dense,
    columns_for,
    curves_on_page,
    density_colours,
    first_curves,
    labelled,
    place_panels,
    places,
    say_left_out,
    sparsest,
)
from workflow_scripts.figures.style import GREY, TEXT_WIDTH, baseline_line, marked_at
from workflow_scripts.plan.keys import BASELINE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.tables.read_tables import detector_rule_of

ORDER = 90

LEAST_HEIGHT = 2.1  # inches of a panel


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """The share of units whose best IoU is above x, or at least x as the rule has it; at the cut, the detectors."""
    units = frames["units"]
    detector_iou, detector_rule = detector_rule_of(frames["networks"])
    units, left_out = first_curves(units, curves_on_page(units, LEAST_HEIGHT))
    shown = places(units)
    columns = columns_for(len(shown))
    width = {1: 0.65, 2: 0.8, 3: 1}[columns] * TEXT_WIDTH
    figure, panels = place_panels(len(shown), columns, width, panel_height=2.8 if columns == 1 else 2.3)
    colours = density_colours(sparsest(units))
    end = max(2 * detector_iou, units["score"].max())
    sign, words = DETECTOR_RULES[detector_rule], {"above": "above", "at_least": "of at least"}[detector_rule]
    cuts = np.union1d(np.linspace(0, end, 500), [detector_iou])
    for axes, place in zip(panels, shown, strict=True):
        axes.axvline(detector_iou, color=GREY, linewidth=0.8, label=f"detectors: IoU {sign} {detector_iou:g}")
        for of_baseline in of_role(place.comparisons, BASELINE):
            number = of_baseline["look"].iloc[0]
            shares = share_detected(first_level(of_baseline)["score"], cuts, detector_rule)
            marked = [int(np.argmax(shares <= 100 * (1 - fall))) for fall in marked_at(number)]
            look = baseline_line(number, 0) | {"label": of_baseline["short_name"].iloc[0]}
            axes.plot(cuts, shares, markevery=marked, zorder=3, **look)
        # The dense network last, so that it lies on top.
        for _, of_level in sorted(place.rows.groupby("level"), reverse=True):
            remaining = of_level["remaining %"].mean()
            look = {"color": colours.to_rgba(remaining), "linewidth": 2 if remaining >= DENSE else 1.1}
            axes.plot(cuts, share_detected(of_level["score"], cuts, detector_rule), **look)
        axes.set(xlim=(0, end), ylim=(0, 102), xlabel="IoU of a unit with its best concept")
        axes.set_ylabel(f"Units {words} that IoU (%)")
        axes.set_title(place.title, loc="right")
    if not all_dense(units):
        add_density_bar(figure, colours)
    add_legend(figure, labelled(figure), columns=2)
    say_left_out(figure, left_out)
    return figure


def share_detected(scores: pd.Series, cuts: np.ndarray, detector_rule: str) -> np.ndarray:
    """The share of `scores`, in per cent, that would make detectors at each of `cuts` (c,): float64 (c,)."""
    return 100 * detects(scores.to_numpy()[:, None], cuts, detector_rule).mean(axis=0)
