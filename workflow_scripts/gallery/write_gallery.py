"""Write the gallery's page, and the list of its networks."""

import argparse
import csv
import json
import shutil
from itertools import groupby
from pathlib import Path

from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.figures.arms import name_arm
from workflow_scripts.files import UserError, run_command, whole_file
from workflow_scripts.gallery.site_data import UNITS_PER_SHEET, network_folder, write_call

SITE = Path(__file__).with_name("site")


def write_gallery(
    experiment: dict, networks: str | Path, concepts: str | Path, other_names: dict[str, str], gallery: Path
) -> None:
    """Write into the folder `gallery` the page's files and experiment.js, whose networks are drawn there.

    Args:
        experiment: name, quantile, detector_iou, detector_rule, images (of a unit), tile (the side of one).
        networks: the table of that name, as `collect` writes it.
        concepts: the concept set, for the names of the categories.
        other_names: for networks that are others under a second name, the folder of that name and where it is drawn.

    Raises:
        UserError: a file is missing or damaged.
    """
    with ConceptData(concepts) as labels:
        categories = labels.category_name
    content = experiment | {
        "units_per_sheet": UNITS_PER_SHEET,
        "categories": categories,
        "networks": list_networks(networks, other_names),
    }
    with whole_file(gallery / "experiment.js") as part:
        write_call(part, "experiment", content)
    for file in SITE.iterdir():
        with whole_file(gallery / file.name) as part:
            shutil.copyfile(file, part)


def list_networks(table: str | Path, other_names: dict[str, str]) -> list[dict]:
    """What experiment.js says of each network, in the order of networks.csv."""
    try:
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{table} is not there: collect the tables first") from None
    arms = {row["arm"] for row in rows}
    return [
        {
            "arm": arm,
            "name": name_arm(arm, arms),
            "replicate": int(replicate),
            "level": int(level),
            "density": float(layers[0]["density"]),
            "accuracy": float(layers[0]["test_accuracy"]) if layers[0]["test_accuracy"] else None,
            "folder": other_names.get(folder, folder),
            "layers": [
                {
                    "name": row["layer"],
                    "units": int(row["units"]),
                    "detectors": int(row["detectors_a"]),
                    "concepts": int(row["concepts_a"]),
                }
                for row in layers
            ],
        }
        for (arm, replicate, level), group in groupby(rows, lambda row: (row["arm"], row["replicate"], row["level"]))
        for layers in [list(group)]
        for folder in [network_folder(arm, replicate, level)]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", type=json.loads, required=True, help="JSON, as `write_gallery` takes it")
    parser.add_argument("--networks", required=True, help="networks.csv")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument(
        "--other-name",
        nargs=2,
        action="append",
        default=[],
        metavar=("FOLDER", "OTHER"),
        help="a network's folder, and that of the one that it is another name of; may be repeated",
    )
    parser.add_argument("--gallery", type=Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()
    write_gallery(
        arguments.experiment, arguments.networks, arguments.concepts, dict(arguments.other_name), arguments.gallery
    )


if __name__ == "__main__":
    run_command(main)
