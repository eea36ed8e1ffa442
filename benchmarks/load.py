"""How the memory of each step grows with the number of pictures, for a layer of 8,192 units and 5,985 labels.

    python -m benchmarks.load --folder FOLDER
    python -m benchmarks.load --folder FOLDER --only tally_units --pictures 1000 2000 4000

Each step runs as in the workflow, in a process of its own, for each number of pictures. Pictures to pack are JPEG files
of 500 x 375 pixels with label maps of that size; maps to dissect are 7 x 7, and label maps 112 x 112. A step whose
memory is bounded has the same peak for every number from some 500 pictures on; until then buffers fill. Prints seconds,
peak memory, and by how many bytes it grows per picture; the last line is one JSON object.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.concept_sets import draw_pool, link_set, pack
from benchmarks.processes import Taken, take
from workflow_scripts.plan.code import ROOT

DISSECTED = ("dump_activations", "dump_candidates", "find_thresholds", "tally_units", "name_units")
STEPS = ("pack_concepts", "pack_images", *DISSECTED)
PACKED_SIDE = 64  # pixels, of the pictures that pack_images holds
QUANTILE = 0.005
CHOICES = (
    *("--knots", "align_corners_false", "--border", "clamp", "--mask", "above"),
    *("--planes", "once", "--counted-images", "with_category"),
)


def main() -> None:
    """Measure the steps with each number of pictures, and print the growth of their memory, finally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for some 2 MB per picture, which are kept")
    parser.add_argument("--pictures", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--units", type=int, default=8192)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(folder)])  # the second has the network's constructor
    draw_pool(folder)
    measured: dict[str, list[Taken]] = {step: [] for step in args.only}
    for pictures in args.pictures:
        if set(DISSECTED) & set(args.only):
            build = ["-m", "benchmarks.load_files", "--folder", folder, "--pictures", pictures, "--units", args.units]
            take([sys.executable, *build])
        for step in args.only:
            measured[step].append(run(step, folder, pictures))
            seconds, cpu_seconds, megabytes = measured[step][-1][:3]
            print(f"{step:<17} {pictures:>7} {seconds:8.1f} s {cpu_seconds:8.1f} CPU s {megabytes:7.0f} MB", flush=True)
    print(json.dumps({step: growth(args.pictures, taken) for step, taken in measured.items()}))


def run(step: str, folder: Path, pictures: int) -> Taken:
    """Run a step with so many pictures, and return what it took."""
    if step.startswith("pack"):
        made = link_set(folder, pictures)
        return pack(made, threads=2) if step == "pack_concepts" else pack_pictures(made)
    dump, thresholds, tally = (folder / f"{name}_{pictures}.h5" for name in ("dump", "thresholds", "tally"))
    concepts = ["--concepts", folder / f"concepts_{pictures}.h5"]
    network = ["--network", folder / "network.pt", "--settings", (folder / "settings.json").read_text()]
    network += ["--layers", "wide", "--mean", 0.5, 0.5, 0.5, "--std", 0.3, 0.3, 0.3, "--precision", "float16"]
    network += ["--forward", "float32", "--execution", "plain", "--gpus", 0, *concepts]
    shared = ["--activations", dump, "--threads", 2, *concepts]
    arguments = {
        "dump_activations": [*network, "--out", dump],
        "dump_candidates": [*network, "--candidates", QUANTILE, "--out", folder / "candidates.h5"],
        "find_thresholds": [*shared, "--quantile", QUANTILE, "--out", thresholds],
        "tally_units": [*shared, "--thresholds", thresholds, *CHOICES, "--out", tally],
        "name_units": ["--tally", tally, *concepts, "--detector-iou", 0.04, "--detector-rule", "above"],
    }
    arguments["name_units"] += ["--out", folder / f"units_{pictures}.csv"]
    script = step.replace("candidates", "activations")
    return take([sys.executable, "-m", f"workflow_scripts.dissect.{script}", *arguments[step]])


def pack_pictures(made: Path) -> Taken:
    """Pack the pictures of a set as a class to classify, beside a small class, and return what it took."""
    folder = made / "classes"
    folder.mkdir(exist_ok=True)
    for name, pictures in (("large", made / "images"), ("small", made.parent / "pool/images")):
        if not (folder / name).exists():
            (folder / name).symlink_to(pictures)
    arguments = ["--folder", folder, "--size", PACKED_SIDE, "--out", made / "images.h5"]
    return take([sys.executable, "-m", "workflow_scripts.data.pack_images", *arguments])


def growth(pictures: list[int], taken: list[Taken]) -> dict[str, float]:
    """Return the peak memory with the most pictures, and the growth from the fewest to the most."""
    more = pictures[-1] - pictures[0]
    found = {"megabytes": round(taken[-1].megabytes), "cpu_seconds": round(taken[-1].cpu_seconds, 1)}
    if more:
        found["bytes_per_picture"] = round(1e6 * (taken[-1].megabytes - taken[0].megabytes) / more)
    return found


if __name__ == "__main__":
    main()
