"""The figures: what the rules need to know about each, read from its file without a plotting library.

A figure is a file with its name in figures/plots/: the docstring is its caption (reStructuredText, with fields that are
filled from the tables, see figures/captions.py), `ORDER` (a number) its place among the others, and
`draw(frames, width)` draws it. Not every experiment has all data, so a figure declares special needs:
`NEEDS_ACCURACY = True` for the networks' accuracy, `NEEDS_ROTATIONS = True` for rotations of their layers,
`NEEDS_ABLATION = True` for the effect of switching off their units, `NEEDS_EPOCHS = True` for their training.
"""

import ast
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.plan.source_files import constants_of, has_function, parse
from workflow_scripts.shared.files import UserError

PLOTS = Path(__file__).parents[1] / "figures" / "plots"
NEEDS = ("accuracy", "rotations", "ablation", "epochs")  # data that figures may need but not every experiment has
TABLES_OF_NEEDS = {
    "accuracy": ("networks",),
    "rotations": ("rotations",),
    "ablation": ("ablation", "classes"),
    "epochs": ("epochs",),
}


class Plot(NamedTuple):
    """What a figure's file says about it."""

    order: float
    name: str
    caption: str
    needs: frozenset[str]


def figure_names(known: Collection[str] = NEEDS) -> list[str]:
    """Return the names, in order, of all figures whose needs among `NEEDS` are all in `known`.

    Raises UserError if the file of a figure lacks its caption, its order or the function that draws it.
    """
    plots = sorted(read_plot(path) for path in PLOTS.glob("[!_]*.py"))
    return [plot.name for plot in plots if plot.needs <= set(known)]


def caption_of(name: str) -> str:
    """Return a figure's caption, reStructuredText, its fields not filled; raises as `figure_names` does."""
    return read_plot(PLOTS / f"{name}.py").caption


def needs_of(name: str) -> frozenset[str]:
    """Return what a figure needs, of `NEEDS`; raises as `figure_names` does."""
    return read_plot(PLOTS / f"{name}.py").needs


def module_of(name: str) -> str:
    """Return the module that draws a figure."""
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
    """Read what a figure's file says about the figure, without running it.

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
