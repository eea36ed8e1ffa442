"""Decode and resize a dataset from class folders, or from CIFAR-10's binary files, into one HDF5 file."""

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from workflow_scripts.data.class_folders import tell_narrowed
from workflow_scripts.data.decode import decode, most_pixels, tell_turned
from workflow_scripts.data.labelled_pictures import ALL, Wanted, add_arguments, list_labelled, renumber, wanted_of
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.shared.concept_names import table_name
from workflow_scripts.shared.files import UserError, require_file, run_command, whole_file
from workflow_scripts.shared.limits import raise_limit
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.regular_files import read_file

# CIFAR-10's binary version (Krizhevsky 2009): a byte for the label, then the red, green and blue planes, row by row.
BINARY_SUFFIX = ".bin"
BINARY_SIDE = 32
BINARY_RECORD = 1 + 3 * BINARY_SIDE**2  # bytes
BINARY_NAMES = "batches.meta.txt"  # beside the binary files, one class per line


def pack_images(
    folder: Path,
    size: int,
    out: Path,
    per_class: int | None = None,
    classes_of: Path | None = None,
    ground_truth: Path | None = None,
    wanted: Wanted = ALL,
) -> None:
    """Pack `folder/<class>/<picture>` or, with `ground_truth`, `folder/<picture>`.

    Labels number the `wanted` class folders of `classes_of`, or of `folder` if that is None, in alphabetical order.
    `folder` may instead name files of CIFAR-10's binary version, such as `some/folder/data_batch_*.bin`, with wildcards
    only in the file name; the classes are then those of the list beside them, in its order. Each picture is scaled so
    that its shorter side is `size` pixels (bilinear, antialiased) and cropped to its central square. With `per_class`,
    only the first `per_class` pictures of each class are taken, by name, or in the order of the binary files.
    Everything that is left out is logged, and so are pictures that ask for a turn, which is ignored.

    Raises:
        UserError: the number of pictures is not as expected, `size` or `per_class` is below 1, `size` is too large, or
            the pictures do not fit into memory; or as in `list_labelled`, `decode` and `read_binary_files`.
    """
    for name, value in (("size", size), ("per_class", per_class)):
        if value is not None and value < 1:
            raise UserError(f"images.{name} is {value}, but must be at least 1")
    if size * size > most_pixels():
        raise UserError(
            f"images.size is {size}, which is too large: correct it, or {raise_limit('picture_megapixels')}"
        )
    turned: list[str] = []
    if folder.suffix == BINARY_SUFFIX:
        pictures, labels, classes = read_binary_files(folder, per_class, wanted)
        squares = (square(Image.fromarray(picture), size) for picture in pictures)
    else:
        if classes_of and classes_of.suffix == BINARY_SUFFIX:
            classes_of = None  # there are no class folders, and training refuses classes that differ
        names, labels, classes = list_labelled(folder, classes_of, ground_truth, wanted)
        kept = first_of_each(labels, len(classes), per_class)
        squares = (read_square(folder / names[i], size, turned) for i in kept)
        labels = labels[kept]
    wanted.check_pictures(folder, len(labels))
    require_memory(f"the pictures of {folder}, {size} pixels a side,", len(labels) * size * size * 3)
    images = np.empty((len(labels), size, size, 3), np.uint8)
    progress = Progress(f"pictures of {folder}", len(labels))
    for i, picture in enumerate(squares):
        images[i] = picture
        progress.log(i + 1)
    with whole_file(out) as part:
        write_packed_images(part, PackedImages(images, labels, tuple(map(table_name, classes))))
    progress.finish(f", {len(classes)} classes")
    tell_turned(turned)


def require_memory(what: str, size: int) -> None:
    """Raise UserError if `size` bytes are more than this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise UserError(
            f"{what} take {size / 1e9:.0f} GB of memory, but this machine has {memory / 1e9:.0f} GB: take fewer or"
            " smaller ones, or set images.storage to files"
        )


def read_square(path: Path, size: int, turned: list[str] | None = None) -> np.ndarray:
    """Return a picture's central square as uint8 (size, size, 3); otherwise like `decode`."""
    return square(Image.fromarray(decode(read_file(path), str(path), turned)), size)


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Return an RGB picture's central square as uint8 (size, size, 3)."""
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR))


def first_of_each(labels: np.ndarray, classes: int, count: int | None) -> np.ndarray:
    """Return the positions, in order, of the first `count` labels of each class; None means all of them."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(classes)]))


def read_binary_files(
    pattern: Path, per_class: int | None, wanted: Wanted
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the pictures of CIFAR-10's binary files in order, uint8 (N, 32, 32, 3), labels int64 (N,), class names.

    Raises:
        UserError: no file matches, a file is empty, cut off or has a label without a name, the files do not fit into
            memory, or the names are missing; or as in `Wanted.choose`.
    """
    paths = sorted(pattern.parent.glob(pattern.name))
    if not paths:
        raise UserError(f"there is no file {pattern}: point images.source at the folder of CIFAR-10's binary files")
    classes = read_class_names(pattern.parent / BINARY_NAMES)
    taken = wanted.choose(pattern, "classes", classes)
    # Twice the size, because the files are joined.
    size = sum(require_file(path, "unpack it again").st_size for path in paths)
    require_memory(f"the pictures of {pattern}", 2 * size)
    records = np.concatenate([read_records(path, len(classes)) for path in paths])
    labels = renumber(records[:, 0], classes, taken)
    tell_narrowed(pattern, int((labels < 0).sum()))
    kept = first_of_each(labels, len(taken), per_class)
    planes = records[kept, 1:].reshape(-1, 3, BINARY_SIDE, BINARY_SIDE)
    return planes.transpose(0, 2, 3, 1), labels[kept], taken


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, except blank ones at its end; raise UserError if they are not class names."""
    try:
        names = tuple(read_file(path).decode("utf-8-sig").rstrip().splitlines())
    except UnicodeDecodeError:
        raise UserError(f"{path}, which names the classes, is not text in UTF-8: unpack it again") from None
    if any("\0" in name for name in names) or len(set(names)) < len(names):
        raise UserError(f"{path} names a class twice, or with a NUL character: unpack it again")
    return names


def read_records(path: Path, classes: int) -> np.ndarray:
    """Return the records of one binary file, uint8 (N, 3073)."""
    records = np.frombuffer(read_file(path), np.uint8)
    if records.size == 0 or records.size % BINARY_RECORD:
        raise UserError(
            f"{path} has {records.size} bytes, which is not a multiple of {BINARY_RECORD}: it is cut off, or not a file"
            " of CIFAR-10's binary version"
        )
    records = records.reshape(-1, BINARY_RECORD)
    if records[:, 0].max() >= classes:
        raise UserError(f"{path} has the label {records[:, 0].max()}, but {BINARY_NAMES} names {classes} classes")
    return records


def main() -> None:
    """Pack the dataset that the command line names, at --size pixels a side, into the HDF5 file --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--per-class", type=int)
    args = parser.parse_args()
    pack_images(args.folder, args.size, args.out, args.per_class, args.classes_of, args.ground_truth, wanted_of(args))


if __name__ == "__main__":
    run_command(main)
