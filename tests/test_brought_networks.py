"""The workflow on a user's networks, from a module, files and an OpenLTH folder that the test makes."""

import csv
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from test_openlth import write_log
from test_workflow import DRAWN_ONCE, FROM_TABLES, NAMED, ROOT, copy_sources, edit, listed, snakemake

from workflow_scripts.networks.openlth_models import cifar_resnet
from workflow_scripts.networks.torchvision_models import models

BROUGHT = ["--cores", "2", "--configfile", "brought.yaml"]
MODULE = """
from torch import nn

def small(width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.Conv2d(width, 12, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
"""
VIEW = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
CONFIG: dict[str, Any] = {
    "experiment": "brought",
    "world": {"concept_images": 30},
    "images": {"size": 32},
    "arms": [
        {
            "name": "mine",
            "recipe": "brought",
            "constructor": "my_networks:small",
            "arguments": {"width": 10},
            "weights": "runs/{replicate}/level_{level}.pt",
            "unused": ["aux"],
            "layers": ["3"],
            "preprocessing": VIEW,
            "test": "pictures",
        },
        {"name": "mine_untrained", "recipe": "untrained", "of": "mine"},
        {"name": "mine_shuffled_labels", "recipe": "shuffled_labels", "of": "mine"},
        {"name": "lottery", "recipe": "brought", "openlth": "lottery_abc", "layers": ["blocks.2"]},
        {
            "name": "vit",
            "recipe": "brought",
            "constructor": "torchvision.models:VisionTransformer",
            "arguments": {
                "image_size": 24,
                "patch_size": 8,
                "num_layers": 1,
                "num_heads": 2,
                "hidden_dim": 16,
                "mlp_dim": 8,
            },
            "weights": "none",
            "layers": ["encoder.layers.encoder_layer_0@3x3"],
            "preprocessing": VIEW | {"size": 24, "interpolation": "bicubic"},
        },
        *(
            {"name": f"{base}_structured", "recipe": "prune_once", "of": base, "method": "structured"}
            | {"densities": [0.5]}
            for base in ("mine", "lottery", "vit")
        ),
    ],
}
MINE, OTHERS = CONFIG["arms"][0], CONFIG["arms"][1:]

pytestmark = pytest.mark.slow


def bring(folder: Path) -> None:
    """Write what a user has: a module, weights of two replicates pruned to levels, pictures, and OpenLTH's folder."""
    (folder / "my_networks.py").write_text(MODULE)
    scope: dict = {}
    exec(MODULE, scope)
    (folder / "runs" / "2").mkdir(parents=True)
    network = scope["small"](10)
    torch.save(network.state_dict(), folder / "runs/2/level_0.pt")
    with torch.no_grad():
        network[2].weight[:, :5] = 0
    contents = {"epoch": 3, "state_dict": network.state_dict() | {"aux.weight": torch.ones(2)}}
    torch.save(contents, folder / "runs/2/level_4.pt")
    for name, value in (("dark", 30), ("light", 220)):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((40, 40 + number, 3), value, np.uint8)).save(
                folder / f"pictures/{name}/{number}.png"
            )
    write_lottery(folder / "lottery_abc" / "replicate_3", seed=3)


def write_lottery(folder: Path, seed: int) -> None:
    """A replicate of two levels as OpenLTH leaves it: masks that keep all weights, and half of them by magnitude.

    Weights are as after an optimizer's step: what is pruned is not zero until the mask has been applied.
    """
    torch.manual_seed(seed)
    network = cifar_resnet(8, 4)
    prunable = [name for name, tensor in network.state_dict().items() if name.endswith("weight") and tensor.ndim > 1]
    for level, density in enumerate((1.0, 0.5)):
        main = folder / f"level_{level}" / "main"
        main.mkdir(parents=True)
        state = network.state_dict()
        masks = {
            name: (state[name].abs() >= state[name].abs().flatten().quantile(1 - density)).int() for name in prunable
        }
        torch.save(state, main / "model_ep2_it0.pth")
        torch.save(masks, main / "mask.pth")
        total, unpruned = sum(mask.numel() for mask in masks.values()), sum(int(mask.sum()) for mask in masks.values())
        (main / "sparsity_report.json").write_text(json.dumps({"total": float(total), "unpruned": float(unpruned)}))
    write_log(folder / "level_0" / "main", model="cifar_resnet_8_4", steps="2ep")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("brought") / "run")
    bring(folder)
    (folder / "brought.yaml").write_text(yaml.safe_dump(CONFIG))
    run = snakemake(folder, *BROUGHT)
    assert run.returncode == 0, run.stdout
    return folder


def read_table(folder: Path, name: str, experiment: str = "brought") -> list[dict[str, str]]:
    with open(folder / "results" / experiment / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def planned(folder: Path, *arguments: str, config: Sequence[str] = BROUGHT) -> dict[str, int]:
    """How many jobs of each rule a dry run lists, without those that concern all networks."""
    run = snakemake(folder, "-n", *config, *arguments)
    assert run.returncode == 0, run.stdout
    if "Nothing to be done" in run.stdout:
        return {}
    return {
        rule: count
        for rule, count in listed(run.stdout).items()
        if rule not in ("all", "collect_ablation", *FROM_TABLES, *DRAWN_ONCE)
    }


def kept_of_lottery(folder: Path) -> float:
    """The share of weights that the last level keeps, from OpenLTH's own report."""
    report = json.loads((folder / "lottery_abc/replicate_3/level_1/main/sparsity_report.json").read_text())
    return report["unpruned"] / report["total"]


def dissected(count: int) -> dict[str, int]:
    steps = ("measure_network", "dump_activations", "find_thresholds", "tally_units", *NAMED)
    return dict.fromkeys(steps, count)


def test_every_network_has_its_arm_replicate_level_and_density(finished):
    found = {
        (row["arm"], int(row["replicate"]), int(row["level"])): (row["layer"], int(row["units"]), float(row["density"]))
        for row in read_table(finished, "networks")
    }
    weights = 3 * 10 * 9 + 10 * 12 * 9 + 12 * 2
    zeroed = 1 - 5 * 12 * 9 / weights
    half = (5 * 27 + 6 * 90 + 24) / weights  # of the filters, and the classes whole
    expected = {
        ("mine", 2, 0): ("3", 12, 1),
        ("mine", 2, 4): ("3", 12, zeroed),
        ("mine_untrained", 2, 0): ("3", 12, 1),
        ("mine_shuffled_labels", 2, 0): ("3", 12, 1),
        ("mine_structured", 2, 0): ("3", 12, 1),
        ("mine_structured", 2, 1): ("3", 12, half),
        ("lottery", 3, 0): ("blocks.2", 16, 1),
        ("lottery", 3, 1): ("blocks.2", 16, kept_of_lottery(finished)),
        ("lottery_structured", 3, 0): ("blocks.2", 16, 1),
        ("lottery_structured", 3, 1): ("blocks.2", 16, found["lottery_structured", 3, 1][2]),
        ("vit", 1, 0): ("encoder.layers.encoder_layer_0", 16, 1),
        ("vit_structured", 1, 0): ("encoder.layers.encoder_layer_0", 16, 1),
        ("vit_structured", 1, 1): ("encoder.layers.encoder_layer_0", 16, (1536 + 384 + 128 + 128 + 16000) / 20352),
    }
    assert found.keys() == expected.keys()
    assert 0.4 < found["lottery_structured", 3, 1][2] < 0.6
    for key, (layer, units, density) in expected.items():
        assert found[key][:2] == (layer, units) and found[key][2] == pytest.approx(density, rel=1e-5), key


def test_a_lotterys_masks_are_applied_and_kept(finished):
    for level in range(2):
        main = finished / f"lottery_abc/replicate_3/level_{level}/main"
        masks = torch.load(main / "mask.pth")
        saved = torch.load(main / "model_ep2_it0.pth")
        kept = torch.load(finished / f"results/brought/lottery/replicate_3/level_{level}/network.pt")
        assert {f"{name}.weight" for name in kept["masks"]} == masks.keys()
        for name, mask in masks.items():
            assert torch.equal(kept["masks"][name.removesuffix(".weight")], mask.bool())
            assert torch.equal(kept["model"][name], saved[name] * mask)


def test_accuracy_is_measured_where_there_are_pictures_and_else_left_empty(finished):
    accuracies = {row["arm"]: row["test_accuracy"] for row in read_table(finished, "networks")}
    assert all(accuracies[arm] == "" for arm in accuracies if not arm.startswith("mine"))
    assert all(0 <= float(accuracies[arm]) <= 1 for arm in accuracies if arm.startswith("mine"))
    assert (finished / "results/brought/figures/accuracy.svg").is_file()
    # Without any, the figures that show nothing else are left out.
    without = [arm for arm in CONFIG["arms"] if not arm["name"].startswith("mine")]
    without = CONFIG | {"experiment": "untested", "arms": without}
    (finished / "untested.yaml").write_text(yaml.safe_dump(without))
    dry = snakemake(finished, "-n", "--configfile", "untested.yaml")
    assert "figures/overview.svg" in dry.stdout and "accuracy.svg" not in dry.stdout


def test_finished_files_are_kept_and_changed_ones_are_made_again(finished):
    assert planned(finished) == {}
    for path in [
        *finished.glob("runs/*/*.pt"),
        *finished.rglob("lottery_abc/*/*/*/*.pth"),
        finished / "my_networks.py",
    ]:
        path.touch()
    assert planned(finished) == {}
    # Another file of weights concerns its network, and what was pruned from it.
    file = finished / "runs/2/level_4.pt"
    before = file.read_bytes()
    state = torch.load(file)["state_dict"]
    torch.save(state | {"0.bias": state["0.bias"] + 1}, file)
    assert planned(finished) == TESTED_LEVEL
    file.write_bytes(before)
    # The constructor's code concerns all its networks: two levels, the untrained, the pruned one, and shuffled labels.
    # Those of curves have units switched off.
    edit(finished / "my_networks.py", "nn.AdaptiveAvgPool2d(1)", "nn.AdaptiveMaxPool2d(1)")
    looked_at = {"check_network": 1, "find_receptive_fields": 1}
    assert planned(finished) == looked_at | {"import_network": 3, "prune_once": 1} | dissected(4) | {
        **dict.fromkeys(("tally_units", *NAMED), 5),
        "ablate_units": 3,
    }
    edit(finished / "my_networks.py", "nn.AdaptiveMaxPool2d(1)", "nn.AdaptiveAvgPool2d(1)")
    # A further density only adds: a level of each network that is pruned.
    denser = [arm | ({"densities": [0.5, 0.1]} if "densities" in arm else {}) for arm in CONFIG["arms"]]
    (finished / "denser.yaml").write_text(yaml.safe_dump({"arms": denser}))
    assert planned(finished, "denser.yaml") == {"prune_once": 3} | dissected(3) | {"ablate_units": 1}


IMPORTED_LEVEL = {"import_network": 1} | dissected(1)
TESTED_LEVEL = IMPORTED_LEVEL | {"ablate_units": 1}
IMPORTED_AND_PRUNED = {"import_network": 1, "prune_once": 1} | dissected(2)


@pytest.mark.parametrize(
    ("name", "follows"),
    [
        ("runs/2/level_4.pt", TESTED_LEVEL),
        ("lottery_abc/replicate_3/level_1/main/model_ep2_it0.pth", IMPORTED_LEVEL),
        ("lottery_abc/replicate_3/level_0/main/mask.pth", IMPORTED_AND_PRUNED),
        ("lottery_abc/replicate_3/level_1/main/sparsity_report.json", IMPORTED_LEVEL),
    ],
)
def test_an_older_replacement_file_is_noticed_but_a_copy_is_not(finished, name, follows):
    file, kept = finished / name, finished / "kept"
    file.rename(kept)
    file.write_bytes(kept.read_bytes() + b" ")
    os.utime(file, (1, 1))
    assert planned(finished) == follows
    shutil.copy(kept, file)
    assert planned(finished) == {}
    kept.rename(file)
    assert planned(finished) == {}


def test_results_made_from_an_older_file_are_kept(finished, tmp_path):
    folder = Path(shutil.copytree(finished, tmp_path / "copy"))
    file, target = folder / "runs/2/level_4.pt", "results/brought/mine/replicate_2/level_4/network.pt"
    before = (folder / target).read_bytes()
    shutil.copy(folder / "runs/2/level_0.pt", file)
    os.utime(file, (1, 1))
    for times in (1, 0):
        run = snakemake(folder, target, *BROUGHT)
        assert run.returncode == 0, run.stdout
        assert ("Nothing to be done" in run.stdout) == (times == 0)
    assert (folder / target).read_bytes() != before


def test_only_the_openlth_settings_that_are_used_count(finished):
    log = finished / "lottery_abc/replicate_3/level_0/main/hparams.log"
    before = log.read_text()
    log.write_text(before.replace("gamma => 0.1", "gamma => 0.2"))
    os.utime(log, (1, 1))
    assert planned(finished) == {}
    log.write_text(before.replace("dataset_name => cifar10", "dataset_name => imagenet"))
    os.utime(log, (1, 1))
    jobs = planned(finished)
    log.write_text(before)
    assert jobs["import_network"] == 2 and jobs["measure_network"] == 3


def test_another_order_of_the_classes_only_repeats_measuring_and_ablation(finished):
    reversed_classes = MINE | {"class_order": ["light", "dark"]}
    (finished / "reversed.yaml").write_text(yaml.safe_dump({"arms": [reversed_classes, *OTHERS]}))
    assert planned(finished, "reversed.yaml") == {"measure_network": 4, "ablate_units": 3}
    metrics = "results/brought/mine/replicate_2/level_0/metrics.json"
    folder = Path(shutil.copytree(finished, finished.parent / "reversed"))
    before = json.loads((folder / metrics).read_text())["test_accuracy"]
    run = snakemake(folder, metrics, *BROUGHT, "reversed.yaml")
    assert run.returncode == 0, run.stdout
    assert json.loads((folder / metrics).read_text())["test_accuracy"] == 1 - before


def test_a_change_of_a_file_named_to_a_constructor_is_noticed(finished):
    """The constructor reads its weights itself then."""
    folder = finished
    (folder / "from_a_file.py").write_text(
        "import torch\nfrom my_networks import small\n\ndef load(weights=None):\n    network = small()\n"
        "    if weights:\n        network.load_state_dict(torch.load(weights))\n    return network\n"
    )
    scope: dict = {}
    exec(MODULE, scope)
    torch.save(scope["small"]().state_dict(), folder / "own.pt")
    network = MINE | {"constructor": "from_a_file:load", "weights": {"weights": "own.pt"}}
    del network["arguments"], network["unused"]
    config = CONFIG | {"experiment": "from_a_file", "arms": [network]}
    (folder / "from_a_file.yaml").write_text(yaml.safe_dump(config))
    arguments = ["results/from_a_file/mine/replicate_1/level_0/network.pt", "--configfile", "from_a_file.yaml"]
    run = snakemake(folder, *arguments, "--cores", "1")
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in snakemake(folder, "-n", *arguments).stdout
    torch.save(scope["small"]().state_dict(), folder / "own.pt")
    os.utime(folder / "own.pt", (1, 1))
    assert listed(snakemake(folder, "-n", *arguments).stdout) == {"import_network": 1}


def test_an_unreadable_file_is_reported_before_anything_runs(finished):
    file, kept = finished / "runs/2/level_4.pt", finished / "kept"
    file.rename(kept)
    file.symlink_to("/proc/self/mem")  # which nobody can read from its beginning
    run = snakemake(finished, "-n", *BROUGHT)
    file.unlink()
    kept.rename(file)
    assert run.returncode != 0 and "Traceback" not in run.stdout
    assert "error: runs/2/level_4.pt cannot be read (Input/output error): fix that" in run.stdout
    assert planned(finished) == {}  # nor is the folder left locked


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"weights": "lottery_abc/replicate_3/level_0/main/model_ep2_it0.pth"},
            "has a different architecture from the",
        ),
        ({"layers": ["features.3"]}, "the network has no layer 'features.3'"),
        ({"layers": ["6"]}, "the output of 6 is (1, 2), not (images, units, height, width)"),
        ({"masks": "lottery_abc/replicate_3/level_0/main/mask.pth"}, "the network has no such weight"),
        ({"constructor": "my_networks:large"}, "constructor my_networks:large cannot be imported"),
        ({"weights": "runs/none.pt"}, "arms.mine.weights is 'runs/none.pt', but there is no such file"),
        ({"constructor": "my_networks"}, 'arms.mine.constructor is "my_networks": write package.module:function'),
        ({"wieghts": "x"}, "unknown key arms.mine.wieghts; did you mean weights?"),
        ({"openlth": "lottery_abc"}, "arms.mine.weights is given by the folder openlth: leave it out"),
        ({"preprocessing": {"size": 32}}, "arms.mine.preprocessing.mean is missing: write a list of three numbers"),
        ({"density": 0}, "arms.mine.density is 0: write a number above 0 and at most 1"),
        ({"class_order": ["dark", "dim"]}, "arms.mine.class_order has 'dim', but there is no such class folder"),
    ],
)
def test_wrong_inputs_end_in_a_sentence(finished, change, words):
    network = MINE | {"weights": "runs/2/level_0.pt"} | change
    config = CONFIG | {"experiment": "wrong", "arms": [network]}
    (finished / "wrong.yaml").write_text(yaml.safe_dump(config))
    run = snakemake(finished, "--cores", "2", "--configfile", "wrong.yaml")
    assert run.returncode != 0
    assert words in run.stdout and "Traceback" not in run.stdout
    assert "error: " in run.stdout
    assert not list((finished / "results").glob("wrong/**/*.part"))


def test_published_counts_are_beside_those_of_the_same_network(finished):
    torch.save(models.resnet50().state_dict(), finished / "runs/resnet50-0676ba61.pth")  # in name only
    network = {
        "name": "resnet50",
        "recipe": "brought",
        "constructor": "torchvision.models:resnet50",
        "weights": "runs/resnet50-0676ba61.pth",
        "layers": ["layer4"],
        "preprocessing": "ResNet50_Weights.IMAGENET1K_V1",
    }
    config = {
        "experiment": "published",
        "arms": [network],
        "concepts": {"source": "results/brought/data/shapes/concepts"},
        "dissection": {"protocol": "lite"},
    }
    (finished / "published.yaml").write_text(yaml.safe_dump(config))
    table = "results/published/tables/published.csv"
    assert table in snakemake(finished, "-n", "--configfile", "published.yaml").stdout
    other = config | {"arms": [network | {"preprocessing": VIEW}]}  # to which the counts do not apply
    (finished / "other.yaml").write_text(yaml.safe_dump(other))
    assert table not in snakemake(finished, "-n", "--configfile", "other.yaml").stdout
    run = snakemake(finished, table, "--cores", "2", "--configfile", "published.yaml")
    assert run.returncode == 0, run.stdout
    rows = list(csv.DictReader((finished / table).read_text().splitlines()))
    one = next(row for row in rows if row["layer"] == "layer4" and row["published"] == "1355")
    assert one["measured"] == "" and one["comparable"] == "False"
    assert "not Broden's" in one["differs"] and "SHA-256" in one["differs"]


def test_grey_pictures_of_unequal_sides_pass_through_the_whole_workflow(finished):
    (finished / "grey_networks.py").write_text(MODULE.replace("Conv2d(3,", "Conv2d(1,"))
    grey = {"name": "grey", "recipe": "brought", "constructor": "grey_networks:small", "weights": "none"}
    grey |= {"layers": ["3"], "preprocessing": {"size": [40, 24], "mean": [0.5], "std": [0.25]}, "test": "pictures"}
    config = {
        "experiment": "grey",
        "arms": [grey],
        "concepts": {"source": "results/brought/data/shapes/concepts"},
    }
    (finished / "grey.yaml").write_text(yaml.safe_dump(config))
    targets = [
        "results/grey/tables/networks.csv",
        "results/grey/tables/ablation.csv",
        "results/grey/gallery/index.html",
    ]
    run = snakemake(finished, *targets, "--cores", "2", "--configfile", "grey.yaml")
    assert run.returncode == 0, run.stdout
    [row] = read_table(finished, "networks", "grey")
    assert row["units"] == "12" and row["knots"] == "receptive_field" and float(row["test_accuracy"]) >= 0
    assert (finished / "results/grey/data/concepts_40x24_bilinear.h5").is_file()
    coloured = config | {"experiment": "coloured", "arms": [grey | {"preprocessing": VIEW}]}
    (finished / "coloured.yaml").write_text(yaml.safe_dump(coloured))
    run = snakemake(finished, "--cores", "2", "--configfile", "coloured.yaml")
    assert run.returncode != 0 and "Traceback" not in run.stdout
    assert "expects pictures with 1 channel, but mean and std give them 3: give mean and std" in run.stdout


def test_the_shipped_config_of_a_published_network_lists_its_layers_and_the_comparison():
    run = snakemake(ROOT, "-n", "-p", "--configfile", "configs/pretrained.yaml")
    assert run.returncode == 0, run.stdout
    jobs = listed(run.stdout)
    assert jobs["dump_activations"] == jobs["compare_published"] == 1 and "train_dense" not in jobs
    assert "--layers layer1 layer2 layer3 layer4" in run.stdout
    assert """--weights '{"weights": "IMAGENET1K_V1"}'""" in run.stdout
