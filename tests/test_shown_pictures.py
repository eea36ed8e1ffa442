"""Pictures with unequal sides and grey pictures, from the packed set to the tallies, and unsuitable networks."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from conftest import NETWORK
from PIL import Image
from test_protocols import field_of
from torch import nn

from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.check_network import check_network
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.dissect.find_receptive_fields import find_receptive_fields
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.list_layers import list_layers
from workflow_scripts.notebook import dissect
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.sizes import read_size, sides, size_text

HEIGHT, WIDTH = 24, 16  # of pictures
LABELS = 12, 10  # rows and columns of label maps
COLOURS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
HERE = __name__


def grey_network(channels: int = 1) -> nn.Module:
    """A network for pictures with `channels` channels, which need not be square."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def pictures(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of HEIGHT x WIDTH and label maps of LABELS."""
    random = np.random.default_rng(1)
    return [
        (random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8), random.integers(0, 3, LABELS))
        for _ in range(count)
    ]


def packed(folder: Path, shown: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    """The packed set of pictures, at their own size."""
    labels = {1: ("cat", ["object"]), 2: ("dog", ["object"])}
    concepts = reference.Concepts(["object"], labels, *shown[0][1].shape)
    concepts.pictures = [reference.Picture(pixels, {"object": [numbers]}) for pixels, numbers in shown]
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", shown[0][0].shape[:2], folder / "concepts.h5")
    return folder / "concepts.h5"


def test_a_size_is_one_number_or_two():
    assert sides(224) == (224, 224) and sides([24, 16]) == (24, 16)
    for text, size in (("224", 224), ("24x16", (24, 16)), ("8x8", 8)):
        assert read_size(text) == size and read_size(size_text(size)) == size
    for text in ("", "0", "24x", "24x16x3", "-4", "2.5"):
        with pytest.raises(
            Exception, match="is not a size: write pixels, such as 224, or height and width, such as 224x160"
        ):
            read_size(text)


def test_pictures_are_squeezed_to_unequal_sides(tmp_path):
    concepts = reference.Concepts(["object"], {1: ("cat", ["object"])}, 4, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    concepts.pictures = [reference.Picture(pixels, {"object": [1]})]
    reference.write_broden(concepts, tmp_path / "set")
    pack_concepts(tmp_path / "set", [HEIGHT, WIDTH], tmp_path / "concepts.h5")
    with h5py.File(tmp_path / "concepts.h5") as file:
        wanted = np.asarray(Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
        assert np.array_equal(file["images"][0], wanted)


@pytest.mark.parametrize("size", [(32, 20), (20, 32), (39, 26)])
def test_receptive_fields_are_counted_along_each_side(size):
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 6), (1, 2), (0, 1)), nn.MaxPool2d((3, 2), (2, 1), (1, 0)))
    rows = field_of([("conv", 3, 1, 0), ("max", 3, 2, 1)])
    columns = field_of([("conv", 6, 2, 1), ("max", 2, 1, 0)])
    assert find_receptive_fields(network, ["1"], size) == {"picture": list(size), "layers": {"1": [rows, columns]}}


def dissected(folder: Path, shown: list, network: nn.Module, knots: str) -> dict[str, np.ndarray]:
    """The thresholds and tallies of the layer 1."""
    folder.mkdir()
    size = shown[0][0].shape[:2]
    concepts = packed(folder, shown)
    fields = find_receptive_fields(network, ["1"], size)
    dump, thresholds, tally = (folder / name for name in ("dump.h5", "thresholds.h5", "tally.h5"))
    dump_activations(network, ["1"], concepts, COLOURS["mean"], COLOURS["std"], "float32", "of a test", dump)
    find_thresholds(dump, 0.05, thresholds)
    tally_units(dump, thresholds, concepts, tally, knots=knots, receptive_fields=fields)
    with h5py.File(tally) as file:
        return {name: values[:] for name, values in file["1"].items()}


@pytest.mark.parametrize("knots", ["receptive_field", "receptive_field_exact", "align_corners_false"])
def test_a_network_and_pictures_turned_about_the_diagonal_are_tallied_the_same(tmp_path, knots):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 12, 1), nn.MaxPool2d((5, 3), (3, 2), (2, 0)))
    turned = nn.Sequential(network[0], nn.MaxPool2d((3, 5), (2, 3), (0, 2)))
    shown = pictures(5)
    found = dissected(tmp_path / "upright", shown, network, knots)
    transposed = [(np.swapaxes(pixels, 0, 1), numbers.T) for pixels, numbers in shown]
    again = dissected(tmp_path / "turned", transposed, turned, knots)
    assert found["unit_area"].sum() > 0 and found["intersection"].any()
    assert found.keys() == again.keys()
    for name, values in found.items():
        assert np.array_equal(values, again[name]), name


def test_grey_maps_are_those_of_pillows_grey(tmp_path):
    torch.manual_seed(0)
    network, shown = grey_network().eval(), pictures(3)
    dump_activations(network, ["2"], packed(tmp_path, shown), [0.4], [0.2], "float32", "grey", tmp_path / "dump.h5")
    grey = np.stack([np.asarray(Image.fromarray(pixels).convert("L")) for pixels, _ in shown])
    with torch.no_grad():
        wanted = network[:3]((torch.from_numpy(grey)[:, None] / 255 - 0.4) / 0.2)
    with h5py.File(tmp_path / "dump.h5") as file:
        assert np.allclose(file["maps/2"][:], wanted, atol=1e-5)


def test_a_notebook_takes_grey_pictures_of_unequal_sides(tmp_path):
    concepts = packed(tmp_path, pictures(4))
    layers, _, units = dissect(grey_network(), "2", concepts, mean=[0.5], std=[0.25], quantile=0.05)
    assert layers["units"].tolist() == [4] and set(units["knots"]) == {"receptive_field"}
    with pytest.raises(UserError, match=r"images\.mean has one number, but std has 3 numbers: write three each"):
        dissect(grey_network(), "2", concepts, mean=[0.5], std=[0.25] * 3)


@pytest.mark.parametrize(
    ("channels", "given", "words"),
    [
        (1, 3, "expects pictures with 1 channel, but mean and std give them 3: .* one number each, for grey pictures"),
        (3, 1, "expects pictures with 3 channels, but mean and std give them 1: .* three numbers each, for colour"),
        (4, 3, r"expects pictures with 4 channels, .* give them 3: only one channel \(grey\) or three \(colour\)"),
        (2, 1, r"expects pictures with 2 channels, .* give them 1: only one channel \(grey\) or three \(colour\)"),
    ],
)
def test_a_network_with_other_channels_is_refused_at_once(channels, given, words):
    settings = {"constructor": f"{HERE}:grey_network", "arguments": {"channels": channels}}
    sound = {"layers": ["2"], "exempt": [], "levels": 0, "fraction": 0.5}
    with pytest.raises(UserError, match=words):
        check_network(settings, (HEIGHT, WIDTH), **sound, channels=given)
    with pytest.raises(UserError, match=words):
        list_layers(grey_network(channels), (HEIGHT, WIDTH), given)
    if channels in (1, 3):
        found = check_network(settings, (HEIGHT, WIDTH), **sound, channels=channels)
        assert found["units, height and width of each layer"] == {"2": [4, 11, 7]}


def test_training_a_colour_network_on_grey_pictures_is_refused_at_once():
    sound = {"layers": ["stages.1"], "exempt": [], "levels": 0, "fraction": 0.5, "trained": True}
    assert check_network(NETWORK, 12, **sound)
    with pytest.raises(UserError, match=r"mean and std give them 1: give mean and std \(.*or of images\) three"):
        check_network(NETWORK, 12, **sound, channels=1)
