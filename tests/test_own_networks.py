"""The config's entries of networks of the user's own."""

import re
from datetime import date

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import HERE, VIEW, drawn, greys, saved

from workflow_scripts.networks.torchvision_models import models
from workflow_scripts.plan.own_networks import matches, read_networks, read_presets, source_of
from workflow_scripts.shared.files import UserError

NO_ONE_SHOT = {"methods": [], "densities": [0.5], "exempt": []}


def entry(**changes: object) -> dict:
    return {"name": "mine", "constructor": HERE, "weights": "none", "layers": ["3"], "preprocessing": VIEW} | changes


def networks(*entries: dict, **one_shot: object) -> dict:
    return read_networks({"networks": list(entries), "one_shot": NO_ONE_SHOT | one_shot})


def test_an_entry_has_its_floors_and_its_one_shot_arms(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    found = networks(entry(weights=weights), methods=["global", "random"], densities=[0.5, 0.1])
    assert {key: network.role for key, network in found.items()} == {
        ("mine", 1, 0): "imported",
        ("mine_untrained", 1, 0): "imported",
        ("mine_shuffled_labels", 1, 0): "shuffled",
        ("mine_global", 1, 0): "same",
        ("mine_global", 1, 1): "pruned",
        ("mine_global", 1, 2): "pruned",
        ("mine_random", 1, 0): "same",
        ("mine_random", 1, 1): "pruned",
        ("mine_random", 1, 2): "pruned",
    }
    assert found["mine", 1, 0].weights == weights and found["mine_untrained", 1, 0].weights is None
    assert [found["mine_random", 1, level].density for level in (1, 2)] == [0.5, 0.1]
    assert all(network.parent == ("mine", 1, 0) for key, network in found.items() if network.role != "imported")
    assert found["mine", 1, 0].entry.preprocessing == VIEW | {"resize": 12, "interpolation": "bilinear"}
    assert list(networks(entry(weights=weights, floors=[]))) == [("mine", 1, 0)]
    # An untrained network is its own floor.
    assert list(networks(entry(floors=["untrained"]))) == [("mine", 1, 0)]
    assert networks() == {}


def test_the_order_of_classes_is_stated_where_it_is_not_clear(tmp_path):
    folder = greys(tmp_path / "pictures")
    names = [str(number) for number in range(12)]
    undecided = "from class 2 on the class folders of .*pictures are 10, 11, 2, ... as text"
    with pytest.raises(UserError, match=f"config: networks.mine.class_order is missing: {undecided}"):
        networks(entry(test=str(folder)))
    assert networks(entry(test=str(folder), class_order="number"))["mine", 1, 0].entry.class_order == "number"
    for wrong, words in (
        (names[:11], "networks.mine.class_order lacks '11', a class folder"),
        ([*names[:11], "12"], "networks.mine.class_order names '12', and there is no such class folder"),
        ([*names, "3"], "networks.mine.class_order names '3' more than once"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            networks(entry(test=str(folder), class_order=wrong))
    with pytest.raises(UserError, match=r"networks.mine.test is .*, which holds 0 class folders"):
        networks(entry(test=str(folder / "0")))


def test_files_of_many_replicates_and_levels_are_found_by_a_pattern(tmp_path):
    for replicate, level in ((1, 0), (1, 10), (2, 0), (2, 3)):
        folder = tmp_path / f"run_{replicate}"
        folder.mkdir(exist_ok=True)
        saved(folder, drawn(), f"run_{replicate}_level_{level}.pt")
        torch.save({}, folder / f"mask_{level}.pt")
    (tmp_path / "run_1" / "run_2_level_0.pt").touch()  # the folder says otherwise
    (tmp_path / "run_x").mkdir()
    pattern = f"{tmp_path}/run_{{replicate}}/run_{{replicate}}_level_{{level}}.pt"
    masks = f"{tmp_path}/run_{{replicate}}/mask_{{level}}.pt"
    found = networks(entry(weights=pattern, masks=masks, floors=["untrained"]), methods=["global"])
    assert [key for key in found if key[0] == "mine"] == [
        ("mine", 1, 0),
        ("mine", 1, 10),
        ("mine", 2, 0),
        ("mine", 2, 3),
    ]
    assert found["mine", 1, 10].masks == f"{tmp_path}/run_1/mask_10.pt"
    assert [key for key in found if key[0] == "mine_untrained"] == [("mine_untrained", 1, 0), ("mine_untrained", 2, 0)]
    assert found["mine_global", 2, 1].parent == ("mine", 2, 0)
    (tmp_path / "run_2" / "mask_3.pt").unlink()
    with pytest.raises(UserError, match=r"networks.mine.masks: there is no file .*run_2/mask_3.pt"):
        networks(entry(weights=pattern, masks=masks))
    with pytest.raises(UserError, match=r"networks.mine.weights is .*level_\{level\}.pth', and there is no such file"):
        networks(entry(weights=pattern + "h"))


def test_weights_may_be_the_constructors_own():
    found = networks(entry(weights={"pretrained": True}), methods=["global"])
    assert found["mine", 1, 0].weights == {"pretrained": True}
    assert found["mine_untrained", 1, 0].weights is None and ("mine_global", 1, 1) in found


def test_entries_of_one_name_are_one_arm(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    found = networks(
        entry(weights=weights, level=3, density=0.1), entry(weights=weights), methods=["random"], densities=[0.5]
    )
    assert list(found) == [
        ("mine", 1, 0),
        ("mine", 1, 3),
        ("mine_untrained", 1, 0),
        ("mine_shuffled_labels", 1, 0),
        ("mine_random", 1, 0),
        ("mine_random", 1, 1),
    ]
    assert found["mine", 1, 3].density == 0.1 and found["mine", 1, 0].density is None
    with pytest.raises(UserError, match="entries of the name mine differ in more than weights"):
        networks(entry(weights=weights), entry(weights=weights, level=1, layers=["2"]))


@settings(max_examples=50, deadline=None)
@given(name=st.text(st.sampled_from("ab[]*?.{}"), max_size=6))
def test_other_characters_of_a_pattern_mean_themselves(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("pattern")
    (folder / f"x{name}7.pt").touch()
    (folder / "xother7.pt").touch()
    assert matches(f"{folder}/x{name}{{level}}.pt", "key") == {f"{folder}/x{name}7.pt": {"level": "7"}}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry(), entry()], "arm mine, replicate 1, level 0 is named twice"),
        ([entry(name="imp")], "the name imp means something else"),
        ([entry(name="gallery")], "the name gallery means something else"),
        ([entry(name="untrained")], "the name untrained means something else"),
        ([entry(density=0.5, weights="{level}.pt")], "networks.mine.density is of one file without masks"),
        ([entry(density=0.5, masks="masks.pt")], "networks.mine.density is of one file without masks"),
        ([entry(arguments={"day": date(2026, 1, 1)})], "networks.mine.arguments hold more than numbers"),
        ([entry(preprocessing=VIEW | {"resize": 6})], "networks.mine.preprocessing.resize must be at least size, 12"),
        ([entry(preprocessing="R3D_18_Weights.DEFAULT")], "which is no preset of torchvision's for classifying"),
        ([entry(name="a_shuffled_labels")], "a_shuffled_labels means something else"),
        ([entry(masks="no/such.pt")], "networks.mine.masks: there is no file no/such.pt"),
        ([entry(weights="no/such.pt")], "networks.mine.weights is 'no/such.pt', and there is no such file"),
        ([entry(class_order="text")], "networks.mine.class_order is the order of the class folders in test, which is"),
        ([entry(part="ema", weights="none")], "networks.mine.part is of a file of weights: leave it out"),
        ([entry(missing=["0"], weights={"a": 1})], "networks.mine.missing is of a file of weights: leave it out"),
        ([entry(test="no/such")], "networks.mine.test is 'no/such', and there is no such folder"),
        ([entry(preprocessing="ResNet50_Weights.V9")], "'ResNet50_Weights.V9', which is no preset"),
        ([entry(preprocessing="FCN_ResNet50_Weights.DEFAULT")], "which is no preset of torchvision's for classifying"),
        ([{"name": "l", "openlth": "no/lottery", "layers": ["a"]}], "there is no folder no/lottery"),
    ],
)
def test_wrong_entries_are_told_before_anything_runs(entries, words):
    with pytest.raises(UserError, match=re.escape(words)):
        networks(*entries)


def test_what_cannot_be_measured_without_weights_that_are_missing_is_told(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    for name in ("test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"networks\.mine\.missing leaves weights .*: leave out test"):
        networks(entry(weights=weights, missing=["7"], test=str(tmp_path / "test")))
    for layer in ("0", "0.conv", "0@4x4", "0#2"):
        with pytest.raises(UserError, match=rf"networks\.mine\.layers: {layer} is among the missing"):
            networks(entry(weights=weights, missing=["0"], layers=[layer]))
    reading = {"part": "ema", "missing": ["0"], "unused": ["aux"]}
    found = networks(entry(weights=weights, layers=["01"], **reading))
    assert found["mine", 1, 0].reading == reading
    assert found["mine_untrained", 1, 0].reading == {}


def test_an_entry_may_not_be_called_as_an_arm_that_follows_from_another(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    for name in ("a_global", "a_untrained"):
        with pytest.raises(UserError, match=f"the name {name} is that of an arm that follows from a"):
            networks(entry(name="a", weights=weights), entry(name=name, level=7), methods=["global"])
    with pytest.raises(UserError, match=r"one_shot.methods prune the networks of your own, and networks names none"):
        networks(methods=["global"])


def test_digits_of_file_names_are_kept(tmp_path):
    for level in (0, 1, 10):
        saved(tmp_path, drawn(), f"z_{level:02}.pt")
        torch.save({}, tmp_path / f"mask_{level:02}.pt")
    found = networks(entry(weights=f"{tmp_path}/z_{{level}}.pt", masks=f"{tmp_path}/mask_{{level}}.pt", floors=[]))
    assert {key[2]: (network.weights, network.masks) for key, network in found.items()} == {
        level: (f"{tmp_path}/z_{level:02}.pt", f"{tmp_path}/mask_{level:02}.pt") for level in (0, 1, 10)
    }
    saved(tmp_path, drawn(), "z_1.pt")
    torch.save({}, tmp_path / "mask_1.pt")
    with pytest.raises(UserError, match="level 1 is named twice"):
        networks(entry(weights=f"{tmp_path}/z_{{level}}.pt", masks=f"{tmp_path}/mask_{{level}}.pt"))


def test_a_preset_of_torchvisions_says_how_pictures_are_prepared():
    found = networks(entry(preprocessing="EfficientNet_B1_Weights.IMAGENET1K_V1", floors=[]))["mine", 1, 0]
    assert found.entry.preprocessing == {
        "size": 240,
        "resize": 256,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic",
    }


def test_the_table_of_presets_is_torchvisions():
    presets = [
        (f"{weights.__name__}.{name}", weight.transforms())
        for weights in map(models.get_model_weights, models.list_models(module=models))
        for name, weight in weights.__members__.items()
    ]
    assert read_presets() == {
        name: {
            "size": preset.crop_size[0],
            "resize": preset.resize_size[0],
            "mean": list(preset.mean),
            "std": list(preset.std),
            "interpolation": preset.interpolation.value,
        }
        for name, preset in presets
    }


def test_the_code_of_a_constructor_is_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "some_package" / "models"
    package.mkdir(parents=True)
    for file, text in {
        package.parent / "__init__.py": "raise RuntimeError('imported')",
        package / "resnet.py": "two = 2",
        package / "blocks.py": "three = 3",
        tmp_path / "plain.py": "raise RuntimeError('imported')",
    }.items():
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("some_package.models.resnet:a.b", "plain:a")
    before = [source_of(name) for name in names]
    (package / "blocks.py").write_text("three = 4")  # which resnet may import
    (tmp_path / "plain.py").touch()
    after = [source_of(name) for name in names]
    assert all(before) and after[0] != before[0] and after[1] == before[1]
    (package.parent / "__init__.py").unlink()  # a package without it
    (tmp_path / "plain.py").write_text("other")
    last = [source_of(name) for name in names]
    assert last[0] not in (before[0], after[0], "") and last[1] != before[1]
    assert source_of("no_such_package.models:a") == ""


def test_of_installed_packages_and_of_this_workflow_the_module_alone_counts(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "installed"
    package.mkdir(parents=True)
    (package / "models.py").write_text("one = 1")
    (package / "other.py").write_text("two = 2")
    monkeypatch.syspath_prepend(package.parent)
    before = source_of("installed.models:a")
    (package / "other.py").write_text("two = 3")
    assert before == source_of("installed.models:a") != source_of("installed.other:a")
    assert (
        source_of("workflow_scripts.networks.openlth_models:cifar_vgg")
        != source_of("workflow_scripts.shared.files:x")
        != ""
    )
