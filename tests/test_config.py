"""Loading the config, and the checks that report its mistakes."""

import copy
import json
import re
from functools import reduce
from pathlib import Path

import jsonschema
import pytest
import yaml
from snakemake.utils import update_config

from workflow_scripts.plan.check import is_archive, require_valid
from workflow_scripts.plan.editor_schema import FILE as EDITOR_SCHEMA
from workflow_scripts.plan.editor_schema import editor_schema, explanations
from workflow_scripts.plan.load import complete_config, lay_over, read_config
from workflow_scripts.plan.recipes import known_recipes
from workflow_scripts.plan.schema import read_schema, resolved, wanted, written
from workflow_scripts.shared.files import UserError

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
LAID_OVER = {"paper_controls": ["paper"]}  # the others state what differs from the default
NAN, INF = float("nan"), float("inf")
IMP = {"name": "imp", "recipe": "imp"}
BROUGHT = {
    "name": "own",
    "recipe": "brought",
    "constructor": "torchvision.models:resnet18",
    "weights": "none",
    "layers": ["layer4"],
    "preprocessing": "ResNet18_Weights.IMAGENET1K_V1",
}
PRUNED = {"name": "own_global", "recipe": "prune_once", "of": "own", "method": "global", "densities": [0.5]}
NOT_OF_IMP = ("imp", "brought", "prune_once")
# What arms of these recipes need, besides an `of`.
NEEDED: dict[str, dict] = {
    "finetune": {"rate": 0.001},
    "pruned": {"mask": "layerwise", "rounds": "iterative", "weights": "kept", "schedule": "whole"},
    "dense_early": {"epochs": [3, 5]},
    "dense_small": {"arguments": [{"inner": [16, 16, 32, 48]}]},
}
RAW_WORDS = re.compile(
    r"is not (of type|one of)|too (short|long)|non-empty|does not match|valid under|required property"
)


def arm(name, recipe, of, **more):
    return {"name": name, "recipe": recipe, "of": of} | more


def without(item, key):
    return {name: value for name, value in item.items() if name != key}


def mistakes_in(given, files=()):
    """The sentences that a config leads to."""
    with pytest.raises(UserError) as error:
        complete_config(given, files)
    first, *others = str(error.value).removeprefix("config: ").split("\n  ")
    assert str(error.value).startswith("config: ")
    if others:
        assert first == f"{len(others)} mistakes"
    sentences = others or [first]
    assert not any("\n" in sentence or RAW_WORDS.search(sentence) for sentence in sentences)
    return sentences


# Merging


def test_an_empty_config_gives_the_default_with_its_protocol_resolved():
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    config = complete_config({})
    assert without(config, "dissection") == without(default, "dissection")
    assert "protocol" not in without(config["dissection"], "protocol").values()
    assert config["dissection"]["quantile"] == config["dissection"]["largest_quantile"] == 0.005
    assert complete_config(config) == config


def test_the_given_config_and_the_default_are_not_modified():
    given = {"training": {"epochs": "5"}, "replicates": ["3"]}
    kept = copy.deepcopy(given)
    config = complete_config(given)
    config["images"]["mean"][0] = 9
    assert given == kept
    assert complete_config({})["images"]["mean"][0] == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"a": {"b": 2}},
        {"a": 1},
        {"a": {"c": {"d": [1]}}, "e": {"f": 1}},
        {"a": None},
        {"a": {}},
        {"g": {"h": 1}},
        {"a": {"b": {"x": 1}}},
    ],
)
def test_configs_are_merged_as_snakemake_merges_them(changes):
    base = {"a": {"b": 1, "c": {"d": [1, 2]}}, "g": [1]}
    theirs = copy.deepcopy(base)
    update_config(theirs, changes)
    assert lay_over(base, changes) == theirs


def test_a_list_of_arms_replaces_the_whole_default():
    assert complete_config({"arms": [IMP]})["arms"] == [IMP]


def test_the_default_networks_arguments_disappear_with_its_constructor():
    small = complete_config({})["network"]["constructor"]
    assert complete_config({"network": {"arguments": {"stem_kernel": 3}}})["network"]["arguments"]["widths"]
    assert complete_config({"network": {"constructor": small}})["network"]["arguments"]["widths"]
    other = {"constructor": "torchvision.models:resnet50"}
    assert complete_config({"network": other})["network"] == other | {"arguments": {}, "norm_init": "as_built"}
    other |= {"arguments": {"width_per_group": 128}}
    assert complete_config({"network": other})["network"]["arguments"] == {"width_per_group": 128}


def test_files_are_read_in_order_and_may_be_json(tmp_path):
    (tmp_path / "a.yaml").write_text("training: {epochs: 5, shift: 0}\nreplicates: [7]\n")
    (tmp_path / "b.json").write_text('{"training":{\n\t"epochs":6,"weight_decay":1e-5}}')
    config = read_config([tmp_path / "a.yaml", tmp_path / "b.json"])
    training = config["training"]
    assert (training["epochs"], training["shift"], training["weight_decay"]) == (6, 0, 1e-5)
    assert config["replicates"] == [7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is missing"),
        ("training: {epochs: 5", "line 1: expected ',' or '}'"),
        ("- 1", "has no keys"),
        ("", "has no keys"),
    ],
)
def test_a_file_that_is_not_a_config_ends_in_a_sentence(tmp_path, text, words):
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=re.escape(words)) as error:
        read_config([file])
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_all_shipped_configs_pass_wherever_they_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in CONFIGS:
        given = yaml.safe_load(path.read_text())
        below = [path.with_name(f"{name}.yaml") for name in LAID_OVER.get(path.stem, [])]
        given = reduce(lay_over, [*(yaml.safe_load(other.read_text()) for other in below), given])
        for section in ("images", "concepts"):
            source = Path(given.get(section, {}).get("source", "shapes"))
            if source != Path("shapes"):
                source.parent.mkdir(parents=True, exist_ok=True)
                source.touch() if is_archive(str(source)) else source.mkdir(exist_ok=True)
        config = read_config([*below, path])
        assert config["experiment"] == path.stem
        assert config == complete_config(given, [path])


# Duplicate keys


def test_duplicate_keys_are_reported_with_file_and_lines(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "training:\n  epochs: 5\n  shift: 1\n  epochs: 6\narms:\n  - {name: imp, recipe: imp, name: x}\nexperiment: a\n"
        "experiment: b\n"
    )
    assert mistakes_in({}, [file]) == [
        f"{file}, line 4: the key training.epochs is already in line 2: leave one out",
        f"{file}, line 6: the key arms.0.name is already in line 6: leave one out",
        f"{file}, line 8: the key experiment is already in line 7: leave one out",
    ]


def test_duplicate_keys_in_json_are_reported_too(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{\n\t"gpus":0,\n\t"gpus":1}')
    assert mistakes_in({}, [file]) == [f"{file}, line 3: the key gpus is already in line 2: leave one out"]


def test_the_same_key_in_different_places_is_accepted(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: &base {epochs: 5}\ntraining: {<<: *base, epochs: 6}\npruning: {levels: 1}\n")
    assert mistakes_in(yaml.safe_load(file.read_text()), [file]) == [
        f"unknown key base; known are {', '.join(read_schema()['properties'])}"
    ]


# Text that means something else


@pytest.mark.parametrize(
    ("given", "place", "value"),
    [
        ({"dissection": {"quantile": "0.01"}}, ("dissection", "quantile"), 0.01),
        ({"training": {"weight_decay": "1e-4"}}, ("training", "weight_decay"), 1e-4),
        ({"training": {"weight_decay": ".5E+0"}}, ("training", "weight_decay"), 0.5),
        ({"training": {"epochs": "12"}}, ("training", "epochs"), 12),
        ({"training": {"flip": "false"}}, ("training", "flip"), False),
        ({"training": {"flip": "yes"}}, ("training", "flip"), True),
        ({"replicates": ["1", "2"]}, ("replicates",), [1, 2]),
        ({"replicates": "[4, 5]"}, ("replicates",), [4, 5]),
        ({"training": {"crop_scale": "[1e-1, 1]"}}, ("training", "crop_scale"), [0.1, 1]),
        ({"images": {"per_class": "5"}}, ("images", "per_class"), 5),
        ({"network": {"arguments": {"stem_kernel": "3"}}}, ("network", "arguments", "stem_kernel"), 3),
        ({"dissection": {"layers": "[stages.1, stages.2]"}}, ("dissection", "layers"), ["stages.1", "stages.2"]),
        ({"dissection": {"layers": ["5"]}}, ("dissection", "layers"), ["5"]),
        ({"experiment": "12"}, ("experiment",), "12"),
        ({"arms": [BROUGHT, PRUNED | {"densities": ["0.5", "2e-1"]}]}, ("arms", 1, "densities"), [0.5, 0.2]),
        (
            {"arms": [BROUGHT | {"preprocessing": {"size": "32", "mean": ["0.5"] * 3, "std": [1, 1, "1"]}}]},
            ("arms", 0, "preprocessing"),
            {"size": 32, "mean": [0.5] * 3, "std": [1, 1, 1]},
        ),
    ],
)
def test_text_is_converted_where_text_is_not_allowed(given, place, value):
    found = complete_config(given)
    for key in place:
        found = found[key]
    assert found == value
    assert repr(found) == repr(value), "of the same type"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"training": {"epochs": "nine"}},
            'training.epochs is "nine": write a whole number from 1 to 100000, such as 9',
        ),
        ({"training": {"epochs": "010"}}, 'training.epochs is "010": write a whole number from 1 to 100000, such as 9'),
        (
            {"training": {"epochs": "1:30"}},
            'training.epochs is "1:30": write a whole number from 1 to 100000, such as 9',
        ),
        ({"training": {"epochs": "8.0"}}, 'training.epochs is "8.0": write a whole number from 1 to 100000, such as 9'),
        ({"training": {"flip": "1"}}, 'training.flip is "1": write true or false'),
        (
            {"training": {"learning_rate": ".inf"}},
            'training.learning_rate is ".inf": write a number above 0, such as 0.07',
        ),
        ({"training": {"learning_rate": "-1"}}, 'training.learning_rate is "-1": write a number above 0, such as 0.07'),
        ({"replicates": "[1, x]"}, 'replicates is "[1, x]": write a list of whole numbers, such as [1, 2]'),
    ],
)
def test_text_that_cannot_be_converted_is_refused(given, sentence):
    assert mistakes_in(given) == [sentence]


# Single mistakes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trainig": {}}, "unknown key trainig; did you mean training?"),
        ({"training": {"epoch": 3}}, "unknown key training.epoch; did you mean epochs?"),
        (
            {"arms": "[{name: imp, recipe: imp}, {name: again, recipe: dense_again, oof: imp}]"},
            "unknown key arms.again.oof; did you mean of?",
        ),
        ({"pruning": {"fraction": 1.5}}, "pruning.fraction is 1.5: write a number above 0 and below 1, such as 0.2"),
        ({"pruning": {"rewind_epoch": 50}}, "pruning.rewind_epoch is 50: write a number below training.epochs, 6"),
        ({"pruning": {"rewind_momentum": "never"}}, 'pruning.rewind_momentum is "never": write true or false'),
        ({"training": {"warmup_epochs": 50}}, "training.warmup_epochs is 50: write a number below training.epochs, 6"),
        (
            {"figures": {"arms": ["impp"]}},
            "figures.arms has impp, but there is no such arm with networks; did you mean imp?",
        ),
        (
            {"gallery": {"arms": ["imp", "x"]}},
            "gallery.arms has x, but there is no such arm with networks; known are imp",
        ),
        (
            {"figures": {"arms": []}},
            'figures.arms is []: write "all" or a list of names of arms, such as [imp, untrained]',
        ),
        ({"gallery": {"arms": "imp"}}, 'gallery.arms is "imp": write "all" or a list of names of arms'),
        ({"replicates": []}, "replicates is []: write a list of whole numbers, such as [1, 2]"),
        ({"replicates": [1, 2, 1]}, "replicates has 1 twice: leave one out"),
        ({"images": {"source": "no/such/folder"}}, "images.source is no/such/folder, but there is no such folder"),
        ({"concepts": {"source": "no/such.zip"}}, "concepts.source is no/such.zip, but there is no such folder"),
        ({"dissection": {"quantile": 0}}, "dissection.quantile is 0: write"),
        (
            {"dissection": {"quantile": 0.995}},
            'dissection.quantile is 0.995: write "protocol" or a number above 0 and below 0.5, the share of a unit\'s'
            " values that lie above its threshold, such as 0.005",
        ),
        ({"dissection": {"largest_quantile": 0.5}}, "dissection.largest_quantile is 0.5: write"),
        ({"dissection": {"quantile": None}}, "dissection.quantile is empty: write"),
        (
            {"dissection": {"protocol": "broden"}},
            'dissection.protocol is "broden": write "netdissect", "lite", "quick" or "pnas"',
        ),
        ({"dissection": {"protocol": "protocol"}}, "dissection.protocol"),
        ({"dissection": {"quantile_of": "all"}}, "dissection.quantile_of"),
        ({"dissection": {"knots": "align_corners"}}, "dissection.knots"),
        ({"dissection": {"mask": "over"}}, "dissection.mask"),
        ({"dissection": {"counted_images": "none"}}, "dissection.counted_images"),
        (
            {"dissection": {"detector_iou": 4}},
            'dissection.detector_iou is 4: write "protocol" or a number from 0 to 1, such as 0.04',
        ),
        ({"dissection": {"detector_iou": 1}}, "dissection.detector_iou is 1, but no IoU is above that"),
        ({"dissection": {"detector_rule": "over"}}, "dissection.detector_rule"),
        ({"dissection": {"forward": "float64"}}, "dissection.forward"),
        ({"dissection": {"execution": "fast"}}, "dissection.execution"),
        ({"dissection": {"precision": "bfloat16"}}, "dissection.precision"),
        ({"dissection": {"dump": "some"}}, "dissection.dump"),
        ({"dissection": {"dump": "candidates", "quantile_of": "upsampled"}}, "dissection.dump: candidates"),
        ({"dissection": {"largest_quantile": "protocol"}}, "dissection.largest_quantile"),
        ({"dissection": {"quantil": 0.01}}, "unknown key dissection.quantil; did you mean quantile?"),
        ({"gallery": {"images": 0}}, "gallery.images is 0: write a whole number from 1 to 20, such as 5"),
        ({"gallery": {"tile_bytes": 2000}}, "gallery.tile_bytes is 2000: write at least 2368"),
        (
            {"experiment": "a b"},
            'experiment is "a b": write a name of at most 100 letters, digits, _, - and dots, such as shapes',
        ),
        ({"experiment": ".."}, "experiment"),
        ({"experiment": 12}, "experiment is 12, a number, but must be text: put it into quotes"),
        ({"images": {"size": 33}}, "images.size is 33: the generated world needs an even number"),
        ({"images": {"per_class": "some"}}, 'images.per_class is "some": write "all" or a whole number of at least 1'),
        ({1: 2}, "unknown key 1; known are experiment"),
        ({"gpus": "all"}, 'gpus is "all": write "auto" or a whole number from 0 to 4096, such as 1'),
        ({"gpus": 2}, "gpus is 2, but a step has 1 micro-batches"),
        ({"training": {"micro_batch": 12}}, "training.micro_batch is 12: write a divisor of training.batch_size, 32"),
        ({"training": {"crop_scale": [1, 0.5]}}, "training.crop_scale is [1, 0.5]: write the lower number first"),
        ({"training": {"crop_ratio": [2]}}, "training.crop_ratio is [2]: write a list of the lowest and the highest"),
        ({"training": {"precision": "float64"}}, "training.precision"),
        ({"training": {"epochs": True}}, "training.epochs is true: write a whole number"),
        ({"training": {"epochs": 8.5}}, "training.epochs is 8.5: write a whole number from 1 to 100000, such as 9"),
        ({"images": {"addresses": ["https://a.org/x.zip"]}}, "images.addresses are those of an archive"),
        (
            {"images": {"addresses": ["ftp://a.org/x.zip"], "source": "x.zip"}},
            'images.addresses.0 is "ftp://a.org/x.zip"',
        ),
        ({"images": {"checksum": "md5:12"}}, 'images.checksum is "md5:12": write "none", or md5: and 32'),
        ({"images": {"storage": "files"}}, "images.storage is files, but images.source is shapes"),
        (
            {"images": {"storage": "files", "source": "x", "per_class": 5}},
            "images.per_class is 5, but images.storage",
        ),
        ({"images": {"storage": "files", "source": "x", "size": 300}}, "images.test_resize is 256: write at least"),
        ({"images": {"test_labels": "val.txt"}}, "images.test_labels is val.txt, but the test pictures come"),
        ({"images": {"classes": 1}}, 'images.classes is 1: write "all" or a whole number of at least 2, such as 100'),
        ({"images": {"classes": 9, "expect": {"classes": 20}}}, "images.expect.classes is 20, but images.classes is 9"),
        ({"images": {"without": "house"}}, 'images.without is "house": write a list of names of class folders'),
        ({"images": {"without": ["house", "house"]}}, 'images.without has "house" twice: leave one out'),
        ({"images": {"without": [3]}}, "images.without.0 is 3, a number, but must be text: put it into quotes"),
        ({"images": {"expect": {"classes": "many"}}}, 'images.expect.classes is "many": write "any" or a whole number'),
        ({"concepts": {"expect": {"labels": 0}}}, "concepts.expect.labels is 0"),
        ({"network": {"norm_init": "ones"}}, 'network.norm_init is "ones": write "as_built" (formerly "ones")'),
        ({"network": {"constructor": "resnet50"}}, 'network.constructor is "resnet50": write package.module:function'),
        (
            {"network": {"arguments": {"widths": [8, 16, 32, 64]}}},
            "network.arguments.widths.0 is 8: write",
        ),
        ({"network": {"arguments": {"widths": [16]}}}, "network.arguments: widths has 1, blocks has 4, strides has 4"),
        ({"network": {"arguments": {"width": [16]}}}, "unknown key network.arguments.width; did you mean widths?"),
        (
            {"network": {"arguments": {"stem_kernel": 4}}},
            "network.arguments.stem_kernel is 4: write 1, 3, 5, 7, 9 or 11",
        ),
        ({"network": {"arguments": None}}, "network.arguments is empty: write"),
        (
            {"images": {"mean": [0.5, 127.5, 0.5]}},
            "images.mean.1 is 127.5: write a number from 0 to 1 (divide numbers for channels from 0",
        ),
        ({"images": {"std": [57.4, 0.5, 0.5]}}, "images.std.0 is 57.4: write a number above 0 and at most 1"),
        ({"images": {"std": [0.2, 0.2, 0]}}, "images.std.2 is 0: write a number above 0 and at most 1"),
        ({"images": {"mean": [NAN, 0, 0]}}, "images.mean.0 is nan, which is not finite: write a number"),
        ({"training": {"learning_rate": NAN}}, "training.learning_rate is nan, which is not finite: write a number"),
        ({"training": {"weight_decay": INF}}, "training.weight_decay is inf, which is not finite: write a number"),
        ({"training": {"epochs": INF}}, "training.epochs is inf, which is not finite: write a whole number"),
        ({"dissection": {"detector_iou": NAN}}, "dissection.detector_iou is nan, which is not finite: write"),
        ({"dissection": {"quantile": NAN}}, "dissection.quantile is nan, which is not finite: write"),
        ({"rates": {"images_archive": INF}}, "rates.images_archive is inf, which is not finite: write"),
        ({"pruning": {"levels": 8.0}}, "pruning.levels is 8.0, but must be a whole number: write 8"),
        ({"replicates": [1.0]}, "replicates.0 is 1.0, but must be a whole number: write 1"),
        ({"gpus": 2.0}, "gpus is 2.0, but must be a whole number: write 2"),
        ({"images": {"per_class": 5.0}}, "images.per_class is 5.0, but must be a whole number: write 5"),
        ({"images": {"expect": {"train": 9.0}}}, "images.expect.train is 9.0, but must be a whole number: write 9"),
        ({"world": None}, "world is empty: write its keys below it, such as seed"),
        ({"training": 3}, "training is 3: write its keys below it, such as epochs"),
        ({"rates": {"trian": 3}}, "unknown key rates.trian; did you mean train?"),
        ({"rates": {"train": 0}}, "rates.train is 0: write a number above 0, such as 1535"),
        (
            {"rates": {"concepts_archive": "big"}},
            'rates.concepts_archive is "big": write "unknown" or a number',
        ),
    ],
)
def test_a_mistake_is_reported_once_with_what_to_write(given, words):
    (sentence,) = mistakes_in(given)
    assert sentence.startswith(words)


@pytest.mark.parametrize(
    "given",
    [
        {"images": {"storage": "files", "source": "not/here/yet"}},
        {"concepts": {"source": "not/here/yet.zip", "addresses": ["http://a.org/b.zip"]}},
        {"gpus": 4, "training": {"micro_batch": 8}},
        {"gpus": 1},
        # Caffe's scale: channels from -123 to 132.
        {"images": {"mean": [0.482, 0.459, 0.408], "std": [1 / 255] * 3}},
        {"images": {"mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"training": {"warmup_epochs": 2}},
        {"dissection": {"quantile": 0.01, "largest_quantile": 0.05, "dump": "candidates"}},
        {"dissection": {"protocol": "pnas", "quantile": "protocol", "quantile_of": "raw"}},
        {"dissection": {"detector_iou": 0, "detector_rule": "at_least", "mask": "at_least"}},
        {"dissection": {"knots": "receptive_field", "counted_images": "all", "forward": "bfloat16"}},
    ],
)
def test_unusual_but_valid_values_are_accepted(given):
    complete_config(given)


# Several mistakes


def test_all_mistakes_are_reported_at_once_and_each_only_once(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("gpus: 1\ngpus: all\n")
    given = {
        "gpus": "all",
        "trainig": {"epochs": 2},
        "training": {"epochs": "few", "shfit": 1, "micro_batch": 12},
        "pruning": {"rewind_epoch": 50},
        "images": {"size": 33, "mean": [0.5, 2, NAN]},
        "controls": ["untrained"],
        "arms": [IMP, arm("start", "untrained", "impp"), PRUNED],
        "dissection": {"detector_iou": 1},
    }
    found = mistakes_in(given, [file])
    for words in (
        "line 2: the key gpus is already",
        'gpus is "all"',
        "unknown key trainig;",
        'training.epochs is "few"',
        "unknown key training.shfit; did you mean shift?",
        "training.micro_batch is 12",
        "images.size is 33",
        "images.mean.1 is 2",
        "images.mean.2 is nan",
        "controls is no longer a key",
        "arms.start.of is impp",
        "arms.own_global.of is own",
        "dissection.detector_iou is 1",
    ):
        assert sum(words in sentence for sentence in found) == 1, words
    # What depends on training.epochs, and on gpus, is not told on top of that.
    assert len(found) == 13


def test_one_mistake_causes_no_further_reports():
    assert len(mistakes_in({"training": None})) == 1
    assert len(mistakes_in({"images": []})) == 1
    assert len(mistakes_in({"dissection": {"quantile": 0.6, "dump": "candidates"}})) == 1
    assert len(mistakes_in({"arms": None})) == 1
    assert len(mistakes_in({"arms": []})) == 1
    assert len(mistakes_in({"network": None})) == 1


# Old keys


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"controls": ["untrained", "trained_twice"]},
            "controls is no longer a key: list the arms that you want, as in arms: [{name: imp, recipe: imp}, {name:"
            " untrained, recipe: untrained, of: imp}, {name: trained_twice, recipe: trained_twice, of: imp}]",
        ),
        (
            {"controls": []},
            "controls is no longer a key: list the arms that you want, as in arms: [{name: imp, recipe: imp}]",
        ),
        (
            {"networks": [{"name": "lite0", "floors": ["untrained"]}, {"name": "lite0", "level": 1, "floors": []}]},
            "networks is no longer a key: write each of them under arms, with recipe: brought and its other keys as"
            " they are, and its baselines beside it, as in arms: [{name: lite0, recipe: brought},"
            " {name: lite0_untrained, recipe: untrained, of: lite0}]",
        ),
        (
            {"one_shot": {"methods": ["global"], "densities": [0.8, 0.6]}},
            "one_shot is no longer a key: write an arm for each method, as in arms: [{name: NAME_global, recipe:"
            " prune_once, of: NAME, method: global, densities: [0.8, 0.6]}]",
        ),
        (
            {"one_shot": {"methods": ["global", "random"], "densities": [0.8], "exempt": ["fc"]}},
            "one_shot is no longer a key: write an arm for each method, as in arms: [{name: NAME_global, recipe:"
            " prune_once, of: NAME, method: global, densities: [0.8], exempt: [fc]}, {name: NAME_random, recipe:"
            " prune_once, of: NAME, method: random, densities: [0.8], exempt: [fc]}]",
        ),
        ({"networks": []}, "networks is no longer a key: leave it out"),
        ({"one_shot": {"methods": []}}, "one_shot is no longer a key: leave it out"),
        (
            {"network": {"architecture": "resnet50"}},
            "network.architecture is no longer a key: name the function that makes the network, as in network:"
            " {constructor: 'torchvision.models:resnet50'}",
        ),
        (
            {"network": {"widths": [16, 16], "stem_stride": 1}},
            "network.widths and network.stem_stride belong under network.arguments: write network: {arguments: {widths:"
            " [16, 16], stem_stride: 1}}",
        ),
        ({"rates": {"tally": 5, "train": 20}}, "rates.tally is no longer a key: delete it"),
        (
            {"rates": {"tiles": 500, "draw": 440, "tally": 5}},
            "rates.draw, rates.tally and rates.tiles are no longer keys: delete them",
        ),
        (
            {"arms": [BROUGHT | {"floors": ["untrained"]}]},
            "arms.own.floors is no longer a key: baselines are separate arms, [{name: own_untrained, recipe:"
            " untrained, of: own}]",
        ),
    ],
)
def test_an_old_key_ends_in_a_sentence_that_says_what_to_write_now(given, sentence):
    assert mistakes_in(given) == [sentence]


def test_suggested_values_are_accepted():
    given = {"networks": [BROUGHT], "one_shot": {"methods": ["global", "random"], "densities": [0.5]}}
    arms = []
    for sentence in mistakes_in(given):
        arms += yaml.safe_load(re.search(r"arms: (\[.*\])", sentence)[1])
    config = complete_config({"arms": [BROUGHT if item["name"] == "own" else item for item in arms]})
    assert [item["name"] for item in config["arms"]] == [
        "own",
        "own_untrained",
        "own_shuffled_labels",
        "own_global",
        "own_random",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "network: {constructor: a:b, arguments: {day: 2026-01-01}}",
            "network.arguments.day is 2026-01-01, a date: put",
        ),
        ("network: {constructor: a:b, arguments: {1: 2}}", "network.arguments.1 is a key that is not text: put it"),
        ("network: {constructor: a:b, arguments: {a: [!!set {x}]}}", "network.arguments.a.0 is {'x'}, a set: put it"),
        ("experiment: 2026-01-01", "experiment is 2026-01-01, a date, but must be text: put it into quotes"),
        ("experiment: 2026-01-01 12:00:00", "experiment is 2026-01-01 12:00:00, a date, but must be text: put it"),
        ("experiment: yes", "experiment is true, a truth value, but must be text: put it into quotes"),
    ],
)
def test_values_that_yaml_misreads_are_reported(text, words):
    assert any(sentence.startswith(words) for sentence in mistakes_in(yaml.safe_load(text)))


def test_without_training_its_keys_are_not_required():
    wrong = {"training": {"epochs": 1}, "images": {"source": "no/such"}}
    assert len(mistakes_in(wrong)) == 3
    complete_config(wrong | {"arms": [BROUGHT]})
    assert len(mistakes_in(wrong | {"arms": [BROUGHT | {"recipe": "brougt"}]})) == 4  # it may be trained


def test_command_line_text_is_converted_to_arguments():
    typed = {
        "network": {
            "constructor": "a:b",
            "arguments": {"width": "64", "flag": "false", "name": "x1", "list": ["1", "a"]},
        },
        "arms": [BROUGHT | {"arguments": [{"rate": "0.5"}], "weights": {"pretrained": "true"}}],
    }
    config = complete_config(typed, command_line=typed)
    assert config["network"]["arguments"] == {"width": 64, "flag": False, "name": "x1", "list": [1, "a"]}
    [item] = config["arms"]
    assert (item["arguments"], item["weights"]) == ([{"rate": 0.5}], {"pretrained": True})
    assert item["name"] == BROUGHT["name"]
    files = {"arms": [BROUGHT | {"weights": "16"}]}
    [item] = complete_config(files, command_line=files)["arms"]
    assert item["weights"] == "16"  # a file of that name
    quoted = complete_config({"network": {"constructor": "a:b", "arguments": {"width": "64"}}})
    assert quoted["network"]["arguments"] == {"width": "64"}  # in a file quotes mean text


# Arms


@pytest.mark.parametrize(
    "arms",
    [
        [IMP],
        [IMP, *(arm(name, name, "imp", **NEEDED.get(name, {})) for name in known_recipes() if name not in NOT_OF_IMP)],
        [
            BROUGHT,
            arm("own_untrained", "untrained", "own"),
            arm("noise", "shuffled_labels", "own", label="noise"),
            PRUNED,
        ],
        [IMP, BROUGHT, PRUNED, arm("untrained", "untrained", "imp")],
        [BROUGHT | {"level": 0}, BROUGHT | {"level": 1}],
        [BROUGHT | {"arguments": {"num_classes": 5}}],
        [BROUGHT | {"arguments": [{"width": 8}, {"width": 4}]}],
        [BROUGHT | {"arguments": "channels_{level}.json"}],
        [IMP, BROUGHT | {"role": "baseline", "of": "imp"}],
        [IMP, BROUGHT | {"of": "imp"}],
        [{"name": "lottery", "recipe": "brought", "openlth": "data/lottery_1", "layers": ["layer4"]}],
        [PRUNED | {"exempt": ["fc"], "role": "reference", "label": "pruned"}, BROUGHT],
        [IMP | {"name": "lth"}, arm("start", "untrained", "lth"), BROUGHT | {"name": "untrained"}],
        [IMP, arm("turned", "rotated", "imp", alphas=[0, 0.5, 1], seeds=1, label="turned")],
        [BROUGHT, PRUNED, arm("a", "rotated", "own_global"), arm("b", "rotated", "own", seeds=3)],
        [IMP, arm("start", "untrained", "imp"), arm("a", "rotated", "start")],
    ],
)
def test_valid_arms_are_accepted(arms):
    assert complete_config({"arms": arms})["arms"] == arms


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (["imp"], 'arms.0 is "imp": write an arm, such as {name: untrained, recipe: untrained, of: imp}'),
        ([{"recipe": "imp"}], "arms.0.name is missing: write a name of at most 100 letters, digits, _ and -"),
        ([{"name": "imp"}], "arms.imp.recipe is missing: write the name of a recipe, such as untrained"),
        (
            [IMP | {"name": "1mp"}, arm("b", "untrained", "1mp")],
            'arms.1mp.name is "1mp": write a name of at most 100 letters',
        ),
        ([IMP, arm("a", "untraind", "imp", method=3)], 'arms.a.recipe is "untraind"; did you mean untrained?'),
        ([IMP, arm("a", 3, "imp")], "arms.a.recipe is 3; known are imp, untrained"),
        (
            [IMP | {"recipe": "brough"}, arm("b", "untrained", "imp")],
            'arms.imp.recipe is "brough"; did you mean',
        ),
        ([{"name": "a", "recipie": "imp"}], "unknown key arms.a.recipie; did you mean recipe?"),
        (
            [IMP | {"of": "imp"}],
            "unknown key arms.imp.of; the keys of an arm of the recipe imp are name, recipe, role, label",
        ),
        ([IMP | {"rol": "curve"}], "unknown key arms.imp.rol; did you mean role?"),
        ([IMP | {"role": "control"}], 'arms.imp.role is "control": write "curve", "baseline" or "reference"'),
        ([IMP, {"name": "a", "recipe": "untrained"}], "arms.a.of is missing: write the name of an arm, such as imp"),
        ([IMP, arm("a", "untrained", 3)], "arms.a.of is 3, a number, but must be text"),
        ([IMP, arm("a", "untrained", "impp")], "arms.a.of is impp, but there is no such arm; did you mean imp?"),
        ([arm("a", "untrained", "imp")], "arms.a.of is imp, but there is no such arm; add an arm of the recipe imp or"),
        (
            [IMP, arm("a", "untrained", "imp", method="global")],
            "unknown key arms.a.method; the keys of an arm of the recipe",
        ),
        (
            [IMP, arm("a", "untrained", "a")],
            "arms.a.of is a, an arm of the recipe untrained, but the recipe untrained needs",
        ),
        (
            [IMP, BROUGHT, arm("a", "trained_twice", "own")],
            "arms.a.of is own, an arm of the recipe brought, but the recipe trained_twice needs an arm of the recipe"
            " imp: name one, such as imp",
        ),
        ([IMP, BROUGHT, arm("a", "untrained_calibrated", "own")], "arms.a.of is own, an arm of the recipe brought"),
        (
            [IMP, PRUNED | {"of": "imp"}],
            "arms.own_global.of is imp, an arm of the recipe imp, but the recipe prune_once needs",
        ),
        (
            [IMP, arm("a", "untrained", "imp"), arm("b", "shuffled_labels", "a")],
            "arms.b.of is a, an arm of the recipe",
        ),
        (
            [BROUGHT, without(PRUNED, "method")],
            'arms.own_global.method is missing: write "global", "layerwise"',
        ),
        ([BROUGHT, without(PRUNED, "densities")], "arms.own_global.densities is missing: write a list of shares"),
        (
            [BROUGHT, PRUNED | {"densities": [0.5, 1.5]}],
            "arms.own_global.densities.1 is 1.5: write a number",
        ),
        ([BROUGHT, PRUNED | {"densities": [0.5, 0.5]}], "arms.own_global.densities has 0.5 twice: leave one out"),
        ([without(BROUGHT, "constructor")], "arms.own.constructor is missing: write package.module:function, such as"),
        ([without(BROUGHT, "weights")], 'arms.own.weights is missing: write a file, "none", or further arguments'),
        ([without(BROUGHT, "layers")], "arms.own.layers is missing: write a list of modules"),
        ([without(BROUGHT, "preprocessing")], "arms.own.preprocessing is missing: write a preset of torchvision,"),
        ([BROUGHT | {"arguments": [1]}], "arms.own.arguments.0 is 1: write the arguments of a level by name"),
        ([BROUGHT | {"arguments": "channels"}], 'arms.own.arguments is "channels": write the constructor\'s arguments'),
        (
            [BROUGHT | {"preprocessing": {"size": 32, "mean": [127.5, 0, 0], "std": [0.5] * 3}}],
            "arms.own.preprocessing.mean.0 is 127.5: write a number from 0 to 1",
        ),
        (
            [BROUGHT | {"preprocessing": {"size": 32, "mean": [0.5] * 3}}],
            "arms.own.preprocessing.std is missing: write a list of three numbers, or of one for grey pictures",
        ),
        (
            [BROUGHT | {"preprocessing": {"size": 32, "mean": [0.5] * 4, "std": [0.5] * 3}}],
            "arms.own.preprocessing.mean is [0.5, 0.5, 0.5, 0.5]: write a list of three numbers, or of one for grey",
        ),
        (
            [BROUGHT | {"preprocessing": {"size": [32, 24, 3], "mean": [0.5], "std": [0.5]}}],
            "arms.own.preprocessing.size is [32, 24, 3]: write a whole number from 8 to 16384, or a list of height and",
        ),
        (
            [BROUGHT | {"preprocessing": {"size": [32, 4], "mean": [0.5], "std": [0.5]}}],
            "arms.own.preprocessing.size.1 is 4: write a whole number from 8 to 16384",
        ),
        ([BROUGHT | {"class_order": [0, "b"]}], "arms.own.class_order.0 is 0, a number, but must be text"),
        ([BROUGHT | {"class_order": "numbers"}], 'arms.own.class_order is "numbers": write "text", "number" or a list'),
        (
            [{"name": "lottery", "recipe": "brought", "openlth": "data/l", "layers": ["x"], "masks": "m.pth"}],
            "arms.lottery.masks is given by the folder openlth: leave it out",
        ),
        (
            [{"name": "lottery", "recipe": "brought", "openlht": "data/l", "layers": ["x"]}],
            "unknown key arms.lottery.openlht; did you mean openlth?",
        ),
        ([BROUGHT | {"role": "baseline"}], "arms.own.of is missing: write the name of the arm that this baseline is"),
        ([BROUGHT, BROUGHT | {"level": 1, "label": "x"}], "arms.own.label differs between the items with that name"),
        ([IMP, arm("imp", "untrained", "imp")], "arms: the name imp appears 2 times"),
        ([IMP, IMP | {"name": "more"}], "arms: imp and more have the recipe imp: keep one of them"),
        ([IMP | {"name": "data"}], "arms.data: the folder data of the results holds other files"),
        (
            [IMP, BROUGHT | {"name": "untrained"}],
            "arms.untrained: the networks that imp starts from have",
        ),
        (
            [BROUGHT | {"of": "more"}, BROUGHT | {"name": "more", "of": "own"}],
            "arms: own is of more, which is of own: leave out `of` where it is not needed",
        ),
        ([IMP, arm("a", "untrained", "imp"), arm("b", "untrained", "imp")], "arms.b.label: figures would call it"),
        (
            [IMP, arm("a", "untrained", "imp", label="_a")],
            "arms.a.label begins with _, and legends leave such labels",
        ),
        ([IMP, {"name": "a", "recipe": "rotated"}], "arms.a.of is missing: write the name of an arm, such as imp"),
        ([IMP, arm("a", "rotated", "impp")], "arms.a.of is impp, but there is no such arm; did you mean imp?"),
        (
            [IMP, arm("a", "rotated", "imp", role="curve")],
            "unknown key arms.a.role; the keys of an arm of the recipe rotated are name, recipe",
        ),
        ([IMP, arm("a", "rotated", "imp", alphas=[])], "arms.a.alphas is []: write a list of numbers from 0 to 1"),
        (
            [IMP, arm("a", "rotated", "imp", alphas=[0])],
            "arms.a.alphas only has 0, which rotates nothing: add 1, or leave alphas out",
        ),
        ([IMP, arm("a", "rotated", "imp", alphas=1)], "arms.a.alphas is 1: write a list of numbers from 0 to 1"),
        ([IMP, arm("a", "rotated", "imp", alphas=[1.5])], "arms.a.alphas.0 is 1.5: write a number from 0 to 1"),
        ([IMP, arm("a", "rotated", "imp", alphas=[1, 1.0])], "arms.a.alphas has 1 twice: leave one out"),
        (
            [IMP, arm("a", "rotated", "imp", seeds=0)],
            "arms.a.seeds is 0: write a whole number from 1 to 10000, such as",
        ),
        ([IMP, arm("a", "rotated", "imp", seeds=2.0)], "arms.a.seeds is 2.0, but must be a whole number: write 2"),
        (
            [IMP, arm("s", "shuffled_labels", "imp"), arm("a", "rotated", "s")],
            "arms.a.of is s, an arm of the recipe shuffled_labels, which has no networks of its own to rotate: name",
        ),
        (
            [IMP, arm("a", "rotated", "imp"), arm("b", "rotated", "a")],
            "arms.b.of is a, an arm of the recipe rotated, which has no networks of its own to rotate: name another",
        ),
        ([IMP, arm("a", "rotated", "a")], "arms.a.of is a, an arm of the recipe rotated, which has no networks"),
        (
            [IMP, arm("a", "rotated", "imp"), arm("b", "rotated", "imp", alphas=[0.5], label="half")],
            "arms: a and b are both rotations of imp: keep one of them, and write all alphas into it",
        ),
    ],
)
def test_a_mistake_in_arms_is_reported_once_with_arm_and_recipe(arms, words):
    (sentence,) = mistakes_in({"arms": arms})
    assert sentence.startswith(words)


# For other modules


def test_values_of_one_section_can_be_checked():
    require_valid({"quantile": 0.01, "mask": "above"}, "dissection")
    with pytest.raises(UserError, match=r"^2 mistakes\n  mask is \"over\": write .*\n  quantile is \"0.01\": write "):
        require_valid({"quantile": "0.01", "mask": "over"}, "dissection")
    with pytest.raises(UserError, match=r"^mean\.0 is 127\.5: write"):
        require_valid({"mean": [127.5, 0.5, 0.5]}, "images")


def leaves(schema):
    """The parts of a schema that describe values."""
    schema = resolved(schema)
    yield schema
    inner = list(schema.get("properties", {}).values())
    if "examples" not in schema:
        inner += schema.get("anyOf", [])
    inner += [schema[key] for key in ("items", "then", "else") if key in schema]
    for part in inner:
        yield from leaves(part)


def test_every_value_that_cannot_be_listed_has_a_valid_example():
    schema = read_schema()
    for part in leaves(schema):
        if part.get("type") in ("integer", "number", "array", "string") and "enum" not in part:
            assert part.get("examples"), part
        known = jsonschema.Draft202012Validator({"$defs": schema["$defs"]} | part)
        for example in part.get("examples", []):
            known.validate(example)
            assert written(example) in wanted(part)


def test_the_default_config_explains_every_key():
    explained = explanations((ROOT / "config.yaml").read_text())
    for name, part in read_schema()["properties"].items():
        # A section may do without a word of its own where its name says all.
        keys = [(name, key) for key in part.get("properties", {})] or [(name,)]
        assert [key for key in keys if key not in explained] == []
    arms = [item["then"]["$ref"] for item in read_schema()["$defs"]["arm"]["then"]["allOf"] if "then" in item]
    for recipe in ("control", *(name.removeprefix("#/$defs/") for name in arms)):
        for key in read_schema()["$defs"][recipe]["properties"]:
            assert re.search(rf"^ +\[?{key}\]? ", explained["arms",], re.M), key
    for recipe, known in known_recipes().items():
        assert known.what
        assert re.search(rf"^ .* {recipe} ", explained["arms",], re.M)


def test_the_schema_for_editors_is_up_to_date():
    text = EDITOR_SCHEMA.read_text()
    assert json.loads(text) == editor_schema(), "run python -m workflow_scripts.plan.editor_schema"


def test_editors_accept_what_is_shipped_and_refuse_what_is_wrong():
    schema = json.loads(EDITOR_SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    editor = jsonschema.Draft7Validator(schema)
    for path in [ROOT / "config.yaml", *CONFIGS]:
        first = path.read_text().splitlines()[0]
        name = re.fullmatch(r"# yaml-language-server: \$schema=(.*)", first)[1]
        assert (path.parent / name).resolve() == EDITOR_SCHEMA
        editor.validate(yaml.safe_load(path.read_text()))
    editor.validate({"arms": [arm("a", "rotated", "imp")]})
    for wrong in (
        {"trainig": {}},
        {"training": {"epochs": "nine"}},
        {"arms": [without(PRUNED, "method")]},
        {"arms": [IMP | {"of": "imp"}]},
        {"network": {"arguments": {"width": [16]}}},
    ):
        assert not editor.is_valid(wrong)


def test_conda_and_pip_install_the_same_and_every_pin_has_its_reason():
    environment = yaml.safe_load((ROOT / "envs" / "workflow.yaml").read_text())
    by_pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    assert by_pip == [line.split()[0] for line in lines]
    assert all(re.match(r"[a-z0-9-]+==[0-9.]+ +# \w", line) for line in lines)


def test_the_slurm_profile_only_names_existing_rules():
    profiles = {
        name: yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("default", "slurm")
    }
    rules = re.findall(
        r"^(?:rule|use rule \w+ as) (\w+)", "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk")), re.M
    )
    assert set(profiles["slurm"]["set-resources"]) | set(profiles["slurm"]["groups"]) <= set(rules)
    # Snakemake reads one profile of a workflow's: what makes reruns right stands in both.
    for key in ("rerun-incomplete", "show-failed-logs", "max-checksum-file-size"):
        assert profiles["slurm"][key] == profiles["default"][key]
    # Contents of the user's own files are among the parameters, which --rerun-triggers mtime would not look at.
    assert not any("rerun-triggers" in profile for profile in profiles.values())
