"""Only one process at a time makes a file: on one machine, and across the machines of a cluster.

If Snakemake was killed and started again, jobs of its first run may still be making the same files: the second job then
waits for the first. It waits for a lock of the kernel, which ends with its process (and the processes it has forked),
for whatever reason. But not every file system shares locks between machines (with Lustre, BeeGFS and NFS it depends on
the mount), and some grant them nevertheless. So the lock file also names its holder. If that is another SLURM job, the
scheduler is asked whether it still runs. (Two jobs that start at the same moment both pass this check.)

Two cases remain unseen on a file system that does not share locks: a process on another machine that SLURM has not
started, and one of the same job on a node that has lost the controller. Then a warning names the process.
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

ENOTSUPP = 524  # an error of the kernel that some network file systems pass on
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, ENOTSUPP)
GONE = (errno.ENOENT, errno.ESTALE)  # the second if another machine has removed the file
MOST_BYTES = 1000  # that name a holder
POLL_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # to wait for the scheduler's answer


@contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Make every other process that asks for `path` wait until the block, or this process, ends.

    The lock is on `<path>.lock`, which is removed at the end; a file left by a killed process is taken over.
    """
    lock = Path(f"{path}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open_alone(lock) as file:
        try:
            file.truncate(0)
            file.write(json.dumps(myself()))
            file.flush()
            yield
        finally:
            lock.unlink(missing_ok=True)  # a process that waits for this file finds it gone, and makes another


def open_alone(lock: Path) -> IO:
    """Open and lock a file; wait while another process holds it."""
    while True:
        file, locked = open_locked(lock)
        if not wait_for_holder(lock, locked):
            return file
        file.close()  # its holder may have removed it: try again


def open_locked(lock: Path) -> tuple[IO, bool]:
    """Open a file, creating it if needed, and lock it until it is closed; wait while another process holds it.

    Also return whether it is locked: False if the file system has no locks.
    """
    while True:
        file = open(lock, "a", opener=open_itself)  # noqa: SIM115 - it stays open, and is not emptied before it is locked
        try:
            lock_or_wait(file, lock)
            # The previous holder may have removed the file that is now locked.
            if os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                return file, True
        except OSError as error:
            if error.errno in NO_LOCKS:
                warn_once("this file system has no locks: two processes that make the same file may go unnoticed")
                return file, False
            if error.errno not in GONE:
                file.close()
                raise
        file.close()


def open_itself(path: str, flags: int) -> int:
    """Open a file, but not one that has another name, which would be overwritten, nor a pipe, which would block."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if os.fstat(number).st_nlink > 1:
        os.close(number)
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), path)
    return number


def lock_or_wait(file: IO, lock: Path) -> None:
    """Lock an open file; if another process holds it, log that and wait."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logging.info("another process, perhaps one left running, holds %s: waiting for it to end", lock)
        fcntl.flock(file, fcntl.LOCK_EX)


def myself() -> dict[str, str | int | None]:
    """Return how this process identifies itself to others."""
    return {
        "machine": os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        "process": os.getpid(),
        "started": start_of(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def start_of(process: int) -> str | None:
    """Return when a process of this machine started, in ticks since the machine started; None if it does not exist.

    This distinguishes a process from a later one with the same number.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return status.rpartition(")")[2].split()[19]  # field 22 of proc(5); the name before it may contain anything


def wait_for_holder(lock: Path, locked: bool) -> bool:
    """Wait while the process that the lock file names still runs, on another machine or without locks.

    Return whether it was running.
    """
    reported = None
    while (holder := read_holder(lock)) is not None and may_run(holder, lock, locked):
        if reported != holder:
            logging.info("%s holds %s: waiting for it to end", describe(holder), lock)
            reported = holder
        time.sleep(POLL_SECONDS)
    return reported is not None


def read_holder(lock: Path) -> dict | None:
    """Return the holder that the lock file names; None if it names none."""
    try:
        with open(lock, "rb", opener=open_itself) as file:
            holder = json.loads(file.read(MOST_BYTES))
    except (ValueError, RecursionError):
        return None
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None
    return holder if is_holder(holder) else None


def is_holder(holder: object) -> bool:
    """Tell whether what a lock file holds names a process as `myself` does; a damaged file may hold anything."""
    return (
        isinstance(holder, dict)
        and holder.keys() == myself().keys()
        and isinstance(holder["machine"], str)
        and type(holder["process"]) is int
        and isinstance(holder["started"], str | None)
        and (holder["slurm_job"] is None or (isinstance(holder["slurm_job"], str) and holder["slurm_job"].isdecimal()))
    )


def describe(holder: dict) -> str:
    """Return the words that name a lock's holder."""
    job = "" if holder["slurm_job"] is None else f" (SLURM job {holder['slurm_job']})"
    return f"process {holder['process']} on {holder['machine']}{job}"


def may_run(holder: dict, lock: Path, locked: bool) -> bool:
    """Tell whether a lock's holder may be running; log a warning if that cannot be known."""
    me, job = myself(), holder["slurm_job"]
    if holder["machine"] == me["machine"]:
        return (
            not locked and start_of(holder["process"]) is not None and start_of(holder["process"]) == holder["started"]
        )
    if job is not None and job == me["slurm_job"]:
        # SLURM cannot end it on a node that has only lost the controller.
        warn_once(f"SLURM has started this job anew: if {describe(holder)} still runs, it may write the same: end it")
        return False
    runs = job_runs(job) if job is not None else None
    if runs is None:
        warn_once(
            f"{describe(holder)} has begun to write what {lock} guards, and this machine cannot find out whether it"
            " still runs, because it is not a job of a SLURM that can be asked here: if it runs, end it"
        )
    return bool(runs)


@cache
def warn_once(message: str) -> None:
    """Log a warning, but only once."""
    logging.warning(message)


def job_runs(job: str) -> bool | None:
    """Tell whether a SLURM job has processes; None if there is no SLURM.

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
        warn_once(f"squeue says: {asked.stderr.strip()}; until it says otherwise, job {job} counts as running")
        return True
    return asked.stdout.strip() not in ("", "PENDING")
