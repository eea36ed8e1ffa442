"""Activation dumps: the maps are the network's own, and what cannot be dissected is refused."""

import h5py
import numpy as np
import pytest
import torch
from conftest import NETWORK

from workflow_scripts.dissect import dump_activations as dump_module
from workflow_scripts.dissect.check_network import check_network
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.files import UserError
from workflow_scripts.train.networks import build_network

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]


@pytest.fixture
def concepts(tmp_path):
    path = tmp_path / "concepts.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).integers(0, 256, (7, 12, 12, 3), dtype=np.uint8)
        file.attrs.update(fingerprint="c" * 64, format=1)
    return path


def run(network, concepts, out, layers=("stages.0", "stages.1"), precision="float16", name="n" * 64):
    dump_activations(network, list(layers), concepts, MEAN, STD, precision, name, out)


@pytest.mark.parametrize(("precision", "batch"), [("float16", 250), ("float16", 3), ("float32", 3)])
def test_maps_are_the_networks_in_evaluation_mode(concepts, tmp_path, monkeypatch, precision, batch):
    monkeypatch.setattr(dump_module, "BATCH", batch)
    network = build_network(NETWORK, 4, seed=1)
    run(network, concepts, tmp_path / "activations.h5", precision=precision)
    with h5py.File(concepts) as file:
        pictures = (file["images"][:] / 255 - np.array(MEAN)) / np.array(STD)
    x = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2)
    reference = build_network(NETWORK, 4, seed=1).eval()
    with torch.no_grad():
        x = torch.relu(reference.norm(reference.stem(x)))
        expected = [x := stage(x) for stage in reference.stages]
    with h5py.File(tmp_path / "activations.h5") as file:
        for i, maps in enumerate(expected):
            stored = file[f"maps/stages.{i}"]
            assert stored.dtype == precision
            assert stored.shape == tuple(maps.shape)
            tolerance = {"rtol": 1e-3, "atol": 1e-3} if precision == "float16" else {"rtol": 1e-4, "atol": 1e-5}
            np.testing.assert_allclose(stored[:].astype(np.float32), maps.numpy(), **tolerance)
        assert file.attrs["concepts"] == "c" * 64


def test_the_fingerprint_names_network_concepts_layers_and_precision(concepts, tmp_path):
    network = build_network(NETWORK, 4, seed=1)
    variants = [{}, {"name": "m" * 64}, {"layers": ["stages.0"]}, {"precision": "float32"}]
    fingerprints = []
    for i, variant in enumerate(variants):
        run(network, concepts, tmp_path / f"{i}.h5", **variant)
        with h5py.File(tmp_path / f"{i}.h5") as file:
            fingerprints.append(file.attrs["fingerprint"])
    assert len(set(fingerprints)) == len(variants)
    run(network, concepts, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "0.h5").read_bytes()


@pytest.mark.parametrize(
    ("weight", "precision"), [(float("inf"), "float32"), (3e5, "float16"), (float("nan"), "float16")]
)
def test_values_that_are_not_finite_are_refused_naming_layer_and_unit(concepts, tmp_path, weight, precision):
    network = build_network(NETWORK, 4, seed=1)
    with torch.no_grad():
        network.stages[1][0].norm2.bias[5] = weight
    with pytest.raises(UserError, match=r"stages\.1, unit 5"):
        run(network, concepts, tmp_path / "activations.h5", precision=precision)
    assert not list(tmp_path.glob("activations*"))


def test_layers_without_maps_and_unknown_layers_are_refused(concepts, tmp_path):
    network = build_network(NETWORK, 4, seed=1)
    with pytest.raises(UserError, match="classifier"):
        run(network, concepts, tmp_path / "activations.h5", layers=["classifier"])
    with pytest.raises(UserError, match=r"stages\.9"):
        run(network, concepts, tmp_path / "activations.h5", layers=["stages.9"])
    assert not list(tmp_path.glob("activations*"))


def test_layers_that_are_worked_on_in_place_are_kept_as_they_were(concepts, tmp_path):
    network = build_network({"architecture": "resnet50"}, 4, seed=1)
    run(network, concepts, tmp_path / "activations.h5", layers=["layer1.0.bn1", "layer1.0"])
    with h5py.File(tmp_path / "activations.h5") as file:
        assert file["maps/layer1.0.bn1"][:].min() < 0
        assert file["maps/layer1.0"][:].min() == 0
    with pytest.raises(UserError, match=r"layer1\.0\.relu runs more than once"):
        run(network, concepts, tmp_path / "relu.h5", layers=["layer1.0.relu"])


def test_the_check_before_training_finds_what_would_fail_after_it():
    found = check_network(NETWORK, 12, ["stages.1"], ["classifier"], levels=2, fraction=0.5)
    assert found["units, height and width of each layer"] == {"stages.1": [16, 3, 3]}
    network = build_network(NETWORK, 4, seed=0)
    weights = sum(p.numel() for name, p in network.named_parameters() if p.ndim == 4)
    levels = found["weights at each level, at most"]
    assert levels == [weights, weights - weights // 2 - 1, levels[1] - -(-levels[1] // 2) - 1]
    for change, words in [
        ({"layers": ["stages.4"]}, "stages.4"),
        ({"layers": ["classifier"]}, "classifier"),
        ({"exempt": ["nothing*"]}, "nothing"),
        ({"levels": 40}, "pruning.levels"),
    ]:
        sound = {"layers": ["stages.1"], "exempt": [], "levels": 2, "fraction": 0.5}
        with pytest.raises(UserError, match=words.replace(".", r"\.")):
            check_network(NETWORK, 12, **sound | change)
