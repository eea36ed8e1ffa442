"""A list of picture files with their labels and sizes, kept in one HDF5 file."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.data.hdf5 import (
    COMPRESSION,
    FORMAT,
    create_hdf5,
    open_hdf5,
    read_attribute,
    read_dataset,
    read_whole_numbers,
)

LONGEST_SIDE = 2**31 - 1


@dataclass(frozen=True)
class ImageIndex:
    """Picture files: `paths` below their folder, with labels and sizes.

    `labels` int64 (N,) are positions in `classes`; `height`, `width` int32 (N,) are in pixels. `fingerprint` is a
    SHA-256 over the files' paths and bytes.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    height: np.ndarray
    width: np.ndarray
    fingerprint: str


def read_image_index(path: str | Path) -> ImageIndex:
    """Read what `index_images` wrote; raise UserError if it is missing or damaged, or a label has no class."""
    with open_hdf5(path, "paths", "labels", "classes", "height", "width", "fingerprint") as file:
        classes, paths = (
            tuple(os.fsdecode(name) for name in read_dataset(file, dataset, np.bytes_, (None,)))
            for dataset in ("classes", "paths")
        )
        labels = read_whole_numbers(file, "labels", (len(paths),), 0, len(classes) - 1).astype(np.int64, copy=False)
        height, width = (
            read_whole_numbers(file, side, (len(paths),), 1, LONGEST_SIDE).astype(np.int32, copy=False)
            for side in ("height", "width")
        )
        return ImageIndex(paths, labels, classes, height, width, read_attribute(file, "fingerprint", str))


def write_image_index(path: str | Path, index: ImageIndex) -> None:
    """Write `index` to an HDF5 file with a dataset for each list; names are stored as the file system's bytes."""
    with create_hdf5(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = index.fingerprint
        file["classes"] = np.array([os.fsencode(name) for name in index.classes])
        columns = {
            "paths": np.array([os.fsencode(name) for name in index.paths]),
            "labels": index.labels,
            "height": index.height,
            "width": index.width,
        }
        for name, values in columns.items():
            file.create_dataset(name, data=values, **COMPRESSION)
