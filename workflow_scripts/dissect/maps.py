"""Read and write the maps of activations.h5.

A dump holds all maps of a layer, `maps/<layer>` (images, units, h, w), or only candidates: those that can have a mask
at the largest quantile of interest. Then `maps/<layer>` is a group with `values` (K, h, w); `unit` int32 (K); `start`
int64 (images + 1): the candidates of image i go from start[i] to start[i + 1]; `bound` float32 (units): no threshold is
below it, and every map above it is included; and `minimum` and `maximum` of all maps, float32 (units).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import DTypeLike

from workflow_scripts.data.chunks import Rows
from workflow_scripts.data.hdf5 import (
    COMPRESSION,
    append_rows,
    find_dataset,
    find_group,
    find_member,
    lacks,
    member_names,
    read_extremes,
    read_singles,
    read_starts,
    wrong,
)
from workflow_scripts.dissect import kernels

VALUES_IN_MEMORY = 2**21  # of a block, in each thread; bounds memory
IMAGES_AT_ONCE = 256  # bounds the memory of their label masks
CHUNK_BYTES = 2**21


class MapBlock(NamedTuple):
    """Maps of consecutive images: values float16 or float32 (K, h * w) of the units `unit` int32 (K).

    The maps of the block's image i go from start[i] to start[i + 1], in ascending order of units.
    """

    images: slice
    values: np.ndarray
    unit: np.ndarray
    start: np.ndarray


class LayerMaps:
    """The maps of one layer of an open dump."""

    def __init__(self, dump: h5py.File, layer: str):
        """Raises UserError if the maps are missing, damaged, or inconsistent."""
        self.layer = layer
        maps = find_group(dump, "maps")
        self.candidates = isinstance(find_member(maps, layer), h5py.Group)
        if self.candidates:
            group = find_group(maps, layer)
            self.values = find_dataset(group, "values", np.floating, (..., None, None))
            self._read_candidates(group)
        else:
            self.values = find_dataset(maps, layer, np.floating, (None,) * 4)
            self.images, self.units = self.values.shape[:2]
        if self.values.dtype not in (np.float16, np.float32):
            raise wrong(maps, layer, f"is of {self.values.dtype}, neither float16 nor float32")
        self.rows = Rows(self.values)
        self.height, self.width = self.values.shape[-2:]
        self.half = self.values.dtype == np.float16

    def _read_candidates(self, group: h5py.Group) -> None:
        self.bound = read_singles(group, "bound", (None,))
        self.units = len(self.bound)
        self.maximum, self.minimum = read_extremes(group, self.units)
        # Not read as a whole: a million pictures can have a thousand million candidates.
        self.unit_rows = Rows(find_dataset(group, "unit", np.integer, (len(self.values),)))
        self.images = find_dataset(group, "start", np.integer, (None,)).shape[0] - 1
        if self.images < 1:
            raise wrong(group, "start", "has no image")
        self.start = read_starts(group, "start", self.images, len(self.values))
        if (self.bound == np.inf).any():
            raise wrong(group, "bound", "is infinite")

    @property
    def title(self) -> str:
        """The layer and the file, for errors."""
        return f"{self.layer} of {self.values.file.filename}"

    @property
    def samples(self) -> int:
        """The number of values of each unit."""
        return self.images * self.height * self.width

    def runs(self, first: int, last: int, values: int) -> Iterator[slice]:
        """Runs of the images `first` to `last` with at most `values` values each, but at least one image."""
        maps = values // (self.height * self.width)
        while first < last:
            if self.candidates:
                end = int(np.searchsorted(self.start, self.start[first] + maps, "right")) - 1
            else:
                end = first + maps // self.units
                if end - first > self.rows.at_once:
                    end -= end % self.rows.at_once  # whole chunks
            end = min(max(end, first + 1), first + IMAGES_AT_ONCE, last)
            yield slice(first, end)
            first = end

    def read(self, images: slice, empty: Callable = np.empty) -> MapBlock:
        """Read the maps of some images, with values in an array that `empty(shape, dtype)` makes."""
        first, last = images.start, images.stop
        if self.candidates:
            first, last = int(self.start[first]), int(self.start[last])
        values = empty((last - first, *self.rows.shape[1:]), self.rows.dtype)
        self.rows.read(first, last, values)
        if not self.candidates:
            return whole_block(values, images.start)
        start = self.start[images.start : images.stop + 1] - first
        unit = self.unit_rows.read(first, last)
        self._require_units(unit, start)
        return MapBlock(images, values.reshape(-1, self.height * self.width), unit, start)

    def _require_units(self, unit: np.ndarray, start: np.ndarray) -> None:
        """Raise UserError unless the units of candidates (K) exist, and rise within each image."""
        group = self.values.parent
        if len(unit) and not 0 <= unit.min() <= unit.max() < self.units:
            raise wrong(group, "unit", f"holds {unit.min()} to {unit.max()}, but there are {self.units} units")
        rising = unit[1:] > unit[:-1]
        rising[start[(start > 0) & (start < len(unit))] - 1] = True  # from one image to the next
        if not rising.all():
            raise wrong(group, "unit", "does not rise within each image")

    def blocks(self, first: int, last: int) -> Iterator[MapBlock]:
        """The maps of images `first` to `last`, a bounded number at a time; a block is valid until the next one."""
        memory = Memory()
        for images in self.runs(first, last, VALUES_IN_MEMORY):
            yield self.read(images, memory.empty)


def layers_of(dump: h5py.File) -> list[str]:
    """The names of the layers of an open dump, in its order; raise UserError if it has none."""
    if names := member_names(find_group(dump, "maps")):
        return names
    raise lacks(dump, "maps")


class Memory:
    """Memory that is reused: fresh memory costs as much time as decoding into it."""

    def __init__(self) -> None:
        self.bytes = np.empty(0, np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array, which replaces the previous one."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.bytes.size < size:
            self.bytes = np.empty(size, np.uint8)
        return self.bytes[:size].view(dtype).reshape(shape)


def whole_block(maps: np.ndarray, first: int = 0) -> MapBlock:
    """The block of all maps (n, units, h, w) of n images, starting with image `first`."""
    count, units = maps.shape[:2]
    unit = np.tile(np.arange(units, dtype=np.int32), count)
    return MapBlock(slice(first, first + count), maps.reshape(count * units, -1), unit, np.arange(count + 1) * units)


def create_maps(dump: h5py.File, layer: str, shape: tuple[int, ...], dtype: DTypeLike) -> h5py.Dataset:
    """Create an empty dataset for all maps (images, units, h, w) of a layer.

    A chunk holds all units of some images, a power of two, because thresholds and tallies read image after image.
    """
    size = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    images = 1
    while images < 64 and 2 * images <= shape[0] and 2 * images * size <= CHUNK_BYTES:
        images *= 2
    return dump.create_dataset(f"maps/{layer}", shape, dtype, chunks=(images, *shape[1:]), **COMPRESSION)


class CandidateWriter:
    """Appends the candidates of a layer, image after image."""

    def __init__(self, dump: h5py.File, layer: str, height: int, width: int, dtype: DTypeLike):
        chunk = max(1, CHUNK_BYTES // (height * width * np.dtype(dtype).itemsize))
        self.group = dump.create_group(f"maps/{layer}")
        self.values = self.group.create_dataset(
            "values", (0, height, width), dtype, maxshape=(None, height, width), chunks=(chunk, height, width),
            **COMPRESSION,
        )  # fmt: skip
        self.unit = self.group.create_dataset("unit", (0,), np.int32, maxshape=(None,), chunks=(chunk,), **COMPRESSION)
        self.counts: list[np.ndarray] = []

    def append(self, values: np.ndarray, unit: np.ndarray, counts: np.ndarray) -> None:
        """Add maps (K, h * w) of units (K); `counts` has the number of maps for each of the next images."""
        append_rows(self.values, values.reshape(-1, *self.values.shape[1:]))
        append_rows(self.unit, unit)
        self.counts.append(counts)

    def finish(self, bound: np.ndarray, minimum: np.ndarray, maximum: np.ndarray) -> None:
        """Write the start of each image's candidates, and `bound`, `minimum` and `maximum`, float32 (units)."""
        counts = np.concatenate([[0], *self.counts])
        self.group["start"] = np.cumsum(counts, dtype=np.int64)
        for name, values in (("bound", bound), ("minimum", minimum), ("maximum", maximum)):
            self.group[name] = values


def strict_bound(threshold: np.ndarray, mask: str) -> np.ndarray:
    """The number that values must exceed to be `mask` ("above" or "at_least") the threshold, float32 (units)."""
    return threshold if mask == "above" else np.nextafter(threshold, np.float32(-np.inf))


def exceed(block: MapBlock, cut: np.ndarray) -> np.ndarray:
    """Which maps have a value greater than their unit's `cut`, float32 (units): bool (K)."""
    active = np.empty(len(block.values) + 1, np.int64)
    count = kernels.find_active(as_bits(block.values), block.unit, cut, False, 0, len(block.values), active)
    chosen = np.zeros(len(block.values), bool)
    chosen[active[:count]] = True
    return chosen


def as_bits(values: np.ndarray) -> np.ndarray:
    """Values in the form that the kernels take: half precision as bit patterns."""
    return values.view(np.uint16) if values.dtype == np.float16 else values


def keep(block: MapBlock, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values and units of the maps that are `chosen` (K), and how many of these each image has."""
    counts = np.add.reduceat(np.append(chosen, False), block.start[:-1], dtype=np.int64)
    counts[np.diff(block.start) == 0] = 0
    return block.values[chosen], block.unit[chosen], counts
