"""{measures}{against}. A unit is a detector if its IoU with its best concept is {detector_iou}; it counts once, under
that concept. {rotated} {curves} {baselines} {references} {n}. {layers}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.curves import draw_measure, finish
from workflow_scripts.figures.dense import draw_dense
from workflow_scripts.figures.measures import ACCURACY, CONCEPTS, UNITS, accuracy_rows, has_accuracy, units_title
from workflow_scripts.figures.panels import all_dense, columns_within, layout, place_layout
from workflow_scripts.figures.style import TEXT_WIDTH
from workflow_scripts.plan.keys import CURVE

ORDER = 20

COUNTS = {"units": UNITS, "concepts": CONCEPTS._replace(other=None)}


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The paper's question: accuracy, detectors and unique concepts against density."""
    networks = frames["networks"]
    measures = [*([ACCURACY] if has_accuracy(networks) else []), *COUNTS.values()]
    width = width or TEXT_WIDTH
    if all_dense(networks):
        return draw_dense([("", networks, measure) for measure in measures], width)
    networks = of_known_density(networks)
    layers = list(networks["layer"].unique())
    rows = layout(layers, list(COUNTS), ACCURACY in measures, columns_within(len(measures), width))
    figure, cells = place_layout(rows, width, panel_height=2)
    if "accuracy" in cells:
        draw_measure(cells["accuracy"], accuracy_rows(networks), ACCURACY)
    for layer in layers:
        of_layer = networks[networks["layer"] == layer]
        for name, measure in COUNTS.items():
            axes = cells[f"{name} {layer}"]
            draw_measure(axes, of_layer, measure)
            axes.set_title(layer)
        cells[f"units {layer}"].set_ylabel(units_title(of_layer))
    finish(figure, [cells[name] for name in dict.fromkeys(rows[0])], networks)
    return figure


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What is measured, and that random bases have detectors, too, if another figure shows these."""
    networks = frames["networks"]
    rotated = networks.loc[networks["role"] == CURVE, "rotated"].any()
    return {
        "measures": f"{'Test accuracy, detectors' if has_accuracy(networks) else 'Detectors'} and unique concepts",
        "rotated": "A random basis may have nearly as many detectors: see the figure ``rotation``." if rotated else "",
    }
