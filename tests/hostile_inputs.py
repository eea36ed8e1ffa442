"""Hostile inputs that several readers get: files without an end, pictures that start programs, bombs, servers."""

import gzip
import io
import os
import socket
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy.io import savemat

DIGITS = "9" * 5000  # Python refuses to read such a number
ESCAPE = "\x1b[31mred\x1b]0;title\x07"
Put = Callable[[Path], object]


def fifo(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """A link to a device without an end."""
    path.symlink_to("/dev/zero")


def hole(path: Path) -> None:
    """A sparse file of 300 GB."""
    path.touch()
    os.truncate(path, 3 * 10**11)


def content(data: bytes | str) -> Put:
    """Return a function that writes a file."""
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data)


def instead(put: Put) -> Put:
    """Return a function that puts something in place of a file, if that is there."""

    def replace(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        put(path)

    return replace


def postscript(path: Path) -> None:
    """A PostScript file; the program that Pillow would start for it is one of our own, which leaves a trace."""
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    program = Path("gs")
    program.write_text("#!/bin/sh\ntouch EXECUTED\n")
    program.chmod(0o755)


def picture(path: Path, mode: str = "RGB") -> None:
    """A picture of 8 x 8 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), 1).save(path)


def float_tiff(path: Path) -> None:
    """A picture of numbers that 8 bits cannot hold."""
    Image.fromarray(np.full((8, 8), 1000, np.float32)).save(path, "TIFF")


def deep_png(path: Path) -> None:
    """A grey picture with 16 bits a channel."""
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(path, "PNG")


def png(width: int, height: int) -> bytes:
    """A PNG of black pixels, which may be fewer than it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(min(height * (1 + 3 * width), 10**6)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def scans_jpeg(path: Path) -> None:
    """A progressive JPEG of 4000 x 4000 pixels with one of its scans 5000 times."""
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + data[last:-2] * 5000 + data[-2:])


PICTURES: dict[str, tuple[Put, str]] = {
    "fifo": (fifo, "is a folder, pipe, socket or device"),
    "device": (device, "is a folder, pipe, socket or device"),
    "folder": (Path.mkdir, "is a folder, pipe, socket or device|cannot be read"),
    "sparse file": (hole, "has 300 GB.*limits.file_gb"),
    "PostScript": (postscript, "is not a whole JPEG, PNG"),
    "float TIFF": (float_tiff, "more than 8 bits"),
    "16 bits": (deep_png, "more than 8 bits"),
    "10^12 pixels": (content(png(10**6, 10**6)), "limits.picture_megapixels"),
    "too many pixels": (content(png(10**5, 1781)), "1781 x 100000 pixels.*limits.picture_megapixels"),
    "many scans": (scans_jpeg, "too many scans"),
    "empty": (content(b""), "is not a whole JPEG, PNG"),
    "pointer": (content("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"), "git lfs pull"),
}


def mat(
    dims: tuple[int, ...], data: bytes = b"", kind: int = 9, name: bytes = b"LabelMap", packed: bool = True
) -> bytes:
    """A MATLAB file with a variable of any shape, which may have fewer values than that says."""

    def element(number: int, payload: bytes) -> bytes:
        return struct.pack("<II", number, len(payload)) + payload + bytes(-len(payload) % 8)

    parts = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims))
    matrix = element(14, parts + element(1, name) + element(2, data))
    whole = struct.pack("<II", 15, len(zlib.compress(matrix))) + zlib.compress(matrix) if packed else matrix
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + whole


def mat_of(**variables: object) -> Put:
    """Return a function that writes a MATLAB file as SciPy does."""
    return lambda path: savemat(path, variables, do_compression=True)


def zip_of(*entries: tuple[str, bytes]) -> Put:
    """Return a function that writes a zip archive."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)

    return write


def tar_of(*entries: tuple[str, bytes], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w", **changes: object) -> Put:
    """Return a function that writes a tar archive; `changes` are to the attributes of each entry."""

    def write(path: Path) -> None:
        with tarfile.open(path, mode) as archive:
            for name, data in entries:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                for key, value in changes.items():
                    setattr(entry, key, value)
                archive.addfile(entry, io.BytesIO(data))

    return write


def sparse_tar(size: int) -> bytes:
    """A tar of 10 kB that holds a sparse file."""
    entry = tarfile.TarInfo("big")
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[386:410] = b"%011o\0%011o\0" % (0, 0)
    block[483:495] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(10240 - 512)


def header_bomb(path: Path) -> None:
    """A tar.gz of some 100 kB, whose first entry has a name of 100 MB."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 10**8
    with gzip.open(path, "wb", 1) as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(10**8))


def global_bomb(path: Path) -> None:
    """A tar.gz with 30 headers of 1 MB that concern all later entries, each with another key."""
    with gzip.open(path, "wb", 1) as file:
        for number in range(30):
            file.write(tarfile.TarInfo.create_pax_global_header({f"key{number}": "x" * 10**6}))
            file.write(tarfile.TarInfo(f"a{number}").tobuf())
        file.write(bytes(1024))


def trailing_bomb(path: Path) -> None:
    """A tar.gz whose file is followed by 100 MB of zeros."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("a")
        archive.addfile(entry)
    with gzip.open(path, "wb", 1) as file:
        file.write(buffer.getvalue())
        file.write(bytes(10**8))


Serve = Callable[[socket.socket], object]


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """Yield the address of a server that reads each request, answers it by `serve`, and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65536)
                serve(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/x.zip"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def sends(*parts: bytes, again: bytes = b"", pause: float = 0.0) -> Serve:
    """Return an answer of some bytes, and then others without an end, each after a pause of seconds."""
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        while again:
            connection.sendall(again)
            stop.wait(pause)

    return serve
