"""Run a command where every flock() fails, as on file systems without locks: python without_locks.py ERRNO COMMAND ...

A filter of the kernel's for system calls (seccomp), which all children inherit. Exit status 77: there is none here.
"""

import ctypes
import os
import platform
import struct
import sys

FLOCK = {"x86_64": 73, "aarch64": 32}
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2  # of prctl
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # instructions
FAIL, ALLOW = 0x00050000, 0x7FFF0000


class Program(ctypes.Structure):
    """A seccomp filter as the kernel takes it: how many instructions, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def refuse_locks(number: int) -> bool:
    """Let each flock() of this process and its children fail with this errno; tell whether that could be done."""
    call = FLOCK.get(platform.machine())
    if call is None:
        return False
    steps = [(LOAD_NUMBER, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, call), (RETURN, 0, 0, FAIL | number), (RETURN, 0, 0, ALLOW)]
    program = Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    prctl = ctypes.CDLL(None).prctl
    return prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) == 0


if __name__ == "__main__":
    if not refuse_locks(int(sys.argv[1])):
        sys.exit(77)
    os.execvp(sys.argv[2], sys.argv[2:])
