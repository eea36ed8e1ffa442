"""Build a dump as large as that of a ResNet-50's last stage on all of Broden, and dissect it.

    python -m benchmarks.full_size --folder FOLDER

The dump has 63,305 images and 2,048 units with half-precision maps of 7 x 7, about 13 GB of values; label maps are
112 x 112. Building it takes a few minutes and is not timed. Then thresholds and tally run as in the workflow, each in a
process of its own, on a dump of all maps and on one of candidates, and their results are compared. The maps are rotated
by one random rotation and dissected, and the units are compared with permuted labels. Prints time, memory and disk; the
last line is one JSON object.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import torch

from benchmarks.concept_files import broden_images, write_broden
from benchmarks.processes import take
from benchmarks.synthetic import broden_like, relu_maps
from workflow_scripts.data.hdf5 import FORMAT, create_hdf5
from workflow_scripts.dissect.map_writers import AllMaps, Candidates

UNITS, MAP_SIDE, QUANTILE = 2048, 7, 0.005
PERMUTATIONS = 99
CHOICES = (
    *("--knots", "align_corners_false", "--border", "clamp", "--mask", "above"),
    *("--planes", "once", "--counted-images", "with_category"),
)
BATCH, DRAWN = 128, 1024  # images written at once; images that are drawn, of which the others are variants


def main() -> None:
    """Build both kinds of dump; dissect, rotate and validate them; and print what that takes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for up to 25 GB of files, which are kept")
    parser.add_argument("--images", type=int, default=63_305)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    folder, images = arguments.folder, arguments.images
    folder.mkdir(parents=True, exist_ok=True)
    # In another process, because child processes count their parent's memory as their own.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(build_concepts, folder / "concepts.h5", images).result()
        pool.submit(build_dumps, folder, images).result()
    values = 2 * images * UNITS * MAP_SIDE**2 / 1e9
    result = {"images": images, "threads": arguments.threads, "gigabytes_of_values": round(values, 2)}
    for kind in ("all", "candidates"):
        result[f"{kind}_gigabytes"] = round((folder / f"{kind}.h5").stat().st_size / 1e9, 2)
        result |= dissect(folder, kind, arguments.threads)
    result |= rotate(folder, arguments.threads)
    result |= validate(folder, arguments.threads)
    result["candidates_share"] = round(result["candidates_gigabytes"] / result["all_gigabytes"], 3)
    result["candidates_identical"] = same_results(folder)
    print(json.dumps(result))


def build_concepts(path: Path, images: int) -> None:
    """Write the parts of concepts.h5 that the tally reads, without pictures."""
    write_broden(path, broden_images(broden_like(2048, 1)), images)


def build_dumps(folder: Path, images: int) -> None:
    """Write a dump of all maps and one of candidates with the same values: drawn images, repeated with moved units."""
    drawn = relu_maps(min(DRAWN, images), UNITS, MAP_SIDE, seed=0)
    shape = (images, UNITS, MAP_SIDE, MAP_SIDE)
    with (
        create_hdf5(folder / "all.h5") as every,
        create_hdf5(folder / "candidates.h5") as few,
        create_hdf5(folder / "candidates.scratch") as scratch,
    ):
        writers: list[AllMaps | Candidates] = [
            AllMaps(every, "layer4", shape, drawn.dtype),
            Candidates(few, scratch, "layer4", shape, drawn.dtype, QUANTILE, "above"),
        ]
        for first, last in pairwise([*range(0, images, BATCH), images]):
            turn, begin = divmod(first, len(drawn))
            maps = torch.from_numpy(np.roll(drawn[begin : begin + last - first], 37 * turn, axis=1))
            for writer in writers:
                writer.add(maps)
        for writer in writers:
            writer.finish()
        for file in (every, few):
            file.attrs.update(format=FORMAT, fingerprint="benchmark", concepts="benchmark", network="benchmark")
        few.attrs.update(candidates_quantile=QUANTILE, candidates_mask="above")
    os.remove(folder / "candidates.scratch")


def dissect(folder: Path, kind: str, threads: int) -> dict:
    """Find the thresholds of a dump and tally it; return seconds, and memory in GB."""
    found, largest = {}, 0.0
    common = ["--activations", folder / f"{kind}.h5", "--concepts", folder / "concepts.h5", "--threads", threads]
    thresholds = folder / f"{kind}_thresholds.h5"
    steps = {
        "find_thresholds": ["--quantile", QUANTILE, "--out", thresholds],
        "tally_units": ["--thresholds", thresholds, *CHOICES, "--out", folder / f"{kind}_tally.h5"],
    }
    for step, arguments in steps.items():
        seconds, memory = run_step(step, [*common, *arguments])
        largest = max(largest, memory)
        found[f"{kind}_{step}_seconds"] = seconds
    found[f"{kind}_peak_gigabytes"] = largest
    return found


def rotate(folder: Path, threads: int) -> dict:
    """Rotate the maps once and dissect them, keeping candidates; return seconds, and memory in GB."""
    of_a_pass = ["--network", "none", "--settings", "{}", "--layers", "layer4", "--mean", 0, 0, 0, "--std", 1, 1, 1]
    of_a_pass += ["--precision", "float16", "--forward", "float32", "--execution", "plain"]  # not used
    arguments = [
        *(*of_a_pass, "--activations", folder / "all.h5", "--concepts", folder / "concepts.h5"),
        *("--replicate", 1, "--alphas", 1, "--seeds", 1, "--quantile", QUANTILE, "--quantile-of", "raw", *CHOICES),
        *("--detector-iou", 0.04, "--detector-rule", "above", "--threads", threads),
        *("--out", folder / "rotations.csv"),
    ]
    seconds, memory = run_step("rotate_units", arguments)
    return {"rotation_seconds": seconds, "rotation_peak_gigabytes": memory}


def validate(folder: Path, threads: int) -> dict:
    """Compare the dump's units with 99 permutations of labels, and on halves; return seconds, and memory in GB."""
    arguments = ["--activations", folder / "all.h5", "--thresholds", folder / "all_thresholds.h5"]
    arguments += ["--concepts", folder / "concepts.h5", *CHOICES, "--detector-iou", 0.04, "--detector-rule", "above"]
    arguments += ["--permutations", PERMUTATIONS, "--threads", threads]
    arguments += ["--nulls", folder / "nulls.csv", "--split", folder / "split.csv"]
    seconds, memory = run_step("validate_units", arguments)
    return {"permutations": PERMUTATIONS, "validation_seconds": seconds, "validation_peak_gigabytes": memory}


def run_step(step: str, arguments: list) -> tuple[float, float]:
    """Run a script of the workflow; return the seconds it took, and its peak memory in GB."""
    taken = take([sys.executable, "-m", f"workflow_scripts.dissect.{step}", *arguments])
    seconds = round(taken.seconds, 1)
    print(f"{step} took {seconds} s", flush=True)
    return seconds, round(taken.megabytes / 1000, 2)


def same_results(folder: Path) -> bool:
    """Whether both dumps gave the same thresholds and the same tallies."""
    same = True
    for step in ("thresholds", "tally"):
        with (
            h5py.File(folder / f"all_{step}.h5", locking=False) as one,
            h5py.File(folder / f"candidates_{step}.h5", locking=False) as other,
        ):
            for name, values in one["layer4"].items():
                same &= bool((values[:] == other["layer4"][name][:]).all())
    return same


if __name__ == "__main__":
    main()
