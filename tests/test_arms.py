"""The arms of a config, and the networks of each."""

import json
import re
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.networks.torchvision_models import models
from workflow_scripts.plan import recipes
from workflow_scripts.plan.arms import read_arms
from workflow_scripts.plan.brought import matches
from workflow_scripts.plan.designs import source_of
from workflow_scripts.plan.load import complete_config
from workflow_scripts.plan.preprocessing import read_presets
from workflow_scripts.shared.files import UserError

VIEW = {"size": 12, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
CONFIG = {
    "replicates": [1, 4],
    "pruning": {"levels": 2, "fraction": 0.25, "rewind_epoch": 1, "exempt": []},
    "network": {"constructor": "workflow_scripts.networks.architectures:small_resnet", "arguments": {"widths": [16]}},
    "images": VIEW,
    "dissection": {"layers": ["stages.0"]},
}
TRAINED = [
    {"name": "imp", "recipe": "imp"},
    {"name": "untrained", "recipe": "untrained", "of": "imp"},
    {"name": "untrained_calibrated", "recipe": "untrained_calibrated", "of": "imp"},
    {"name": "shuffled_labels", "recipe": "shuffled_labels", "of": "imp"},
    {"name": "rotated", "recipe": "rotated", "of": "imp"},
    {"name": "trained_twice", "recipe": "trained_twice", "of": "imp"},
]


def brought(**changes: object) -> dict:
    """An arm of a user's networks."""
    item = {"name": "mine", "recipe": "brought", "constructor": "torchvision.models:resnet18", "weights": "none"}
    return item | {"layers": ["layer4"], "preprocessing": VIEW} | changes


def of(base: str, recipe: str, **more: object) -> dict:
    """An arm of another."""
    return {"name": f"{base}_{more.get('method', recipe)}", "recipe": recipe, "of": base} | more


def networks(*arms: dict, **changes: object) -> dict:
    return read_arms(CONFIG | {"arms": list(arms)} | changes)[1]


def rows(*arms: dict) -> dict[str, dict]:
    return {arm.name: arm.row for arm in read_arms(CONFIG | {"arms": list(arms)})[0]}


def test_arms_that_are_trained():
    found = networks(*TRAINED)
    assert {key: (network.made_by, network.parent) for key, network in found.items() if key.replicate == 4} == {
        ("imp", 4, 0): ("train_dense", ("untrained", 4, 0)),
        ("imp", 4, 1): ("train_level", ("imp", 4, 0)),
        ("imp", 4, 2): ("train_level", ("imp", 4, 1)),
        ("untrained", 4, 0): ("init_network", None),
        ("untrained_calibrated", 4, 0): ("make_control", ("untrained", 4, 0)),
        ("shuffled_labels", 4, 0): ("", ("imp", 4, 0)),
        ("trained_twice", 4, 0): ("train_dense", ("imp", 4, 0)),
    }
    assert {key.replicate for key in found} == {1, 4} and len(found) == 14
    assert [found["imp", 1, level].density for level in range(3)] == [1, 0.75, 0.5625]
    assert found["trained_twice", 1, 0].density is None
    assert {network.design.suffix for network in found.values()} == {""}


def test_networks_listed_under_a_second_name_share_files():
    found = networks(*TRAINED, brought(), of("mine", "prune_once", method="global", densities=[0.5]))
    shuffled, same, own = found["shuffled_labels", 1, 0], found["mine_global", 1, 0], found["mine_global", 1, 1]
    assert shuffled.files_of == ("imp", 1, 0) and shuffled.dissection_of == shuffled.key and shuffled.shuffled
    assert same.files_of == same.dissection_of == ("mine", 1, 0)
    assert own.files_of == own.dissection_of == own.key


def test_initial_networks_are_in_the_folder_of_their_arm():
    imp, drawn = {"name": "imp", "recipe": "imp"}, {"name": "drawn", "recipe": "untrained", "of": "imp"}
    assert networks(imp)["imp", 1, 0].parent == ("untrained", 1, 0)
    assert networks(imp, drawn)["imp", 1, 0].parent == ("drawn", 1, 0)
    # An arm of untrained networks of one's own is another matter.
    others = networks(imp, brought(), {"name": "own", "recipe": "untrained", "of": "mine"})
    assert others["imp", 1, 0].parent == ("untrained", 1, 0) and others["own", 1, 0].made_by == "import_network"


def test_arms_of_a_users_network(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.touch()
    found = networks(
        brought(weights=str(weights)),
        of("mine", "untrained"),
        of("mine", "shuffled_labels"),
        of("mine", "prune_once", method="global", densities=[0.5, 0.1]),
        of("mine", "prune_once", method="random", densities=[0.3], exempt=["fc"]),
    )
    assert {key: network.made_by for key, network in found.items()} == {
        ("mine", 1, 0): "import_network",
        ("mine_untrained", 1, 0): "import_network",
        ("mine_shuffled_labels", 1, 0): "",
        ("mine_global", 1, 0): "",
        ("mine_global", 1, 1): "prune_once",
        ("mine_global", 1, 2): "prune_once",
        ("mine_random", 1, 0): "",
        ("mine_random", 1, 1): "prune_once",
    }
    assert found["mine", 1, 0].weights == str(weights) and found["mine_untrained", 1, 0].weights is None
    assert [found["mine_global", 1, level].density for level in (1, 2)] == [0.5, 0.1]
    assert (found["mine_global", 1, 2].method, found["mine_global", 1, 2].exempt) == ("global", ())
    assert (found["mine_random", 1, 1].method, found["mine_random", 1, 1].exempt) == ("random", ("fc",))
    assert all(network.parent == ("mine", 1, 0) for network in found.values() if network.made_by != "import_network")
    assert found["mine", 1, 0].design.preprocessing == VIEW | {"resize": 12, "interpolation": "bilinear"}
    assert len({network.design.suffix for network in found.values()}) == 1


def test_rows_of_the_table():
    arms = [
        *TRAINED,
        brought(label="ResNet"),
        of("mine", "prune_once", method="structured", densities=[0.5]),
        of("mine", "untrained"),
        brought(name="other_ones", role="baseline", of="mine"),
    ]
    found = rows(*arms)
    assert list(found) == [arm["name"] for arm in arms]
    columns = ["arm", "base", "role", "recipe", "starts_from", "label", "same_units"]
    assert [list(row.values()) for row in found.values()] == [
        ["imp", "imp", "curve", "imp", "", "iterative magnitude pruning", True],
        ["untrained", "imp", "baseline", "untrained", "", "untrained", True],
        ["untrained_calibrated", "imp", "baseline", "untrained_calibrated", "untrained", "untrained, calibrated", True],
        ["shuffled_labels", "imp", "baseline", "shuffled_labels", "imp", "dense, labels shuffled", True],
        ["rotated", "imp", "baseline", "rotated", "", "in a random basis", True],
        ["trained_twice", "imp", "reference", "trained_twice", "imp", "dense, trained twice", True],
        ["mine", "mine", "curve", "brought", "", "ResNet", True],
        ["mine_structured", "mine", "curve", "prune_once", "mine", "one-shot, whole filters", True],
        ["mine_untrained", "mine", "baseline", "untrained", "", "untrained", True],
        ["other_ones", "mine", "baseline", "brought", "", "other ones", True],
    ]
    assert all(list(row) == columns for row in found.values())


def test_an_arm_may_be_listed_before_the_arm_that_it_is_of():
    found = networks(*reversed(TRAINED))
    assert found.keys() == networks(*TRAINED).keys()


HALVED = """\"\"\"The dense network, half as large.\"\"\"

import torch

LABEL: str = "dense, halved"
STARTS_FROM = "dense"


def make(network, masks, train, seed):
    network.half()
"""


@pytest.fixture
def controls(tmp_path, monkeypatch):
    """A folder of controls, instead of those of this repository."""
    monkeypatch.setattr(recipes, "CONTROLS", tmp_path)
    recipes.known_recipes.cache_clear()
    yield tmp_path
    recipes.known_recipes.cache_clear()


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("halved", "def make", "def mak", r"halved\.py makes nothing: add a function make"),
        ("halved", "):", ")", r"halved\.py, line 9 is no Python \(.*\): correct it"),
        ("halved", '"dense, halved"', "1", r"halved\.py has no LABEL"),
        ("halved", '= "dense"', '= "sparse"', r"STARTS_FROM = \"untrained\" or \"dense\""),
        ("halved", "import torch", 'ROLE = ["curve"]', r"write ROLE as one of"),
        ("imp", "", "", r"imp\.py: there is already a recipe imp: give the file another name"),
    ],
)
def test_the_file_of_a_control_is_checked_before_anything_runs(controls, name, old, new, words):
    (controls / f"{name}.py").write_text(HALVED.replace(old, new))
    with pytest.raises(UserError, match=words):
        networks(TRAINED[0])


def test_a_control_is_a_file(controls):
    (controls / "halved.py").write_text(HALVED)
    halved = {"name": "half", "recipe": "halved", "of": "imp"}
    assert networks(TRAINED[0], halved)["half", 1, 0].made_by == "make_control"
    assert networks(TRAINED[0], halved)["half", 1, 0].parent == ("imp", 1, 0)
    row = {"base": "imp", "role": "baseline", "starts_from": "imp", "label": "dense, halved"}
    assert row.items() <= rows(TRAINED[0], halved)["half"].items()


def test_files_of_many_replicates_and_levels_are_found_by_a_pattern(tmp_path):
    for replicate, level in ((1, 0), (1, 10), (2, 0), (2, 3)):
        folder = tmp_path / f"run_{replicate}"
        folder.mkdir(exist_ok=True)
        (folder / f"run_{replicate}_level_{level}.pt").touch()
        (folder / f"mask_{level}.pt").touch()
    (tmp_path / "run_1" / "run_2_level_0.pt").touch()  # the folder says otherwise
    (tmp_path / "run_x").mkdir()
    pattern = f"{tmp_path}/run_{{replicate}}/run_{{replicate}}_level_{{level}}.pt"
    masks = f"{tmp_path}/run_{{replicate}}/mask_{{level}}.pt"
    found = networks(
        brought(weights=pattern, masks=masks),
        of("mine", "untrained"),
        of("mine", "prune_once", method="global", densities=[0.5]),
    )
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
    with pytest.raises(UserError, match=r"arms.mine.masks: there is no file .*run_2/mask_3.pt"):
        networks(brought(weights=pattern, masks=masks))
    with pytest.raises(UserError, match=r"arms.mine.weights is .*level_\{level\}.pth', but there is no such file"):
        networks(brought(weights=pattern + "h"))


def test_weights_may_be_the_constructors_own():
    found = networks(brought(weights={"pretrained": True}), of("mine", "untrained"))
    assert found["mine", 1, 0].weights == {"pretrained": True} and found["mine_untrained", 1, 0].weights is None


def test_items_with_the_same_name_form_one_arm(tmp_path):
    weights = str(tmp_path / "weights.pt")
    (tmp_path / "weights.pt").touch()
    found = networks(brought(weights=weights, level=3, density=0.1), brought(weights=weights), of("mine", "untrained"))
    assert list(found) == [("mine", 1, 0), ("mine", 1, 3), ("mine_untrained", 1, 0)]
    assert found["mine", 1, 3].density == 0.1 and found["mine", 1, 0].density is None
    for differing in ({"layers": ["layer3"]}, {"arguments": {"num_classes": 7}}):
        with pytest.raises(UserError, match="arms called mine differ in more than weights"):
            networks(brought(weights=weights), brought(weights=weights, level=1, **differing))


def level_files(folder, *contents: object) -> str:
    """Weights and arguments of levels from 0 on; returns the pattern of the weights."""
    for level, content in enumerate(contents):
        (folder / f"level_{level}.pt").touch()
        (folder / f"channels_{level}.json").write_text(json.dumps(content))
    return f"{folder}/level_{{level}}.pt"


@pytest.mark.parametrize("in_files", [True, False])
def test_networks_whose_shapes_change_are_levels_of_one_arm(tmp_path, in_files):
    by_level = [{"width": 8}, {"width": 5}, {"width": 5}]
    weights = level_files(tmp_path, *by_level)
    arguments = f"{tmp_path}/channels_{{level}}.json" if in_files else by_level
    arm = brought(weights=weights, arguments=arguments)
    found = networks(arm, of("mine", "untrained"))
    assert [found["mine", 1, level].design.settings["arguments"] for level in range(3)] == by_level
    # Those of equal shapes share what concerns all of these.
    assert [found["mine", 1, level].design.suffix for level in range(3)] == ["_mine.1.0", "_mine.1.1", "_mine.1.1"]
    assert found["mine_untrained", 1, 0].design == found["mine", 1, 0].design
    assert not rows(arm)["mine"]["same_units"]
    equal = brought(weights=weights, arguments=[{"width": 8}] * 3)
    assert rows(equal)["mine"]["same_units"] and networks(equal)["mine", 1, 2].design.suffix == "_mine"


def test_more_values_than_levels_are_reported(tmp_path):
    weights = level_files(tmp_path, {"width": 8})
    for key in ("arguments", "density"):
        values = {"arguments": [{"width": 8}] * 2, "density": [1, 0.5]}[key]
        with pytest.raises(UserError, match=rf"arms\.mine\.{key} has length 2, .* the last level is 0: leave"):
            networks(brought(weights=weights, **{key: values}))


def test_densities_by_level(tmp_path):
    weights = level_files(tmp_path, {"width": 8}, {"width": 4})
    arm = brought(weights=weights, arguments=[{"width": 8}, {"width": 4}], density=[1, 0.3])
    assert [network.density for network in networks(arm).values()] == [1, 0.3]
    with pytest.raises(
        UserError, match=r"arms\.mine\.density has length 1, for levels from 0 on, but there is a level 1"
    ):
        networks(arm | {"density": [1]})


def test_for_a_single_module_the_modules_it_imports_beside_it_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("import parts\nimport torch")
    (tmp_path / "parts.py").write_text("from shapes import two")
    (tmp_path / "shapes.py").write_text("two = 2")
    (tmp_path / "other.py").write_text("three = 3")
    first = source_of("net:make")
    (tmp_path / "other.py").write_text("three = 4")
    assert source_of("net:make") == first
    (tmp_path / "shapes.py").write_text("two = 3")
    assert source_of("net:make") != first


def test_all_mistakes_in_users_networks_are_reported_at_once(tmp_path):
    pattern = f"{tmp_path}/level_{{level}}.pt"
    for level in (0, 1):
        (tmp_path / f"level_{level}.pt").touch()
    with pytest.raises(UserError) as error:
        networks(
            brought(weights=pattern, masks="no/{level}.pt", test="no/such", preprocessing="None_such", arguments=[{}]),
            brought(name="other", weights="no/file.pt"),
            of("other", "untrained"),
            {"name": "lottery", "recipe": "brought", "openlth": "no/lottery", "layers": ["a"]},
        )
    first, *sentences = str(error.value).split("\n  ")
    assert first == "config: 7 mistakes"
    for sentence, words in zip(
        sentences,
        [
            "arms.mine.test is 'no/such'",
            "arms.mine.preprocessing is 'None_such'",
            "arms.mine.masks: there is no file no/0.pt",
            "arms.mine.arguments has length 1, for levels from 0 on, but there is a level 1",
            "arms.mine.masks: there is no file no/1.pt",
            "arms.other.weights is 'no/file.pt'",
            "arms.lottery: there is no folder no/lottery",
        ],
        strict=True,
    ):
        assert sentence.startswith(words)


def test_wrong_arguments_by_level_are_reported(tmp_path):
    weights = level_files(tmp_path, {"width": 8}, [8])
    with pytest.raises(
        UserError, match=r"arms\.mine\.arguments has length 1, for levels from 0 on, but there is a level 1"
    ):
        networks(brought(weights=weights, arguments=[{"width": 8}]))
    with pytest.raises(UserError, match=r"channels_1.json does not hold arguments by name"):
        networks(brought(weights=weights, arguments=f"{tmp_path}/channels_{{level}}.json"))
    with pytest.raises(UserError, match=r"there is no file .*other_0.json: write the arguments of that level"):
        networks(brought(weights=weights, arguments=f"{tmp_path}/other_{{level}}.json"))
    deep = '{"a": ' + "[" * 60 + "]" * 60 + "}"
    for content, says in [
        ("[" * 99999, "is damaged, or another kind of file"),
        (deep, "more than 50 levels deep"),
        ('{"width": NaN}', "is damaged, or another kind of file .it holds NaN"),
        ('{"width": 1e999}', "channels_1.json: arguments.width is inf, which is not finite: write another number"),
        ('{"width": [-1e999]}', "channels_1.json: arguments.width.0 is -inf, which is not finite"),
        (f'{{"width": {"9" * 400}}}', "channels_1.json: arguments.width is a number of 1329 bits"),
        ('{"width": 8, "width": 16}', "it has the key 'width' twice"),
        ('{"a": {"width": 8, "width": 8}}', "it has the key 'width' twice"),
    ]:
        (tmp_path / "channels_1.json").write_text(content)
        with pytest.raises(UserError, match=says):
            networks(brought(weights=weights, arguments=f"{tmp_path}/channels_{{level}}.json"))
    (tmp_path / "channels_1.json").write_text("{")
    with pytest.raises(UserError, match=r"channels_1.json is damaged"):
        networks(brought(weights=weights, arguments=f"{tmp_path}/channels_{{level}}.json"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"blocks": [10**9]}, "blocks.0 is 1000000000: write a whole number from 1 to 1000"),
        ({"widths": [16, 32], "blocks": [1]}, ": widths has 2, blocks has 1: write the same number of items"),
        ({"width": 16}, r"unknown key .*arguments(\.0)?\.width; did you mean widths"),
        ({"widths": [16.5]}, "widths.0 is 16.5: write a whole number"),
        ({"num_classes": 0}, "num_classes is 0: write a whole number from 1"),
        # What is not to be trained may be as narrow as pruning channels makes it.
        ({"widths": [1, 8], "blocks": [1, 1], "inner": None, "stem_kernel": 9, "num_classes": 10}, None),
        ({"widths": [8], "blocks": [1], "inner": [3]}, None),
    ],
)
def test_arguments_are_checked_alike_in_a_config_a_list_and_a_file(tmp_path, arguments, says):
    small = "workflow_scripts.networks.architectures:small_resnet"
    weights = level_files(tmp_path, arguments)
    for written in (arguments, [arguments], f"{tmp_path}/channels_{{level}}.json"):
        with pytest.raises(UserError, match=says) if says else nullcontext():
            arm = brought(constructor=small, weights=weights, arguments=written)
            networks(*complete_config({"arms": [arm]})["arms"])


def test_untrained_networks_may_have_arguments_by_level():
    found = networks(brought(arguments=[{"width": 8}, {"width": 4}]))
    assert [network.design.settings["arguments"]["width"] for network in found.values()] == [8, 4]


@settings(max_examples=50, deadline=None)
@given(name=st.text(st.sampled_from("ab[]*?.{}"), max_size=6))
def test_other_characters_of_a_pattern_are_literal(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("pattern")
    (folder / f"x{name}7.pt").touch()
    (folder / "xother7.pt").touch()
    assert matches(f"{folder}/x{name}{{level}}.pt", "key") == {f"{folder}/x{name}7.pt": {"level": "7"}}


@pytest.mark.parametrize("place", ["level", "replicate"])
def test_a_number_in_a_files_name_has_a_bound(tmp_path, place):
    pattern = f"{tmp_path}/net_{{{place}}}.pth"
    (tmp_path / "net_4294967295.pth").touch()
    [network] = networks(brought(weights=pattern)).values()
    assert getattr(network.key, place) == 4294967295
    for digits in ("4294967296", "9" * 30, "9" * 240):
        file = tmp_path / f"net_{digits}.pth"
        file.touch()
        with pytest.raises(UserError, match=f"{file} has a replicate or level above 4294967295 in its name: give it"):
            networks(brought(weights=pattern))
        file.unlink()


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([brought(), brought()], "arm mine, replicate 1, level 0 is listed twice"),
        ([brought(density=0.5, weights="{level}.pt")], "arms.mine.density needs a single file without masks"),
        ([brought(density=0.5, masks="masks.pt")], "arms.mine.density needs a single file without masks"),
        ([brought(preprocessing=VIEW | {"resize": 6})], "arms.mine.preprocessing.resize must be at least size, 12"),
        ([brought(preprocessing="R3D_18_Weights.DEFAULT")], "which is not a preset of torchvision for classifying"),
        ([brought(masks="no/such.pt")], "arms.mine.masks: there is no file no/such.pt"),
        ([brought(weights="no/such.pt")], "arms.mine.weights is 'no/such.pt', but there is no such file"),
        ([brought(class_order="text")], "arms.mine.class_order is the order of the class folders in test, but test is"),
        ([brought(part="ema", weights="none")], "arms.mine.part only applies to weight files: leave it out"),
        ([brought(missing=["0"], weights={"a": 1})], "arms.mine.missing only applies to weight files: leave it out"),
        ([brought(test="no/such")], "arms.mine.test is 'no/such', but there is no such folder"),
        ([brought(preprocessing="ResNet50_Weights.V9")], "'ResNet50_Weights.V9', which is not a preset"),
        ([brought(preprocessing="FCN_ResNet50_Weights.DEFAULT")], "which is not a preset of torchvision for"),
        ([{"name": "l", "recipe": "brought", "openlth": "no/lottery", "layers": ["a"]}], "no folder no/lottery"),
    ],
)
def test_mistakes_are_reported_before_anything_runs(arms, words):
    with pytest.raises(UserError, match=re.escape(words)):
        networks(*arms)


def test_an_ambiguous_order_of_classes_must_be_given(tmp_path):
    names = [str(number) for number in range(12)]
    for name in names:
        (tmp_path / name).mkdir()
    undecided = f"from class 2 on, the class folders of {tmp_path} are 10, 11, 2, ... as text"
    for order, words in (
        ({}, f"config: arms.mine.class_order is missing: {undecided}"),
        ({"class_order": names[:11]}, "arms.mine.class_order lacks '11', a class folder"),
        ({"class_order": [*names[:11], "12"]}, "arms.mine.class_order has '12', but there is no such class folder"),
        ({"class_order": [*names, "3"]}, "arms.mine.class_order has '3' more than once"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            networks(brought(test=str(tmp_path), **order))
    found = networks(brought(test=str(tmp_path), class_order="number"))
    assert found["mine", 1, 0].design.class_order == "number"
    with pytest.raises(UserError, match=r"arms.mine.test is .*, which has 0 class folders"):
        networks(brought(test=str(tmp_path / "0")))


def test_measurements_that_need_missing_weights_are_refused(tmp_path):
    (tmp_path / "weights.pt").touch()
    weights = str(tmp_path / "weights.pt")
    for name in ("test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"arms\.mine\.missing leaves weights .*: leave out test"):
        networks(brought(weights=weights, missing=["7"], test=str(tmp_path / "test")))
    for layer in ("0", "0.conv", "0@4x4", "0#2"):
        with pytest.raises(UserError, match=rf"arms\.mine\.layers: {layer} is listed under missing"):
            networks(brought(weights=weights, missing=["0"], layers=[layer]))
    reading = {"part": "ema", "missing": ["0"], "unused": ["aux"]}
    found = networks(brought(weights=weights, layers=["01"], **reading), of("mine", "untrained"))
    assert found["mine", 1, 0].reading == reading
    assert found["mine_untrained", 1, 0].reading == {}


def test_leading_zeros_of_file_names_are_kept(tmp_path):
    for level in (0, 1, 10):
        (tmp_path / f"z_{level:02}.pt").touch()
        (tmp_path / f"mask_{level:02}.pt").touch()
    arm = brought(weights=f"{tmp_path}/z_{{level}}.pt", masks=f"{tmp_path}/mask_{{level}}.pt")
    assert {key[2]: (network.weights, network.masks) for key, network in networks(arm).items()} == {
        level: (f"{tmp_path}/z_{level:02}.pt", f"{tmp_path}/mask_{level:02}.pt") for level in (0, 1, 10)
    }
    (tmp_path / "z_1.pt").touch()
    (tmp_path / "mask_1.pt").touch()
    with pytest.raises(UserError, match="level 1 is listed twice"):
        networks(arm)


def test_a_torchvision_preset_gives_the_preprocessing():
    found = networks(brought(preprocessing="EfficientNet_B1_Weights.IMAGENET1K_V1"))["mine", 1, 0]
    assert found.design.preprocessing == {
        "size": 240,
        "resize": 256,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic",
    }


def test_the_table_of_presets_matches_torchvision():
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


def test_for_installed_packages_and_this_workflow_only_the_module_counts(tmp_path, monkeypatch):
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
