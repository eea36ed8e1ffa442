"""Detectors (the paper's interpretable units) in per cent of the layer's units{number}{against}. A unit is a detector
if its IoU with its best concept is {detector_iou}. {curves} {baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import UNITS
from workflow_scripts.figures.panels import all_dense

ORDER = 40


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Detectors, a panel for each layer."""
    return draw_single(UNITS, frames["networks"], width)


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Whether there is an axis for their number."""
    networks = frames["networks"]
    same = (networks.groupby("layer")["units"].nunique() == 1).any()
    return {"number": " (left) and as their number (right)" if same and not all_dense(networks) else ""}
