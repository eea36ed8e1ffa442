"""Interpretable units by the category of the concept, against the weights that remain; every panel has a scale of its
own. Solid: a unit counts once, under its best concept, so the panels add up to the overview. Dotted: a unit counts in
every category in which it detects a concept. Dashed grey lines: baselines, counted as the solid line. Where every
network is dense there is a line for each network and layer instead; its baselines are grey marks, and a cross stands
for the dotted line.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_by_category
from workflow_scripts.figures.measures import UNITS_IN_CATEGORY

ORDER = 110


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """Interpretable units, a panel for each layer and category."""
    return draw_by_category(UNITS_IN_CATEGORY, frames["categories"])
