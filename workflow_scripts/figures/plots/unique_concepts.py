"""Distinct concepts that the layer's units detect{against}. {once}: a unit counts once, under its best concept.
{often}: a unit counts in every category in which it detects a concept, and the categories' distinct concepts are added
up, as in the published code of Bau et al. (2017). A unit detects a concept if their IoU is {detector_iou}. {curves}
{baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import CONCEPTS

ORDER = 50


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Unique concepts in both ways of counting, a panel for each layer."""
    return draw_single(CONCEPTS, frames["networks"], width)
