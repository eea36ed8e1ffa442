"""Detectors, in per cent of the layer's units (left) and as their number (right), against the weights that remain. A
unit is a detector if its IoU with its best concept is {detector_iou}. {curves} {baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import UNITS

ORDER = 40


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Detectors, a panel for each layer."""
    return draw_single(UNITS, frames["networks"], width)
