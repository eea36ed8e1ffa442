"""Unpack a zip or tar archive that holds a dataset."""

import argparse
import logging
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from workflow_scripts.files import UserError, run_command, whole_file, write_checksums

DAMAGES = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


def unpack_archive(archive: Path, out: Path) -> None:
    """Unpack `archive` (zip, or tar with any compression) as the folder `out`.

    Raises:
        UserError: the archive is missing, damaged, or has an entry that would leave the folder.
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
    except tarfile.FilterError as error:
        raise UserError(f"the archive {archive} has an entry outside its folder ({error}): do not use it") from None
    except DAMAGES as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"the archive {archive} cannot be unpacked ({reason}): make room, or fetch it again") from None
    logging.info("unpacked %s", archive)


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip archive; an absolute entry or one with `..` is refused rather than renamed."""
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise UserError(f"the archive {archive} has an entry {name!r} outside its folder: do not use it")
        file.extractall(folder)


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a tar archive, refusing links and entries outside the folder; check its compression to the end."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
        # What follows the last entry holds the compression's checksum, which tarfile does not read.
        while tar.fileobj.read(1 << 20):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--checksums", type=Path, required=True, help="the list of its files' checksums")
    args = parser.parse_args()
    unpack_archive(args.archive, args.out)
    write_checksums(args.out, args.checksums)


if __name__ == "__main__":
    run_command(main)
