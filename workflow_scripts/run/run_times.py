"""What Snakemake has measured of each job: the files of its `benchmark:` directives."""

import csv
import math
import re
from collections import defaultdict
from pathlib import Path

from workflow_scripts.shared.files import UserError, reading
from workflow_scripts.shared.regular_files import read_file

MEASURED = ("s", "cpu_time", "max_rss")  # the columns that are read

# Benchmarks are named as their rule, but for these.
BENCHMARKS = {
    "fetch_archive": "fetch_{kind}",
    "unpack_archive": "unpack_{kind}",
    "pack_images": "pack_{split}",
    "index_images": "index_{split}",
}
# And these end in a wildcard's value, which is empty for networks that are trained here.
SEVERAL = {"pack_concepts": "view", "check_network": "suffix", "find_receptive_fields": "suffix"}


def read_benchmark(path: str | Path) -> list[dict[str, str]]:
    """Return the measurements of a job, by column: seconds `s`, `cpu_time`, `max_rss` in MB, and others.

    A job that was repeated by Snakemake in place has several. What a job was too short for reads "NA".

    Raises:
        UserError: the file is damaged, for example empty after a power cut. It is no output, so nothing makes it again:
            what reads it must do without it.
    """
    data = read_file(path)
    with reading(path, UnicodeDecodeError, csv.Error):
        rows = list(csv.DictReader(data.decode().splitlines(), delimiter="\t"))
    if not rows or not all(is_measurement(row) for row in rows):
        raise UserError(f"{path} is damaged: it has no row with the seconds of a job")
    return rows


def is_measurement(row: dict) -> bool:
    """Tell whether a row has the columns of a measurement, and the seconds are a number."""
    try:
        return all(row.get(name) is not None for name in MEASURED) and 0 <= float(row["s"]) < math.inf
    except ValueError:
        return False


def read_measurements(folder: Path) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """Return the name and the columns of every measurement in a folder, and a sentence for each damaged file."""
    found, damaged = [], []
    for path in sorted(folder.rglob("*.tsv")):
        try:
            found += [(path.stem, row) for row in read_benchmark(path)]
        except UserError as error:
            damaged.append(str(error))
    return found, damaged


def read_benchmarks(experiment: str) -> dict[str, list[float]]:
    """Return the seconds that jobs of an experiment have taken, by the name of the benchmark."""
    found = defaultdict(list)
    for name, row in read_measurements(Path("results", experiment, "benchmarks"))[0]:
        found[name].append(float(row["s"]))
    return found


def rule_of(name: str) -> str:
    """Return the rule whose benchmark has this name."""
    for rule in SEVERAL:
        if name.startswith(rule):
            return rule
    for rule, pattern in BENCHMARKS.items():
        if re.fullmatch(pattern.format(kind="(images|concepts)", split="(train|test)"), name):
            return rule
    return name
