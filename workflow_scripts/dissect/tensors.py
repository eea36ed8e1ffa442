"""Activation maps on a torch device, for GPUs: copying them there, and interpolating them.

Threads decode maps into pinned memory, and a separate stream copies them while the block before is computed. On a CPU
the same operations run one after another.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.dissect.interpolation import Grid
from workflow_scripts.dissect.maps import LayerMaps, MapBlock
from workflow_scripts.dissect.parallel import in_order
from workflow_scripts.shared.progress import Progress

VALUES_AT_ONCE = 2**24  # of the maps of a block; bounds memory


def to_device(array: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Copy an array to the device; on a GPU the copy is queued on the stream, and the host does not wait."""
    tensor = torch.as_tensor(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def pinned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Pinned memory, which a GPU can copy from by itself."""
    return torch.empty(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True).numpy()


class DeviceBlock(NamedTuple):
    """Maps of consecutive images on a device: values (K, h * w) of the units `unit` (K), of the images `image` (K).

    `image` counts from the first of the block's `images`. On a GPU, `ready` is the event after which they are there;
    `host` is the memory that is copied until then.
    """

    images: slice
    values: Tensor
    unit: Tensor
    image: Tensor
    ready: torch.cuda.Event | None
    host: np.ndarray


class Blocks:
    """The maps of a layer, block after block, on a device: each block is copied while the one before is computed."""

    def __init__(self, maps: LayerMaps, device: torch.device, threads: int):
        """`threads` threads decode. Work already on the current stream finishes before anything `on_stream` starts."""
        self.maps, self.device, self.threads = maps, device, threads
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def on_stream(self) -> AbstractContextManager:
        """A context in which work goes on the stream of copies."""
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

    def __iter__(self) -> Iterator[DeviceBlock]:
        """Yield the blocks; work on a block goes on the current stream unless it is put `on_stream`."""
        progress = Progress(f"images of {self.maps.layer}", self.maps.images)
        empty = pinned if self.stream else np.empty
        runs = self.maps.runs(0, self.maps.images, VALUES_AT_ONCE)
        before = None  # the block that is being copied while the next one is decoded
        for block in in_order(lambda images: self.maps.read(images, empty), runs, self.threads):
            progress.log(block.images.stop)
            copied = self._copied(block) if len(block.unit) else None
            if before:
                yield before
            before = copied
        if before:
            yield before
        progress.finish()

    def _copied(self, block: MapBlock) -> DeviceBlock:
        with self.on_stream():
            values, unit = to_device(block.values, self.device), to_device(block.unit, self.device).long()
            counts = to_device(np.diff(block.start), self.device)
            image = torch.arange(len(counts), device=self.device).repeat_interleave(counts, output_size=len(unit))
        ready = self.stream.record_event() if self.stream else None
        return DeviceBlock(block.images, values, unit, image, ready, block.values)

    def use(self, block: DeviceBlock) -> None:
        """Make the current stream wait for a block, and keep the block's memory until that stream has used it."""
        if block.ready is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(block.ready)
            for tensor in (block.values, block.unit, block.image):
                tensor.record_stream(current)


def pad(maps: Tensor, grid: Grid) -> Tensor:
    """Maps (K, h, w) in single precision, with the grid's border of zeros."""
    return torch.nn.functional.pad(maps.float(), (grid.border,) * 4)


def interpolate_columns(maps: Tensor, grid: Grid) -> Tensor:
    """Interpolate padded maps (K, h, w), float32, along x: (K, h, W)."""
    first, second = to_device(grid.columns.astype(np.int64), maps.device)
    a = maps.index_select(2, first)
    return maps.index_select(2, second).sub_(a).mul_(to_device(grid.column_weight, maps.device)).add_(a)


def interpolate(maps: Tensor, grid: Grid, rows: int | None = None) -> Tensor:
    """Interpolate maps (K, h, w) to float32 (K, H, W), to the bits that `interpolation` defines.

    Nothing is fused: each operation rounds. With `rows`, there are that many rows; those below the map are -infinity.
    """
    across = interpolate_columns(pad(maps, grid), grid)
    height = len(grid.row_weight)
    weight = to_device(grid.row_weight, maps.device)[:, None]
    result = across.new_empty(len(maps), rows or height, across.shape[2])
    result[:, height:] = -torch.inf
    # The positions between two rows of knots are consecutive.
    ends = np.searchsorted(grid.rows[0], np.arange(across.shape[1]), "right").tolist()
    for y, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
        if first < last:
            a = across[:, y : y + 1]
            step = across[:, min(y + 1, across.shape[1] - 1), None] - a
            torch.mul(step, weight[first:last], out=result[:, first:last]).add_(a)
    return result
