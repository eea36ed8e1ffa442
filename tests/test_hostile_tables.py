"""Tables, metrics and other files of results that are hostile or broken: each is refused in one sentence."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hostile_runner import require_harmless, require_refusal, run_hostile
from small_experiments import arms_of
from small_results import write_results

NETWORK = "results/imp/replicate_1/level_1"
COLLECT = [
    *("--results", "results", "--networks", "imp", "1/1", "--detector-iou", "0.04", "--detector-rule", "above"),
    *("--tables", "new", "--arms"),
]
ARM = {"arm": "imp", "base": "imp", "role": "curve", "recipe": "imp", "starts_from": "", "label": "x"}
COMMANDS = {
    "collect": ["workflow_scripts.tables.collect", *COLLECT, json.dumps([{**ARM, "same_units": True}])],
    "sweep": [
        *("workflow_scripts.tables.collect_sweep", "--results", "results", "--networks", "imp", "1/1"),
        *("--detector-rule", "above", "--values", "detector_iou", "0.04", "--values", "quantile", "0.005", "0.01"),
        *("--out", "new.csv"),
    ],
    "rotations": [
        *("workflow_scripts.tables.collect_rotations", "--results", "results", "--networks", "imp", "1/1"),
        *("--rotated", "imp", "2", "1.0", "--out", "new.csv"),
    ],
    "ablation": [
        *("workflow_scripts.tables.collect_ablation", "--results", "results", "--networks", "imp", "1/1"),
        *("--given", "[]", "--ablation", "new.csv", "--classes", "new2.csv"),
    ],
    "compare": [
        *("workflow_scripts.tables.compare_networks", "--tables", "results/tables"),
        *("--margin", "0.1", "--accuracy-margin", "0.01"),
    ],
    "summarise": ["workflow_scripts.findings.summarise", "results"],
    "figures": [
        *("workflow_scripts.figures.draw_figures", "--tables", "results/tables", "--out", "new"),
        *("--figure", "overview", "--figure", "ablation", "--figure", "robustness", "--figure", "training_curves"),
    ],
    "report": [
        *("workflow_scripts.run.write_report", "--results", "results", "--figures", "overview"),
        *("--tables", "networks", "ablation", "--margin", "0.1", "--accuracy-margin", "0.01"),
        *("--findings", "findings2.md", "--summary", "summary2.txt", "--out", "results/report2.html"),
    ],
    "verify": ["workflow_scripts.run.verify_results", "results"],
    "checksums": ["workflow_scripts.run.list_checksums", "--results", "results", "--out", "results/new.sha256"],
    "costs": ["workflow_scripts.run.sum_costs", "--benchmarks", "results/benchmarks", "--out", "new.csv"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with results/, which all commands accept."""
    folder = tmp_path_factory.mktemp("whole")
    write_results(folder / "results")
    of_network = folder / NETWORK
    for name, rows in OWN_TABLES.items():
        (of_network / f"{name}.csv").write_text(rows)
    return folder


OWN_TABLES = {
    "sweep": "choice,value,layer,units,detectors_a,concepts_a,detectors_b,concepts_b,dead_units\n"
    "quantile,0.01,stages.3.conv2,12,3,3,4,4,0\n",
    "rotations": "layer,alpha,seed,units,detectors_a,concepts_a,dead_units,median_score\n"
    "stages.3.conv2,1.0,1,12,3,3,0,0.05\nstages.3.conv2,1.0,2,12,4,3,0,0.05\n",
    "ablation": "layer,class,concept,units,pictures,accuracy,own,others,all,random_own_mean,random_own_sd,"
    "random_all_mean,p,sets,by\nstages.3.conv2,dog,dog,2,10,0.9,-0.1,0,-0.1,-0.05,0.1,0,0.05,19,logits\n",
    "classes": "class,pictures,accuracy\ndog,10,0.9\n",
}


@pytest.fixture
def results(whole, tmp_path) -> Path:
    """A copy of these results, to be broken."""
    shutil.copytree(whole / "results", tmp_path / "results")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_whole_results_are_accepted(command, results):
    name, *words = COMMANDS[command]
    outcome = run_hostile(results, name, *words, seconds=100)
    require_harmless(results, outcome)
    assert outcome.status == 0, outcome.output[-3000:]
