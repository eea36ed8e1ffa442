"""A class-folder dataset, decoded once and kept in one HDF5 file."""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import FORMAT, open_hdf5
from workflow_scripts.files import UserError


@dataclass(frozen=True)
class PackedImages:
    """Pictures in memory: `images` uint8 (N, S, S, 3), `labels` int64 (N,), `classes` names by label."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def read_packed_images(path: str | Path) -> PackedImages:
    """Read what `pack_images` has written; UserError if it is missing or damaged."""
    with open_hdf5(path, "images", "labels", "classes") as file:
        try:
            classes = tuple(file["classes"].asstr(errors="surrogateescape")[:])
            return PackedImages(file["images"][:], file["labels"][:], classes)
        except OSError as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from None


def write_packed_images(path: str | Path, packed: PackedImages) -> None:
    """Write `packed` to an HDF5 file with the datasets `images`, `labels` and `classes`."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file["images"] = packed.images
        file["labels"] = packed.labels
        # The file system's bytes, for folders may have names in other encodings.
        names = [os.fsencode(name) for name in packed.classes]
        file.create_dataset("classes", data=np.array(names, object), dtype=h5py.string_dtype())
