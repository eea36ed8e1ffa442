"""Reading concepts.h5, and checking that files belong together."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.data.chunks import Rows
from workflow_scripts.data.hdf5 import open_hdf5
from workflow_scripts.files import UserError


class LabelBlock(NamedTuple):
    """The labels of some images, for N images and C categories.

    masks: uint64 (M, H * words), as `data.label_masks` packs them, those of image i from mask_start[i] to
    mask_start[i + 1]; mask_label int32 (M): whose they are, as positions in the label table. whole_label int32,
    from whole_start[i] to whole_start[i + 1]: the labels of all of image i. counts_for bool (N, C): the categories
    whose unit areas the image adds to. A label that an image has more than once counts each time.
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
        self.path = path
        self.file = open_hdf5(path, "label_number", "masks")
        self.fingerprint: str = self.file.attrs["fingerprint"]
        self.height, self.width = (int(size) for size in self.file["label_size"][:])
        self.label_number = self.file["label_number"][:]
        self.label_name: list[str] = list(self.file["label_name"].asstr()[:])
        self.label_category = self.file["label_category"][:]
        self.label_area = self.file["label_area"][:]
        self.category_name: list[str] = list(self.file["category_name"].asstr()[:])
        self.image_has_category = self.file["image_has_category"][:]
        self._masks = Rows(self.file["masks"])
        self.mask_count, self.row_bytes = self._masks.shape[0], 8 * self._masks.shape[2]  # of a row of pixels
        self._mask_label, self._mask_start = self.file["mask_label"][:], self.file["mask_start"][:]
        self._whole_label, self._whole_start = self.file["whole_label"][:], self.file["whole_start"][:]

    def __enter__(self) -> "ConceptData":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def block(self, images: np.ndarray, with_category: bool, each_plane: bool = False) -> LabelBlock:
        """The labels of the images at these positions (N), which may repeat.

        An image counts for the categories of which it has a label, or, unless `with_category`, for all. A pixel that
        carries a label in several planes counts for it once, or, with `each_plane`, once for each.
        """
        counts_for = self.image_has_category[images] if with_category else np.ones_like(self.image_has_category[images])
        runs = runs_of(images)
        mask_start, whole_start = (starts_of(start, images) for start in (self._mask_start, self._whole_start))
        masks = np.empty((mask_start[-1], *self._masks.shape[1:]), self._masks.dtype)
        for run, place in zip(runs, mask_start[np.cumsum([0, *map(len, runs[:-1])])], strict=True):
            first, last = self._mask_start[run[0]], self._mask_start[run[-1] + 1]
            self._masks.read(int(first), int(last), masks[place : place + last - first])
        mask_label, whole_label = (
            np.concatenate([labels[start[run[0]] : start[run[-1] + 1]] for run in runs])
            for labels, start in ((self._mask_label, self._mask_start), (self._whole_label, self._whole_start))
        )
        block = LabelBlock(
            masks.reshape(len(masks), self.height * self._masks.shape[2]),
            mask_label,
            mask_start,
            whole_label,
            whole_start,
            counts_for,
        )
        return block if each_plane else planes_joined(block)


def planes_joined(block: LabelBlock) -> LabelBlock:
    """The same labels, each image having each of them once: at every pixel that has it in any plane."""
    places = [(block.mask_start, block.mask_label), (block.whole_start, block.whole_label)]
    images = len(block.mask_start) - 1
    key, whole_key = (np.repeat(np.arange(images) << 32, np.diff(start)) + label for start, label in places)
    if len(np.unique(np.concatenate([key, whole_key]))) == len(key) + len(whole_key):
        return block
    whole_key = np.unique(whole_key)
    chosen = ~np.isin(key, whole_key)
    key, row = np.unique(key[chosen], return_inverse=True)
    masks = np.zeros((len(key), block.masks.shape[1]), np.uint64)
    np.bitwise_or.at(masks, row, block.masks[chosen])
    starts = [np.searchsorted(keys, np.arange(images + 1) << 32) for keys in (key, whole_key)]
    label, whole_label = ((keys & 0xFFFFFFFF).astype(np.int32) for keys in (key, whole_key))
    return LabelBlock(masks, label, starts[0], whole_label, starts[1], block.counts_for)


def runs_of(images: np.ndarray) -> list[np.ndarray]:
    """The images in runs of consecutive ones."""
    return np.split(images, np.flatnonzero(np.diff(images) != 1) + 1)


def starts_of(start: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Where each image's rows start if those of these images are put in a row, and last where they end."""
    return np.cumsum([0, *np.diff(start)[images]])


def require_same(path: str | Path, made_from: str, other: str | Path, fingerprint: str) -> None:
    """Raise UserError unless the file `path` was made from `other`."""
    if made_from != fingerprint:
        raise UserError(f"{path} was not made from {other} but from other data; make it again")
