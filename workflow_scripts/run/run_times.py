"""What Snakemake has measured of each job: the files of its `benchmark:` directives."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

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
    """
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_measurements(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the columns of every measurement in a folder, as `read_benchmark` has them."""
    for path in sorted(folder.rglob("*.tsv")):
        for row in read_benchmark(path):
            yield path.stem, row


def read_benchmarks(experiment: str) -> dict[str, list[float]]:
    """Return the seconds that jobs of an experiment have taken, by the name of the benchmark."""
    found = defaultdict(list)
    for name, row in read_measurements(Path("results", experiment, "benchmarks")):
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
