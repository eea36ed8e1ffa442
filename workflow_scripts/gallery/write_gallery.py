"""Write the gallery's page, and the list of its networks."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.name_units import least_iou
from workflow_scripts.gallery.site_data import (
    PICTURES_PER_ROW,
    UNITS_PER_SCRIPT,
    UNITS_PER_SHEET,
    network_folder,
    site_files,
    write_call,
    write_data,
)
from workflow_scripts.plan.network_words import read_words
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.tables.arms import name_arms, read_arms
from workflow_scripts.tables.read_tables import AGAIN, read_table

LAYER_KEYS = ["name", "units", "detectors", "concepts"]


def write_gallery(
    experiment: dict,
    tables: Path,
    concepts: str | Path,
    other_names: dict[str, str],
    gallery: Path,
    chosen: Sequence[str] = (),
) -> None:
    """Write the page's files, experiment.js and detectors.js into the folder `gallery`, where networks are drawn.

    Args:
        experiment: name, quantile, detector_iou, detector_rule, images (of a unit), tile (the side of one),
            enlarged_pixels (the side of one that is enlarged, 0 if none is).
        tables: the folder of networks.csv, arms.csv and units.csv, as `collect` writes them.
        concepts: the concept set, for the names of the categories.
        other_names: for networks that are others under a second name, the folder of that name and where it is drawn.
        gallery: the folder.
        chosen: the arms whose networks are listed, if not all.

    Raises:
        UserError: a file is missing or damaged.
    """
    with ConceptData(concepts) as labels:
        categories = labels.category_name
    listed = list_networks(tables / "networks.csv", tables / "arms.csv", other_names, chosen)
    content = experiment | {
        "least_iou": least_iou(experiment["detector_iou"], experiment["detector_rule"]),
        "units_per_sheet": UNITS_PER_SHEET,
        "units_per_script": UNITS_PER_SCRIPT,
        "pictures_per_row": PICTURES_PER_ROW,
        "categories": categories,
        "networks": listed,
    }
    with whole_file(gallery / "experiment.js") as part:
        write_call(part, "experiment", content)
    with whole_file(gallery / "detectors.js") as part:
        write_data(part, "detectors", list_detectors(tables / "units.csv", listed, categories))
    for file in site_files():
        with whole_file(gallery / file.name) as part:
            shutil.copyfile(file, part)


def list_networks(
    networks_table: Path, arms_table: Path, other_names: dict[str, str], chosen: Sequence[str]
) -> list[dict]:
    """What experiment.js says of each network of the chosen arms, or of all without any.

    Arms have the order of arms.csv, networks that of networks.csv.
    """
    rows = read_table(networks_table)
    arms = read_arms(arms_table, rows)
    names, same_units = name_arms(arms), dict(zip(arms["arm"], arms["same_units"].tolist(), strict=True))
    shown = arms["arm"].isin(chosen or arms["arm"])
    rows = arms.loc[shown, ["arm"]].merge(rows, on="arm")
    networks = []
    for (arm, replicate, level), layers in rows.groupby(["arm", "replicate", "level"], sort=False):
        first, folder = layers.iloc[0], network_folder(arm, replicate, level)
        network = {
            "arm": arm,
            "name": names[arm],
            "same_units": same_units[arm],
            "replicate": int(replicate),
            "level": int(level),
            "density": number_or_none(first["density"]),
            "accuracy": number_or_none(first["test_accuracy"]),
            "folder": other_names.get(folder, folder),
        }
        counts = layers[["layer", "units", "detectors_a", "concepts_a"]].set_axis(LAYER_KEYS, axis=1)
        networks.append(network | {"layers": counts.to_dict("records")})
    return networks


def list_detectors(units_table: Path, networks: list[dict], categories: list[str]) -> dict:
    """What detectors.js says of the listed networks."""
    rows = read_table(units_table)
    rows = rows[rows["detector"]]
    by_layer = dict(list(rows.groupby(["arm", "replicate", "level", "layer"])))
    places: dict[tuple[str, str], int] = {}
    listed = []
    for network in networks:
        of_layers = []
        for layer in network["layers"]:
            found = by_layer.get((network["arm"], network["replicate"], network["level"], layer["name"]), rows[:0])
            pairs: list[int] = []
            for unit, *concept in zip(found["unit"], found["label"], found["category"], strict=True):
                pairs += [int(unit), places.setdefault(tuple(concept), len(places))]
            of_layers.append(pairs)
        listed.append(of_layers)
    if other := [category for _, category in places if category not in categories]:
        raise UserError(f"{units_table} has the category {other[0]}, which concepts.h5 lacks: {AGAIN}")
    return {"labels": [[name, categories.index(category)] for name, category in places], "networks": listed}


def number_or_none(value: float) -> float | None:
    """A number as JSON has it: None where it is not known."""
    return None if pd.isna(value) else float(value)


def main() -> None:
    """Write the gallery of the networks in the tables that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", type=json.loads, required=True, help="JSON, as `write_gallery` takes it")
    parser.add_argument("--tables", type=Path, required=True, help="the folder of networks.csv, arms.csv and units.csv")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument(
        "--other-names",
        nargs="+",
        action="append",
        default=[],
        metavar=("ARM", "REPLICATE/LEVEL=ARM/REPLICATE/LEVEL"),
        help="networks of an arm that are others under a second name, and these; once for each arm",
    )
    parser.add_argument("--arm", action="append", default=[], help="list only this arm; may be repeated")
    parser.add_argument("--gallery", type=Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()
    write_gallery(
        arguments.experiment,
        arguments.tables,
        arguments.concepts,
        {network_folder(*key): network_folder(*other) for key, other in read_words(arguments.other_names).items()},
        arguments.gallery,
        arguments.arm,
    )


if __name__ == "__main__":
    run_command(main)
