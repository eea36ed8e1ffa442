"""Thresholds, tallies and names agree exactly with the slow reference, and wrong inputs are refused."""

import csv
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.concept_files import image_labels
from benchmarks.synthetic import UNIT_KINDS, unit_maps
from workflow_scripts.data.hdf5 import FORMAT, create_hdf5
from workflow_scripts.data.label_masks import pack_masks
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect import find_thresholds as thresholds_module
from workflow_scripts.dissect import maps as maps_module
from workflow_scripts.dissect import tallied_layers as tally_module
from workflow_scripts.dissect import tensor_samples, tensor_tallies, tensors
from workflow_scripts.dissect.concept_data import ConceptData, LabelBlock
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.interpolation import LARGEST_WEIGHT, Field, Grid, grid, grid_at, interpolate
from workflow_scripts.dissect.map_writers import Candidates
from workflow_scripts.dissect.maps import CandidateWriter, LayerMaps, whole_block
from workflow_scripts.dissect.name_units import iou, name_units
from workflow_scripts.dissect.order_statistics import Counts, LargestSamples, order_statistic_rank
from workflow_scripts.dissect.tallies import Labels, Pairing, Tally, TallySettings, own_labels, tally_layer
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.plan.protocols import BORDERS, COUNTED_IMAGES, MASKS, PLANES, SCHEMES
from workflow_scripts.shared.files import UserError

LAYER = "stages.3"
QUANTILES = ["0.02", "0.1", "0.25", "0.3", "0.45"]
DEVICES = [None, "cpu", *(["cuda"] if torch.cuda.is_available() else [])]  # compiled kernels; code for GPUs
thorough = settings(max_examples=40, deadline=None)  # the kernels compile in the first example
sides = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)
memories = st.sampled_from([1, 60, 2**24])
dtypes = st.sampled_from([np.float16, np.float32])
kinds = st.sampled_from(UNIT_KINDS)


@st.composite
def layers(draw, images=None):
    """Maps (N, U, h, w) of one layer; each unit has its own kind."""
    random = np.random.default_rng(draw(seeds))
    shape = (images or draw(st.integers(1, 5)), draw(sides), draw(sides))
    dtype = draw(dtypes)
    units = draw(st.lists(kinds, min_size=1, max_size=4))
    return np.stack([unit_maps(kind, shape, random, dtype) for kind in units], axis=1)


# Height and width of label maps: smaller, equal or larger than the maps; and rows of several words, the last partial.
narrow = st.tuples(st.integers(1, 7), st.integers(1, 7))
wide = st.tuples(st.integers(1, 3), st.sampled_from([63, 64, 65, 127, 128, 129, 140]))


@st.composite
def concept_sets(draw):
    """Sets with labels in several categories, several planes, whole-image labels and images without any."""
    random = np.random.default_rng(draw(seeds))
    height, width = draw(st.one_of(narrow, narrow, wide))
    few = width < 10
    categories = ["color", "object", "part", "scene"][: draw(st.integers(1, 4))]
    numbers = draw(st.lists(st.integers(1, 600), min_size=1, max_size=7 if few else 3, unique=True))
    labels = {
        number: (f"label {number}", list(random.permutation(categories)[: random.integers(1, 3)])) for number in numbers
    }
    concepts = reference.Concepts(categories, labels, height, width)
    density = draw(st.sampled_from([0.0, 0.2, 0.9]))
    for _ in range(draw(st.integers(1, 4 if few else 2))):
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
    items = [item for picture in concepts.pictures for cell in picture.cells.values() for item in cell]
    assume(any(np.any(item) for item in items))
    return concepts


def draw_quantile(data, maps: np.ndarray, largest: float = 1.0) -> str:
    """A quantile of at least one of a unit's samples, as thresholds need it."""
    enough = [q for q in QUANTILES if Fraction(q) * maps[:, 0].size >= 1 and float(q) <= largest]
    assume(enough)
    return data.draw(st.sampled_from(enough))


@st.composite
def splits(draw, images):
    """Runs of consecutive images, (first, last), in any order."""
    cuts = draw(st.sets(st.integers(1, images - 1))) if images > 1 else set()
    return draw(st.permutations(list(pairwise([0, *sorted(cuts), images]))))


@contextmanager
def patched(**values: dict[str, object]):
    """Set attributes of modules temporarily; each argument is a module's name with its attributes and values."""
    modules = {
        "maps": maps_module,
        "tensors": tensors,
        "tensor_samples": tensor_samples,
        "tensor_tallies": tensor_tallies,
        "thresholds": thresholds_module,
        "tally": tally_module,
    }
    with pytest.MonkeyPatch.context() as patch:
        for module, attributes in values.items():
            for name, value in attributes.items():
                patch.setattr(modules[module], name, value)
        yield


def in_memory(values: int):
    """Limit both streaming steps to `values` values at a time."""
    return patched(maps={"VALUES_IN_MEMORY": values})


def counting_on(device: str | None):
    """Make thresholds and tallies count on a torch device or, without one, with the compiled kernels."""
    return patched(thresholds={"lease_gpu": lambda: device}, tally={"lease_gpu": lambda: device})


def write_dump(path: Path, layers: dict[str, np.ndarray], concepts: str = "the concepts") -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(format=FORMAT, fingerprint="the dump", concepts=concepts)
        for layer, maps in layers.items():
            file[f"maps/{layer}"] = maps


def concepts_fingerprint(path: Path) -> str:
    with h5py.File(path) as file:
        return file.attrs["fingerprint"]


def prepare(folder: Path, concepts: reference.Concepts, maps: np.ndarray, quantile: float = 0.25) -> None:
    """Write everything that a tally needs into `folder`: concepts.h5, activations.h5 and thresholds.h5."""
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
    """A fixed set in which every image has labels, with a different number of labelled pixels."""
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


@thorough
@given(st.data(), layers(), memories, st.sampled_from(DEVICES))
def test_thresholds_agree_with_sorting(data, maps, values, device):
    quantile = draw_quantile(data, maps)
    with tempfile.TemporaryDirectory() as folder, in_memory(values), counting_on(device):
        write_dump(Path(folder, "a.h5"), {LAYER: maps})
        find_thresholds(Path(folder, "a.h5"), float(quantile), Path(folder, "t.h5"))
        found = read_layer(Path(folder, "t.h5"))
    for unit in range(maps.shape[1]):
        samples = maps[:, unit].ravel()
        assert found["threshold"][unit] == reference.threshold(samples.tolist(), quantile)
        assert (found["maximum"][unit], found["minimum"][unit]) == (samples.max(), samples.min())
        assert (samples > found["threshold"][unit]).sum() <= Fraction(quantile) * samples.size
    for values in found.values():
        assert values.dtype == np.float32
        assert not np.signbit(values[values == 0]).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_thresholds_of_upsampled_maps_agree_with_sorting(tmp_path, dtype, device):
    maps = np.random.default_rng(8).normal(size=(6, 3, 3, 2)).astype(dtype)
    with counting_on(device):
        prepare(tmp_path, small_set(), maps)
        find_thresholds(
            tmp_path / "activations.h5", 0.1, tmp_path / "u.h5", "align_corners_false", tmp_path / "concepts.h5"
        )
    found = read_layer(tmp_path / "u.h5")
    for unit in range(3):
        samples = np.concatenate([reference.interpolated(maps[image, unit], 5, 4).ravel() for image in range(6)])
        assert found["threshold"][unit] == reference.threshold(samples.tolist(), "0.1")
        assert (found["maximum"][unit], found["minimum"][unit]) == (maps[:, unit].max(), maps[:, unit].min())


def count_part(maps: np.ndarray, like: LargestSamples, to: Grid | None, always_raise: bool) -> Counts:
    """The counts that maps (N, U, h, w) add to a `LargestSamples`, image by image; floors may rise after each."""
    largest = LargestSamples(like.rank, like.half, like.upper)
    add_images(largest, maps, to, always_raise)
    return largest.counts()


def add_images(largest: Any, maps: np.ndarray, to: Grid | None, always_raise: bool) -> None:
    """Count maps (N, U, h, w), image by image; floors may rise after each."""
    if always_raise:
        largest.next_raise = 0
    for image in maps:
        block = whole_block(image[None])
        values: Any = block.values
        unit: Any = block.unit
        if isinstance(largest, tensor_samples.LargestSamples):
            values, unit = torch.from_numpy(values).to(largest.device), torch.from_numpy(unit).long().to(largest.device)
        largest.add(LAYER, values, unit, maps.shape[3], to)
        if always_raise:
            largest.next_raise = 0


def order_statistics(
    maps: np.ndarray, rank: np.ndarray, to: Grid | None = None, split=None, device=None, always_raise=False, run=map
) -> np.ndarray:
    """The order statistics and extremes of maps (N, U, h, w), counted in the parts of `split`: (3, U)."""
    kind = {"device": device} if device else {}
    largest: Any
    largest = extremes = (tensor_samples.LargestSamples if device else LargestSamples)(
        rank, half=maps.dtype == np.float16 and to is None, **kind
    )
    parts = [maps[first:last] for first, last in split or [(0, len(maps))]]
    for again in range(1 if largest.half else 2):
        if again:
            largest = largest.second_pass()
        if device:
            for part in parts:
                add_images(largest, part, to, always_raise)
        else:
            for counts in run(lambda part, like=largest: count_part(part, like, to, always_raise), parts):
                largest.merge(counts)
        largest.raise_floors()
        assert (largest.lower_bound <= largest.threshold).all()
    return np.stack([largest.threshold, extremes.minimum, extremes.maximum])


def samples_of(maps: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The samples (U, n) of maps (N, U, h, w), interpolated to `size` if it is given."""
    if size:
        maps = np.array([[reference.interpolated(values, *size) for values in image] for image in maps])
    return maps.swapaxes(0, 1).reshape(maps.shape[1], -1)


@settings(max_examples=80, deadline=None)
@given(st.data(), layers(), st.one_of(st.none(), narrow))
def test_order_statistics_agree_with_sorting_however_samples_are_counted(data, maps, size):
    to = size and grid(maps.shape[2:], size, "align_corners_false")
    samples = samples_of(maps, size)
    rank = np.array([data.draw(st.integers(1, samples.shape[1])) for _ in samples])
    statistics = -np.sort(-samples)[np.arange(len(rank)), rank - 1]
    expected = np.stack([statistics, maps.min((0, 2, 3)), maps.max((0, 2, 3))]).tolist()
    split = data.draw(splits(len(maps)))
    with ThreadPoolExecutor(2) as pool:
        ways = {
            "at once": {},
            "in parts": {"split": split},
            "with floors always rising": {"always_raise": True},
            "in parts with floors always rising": {"split": split, "always_raise": True},
            "in threads": {"split": split, "always_raise": True, "run": pool.map},
            "by torch": {"device": "cpu"},
            "by torch in parts with floors always rising": {"split": split, "always_raise": True, "device": "cpu"},
        }
        for way, options in ways.items():
            assert order_statistics(maps, rank, to, **options).tolist() == expected, way
    with patched(tensor_samples={"SAMPLES_AT_ONCE": 1, "UNITS_AT_ONCE": 1}):
        assert order_statistics(maps, rank, to, device="cpu").tolist() == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("first", [1.0, -1.01, 0.0, -0.0, 2.0**-140, -(2.0**-140)])
@pytest.mark.parametrize("side", [1, 7])
def test_single_precision_numbers_with_the_same_upper_bits_are_told_apart(first, side, device):
    """Rising neighbouring numbers: each new one is the largest, but still in the bin of the floor."""
    maps = np.full(20 * side * side, first, np.float32)
    for place in range(1, len(maps)):
        maps[place] = np.nextafter(maps[place - 1], np.float32(np.inf))
    maps = maps.reshape(20, 1, side, side)
    for rank in (1, 3, 20):
        statistic = np.sort(maps.ravel())[-rank]
        found = order_statistics(maps, np.array([rank]), device=device, always_raise=True)
        assert found[:, 0].tolist() == [statistic, maps.min(), maps.max()]


@given(st.data(), layers())
@settings(deadline=None)
def test_lower_bounds_hold_whatever_comes_later(data, maps):
    samples = samples_of(maps, None)
    rank = np.array([data.draw(st.integers(1, samples.shape[1])) for _ in samples])
    expected = -np.sort(-samples)[np.arange(len(rank)), rank - 1]
    largest = LargestSamples(rank, maps.dtype == np.float16)
    bound = largest.lower_bound
    assert (bound == -np.inf).all()
    for image in maps:
        block = whole_block(image[None])
        largest.next_raise = 0
        largest.add(LAYER, block.values, block.unit, maps.shape[3], None)
        assert (largest.lower_bound >= bound).all()
        bound = largest.lower_bound
        assert (bound <= expected).all()
    assert not largest.half or bound.tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("size", [None, (9, 70)])
def test_two_threads_count_at_once(dtype, size):
    maps = np.random.default_rng(9).normal(size=(60, 8, 6, 7)).astype(dtype)
    to = size and grid((6, 7), size, "align_corners_false")
    rank = np.arange(1, 9) ** 3
    with ThreadPoolExecutor(2) as pool:
        together = order_statistics(maps, rank, to, [(0, 30), (30, 60)], run=pool.map)
    alone = order_statistics(maps, rank, to)
    assert together.tolist() == alone.tolist()
    if not size:
        assert alone[0].tolist() == (-np.sort(-samples_of(maps, None)))[np.arange(8), rank - 1].tolist()


@pytest.mark.parametrize(
    ("quantile", "samples", "rank"),
    [(0.005, 1000, 6), (0.005, 200, 2), (0.005, 199, 1), (0.29, 100, 30), (0.07, 100, 8), (0.495, 1, 1)],
)
def test_rank_is_exact(quantile, samples, rank):
    assert order_statistic_rank(quantile, samples) == rank


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.995, 1.0, -0.1, 5.0, float("nan")])
def test_a_quantile_outside_0_to_0_5_is_refused(quantile, tmp_path):
    write_dump(tmp_path / "a.h5", {LAYER: np.zeros((1, 1, 2, 2), np.float32)})
    with pytest.raises(UserError, match=r"quantile .* not lie between 0 and 0\.5: it is the share of values above"):
        find_thresholds(tmp_path / "a.h5", quantile, tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_share_of_less_than_one_value_is_refused(tmp_path):
    """The unit is the redness of red and blue pictures: none of 199 equal values exceeds the largest."""
    redness = np.resize([0, 1], (200, 1, 1, 1)).astype(np.float16)
    write_dump(tmp_path / "a.h5", {LAYER: redness[:199]})
    with pytest.raises(UserError, match=r"^layer stages\.3 has 199 values for each unit, .* to at least 1 / 199, use"):
        find_thresholds(tmp_path / "a.h5", 0.005, tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    write_dump(tmp_path / "a.h5", {LAYER: redness})
    find_thresholds(tmp_path / "a.h5", 0.005, tmp_path / "t.h5")
    assert read_layer(tmp_path / "t.h5")["threshold"].tolist() == [1]


def test_the_values_of_upsampled_maps_are_counted_at_the_size_of_label_maps(tmp_path):
    """6 images of 1 x 1 have 6 values, but 120 at the size of label maps of 5 x 4."""
    prepare(tmp_path, small_set(), np.zeros((6, 1, 1, 1), np.float32))
    paths = {"activations": tmp_path / "activations.h5", "out": tmp_path / "u.h5", "concepts": tmp_path / "concepts.h5"}
    find_thresholds(quantile=0.01, upsampled="align_corners_false", **paths)
    with pytest.raises(UserError, match="has 120 values"):
        find_thresholds(quantile=0.008, upsampled="align_corners_false", **paths)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("values", [1, 2**24])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("device", DEVICES)
def test_maps_that_are_not_finite_are_refused_by_layer_and_unit(value, values, dtype, device, tmp_path):
    maps = np.zeros((4, 3, 2, 2), dtype)
    maps[2, 1, 0, 1] = value
    write_dump(tmp_path / "a.h5", {"stages.1": np.zeros_like(maps), LAYER: maps})
    with in_memory(values), counting_on(device), pytest.raises(UserError, match=r"layer stages\.3 of .*a\.h5, unit 1:"):
        find_thresholds(tmp_path / "a.h5", 0.25, tmp_path / "t.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@given(layers(), st.sampled_from([np.nan, np.inf, -np.inf]), st.booleans(), st.sampled_from(DEVICES), seeds)
@settings(deadline=None)
def test_values_that_are_not_finite_are_found_anywhere(maps, value, interpolated, device, seed):
    random = np.random.default_rng(seed)
    place = tuple(random.integers(maps.shape))
    maps[place] = value
    to = grid(maps.shape[2:], (3, 4), "align_corners_false") if interpolated else None
    rank = np.ones(maps.shape[1], np.int64)
    with pytest.raises(UserError, match=rf"layer stages\.3, unit {place[1]}:"):
        order_statistics(maps, rank, to, device=device, always_raise=True)


# Interpolation


def by_torch(maps: np.ndarray, to: Grid) -> np.ndarray:
    return tensors.interpolate(torch.from_numpy(maps), to).numpy()


@thorough
@given(layers(), st.one_of(narrow, narrow, wide))
def test_interpolation_agrees_to_the_bit_and_stays_within_its_map(maps, size):
    to = grid(maps.shape[2:], size, "align_corners_false")
    for image in maps:
        result = by_torch(image, to)
        assert result.dtype == np.float32 and result.shape == (len(image), *size)
        for values, found in zip(image, result, strict=True):
            assert found.tobytes() == reference.interpolated(values, *size).tobytes()
            assert values.min() <= found.min() and found.max() <= values.max()


@thorough
@given(layers(images=1), st.one_of(narrow, st.tuples(st.just(1), st.integers(60, 70))))
def test_compiled_interpolation_has_the_same_samples_to_the_bit(maps, size):
    values = maps[0, 0]
    expected = -np.sort(-reference.interpolated(values, *size).ravel())
    # All units have the same map, and each has its own rank.
    copies = np.repeat(values[None, None], expected.size, axis=1)
    found = order_statistics(copies, np.arange(expected.size) + 1, grid(values.shape, size, "align_corners_false"))
    assert (found[0] + np.float32(0)).tobytes() == (expected + np.float32(0)).tobytes()


class WrittenLabels:
    """Labels made up by a test, instead of a concept set's: masks bool (N, L, H, W); label l is mask l."""

    path = "made up"

    def __init__(self, carried: np.ndarray):
        images, self.labels, self.height, self.width = carried.shape
        packed = pack_masks(carried)
        self.masks = packed.reshape(images, self.labels, -1)
        self.row_bytes = 8 * packed.shape[-1]
        self.label_number = np.arange(self.labels)
        self.image_has_category = np.ones((images, 1), bool)

    def mask_count(self, each_plane: bool) -> int:
        return len(self.masks) * self.labels

    def block(self, images: np.ndarray, with_category: bool, each_plane: bool = False) -> LabelBlock:
        count = len(images)
        return LabelBlock(
            self.masks[images].reshape(count * self.labels, -1),
            np.tile(np.arange(self.labels, dtype=np.int32), count),
            np.arange(count + 1) * self.labels,
            np.zeros(0, np.int32),
            np.zeros(count + 1, np.int64),
            self.image_has_category[images],
        )


def count_with(maps: np.ndarray, labels: WrittenLabels, cut: np.ndarray, to: Grid, device: str | None) -> Tally:
    """The tally of maps (N, U, h, w) with made-up labels."""
    settings = TallySettings(cut, to, np.zeros(labels.labels, np.uint8), 1, False)
    with tempfile.TemporaryDirectory() as folder:
        write_dump(Path(folder, "a.h5"), {LAYER: maps})
        with h5py.File(Path(folder, "a.h5")) as dump:
            return tally_on(device, LayerMaps(dump, LAYER), labels, settings, own_labels(len(maps)))


def tally_on(
    device: str | None, maps: LayerMaps, labels, settings: TallySettings, pairing: Pairing, threads: int = 1,
    with_category: bool = True, each_plane: bool = False,
) -> Tally:  # fmt: skip
    """A layer's tally, from a torch device or from the compiled kernels."""
    if device is None:
        return tally_layer(maps, Labels(labels, with_category, each_plane), settings, pairing, threads)
    on_device = tensor_tallies.Labels(labels, with_category, each_plane, device, threads)
    return tensor_tallies.tally_layer(maps, on_device, settings, pairing, threads)


def masks_of(values: np.ndarray, cut: np.ndarray, size: tuple[int, int], to: Grid, device: str | None) -> np.ndarray:
    """Where an interpolated map (h, w) exceeds each of `cut` (K): bool (K, H, W), found with one label per pixel."""
    pixels = size[0] * size[1]
    labels = WrittenLabels(np.eye(pixels, dtype=bool).reshape(1, pixels, *size))
    tally = count_with(np.repeat(values[None, None], len(cut), axis=1), labels, cut, to, device)
    assert tally.unit_area[0, :, 0].tolist() == tally.intersection[0].sum(0).tolist()
    return tally.intersection[0].T.astype(bool).reshape(len(cut), *size)


@thorough
@given(layers(images=1), st.one_of(narrow, narrow, wide), st.sampled_from(DEVICES))
def test_masks_are_where_the_interpolated_map_exceeds_the_cut(maps, size, device):
    values = maps[0, 0]
    expected = reference.interpolated(values, *size)
    cut = np.unique(expected)[:: max(1, expected.size // 60)]
    cut = np.concatenate([cut, np.nextafter(cut, np.float32(-np.inf)), [-np.inf]]).astype(np.float32)
    found = masks_of(values, cut, size, grid(values.shape, size, "align_corners_false"), device)
    assert (found == (expected > cut[:, None, None])).all()


fields = st.builds(Field, st.integers(-40, 40), st.integers(1, 40), st.integers(4, 60))


@thorough
@given(layers(images=1), narrow, st.sampled_from(SCHEMES), st.tuples(fields, fields))
def test_compiled_and_torch_masks_agree_wherever_knots_lie(maps, size, scheme, fields):
    values = maps[0, 0]
    to = grid(values.shape, size, scheme, fields)
    interpolated = by_torch(values[None], to)[0]
    assert values.min() <= interpolated.min() and interpolated.max() <= values.max()
    cut = np.unique(interpolated)
    for device in DEVICES:
        assert (masks_of(values, cut, size, to, device) == (interpolated > cut[:, None, None])).all()


@given(st.integers(1, 30), st.integers(1, 200), st.sampled_from(SCHEMES), fields)
def test_a_grid_says_which_positions_each_knot_affects(size, new_size, scheme, field):
    to = grid((1, size), (1, new_size), scheme, (Field(0, 1, 1), field))
    assert to.columns.max() < size
    assert (to.column_weight >= 0).all() and (to.column_weight <= LARGEST_WEIGHT).all()
    for place in range(size):
        positions = np.flatnonzero((to.columns == place).any(0))
        first, last = to.column_reach[:, place].astype(int)
        assert list(positions) == ([] if first >= last else [x for x in range(first, last) if x in positions])
        assert positions.size == 0 or (positions[0], positions[-1] + 1) == (first, last)


@given(
    st.integers(1, 30),
    st.integers(1, 400),
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=30, max_size=30),
)
def test_no_interpolated_value_leaves_the_range_of_its_map(size, new_size, values):
    row = np.array(values[:size], np.float32)[None, None]
    result = by_torch(row, grid((1, size), (1, new_size), "align_corners_false"))
    assert row.min() <= result.min() and result.max() <= row.max()


def test_positions_on_a_knot_are_exact():
    for size in range(1, 30):
        for new_size in range(1, 120):
            to = grid((1, size), (1, new_size), "align_corners_false")
            for place, first, weight in zip(range(new_size), to.columns[0], to.column_weight, strict=True):
                exact = Fraction(2 * place + 1, 2) * size / new_size - Fraction(1, 2)
                exact = min(max(exact, Fraction(0)), Fraction(size - 1))
                assert first == exact // 1
                assert abs(weight - float(exact % 1)) < 1e-6
                assert (weight == 0) == (exact % 1 == 0)


@given(layers(), st.sampled_from(["align_corners_false", "align_corners_true"]))
def test_maps_of_the_same_size_stay_as_they_are(maps, scheme):
    size = maps.shape[2:]
    assert all((by_torch(image, grid(size, size, scheme)) == image).all() for image in maps)


# Tallies


@thorough
@given(st.data(), concept_sets(), memories)
def test_tallies_agree_with_the_slow_reference_however_they_are_made(data, concepts, values):
    maps = data.draw(layers(images=len(concepts.pictures)))
    quantile = draw_quantile(data, maps)
    cuts = [reference.threshold(maps[:, unit].ravel().tolist(), quantile) for unit in range(maps.shape[1])]
    intersection, unit_area = reference.tally(maps, cuts, concepts)
    areas = {number: reference.area(concepts, number, concepts.categories) for number in sorted(concepts.labels)}
    with tempfile.TemporaryDirectory() as name, in_memory(values):
        folder = Path(name)
        prepare(folder, concepts, maps, float(quantile))
        found = tally(folder)
        name_units(folder / "tally.h5", folder / "concepts.h5", CUT, "above", folder / "units.csv")
        with open(folder / "units.csv", newline="") as file:
            check_names(list(csv.DictReader(file)), concepts, intersection, unit_area, areas)
        others = {"in threads": tally(folder, threads=data.draw(st.integers(2, 5)))}
        with counting_on("cpu"):
            others["by torch"] = tally(folder)
            small = {"PIXELS_AT_ONCE": 1, "EXACT_IN_HALF": 8, "TILE": 2}
            with patched(tensors={"VALUES_AT_ONCE": 1}, tensor_tallies=small):
                others["by torch in small pieces"] = tally(folder, threads=2)
    assert found["label_area"].tolist() == list(areas.values())
    assert found["threshold"].tolist() == cuts
    for way, counts in {"at once": found, **others}.items():
        for unit in range(maps.shape[1]):
            assert counts["intersection"][unit].tolist() == [intersection[unit, number] for number in areas], way
            assert counts["unit_area"][unit].tolist() == [unit_area[unit, name] for name in concepts.categories], way


@thorough
@given(
    st.data(),
    concept_sets(),
    st.sampled_from(SCHEMES),
    st.sampled_from(MASKS),
    st.sampled_from(COUNTED_IMAGES),
    st.sampled_from(BORDERS),
    st.sampled_from(PLANES),
    st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 9)), min_size=2, max_size=2),
)
def test_kernels_and_torch_write_the_same_file_whatever_is_chosen(
    data, concepts, knots, mask, counted_images, border, planes, fields
):
    maps = data.draw(layers(images=len(concepts.pictures)))
    quantile = draw_quantile(data, maps)
    options = {
        "knots": knots,
        "mask": mask,
        "counted_images": counted_images,
        "border": border,
        "planes": planes,
        "receptive_fields": {"picture": 16, "layers": {LAYER: fields}},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, concepts, maps, float(quantile))
        tally(folder, "kernels.h5", **options)
        with counting_on("cpu"):
            tally(folder, "torch.h5", **options)
        assert (folder / "kernels.h5").read_bytes() == (folder / "torch.h5").read_bytes()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_counts_of_many_pixels_are_exact(dtype, device):
    """There are more pixels than half precision can count, in rows of two words, and more maps than fit one block."""
    random = np.random.default_rng(10)
    images, units, labels, size = 12, 6, 5, (97, 113)
    maps = random.normal(size=(images, units, 7, 7)).astype(dtype)
    to = grid((7, 7), size, "align_corners_false")
    cut = np.linspace(-4, 1, units).astype(np.float32)  # the first masks cover nearly everything
    carried = random.random((images, labels, *size)) < np.linspace(0.3, 1, labels)[:, None, None]
    masked = np.array([by_torch(image, to) for image in maps]) > cut[:, None, None]
    expected = np.einsum("nup,nlp->lu", *(a.reshape(*a.shape[:2], -1).astype(float) for a in (masked, carried)))
    with patched(tensors={"VALUES_AT_ONCE": 5 * units * 49}, tensor_tallies={"PIXELS_AT_ONCE": 4 * 97 * 113}):
        tally = count_with(maps, WrittenLabels(carried), cut, to, device)
    assert tally.intersection[0].tolist() == expected.tolist()
    assert tally.unit_area[0, :, 0].tolist() == masked.sum((0, 2, 3)).tolist()
    assert expected.max() > 2 * 2048


CUT = 0.04


def check_names(rows, concepts, intersection, unit_area, areas):
    """Check that units.csv agrees with the reference's counts."""
    primary = {label: reference.primary_category(concepts, label) for label in concepts.labels}
    assert [int(row["unit"]) for row in rows] == sorted({unit for unit, _ in intersection})
    for unit, row in enumerate(rows):
        scores = {
            label: reference.iou(intersection[unit, label], unit_area[unit, primary[label]], areas[label])
            for label in concepts.labels
            if areas[label]
        }
        best = reference.best_label(scores)
        expected = ("", "", "0.0", "False")
        if best is not None and scores[best] > 0:
            detected = str(scores[best] > Fraction(CUT))
            expected = (primary[best], concepts.labels[best][0], repr(float(scores[best])), detected)
        assert (row["category"], row["label"], row["score"], row["detector"]) == expected
        for category in concepts.categories:
            within = {label: score for label, score in scores.items() if primary[label] == category}
            label = reference.best_label(within)
            expected = ["", "0", str(unit_area[unit, category]), "0", "0.0", "False"]
            if label is not None and scores[label] > 0:
                counts = (areas[label], unit_area[unit, category], intersection[unit, label])
                expected = [concepts.labels[label][0], *map(str, counts), repr(float(scores[label]))]
                expected.append(str(scores[label] > Fraction(CUT)))
            columns = ("label", "truth", "activation", "intersect", "iou", "detector")
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
    maps[0, 1, 0, 0] = 1  # live, although its threshold is also 0
    prepare(tmp_path, small_set(), maps)
    found = tally(tmp_path)
    assert found["threshold"].tolist() == [0, 0]
    assert not found["unit_area"][0].any() and not found["intersection"][0].any()
    assert found["unit_area"][1, 0] > 0


def test_each_layer_has_its_own_counts(tmp_path):
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


@pytest.mark.parametrize("upsampled", [None, "align_corners_true"])
def test_two_threads_write_the_same_bytes_as_one(tmp_path, upsampled):
    prepare(tmp_path, small_set(7), np.random.default_rng(6).normal(size=(7, 3, 3, 3)).astype(np.float16))
    for threads, name in ((1, "one"), (2, "two")):
        find_thresholds(
            tmp_path / "activations.h5", 0.1, tmp_path / f"{name}.thresholds.h5", upsampled, tmp_path / "concepts.h5",
            threads=threads,
        )  # fmt: skip
        if not upsampled:
            tally(tmp_path, f"{name}.tally.h5", shuffle_labels=3, threads=threads)
    for file in tmp_path.glob("one.*"):
        assert file.read_bytes() == file.with_name(file.name.replace("one", "two")).read_bytes()


def test_a_value_that_is_not_finite_is_also_refused_from_another_thread(tmp_path):
    maps = np.zeros((4, 2, 2, 2), np.float32)
    maps[3, 1, 0, 0] = np.nan
    write_dump(tmp_path / "a.h5", {LAYER: maps})
    with pytest.raises(UserError, match=r"layer stages\.3 of .*a\.h5, unit 1:"):
        find_thresholds(tmp_path / "a.h5", 0.25, tmp_path / "t.h5", threads=2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


# Dumps of candidates


def write_candidates(
    path: Path, maps: np.ndarray, concepts: str, quantile: float, mask: str, split: list[tuple[int, int]],
    device: str | None = None,
) -> None:  # fmt: skip
    """Dump candidates of maps (N, U, h, w), batch by batch, with bounds that rise after each batch."""
    with h5py.File(path, "w") as file, h5py.File(path.with_name("scratch"), "w") as scratch:
        writer = Candidates(file, scratch, LAYER, maps.shape, maps.dtype, quantile, mask, device)
        for first, last in sorted(split):
            writer.largest.next_raise = 0
            writer.add(torch.from_numpy(maps[first:last]).to(device or "cpu"))
        writer.finish()
        file.attrs.update(format=FORMAT, fingerprint="candidates", concepts=concepts)
        file.attrs.update(candidates_quantile=quantile, candidates_mask=mask)


@thorough
@given(
    st.data(), concept_sets(), st.sampled_from(QUANTILES[1:]), st.sampled_from(MASKS), memories,
    st.sampled_from(DEVICES),
)  # fmt: skip
def test_candidates_give_what_all_maps_give(data, concepts, largest, made_for, values, device):
    maps = data.draw(layers(images=len(concepts.pictures)))
    split = data.draw(splits(len(maps)))
    quantile = draw_quantile(data, maps, float(largest))
    mask = data.draw(st.sampled_from(MASKS[: 1 + MASKS.index(made_for)]))
    with tempfile.TemporaryDirectory() as name, in_memory(values), counting_on(device):
        folder = Path(name)
        prepare(folder, concepts, maps, float(quantile))
        expected = tally(folder, mask=mask)
        path = folder / "activations.h5"
        write_candidates(
            path, maps, concepts_fingerprint(folder / "concepts.h5"), float(largest), made_for, split, device
        )
        find_thresholds(path, float(quantile), folder / "thresholds.h5")
        found = tally(folder, mask=mask)
        with h5py.File(path) as dump:
            kept = LayerMaps(dump, LAYER)
            images = np.repeat(np.arange(kept.images), np.diff(kept.start))
            stored, units, bound = kept.values[:], kept.unit_rows.read(0, len(kept.values)), kept.bound
    assert all((found[name] == expected[name]).all() for name in expected)
    most = maps.max((2, 3)).astype(np.float32)
    wanted = most > bound if made_for == "above" else most >= bound
    assert np.argwhere(wanted).tolist() == np.stack([images, units], axis=1).tolist()
    assert stored.tobytes() == maps[images, units].tobytes()


def test_images_without_candidates_have_none(tmp_path):
    brightness = np.array([5, 0, 0, 4, 0, 6], np.float16)
    maps = np.random.default_rng(13).uniform(1, 2, (6, 2, 3, 3)).astype(np.float16) * brightness[:, None, None, None]
    write_candidates(tmp_path / "some.h5", maps, "the concepts", 0.1, "above", [(i, i + 1) for i in range(6)])
    with h5py.File(tmp_path / "some.h5") as dump:
        kept = LayerMaps(dump, LAYER)
        active = maps.max((2, 3)) > kept.bound
        assert np.diff(kept.start).tolist() == active.sum(1).tolist()
        assert (kept.values[:] == maps[active]).all()
    assert active[5].all() and not active[[1, 2, 4]].any()


def write_all_as_candidates(path, unit, images):
    """Write a dump in which each of the images has candidates of these units, with maps of one value."""
    with create_hdf5(path) as dump:
        writer = CandidateWriter(dump, LAYER, 1, 1, np.float16)
        for _ in range(images):
            writer.append(np.ones((len(unit), 1), np.float16), unit, np.array([len(unit)]))
        ends = np.ones(200, np.float32)
        writer.finish(0 * ends, ends, ends)


@pytest.mark.parametrize(
    ("unit", "words"),
    [([0, 5, 5], "does not rise within each image"), ([3, 2], "does not rise"), ([1, 200], "but there are 200 units")],
)
def test_candidates_of_wrong_units_are_refused(tmp_path, unit, words):
    write_all_as_candidates(tmp_path / "some.h5", np.array(unit, np.int32), 3)
    with h5py.File(tmp_path / "some.h5") as dump, pytest.raises(UserError, match=words):
        list(LayerMaps(dump, LAYER).blocks(0, 3))


def test_opening_candidates_takes_no_memory_for_each(tmp_path):
    write_all_as_candidates(tmp_path / "some.h5", np.arange(200, dtype=np.int32), 1000)
    with h5py.File(tmp_path / "some.h5") as dump:
        tracemalloc.start()
        LayerMaps(dump, LAYER)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200 * 1000


def test_candidates_are_refused_if_they_lack_maps(tmp_path):
    maps = np.random.default_rng(12).normal(size=(6, 3, 3, 3)).astype(np.float16)
    prepare(tmp_path, small_set(), maps)
    path, concepts = tmp_path / "activations.h5", tmp_path / "concepts.h5"
    write_candidates(path, maps, concepts_fingerprint(concepts), 0.1, "above", [(0, 6)])
    for arguments in ({"quantile": 0.2}, {"quantile": 0.1, "upsampled": "align_corners_false", "concepts": concepts}):
        with pytest.raises(UserError, match=r"activations\.h5 .* up to 0\.1: set dissection\.dump to all"):
            find_thresholds(path, out=tmp_path / "out.h5", **arguments)
    find_thresholds(path, 0.1, tmp_path / "thresholds.h5")
    with pytest.raises(UserError, match="at_least"):
        tally(tmp_path, "out.h5", mask="at_least")
    tally(tmp_path)
    assert not list(tmp_path.glob("out*"))


# Names


def test_iou_uses_the_unit_area_of_the_labels_category_and_0_for_an_empty_union():
    intersection = np.array([[2, 0, 3], [0, 0, 0]])
    unit_area = np.array([[10, 3], [0, 0]])
    found = iou(intersection, unit_area, np.array([4, 0, 3]), np.array([0, 1, 1]))
    assert found.tolist() == [[2 / 12, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_ties_go_to_the_lowest_label_number_over_categories_too(tmp_path):
    plane = np.zeros((2, 2), int)
    plane[0, 0] = 8
    labels = {8: ("eight", ["object"]), 3: ("three", ["part"]), 5: ("five", ["part"])}
    concepts = reference.Concepts(["object", "part"], labels, 2, 2)
    parts = [np.where(plane, 5, 0), np.where(plane, 3, 0)]
    pixels = np.zeros((4, 4, 3), np.uint8)
    concepts.pictures = [reference.Picture(pixels, {"object": [plane], "part": parts})]
    prepare(tmp_path, concepts, np.array([[[[1, 0], [0, 0]]]], np.float32))
    assert tally(tmp_path)["intersection"].tolist() == [[1, 1, 1]]
    name_units(tmp_path / "tally.h5", tmp_path / "concepts.h5", 0.04, "above", tmp_path / "units.csv")
    header, row = (tmp_path / "units.csv").read_text().splitlines()
    assert header == (
        "layer,unit,category,label,score,threshold,maximum,minimum,detector,dead,knots,"
        "object-label,object-truth,object-activation,object-intersect,object-iou,object-detector,"
        "part-label,part-truth,part-activation,part-intersect,part-iou,part-detector"
    )
    assert row == (
        "stages.3,0,part,three,1.0,0.0,1.0,0.0,True,False,align_corners_false,eight,1,1,1,1.0,True,three,1,1,1,1.0,True"
    )


def test_a_unit_whose_mask_is_empty_has_no_name(tmp_path):
    # Rectified: unit 0 is active in one pixel, unit 1 only where nothing is labelled; unit 2 is dead, unit 3 constant.
    maps = np.zeros((6, 4, 3, 3), np.float32)
    concepts = small_set()
    blank = reference.Picture(np.zeros((4, 4, 3), np.uint8), {})
    concepts.pictures.append(blank)
    maps = np.concatenate([maps, np.zeros((1, 4, 3, 3), np.float32)])
    maps[0, 0], maps[6, 1], maps[:, 3] = 1, 1, 7
    prepare(tmp_path, concepts, maps, 0.2)
    tally(tmp_path, counted_images="all")
    name_units(tmp_path / "tally.h5", tmp_path / "concepts.h5", 0, "at_least", tmp_path / "units.csv")
    with open(tmp_path / "units.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    categories = [column.removesuffix("-label") for column in rows[0] if column.endswith("-label")]
    assert rows[0]["label"] and rows[0]["detector"] == "True" and rows[1][f"{categories[0]}-activation"] != "0"
    for row in rows[1:]:
        assert row["category"] == row["label"] == "" and row["score"] == "0.0" and row["detector"] == "False"
        for category in categories:
            assert row[f"{category}-label"] == "" and row[f"{category}-detector"] == "False"
    assert [row["dead"] for row in rows] == ["False", "False", "True", "True"]


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
    "another format": (set_attribute("thresholds.h5", "format", FORMAT - 1), ["thresholds.h5", "format"]),
    "another number of images": (too_few_images, ["activations.h5", LAYER, "5 images"]),
    "a dump cut off": (cut_off, ["activations.h5", "damaged"]),
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
        name_units(prepared / "tally.h5", prepared / "concepts.h5", 0.04, "above", prepared / "units.csv")
    assert not list(prepared.glob("units.csv*"))


# Groups, partners, planes, borders, knots anywhere


def written_concepts(path: Path, random: np.random.Generator, images: int, size: tuple[int, int]) -> list[list]:
    """Write a concepts.h5 with some labels in several planes; return each image's (label, plane) pairs."""
    category = np.array([0, 0, 1, 1, 2], np.uint8)
    planes = [
        [(label, random.random(size) < 0.4) for label in sorted(random.integers(0, 5, random.integers(0, 7)))]
        for _ in range(images)
    ]
    whole = [random.integers(0, 5, random.integers(0, 3)).tolist() for _ in range(images)]
    has = np.array([[any(category[label] == c for label in [*(n for n, _ in p), *w]) for c in range(3)]
                    for p, w in zip(planes, whole, strict=True)])  # fmt: skip
    drawn = [
        image_labels(np.array([label for label, _ in p], int), np.array([m for _, m in p], bool).reshape(-1, *size), w)
        for p, w in zip(planes, map(np.array, whole), strict=True)
    ]
    with h5py.File(path, "w") as file:
        file.attrs.update(format=FORMAT, fingerprint="written")
        for kind, masks in (("mask", "masks"), ("whole", None), ("again", "masks_again")):
            labels = [getattr(image, f"{kind}_label") for image in drawn]
            file[f"{kind}_label"], file[f"{kind}_start"] = np.concatenate(labels), np.cumsum([0, *map(len, labels)])
            if masks:
                file[masks] = np.concatenate([getattr(image, masks) for image in drawn])
        file["label_size"], file["label_category"], file["image_has_category"] = size, category, has
        file["label_number"], file["label_area"] = np.arange(1, 6), np.zeros(5, np.int64)
        file["plane_area"] = np.zeros(5, np.int64)
        for name, count in (("label_name", 5), ("category_name", 3)):
            file.create_dataset(name, data=[f"{name} {i}" for i in range(count)], dtype=h5py.string_dtype())
    every = np.ones(size, bool)
    return [[*p, *((label, every) for label in w)] for p, w in zip(planes, whole, strict=True)]


def expected_tallies(masks, planes, has, category, pairing: Pairing, tallies: int, in_mask: bool, each_plane: bool):
    """Intersections (T, L, U) and unit areas (T, U, C) of masks (N, U, H, W), by plain loops."""
    intersection = np.zeros((tallies, len(category), masks.shape[1]), np.int64)
    unit_area = np.zeros((tallies, masks.shape[1], has.shape[1]), np.int64)
    for partners, targets in zip(*pairing, strict=True):
        for image, (partner, target) in enumerate(zip(partners, targets, strict=True)):
            for unit, mask in enumerate(masks[image]):
                touched = set()
                for label in range(len(category)):
                    carrying = [plane for number, plane in planes[partner] if number == label]
                    if not each_plane and carrying:
                        carrying = [np.any(carrying, axis=0)]
                    shared = sum(int((mask & plane).sum()) for plane in carrying)
                    intersection[target, label, unit] += shared
                    if shared:
                        touched.add(category[label])
                for c in range(has.shape[1]):
                    if has[partner, c] and (c in touched or not in_mask):
                        unit_area[target, unit, c] += mask.sum()
    return intersection, unit_area


@settings(max_examples=30, deadline=None)
@given(layers(images=5), st.one_of(narrow, wide), seeds, st.booleans(), st.booleans(), st.sampled_from(BORDERS))
def test_tallies_with_groups_partners_planes_and_borders_agree_with_plain_loops(
    maps, size, seed, in_mask, each_plane, border
):
    random = np.random.default_rng(seed)
    images, (h, w) = len(maps), maps.shape[2:]
    # Knots anywhere: uneven positions, also beyond the map.
    rows, columns = (np.sort(random.uniform(-2, knots + 1, n)) for knots, n in zip((h, w), size, strict=True))
    to = grid_at((h, w), rows, columns, border)
    cut = np.array([random.choice(maps[:, unit].ravel()) for unit in range(maps.shape[1])], np.float32)
    masks = np.array([interpolate(image, to) for image in maps]) > cut[:, None, None]
    groups = random.integers(0, 3, images)
    cases = {
        "alone": (own_labels(images), 1),
        "groups": (Pairing(np.arange(images)[None], groups[None]), 3),
        "partners": (Pairing(np.array([random.permutation(images) for _ in range(4)]),
                             np.repeat(np.arange(4)[:, None], images, 1)), 4),
        "both": (Pairing(random.integers(0, images, (2, images)), np.array([groups, groups + 3])), 6),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planes = written_concepts(folder / "c.h5", random, images, size)
        write_dump(folder / "a.h5", {LAYER: maps})
        with h5py.File(folder / "a.h5") as dump, ConceptData(folder / "c.h5") as labels:
            for case, (pairing, tallies) in cases.items():
                expected = expected_tallies(
                    masks,
                    planes,
                    labels.image_has_category,
                    labels.label_category,
                    pairing,
                    tallies,
                    in_mask,
                    each_plane,
                )
                settings = TallySettings(cut, to, labels.label_category, 3, in_mask, tallies)
                for device in DEVICES:
                    with in_memory(maps[0].size * 2), patched(tensors={"VALUES_AT_ONCE": maps[0].size * 2}):
                        found = tally_on(
                            device, LayerMaps(dump, LAYER), labels, settings, pairing, 2, each_plane=each_plane
                        )
                    assert found.intersection.tolist() == expected[0].tolist(), (case, device)
                    assert found.unit_area.tolist() == expected[1].tolist(), (case, device)
                kept = Labels(labels, True, each_plane)
                kept.keep(folder / "kept")
                found = tally_layer(LayerMaps(dump, LAYER), kept, settings, pairing, 2)
                assert found.intersection.tolist() == expected[0].tolist(), case
                assert found.unit_area.tolist() == expected[1].tolist(), case


def padded_by_hand(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A map (h, w) at any positions, in exact arithmetic; zero from one step beyond its outer knots."""

    def knot(y: int, x: int) -> Fraction:
        inside = 0 <= y < values.shape[0] and 0 <= x < values.shape[1]
        return Fraction(float(values[y, x])) if inside else Fraction(0)

    def at(y: Fraction, x: Fraction) -> float:
        (top, down), (left, along) = divmod(y, 1), divmod(x, 1)
        upper, lower = (knot(k, left) * (1 - along) + knot(k, left + 1) * along for k in (top, top + 1))
        return float(upper * (1 - down) + lower * down)

    return np.array([[at(Fraction(float(y)), Fraction(float(x))) for x in columns] for y in rows])


@settings(max_examples=40, deadline=None)
@given(st.tuples(sides, sides), seeds)
def test_zero_borders_are_maps_padded_with_zeros(size, seed):
    random = np.random.default_rng(seed)
    values = random.normal(size=size).astype(np.float32)
    rows, columns = (np.sort(random.uniform(-2, knots + 1, 9)) for knots in size)
    to = grid_at(size, rows, columns, "zero")
    expected = padded_by_hand(values, rows, columns)
    assert np.allclose(interpolate(values[None], to)[0], expected, atol=1e-5)
    assert by_torch(values[None], to).tobytes() == interpolate(values[None], to).tobytes()


@settings(max_examples=40, deadline=None)
@given(layers(), narrow, seeds)
def test_samples_with_zero_borders_agree_with_sorting(maps, size, seed):
    random = np.random.default_rng(seed)
    rows, columns = (np.sort(random.uniform(-2, k + 1, n)) for k, n in zip(maps.shape[2:], size, strict=True))
    to = grid_at(maps.shape[2:], rows, columns, "zero")
    samples = np.array([interpolate(image, to) for image in maps]).swapaxes(0, 1).reshape(maps.shape[1], -1)
    rank = random.integers(1, samples.shape[1] + 1, maps.shape[1])
    expected = (-np.sort(-samples))[np.arange(len(rank)), rank - 1]
    for device in DEVICES:
        for always in (False, True):
            found = order_statistics(maps, rank, to, device=device, always_raise=always)
            assert found[0].tolist() == expected.tolist()
            assert found[1:].tolist() == [maps.min((0, 2, 3)).tolist(), maps.max((0, 2, 3)).tolist()]


def test_candidates_are_refused_if_a_border_of_zeros_would_have_a_mask(tmp_path):
    maps = -np.random.default_rng(15).uniform(1, 2, (6, 3, 3, 3)).astype(np.float16)
    prepare(tmp_path, small_set(), maps)
    concepts = tmp_path / "concepts.h5"
    write_candidates(tmp_path / "activations.h5", maps, concepts_fingerprint(concepts), 0.1, "above", [(0, 6)])
    find_thresholds(tmp_path / "activations.h5", 0.1, tmp_path / "thresholds.h5")
    with pytest.raises(UserError, match="negative threshold"):
        tally(tmp_path, border="zero")


@pytest.mark.parametrize("device", DEVICES)
def test_floors_rise_with_the_samples_counted_not_with_the_values_of_maps(device):
    maps = np.random.default_rng(16).normal(size=(2, 100, 7, 7)).astype(np.float16)
    to = grid((7, 7), (112, 112), "align_corners_false")
    largest = tensor_samples.LargestSamples if device else LargestSamples
    largest = largest(np.full(100, 100), half=False, **({"device": device} if device else {}))
    add_images(largest, maps, to, always_raise=False)
    assert maps.size < 2**20 < maps.size * 256 and (largest.threshold > 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_the_range_of_finite_values_may_exceed_the_largest_number(device):
    maps = np.array([-3e38, 3e38, 0, 1], np.float32).reshape(1, 1, 2, 2)
    assert order_statistics(maps, np.array([1]), device=device)[:, 0].tolist() == [maps.max(), maps.min(), maps.max()]
