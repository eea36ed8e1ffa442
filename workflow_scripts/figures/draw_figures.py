"""Draw the figures from the collected tables, and from nothing else."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.figures.curves import draw_by_category, draw_overview, draw_single
from workflow_scripts.figures.distributions import draw_iou_distribution
from workflow_scripts.figures.layer_densities import draw_layer_densities
from workflow_scripts.figures.measures import (
    ACCURACY,
    CONCEPTS,
    UNITS,
    UNITS_IN_CATEGORY,
    accuracy_rows,
    has_accuracy,
)
from workflow_scripts.figures.relative import draw_relative_to_dense
from workflow_scripts.figures.scatter import draw_against_accuracy
from workflow_scripts.figures.stacks import draw_stacked_categories
from workflow_scripts.figures.style import STYLE, save_figure
from workflow_scripts.figures.trajectories import draw_concept_trajectories
from workflow_scripts.plan.figures import FIGURES, OF_ACCURACY
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.tables.arms import describe_arms
from workflow_scripts.tables.read_tables import detector_rule_of, read_table

TABLES = ("networks", "categories", "units", "layers")
NETWORK = ["arm", "replicate", "level"]


def draw_figures(tables: str | Path, out: str | Path, names: Sequence[str] = ()) -> None:
    """Write the figures of these names, or every one that the tables allow, into the folder `out`: PDF, SVG and PNG.

    `tables` is the folder that `collect` has written. Raises UserError if a table is missing, or if a figure shows the
    accuracy of networks and nobody measured it.
    """
    frames = read_tables(tables)
    measured = has_accuracy(frames["networks"])
    for name in names:
        if name in OF_ACCURACY and not measured:
            raise UserError(
                f"{tables}/networks.csv has no accuracy of these networks, which {name} draws: leave it out"
            )
    with matplotlib.rc_context(STYLE):
        for name in names or [name for name in FIGURES if measured or name not in OF_ACCURACY]:
            save_figure(make_figure(name, frames), out, name)


def read_tables(tables: str | Path) -> dict[str, pd.DataFrame]:
    """The tables that figures need, by name, without the arms that are not drawn.

    Columns are added: shares in per cent, and those of `describe_arms`. In "layers" the
    column layer names the layer, and "layer remaining %" is its own.
    """
    frames = {table: read_table(Path(tables) / f"{table}.csv") for table in TABLES}
    networks = frames["networks"]
    networks["remaining %"] = 100 * networks["density"]
    networks["accuracy %"] = 100 * networks["test_accuracy"]
    networks["detectors_a %"] = 100 * networks["detectors_a"] / networks["units"]
    frames["categories"] = join(frames["categories"], networks, ["units"])
    frames["categories"]["detectors_a %"] = 100 * frames["categories"]["detectors_a"] / frames["categories"]["units"]
    frames["units"] = join(frames["units"], networks, [])
    whole = networks.drop_duplicates(NETWORK).drop(columns="layer")
    frames["layers"] = join(frames["layers"].rename(columns={"name": "layer"}), whole, [])
    frames["layers"]["layer remaining %"] = 100 * frames["layers"]["density"]
    arms = describe_arms(networks)
    return {table: frame.merge(arms, on="arm") for table, frame in frames.items()}


def join(frame: pd.DataFrame, networks: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """`frame` with what is known of each row's network, and of its layer there: what remains, and `columns`."""
    keys = [key for key in (*NETWORK, "layer") if key in networks]
    return frame.merge(networks[[*keys, "remaining %", *columns]], on=keys, how="left")


def make_figure(name: str, frames: dict[str, pd.DataFrame]) -> Figure:
    """The figure of that name in `FIGURES`, from the tables of `read_tables`; call it inside `STYLE`."""
    networks, categories, units = frames["networks"], frames["categories"], frames["units"]
    match name:
        case "overview":
            return draw_overview(networks)
        case "relative_to_dense":
            return draw_relative_to_dense(networks)
        case "accuracy":
            return draw_single(ACCURACY, accuracy_rows(networks))
        case "interpretable_units":
            return draw_single(UNITS, networks)
        case "unique_concepts":
            return draw_single(CONCEPTS, networks)
        case "against_accuracy":
            return draw_against_accuracy(networks)
        case "units_by_category":
            return draw_by_category(UNITS_IN_CATEGORY, categories)
        case "concepts_by_category":
            return draw_by_category(CONCEPTS, categories)
        case "stacked_categories":
            return draw_stacked_categories(categories)
        case "concept_trajectories":
            return draw_concept_trajectories(units, list(categories["category"].unique()))
        case "iou_distribution":
            return draw_iou_distribution(units, *detector_rule_of(networks))
        case "layer_densities":
            return draw_layer_densities(frames["layers"])
    raise ValueError(f"no figure is called {name}")


def read_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; `words` in its place, if given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True, help="the folder of the collected tables")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write the figures into")
    parser.add_argument(
        "--figure",
        action="append",
        choices=FIGURES,
        default=[],
        help="only this one; may be repeated",
    )
    return parser.parse_args(words)


def main() -> None:
    arguments = read_arguments()
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph that it embeds
    draw_figures(arguments.tables, arguments.out, arguments.figure)


if __name__ == "__main__":
    run_command(main)
