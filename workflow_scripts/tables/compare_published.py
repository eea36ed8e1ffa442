"""Compare measurements of ImageNet's ResNet-50 with published ones.

`published_counts.csv` beside this script holds the published numbers for torchvision's ResNet-50 with the first
ImageNet weights (IMAGENET1K_V1, the file resnet50-0676ba61.pth), dissected by NetDissect-Lite with broden1_224,
including materials. They are counted from the result files released with CLIP-Dissect (Oikarinen and Weng 2023),
resnet50_imagenet_layer1.csv to layer4.csv: units that detect a concept and distinct concepts, with `counting` A or B
as in `collect.count_detectors`, of a `category` or of "all"; and the median over units of the best IoU.

A file of weights is recognised by its SHA-256, whose first digits torchvision puts in the file's name. The same weights
saved anew, for instance as safetensors, have another SHA-256 and are not measured.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.data.hdf5 import find_dataset, open_hdf5, read_dataset
from workflow_scripts.plan.protocols import PROTOCOLS
from workflow_scripts.shared.files import UserError, file_fingerprint, run_command, whole_file
from workflow_scripts.tables.collect import count_detectors, read_units, with_detectors

PUBLISHED = Path(__file__).with_name("published_counts.csv")
PROTOCOL = "lite"
WEIGHTS = "0676ba61"  # the first digits of the SHA-256 of resnet50-0676ba61.pth
BRODEN = (63305, 1197)  # images, labels
LABEL_MAPS = (112, 112)  # pixels, of broden1_224


class PublishedNetwork(NamedTuple):
    """A network that may be the published one; `weights` is a file, or None if torchvision supplied the weights."""

    arm: str
    replicate: int
    units: Path
    weights: Path | None


def compare_published(
    networks: Sequence[PublishedNetwork], concepts: str | Path, dissection: dict, out: str | Path
) -> None:
    """Write published.csv: for every network, a row for each published number with the measured one.

    Columns: arm, replicate; those of `published_counts.csv`; measured, difference (measured - published),
    relative_difference (difference / published), comparable (whether the dissection is as published), differs (how it
    differs, else empty). Rows are sorted by arm and replicate.

    A layer that was not dissected, concepts other than Broden, and other weights are not measured; the log says so.
    With settings other than the protocol's, the numbers are measured but not comparable. Each row has its own IoU
    threshold, whatever `detector_iou` of the dissection is. How the maps were computed and stored (`forward`,
    `execution`, `precision`) is not checked.

    Args:
        networks: the networks, each a ResNet-50 in torchvision's layout.
        concepts: the concepts.h5 that all networks were dissected with.
        dissection: the config's dissection section, as `resolve_protocol` returns it.
        out: published.csv.

    Raises:
        UserError: an input is missing or damaged, or the dissection lacks a setting.
    """
    published = pd.read_csv(PUBLISHED)
    other_concepts, other_maps = compare_concepts(concepts)
    differing = other_choices(dissection) + other_maps
    tables = []
    for network in sorted(networks, key=lambda network: network[:2]):
        name = f"arm {network.arm}, replicate {network.replicate}"
        measured = pd.Series(np.nan, published.index)
        if obstacles := other_concepts + other_weights(network.weights):
            logging.warning("%s is not measured: %s", name, "; ".join(obstacles))
        else:
            measured = measure_all(published, read_units(network.units), dissection["detector_rule"], name)
        table = compare(published, measured, obstacles + differing)
        table.insert(0, "arm", network.arm)
        table.insert(1, "replicate", network.replicate)
        tables.append(table)
    with whole_file(out) as part:
        pd.concat(tables).to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def compare_concepts(path: str | Path) -> tuple[list[str], list[str]]:
    """How the concepts differ from Broden, and how the label maps differ from those of the published counts."""
    with open_hdf5(path, "image_name", "label_number", "label_size") as file:
        kinds = {"image_name": str, "label_number": np.integer}
        found = tuple(len(find_dataset(file, name, kind, (None,))) for name, kind in kinds.items())
        maps = tuple(read_dataset(file, "label_size", np.integer, (2,)).tolist())
    text = "{} has {} images and {} labels and not Broden's {} and {}"
    other_concepts = [text.format(path, *found, *BRODEN)] if found != BRODEN else []
    other_maps = ["label maps are {} x {} and not {} x {}".format(*maps, *LABEL_MAPS)] if maps != LABEL_MAPS else []
    return other_concepts, other_maps


def other_weights(path: Path | None) -> list[str]:
    """How a file of weights differs from the published network's; UserError if it is missing."""
    if path is None:
        return []
    if not path.is_file():
        raise UserError(f"there is no file {path}: name the file of weights that the network was made with")
    found = file_fingerprint(path)[: len(WEIGHTS)]
    return [f"the SHA-256 of {path} begins with {found} and not {WEIGHTS}"] if found != WEIGHTS else []


def other_choices(dissection: dict) -> list[str]:
    """The settings that are not the published protocol's; UserError if one is missing or not resolved."""
    choices = asdict(PROTOCOLS[PROTOCOL])
    del choices["detector_iou"]  # every published number has its own
    for name in choices:
        if dissection.get(name, "protocol") == "protocol":
            raise UserError(f"the dissection's {name} is unknown: pass the section as resolve_protocol returns it")
    return [
        f"{name} is {dissection[name]} and not {choice}"
        for name, choice in choices.items()
        if dissection[name] != choice
    ]


def measure_all(published: pd.DataFrame, units: pd.DataFrame, detector_rule: str, name: str) -> pd.Series:
    """The measured counterpart of each published number in `units`, float64; NaN if its layer was not dissected."""
    layers = dict(list(units.groupby("layer", sort=False)))
    for layer in published["layer"].unique():
        if layer not in layers:
            logging.info("%s: %s was not dissected", name, layer)
    measured = [
        measure(layers[row.layer], row, detector_rule) if row.layer in layers else np.nan
        for row in published.itertuples()
    ]
    return pd.Series(measured, published.index, float)


def measure(units: pd.DataFrame, row: Any, detector_rule: str) -> float:
    """The measured counterpart of one published number, a row of the table, in a layer's units."""
    if row.quantity == "median_iou":
        return units["score"].median()
    counts = count_detectors(with_detectors(units, row.detector_iou, detector_rule))
    if row.category != "all":
        counts = counts[counts["category"] == row.category]
    counted = {"units": "detectors", "concepts": "concepts"}[row.quantity]
    return counts[f"{counted}_{row.counting.lower()}"].sum()


def compare(published: pd.DataFrame, measured: pd.Series, differs: list[str]) -> pd.DataFrame:
    """The rows of one network, without its key."""
    difference = measured - published["published"]
    return published.assign(
        measured=measured,
        difference=difference,
        relative_difference=difference / published["published"],
        comparable=not differs,
        differs="; ".join(differs),
    )


def parse_network(words: Sequence[str]) -> PublishedNetwork:
    """The network that --network describes; UserError if the number of words or the replicate is wrong."""
    if len(words) not in (3, 4) or not words[1].isdecimal():
        raise UserError(f"--network {' '.join(words)}: give an arm, a replicate (a number), units.csv, and any weights")
    arm, replicate, units, *weights = words
    return PublishedNetwork(arm, int(replicate), Path(units), Path(weights[0]) if weights else None)


def main() -> None:
    """Compare the networks on the command line with the published numbers, and write published.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--network",
        nargs="+",
        action="append",
        required=True,
        metavar=("ARM REPLICATE UNITS", "WEIGHTS"),
        help="a ResNet-50 of torchvision, its units.csv, and the file that its weights came from; may be repeated",
    )
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument(
        "--dissection", type=json.loads, required=True, help="the config's dissection section, resolved"
    )
    parser.add_argument("--out", type=Path, required=True, help="published.csv")
    arguments = parser.parse_args()
    networks = [parse_network(words) for words in arguments.network]
    compare_published(networks, arguments.concepts, arguments.dissection, arguments.out)


if __name__ == "__main__":
    run_command(main)
