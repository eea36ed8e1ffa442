"""One process at a time makes a file: on one machine, and across the machines of a cluster.

Snakemake that was killed and started again makes what jobs of its first life may still be making: here the second waits
for the first. What holds it back is a lock of the kernel's, which ends with its process (and those it has forked),
however that ends. But not every file system carries locks from machine to machine (with Lustre, BeeGFS and NFS it
depends on the mount), and some grant them all the same. So the lock's file says who has it; where that is another of
SLURM's jobs, the scheduler is asked, too, whether it runs. (There, two that come in the same moment both pass.)

What no lock can see: a process on another machine, where the file system does not carry locks and SLURM has not started
it. Then a warning names the process.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

ENOTSUPP = 524  # the kernel's own, which some network file systems let through
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, ENOTSUPP)
GONE = (errno.ENOENT, errno.ESTALE)  # the second where another machine has removed the file
POLL_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # for an answer of the scheduler's


@contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Keep every other process that asks for `path` waiting until the block ends, or this process.

    The lock is on `<path>.lock`, which is removed in the end; one that a kill has left is taken over.
    """
    lock = Path(f"{path}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open_alone(lock):
        try:
            lock.write_text(json.dumps(myself()))
            yield
        finally:
            lock.unlink(missing_ok=True)  # whoever waits for this file finds that it is gone, and makes another


def open_alone(lock: Path) -> IO:
    """Open a file that no other process has; waits while one has it."""
    while True:
        file, locked = open_locked(lock)
        if not wait_for_holder(lock, locked):
            return file
        file.close()  # who had it may have removed it: once more


def open_locked(lock: Path) -> tuple[IO, bool]:
    """Open a file, made if it is not there, and lock it until it is closed; waits while another process has it.

    Also returns whether it is locked: False where the file system has no locks.
    """
    while True:
        file = open(lock, "a", opener=open_itself)  # noqa: SIM115 - it stays open, and is not emptied before it is locked
        try:
            lock_or_wait(file, lock)
            # The process that had it may have removed the file that is now locked.
            if os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                return file, True
        except OSError as error:
            if error.errno in NO_LOCKS:
                warn_once("this file system has no locks: that two processes make the same file shows less surely")
                return file, False
            if error.errno not in GONE:
                file.close()
                raise
        file.close()


def open_itself(path: str, flags: int) -> int:
    """Open a file, but neither what a link leads to, which would be overwritten, nor a pipe, which would hang."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def lock_or_wait(file: IO, lock: Path) -> None:
    """Lock an open file; while another process has it, say so and wait."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logging.info("another process, perhaps one left running, has %s: waiting for it to end", lock)
        fcntl.flock(file, fcntl.LOCK_EX)


def myself() -> dict[str, str | int | None]:
    """Who this process is, to others."""
    return {
        "machine": os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        "process": os.getpid(),
        "started": start_of(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def start_of(process: int) -> str | None:
    """Return when a process of this machine started, in ticks since the machine did; None if there is none.

    It tells a process from a later one of the same number.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return status.rpartition(")")[2].split()[19]  # field 22 of proc(5); the name before may hold anything


def wait_for_holder(lock: Path, locked: bool) -> bool:
    """Wait while the process that the lock's file names runs all the same, on another machine or without locks.

    Returns whether it did run.
    """
    reported = None
    while (holder := read_holder(lock)) is not None and may_run(holder, lock, locked):
        if reported != holder:
            where = f"process {holder['process']} on {holder['machine']} (SLURM job {holder['slurm_job']})"
            logging.info("%s has %s: waiting for it to end", where, lock)
            reported = holder
        time.sleep(POLL_SECONDS)
    return reported is not None


def read_holder(lock: Path) -> dict | None:
    """Return who the lock's file says has it; None if it does not say."""
    try:
        holder = json.loads(lock.read_text())
    except ValueError:
        return None
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None
    return holder if isinstance(holder, dict) and holder.keys() == myself().keys() else None


def may_run(holder: dict, lock: Path, locked: bool) -> bool:
    """Tell whether a lock's holder may be running, as far as can be known; if it cannot, say so."""
    me, job = myself(), holder["slurm_job"]
    if holder["machine"] == me["machine"]:
        return (
            not locked and start_of(holder["process"]) is not None and start_of(holder["process"]) == holder["started"]
        )
    if job is not None and job == me["slurm_job"]:
        return False  # SLURM ends a job before it starts it again elsewhere
    runs = job_runs(job) if job is not None else None
    if runs is None:
        warn_once(
            f"process {holder['process']} on {holder['machine']} has begun what {lock} guards, and whether it still"
            " runs cannot be known here, for it is no job of a SLURM that this machine can ask: if it runs, end it"
        )
    return bool(runs)


@cache
def warn_once(message: str) -> None:
    """Log a warning that has not been logged before."""
    logging.warning(message)


def job_runs(job: str) -> bool | None:
    """Tell whether one of SLURM's jobs has processes; None where there is no SLURM.

    While the controller does not answer, the job counts as running.
    """
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--format=%T", f"--jobs={job}"],
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        return True
    if "Invalid job id" in asked.stderr:
        return False  # it ended long ago
    if asked.returncode != 0:
        warn_once(f"squeue says: {asked.stderr.strip()}; until it tells otherwise, job {job} counts as running")
        return True
    return asked.stdout.strip() not in ("", "PENDING")
