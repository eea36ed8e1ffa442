"""What must hold after a disturbed run: same bytes, nothing computed twice, nothing half-written, no traceback."""

import base64
import hashlib
import json
import re
import zipfile
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - so that HDF5 finds its filters
import pandas as pd
from hostile_runner import UNFINISHED

from workflow_scripts.run.failures import CORRECT, GO_ON

RESULTS = "results/tiny"
# What holds times of day, or how long things took.
DATED = ("logs", "benchmarks", "costs.csv", "provenance.json", "report.html", "checksums.sha256")
LAST_LINES = 5
SNAKEMAKES_OWN = "--unlock|Write-protected output files"  # what it says, with lists of files, before a run begins
Marks = dict[Path, tuple[int, int]]


class Lost(Exception):
    """Something that should not have happened."""


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each result file without dates, by its path within the folder of the run.

    The saved state of a training that has ended is left out: a kill at its very end leaves it behind.
    """
    found = {}
    for path in (folder / RESULTS).rglob("*"):
        relative = path.relative_to(folder)
        is_state = path.parent.suffix == ".training" and path.name in ("state", "previous")
        if path.is_file() and relative.parts[2] not in DATED and not is_state:
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def require_same(expected: dict[str, str], folder: Path) -> None:
    """Check that a run has made the files of another, byte for byte, and has left nothing unfinished."""
    made = checksums(folder)
    wrong = sorted(name for name in expected.keys() | made.keys() if expected.get(name) != made.get(name))
    if wrong:
        raise Lost(f"{folder}: {len(wrong)} files differ from the undisturbed run's, such as {wrong[:5]}")
    left = [str(path) for path in (folder / RESULTS).rglob("*") if path.name.endswith(UNFINISHED)]
    if left:
        raise Lost(f"{folder}: {left[:5]} are left")


def finished_files(folder: Path) -> Marks:
    """Return the outputs that Snakemake knows as finished, each with its inode and time."""
    begun = {path.name for path in (folder / ".snakemake/incomplete").glob("*")}
    found = {}
    for record in (folder / ".snakemake/metadata").glob("*"):
        path = folder / base64.b64decode(record.name).decode()
        if record.name not in begun and path.is_file() and path.relative_to(folder).parts[2] not in DATED:
            found[path] = mark(path)
    return found


def mark(path: Path) -> tuple[int, int]:
    """Return what changes when a file is made again."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def require_kept(finished: Marks) -> None:
    """Check that no finished file was made again."""
    again = [path for path, before in finished.items() if not path.exists() or mark(path) != before]
    if again:
        raise Lost(f"{len(again)} finished files were made again, such as {again[0]}")


def saved_trainings(folder: Path) -> dict[Path, float]:
    """Return the logs of trainings that have saved a state and not ended, each with its time."""
    found = {}
    for state in (folder / RESULTS).glob("*/*/*/network.pt.training/state"):
        network = state.parents[1].relative_to(folder / RESULTS)
        for log in (folder / RESULTS / "logs" / network).glob("train_*.log"):
            found[log] = log.stat().st_mtime
    return found


def require_continued(saved: dict[Path, float]) -> None:
    """Check that saved trainings whose steps have run again went on."""
    for log, before in saved.items():
        text = log.read_text()
        if (
            log.stat().st_mtime > before
            and "epoch " in text
            and not re.search(r"continuing after|already trained", text)
        ):
            raise Lost(f"a saved training has begun anew: {log}:\n{text}")


def require_sentence(folder: Path, status: int, said: str) -> None:
    """Check that a disturbed run shows no traceback, nor do its steps' logs; and that it says how to go on.

    The second is not asked of a run that a signal has ended.
    """
    for log in (folder / RESULTS / "logs").rglob("*.log"):
        require_no_traceback(log.read_text(errors="replace"))
    if "Using workflow" in said:  # before, Python loads Snakemake
        require_no_traceback(said)
    end = "\n".join(said.splitlines()[-LAST_LINES:])  # logs of steps come before
    is_said = re.search(f"{re.escape(CORRECT)}|{re.escape(GO_ON)}|^error: ", end, re.MULTILINE)
    if status > 0 and not (is_said or re.search(SNAKEMAKES_OWN, said)):
        raise Lost(f"the end says nothing:\n{said[-5000:]}")


def require_no_traceback(said: str) -> None:
    """Check that a text has no traceback."""
    if "Traceback" in said or "Logging error" in said:
        raise Lost(f"a traceback:\n{said[-5000:]}")


def require_words(words: str, said: str) -> None:
    """Check that a run says words that match a regular expression."""
    if not re.search(words, said):
        raise Lost(f"nothing says {words!r}:\n{said[-5000:]}")


def read_whole(path: Path) -> bool:
    """Read a result file whose format shows whether it is whole; return whether it has such a format, and was there.

    What is in a partial folder does not count.

    Raises:
        Lost: it is not whole.
    """
    if any(part.endswith(UNFINISHED) for part in path.parts):
        return False
    try:
        if path.suffix == ".h5":
            with h5py.File(path, locking=False) as file:
                file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            pd.read_csv(path)
            if not path.read_bytes().endswith(b"\n"):
                raise ValueError("its last line has no end")
        elif path.suffix == ".pt":
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} in it is damaged")
        else:
            return False
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if not path.exists() or isinstance(error, FileNotFoundError):
            return False  # it was removed meanwhile
        raise Lost(f"{path} was half-written: {error}") from error
    return True
