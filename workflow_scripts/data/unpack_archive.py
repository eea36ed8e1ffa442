"""Unpack a zip or tar archive that holds a dataset."""

import argparse
import bz2
import errno
import gzip
import logging
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from workflow_scripts.shared.files import FULL, UserError, require_file, run_command, whole_file, write_checksums
from workflow_scripts.shared.limits import limit, raise_limit
from workflow_scripts.shared.progress import Progress

DAMAGES = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, OverflowError),
)
# Errors of the disk, whatever the archive holds; others may come from what it says, such as a name that is too long.
OF_THE_SYSTEM = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE)
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {  # by a file's first bytes
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"]\0\0": lzma.open,
}
ENTRY = tarfile.BLOCKSIZE  # bytes that an entry counts for beside its contents, because even empty files take room
MOST_BETWEEN = 2**24  # bytes of a tar archive between the contents of two files: their headers, and zeros at its end


def unpack_archive(archive: Path, out: Path, checksums: Path | None = None) -> None:
    """Unpack `archive` (zip, or tar with any compression) as the folder `out`, and list its checksums first.

    Raises:
        UserError: the archive is missing, damaged, encrypted or without files, is larger than the config's limit when
            unpacked, has two entries of the same name, or an entry that would leave the folder or is neither a file nor
            a folder; or there is no room.
    """
    require_file(archive, "put it there or change the source in the config")
    with whole_file(out) as part:
        part.mkdir()
        try:
            if archive.suffix == ".zip":
                unpack_zip(archive, part)
            else:
                unpack_tar(archive, part)
        except DAMAGES as error:
            if getattr(error, "errno", None) in OF_THE_SYSTEM:
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"the archive {archive} cannot be unpacked ({reason}): fetch it again") from None
        if not any(path.is_file() for path in part.rglob("*")):
            raise UserError(f"the archive {archive} holds no files: fetch it again, or change the source")
        if checksums is not None:
            write_checksums(part, checksums)
    logging.info("unpacked %s", archive)


class Room:
    """The bytes that an archive's files may take, by the config's limit and on the disk."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._free = shutil.disk_usage(folder).free
        self._taken = 0

    def take(self, size: int) -> None:
        """Count a file that is about to be written; raise UserError if it is too much."""
        self._taken += size
        if self._taken > limit("unpacked_gb") * 1e9:
            raise UserError(
                f"the archive {self._archive} unpacks to more than {limit('unpacked_gb'):g} GB: do not use it, or"
                f" {raise_limit('unpacked_gb')}"
            )
        if self._taken > self._free:
            raise UserError(f"there is no room to unpack {self._archive} in {self._folder.parent}: make room")


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into `folder`; raises as `checked_zip` does. No file can be larger than its entry says."""
    with zipfile.ZipFile(archive) as file:
        Room(archive, folder).take(sum(entry.file_size + ENTRY for entry in file.infolist()))
        file.extractall(folder, checked_zip(archive, folder, file))


def checked_zip(archive: Path, folder: Path, file: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Yield the entries; refuse, rather than rename, an entry whose path or kind is not allowed."""
    entries = file.infolist()
    for entry in with_progress(archive, entries):
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 if the archive was not written on Unix
        check_entry(archive, entry.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        check_place(archive, folder, entry.filename, entry.is_dir())
        yield entry


class Stream:
    """The bytes of a tar archive; they end with an error at the position `most`, because little can unfold to much."""

    def __init__(self, archive: Path, file: IO[bytes]) -> None:
        self._archive, self._file = archive, file
        self.most = MOST_BETWEEN

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; raise UserError if they are beyond `most`."""
        if self._file.tell() + size > self.most:
            raise UserError(
                f"the archive {self._archive} has more than {MOST_BETWEEN // 2**20} MB between two of its files, or"
                " after the last: do not use it"
            )
        return self._file.read(size)

    def seek(self, position: int) -> int:
        """Go to a position."""
        return self._file.seek(position)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a tar archive; check that it and its compression are intact."""
    with open(archive, "rb") as packed:
        start = packed.peek(8)[:8]
        unfold = next((unfold for magic, unfold in COMPRESSIONS.items() if start.startswith(magic)), None)
        stream = Stream(archive, unfold(packed) if unfold else packed)
        # tarfile would choose the compression itself, but its streams have no bounds.
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
            for entry in checked_tar(archive, folder, tar, stream):
                tar.extract(entry, folder, filter="data")  # extractall would keep all folders in memory
            # tarfile stops at anything that is not a header, so a cut or damaged archive would pass for a shorter one.
            stream.seek(tar.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it is cut off or damaged after its last readable entry")
            # The data after the last entry has the compression's checksum, which tarfile does not read.
            while stream.read(2**16):
                pass


def checked_tar(archive: Path, folder: Path, tar: tarfile.TarFile, stream: Stream) -> Iterator[tarfile.TarInfo]:
    """Yield the entries; refuse, rather than rename, an entry whose path or kind is not allowed."""
    room = Room(archive, folder)
    taken = 0
    for entry in with_progress(archive, iter(tar.next, None)):
        tar.members.clear()  # type: ignore[attr-defined] # tarfile keeps all entries, and headers that concern all later ones
        if sum(map(len, chain.from_iterable(tar.pax_headers.items()))) > MOST_BETWEEN:
            raise tarfile.ReadError("its headers are too large")
        check_entry(archive, entry.name, entry.isreg() or entry.isdir())
        check_place(archive, folder, entry.name, entry.isdir())
        # In the archive, a sparse file takes another size than on the disk. Headers count, too: they may be many.
        room.take(max(entry.size + ENTRY, tar.offset - taken))
        taken = tar.offset
        stream.most = tar.offset + MOST_BETWEEN
        yield entry


def with_progress(archive: Path, entries: Iterable) -> Iterator:
    """Yield the entries and log the progress; a tar archive does not say beforehand how many there are."""
    progress = Progress(f"files and folders of {archive}", None)
    for done, entry in enumerate(entries):
        progress.log(done)
        yield entry


def check_entry(archive: Path, name: str, plain: bool) -> None:
    """Refuse an entry that is not a `plain` file or folder, or whose name leads outside on some system."""
    path = PurePosixPath(name)
    if not name:
        raise UserError(f"the archive {archive} has an entry without a name: do not use it")
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise UserError(f"the archive {archive} has an entry {name!r} outside its folder: do not use it")
    if not plain:
        raise UserError(f"the archive {archive} has an entry {name!r} that is a link or device: do not use it")


def check_place(archive: Path, folder: Path, name: str, is_folder: bool) -> None:
    """Refuse an entry that would overwrite an earlier one, such as, on some file systems, one in other letter case."""
    place = folder / name
    if os.path.lexists(place) and not (is_folder and place.is_dir()):
        raise UserError(
            f"the archive {archive} has the entry {name!r} twice, or another that this disk takes for the same: do not"
            " use it"
        )


def main() -> None:
    """Unpack the archive that the command line names, and list the checksums of its files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--checksums", type=Path, required=True, help="the list of its files' checksums")
    args = parser.parse_args()
    unpack_archive(args.archive, args.out, args.checksums)


if __name__ == "__main__":
    run_command(main)
