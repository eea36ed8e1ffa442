"""On a disk that becomes full, commands end in one sentence, and leave nothing half-written.

A limit on the size of files stands for the disk: the system refuses to write beyond it, wherever that happens. It also
holds for what a command says, so these are commands that write more than a sentence.
"""

import resource
import shutil
from pathlib import Path

import pytest
import test_hostile_data as data
import test_hostile_hdf5 as hdf5
import test_hostile_networks as networks
import test_hostile_tables as tables
from hostile_runner import OUTPUT, PEAK, Outcome, require_harmless, require_refusal, run_hostile
from test_hdf5_files import dissected  # noqa: F401
from test_hostile_hdf5 import right as dissection  # noqa: F401
from test_hostile_networks import right as training  # noqa: F401
from test_hostile_tables import whole as results  # noqa: F401

NO_ROOM = r"File too large.*make room"
LEAST = 800  # bytes that what a command says may take
DATA = {
    "pack_images": data.pack("", data.class_folders(), None, size=64),
    "index_images": next(case for case in data.INDEXED if case.says is None),
    "pack_concepts": data.broden("", "index.csv", ("val", "val"), None),
    "unpack_archive": data.archive("", "x.zip", data.zip_of(("a", bytes(10**4))), None),
}
DUMP = hdf5.COMMANDS["dump_activations"]
# The fixture of the folder, the command, and its arguments.
COMMANDS: dict[str, tuple[str, str, list]] = {
    **{name: (name, case.command, case.arguments) for name, case in DATA.items()},
    **{
        name: ("dissection", f"dissect.{name}", hdf5.COMMANDS[name])
        for name in ("find_thresholds", "tally_units", "name_units", "validate_units", "dump_activations")
    },
    "dump_activations, candidates": ("dissection", "dissect.dump_activations", [*DUMP, "--candidates", 0.1]),
    "import_network": ("training", "networks.import_network", networks.imports()),
    "init_network": ("training", "train.init_network", networks.INITIAL),
    "make_control": ("training", "train.make_control", networks.CONTROL),
    "prune_once": ("training", "train.prune_once", networks.ONCE),
    "train_dense": ("training", "train.train_dense", networks.DENSE),
    "train_level": ("training", "train.train_level", networks.REWOUND),
    **{
        name: ("results", tables.COMMANDS[name][0].removeprefix("workflow_scripts."), tables.COMMANDS[name][1:])
        for name in ("collect", "compare", "figures", "report", "checksums")
    },
}


def files(folder: Path) -> dict[tuple[str, int], bytes]:
    """Return the contents of the files in a folder, by path and inode."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in (OUTPUT, PEAK)]
    return {(str(path.relative_to(folder)), path.stat().st_ino): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_ends_in_a_sentence(name, tmp_path, request, monkeypatch):
    source, command, arguments = COMMANDS[name]

    def run(folder: Path, largest_file: int = resource.RLIM_INFINITY) -> tuple[Outcome, dict[str, bytes]]:
        """Run the command in a new folder; return what came of it, and the files that it has made."""
        if source in DATA:
            folder.mkdir()
            monkeypatch.chdir(folder)
            DATA[source].write()
        else:
            shutil.copytree(request.getfixturevalue(source), folder)
        before = files(folder)
        outcome = run_hostile(folder, f"workflow_scripts.{command}", *arguments, seconds=100, largest_file=largest_file)
        return outcome, {key[0]: contents for key, contents in files(folder).items() if key not in before}

    outcome, made = run(tmp_path / "whole")
    require_harmless(tmp_path / "whole", outcome)
    assert outcome.status == 0, outcome.output
    largest = max(map(len, made.values()))
    for limit in {max(largest // 2, LEAST), largest - 1}:
        outcome, left = run(tmp_path / str(limit), limit)
        require_refusal(tmp_path / str(limit), outcome, NO_ROOM)
        assert left.items() <= made.items()
