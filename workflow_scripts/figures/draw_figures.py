"""Draw the figures from the collected tables, and from nothing else."""

import argparse
import importlib
import logging
import math
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from workflow_scripts.figures.arms import describe_arms
from workflow_scripts.figures.captions import as_latex, fill_caption, why_empty
from workflow_scripts.figures.measures import has_accuracy
from workflow_scripts.figures.numbers import exact
from workflow_scripts.figures.panels import draw_sentence
from workflow_scripts.figures.style import FONT_SIZE, LEAST_SIZE, save_figure, style_of
from workflow_scripts.plan.figures import NEEDS, figure_names, module_of, needs_of
from workflow_scripts.plan.schema import hint
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.tables.arms import read_arms
from workflow_scripts.tables.read_tables import read_ablation, read_rotations, read_table

TABLES = ("networks", "categories", "units", "layers", "sweep")
COMPARISONS = ("equivalence", "matched", "identity")
NETWORK = ["arm", "replicate", "level"]
LACKING = {  # what to say where a figure needs what the tables have not
    "accuracy": "networks.csv has no accuracy of these networks",
    "rotations": "there are no rotations of these networks in rotations.csv",
    "ablation": "there are no ablation.csv and classes.csv of these networks",
    "epochs": "epochs.csv has no training of these networks",
}
REDRAWN = "redrawn"  # the folder that captions redraw into: figures in the results are Snakemake's to write
REDRAWN_BY = "To draw it again where snakemake ran, in a clone or, after ``pip install -e`` of it, in another folder"


def draw_figures(
    tables: str | Path,
    out: str | Path,
    names: Sequence[str] = (),
    arms: Sequence[str] = (),
    width: float | None = None,
    font_size: float = FONT_SIZE,
) -> None:
    """Write the figures of these names, or every one that the tables allow, into the folder `out`: PDF, SVG and PNG.

    Beside each stand <name>.rst, its caption and the command that draws it again, and <name>.tex, the caption as LaTeX.
    `tables` is the folder that `collect` has written; of these `arms`, or of all. Figures are `width` inches wide, or
    as each is by itself; labels of axes are of `font_size` points. Optional tables that no figure of these names needs
    are not read: an earlier config may have left them. Raises UserError if a table or an arm is missing, or if a figure
    shows what was not measured.
    """
    frames = read_tables(tables, arms, {need for name in names or figure_names() for need in needs_of(name)})
    measured = {"accuracy": has_accuracy(frames["networks"])} | {name: name in frames for name in NEEDS[1:]}
    known = [need for need in NEEDS if measured[need]]
    possible = figure_names(known)
    for name in names:
        if name not in possible:
            lacking = next(need for need in needs_of(name) if need not in known)
            raise UserError(f"{tables}: {LACKING[lacking]}, which {name} draws: leave it out")
    options = [word for arm in arms for word in ("--arm", arm)]
    options += ["--width", f"{width:g}"] if width else []
    options += ["--font-size", f"{font_size:g}"] if font_size != FONT_SIZE else []
    with matplotlib.rc_context(style_of(font_size)):
        for name in names or possible:
            save_figure(make_figure(name, frames, width), out, name)
            write_caption(tables, out, name, fill_caption(name, frames), options)


def write_caption(tables: str | Path, out: str | Path, name: str, caption: str, options: Sequence[str] = ()) -> None:
    """Write a figure's caption into the folder `out`: as LaTeX, and as it is, with the command that draws it again."""
    words = ["python", "-m", "workflow_scripts", "draw_figures", "--tables", str(tables), "--out", REDRAWN]
    command = shlex.join([*words, "--figure", name, *options])
    texts = {"rst": f"{caption}\n\n{REDRAWN_BY}::\n\n    {command}\n", "tex": f"{as_latex(caption)}\n"}
    for ending, text in texts.items():
        with whole_file(Path(out) / f"{name}.{ending}") as part:
            part.write_text(text, encoding="utf-8")


def read_tables(
    tables: str | Path, chosen: Sequence[str] = (), needs: Collection[str] = NEEDS
) -> dict[str, pd.DataFrame]:
    """The tables that figures need, by name, without the arms that are not drawn; their arms in the order of arms.csv.

    Columns are added: shares in per cent, and those of `describe_arms`. In "layers" the column layer names the layer,
    and "layer remaining %" is its own. "rotations" are there where there are any, "ablation" and "classes" where units
    are switched off, "epochs" where networks are trained: of these only what is among the `needs` is read. Comparisons
    have the rows of the arms that are drawn, also where the other arm is not.
    Raises UserError if there is no network of an arm that is `chosen`; without any all are drawn.
    """
    frames = {table: read_table(Path(tables) / f"{table}.csv") for table in TABLES}
    networks = frames["networks"]
    networks["remaining %"] = 100 * networks["density"]
    networks["accuracy %"] = 100 * networks["test_accuracy"]
    networks["detectors_a %"] = 100 * networks["detectors_a"] / networks["units"]
    frames["categories"] = join(frames["categories"], networks, ["units"])
    frames["categories"]["detectors_a %"] = 100 * frames["categories"]["detectors_a"] / frames["categories"]["units"]
    frames["units"] = join(frames["units"], networks, [])
    frames["sweep"] = join(frames["sweep"], networks, [])
    whole = networks.drop_duplicates(NETWORK).drop(columns="layer")
    frames["layers"] = join(frames["layers"].rename(columns={"name": "layer"}), whole, [])
    frames["layers"]["layer remaining %"] = 100 * frames["layers"]["density"]
    arms = read_arms(Path(tables) / "arms.csv", networks)
    rotations = read_rotations(Path(tables), arms) if "rotations" in needs else None
    if rotations is not None:
        frames["rotations"] = join(rotations, networks, [])
    frames |= {table: read_comparison(Path(tables) / f"{table}.csv", networks) for table in COMPARISONS}
    for table, rows in (read_ablation(Path(tables)) if "ablation" in needs else {}).items():
        frames[table] = join(rows, networks if "layer" in rows else whole, [])
    if "epochs" in needs:
        frames |= read_epochs(Path(tables) / "epochs.csv", whole)
    require_arms(chosen, list(networks["arm"].unique()), tables)
    described = describe_arms(networks, arms, chosen)
    return {table: described.merge(frame, on="arm") for table, frame in frames.items()}


def read_comparison(path: Path, networks: pd.DataFrame) -> pd.DataFrame:
    """A table of comparisons, with what remains of the weights of the networks of each row: means of replicates."""
    rows = read_table(path)
    arm = "imp_arm" if "imp_arm" in rows else "arm"
    keys = [key for key in NETWORK if key in rows or key == "arm"]
    remaining = networks.groupby(keys)["remaining %"].mean().rename_axis([arm, *keys[1:]])
    return rows.join(remaining, on=remaining.index.names)


def read_epochs(path: Path, networks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The table "epochs" by its name, with the accuracy of each row's network; none where nothing was trained."""
    if not path.is_file():
        return {}
    epochs = join(read_table(path), networks, ["accuracy %"])
    epochs["train accuracy %"] = 100 * epochs["train_accuracy"]
    return {} if epochs.empty else {"epochs": epochs}


def require_arms(chosen: Sequence[str], known: list[str], tables: str | Path) -> None:
    """Raise UserError if there is no arm of a chosen name."""
    for name in chosen:
        if name not in known:
            raise UserError(f"--arm: {tables}/networks.csv has no arm {name}; {hint(name, known)}")


def join(frame: pd.DataFrame, networks: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """`frame` with what is known of each row's network, and of its layer there: what remains, and `columns`."""
    keys = [key for key in (*NETWORK, "layer") if key in networks]
    return frame.merge(networks[[*keys, "remaining %", *columns]], on=keys, how="left")


def make_figure(name: str, frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The figure of that name, from the tables of `read_tables`, as wide as that (inches), or as it is by itself.

    Where there is nothing to draw it is a sentence that says why.
    Call it inside the settings of `style_of`.
    """
    reason = why_empty(name, frames)
    figure = draw_sentence(reason, width) if reason else importlib.import_module(module_of(name)).draw(frames, width)
    for axes in [one for panel in figure.axes for one in (panel, *panel.child_axes) if isinstance(one, Axes)]:
        for axis in (axes.xaxis, axes.yaxis):
            if type(axis.get_major_formatter()) is ScalarFormatter:
                axis.set_major_formatter(exact)
    return figure


def read_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; `words` in its place, if given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True, help="the folder of the collected tables")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write the figures into")
    parser.add_argument(
        "--figure",
        action="append",
        choices=figure_names(),
        default=[],
        help="only this one; may be repeated",
    )
    parser.add_argument(
        "--arm", action="append", default=[], help="draw only this arm, whatever its role; may be repeated"
    )
    parser.add_argument(
        "--width",
        type=positive,
        help="inches, such as 3.5 for a column or 7.2 for a page; if not given, each figure has one of these",
    )
    parser.add_argument(
        "--font-size",
        type=positive,
        default=FONT_SIZE,
        help=f"points of axis labels; other text is up to 1.5 smaller, but not below {LEAST_SIZE:g} (%(default)s)",
    )
    return parser.parse_args(words)


def positive(word: str) -> float:
    """A positive number that an argument is; ArgumentTypeError if it is none."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no positive number")
    return number


def main() -> None:
    """Draw the figures, and of them the arms, that the command line names."""
    arguments = read_arguments()
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports every glyph that it embeds
    draw_figures(arguments.tables, arguments.out, arguments.figure, arguments.arm, arguments.width, arguments.font_size)


if __name__ == "__main__":
    run_command(main)
