"""Reading concepts.h5, and checking that files belong together."""

from pathlib import Path
from typing import NamedTuple

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
        mask_rows, mask_start = rows_of(self._mask_start, images)
        whole_rows, whole_start = rows_of(self._whole_start, images)
        masks = np.concatenate([self._masks[first:last] for first, last in runs(self._mask_start, images)])
        return LabelBlock(
            masks.reshape(len(masks), self._masks.shape[1] * self._masks.shape[2]),
            self._mask_label[mask_rows],
            mask_start,
            self._whole_label[whole_rows],
            whole_start,
            counts_for,
        )


def rows_of(start: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that belong to some images, where image i has start[i] to start[i + 1]; and where each image starts."""
    rows = [np.arange(start[image], start[image + 1]) for image in images]
    return np.concatenate(rows), np.cumsum([0, *map(len, rows)])


def runs(start: np.ndarray, images: np.ndarray) -> list[tuple[int, int]]:
    """The same rows as `rows_of`, as (first, last) of runs; one run for consecutive images."""
    breaks = np.flatnonzero(np.diff(images) != 1) + 1
    return [(start[run[0]], start[run[-1] + 1]) for run in np.split(images, breaks)]


def require_same(path: str | Path, made_from: str, other: str | Path, fingerprint: str) -> None:
    """Raise UserError unless the file `path` was made from `other`."""
    if made_from != fingerprint:
        raise UserError(f"{path} was not made from {other} but from other data; make it again")
