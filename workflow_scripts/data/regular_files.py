"""Reading files and folders that people hand in.

Of files regular ones alone, for a pipe is waited for and a device has no end.
"""

import os
import stat
from pathlib import Path

from workflow_scripts.files import UserError

MOST_BYTES = 10**9  # of a file that is read whole: no picture and no table that is meant has so many
MACOS_FOLDER = "__MACOSX"  # what macOS adds to archives
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def require_file(path: str | Path) -> os.stat_result:
    """Return the status of a regular file; UserError if there is none, or it is a folder, pipe, socket or device."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise unreadable(path, error) from None
    check_regular(path, status)
    return status


def read_file(path: str | Path) -> bytes:
    """Return a file's bytes; UserError if it cannot be read, is none of the regular ones, or is too large for one."""
    try:
        with open(path, "rb", buffering=0, opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            check_regular(path, status)
            if status.st_size > MOST_BYTES:
                size = f"{status.st_size / 1e9:.0f} GB"
                raise UserError(f"{path} has {size}, and no more than 1 GB is read: replace or remove it")
            data = file.read()
    except OSError as error:
        raise unreadable(path, error) from None
    if data.startswith(LFS_POINTER):
        raise UserError(f"{path} is a pointer of Git LFS in place of the file itself: fetch it with git lfs pull")
    return data


def list_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in `folder`, without hidden ones."""
    return [name for name in list_visible(folder) if os.path.isdir(folder / name)]


def list_visible(folder: Path) -> list[str]:
    """Return the sorted names of what lies in `folder`, without hidden entries and those that macOS adds."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    return sorted(name for name in names if not name.startswith(".") and name != MACOS_FOLDER)


def open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, as for somebody to write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def check_regular(path: str | Path, status: os.stat_result) -> None:
    """Raise UserError for what is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is a folder, pipe, socket or device: put a file in its place, or remove it")


def unreadable(path: str | Path, error: OSError) -> UserError:
    """Return the error that tells of a file or folder that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} is missing, or a link to nothing: restore it")
    return UserError(f"{path} cannot be read ({error.strerror}): restore it or its permissions")
