"""Rotations of a layer's units: the matrices, rotated maps, and their counts."""

import csv
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from conftest import NETWORK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power

from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect import rotate_units, rotations
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.map_writers import Candidates
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.rotations import random_rotation, rotation_power, turn_maps
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.shared.files import UserError

thorough = settings(max_examples=40, deadline=None)
PRECISIONS = [np.float16, np.float32]
alphas = st.floats(0.05, 1)


# Matrices


@thorough
@given(st.integers(1, 40), st.integers(0, 99), st.integers(0, 99))
def test_rotations_are_orthogonal_of_determinant_1_and_drawn_by_their_seed(units, replicate, seed):
    matrix = random_rotation(units, (replicate, seed))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(units), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    single = matrix.astype(np.float32)
    np.testing.assert_allclose(single.T @ single, np.eye(units), atol=1e-5)
    assert np.array_equal(matrix, random_rotation(units, (replicate, seed)))
    if units > 1:
        assert not np.allclose(matrix, random_rotation(units, (replicate, seed + 1)))
        assert not np.allclose(matrix, random_rotation(units, (replicate + 1, seed)))


def test_rotations_are_uniform():
    """Each entry of a uniform rotation has mean 0 and mean square 1 / n; QR alone gives other means."""
    units = 5
    drawn = np.array([random_rotation(units, (1, seed)) for seed in range(2000)])
    np.testing.assert_allclose(drawn.mean(0), 0, atol=4.5 / np.sqrt(units * 2000))
    np.testing.assert_allclose((drawn**2).mean(0), 1 / units, atol=0.03)


@thorough
@given(st.integers(2, 12), st.integers(0, 99), alphas)
def test_powers_turn_part_of_the_way(units, seed, alpha):
    matrix = random_rotation(units, (1, seed))
    part = rotation_power(matrix, alpha)
    np.testing.assert_allclose(part, fractional_matrix_power(matrix, alpha).real, atol=1e-9)
    np.testing.assert_allclose(part @ part.T, np.eye(units), atol=1e-12)
    half = rotation_power(matrix, alpha / 2)
    np.testing.assert_allclose(half @ half, part, atol=1e-12)


def test_powers_that_are_known():
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(rotation_power(quarter, 0.5), np.array([[1, -1], [1, 1]]) / np.sqrt(2), atol=1e-15)
    matrix = random_rotation(7, (1, 2))
    assert np.array_equal(rotation_power(matrix, 1), matrix)
    assert np.array_equal(rotation_power(matrix, 0), np.eye(7))


# Turned maps


def write_dump(path: Path, layers: dict[str, np.ndarray], concepts: str = "the concepts") -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(format=FORMAT, fingerprint="the dump", concepts=concepts, network="the network")
        file.create_group("maps", track_order=True)
        for layer, maps in layers.items():
            file[f"maps/{layer}"] = maps


def read_maps(path: Path, layer: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[f"maps/{layer}"][:]


def some_layers(dtype: type, images: int = 9) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    shapes = {"b": (images, 7, 3, 2), "a": (images, 4, 1, 5)}
    return {layer: np.maximum(random.normal(size=shape), 0).astype(dtype) for layer, shape in shapes.items()}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("values", [1, 2**21])
def test_turned_maps_are_sums_over_units(tmp_path, dtype, values, monkeypatch):
    monkeypatch.setattr("workflow_scripts.dissect.maps.VALUES_IN_MEMORY", values)
    layers = some_layers(dtype)
    write_dump(tmp_path / "a.h5", layers)
    turn_maps(tmp_path / "a.h5", (3, 1), 0.7, tmp_path / "turned.h5")
    with h5py.File(tmp_path / "turned.h5") as file:
        assert list(file["maps"]) == ["b", "a"]
    for layer, maps in layers.items():
        matrix = rotation_power(random_rotation(maps.shape[1], (3, 1)), 0.7)
        expected = np.einsum("uv,nvyx->nuyx", matrix, maps.astype(float))
        found = read_maps(tmp_path / "turned.h5", layer)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == np.float16 else 1e-5, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "turned.h5"]


def test_a_dump_of_candidates_and_values_beyond_the_range_are_refused(tmp_path):
    layers = some_layers(np.float16)
    with h5py.File(tmp_path / "a.h5", "w") as file, h5py.File(tmp_path / "scratch", "w") as scratch:
        writer = Candidates(file, scratch, "b", layers["b"].shape, np.dtype(np.float16), 0.1, "above")
        writer.add(torch.from_numpy(layers["b"]))
        writer.finish()
        file.attrs.update(format=FORMAT, fingerprint="f", concepts="c", network="n")
    with pytest.raises(UserError, match=r"a\.h5 keeps candidates only"):
        turn_maps(tmp_path / "a.h5", (1, 1), 1, tmp_path / "turned.h5")
    write_dump(tmp_path / "a.h5", {"b": np.full((2, 9, 1, 1), 65000, np.float16)})
    with pytest.raises(UserError, match=r"layer b, unit \d of a rotation .* float16: set dissection.precision"):
        turn_maps(tmp_path / "a.h5", (1, 1), 1, tmp_path / "turned.h5")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("candidates", [None, (0.3, "above")])
def test_turned_by_nothing_gives_the_same_integers(tmp_path, dtype, candidates):
    concepts = some_concepts()
    layers = some_layers(dtype, len(concepts.pictures))
    write_dump(tmp_path / "a.h5", layers, pack(concepts, tmp_path))
    turn_maps(tmp_path / "a.h5", (1, 1), 0, tmp_path / "turned.h5", candidates)
    for name in ("a", "turned"):
        find_thresholds(tmp_path / f"{name}.h5", 0.3, tmp_path / f"{name}.t.h5")
        tally_units(
            tmp_path / f"{name}.h5", tmp_path / f"{name}.t.h5", tmp_path / "concepts.h5", tmp_path / f"{name}.n.h5"
        )
    with h5py.File(tmp_path / "a.n.h5") as first, h5py.File(tmp_path / "turned.n.h5") as second:
        for layer in layers:
            for name in ("intersection", "unit_area", "label_area", "threshold", "dead"):
                assert np.array_equal(first[layer][name], second[layer][name])


def some_concepts() -> reference.Concepts:
    """A small concept set."""
    concepts = reference.Concepts(
        ["object", "part"], {1: ("cat", ["object"]), 2: ("dog", ["object"]), 3: ("leg", ["part"])}, 5, 4
    )
    random = np.random.default_rng(6)
    for _ in range(12):
        plane = random.integers(0, 3, (5, 4))
        pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
        concepts.pictures.append(reference.Picture(pixels, {"object": [plane], "part": [np.where(plane == 1, 3, 0)]}))
    return concepts


def pack(concepts: reference.Concepts, folder: Path) -> str:
    """Write concepts.h5 to the folder; return its fingerprint."""
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", 32, folder / "concepts.h5")
    with h5py.File(folder / "concepts.h5") as file:
        return file.attrs["fingerprint"]


# Counts


def rotate(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> list[dict]:
    words = ["--network", folder / "network.pt", "--settings", json.dumps(NETWORK), "--layers", "stages.0", "stages.1"]
    words += ["--concepts", folder / "concepts.h5", "--mean", 0.5, 0.5, 0.5, "--std", 0.3, 0.3, 0.3]
    words += [
        "--precision",
        "float16",
        "--forward",
        "float32",
        "--execution",
        "plain",
        "--replicate",
        2,
        "--alphas",
        0.5,
        1,
        "--seeds",
        1,
        2,
    ]
    words += [
        "--quantile",
        0.1,
        "--quantile-of",
        "raw",
        "--knots",
        "align_corners_false",
        "--border",
        "clamp",
        "--mask",
        "above",
    ]
    words += ["--counted-images", "with_category", "--planes", "once", "--detector-iou", 0.2, "--gpus", 0]
    words += ["--detector-rule", "above", "--out", folder / "rotations.csv", *more]
    monkeypatch.setattr(sys, "argv", ["rotate_units", *map(str, words)])
    rotate_units.main()
    with open(folder / "rotations.csv") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    pack(some_concepts(), tmp_path)
    network = build(NETWORK, 4, seed=1)
    save_network(tmp_path / "network.pt", network, full_masks(network, []), 4, 0)
    return tmp_path


def slow_counts(folder: Path, layer: str, alpha: float, seed: int) -> tuple[int, int, float]:
    """Detectors, concepts and the median of the best IoU of a turned layer, by the definition."""
    concepts = some_concepts()
    maps = read_maps(folder / "own.h5", layer).astype(np.float32)
    matrix = rotation_power(random_rotation(maps.shape[1], (2, seed)), alpha).astype(np.float32)
    turned = (matrix @ maps.swapaxes(0, 1).reshape(maps.shape[1], -1)).astype(np.float16)
    turned = turned.reshape(maps.shape[1], len(maps), *maps.shape[2:]).swapaxes(0, 1)
    best = []
    for unit in range(maps.shape[1]):
        cut = reference.threshold(turned[:, unit].ravel().tolist(), "0.1")
        masks = [reference.interpolated(turned[i, unit], 5, 4) > cut for i in range(len(maps))]
        scores = []
        for label, column in ((1, "object"), (2, "object"), (3, "part")):
            where = [picture.cells[column][0] == label for picture in concepts.pictures]
            both = sum(int((mask & there).sum()) for mask, there in zip(masks, where, strict=True))
            either = sum(int((mask | there).sum()) for mask, there in zip(masks, where, strict=True))
            scores.append(both / max(either, 1))
        best.append((max(scores), scores.index(max(scores))))
    detected = [label for score, label in best if score > 0.2]
    return len(detected), len(set(detected)), float(np.median([score for score, _ in best]))


def test_counts_are_those_of_the_definition(folder, monkeypatch):
    rows = rotate(folder, monkeypatch)
    dump_activations(
        build(NETWORK, 4, seed=1), ["stages.0", "stages.1"], folder / "concepts.h5", [0.5] * 3, [0.3] * 3, "float16",
        "the network", folder / "own.h5",
    )  # fmt: skip
    assert [(row["layer"], float(row["alpha"]), int(row["seed"])) for row in rows] == [
        (layer, alpha, seed) for alpha in (0.5, 1) for seed in (1, 2) for layer in ("stages.0", "stages.1")
    ]
    for row in rows[2:5]:
        detectors, labels, median = slow_counts(folder, row["layer"], float(row["alpha"]), int(row["seed"]))
        assert (int(row["detectors_a"]), int(row["concepts_a"])) == (detectors, labels)
        assert float(row["median_score"]) == pytest.approx(median)
        assert int(row["units"]) == 16


def test_a_dump_with_all_maps_takes_the_place_of_a_pass_and_nothing_is_left(folder, monkeypatch):
    rows = rotate(folder, monkeypatch)
    before = sorted(path.name for path in folder.iterdir())
    network = build(NETWORK, 4, seed=1)
    dump_activations(
        network, ["stages.0", "stages.1"], folder / "concepts.h5", [0.5] * 3, [0.3] * 3, "float16", "the network",
        folder / "own.h5",
    )  # fmt: skip
    monkeypatch.setattr(rotate_units, "dump_network", None)
    assert rotate(folder, monkeypatch, "--activations", folder / "own.h5") == rows
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "own.h5"])


@pytest.mark.parametrize(("samples", "kept"), [([], True), (["--quantile-of", "upsampled"], False)])
def test_disk_holds_one_rotation_at_a_time_candidates_where_they_do(folder, monkeypatch, samples, kept):
    turned = []

    def spied(activations, seed, alpha, out, candidates=None):
        turned.append(sorted(path.name for path in out.parent.iterdir()))
        turn_maps(activations, seed, alpha, out, candidates)
        with h5py.File(out) as file:
            assert LayerMaps(file, "stages.1").candidates == bool(candidates) == kept

    monkeypatch.setattr(rotate_units, "turn_maps", spied)
    rotate(folder, monkeypatch, *samples)
    assert turned == [["activations.h5"]] * 4


def test_a_failure_leaves_nothing(folder, monkeypatch):
    before = sorted(path.name for path in folder.iterdir())
    monkeypatch.setattr(rotations, "rotation_power", lambda rotation, alpha: rotation * np.inf)
    with pytest.raises(UserError, match="of a rotation has values beyond the range"):
        rotate(folder, monkeypatch)
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == before
