"""GPUs: each process leases its own, and two jobs never share one.

A lease is a lock in this machine's folder for temporary files. It cannot see users of a card who hold no such lock:
other programs, and jobs whose container or scheduler gives them their own temporary folder. There the scheduler must
give each job its own cards.
"""

import fcntl
import logging
import os
import tempfile
import time
from functools import cache
from pathlib import Path

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.locks import NO_LOCKS, warn_once

LEASES = Path(tempfile.gettempdir()) / "pruned_networks_gpus"
POLL_SECONDS = 1.0
_held: list[int] = []  # open files whose locks are this process's leases


def has_gpu() -> bool:
    """Tell, without asking the driver, whether there is an NVIDIA GPU that CUDA_VISIBLE_DEVICES does not hide."""
    return Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")


def use_gpus(wanted: int | None) -> None:
    """Hide all GPUs from this process if 0 are wanted; None changes nothing.

    Raises:
        UserError: GPUs are wanted, but there is none.
    """
    if wanted == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif wanted and not has_gpu():
        raise UserError(f"gpus is {wanted}, but no GPU is visible: set gpus to 0, or run on a machine with GPUs")


@cache
def lease_gpu() -> str | None:
    """Lease one GPU for this process and return "cuda", torch's name for it; None if there is no GPU."""
    if not has_gpu():
        return None  # importing torch takes longer than many dissections
    import torch

    torch.cuda.set_device(lease_gpus(1)[0])
    return "cuda"


def lease_gpus(count: int) -> list[int]:
    """Lease `count` of the GPUs that this process sees, and return their positions among them, for torch.

    A card is identified by its UUID, so that no numbering, by CUDA_VISIBLE_DEVICES or a scheduler, leads two jobs to
    one.

    Raises:
        UserError: there are too few, or torch cannot use them.
    """
    import torch

    cards = [str(torch.cuda.get_device_properties(card).uuid) for card in range(torch.cuda.device_count())]
    if len(cards) < count:
        raise UserError(f"torch sees {len(cards)} GPUs, but {count} are wanted: lower gpus, or install torch for CUDA")
    return lease(cards, count, LEASES)


def lease(cards: list[str], count: int, folder: Path) -> list[int]:
    """Lock `count` of `cards`, waiting while others hold too many, and return their positions.

    The kernel holds a lock on a file per card in `folder`, and releases it when the process ends, for whatever reason.
    All are taken at once or none, so that no two jobs ever wait for each other.
    """
    reported = False
    while True:
        choosing = lock(folder / "choosing", wait=True)
        locks = {position: lock(folder / card, wait=False) for position, card in enumerate(cards)}
        assert choosing is not None, "it has waited for the lock"
        os.close(choosing)
        free = {position: file for position, file in locks.items() if file is not None}
        taken = list(free)[:count] if len(free) >= count else []
        for position, file in free.items():
            if position in taken:
                _held.append(file)
            else:
                os.close(file)
        if taken:
            logging.info("GPU %s", ", ".join(f"{position} ({cards[position]})" for position in taken))
            return taken
        if not reported:
            logging.info("%d of %d GPUs are free, but %d are wanted: waiting", len(free), len(cards), count)
            reported = True
        time.sleep(POLL_SECONDS)


def lock(path: Path, wait: bool) -> int | None:
    """Lock a file, creating it if needed, and return its descriptor; None if another holds it and `wait` is false."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o1777)  # for all users of the machine, like the folder for temporary files
    if not path.exists():  # only then try to create it: kernels forbid that where another user's file exists
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o644))
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError):
            os.close(file)
            return None
        if error.errno not in NO_LOCKS:
            raise
        warn_once(
            f"the file system of {path.parent} has no locks, so two jobs may use one GPU: set TMPDIR, for all jobs, to"
            " a folder on another file system"
        )
    return file
