"""Runs of the workflow on a real SLURM, for tests: how they start, halt, go on and end."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import yaml
from cluster import Cluster, run, wait_until
from test_workflow import ROOT, environment

from workflow_scripts.shared.files import file_fingerprint

SNAKEMAKE = ROOT / "tests" / "slurm" / "snakemake_that_asks_often.py"
PROFILE = ["--workflow-profile", "profiles/slurm"]
# No accounting here, and steps that last seconds.
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
FAULTS = ["--configfile", "tests/slurm/faults.yaml"]
IMP = "results/faults/imp/replicate_1"
LEVEL = f"{IMP}/level_1"
NETWORK = f"{LEVEL}/network.pt"
STATE = f"{NETWORK}.training"
COMMAND = [NETWORK, *PROFILE, *HERE, *FAULTS]
LOG = "results/faults/logs/imp/replicate_1/level_1/train_level.log"
started: list[subprocess.Popen] = []


def snakemake(folder: Path, *arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess:
    """Run Snakemake to its end."""
    process = start(folder, *arguments)
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out)


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start Snakemake; what still runs at a test's end is killed."""
    process = subprocess.Popen(
        [sys.executable, str(SNAKEMAKE), *arguments],
        cwd=folder,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    started.append(process)
    return process


def finish(main: subprocess.Popen, timeout: float = 600) -> str:
    """Wait for a run to end well."""
    out, _ = main.communicate(timeout=timeout)
    assert main.returncode == 0, out
    return out


def kill(main: subprocess.Popen, folder: Path) -> None:
    """End Snakemake at once, as when a session is cut, and lift its lock."""
    main.kill()
    main.communicate()
    unlocked = snakemake(folder, "--unlock", *PROFILE, *FAULTS)
    assert unlocked.returncode == 0, unlocked.stdout


def start_training(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start a run for the pruned network on the cluster, and halt its training when it has saved some states."""
    main = start(folder, *COMMAND, *arguments)
    wait_until(lambda: "epoch 4 of" in log(folder) or main.poll() is not None, "epoch 4")
    assert main.poll() is None, main.communicate()[0]
    halt(folder)
    return main


def ask_for(folder: Path, **resources: str) -> None:
    """Edit what the profile asks for, for the training of the pruned network."""
    path = folder / "profiles" / "slurm" / "profile.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["set-resources"]["train_level"] |= resources
    path.write_text(yaml.safe_dump(profile))


def log(folder: Path) -> str:
    """What the training has said; zeros and all, where two attempts have written at once."""
    return (folder / LOG).read_text(errors="replace") if (folder / LOG).exists() else ""


def resumed(folder: Path) -> bool:
    """Whether the last attempt has continued from a state of an earlier one."""
    return bool(re.search(r"continuing after ([4-9]|\d\d) epochs", log(folder)))


def training_jobs() -> list[str]:
    """The ids of the trainings that run, oldest first."""
    jobs = (line.split("|") for line in run("squeue", "-h", "-o", "%A|%T|%k").splitlines())
    return sorted((job for job, state, rule in jobs if state == "RUNNING" and "train_level" in rule), key=int)


def training_processes(folder: Path) -> list[int]:
    """The processes that train for `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may just end
            command = (process / "cmdline").read_bytes().decode().split("\0")
            if command[1:3] == ["-m", "workflow_scripts.train.train_level"] and (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def halt(folder: Path) -> None:
    """Make the training stand still."""
    [process] = training_processes(folder)
    os.kill(process, signal.SIGSTOP)


def go_on(folder: Path) -> None:
    """Let a training that stands still go on."""
    for process in training_processes(folder):
        os.kill(process, signal.SIGCONT)


def records(cluster: Cluster, folder: Path) -> list[dict[str, str]]:
    """The scheduler's records of the jobs of a folder that have ended."""
    return [job for job in cluster.completed() if job["WorkDir"] == str(folder)]


def ended(cluster: Cluster, folder: Path) -> list[str]:
    """The states in which the jobs of a folder have ended."""
    return [job["JobState"] for job in records(cluster, folder)]


def restarts(job: str) -> int:
    """How often SLURM has started a job again."""
    return int(re.search(r"Restarts=(\d+)", run("scontrol", "show", "job", job))[1])  # type: ignore[index]


def check(folder: Path, undisturbed: Path) -> None:
    """The pruned network is the undisturbed run's to the byte, the dense one is untouched, nothing is left to do."""
    for name in ("network.pt", "metrics.json"):
        assert file_fingerprint(folder / LEVEL / name) == file_fingerprint(undisturbed / LEVEL / name)
    for name in ("network.pt", "rewind.pt"):
        mine, other = ((root / IMP / "level_0" / name).stat() for root in (folder, undisturbed))
        assert (mine.st_mtime_ns, mine.st_size) == (other.st_mtime_ns, other.st_size)
    again = snakemake(folder, *COMMAND)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout
    left = [path.name for path in (folder / "results").rglob("*") if path.suffix in (".part", ".lock", ".scratch")]
    assert left == []
