"""Whether the tables of an experiment agree with each other, and with what provenance.json says of its networks."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from workflow_scripts.run.provenance import MAKE_AGAIN, PROVENANCE, Dissected, Provenance
from workflow_scripts.shared.files import UserError, reading, require_file

NETWORK = ("arm", "replicate", "level")  # columns that name a network in every table
LAYER = (*NETWORK, "layer")
ALL_LAYERS = ("units", "categories")  # tables that have rows of each dissected layer of each network
SOME = {  # tables that have rows of some networks, and the columns by which networks.csv must know them
    **dict.fromkeys(("nulls", "split", "rotations", "sweep", "ablation"), LAYER),
    **dict.fromkeys(("epochs", "layers", "classes"), NETWORK),
}
COUNTED = ("units", "detectors_a", "concepts_a", "dead_units")  # columns of networks.csv that follow from units.csv
NAMED = ("layer", "unit", "category", "label", "detector", "dead")  # columns of a network's units.csv and the table's
Names = tuple[str, ...]  # arm, replicate, level and, of a layer, its name: text as in the table


def disagreements(results: Path, provenance: Provenance, damaged: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each table that disagrees with provenance.json, with networks.csv or a network's own file.

    Args:
        results: the folder.
        provenance: what provenance.json there says.
        damaged: files that are known to be damaged, and left out.

    Raises:
        UserError: a table cannot be read, or lacks a column.
    """
    tables = [name for name in provenance.facts["tables"] if f"tables/{name}.csv" not in damaged]
    if "networks" not in tables:
        return
    rows = {names_in(row, LAYER): row for row in read_rows(results / "tables" / "networks.csv", *LAYER, *COUNTED)}
    networks = {names[:3] for names in rows}
    if networks != {tuple(map(str, network[:3])) for network in provenance.networks}:
        yield other_run(results, "networks", "networks", PROVENANCE)
        return
    for name in tables:
        columns = LAYER if name in ALL_LAYERS else SOME.get(name)
        if columns is None:
            continue
        found = {names_in(row, columns) for row in read_rows(results / "tables" / f"{name}.csv", *columns)}
        known = networks if columns == NETWORK else set(rows)
        if not found <= known or (name in ALL_LAYERS and found != known):
            yield other_run(results, name, "networks and layers", "tables/networks.csv")
    if "arms" in tables:
        arms = {row["arm"] for row in read_rows(results / "tables" / "arms.csv", "arm")}
        if not {network[0] for network in networks} <= arms:
            yield other_run(results, "arms", "arms", "tables/networks.csv")
    if "categories" in tables:
        sums: Counter[Names] = Counter()
        for row in read_rows(results / "tables" / "categories.csv", *LAYER, "detectors_a"):
            sums[names_in(row, LAYER)] += whole(row["detectors_a"])
        if any(sums[names] != whole(row["detectors_a"]) for names, row in rows.items()):
            yield other_run(results, "categories", "counts of detectors", "tables/networks.csv")
    if "units" in tables:
        counts, digests = count_units(results / "tables" / "units.csv")
        if any(counts[names] != [whole(row[column]) for column in COUNTED] for names, row in rows.items()):
            yield other_run(results, "units", "counts of units", "tables/networks.csv")
        yield from own_units(results, provenance.networks, digests, damaged)


def count_units(path: Path) -> tuple[dict[Names, list[int]], dict[Names, str]]:
    """Return what a table of units says of each layer, in the order of `COUNTED`, and a digest for each network."""
    counts: dict[Names, Counter[str]] = defaultdict(Counter)
    concepts: dict[Names, set[Names]] = defaultdict(set)
    digests: dict[Names, hashlib._Hash] = defaultdict(hashlib.sha256)
    for row in read_rows(path, *NETWORK, *NAMED):
        layer = names_in(row, LAYER)
        detector = row["detector"] == "True"
        counts[layer].update(units=1, detectors_a=detector, dead_units=row["dead"] == "True")
        if detector:
            concepts[layer].add((row["category"], row["label"]))
        add_row(digests[layer[:3]], row)
    found = {
        layer: [count["units"], count["detectors_a"], len(concepts[layer]), count["dead_units"]]
        for layer, count in counts.items()
    }
    return defaultdict(list, found), {names: digest.hexdigest() for names, digest in digests.items()}


def own_units(
    results: Path, networks: list[Dissected], digests: dict[Names, str], damaged: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each network's own units.csv, if it is there, that has other units than the table."""
    for network in networks:
        name = f"{network.dissection}/units.csv"
        if name in damaged or not (results / name).exists():
            continue
        digest = hashlib.sha256()
        for row in read_rows(results / name, *NAMED):
            add_row(digest, row)
        if digest.hexdigest() != digests.get(tuple(map(str, network[:3]))):
            yield f"{results / name} and tables/units.csv have different units, so one is of another run: {MAKE_AGAIN}"


def add_row(digest: "hashlib._Hash", row: dict[str, str]) -> None:
    """Let a row of a unit count in a digest of its network."""
    digest.update("\x1f".join(row[column] for column in NAMED).encode(errors="surrogateescape") + b"\n")


def other_run(results: Path, name: str, what: str, other: str) -> str:
    """Return the sentence for a table that has other things than a file that must have the same."""
    return f"{results / 'tables' / name}.csv has other {what} than {other}, so one is of another run: {MAKE_AGAIN}"


def read_rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file by column; UserError if it cannot be read, or lacks one of these columns."""
    require_file(path, MAKE_AGAIN)
    with reading(path, csv.Error, UnicodeDecodeError), open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        lacking = [column for column in columns if column not in (rows.fieldnames or ())]
        if lacking:
            raise UserError(f"{path} has no column {lacking[0]}: {MAKE_AGAIN}")
        if twice := [column for column in columns if (rows.fieldnames or []).count(column) > 1]:
            raise UserError(f"{path} has the column {twice[0]} twice: {MAKE_AGAIN}")
        for row in rows:
            if any(row[column] is None for column in columns):
                raise UserError(f"{path} ends within line {rows.line_num}: {MAKE_AGAIN}")
            yield row


def names_in(row: dict[str, str], columns: Names) -> Names:
    """Return the cells that name a row's network, and its layer where that is among the columns."""
    return tuple(row[column] for column in columns)


def whole(text: str) -> int:
    """Return a count; -1, which nothing has, where the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
