"""Where the pictures of a concept set carry a label, for outlines and examples."""

from collections.abc import Iterable

import numpy as np

from workflow_scripts.dissect.concept_data import IMAGES_AT_ONCE, ConceptData, LabelBlock


class LabelMasks:
    """The masks of some labels in some pictures of a concept set, read once and kept packed.

    Args:
        labels: the concept set.
        wanted: pairs of a picture and a label, both as positions in the set.

    Raises:
        UserError: the file is damaged there.
    """

    def __init__(self, labels: ConceptData, wanted: Iterable[tuple[int, int]]) -> None:
        self.height, self.width = labels.height, labels.width
        self.packed: dict[tuple[int, int], np.ndarray | None] = {}
        labels_of: dict[int, list[int]] = {}
        for image, label in sorted(set(wanted)):
            labels_of.setdefault(image, []).append(label)
        images = np.array(list(labels_of), np.int64)
        for first in range(0, len(images), IMAGES_AT_ONCE):
            some = images[first : first + IMAGES_AT_ONCE]
            block = labels.block(some, with_category=True)
            for place, image in enumerate(some.tolist()):
                for label in labels_of[image]:
                    self.packed[image, label] = packed_mask(block, place, label)

    def mask(self, image: int, label: int) -> np.ndarray:
        """Return the pixels of a picture that carry a label, bool (H, W)."""
        packed = self.packed[image, label]
        if packed is None:
            return np.ones((self.height, self.width), bool)
        rows = packed.astype("<u8").view(np.uint8).reshape(self.height, -1)
        return np.unpackbits(rows, axis=1, count=self.width, bitorder="little").astype(bool)


def packed_mask(block: LabelBlock, place: int, label: int) -> np.ndarray | None:
    """Return the mask of a label in the block's picture `place`, uint64 (H * words); None if all of it carries it."""
    if label in block.whole_label[slice(*block.whole_start[place : place + 2])]:
        return None
    rows = slice(*block.mask_start[place : place + 2])
    return np.bitwise_or.reduce(block.masks[rows][block.mask_label[rows] == label], axis=0)


def mask_runs(mask: np.ndarray) -> list[int]:
    """Return a mask, bool (H, W), as the lengths of its runs row by row, the first one outside (perhaps 0 long)."""
    flat = mask.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs
