"""Order statistics on a torch device, for GPUs: the same numbers as `order_statistics`, from the same histograms."""

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.dissect import order_statistics
from workflow_scripts.dissect.interpolation import Grid
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.order_statistics import BINS, refuse_not_finite
from workflow_scripts.dissect.tensors import Blocks, interpolate, to_device

SAMPLES_AT_ONCE = 2**24  # bounds memory
UNITS_AT_ONCE = 256  # bounds the memory of histograms
SIGN, WORD = 0x80000000, 0xFFFFFFFF


class LargestSamples(order_statistics.OrderStatistics):
    """Order statistics on a device."""

    def __init__(self, rank: np.ndarray, half: bool, upper: np.ndarray | None = None, device: str = "cpu"):
        super().__init__(rank, half, upper)
        self.device = torch.device(device)
        units = len(rank)
        self._histogram = torch.zeros(units, BINS, dtype=torch.int32, device=self.device)
        self._rank = to_device(rank, self.device)
        self._minimum, self._maximum = (to_device(a, self.device).clone() for a in (self.minimum, self.maximum))
        self._layer = ""
        self._bad = torch.full((), units, dtype=torch.int64, device=self.device)
        self._limit()

    def _limit(self) -> None:
        self._low, self._high = (to_device(limit, self.device) for limit in self.limits())

    def second_pass(self) -> "LargestSamples":
        """For single precision: an empty object for the second pass, on the same device."""
        return LargestSamples(self.rank - self.above, half=False, upper=self.floor, device=str(self.device))

    def add_all(self, maps: LayerMaps, grid: Grid | None, threads: int) -> None:
        """Count the samples of all maps of a layer."""
        blocks = Blocks(maps, self.device, threads)
        for block in blocks:
            blocks.use(block)
            self.add(maps.title, block.values, block.unit, maps.width, grid)

    def add(self, layer: str, values: Tensor, unit: Tensor, width: int, grid: Grid | None) -> None:
        """Count the samples of maps (K, h * w) of the units (K), on the device, like `LargestSamples` on the CPU.

        A value that is not finite is detected only when floors are raised.
        """
        self._layer = layer
        least, most = values.amin(1).float(), values.amax(1).float()
        self._bad = torch.minimum(self._bad, torch.where(most.isfinite() & least.isfinite(), self._bad, unit).amin())
        self._minimum.scatter_reduce_(0, unit, least, "amin")
        self._maximum.scatter_reduce_(0, unit, most, "amax")
        if grid is None:
            step = max(1, SAMPLES_AT_ONCE // values.shape[1])
            for part, units in zip(values.split(step), unit.split(step), strict=True):
                self._count(part, units)
        else:
            may = most.clamp(min=0) if grid.border else most
            chosen = (may > self._low[unit]).nonzero()[:, 0]
            step = max(1, SAMPLES_AT_ONCE // (len(grid.row_weight) * len(grid.column_weight)))
            for part in chosen.split(step):
                self._count(interpolate(values[part].unflatten(1, (-1, width)), grid).flatten(1), unit[part])
        self._added(len(values), values.shape[1], grid)

    def _count(self, samples: Tensor, unit: Tensor) -> None:
        """Add samples (k, n) of units (k) to their histograms."""
        low, high = self._low[unit][:, None], self._high[unit][:, None]
        # The host waits here for the number of samples; most maps have none.
        place = ((samples > low) & (samples <= high)).view(-1).nonzero()[:, 0]
        bins = (rising_bits(samples.reshape(-1)[place]) >> self.shift) & (BINS - 1)
        place = unit[place // samples.shape[1]] * BINS + bins
        self._histogram.view(-1).index_add_(0, place, torch.ones_like(place, dtype=torch.int32))

    def raise_floors(self) -> None:
        """Raise floors as on the CPU; UserError, naming the unit, if a value was NaN or infinite."""
        bad = int(self._bad)
        if bad < len(self.rank):
            refuse_not_finite(self._layer, bad)
        for begin in range(0, len(self.rank), UNITS_AT_ONCE):
            units = slice(begin, begin + UNITS_AT_ONCE)
            # The number of samples in each bin or above it, from the highest bin down.
            above = self._histogram[units].flip(1).cumsum(1, dtype=torch.int64)
            enough = (above >= self._rank[units, None]).sum(1)  # number of bins; the floor is the highest of them
            floor = torch.maximum(enough - 1, to_device(self.floor[units], self.device))
            higher = above.gather(1, (BINS - 2 - floor).clamp(min=0)[:, None])[:, 0]
            higher = torch.where(floor == BINS - 1, 0, higher)
            self.floor[units], self.above[units] = floor.cpu().numpy(), higher.cpu().numpy()
        self.minimum, self.maximum = self._minimum.cpu().numpy(), self._maximum.cpu().numpy()
        self._limit()


def keep(values: Tensor, unit: Tensor, images: int, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps that exceed their unit's `cut`, among all maps (K, h * w) of images, as `maps.keep` returns them."""
    chosen = values.amax(1).float() > to_device(cut, values.device)[unit]
    counts = chosen.view(images, -1).sum(1)
    found = chosen.nonzero()[:, 0]
    return values[found].cpu().numpy(), unit[found].int().cpu().numpy(), counts.cpu().numpy()


def rising_bits(samples: Tensor) -> Tensor:
    """32-bit patterns that rise with the numbers, int64; for half precision, in the upper 16 bits."""
    samples = samples + 0  # -0 and 0 are one number
    half = samples.dtype == torch.float16
    pattern = samples.view(torch.int16 if half else torch.int32).long()
    pattern = (pattern << 16 if half else pattern) & WORD
    return torch.where(pattern >= SIGN, pattern ^ WORD, pattern ^ SIGN)
