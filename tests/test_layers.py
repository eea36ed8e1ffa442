"""Layers by name: tokens become maps in the right places, other outputs are refused, and layers can be listed."""

import argparse
import csv
import json
import re
import sys

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from conftest import NETWORK, RESNET50
from torch import Tensor, nn

from workflow_scripts import cost_sheet, show_concepts
from workflow_scripts import list_layers as list_layers_script
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.check_network import CLASSES
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.layer_outputs import (
    find_module,
    has_channels_last,
    layer_names,
    layer_outputs,
    suggested_layer,
)
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.list_layers import designs_of, list_layers
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.torchvision_models import models
from workflow_scripts.plan.command_line import add_config_arguments, config_of, snakemake_arguments
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import complete_config
from workflow_scripts.shared.files import UserError

ROWS, COLUMNS = 8, 4  # of patches and label maps; they differ, so that rows and columns cannot be confused
SIZE = 16
PICTURES = 6
BRIGHT = 48  # patches of each colour in all pictures
QUANTILE = BRIGHT / (PICTURES * ROWS * COLUMNS)
COLOURS = ["red", "green", "blue"]


class Tokens(nn.Module):
    """Returns maps as tokens, row by row, after `leading` tokens with larger values than any of theirs."""

    def __init__(self, leading: int) -> None:
        super().__init__()
        self.leading = leading

    def forward(self, maps: Tensor) -> Tensor:
        tokens = torch.stack([maps[:, :, y, x] for y in range(maps.shape[2]) for x in range(maps.shape[3])], dim=1)
        return torch.cat([torch.full((len(maps), self.leading, maps.shape[1]), 100.0), tokens], dim=1)


class ChannelsLast(nn.Module):
    """Returns maps with units last: (n, h, w, units)."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.stack(maps.unbind(1), dim=-1)


class Both(nn.Module):
    """Returns its maps twice, as a pair."""

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps, maps


class Windows(nn.Module):
    """Returns twice as many maps as there are pictures, as attention within windows does."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, maps])


class Colours(nn.Module):
    """Unit i of every layer is the mean of one colour in a patch: blue, red, green."""

    def __init__(self, leading: int = 1) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 3, (SIZE // ROWS, SIZE // COLUMNS), (SIZE // ROWS, SIZE // COLUMNS), bias=False)
        with torch.no_grad():
            self.patches.weight.zero_()
            for unit, colour in enumerate([2, 0, 1]):
                self.patches.weight[unit, colour] = 1 / self.patches.weight[0, 0].numel()
        self.tokens = Tokens(leading)
        self.last = ChannelsLast()
        self.both = Both()
        self.windows = Windows()
        self.twice = nn.Identity()
        self.never = nn.Identity()
        self.vector = nn.Flatten()
        self.square = nn.AdaptiveAvgPool2d(5)
        self.square_last = ChannelsLast()
        self.number = nn.CosineSimilarity(dim=0)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.patches(pictures)
        self.tokens(maps)
        self.last(maps)
        self.windows(maps)
        self.square_last(self.square(maps))
        self.number(maps.flatten(), maps.flatten())
        self.both(maps)
        return self.vector(self.twice(self.twice(maps)))


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A packed concept set in which each patch that is bright in a colour has that colour's label."""
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    labels = {number: (name, [name]) for number, name in enumerate(COLOURS, 1)}
    concepts = reference.Concepts(COLOURS, labels, ROWS, COLUMNS)
    bright = np.zeros((3, PICTURES * ROWS * COLUMNS), bool)
    for of_colour in bright:
        of_colour[random.choice(of_colour.size, BRIGHT, replace=False)] = True
    bright = bright.reshape(3, PICTURES, ROWS, COLUMNS)
    for place in range(PICTURES):
        channels = np.where(bright[:, place], random.integers(150, 256, (ROWS, COLUMNS)), random.integers(0, 100))
        pixels = np.moveaxis(channels.repeat(SIZE // ROWS, 1).repeat(SIZE // COLUMNS, 2), 0, 2).astype(np.uint8)
        cells = {name: [number * bright[number - 1, place]] for number, name in enumerate(COLOURS, 1)}
        concepts.pictures.append(reference.Picture(pixels, cells))
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", SIZE, folder / "concepts.h5")
    return folder / "concepts.h5"


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    network = models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=16, num_classes=3)
    return network.eval()


@pytest.fixture(scope="module")
def swin():
    torch.manual_seed(0)
    return models.SwinTransformer([4, 4], 12, [1, 1], [1, 2], [2, 2], num_classes=3).eval()


def dissect(network, layers, concepts, folder, quantile):
    """The rows of units.csv."""
    activations, thresholds, tally, units = (folder / name for name in ("a.h5", "t.h5", "c.h5", "u.csv"))
    dump_activations(network, layers, concepts, [0.5] * 3, [0.25] * 3, "float16", "n" * 64, activations)
    find_thresholds(activations, quantile, thresholds)
    tally_units(activations, thresholds, concepts, tally)
    name_units(tally, concepts, 0.04, "above", units)
    with open(units, newline="") as file:
        return list(csv.DictReader(file))


def outputs_of(network, layers, pictures):
    with torch.no_grad(), layer_outputs(network, layers) as outputs:
        network(pictures)
    return outputs


# Tokens


@pytest.mark.parametrize("leading", [0, 1, 5])
def test_units_that_equal_concepts_match_them_exactly_even_as_tokens(colours, tmp_path, leading):
    layers = ["patches", f"tokens@{ROWS}x{COLUMNS}", f"last@{ROWS}x{COLUMNS}"]
    found = dissect(Colours(leading), layers, colours, tmp_path, QUANTILE)
    assert {(row["layer"], int(row["unit"]), row["label"], float(row["score"])) for row in found} == {
        (layer, unit, label, 1.0)
        for layer in ("patches", "tokens", "last")
        for unit, label in enumerate(["blue", "red", "green"])
    }
    with h5py.File(tmp_path / "a.h5") as dump:
        assert {maps.shape for maps in dump["maps"].values()} == {(PICTURES, 3, ROWS, COLUMNS)}
        maps = {name: dataset[:] for name, dataset in dump["maps"].items()}
    assert (maps["tokens"] == maps["patches"]).all() and (maps["last"] == maps["patches"]).all()


def test_a_vision_transformer_is_dissected_by_its_tokens(transformer, colours, tmp_path):
    pack_concepts(colours.parent / "set", 32, tmp_path / "concepts.h5")
    layers = ["encoder.layers.encoder_layer_0@4x4", "encoder.ln@4x4", "conv_proj"]
    found = dissect(transformer, layers, tmp_path / "concepts.h5", tmp_path, 0.05)
    assert len(found) == 3 * 12
    with h5py.File(tmp_path / "concepts.h5") as file:
        pictures = torch.from_numpy(file["images"][:]).permute(0, 3, 1, 2).div(255).sub(0.5).div(0.25)
    with torch.no_grad():
        patches = transformer.conv_proj(pictures)
        tokens = torch.cat([transformer.class_token.expand(PICTURES, 1, 12), patches.flatten(2).transpose(1, 2)], 1)
        tokens = transformer.encoder.layers.encoder_layer_0(tokens + transformer.encoder.pos_embedding)
        last = transformer.encoder.ln(transformer.encoder.layers.encoder_layer_1(tokens))
    with h5py.File(tmp_path / "a.h5") as dump:
        for layer, expected in (("encoder.layers.encoder_layer_0", tokens), ("encoder.ln", last)):
            maps = dump["maps"][layer][:]
            assert maps.shape == (PICTURES, 12, 4, 4)
            for row in range(4):
                for column in range(4):
                    token = expected[:, 1 + 4 * row + column].numpy()
                    np.testing.assert_allclose(maps[:, :, row, column], token, rtol=2e-3, atol=2e-3)
    assert expected.std(1).min() > 0.01  # tokens must differ, or their places could not be checked


def test_a_patch_shows_in_its_own_place_of_the_map(transformer):
    pictures = torch.zeros(2, 3, 32, 32)
    pictures[1, :, 16:24, 8:16] = 1
    maps = outputs_of(transformer, ["encoder.dropout@4x4"], pictures)["encoder.dropout"]
    differs = (maps[0] != maps[1]).any(0)
    assert differs.nonzero().tolist() == [[2, 1]]


def test_channels_may_come_last(swin):
    pictures = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = outputs_of(swin, ["features.1@8x8", "features.3@4x4"], pictures)
    with torch.no_grad():
        expected = swin.features[:2](pictures)
        for name, values in (("features.1", expected), ("features.3", swin.features[2:](expected))):
            torch.testing.assert_close(maps[name], torch.stack(values.unbind(3), dim=1))
            assert maps[name].shape[1] in (12, 24)


@pytest.mark.parametrize(
    ("tokens", "grid"),
    [(197, "14x14"), (196, "14x14"), (261, "16x16"), (50, "7x7"), (198, "14x14"), (262, "ROWSxCOLUMNS")],
)
def test_the_square_grid_that_fits_is_suggested(tokens, grid):
    assert suggested_layer("encoder", tokens, (224, 224)) == f"encoder@{grid}"


@pytest.mark.parametrize(
    ("tokens", "picture", "grid"),
    [(141, (224, 160), "14x10"), (140, (160, 224), "10x14"), (36, (96, 54), "8x4"), (144, (224, 160), "14x10")],
)
def test_the_grid_of_the_pictures_shape_is_suggested(tokens, picture, grid):
    """144 is a square, but the pictures are not square: it is four tokens and 14 x 10 places."""
    assert suggested_layer("encoder", tokens, picture) == f"encoder@{grid}"


@pytest.mark.parametrize(
    ("shape", "picture", "last"),
    [
        ((1, 7, 5, 96), (224, 160), True),
        ((1, 96, 7, 5), (224, 160), False),
        ((1, 8, 5, 96), (230, 160), True),  # rounded up
        ((1, 7, 7, 96), (224, 160), False),  # neither can be a map of such a picture
        ((1, 12, 8, 7), (24, 16), False),  # 12 units, and strides of 3 and 2
        ((1, 7, 7, 96), (224, 224), True),
        ((1, 7, 7, 7), (224, 224), False),
    ],
)
def test_channels_are_last_if_only_the_dimensions_before_them_fit_the_pictures_shape(shape, picture, last):
    assert has_channels_last(shape, picture) == last


# What is refused


REFUSED = {
    "tokens without a grid": (["tokens"], r"tokens is \(2, 33, 3\).* as in tokens@ROWSxCOLUMNS"),
    "too few tokens": (["tokens@8x5"], r"tokens is \(2, 33, 3\).*8 x 5.* 33 tokens are too few"),
    "maps with a grid": (["patches@8x4"], r"patches is \(2, 3, 8, 4\).*write patches alone"),
    "maps with another grid": (["patches@2x2"], r"patches is \(2, 3, 8, 4\).*2 x 2"),
    "channels last with another grid": (["last@4x8"], r"last is \(2, 8, 4, 3\).*4 x 8"),
    "channels last without a grid": (["square_last"], r"square_last@5x5"),
    "a vector": (["vector"], r"vector is \(2, 96\).*another layer"),
    "a vector with a grid": (["vector@8x4"], r"vector is \(2, 96\).*another layer"),
    "a number": (["number"], r"number is \(\).*another layer"),
    "several tensors": (["both"], r"both returns a tuple"),
    "windows": (["windows"], r"windows has 4 rows for 2 pictures"),
    "runs twice": (["twice"], r"twice runs 2 times in a pass; write which run, as in twice#2"),
    "runs too seldom": (["twice#3"], r"twice#3 runs only 2 times"),
    "no run": (["twice#0"], r"'twice#0' has no number after its #; write it as in twice#2"),
    "a run without a number": (["twice#@5x5"], r"has no number after its #"),
    "never runs": (["patches", "never"], r"never does not run"),
    "an unknown layer": (["patch"], r"no layer 'patch'; similar names are patches; .*list_layers"),
    "an unknown layer with a grid": (["token@8x4"], r"no layer 'token'; similar names are tokens;"),
    "the whole network": ([""], r"no layer ''; python -m workflow_scripts list_layers lists"),
    "half a grid": (["tokens@8"], r"'tokens@8' has no grid"),
    "an empty grid": (["tokens@"], r"'tokens@' has no grid"),
    "a grid without rows": (["tokens@0x4"], r"'tokens@0x4' has no grid"),
    "a grid with a third side": (["tokens@8x4x1"], r"'tokens@8x4x1' has no grid"),
    "a slash": (["patches/conv"], r"'patches/conv' has a slash or a NUL in it"),
    "two grids": (["tokens@8x4", "tokens@4x8"], r"tokens is listed more than once"),
    "listed twice": (["patches", "patches"], r"patches is listed more than once"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_dissected_is_refused_by_name(case):
    layers, words = REFUSED[case]
    network = Colours()
    with pytest.raises(UserError, match=words) as error:
        outputs_of(network, layers, torch.zeros(2, 3, SIZE, SIZE))
    assert "\n" not in str(error.value)
    assert not any(module._forward_hooks for module in network.modules())


def test_maps_with_as_many_rows_as_units_are_accepted_if_they_are_certainly_maps():
    oblong = outputs_of(Colours(), ["patches"], torch.zeros(1, 3, 6, SIZE))
    assert oblong["patches"].shape == (1, 3, 3, COLUMNS)
    network, pictures = nn.Sequential(nn.Upsample((6, SIZE)), Colours()), torch.zeros(1, 3, SIZE, SIZE)
    assert outputs_of(network, ["1.tokens@3x4"], pictures)["1.tokens"].shape == (1, 3, 3, COLUMNS)
    with pytest.raises(UserError, match=r"1\.patches@3x3"):
        outputs_of(network, ["1.patches"], pictures)


def test_each_run_of_a_module_is_a_layer():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.relu(x - 1) - 1).flatten(1).flatten(1)

    pictures = torch.rand(2, 3, 4, 4) * 4
    outputs = outputs_of(Shared(), ["relu#2", "relu#1"], pictures)
    assert torch.equal(outputs["relu#1"], (pictures - 1).relu())
    assert torch.equal(outputs["relu#2"], (pictures - 2).relu())
    network = Shared()
    with layer_outputs(network, ["relu#2"]) as outputs:
        for shift in (0, 1):  # runs are counted anew in each pass
            network(pictures + shift)
            assert torch.equal(outputs.pop("relu#2"), (pictures + shift - 2).relu())


def test_names_do_not_include_grids():
    assert layer_names(["a.b@14x14", "c", "d@2x30"]) == ["a.b", "c", "d"]


def test_names_with_the_unknown_one_between_dots_come_first():
    network = nn.ModuleDict({"fc_in": nn.Identity(), "head": nn.ModuleDict({"fc": nn.Identity()})})
    with pytest.raises(UserError, match=r"similar names are head\.fc, fc_in;"):
        find_module(network, "fc")


def test_for_an_unknown_layer_only_similar_names_are_suggested():
    network = build(RESNET50, 4, seed=0)

    def near(name):
        with pytest.raises(UserError) as error:
            find_module(network, name)
        assert "python -m workflow_scripts list_layers" in str(error.value)
        found = re.search(r"similar names are (.*?);", str(error.value))
        return found[1].split(", ") if found else []

    assert "layer4" in near("layer5")
    assert near("layer4.2.conv4")[0].startswith("layer4.2.conv")
    assert "layer4.1.conv2" in near("4.1.conv2")
    assert near("downsample") == [f"layer{stage}.0.downsample" for stage in (1, 2, 3, 4)] + ["layer1.0.downsample.0"]
    assert near("xyzzy") == []
    for name in ("conv2", "layer", "1", "bn"):
        assert 0 < len(near(name)) <= 5
    assert find_module(network, "layer4.1.conv2") is network.layer4[1].conv2


# The list of layers


@pytest.mark.parametrize("kind", ["colours", "transformer", "swin", "resnet"])
def test_a_listed_layer_can_be_dissected_only_if_the_list_says_so(kind, request):
    if kind == "colours":
        network, size = Colours(), SIZE
    elif kind == "resnet":
        network, size = build(NETWORK, 4, seed=0).eval(), 12
    else:
        network, size = request.getfixturevalue(kind), 32
    listed = list_layers(network, size)
    modules = [name.partition("#")[0] for name, _, _ in listed]
    assert list(dict.fromkeys(modules)) == [name for name, _ in network.named_modules() if name]
    assert not any(module._forward_hooks for module in network.modules())
    pictures = torch.zeros(2, 3, size, size)
    for name, module, output in listed:
        assert module == type(network.get_submodule(name.partition("#")[0])).__name__
        written = re.search(r"write (\S+)", output)
        if output.startswith("not to be dissected"):
            with pytest.raises(UserError, match=re.escape(name)):
                outputs_of(network, [name], pictures)
        elif written and "ROWS" not in written[1]:
            maps = outputs_of(network, [written[1]], pictures)[name]
            sides = [int(side) for side in re.findall(r"\d+", output.split(":")[0])]
            assert maps.shape[1] == sides[-1]
        elif not written:
            units, height, width = (int(side) for side in re.findall(r"\d+", output))
            assert outputs_of(network, [name], pictures)[name].shape == (2, units, height, width)


def test_the_list_says_what_each_module_puts_out(transformer):
    assert {name: output for name, _, output in list_layers(Colours(), SIZE)} == {
        "patches": "3 units x 8 x 4",
        "tokens": "33 tokens x 3 channels: write tokens@ROWSxCOLUMNS",
        "last": "8 units x 4 x 3",
        "both": "not to be dissected: returns a tuple",
        "windows": "not to be dissected: output (2, 3, 8, 4)",
        "twice#1": "3 units x 8 x 4",
        "twice#2": "3 units x 8 x 4",
        "never": "not to be dissected: never runs",
        "vector": "not to be dissected: output (1, 96)",
        "square": "3 units x 5 x 5",
        "square_last": "5 x 5 x 3 channels: write square_last@5x5",
        "number": "not to be dissected: output ()",
    }
    outputs = {name: output for name, _, output in list_layers(transformer, 32)}
    assert outputs["encoder.layers"] == "17 tokens x 12 channels: write encoder.layers@4x4"


def test_layers_are_listed_for_a_constructor(capsys, monkeypatch):
    words = ["list_layers", "--constructor", "torchvision.models:resnet18", "--arguments", '{"num_classes": 3}']
    monkeypatch.setattr(sys, "argv", [*words, "--size", "64"])
    list_layers_script.main()
    text = capsys.readouterr().out
    assert text.startswith('torchvision.models:resnet18 {"num_classes": 3}, 64 pixels\n')
    lines = words_of(text)
    assert "layer4.1.conv2 Conv2d 512 units x 2 x 2" in lines
    assert "layer1.0.relu#2 ReLU 64 units x 16 x 16" in lines
    assert "fc Linear not to be dissected: output (1, 3)" in lines
    # Numbers end below each other.
    shapes = [re.search(r"(\d+) units x +(\d+)", line) for line in text.splitlines()]
    for place in (1, 2):
        assert len({found.end(place) for found in shapes if found}) == 1


def words_of(text: str) -> list[str]:
    """The lines of a text with one space between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_shapes_stand_below_each_other():
    given = ["768 units x 14 x 7", "not to be dissected: 1 x", "5 tokens x 1024 channels: write a@2x2"]
    assert list_layers_script.align_shapes([*given, "64 units x 112 x 7", "7 x 7 x 96 channels"]) == [
        "768 units x  14 x 7",
        "not to be dissected: 1 x",
        "  5 tokens x 1024 channels: write a@2x2",
        " 64 units x 112 x 7",
        "  7 x 7 x 96 channels",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--constructor", "a:b", "--arm", "imp"],
            "--arm cannot stand beside --constructor: leave one or the other out",
        ),
        (
            ["--constructor", "a:b", "--configfile", "a.yaml", "--config", "gpus=0"],
            "--configfile and --config cannot stand beside --constructor: leave one or the other out",
        ),
        (["--size", "64"], "--size cannot stand without --constructor: add it, or leave --size out"),
        (
            ["--configfile", "a.yaml", "--size", "224", "--arguments", "{}"],
            "--arguments and --size cannot stand without --constructor: add it, or leave --arguments and --size out",
        ),
    ],
)
def test_arguments_that_would_be_passed_over_are_refused(monkeypatch, words, sentence):
    monkeypatch.setattr(sys, "argv", ["list_layers", *words])
    with pytest.raises(UserError, match=f"^{sentence}$"):
        list_layers_script.main()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", " (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("8", ""),
        ("width=8", " (Expecting value: line 1 column 1 (char 0))"),
        ("[" * 99999, " (it is nested too deeply)"),
        ('{"a": NaN}', " (it holds NaN)"),
        ('{"a": 1, "a": 2}', " (it has the key 'a' twice)"),
    ],
)
def test_arguments_of_a_constructor_are_asked_for_as_json(capsys, monkeypatch, text, why):
    monkeypatch.setattr(sys, "argv", ["list_layers", "--constructor", "a:b", "--arguments", text])
    with pytest.raises(SystemExit):
        list_layers_script.main()
    sentence = f"""--arguments: {text[:60]!r} holds no arguments by name{why}: write JSON, such as '{{"width": 8}}'\n"""
    assert capsys.readouterr().err.endswith(sentence)


def test_pictures_that_a_network_does_not_take_are_refused(transformer):
    with pytest.raises(UserError, match=r"33 pixels .*height"):
        list_layers(transformer, 33)
    assert not any(module._forward_hooks for module in transformer.modules())


def test_the_networks_of_a_configs_arms_are_listed_each_design_once():
    view = {"mean": [0.5] * 3, "std": [0.25] * 3}
    brought = [
        {"name": name, "recipe": "brought", "constructor": f"torchvision.models:{name}", "weights": "none"}
        | {"layers": ["layer4"], "preprocessing": view | {"size": size}}
        for name, size in (("resnet18", 64), ("resnet34", 96))
    ]
    trained = [{"name": "imp", "recipe": "imp"}, {"name": "drawn", "recipe": "untrained", "of": "imp"}]
    pruned = {"name": "pruned", "recipe": "prune_once", "of": "resnet34", "method": "global", "densities": [0.5]}
    network, images = NETWORK | {"norm_init": "as_built"}, {"size": 16} | view
    experiment = Experiment(
        complete_config({"arms": [*trained, *brought, pruned], "network": network, "images": images})
    )

    def found(wanted):
        designs = designs_of(experiment, wanted)
        return [
            (design.settings["constructor"].split(":")[1], design.is_trained, design.preprocessing["size"])
            for design in designs
        ]

    assert found(None) == [("small_resnet", True, 16), ("resnet18", False, 64), ("resnet34", False, 96)]
    assert found("resnet34") == found("pruned") == [("resnet34", False, 96)]
    assert found("drawn") == [("small_resnet", True, 16)]
    with pytest.raises(UserError, match="no arm 'resnet5': it names drawn, imp, pruned, resnet18, resnet34"):
        found("resnet5")


def listed(monkeypatch, capsys, *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["list_layers", *words])
    list_layers_script.main()
    return words_of(capsys.readouterr().out)


def test_layers_are_listed_for_a_config_of_trained_and_brought_networks(capsys, monkeypatch, tmp_path):
    brought = {"name": "mine", "recipe": "brought", "constructor": "torchvision.models:resnet18", "weights": "none"}
    brought |= {"layers": ["layer4"], "preprocessing": {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3}}
    config = {"arms": [{"name": "imp", "recipe": "imp"}, brought], "images": {"size": 16}, "network": NETWORK}
    (tmp_path / "both.yaml").write_text(json.dumps(config))
    lines = listed(monkeypatch, capsys, "--configfile", str(tmp_path / "both.yaml"))
    trained, own = (number for number, line in enumerate(lines) if line.endswith(" pixels"))
    assert (trained, lines[own]) == (0, "torchvision.models:resnet18 {}, 64 pixels")
    # How many classes there are shows only when pictures are packed; the list takes a thousand.
    assert f"classifier Linear not to be dissected: output (1, {CLASSES})" in lines[:own]
    assert "layer4.1.conv2 Conv2d 512 units x 2 x 2" in lines[own:]
    own_alone = listed(monkeypatch, capsys, "--configfile", str(tmp_path / "both.yaml"), "--arm", "mine")
    assert own_alone == lines[own:]


def test_a_config_may_lack_what_its_layers_do_not_depend_on(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    mine = {"name": "mine", "recipe": "brought", "constructor": "torchvision.models:resnet18"}
    others = [
        {"name": "drawn", "recipe": "untrained", "of": "mine"},
        {"name": "shuffled", "recipe": "shuffled_labels", "of": "mine"},
        {"name": "half", "recipe": "prune_once", "of": "mine", "method": "global", "densities": [0.5]},
    ]
    concepts = {"source": "data/not_there.zip", "folder": "broden1_224", "addresses": []}
    images = {"source": "not_there", "size": 64}
    missing = {"weights": "not/{replicate}/there.pth", "masks": "nor/{replicate}.pth", "part": "model"}

    def lines(**more):
        (tmp_path / "mine.yaml").write_text(
            json.dumps({"arms": [mine | more, *others], "concepts": concepts, "images": images})
        )
        return listed(monkeypatch, capsys, "--configfile", "mine.yaml")

    plain = lines()
    assert plain[0] == "torchvision.models:resnet18 {}, 224 pixels"
    assert "layer4.1.conv2 Conv2d 512 units x 7 x 7" in plain
    preprocessing = {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3}
    small = lines(preprocessing=preprocessing)
    assert "layer4.1.conv2 Conv2d 512 units x 2 x 2" in small
    assert lines(preprocessing=preprocessing, layers=["layer4"], **missing) == small
    # What is there counts: here the arguments of each level.
    (tmp_path / "weights_0.pth").touch()
    (tmp_path / "weights_1.pth").touch()
    by_level = [{"num_classes": 7}, {"num_classes": 8}]
    both = lines(preprocessing=preprocessing, arguments=by_level, weights="weights_{level}.pth", part="model")
    assert [line for line in both if "pixels" in line] == [
        f'torchvision.models:resnet18 {{"num_classes": {classes}}}, 64 pixels' for classes in (7, 8)
    ]
    # What is wrong with the networks themselves is still said.
    with pytest.raises(UserError, match=r"unknown key arms\.mine\.pretrained"):
        lines(pretrained=True)


def test_commands_take_a_config_in_the_same_arguments(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arm = "{name: mine, recipe: brought, constructor: 'torchvision.models:resnet18', arguments: {num_classes: 7}}"
    first = listed(monkeypatch, capsys, "--config", f"arms=[{arm}]")[0]
    assert first == 'torchvision.models:resnet18 {"num_classes": 7}, 224 pixels'
    (tmp_path / "mine.yaml").write_text("images: {size: 32}")
    assert listed(monkeypatch, capsys, "--configfile", "mine.yaml")[0].endswith(" 32 pixels")
    given = ["--configfile", "mine.yaml", "--config", "experiment=mine", "images={size: 24}"]
    assert listed(monkeypatch, capsys, *given)[0].endswith(" 24 pixels")
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    args = parser.parse_args(given)
    config = config_of(args)
    assert config["experiment"] == "mine" and config["images"]["size"] == 24
    assert snakemake_arguments(args) == given and snakemake_arguments(parser.parse_args([])) == []
    assert config_of(parser.parse_args([])) == complete_config({})
    for main in (list_layers_script.main, cost_sheet.main, show_concepts.main):
        out = ["--out", "x.png"] if main is show_concepts.main else []
        for words, sentence in [
            (["--config", "gpus"], "^--config: 'gpus' is no KEY=VALUE: write it as gpus=2 or "),
            (["--config", "gpu=2"], "^config: unknown key gpu; did you mean gpus"),
            (["--configfile", "none.yaml"], "^none.yaml is missing"),
        ]:
            monkeypatch.setattr(sys, "argv", ["command", *words, *out])
            with pytest.raises(UserError, match=sentence):
                main()
