"""Units whose IoU with their best concept passes the IoU threshold, as a share of the layer's units (left) and as
their number (right, where all networks have as many), against the weights that remain. Colours: methods; dashes and
marks of curves: networks. Dashed grey lines: baselines. Grey line: 90 % pruned. Where every network is dense there is a
line for each network and layer instead, on it its baselines as grey marks.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import UNITS

ORDER = 40


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """Interpretable units, a panel for each layer."""
    return draw_single(UNITS, frames["networks"])
