"""dissect in a notebook: the tables are those of the workflow's steps, and nothing else changes."""

import copy
import csv
import tempfile

import numpy as np
import pytest
import reference_dissection as reference
import torch
from conftest import NETWORK
from torch import nn
from torch.nn.utils import prune

from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.dissect.find_receptive_fields import find_receptive_fields
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.constructors import build
from workflow_scripts.notebook import dissect
from workflow_scripts.shared.files import UserError

SIZE = 24
COLOURS = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]}
LAYERS = ["stages.0", "stages.1"]
CATEGORIES = ["object", "part", "scene"]


@pytest.fixture(scope="module")
def concepts(tmp_path_factory):
    """A folder with a concept set, packed beside it: blots that are brighter than their surroundings."""
    folder = tmp_path_factory.mktemp("concepts")
    random = np.random.default_rng(4)
    labels = {1: ("cat", ["object"]), 2: ("dog", ["object"]), 3: ("leg", ["part"]), 4: ("street", ["scene"])}
    concepts = reference.Concepts(CATEGORIES, labels, 12, 12)
    for place in range(12):
        y, x = random.integers(0, 7, 2)
        plane = np.zeros((12, 12), int)
        plane[y : y + 5, x : x + 5] = 1 + place % 2
        pixels = random.integers(0, 120, (12, 12, 3)) + 60 * plane[..., None]
        cells = {"object": [plane], "part": [np.where(plane, 3, 0) * (random.random((12, 12)) < 0.8)]}
        if place % 3 == 0:
            cells["scene"] = [4]
        pixels = pixels.repeat(SIZE // 12, 0).repeat(SIZE // 12, 1).astype(np.uint8)
        concepts.pictures.append(reference.Picture(pixels, cells))
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", SIZE, folder / "concepts.h5")
    return folder / "concepts.h5"


@pytest.fixture
def network():
    network = build(NETWORK, 4, seed=1)
    with torch.no_grad():
        network.stages[1][0].norm2.weight[3] = 0  # with the shortcut's weight also 0, this unit is dead
        network.stages[1][0].norm2.bias[3] = -1
        network.stages[1][0].shortcut[1].weight[3] = 0
    return network


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder that temporary files go to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def workflow_units(
    network, concepts, folder, quantile, upsampled, knots, border, mask, counted_images, planes, precision, rule
):
    """The rows of units.csv from the workflow's steps with a dump of all maps."""
    activations, thresholds, tally, units = (folder / name for name in ("a.h5", "t.h5", "c.h5", "units.csv"))
    fields = find_receptive_fields(network, LAYERS, SIZE) if knots.startswith("receptive_field") else None
    dump_activations(network, LAYERS, concepts, *COLOURS.values(), precision, "n" * 64, activations)
    find_thresholds(activations, quantile, thresholds, knots if upsampled else None, concepts, fields, border=border)
    tally_units(
        *(activations, thresholds, concepts, tally, None, knots, mask, counted_images, fields),
        border=border,
        planes=planes,
    )
    name_units(tally, concepts, *rule, units)
    with open(units, newline="") as file:
        return list(csv.DictReader(file))


# Choices, the arguments of the workflow's steps for them, and the IoU threshold and rule of detectors.
CASES = {
    "netdissect": (
        {},
        (0.005, False, "receptive_field", "clamp", "above", "with_category", "once", "float16"),
        (0.04, "above"),
    ),
    "lite": (
        {"protocol": "lite"},
        (0.005005, False, "align_corners_false", "clamp", "above", "with_label_in_mask", "each", "float16"),
        (0.04, "at_least"),
    ),
    "quick": (
        {"protocol": "quick"},
        (0.005, False, "align_corners_false", "clamp", "above", "with_category", "once", "float16"),
        (0.04, "above"),
    ),
    "pnas": (
        {"protocol": "pnas"},
        (0.01, True, "align_corners_false", "zero", "above", "all", "once", "float16"),
        (0.04, "above"),
    ),
    "choices": (
        {
            "quantile": 0.1,
            "knots": "align_corners_true",
            "border": "zero",
            "mask": "at_least",
            "planes": "each",
            "detector_iou": 0.15,
            "detector_rule": "at_least",
            "precision": "float32",
        },
        (0.1, False, "align_corners_true", "zero", "at_least", "with_category", "each", "float32"),
        (0.15, "at_least"),
    ),
    "samples of receptive fields": (
        {"quantile_of": "upsampled", "knots": "receptive_field", "quantile": 0.2, "detector_iou": 0.1},
        (0.2, True, "receptive_field", "clamp", "above", "with_category", "once", "float16"),
        (0.1, "above"),
    ),
    "exact receptive fields": (
        {"knots": "receptive_field_exact", "quantile": 0.1},
        (0.1, False, "receptive_field_exact", "clamp", "above", "with_category", "once", "float16"),
        (0.04, "above"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_tables_are_those_of_the_workflows_steps(case, network, concepts, tmp_path):
    choices, steps, (cut, rule) = CASES[case]
    found = dissect(network, LAYERS, concepts, **COLOURS, **choices)
    rows = workflow_units(network, concepts, tmp_path, *steps, (cut, rule))

    def detected(iou):
        return float(iou) > cut or (rule == "at_least" and float(iou) == cut > 0)

    for row, unit in zip(rows, found.units.to_dict("records"), strict=True):
        assert unit["dead"] == (row["maximum"] == row["minimum"])
        assert unit["detector"] == detected(row["score"])
        for category in CATEGORIES:
            assert unit[f"{category}-detector"] == detected(row[f"{category}-iou"])
        for column, text in row.items():
            expected = text == "True" if isinstance(unit[column], bool) else type(unit[column])(text)
            assert unit[column] == expected and (text in ("True", "False")) == isinstance(unit[column], bool), column
    assert found.units["unit"].dtype == found.units["part-truth"].dtype == np.int64
    layers, categories = [], []
    for layer in LAYERS:
        units = [row for row in rows if row["layer"] == layer]
        best = [(row["category"], row["label"]) for row in units if detected(row["score"])]
        each = [
            (category, row[f"{category}-label"])
            for row in units
            for category in CATEGORIES
            if detected(row[f"{category}-iou"])
        ]
        counts = [len(best), len(set(best)), len(each), len(set(each))]
        dead = sum(row["maximum"] == row["minimum"] for row in units)
        median = np.median([float(row["score"]) for row in units])
        layers.append([layer, steps[2], len(units), *counts, dead, median, cut])
        for category in CATEGORIES:
            of_category = [[pair for pair in pairs if pair[0] == category] for pairs in (best, each)]
            categories.append(
                [layer, category, *(f(pairs) for pairs in of_category for f in (len, lambda p: len(set(p))))]
            )
    assert found.layers.to_numpy().tolist() == layers
    assert found.categories.to_numpy().tolist() == categories
    names = ["detectors_a", "concepts_a", "detectors_b", "concepts_b"]
    assert list(found.layers) == ["layer", "knots", "units", *names, "dead_units", "median_score", "detector_iou"]
    assert list(found.categories) == ["layer", "category", *names]
    assert found.layers["detectors_b"].sum() > 0 and found.layers["dead_units"].tolist() == [0, 1]


def test_a_folder_is_packed_first(network, concepts):
    packed = dissect(network, LAYERS, concepts, **COLOURS)
    for size, same in ((SIZE, True), (SIZE - 4, False)):
        tables = dissect(network, LAYERS, str(concepts.parent / "set"), **COLOURS, size=size)
        assert all(one.equals(other) for one, other in zip(packed, tables, strict=True)) == same


def test_one_layer_may_stand_alone_and_tokens_are_maps(network, concepts):
    class Tokens(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.last = network, nn.Identity()

        def forward(self, pictures):
            maps = self.network.stages(torch.relu(self.network.norm(self.network.stem(pictures))))
            return self.last(maps.flatten(2).transpose(1, 2))

    wrapped = Tokens(network)
    choices = COLOURS | {"knots": "align_corners_false"}
    plain, tokens = (dissect(wrapped, layer, concepts, **choices) for layer in ("network.stages.1", "last@6x6"))
    assert tokens.layers["layer"].tolist() == ["last"]
    assert tokens.units.drop(columns="layer").equals(plain.units.drop(columns="layer"))
    # Tokens have no receptive fields on a grid, so they use cell centres.
    by_default = dissect(wrapped, ["network.stages.1", "last@6x6"], concepts, **COLOURS)
    assert by_default.layers["knots"].tolist() == ["receptive_field", "align_corners_false"]
    units = by_default.units.set_index("layer")
    assert units.loc[["last"]].reset_index().equals(tokens.units)
    assert not units.loc["network.stages.1"].reset_index(drop=True).equals(plain.units.drop(columns="layer"))


# What does not change


def test_nothing_is_left_behind(network, concepts, temporary, monkeypatch):
    for name, value in (("deterministic", False), ("allow_tf32", True)):
        monkeypatch.setattr(torch.backends.cudnn, name, value)
    network.to(memory_format=torch.channels_last).train()
    network.stages[0].eval()
    network(torch.randn(4, 3, SIZE, SIZE)).sum().backward()
    before = {name: (id(tensor), tensor.data_ptr(), tensor.stride(), tensor.clone()) for name, tensor in state(network)}
    modes = [module.training for module in network.modules()]
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    random = torch.get_rng_state()
    contents = concepts.read_bytes()
    dissect(network, LAYERS, concepts, **COLOURS, knots="receptive_field")
    dissect(network, LAYERS, concepts.parent / "set", **COLOURS, size=SIZE)
    with pytest.raises(UserError, match=r"stages\.7"):
        dissect(network, ["stages.7"], concepts, **COLOURS)
    assert not list(temporary.iterdir())
    assert sorted(path.name for path in concepts.parent.iterdir()) == ["concepts.h5", "set"]
    assert concepts.read_bytes() == contents
    assert {name: (id(t), t.data_ptr(), t.stride()) for name, t in state(network)} == {
        name: values[:3] for name, values in before.items()
    }
    assert all(torch.equal(tensor, before[name][3]) for name, tensor in state(network))
    assert [module.training for module in network.modules()] == modes and len(set(modes)) == 2
    assert all(torch.equal(p.grad, old) for p, old in zip(network.parameters(), gradients, strict=True))
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == (False, True)


def state(network):
    return [*network.named_parameters(), *network.named_buffers()]


def test_networks_that_torch_prunes_in_place_can_be_dissected(network, concepts):
    network.to(memory_format=torch.contiguous_format)  # torch's pruning needs it
    for module in (network.stem, network.stages[0][0].conv1):
        prune.l1_unstructured(module, "weight", 0.6)
    network(torch.randn(2, 3, SIZE, SIZE))  # leaves a weight that autograd computed
    assert not network.stem.weight.is_leaf
    pruned = dissect(network, LAYERS, concepts, **COLOURS)
    for module in (network.stem, network.stages[0][0].conv1):
        prune.remove(module, "weight")
    assert all(
        one.equals(other) for one, other in zip(pruned, dissect(network, LAYERS, concepts, **COLOURS), strict=True)
    )
    whole = dissect(build(NETWORK, 4, seed=1), LAYERS, concepts, **COLOURS)
    assert not whole.units.equals(pruned.units)


# What is refused


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            {"quantil": 0.01},
            r"no choice quantil: known are quantile, quantile_of, knots, border, mask, .*planes, .*detector_rule",
        ),
        ({"layers_": 1, "dump": "all"}, r"no choice dump"),
        ({"quantile": 0.995}, r"quantile is 0\.995: write .*above 0 and below 0\.5"),
        ({"mean": [127.5, 127.5, 127.5]}, r"mean\.\d is 127\.5: write .*from 0 to 1"),
        ({"mean": [0.5, 0.5]}, r"mean is \[0\.5, 0\.5\]: write a list of three"),
        ({"std": np.zeros(3)}, r"std\.\d is 0\.0: write .*above 0"),
        ({"quantile": "high"}, r'quantile is "high"'),
        ({"mask": "below"}, r'mask is "below".*above.*at_least'),
        ({"knots": "corners"}, r'knots is "corners".*receptive_field'),
        ({"border": "mirror"}, r'border is "mirror".*clamp.*zero'),
        ({"planes": "both"}, r'planes is "both".*once.*each'),
        ({"protocol": "netdisect"}, r'protocol is "netdisect".*netdissect.*'),
        ({"precision": "float64"}, r'precision is "float64".*float16'),
        ({"detector_iou": 1}, r"detector_iou is 1, but no IoU is above that"),
    ],
)
def test_wrong_choices_are_refused_naming_the_known_ones(choices, words, network, concepts, temporary):
    with pytest.raises(UserError, match=words):
        dissect(network, LAYERS, concepts, **COLOURS | choices)
    assert not list(temporary.iterdir())


def test_other_objects_than_networks_and_layers_are_refused(network, concepts, temporary):
    with pytest.raises(UserError, match=r"the model is a NoneType, not a torch\.nn\.Module"):
        dissect(None, LAYERS, concepts, **COLOURS)
    with pytest.raises(UserError, match="layers: none is listed"):
        dissect(network, [], concepts, **COLOURS)
    with pytest.raises(UserError, match="the model has lazy layers"):
        dissect(nn.Sequential(nn.LazyConv2d(3, 3)), "0", concepts, **COLOURS)
    with pytest.raises(UserError, match=r"does not accept a picture of .* in single precision"):
        dissect(copy.deepcopy(network).double(), LAYERS, concepts, **COLOURS)
    network.add_module("a/b", nn.Identity())
    with pytest.raises(UserError, match=r"layers: 'a/b' has a slash"):
        dissect(network, "a/b", concepts, **COLOURS)
    assert not list(temporary.iterdir())


def test_a_folder_needs_a_size_and_a_file_must_exist(network, concepts):
    with pytest.raises(UserError, match=r"set is a folder: give the size"):
        dissect(network, LAYERS, concepts.parent / "set", **COLOURS)
    with pytest.raises(UserError, match=r"nothing\.h5"):
        dissect(network, LAYERS, concepts.with_name("nothing.h5"), **COLOURS)
