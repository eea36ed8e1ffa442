"""What can happen to Snakemake, to SLURM and to its nodes while a training runs: nothing is trained twice."""

import errno
import shutil
import sys
import time

import pytest
from cluster import NODES, run, wait_until
from slurm_runs import (
    COMMAND,
    NETWORK,
    STATE,
    check,
    ended,
    finish,
    go_on,
    kill,
    log,
    restarts,
    resumed,
    start,
    start_training,
    training_jobs,
)
from test_workflow import ROOT

pytest_plugins = ["slurm_fixtures"]
pytestmark = pytest.mark.rare


def test_after_a_kill_what_jobs_have_finished_is_kept(cluster, before_level, undisturbed):
    kill(start_training(before_level), before_level)
    go_on(before_level)
    wait_until(lambda: not run("squeue", "-h"), "the job that runs on")
    trained = (before_level / STATE / "finished" / "network.pt").stat()
    finish(start(before_level, *COMMAND))
    assert (before_level / NETWORK).stat().st_ino == trained.st_ino  # handed out, not trained
    check(before_level, undisturbed)


@pytest.mark.parametrize("locks", ["locks", "locks that mean nothing"])
def test_after_a_kill_a_job_that_still_runs_is_waited_for(cluster, before_level, undisturbed, locks):
    kill(start_training(before_level), before_level)
    elsewhere = []
    if locks == "locks that mean nothing":
        # As on a file system that grants a lock to each machine: what one has locked, another finds free.
        lock = before_level / STATE / "training.lock"
        shutil.copy(lock, lock.with_suffix(".copy"))
        lock.with_suffix(".copy").rename(lock)
        elsewhere = ["--slurm-exclude-failed-nodes", "node1"]
    held = ["--hold", "--comment=rule_name_units", "--chdir", str(before_level), "--wrap", "true"]
    never_started = run("sbatch", "--parsable", *held).strip()
    main = start(before_level, *COMMAND, *elsewhere)
    wait_until(lambda: "waiting for it to end" in log(before_level), "the second attempt")
    assert len(training_jobs()) == 2
    go_on(before_level)
    out = finish(main)
    assert "Jobs of an earlier run" in out and f"scancel {never_started}\n" in out
    assert "using the outputs kept" in log(before_level)
    assert ended(cluster, before_level) == ["COMPLETED", "COMPLETED"]
    check(before_level, undisturbed)


@pytest.fixture
def nodes_without_locks(cluster):
    """Nodes on which no process can lock a file."""
    wrapper = [sys.executable, str(ROOT / "tests" / "without_locks.py"), str(errno.ENOLCK)]

    def start_again(*wrapper: str) -> None:
        for node in NODES:
            cluster.end(node)
            cluster.start_node(node, *wrapper)
        cluster.wait_for_nodes()

    start_again(*wrapper)
    yield
    start_again()


def test_two_runs_at_once_train_a_network_once_on_nodes_without_locks(
    cluster, before_level, undisturbed, nodes_without_locks
):
    first = start_training(before_level)
    second = start(before_level, *COMMAND, "--nolock", "--slurm-exclude-failed-nodes", "node1")
    wait_until(lambda: "waiting for it to end" in log(before_level), "the second attempt")
    assert "this file system has no locks" in log(before_level)
    nodes = run("squeue", "-h", "-t", "running", "-o", "%N").split()
    assert sorted(nodes) == ["node1", "node2"]
    go_on(before_level)
    for main in (first, second):
        finish(main)
    assert "using the outputs kept" in log(before_level)
    assert ended(cluster, before_level) == ["COMPLETED", "COMPLETED"]
    check(before_level, undisturbed)


@pytest.mark.parametrize("lost", ["all processes", "the connection"])
def test_a_training_whose_node_is_lost_goes_on_on_another(cluster, before_level, undisturbed, lost):
    main = start_training(before_level)
    [job] = training_jobs()
    node = run("squeue", "-h", "-j", job, "-o", "%N").strip()
    if lost == "all processes":
        cluster.kill_node(node)
    else:
        cluster.end(node)  # its jobs run on, unseen
        wait_until(lambda: "waiting for it to end" in log(before_level), "the job on another node")
        go_on(before_level)
    finish(main)
    assert resumed(before_level) if lost == "all processes" else "using the outputs kept" in log(before_level)
    assert restarts(job) == 1
    assert ended(cluster, before_level)[-1] == "COMPLETED"
    check(before_level, undisturbed)
    cluster.start_node(node)
    cluster.wait_for_nodes()


def test_an_outage_of_the_controller_is_sat_out(cluster, before_level, undisturbed):
    main = start_training(before_level)
    cluster.stop_controller()
    go_on(before_level)
    wait_until((before_level / NETWORK).exists, "the training to end")
    time.sleep(25)
    assert main.poll() is None
    cluster.start_controller()
    finish(main)
    assert ended(cluster, before_level) == ["COMPLETED"]
    check(before_level, undisturbed)
