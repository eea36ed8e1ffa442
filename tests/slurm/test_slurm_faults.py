"""What can happen to a training's job on a real SLURM: each time it goes on from its saved state, to the same bytes."""

import os
import re
import signal
from pathlib import Path

import pytest
from cluster import run, wait_until
from slurm_runs import (
    COMMAND,
    ask_for,
    check,
    ended,
    finish,
    halt,
    log,
    records,
    restarts,
    resumed,
    start,
    start_training,
    training_jobs,
    training_processes,
)

pytest_plugins = ["slurm_fixtures"]


def saved(folder: Path) -> bool:
    """Whether the training has saved its state because it was asked to end."""
    return "stopped as asked after step" in log(folder)


def limit_time(minutes: int) -> None:
    """Move the time limit of the training that runs."""
    [job] = training_jobs()
    run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")


def preempt(folder: Path) -> None:
    """Submit an urgent job that needs the nodes on which the training runs."""
    urgent = ["--partition=urgent", "--exclusive", "--nodes=2", "--chdir", str(folder), "--wrap", "sleep 5"]
    assert run("sbatch", *urgent)


@pytest.mark.slow
def test_a_cancelled_training_is_submitted_again_and_goes_on(cluster, before_level, undisturbed):
    main = start_training(before_level)
    run("scancel", *training_jobs())
    wait_until(lambda: saved(before_level), "the state to be saved")
    finish(main)
    assert resumed(before_level)
    assert ended(cluster, before_level) == ["CANCELLED", "COMPLETED"]
    check(before_level, undisturbed)


@pytest.mark.rare
def test_a_killed_training_is_submitted_again_and_goes_on(cluster, before_level, undisturbed):
    main = start_training(before_level)
    [process] = training_processes(before_level)
    os.kill(process, signal.SIGKILL)
    finish(main)
    assert resumed(before_level)
    assert ended(cluster, before_level) == ["FAILED", "COMPLETED"]
    check(before_level, undisturbed)


@pytest.mark.rare
def test_a_training_saves_its_state_before_the_time_limit(cluster, before_level, undisturbed):
    ask_for(before_level, slurm_extra="'--signal=TERM@120' if attempt == 1 else ''")
    main = start_training(before_level)
    # It stands still until SIGTERM comes, as the profile asks for: two minutes before the limit.
    limit_time(2)
    wait_until(lambda: saved(before_level), "the state to be saved")
    # The second attempt is not warned, and stopped at its limit.
    wait_until(lambda: resumed(before_level), "the second attempt")
    halt(before_level)
    limit_time(1)
    finish(main)
    assert resumed(before_level)
    assert ended(cluster, before_level) == ["FAILED", "TIMEOUT", "COMPLETED"]
    check(before_level, undisturbed)


@pytest.mark.rare
def test_a_training_that_needs_more_memory_gets_it(cluster, before_level, undisturbed):
    ask_for(before_level, mem_mb="100 if attempt == 1 else 2000")
    finish(start(before_level, *COMMAND))
    jobs = records(cluster, before_level)
    assert [re.search(r"mem=(\d+)M", job["Tres"])[1] for job in jobs] == ["100", "2000"]
    assert jobs[0]["JobState"] != "COMPLETED" and jobs[1]["JobState"] == "COMPLETED"
    check(before_level, undisturbed)


@pytest.mark.rare
@pytest.mark.parametrize("cause", ["an urgent job", "a person"])
def test_a_training_that_is_put_back_into_the_queue_saves_its_state_and_goes_on(
    cluster, before_level, undisturbed, cause
):
    main = start_training(before_level)
    [job] = training_jobs()
    if cause == "an urgent job":
        preempt(before_level)
    else:
        run("scontrol", "requeue", job)
    wait_until(lambda: saved(before_level), "the state to be saved")
    finish(main)
    assert resumed(before_level)
    assert restarts(job) == 1
    check(before_level, undisturbed)


@pytest.mark.rare
@pytest.mark.parametrize(("seconds", "state"), [(60, "FAILED"), (0, "PREEMPTED")])
def test_a_training_that_is_preempted_and_cancelled_is_submitted_again_and_goes_on(
    cluster, before_level, undisturbed, seconds, state
):
    run("scontrol", "update", "PartitionName=spare", f"GraceTime={seconds}")
    ask_for(before_level, slurm_partition="spare")
    main = start_training(before_level)
    preempt(before_level)
    wait_until(lambda: saved(before_level), "the state to be saved")
    finish(main)
    assert resumed(before_level)
    assert ended(cluster, before_level) == [state, "COMPLETED", "COMPLETED"]  # the second is the urgent job
    check(before_level, undisturbed)
