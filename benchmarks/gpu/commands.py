"""Commands that sections start: the workflow's scripts, and the whole workflow."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gpu.bench import Bench
from workflow_scripts.plan.code import ROOT

SOURCES = ("Snakefile", "config.yaml", "configs", "envs", "profiles", "report", "rules", "schemas", "workflow_scripts")
LOG_LINES = 20


def start(words: list, log: Path, folder: Path = ROOT) -> subprocess.Popen:
    """Start `python -m` with `words` in a folder; its output goes to `log`."""
    # The workflow's rules call `python`, which should be this one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with open(log, "w") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, words)],
            cwd=folder,
            env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def running(words: list, log: Path) -> Iterator[subprocess.Popen]:
    """Start a command as `start` does, and kill it at the end of the block if it is still running."""
    process = start(words, log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def complete(words: list, log: Path) -> str:
    """Run a command as `start` does, and return its output; RuntimeError if it fails."""
    if status := start(words, log).wait():
        raise RuntimeError(f"{words[0]} ended with status {status}: {end_of(log)}")
    return log.read_text()


def wait_for(text: str, process: subprocess.Popen, log: Path, bench: Bench) -> None:
    """Wait until a process prints `text`; RuntimeError if the process, or the section's time, ends first."""
    while text not in log.read_text():
        if process.poll() is not None and text not in log.read_text():
            raise RuntimeError(f"ended without printing {text!r}: {end_of(log)}")
        if bench.seconds_left() < 0:
            raise RuntimeError(f"did not print {text!r} in time: {end_of(log)}")
        time.sleep(0.02)


def end_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def time_workflow(bench: Bench, name: str, arguments: list[str]) -> Path | None:
    """Time the whole workflow in a copy of the sources, and return the copy.

    Returns None, and records why, if snakemake is not installed or the section's time is too short.
    """
    if bench.small:
        bench.skip(name, "small")
        return None
    if importlib.util.find_spec("snakemake") is None:
        bench.skip(name, "snakemake is not installed")
        return None
    copy = Path(tempfile.mkdtemp(dir=bench.folder)) / "copy"
    copy_sources(copy)
    log = bench.folder / "snakemake.log"
    started, left = time.monotonic(), max(0, bench.seconds_left())
    process = start(["snakemake", *arguments], log, copy)
    try:
        status = process.wait(left)
    except subprocess.TimeoutExpired:
        # Its jobs end with the section, which should end now.
        process.kill()
        bench.skip(name, f"not finished after {left:.0f} s")
        return None
    if status:
        raise RuntimeError(f"snakemake ended with status {status}: {end_of(log)}")
    bench.row(name, time.monotonic() - started, "s", f"snakemake {' '.join(arguments)}")
    return copy


def copy_sources(folder: Path) -> None:
    """Copy the workflow's source files."""
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
