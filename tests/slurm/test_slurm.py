"""The workflow on a real SLURM: through sbatch, with GPUs, and what is refused before anything is submitted."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import slurm_runs
from cluster import run, wait_until
from slurm_runs import HERE, IMP, PROFILE, ended, finish, records, snakemake, start
from test_workflow import ROOT, listed

pytest_plugins = ["slurm_fixtures"]
pytestmark = pytest.mark.rare


def test_the_tiny_experiment_goes_through_sbatch(cluster, sources, tmp_path):
    folder = Path(shutil.copytree(sources, tmp_path / "run"))
    (folder / "one_level.yaml").write_text("pruning: {levels: 1}")
    config = ["--configfile", "configs/tiny.yaml", "one_level.yaml", "--config", "gpus=0"]
    done = snakemake(folder, *PROFILE, *HERE, *config)
    assert done.returncode == 0, done.stdout
    assert (folder / "results/tiny/figures/overview.pdf").exists()
    jobs = records(cluster, folder)
    # Pictures, concepts, what the gallery shows of both, the initial network, a dense training, a level, five networks
    # dissected (the shuffled labels in the job of the dense network), two rotated.
    assert len(jobs) == 13 and {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["Account"] for job in jobs} == {"tests"}
    trainings = [job for job in jobs if "mem=48000M" in job["Tres"]]
    assert len(trainings) == 2 and {job["TimeLimit"] for job in trainings} == {"360"}
    here = {"all", *re.findall(r"^[\d:]{8}  start +(\w+)", done.stdout, re.M)}
    before, after = (
        {"check_network", "find_receptive_fields"},
        {
            "collect",
            "collect_ablation",
            "collect_rotations",
            "collect_sweep",
            "compare_networks",
            "draw_figures",
            "write_gallery",
            "sum_costs",
            "record_provenance",
            "write_report",
            "list_checksums",
        },
    )
    assert here == {"all"} | before | after
    through_jobs = sum(listed(done.stdout).values()) - len(here)
    assert through_jobs == 44
    again = snakemake(folder, *PROFILE, *HERE, *config)
    assert "Nothing to be done" in again.stdout and again.returncode == 0, again.stdout


@pytest.fixture
def pretended_gpus(cluster, tmp_path, monkeypatch):
    """A `python` for the rules that takes the GPUs which the nodes pretend to have; a folder of what it was given."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(ROOT / "tests" / "slurm" / "python_with_pretended_gpus")
    records = tmp_path / "records"
    records.mkdir()
    monkeypatch.setenv("REAL_PYTHON", sys.executable)
    monkeypatch.setenv("GPU_RECORDS", str(records))
    path = f"{tmp_path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setattr(slurm_runs, "environment", lambda: os.environ | {"PATH": path})
    return records


def given(records: Path, script: str) -> list[str]:
    """CUDA_VISIBLE_DEVICES of the processes of a script."""
    return sorted(path.read_text().strip() for path in records.glob(f"workflow_scripts.*.{script}.*"))


def test_jobs_that_run_at_once_have_gpus_of_their_own(cluster, sources, pretended_gpus, tmp_path):
    folder = Path(shutil.copytree(sources, tmp_path / "run"))
    (folder / "gpus.yaml").write_text("{gpus: 1, replicates: [1, 2], arms: [{name: imp, recipe: imp}]}")
    config = ["--configfile", "configs/tiny.yaml", "gpus.yaml"]
    networks = [f"results/tiny/imp/replicate_{replicate}/level_0" for replicate in (1, 2)]
    targets = [f"{networks[0]}/units.csv", f"{networks[1]}/network.pt"]
    done = snakemake(folder, *targets, *PROFILE, *HERE, *config)
    assert done.returncode == 0, done.stdout
    assert given(pretended_gpus, "train_dense") == ["0", "1"]
    assert {
        len(given(pretended_gpus, script)) for script in ("dump_activations", "find_thresholds", "tally_units")
    } == {1}
    jobs = [job["JobId"] for job in records(cluster, folder)]
    asked = [run("scontrol", "show", "job", job) for job in jobs]
    with_gpu = [job for job in asked if "TresPerJob=gres:gpu:1\n" in job]
    # Two initial networks, two trainings and a dissection; the pictures and the concepts need none.
    assert len(with_gpu) == 5 and all("NodeList=gpu1\n" in job for job in with_gpu)
    assert len(jobs) == 7 and sum("gres:gpu" in job for job in asked) == 5


def test_two_gpus_train_one_network_and_go_on_after_a_cancellation(cluster, before_level, undisturbed, pretended_gpus):
    (before_level / "gpus.yaml").write_text("{gpus: 2, training: {batch_size: 128, micro_batch: 64}}")
    config = ["--configfile", "tests/slurm/faults.yaml", "gpus.yaml"]
    dense = before_level / "results/faults/logs/imp/replicate_1/level_0/train_dense.log"
    dense.unlink()
    main = start(before_level, f"{IMP}/level_0/network.pt", *PROFILE, *HERE, *config)
    wait_until(lambda: dense.exists() and "epoch 4 of" in dense.read_text(), "epoch 4")
    run("scancel", run("squeue", "-h", "-o", "%A").split()[0])
    finish(main)
    assert re.search(r"continuing after ([4-9]|\d\d) epochs", dense.read_text())
    assert given(pretended_gpus, "train_dense") == ["0,1", "0,1"]
    assert ended(cluster, before_level) == ["CANCELLED", "COMPLETED"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (HERE, "error: gpus is auto, which looks for a GPU on this machine"),
        (["--config", "gpus=0"], "error: sacct does not work here, which needs an accounting database"),
    ],
)
def test_what_would_go_wrong_on_a_cluster_is_said_at_once(cluster, sources, arguments, sentence):
    done = snakemake(sources, *PROFILE, *arguments, "--configfile", "configs/tiny.yaml")
    assert done.returncode == 1
    assert sentence in done.stdout and "Traceback" not in done.stdout
    assert not run("squeue", "-h")
