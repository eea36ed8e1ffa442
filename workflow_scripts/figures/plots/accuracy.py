"""Accuracy on the test pictures{against}. {curves} {references} {n}."""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_single
from workflow_scripts.figures.facts import FACTS
from workflow_scripts.figures.measures import ACCURACY, accuracy_rows

ORDER = 30
NEEDS_ACCURACY = True


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """Test accuracy, in one panel."""
    return draw_single(ACCURACY, accuracy_rows(frames["networks"]), width)


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What the caption says of the networks whose accuracy was measured."""
    measured = frames | {"networks": accuracy_rows(frames["networks"])}
    return {name: FACTS[name](measured) for name in ("against", "curves", "references", "n")}
