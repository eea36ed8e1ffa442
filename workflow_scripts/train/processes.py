"""Training in several processes, one for each GPU, started by torchrun."""

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
from workflow_scripts.shared.parent import end_with_parent

# The first process may wait for GPUs or for another training, and the others wait for it; torchrun ends all if one
# fails.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Group:
    """The processes that train one network together: this process's rank, their number, and this process's device."""

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
        """Tell whether a flag is set in any process; all processes get the same answer."""
        return flag if self.size == 1 else bool(self.total(torch.tensor(int(flag))))

    def share(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors, in place, with those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


def alone(device: torch.device) -> Group:
    """Return a group of only this process."""
    return Group(0, 1, device)


@contextmanager
def joined_group(gpus: int | None) -> Iterator[Group]:
    """Join this process's group with `join_group`, and leave it when all processes have reached the end of the block.

    If there are several processes, each exits there with status 0, so the block must be the last thing a script does.

    Raises:
        UserError: another process of the group has ended early.
    """
    group = join_group(gpus)
    try:
        yield group
        group.any(False)  # the others wait for the first, which writes the outputs
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "by peer" in str(error):  # gloo: closed or reset connections
            raise UserError(
                "another process of this training has ended: correct what its message says, and run again"
            ) from None
        raise
    if group.size > 1:
        dist.destroy_process_group()
        logging.shutdown()
        # DistributedDataParallel leaves threads behind, which can abort the process during Python's exit.
        os._exit(0)


def join_group(gpus: int | None) -> Group:
    """Return this process's group: torchrun's, which is started for more than one GPU, or only this process.

    Each process has its own GPU, or the CPU if `gpus` is 0; None means one GPU if there is one. Convolutions on a GPU
    are made repeatable, and freed memory is kept.
    """
    torch.backends.cudnn.deterministic = True
    use_gpus(gpus)
    keep_freed_memory()
    if "RANK" not in os.environ:
        if gpus and gpus > 1:
            restart_with_torchrun(gpus)
        return alone(torch.device(lease_gpu() or "cpu"))
    end_with_parent(signal.SIGTERM)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpu() else "gloo", timeout=PATIENCE)
    rank, size = dist.get_rank(), dist.get_world_size()
    if rank > 0:
        logging.getLogger().setLevel(logging.WARNING)  # the first process logs for all
    if not has_gpu():
        return Group(rank, size, torch.device("cpu"))
    # The first process leases GPUs for all: they end together, because torchrun ends the others when one ends.
    cards = torch.tensor(lease_gpus(size) if rank == 0 else [0] * size)
    dist.broadcast(cards, 0)
    torch.cuda.set_device(int(cards[rank]))
    return Group(rank, size, torch.device("cuda"))


def restart_with_torchrun(count: int) -> NoReturn:
    """Run this same command in `count` processes and exit, with status 1 if any of them failed."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    spec = sys.modules["__main__"].__spec__
    assert spec, "rules run this by python -m"
    try:
        torchrun(["--standalone", f"--nproc-per-node={count}", "--module", spec.name, *sys.argv[1:]])
    except (ChildFailedError, SignalException):
        sys.exit(1)  # the processes have logged why
    sys.exit(0)
