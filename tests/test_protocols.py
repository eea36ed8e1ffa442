"""Every protocol, and every single choice, gives what its published rule gives, read off slow programs of its own.

Maps hold small whole numbers or quarters and the sizes make all weights of the interpolation short binary fractions
(unless a test says otherwise), so that every program's floating point is exact and results must be equal.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NETWORK
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reference_dissection import Concepts, Picture, write_broden
from torch import nn
from torch.nn.utils import parametrizations, prune

from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.find_receptive_fields import find_receptive_fields
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.interpolation import LARGEST_WEIGHT, Field, grid, interpolate, layer_knots
from workflow_scripts.dissect.name_units import detects, name_units
from workflow_scripts.dissect.order_statistics import order_statistic_rank
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.constructors import build
from workflow_scripts.notebook import copied
from workflow_scripts.plan.protocols import OF_FIELDS, PROTOCOLS, SCHEMES, Protocol, protocol_mistakes, resolve_protocol
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.collect import count_detectors, read_units

LAYER = "stages.3"
CATEGORIES = ["color", "object", "part", "scene", "texture"]
LABELS = {
    2: ("red", ["color"]),
    3: ("cat", ["object"]),
    5: ("bed", ["object"]),
    7: ("ear", ["part"]),
    11: ("leg", ["part", "object"]),
    13: ("never seen", ["object"]),
    300: ("street", ["scene"]),
    301: ("kitchen", ["scene"]),
    302: ("dotted", ["texture"]),
}
# Centres at 4 + 4 j of a picture of 16 pixels; on label maps of 8, 2 + 2 j.
FIELDS = {"picture": 16, "layers": {LAYER: [[3.5, 4.0], [3.5, 4.0]]}}


# Inputs


def concept_set(seed: int, height: int, width: int, pictures: int) -> Concepts:
    """Pictures with labels of some of the categories, some in two planes, scenes and textures of whole images."""
    random = np.random.default_rng(seed)
    concepts = Concepts(CATEGORIES, LABELS, height, width)

    def plane(numbers: list[int], share: float) -> np.ndarray:
        """A rectangle of labels, so that many a mask misses it."""
        numbers_here = np.where(random.random((height, width)) < share, random.choice(numbers, (height, width)), 0)
        top, left = random.integers(0, height - 1), random.integers(0, width - 1)
        inside = np.zeros((height, width), bool)
        inside[top : top + random.integers(1, height), left : left + random.integers(1, width)] = True
        return np.where(inside, numbers_here, 0)

    for _ in range(pictures):
        cells: dict[str, list] = {
            "color": [plane([2], 0.8)],
            "object": [plane([3, 5], 0.9), plane([5, 11], 0.3)],
            "part": [plane([7], 0.6), plane([7, 11], 0.6)],
            "scene": [int(random.choice([300, 301]))],
            "texture": [302],
        }
        cells = {name: cell for name, cell in cells.items() if random.random() < 0.6}
        concepts.pictures.append(Picture(random.integers(0, 256, (4, 4, 3), np.uint8), cells))
    return concepts


def maps_of(seed: int, pictures: int, height: int, width: int) -> np.ndarray:
    """Maps (pictures, 5, height, width), of units that differ in kind.

    They are rectified and bright all over some pictures, of both signs, in quarters, with many ties, and a dead unit's.
    """
    random = np.random.default_rng([seed, 1])
    shape = (pictures, height, width)
    bright = random.integers(-1000, 1001, (2, pictures, 1, 1)) + random.integers(-200, 201, (2, *shape))
    units = [
        np.maximum(bright[0], 0),
        random.integers(-2000, 2001, shape),
        bright[1] / 4,
        random.integers(0, 3, shape),
        np.zeros(shape),
    ]
    return np.stack(units, axis=1).astype(np.float32)


def prepare(folder: Path, concepts: Concepts, maps: np.ndarray) -> None:
    """Write concepts.h5 and activations.h5."""
    write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", 4, folder / "concepts.h5")
    with h5py.File(folder / "concepts.h5") as packed, h5py.File(folder / "activations.h5", "w") as dump:
        dump.attrs.update(format=FORMAT, fingerprint="the dump", concepts=packed.attrs["fingerprint"])
        dump[f"maps/{LAYER}"] = maps


def choices(protocol: str = "netdissect", **given: object) -> dict:
    """The config's section dissection, with the protocol's choices except for the given ones."""
    left = dict.fromkeys(asdict(Protocol()), "protocol")
    return resolve_protocol(left | {"protocol": protocol, "dump": "all", "largest_quantile": "quantile"} | given)


def dissect(folder: Path, chosen: dict, fields: dict | None = FIELDS) -> dict[str, np.ndarray]:
    """Dissect what `prepare` wrote, through files; return the datasets of tally.h5, and units.csv."""
    activations, thresholds, concepts = (folder / f"{name}.h5" for name in ("activations", "thresholds", "concepts"))
    upsampled = chosen["knots"] if chosen["quantile_of"] == "upsampled" else None
    find_thresholds(activations, chosen["quantile"], thresholds, upsampled, concepts, fields, border=chosen["border"])
    tally_units(
        *(activations, thresholds, concepts, folder / "tally.h5"),
        **{name: chosen[name] for name in ("knots", "border", "mask", "counted_images", "planes")},
        receptive_fields=fields,
    )
    name_units(folder / "tally.h5", concepts, chosen["detector_iou"], chosen["detector_rule"], folder / "units.csv")
    with h5py.File(folder / "tally.h5") as file:
        return {name: values[:] for name, values in file[LAYER].items()}


# The slow programs


class Truth:
    """The contents of a concept set, pixel by pixel.

    That is which pixels carry what, and how often; the labels' areas, and areas where planes are counted each; their
    primary categories.
    """

    def __init__(self, concepts: Concepts):
        self.size = concepts.height, concepts.width
        self.categories = concepts.categories
        self.numbers = sorted(concepts.labels)
        self.carried = []  # for each picture {label: bool (height, width)}
        self.times = []  # for each picture {label: int (height, width)}
        within: Counter = Counter()
        for picture in concepts.pictures:
            carried = {number: np.zeros(self.size, bool) for number in self.numbers}
            times = {number: np.zeros(self.size, int) for number in self.numbers}
            for category, cell in picture.cells.items():
                for number in self.numbers:
                    mask = np.zeros(self.size, bool)
                    for item in cell:
                        mask |= item == number
                        times[number] += item == number
                    within[number, category] += int(mask.sum())
                    carried[number] |= mask
            self.carried.append(carried)
            self.times.append(times)
        self.area = {number: sum(int(carried[number].sum()) for carried in self.carried) for number in self.numbers}
        self.plane_area = {number: sum(int(times[number].sum()) for times in self.times) for number in self.numbers}
        self.primary = {}
        for number in self.numbers:
            # The later of equals; for a label that is nowhere the first that it may belong to.
            covered = [(within[number, name], place, name) for place, name in enumerate(self.categories)]
            self.primary[number] = max(covered)[2] if self.area[number] else concepts.labels[number][1][0]


@dataclass
class Dissection:
    """Label areas by label, thresholds (units), intersections by (unit, label), unit areas by (unit, category)."""

    label_area: dict[int, int]
    threshold: list[float]
    intersection: Counter
    unit_area: Counter


def cut_at(samples: np.ndarray, quantile: float) -> float:
    """The (floor(quantile n) + 1)-th largest of n samples."""
    return sorted(samples.ravel().tolist(), reverse=True)[floor(Decimal(str(quantile)) * samples.size)]


def netdissect_2017(maps: np.ndarray, truth: Truth, quantile: float) -> Dissection:
    """Raw quantile, knots at receptive fields, > T; an image counts for the categories that it has labels of."""
    units = range(maps.shape[1])
    found = Dissection(truth.area, [cut_at(maps[:, unit], quantile) for unit in units], Counter(), Counter())

    def knots(place: int, size: int, new_size: int) -> tuple[int, int, float]:
        # 3.5 + 4 j on 16 pixels: rounded up to a pixel, 4, which is 2 on a label map of 8, where they are 2 apart.
        assert new_size == 8
        source = min(max((place - 2) / 2, 0), size - 1)
        return int(source), min(int(source) + 1, size - 1), source % 1

    height, width = truth.size
    for image, carried in enumerate(truth.carried):
        present = {truth.primary[number] for number, mask in carried.items() if mask.any()}
        for unit, y, x in product(units, range(height), range(width)):
            values = maps[image, unit]
            top, bottom, down = knots(y, values.shape[0], height)
            left, right, along = knots(x, values.shape[1], width)
            upper = (1 - along) * values[top, left] + along * values[top, right]
            lower = (1 - along) * values[bottom, left] + along * values[bottom, right]
            if (1 - down) * upper + down * lower > found.threshold[unit]:
                found.intersection.update((unit, number) for number, mask in carried.items() if mask[y, x])
                found.unit_area.update((unit, name) for name in present)
    return found


def lite_2018(maps: np.ndarray, truth: Truth, quantile: float) -> Dissection:
    """Raw quantile, PIL's resize, > T.

    An image counts for the categories of the labels in the mask, and a pixel for a label as often as it carries it.
    """
    found = Dissection(truth.plane_area, [], Counter(), Counter())
    for unit in range(maps.shape[1]):
        cut = cut_at(maps[:, unit], quantile)
        found.threshold.append(cut)
        for image, carried in enumerate(truth.times):
            if maps[image, unit].max() <= cut:
                continue
            resized = Image.fromarray(maps[image, unit]).resize(truth.size[::-1], Image.Resampling.BILINEAR)
            indexes = np.argwhere(np.asarray(resized) > cut)
            both = {number: int(mask[tuple(indexes.T)].sum()) for number, mask in carried.items()}
            found.intersection.update({(unit, number): count for number, count in both.items()})
            for name in {truth.primary[number] for number, count in both.items() if count}:
                found.unit_area[unit, name] += len(indexes)
    return found


def sampling(cells: int, positions: int, zeros: bool) -> np.ndarray:
    """What each position takes of each cell, float64 (positions, cells), by `upsample_grid` of quick and PNAS.

    A cell is positions / cells long, and its centre half of that less half a position from its start. Beyond the outer
    centres there are the outer cells again, or, with `zeros`, none.
    """
    matrix = np.zeros((positions, cells + 2))  # with a cell at either end
    scale = positions / cells
    for place in range(positions):
        where = (place - (scale - 1) / 2) / scale
        before = floor(where)
        matrix[place, before + 1] += before + 1 - where
        matrix[place, before + 2] += where - before
    if not zeros:
        matrix[:, 1] += matrix[:, 0]
        matrix[:, -2] += matrix[:, -1]
    return matrix[:, 1:-1]


def quick_2018(maps: np.ndarray, truth: Truth, quantile: float) -> Dissection:
    """Raw quantile, knots at the centres of equal cells, > T; an image counts for the categories of its labels."""
    batch = torch.from_numpy(maps)
    samples = batch.transpose(0, 1).flatten(1)
    above = floor(Decimal(str(quantile)) * samples.shape[1])
    cuts = samples.sort(dim=1, descending=True).values[:, above]
    rows, columns = (sampling(*sizes, False) for sizes in zip(maps.shape[2:], truth.size, strict=True))
    upsampled = torch.from_numpy(rows @ maps.astype(float) @ columns.T)
    masks = (upsampled > cuts[:, None, None]).double()
    labels = torch.tensor(np.array([list(carried.values()) for carried in truth.carried])).double()
    belongs = torch.tensor([[truth.primary[n] == name for name in truth.categories] for n in truth.numbers])
    has_category = labels.amax((2, 3)) @ belongs.double() > 0
    tables = []
    for counts, names in (
        (torch.einsum("nuyx,nlyx->ul", masks, labels), truth.numbers),
        (torch.einsum("nuyx,nc->uc", masks, has_category.double()), truth.categories),
    ):
        places = product(range(len(counts)), names)
        tables.append(Counter(dict(zip(places, counts.long().ravel().tolist(), strict=True))))
    return Dissection(truth.area, cuts.tolist(), *tables)


def pnas_2020(maps: np.ndarray, truth: Truth, quantile: float) -> Dissection:
    """Quantile of the maps upsampled from the centres of equal cells within zeros, > T; every image counts."""
    rows, columns = (sampling(*sizes, True) for sizes in zip(maps.shape[2:], truth.size, strict=True))
    upsampled = rows @ maps.astype(float) @ columns.T
    found = Dissection(truth.area, [], Counter(), Counter())
    for unit in range(maps.shape[1]):
        cut = cut_at(upsampled[:, unit], quantile)
        found.threshold.append(cut)
        for image, carried in zip(upsampled, truth.carried, strict=True):
            mask = image[unit] > cut
            for number, label in carried.items():
                found.intersection[unit, number] += int((mask & label).sum())
            for name in truth.categories:
                found.unit_area[unit, name] += int(mask.sum())
    return found


def source(place: int, size: int, new_size: int, knots: str, field: Field | None) -> Fraction:
    """The exact place of a position of the label map on the map and beyond."""
    if knots == "align_corners_true":
        found = Fraction(place * (size - 1), max(new_size - 1, 1))
    elif knots == "align_corners_false":
        found = Fraction(2 * place + 1, 2) * size / new_size - Fraction(1, 2)
    elif field is None:
        raise ValueError(f"{knots} without a field")
    elif knots == "receptive_field_exact":
        pixel = Fraction(2 * place + 1, 2) * field.picture / new_size - Fraction(1, 2)
        found = (pixel - Fraction(field.offset)) / Fraction(field.stride)
    else:
        centre = floor(Fraction(floor(Fraction(field.offset) + Fraction(1, 2)) * new_size, field.picture))
        found = Fraction((place - centre) * field.picture) / (Fraction(field.stride) * new_size)
    return found


def clamped_source(place: int, size: int, *rest: Any) -> Fraction:
    """The nearest place on the map."""
    return min(max(source(place, size, *rest), Fraction(0)), Fraction(size - 1))


def interpolation_matrix(size: int, new_size: int, knots: str, border: str, field: Field | None) -> np.ndarray:
    """The weight of every knot at every position, fractions (new_size, size)."""
    matrix = np.full((new_size, size), Fraction(0))
    for place in range(new_size):
        found = (clamped_source if border == "clamp" else source)(place, size, new_size, knots, field)
        for knot, share in ((floor(found), 1 - found % 1), (floor(found) + 1, found % 1)):
            if 0 <= knot < size:
                matrix[place, knot] += share
    return matrix


def by_choice(maps: np.ndarray, truth: Truth, chosen: dict, fields: dict = FIELDS) -> Dissection:
    """Any mixture of choices, in exact fractions."""
    axes = [Field(offset, stride, fields["picture"]) for offset, stride in fields["layers"][LAYER]]
    rows, columns = (
        interpolation_matrix(size, new_size, chosen["knots"], chosen["border"], field)
        for size, new_size, field in zip(maps.shape[2:], truth.size, axes, strict=True)
    )
    fractions = np.vectorize(Fraction, otypes=[object])(maps.astype(float))
    area, planes = {"once": (truth.area, truth.carried), "each": (truth.plane_area, truth.times)}[chosen["planes"]]
    found = Dissection(area, [], Counter(), Counter())
    for unit in range(maps.shape[1]):
        upsampled = np.stack([rows @ image[unit] @ columns.T for image in fractions])
        cut = cut_at(upsampled if chosen["quantile_of"] == "upsampled" else fractions[:, unit], chosen["quantile"])
        found.threshold.append(float(cut))
        for image, carried, times in zip(upsampled, truth.carried, planes, strict=True):
            mask = ((image > cut) if chosen["mask"] == "above" else (image >= cut)).astype(bool)
            counted = set(truth.categories)
            if chosen["counted_images"] != "all":
                where = mask if chosen["counted_images"] == "with_label_in_mask" else np.ones_like(mask)
                counted = {truth.primary[number] for number, label in carried.items() if (label & where).any()}
            found.intersection.update({(unit, n): int((mask * label).sum()) for n, label in times.items()})
            found.unit_area.update(dict.fromkeys([(unit, name) for name in counted], int(mask.sum())))
    return found


def scores(found: Dissection, truth: Truth, unit: int) -> dict[int, Fraction]:
    """The IoU of a unit with every label that occurs."""
    table = {}
    for number in truth.numbers:
        if truth.area[number]:
            shared = found.intersection[unit, number]
            together = found.unit_area[unit, truth.primary[number]] + found.label_area[number] - shared
            table[number] = Fraction(shared, together)
    return table


def detectors(found: Dissection, truth: Truth, chosen: dict) -> dict[str, dict[str, list[int]]]:
    """By category the labels that units detect, A: under their best concept of all, B: in every category."""
    cut = Fraction(str(chosen["detector_iou"]))
    labels: dict[str, dict[str, list[int]]] = {name: {"a": [], "b": []} for name in truth.categories}

    def best(table: dict[int, Fraction]) -> list[int]:
        if not table:
            return []
        number = min(table, key=lambda number: (-table[number], number))
        above = table[number] > cut if chosen["detector_rule"] == "above" else table[number] >= cut
        return [number] if above and table[number] > 0 else []

    for unit in range(len(found.threshold)):
        table = scores(found, truth, unit)
        for number in best(table):
            labels[truth.primary[number]]["a"].append(number)
        for name in truth.categories:
            labels[name]["b"] += best({n: score for n, score in table.items() if truth.primary[n] == name})
    return labels


def same_tallies(tally: dict[str, np.ndarray], expected: Dissection, truth: Truth) -> bool:
    units = range(len(expected.threshold))
    return (
        tally["intersection"].tolist() == [[expected.intersection[u, n] for n in truth.numbers] for u in units]
        and tally["unit_area"].tolist() == [[expected.unit_area[u, c] for c in truth.categories] for u in units]
        and tally["label_area"].tolist() == list(expected.label_area.values())
    )


def name_of(table: dict[int, Fraction]) -> str:
    """The label with the highest IoU, the lowest of equal ones; none if nothing overlaps."""
    best = min(table, key=lambda number: (-table[number], number), default=None)
    return LABELS[best][0] if best is not None and table[best] > 0 else ""


def check_tables(folder: Path, expected: Dissection, truth: Truth, chosen: dict) -> None:
    """units.csv holds the expected IoUs, and the detectors counted from it are the expected ones."""
    units = read_units(folder / "units.csv")
    for unit, row in units.iterrows():
        table = scores(expected, truth, unit)
        assert row["score"] == float(max(table.values()))
        assert row["label"] == name_of(table)
        for name in truth.categories:
            within = {number: score for number, score in table.items() if truth.primary[number] == name}
            assert row[f"{name}-iou"] == float(max(within.values(), default=0))
            assert row[f"{name}-label"] == name_of(within)
    counts = count_detectors(units).set_index("category")
    for name, labels in detectors(expected, truth, chosen).items():
        assert counts.loc[name, ["detectors_a", "detectors_b"]].tolist() == [len(labels["a"]), len(labels["b"])]
        assert counts.loc[name, ["concepts_a", "concepts_b"]].tolist() == [len(set(labels["a"])), len(set(labels["b"]))]


# 1. The named protocols

GENERATIONS = {
    "netdissect": (netdissect_2017, (4, 4), (8, 8)),
    "lite": (lite_2018, (4, 2), (8, 8)),
    "quick": (quick_2018, (4, 2), (8, 8)),
    "pnas": (pnas_2020, (2, 4), (8, 8)),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_agrees_with_a_slow_program_of_its_generation(protocol, seed, tmp_path):
    slow, map_size, label_size = GENERATIONS[protocol]
    # The protocol's own quantile where there are samples enough for thresholds below the maximum, and larger ones; a
    # cut of IoU that lies amid such data's.
    pictures, given = [
        (70, {"detector_iou": 0.004}),
        (70, {"detector_iou": 0.003}),
        (7, {"detector_iou": 0.05, "quantile": 0.05}),
        (7, {"detector_iou": 0.08, "quantile": 0.1}),
        (7, {"detector_iou": 0.1, "quantile": 0.2}),
        (7, {"detector_iou": 0.2, "quantile": 0.4}),
    ][seed]
    chosen = choices(protocol, **given)
    concepts, maps = concept_set(seed, *label_size, pictures), maps_of(seed, pictures, *map_size)
    prepare(tmp_path, concepts, maps.astype([np.float32, np.float16][seed % 2]))
    tally = dissect(tmp_path, chosen)
    truth = Truth(concepts)
    expected = slow(maps, truth, chosen["quantile"])
    assert tally["threshold"].tolist() == expected.threshold
    assert same_tallies(tally, expected, truth)
    check_tables(tmp_path, expected, truth, chosen)
    assert (tally["intersection"][[0, 2]].sum(axis=1) > 0).all() and not tally["intersection"][4].any()
    found = [number for labels in detectors(expected, truth, chosen).values() for number in labels["b"]]
    assert 0 < len(found) < maps.shape[1] * len(CATEGORIES)


def test_lite_counts_a_pixel_once_for_each_plane_and_each_whole_image_label(tmp_path):
    everywhere, upper, corner = np.full((2, 2), 11), np.array([[11, 11], [0, 0]]), np.array([[11, 0], [0, 0]])
    cells = {"object": [everywhere], "part": [upper, corner], "scene": [300], "texture": [300]}
    picture = Picture(np.zeros((4, 4, 3), np.uint8), cells)
    concepts = Concepts(CATEGORIES, LABELS, 2, 2, [picture, Picture(picture.pixels, {"object": [corner]})])
    maps = np.array([[[[1, 1], [0, 0]]], [[[0, 0], [0, 2]]]], np.float32)
    prepare(tmp_path, concepts, maps)
    leg, street = list(LABELS).index(11), list(LABELS).index(300)
    for planes, shared, areas in (("once", (2, 2), (5, 4)), ("each", (5, 4), (8, 8))):
        tally = dissect(tmp_path, choices("lite", quantile=0.4, planes=planes))  # the mask: the upper row, a corner
        assert tuple(tally["intersection"][0, [leg, street]]) == shared
        assert tuple(tally["label_area"][[leg, street]]) == areas
    assert choices("lite")["planes"] == "each"


def test_the_protocols_quantiles_pick_different_samples(tmp_path):
    maps = np.random.default_rng(0).permutation(1199).reshape(1, 1, 11, 109).astype(np.float32)
    prepare(tmp_path, concept_set(0, 8, 8, 1), maps)
    found = {name: dissect(tmp_path, choices(name, quantile_of="raw"))["threshold"].item() for name in PROTOCOLS}
    assert found == {"netdissect": 1193, "lite": 1192, "quick": 1193, "pnas": 1187}
    assert [order_statistic_rank(PROTOCOLS[name].quantile, 1199) for name in PROTOCOLS] == [6, 7, 6, 12]


@settings(deadline=None)
@given(st.tuples(st.integers(2, 14), st.integers(2, 14)), st.tuples(st.integers(1, 40), st.integers(1, 40)))
@pytest.mark.parametrize(("protocol", "padding"), [("quick", "border"), ("pnas", "zeros")])
def test_grids_of_quick_and_pnas_are_those_that_their_programs_write_down(protocol, padding, size, new_size):
    axes = []
    for cells, positions in zip(size, new_size, strict=True):
        scale = positions / cells
        place = torch.arange(positions, dtype=torch.float64) - (0.5 * scale - 0.5)
        axes.append(place * (2 / (scale * (cells - 1))) - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    values = np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)
    batch, where = torch.from_numpy(values).double()[None], torch.stack([columns, rows], -1)[None]
    expected = nn.functional.grid_sample(batch, where, padding_mode=padding, align_corners=True)[0].numpy()
    rules = PROTOCOLS[protocol]
    assert np.abs(interpolate(values, grid(size, new_size, rules.knots, border=rules.border)) - expected).max() < 1e-4
    for axis, zeros in ((0, padding == "zeros"), (1, padding == "zeros")):
        matrix = sampling(size[axis], new_size[axis], zeros)
        exact = interpolation_matrix(size[axis], new_size[axis], rules.knots, rules.border, None)
        assert np.abs(matrix - exact.astype(float)).max() < 1e-12


# 2. Every choice by itself

SINGLE_CHOICES = [
    {},
    {"quantile": 0.2},
    {"quantile_of": "upsampled"},
    {"knots": "align_corners_true"},
    {"knots": "align_corners_false"},
    {"knots": "receptive_field_exact"},
    {"border": "zero"},
    {"planes": "each"},
    {"mask": "at_least"},
    {"counted_images": "with_label_in_mask"},
    {"counted_images": "all"},
]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A folder with a data set on which every choice shows; its maps, and what its labels say."""
    folder = tmp_path_factory.mktemp("fixed")
    concepts, maps = concept_set(5, 8, 8, 6), maps_of(5, 6, 4, 4)
    maps[:, 3] = np.minimum(maps[:, 3], 1)  # its threshold is its maximum, and many values lie on it
    prepare(folder, concepts, maps)
    return folder, maps, Truth(concepts)


def test_each_choice_by_itself_changes_the_tally_to_what_a_slow_program_says(fixed):
    # With align_corners_true the weights are sevenths. No interpolated value of these maps equals a threshold but
    # for positions on knots and between equal knots, which single precision has exactly.
    folder, maps, truth = fixed
    tallies = []
    for single in SINGLE_CHOICES:
        chosen = choices(**{"quantile": 0.1} | single)
        tally, expected = dissect(folder, chosen), by_choice(maps, truth, chosen)
        assert tally["threshold"].tolist() == expected.threshold
        assert same_tallies(tally, expected, truth)
        check_tables(folder, expected, truth, chosen)
        tallies.append([tally["intersection"].tolist(), tally["unit_area"].tolist()])
    assert all(one != other for place, one in enumerate(tallies) for other in tallies[:place])


def test_the_protocols_disagree_with_one_another(fixed):
    folder, _, _ = fixed
    found = [dissect(folder, choices(name, quantile=0.1))["unit_area"].tolist() for name in PROTOCOLS]
    assert all(one != other for place, one in enumerate(found) for other in found[:place])


@pytest.mark.parametrize("knots", SCHEMES)
def test_choices_mix_as_a_slow_program_mixes_them(knots, tmp_path):
    map_size, label_size = ((3, 5), (9, 9)) if knots == "align_corners_true" else ((4, 4), (8, 8))
    concepts, maps = concept_set(11, *label_size, 4), maps_of(11, 4, *map_size)
    prepare(tmp_path, concepts, maps)
    truth = Truth(concepts)
    mixtures = product(
        ("raw", "upsampled"), ("above", "at_least"), ("with_category", "with_label_in_mask", "all"), ("clamp", "zero")
    )
    for place, (quantile_of, mask, counted_images, border) in enumerate(mixtures):
        given = {"quantile_of": quantile_of, "mask": mask, "counted_images": counted_images, "border": border}
        chosen = choices(quantile=0.15, knots=knots, planes=("once", "each")[place % 5 % 2], **given)
        tally, expected = dissect(tmp_path, chosen), by_choice(maps, truth, chosen)
        assert tally["threshold"].tolist() == expected.threshold
        assert same_tallies(tally, expected, truth)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_with_masks_at_least_the_threshold_a_dead_unit_covers_every_image(dtype, tmp_path):
    concepts, maps = concept_set(3, 8, 8, 6), maps_of(3, 6, 4, 4)
    maps[:, 0, 0] = -0.0  # as good as 0
    prepare(tmp_path, concepts, maps.astype(dtype))
    truth = Truth(concepts)
    for counted_images in ("with_category", "with_label_in_mask", "all"):
        tally = dissect(tmp_path, choices(quantile=0.1, mask="at_least", counted_images=counted_images))
        assert tally["threshold"][4] == 0
        assert (tally["intersection"][4] == tally["label_area"]).all()
        with_category = [
            sum(any(c[n].any() for n in truth.numbers if truth.primary[n] == name) for c in truth.carried)
            for name in CATEGORIES
        ]
        assert max(with_category) > min(with_category)
        expected = [64 * images for images in ([6] * 5 if counted_images == "all" else with_category)]
        assert tally["unit_area"][4].tolist() == expected
        assert not dissect(tmp_path, choices(quantile=0.1, counted_images=counted_images))["unit_area"][4].any()


def test_ties_at_the_threshold_are_in_the_mask_only_with_at_least(tmp_path):
    plane = np.full((4, 4), 3)
    plane[3] = 0
    concepts = Concepts(CATEGORIES, LABELS, 4, 4, [Picture(np.zeros((4, 4, 3), np.uint8), {"object": [plane]})])
    values = np.array([[9, 5, 5, 5], [5, 4.75, 4, 4], [3, 3, 3, 3], [5, 2, 2, 2]], np.float32)
    prepare(tmp_path, concepts, np.stack([values, -values, np.full_like(values, 7)])[None])
    above, at_least = (
        dissect(tmp_path, choices(quantile=0.2, mask=mask, knots="align_corners_false"))
        for mask in ("above", "at_least")
    )
    # Of 16 samples the fourth largest; the mask is the same size as the map.
    assert above["threshold"].tolist() == at_least["threshold"].tolist() == [5, -3, 7]
    cat, of_objects = list(LABELS).index(3), CATEGORIES.index("object")
    assert above["unit_area"][:, of_objects].tolist() == [1, 3, 0]
    assert above["intersection"][:, cat].tolist() == [1, 0, 0]
    assert at_least["unit_area"][:, of_objects].tolist() == [6, 7, 16]
    assert at_least["intersection"][:, cat].tolist() == [5, 4, 12]


@pytest.mark.parametrize("counted_images", ["with_category", "with_label_in_mask", "all"])
def test_pictures_with_only_whole_image_labels_or_none_are_tallied(counted_images, tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pictures = [Picture(pixels, cells) for cells in ({"scene": [300]}, {}, {"scene": [301], "texture": [302]})]
    concepts, maps = Concepts(CATEGORIES, LABELS, 8, 8, pictures), maps_of(2, 3, 4, 4)
    prepare(tmp_path, concepts, maps)
    chosen = choices(quantile=0.3, counted_images=counted_images)
    expected = by_choice(maps, Truth(concepts), chosen)
    assert sum(expected.intersection.values()) > 0
    assert same_tallies(dissect(tmp_path, chosen), expected, Truth(concepts))


def test_upsampled_quantiles_need_the_label_maps_size(tmp_path):
    prepare(tmp_path, concept_set(0, 8, 8, 2), maps_of(0, 2, 4, 4))
    with pytest.raises(UserError, match=r"concepts\.h5"):
        find_thresholds(tmp_path / "activations.h5", 0.1, tmp_path / "t.h5", "align_corners_true")
    assert not (tmp_path / "t.h5").exists()


# 3. Receptive fields


def layer(kind: str, channels: int, kernel: int, stride: int, padding: int) -> nn.Module:
    """A convolution with what usually goes with it, or a pooling."""
    if kind == "conv":
        convolution = nn.Conv2d(channels, 4, kernel, stride, padding)
        return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    return {"max": nn.MaxPool2d, "average": nn.AvgPool2d}[kind](kernel, stride, padding)


def stack(layers: list[tuple], channels: int = 3) -> nn.Sequential:
    return nn.Sequential(*(layer(kind, 4 if i else channels, *shape) for i, (kind, *shape) in enumerate(layers)))


def field_of(layers: list[tuple]) -> list[float]:
    """Centre of the first unit's receptive field and stride: each layer shifts by (kernel - 1) / 2 - padding."""
    centre, stride = 0.0, 1
    for _, kernel, step, padding in layers:
        centre += stride * ((kernel - 1) / 2 - padding)
        stride *= step
    return [centre, float(stride)]


class Residual(nn.Module):
    """A body and a shortcut, added."""

    def __init__(self, body: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


STACKS = {
    "same size": [("conv", 3, 1, 1), ("conv", 5, 1, 2)],
    "no padding": [("conv", 3, 1, 0), ("conv", 5, 2, 0), ("conv", 3, 1, 0)],
    "even kernel": [("conv", 4, 2, 1)],
    "even kernels without padding": [("conv", 2, 2, 0), ("conv", 4, 1, 1), ("conv", 2, 2, 0)],
    "much padding": [("conv", 3, 2, 2), ("conv", 3, 1, 2)],
    "VGG": [("conv", 3, 1, 1), ("max", 2, 2, 0), ("conv", 3, 1, 1), ("max", 2, 2, 0), ("conv", 3, 1, 1)],
    "AlexNet": [("conv", 11, 4, 2), ("max", 3, 2, 0), ("conv", 5, 1, 2), ("max", 3, 2, 0), ("conv", 3, 1, 1)],
    "ResNet's stem": [("conv", 7, 2, 3), ("max", 3, 2, 1), ("conv", 3, 1, 1), ("conv", 1, 2, 0)],
    "average": [("conv", 3, 3, 1), ("average", 2, 2, 0), ("average", 3, 1, 1)],
}


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("size", [32, 39])
def test_receptive_fields_are_where_adding_up_the_layers_puts_them(layers, size):
    network = stack(layers)
    found = find_receptive_fields(network, [str(place) for place in range(len(layers))], size)["layers"]
    for place in range(len(layers)):
        assert found[str(place)] == [field_of(layers[: place + 1])] * 2


def test_rows_and_columns_have_fields_of_their_own():
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 6), (1, 2), (0, 1)), nn.Conv2d(4, 2, (2, 3), (3, 1), (0, 1)))
    rows = field_of([("conv", 3, 1, 0), ("conv", 2, 3, 0)])
    columns = field_of([("conv", 6, 2, 1), ("conv", 3, 1, 1)])
    assert find_receptive_fields(network, ["1"], 20)["layers"]["1"] == [rows, columns]


def test_a_dilated_convolution_reaches_as_far_as_its_holes_take_it():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1, dilation=3))
    assert (
        find_receptive_fields(network, ["1"], 20)["layers"]["1"]
        == [field_of([("conv", 3, 2, 1), ("conv", 7, 1, 1)])] * 2
    )


def test_a_dilated_pooling_reaches_as_far_as_its_holes_take_it():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.MaxPool2d(3, 1, 0, dilation=2))
    assert (
        find_receptive_fields(network, ["1"], 20)["layers"]["1"]
        == [field_of([("conv", 3, 1, 1), ("max", 5, 1, 0)])] * 2
    )


def test_a_residual_block_has_the_position_of_body_and_shortcut():
    stem, body = [("conv", 5, 2, 1)], [("conv", 3, 2, 1), ("conv", 3, 1, 1)]
    network = nn.Sequential(
        stack(stem),
        Residual(stack(body, 4), nn.Conv2d(4, 4, 1, 2)),
        Residual(stack([("conv", 3, 1, 1)], 4), nn.Identity()),
    )
    assert find_receptive_fields(network, ["0", "1", "2"], 32)["layers"] == {
        "0": [field_of(stem)] * 2,
        "1": [field_of(stem + body)] * 2,
        "2": [field_of([*stem, *body, ("conv", 3, 1, 1)])] * 2,
    }


def test_the_network_stays_as_it_was():
    network = stack(STACKS["ResNet's stem"]).train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    find_receptive_fields(network, ["3"], 24)
    assert network.training and isinstance(network[1], nn.MaxPool2d)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


@pytest.mark.parametrize("places", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("size", [24, 32])
def test_layers_that_pool_over_all_places_have_none_and_the_others_keep_theirs(places, size, caplog):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool2d(places), nn.Conv2d(4, 4, 1))
    found = find_receptive_fields(network, ["0", "2"], size)
    assert found["layers"] == {"0": [field_of([("conv", 3, 1, 1)])] * 2, "2": None}
    assert "2: no receptive fields on a grid were found" in caplog.text


class OwnSize(nn.Module):
    """A network that only takes pictures of 16 pixels, like a vision transformer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2:] == (16, 16), "the picture has another size"
        return self.patches(x)


def test_a_network_that_takes_its_own_size_only_has_none(caplog):
    assert find_receptive_fields(OwnSize(), ["patches"], 16)["layers"] == {"patches": None}
    assert "pixels (the picture has another size)" in caplog.text
    with pytest.raises(UserError, match="petals"):
        find_receptive_fields(nn.Sequential(nn.Conv2d(3, 4, 3)), ["petals"], 16)


class Plain(nn.Module):
    """A network whose pooling is a function, whose convolutions have biases, and whose head needs its own size."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(c, 4, 3, 1, 1) for c in (3, 4, 4))
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.two(nn.functional.max_pool2d(torch.relu(self.one(x + 0.7)), 2))
        x = self.three(nn.functional.max_pool2d(torch.relu(x), 2, ceil_mode=True))
        return self.head(x.flatten(1))


def test_pooling_by_functions_constants_and_a_head_of_fixed_size_hide_no_field():
    convolution, pooling = ("conv", 3, 1, 1), ("max", 2, 2, 0)
    layers = [convolution, pooling, convolution, pooling, convolution]
    found = find_receptive_fields(Plain(), ["one", "two", "three"], 32)["layers"]
    for name, depth in (("one", 1), ("two", 3), ("three", 5)):
        assert found[name] == [field_of(layers[:depth])] * 2


def test_channels_that_look_elsewhere_have_none():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.left(x), self.right(nn.functional.pad(x, (0, 2, 0, 2)))], 1)

    network = nn.Sequential(Branches())
    assert find_receptive_fields(network, ["0"], 32)["layers"] == {"0": None}


def test_tokens_have_none():
    network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(2))
    assert find_receptive_fields(network, ["0", "1@4x4"], 16)["layers"] == {
        "0": [field_of([("conv", 4, 4, 0)])] * 2,
        "1": None,
    }


@pytest.mark.parametrize("way", [lambda c: prune.l1_unstructured(c, "weight", 0.5), parametrizations.weight_norm])
def test_weights_that_are_computed_in_each_pass_hide_no_field(way):
    network = copied(nn.Sequential(way(nn.Conv2d(3, 4, 5, 2, 1)), nn.ReLU()))
    expected = [field_of([("conv", 5, 2, 1)])] * 2
    assert find_receptive_fields(network, ["1"], 32)["layers"] == {"1": expected}


def test_gates_of_whole_channels_leave_places_alone():
    class Excited(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3, 2, 1)
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.body(x)
            return x * self.gate(x)

    network = nn.Sequential(Excited(), nn.Conv2d(4, 4, 3, 1, 1))
    expected = field_of([("conv", 3, 2, 1), ("conv", 3, 1, 1)])
    assert find_receptive_fields(network, ["1"], 32)["layers"]["1"] == [expected] * 2


def test_a_layer_without_fields_is_dissected_with_cell_centres_beside_one_that_has_them(tmp_path):
    concepts, maps = concept_set(9, 8, 8, 5), maps_of(9, 5, 4, 4)
    prepare(tmp_path, concepts, maps)
    with h5py.File(tmp_path / "activations.h5", "r+") as dump:
        dump["maps/global"] = maps
    fields = {**FIELDS, "layers": FIELDS["layers"] | {"global": None}}
    for quantile_of in ("raw", "upsampled"):
        dissect(tmp_path, choices(quantile=0.15, quantile_of=quantile_of), fields)
        units = read_units(tmp_path / "units.csv").set_index("layer")
        assert set(units.loc[LAYER, "knots"]) == {"receptive_field"}
        assert set(units.loc["global", "knots"]) == {"align_corners_false"}
        chosen = choices(quantile=0.15, quantile_of=quantile_of, knots="align_corners_false")
        expected = by_choice(maps, Truth(concepts), chosen)
        with h5py.File(tmp_path / "tally.h5") as file:
            assert same_tallies({name: values[:] for name, values in file["global"].items()}, expected, Truth(concepts))


def test_the_fields_found_are_those_that_the_knots_need():
    layers = ["stem", "stages.0", "stages.1"]
    found = find_receptive_fields(build(NETWORK, 4, seed=0), layers, 32)
    stem, stages = [("conv", 3, 2, 1)], [("conv", 3, 1, 1), ("conv", 3, 1, 1), ("conv", 3, 2, 1), ("conv", 3, 1, 1)]
    for name, depth in zip(layers, (0, 2, 4), strict=True):
        expected = Field(*field_of(stem + stages[:depth]), 32)
        for knots in OF_FIELDS:
            assert layer_knots(found, name, knots) == (knots, (expected, expected))
        assert layer_knots(found, name, "align_corners_true") == ("align_corners_true", None)
    without = {**found, "layers": {"stem": None}}
    assert layer_knots(without, "stem", "receptive_field") == ("align_corners_false", None)
    for network in (None, {}, {**found, "layers": {}}):
        with pytest.raises(UserError, match=r"stages\.0 are unknown"):
            layer_knots(network, "stages.0", "receptive_field")
        assert layer_knots(network, "stages.0", "align_corners_false") == ("align_corners_false", None)


halves = st.integers(-12, 120).map(lambda doubled: doubled / 2)
fields_of_axes = st.builds(Field, halves, st.integers(2, 130).map(lambda doubled: doubled / 2), st.integers(4, 260))
axes = st.tuples(st.integers(1, 15), st.integers(1, 120), fields_of_axes)


@settings(deadline=None)
@given(axes, axes)
def test_the_grid_of_receptive_fields_agrees_with_the_formula(rows, columns):
    found = grid((rows[0], columns[0]), (rows[1], columns[1]), "receptive_field", (rows[2], columns[2]))
    for (size, new_size, field), knots, weight in (
        (rows, found.rows, found.row_weight),
        (columns, found.columns, found.column_weight),
    ):
        exact = [clamped_source(place, size, new_size, "receptive_field", field) for place in range(new_size)]
        assert knots[0].tolist() == [floor(place) for place in exact]
        assert np.abs(weight - [float(place % 1) for place in exact]).max() < 1e-6


@pytest.mark.parametrize(
    ("axis", "size", "expected"),
    [
        # ResNet-50's last stage on pictures of 224 pixels: centres at 0, 32 and so on, 16 apart on the label map.
        ((0.0, 32.0, 224), (7, 112), [0, 1 / 16, 2 / 16]),
        # AlexNet's: centre 31, 15 on the label map, which lies before any knot.
        ((31.0, 16.0, 224), (13, 112), [0, 0, 0]),
        # An even receptive field: centre 3.5, rounded up to pixel 4, 2 on the label map.
        ((3.5, 4.0, 16), (4, 8), [0, 0, 0, 0.5, 1, 1.5, 2, 2.5]),
        # A centre outside the picture: -3 is pixel -2 of the label map.
        ((-3.0, 4.0, 16), (4, 8), [1, 1.5, 2, 2.5, 3, 3]),
    ],
)
def test_receptive_field_knots_worked_by_hand(axis, size, expected):
    field = Field(*axis)
    found = grid((size[0],) * 2, (size[1],) * 2, "receptive_field", (field, field))
    assert (found.rows[0] + found.row_weight)[: len(expected)].tolist() == expected
    assert (found.columns[0] + found.column_weight)[: len(expected)].tolist() == expected


def test_a_dissection_with_the_fields_of_a_network(tmp_path):
    # Rows: centre 1.5, stride 4; columns: centre 4, stride 8; of a picture of 16 pixels.
    rows, columns = [("conv", 4, 4, 0)], [("conv", 9, 8, 0)]
    network = nn.Sequential(nn.Conv2d(3, 4, (4, 9), (4, 8)))
    fields = {"picture": 16, "layers": {LAYER: find_receptive_fields(network, ["0"], 16)["layers"]["0"]}}
    assert fields["layers"][LAYER] == [field_of(rows), field_of(columns)]
    concepts, maps = concept_set(8, 8, 8, 5), maps_of(8, 5, 4, 2)
    prepare(tmp_path, concepts, maps)
    truth = Truth(concepts)
    swapped = {**fields, "layers": {LAYER: fields["layers"][LAYER][::-1]}}
    for quantile_of in ("raw", "upsampled"):
        chosen = choices(quantile=0.15, knots="receptive_field", quantile_of=quantile_of)
        tally, expected = dissect(tmp_path, chosen, fields), by_choice(maps, truth, chosen, fields)
        assert tally["threshold"].tolist() == expected.threshold
        assert same_tallies(tally, expected, truth)
        assert not same_tallies(tally, by_choice(maps, truth, chosen, swapped), truth)
    with pytest.raises(UserError, match=r"stages\.3 are unknown"):
        dissect(tmp_path, chosen, None)


# 4. From the config to the choices


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_makes_every_choice_that_is_left_to_it(protocol):
    found = choices(protocol, layers=[LAYER], forward="float32")
    left = {"protocol": protocol, "dump": "all", "layers": [LAYER], "forward": "float32"}
    assert found == asdict(PROTOCOLS[protocol]) | left | {"largest_quantile": PROTOCOLS[protocol].quantile}


GIVEN = {
    "quantile": 0.125,
    "quantile_of": "upsampled",
    "knots": "align_corners_true",
    "border": "zero",
    "mask": "at_least",
    "counted_images": "with_label_in_mask",
    "planes": "each",
    "detector_iou": 0.07,
    "detector_rule": "at_least",
}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_choice_that_is_given_stays(protocol, name):
    found, without = choices(protocol, **{name: GIVEN[name]}), choices(protocol)
    expected = without | {name: GIVEN[name]}
    assert found == expected | ({"largest_quantile": 0.125} if name == "quantile" else {})


def test_the_generations_are_as_published():
    assert set(GIVEN) == set(asdict(Protocol()))
    expected = {
        "netdissect": (0.005, "raw", "receptive_field", "clamp", "above", "with_category", "once", 0.04, "above"),
        "lite": (
            *(0.005005, "raw", "align_corners_false", "clamp", "above", "with_label_in_mask", "each", 0.04, "at_least"),
        ),
        "quick": (0.005, "raw", "align_corners_false", "clamp", "above", "with_category", "once", 0.04, "above"),
        "pnas": (0.01, "upsampled", "align_corners_false", "zero", "above", "all", "once", 0.04, "above"),
    }
    assert {name: tuple(asdict(protocol).values()) for name, protocol in PROTOCOLS.items()} == expected


def test_resolving_leaves_the_config_as_it_was():
    section = {"protocol": "lite", "dump": "all", "largest_quantile": "quantile"}
    section |= dict.fromkeys(("quantile", "detector_iou", "detector_rule"), "protocol")
    before = dict(section)
    assert resolve_protocol(section)["quantile"] == 0.005005 and section == before


def test_an_iou_threshold_that_no_iou_passes_is_refused():
    [mistake] = protocol_mistakes(choices(detector_iou=1))
    assert mistake.startswith("dissection.detector_iou is 1")
    assert not list(protocol_mistakes(choices(detector_iou=1, detector_rule="at_least")))


@pytest.mark.parametrize(
    ("protocol", "given", "key"),
    [
        ("pnas", {}, "dump"),
        ("netdissect", {"quantile_of": "upsampled"}, "dump"),
        ("netdissect", {"quantile": 0.02, "largest_quantile": 0.01}, "largest_quantile"),
        ("lite", {"largest_quantile": 0.005}, "largest_quantile"),
    ],
)
def test_insufficient_candidates_are_refused(protocol, given, key):
    [mistake] = protocol_mistakes(choices(protocol, dump="candidates", **given))
    assert mistake.startswith(f"dissection.{key}")
    assert not list(protocol_mistakes(choices(protocol, **given)))  # all maps do


def test_all_reasons_against_candidates_are_reported():
    given = {"detector_iou": 1, "dump": "candidates", "quantile": 0.02, "largest_quantile": 0.01}
    mistakes = list(protocol_mistakes(choices("pnas", **given)))
    assert [mistake.split(" ")[0].rstrip(":") for mistake in mistakes] == [
        "dissection.detector_iou",
        "dissection.dump",
        "dissection.largest_quantile",
    ]


@pytest.mark.parametrize(
    ("protocol", "given"),
    [
        ("netdissect", {}),
        ("lite", {"largest_quantile": 0.005005}),
        ("quick", {"largest_quantile": 0.01}),
        ("pnas", {"quantile_of": "raw"}),
        ("netdissect", {"quantile": 0.02}),
    ],
)
def test_sufficient_candidates_are_accepted(protocol, given):
    found = choices(protocol, dump="candidates", **given)
    assert not list(protocol_mistakes(found)) and found["largest_quantile"] >= found["quantile"]


# 5. Detectors


def test_an_iou_at_the_threshold_makes_a_detector_only_with_at_least():
    iou = pd.Series([0.0, np.nextafter(0.04, 0), 1 / 25, np.nextafter(0.04, 1), 1.0])
    assert detects(iou, 0.04, "above").tolist() == [False, False, False, True, True]
    assert detects(iou, 0.04, "at_least").tolist() == [False, False, True, True, True]
    assert detects(iou, 0, "at_least").tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("rule", "a", "concepts_a", "b", "concepts_b"),
    [("above", [2, 0], [2, 0], [2, 0], [2, 0]), ("at_least", [3, 1], [2, 1], [3, 2], [2, 1])],
)
def test_both_ways_of_counting_follow_the_rule(rule, a, concepts_a, b, concepts_b):
    units = pd.DataFrame(
        [
            ("object", "cat", 0.05, "cat", 0.05, "leg", 0.04),
            ("object", "bed", 0.08, "bed", 0.08, "ear", np.nextafter(0.04, 0)),
            ("object", "cat", 0.04, "cat", 0.04, "leg", 0.01),
            ("part", "leg", 0.04, "bed", 0.0, "leg", 0.04),
        ],
        columns=["category", "label", "score", "object-label", "object-iou", "part-label", "part-iou"],
    )
    for iou, flag in (("score", "detector"), ("object-iou", "object-detector"), ("part-iou", "part-detector")):
        units[flag] = detects(units[iou], 0.04, rule)
    found = count_detectors(units)
    assert found["category"].tolist() == ["object", "part"]
    assert [found["detectors_a"].tolist(), found["concepts_a"].tolist()] == [a, concepts_a]
    assert [found["detectors_b"].tolist(), found["concepts_b"].tolist()] == [b, concepts_b]


def test_an_iou_at_the_threshold_stays_there_from_the_maps_to_the_count(tmp_path):
    red = np.zeros((5, 5), int)
    red[0, 0] = 2
    picture = Picture(np.zeros((4, 4, 3), np.uint8), {"scene": [300], "color": [red]})
    maps = np.zeros((1, 3, 5, 5), np.float32)
    maps[0, 0, 2, 3] = 1  # 1 of the label's 25 pixels
    maps[0, 1, 2, 3:] = 2, 1  # as well: its threshold is 1
    prepare(tmp_path, Concepts(CATEGORIES, LABELS, 5, 5, [picture]), maps)
    for rule, expected in (("above", 0), ("at_least", 2)):
        chosen = choices(quantile=0.04, detector_rule=rule, knots="align_corners_false")
        assert dissect(tmp_path, chosen)["intersection"][:, list(LABELS).index(300)].tolist() == [1, 1, 0]
        units = read_units(tmp_path / "units.csv")
        assert units["score"].tolist() == [0.04, 0.04, 0]
        assert units["detector"].sum() == expected and units["label"].tolist() == ["street", "street", ""]
        counts = count_detectors(units).set_index("category")
        assert counts.loc["scene", ["detectors_a", "detectors_b"]].tolist() == [expected] * 2
        assert counts.drop("scene")[["detectors_a", "detectors_b"]].to_numpy().sum() == 0


# 6. Interpolation

SIZES = [*product(range(1, 14), range(1, 40)), (7, 112), (13, 113), (14, 112), (56, 112), (112, 7), (100, 33), (1, 999)]
AXIS_FIELDS = [Field(0, 1, 1), Field(3.5, 4, 16), Field(-20.5, 1.5, 31), Field(63, 32, 224), Field(900, 2.5, 64)]


def check_axis(
    size: int, new_size: int, knots: np.ndarray, weight: np.ndarray, reach: np.ndarray, exact: list[Fraction]
) -> None:
    assert knots.dtype == reach.dtype == np.uint32 and weight.dtype == np.float32
    assert knots.shape == (2, new_size) and weight.shape == (new_size,) and reach.shape == (2, size)
    first, second = knots.astype(int)
    assert (weight >= 0).all() and (weight <= 1 - 2.0**-22).all()
    assert (first >= 0).all() and (second == np.minimum(first + 1, size - 1)).all()
    assert (np.diff(first) >= 0).all()
    assert (weight[first == size - 1] == 0).all()
    for j in range(size):
        users = [place for place in range(new_size) if j in (first[place], second[place])]
        assert users == list(range(*reach[:, j].astype(int)))
    assert np.abs(first + weight.astype(float) - [float(place) for place in exact]).max() < 1e-6
    assert [place.denominator == 1 for place in exact] == (weight == 0).tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_knots_weights_and_reach_hold_what_the_kernels_rely_on(scheme):
    for place, (size, new_size) in enumerate(SIZES):
        field = AXIS_FIELDS[place % len(AXIS_FIELDS)] if scheme in OF_FIELDS else None
        other = SIZES[-place - 1]
        found = grid((size, other[0]), (new_size, other[1]), scheme, field and (field, field))
        for sizes, *axis in (
            ((size, new_size), found.rows, found.row_weight, found.row_reach),
            (other, found.columns, found.column_weight, found.column_reach),
        ):
            check_axis(*sizes, *axis, [clamped_source(i, *sizes, scheme, field) for i in range(sizes[1])])


@settings(deadline=None)
@given(axes)
def test_any_receptive_fields_hold_what_the_kernels_rely_on(axis):
    size, new_size, field = axis
    found = grid((size, 1), (new_size, 1), "receptive_field", (field, field))
    exact = [clamped_source(place, size, new_size, "receptive_field", field) for place in range(new_size)]
    check_axis(size, new_size, found.rows, found.row_weight, found.row_reach, exact)


def test_a_position_hardly_before_a_knot_is_on_it():
    assert LARGEST_WEIGHT == 1 - 2.0**-22
    for nearness, first, weight in ((2.0**-30, [0, 1, 2], [0, 0, 0]), (2.0**-20, [0, 0, 1], [0, 1 - 2.0**-20, None])):
        field = Field(0.0, 1 / (1 - nearness), 3)
        found = grid((3, 1), (3, 1), "receptive_field", (field, field))
        assert found.rows[0].tolist() == first
        for value, expected in zip(found.row_weight, weight, strict=True):
            assert expected is None or abs(value - expected) < 2.0**-23
        assert (found.row_weight <= LARGEST_WEIGHT).all()
