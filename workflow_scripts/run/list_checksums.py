"""List the SHA-256 of an experiment's results, in the format that `sha256sum --check` reads."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.run.provenance import CHECKSUMS, read_provenance
from workflow_scripts.shared.files import file_fingerprint, reading, run_command, whole_file

NAMED = ("tables", "figures")  # folders with what provenance.json names: other files are of an earlier config
TOP = (".csv", ".html", ".json", ".md", ".txt", ".yaml")  # of files beside these folders
OF_NETWORK = (".csv", ".json")  # what is small of a network; large files name what they were made from
OF_DATA = (".json", ".sha256")
MEMORY = "own_"  # begins the names of files that remember what was read, and may be deleted


def list_checksums(results: Path, out: Path) -> None:
    """Write a line for each file of the results but large ones, logs, benchmarks, and `out` itself.

    Raises:
        UserError: provenance.json, which names the networks, is missing or damaged; or a file cannot be read.
    """
    with whole_file(out) as part, open(part, "w", encoding="utf-8") as lines:
        for name in sorted(set(listed_files(results)) - {out.name}):
            with reading(results / name):
                lines.write(f"{file_fingerprint(results / name)}  {name}\n")


def listed_files(results: Path) -> Iterator[str]:
    """Yield the names of these files, relative to the folder."""
    yield from files_in(results, results.iterdir(), TOP)
    yield from files_in(results, (results / "data").iterdir(), OF_DATA)
    yield from files_in(results, (results / "gallery").rglob("*"))
    facts, networks = read_provenance(results)
    for folder in NAMED:
        named = (path for path in (results / folder).iterdir() if path.stem in facts[folder])
        yield from files_in(results, named)
    for network in networks:
        for folder in {network.files, network.dissection}:
            yield from files_in(results, (results / folder).iterdir(), OF_NETWORK)


def files_in(results: Path, paths: Iterator[Path], endings: tuple[str, ...] = ("",)) -> Iterator[str]:
    """Yield the names of those of some paths that are files with one of these endings, hidden ones left out."""
    for path in paths:
        name = path.name
        if name.endswith(endings) and not name.startswith((".", MEMORY)) and path.is_file():
            yield path.relative_to(results).as_posix()


def main() -> None:
    """List the checksums of the results in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--out", type=Path, required=True, help=f"{CHECKSUMS}, in that folder")
    args = parser.parse_args()
    list_checksums(args.results, args.out)


if __name__ == "__main__":
    run_command(main)
