"""GPUs: each process leases its own, and two jobs never share one.

A lease is a name in the kernel's abstract namespace of Unix sockets, which one process of the machine can have at a
time. It needs no file: whatever their users, permissions and temporary folders, all jobs of a machine see it, and it
ends with its process, for whatever reason. It cannot see users of a card who hold no such lease: other programs, and
jobs in a container with a network of its own. There the scheduler must give each job its own cards.
"""

import errno
import logging
import os
import socket
import time
from functools import cache
from pathlib import Path

from workflow_scripts.shared.files import UserError

NAME = "\0dissecting_pruned_networks/gpu/"  # the first character makes it abstract
CHOOSING = "choosing"  # who has this name may choose cards
POLL_SECONDS = 1.0
CHOICE_SECONDS, LONG = 0.01, 100  # between two tries, and after how many a wait is logged
_held: list[socket.socket] = []  # this process's leases


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
    return lease(cards, count)


def lease(cards: list[str], count: int) -> list[int]:
    """Lease `count` of `cards`, waiting while others hold too many, and return their positions.

    All are taken at once or none, so that no two jobs ever wait for each other.
    """
    reported = False
    while True:
        with choose():
            free = {position: held for position, card in enumerate(cards) if (held := take(card)) is not None}
            taken = list(free)[:count] if len(free) >= count else []
            for position, held in free.items():
                if position in taken:
                    _held.append(held)
                else:
                    held.close()
        if taken:
            logging.info("GPU %s", ", ".join(f"{position} ({cards[position]})" for position in taken))
            return taken
        if not reported:
            logging.info("%d of %d GPUs are free, but %d are wanted: waiting", len(free), len(cards), count)
            reported = True
        time.sleep(POLL_SECONDS)


def choose() -> socket.socket:
    """Take the right to choose cards until the returned socket is closed; log it once if another process keeps it."""
    tries = 0
    while (choosing := take(CHOOSING)) is None:
        tries += 1
        if tries == LONG:
            logging.info("another process keeps choosing among the GPUs: waiting; if it is suspended, end it")
        time.sleep(CHOICE_SECONDS)
    return choosing


def take(name: str) -> socket.socket | None:
    """Take a name until the returned socket is closed; None if another process has it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(NAME + name)
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return holder
