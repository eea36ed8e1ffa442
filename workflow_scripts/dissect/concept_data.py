"""Read concepts.h5, and check that files belong together."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.data.chunks import Rows
from workflow_scripts.data.hdf5 import (
    MOST_COUNTED,
    find_dataset,
    open_hdf5,
    read_attribute,
    read_flags,
    read_starts,
    read_texts,
    read_whole_numbers,
    wrong,
)
from workflow_scripts.data.label_masks import WORD_BITS
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.printable import printable

IMAGES_AT_ONCE = 256  # images whose labels are read together
LARGEST_MAP = 2**24  # pixels; float32 counts exactly up to here


class LabelBlock(NamedTuple):
    """The labels of some images, for N images and C categories.

    masks: uint64 (M, H * words), as `data.label_masks` packs them; those of image i go from mask_start[i] to
    mask_start[i + 1]. mask_label int32 (M): their labels, as positions in the label table. whole_label int32, from
    whole_start[i] to whole_start[i + 1]: the labels of the whole image i. counts_for bool (N, C): the categories whose
    unit areas the image adds to. A label that an image has several times counts each time.
    """

    masks: np.ndarray
    mask_label: np.ndarray
    mask_start: np.ndarray
    whole_label: np.ndarray
    whole_start: np.ndarray
    counts_for: np.ndarray


class ConceptData:
    """An open concepts.h5: its tables are in memory, its label masks are read as needed.

    Attributes have the names of the datasets that `pack_concepts` documents. Names are str. Use it as a context
    manager.
    """

    def __init__(self, path: str | Path):
        """Raises UserError if the file is missing, damaged, of another format, or inconsistent."""
        self.path = path
        self.file = open_hdf5(path, "label_number", "masks", "plane_area")
        try:
            self._read_tables()
            self._open_masks()
        except BaseException:
            self.file.close()
            raise

    def _read_tables(self) -> None:
        file = self.file
        self.fingerprint: str = read_attribute(file, "fingerprint", str)
        self.height, self.width = map(int, read_whole_numbers(file, "label_size", (2,), 1, LARGEST_MAP))
        if self.height * self.width > LARGEST_MAP:
            raise wrong(file, "label_size", f"gives label maps more than {LARGEST_MAP} pixels, which are not counted")
        # Tables and figures have these names, so nothing in them may break a file or be obeyed by a terminal.
        self.category_name = list(map(printable, read_texts(file, "category_name", (None,))))
        categories = len(self.category_name)
        self.label_number = read_whole_numbers(file, "label_number", (None,), 0, 2**16 - 1)
        labels = (len(self.label_number),)
        if (np.diff(self.label_number.astype(np.int64)) <= 0).any():
            raise wrong(file, "label_number", "does not rise")
        self.label_name = list(map(printable, read_texts(file, "label_name", labels)))
        self.label_category = read_whole_numbers(file, "label_category", labels, 0, categories - 1)
        self.label_area, self.plane_area = (
            read_whole_numbers(file, name, labels, 0, MOST_COUNTED) for name in ("label_area", "plane_area")
        )
        self.image_has_category = read_flags(file, "image_has_category", (None, categories))

    def _open_masks(self) -> None:
        file, images, last_label = self.file, len(self.image_has_category), len(self.label_number) - 1
        shape = (..., self.height, -(-self.width // WORD_BITS))
        self._masks, self._masks_again = (
            Rows(find_dataset(file, name, np.uint64, shape)) for name in ("masks", "masks_again")
        )
        self.row_bytes = 8 * shape[2]  # bytes of a row of pixels
        self._mask_label, self._again_label, self._whole_label = (
            read_whole_numbers(file, f"{kind}_label", (rows,), 0, last_label)
            for kind, rows in (("mask", self._masks.shape[0]), ("again", self._masks_again.shape[0]), ("whole", ...))
        )
        self._mask_start, self._again_start, self._whole_start = (
            read_starts(file, f"{kind}_start", images, len(labels))
            for kind, labels in (
                ("mask", self._mask_label), ("again", self._again_label), ("whole", self._whole_label)
            )
        )  # fmt: skip

    def __enter__(self) -> "ConceptData":
        """Return this reader, open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.file.close()

    def mask_count(self, each_plane: bool) -> int:
        """The number of masks in the blocks of all images."""
        return self._masks.shape[0] + (self._masks_again.shape[0] if each_plane else 0)

    def block(self, images: np.ndarray, with_category: bool, each_plane: bool = False) -> LabelBlock:
        """The labels of the images at these positions (N), which may repeat; UserError if the file is damaged there.

        With `with_category`, an image counts for the categories that it has labels of, otherwise for all. A pixel that
        carries a label in several planes counts once or, with `each_plane`, once per plane.
        """
        counts_for = self.image_has_category[images] if with_category else np.ones_like(self.image_has_category[images])
        masks, mask_label, mask_start = rows_of(images, self._masks, self._mask_label, self._mask_start)
        if each_plane:
            again = rows_of(images, self._masks_again, self._again_label, self._again_start)
            masks, mask_label, mask_start = joined((masks, mask_label, mask_start), again)
        whole_start = starts_of(self._whole_start, images)
        whole_label = np.concatenate([self._whole_label[run] for run in slices_of(self._whole_start, images)])
        return LabelBlock(
            masks.reshape(len(masks), self.height * masks.shape[2]),
            mask_label,
            mask_start,
            whole_label,
            whole_start,
            counts_for,
        )

    def blocks(self, with_category: bool, each_plane: bool) -> Iterator[tuple[np.ndarray, LabelBlock]]:
        """Yield the positions and the labels of all images, some images at a time, as `block` returns them."""
        images = len(self.image_has_category)
        for first in range(0, images, IMAGES_AT_ONCE):
            run = np.arange(first, min(first + IMAGES_AT_ONCE, images))
            yield run, self.block(run, with_category, each_plane)

    def all_labels(self, with_category: bool, each_plane: bool, scratch: Path) -> LabelBlock:
        """The labels of all images, as from `block`; their masks are in the new file `scratch`, mapped into memory."""
        words, blocks = self.height * self.row_bytes // 8, []
        with open(scratch, "wb") as file:  # through a map, a full disk would kill the process (SIGBUS)
            for _, block in self.blocks(with_category, each_plane):
                file.write(np.ascontiguousarray(block.masks).data)
                blocks.append(block._replace(masks=np.empty((0, words), np.uint64)))
        masks = np.memmap(scratch, np.uint64, "r+", shape=(self.mask_count(each_plane) or 1, words))
        of_all = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in JOINED}
        starts = {name: starts_of_all([getattr(block, name) for block in blocks]) for name in STARTS}
        return LabelBlock(masks=masks, **of_all, **starts)


JOINED, STARTS = ("mask_label", "whole_label", "counts_for"), ("mask_start", "whole_start")  # fields of a LabelBlock


def starts_of_all(blocks: list[np.ndarray]) -> np.ndarray:
    """The starts of each image's rows, and the end of the last, when these blocks are concatenated."""
    return np.cumsum(np.concatenate([[0], *map(np.diff, blocks)]))


MaskRows = tuple[np.ndarray, np.ndarray, np.ndarray]  # masks, their labels, and the starts of each image's rows


def rows_of(images: np.ndarray, masks: Rows, label: np.ndarray, start: np.ndarray) -> MaskRows:
    """Read the rows of these images."""
    slices, new_start = slices_of(start, images), starts_of(start, images)
    read, place = np.empty((new_start[-1], *masks.shape[1:]), masks.dtype), 0
    for run in slices:
        masks.read(run.start, run.stop, read[place : place + run.stop - run.start])
        place += run.stop - run.start
    return read, np.concatenate([label[run] for run in slices]), new_start


def joined(one: MaskRows, other: MaskRows) -> MaskRows:
    """Merge rows of the same images, so that each image's rows are adjacent."""
    if not len(other[1]):
        return one
    image = np.concatenate([np.repeat(np.arange(len(start) - 1), np.diff(start)) for *_, start in (one, other)])
    order = np.argsort(image, kind="stable")
    masks, label = (np.concatenate(pair)[order] for pair in zip(one[:2], other[:2], strict=True))
    return masks, label, one[2] + other[2]


def slices_of(start: np.ndarray, images: np.ndarray) -> list[slice]:
    """The slices of these images' rows, one for each run of consecutive images."""
    runs = np.split(images, np.flatnonzero(np.diff(images) != 1) + 1)
    return [slice(int(start[run[0]]), int(start[run[-1] + 1])) for run in runs]


def starts_of(start: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The starts of each image's rows, and the end of the last, when the rows of these images are concatenated."""
    return np.cumsum([0, *np.diff(start)[images]])


def require_same(path: str | Path, made_from: str, other: str | Path, fingerprint: str) -> None:
    """Raise UserError unless the file `path` was made from `other`."""
    if made_from != fingerprint:
        raise UserError(f"{path} was not made from {other} but from other data; make it again")
