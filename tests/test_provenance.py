"""What is recorded of a run: a config that gives the same experiment, and facts that are true and checked when read."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import h5py
import pytest
from hostile_inputs import content, fifo, hole
from small_results import digest, write_attributes

from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.contents import content_fingerprint
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.keys import MOST_NUMBER
from workflow_scripts.plan.load import NO_RESULT, complete_config, config_text, read_config
from workflow_scripts.plan.schema import read_schema
from workflow_scripts.run import record_provenance as recording
from workflow_scripts.run.provenance import SCHEMA, read_provenance
from workflow_scripts.run.record_provenance import (
    archive_fingerprint,
    describe_dates,
    describe_project,
    record_provenance,
)
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.columns import COUNT

TINY = ROOT / "configs" / "tiny.yaml"


# The config as merged


def again(config: dict, folder: Path) -> dict:
    """The config that snakemake has with --configfile and the text of one."""
    file = folder / "config.yaml"
    file.write_text(config_text(config), encoding="utf-8")
    return read_config([file]) | {section: config[section] for section in NO_RESULT}


@pytest.mark.parametrize("name", ["tiny", "paper", "pretrained", "controls", "all_arms", "tiny_imagenet"])
def test_a_config_that_is_written_gives_the_same_experiment(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = read_config([ROOT / "configs" / f"{name}.yaml"])
    assert again(config, tmp_path) == config
    assert "protocol" not in [value for key, value in config["dissection"].items() if key != "protocol"]


SETS = [
    {"name": "a", "format": "voc", "source": "set"},
    {"name": "b", "format": "broden", "source": "set"},
    {"name": "c", "format": "ade20k", "source": "set"},
    {"name": "d", "format": "open_surfaces", "source": "set"},
    {"name": "e", "format": "pascal_part", "source": "set", "pictures": "p", "annotations": "a", "objects": True},
    {"name": "f", "format": "parquet", "source": "set", "files": "*.parquet", "image": "image"},
    {"name": "g", "format": "dtd", "source": "set", "pictures_from": {"source": "set"}},
]


@pytest.mark.parametrize("item", SETS, ids=lambda item: item["format"])
def test_sets_of_concepts_are_written_with_the_keys_that_their_formats_have(item, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    config = complete_config({"concepts": {"sources": [item]}})
    assert again(config, tmp_path) == config


def test_arguments_of_another_network_and_hostile_text_are_kept(tmp_path):
    arguments = {"width": 8, "name": "no", "é": "1e5", "t": "a: {b} 'c' \"d\"\n", "z": 1e-7, "list": [1, "1", None]}
    network = {"constructor": "my.module:network", "arguments": arguments}
    config = complete_config({"network": network, "dissection": {"layers": ["a"], "protocol": "lite"}})
    assert again(config, tmp_path)["network"]["arguments"] == arguments


def test_the_text_does_not_depend_on_the_order_of_keys():
    config = read_config([TINY])
    turned = {key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in config.items()}
    assert config_text(dict(reversed(turned.items()))) == config_text(config)


# The facts


def write_datasets(path: Path, **values: list) -> None:
    """Add datasets of one axis to an HDF5 file."""
    with h5py.File(path, "a") as file:
        for name, of_one in values.items():
            file[name] = of_one


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a finished run of the tiny experiment, as far as it is recorded."""
    monkeypatch.chdir(tmp_path)
    config = read_config([TINY])
    experiment = Experiment(config | {"gpus": 0})
    results = Path(experiment.results)
    for network in experiment.networks.values():
        key, fingerprint = network.files_of.folder, digest("concepts")
        write_attributes(
            results / key / "activations.h5", network=digest(key), fingerprint=digest(key, 1), concepts=fingerprint
        )
        write_attributes(results / network.dissection_of.folder / "tally.h5", concepts=fingerprint)
    write_attributes(results / "data/concepts.h5", fingerprint=digest("concepts"))
    names = {"image_name": ["a", "b", "c"], "label_name": ["sky", "red-c"], "category_name": ["object", "color"]}
    write_datasets(results / "data/concepts.h5", **names)
    for split, labels in (("train", [0, 1, 1, 0]), ("test", [1])):
        write_attributes(results / f"data/{split}.h5")
        write_datasets(results / f"data/{split}.h5", classes=["cat", "dog"], labels=labels)
    for kind in ("images", "concepts"):
        (results / "data/shapes").mkdir(exist_ok=True)
        (results / f"data/shapes/{kind}.sha256").write_text(f"checksums of {kind}")
    return results, config


def test_what_is_recorded_is_true_and_can_be_read(run):
    results, config = run
    record_provenance(config_text(config), "snakemake --cores 7", results)
    facts, networks = read_provenance(results)
    assert facts["command"] == "snakemake --cores 7"
    assert facts["again"].endswith(f"--configfile {results}/config.yaml")
    assert facts["python"] == platform.python_version() and facts["packages"]["numpy"]
    assert facts["seeds"] == {"replicates": [1], "world": 2019}
    assert facts["protocol"] == config["dissection"]
    network = {key: config["network"][key] for key in ("constructor", "arguments")}
    assert facts["training"] == network | {"classes": 2, "train": 4, "test": 1}
    assert facts["labelled"] == {"concepts.h5": {"pictures": 3, "labels": 2, "categories": ["object", "color"]}}
    assert facts["machine"]["cores"] == len(os.sched_getaffinity(0)) and facts["machine"]["memory_gb"] > 0
    assert [source["name"] for source in facts["data"]] == ["images", "concepts"]
    assert {network[:3] for network in networks} == {tuple(key) for key in Experiment(config | {"gpus": 0}).networks}
    shuffled = next(network for network in networks if network.arm == "shuffled_labels")
    assert shuffled.files == "imp/replicate_1/level_0" and shuffled.dissection == "shuffled_labels/replicate_1/level_0"
    for network in networks:
        with h5py.File(results / network.files / "activations.h5") as file:
            assert file.attrs["network"] == network.network


def test_neither_the_machine_nor_the_folder_is_named(run):
    results, config = run
    record_provenance(config_text(config), "snakemake", results)
    text = (results / "provenance.json").read_text()
    assert str(results.resolve().parent) not in text and str(Path.home()) + "/" not in text
    names = [platform.node(), os.environ.get("USER") or ""]
    assert not any(name and f'"{name}' in text for name in names)


def test_rates_and_other_words_on_the_command_line_change_nothing_else(run):
    results, config = run
    record_provenance(config_text(config), "snakemake", results)
    before, facts = (results / "config.yaml").read_bytes(), json.loads((results / "provenance.json").read_text())
    config["rates"] = config["rates"] | {"train": 1}
    record_provenance(config_text(config), "snakemake --cores 9", results)
    assert (results / "config.yaml").read_bytes() == before
    assert json.loads((results / "provenance.json").read_text()) == facts | {"command": "snakemake --cores 9"}


@pytest.mark.parametrize("lost", ["data/concepts.h5", "data/test.h5", "imp/replicate_1/level_1/activations.h5"])
def test_a_file_that_is_missing_is_named(run, lost):
    results, config = run
    (results / lost).unlink()
    with pytest.raises(UserError, match=lost):
        record_provenance(config_text(config), "", results)
    assert not (results / "provenance.json").exists()


def test_archives_and_folders_of_ones_own_have_fingerprints(run, tmp_path):
    results, config = run
    for split in ("train", "test"):
        (tmp_path / f"mine/{split}/cat").mkdir(parents=True)
        (tmp_path / f"mine/{split}/cat/one.png").write_text(split)
    (tmp_path / "set.tar").write_text("an archive")
    config["images"] = config["images"] | {"source": "mine"}
    config["concepts"] = config["concepts"] | {"source": "set.tar"}
    record_provenance(config_text(config), "", results)
    facts = json.loads((results / "provenance.json").read_text())
    assert facts["seeds"] == {"replicates": [1], "world": None}
    train, test, concepts = facts["data"]
    assert (train["name"], test["name"]) == ("images, train", "images, test") and train["sha256"] != test["sha256"]
    said = subprocess.run(["sha256sum", "set.tar"], capture_output=True, text=True, check=True).stdout
    assert concepts["sha256"] == said.split()[0] and concepts["kind"] == "archive"
    (tmp_path / "mine/train/cat/one.png").write_text("other")
    content_fingerprint.cache_clear()  # as in another process
    record_provenance(config_text(config), "", results)
    assert json.loads((results / "provenance.json").read_text())["data"][0]["sha256"] != train["sha256"]


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (content("[" * 99999), "is damaged, or another kind of file .it is nested too deeply"),
        (content("{}"), "is damaged, or another kind of file .'sha256'"),
        (content('{"sha256": 7}'), "is damaged, or another kind of file"),
        (content('{"sha256": "x"}'), "is damaged, or another kind of file .its sha256 is 'x'"),
        (content('{"sha256": "a", "sha256": "b"}'), "the key 'sha256' twice"),
        (fifo, "is a folder, pipe, socket or device"),
        (hole, "has 300 GB"),
    ],
)
def test_a_damaged_receipt_of_an_archive_is_named(tmp_path, put, says):
    (tmp_path / "data").mkdir()
    put(tmp_path / "data/images.fetched.json")
    with pytest.raises(UserError, match=f"images.fetched.json .*{says}"):
        archive_fingerprint("images", {"addresses": ["https://example.org/a.zip"]}, tmp_path)


def test_replicates_levels_and_seeds_have_one_bound_everywhere():
    schema, facts = read_schema(), SCHEMA["properties"]
    brought, network = schema["$defs"]["brought"]["properties"], facts["networks"]["items"]["properties"]
    bounds = [schema["properties"]["replicates"]["items"], schema["properties"]["world"]["properties"]["seed"]]
    bounds += [brought["replicate"], brought["level"], network["replicate"], network["level"]]
    bounds += [facts["seeds"]["properties"]["world"], facts["seeds"]["properties"]["replicates"]["items"]]
    assert {bound["maximum"] for bound in bounds} == {MOST_NUMBER} and COUNT.high >= MOST_NUMBER


def test_the_first_job_and_the_last_are_those_of_the_benchmarks(tmp_path):
    assert describe_dates(tmp_path / "none") == {"first_job": None, "last_job": None}
    for name, end, seconds in (("a", 1_000_000_100, 40), ("b", 1_000_000_090, 60), ("c", 1_000_000_095, 1)):
        (tmp_path / f"{name}.tsv").write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t1\t1\n")
        os.utime(tmp_path / f"{name}.tsv", (end, end))
    found = describe_dates(tmp_path)
    assert found == {"first_job": "2001-09-09T01:47:10+00:00", "last_job": "2001-09-09T01:48:20+00:00"}


def test_the_commit_is_that_of_the_clone_and_changes_of_sources_count(tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    (clone / "workflow_scripts").mkdir(parents=True)
    (clone / "workflow_scripts/a.py").touch()
    shutil.copy(ROOT / "pyproject.toml", clone)
    monkeypatch.setattr(recording, "ROOT", clone)
    unknown = describe_project()
    assert unknown["version"] and unknown["commit"] is None and unknown["changed"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(clone)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert describe_project() == unknown | {"commit": head, "changed": False}
    (clone / "results").mkdir()
    (clone / "results/made.csv").touch()
    assert describe_project()["changed"] is False
    (clone / "workflow_scripts/b.py").touch()
    assert describe_project()["changed"] is True
    monkeypatch.setattr(recording, "ROOT", clone / "workflow_scripts")  # a copy within a repository of something else
    assert describe_project()["commit"] is None
