"""The config's checks, and what counts as a script's code."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from workflow_scripts.code_inputs import code_of
from workflow_scripts.config import check_config, folder_listing
from workflow_scripts.files import UserError

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "schemas" / "config.schema.yaml"
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


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
        ({"training": {"warmup_epochs": 50}}, "training.warmup_epochs"),
        ({"controls": ["untrianed"]}, "controls.0"),
        ({"replicates": []}, "replicates"),
        ({"images": {"source": "no/such/folder"}}, "no/such/folder"),
        ({"concepts": {"source": "no/such.zip"}}, "no/such.zip"),
        ({"network": {"widths": [8, 16, 32, 64]}}, "network.widths.0"),
        ({"network": {"widths": [16]}}, "network.widths"),
        ({"dissection": {"quantile": 0}}, "dissection.quantile"),
        ({"experiment": "a b"}, "experiment"),
    ],
)
def test_a_wrong_config_ends_in_one_sentence_that_names_the_key(change, words):
    with pytest.raises(UserError) as error:
        check_config(merged(DEFAULT, change), SCHEMA)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named():
    config = copy.deepcopy(DEFAULT)
    del config["training"]["epochs"]
    with pytest.raises(UserError, match=r"training\.epochs is missing"):
        check_config(config, SCHEMA)


def test_every_key_stands_in_the_default_config_with_an_explanation():
    schema = yaml.safe_load(SCHEMA.read_text())
    lines = (ROOT / "config.yaml").read_text().splitlines()
    for name, section in schema["properties"].items():
        for key in [name, *section.get("properties", {})]:
            row = next(i for i, line in enumerate(lines) if re.match(rf"\s*{key}:", line))
            explained = "#" in lines[row] or lines[row - 1].lstrip().startswith("#")
            nested = key in section.get("properties", {})
            assert explained or nested or section.get("type") == "object", key


def test_conda_and_pip_install_the_same_and_every_pin_has_its_reason():
    environment = yaml.safe_load((ROOT / "envs" / "workflow.yaml").read_text())
    by_pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    assert by_pip == [line.split()[0] for line in lines]
    assert all(re.match(r"[a-z0-9]+==[0-9.]+ +# \w", line) for line in lines)


def test_code_follows_imports_to_any_depth_and_no_further():
    code = code_of("workflow_scripts.train.train_level")
    for path in ("train/train_level.py", "train/pruning.py", "train/torchvision_models.py", "files.py"):
        assert f"workflow_scripts/{path}" in code
    assert not any("dissect" in path or "figures" in path for path in code)
    tally = code_of("workflow_scripts.dissect.tally_units")
    assert not any("/train/" in path for path in tally)
    assert all((ROOT / path).is_file() for path in code + tally)
    with pytest.raises(ValueError, match="no_such"):
        code_of("workflow_scripts.train.no_such")


def test_imports_run_one_way():
    order = ["data", "train", "dissect", "figures"]
    for position, stage in enumerate(order):
        for script in (ROOT / "workflow_scripts" / stage).glob("*.py"):
            if script.stem != "__init__":
                for path in code_of(f"workflow_scripts.{stage}.{script.stem}"):
                    assert not any(f"/{later}/" in path for later in order[position + 1 :]), (script, path)


def test_a_folders_listing_changes_with_names_and_sizes_and_not_with_times(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"12")
    first = folder_listing(str(tmp_path))
    folder_listing.cache_clear()
    (tmp_path / "a" / "x.png").touch()
    assert folder_listing(str(tmp_path)) == first
    folder_listing.cache_clear()
    (tmp_path / "a" / "x.png").write_bytes(b"123")
    second = folder_listing(str(tmp_path))
    folder_listing.cache_clear()
    (tmp_path / "a" / "x.png").rename(tmp_path / "a" / "y.png")
    assert len({first, second, folder_listing(str(tmp_path))}) == 3
    folder_listing.cache_clear()
