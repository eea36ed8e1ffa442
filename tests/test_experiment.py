"""What a config asks for, in the form that the rules need: files, arguments, resources."""

import json
import re
import shlex
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.plan.experiment import Experiment, named_arguments
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.load import complete_config
from workflow_scripts.plan.resources import DISSECTION, TESTED, TRAININGS
from workflow_scripts.shared.files import UserError

VIEW = {"size": 224, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
BROUGHT: dict[str, Any] = {
    "name": "lite",
    "recipe": "brought",
    "constructor": "torchvision.models:resnet18",
    "weights": "none",
}
BROUGHT |= {"layers": ["layer4"], "preprocessing": VIEW}
PRUNED = {"name": "lite_random", "recipe": "prune_once", "of": "lite", "method": "random", "densities": [0.5]}
IMP = {"name": "imp", "recipe": "imp"}
RULES = ("init_network", "make_control", "train_dense", "train_level", "import_network", "prune_once")


def experiment(gpus: int = 0, **changes: object) -> Experiment:
    return Experiment(complete_config(changes) | {"gpus": gpus})


def test_the_default_experiment():
    default = experiment()
    assert default.results == "results/shapes" and default.checked()[0] == "results/shapes/data/network.json"
    assert len(default.networks) == 3 * (5 + 3)
    assert default.file(Key("imp", 2, 3), "units.csv") == "results/shapes/imp/replicate_2/level_3/units.csv"
    dense = [f"results/shapes/imp/replicate_{replicate}/level_0" for replicate in (1, 2, 3)]
    control = [f"results/shapes/shuffled_labels/replicate_{replicate}/level_0" for replicate in (1, 2, 3)]
    # The dense network and its control are measured once, and named each by itself.
    assert all(default.metrics().count(f"{folder}/metrics.json") == 2 for folder in dense)
    assert all(default.units().count(f"{folder}/units.csv") == 1 for folder in dense + control)
    assert "results/shapes/figures/accuracy.svg" in default.figures("svg")
    assert len(default.all_drawn()) == len(default.networks) and default.other_names() == ""
    assert default.concepts(default.first_design()) == "results/shapes/data/concepts.h5"


def test_the_gallery_draws_chosen_arms_alone_also_under_the_names_of_others():
    arms = [IMP, {"name": "oneshot", "recipe": "oneshot", "of": "imp"}, BROUGHT, PRUNED]
    some = experiment(arms=arms, gallery={"arms": ["oneshot", "lite_random"]})
    folders = {folder.removeprefix("results/shapes/gallery/networks/") for folder in some.all_drawn()}
    levels = {network.key.folder for network in some.networks.values() if network.key.arm in ("oneshot", "lite_random")}
    firsts = {name for name in levels if name.endswith("level_0")}
    dense = {Key("imp", replicate, 0).folder for replicate in (1, 2, 3)} | {Key("lite", 1, 0).folder}
    assert folders == levels - firsts | dense  # level 0 is drawn as that of the other arm
    replicates = [f"{replicate}/0=imp/{replicate}/0" for replicate in (1, 2, 3)]
    others = ["--other-names", "oneshot", *replicates, "--other-names", "lite_random", "1/0=lite/1/0"]
    assert shlex.split(some.other_names()) == others and len(firsts) == 4
    assert some.drawn_networks().count("/") == len(folders)
    assert shlex.split(some.chosen_arms("gallery")) == ["--arm", "oneshot", "--arm", "lite_random"]
    assert some.chosen_arms("figures") == "" and "accuracy" in some.figure_names
    assert "accuracy" not in experiment(arms=arms, figures={"arms": ["lite"]}).figure_names
    assert len(some.metrics()) == len(some.networks)  # the tables have them all


def test_trained_and_imported_networks_can_be_in_one_experiment():
    both = experiment(arms=[IMP, BROUGHT, PRUNED], pruning={"fraction": 0.5})
    assert set(both.designs) == {"", "_lite"}
    assert both.concepts(both.designs["_lite"]) == "results/shapes/data/concepts_224_bilinear.h5"
    assert both.view("_224_bilinear") == both.designs["_lite"].preprocessing
    assert both.fields(both.designs["_lite"]) == ["results/shapes/data/receptive_fields_lite.json"]
    assert both.arms_of("train_dense") == both.arms_of("train_level") == "imp"
    assert both.arms_of("import_network", "prune_once") == "lite|lite_random"
    # Level 0 of what is pruned at once is the network itself.
    assert both.drawn(both.networks["lite_random", 1, 0]) == both.drawn(both.networks["lite", 1, 0])
    assert both.other_names() == "--other-names lite_random 1/0=lite/1/0"
    assert (both.density("imp", "1", "1"), both.density("lite_random", "1", "1")) == (0.5, 0.5)
    assert both.density("imp", "1", "0") == 1
    assert both.density("lite", "1", "0") is both.density("no_such", "1", "0") is None


def test_level_0_has_its_networks_density_and_whole_filters_have_their_own():
    arms = [IMP, *({"name": name, "recipe": name, "of": "imp"} for name in ("oneshot", "structured")), BROUGHT]
    arms.append({"name": "tuned", "recipe": "finetune", "of": "lite", "rate": 0.1})
    found = experiment(arms=arms, images={"size": 224}, pruning={"fraction": 0.5})
    assert [found.density("oneshot", "1", level) for level in "0123"] == [1, 0.5, 0.25, 0.125]
    assert [found.density("structured", "1", level) for level in "0123"] == [1, None, None, None]
    assert [found.density("tuned", "1", level) for level in "0123"] == [None] * 4


def test_requests_for_unknown_files_end_in_a_sentence():
    oneshot = {"name": "oneshot", "recipe": "oneshot", "of": "imp", "levels": [2]}
    found = experiment(arms=[IMP, oneshot, ROTATED])
    assert found.needed(Key("oneshot", 2, 2)) == {
        "parent": "results/shapes/imp/replicate_2/level_0/network.pt",
        "rewind": "results/shapes/imp/replicate_2/level_0/rewind.pt",
        "like": "results/shapes/imp/replicate_2/level_2/network.pt",
    }
    for key in (Key("oneshot", 2, 3), Key("oneshot", 7, 2), Key("elsewhere", 1, 0), Key("turned", 1, 0)):
        sentence = f"the experiment has no network {key.folder}: correct the file that you asked for"
        for ask in (found.network, found.needed):
            with pytest.raises(UserError) as error:
                ask(key)
            assert str(error.value) == sentence
    alias = Key("oneshot", 2, 0)
    assert found.network(alias).files_of == Key("imp", 2, 0)
    with pytest.raises(UserError) as error:
        found.needed(alias)
    assert str(error.value) == (
        "oneshot/replicate_2/level_0 is a second name of imp/replicate_2/level_0: ask for a file of that"
    )
    for ask in (found.rotations, found.turns):
        with pytest.raises(UserError) as error:
            ask(Key("oneshot", 2, 2))
        assert str(error.value) == (
            "no arm of the recipe rotated applies to oneshot/replicate_2/level_2: add one, or ask for another file"
        )


UNTRAINED = {"name": "untrained", "recipe": "untrained", "of": "lite"}


@pytest.mark.parametrize("arms", [[IMP], [BROUGHT, PRUNED, UNTRAINED], [IMP, BROUGHT, PRUNED]])
def test_every_network_is_made_by_one_rule(arms):
    found = experiment(arms=arms)
    expressions = {rule: re.compile(found.arms_of(rule)) for rule in RULES}
    for network in found.networks.values():
        makers = {rule for rule, expression in expressions.items() if expression.fullmatch(network.key.arm)}
        assert network.made_by in {*makers, ""}
    by_arm = [rule for rule in RULES if rule not in ("train_dense", "train_level")]
    for one, other in combinations(by_arm, 2):  # dense networks and levels are told apart by their level
        assert not set(found.arms_of(one).split("|")) & set(found.arms_of(other).split("|")) - {"(?!)"}


ROTATED = {"name": "turned", "recipe": "rotated", "of": "imp"}


def test_networks_of_an_arm_are_rotated_each_once():
    found = experiment(arms=[IMP, ROTATED | {"alphas": [1, 0.5], "seeds": 2}], pruning={"levels": 1})
    assert not any(key.arm == "turned" for key in found.networks)
    assert [network.key for network in found.rotated_networks()] == [
        ("imp", replicate, level) for replicate in (1, 2, 3) for level in (0, 1)
    ]
    assert found.turns(Key("imp", 2, 1)) == "--alphas 0.5 1.0 --seeds 1 2"
    assert found.rotated_arms() == "--rotated imp 2 0.5 1.0"
    [row] = [arm.row for arm in found.arms if arm.name == "turned"]
    assert row == {
        **{"arm": "turned", "base": "imp", "role": "baseline", "recipe": "rotated", "starts_from": ""},
        **{"label": "in a random basis", "same_units": True},
    }
    assert experiment(arms=[IMP, ROTATED]).turns(Key("imp", 1, 0)) == "--alphas 1.0 --seeds 1 2 3 4 5"


def test_a_network_with_several_names_gets_the_rotations_of_all():
    of_pruned = ROTATED | {"of": "lite_random", "alphas": [0.5], "seeds": 3}
    found = experiment(arms=[BROUGHT, PRUNED, of_pruned])
    rotated = found.rotated_networks()
    assert [network.key for network in rotated] == [("lite_random", 1, 0), ("lite_random", 1, 1)]
    assert [network.files_of for network in rotated] == [("lite", 1, 0), ("lite_random", 1, 1)]
    assert found.turns(Key("lite", 1, 0)) == "--alphas 0.5 --seeds 1 2 3"
    both = experiment(arms=[BROUGHT, PRUNED, of_pruned, ROTATED | {"name": "b", "of": "lite", "seeds": 2}])
    assert both.turns(Key("lite", 1, 0)) == "--alphas 0.5 1.0 --seeds 1 2 3"
    assert both.turns(Key("lite_random", 1, 1)) == "--alphas 0.5 --seeds 1 2 3"
    assert both.rotated_arms() == "--rotated lite_random 3 0.5 --rotated lite 2 1.0"


def test_tables_and_figures_of_rotations_need_an_arm_that_is_rotated():
    table = "results/shapes/tables/rotations.csv"
    plain, turned = experiment(arms=[IMP]), experiment(arms=[IMP, ROTATED])
    assert "rotation" in turned.figure_names and table in turned.tables()
    assert "rotation" not in plain.figure_names and table not in plain.tables()


def test_units_of_tested_curves_and_references_are_switched_off(tmp_path):
    comparisons = [{"name": name, "recipe": name, "of": "imp"} for name in ("dense_again", "untrained", "oneshot")]
    shuffled = {"name": "s", "recipe": "shuffled_labels", "of": "imp", "role": "curve"}
    arms = [IMP, *comparisons, shuffled, BROUGHT, PRUNED]
    found = experiment(arms=arms, replicates=[1], pruning={"levels": 1})
    networks = [(*network.key, network.files_of) for network in found.ablated_networks()]
    dense = ("imp", 1, 0)
    assert networks == [
        *((*dense, dense), ("imp", 1, 1, ("imp", 1, 1)), ("dense_again", 1, 0, ("dense_again", 1, 0))),
        *(("oneshot", 1, 0, dense), ("oneshot", 1, 1, ("oneshot", 1, 1))),
    ]
    assert "ablation" in found.figure_names and found.table_names()[-2:] == ["ablation", "classes"]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    tested = experiment(arms=[BROUGHT | {"test": str(tmp_path)}, PRUNED])
    assert len(tested.ablated_networks()) == 3
    for without in (experiment(arms=arms, ablation={"layers": "none"}), experiment(arms=[BROUGHT])):
        assert without.ablated_networks() == []
        assert "ablation" not in without.figure_names and "classes" not in without.table_names()


def test_networks_with_units_off_see_the_same_pictures_as_whole_ones(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()

    def arguments(found: Experiment, key: Key) -> dict[str, str]:
        words = shlex.split(found.ablation(found.networks[key], "pictures"))
        return dict(zip(words[::2], words[1::2], strict=True))

    of_images = arguments(experiment(arms=[IMP]), Key("imp", 1, 0))
    assert of_images["--layers"] == "stages.3" and of_images["--random-sets"] == "100"
    assert json.loads(of_images["--preprocessing"])["mean"] == [0.5, 0.5, 0.5] and "--folder" not in of_images
    files = {"storage": "files", "source": str(tmp_path), "size": 64, "test_resize": 70}
    of_files = arguments(experiment(arms=[IMP], images=files), Key("imp", 1, 0))
    assert of_files["--folder"] == "pictures"
    shown = json.loads(of_files["--preprocessing"])
    assert (shown["size"], shown["resize"]) == (64, 70)
    ablation = {"layers": "all", "random_sets": 30, "classes": {"a": "it's"}}
    brought = experiment(arms=[BROUGHT | {"test": str(tmp_path), "class_order": ["b", "a"]}], ablation=ablation)
    of_folder = arguments(brought, Key("lite", 1, 0))
    assert of_folder["--test"] == str(tmp_path) and json.loads(of_folder["--class-order"]) == ["b", "a"]
    assert json.loads(of_folder["--classes"]) == {"a": "it's"}
    assert json.loads(of_folder["--preprocessing"]) == brought.designs["_lite"].preprocessing
    for found, key, threads in ((brought, Key("lite", 1, 0), 8), (experiment(arms=[IMP]), Key("imp", 1, 0), 1)):
        assert found.threads("ablate_units", found.networks[key]) == threads


def test_scripts_get_unequal_sides_and_grey_pictures_as_arguments():
    shown = {"size": [24, 16], "mean": [0.5], "std": [0.25]}
    found = experiment(arms=[BROUGHT | {"preprocessing": shown}, BROUGHT | {"name": "square"}])
    oblong, square = found.designs["_lite"], found.designs["_square"]
    assert found.concepts(oblong) == "results/shapes/data/concepts_24x16_bilinear.h5"
    assert found.view("_24x16_bilinear")["size"] == [24, 16]
    for design, wanted in ((oblong, "--size 24x16 --channels 1 "), (square, "--size 224 --channels 3 ")):
        assert wanted in found.checks(design) and wanted in found.geometry(design)
    assert "--mean 0.5 --std 0.25 " in found.dump(oblong)
    grey = experiment(images={"mean": [0.5], "std": [0.25]})
    assert "--size 48 --channels 1 " in grey.checks(grey.first_design())
    assert "--mean 0.5 --std 0.25 " in grey.network_settings({})
    with pytest.raises(
        UserError, match=r"images\.mean has one number, but std has 3 numbers: write three each, or one"
    ):
        experiment(images={"mean": [0.5]})
    with pytest.raises(UserError, match=r"images\.size is \[24, 16\]: write a whole number from 8 to 16384"):
        experiment(images={"size": [24, 16]})


def test_files_in_a_folder_named_to_a_constructor_belong_to_the_network(tmp_path):
    for name in ("model.safetensors", "config.json", ".hidden"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "more").mkdir()
    named = BROUGHT | {"weights": {"pretrained_model_name_or_path": str(tmp_path), "revision": "main", "fast": True}}
    network = experiment(arms=[named]).networks["lite", 1, 0]
    assert network.own_files == [str(tmp_path / "config.json"), str(tmp_path / "model.safetensors")]


def test_figures_of_accuracy_need_accuracy(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert "accuracy" not in experiment(arms=[BROUGHT]).figure_names
    assert "accuracy" in experiment(arms=[BROUGHT | {"test": str(tmp_path)}]).figure_names
    assert "accuracy" in experiment(arms=[BROUGHT, IMP]).figure_names


@pytest.mark.parametrize(
    ("source", "folder", "made"),
    [
        ("shapes", "results/shapes/data/shapes/images/train", True),
        ("own", "own/train", False),
        ("own.tar.gz", "results/shapes/data/images/train", True),
    ],
)
def test_the_folder_of_a_source(source, folder, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own.tar.gz").touch()
    found = experiment(images={"source": source})
    assert (found.packed_folder("images", "train"), found.is_made("images")) == (folder, made)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b_c"]), st.text() | st.integers() | st.lists(st.text(min_size=1))))
def test_arguments_survive_the_shell(values):
    words = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, str) and value.startswith("-"):
            words.append(f"{option}={value}")  # or else it would be taken for an option
        else:
            words += [option, *map(str, value if isinstance(value, list) else [value])]
    assert shlex.split(named_arguments(**values)) == words


@pytest.mark.parametrize("gpus", [0, 1, 4])
@pytest.mark.parametrize("storage", ["memory", "files"])
def test_threads_and_gpus(gpus, storage, tmp_path):
    images = {"storage": storage, "source": str(tmp_path)} if storage == "files" else {}
    found = experiment(
        gpus, images=images, arms=[IMP, BROUGHT, {"name": "s", "recipe": "shuffled_labels", "of": "imp"}]
    )
    for rule in TRAININGS:
        assert (found.gpus(rule), found.threads(rule)) == (gpus, max(gpus, 1) * (8 if storage == "files" else 1))
    for rule in (*TESTED, *DISSECTION):
        assert found.gpus(rule) == min(gpus, 1)
    # A control with shuffled labels is tallied in one job with its network, which has the GPU.
    shuffled = found.networks["s", 1, 0]
    assert (found.gpus("tally_units", shuffled), found.threads("tally_units", shuffled)) == (0, 1)
    untested = found.networks["lite", 1, 0]
    assert (found.gpus("measure_network", untested), found.threads("measure_network", untested)) == (0, 1)
    assert (found.gpus("collect"), found.threads("collect"), found.threads("make_images")) == (0, 1, 8)


def test_what_a_pruned_network_is_checked_with():
    found = experiment(arms=[BROUGHT, PRUNED | {"exempt": ["fc"]}, IMP])
    assert "--exempt fc --levels 0" in found.checks(found.designs["_lite"])
    trained = found.checks(found.designs[""])
    assert trained.endswith("--trained") and "--levels 4 --fraction 0.7" in trained


def test_the_exempt_layers_are_those_of_the_designs_pruning():
    tuned = {"name": "tuned", "recipe": "finetune", "of": "lite", "rate": 0.1, "levels": [1, 2]}
    once = [PRUNED | {"exempt": ["fc"]}, PRUNED | {"name": "b", "exempt": ["conv1"], "label": "b"}]
    own = {"pruning": {"exempt": ["layer1*"]}, "images": {"size": 224}}
    at_once = experiment(arms=[BROUGHT, *once], **own)
    assert "--exempt conv1 fc --levels 0" in at_once.checks(at_once.designs["_lite"])
    # Training leaves out other layers, and it is training that has to have weights left at each level.
    both = experiment(arms=[BROUGHT, *once, tuned], **own)
    assert "--exempt 'layer1*' --levels 2" in both.checks(both.designs["_lite"])
    none = experiment(arms=[BROUGHT, *once, tuned], images={"size": 224})
    assert "--exempt --levels 2" in none.checks(none.designs["_lite"])


def test_a_network_with_published_counts_is_recognised():
    published = BROUGHT | {
        "constructor": "torchvision.models:resnet50",
        "weights": {"weights": "IMAGENET1K_V1"},
        "preprocessing": "ResNet50_Weights.IMAGENET1K_V1",
    }
    found = experiment(arms=[published])
    assert [network.key for network in found.published()] == [("lite", 1, 0)]
    assert "results/shapes/tables/published.csv" in found.tables()
    for changes in ({"weights": "none"}, {"arguments": {"num_classes": 10}}, {"preprocessing": VIEW}):
        assert not experiment(arms=[published | changes]).published()
