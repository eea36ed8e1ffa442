"""Compare each unit's best IoU with chance, and names on one half of the pictures with those on the other.

Masks are drawn once. They meet the labels of their own pictures, in groups, and those of other pictures, permuted among
pictures that have labels of the same categories. Thresholds do not change, because they do not depend on labels.
"""

import argparse
import csv
import logging
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from workflow_scripts.dissect import kernels
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.halves import GROUPS, SPLIT_COLUMNS, Groups, bootstrap, compare_halves
from workflow_scripts.dissect.interpolation import read_receptive_fields
from workflow_scripts.dissect.maps import as_bits
from workflow_scripts.dissect.name_units import iou
from workflow_scripts.dissect.nulls import UNIT_COLUMNS, null_columns
from workflow_scripts.dissect.parallel import in_shards
from workflow_scripts.dissect.permutations import group_pictures, permuted, strata
from workflow_scripts.dissect.tallied_layers import (
    Counter,
    TalliedLayer,
    add_tally_arguments,
    open_layers,
    pair_labels,
)
from workflow_scripts.dissect.tallies import Pairing
from workflow_scripts.plan.protocols import DETECTOR_RULES, Protocol
from workflow_scripts.shared.files import run_command, scratch_file, whole_file
from workflow_scripts.shared.gpus import use_gpus

COUNTS_AT_ONCE = 2**30  # bytes of tallies, in all copies; bounds memory
HEAT_AT_ONCE = 2**28  # bytes of counts of labels at each pixel; bounds memory


class Validation:
    """What all layers of a network share: the labels, their permutations, and groups of pictures.

    Args:
        scratch: a new file, for labels that are read repeatedly.
        permutations: the number of permutations of labels; 0 for none.
    """

    def __init__(
        self,
        labels: ConceptData,
        choices: Protocol,
        shuffle_labels: int | None,
        permutations: int,
        threads: int,
        scratch: Path,
    ) -> None:
        images = len(labels.image_has_category)
        self.labels, self.choices, self.permutations = labels, choices, permutations
        self.rule = choices.detector_iou, choices.detector_rule
        self.threads = threads
        self.counter = Counter(labels, choices, threads, scratch if permutations else None)
        self.partner = pair_labels(images, shuffle_labels).partner[0]
        self.stratum = strata(labels.image_has_category)
        # These are groups of labels; shuffled labels belong to other pictures than the maps.
        self.group = group_pictures(self.stratum, min(GROUPS, images))
        self.groups = int(self.group.max()) + 1
        self.group_area = label_areas(labels, self.group, self.groups, choices.planes == "each")
        self.label_area = self.group_area.sum(0)

    def validate(self, layer: TalliedLayer) -> tuple[dict, dict]:
        """The columns of a layer's units, by name, each (U), and the layer's row of split.csv."""
        labels = self.labels
        groups, nulls = self.count(layer)
        scores = iou(groups.intersection.sum(0).T, groups.unit_area.sum(0), self.label_area, labels.label_category)
        best, label = scores.max(1), scores.argmax(1)
        named = best > 0
        columns = {
            "category": np.where(named, np.array(labels.category_name)[labels.label_category[label]], ""),
            "label": np.where(named, np.array(labels.label_name)[label], ""),
            "iou": best,
            "iou_chance": self.chance(layer, np.where(named, label, -1), groups.unit_area.sum(0)),
        }
        columns |= null_columns(best, nulls, layer.dead, self.rule) if len(nulls) else {}
        split = compare_halves(groups, self.rule)
        columns["agreement"] = split.agreement
        return columns, split.row | bootstrap(groups, self.rule)

    def count(self, layer: TalliedLayer) -> tuple[Groups, np.ndarray]:
        """The tallies of the groups, and each unit's best IoU under each permutation (m, U)."""
        labels, groups = self.labels, self.groups
        tally_bytes = 8 * len(layer.settings.cut) * (len(labels.label_number) + len(labels.category_name))
        most = max(1, COUNTS_AT_ONCE // (tally_bytes * self.counter.copies))
        with_groups = max(0, most - groups)
        bounds = [0, *range(with_groups, self.permutations, most), max(with_groups, self.permutations)]
        of_groups, nulls = None, []
        for first, last in pairwise(bounds):
            numbers = range(first, min(last, self.permutations))
            partners = [permuted(self.partner, self.stratum, number) for number in numbers]
            targets = [np.full(len(self.partner), place) for place in range(len(numbers))]
            if of_groups is None:
                partners.append(self.partner)
                targets.append(len(numbers) + self.group[self.partner])
            tallies = len(numbers) + (groups if of_groups is None else 0)
            tally = self.counter.count(layer, Pairing(np.array(partners), np.array(targets)), tallies)
            counts = tally.intersection, tally.unit_area
            if of_groups is None:
                # Copies, because slices would keep all counts in memory.
                of_first, area = (of_all[len(numbers) :].copy() for of_all in counts)
                of_groups = Groups(of_first, area, self.group_area, labels.label_category)
            nulls += [self.best(counts[0][place], counts[1][place]) for place in range(len(numbers))]
        assert of_groups is not None, "the first run has the groups"
        return of_groups, np.array(nulls)

    def best(self, intersection: np.ndarray, unit_area: np.ndarray) -> np.ndarray:
        """Each unit's best IoU in one tally, (U)."""
        return iou(intersection.T, unit_area, self.label_area, self.labels.label_category).max(1)

    def chance(self, layer: TalliedLayer, label: np.ndarray, unit_area: np.ndarray) -> np.ndarray:
        """The IoU that chance gives each unit with its label, (U): that of the mean intersection over permutations.

        The mean intersection of a unit and a label is exact. For each stratum and pixel, the number of the unit's masks
        that cover the pixel is multiplied by the number of the label's masks that do, and divided by the number of
        pictures; the products are summed. The IoU is 0 if `label`, int64 (U), is below 0.

        Some labels and strata are counted at a time, so that counts take at most `HEAT_AT_ONCE` bytes, or those of one
        label map if that is larger, four bytes per pixel. Sums take eight bytes for each stratum and unit.
        """
        labels = self.labels
        pictures = np.bincount(self.stratum)
        width = labels.row_bytes * 8
        maps = max(1, HEAT_AT_ONCE // (4 * labels.height * width))
        strata_at_once = min(maps, len(pictures))
        labels_at_once = maps // strata_at_once
        known = np.unique(label[label >= 0])
        shared = np.zeros((len(pictures), len(label)), np.int64)
        for first_label, first_stratum in product(
            range(0, len(known), labels_at_once), range(0, len(pictures), strata_at_once)
        ):
            chosen = known[first_label : first_label + labels_at_once]
            place_of_label = np.full(len(labels.label_number), -1)
            place_of_label[chosen] = np.arange(len(chosen))
            sums = shared[first_stratum : first_stratum + strata_at_once]
            row = self.stratum - first_stratum
            row[row >= len(sums)] = -1
            counts = np.zeros((len(chosen), len(sums), labels.height, width), np.int32)
            for images, block in labels.blocks(True, self.choices.planes == "each"):
                kernels.heat(block, place_of_label, row[images], counts)
            place = np.where(label >= 0, place_of_label[label], -1)
            for part in in_shards(sum_heat, layer.maps.images, self.threads, layer, row[self.partner], place, counts):
                sums += part
        area = unit_area[np.arange(len(label)), labels.label_category[label]]
        intersection = (shared / pictures[:, None]).sum(0)
        union = area + self.label_area[label] - intersection
        return np.where(label >= 0, intersection / np.maximum(union, 1), 0)


def sum_heat(
    first: int, last: int, layer: TalliedLayer, row: np.ndarray, place: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The sums of `kernels.add_heat` over images `first` to `last`, (S, U)."""
    shared = np.zeros((counts.shape[1], len(place)), np.int64)
    for block in layer.maps.blocks(first, last):
        kernels.add_heat(
            as_bits(block.values), block.unit, block.start, layer.settings.cut, layer.maps.width, layer.settings.to,
            row[block.images], place, counts, shared,
        )  # fmt: skip
    return shared


def label_areas(labels: ConceptData, group: np.ndarray, groups: int, each_plane: bool) -> np.ndarray:
    """The number of pixels that carry each label in each group of images, int64 (G, L); `group` int64 (N)."""
    areas = np.zeros((groups, len(labels.label_number)), np.int64)
    for images, block in labels.blocks(True, each_plane):
        for start, label, pixels in (
            (block.mask_start, block.mask_label, np.bitwise_count(block.masks).sum(1, dtype=np.int64)),
            (block.whole_start, block.whole_label, labels.height * labels.width),
        ):
            np.add.at(areas, (np.repeat(group[images], np.diff(start)), label), pixels)
    return areas


def validate_units(
    inputs: Sequence[str | Path],
    choices: Protocol,
    receptive_fields: dict | None,
    permutations: int,
    nulls: Path,
    split: Path,
    shuffle_labels: int | None = None,
    threads: int = 1,
) -> None:
    """Write nulls.csv, a row per layer and unit, and split.csv, a row per layer.

    nulls.csv has `layer, unit` (from 0), `category, label, iou` (the best concept and its IoU, as in units.csv),
    `iou_chance` (the IoU of that pair with the mean intersection over permutations, exact), the columns of
    `null_columns` (empty without permutations), and `agreement`: how often half of the pictures give the unit that
    name. split.csv has the columns of `compare_halves` and `bootstrap`.

    Args:
        inputs: activations.h5, thresholds.h5 and concepts.h5, as for `tally_units`.
        choices: how units are masked and counted, and the rule for detectors.
        receptive_fields: as for `tally_units`.
        permutations: the number of permutations of labels, among pictures with labels of the same categories; 0 for
            none.
        nulls: nulls.csv, to write.
        split: split.csv, to write.
        shuffle_labels: as for `tally_units`.
        threads: the number of threads, which share the images.

    Raises:
        UserError: as in `tally_units`.
    """
    activations, thresholds, concepts = inputs
    with (
        open_layers(activations, thresholds, concepts, choices, receptive_fields) as (layers, labels, _),
        scratch_file(nulls) as scratch,
        whole_file(nulls) as units_part,
        whole_file(split) as split_part,
        open(units_part, "w", newline="", encoding="utf-8") as units_file,
        open(split_part, "w", newline="", encoding="utf-8") as split_file,
    ):
        validation = Validation(labels, choices, shuffle_labels, permutations, threads, scratch)
        movable = np.bincount(validation.stratum)[validation.stratum] > 1
        logging.info("the labels of %d of %d pictures can be permuted", movable.sum(), len(movable))
        of_units = csv.DictWriter(units_file, UNIT_COLUMNS, lineterminator="\n")
        of_layers = csv.DictWriter(split_file, SPLIT_COLUMNS, lineterminator="\n")
        of_units.writeheader()
        of_layers.writeheader()
        for name, layer in layers.items():
            columns, row = validation.validate(layer)
            for unit, cells in enumerate(zip(*columns.values(), strict=True)):
                of_units.writerow({"layer": name, "unit": unit} | dict(zip(columns, map(plain, cells), strict=True)))
            of_layers.writerow({"layer": name} | {column: plain(value) for column, value in row.items()})
            logging.info("%s: %d permutations, names on halves agree %.2f", name, permutations, row["agreement"])


def plain(value: object) -> object:
    """A cell of a table: a number with all its digits, or nothing if it is NaN."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else float(value)
    return value


def main() -> None:
    """Validate the units of the dump that the command line names, and write nulls.csv and split.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_tally_arguments(parser)
    parser.add_argument("--detector-iou", type=float, required=True, help="the IoU threshold of a detector")
    parser.add_argument("--detector-rule", choices=DETECTOR_RULES, required=True, help="above it, or at least it")
    parser.add_argument("--permutations", type=int, required=True, help="number of permutations of labels; 0 for none")
    parser.add_argument("--nulls", type=Path, required=True, help="nulls.csv to write")
    parser.add_argument("--split", type=Path, required=True, help="split.csv to write")
    args = parser.parse_args()
    use_gpus(args.gpus)
    inputs = args.activations, args.thresholds, args.concepts
    choices = Protocol(**{field.name: getattr(args, field.name) for field in fields(Protocol) if field.name in args})
    receptive_fields = read_receptive_fields(args.receptive_fields)
    validate_units(
        inputs, choices, receptive_fields, args.permutations, args.nulls, args.split, args.shuffle_labels, args.threads
    )


if __name__ == "__main__":
    run_command(main)
