"""Accuracy on the test images against the weights that remain. {curves} {references} {n}."""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import ACCURACY, accuracy_rows

ORDER = 30
NEEDS_ACCURACY = True


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Test accuracy, in one panel."""
    return draw_single(ACCURACY, accuracy_rows(frames["networks"]), width)
