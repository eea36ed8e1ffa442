"""Does a unit match its concept better than chance, and how well? Left: units that permutations of labels do not
explain (false discovery rate 5 %), as a share of the layer's units; right: interpretable units, those whose IoU
passes the threshold; against the weights that remain. Dashed grey lines: baselines. Units of untrained networks are
significant, too, where architecture and pictures alone make them respond to something: the left panel tells whether
there is a match, the right one whether it is a good one. Where every network is dense there is a line for each
network and layer instead.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.curves import draw_measure, finish
from workflow_scripts.figures.dense import draw_dense
from workflow_scripts.figures.measures import UNITS, Measure
from workflow_scripts.figures.panels import LEGEND_HEIGHT, all_dense, draw_sentence, panels
from workflow_scripts.figures.style import PAGE_HEIGHT, TEXT_WIDTH

ORDER = 48

SIGNIFICANT = Measure("detectors_fdr %", None, "Significant units (%)")


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """Significant and interpretable units side by side, a row for each layer."""
    networks = frames["networks"]
    networks = networks.assign(**{SIGNIFICANT.column: 100 * networks["detectors_fdr"] / networks["units"]})
    if networks[SIGNIFICANT.column].isna().all():
        return draw_sentence("No labels were permuted: statistics.permutations is none.")
    measures = SIGNIFICANT, UNITS
    if all_dense(networks):
        return draw_dense([("", networks, measure) for measure in measures])
    networks = of_known_density(networks)
    layers = networks["layer"].unique()
    height = min(2.2, (PAGE_HEIGHT - LEGEND_HEIGHT) / len(layers))
    figure, grid = panels(len(layers), len(measures), TEXT_WIDTH, panel_height=height)
    for row, layer in zip(grid, layers, strict=True):
        for axes, measure in zip(row, measures, strict=True):
            draw_measure(axes, networks[networks["layer"] == layer], measure)
        row[0].set_title(layer, loc="left")
    finish(figure, grid, networks, max_ticks=6)
    return figure
