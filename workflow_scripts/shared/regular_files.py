"""Reading files and folders that users provide.

Only regular files are read, because a pipe would block and a device may have no end.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.shared.files import UserError, open_regular, reading
from workflow_scripts.shared.limits import limit, raise_limit

MACOS_FOLDER = "__MACOSX"  # what macOS adds to archives
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_file(path: str | Path) -> bytes:
    """Return a file's bytes; raise UserError if it cannot be read, is not regular, or is too large."""
    with reading(path), open_regular(path, "put one in its place, or remove it") as file:
        status = os.fstat(file.fileno())
        if status.st_size > most_bytes():
            size = f"{status.st_size / 1e9:.3g} GB"
            raise UserError(f"{path} has {size}: replace or remove it, or {raise_limit('file_gb')}")
        data = file.read()
    if data.startswith(LFS_POINTER):
        raise UserError(f"{path} is a Git LFS pointer, not the file itself: fetch it with git lfs pull")
    return data


def most_bytes() -> int:
    """Return how many bytes a file that is read whole may have, or one array in it."""
    return int(limit("file_gb") * 1e9)


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what `os.walk` yields and follow links; raise UserError if a link leads to a folder that contains it."""
    for place, folders, names in os.walk(folder, followlinks=True):
        for name in folders:
            link = os.path.join(place, name)
            if os.path.islink(link) and Path(place).resolve().is_relative_to(os.path.realpath(link)):
                raise UserError(
                    f"{link} is a link to a folder that contains it, so following it would never end: remove it"
                )
        yield place, folders, names


def list_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in `folder`, except hidden ones."""
    return [name for name in list_visible(folder) if os.path.isdir(folder / name)]


def list_visible(folder: Path) -> list[str]:
    """Return the sorted names of the entries of `folder`, except hidden ones and those that macOS adds."""
    with reading(folder):
        names = os.listdir(folder)
    return sorted(name for name in names if not name.startswith(".") and name != MACOS_FOLDER)
