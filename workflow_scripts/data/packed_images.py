"""A dataset of class folders, decoded once and kept in one HDF5 file."""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import (
    FORMAT,
    create_hdf5,
    open_hdf5,
    read_dataset,
    read_texts,
    read_whole_numbers,
    wrong,
)


@dataclass(frozen=True)
class PackedImages:
    """Pictures in memory: `images` uint8 (N, S, S, 3), `labels` int64 (N,), `classes` names by label."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def read_packed_images(path: str | Path) -> PackedImages:
    """Read what `pack_images` wrote; raise UserError if it is missing or damaged, or a label has no class."""
    with open_hdf5(path, "images", "labels", "classes") as file:
        classes = tuple(read_texts(file, "classes", (None,), "surrogateescape"))
        labels = read_whole_numbers(file, "labels", (None,), 0, len(classes) - 1).astype(np.int64, copy=False)
        images = read_dataset(file, "images", np.uint8, (len(labels), None, None, 3))
        if images.shape[1] != images.shape[2]:
            raise wrong(file, "images", "are not square")
        return PackedImages(images, labels, classes)


def write_packed_images(path: str | Path, packed: PackedImages) -> None:
    """Write `packed` to an HDF5 file with the datasets `images`, `labels` and `classes`."""
    with create_hdf5(path) as file:
        file.attrs["format"] = FORMAT
        file["images"] = packed.images
        file["labels"] = packed.labels
        # Store the file system's bytes, because folders may have names in other encodings.
        names = [os.fsencode(name) for name in packed.classes]
        file.create_dataset("classes", data=np.array(names, object), dtype=h5py.string_dtype())
