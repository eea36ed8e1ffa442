"""Accuracy on the test images against the weights that remain. Thin lines: replicates; bold: their mean; open circle:
dense; open black marks: references; grey line: 90 % pruned. Colours: methods; dashes and marks of curves: networks.
Networks whose accuracy nobody measured, or whose density is not known, are not shown.
Where every network is dense there is a line for each instead.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.measures import ACCURACY, accuracy_rows

ORDER = 30
NEEDS_ACCURACY = True


def draw(frames: dict[str, pd.DataFrame]) -> Figure:
    """Test accuracy, in one panel."""
    return draw_single(ACCURACY, accuracy_rows(frames["networks"]))
