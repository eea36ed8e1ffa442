"""Distinct concepts detected, by category{against}; every panel has its own scale. {once}: a unit counts once, under
its best concept. {often}: a unit counts in every category in which it detects a concept. A unit detects a concept if
their IoU is {detector_iou}. {curves} {baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_by_category
from workflow_scripts.figures.measures import CONCEPTS

ORDER = 120


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Unique concepts, a panel for each layer and category."""
    return draw_by_category(CONCEPTS, frames["categories"], width)
