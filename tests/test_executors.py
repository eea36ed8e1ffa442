"""Where jobs are sent: what is refused or said before the first, and a run through another executor than SLURM's."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from workflow_scripts.plan.code import ROOT
from workflow_scripts.run import executors
from workflow_scripts.run.executors import left_over, require_executor, require_shared_files
from workflow_scripts.shared.files import UserError

ALL = SharedFSUsage.all()
SMALL = "{arms: [{name: imp, recipe: imp}], pruning: {levels: 1}, gpus: 0}"
FOLLOWS_ITSELF = """\
rule next_level:
    input:
        lambda wildcards: f"level_{int(wildcards.level) - 1}",
    output:
        "level_{level}",
    wildcard_constraints:
        level="[1-9]",
    shell:
        "touch {output}"
"""


def storage(provider: str | None = None, shared: frozenset = ALL) -> SimpleNamespace:
    return SimpleNamespace(default_storage_provider=provider, shared_fs_usage=shared)


def workflow(executor: str | None, shared: frozenset = ALL) -> SimpleNamespace:
    """What Snakemake knows of where jobs go; None for this machine."""
    return SimpleNamespace(
        storage_settings=storage(shared=shared),
        executor_plugin=SimpleNamespace(
            name=executor or "local", common_settings=SimpleNamespace(non_local_exec=executor is not None)
        ),
        executor_settings=SimpleNamespace(status_command="squeue"),
    )


@pytest.fixture
def warnings(monkeypatch):
    """What Snakemake's logger is given to warn of."""
    given = []
    monkeypatch.setattr(executors.logger, "warning", given.append)
    return given


def test_files_that_all_machines_share_are_taken(warnings):
    require_shared_files(storage())
    # What Snakemake's own instructions for SLURM leave out is for storage providers alone.
    require_shared_files(storage(shared=ALL - {SharedFSUsage.STORAGE_LOCAL_COPIES}))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (storage("s3"), r"in storage \(s3\): leave out --default-storage-provider"),
        (storage("s3", frozenset()), r"in storage \(s3\)"),
        (storage(shared=ALL - {SharedFSUsage.SOURCES}), "add sources to --shared-fs-usage"),
        (storage(shared=frozenset()), "add input-output, persistence, sources to --shared-fs-usage"),
    ],
)
def test_other_storage_is_refused_with_what_to_do(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        require_shared_files(settings)


def test_on_this_machine_nothing_is_asked(warnings):
    require_executor(workflow(None), "auto")
    assert warnings == []


@pytest.mark.parametrize("executor", ["slurm", "cluster-generic"])
def test_jobs_elsewhere_need_a_number_of_gpus(executor):
    with pytest.raises(UserError, match="say how many each training gets, as in --config gpus=1"):
        require_executor(workflow(executor), "auto")


def test_an_executor_that_shares_no_files_is_refused():
    with pytest.raises(UserError, match="a folder that all machines share"):
        require_executor(workflow("kubernetes", frozenset()), 0)


def test_slurm_alone_is_asked_for_its_jobs(monkeypatch, warnings):
    asked = []
    monkeypatch.setattr(executors, "ask", lambda *command: asked.append(command[0]))
    require_executor(workflow("cluster-generic"), 0)
    assert asked == [] and len(warnings) == 1 and "Under cluster-generic jobs cannot see" in warnings[0]
    monkeypatch.setattr(executors, "notice_preempted_jobs", lambda: asked.append("preempted"))
    require_executor(workflow("slurm"), 0)
    assert asked == ["sacct", "preempted", "squeue"] and len(warnings) == 1


@pytest.mark.parametrize(("queue", "last"), [("", "CANCELLED"), ("7\n8_2\n", "PREEMPTED"), (None, "PREEMPTED")])
def test_a_preempted_job_counts_as_cancelled_unless_slurm_may_start_it_again(monkeypatch, queue, last):
    async def query(*_):
        return {"7": "RUNNING", "8_2": "PREEMPTED"}, 0.5

    monkeypatch.setattr(snakemake_executor_plugin_slurm, "query_job_status", query)
    monkeypatch.setattr(executors, "ask", lambda *command: queue)
    executors.notice_preempted_jobs()
    states, seconds = asyncio.run(snakemake_executor_plugin_slurm.query_job_status("squeue", None))
    assert states == {"7": "RUNNING", "8_2": last} and seconds == 0.5


def test_jobs_whose_states_slurm_does_not_tell_stay_unknown(monkeypatch):
    async def query(*_):
        return None, None

    monkeypatch.setattr(snakemake_executor_plugin_slurm, "query_job_status", query)
    executors.notice_preempted_jobs()
    assert asyncio.run(snakemake_executor_plugin_slurm.query_job_status("squeue", None)) == (None, None)


def test_jobs_of_an_earlier_run_are_named_and_those_to_cancel_apart():
    assert left_over({}) == []
    assert len(left_over({"7": "RUNNING"})) == 1
    everything, pending = left_over({"7": "RUNNING", "8": "PENDING"})
    assert "7 8." in everything and pending.endswith("scancel 8")


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--directory", folder, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=3600,
    )


@pytest.fixture
def through_bash(tmp_path):
    """The arguments for a small experiment whose jobs go through a scheduler that is bash."""
    (tmp_path / "small.yaml").write_text(SMALL)
    configs = ["--configfile", str(ROOT / "configs" / "tiny.yaml"), "small.yaml"]
    cluster = ["--executor", "cluster-generic", "--cluster-generic-submit-cmd", "bash", "--jobs", "2"]
    cluster += ["--seconds-between-status-checks", "1"]
    return ["--snakefile", str(ROOT / "Snakefile"), *cluster, *configs]


@pytest.mark.rare
def test_the_workflow_runs_through_another_executor_and_has_nothing_to_do_after(through_bash, tmp_path):
    done = snakemake(tmp_path, *through_bash)
    assert done.returncode == 0, done.stdout
    assert "submit  train_level" in done.stdout and done.stdout.count("Under cluster-generic") == 1
    assert (tmp_path / "results/tiny/report.html").exists()
    again = snakemake(tmp_path, *through_bash)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "gpus=auto"], "gpus is auto"),
        (["--shared-fs-usage", "input-output"], "add persistence, sources to --shared-fs-usage"),
    ],
)
def test_what_cannot_work_ends_with_a_sentence_before_any_job(through_bash, tmp_path, arguments, sentence):
    refused = snakemake(tmp_path, *through_bash, *arguments)
    said = [line for line in refused.stdout.splitlines() if line.startswith("error: ")]
    assert refused.returncode == 1 and len(said) == 1 and sentence in said[0], refused.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_snakemakes_until_stops_too_early_at_a_rule_that_follows_itself(tmp_path):
    """So docs/experiments.md says to name a file in place of `--until train_level`. Until Snakemake mends it."""
    (tmp_path / "Snakefile").write_text(FOLLOWS_ITSELF)
    (tmp_path / "level_0").touch()
    stopped = snakemake(tmp_path, "level_2", "--until", "next_level", "--cores", "1")
    assert stopped.returncode == 1 and "BUG: Out of jobs ready to be started" in stopped.stdout
    assert (tmp_path / "level_1").exists() and not (tmp_path / "level_2").exists()
    assert snakemake(tmp_path, "level_2", "--cores", "1").returncode == 0
