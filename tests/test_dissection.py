"""Thresholds, tallies and names agree with the slow reference to the last digit, and refuse what is wrong."""

import csv
import tempfile
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
import reference_dissection as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect import find_thresholds as thresholds_module
from workflow_scripts.dissect import tally_units as tally_module
from workflow_scripts.dissect.find_thresholds import find_thresholds, order_statistic_rank
from workflow_scripts.dissect.interpolation import knots, upsample
from workflow_scripts.dissect.name_units import iou, name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.files import UserError

LAYER = "stages.3"
QUANTILES = ["0.005", "0.1", "0.25", "0.3", "0.7"]
sides = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(["normal", "sparse", "dead", "constant", "negative", "ties", "float16"])


def unit_maps(kind: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """The maps of one unit over all images, float32."""
    normal = random.normal(size=shape).astype(np.float32)
    return {
        "normal": normal,
        "sparse": np.maximum(normal - 1, 0),
        "dead": np.zeros(shape, np.float32),
        "constant": np.full(shape, np.float32(0.1)),
        "negative": -np.abs(normal) - 1,
        "ties": random.integers(-1, 3, shape).astype(np.float32),
        "float16": normal.astype(np.float16).astype(np.float32),
    }[kind]


@st.composite
def layers(draw, images=None):
    """Maps (N, U, h, w) of one layer, each unit of a kind of its own."""
    random = np.random.default_rng(draw(seeds))
    shape = (images or draw(sides), draw(sides), draw(sides))
    units = draw(st.lists(kinds, min_size=1, max_size=4))
    return np.stack([unit_maps(kind, shape, random) for kind in units], axis=1)


@st.composite
def concept_sets(draw):
    """Sets with labels in several categories, several planes, whole-image labels and images without any."""
    random = np.random.default_rng(draw(seeds))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    categories = ["color", "object", "part", "scene"][: draw(st.integers(1, 4))]
    numbers = draw(st.lists(st.integers(1, 600), min_size=1, max_size=7, unique=True))
    labels = {
        number: (f"label {number}", list(random.permutation(categories)[: random.integers(1, 3)])) for number in numbers
    }
    concepts = reference.Concepts(categories, labels, height, width)
    density = draw(st.sampled_from([0.0, 0.2, 0.9]))
    for _ in range(draw(st.integers(1, 4))):
        cells = {}
        for category in categories:
            of_category = [number for number in numbers if category in labels[number][1]]
            if not of_category or random.random() < 0.3:
                continue
            cells[category] = [
                np.where(random.random((height, width)) < density, random.choice(of_category, (height, width)), 0)
                for _ in range(random.integers(0, 3))
            ]
            if random.random() < 0.4:
                cells[category].append(int(random.choice(of_category)))
        pixels = random.integers(0, 256, (4, 4, 3), np.uint8)
        concepts.pictures.append(reference.Picture(pixels, cells))
    return concepts


@contextmanager
def in_memory(values: int):
    """Let both streaming steps hold only so many values at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds_module, "VALUES_IN_MEMORY", values)
        patch.setattr(tally_module, "VALUES_IN_MEMORY", values)
        yield


def write_dump(path: Path, layers: dict[str, np.ndarray], concepts: str = "the concepts") -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(format=1, fingerprint="the dump", concepts=concepts)
        for layer, maps in layers.items():
            file[f"maps/{layer}"] = maps


def concepts_fingerprint(path: Path) -> str:
    with h5py.File(path) as file:
        return file.attrs["fingerprint"]


def prepare(folder: Path, concepts: reference.Concepts, maps: np.ndarray, quantile: float = 0.25) -> None:
    """Everything that a tally needs, as concepts.h5, activations.h5 and thresholds.h5 in `folder`."""
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", 4, folder / "concepts.h5")
    write_dump(folder / "activations.h5", {LAYER: maps}, concepts_fingerprint(folder / "concepts.h5"))
    find_thresholds(folder / "activations.h5", quantile, folder / "thresholds.h5")


def tally(folder: Path, name: str = "tally.h5", **options) -> dict[str, np.ndarray]:
    tally_units(folder / "activations.h5", folder / "thresholds.h5", folder / "concepts.h5", folder / name, **options)
    return read_layer(folder / name)


def read_layer(path: Path, layer: str = LAYER) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: dataset[:] for name, dataset in file[layer].items()}


def small_set(pictures: int = 6) -> reference.Concepts:
    """A fixed set in which every image carries labels, and another number of pixels of them."""
    concepts = reference.Concepts(
        ["object", "part"], {1: ("cat", ["object"]), 2: ("dog", ["object"]), 3: ("leg", ["part"])}, 5, 4
    )
    for place in range(pictures):
        plane = np.zeros((5, 4), int)
        plane.flat[: place + 1] = 1 + place % 2
        parts = {"part": [np.where(plane, 3, 0)]} if place % 3 else {}
        pixels = np.full((4, 4, 3), place, np.uint8)
        concepts.pictures.append(reference.Picture(pixels, {"object": [plane], **parts}))
    return concepts


# Thresholds


@given(layers(), st.sampled_from(QUANTILES), st.sampled_from([1, 7, 2**24]))
def test_thresholds_agree_with_sorting(maps, quantile, values):
    with tempfile.TemporaryDirectory() as folder, in_memory(values):
        write_dump(Path(folder, "a.h5"), {LAYER: maps})
        find_thresholds(Path(folder, "a.h5"), float(quantile), Path(folder, "t.h5"))
        found = read_layer(Path(folder, "t.h5"))
    for unit in range(maps.shape[1]):
        samples = maps[:, unit].ravel()
        assert found["threshold"][unit] == reference.threshold(samples.tolist(), quantile)
        assert (found["maximum"][unit], found["minimum"][unit]) == (samples.max(), samples.min())
        assert (samples > found["threshold"][unit]).sum() <= float(quantile) * samples.size
    assert all(values.dtype == np.float32 for values in found.values())


@pytest.mark.parametrize(
    ("quantile", "samples", "rank"),
    [(0.005, 1000, 6), (0.005, 200, 2), (0.005, 199, 1), (0.29, 100, 30), (0.07, 100, 8), (0.995, 1, 1)],
)
def test_rank_is_exact(quantile, samples, rank):
    assert order_statistic_rank(quantile, samples) == rank


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_a_quantile_outside_0_to_1_is_refused(quantile, tmp_path):
    write_dump(tmp_path / "a.h5", {LAYER: np.zeros((1, 1, 2, 2), np.float32)})
    with pytest.raises(UserError, match="quantile"):
        find_thresholds(tmp_path / "a.h5", quantile, tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("values", [1, 2**24])
def test_maps_that_are_not_finite_are_refused_by_layer_and_unit(value, values, tmp_path):
    maps = np.zeros((4, 3, 2, 2), np.float16)
    maps[2, 1, 0, 1] = value
    write_dump(tmp_path / "a.h5", {"stages.1": np.zeros_like(maps), LAYER: maps})
    with in_memory(values), pytest.raises(UserError, match=r"layer stages\.3, unit 1:"):
        find_thresholds(tmp_path / "a.h5", 0.25, tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


# Interpolation


@given(layers(), st.integers(1, 9), st.integers(1, 9))
def test_interpolation_agrees_to_the_bit_and_stays_within_its_map(maps, height, width):
    result = upsample(maps, height, width)
    assert result.dtype == np.float32 and result.shape == (*maps.shape[:2], height, width)
    for image in range(len(maps)):
        for unit in range(maps.shape[1]):
            expected = reference.interpolated(maps[image, unit], height, width)
            assert result[image, unit].tobytes() == expected.tobytes()
            assert maps[image, unit].min() <= result[image, unit].min()
            assert result[image, unit].max() <= maps[image, unit].max()


@given(
    st.integers(1, 30),
    st.integers(1, 400),
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=30, max_size=30),
)
def test_no_interpolated_value_leaves_the_range_of_its_map(size, new_size, values):
    row = np.array(values[:size], np.float32)[None]
    result = upsample(row, 1, new_size)
    assert row.min() <= result.min() and result.max() <= row.max()


def test_positions_on_a_knot_are_exact():
    for size in range(1, 30):
        for new_size in range(1, 120):
            first, _, weight = knots(size, new_size)
            for place in range(new_size):
                exact = Fraction(2 * place + 1, 2) * size / new_size - Fraction(1, 2)
                exact = min(max(exact, Fraction(0)), Fraction(size - 1))
                assert first[place] == exact // 1
                assert abs(weight[place] - float(exact % 1)) < 1e-6
                assert (weight[place] == 0) == (exact % 1 == 0)


@given(layers())
def test_maps_of_the_same_size_stay_as_they_are(maps):
    assert (upsample(maps, *maps.shape[2:]) == maps).all()


# Tallies


@settings(max_examples=60, deadline=None)
@given(st.data(), concept_sets(), st.sampled_from(QUANTILES), st.sampled_from([1, 60, 2**24]))
def test_tallies_agree_with_the_slow_reference(data, concepts, quantile, values):
    maps = data.draw(layers(images=len(concepts.pictures)))
    with tempfile.TemporaryDirectory() as name, in_memory(values):
        folder = Path(name)
        prepare(folder, concepts, maps, float(quantile))
        found = tally(folder)
        name_units(folder / "tally.h5", folder / "concepts.h5", folder / "units.csv")
        with open(folder / "units.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    cuts = [reference.threshold(maps[:, unit].ravel().tolist(), quantile) for unit in range(maps.shape[1])]
    intersection, unit_area = reference.tally(maps, cuts, concepts)
    numbers = sorted(concepts.labels)
    for unit in range(maps.shape[1]):
        assert found["intersection"][unit].tolist() == [intersection[unit, number] for number in numbers]
        assert found["unit_area"][unit].tolist() == [unit_area[unit, name] for name in concepts.categories]
    areas = {number: reference.area(concepts, number, concepts.categories) for number in numbers}
    assert found["label_area"].tolist() == list(areas.values())
    assert found["threshold"].tolist() == cuts
    check_names(rows, concepts, intersection, unit_area, areas)


def check_names(rows, concepts, intersection, unit_area, areas):
    """units.csv says what the reference's counts give."""
    primary = {label: reference.primary_category(concepts, label) for label in concepts.labels}
    assert [int(row["unit"]) for row in rows] == sorted({unit for unit, _ in intersection})
    for unit, row in enumerate(rows):
        scores = {
            label: reference.iou(intersection[unit, label], unit_area[unit, primary[label]], areas[label])
            for label in concepts.labels
            if areas[label]
        }
        best = reference.best_label(scores)
        expected = ("", "", "0.0")
        if best is not None:
            expected = (primary[best], concepts.labels[best][0], repr(float(scores[best])))
        assert (row["category"], row["label"], row["score"]) == expected
        for category in concepts.categories:
            within = {label: score for label, score in scores.items() if primary[label] == category}
            label = reference.best_label(within)
            expected = ["", "0", "0", "0", "0.0"]
            if label is not None:
                counts = (areas[label], unit_area[unit, category], intersection[unit, label])
                expected = [concepts.labels[label][0], *map(str, counts), repr(float(scores[label]))]
            columns = ("label", "truth", "activation", "intersect", "iou")
            assert [row[f"{category}-{column}"] for column in columns] == expected


def test_half_precision_maps_are_tallied_in_single_precision(tmp_path):
    maps = np.random.default_rng(3).normal(size=(6, 5, 3, 3)).astype(np.float16)
    found = []
    for dtype in (np.float16, np.float32):
        folder = tmp_path / dtype.__name__
        prepare(folder, small_set(), maps.astype(dtype))
        found.append(tally(folder))
    assert found[0]["unit_area"].any()
    assert all((found[0][name] == found[1][name]).all() for name in found[0])


def test_a_unit_with_threshold_0_and_no_activity_has_an_empty_mask(tmp_path):
    maps = np.zeros((6, 2, 3, 3), np.float32)
    maps[0, 1, 0, 0] = 1  # alive, though its threshold is 0 too
    prepare(tmp_path, small_set(), maps)
    found = tally(tmp_path)
    assert found["threshold"].tolist() == [0, 0]
    assert not found["unit_area"][0].any() and not found["intersection"][0].any()
    assert found["unit_area"][1, 0] > 0


def test_each_layer_has_counts_of_its_own(tmp_path):
    random = np.random.default_rng(4)
    maps = {"stages.1": random.normal(size=(6, 3, 5, 5)), "stages.3": random.normal(size=(6, 4, 2, 3))}
    maps = {layer: values.astype(np.float32) for layer, values in maps.items()}
    alone = {}
    for layer, values in maps.items():
        prepare(tmp_path / layer, small_set(), values)
        alone[layer] = tally(tmp_path / layer)["intersection"] if layer == LAYER else None
    folder = tmp_path / LAYER
    write_dump(folder / "activations.h5", maps, concepts_fingerprint(folder / "concepts.h5"))
    find_thresholds(folder / "activations.h5", 0.25, folder / "thresholds.h5")
    together = tally(folder)
    assert (together["intersection"] == alone[LAYER]).all()
    assert len(read_layer(folder / "tally.h5", "stages.1")["intersection"]) == 3


def test_shuffling_pairs_every_image_with_the_labels_of_one(tmp_path):
    concepts = small_set()
    maps = np.random.default_rng(5).normal(size=(6, 3, 3, 3)).astype(np.float32)
    prepare(tmp_path, concepts, maps)
    straight, shuffled = tally(tmp_path), tally(tmp_path, "shuffled.h5", shuffle_labels=11)
    order = np.random.default_rng(11).permutation(6)
    assert sorted(order) == list(range(6)) and (order != range(6)).any()
    assert (straight["label_area"] == shuffled["label_area"]).all()
    assert (straight["intersection"] != shuffled["intersection"]).any()
    concepts.pictures = [concepts.pictures[place] for place in order]
    intersection, unit_area = reference.tally(maps, straight["threshold"].tolist(), concepts)
    assert shuffled["intersection"].ravel().tolist() == list(intersection.values())
    assert shuffled["unit_area"].ravel().tolist() == list(unit_area.values())


def test_same_inputs_same_bytes(tmp_path):
    prepare(tmp_path, small_set(), np.random.default_rng(6).normal(size=(6, 3, 3, 3)).astype(np.float32))
    find_thresholds(tmp_path / "activations.h5", 0.25, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "thresholds.h5").read_bytes()
    tally(tmp_path, "first.h5"), tally(tmp_path, "second.h5")
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


# Names


def test_iou_uses_the_unit_area_of_the_labels_category_and_0_for_an_empty_union():
    intersection = np.array([[2, 0, 3], [0, 0, 0]])
    unit_area = np.array([[10, 3], [0, 0]])
    found = iou(intersection, unit_area, np.array([4, 0, 3]), np.array([0, 1, 1]))
    assert found.tolist() == [[2 / 12, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_ties_go_to_the_lowest_label_number_over_categories_too(tmp_path):
    plane = np.zeros((2, 2), int)
    plane[0] = 8
    labels = {8: ("eight", ["object"]), 3: ("three", ["part"]), 5: ("five", ["part"])}
    concepts = reference.Concepts(["object", "part"], labels, 2, 2)
    parts = [np.where(plane, 5, 0), np.where(plane, 3, 0)]
    pixels = np.zeros((4, 4, 3), np.uint8)
    concepts.pictures = [reference.Picture(pixels, {"object": [plane], "part": parts})]
    prepare(tmp_path, concepts, np.array([[[[1, 1], [0, 0]]]], np.float32), 0.5)
    assert tally(tmp_path)["intersection"].tolist() == [[2, 2, 2]]
    name_units(tmp_path / "tally.h5", tmp_path / "concepts.h5", tmp_path / "units.csv")
    header, row = (tmp_path / "units.csv").read_text().splitlines()
    assert header == (
        "layer,unit,category,label,score,threshold,maximum,minimum,"
        "object-label,object-truth,object-activation,object-intersect,object-iou,"
        "part-label,part-truth,part-activation,part-intersect,part-iou"
    )
    assert row == "stages.3,0,part,three,1.0,0.0,1.0,0.0,eight,2,2,2,1.0,three,2,2,2,1.0"


# Inputs that do not belong together


@pytest.fixture
def prepared(tmp_path):
    prepare(tmp_path, small_set(), np.random.default_rng(7).normal(size=(6, 2, 3, 3)).astype(np.float32))
    tally(tmp_path)
    return tmp_path


def set_attribute(name, attribute, value):
    def change(folder):
        with h5py.File(folder / name, "r+") as file:
            file.attrs[attribute] = value

    return change


def too_few_images(folder):
    write_dump(
        folder / "activations.h5",
        {LAYER: np.zeros((5, 2, 3, 3), np.float32)},
        concepts_fingerprint(folder / "concepts.h5"),
    )


def cut_off(folder):
    contents = (folder / "activations.h5").read_bytes()
    (folder / "activations.h5").write_bytes(contents[: len(contents) // 2])


def wrong_file(folder):
    (folder / "concepts.h5").write_bytes((folder / "activations.h5").read_bytes())


CHANGES = {
    "thresholds of another dump": (set_attribute("thresholds.h5", "activations", "x"), ["thresholds.h5"]),
    "dump of other concepts": (set_attribute("activations.h5", "concepts", "x"), ["activations.h5"]),
    "other concepts": (set_attribute("concepts.h5", "fingerprint", "x"), ["concepts.h5"]),
    "another format": (set_attribute("thresholds.h5", "format", 2), ["thresholds.h5", "format"]),
    "another number of images": (too_few_images, ["activations.h5", LAYER, "5 images"]),
    "a dump cut off": (cut_off, ["activations.h5", "whole"]),
    "no dump": (lambda folder: (folder / "activations.h5").unlink(), ["activations.h5", "missing"]),
    "a dump for concepts": (wrong_file, ["concepts.h5", "label_number"]),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_tally_refuses_what_does_not_belong_together(prepared, case):
    change, words = CHANGES[case]
    change(prepared)
    with pytest.raises(UserError) as error:
        tally(prepared, "out.h5")
    assert all(word in str(error.value) for word in words)
    assert not list(prepared.glob("out.h5*"))


def test_names_refuse_other_concepts(prepared):
    set_attribute("concepts.h5", "fingerprint", "x")(prepared)
    with pytest.raises(UserError, match=r"tally\.h5"):
        name_units(prepared / "tally.h5", prepared / "concepts.h5", prepared / "units.csv")
    assert not list(prepared.glob("units.csv*"))
