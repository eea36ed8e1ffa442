"""Memory of a process that passes pictures through networks."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT = 2**30  # bytes: more than any output of a portion of pictures
LARGEST_ONCE = 2**25  # the most that M_MMAP_THRESHOLD could be in older versions of glibc


def keep_freed_memory() -> None:
    """Let glibc keep blocks that are freed, up to a gigabyte, for the next ones of their size.

    Otherwise a network's larger outputs come from the system and go back each time, and clearing their pages took up to
    a sixth of training and of forward passes on a CPU. Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        if not mallopt(M_MMAP_THRESHOLD, KEPT):
            mallopt(M_MMAP_THRESHOLD, LARGEST_ONCE)
