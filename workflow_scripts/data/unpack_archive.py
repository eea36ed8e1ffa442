"""Unpack a zip or tar archive that holds a dataset."""

import argparse
import logging
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from workflow_scripts.files import UserError, run_command, whole_file


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
            if zipfile.is_zipfile(archive):
                unpack_zip(archive, part)
            else:
                with tarfile.open(archive) as tar:
                    tar.extractall(part, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise UserError(f"the archive {archive} cannot be unpacked ({error}): fetch it again") from None
    logging.info("unpacked %s", archive)


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip archive; an absolute entry or one with `..` is refused rather than renamed."""
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise UserError(f"the archive {archive} has an entry {name!r} outside its folder: do not use it")
        file.extractall(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    unpack_archive(args.archive, args.out)


if __name__ == "__main__":
    run_command(main)
