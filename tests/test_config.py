"""The config's checks, and what counts as a script's code."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from workflow_scripts.plan.config import check_config
from workflow_scripts.shared.files import UserError

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "schemas" / "config.schema.yaml"
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())

NAN, INF = float("nan"), float("inf")
NETWORK = {"name": "own", "constructor": "torchvision.models:resnet18", "weights": "none", "layers": ["layer4"]}


def merged(base: dict, changes: dict) -> dict:
    """What snakemake makes of a config file given on the command line: dicts are merged, all else replaced."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


def test_the_default_and_all_shipped_configs_pass(tmp_path, monkeypatch):
    check_config(DEFAULT, SCHEMA)
    monkeypatch.chdir(tmp_path)
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        config = merged(DEFAULT, yaml.safe_load(path.read_text()))
        for section in ("images", "concepts"):
            if config[section]["source"] != "shapes":
                source = Path(config[section]["source"])
                source.parent.mkdir(parents=True, exist_ok=True)
                source.touch()
        check_config(config, SCHEMA)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainig": {}}, "unknown key trainig; did you mean training?"),
        ({"training": {"epoch": 3}}, "unknown key training.epoch; did you mean epochs?"),
        ({"training": {"epochs": "nine"}}, "training.epochs"),
        ({"pruning": {"fraction": 1.5}}, "pruning.fraction"),
        ({"pruning": {"rewind_epoch": 50}}, "pruning.rewind_epoch"),
        ({"pruning": {"rewind_momentum": "no"}}, "pruning.rewind_momentum"),
        ({"training": {"warmup_epochs": 50}}, "training.warmup_epochs"),
        ({"controls": ["untrianed"]}, "controls.0"),
        ({"replicates": []}, "replicates"),
        ({"images": {"source": "no/such/folder"}}, "no/such/folder"),
        ({"concepts": {"source": "no/such.zip"}}, "no/such.zip"),
        ({"network": {"widths": [8, 16, 32, 64]}}, "network.widths.0"),
        ({"network": {"widths": [16]}}, "network.widths"),
        ({"dissection": {"quantile": 0}}, "dissection.quantile"),
        ({"dissection": {"quantile": 1}}, "dissection.quantile"),
        (
            {"dissection": {"quantile": 0.995}},
            "dissection.quantile is 0.995, which is not between 0 and 0.5: it is the share of a unit's values that lie"
            " above its threshold, such as 0.005",
        ),
        (
            {"dissection": {"largest_quantile": 0.5}},
            "dissection.largest_quantile is 0.5, which is not between 0 and 0.5",
        ),
        ({"dissection": {"quantile": "half"}}, "dissection.quantile"),
        ({"dissection": {"quantile": "5e-3"}}, "dissection.quantile"),
        ({"dissection": {"quantile": None}}, "dissection.quantile"),
        ({"dissection": {"protocol": "broden"}}, "dissection.protocol"),
        ({"dissection": {"protocol": "protocol"}}, "dissection.protocol"),
        ({"dissection": {"quantile_of": "all"}}, "dissection.quantile_of"),
        ({"dissection": {"knots": "align_corners"}}, "dissection.knots"),
        ({"dissection": {"mask": "over"}}, "dissection.mask"),
        ({"dissection": {"counted_images": "none"}}, "dissection.counted_images"),
        ({"dissection": {"detector_iou": 4}}, "dissection.detector_iou"),
        ({"dissection": {"detector_iou": "quantile"}}, "dissection.detector_iou"),
        ({"dissection": {"detector_rule": "over"}}, "dissection.detector_rule"),
        ({"gallery": {"images": 0}}, "gallery.images"),
        ({"gallery": {"tile_bytes": 2000}}, "gallery.tile_bytes must be at least 2368"),
        ({"dissection": {"forward": "float64"}}, "dissection.forward"),
        ({"dissection": {"precision": "bfloat16"}}, "dissection.precision"),
        ({"dissection": {"dump": "some"}}, "dissection.dump"),
        ({"dissection": {"largest_quantile": "protocol"}}, "dissection.largest_quantile"),
        ({"dissection": {"largest_quantile": 0}}, "dissection.largest_quantile"),
        ({"dissection": {"quantil": 0.01}}, "unknown key dissection.quantil; did you mean quantile?"),
        ({"experiment": "a b"}, "experiment"),
        ({"experiment": ".."}, "experiment"),
        ({"images": {"size": 33}}, "images.size"),
        ({"training": {"flip": "1"}}, "training.flip: '1' is not of type 'boolean'"),
        ({"training": {"weight_decay": "1e-4"}}, "training.weight_decay is text, '1e-4', where a number belongs"),
        ({"images": {"per_class": "some"}}, "images.per_class is 'some', which is neither"),
        ({1: 2}, "unknown key 1"),
        ({"gpus": "all"}, "gpus is 'all', which is neither"),
        ({"gpus": 2}, "gpus is 2, and a step has 1 micro-batches"),
        ({"training": {"micro_batch": 12}}, "training.micro_batch is 12, which does not divide batch_size, 32"),
        ({"training": {"micro_batch": "all"}}, "training.micro_batch is 'all', which is neither"),
        ({"training": {"crop_scale": [1, 0.5]}}, "training.crop_scale"),
        ({"training": {"precision": "float64"}}, "training.precision"),
        ({"images": {"addresses": ["https://a.org/x.zip"]}}, "images.addresses are of an archive"),
        ({"images": {"addresses": ["ftp://a.org/x.zip"], "source": "x.zip"}}, "images.addresses"),
        ({"images": {"checksum": "md5:12"}}, "images.checksum is 'md5:12', which is neither"),
        ({"images": {"storage": "files"}}, "images.storage is files"),
        ({"images": {"storage": "files", "source": "x", "per_class": 5}}, "images.storage is files"),
        ({"images": {"storage": "files", "source": "x", "size": 300}}, "images.test_resize"),
        ({"images": {"test_labels": "val.txt"}}, "images.test_labels needs images.storage"),
        ({"images": {"expect": {"classes": "many"}}}, "images.expect.classes is 'many', which is neither"),
        ({"concepts": {"expect": {"labels": 0}}}, "concepts.expect.labels"),
        ({"network": {"norm_init": "zeros"}}, "network.norm_init"),
        (
            {"images": {"mean": [0.5, 127.5, 0.5]}},
            "images.mean.1 is 127.5, which is not from 0 to 1, as the channels are",
        ),
        ({"images": {"mean": [0.5, -0.1, 0.5]}}, "images.mean.1 is -0.1, which is not from 0 to 1"),
        (
            {"images": {"std": [57.4, 0.5, 0.5]}},
            "images.std.0 is 57.4, which is not above 0 and at most 1, for channels",
        ),
        ({"images": {"std": [0.2, 0.2, 0]}}, "images.std.2 is 0, which is not above 0 and at most 1"),
        (
            {"networks": [NETWORK | {"preprocessing": {"size": 32, "mean": [127.5] * 3, "std": [0.5] * 3}}]},
            "networks.0.preprocessing.mean.0 is 127.5, which is not from 0 to 1",
        ),
        (
            {"networks": [NETWORK | {"preprocessing": "x", "class_order": [0, 1]}]},
            "networks.0.class_order.0 is 0, which is not in quotes",
        ),
        (
            {"networks": [NETWORK | {"preprocessing": "x", "class_order": "numbers"}]},
            'networks.0.class_order is \'numbers\', which is neither "text", "number" nor a list',
        ),
        ({"images": {"mean": [NAN, 0, 0]}}, "images.mean.0 is nan, which is not finite: write a number"),
        ({"training": {"learning_rate": NAN}}, "training.learning_rate is nan, which is not finite: write a number"),
        ({"training": {"weight_decay": INF}}, "training.weight_decay is inf, which is not finite: write a number"),
        ({"training": {"epochs": INF}}, "training.epochs is inf, which is not finite: write a number"),
        ({"dissection": {"detector_iou": NAN}}, "dissection.detector_iou is nan, which is not finite: write a number"),
        ({"dissection": {"quantile": NAN}}, "dissection.quantile is nan, which is not finite: write a number"),
        ({"rates": {"images_archive": INF}}, "rates.images_archive is inf, which is not finite: write a number"),
        ({"pruning": {"levels": 8.0}}, "pruning.levels is 8.0, where a whole number belongs: write 8"),
        ({"replicates": [1.0]}, "replicates.0 is 1.0, where a whole number belongs: write 1"),
        ({"gpus": 2.0}, "gpus is 2.0, where a whole number belongs: write 2"),
        ({"images": {"per_class": 5.0}}, "images.per_class is 5.0, where a whole number belongs: write 5"),
        ({"images": {"expect": {"train": 9.0}}}, "images.expect.train is 9.0, where a whole number belongs: write 9"),
        ({"network": {"stem_kernel": 5.0}}, "network.stem_kernel is 5.0, where a whole number belongs: write 5"),
        ({"training": {"epochs": 8.5}}, "training.epochs: 8.5 is not of type 'integer'"),
        ({"training": {"epochs": True}}, "training.epochs: True is not of type 'integer'"),
        ({"world": None}, "world"),
        ({"rates": {"trian": 3}}, "unknown key rates.trian; did you mean train?"),
        ({"rates": {"train": 0}}, "rates.train is 0, which is not a number above 0"),
        ({"rates": {"start": -1}}, "rates.start is -1, which is not a number above 0"),
        ({"rates": {"concepts_archive": "big"}}, "rates.concepts_archive is 'big', which is neither \"unknown\""),
    ],
)
def test_a_wrong_config_ends_in_one_sentence_that_names_the_key(change, words):
    with pytest.raises(UserError) as error:
        check_config(merged(DEFAULT, change), SCHEMA)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"quantile": 0.01, "largest_quantile": 0.05, "dump": "candidates"},
        {"protocol": "pnas", "quantile": "protocol", "quantile_of": "raw"},
        {"detector_iou": 0, "detector_rule": "at_least", "mask": "at_least"},
        {"knots": "receptive_field", "counted_images": "all", "forward": "bfloat16"},
    ],
)
def test_choices_of_a_protocol_can_be_made_alone(change):
    check_config(merged(DEFAULT, {"dissection": change}), SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"images": {"storage": "files", "source": "not/here/yet"}},
        {"concepts": {"source": "not/here/yet.zip", "addresses": ["http://a.org/b.zip"]}},
        {"gpus": 4, "training": {"micro_batch": 8}},
        {"gpus": 1},
        # Caffe's scale: channels from -123 to 132.
        {"images": {"mean": [0.482, 0.459, 0.408], "std": [1 / 255] * 3}},
        {"images": {"mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"training": {"warmup_epochs": 2}},
    ],
)
def test_what_comes_later_and_what_looks_odd_but_is_meant_is_accepted(change):
    check_config(merged(DEFAULT, change), SCHEMA)


def test_a_missing_key_is_named():
    config = copy.deepcopy(DEFAULT)
    del config["training"]["epochs"]
    with pytest.raises(UserError, match=r"training\.epochs is missing"):
        check_config(config, SCHEMA)


def test_every_key_stands_in_the_default_config_with_an_explanation():
    explained: dict[str, bool] = {}
    section = previous = ""
    for line in (ROOT / "config.yaml").read_text().splitlines():
        key = re.match(r"( *)(\w+):(.*)", line)
        if key:
            section = section if key[1] else key[2]
            path = f"{section}.{key[2]}" if key[1] else key[2]
            explained[path] = "#" in key[3] or previous.startswith("#")
        previous = line
    schema = yaml.safe_load(SCHEMA.read_text())
    for name, properties in schema["properties"].items():
        # A section may do without a word of its own where its name says all.
        keys = [f"{name}.{key}" for key in properties.get("properties", {})] or [name]
        assert [key for key in keys if not explained.get(key)] == []


def test_conda_and_pip_install_the_same_and_every_pin_has_its_reason():
    environment = yaml.safe_load((ROOT / "envs" / "workflow.yaml").read_text())
    by_pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    assert by_pip == [line.split()[0] for line in lines]
    assert all(re.match(r"[a-z0-9-]+==[0-9.]+ +# \w", line) for line in lines)


def test_the_slurm_profile_names_rules_that_there_are():
    profiles = {
        name: yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("default", "slurm")
    }
    rules = re.findall(r"^rule (\w+):", "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk")), re.M)
    assert set(profiles["slurm"]["set-resources"]) | set(profiles["slurm"]["groups"]) <= set(rules)
    # Snakemake reads one profile of a workflow's: what makes reruns right stands in both.
    for key in ("rerun-incomplete", "show-failed-logs", "max-checksum-file-size"):
        assert profiles["slurm"][key] == profiles["default"][key]
    # Contents of the user's own files are among the parameters, which --rerun-triggers mtime would not look at.
    assert not any("rerun-triggers" in profile for profile in profiles.values())
