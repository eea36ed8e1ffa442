"""The weights that remain of each layer, in per cent of the layer's own: a row for each layer that can be pruned, in
the network's order; a column for each level, with what remains of the whole network below it. {means} Colours are
logarithmic{white}. {arms} {n}.
"""

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.arms import of_known_density
from workflow_scripts.figures.facts import sentence
from workflow_scripts.figures.heat_maps import (
    Block,
    draw_heat_map,
    figure_width,
    label_columns,
    levels_of,
    name_blocks,
    names_height,
    row_height,
)
from workflow_scripts.figures.numbers import rounded
from workflow_scripts.figures.panels import (
    DENSE,
    add_density_bar,
    density_colours,
    first_curves,
    say_left_out,
)
from workflow_scripts.figures.style import scaled
from workflow_scripts.plan.keys import CURVE

ORDER = 100

FRAME = 0.9  # inches of a heat map's height that are not rows
SHORTEST = 2  # inches: so that what the colours mean can be read


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """A row for each layer that can be pruned, a column for each level; arms of one network stand side by side."""
    _, pruned = curves_and_pruned(frames)
    pruned, left_out = first_curves(pruned)
    maps = [density_map(of_network) for _, of_network in pruned.groupby("network", sort=False)]
    rows = [len(names) for names, _ in maps]
    width = width or max(figure_width(blocks) for _, blocks in maps)
    several = pruned["arm"].nunique() > 1
    rest = scaled(FRAME) * len(maps) + sum(names_height(width, blocks) for _, blocks in maps if several)
    row = row_height(sum(rows), rest)
    figure = Figure(figsize=(width, max(scaled(SHORTEST), sum(rows) * row + rest)), layout="constrained")
    grid = figure.subplots(len(maps), squeeze=False, height_ratios=rows)
    lowest = min(block.cells[block.cells > 0].min(initial=DENSE) for _, blocks in maps for block in blocks)
    colours = density_colours(lowest)
    for axes, (names, blocks) in zip(grid[:, 0], maps, strict=True):
        draw_heat_map(axes, names, blocks, colours, rounded, row)
        label_columns(axes, blocks)
        if several:
            name_blocks(axes, blocks)
    add_density_bar(figure, colours, "Weights of the layer remaining (%)")
    say_left_out(figure, left_out)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    curves, pruned = curves_and_pruned(frames)
    if curves.empty:
        return "What remains of each layer is not known here."
    return "No network here is pruned, so every layer has all its weights." if pruned.empty else ""


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Whether there are layers without weights, several arms of a network, and arms that are not shown."""
    curves, pruned = curves_and_pruned(frames)
    beside = pruned.groupby("network")["arm"].nunique().max() > 1
    dense = pruned["arm"].nunique() < curves["arm"].nunique()
    return {
        "white": "; a layer that has lost everything is white" if (pruned["layer remaining %"] == 0).any() else "",
        "arms": sentence(
            "arms of one network stand side by side" if beside else "",
            "networks that nobody pruned are not shown" if dense else "",
        ),
    }


def curves_and_pruned(frames: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The layers that can be pruned of all curves, and of those that have pruned networks."""
    layers = frames["layers"]
    curves = of_known_density(layers[(layers["role"] == CURVE) & layers["prunable"]])
    return curves, curves[curves.groupby("arm")["remaining %"].transform("min") < DENSE]


def density_map(rows: pd.DataFrame) -> tuple[list[str], list[Block]]:
    """The layers of arms that share them, in the network's order, and for each arm what remains of each (%)."""
    names = rows["layer"].unique()
    blocks = []
    for _, of_arm in rows.groupby("number"):
        remaining = levels_of(of_arm)
        cells = of_arm.pivot_table("layer remaining %", "layer", "level").reindex(names)[remaining.index]
        blocks.append(Block(of_arm["name"].iloc[0], remaining.to_numpy(), cells.to_numpy()))
    return list(names), blocks
