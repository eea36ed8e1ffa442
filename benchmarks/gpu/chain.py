"""All scripts from random weights to named units, run twice with the same pictures.

This process must not have leased a card, because the scripts would wait for it.
"""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.concept_files import broden_images, write_broden
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.commands import end_of, running
from benchmarks.gpu.lease import network_command, network_difference, write_pictures
from benchmarks.gpu.train import SMALL, settings_of
from benchmarks.gpu.workloads import TINY
from benchmarks.synthetic import broden_like

PICTURES, CONCEPTS, SIDE, EPOCHS, REWIND_EPOCH = 96, 24, 16, 2, 1
QUANTILE = 0.05
RESERVE = 25  # seconds
LAYERS = ("stages.0", "stages.1")
# What each script writes, in order.
OUTPUTS = {
    "init_network": "start.pt",
    "train_dense": "dense.pt",
    "train_level": "level.pt",
    "dump_activations": "activations.h5",
    "find_thresholds": "thresholds.h5",
    "tally_units": "tally.h5",
    "name_units": "units.csv",
}
NAME = "all scripts twice, init_network to name_units: the same bytes"


def compare_chains(bench: Bench) -> None:
    """Run the chain twice at the same time, and name the first step whose outputs differ."""
    folder = bench.folder
    write_pictures(folder / "pictures.h5", PICTURES, SIDE)
    pictures = np.random.default_rng(0).integers(0, 256, (CONCEPTS, SIDE, SIDE, 3), np.uint8)
    write_broden(folder / "concepts.h5", broden_images(broden_like(CONCEPTS, 1)), CONCEPTS, pictures)
    started = time.monotonic()
    run_chains(bench, ("first", "second"))
    bench.row("all scripts twice, init_network to name_units", time.monotonic() - started, "s", "both at a time")
    step = first_difference(folder / "first", folder / "second")
    bench.check(NAME, not step, step)


def run_chains(bench: Bench, names: tuple[str, ...]) -> None:
    """Run chains in parallel, each in one process; end them if later parts would run out of time."""
    left = bench.seconds_left()
    until = time.monotonic() + max(left / 2, left - RESERVE)
    with ExitStack() as stack:
        processes = {}
        for name in names:
            (bench.folder / name).mkdir()
            commands, log = bench.folder / name / "commands.json", bench.folder / name / "log"
            commands.write_text(json.dumps([list(map(str, command)) for command in chain(bench, name)]))
            processes[log] = stack.enter_context(running(["benchmarks.gpu.in_turn", commands], log))
        for log, process in processes.items():
            if status := process.wait(max(0, until - time.monotonic())):
                raise RuntimeError(f"status {status}: {end_of(log)}")


def chain(bench: Bench, name: str) -> list[list]:
    """Return the commands of the scripts, which write to the folder `name`."""
    common, folder = bench.folder, bench.folder / name
    path = {script: folder / output for script, output in OUTPUTS.items()}
    gpus = ["--gpus", int(bench.device == "cuda")]
    rewind = ["--rewind", folder / "rewind.pt"]
    training = ["--training", json.dumps(settings_of(SMALL, compiled=False) | {"epochs": EPOCHS}), "--code", "as it is"]
    concepts = ["--concepts", common / "concepts.h5"]
    activations = ["--activations", path["dump_activations"], *concepts, "--threads", 2, *gpus]
    thresholds, level = path["find_thresholds"], path["train_level"]
    words = {
        "dump_activations": [
            *("--network", level, "--settings", json.dumps(TINY), "--layers", *LAYERS, *concepts, *gpus),
            *("--mean", 0.5, 0.5, 0.5, "--std", 0.25, 0.25, 0.25, "--precision", "float16"),
            *("--forward", "float32", "--execution", "plain"),
            *("--candidates", QUANTILE),
        ],
        "find_thresholds": [*activations, "--quantile", QUANTILE],
        "tally_units": [
            *(*activations, "--thresholds", thresholds, "--knots", "align_corners_false", "--border", "clamp"),
            *("--mask", "above", "--planes", "once", "--counted-images", "with_category"),
        ],
        "name_units": ["--tally", path["tally_units"], *concepts, "--detector-iou", 0.04, "--detector-rule", "above"],
    }
    dense = ["--initial", path["init_network"], "--rewind-epoch", REWIND_EPOCH, *rewind, *training]
    arm = ["--mask", "global", "--fraction", 0.2, "--weights", "rewound", "--from-epoch", REWIND_EPOCH]
    pruned = ["--parent", path["train_dense"], *arm, *rewind, *training]
    return [
        [*network_command(bench, "init_network", f"{name}/start"), "--precision", "float32"],
        [*network_command(bench, "train_dense", f"{name}/dense"), *dense],
        [*network_command(bench, "train_level", f"{name}/level"), *pruned],
        *([f"workflow_scripts.dissect.{script}", *more, "--out", path[script]] for script, more in words.items()),
    ]


def first_difference(one: Path, other: Path) -> str:
    """Return the first step whose outputs in two folders differ, and how; empty if none differ."""
    for script, output in OUTPUTS.items():
        if (one / output).read_bytes() != (other / output).read_bytes():
            networks = output.endswith(".pt")
            how = network_difference(one / output, other / output) if networks else f"{output} differs"
            return f"{script}: {how}"
    return ""
