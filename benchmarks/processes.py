"""What a process takes: seconds, seconds of the processor, and its peak memory."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Taken(NamedTuple):
    """What a process took: times in seconds, memory in MB (10^6 bytes); and what it wrote on the terminal."""

    seconds: float
    cpu_seconds: float
    megabytes: float
    output: str


def take(command: list, folder: Path | None = None) -> Taken:
    """Run a command in a folder and return what it took; exit with what it wrote if it fails.

    Seconds of the processor say more than seconds where other processes compute, too. The peak memory of a process is
    at least what its parent held when it started it, so the caller should be small.
    """
    words = list(map(str, command))
    started = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(words[:3])} ended with {code}: {output[-2000:]}")
    seconds = time.perf_counter() - started
    return Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, output)
