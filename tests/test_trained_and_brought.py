"""Trained networks with a user's architecture beside imported ones with fewer channels, and a file for a control."""

import json
import re
from typing import Any

import pytest
import torch
import yaml
from test_brought_networks import MODULE, VIEW, dissected, planned, read_table
from test_workflow import ROOT, copy_sources, edit, snakemake

pytestmark = pytest.mark.rare

TOGETHER = ["--cores", "2", "--configfile", "together.yaml"]
CONTROL = '''"""The dense network with the filters of each layer in another order than its next layer expects."""

import torch

LABEL = "dense, filters turned"
STARTS_FROM = "dense"


@torch.no_grad()
def make(network, masks, train, seed):
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_(module.weight.roll(1, 0))
'''
ARCHITECTURE = """
from torch import nn

def plain(num_classes, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(width, num_classes))
"""
CHANNELS = [{"width": 8}, {"width": 5}]  # of the networks that came pruned, level by level
BESIDE: dict[str, Any] = {
    "experiment": "together",
    "replicates": [1],
    "gpus": 0,
    "world": {"train_images": 40, "test_images": 40, "concept_images": 30},
    "images": {"size": 32},
    "network": {"constructor": "own_network:plain", "arguments": {"width": 6}},
    "training": {"epochs": 2, "batch_size": 20},
    "pruning": {"levels": 1},
    "dissection": {"layers": ["2"]},
    "arms": [
        {"name": "imp", "recipe": "imp"},
        {"name": "turned", "recipe": "filters_turned", "of": "imp"},
        {
            "name": "slim",
            "recipe": "brought",
            "constructor": "my_networks:small",
            "arguments": "slim/channels_{level}.json",
            "weights": "slim/level_{level}.pt",
            "density": [1, 0.6],
            "layers": ["0"],
            "preprocessing": VIEW,
        },
        {"name": "slim_untrained", "recipe": "untrained", "of": "slim"},
    ],
}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("together") / "run")
    (folder / "workflow_scripts/train/controls/filters_turned.py").write_text(CONTROL)
    (folder / "own_network.py").write_text(ARCHITECTURE)
    (folder / "my_networks.py").write_text(MODULE)
    (folder / "slim").mkdir()
    scope: dict = {}
    exec(MODULE, scope)
    for level, arguments in enumerate(CHANNELS):
        torch.save(scope["small"](**arguments).state_dict(), folder / f"slim/level_{level}.pt")
        (folder / f"slim/channels_{level}.json").write_text(json.dumps(arguments))
    (folder / "together.yaml").write_text(yaml.safe_dump(BESIDE))
    run = snakemake(folder, *TOGETHER)
    assert run.returncode == 0, run.stdout
    return folder


def test_trained_and_imported_arms_can_be_in_one_experiment(together):
    arms = read_table(together, "arms", "together")
    assert [list(arm.values()) for arm in arms] == [
        ["imp", "imp", "curve", "imp", "", "iterative magnitude pruning", "True"],
        ["turned", "imp", "baseline", "filters_turned", "imp", "dense, filters turned", "True"],
        ["slim", "slim", "curve", "brought", "", "slim", "False"],
        ["slim_untrained", "slim", "baseline", "untrained", "", "untrained", "True"],
    ]
    rows = read_table(together, "networks", "together")
    # The networks that trainings start from are no arm here, and so in no table.
    assert [(row["arm"], row["level"], row["layer"], row["units"]) for row in rows] == [
        ("imp", "0", "2", "6"),
        ("imp", "1", "2", "6"),
        ("slim", "0", "0", "8"),
        ("slim", "1", "0", "5"),
        ("slim_untrained", "0", "0", "8"),
        ("turned", "0", "2", "6"),
    ]
    slim = [(float(row["density"]), row["density_all"]) for row in rows if row["arm"] == "slim"]
    assert slim == [(1, ""), (0.6, "")]
    assert not [row for row in read_table(together, "layers", "together") if row["arm"] == "slim"]
    assert planned(together, config=TOGETHER) == {}


def test_an_architecture_and_a_control_are_a_file_each(together):
    state = {
        arm: torch.load(together / f"results/together/{arm}/replicate_1/level_0/network.pt")["model"]
        for arm in ("imp", "turned")
    }
    assert state["imp"]["0.weight"].shape == (6, 3, 3, 3) and len(state["imp"]["5.weight"]) > 2  # classes of the world
    assert torch.equal(state["turned"]["0.weight"], state["imp"]["0.weight"].roll(1, 0))
    assert torch.equal(state["turned"]["5.weight"], state["imp"]["5.weight"])
    assert "dense, filters turned" in (together / "results/together/figures/overview.svg").read_text()


def test_units_of_networks_whose_shapes_change_have_no_ancestors(together):
    text = (together / "results/together/gallery/experiment.js").read_text()
    content = json.loads(re.fullmatch(r"gallery\.experiment\((.*)\);\n", text)[1])
    assert {network["arm"]: network["same_units"] for network in content["networks"]} == {
        "imp": True,
        "turned": True,
        "slim": False,
        "slim_untrained": True,
    }


def test_a_file_of_an_arm_only_affects_what_is_made_from_it(together):
    looked_at = {"check_network": 1, "find_receptive_fields": 1}
    # A level's arguments concern that level.
    channels = together / "slim/channels_1.json"
    channels.write_text(json.dumps({"width": 4}))
    assert planned(together, config=TOGETHER) == looked_at | {"import_network": 1} | dissected(1)
    channels.write_text(json.dumps(CHANNELS[1]))
    # The architecture of trained networks concerns these, and not the brought ones.
    edit(together / "own_network.py", "nn.ReLU()", "nn.GELU()")
    trained = {"init_network": 1, "train_dense": 1, "train_level": 1, "make_control": 1}
    dissections = {rule: count for rule, count in dissected(3).items() if rule != "measure_network"}
    assert planned(together, config=TOGETHER) == looked_at | trained | dissections | {"ablate_units": 2}
    edit(together / "own_network.py", "nn.GELU()", "nn.ReLU()")
    # A control's file concerns its networks alone.
    edit(together / "workflow_scripts/train/controls/filters_turned.py", "roll(1, 0)", "roll(2, 0)")
    dissections = {rule: count for rule, count in dissected(1).items() if rule != "measure_network"}
    assert planned(together, config=TOGETHER) == {"make_control": 1} | dissections
    edit(together / "workflow_scripts/train/controls/filters_turned.py", "roll(2, 0)", "roll(1, 0)")
    assert planned(together, config=TOGETHER) == {}
