"""Files that are whole or absent, and errors that a person can act on."""

import errno
import hashlib
import io
import logging
import os
import re
import select
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import TextIO

from workflow_scripts.shared import interruption
from workflow_scripts.shared.interruption import INTERRUPTED
from workflow_scripts.shared.locks import exclusive
from workflow_scripts.shared.printable import PrintableFormatter, sentence, sentences

STOPPED = "stopped as asked"  # begins the sentence of a training that has saved its state
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of writing to a full disk, or beyond a limit
NO_ROOM = tuple(map(os.strerror, FULL))
SETTLED_AT_ONCE = 32  # files of a folder: one after the other each would wait for the disk


class UserError(Exception):
    """A mistake that the user can fix; the message is one sentence that says what is wrong, where, and what to do."""


class Unreadable(UserError):
    """A file that the system cannot read now, whatever its contents."""


class Unwritable(UserError):
    """A file for which there is no room."""


@contextmanager
def reading(path: str | Path, *damages: type[Exception]) -> Iterator[None]:
    """Turn errors of a block that reads `path` into a UserError, which calls the file damaged only if its contents are.

    The error is an Unreadable if the system is to blame. `damages` are the exceptions that reading wrong contents
    raises, besides an OSError that does not come from the system.
    """
    errors: tuple[type[Exception], ...] = (OSError, MemoryError, *damages)
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing or is a broken link: put it there, and run again") from None
    except errors as error:
        if reason := system_reason(error):
            raise unreadable(path, reason) from error
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(f"{path} is damaged, or another kind of file ({reason}): make or copy it again") from error


def unreadable(path: str | Path, reason: str) -> Unreadable:
    """Return the error for a file that the system cannot read."""
    return Unreadable(f"{path} cannot be read ({reason}): fix that, and run again")


def system_reason(error: BaseException) -> str | None:
    """Return the system's message for an error that says nothing about a file's contents; None for any other error."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if number := re.search(r"errno = (\d+)", str(error)):  # HDF5's format, in several h5py errors
        return os.strerror(int(number[1])) if int(number[1]) else None
    # Some libraries have their own errors for this; but HDF5 calls a file "allocation", too.
    if isinstance(error, MemoryError) or re.search("(?<!end of )allocat", str(error)):
        return os.strerror(errno.ENOMEM)
    return None


def remedy(reason: str) -> str:
    """Return what a person should do about a refusal of the system to write."""
    return "make room" if reason in NO_ROOM else "fix that"


def lack_of_room(error: BaseException | None) -> str | None:
    """Return the system's message if an error, or one that led to it, says that there is no room; otherwise None."""
    while error:
        if isinstance(error, OSError | RuntimeError) and (reason := system_reason(error)) in NO_ROOM:
            return reason
        error = error.__context__  # a library may fail again as it closes the file, in any way
    return None


def require_file(path: str | Path, missing: str) -> os.stat_result:
    """Return the status of a regular file; raise UserError if there is none: `missing` says what to do then."""
    with reading(path):
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{path} is missing or is a broken link: {missing}") from None
    require_regular(path, status, missing)
    return status


def require_regular(path: str | Path, status: os.stat_result, missing: str) -> None:
    """Raise UserError unless a file is regular: a pipe would block the reader, and a device may have no end."""
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is a folder, pipe, socket or device, not a file: {missing}")


def open_regular(path: str | Path, missing: str) -> io.BufferedReader:
    """Open a regular file for reading, without waiting for whoever may write into a pipe.

    Raises:
        OSError: as `open` does.
        UserError: it is no regular file; `missing` says what to do then.
    """

    def open_checked(name: str, flags: int) -> int:
        number = open_at_once(name, flags)
        try:
            require_regular(path, os.fstat(number), missing)
        except BaseException:
            os.close(number)
            raise
        return number

    return open(path, "rb", opener=open_checked)  # the reader closes it


def open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, for example until somebody writes into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it is renamed to `path` only if the block succeeds.

    Works for files and for folders. If the block fails, what it has left is removed; what it has written is on the disk
    before it gets its name. Processes that make the same `path` wait for one another.

    Raises:
        Unwritable: the disk is full, or the user's share of it.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with exclusive(path):
            remove(part)
            try:
                yield part
                settle(part)
                if path.is_dir() or part.is_dir():
                    remove(path)
                os.replace(part, path)
            except BaseException:
                remove(part)
                raise
    except BaseException as error:
        if reason := lack_of_room(error):
            raise Unwritable(f"{path} cannot be written ({reason}): make room, and run again") from error
        raise


def settle(part: Path) -> None:
    """Make sure that a file, or all files of a folder, survive a crash of the machine."""
    files = (path for path in chain([part], part.rglob("*")) if path.is_file())
    with ThreadPoolExecutor(SETTLED_AT_ONCE) as threads:
        while some := list(islice(files, 100 * SETTLED_AT_ONCE)):  # a folder may have millions
            list(threads.map(to_disk, some))


def to_disk(path: Path) -> None:
    """Make sure that a file survives a crash of the machine."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def scratch_file(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` for temporary use; remove the file before and afterwards."""
    scratch = Path(path).with_name(Path(path).name + ".scratch")
    remove(scratch)
    try:
        yield scratch
    finally:
        remove(scratch)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def file_fingerprint(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits; raise UserError if it is no regular file."""
    with open_regular(path, "put one in its place") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, out: Path) -> None:
    """Write the SHA-256 of every file below `folder`, in the format that `sha256sum --check` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (checksum_line(file_fingerprint(path), str(path.relative_to(folder))) for path in files)
    with whole_file(out) as part:
        part.write_text("".join(lines), errors="surrogateescape")


def checksum_line(digits: str, name: str) -> str:
    """Return a line of `sha256sum`, which begins with a backslash if the name is escaped."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "" if escaped == name else "\\"
    return f"{mark}{digits}  {escaped}\n"


def text_fingerprint(*parts: object) -> str:
    """Return the SHA-256 of the text of `parts`; it records what a derived file was made from."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode(errors="surrogateescape")).hexdigest()


def run_command(main: Callable[[], None]) -> None:
    """Run a script's `main` and log to standard error; on a `UserError`, print its message and exit with status 1.

    Other errors of the system, such as a full disk, and Ctrl-C end in the same way. But if the reader of standard
    output stops early, as `head` does, nothing is reported.
    """
    start_log()
    sys.excepthook, sys.unraisablehook = show_exception, show_unraisable
    try:
        main()
        sys.stdout.flush()
    except Unwritable as error:
        with suppress(OSError):  # the log may lie on the same disk
            print(f"error: {sentences(str(error))}", file=sys.stderr, flush=True)
        os._exit(1)  # HDF5 may crash as it closes what it could not write
    except UserError as error:
        sys.exit(f"error: {sentences(str(error))}")
    except KeyboardInterrupt:
        sys.exit(f"error: {INTERRUPTED}")
    except (OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and has_no_reader(sys.stdout):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit needs somewhere to write
            sys.exit(1)
        if is_loss_of_helper(error):
            sys.exit(
                "error: a process that worked for this step was killed, probably for too little memory: give it more,"
                " or run fewer steps at once"
            )
        reason = system_reason(error)
        if reason is None:
            raise
        if reason == os.strerror(errno.ENOMEM):
            sys.exit("error: there is too little memory: give this step more, or run fewer at once")
        file = sentence(str(getattr(error, "filename", None) or "a file"))
        sys.exit(f"error: {file} cannot be read or written ({reason}): {remedy(reason)}, and run again")


def is_loss_of_helper(error: Exception) -> bool:
    """Tell whether an error says that another process, which worked for this one, was killed."""
    return isinstance(error, BrokenExecutor) or str(error).startswith("DataLoader worker")


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an exception that nothing has caught, unless the disk is full: then HDF5 reports each object it closes."""
    if lack_of_room(error) is None:
        interruption.show_exception(kind, error, traceback)


def show_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Show an exception that could not be raised, unless the disk is full."""
    if lack_of_room(unraisable.exc_value) is None:
        interruption.show_unraisable(unraisable)


def has_no_reader(stream: TextIO) -> bool:
    """Tell whether the other end of a pipe is closed."""
    ends = select.poll()
    ends.register(stream, 0)  # errors are always reported
    return bool(ends.poll(0))


def start_log() -> None:
    """Log to standard error, each line with the time."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
