"""Fingerprints of the contents of users' files. As parameters of rules they show what is stale."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path

from workflow_scripts.plan.concept_sets import own_tables
from workflow_scripts.plan.designs import Design
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.networks import Network
from workflow_scripts.shared.files import Unwritable, UserError, file_fingerprint, reading, text_fingerprint, whole_file
from workflow_scripts.shared.outside_json import read_json
from workflow_scripts.shared.regular_files import walk


class Contents:
    """Fingerprints of the user's files that an experiment reads.

    Args:
        experiment: whose files are read.
        folder: where earlier fingerprints are remembered.

    Raises, in all methods:
        UserError: as in `file_contents`.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self.experiment, self.folder = experiment, folder

    def remembered(self, source: str, name: str) -> str:
        """Return the fingerprint of a file or folder; only new files are read."""
        return content_fingerprint(source, self.folder / f"own_{name}.json")

    def source(self, kind: str, split: str | None = None) -> str:
        """Return the fingerprint of the folder that is packed; "" if a rule makes the folder."""
        if self.experiment.is_made(kind):
            return ""
        folder = Path(self.experiment.packed_folder(kind, split))
        # CIFAR-10's binary files are given by a pattern, and the names of their classes are in a file beside them.
        return self.remembered(str(folder.parent if folder.suffix == ".bin" else folder), split or kind)

    def concepts(self) -> list[str]:
        """Return the fingerprints of the folders of labelled pictures, and of the user's tables for them."""
        own = own_tables(self.experiment.config["concepts"])
        return [*(self.source(kind) for kind in self.experiment.concept_kinds), *self.small_files(*own)]

    def archive(self, kind: str) -> str:
        """Return the fingerprint of an archive; "" if it is fetched, because the receipt has it then."""
        settings = self.experiment.settings(kind)
        return "" if settings["addresses"] else self.remembered(settings["source"], f"{kind}_archive")

    def small_files(self, *files: str | Path) -> list[str]:
        """Return the fingerprints of small files; the job reports missing ones."""
        return [own_fingerprint(file) for file in files if Path(file).is_file()]

    def network(self, network: Network) -> list[str]:
        """Return the fingerprints of the files that a network is made from."""
        return [self.networks[file] for file in network.own_files]

    @cached_property
    def networks(self) -> dict[str, str]:
        """The fingerprints of all networks' files, by path."""
        files = {file: None for network in self.experiment.networks.values() for file in network.own_files}
        return file_contents(files, self.folder / "own_networks.json")

    def test_pictures(self, design: Design) -> str:
        """Return the fingerprint of the pictures that networks of a design are tested with."""
        if design.test == "none":
            return ""
        return self.remembered(design.test, f"test_{text_fingerprint(design.test)[:12]}")


@cache
def content_fingerprint(source: str, memory: Path) -> str:
    """Return a fingerprint of a file, or of the names and contents of all files below a folder, except hidden ones.

    As a parameter of a rule, it makes the rule run again when contents change, whether the files are newer or older
    than before, but not when they are touched or copied. `memory` is as in `file_contents`.

    Raises:
        UserError: as in `file_contents`.
    """
    contents = file_contents(files_of(source), memory)
    return text_fingerprint(*contents, *contents.values())


def file_contents(paths: Iterable[str], memory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by its path.

    `memory` is a JSON file that keeps the results of the last call, so that only new or touched files are read. A file
    is recognised by its path, size, inode and times, including the time of its last status change, which mv and cp -p
    cannot preserve.

    Raises:
        UserError: a file cannot be read.
    """
    known = remembered_in(memory)
    found = {}
    remembered = {}
    for path in paths:
        with reading(path):
            status = os.stat(path)
            key = f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            found[path] = remembered[key] = known.get(key) or file_fingerprint(path)
    if remembered != known and not memory.is_dir():  # a folder would be deleted
        # Without the memory all is read again; what cannot be written is said before the first job starts.
        with suppress(OSError, Unwritable), whole_file(memory) as part:
            part.write_text(json.dumps(remembered, indent=0))
    return found


def remembered_in(memory: Path) -> dict[str, str]:
    """Return what a memory holds; nothing if it is missing or damaged in any way, because it can be made again."""
    try:
        known = read_json(memory)
    except UserError:
        return {}
    return {key: value for key, value in known.items() if isinstance(value, str)} if isinstance(known, dict) else {}


def own_fingerprint(path: str | Path) -> str:
    """Return the SHA-256 of a small file of the user; raise UserError if it cannot be read."""
    with reading(path):
        return file_fingerprint(path)


def files_of(source: str) -> list[str]:
    """Return `source` if it is a file, else the paths of all files below it, in order; raises as `walk` does."""
    if os.path.isfile(source):
        return [source]
    paths = [os.path.join(folder, name) for folder, _, names in walk(source) for name in names]
    return sorted(path for path in paths if os.path.isfile(path) and not os.path.basename(path).startswith("."))
