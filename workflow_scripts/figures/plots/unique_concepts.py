"""Distinct concepts that the layer's units detect, against the weights that remain. Solid: every unit counts once,
under its best concept. Dotted: a unit counts in every category in which it detects a concept, and the categories'
distinct concepts are added up, as in the published code of Bau et al. (2017). Dashed grey lines: baselines, counted as
the solid line. Where every network is dense there is a line for each network and layer instead; its baselines are grey
marks, and a cross stands for the dotted line.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import CONCEPTS

ORDER = 50


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """Unique concepts in both ways of counting, a panel for each layer."""
    return draw_single(CONCEPTS, frames["networks"])
