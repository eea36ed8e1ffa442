"""Verify that a folder of results is whole and consistent, and say how it can be made again.

python -m workflow_scripts verify_results results/shapes

It may be a copy, without logs and without the large files of networks and pictures. Of those that are there network.pt
is read whole, and the others are compared by the fingerprints that they hold.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from workflow_scripts.data.hdf5 import open_hdf5, read_attribute
from workflow_scripts.run.provenance import (
    CHECKSUMS,
    CONFIG,
    MAKE_AGAIN,
    PROVENANCE,
    Dissected,
    Provenance,
    read_provenance,
)
from workflow_scripts.run.verify_tables import disagreements
from workflow_scripts.shared.files import UserError, file_fingerprint, reading, require_file, run_command
from workflow_scripts.shared.printable import sentence

LINE = re.compile(r"([0-9a-f]{64})  ([^\0\n]{1,1000})\n")


class Verified:
    """What has been verified of a folder of results.

    Args:
        results: the folder.

    Attributes:
        faults: a sentence for each, in the order of the checks.
        files: how many are as the list of checksums has them.
        large: how many large files are those that were recorded.
        absent: how many large files are not in this folder.
        provenance: what provenance.json says; None where it cannot be read.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.faults: list[str] = []
        self.files = self.large = self.absent = 0
        self.provenance: Provenance | None = None
        self.damaged: set[str] = set()
        for check in (self.check_files, self.check_provenance, self.check_large_files, self.check_tables):
            self.add_faults(check)

    def add_faults(self, check: Callable[[], Iterator[str]]) -> None:
        """Add what a check finds to the faults, also if a file that cannot be read ends it."""
        try:
            self.faults.extend(check())
        except UserError as error:
            self.faults.append(str(error))

    def check_files(self) -> Iterator[str]:
        """Yield a sentence for each listed file that is missing or has other bytes."""
        path = self.results / CHECKSUMS
        require_file(path, f"{MAKE_AGAIN}; without it nothing tells whether the files are whole")
        with reading(path, UnicodeDecodeError), open(path, encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(2000), ""), 1):
                found = LINE.fullmatch(line)
                if not found:
                    raise UserError(f"{path} is damaged in line {number}: {MAKE_AGAIN}")
                yield from self.check_file(found[2], found[1])
        if not self.files:
            yield f"{path} lists no file that is there: {MAKE_AGAIN}"

    def check_file(self, name: str, checksum: str) -> Iterator[str]:
        """Yield a sentence if a listed file is missing, lies elsewhere or has other bytes; else count it."""
        if fault := self.fault_of(name, checksum):
            self.damaged.add(name)
            yield fault
        else:
            self.files += 1

    def fault_of(self, name: str, checksum: str) -> str | None:
        """Return what is wrong with a file of the folder that should have this SHA-256; None if nothing is."""
        path = self.results / name
        if not path.resolve().is_relative_to(self.results.resolve()):
            return f"{name} is listed, and lies outside the folder: do not trust this copy, and {MAKE_AGAIN}"
        try:
            require_file(path, MAKE_AGAIN)
            with reading(path):
                found = file_fingerprint(path)
        except UserError as error:
            return str(error)
        if found != checksum:
            return f"{path} has changed since it was made, or is of another run: {MAKE_AGAIN}"
        return None

    def check_provenance(self) -> Iterator[str]:
        """Read provenance.json, and yield a sentence if the config is not the one that it names."""
        self.provenance = read_provenance(self.results)
        config = self.results / CONFIG
        if CONFIG in self.damaged:
            return
        require_file(config, MAKE_AGAIN)
        with reading(config):
            if file_fingerprint(config) != self.provenance.facts["config"]:
                yield f"{config} is not the config that {PROVENANCE} records: {MAKE_AGAIN}"

    def check_large_files(self) -> Iterator[str]:
        """Yield a sentence for each large file that is there and is not the one that was recorded."""
        if not self.provenance:
            return
        concepts = self.provenance.facts["concepts"]
        expected = {f"data/{name}": {"fingerprint": fingerprint} for name, fingerprint in concepts.items()}
        for network in self.provenance.networks:
            if network.concepts not in concepts.values():
                yield f"{PROVENANCE} records other concepts of {network.dissection} than of data/: {MAKE_AGAIN}"
            expected |= large_files(network)
        for name, contents in expected.items():
            path = self.results / name
            if not path.exists():
                self.absent += 1
                continue
            self.large += 1
            checksum = contents.get("sha256")
            fault = self.fault_of(name, checksum) if checksum else other_attribute(path, contents)
            if fault:
                yield fault

    def check_tables(self) -> Iterator[str]:
        """Yield a sentence for each disagreement of the tables."""
        if self.provenance:
            yield from disagreements(self.results, self.provenance, self.damaged)


def large_files(network: Dissected) -> dict[str, dict[str, str]]:
    """Return the large files of a network and of its dissection: attributes of each, or its SHA-256 under "sha256"."""
    files, dissection = network.files, network.dissection
    dump = {"network": network.network, "fingerprint": network.activations, "concepts": network.concepts}
    return {
        f"{files}/network.pt": {"sha256": network.network},
        f"{files}/activations.h5": dump,
        f"{files}/thresholds.h5": {"activations": network.activations},
        f"{dissection}/tally.h5": {"activations": network.activations, "concepts": network.concepts},
    }


def other_attribute(path: Path, expected: dict[str, str]) -> str | None:
    """Return what is wrong with an HDF5 file that should have these attributes; None if nothing is."""
    try:
        with open_hdf5(path) as file:
            wrong = [name for name, value in expected.items() if read_attribute(file, name, str) != value]
    except UserError as error:
        return str(error)
    return f"{path} is of another run, by its attribute {wrong[0]}: {MAKE_AGAIN}" if wrong else None


def how_made(facts: dict) -> Iterator[str]:
    """Yield, in lines, how results can be made again; `facts` are those of provenance.json."""
    project = facts["project"]
    name, commit = project["name"] or "this project", project["commit"]
    code = f"commit {commit}" if commit else "of no known commit"
    changes = ", with changes that no commit has" if project["changed"] else ""
    yield f"code     {name} {project['version'] or 'of no known version'}, {code}{changes}"
    machine = facts["machine"]
    yield f"made on  Python {facts['python']}, {machine['cpu']}, {', '.join(machine['gpus']) or 'no GPU'}"
    for source in facts["data"]:
        yield f"data     {source['name']}: {source['source']}, SHA-256 {source['sha256']}"
    own = {path: checksum for network in facts["networks"] for path, checksum in network["own"].items()}
    for path, checksum in own.items():
        yield f"weights  {path}, SHA-256 {checksum}"
    yield f"command  {facts['again']}"


def main() -> None:
    """Verify the folder on the command line, and print what was verified; the exit status is 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder of an experiment, or a copy of it")
    results = parser.parse_args().results
    verified = Verified(results)
    if verified.provenance:
        lines = ["How it can be made again:", *how_made(verified.provenance.facts), ""]
        print("\n".join(map(sentence, lines)))
    if verified.faults:
        sys.exit("\n".join(f"error: {sentence(fault)}" for fault in verified.faults))
    assert verified.provenance, "without it there is a fault"
    networks = len(verified.provenance.networks)
    print(
        f"{sentence(str(results))} is whole: its {verified.files} listed files have their checksums.\n"
        f"It is consistent: the tables agree on {networks} networks, and {verified.large} large files are those that"
        f" were recorded ({verified.absent} are not here)."
    )


if __name__ == "__main__":
    run_command(main)
