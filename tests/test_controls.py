"""Controls that are made from a network, with a file for each."""

import ast
import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NETWORK
from torch import nn

from workflow_scripts.data.packed_images import write_packed_images
from workflow_scripts.networks.checkpoints import load_network, save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.train import controls, make_control
from workflow_scripts.train.controls import untrained_calibrated

FILES = sorted(Path(controls.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_control_defines_what_the_workflow_needs(file):
    """LABEL and STARTS_FROM are read from the file without running it."""
    tree = ast.parse(file.read_text())
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id] = node.value
    assert ast.get_docstring(tree)
    assert isinstance(ast.literal_eval(constants["LABEL"]), str)
    assert ast.literal_eval(constants["STARTS_FROM"]) in ("untrained", "dense")
    module = importlib.import_module(f"workflow_scripts.train.controls.{file.stem}")
    assert list(inspect.signature(module.make).parameters) == ["network", "masks", "train", "seed"]


def test_calibration_sets_batch_norm_to_the_training_pictures(pictures, monkeypatch):
    network = build(NETWORK, 4, seed=1)
    untrained_calibrated.make(network, {}, pictures, seed=0)
    everything = next(iter(pictures.plain([np.arange(len(pictures))])))[0]
    outputs = network.stem(everything)
    torch.testing.assert_close(network.norm.running_mean, outputs.mean((0, 2, 3)))
    torch.testing.assert_close(network.norm.running_var, outputs.var((0, 2, 3)))
    assert not network.training
    small = build(NETWORK, 4, seed=1)
    monkeypatch.setattr(untrained_calibrated, "BATCH", 10)
    untrained_calibrated.make(small, {}, pictures, seed=0)
    torch.testing.assert_close(small.norm.running_mean, outputs.mean((0, 2, 3)))


def test_a_network_without_batch_norm_is_its_own_calibrated_one(pictures, caplog):
    network = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    before = network[1].weight.detach().clone()
    untrained_calibrated.make(network, {}, pictures, seed=0)
    assert torch.equal(network[1].weight, before) and "has no batch-norm statistics" in caplog.text


def dropping(num_classes: int) -> nn.Module:
    """A constructor of a network with dropout before batch-norm."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(800, num_classes))


@pytest.mark.parametrize("settings", [NETWORK, {"constructor": f"{__name__}:dropping", "arguments": {}}])
def test_the_script_makes_a_control_by_its_recipe_and_the_same_bytes_again(packed, pictures, tmp_path, settings):
    write_packed_images(tmp_path / "pictures.h5", packed)
    network = build(settings, 4, seed=3)
    save_network(tmp_path / "initial.pt", network, full_masks(network, []), 4, 0)
    words = ["--recipe", "untrained_calibrated", "--initial", tmp_path / "initial.pt"]
    words += ["--train", tmp_path / "pictures.h5", "--test", tmp_path / "pictures.h5", "--gpus", 0, "--replicate", 3]
    words += ["--mean", 0.5, 0.4, 0.3, "--std", 0.25, 0.2, 0.3, "--precision", "float32"]
    words += ["--network", json.dumps(settings)]
    for name in ("first", "second"):
        out = ["--out", tmp_path / f"{name}.pt", "--metrics", tmp_path / f"{name}.json"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(word) for word in ["make_control", *words, *out]])
            make_control.main()
    assert (tmp_path / "first.pt").read_bytes() == (tmp_path / "second.pt").read_bytes()
    made, _ = load_network(tmp_path / "first.pt", settings)
    torch.manual_seed(3)
    untrained_calibrated.make(network, {}, pictures, seed=3)
    expected = network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in made.state_dict().items())
