"""All recipes of trained networks in one experiment: it gives the same tables twice, and only new parts run."""

import shutil
from pathlib import Path

import pytest
from test_workflow import DRAWN_ONCE, FROM_TABLES, ROOT, copy_sources, edit, listed, snakemake

from workflow_scripts.plan.load import read_config
from workflow_scripts.plan.recipes import known_recipes

CONFIG = "configs/all_arms.yaml"
ALL_ARMS = ["--cores", "2", "--configfile", CONFIG]
DISSECTION = ("dump_activations", "find_thresholds", "tally_units", "name_units", "validate_units", "ablate_units")

pytestmark = pytest.mark.rare


def run_all(folder: Path) -> Path:
    copy_sources(ROOT, folder)
    run = snakemake(folder, *ALL_ARMS)
    assert run.returncode == 0, run.stdout
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("all_arms") / "run")


def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished run in a fresh clone."""
    folder = copy_sources(finished, tmp_path / "clone")
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, folder / name)
    return folder


def planned(folder: Path) -> dict[str, int]:
    """How many jobs of each rule a dry run lists, without those that follow from the tables."""
    run = snakemake(folder, "-n", *ALL_ARMS)
    assert run.returncode == 0, run.stdout
    jobs = listed(run.stdout)
    return {
        rule: number
        for rule, number in jobs.items()
        if rule not in (*FROM_TABLES, *DRAWN_ONCE, "collect_rotations", "collect_ablation", "all")
    }


def test_every_recipe_of_trained_networks_is_there():
    recipes = {arm["recipe"] for arm in read_config([ROOT / CONFIG])["arms"]}
    assert recipes == known_recipes().keys() - {"brought", "prune_once"}


def test_the_same_tables_twice(finished, tmp_path):
    again = run_all(tmp_path / "again")
    tables = sorted((finished / "results/all_arms/tables").glob("*.csv"))
    assert {"arms.csv", "networks.csv", "rotations.csv", "units.csv"} <= {table.name for table in tables}
    for table in tables:
        assert table.read_bytes() == (again / "results/all_arms/tables" / table.name).read_bytes(), table.name


def test_a_new_level_of_an_arm_only_runs_that_level(finished, tmp_path):
    folder = copied(finished, tmp_path)
    edit(folder / CONFIG, "recipe: oneshot, of: imp, levels: [2]", "recipe: oneshot, of: imp, levels: [1, 2]")
    assert planned(folder) == dict.fromkeys(("train_level", *DISSECTION), 1)


def test_one_epoch_less_of_the_dense_training_only_runs_tables(finished, tmp_path):
    folder = copied(finished, tmp_path)
    edit(folder / CONFIG, "epochs: [2, 3]", "epochs: [2]")
    assert planned(folder) == {}


def test_a_new_arm_only_runs_that_arm(finished, tmp_path):
    folder = copied(finished, tmp_path)
    edit(
        folder / CONFIG,
        "  - {name: dense_again,",
        "  - {name: other_places, recipe: random_layerwise, of: imp, levels: [1]}\n  - {name: dense_again,",
    )
    edit(
        folder / CONFIG, "random_layerwise, of: imp, levels: [2]}", "random_layerwise, of: imp, levels: [2], label: r}"
    )
    assert planned(folder) == dict.fromkeys(("train_level", *DISSECTION), 1)
