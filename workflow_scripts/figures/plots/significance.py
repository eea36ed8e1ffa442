"""Does a unit match its concept better than chance, and how well? Significant units, whose match permuted labels do not
explain (false discovery rate 5 %), and detectors, whose IoU with their best concept is {detector_iou}, in per cent of
the layer's units{against}. {untrained} Significance says whether there is a match, the IoU whether it is a good one.
{curves} {baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.curves import draw_measure, finish
from workflow_scripts.figures.dense import draw_dense
from workflow_scripts.figures.measures import UNITS, Measure
from workflow_scripts.figures.panels import all_dense, height_on_page, panels
from workflow_scripts.figures.style import TEXT_WIDTH

ORDER = 48

SIGNIFICANT = Measure("detectors_fdr %", None, "Significant units (%)")


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Significant units and detectors side by side, a row for each layer."""
    networks = frames["networks"]
    networks = networks.assign(**{SIGNIFICANT.column: 100 * networks["detectors_fdr"] / networks["units"]})
    measures = SIGNIFICANT, UNITS
    if all_dense(networks):
        return draw_dense([("", networks, measure) for measure in measures], width)
    networks = of_known_density(networks)
    layers = networks["layer"].unique()
    figure, grid = panels(len(layers), len(measures), width or TEXT_WIDTH, height_on_page(len(layers), 2))
    for row, layer in zip(grid, layers, strict=True):
        for axes, measure in zip(row, measures, strict=True):
            draw_measure(axes, networks[networks["layer"] == layer], measure)
        row[0].set_title(layer, loc="left")
    finish(figure, grid[0], networks)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    permuted = frames["networks"]["detectors_fdr"].notna().any()
    return "" if permuted else "No labels were permuted, because statistics.permutations is none."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What untrained networks show, if there are any."""
    words = (
        "Units of untrained networks can be significant, too, where architecture and pictures alone make them respond"
        " to something."
    )
    return {"untrained": words if (frames["networks"]["recipe"] == "untrained").any() else ""}
