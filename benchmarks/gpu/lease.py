"""Section lease: several jobs on one card, a training run that is killed, and whole experiments.

This process leases no card, because the jobs that it starts would wait for it.
"""

import json
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.commands import complete, running, time_workflow, wait_for
from benchmarks.gpu.train import SMALL, settings_of
from benchmarks.gpu.workloads import TINY, cores
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.networks.checkpoints import load_tensors
from workflow_scripts.shared.gpus import POLL_SECONDS

PICTURES, SIDE, EPOCHS, REWIND_EPOCH = 400, 12, 20, 1
LEASED = "has leased it"


def run(bench: Bench) -> None:
    """Check that jobs take turns on a card and that a killed training resumes to the same result; time experiments."""
    if bench.device == "cuda":  # only one card, even if there are more
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    bench.part("two jobs and one card", 20, share_one_card, bench)
    bench.part("a training run killed in the middle", 30, kill_training, bench)
    name = "the tiny experiment with gpus: 1"
    if bench.device == "cuda":
        bench.part(name, 30, lease_in_workflow, bench, name)
    else:
        bench.skip(name, "needs a GPU")
    name = "the default experiment, from start to figures"
    bench.part(name, 60, time_workflow, bench, name, ["--cores", str(cores())])


def share_one_card(bench: Bench) -> None:
    """Make a job wait for a card until the job that holds it is killed."""
    hold = ["benchmarks.gpu.hold", bench.device, f"pretended {os.getpid()}"]
    logs = [bench.folder / name for name in ("first.log", "second.log")]
    with running(hold, logs[0]) as first:
        wait_for(LEASED, first, logs[0], bench)
        with running(hold, logs[1]) as second:
            wait_for("waiting", second, logs[1], bench)
            time.sleep(2 * POLL_SECONDS)
            bench.check("a second job waits for the card", LEASED not in logs[1].read_text())
            killed = time.monotonic()
            first.kill()
            wait_for(LEASED, second, logs[1], bench)
            note = f"it checks every {POLL_SECONDS:g} s"
            bench.row("from a job's end until the next job has its card", time.monotonic() - killed, "s", note)


def kill_training(bench: Bench) -> None:
    """Kill a training run, start it again, and compare its network with that of an undisturbed run."""
    folder = bench.folder
    write_pictures(folder / "pictures.h5", PICTURES, SIDE)
    complete([*network_command(bench, "init_network", "start"), "--precision", "float32"], folder / "start.log")
    started = time.monotonic()
    complete(training_command(bench, "whole"), folder / "whole.log")
    bench.row(
        "a small training run, from start to end",
        time.monotonic() - started,
        "s",
        f"{EPOCHS} epochs of {PICTURES // SMALL.batch} steps",
    )
    command, log = training_command(bench, "killed"), folder / "killed.log"
    with running(command, log) as process:
        wait_for("epoch 3 of", process, log, bench)
    said = complete(command, log)
    resumed = [line for line in said.splitlines() if "continuing after" in line]
    bench.check("a killed training goes on", bool(resumed), resumed[0] if resumed else "it began anew or had ended")
    same = (folder / "whole.pt").read_bytes() == (folder / "killed.pt").read_bytes()
    note = "" if same else network_difference(folder / "whole.pt", folder / "killed.pt")
    bench.check("a killed training run ends with the same bytes", same, note)


def write_pictures(path: Path, count: int, side: int) -> None:
    """Write packed pictures: noise whose brightness depends on the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % SMALL.classes
    images = rng.integers(0, 60, (count, side, side, 3)) + 19 * labels[:, None, None, None]
    packed = PackedImages(images.astype(np.uint8), labels, tuple(map(str, range(SMALL.classes))))
    write_packed_images(path, packed)


def network_command(bench: Bench, script: str, name: str) -> list:
    """Return the command with which a script makes the network `name`."""
    folder = bench.folder
    words = ["--train", folder / "pictures.h5", "--test", folder / "pictures.h5", "--network", json.dumps(TINY)]
    words += ["--mean", 0.5, 0.5, 0.5, "--std", 0.25, 0.25, 0.25, "--replicate", 1]
    words += ["--gpus", int(bench.device == "cuda")]
    words += ["--out", folder / f"{name}.pt", "--metrics", folder / f"{name}.json"]
    return [f"workflow_scripts.train.{script}", *words]


def training_command(bench: Bench, name: str) -> list:
    """Return the command that trains the network `name`."""
    settings = settings_of(SMALL, compiled=False) | {"epochs": EPOCHS}
    more = ["--initial", bench.folder / "start.pt", "--rewind-epoch", REWIND_EPOCH]
    more += ["--rewind", bench.folder / f"{name}_rewind.pt", "--training", json.dumps(settings), "--code", "as it is"]
    return network_command(bench, "train_dense", name) + more


def network_difference(one: Path, other: Path) -> str:
    """Return which tensor differs most between the files of two networks, and by how much."""
    first, second = (load_tensors(path)["model"] for path in (one, other))
    apart = {name: float((tensor.double() - second[name].double()).abs().max()) for name, tensor in first.items()}
    name = max(apart, key=apart.__getitem__)
    return f"{name} differs by {apart[name]:.2e}"


def lease_in_workflow(bench: Bench, name: str) -> None:
    """Run the tiny experiment with one GPU, and check that its training jobs lease it."""
    arguments = ["--cores", str(cores()), "--configfile", "configs/tiny.yaml", "--config", "gpus=1"]
    copy = time_workflow(bench, name, arguments)
    if copy is not None:
        log = copy / "results/tiny/logs/imp/replicate_1/level_0/train_dense.log"
        bench.check("the workflow's training leases a card", "GPU 0" in log.read_text())
