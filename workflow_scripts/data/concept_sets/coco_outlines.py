"""The outlines of COCO's segments, as polygons or run lengths, and the masks that they enclose."""

from array import array
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from workflow_scripts.shared.files import UserError

MOST_CHARACTERS = 6  # of a number in a text: more than any picture needs


class Runs(NamedTuple):
    """A mask, column by column: the lengths of alternating runs outside and inside it, or COCO's text for these."""

    size: tuple  # height, width
    counts: array | str


Outline = list[array] | Runs  # polygons (x, y, x, y, ...), or runs


def compact_outline(segmentation: Any) -> Outline:
    """Return a segmentation as an outline; raise TypeError, ValueError or OverflowError if it is not one."""
    if isinstance(segmentation, list) and segmentation:
        return [array("d", polygon) for polygon in segmentation]
    if isinstance(segmentation, dict) and isinstance(segmentation.get("size"), list):
        counts: Any = segmentation.get("counts")
        return Runs(tuple(segmentation["size"]), counts if isinstance(counts, str) else array("I", counts))
    raise ValueError


def require_outline(outline: Outline, height: int, width: int, where: str) -> None:
    """Raise UserError, with the place, for an outline that no mask (height, width) can have."""
    if isinstance(outline, Runs):
        if outline.size != (height, width):
            raise UserError(
                f"{where}: its size is {list(outline.size)}, but that of its picture is {[height, width]}: correct it"
            )
        counts = run_lengths(outline.counts)
        if counts is None or not counts.size or counts.min() < 0 or counts.max() > height * width:
            raise UserError(f"{where}: its counts are not run lengths: correct or remove it")
        if counts.sum() != height * width:
            raise UserError(
                f"{where}: its counts sum to {counts.sum()}, but its picture has {height * width} pixels: correct or"
                " remove it"
            )
        return
    for polygon in outline:
        if len(polygon) < 6 or len(polygon) % 2:
            raise UserError(
                f"{where}: a polygon has {len(polygon)} numbers, but needs an even count of at least 6: correct or"
                " remove it"
            )
        for numbers, side in ((polygon[::2], width), (polygon[1::2], height)):
            # Some polygons extend a little beyond the picture; distant ones would take unbounded memory.
            if min(numbers) < -side or max(numbers) > 2 * side:
                raise UserError(f"{where}: a polygon is far outside the picture: correct or remove it")


def run_lengths(counts: array | str) -> np.ndarray | None:
    """Return the run lengths, int64; None if a text does not encode any.

    A character of the text has five bits of a number, the lowest first, and a sixth bit if more characters follow; 48
    is added. Bit 4 of the last character is the sign. From the fourth number on, they are differences to the number
    before the last.
    """
    if isinstance(counts, array):
        return np.array(counts, np.int64)
    if not counts or not counts.isascii():
        return None
    characters = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    if characters.min() < 0 or characters.max() > 63 or characters[-1] & 32:
        return None
    ends = np.flatnonzero(characters & 32 == 0) + 1
    starts = np.concatenate(([0], ends[:-1]))
    many = ends - starts
    if many.max() > MOST_CHARACTERS:
        return None
    shifts = 5 * (np.arange(len(characters)) - np.repeat(starts, many))
    lengths = np.add.reduceat((characters & 31) << shifts, starts)
    lengths -= np.where(characters[ends - 1] & 16, 1 << 5 * many, 0)
    lengths[1::2] = np.cumsum(lengths[1::2])
    lengths[2::2] = np.cumsum(lengths[2::2])
    return lengths


def fill(outline: Outline, height: int, width: int) -> np.ndarray:
    """Return the mask, bool (height, width), of an outline that `require_outline` accepts."""
    if isinstance(outline, Runs):
        counts = outline.counts
    else:
        counts = coco_mask.merge(coco_mask.frPyObjects(outline, height, width))["counts"].decode()
    lengths = run_lengths(counts)
    assert lengths is not None, "the outline is one that `require_outline` accepts"
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T
