"""Runs a command on hostile or broken input, as a user would, and says what came of it.

Each command runs in a process of its own, forked from a server that has imported the slow libraries. It has a bound on
its time, and its memory is measured.
"""

import importlib
import multiprocessing
import os
import re
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.shared.files import run_command

SNAKEMAKE = "snakemake.cli"
PRELOADED = [
    *("workflow_scripts.networks.torchvision_models", "numba", "h5py", "pandas", "PIL.Image", SNAKEMAKE),
    *("workflow_scripts.plan.experiment", "workflow_scripts.tables.compare_networks"),
    *("workflow_scripts.train.train_level", "workflow_scripts.dissect.tally_units"),
]
MOST_SECONDS = 20
MOST_BYTES = 10**9  # of memory, of which torch takes 0.3 GB
MOST_ADDRESSES = 2**35  # of address space: protects the machine, not the test
MOST_CHARACTERS = 1000  # of a sentence
OUTPUT, PEAK, EXECUTED = "output.txt", "peak.txt", "EXECUTED"
UNFINISHED = (".part", ".lock", ".scratch")
CONTROL = re.compile(r"[^\n\t -~\u00a0-\U0010ffff]")


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    `status` is its exit status, negative for a signal, None if it had to be ended; `peak` is its memory in bytes.
    """

    status: int | None
    output: str
    peak: int

    @property
    def sentence(self) -> str:
        """The sentence that the command ends with; "" if there is none."""
        return next((line for line in reversed(self.output.splitlines()) if line.startswith("error: ")), "")


def run_hostile(
    folder: Path,
    command: str,
    *arguments: object,
    seconds: float = MOST_SECONDS,
    largest_file: int = resource.RLIM_INFINITY,
    **environment: str,
) -> Outcome:
    """Run a command in `folder`; `command` is `package.module` with a `main`, as after `python -m`.

    `environment` is added to that of the server, which is not that of the test. The system refuses to write files of
    more than `largest_file` bytes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    words = [str(each) for each in arguments]
    process = context.Process(target=be_command, args=(folder, command, words, largest_file, environment))
    process.start()
    process.join(seconds)
    hangs = process.is_alive()
    if hangs and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    output = (folder / OUTPUT).read_text(errors="backslashreplace")
    peak = int((folder / PEAK).read_text()) if (folder / PEAK).exists() else 0
    return Outcome(None if hangs else process.exitcode, output, peak)


def be_command(
    folder: Path, command: str, arguments: list[str], largest_file: int, environment: Mapping[str, str]
) -> None:
    """Run a command's `main` as `python -m` does, in a forked process; its output goes to a file in `folder`."""
    os.setsid()
    os.environ.update(environment)
    os.chdir(folder)
    file = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = [command, *arguments]
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    main = importlib.import_module(command).main
    try:
        if command == SNAKEMAKE:
            main()
        else:
            run_command(main)
    finally:
        Path(PEAK).write_text(str(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def require_refusal(folder: Path, outcome: Outcome, says: str) -> None:
    """Check that a command has refused its input as it should.

    It ends with status 1 and one sentence that matches the regular expression `says`, in time, within bounds of memory;
    it has executed nothing, shows no control characters, and leaves nothing unfinished.
    """
    assert outcome.status == 1, f"{outcome.status}: {outcome.output[-3000:]}"
    assert "Traceback" not in outcome.output, outcome.output[-3000:]
    assert re.search(says, outcome.sentence), outcome.output[-3000:]
    require_harmless(folder, outcome)


def require_harmless(folder: Path, outcome: Outcome) -> None:
    """Check that a command has ended in time, within bounds, without executing its input or leaving half of a file."""
    assert outcome.status is not None and outcome.status >= 0, f"{outcome.status}: {outcome.output[-3000:]}"
    assert "Traceback" not in outcome.output, outcome.output[-3000:]
    assert outcome.peak <= MOST_BYTES, outcome.peak
    assert len(outcome.sentence) <= MOST_CHARACTERS, outcome.sentence
    assert not CONTROL.search(outcome.output), repr(outcome.output[-3000:])
    assert not (folder / EXECUTED).exists()
    assert not [path for path in folder.rglob("*") if path.name.endswith(UNFINISHED)]
