"""Which concepts appear, persist and are lost: a row for each concept, a column for each level. In the cell: how many
units detect the concept (a unit counts once, under its best concept; white: none). {means} Within a category: concepts
of the dense network first; then by number of levels at which they are detected. {others} Below: how many concepts were
present at every level so far, appeared or returned earlier, are new, and (downwards) were detected at an earlier level
but not at this one{counted}. {without} A unit is a detector if its IoU with its best concept is {detector_iou}. {n}.
{layers}.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from workflow_scripts.figures.facts import has_spread
from workflow_scripts.figures.heat_maps import (
    BLOCKS_APART,
    ROW,
    Block,
    column_width,
    draw_heat_map,
    figure_width,
    label_columns,
    levels_of,
    name_blocks,
    names_height,
    starts,
    width_of,
)
from workflow_scripts.figures.numbers import exact, rounded
from workflow_scripts.figures.panels import (
    DENSE,
    LEGEND_HEIGHT,
    add_legend,
    bar_look,
    first_curves,
    say_left_out,
)
from workflow_scripts.figures.style import COUNT_COLOURS, GREY, PAGE_HEIGHT, category_looks, scaled, small
from workflow_scripts.plan.keys import CURVE
from workflow_scripts.shared.concept_names import shown_name

ORDER = 80

STRIP, FRAME = 0.75, 0.6  # inches of a layer's height: the strip below its heat map; what is neither
COUNTS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # ticks
CONCEPT = ["category", "label"]
# What becomes of concepts: those that a level has, from the axis up, and those that it has lost, below.
FATES: dict[str, dict[str, Any]] = {
    "present at every level so far": {"facecolor": "#444444"},
    "appeared or returned earlier": {"facecolor": "#999999"},
    "new at this level": {"facecolor": "white", "edgecolor": "#444444", "linewidth": 0.6},
    "lost": {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.6, "hatch": "//////"},
}


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """A heat map for each layer, a row per concept, a column per level; below it what becomes of concepts."""
    categories = list(frames["categories"]["category"].unique())
    curves, layers, left_out = curves_and_layers(frames)
    width, rest, maps = maps_on_page(layers, categories, width)
    several = curves["arm"].nunique() > 1
    heights = [size for one in maps.values() for size in (len(one.concepts) * scaled(ROW), scaled(STRIP))]
    height = sum(len(one.concepts) * scaled(ROW) for one in maps.values()) + rest
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(heights), height_ratios=heights)
    colours = count_colours([count for one in maps.values() for count in one.counts()])
    for (layer, one), axes, strip in zip(maps.items(), grid[::2], grid[1::2], strict=True):
        labels = [shown_name(label, category) for category, label in one.concepts]
        draw_heat_map(axes, labels, one.blocks, colours, write_count, scaled(ROW))
        axes.set_xticks([])
        if several:
            name_blocks(axes, one.blocks)
        mark_categories(axes, one, categories)
        axes.set_title(layer, loc="left")
        draw_fates(strip, one.blocks, [fates(of_arm) for _, of_arm in layers[layer].groupby("number")])
    add_count_bar(figure, list(grid[::2]), colours)
    add_legend(figure, [Patch(label=fate, **look) for fate, look in FATES.items()], columns=2)
    say_left_out(figure, left_out)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    _, layers, _ = curves_and_layers(frames)
    return "" if layers else "No unit of any network detects a concept."


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Whether rows are added up, fates are means, and layers are left out."""
    curves, layers, _ = curves_and_layers(frames)
    _, _, maps = maps_on_page(layers, list(frames["categories"]["category"].unique()))
    others = any(not category for one in maps.values() for category, _ in one.concepts)
    without = len(layers) < curves["layer"].nunique()
    return {
        "others": "Shown are the concepts with most detectors; the last row adds up the others." if others else "",
        "counted": ", counted in each replicate, then averaged" if has_spread(curves) else "",
        "without": "Layers without any detector are left out." if without else "",
    }


def curves_and_layers(frames: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], list[str]]:
    """The units of the curves that are drawn, those of each layer with detectors, and the names of other curves."""
    units = frames["units"]
    curves, left_out = first_curves(units[units["role"] == CURVE])
    layers = {layer: rows for layer, rows in curves.groupby("layer", sort=False) if rows["detector"].any()}
    return curves, layers, left_out


class ConceptMap(NamedTuple):
    """A layer's rows, each a concept's (category, label), and the columns of its arms: mean numbers of detectors.

    Where not all concepts are shown, the last row adds up the others and its category is "".
    """

    concepts: list[tuple[str, str]]
    blocks: list[Block]

    def counts(self) -> list[float]:
        """The numbers of detectors of single concepts."""
        single = [bool(category) for category, _ in self.concepts]
        return [count for block in self.blocks for count in block.cells[single].flat]


def maps_on_page(
    layers: dict[str, pd.DataFrame], categories: list[str], width: float | None = None
) -> tuple[float, float, dict[str, ConceptMap]]:
    """The figure's width, the height that is not rows (inches), and each layer's map, with rows as the page has room.

    `layers` has the rows of curves by layer; a `width` is kept.
    """
    blocks = [concept_map(rows, categories, most=1).blocks for rows in layers.values()]
    width = width or max(map(figure_width, blocks))
    several = pd.concat(layers.values())["arm"].nunique() > 1
    names = sum(names_height(width, of_layer) for of_layer in blocks) if several else 0
    rest = LEGEND_HEIGHT + len(layers) * scaled(STRIP + FRAME) + names
    most = max(5, int((PAGE_HEIGHT - rest) / scaled(ROW) / len(layers)))
    return width, rest, {layer: concept_map(rows, categories, most) for layer, rows in layers.items()}


def concept_map(rows: pd.DataFrame, categories: list[str], most: int) -> ConceptMap:
    """The map of one layer with at most so many rows: of the concepts with most detectors."""
    networks = rows.groupby(["number", "level"]).agg(
        name=("name", "first"), replicates=("replicate", "nunique"), remaining=("remaining %", "mean")
    )
    networks = networks.sort_values(["number", "remaining"], ascending=[True, False])
    counts = rows[rows["detector"]].groupby([*CONCEPT, "number", "level"]).size().unstack(["number", "level"])
    counts = counts.reindex(columns=networks.index).fillna(0) / networks["replicates"]
    others = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[most - 1 :]
    if len(others) == 1:
        others = others[:0]
    shown = sort_concepts(counts.drop(others), networks["remaining"] >= DENSE, categories)
    concepts = list(shown.index)
    if len(others):
        concepts.append(("", f"{len(others)} other concepts"))
        shown = np.vstack([shown, counts.loc[others].sum()])
    ends = networks.groupby("number").size().cumsum()
    blocks = [
        Block(of_arm["name"].iloc[0], of_arm["remaining"].to_numpy(), cells)
        for (_, of_arm), cells in zip(
            networks.groupby("number"), np.split(np.asarray(shown), ends[:-1], axis=1), strict=True
        )
    ]
    return ConceptMap(concepts, blocks)


def sort_concepts(counts: pd.DataFrame, dense: pd.Series, categories: list[str]) -> pd.DataFrame:
    """Sort rows by category; there those that a dense network has first, then those that most levels have.

    `dense` (bool) says which columns of `counts` are dense networks.
    """
    present = counts > 0
    keys = pd.DataFrame(
        {
            "place": [categories.index(category) for category, _ in counts.index],
            "late": ~present.loc[:, dense].any(axis=1),
            "gaps": (~present).sum(axis=1),
            "few": -counts.sum(axis=1),
        }
    )
    return counts.loc[keys.sort_values(list(keys)).index]


def fates(rows: pd.DataFrame) -> pd.DataFrame:
    """How many concepts have each of `FATES` at each level of an arm, the mean over replicates; dense first."""
    of_replicates = []
    for _, of_replicate in rows.groupby("replicate"):
        found = of_replicate[of_replicate["detector"]].groupby("level")[CONCEPT]
        concepts = {level: set(pairs.itertuples(index=False, name=None)) for level, pairs in found}
        levels = levels_of(of_replicate).index
        counts = follow([concepts.get(level, set()) for level in levels])
        of_replicates.append(pd.DataFrame(counts, columns=list(FATES), index=levels))
    return pd.concat(of_replicates).groupby(level=0).mean().loc[levels_of(rows).index]


def follow(concepts: list[set]) -> list[tuple[int, int, int, int]]:
    """The numbers of `FATES` at each level, from the set of concepts that each level has."""
    seen = always = concepts[0]
    counts = []
    for here in concepts:
        always = always & here
        counts.append((len(always), len((here & seen) - always), len(here - seen), len(seen - here)))
        seen = seen | here
    return counts


def draw_fates(axes: Axes, blocks: list[Block], counts: list[pd.DataFrame]) -> None:
    """Draw what becomes of concepts as bars below the columns of the heat map."""
    for start, of_arm in zip(starts(blocks), counts, strict=False):
        at = start + 0.5 + np.arange(len(of_arm))
        bottom = np.zeros(len(of_arm))
        for (fate, look), number in zip(FATES.items(), of_arm.to_numpy().T, strict=True):
            if fate == "lost":
                axes.bar(at, -number, 0.8, **look)
            else:
                axes.bar(at, number, 0.8, bottom, **look)
                bottom += number
        for place in at[bottom == 0]:
            axes.text(place, 0, "0", fontsize=small(), ha="center", va="bottom")
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylim(*(1.06 * limit for limit in axes.get_ylim()))
    axes.set_xlim(0, starts(blocks)[-1] - BLOCKS_APART)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=(1, 2, 5, 10), integer=True))
    axes.yaxis.set_major_formatter(lambda number, _: exact(abs(number)))
    axes.set_ylabel("Concepts")
    label_columns(axes, blocks)


def mark_categories(axes: Axes, drawn: ConceptMap, categories: list[str]) -> None:
    """Write each category beside its rows, at the right, and mark them with its colour."""
    edge, inch = axes.get_xlim()[1], 1 / column_width(width_of(axes), drawn.blocks)
    of_rows = [category for category, _ in drawn.concepts]
    looks = category_looks(categories)
    for category in dict.fromkeys(filter(None, of_rows)):
        first, count = of_rows.index(category), of_rows.count(category)
        corner = (edge + 0.04 * inch, first + 0.1)
        axes.add_patch(Rectangle(corner, 0.08 * inch, count - 0.2, clip_on=False, **looks[category]))
        axes.text(edge + 0.16 * inch, first + count / 2, category, fontsize=small(), va="center_baseline")
        if first + count < len(of_rows):
            axes.axhline(first + count, color=GREY, linewidth=0.6)


def count_colours(counts: Sequence[float]) -> ScalarMappable:
    """The colours of `counts`, by their logarithm; none is for 0."""
    lowest, highest = min(filter(None, counts)), max(counts)
    return ScalarMappable(LogNorm(lowest, max(highest, 5 * lowest)), COUNT_COLOURS)


def add_count_bar(figure: Figure, heat_maps: list[Axes], colours: ScalarMappable) -> None:
    """Add the bar of `count_colours` at the right, with round numbers of detectors."""
    bar = figure.colorbar(colours, ax=heat_maps, **bar_look(figure))
    lowest, highest = colours.get_clim()
    ticks = [tick for tick in COUNTS if lowest <= tick <= highest]
    bar.set_ticks(ticks, labels=[exact(tick) for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label("Detectors of the concept")


def write_count(number: float) -> str:
    """A mean number of detectors in few letters; nothing for none."""
    return rounded(number) if number else ""
