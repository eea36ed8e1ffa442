"""What an experiment will cost: jobs, GPU and core hours, the longest chain and disk, before anything runs.

    python -m workflow_scripts cost_sheet --configfile configs/paper.yaml

The jobs are Snakemake's own (`snakemake --dag`); those that are finished cost nothing more. A job takes `rates.start`
seconds and its amount of work over the config's rate for it. As soon as jobs of a rule have run in this experiment,
all others of the rule are taken to last as long as the median of what Snakemake has measured of them in
`results/<experiment>/benchmarks`. (Of a training that was interrupted or handed out once more, it has measured the
last attempt alone; the median bears some of these. After a change of the config, what was measured before it counts.)
Rates and sizes are of the networks that are trained here: of brought ones only what has been measured is counted.
"""

import argparse
import math
import re
import subprocess
import sys
from collections import ChainMap, defaultdict
from collections.abc import Callable, Sequence
from graphlib import TopologicalSorter
from itertools import groupby
from statistics import median

from workflow_scripts.plan.check import is_archive
from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.command_line import add_config_arguments, config_of, snakemake_arguments
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.run import forecast
from workflow_scripts.run.costs import Costs, Job, archive_bytes, read_sizes
from workflow_scripts.run.run_times import BENCHMARKS, SEVERAL, read_benchmarks
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.shared.gpus import has_gpu


def read_experiment(config: dict, gpus: int | None = None) -> Experiment:
    """Return the experiment of a complete config as the rules see it, `gpus` a number: the one given, or the config's.

    Raises:
        UserError: as `Experiment`.
    """
    if gpus is not None:
        config["gpus"] = gpus
    elif config["gpus"] == "auto":
        config["gpus"] = int(has_gpu())
    return Experiment(config)


def list_jobs(config_arguments: Sequence[str]) -> dict[str, Job]:
    """Return all jobs of an experiment by Snakemake's number.

    Args:
        config_arguments: Snakemake's, for the config.

    Raises:
        UserError: Snakemake cannot list them; it has its words.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dag", *config_arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        words = re.search(r"^\S*(Error|Exception|error:).*", run.stderr, re.M | re.S)
        raise UserError("snakemake cannot list the jobs: " + " ".join((words[0] if words else run.stderr).split()))
    return parse_dot(run.stdout)


def parse_dot(text: str) -> dict[str, Job]:
    """Return the jobs of a graph that `snakemake --dag` has printed, without `all`.

    A node is labelled with those wildcards alone that none of its dependencies has, so that it gets the others from
    these, also where it has none; a finished job has a dashed line.
    """
    needs = defaultdict(list)
    for before, after in re.findall(r"^\s*(\d+) -> (\d+)$", text, re.M):
        needs[after].append(before)
    nodes = re.findall(r'^\s*(\d+)\[label = "([^"]*)".*style="([^"]*)"', text, re.M)
    own = {node: dict(line.split(": ", 1) for line in label.split(r"\n")[1:]) for node, label, _ in nodes}
    wildcards: dict[str, dict[str, str]] = {}
    for node in TopologicalSorter({node: needs[node] for node in own}).static_order():
        wildcards[node] = dict(ChainMap(own[node], *(wildcards[before] for before in needs[node])))
    jobs = {
        node: Job(label.split(r"\n")[0], wildcards[node], "dashed" in style, tuple(needs[node]))
        for node, label, style in nodes
    }
    return {node: job for node, job in jobs.items() if job.rule != "all"}


def benchmark_name(job: Job) -> str:
    """Return the name, without its ending, of the file that Snakemake writes a job's run time to."""
    ending = job.wildcards.get(SEVERAL[job.rule], "") if job.rule in SEVERAL else ""
    return BENCHMARKS.get(job.rule, job.rule).format(**job.wildcards) + ending


def longest_chain(jobs: dict[str, Job], seconds: Callable[[Job], float]) -> tuple[float, list[Job]]:
    """Return how long the jobs take that must follow one another, and these jobs in order."""
    times = {node: seconds(job) for node, job in jobs.items()}
    total, nodes = forecast.longest_chain(times, lambda node: jobs[node].needs)
    return total, [jobs[node] for node in nodes]


def print_sheet(jobs: dict[str, Job], costs: Costs, measured: dict[str, list[float]]) -> None:
    """Print the sheet of all `jobs` of an experiment."""

    def seconds(job: Job) -> float | None:
        if job.finished:
            return 0
        times = measured.get(benchmark_name(job))
        return median(times) if times else costs.seconds(job)

    left = sorted((job for job in jobs.values() if not job.finished), key=lambda job: job.rule)
    counted = [(job, taken) for job in left if (taken := seconds(job)) is not None]
    print(f"{len(left)} jobs to run, {len(jobs) - len(left)} finished\n")
    print(f"{'rule':<21} {'jobs':>5} {'each':>10} {'GPU hours':>11} {'core hours':>11}  from")
    gpu_total = core_total = 0.0
    for rule, group in groupby(counted, key=lambda pair: pair[0].rule):
        same = list(group)
        each = sum(taken for _, taken in same) / len(same)
        gpu = sum(costs.gpus(job) * taken for job, taken in same) / 3600
        core = sum(costs.threads(job) * taken for job, taken in same) / 3600
        times = [len(measured.get(name, [])) for name in {benchmark_name(job) for job, _ in same}]
        source = f"measured ({sum(times)})" if all(times) else "rate"
        print(f"{rule:<21} {len(same):>5} {duration(each):>10} {gpu:>11,.3f} {core:>11,.3f}  {source}")
        gpu_total, core_total = gpu_total + gpu, core_total + core
    print(f"{'total':<21} {len(counted):>5} {'':>10} {gpu_total:>11,.3f} {core_total:>11,.3f}\n")
    total, chain = longest_chain(jobs, lambda job: seconds(job) or 0)
    chain = [job for job in chain if seconds(job) is not None]
    if counted:
        what, hours = ("GPUs", gpu_total) if gpu_total else ("cores", core_total)
        hours_too = f" ({total / 3600:,.1f} hours)" if total > 86400 else ""
        print(f"longest chain: {duration(total)}{hours_too}: {summary(chain)}")
        print(
            f"more than {math.ceil(hours * 3600 / total)} {what} would not help: the longest chain runs one job after"
            " another"
        )
    end = sum(map(costs.bytes, jobs.values()))
    print(f"disk: {size(end)} at the end, {size(end + costs.scratch_bytes())} at its peak")
    print(f"not counted: {'; '.join(not_counted(jobs, costs, len(left) - len(counted)))}")


def summary(chain: list[Job]) -> str:
    """Return the rules of a chain's jobs that are left, in order, those that repeat counted."""
    rules = (job.rule for job in chain if not job.finished)
    runs = [(rule, len(list(same))) for rule, same in groupby(rules)]
    return ", ".join(rule if times == 1 else f"{times} x {rule}" for rule, times in runs)


def not_counted(jobs: dict[str, Job], costs: Costs, without_time: int) -> list[str]:
    """Return what the sheet leaves out; of so many jobs it does not know the time."""
    left_out = ["waiting for free cores and GPUs", "failures", "data of your own"]
    if any(job.rule in ("fetch_archive", "unpack_archive") for job in jobs.values()):
        left_out.append("the time to fetch and unpack archives")
    for kind in ("images", *costs.experiment.concept_kinds):
        source = costs.experiment.settings(kind)["source"]
        if is_archive(source) and archive_bytes(costs.config, kind) is None:
            left_out.append(f"the disk that {source} takes, for its size is not known")
    if without_time:
        left_out.append(f"the time of networks of your own ({without_time} jobs)")
    if any(map(costs.is_brought, jobs.values())):
        left_out.append("the disk that networks of your own take")
    return left_out


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def size(number: float) -> str:
    """Return bytes in the unit that reads best."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


def cost_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for what the jobs depend on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument("--gpus", type=int, help="for each training, in place of the config's: for another machine")
    parser.add_argument("--cores", type=int, help="a job has at most so many threads, as with snakemake --cores")
    return parser


def main() -> None:
    """Print the cost sheet of the experiment that the config files describe.

    Raises:
        UserError: the experiment trains no network, so that there are no rates for it.
    """
    args = cost_parser(__doc__).parse_args()
    experiment = read_experiment(config_of(args), args.gpus)
    if not experiment.trains:
        raise UserError(
            "the cost sheet knows no rates for networks of your own, and there are no others:"
            " snakemake -n lists the jobs"
        )
    costs = Costs(experiment, read_sizes(experiment), args.cores)
    print_sheet(list_jobs(snakemake_arguments(args)), costs, read_benchmarks(experiment.config["experiment"]))


if __name__ == "__main__":
    run_command(main)
