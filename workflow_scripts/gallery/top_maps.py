"""The pictures that a unit responds to most, and its maps there."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from workflow_scripts.dissect.maps import LayerMaps, MapBlock, exceed


class TopMaps(NamedTuple):
    """Maps of some units, by rising unit and for each by falling maximum, ties by rising image.

    unit, image int64 (N); maximum float32 (N); values (N, h * w) in the dump's precision.
    """

    unit: np.ndarray
    image: np.ndarray
    maximum: np.ndarray
    values: np.ndarray


def top_maps(maps: LayerMaps, cut: np.ndarray, count: int, look: Callable[[MapBlock], None]) -> TopMaps:
    """For each unit the maps of the `count` images with its highest activation, less those nowhere above `cut`.

    `cut` is float32 (units); `look` sees each block of the dump, so that it is read once. Memory is bounded by
    units * count maps and a block.
    """
    floor = cut.copy()  # a map that does not exceed it is not among the top
    pixels = maps.height * maps.width
    top = TopMaps(
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, pixels), maps.values.dtype)
    )
    for block in maps.blocks(0, maps.images):
        look(block)
        chosen = exceed(block, floor)
        image = np.repeat(np.arange(block.images.start, block.images.stop), np.diff(block.start))[chosen]
        values = block.values[chosen]
        new = TopMaps(
            block.unit[chosen].astype(np.int64), image, values.max(1, initial=-np.inf).astype(np.float32), values
        )
        top = keep_top(TopMaps(*map(np.concatenate, zip(top, new, strict=True))), count)
        last = np.flatnonzero(rank_within(top.unit) == count - 1)
        floor[top.unit[last]] = top.maximum[last]
    return top


def keep_top(maps: TopMaps, count: int) -> TopMaps:
    """The first `count` maps of each unit, in order."""
    order = np.lexsort((maps.image, -maps.maximum, maps.unit))
    order = order[rank_within(maps.unit[order]) < count]
    return TopMaps(*(column[order] for column in maps))


def rank_within(unit: np.ndarray) -> np.ndarray:
    """How many of the entries before it, in an ascending array, each has that are equal to it: int64 (N)."""
    return np.arange(len(unit)) - np.searchsorted(unit, unit)
