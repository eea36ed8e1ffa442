"""How the networks were trained: loss (left) and accuracy (right) on the training pictures after each epoch. {rows}
{networks} {rewound} {circles} {n}.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from workflow_scripts.figures.facts import has_spread, sentence
from workflow_scripts.figures.measures import Measure
from workflow_scripts.figures.numbers import span
from workflow_scripts.figures.panels import (
    add_density_bar,
    all_dense,
    density_colours,
    first_curves,
    height_on_page,
    panels,
    say_left_out,
    sparsest,
)
from workflow_scripts.figures.style import TEXT_WIDTH
from workflow_scripts.plan.keys import BASELINE, REFERENCE

ORDER = 130
NEEDS_EPOCHS = True

LOSS = Measure("train_loss", None, "Training loss")
TRAIN_ACCURACY = Measure("train accuracy %", None, "Training accuracy (%)")
NETWORK = ["arm", "replicate", "level"]
HEIGHT = 1.8  # inches of a panel


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """A row for each arm that was trained, a panel for each measure."""
    epochs = frames["epochs"]
    shown, left_out = first_curves(epochs[epochs["role"] != BASELINE])
    arms = [rows for _, rows in shown.groupby("arm", sort=False)]
    figure, grid = panels(len(arms), 2, width or TEXT_WIDTH, height_on_page(len(arms), HEIGHT))
    colours = density_colours(sparsest(frames["networks"]))
    for row, of_arm in zip(grid, arms, strict=True):
        for axes, measure in zip(row, (LOSS, TRAIN_ACCURACY), strict=True):
            draw_networks(axes, of_arm, measure, colours)
            axes.set_xlim(0.5, shown["epoch"].max() + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.set_xlabel("Epoch")
            axes.set_ylabel(measure.title)
        row[0].set_ylim(0, 1.06 * shown["train_loss"].max())
        row[1].set_ylim(0, 103)
        row[0].set_title(of_arm["name"].iloc[0], loc="left")
    if not all_dense(frames["networks"]):
        add_density_bar(figure, colours)
    say_left_out(figure, left_out)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    trained = (frames["epochs"]["role"] != BASELINE).any()
    return "" if trained else "No network of a curve or a reference was trained here."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What rows, lines and circles are, and why lines begin later."""
    shown, _ = first_curves(frames["epochs"][frames["epochs"]["role"] != BASELINE])
    references = "curves first, then references" if (shown["role"] == REFERENCE).any() else ""
    colour = "" if all_dense(frames["networks"]) else ", its colour the weights that remain"
    begins = shown.groupby(NETWORK)["epoch"].min()
    rewound = (
        f"Lines that begin at epoch {span(list(begins[begins > 1]))} begin at the rewind point, an early epoch in the"
        " schedule of the dense training."
        if (begins > 1).any()
        else ""
    )
    return {
        "rows": sentence("a row for each arm", references) if shown["arm"].nunique() > 1 else "",
        "networks": f"A line is a network{colour}{'; each replicate has one' if has_spread(shown) else ''}.",
        "rewound": rewound,
        "circles": "Circles: test accuracy at the end." if shown["accuracy %"].notna().any() else "",
    }


def draw_networks(axes: Axes, rows: pd.DataFrame, measure: Measure, colours: ScalarMappable) -> None:
    """Draw a line for each network and, beside training accuracy, a circle at the end for its test accuracy."""
    for _, of_network in rows.groupby(["level", "replicate"]):
        colour = colours.to_rgba(of_network["remaining %"].iloc[0])
        marker = "." if len(of_network) == 1 else None
        axes.plot(of_network["epoch"], of_network[measure.column], color=colour, linewidth=0.9, marker=marker)
        last = of_network.iloc[-1]
        if measure is TRAIN_ACCURACY and pd.notna(last["accuracy %"]):
            axes.plot(last["epoch"], last["accuracy %"], "o", color=colour, markersize=3.5, markerfacecolor="none")
