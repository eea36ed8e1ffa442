"""Dissect a ResNet-50 with made-up pictures, from its network.pt to units.csv, with each kind of forward pass.

    python -m benchmarks.dump_to_names --folder FOLDER --before ../an_older_clone

It dissects the last stage, 2,048 units, with pictures of 224 pixels and labels with Broden's statistics. In each round,
every kind of pass in turn runs the four scripts as the workflow does, each in a process of its own. `--before` is a
clone of another version of this repository, which also takes its turn, in float32. Weights are random, and batch-norm
statistics are those of the pictures; so differences in the counts mean little, but times do not depend on weights. The
last line is one JSON object.
"""

import argparse
import csv
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.concept_files import broden_images, write_broden
from benchmarks.forward import DRAWN
from benchmarks.full_size import CHOICES, QUANTILE
from benchmarks.gpu.workloads import MEAN, RESNET50, STD, calibrated, photographs
from benchmarks.synthetic import broden_like
from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.plan.code import ROOT

SIDE = 224
BRODEN = 63_305  # images
DETECTORS = ("--detector-iou", 0.04, "--detector-rule", "above")
PASSES = [
    f"{forward}_{execution}" for forward in ("float32", "bfloat16") for execution in ("plain", "fused", "compiled")
]


def main() -> None:
    """Dissect in rounds with each forward pass, and with another version if given; print medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for files, which are kept")
    parser.add_argument("--before", type=Path, help="a clone of another version")
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder, args.pictures)
    runs: dict[str, list[dict]] = {name: [] for name in (["before"] if args.before else []) + args.passes}
    for _ in range(args.rounds):
        for name in runs:
            checkout = args.before if name == "before" else ROOT
            runs[name].append(dissect(folder, checkout, name, args.threads))
            print(f"{name}: {json.dumps(runs[name][-1])}", flush=True)
    result = {"pictures": args.pictures, "threads": args.threads, "rounds": args.rounds}
    first = next(iter(runs))
    for name, of_rounds in runs.items():
        row = {key: statistics.median(run[key] for run in of_rounds) for key in of_rounds[0]}
        pairs = zip(runs[first], of_rounds, strict=True)
        row["ratio"] = statistics.median(one["seconds"] / other["seconds"] for one, other in pairs)
        row["broden_minutes"] = BRODEN / row["rate"] / 60
        result[name] = {key: round(value, 2) for key, value in row.items()}
        print(f"{name}: {json.dumps(result[name])}")
    print(json.dumps(result))


def write_inputs(folder: Path, pictures: int) -> None:
    """Write network.pt and concepts.h5."""
    drawn = photographs(folder, DRAWN, SIDE)
    network = calibrated(build(RESNET50, classes=None, seed=1), drawn, torch.device("cpu"))
    save_network(folder / "network.pt", network, full_masks(network, []), classes=None, epochs=None)
    labels = broden_images(broden_like(min(2048, pictures), 1))
    turned = (np.roll(drawn[place % len(drawn)], (5 * place, 3 * place), axis=(0, 1)) for place in range(pictures))
    write_broden(folder / "concepts.h5", labels, pictures, np.stack(list(turned)))


def dissect(folder: Path, checkout: Path, name: str, threads: int) -> dict:
    """Run the scripts of a clone; return their seconds, each and in total, the dump's rate, and counts."""
    forward = "float32" if name == "before" else name.split("_")[0]
    execution = [] if name == "before" else ["--execution", name.split("_")[1]]
    network = ["--network", folder / "network.pt", "--settings", json.dumps(RESNET50), "--layers", "layer4"]
    shown = ["--mean", *MEAN, "--std", *STD, "--precision", "float16", "--forward", forward, *execution]
    dump, thresholds, tally, units = (folder / file for file in ("dump.h5", "thresholds.h5", "tally.h5", "units.csv"))
    concepts, shared = ["--concepts", folder / "concepts.h5"], ["--activations", dump, "--threads", threads]
    steps = {
        "dump_activations": [*network, *shown, *concepts, "--gpus", 0, "--out", dump],
        "find_thresholds": [*shared, "--quantile", QUANTILE, "--out", thresholds],
        "tally_units": [*shared, "--thresholds", thresholds, *concepts, *CHOICES, "--out", tally],
        "name_units": ["--tally", tally, *concepts, *DETECTORS, "--out", units],
    }
    found = {}
    for step, arguments in steps.items():
        command = [sys.executable, "-m", f"workflow_scripts.dissect.{step}", *map(str, arguments)]
        started = time.perf_counter()
        run = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        found[step] = time.perf_counter() - started
        if run.returncode:
            sys.exit(f"{step} failed: {run.stderr}")
        if step == "dump_activations":
            print(run.stderr, end="", flush=True)
            found["rate"] = lasting_rate(run.stderr)
    with open(units, newline="", encoding="utf-8") as file:
        detectors = [row["label"] for row in csv.DictReader(file) if row["detector"] == "True"]
    found["seconds"] = sum(found[step] for step in steps)
    return found | {"units": len(detectors), "concepts": len(set(detectors))}


def lasting_rate(log: str) -> float:
    """Return the pictures per second in a dump's log, without its start, which includes compilation."""
    lines = re.findall(r"^(\d+):(\d+):(\d+) (\d+) of \d+ pictures", log, re.MULTILINE)
    if len(lines) < 3:
        [(pictures, seconds)] = re.findall(r"(\d+) pictures in ([\d.]+) s", log)
        return int(pictures) / float(seconds)
    (start, before), (end, after) = (
        (int(h) * 3600 + int(m) * 60 + int(s), int(n)) for h, m, s, n in (lines[0], lines[-1])
    )
    return (after - before) / ((end - start) % 86400)


if __name__ == "__main__":
    main()
