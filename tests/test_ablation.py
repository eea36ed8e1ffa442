"""Switching units off: which ones, the effect on a network, and the tables."""

import argparse
import csv
import json
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import HERE, VIEW, drawn, greys
from torch import nn

from workflow_scripts.data.index_images import index_images
from workflow_scripts.data.packed_images import PackedImages
from workflow_scripts.dissect import ablate_units as ablation
from workflow_scripts.dissect.ablate_units import (
    Sets,
    Units,
    ablate_units,
    ablation_rows,
    choose_sets,
    concepts_of,
    count_right,
    draw_sets,
    readable,
    switched_off,
)
from workflow_scripts.dissect.class_pictures import FolderPictures
from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.measure_network import measure_accuracy
from workflow_scripts.train.pictures import MemoryPictures
from workflow_scripts.train.training import accuracy

POOLED, FURTHER_UP = "4", "2"  # layers of the small network: six units that are pooled; four before
CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def network():
    """A network with four classes, whose batch-norm spreads the pictures' logits."""
    network = drawn(3, classes=4)
    with torch.no_grad():
        network[3].weight.mul_(3)
        network[7].weight.mul_(3)
    return network.eval()


def units_of(labels, detectors=None, dead=()):
    """Units with these names; all are detectors unless `detectors` says which."""
    number = len(labels)
    detector = np.isin(np.arange(number), range(number) if detectors is None else detectors)
    return Units(np.array(labels, dtype=object), detector, np.isin(np.arange(number), dead))


def slow_classes(network, pictures, layer, units):
    """The predicted classes, picture by picture and module by module, with the units of one layer set to zero."""
    found = []
    for [picture], _ in pictures.plain(np.arange(len(pictures))[:, None]):
        values = picture[None]
        for number, module in enumerate(network):
            values = module(values)
            if number == int(layer):
                for unit in units:
                    values[0, unit] = 0
        found.append(int(values.argmax()))
    return np.array(found)


def slow_counts(network, pictures, layer, units):
    with torch.no_grad():
        right = slow_classes(network, pictures, layer, units) == pictures.labels.numpy()
    return np.bincount(pictures.labels.numpy()[right], minlength=len(pictures.classes))


@pytest.mark.parametrize(("layer", "by", "units"), [(POOLED, "logits", 6), (FURTHER_UP, "passes", 4)])
def test_both_methods_agree_with_a_slow_reference(network, pictures, layer, by, units, monkeypatch):
    monkeypatch.setattr(ablation, "BATCH", 7)
    sets = [np.array([], int), np.array([1]), np.array([0, units - 1]), np.arange(units)]
    right = count_right(network, pictures, {layer: sets}, {layer: units})
    assert right.by == {layer: by} and right.pictures.tolist() == [10] * 4
    wanted = [slow_counts(network, pictures, layer, units) for units in sets]
    assert right.after[layer].tolist() == np.array(wanted).tolist()
    assert right.after[layer][0].tolist() == right.before.tolist()  # nothing off, nothing changed
    assert len({tuple(counts) for counts in right.after[layer]}) > 1
    assert right.before.sum() / 40 == pytest.approx(accuracy(network, pictures, "float32"))


@given(st.sets(st.integers(0, 5)), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_subtracting_units_from_logits_equals_a_pass_without_them(off, seed):
    network = drawn(seed).eval()
    pictures = torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    units = np.array(sorted(off), int)
    with torch.no_grad():
        with layer_outputs(network, [POOLED]) as maps:
            logits = network(pictures)
        weights = ablation.find_readout(network, maps[POOLED].mean((2, 3)), logits)
        with switched_off(network, POOLED, units):
            passed = network(pictures)
    means = maps[POOLED].mean((2, 3))
    assert torch.allclose(logits - means[:, units] @ weights[:, units].T, passed, atol=1e-5)
    assert not network._forward_pre_hooks and not network[int(POOLED)]._forward_hooks
    assert ablation.find_readout(network, means + 0.01, logits) is None


def test_the_named_run_and_the_named_channels_of_tokens_are_switched_off():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, values):
            return self.same(self.same(values) + 1)

    network, maps = Twice(), torch.ones(1, 3, 2, 2)
    for layer, wanted in (("same#1", [1, 2, 2]), ("same#2", [0, 2, 2])):
        with switched_off(network, layer, np.array([0])):
            for _ in range(2):  # runs are counted anew in each pass
                assert network(maps)[0, :, 0, 0].tolist() == wanted
    tokens = torch.ones(1, 5, 3)  # a class token, and 2 x 2
    with switched_off(network, "same#2@2x2", np.array([1])):
        assert network(tokens)[0].tolist() == [[2, 0, 2]] * 5


class TwoUnits(nn.Module):
    """Unit 0 is a picture's red, unit 1 its green; the class is that of the larger one, or red if they are equal."""

    def __init__(self):
        super().__init__()
        self.units, self.pool, self.classifier = (
            nn.Conv2d(3, 2, 1, bias=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Linear(2, 2),
        )
        with torch.no_grad():
            self.units.weight.copy_(torch.eye(3)[:2, :, None, None])
            self.classifier.weight.copy_(torch.eye(2))
            self.classifier.bias.zero_()

    def forward(self, pictures):
        return self.classifier(self.pool(self.units(pictures)).flatten(1))


def two_classes():
    """Three red pictures, one of which has more green, and five green ones."""
    colours = [(200, 0), (200, 100), (100, 200), *[(0, 150)] * 5]
    images = np.array([np.broadcast_to((red, green, 0), (4, 4, 3)) for red, green in colours], np.uint8)
    packed = PackedImages(images, np.array([0] * 3 + [1] * 5), ("red", "green"))
    return MemoryPictures(packed, [0.0] * 3, [1.0] * 3, torch.device("cpu"))


def test_two_units_and_two_classes_by_hand():
    units = {"units": units_of(["r", "g"])}
    rows, classes = ablate_units(TwoUnits(), ["units"], units, two_classes(), ["r", "g"], 19, 1)
    assert [list(row) for row in rows] == [COLUMNS] * 2 and [list(row) for row in classes] == [CLASS_COLUMNS] * 2
    assert [list(row.values()) for row in classes] == [["red", 3, 2 / 3], ["green", 5, 1.0]]
    red, green = rows
    assert [red[name] for name in COLUMNS[:5]] == ["units", "red", "r", 1, 3]
    # Without red, a red picture without green stays red, because both are 0: one of three is lost, and no green one.
    # Without green all red ones are found, one more, and no green picture is, but for those without any red: none.
    drawn_units = [int(one) for [one] in draw_sets(np.arange(2), 1, 19, 1)]
    share_red = drawn_units.count(0) / 19
    assert (red["accuracy"], red["own"], red["others"], red["all"]) == pytest.approx((2 / 3, -1 / 3, 0, -1 / 8))
    assert (green["accuracy"], green["own"], green["others"], green["all"]) == pytest.approx((1, -1, 1 / 3, -4 / 8))
    assert red["random_own_mean"] == pytest.approx(share_red * -1 / 3 + (1 - share_red) / 3)
    assert green["random_all_mean"] == pytest.approx(share_red * -1 / 8 + (1 - share_red) * -4 / 8)
    assert red["p"] == (1 + drawn_units.count(0)) / 20 and green["p"] == (1 + drawn_units.count(1)) / 20
    assert (red["sets"], red["by"]) == (19, "logits")


def test_p_and_moments_of_random_sets_by_hand():
    right = ablation.Right(
        np.array([10, 30]), np.array([8, 20]),
        {"x": np.array([[5, 21], [8, 20], [5, 20], [4, 18], [9, 22]])}, {"x": "passes"},
    )  # fmt: skip
    sets = Sets({0: np.array([3, 4])}, {2: np.zeros((4, 2), int)})
    [row] = ablation_rows("x", sets, right, ["a", "b"], ["c", "b"])
    # The random sets change the class by 0, -3, -4 and 1 pictures, and its own set by -3.
    assert row["p"] == (1 + 2) / (1 + 4)
    assert (row["own"], row["others"], row["all"]) == (-0.3, 1 / 30, -2 / 40)
    assert row["random_own_mean"] == pytest.approx(-0.15)
    assert row["random_own_sd"] == pytest.approx(np.std([0, -0.3, -0.4, 0.1], ddof=1))
    assert row["random_all_mean"] == pytest.approx(np.mean([0, -3, -6, 3]) / 40)
    assert (row["units"], row["concept"], row["by"]) == (2, "c", "passes")
    none = right._replace(pictures=np.array([0, 30]), before=np.array([0, 20]))
    assert list(ablation_rows("x", sets, none, ["a", "b"], ["c", "b"])) == []


def test_a_class_has_its_live_detectors_and_sets_of_as_many_live_units():
    units = units_of(["cat", "dog", "cat", "cat", "dog", "car", "cat", "", "sky"], [0, 1, 2, 4, 5, 6], dead=[6, 7])
    sets = choose_sets(units, ["cat", "dog", "car", "tree"], 40, replicate=2)
    assert {number: own.tolist() for number, own in sets.own.items()} == {0: [0, 2], 1: [1, 4], 2: [5]}
    assert {size: of_size.shape for size, of_size in sets.random.items()} == {1: (40, 1), 2: (40, 2)}
    for of_size in sets.random.values():
        assert not np.isin(of_size, [6, 7]).any() and all(len(set(units)) == len(units) for units in of_size.tolist())
        assert set(of_size.flat) == {0, 1, 2, 3, 4, 5, 8}
    assert len(sets.all()) == 3 + 2 * 40
    again = choose_sets(units, ["cat", "dog", "car", "tree"], 40, replicate=2)
    assert all((of_size == again.random[size]).all() for size, of_size in sets.random.items())
    other = choose_sets(units, ["cat", "dog", "car", "tree"], 40, replicate=3)
    assert any((of_size != other.random[size]).any() for size, of_size in sets.random.items())
    some = draw_sets(np.arange(5), 2, 10, 1)
    assert (draw_sets(np.arange(5), 2, 30, 1)[:10] == some).all()  # a larger number only adds sets


def test_random_sets_use_units_evenly():
    counts = Counter(draw_sets(np.arange(6), 3, 2000, 1).ravel().tolist())
    assert max(abs(count - 1000) for count in counts.values()) < 5 * np.sqrt(2000 / 4)


def test_a_class_without_detectors_has_no_row_and_all_have_an_accuracy(network, pictures):
    units = {POOLED: units_of(["a", "x", "c", "a", "d", ""], [0, 1, 2, 3]), FURTHER_UP: units_of(["x"] * 4)}
    rows, classes = ablate_units(network, [POOLED, FURTHER_UP], units, pictures, CLASSES, 19, 1)
    assert [(row["layer"], row["class"], row["units"]) for row in rows] == [(POOLED, "a", 2), (POOLED, "c", 1)]
    assert [row["class"] for row in classes] == list(CLASSES)
    share = sum(row["accuracy"] * row["pictures"] for row in classes) / 40
    assert share == pytest.approx(accuracy(network, pictures, "float32"))
    assert not ablate_units(network, [FURTHER_UP], units, pictures, CLASSES, 19, 1)[0]


def test_concepts_have_the_classes_names_or_those_that_the_config_gives():
    labels = ["cat", "dog", "sky"]
    assert concepts_of(["cat", "n02"], {}, labels, "c.h5") == ["cat", "n02"]
    assert concepts_of(["cat", "n02"], {"n02": "dog"}, labels, "c.h5") == ["cat", "dog"]
    assert concepts_of(["cat", "n02"], {"n02": "dog", "n03": "sky"}, labels, "c.h5") == ["cat", "dog"]
    for name in ("n02", "n03"):
        with pytest.raises(UserError) as error:
            concepts_of(["cat", "n02"], {name: "house"}, labels, "c.h5")
        assert str(error.value) == (
            f"ablation.classes.{name} is the concept 'house', which c.h5 does not have; write an existing name, such as"
            " cat"
        )
    assert readable("caf\udce9") == "caf�" and readable("café") == "café"


def test_another_number_of_classes_is_refused(pictures):
    with pytest.raises(UserError, match=r"have 4 classes, and the network's output is \(40, 3\): give"):
        count_right(drawn(), pictures, {}, {})


def test_pictures_in_folders_are_prepared_as_for_measuring_accuracy(tmp_path):
    preprocessing = VIEW | {"resize": 14, "interpolation": "bilinear"}
    network = drawn(5, classes=12)
    network[7].weight.data.mul_(50)
    pictures = FolderPictures(greys(tmp_path), preprocessing, 2, "number", torch.device("cpu"))
    right = count_right(network, pictures, {}, {})
    assert pictures.classes[:3] == ("0", "1", "2") and right.pictures.tolist() == [1] * 12
    assert right.before.sum() / 12 == measure_accuracy(network, tmp_path, preprocessing, 1, "number")


UNIT_COLUMNS = ("layer", "unit", "label", "detector", "dead")


def run_command(folder, monkeypatch, **changes):
    """The rows of both tables that the command writes, for a network with packed pictures of grey folders."""
    network = drawn(5, classes=12)
    save_network(folder / "network.pt", network, full_masks(network, []), 12, None)
    with open(folder / "units.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(UNIT_COLUMNS)
        labels = ["red", "red", "blue", "", "red", "blue"]
        writer.writerows((POOLED, unit, label, bool(label), False) for unit, label in enumerate(labels))
    words = {
        "network": folder / "network.pt",
        "settings": json.dumps({"constructor": HERE, "arguments": {"classes": 12}}),
        "layers": POOLED,
        "units": folder / "units.csv",
        "concepts": folder / "concepts.h5",
        "classes": json.dumps({"3": "blue"}),
        "random-sets": 19,
        "replicate": 1,
        "test": folder / "pictures",
        "class-order": '"number"',
        "preprocessing": json.dumps(VIEW | {"resize": 14, "interpolation": "bilinear"}),
        "gpus": 0,
        "out": folder / "ablation.csv",
        "out-classes": folder / "classes.csv",
    }
    words |= changes
    arguments = [text for name, word in words.items() for text in (f"--{name}", str(word))]
    monkeypatch.setattr(sys, "argv", ["ablate_units", *arguments])
    ablation.main()
    return [list(csv.DictReader((folder / name).read_text().splitlines())) for name in ("ablation.csv", "classes.csv")]


class Concepts:
    """The parts of a concept set that the command reads."""

    label_name = ("blue", "red")

    def __init__(self, path):
        pass

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *_):
        """Do nothing."""
        pass


def test_the_command_writes_both_tables_the_same_each_time(tmp_path, monkeypatch):
    greys(tmp_path / "pictures")
    monkeypatch.setattr(ablation, "ConceptData", Concepts)
    [row], classes = run_command(tmp_path, monkeypatch)
    assert (row["class"], row["concept"], row["units"], row["pictures"]) == ("3", "blue", "2", "1")
    assert [one["class"] for one in classes] == [str(number) for number in range(12)]
    texts = [(tmp_path / name).read_bytes() for name in ("ablation.csv", "classes.csv")]
    run_command(tmp_path, monkeypatch)
    assert texts == [(tmp_path / name).read_bytes() for name in ("ablation.csv", "classes.csv")]
    rows, _ = run_command(tmp_path, monkeypatch, classes="{}")
    assert rows == [] and (tmp_path / "ablation.csv").read_text() == ",".join(COLUMNS) + "\n"
    with pytest.raises(UserError, match=r"units\.csv has no units of the layer 2: dissect that network again"):
        run_command(tmp_path, monkeypatch, layers=FURTHER_UP)


CUT = f"{','.join(UNIT_COLUMNS)}\n{POOLED},0,red,True,False\n{POOLED},1,bl"
OTHER_UNITS = {
    "a line that ends early": (CUT, r"has flags other than True and False in 4"),
    "another word for a flag": (CUT + "ue,yes,False\n", r"has flags other than True and False in 4"),
    "no flag": (CUT + "ue,,False\n", r"has flags other than True and False in 4"),
    "a unit twice": (CUT + "ue,True,False\n" + f"{POOLED},1,red,True,False\n", "each unit of layer 4 once"),
    "a unit too few": (CUT + "ue,True,False\n", r"4 has 6 units, but 2 in units\.csv"),
    "a long cell": (CUT + "u" * 200_000 + ",True,False\n", r"damaged\.csv is damaged, or another kind of file \(field"),
    "no column unit": (CUT.replace("unit", "row") + "ue,True,False\n", r"damaged\.csv is damaged"),
}


@pytest.mark.parametrize("name", OTHER_UNITS)
def test_a_damaged_units_table_is_refused(tmp_path, monkeypatch, name):
    text, words = OTHER_UNITS[name]
    greys(tmp_path / "pictures")
    monkeypatch.setattr(ablation, "ConceptData", Concepts)
    (tmp_path / "damaged.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        run_command(tmp_path, monkeypatch, units=tmp_path / "damaged.csv")
    assert not (tmp_path / "ablation.csv").exists()


def test_classes_that_a_spreadsheet_would_compute_are_text(tmp_path):
    folder = greys(tmp_path)
    (folder / "0").rename(folder / "=1+1")
    preprocessing = VIEW | {"resize": 14, "interpolation": "bilinear"}
    pictures = FolderPictures(folder, preprocessing, 1, "text", torch.device("cpu"))
    place = next(place for place, name in enumerate(pictures.names) if "=" in str(name))
    [(_, [number])] = pictures.plain([np.array([place])])
    assert pictures.classes[number] == "'=1+1"


def test_pictures_in_files_are_listed_by_their_index(tmp_path):
    folder = greys(tmp_path / "pictures")
    index_images(folder, folder, tmp_path / "index.h5")
    preprocessing = VIEW | {"resize": 14, "interpolation": "bilinear"}
    shown = {"test": None, "packed": tmp_path / "index.h5", "folder": folder}
    args = argparse.Namespace(**shown, preprocessing=preprocessing, workers=2)
    pictures = ablation.read_pictures(args, torch.device("cpu"))
    right = count_right(drawn(5, classes=12), pictures, {POOLED: [np.array([0])]}, {POOLED: 6})
    assert right.pictures.tolist() == [1] * 12 and right.by == {POOLED: "logits"}
    assert right.before.sum() / 12 == pytest.approx(accuracy(drawn(5, classes=12), pictures, "float32"))
