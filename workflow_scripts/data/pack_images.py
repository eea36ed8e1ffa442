"""Decode and resize a dataset in class folders into one HDF5 file."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from workflow_scripts.data.broden_layout import DECODING_ERRORS
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.files import UserError, run_command, whole_file
from workflow_scripts.progress import Progress

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def pack_images(folder: Path, size: int, out: Path, per_class: int | None = None) -> None:
    """Pack `folder/<class>/<picture>`; labels number the class folders in alphabetical order.

    Each picture is scaled so that its shorter side is `size` pixels (bilinear, antialiased) and cut to the
    square in its centre. With `per_class`, only the first so many pictures of each class, by name, are taken.

    Raises:
        UserError: no class folder, a class without pictures, or a file that is not a whole picture.
    """
    paths, labels, classes = list_class_folders(folder, per_class)
    images = np.empty((len(paths), size, size, 3), np.uint8)
    progress = Progress(f"pictures of {folder}", len(paths))
    for i, path in enumerate(paths):
        images[i] = read_square(path, size)
        progress.log(i + 1)
    with whole_file(out) as part:
        write_packed_images(part, PackedImages(images, labels, classes))
    progress.finish(f", {len(classes)} classes")


def list_class_folders(folder: Path, per_class: int | None) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    """Return the pictures' paths, their labels int64 (N,), and the class names, all in alphabetical order."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: point images.source at one that holds class folders")
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders, and at least 2 are needed")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise UserError(f"the class folder {folder / name} holds no pictures: fill it or remove it")
        paths += found[:per_class]
        labels += [label] * len(found[:per_class])
    return paths, np.array(labels, np.int64), classes


def read_square(path: Path, size: int) -> np.ndarray:
    """Return a picture's central square, held upright, as uint8 (size, size, 3)."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                raise UserError(f"{path} has more than 8 bits a channel: convert it, for its values would be clipped")
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))
    except DECODING_ERRORS as error:
        raise UserError(f"{path} is not a whole picture ({error}): replace or remove it") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pack_images(args.folder, args.size, args.out, args.per_class)


if __name__ == "__main__":
    run_command(main)
