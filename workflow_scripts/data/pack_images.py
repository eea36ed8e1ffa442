"""Decode and resize a dataset in class folders, or in CIFAR-10's binary files, into one HDF5 file."""

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from workflow_scripts.data.broden_layout import DECODING_ERRORS
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.files import UserError, run_command, whole_file
from workflow_scripts.progress import Progress

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
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
    pictures of each class are taken, by name, or in the order of the binary files.

    Raises:
        UserError: no class folder, a class without pictures, other numbers than expected, or a file that is not a
            whole picture; or as `read_binary_files` does.
    """
    if folder.suffix == BINARY_SUFFIX:
        pictures, labels, classes = read_binary_files(folder, per_class)
        squares = (square(Image.fromarray(picture), size) for picture in pictures)
    else:
        paths, labels, classes = list_class_folders(folder, per_class)
        squares = (read_square(path, size) for path in paths)
    check_count(folder, "classes", len(classes), expect_classes)
    check_count(folder, "pictures", len(labels), expect_pictures)
    images = np.empty((len(labels), size, size, 3), np.uint8)
    progress = Progress(f"pictures of {folder}", len(labels))
    for i, picture in enumerate(squares):
        images[i] = picture
        progress.log(i + 1)
    with whole_file(out) as part:
        write_packed_images(part, PackedImages(images, labels, classes))
    progress.finish(f", {len(classes)} classes")


def list_class_folders(folder: Path, per_class: int | None) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    """Return the pictures' paths, their labels int64 (N,), and the class names, all in alphabetical order."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: point images.source at one that holds class folders")
    classes = tuple(list_folders(folder))
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders, and at least 2 are needed")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = [folder / name / picture for picture in list_pictures(folder / name)]
        if not found:
            raise UserError(f"the class folder {folder / name} holds no pictures: fill it or remove it")
        paths += found[:per_class]
        labels += [label] * len(found[:per_class])
    return paths, np.array(labels, np.int64), classes


def list_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in `folder`, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def list_pictures(folder: Path) -> list[str]:
    """Return the sorted names of the pictures in `folder`, told by their suffixes, without hidden files."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return sorted(name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))


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


def read_square(path: Path, size: int) -> np.ndarray:
    """Return a picture's central square, held upright, as uint8 (size, size, 3)."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                raise UserError(f"{path} has more than 8 bits a channel: convert it, for its values would be clipped")
            return square(ImageOps.exif_transpose(image).convert("RGB"), size)
    except DECODING_ERRORS as error:
        raise UserError(f"{path} is not a whole picture ({error}): replace or remove it") from None


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Return an RGB picture's central square as uint8 (size, size, 3)."""
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR))


def read_binary_files(pattern: Path, per_class: int | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the pictures uint8 (N, 32, 32, 3) of CIFAR-10's binary files in order, labels int64 (N,), class names.

    Raises:
        UserError: no file matches, one is empty, cut or has a label without a name, or the names are missing.
    """
    paths = sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())
    if not paths:
        raise UserError(f"there is no file {pattern}: point images.source at the folder of CIFAR-10's binary files")
    classes = read_class_names(pattern.parent / BINARY_NAMES)
    records = np.concatenate([read_records(path, len(classes)) for path in paths])
    labels = records[:, 0].astype(np.int64)
    kept = np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in range(len(classes))]))
    planes = records[kept, 1:].reshape(-1, 3, BINARY_SIDE, BINARY_SIDE)
    return planes.transpose(0, 2, 3, 1), labels[kept], classes


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, without blank ones at its end."""
    try:
        return tuple(path.read_text("utf-8").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} with the names of the classes cannot be read ({error}): unpack it again") from None


def read_records(path: Path, classes: int) -> np.ndarray:
    """Return the records of one binary file, uint8 (N, 3073)."""
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
