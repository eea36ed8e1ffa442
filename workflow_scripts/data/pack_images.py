"""Decode and resize a dataset in class folders, or in CIFAR-10's binary files, into one HDF5 file."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from workflow_scripts.data.decode import IMAGE_SUFFIXES, decode, tell_turned
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.shared.files import UserError, reading, require_file, run_command, whole_file
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.regular_files import list_folders, list_visible, read_file

# Of CIFAR-10's binary version (Krizhevsky 2009): a byte for the label, then planes of red, green and blue, row by row.
BINARY_SUFFIX = ".bin"
BINARY_SIDE = 32
BINARY_RECORD = 1 + 3 * BINARY_SIDE**2  # bytes
BINARY_NAMES = "batches.meta.txt"  # beside the binary files, a class a line


def pack_images(
    folder: Path,
    size: int,
    out: Path,
    per_class: int | None = None,
    expect_classes: int | None = None,
    expect_pictures: int | None = None,
) -> None:
    """Pack `folder/<class>/<picture>`; labels number the class folders in alphabetical order.

    `folder` may instead name files of CIFAR-10's binary version, as `some/folder/data_batch_*.bin`, with wildcards in
    the file's name alone; the labels are then the files'. Each picture is scaled so that its shorter side is `size`
    pixels (bilinear, antialiased) and cut to the square in its centre. With `per_class`, only the first so many
    pictures of each class are taken, by name, or in the order of the binary files. What is left out of the class
    folders is logged, as are pictures that ask for a turn, which is not done.

    Raises:
        UserError: no class folder, a class without pictures, other numbers than expected, `size` or `per_class` below
            1, or more pictures than memory holds; or as `decode` and `read_binary_files` do.
    """
    for name, value in (("size", size), ("per_class", per_class)):
        if value is not None and value < 1:
            raise UserError(f"images.{name} is {value}, and must be at least 1")
    turned: list[str] = []
    if folder.suffix == BINARY_SUFFIX:
        pictures, labels, classes = read_binary_files(folder, per_class)
        squares = (square(Image.fromarray(picture), size) for picture in pictures)
    else:
        paths, labels, classes = list_class_folders(folder, per_class)
        squares = (read_square(path, size, turned) for path in paths)
    check_count(folder, "classes", len(classes), expect_classes)
    check_count(folder, "pictures", len(labels), expect_pictures)
    require_memory(f"the pictures of {folder}, {size} pixels a side,", len(labels) * size * size * 3)
    images = np.empty((len(labels), size, size, 3), np.uint8)
    progress = Progress(f"pictures of {folder}", len(labels))
    for i, picture in enumerate(squares):
        images[i] = picture
        progress.log(i + 1)
    with whole_file(out) as part:
        write_packed_images(part, PackedImages(images, labels, classes))
    progress.finish(f", {len(classes)} classes")
    tell_turned(turned)


def list_class_folders(folder: Path, per_class: int | None) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    """Return the pictures' paths, their labels int64 (N,), and the class names, all in alphabetical order."""
    if not os.path.isdir(folder):  # unlike Path's, it raises nothing for want of permissions
        raise UserError(f"there is no folder {folder}: point images.source at one that holds class folders")
    classes = tuple(list_folders(folder))
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders, and at least 2 are needed")
    paths: list[Path] = []
    labels: list[int] = []
    for label, pictures in enumerate(list_class_pictures(folder, classes)):
        paths += [folder / picture for picture in pictures[:per_class]]
        labels += [label] * len(pictures[:per_class])
    return paths, np.array(labels, np.int64), classes


def list_class_pictures(folder: Path, classes: Sequence[str]) -> list[list[str]]:
    """Return the sorted paths below `folder` of each class folder's pictures; log what else is there.

    Raises:
        UserError: a class folder holds none.
    """
    pictures: list[list[str]] = []
    known = set(classes)
    left_out = [name for name in list_visible(folder) if name not in known]
    for name in classes:
        found = list_visible(folder / name)
        pictures.append([f"{name}/{picture}" for picture in found if is_picture(picture)])
        others = [f"{name}/{other}" for other in found if not is_picture(other)]
        if not pictures[-1]:
            but = f" but {len(others)} files or folders with other endings, as {others[0]}" if others else ""
            raise UserError(f"the class folder {folder / name} holds no pictures{but}: fill it or remove it")
        left_out += others
    tell_left_out(folder, left_out)
    return pictures


def list_pictures(folder: Path) -> list[str]:
    """Return the sorted names of the pictures in `folder`, told by their endings; log what else is there."""
    found = list_visible(folder)
    tell_left_out(folder, [name for name in found if not is_picture(name)])
    return [name for name in found if is_picture(name)]


def is_picture(name: str) -> bool:
    """Tell whether a file is meant as a picture, by the ending of its name."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def tell_left_out(folder: Path, names: list[str]) -> None:
    """Log how many files and folders are left out, and name one."""
    if names:
        logging.warning(
            "%d files or folders of %s are left out, for they do not lie where pictures do or have other endings (%s),"
            " as %s",
            len(names),
            folder,
            ", ".join(IMAGE_SUFFIXES),
            names[0],
        )


def require_memory(what: str, size: int) -> None:
    """Raise UserError if so many bytes are more than this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise UserError(
            f"{what} take {size / 1e9:.0f} GB of memory, and this machine has {memory / 1e9:.0f} GB: take fewer or"
            " smaller ones, or set images.storage to files"
        )


def check_count(folder: Path, what: str, found: int, expected: int | None, least: int = 1) -> None:
    """Raise UserError if there are fewer than `least`, or not as many as expected."""
    if found < least or expected not in (None, found):
        raise UserError(
            f"{folder} holds {found} {what}, and {expected or f'at least {least}'} are expected: unpack it again, or"
            " correct images.expect"
        )


def number_or_any(text: str) -> int | None:
    """Return the number that `text` holds, None for "any"."""
    return None if text == "any" else int(text)


def read_square(path: Path, size: int, turned: list[str] | None = None) -> np.ndarray:
    """Return a picture's central square as uint8 (size, size, 3); otherwise as `decode`."""
    return square(Image.fromarray(decode(read_file(path), str(path), turned)), size)


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Return an RGB picture's central square as uint8 (size, size, 3)."""
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR))


def read_binary_files(pattern: Path, per_class: int | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the pictures uint8 (N, 32, 32, 3) of CIFAR-10's binary files in order, labels int64 (N,), class names.

    Raises:
        UserError: no file matches, one is empty, cut or has a label without a name, they are more than memory holds,
            or the names are missing.
    """
    paths = sorted(pattern.parent.glob(pattern.name))
    if not paths:
        raise UserError(f"there is no file {pattern}: point images.source at the folder of CIFAR-10's binary files")
    classes = read_class_names(pattern.parent / BINARY_NAMES)
    # Twice, because they are joined.
    size = sum(require_file(path, "unpack it again").st_size for path in paths)
    require_memory(f"the pictures of {pattern}", 2 * size)
    records = np.concatenate([read_records(path, len(classes)) for path in paths])
    labels = records[:, 0].astype(np.int64)
    kept = np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in range(len(classes))]))
    planes = records[kept, 1:].reshape(-1, 3, BINARY_SIDE, BINARY_SIDE)
    return planes.transpose(0, 2, 3, 1), labels[kept], classes


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, without blank ones at its end; UserError if they are no names of classes."""
    try:
        names = tuple(read_file(path).decode("utf-8-sig").rstrip().splitlines())
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8, which names the classes: unpack it again") from None
    if any("\0" in name for name in names) or len(set(names)) < len(names):
        raise UserError(f"{path} names a class twice, or with a NUL character: unpack it again")
    return names


def read_records(path: Path, classes: int) -> np.ndarray:
    """Return the records of one binary file, uint8 (N, 3073)."""
    with reading(path):
        records = np.fromfile(path, np.uint8)
    if records.size == 0 or records.size % BINARY_RECORD:
        raise UserError(
            f"{path} has {records.size} bytes, which is no multiple of {BINARY_RECORD}: it is cut, or not a file of "
            "CIFAR-10's binary version"
        )
    records = records.reshape(-1, BINARY_RECORD)
    if records[:, 0].max() >= classes:
        raise UserError(f"{path} has the label {records[:, 0].max()}, but {BINARY_NAMES} names {classes} classes")
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--expect-classes", type=number_or_any, help='a number or "any"')
    parser.add_argument("--expect-pictures", type=number_or_any, help='a number or "any"')
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pack_images(args.folder, args.size, args.out, args.per_class, args.expect_classes, args.expect_pictures)


if __name__ == "__main__":
    run_command(main)
