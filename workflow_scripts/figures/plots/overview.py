"""Test accuracy, interpretable units and unique concepts against the weights that remain (logarithmic; the dense
network is at the left). A unit is interpretable if its IoU with its best concept passes the IoU threshold; it counts
once, under that concept. Curves have the colour of their method, and the dashes and marks of the network that was
pruned. Thin lines: replicates; bold: their mean; open circle: dense. Open black marks: references, that is, what a
network reaches that was not pruned, a mark for each level. Dashed grey lines, means over replicates: baselines, that
is, what the same counting finds by chance. The table of arms says how each came about. Grey line: 90 % of the prunable
weights are pruned, the paper's mark. One-shot curves begin at the network that was pruned. Networks whose density is
not known, as that of smaller networks, are not shown. Where every network is dense there is a line for each network and
layer instead, on it its baselines as grey marks. Accuracy is shown where it was measured.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.curves import draw_measure, finish
from workflow_scripts.figures.dense import draw_dense
from workflow_scripts.figures.measures import ACCURACY, CONCEPTS, UNITS, has_accuracy, units_title
from workflow_scripts.figures.panels import all_dense, panels
from workflow_scripts.figures.style import TEXT_WIDTH

ORDER = 20


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """The paper's question: accuracy, interpretable units and unique concepts against density."""
    networks = frames["networks"]
    measures = [*([ACCURACY] if has_accuracy(networks) else []), UNITS, CONCEPTS._replace(other=None)]
    if all_dense(networks):
        return draw_dense([("", networks, measure) for measure in measures])
    networks = of_known_density(networks)
    layers = networks["layer"].unique()
    figure, grid = panels(len(layers), len(measures), width=TEXT_WIDTH, panel_height=2.0)
    for row, layer in zip(grid, layers, strict=True):
        of_layer = networks[networks["layer"] == layer]
        for axes, measure in zip(row, measures, strict=True):
            draw_measure(axes, of_layer, measure)
        if has_accuracy(networks) and not has_accuracy(of_layer):
            row[0].remove()
        row[-2].set_ylabel(units_title(of_layer))
        if len(layers) > 1:
            row[-2].set_title(layer)
    finish(figure, grid, networks, max_ticks=6)
    return figure
