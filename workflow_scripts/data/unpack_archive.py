"""Unpack a zip or tar archive that holds a dataset."""

import argparse
import logging
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from workflow_scripts.shared.files import NO_ROOM, UserError, run_command, whole_file, write_checksums
from workflow_scripts.shared.progress import Progress

DAMAGES = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


def unpack_archive(archive: Path, out: Path) -> None:
    """Unpack `archive` (zip, or tar with any compression) as the folder `out`.

    Raises:
        UserError: the archive is missing, damaged, encrypted or without files, or has an entry that would leave the
            folder or is neither a file nor a folder; or there is no room.
    """
    if not archive.is_file():
        raise UserError(f"there is no archive {archive}: put it there or change the source in the config")
    try:
        with whole_file(out) as part:
            part.mkdir()
            if archive.suffix == ".zip":
                unpack_zip(archive, part)
            else:
                unpack_tar(archive, part)
            if not any(path.is_file() for path in part.rglob("*")):
                raise UserError(f"the archive {archive} holds no files: fetch it again, or change the source")
    except DAMAGES as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise UserError(f"there is no room to unpack {archive} in {out.parent}: make room") from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"the archive {archive} cannot be unpacked ({reason}): fetch it again") from None
    logging.info("unpacked %s", archive)


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into `folder`; raises as `checked_zip` does."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder, checked_zip(archive, file))


def checked_zip(archive: Path, file: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Yield the entries; refuse, rather than rename, an entry whose path or kind is not allowed."""
    entries = file.infolist()
    for entry in with_progress(archive, entries):
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 if the archive was not written on Unix
        check_entry(archive, entry.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        yield entry


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a tar archive; check that it and its compression are intact."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, checked_tar(archive, tar), filter="data")
        # tarfile stops at anything that is not a header, so a cut or damaged archive would pass for a shorter one.
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it is cut off or damaged after its last readable entry")
        # The data after the last entry has the compression's checksum, which tarfile does not read.
        while tar.fileobj.read(1 << 20):
            pass


def checked_tar(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the entries; refuse, rather than rename, an entry whose path or kind is not allowed."""
    for entry in with_progress(archive, tar):
        check_entry(archive, entry.name, entry.isreg() or entry.isdir())
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
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise UserError(f"the archive {archive} has an entry {name!r} outside its folder: do not use it")
    if not plain:
        raise UserError(f"the archive {archive} has an entry {name!r} that is a link or device: do not use it")


def main() -> None:
    """Unpack the archive that the command line names, and list the checksums of its files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--checksums", type=Path, required=True, help="the list of its files' checksums")
    args = parser.parse_args()
    unpack_archive(args.archive, args.out)
    write_checksums(args.out, args.checksums)


if __name__ == "__main__":
    run_command(main)
