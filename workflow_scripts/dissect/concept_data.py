"""Reading concepts.h5, and checking that files belong together."""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import open_hdf5
from workflow_scripts.files import UserError


class LabelBlock(NamedTuple):
    """The labels of some images, for N images and C categories.

    masks: uint64 (M, H * words), as `data.label_masks` packs them, those of image i from mask_start[i] to
    mask_start[i + 1]; mask_label int32 (M): whose they are, as positions in the label table. whole_label int32,
    from whole_start[i] to whole_start[i + 1]: the labels of all of image i. counts_for bool (N, C): the categories
    whose unit areas the image adds to.
    """

    masks: np.ndarray
    mask_label: np.ndarray
    mask_start: np.ndarray
    whole_label: np.ndarray
    whole_start: np.ndarray
    counts_for: np.ndarray


class ConceptData:
    """An open concepts.h5: its tables in memory, its label masks read as needed.

    Attributes are named as the datasets that `pack_concepts` documents. Names are str. Use it as a
    context manager.
    """

    def __init__(self, path: str | Path):
        """Raises UserError if the file is missing, damaged or of another format."""
        self.file = open_hdf5(path, "label_number", "masks")
        self.fingerprint: str = self.file.attrs["fingerprint"]
        self.height, self.width = (int(size) for size in self.file["label_size"][:])
        self.label_number = self.file["label_number"][:]
        self.label_name: list[str] = list(self.file["label_name"].asstr()[:])
        self.label_category = self.file["label_category"][:]
        self.label_area = self.file["label_area"][:]
        self.category_name: list[str] = list(self.file["category_name"].asstr()[:])
        self.image_has_category = self.file["image_has_category"][:]
        self._masks = self.file["masks"]
        self._mask_label, self._mask_start = self.file["mask_label"][:], self.file["mask_start"][:]
        self._whole_label, self._whole_start = self.file["whole_label"][:], self.file["whole_start"][:]

    def __enter__(self) -> "ConceptData":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def block(self, images: np.ndarray, with_category: bool) -> LabelBlock:
        """The labels of the images at these positions (N).

        An image counts for the categories of which it has a label, or, unless `with_category`, for all.
        """
        counts_for = self.image_has_category[images] if with_category else np.ones_like(self.image_has_category[images])
        masks, mask_label = (of_images(rows, self._mask_start, images) for rows in (self._masks, self._mask_label))
        return LabelBlock(
            masks.reshape(len(masks), self._masks.shape[1] * self._masks.shape[2]),
            mask_label,
            starts_of(self._mask_start, images),
            of_images(self._whole_label, self._whole_start, images),
            starts_of(self._whole_start, images),
            counts_for,
        )


def of_images(rows: np.ndarray | h5py.Dataset, start: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The rows of some images, where image i has start[i] to start[i + 1]; consecutive images are read at once."""
    runs = np.split(images, np.flatnonzero(np.diff(images) != 1) + 1)
    return np.concatenate([rows[start[run[0]] : start[run[-1] + 1]] for run in runs])


def starts_of(start: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Where each image's rows start in what `of_images` returns, and last where they end."""
    return np.cumsum([0, *np.diff(start)[images]])


def require_same(path: str | Path, made_from: str, other: str | Path, fingerprint: str) -> None:
    """Raise UserError unless the file `path` was made from `other`."""
    if made_from != fingerprint:
        raise UserError(f"{path} was not made from {other} but from other data; make it again")
