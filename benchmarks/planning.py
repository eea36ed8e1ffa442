"""Plan an experiment of 20 arms, 5 replicates and 20 levels, as `snakemake -n` does: jobs, seconds and peak memory.

    python -m benchmarks.planning
    python -m benchmarks.planning --levels 5 --finished    # also with all results there

Each size is planned in a folder of its own that has only a config, with `snakemake -n --quiet rules`, which shows no
more than the number of jobs of each rule. It also describes each job, which a run does only as it starts the job. So
all is planned once more for one job alone (`--until check_network`). The gallery shows one arm, as it would in so large
an experiment. With `--finished` results are made, as empty files that `snakemake --touch` takes for results, and the
experiment is planned once more; making them takes some 0.1 s per job. Prints a table; the last line is one JSON object.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.processes import Taken, take
from workflow_scripts.plan.code import ROOT

ARMS, REPLICATES = 20, 5
RECIPES = ("imp_rewind0", "lr_rewind", "oneshot", "reinit", "structured")  # besides `imp` and masks at random places


def main() -> None:
    """Plan an experiment for each number of levels; print what that takes, finally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--arms", type=int, default=ARMS)
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--finished", action="store_true", help="also plan it when all results are there")
    args = parser.parse_args()
    print(f"{'levels':<16} {'jobs':>6} {'seconds':>8} {'CPU seconds':>12} {'MB':>5}")
    result: dict[str, float] = {}
    for levels in args.levels:
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "config.yaml").write_text(yaml.safe_dump(config(args.arms, args.replicates, levels)))
            runs = {"dry run": plan(folder), "planned": plan(folder, "--until", "check_network")}
            jobs = jobs_in(runs["dry run"].output)
            if args.finished:
                finish(folder)
                runs["finished"] = plan(folder)
        for kind, taken in runs.items():
            result |= show(f"{levels} {kind}", jobs, taken)
    print(json.dumps(result))


def config(arms: int, replicates: int, levels: int) -> dict:
    """Return a config with so many arms, replicates and levels besides the dense network."""
    named = [{"name": recipe, "recipe": recipe, "of": "imp"} for recipe in RECIPES]
    drawn = [
        {"name": f"random_{seed}", "recipe": "random_layerwise", "of": "imp", "seed": seed, "label": f"random {seed}"}
        for seed in range(1, arms - len(named))
    ]
    return {
        "experiment": "load",
        "replicates": list(range(1, replicates + 1)),
        "pruning": {"levels": levels},
        "arms": [{"name": "imp", "recipe": "imp"}, *named, *drawn][:arms],
        "gallery": {"arms": ["imp"]},
    }


def snakemake(folder: Path, *words: str) -> Taken:
    """Run snakemake on the config in a folder, as a user would, and return what it took."""
    common = ["--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml", "--cores", 2]
    return take([sys.executable, "-m", "snakemake", *words, *common], folder)


def plan(folder: Path, *words: str) -> Taken:
    """Plan the experiment in a folder, and return what that took."""
    return snakemake(folder, "--dry-run", "--quiet", "rules", *words)


def jobs_in(output: str) -> int:
    """Return the number of jobs in the statistics that a dry run shows."""
    return int(re.findall(r"^total +(\d+)$", output, re.M)[-1])


def finish(folder: Path) -> None:
    """Make empty results, and what Snakemake remembers of them."""
    summary = snakemake(folder, "--summary").output
    for line in summary[summary.index("output_file\t") :].splitlines()[1:]:
        path = folder / line.partition("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
        else:
            path.mkdir(exist_ok=True)
    snakemake(folder, "--touch", "--quiet", "all")
    assert "Nothing to be done" in snakemake(folder, "--dry-run", "--quiet", "host").output


def show(name: str, jobs: int, taken: Taken) -> dict:
    """Print a line of the table, and return its numbers."""
    seconds, cpu_seconds, megabytes = (round(number, 1) for number in taken[:3])
    print(f"{name:<16} {jobs:>6} {seconds:>8} {cpu_seconds:>12} {megabytes:>5.0f}", flush=True)
    numbers = {"jobs": jobs, "seconds": seconds, "cpu_seconds": cpu_seconds, "megabytes": megabytes}
    return {f"{name.replace(' ', '_')}_{what}": number for what, number in numbers.items()}


if __name__ == "__main__":
    main()
