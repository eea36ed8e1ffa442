"""The figures: what the rules need to know of each, read from its file without a plotting library.

A figure is a file of its name in figures/plots/: the docstring is its caption (reStructuredText, with fields that are
filled from the tables, see figures/captions.py), `ORDER` (a number) its place among the others, `draw(frames, width)`
draws it. `NEEDS_ACCURACY = True` says that it draws the networks' accuracy,
`NEEDS_ROTATIONS = True` that it draws rotations of their layers, `NEEDS_ABLATION = True` what switching off their units
does, `NEEDS_EPOCHS = True` how they were trained, which not every experiment has.
"""

import ast
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.plan.source_files import constants_of, has_function, parse
from workflow_scripts.shared.files import UserError

PLOTS = Path(__file__).parents[1] / "figures" / "plots"
NEEDS = ("accuracy", "rotations", "ablation", "epochs")  # what figures may need that not every experiment has


TABLES_OF_NEEDS = {
    "accuracy": ("networks",),
    "rotations": ("rotations",),
    "ablation": ("ablation", "classes"),
    "epochs": ("epochs",),
}


class Plot(NamedTuple):
    """What a figure's file says of it."""

    order: float
    name: str
    caption: str
    needs: frozenset[str]


def figure_names(known: Collection[str] = NEEDS) -> list[str]:
    """The names of all figures, in their order, that need nothing of `NEEDS` but what is known.

    Raises UserError if the file of a figure lacks its caption, its order or the function that draws it.
    """
    plots = sorted(read_plot(path) for path in PLOTS.glob("[!_]*.py"))
    return [plot.name for plot in plots if plot.needs <= set(known)]


def caption_of(name: str) -> str:
    """The caption of a figure, reStructuredText, its fields not filled; UserError as of `figure_names`."""
    return read_plot(PLOTS / f"{name}.py").caption


def needs_of(name: str) -> frozenset[str]:
    """What a figure needs, of `NEEDS`; UserError as of `figure_names`."""
    return read_plot(PLOTS / f"{name}.py").needs


def module_of(name: str) -> str:
    """The module that draws a figure."""
    return f"workflow_scripts.figures.plots.{name}"


def tables_of(name: str) -> frozenset[str]:
    """The tables that a figure is drawn from: those that its file takes by name, and those of what it needs."""
    tree = parse(PLOTS / f"{name}.py")
    taken = [
        str(node.slice.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "frames"
        and isinstance(node.slice, ast.Constant)
    ]
    return frozenset(taken).union(*(TABLES_OF_NEEDS[need] for need in needs_of(name)))


def read_plot(path: Path) -> Plot:
    """Read what a figure's file says of the figure, without running it.

    Raises:
        UserError: it lacks its caption, its order or the function that draws it.
    """
    tree = parse(path)
    constants = constants_of(tree)
    order, caption = constants.get("ORDER"), ast.get_docstring(tree)
    if not isinstance(order, int | float):
        raise UserError(f"{path} has no ORDER: add a line ORDER = 10, the figure's place among the others")
    if not caption:
        raise UserError(f"{path} has no caption: add one as the module's docstring")
    if not has_function(tree, "draw"):
        raise UserError(f"{path} draws nothing: add a function draw(frames, width) that returns a Figure")
    needs = frozenset(name for name in NEEDS if constants.get(f"NEEDS_{name.upper()}"))
    return Plot(order, path.stem, caption, needs)
