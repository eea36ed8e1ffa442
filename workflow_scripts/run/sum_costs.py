"""Add up what each rule took, from Snakemake's benchmarks."""

import argparse
import csv
import logging
import math
from collections import defaultdict
from pathlib import Path
from statistics import median

from workflow_scripts.run.run_times import MEASURED, read_measurements, rule_of
from workflow_scripts.shared.files import run_command, whole_file

COLUMNS = ("rule", "jobs", "seconds", "median", "longest", "cpu", "memory_mb")


def sum_costs(benchmarks: Path, out: Path) -> None:
    """Write a CSV row per rule, those that took longest first, and a last one for all: `COLUMNS`.

    `seconds` are of wall time, all jobs added up; `median` and `longest` are a job's; `cpu` is their CPU time, in
    seconds, too; `memory_mb` is the largest resident set of a job, in megabytes. Of a job only its last run counts.
    Snakemake looks at memory and CPU time every so often, so that those of short jobs come out too small. Damaged files
    are left out; the log names them.
    """
    measured = defaultdict(list)
    measurements, damaged = read_measurements(benchmarks)
    for sentence in damaged:
        logging.warning("a job is left out: %s", sentence)
    for name, row in measurements:
        measured[rule_of(name)].append([number(row[column]) for column in MEASURED])
    rows = sorted((summary(rule, jobs) for rule, jobs in measured.items()), key=lambda row: -row[2])
    everything = [job for jobs in measured.values() for job in jobs]
    with whole_file(out) as part, open(part, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, jobs, *values in [*rows, *([summary("all", everything)] if everything else [])]:
            writer.writerow([name, jobs, *(f"{value:.1f}" for value in values)])


def number(text: str) -> float:
    """Return a number, 0 where there is none."""
    try:
        value = float(text)
    except ValueError:
        return 0
    return value if math.isfinite(value) else 0


def summary(rule: str, jobs: list[list[float]]) -> list:
    """Return the row of jobs of which (seconds, CPU seconds, MB) were measured."""
    seconds, cpu, memory = zip(*jobs, strict=True)
    return [rule, len(jobs), sum(seconds), median(seconds), max(seconds), sum(cpu), max(memory)]


def main() -> None:
    """Add up the benchmarks that the command line names, and write costs.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", type=Path, required=True, help="the experiment's folder of that name")
    parser.add_argument("--out", type=Path, required=True, help="costs.csv")
    args = parser.parse_args()
    sum_costs(args.benchmarks, args.out)


if __name__ == "__main__":
    run_command(main)
