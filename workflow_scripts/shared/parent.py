"""Processes that end with the one that started them."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1  # a constant of Linux


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends, even by SIGKILL; otherwise it would run on."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
