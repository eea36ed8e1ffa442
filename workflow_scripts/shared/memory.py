"""Memory settings of this process."""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT = 2**30  # bytes: more than the largest output for a portion of pictures
LARGEST_ONCE = 2**25  # the largest M_MMAP_THRESHOLD that older versions of glibc allow


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks, up to a gigabyte, for later ones of the same size.

    Otherwise a network's larger outputs are requested from the system and returned each time; clearing their pages took
    up to a sixth of the time of training and of forward passes on a CPU. Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        if not mallopt(M_MMAP_THRESHOLD, KEPT):
            mallopt(M_MMAP_THRESHOLD, LARGEST_ONCE)


@contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """Raise MemoryError, or an error that names it, in a block that asks for more than `most` bytes.

    The bound is on addresses, which the system also gives out to all threads of the process.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = [limit for limit in (used + most, *before) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
