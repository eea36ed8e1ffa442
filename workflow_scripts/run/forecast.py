"""How long the rest of a run will take."""

import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import fmean, median
from typing import Any

from workflow_scripts.run.run_times import read_benchmark
from workflow_scripts.shared.files import UserError

# Snakemake's: `rule.name`, `wildcards_dict`, `benchmark`, `log`, `output`, `scheduler_resources`.
Job = Any

# Of so many of the jobs that are left, or of this share, nothing may be known for a forecast to be made.
UNKNOWN, UNKNOWN_SHARE = 3, 0.1
END = 20_000  # bytes of a log that are read
SHORT = 60  # seconds: what the logs of jobs say that have run for less is not listened to


class Forecast:
    """What jobs take: by what this run has measured of their rule, or by earlier runs, or by the config's rates.

    The config has rates for what takes most of an experiment at full size. A job of any other rule counts its start or,
    if that is more, the median over the rules measured so far, until one of its own rule has ended: with its start
    alone the forecast of a small experiment would begin far too low.

    Args:
        earlier: seconds that jobs took in earlier runs, by the name of their benchmark; as `read_benchmarks` returns.
        start: the seconds that a job without a rate counts by the config, `rates.start`.
    """

    def __init__(self, earlier: Mapping[str, list[float]], start: float = 0) -> None:
        self.earlier, self.start = earlier, start
        self.measured: dict[str, list[float]] = defaultdict(list)
        self.means: dict[str, float] = {}  # of `measured`; kept, because a forecast needs them for each job
        self.rated: dict[Job, float] = {}

    def note(self, job: Job, seconds: float) -> None:
        """Learn that a job has taken so many seconds; what Snakemake has measured counts in place of these."""
        rule = job.rule.name
        self.measured[rule].append(benchmark_seconds(job) or seconds)
        self.means[rule] = fmean(self.measured[rule])

    def seconds(self, job: Job, foreseen: Mapping[str, list[float]]) -> float | None:
        """Return what a job takes, from its start; `foreseen` for running jobs by rule; None if nothing is known."""
        if not job.output:
            return 0
        rule, earlier = job.rule.name, self.earlier.get(Path(job.benchmark).stem) if job.benchmark else None
        if rule in self.means:
            return self.means[rule]
        known = foreseen.get(rule) or earlier
        if known:
            return fmean(known)
        rated = self.rated.get(job)
        if rated is not None and rated <= self.start and self.means:
            return max(rated, median(self.means.values()))
        return rated

    def left(
        self,
        jobs: Iterable[Job],
        needs: Callable[[Job], Iterable[Job]],
        running: Mapping[Job, float],
        limits: Mapping[str, int],
    ) -> float | None:
        """Return how many seconds the rest takes: those of its longest chain, or what resources allow if that is more.

        Args:
            jobs: all that have not finished.
            needs: a job's dependencies.
            running: since when those run that do.
            limits: how much of each resource all jobs may hold together.
        """
        jobs, now = set(jobs), time.time()
        foretold: dict[Job, float] = {}
        for job, start in running.items():
            if now - start > SHORT and (seconds := seconds_left(job, start)) is not None:
                foretold[job] = seconds
        foreseen: dict[str, list[float]] = defaultdict(list)
        for job, left in foretold.items():
            foreseen[job.rule.name].append(now - running[job] + left)
        times = {job: self.seconds(job, foreseen) for job in jobs}
        if sum(seconds is None for seconds in times.values()) > max(UNKNOWN, UNKNOWN_SHARE * len(jobs)):
            return None
        rest = {
            job: foretold.get(job, max((seconds or 0) - (now - running.get(job, now)), 0))
            for job, seconds in times.items()
        }
        bounds = [longest_chain(rest, needs)[0]]
        for resource, limit in limits.items():
            bounds.append(sum(rest[job] * amount_of(job, resource) for job in jobs) / limit)
        return max(bounds)


def amount_of(job: Job, resource: str) -> float:
    """Return how much of a resource a job holds."""
    amount = job.scheduler_resources.get(resource, 0)
    return amount if isinstance(amount, int) else 0


def longest_chain(seconds: Mapping[Any, float], needs: Callable[[Any], Iterable[Any]]) -> tuple[float, list]:
    """Return how long those of the jobs take that must follow one another, and these in order.

    `seconds` of each job; what `needs` tells besides them does not count.
    """
    best: dict[Any, tuple[float, Any]] = {}  # until a job's end, and the one before
    order = TopologicalSorter({job: [need for need in needs(job) if need in seconds] for job in seconds}).static_order()
    for job in order:
        before = max((need for need in needs(job) if need in seconds), key=lambda need: best[need][0], default=None)
        best[job] = (seconds[job] + (0 if before is None else best[before][0]), before)
    last = max(best, key=lambda job: best[job][0], default=None)
    total, chain = best[last][0] if best else 0.0, []
    while last is not None:
        chain.append(last)
        last = best[last][1]
    return total, chain[::-1]


def benchmark_seconds(job: Job) -> float | None:
    """Return what Snakemake has measured of a job that has just finished."""
    if not job.benchmark or not Path(job.benchmark).is_file():
        return None
    try:
        return sum(float(row["s"]) for row in read_benchmark(job.benchmark))
    except UserError:  # a damaged file must not end a run
        return None


def end_of_log(job: Job, since: float) -> list[str]:
    """Return the last lines of a job's log that are not empty; none if nothing was written since then.

    If that lies in the future, the clock was put back, and the log counts as new.
    """
    path = Path(job.log[0]) if job.log else None
    if path is None or not path.is_file() or path.stat().st_mtime < since <= time.time():
        return []
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - END, 0))
        lines = file.read().decode(errors="replace").split("\n")
    return [line for line in lines if line.strip()]


def last_line(job: Job, since: float) -> str:
    """Return the last line of a job's log without its time; empty if nothing was written since then."""
    return re.sub(r"^\d\d:\d\d:\d\d ", "", next(reversed(end_of_log(job, since)), ""))


def seconds_left(job: Job, since: float) -> float | None:
    """Return how long a job still has to run by the last line of its log, None if that does not say."""
    line = last_line(job, since)
    if found := re.search(r"\b(\d{1,6}):(\d\d):(\d\d) left", line):
        hours, minutes, seconds = map(int, found.groups())
        return 3600 * hours + 60 * minutes + seconds
    found = re.search(r"\b(\d{1,6}(?:\.\d{1,6})?) days left", line)
    return float(found[1]) * 86400 if found else None


def rate(jobs: list[Job], config: dict, cores: int | None) -> dict[Job, float]:
    """Return what jobs take by the rates of the config, which are of networks that are trained here.

    In a process of its own, for it imports torch.
    """
    if not any(arm["recipe"] == "imp" for arm in config["arms"]):
        return {}
    asked = {"config": config, "cores": cores, "jobs": [[job.rule.name, job.wildcards_dict] for job in jobs]}
    command = [sys.executable, "-m", "workflow_scripts.run.job_seconds"]
    answer = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    if answer.returncode:
        return {}
    rated = zip(jobs, json.loads(answer.stdout), strict=True)
    return {job: seconds for job, seconds in rated if seconds is not None}
