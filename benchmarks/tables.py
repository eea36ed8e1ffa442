"""What the steps after dissection take with many networks: tables, figures, report, gallery, checksums.

    python -m benchmarks.tables --folder FOLDER
    python -m benchmarks.tables --folder FOLDER --levels 2 4

A small experiment with two layers of 128 units is run to its end. Its networks' files are then linked in place of the
networks of experiments with 20 arms, 5 replicates and ever more levels, and snakemake makes what is left: networks
repeat, so findings mean nothing, but files have the sizes of real ones. The gallery shows one arm. Prints for each step
how often it ran, all its seconds of the processor, and its peak memory; then how large what they write is, and how much
snakemake shows, also when a step that gathers all fails. The last line is one JSON object. 2,005 networks take some
half an hour.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.planning import ARMS, REPLICATES, config
from benchmarks.processes import Taken, take
from workflow_scripts.plan.code import ROOT

RESULTS, LOG = Path("results/load"), "steps.jsonl"
SMALL = {"arms": 3, "replicates": 1, "levels": 2}
WIDTH = 128
MADE = (
    "tables",
    "figures",
    "gallery",
    "report.html",
    "summary.txt",
    "checksums.sha256",
    "provenance.json",
    "costs.csv",
)
# Takes the place of `python` in the rules, and writes down what each step takes.
MEASURING = """#!{python}
import json, os, sys
child = os.fork()
if not child:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
_, status, usage = os.wait4(child, 0)
with open("{log}", "a") as log:
    print(json.dumps([sys.argv[2], usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6]), file=log)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main() -> None:
    """Measure the steps for each number of levels; print what they take, finally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--levels", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--arms", type=int, default=ARMS)
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    measure_steps(folder)
    run(folder, **SMALL)
    result = {}
    for levels in args.levels:
        networks = args.replicates * (1 + args.arms * levels)
        clear(folder)
        link_networks(folder, args.arms, args.replicates, levels)
        planner, steps = run(folder, args.arms, args.replicates, levels)
        result[networks] = dict(show(folder, networks, planner, steps))
        result[networks]["failure_bytes"] = fail(folder)
    print(json.dumps(result))


def measure_steps(folder: Path) -> None:
    """Let the rules call a `python` that writes into the folder's log what each step takes."""
    measuring = folder / "bin/python"
    measuring.parent.mkdir(exist_ok=True)
    measuring.write_text(MEASURING.format(python=sys.executable, log=folder / LOG))
    measuring.chmod(0o755)
    os.environ["PATH"] = f"{measuring.parent}{os.pathsep}{os.environ['PATH']}"


def run(folder: Path, arms: int, replicates: int, levels: int) -> tuple[Taken, list]:
    """Run an experiment; return what snakemake took, and each step's name, seconds of the processor, and MB."""
    tiny = yaml.safe_load((ROOT / "configs/tiny.yaml").read_text())
    planned = config(arms, replicates, levels)
    tiny["network"]["arguments"]["widths"] = [WIDTH, WIDTH]
    tiny["pruning"] |= planned.pop("pruning")
    (folder / "config.yaml").write_text(yaml.safe_dump(tiny | planned))
    log = folder / LOG
    log.unlink(missing_ok=True)
    planner = take(snakemake(), folder)
    return planner, [json.loads(line) for line in log.read_text().splitlines()]


def fail(folder: Path) -> int:
    """Let `collect` fail, by a damaged file; print and return how many bytes snakemake shows then."""
    units, kept = (folder / RESULTS / "imp/replicate_1/level_1" / name for name in ("units.csv", "units.csv.kept"))
    units.rename(kept)
    units.write_text("damaged\n")
    clear(folder)
    failed = subprocess.run(snakemake("--until", "collect"), cwd=folder, capture_output=True, check=False)
    assert failed.returncode, failed.stderr
    kept.rename(units)
    shown = len(failed.stdout) + len(failed.stderr)
    print(f"on the terminal if collect fails {shown} bytes", flush=True)
    return shown


def snakemake(*words: str) -> list:
    """Return the command that runs the experiment in a folder."""
    common = ["--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml", "--cores", 2]
    # Linked files have no records of the code and parameters that made them.
    return list(map(str, [sys.executable, "-m", "snakemake", *words, *common, "--rerun-triggers", "mtime"]))


def clear(folder: Path) -> None:
    """Remove what is made from all networks."""
    for name in MADE:
        path = folder / RESULTS / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def link_networks(folder: Path, arms: int, replicates: int, levels: int) -> None:
    """Put a network of the small experiment in place of each that is not there, also in logs and benchmarks."""
    names = [arm["name"] for arm in config(arms, 1, 1)["arms"]]
    trained = [arm["name"] for arm in config(**SMALL)["arms"]]
    for part in (RESULTS, RESULTS / "logs", RESULTS / "benchmarks"):
        for name in names:
            # A level is made from the one before: those of another arm may be older.
            made = folder / part / (name if name in trained else "imp") / "replicate_1"
            for replicate in range(1, replicates + 1):
                for level in range(name != "imp", levels + 1):
                    place = folder / part / name / f"replicate_{replicate}/level_{level}"
                    if not place.exists():
                        shutil.copytree(made / f"level_{min(level, SMALL['levels'])}", place, copy_function=os.link)


def show(folder: Path, networks: int, planner: Taken, steps: list) -> Iterator[tuple[str, float]]:
    """Print a table of what the steps took and wrote; yield the same as names and numbers."""
    taken: dict[str, list[tuple[float, float]]] = {}
    for module, seconds, megabytes in steps:
        taken.setdefault(module.rpartition(".")[2], []).append((seconds, megabytes))
    print(f"\n{networks} networks")
    for step, each in taken.items():
        total, peak = sum(seconds for seconds, _ in each), max(megabytes for _, megabytes in each)
        print(f"{step:<20} {len(each):>4} x {total:8.1f} CPU s {peak:7.0f} MB")
        yield f"{step}_cpu_seconds", round(total, 1)
        yield f"{step}_megabytes", round(peak)
    own = planner.cpu_seconds - sum(seconds for _, seconds, _ in steps)
    print(f"{'snakemake itself':<27}{own:8.1f} CPU s")
    yield "snakemake_cpu_seconds", round(own, 1)
    for name in MADE:
        path = folder / RESULTS / name
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"{name:<20} {size:8.3f} MB in {len(files)} files")
        yield f"{name}_size_megabytes", round(size, 3)
    print(f"{'on the terminal':<20} {len(planner.output) / 1e6:8.3f} MB", flush=True)
    yield "terminal_megabytes", round(len(planner.output) / 1e6, 3)


if __name__ == "__main__":
    main()
