"""Training in several processes, one for each GPU, started by torchrun."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.gpus import has_gpu, lease_gpu, lease_gpus, use_gpus
from workflow_scripts.shared.memory import keep_freed_memory

# The first process may wait for GPUs or for another training, and the others for it; torchrun ends all if one fails.
PATIENCE = timedelta(days=30)
PR_SET_PDEATHSIG = 1  # of Linux


@dataclass(frozen=True)
class Group:
    """The processes that train one network together: this one's rank, how many there are, and this one's device."""

    rank: int
    size: int
    device: torch.device

    def total(self, number: Tensor) -> Tensor:
        """Return the sum of a number over all processes, on the CPU."""
        number = number.detach().cpu().clone()
        if self.size > 1:
            dist.all_reduce(number)
        return number

    def any(self, flag: bool) -> bool:
        """Tell whether a flag is set in any process: the same answer in all."""
        return flag if self.size == 1 else bool(self.total(torch.tensor(int(flag))))

    def share(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors with those of the first process, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


def alone(device: torch.device) -> Group:
    """Return the group of this process alone."""
    return Group(0, 1, device)


@contextmanager
def joined_group(gpus: int | None) -> Iterator[Group]:
    """Join this process's group, as `join_group`, and leave it when all have come to the end of the block.

    Of several processes each ends there, with status 0, for the block is the last that a script does.

    Raises:
        UserError: another process of the group has ended before.
    """
    group = join_group(gpus)
    try:
        yield group
        group.any(False)  # the others wait for the first, which writes the outputs
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "by peer" in str(error):  # gloo's closed or reset connections
            raise UserError(
                "another process of this training has ended: correct what its own message says, and run again"
            ) from None
        raise
    if group.size > 1:
        dist.destroy_process_group()
        logging.shutdown()
        # DistributedDataParallel leaves threads behind, which can abort a process while Python ends it.
        os._exit(0)


def join_group(gpus: int | None) -> Group:
    """Return this process's group: that of torchrun, which is started for more than one GPU, or this process alone.

    Each process has a GPU of its own, or the CPU with `gpus` 0; None is a GPU if there is one. Convolutions on a GPU
    are made repeatable, and memory that is freed is kept.
    """
    torch.backends.cudnn.deterministic = True
    use_gpus(gpus)
    keep_freed_memory()
    if "RANK" not in os.environ:
        if gpus and gpus > 1:
            restart_with_torchrun(gpus)
        return alone(torch.device(lease_gpu() or "cpu"))
    end_with_parent()
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpu() else "gloo", timeout=PATIENCE)
    rank, size = dist.get_rank(), dist.get_world_size()
    if rank > 0:
        logging.getLogger().setLevel(logging.WARNING)  # the first process speaks for all
    if not has_gpu():
        return Group(rank, size, torch.device("cpu"))
    # The first process leases for all: they end together, for torchrun ends the others when one does.
    cards = torch.tensor(lease_gpus(size) if rank == 0 else [0] * size)
    dist.broadcast(cards, 0)
    torch.cuda.set_device(int(cards[rank]))
    return Group(rank, size, torch.device("cuda"))


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when torchrun ends, even by SIGKILL: it would go on alone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def restart_with_torchrun(count: int) -> NoReturn:
    """Run this very command in `count` processes and exit, with status 1 if any of them failed."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    spec = sys.modules["__main__"].__spec__
    assert spec, "rules run this by python -m"
    try:
        torchrun(["--standalone", f"--nproc-per-node={count}", "--module", spec.name, *sys.argv[1:]])
    except (ChildFailedError, SignalException):
        sys.exit(1)  # the processes have said why
    sys.exit(0)
