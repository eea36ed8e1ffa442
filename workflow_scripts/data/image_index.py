"""A list of picture files with their labels and sizes, kept in one HDF5 file."""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import COMPRESSION, FORMAT, open_hdf5
from workflow_scripts.files import UserError


@dataclass(frozen=True)
class ImageIndex:
    """Picture files: `paths` below their folder, and what goes with each.

    `labels` int64 (N,) number `classes`; `height`, `width` int32 (N,) are in pixels. `fingerprint` is a SHA-256 over
    the files' paths and bytes.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    height: np.ndarray
    width: np.ndarray
    fingerprint: str


def read_image_index(path: str | Path) -> ImageIndex:
    """Read what `index_images` has written; UserError if it is missing or damaged."""
    with open_hdf5(path, "paths", "labels", "classes", "height", "width", "fingerprint") as file:
        try:
            return ImageIndex(
                tuple(os.fsdecode(name) for name in file["paths"][:]),
                file["labels"][:],
                tuple(os.fsdecode(name) for name in file["classes"][:]),
                file["height"][:],
                file["width"][:],
                file.attrs["fingerprint"],
            )
        except OSError as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from None


def write_image_index(path: str | Path, index: ImageIndex) -> None:
    """Write `index` to an HDF5 file with a dataset for each list; names are kept as the file system's bytes."""
    with h5py.File(path, "w") as file:
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
