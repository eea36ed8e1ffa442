"""Detectors by the category of the concept{against}; every panel has its own scale. {once}: a unit counts once, under
its best concept, so the panels add up to the overview. {often}: a unit counts in every category in which it detects a
concept. A unit detects a concept if their IoU is {detector_iou}. {curves} {baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_by_category
from workflow_scripts.figures.measures import UNITS_IN_CATEGORY

ORDER = 110


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Detectors, a panel for each layer and category."""
    return draw_by_category(UNITS_IN_CATEGORY, frames["categories"], width)
