"""The workflow on a real SLURM: through sbatch, with GPUs, and through every fault that a cluster has in store."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from cluster import Cluster, run, wait_until, why_not
from test_workflow import ROOT, copy_sources, environment, listed

from workflow_scripts.shared.files import file_fingerprint

PROFILE = ["--workflow-profile", "profiles/slurm"]
# No accounting here, and steps that last seconds.
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
FAULTS = ["--configfile", "tests/slurm/faults.yaml"]
IMP = "results/faults/imp/replicate_1"
LEVEL = f"{IMP}/level_1"
NETWORK = f"{LEVEL}/network.pt"
STATE = f"{NETWORK}.training"
LOG = "results/faults/logs/imp/replicate_1/level_1/train_level.log"

pytestmark = pytest.mark.rare


@pytest.fixture(scope="module")
def cluster():
    reason = why_not()
    if reason and os.environ.get("NEED_SLURM"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm_") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A clone whose user has edited the profile's two lines."""
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("slurm") / "clone")
    (folder / "tests" / "slurm").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "slurm" / "faults.yaml", folder / "tests" / "slurm")
    profile = folder / "profiles" / "slurm" / "profile.yaml"
    text = profile.read_text()
    assert text.count("your_partition") == text.count("your_account") == 1
    profile.write_text(text.replace("your_partition", "cpu,gpu").replace("your_account", "tests"))
    return folder


@pytest.fixture(scope="module")
def undisturbed(sources, tmp_path_factory):
    """A dense and a pruned network, trained on this machine, with no cluster."""
    folder = Path(shutil.copytree(sources, tmp_path_factory.mktemp("undisturbed") / "run"))
    done = snakemake(folder, NETWORK, "--cores", "2", *FAULTS)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def before_level(cluster, undisturbed, tmp_path):
    """The same, but that the pruned network is still to be trained."""
    folder = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    for made in (folder / LEVEL, folder / LOG):
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    yield folder
    run("scancel", "--full", "--user=root")
    wait_until(lambda: not run("squeue", "-h"), "the queue to empty", 60)


def snakemake(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess:
    process = start(folder, *arguments)
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out)


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def start_training(folder: Path) -> subprocess.Popen:
    """Start a run for the pruned network on the cluster, and halt its training when it has saved some states."""
    main = start(folder, NETWORK, *PROFILE, *HERE, *FAULTS)
    wait_until(lambda: "epoch 4 of" in log(folder), "epoch 4", 400)
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


def finish(main: subprocess.Popen, timeout: float = 600) -> str:
    """Wait for a run to end well."""
    out, _ = main.communicate(timeout=timeout)
    assert main.returncode == 0, out
    return out


def resumed(folder: Path) -> bool:
    return bool(re.search(r"continuing after ([4-9]|\d\d) epochs", log(folder)))


def check(folder: Path, undisturbed: Path) -> None:
    """The pruned network is the undisturbed run's to the byte, the dense one is untouched, nothing is left to do."""
    for name in ("network.pt", "metrics.json"):
        assert file_fingerprint(folder / LEVEL / name) == file_fingerprint(undisturbed / LEVEL / name)
    for name in ("network.pt", "rewind.pt"):
        mine, other = ((root / IMP / "level_0" / name).stat() for root in (folder, undisturbed))
        assert (mine.st_mtime_ns, mine.st_size) == (other.st_mtime_ns, other.st_size)
    again = snakemake(folder, "-n", NETWORK, *FAULTS)
    assert "Nothing to be done" in again.stdout, again.stdout
    left = [path.name for path in (folder / "results").rglob("*") if path.suffix in (".part", ".lock", ".scratch")]
    assert left == []


def test_the_tiny_experiment_goes_through_sbatch(cluster, sources, tmp_path):
    folder = Path(shutil.copytree(sources, tmp_path / "run"))
    config = ["--configfile", "configs/tiny.yaml", "--config", "gpus=0"]
    done = snakemake(folder, *PROFILE, *HERE, *config)
    assert done.returncode == 0, done.stdout
    assert (folder / "results/tiny/figures/overview.pdf").exists()
    jobs = records(cluster, folder)
    # Pictures, concepts, the initial network, a dense training, two levels, five networks dissected, three rotated.
    assert len(jobs) == 14 and {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["Account"] for job in jobs} == {"tests"}
    trainings = [job for job in jobs if "mem=48000M" in job["Tres"]]
    assert len(trainings) == 3 and {job["TimeLimit"] for job in trainings} == {"360"}
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
    assert through_jobs == 51
    again = snakemake(folder, *PROFILE, *HERE, *config)
    assert "Nothing to be done" in again.stdout and again.returncode == 0, again.stdout


@pytest.fixture
def pretended_gpus(tmp_path, monkeypatch):
    """A `python` for the rules that takes the GPUs which the nodes pretend to have; a folder of what it was given."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(ROOT / "tests" / "slurm" / "python_with_pretended_gpus")
    records = tmp_path / "records"
    records.mkdir()
    monkeypatch.setenv("REAL_PYTHON", sys.executable)
    monkeypatch.setenv("GPU_RECORDS", str(records))
    path = f"{tmp_path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setitem(globals(), "environment", lambda: os.environ | {"PATH": path})
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


def test_a_cancelled_training_is_submitted_again_and_goes_on(cluster, before_level, undisturbed):
    main = start_training(before_level)
    run("scancel", *training_jobs())
    finish(main)
    assert resumed(before_level)
    assert ended(cluster, before_level) == ["CANCELLED", "COMPLETED"]
    check(before_level, undisturbed)


def test_a_training_saves_its_state_before_the_time_limit(cluster, before_level, undisturbed):
    warned = "'--signal=TERM@120' if attempt == 1 else ''"
    ask_for(before_level, runtime="3 if attempt == 1 else 2 if attempt == 2 else 60", slurm_extra=warned)
    main = start_training(before_level)
    # It stands still until SIGTERM comes, as the profile asks for: a minute after the job's start, or a little later.
    wait_until(lambda: "stopped as asked after step" in log(before_level), "the state to be saved", 150)
    # The second attempt is not warned, and stopped at its limit.
    wait_until(lambda: resumed(before_level), "the second attempt", 400)
    halt(before_level)
    finish(main)
    assert resumed(before_level)
    assert ended(cluster, before_level) == ["FAILED", "TIMEOUT", "COMPLETED"]
    check(before_level, undisturbed)


def test_a_preempted_training_saves_its_state_and_goes_on(cluster, before_level, undisturbed):
    main = start_training(before_level)
    [preempted] = training_jobs()
    urgent = ["--partition=urgent", "--exclusive", "--nodes=2", "--chdir", str(before_level), "--wrap", "sleep 5"]
    assert run("sbatch", *urgent)
    wait_until(lambda: "stopped as asked after step" in log(before_level), "the state to be saved", 150)
    finish(main)
    assert resumed(before_level)
    assert run("scontrol", "show", "job", preempted).count("Restarts=1") == 1
    check(before_level, undisturbed)


def test_a_training_that_needs_more_memory_gets_it(cluster, before_level, undisturbed):
    ask_for(before_level, mem_mb="100 if attempt == 1 else 2000")
    finish(start(before_level, NETWORK, *PROFILE, *HERE, *FAULTS))
    jobs = records(cluster, before_level)
    assert [re.search(r"mem=(\d+)M", job["Tres"])[1] for job in jobs] == ["100", "2000"]
    assert jobs[0]["JobState"] != "COMPLETED" and jobs[1]["JobState"] == "COMPLETED"
    check(before_level, undisturbed)


def kill(main: subprocess.Popen, folder: Path) -> None:
    """End snakemake at once, as when a session is cut, and lift its lock."""
    main.kill()
    main.communicate()
    unlocked = snakemake(folder, "--unlock", *PROFILE, *FAULTS)
    assert unlocked.returncode == 0, unlocked.stdout


def test_after_a_kill_what_jobs_have_finished_is_kept(cluster, before_level, undisturbed):
    kill(start_training(before_level), before_level)
    go_on(before_level)
    wait_until(lambda: not run("squeue", "-h"), "the job that runs on", 400)
    trained = (before_level / STATE / "finished" / "network.pt").stat()
    finish(start(before_level, NETWORK, *PROFILE, *HERE, *FAULTS))
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
    main = start(before_level, NETWORK, *PROFILE, *HERE, *FAULTS, *elsewhere)
    wait_until(lambda: "waiting for it to end" in log(before_level), "the second attempt", 60)
    assert len(training_jobs()) == 2
    go_on(before_level)
    out = finish(main)
    assert "Jobs of an earlier run" in out and f"scancel {never_started}\n" in out
    assert "using the outputs kept" in log(before_level)
    assert ended(cluster, before_level) == ["COMPLETED", "COMPLETED"]
    check(before_level, undisturbed)


def test_an_outage_of_the_controller_is_sat_out(cluster, before_level, undisturbed):
    main = start_training(before_level)
    cluster.stop_controller()
    go_on(before_level)
    wait_until((before_level / NETWORK).exists, "the training to end", 400)
    time.sleep(25)
    assert main.poll() is None
    cluster.start_controller()
    finish(main)
    assert ended(cluster, before_level) == ["COMPLETED"]
    check(before_level, undisturbed)


def test_two_gpus_train_one_network_and_go_on_after_a_cancellation(cluster, before_level, undisturbed, pretended_gpus):
    (before_level / "gpus.yaml").write_text("{gpus: 2, training: {micro_batch: 16}}")
    config = ["--configfile", "tests/slurm/faults.yaml", "gpus.yaml"]
    dense = before_level / "results/faults/logs/imp/replicate_1/level_0/train_dense.log"
    dense.unlink()
    main = start(before_level, f"{IMP}/level_0/network.pt", *PROFILE, *HERE, *config)
    wait_until(lambda: dense.exists() and "epoch 4 of" in dense.read_text(), "epoch 4", 400)
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
