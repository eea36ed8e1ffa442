"""Fetch a dataset's archive from the first of several addresses that serves it in full."""

import argparse
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from io import FileIO
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from workflow_scripts.shared.files import (
    FULL,
    UserError,
    file_fingerprint,
    reading,
    require_file,
    run_command,
    whole_file,
)
from workflow_scripts.shared.limits import limit, raise_limit
from workflow_scripts.shared.locks import exclusive, open_itself
from workflow_scripts.shared.progress import Progress

BLOCK = 2**18  # bytes read at once
TIMEOUT = 60.0  # seconds without a byte after which a connection counts as dead
PATIENCE, LEAST_BYTES = 300.0, 10**6  # a connection that brings fewer bytes in so many seconds is too slow
WAIT = 1.0  # seconds before a new try; doubles with every try that brings no new bytes
FRUITLESS_TRIES = 5  # in a row, after which the next address is tried
DIGITS = {"md5": 32, "sha256": 64}
NO_SUCH_RANGE = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


class AddressFailed(Exception):
    """The address does not serve the archive; the message briefly says why."""


class Dropped(Exception):
    """A response broke off; a new try may bring more."""


def fetch_archive(
    archive: Path,
    addresses: list[str],
    checksum: str,
    timeout: float = TIMEOUT,
    wait: float = WAIT,
    patience: float = PATIENCE,
) -> dict[str, str | int]:
    """Make sure that `archive` exists and has the checksum; return its receipt: archive, bytes, sha256.

    An existing archive is checked and never changed. Bytes are collected in `<archive>.part`, from which the next call
    continues after an interruption, and which is renamed to `archive` only if its checksum is right. Processes that
    fetch the same archive wait for each other.

    Args:
        archive: where the file is, or should be.
        addresses: http or https, tried in this order.
        checksum: "md5:<digits>", "sha256:<digits>" or "none". With "none", bytes of two responses are never joined,
            since nothing would show that they do not fit, and a response without a length is refused.
        timeout: seconds without a byte after which a connection counts as dead.
        wait: seconds before the first new try.
        patience: seconds in which a connection must bring at least LEAST_BYTES, and an answer.

    Raises:
        UserError: the archive, or what every address serves, has another checksum, the archive is not a file, no
            address serves it, at a tolerable speed and within the config's limit, or there is no room for it.
    """
    expected = parse_checksum(checksum)
    if os.path.exists(archive):
        require_file(archive, "move it away")  # a user's folder or pipe is not replaced
    else:
        with exclusive_part(archive.with_name(archive.name + ".part"), keep=expected is not None) as part:
            if archive.is_file():  # another process has fetched it in the meantime
                part.remove()
            else:
                download(part, archive, addresses, expected, Waits(timeout, wait, patience))
    with reading(archive):
        wrong = wrong_checksum(archive, expected)
        receipt: dict[str, str | int] = {
            "archive": str(archive),
            "bytes": archive.stat().st_size,
            "sha256": file_fingerprint(archive),
        }
    if wrong:
        raise UserError(f"{archive} has the {wrong}, not {checksum}: replace or remove it, or correct the checksum")
    logging.info("%s has %d bytes, sha256:%s", *receipt.values())
    return receipt


def parse_checksum(checksum: str) -> tuple[str, str] | None:
    """Return the algorithm and its digits, or None for "none"."""
    if checksum == "none":
        return None
    algorithm, _, digits = checksum.lower().partition(":")
    if not re.fullmatch(f"[0-9a-f]{{{DIGITS.get(algorithm, 0)}}}", digits) or algorithm not in DIGITS:
        raise UserError(f"the checksum {checksum!r} must read md5:<32 digits>, sha256:<64 digits> or none")
    return algorithm, digits


def wrong_checksum(path: Path, expected: tuple[str, str] | None) -> str:
    """Return, as text, the checksum of a file if it is not the expected one; empty if it is."""
    if expected is None:
        return ""
    algorithm, digits = expected
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    return "" if found == digits else f"checksum {algorithm}:{found}"


class Waits(NamedTuple):
    """The arguments of `fetch_archive` in seconds: `timeout`, `wait` and `patience`."""

    timeout: float
    again: float
    patience: float


class Part:
    """The bytes fetched so far, in a file that no other process writes."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path, self.file = path, file
        self.size = file.seek(0, os.SEEK_END)
        self.joined = False  # whether the latest response was appended to bytes of earlier ones

    def append(self, block: bytes) -> None:
        """Append a block of bytes."""
        rest = memoryview(block)
        while rest:
            rest = rest[self.file.write(rest) :]
        self.size += len(block)

    def start_over(self) -> None:
        """Discard all bytes fetched so far."""
        if self.size:
            self.file.truncate(0)
            self.size = self.file.seek(0)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink()

    def rename(self, path: Path) -> None:
        """Move the file to `path`, replacing what is there, once all its bytes are on disk."""
        os.fsync(self.file)
        os.replace(self.path, path)


@contextmanager
def exclusive_part(path: Path, keep: bool) -> Iterator[Part]:
    """Open the file for new bytes when no other process holds it; raise UserError if it cannot be written.

    With `keep`, the bytes stay if the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            exclusive(path),
            os.fdopen(open_itself(str(path), os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as file,
        ):
            try:
                yield Part(path, file)
            except OSError as error:
                if error.errno in FULL and not keep:
                    path.unlink()
                raise
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"there is no room for {path} ({error.strerror}): make room, and run again") from None
        raise UserError(f"{path} cannot be written ({error.strerror}): fix that and run again") from None


def download(part: Part, archive: Path, addresses: list[str], expected: tuple[str, str] | None, waits: Waits) -> None:
    """Fill `part` from the first address that serves the archive and rename it, or raise UserError."""
    failures = []
    for address in addresses:
        try:
            logging.info("fetching %s from %s", archive, address)
            receive_right(address, part, expected, waits)
        except AddressFailed as error:
            logging.info("%s: %s", address, error)
            failures.append(f"{address}: {error}")
        else:
            part.rename(archive)
            return
    kept = ""
    if part.size and expected:
        kept = f"; the next run continues from the {megabytes(part.size)} MB in {part.path}"
    else:
        part.remove()
    raise UserError(
        f"no address serves {archive} ({'; '.join(failures)}): put a copy there by hand, or add an address{kept}"
    )


def receive_right(address: str, part: Part, expected: tuple[str, str] | None, waits: Waits) -> None:
    """Fill `part` with the archive; discard bytes with the wrong checksum. Raises AddressFailed."""
    receive(address, part, expected is not None, waits)
    wrong = wrong_checksum(part.path, expected)
    if wrong and part.joined:
        logging.info("%s: the joined bytes have the %s; starting over", address, wrong)
        part.start_over()
        receive(address, part, True, waits)
        wrong = wrong_checksum(part.path, expected)
    if wrong:
        part.start_over()
        raise AddressFailed(f"serves something with the {wrong}")


def receive(address: str, part: Part, join: bool, waits: Waits) -> None:
    """Fill `part` from an address, with new tries as long as they bring more bytes. Raises AddressFailed.

    With `join`, a try continues from the bytes in `part`.
    """
    most, fruitless = part.size, 0
    while True:
        if not join:
            part.start_over()
        try:
            receive_answer(address, part, join, waits)
            return
        except Dropped as error:
            fruitless = 0 if part.size > most else fruitless + 1
            most = max(most, part.size)
            if fruitless == FRUITLESS_TRIES:
                raise AddressFailed(f"{error}, {fruitless} times without a new byte") from None
            pause = waits.again * 2**fruitless
            logging.info("%s: %s; trying again in %.0f s", address, error, pause)
            time.sleep(pause)


def receive_answer(address: str, part: Part, join: bool, waits: Waits) -> None:
    """Append the bytes of one response. Raises Dropped if it is incomplete, AddressFailed if it is useless."""
    with request(address, part, waits) as response:
        start, stop, total = extent(response, part.size)
        require_allowed(part, total or 0)
        if start not in (0, part.size):
            part.start_over()
            raise Dropped("continues from a different byte than requested")
        if start == 0:
            part.start_over()
        if stop is None and not join and not response.chunked:
            raise AddressFailed("does not say how long the archive is, and there is no checksum to check it")
        part.joined = start > 0
        append_body(response, part, stop, waits)
    if total is not None and part.size < total:
        raise Dropped(f"broke off after {megabytes(part.size)} of {megabytes(total)} MB")
    if part.size == 0:
        raise AddressFailed("serves no bytes")


def require_allowed(part: Part, size: int) -> None:
    """Raise AddressFailed unless an archive of `size` bytes is within the config's limit, and has room.

    The bytes in `part` stay: they may be right, and this size a lie.
    """
    if size > most_bytes():
        raise too_large()
    if size - part.size > shutil.disk_usage(part.path.parent).free:
        raise AddressFailed(f"serves {megabytes(size)} MB, for which there is no room: make room")


def most_bytes() -> float:
    """Return how many bytes an archive may have by the config's limit."""
    return limit("download_gb") * 1e9


def too_large() -> AddressFailed:
    """Return the error for an archive beyond the config's limit."""
    return AddressFailed(f"serves more than {limit('download_gb'):g} GB; {raise_limit('download_gb')}")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End a block of the main thread with AddressFailed after some seconds: a timeout starts anew with every byte."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*signal_and_frame: object) -> None:
        raise AddressFailed(f"has not answered within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def request(address: str, part: Part, waits: Waits) -> HTTPResponse | HTTPError:
    """Request the bytes that `part` lacks. Raises AddressFailed, or Dropped if a new try may get a response.

    Returns a response with the status 200 or, if `part` already has bytes, 206, or 416 if there are no more.
    """
    if not address.startswith(("http://", "https://")):
        raise AddressFailed("is not an http or https address")
    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    try:
        with at_most(waits.patience):
            response = urlopen(Request(address, headers=headers), timeout=waits.timeout)
    except HTTPError as error:
        if error.code == NO_SUCH_RANGE and part.size:
            return error
        error.close()
        raise AddressFailed(f"HTTP {error.code} {error.reason}".splitlines()[0]) from None
    except ConnectionError as error:  # after connecting; a failure to connect is a URLError
        raise Dropped(reason(error)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise AddressFailed(reason(error)) from None
    if not isinstance(response, HTTPResponse):
        response.close()
        raise AddressFailed("leads to something else than http or https")
    if response.status not in ((HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT) if part.size else (HTTPStatus.OK,)):
        response.close()
        raise AddressFailed(f"HTTP {response.status} {response.reason}")
    if response.headers.get_content_type() == "text/html":
        response.close()
        raise AddressFailed("serves a web page")
    return response


def extent(response: HTTPResponse | HTTPError, asked: int) -> tuple[int, int | None, int | None]:
    """Return which bytes of the archive a body holds, from start to stop, and how many the archive has.

    Numbers that the server does not give are None; bytes whose position it does not give start at -1. `asked` is the
    first byte that was requested. If the server says that there are no bytes from there on, that is believed: the
    checksum shows whether it is true.
    """
    if response.status == HTTPStatus.OK:
        return 0, response.length, response.length
    if response.status == NO_SUCH_RANGE:
        return asked, asked, None
    match = re.fullmatch(
        r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", response.headers.get("Content-Range", "").strip()
    )
    if match is None:
        return -1, None, None
    start, stop = int(match[1]), int(match[2]) + 1
    return start, stop, stop if match[3] == "*" else int(match[3])


def append_body(response: HTTPResponse | HTTPError, part: Part, stop: int | None, waits: Waits) -> None:
    """Append a body to `part` until it ends or `part` has `stop` bytes; log the progress."""
    first = since = part.size
    began = time.monotonic()
    progress = Progress(f"MB of {part.path}", None if stop is None else (stop - first) / 1e6)
    while stop is None or part.size < stop:
        try:
            with at_most(waits.patience):
                block = response.read1(BLOCK if stop is None else min(BLOCK, stop - part.size))
        except TimeoutError:
            stalled = f"sent nothing for {waits.timeout:.0f} s"
            raise (Dropped(stalled) if part.size > first else AddressFailed(stalled)) from None
        except (OSError, HTTPException) as error:
            raise Dropped(reason(error)) from None
        if not block:
            break
        part.append(block)
        if stop is None and part.size > most_bytes():
            part.start_over()
            raise too_large()
        if time.monotonic() - began > waits.patience:
            if part.size - since < LEAST_BYTES:
                raise AddressFailed(f"is too slow, with {megabytes(part.size - since)} MB in {waits.patience:g} s")
            began, since = time.monotonic(), part.size
        progress.log((part.size - first) / 1e6)


def megabytes(size: int) -> float:
    """Return bytes in megabytes of 10 ** 6 bytes, to one decimal place."""
    return round(size / 1e6, 1)


def reason(error: Exception) -> str:
    """Return briefly why a connection failed."""
    cause = getattr(error, "reason", error)  # the reason of a URLError is the underlying error
    return (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).splitlines()[0]


def main() -> None:
    """Fetch the archive that the command line names, and write its receipt as JSON to --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="where the archive is, or should be")
    parser.add_argument("--addresses", nargs="+", required=True, metavar="URL", help="tried in this order")
    parser.add_argument("--checksum", required=True, help="md5:<digits>, sha256:<digits> or none")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help=f"seconds in which an address must bring {megabytes(LEAST_BYTES):g} MB (default: %(default)g)",
    )
    parser.add_argument(
        "--wait", type=float, default=WAIT, help="seconds before the first new try (default: %(default)g)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the receipt to write")
    args = parser.parse_args()
    receipt = fetch_archive(args.archive, args.addresses, args.checksum, wait=args.wait, patience=args.patience)
    with whole_file(args.out) as part:
        part.write_text(json.dumps(receipt, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main)
