"""Write the maps of a layer to a dump, batch after batch: all of them, or only candidates."""

import h5py
import numpy as np
import torch
from torch import Tensor

from workflow_scripts.dissect import tensor_samples
from workflow_scripts.dissect.maps import (
    CandidateWriter,
    LayerMaps,
    create_maps,
    exceed,
    keep,
    strict_bound,
    whole_block,
)
from workflow_scripts.dissect.order_statistics import LargestSamples, order_statistic_rank
from workflow_scripts.shared.gpus import lease_gpu

PRECISIONS = {"float16": torch.float16, "float32": torch.float32}


def map_writer(
    dump: h5py.File,
    scratch: h5py.File,
    layer: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    candidates: tuple[float, str] | None,
) -> "AllMaps | Candidates":
    """Return the writer of a layer's maps (images, units, h, w): of all, or of `candidates` (quantile and mask)."""
    if candidates is None:
        return AllMaps(dump, layer, shape, dtype)
    return Candidates(dump, scratch, layer, shape, dtype, *candidates, lease_gpu())


def bad_unit(maps: Tensor) -> int | None:
    """The first unit of maps (n, units, h, w) with a value that is not finite, or None."""
    if torch.stack(maps.aminmax()).isfinite().all():  # aminmax propagates NaN, and is many times as fast
        return None
    return int(torch.isfinite(maps).all(3).all(2).all(0).long().argmin())


class AllMaps:
    """Writes all maps of a layer, (images, units, h, w), to the dump."""

    def __init__(self, dump: h5py.File, layer: str, shape: tuple[int, ...], dtype: np.dtype):
        self.dataset = create_maps(dump, layer, shape, dtype)
        self.done = 0
        self.bytes = self.dataset.nbytes

    def add(self, maps: Tensor) -> None:
        """Write the maps of the next images."""
        self.dataset[self.done : self.done + len(maps)] = maps.cpu().numpy()
        self.done += len(maps)

    def finish(self) -> None:
        """Do nothing: all maps are written."""


class Candidates:
    """Writes those maps of a layer that can have a mask at quantiles up to `quantile`.

    A map that does not exceed a lower bound of its unit's threshold has no mask. This bound rises while images come in:
    maps that exceed it at that time go to a scratch file, and in the end those that exceed the last bound go to the
    dump.
    """

    def __init__(
        self,
        dump: h5py.File,
        scratch: h5py.File,
        layer: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        quantile: float,
        mask: str,
        device: str | None = None,
    ):
        """`device` is the torch device where the maps are and are selected; None for the compiled kernels."""
        images, units, self.height, self.width = shape
        self.layer, self.mask, self.dump, self.scratch = layer, mask, dump, scratch
        rank = order_statistic_rank(quantile, images * self.height * self.width)
        ranks, half = np.full(units, rank), dtype == np.float16
        self.largest = (
            tensor_samples.LargestSamples(ranks, half, device=device) if device else LargestSamples(ranks, half)
        )
        self.writer = CandidateWriter(scratch, layer, self.height, self.width, dtype)
        self.bytes = int(np.prod(shape)) * dtype.itemsize

    def add(self, maps: Tensor) -> None:
        """Take in the maps of the next images."""
        if isinstance(self.largest, LargestSamples):
            block = whole_block(maps.numpy())
            self.largest.add(self.layer, block.values, block.unit, self.width, None)
            self.writer.append(*keep(block, exceed(block, self.cut())))
        else:
            values = maps.flatten(2).flatten(0, 1)
            unit = torch.arange(maps.shape[1], device=maps.device).repeat(len(maps))
            self.largest.add(self.layer, values, unit, self.width, None)
            self.writer.append(*tensor_samples.keep(values, unit, len(maps), self.cut()))

    def finish(self) -> None:
        """Write this layer's candidates to the dump."""
        self.largest.raise_floors()
        self.writer.finish(self.largest.lower_bound, self.largest.minimum, self.largest.maximum)
        found = LayerMaps(self.scratch, self.layer)
        writer = CandidateWriter(self.dump, self.layer, self.height, self.width, found.values.dtype)
        for block in found.blocks(0, found.images):
            writer.append(*keep(block, exceed(block, self.cut())))
        writer.finish(self.largest.lower_bound, self.largest.minimum, self.largest.maximum)

    def cut(self) -> np.ndarray:
        """The value that a map must exceed to be a candidate, float32 (units)."""
        return strict_bound(self.largest.lower_bound, self.mask)
