"""Heat maps of what there is at every level: rows that several arms share, a block of columns for each arm."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from workflow_scripts.figures.numbers import rounded
from workflow_scripts.figures.panels import LINE_HEIGHT, REMAINING
from workflow_scripts.figures.style import COLUMN_WIDTH, PAGE_HEIGHT, TEXT_WIDTH, scaled, tiny

ROW = 0.115  # inches, at most; these lengths are for `FONT_SIZE`
LABELLED_ROW, LABELLED_COLUMN = 0.095, 0.1  # inches: those between are not labelled
WIDE, UPRIGHT = 0.25, 0.24  # inches: columns need not be wider; labels of narrower ones are turned
LETTER, DIGIT = 0.058, 0.053  # inches: those of names, and of numbers in cells
SIDES = 2.1  # inches of a figure's width that are not columns: what rows are called, colours
BLOCKS_APART = 0.6  # of a column
LONGEST_LABEL = 30  # letters


class Block(NamedTuple):
    """An arm's columns: its name, how much of its weights each network has (%), and the cells (rows, columns)."""

    name: str
    remaining: Sequence[float]
    cells: np.ndarray


def starts(blocks: Sequence[Block]) -> np.ndarray:
    """Where each block begins, if a column is 1 wide, and the end of them all."""
    widths = [len(block.remaining) + BLOCKS_APART for block in blocks]
    return np.cumsum([0, *widths])


def figure_width(blocks: Sequence[Block]) -> float:
    """Inches of a figure with these blocks, if it is not told another width."""
    return COLUMN_WIDTH if scaled(SIDES + WIDE * starts(blocks)[-1]) <= COLUMN_WIDTH else TEXT_WIDTH


def column_width(width: float, blocks: Sequence[Block]) -> float:
    """Inches of each column in a figure that is so wide, about."""
    return (width - scaled(SIDES)) / starts(blocks)[-1]


def wrap_names(width: float, blocks: Sequence[Block]) -> tuple[list[str], bool]:
    """The blocks' names in lines that fit above them in a figure that is so wide (inches); whether they are upright."""
    inches = [len(block.remaining) * column_width(width, blocks) for block in blocks]
    turned = min(inches) < 12 * scaled(LETTER)
    names = []
    for block, room in zip(blocks, inches, strict=True):
        letters, most = (
            (24, int(room / scaled(LINE_HEIGHT))) if turned else (int(room / scaled(LETTER)), len(block.name))
        )
        while len(lines := textwrap.wrap(block.name, letters, break_on_hyphens=False)) > max(most, 1):
            letters += 1
        names.append("\n".join(lines))
    return names, turned


def names_height(width: float, blocks: Sequence[Block]) -> float:
    """Inches of the blocks' names above a heat map."""
    names, turned = wrap_names(width, blocks)
    lines = [name.splitlines() for name in names]
    if turned:
        return scaled(LETTER) * max(len(line) for of_name in lines for line in of_name)
    return scaled(LINE_HEIGHT) * max(map(len, lines))


def row_height(rows: int, rest: float) -> float:
    """Inches of each of so many rows, where `rest` inches of the page's height go elsewhere."""
    return max(0.02, min(scaled(ROW), (PAGE_HEIGHT - rest) / rows))


def draw_heat_map(
    axes: Axes,
    labels: Sequence[str],
    blocks: Sequence[Block],
    colours: ScalarMappable,
    write: Callable[[float], str],
    row: float,
) -> None:
    """Draw `blocks` beside each other, their first row on top; cells that are 0 stay white.

    `labels` are the rows' names, `write` makes a cell's number text, `row` is how high a row is, in inches.
    """
    column = column_width(width_of(axes), blocks)
    every = math.ceil(scaled(LABELLED_ROW) / row)
    longest = max(len(write(number)) for block in blocks for number in block.cells.flat)
    numbered = column >= longest * scaled(DIGIT) and every == 1
    for block, start in zip(blocks, starts(blocks), strict=False):
        x, y = start + np.arange(len(block.remaining) + 1), np.arange(len(labels) + 1)
        cells = np.ma.masked_where(~(block.cells > 0), block.cells)
        norm: Any = colours.norm  # a Normalize, which Matplotlib's types call a Norm
        axes.pcolormesh(x, y, cells, norm=norm, cmap=colours.cmap, edgecolors="white", linewidth=0.3)
        if numbered:
            write_cells(axes, start, block.cells, colours, write)
    axes.set(xlim=(0, starts(blocks)[-1] - BLOCKS_APART), ylim=(len(labels), 0))
    axes.set_yticks(np.arange(0, len(labels), every) + 0.5, labels=[shorten(label) for label in labels[::every]])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def write_cells(
    axes: Axes, start: float, cells: np.ndarray, colours: ScalarMappable, write: Callable[[float], str]
) -> None:
    """Write each of the `cells` (rows, columns) as text, from column `start` on: white where its colour is dark."""
    for (row, column), value in np.ndenumerate(cells):
        dark = value > 0 and np.dot(colours.to_rgba(value)[:3], (0.2126, 0.7152, 0.0722)) < 0.45
        axes.text(
            start + column + 0.5,
            row + 0.53,
            write(value),
            fontsize=tiny(),
            color="white" if dark else "black",
            ha="center",
            va="center_baseline",
        )


def name_blocks(axes: Axes, blocks: Sequence[Block]) -> None:
    """Write each block's name above it, upright where it is narrow."""
    begins = starts(blocks)
    names, turned = wrap_names(width_of(axes), blocks)
    top = axes.secondary_xaxis("top")
    middles = (begins[:-1] + begins[1:] - BLOCKS_APART) / 2
    top.set_xticks(middles, labels=names, rotation=90 if turned else 0)
    top.tick_params(length=0)
    top.spines[:].set_visible(False)


def width_of(axes: Axes) -> float:
    """Inches of the figure that axes are in."""
    figure = axes.get_figure(root=True)
    assert figure, "the axes are in a figure"
    return figure.get_figwidth()


def label_columns(axes: Axes, blocks: Sequence[Block]) -> None:
    """Write below the columns how much of its weights each network has."""
    column = column_width(width_of(axes), blocks)
    every = math.ceil(scaled(LABELLED_COLUMN) / column)
    middles, labels = [], []
    for block, start in zip(blocks, starts(blocks), strict=False):
        middles += list(start + 0.5 + np.arange(0, len(block.remaining), every))
        labels += [rounded(remaining) for remaining in block.remaining[::every]]
    axes.set_xticks(middles, labels=labels, rotation=0 if column >= scaled(UPRIGHT) else 90)
    axes.set_xlabel(REMAINING)


def shorten(name: str) -> str:
    """The end of a long name: the beginning says least of a layer."""
    return name if len(name) <= LONGEST_LABEL else f"…{name[1 - LONGEST_LABEL :]}"


def levels_of(rows: pd.DataFrame) -> pd.Series:
    """How much of their weights (%) the networks of one arm have at each level, the mean over replicates; falling."""
    remaining = rows.groupby("level")["remaining %"].mean()
    return remaining.sort_values(ascending=False, kind="stable")
