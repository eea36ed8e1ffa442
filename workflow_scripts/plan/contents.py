"""Fingerprints of the contents of files of the user's own, which as parameters of rules tell what is stale."""

import json
import os
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

from workflow_scripts.plan.concept_sets import own_tables
from workflow_scripts.plan.designs import Design
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.networks import Network
from workflow_scripts.shared.files import file_fingerprint, reading, text_fingerprint, whole_file
from workflow_scripts.shared.regular_files import walk


class Contents:
    """Fingerprints of the files of the user's own that an experiment reads.

    Args:
        experiment: as `Experiment`.
        folder: where it is remembered what was read.

    Raises, all of them:
        UserError: as `file_contents`.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self.experiment, self.folder = experiment, folder

    def remembered(self, source: str, name: str) -> str:
        """Return the fingerprint of a file or folder, read again only where files are new."""
        return content_fingerprint(source, self.folder / f"own_{name}.json")

    def source(self, kind: str, split: str | None = None) -> str:
        """Return that of the folder that is packed; "" if a rule makes it."""
        if self.experiment.is_made(kind):
            return ""
        folder = Path(self.experiment.packed_folder(kind, split))
        # CIFAR-10's binary files are named by a pattern, and the names of their classes stand beside them.
        return self.remembered(str(folder.parent if folder.suffix == ".bin" else folder), split or kind)

    def concepts(self) -> list[str]:
        """Return those of the folders of labelled pictures, and of tables of the user's own that go with them."""
        own = own_tables(self.experiment.config["concepts"])
        return [*(self.source(kind) for kind in self.experiment.concept_kinds), *self.small_files(*own)]

    def archive(self, kind: str) -> str:
        """Return that of an archive; "" if it is fetched, for then it stands in the receipt."""
        settings = self.experiment.settings(kind)
        return "" if settings["addresses"] else self.remembered(settings["source"], f"{kind}_archive")

    def small_files(self, *files: str | Path) -> list[str]:
        """Return those of small files; what is not there is left to the job to tell."""
        return [own_fingerprint(file) for file in files if Path(file).is_file()]

    def network(self, network: Network) -> list[str]:
        """Return those of the files that a network is made from."""
        return [self.networks[file] for file in network.own_files]

    @cached_property
    def networks(self) -> dict[str, str]:
        """The fingerprints of all networks' files, by path."""
        files = {file: None for network in self.experiment.networks.values() for file in network.own_files}
        return file_contents(files, self.folder / "own_networks.json")

    def test_pictures(self, design: Design) -> str:
        """Return that of the pictures that networks of a design are tested with."""
        if design.test == "none":
            return ""
        return self.remembered(design.test, f"test_{text_fingerprint(design.test)[:12]}")


@cache
def content_fingerprint(source: str, memory: Path) -> str:
    """Return a fingerprint of a file, or of the names and contents of all files below a folder, hidden ones left out.

    Passed to a rule as a parameter, it makes the rule run again when contents change, be the files newer or older than
    those before, and not when they are touched or copied. `memory` is as for `file_contents`.

    Raises:
        UserError: as `file_contents`.
    """
    contents = file_contents(files_of(source), memory)
    return text_fingerprint(*contents, *contents.values())


def file_contents(paths: Iterable[str], memory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by its path.

    `memory` is a JSON file that remembers those of the last call, so that only files are read that are new or touched.
    A file is known by its path, size, inode and times, of which mv and cp -p cannot keep that of its last change.

    Raises:
        UserError: a file cannot be read.
    """
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    found = {}
    remembered = {}
    for path in paths:
        with reading(path):
            status = os.stat(path)
            key = f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            found[path] = remembered[key] = known.get(key) or file_fingerprint(path)
    if remembered != known:
        with whole_file(memory) as part:
            part.write_text(json.dumps(remembered, indent=0))
    return found


def own_fingerprint(path: str | Path) -> str:
    """Return the SHA-256 of a small file of the user's own; UserError if it cannot be read."""
    with reading(path):
        return file_fingerprint(path)


def files_of(source: str) -> list[str]:
    """Return `source` if it is a file, else the paths of all files below it, in order; UserError as `walk`."""
    if os.path.isfile(source):
        return [source]
    paths = [os.path.join(folder, name) for folder, _, names in walk(source) for name in names]
    return sorted(path for path in paths if os.path.isfile(path) and not os.path.basename(path).startswith("."))
