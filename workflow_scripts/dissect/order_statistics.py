"""Exact order statistics of every unit's samples, in one streaming pass over half-precision values.

A half-precision number has 16 bits: a histogram of bit patterns, in rising order of the numbers, gives every order
statistic exactly, and histograms of parts of the data add up. Single-precision samples take two passes: one over the
upper 16 bits, one over the lower 16 bits of the samples with the upper bits of the order statistic.

Only the largest samples matter, so each unit has a floor: once the rank-th largest sample so far is in some bin, the
final one is there or higher, and samples that are not above that bin need not be counted.
"""

import mmap
from fractions import Fraction
from math import floor
from typing import NamedTuple, Self

import numpy as np

from workflow_scripts.dissect import kernels
from workflow_scripts.dissect.interpolation import Grid
from workflow_scripts.dissect.maps import LayerMaps, as_bits
from workflow_scripts.shared.files import UserError

BINS = 2**16
NO_FLOOR = -1


def order_statistic_rank(quantile: float, samples: int) -> int:
    """The rank, with 1 for the largest, of the value that at most `quantile` of the samples exceed.

    It is floor(quantile * samples) + 1, computed exactly for the decimal number that `quantile` is written as: in
    binary, products such as 0.005 * 1000 may fall on either side of a whole number.
    """
    if not 0 < quantile < 0.5:
        raise UserError(
            f"quantile {quantile} does not lie between 0 and 0.5: it is the share of values above the threshold; the"
            " usual one is 0.005"
        )
    return floor(Fraction(str(quantile)) * samples) + 1


class Counts(NamedTuple):
    """What a part of the data adds to a `LargestSamples`: bins that are not empty, floors and extremes."""

    place: np.ndarray
    samples: np.ndarray
    floor: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    zeros: bool


class OrderStatistics:
    """What is known about the rank-th largest sample of each of U units while samples are being counted.

    `rank` int64 (U) counts from 1, the largest. `threshold` is the highest number in the order statistic's bin: for
    half precision, and after the second pass, the order statistic itself. The order statistic is not below
    `lower_bound`, whatever samples follow. `minimum` and `maximum` are those of the values so far, float32 (U).
    """

    def __init__(self, rank: np.ndarray, half: bool, upper: np.ndarray | None = None):
        """`half`: the samples are half-precision numbers. `upper` (U): only samples with these upper 16 bits count."""
        self.rank, self.half, self.upper = rank, half, upper
        units = len(rank)
        self.floor = np.full(units, NO_FLOOR, np.int64)
        self.above = np.zeros(units, np.int64)
        self.minimum = np.full(units, np.inf, np.float32)
        self.maximum = np.full(units, -np.inf, np.float32)
        self.samples = 0
        self.next_raise = max(2**20, units * int(rank.max()))  # before that, few floors can rise

    @property
    def threshold(self) -> np.ndarray:
        """float32 (U); -infinity while the floor is unknown."""
        return self._highest_in(self.floor)

    @property
    def lower_bound(self) -> np.ndarray:
        """float32 (U); -infinity while nothing is known."""
        # For single precision only the bin is known, so the bound is the highest number of the bin below.
        return self.threshold if self.half else self._highest_in(self.floor - 1)

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Two bounds, float32 (U): samples above the first and not above the second count."""
        if self.upper is None:
            return self.threshold, np.full(len(self.rank), np.inf, np.float32)
        below = np.full(len(self.rank), BINS - 1)
        return join_bits(self.upper - 1, below), join_bits(self.upper, below)

    @property
    def shift(self) -> int:
        """The lowest of the bits that make a sample's bin."""
        return 16 if self.upper is None else 0

    def raise_floors(self) -> None:
        """Raise each floor to the bin of the rank-th largest sample so far. Call it once more at the end."""
        raise NotImplementedError

    def add_all(self, maps: LayerMaps, grid: Grid | None, threads: int) -> None:
        """Count the samples of all maps of a layer, for classes that do not count parts separately."""
        raise NotImplementedError

    def second_pass(self) -> Self:
        """For single precision: an empty object for the second pass, once samples are counted and floors raised."""
        return type(self)(self.rank - self.above, half=False, upper=self.floor)

    def _added(self, maps: int, pixels: int, grid: Grid | None) -> None:
        """Raise the floors if enough samples were added: those of `maps` maps of `pixels` values."""
        self.samples += maps * (pixels if grid is None else len(grid.row_weight) * len(grid.column_weight))
        if self.samples >= self.next_raise:
            self.next_raise = self.samples + self.samples // 2
            self.raise_floors()

    def _highest_in(self, floor: np.ndarray) -> np.ndarray:
        """The highest number of each of the bins `floor` (U), float32; -infinity for NO_FLOOR or less."""
        if self.upper is not None:
            highest = join_bits(self.upper, floor)
        elif self.half:
            highest = half_of(floor)
        else:
            highest = join_bits(floor, np.full(len(floor), BINS - 1))
        return np.where(floor > NO_FLOOR, highest, -np.inf).astype(np.float32)


class LargestSamples(OrderStatistics):
    """Order statistics by the compiled kernels. Parts of the data can be counted separately: see `merge`."""

    def __init__(self, rank: np.ndarray, half: bool, upper: np.ndarray | None = None):
        super().__init__(rank, half, upper)
        self.histogram = sparse_zeros(len(rank), BINS)
        self.zeros = False  # whether zeros around maps are among the samples

    def add(self, layer: str, values: np.ndarray, unit: np.ndarray, width: int, grid: Grid | None) -> None:
        """Count the samples of maps.

        Args:
            layer: the layer's name, for the error.
            values: float16 or float32 (K, h * w).
            unit: the unit of each map, int32 (K).
            width: w.
            grid: the grid that maps are interpolated to before samples are taken; None for the values themselves.

        Raises:
            UserError: a value is NaN or infinite.
        """
        to = grid or NO_GRID
        self.zeros |= to.border > 0
        bad = kernels.count_samples(
            as_bits(values), unit, width, to, self.shift, *self.limits(), self.minimum, self.maximum, self.histogram
        )
        if bad >= 0:
            refuse_not_finite(layer, bad)
        self._added(len(values), values.shape[1], grid)

    def raise_floors(self) -> None:
        """Raise each floor to the bin of the rank-th largest sample so far."""
        kernels.raise_floors(self.histogram, self.rank, self.floor, self.above, *self._occupied_bins())

    def counts(self) -> Counts:
        """What `merge` needs: the bins above the floors that are not empty, floors and extremes."""
        self.raise_floors()
        _, highest = self._occupied_bins()
        place = np.concatenate(
            [
                unit * BINS + floor + 1 + np.flatnonzero(self.histogram[unit, floor + 1 : last + 1])
                for unit, (floor, last) in enumerate(zip(self.floor, highest, strict=True))
            ]
        )
        return Counts(place, self.histogram.ravel()[place], self.floor, self.minimum, self.maximum, self.zeros)

    def merge(self, other: Counts) -> None:
        """Add the counts of another part of the data."""
        self.histogram.ravel()[other.place] += other.samples
        np.maximum(self.floor, other.floor, out=self.floor)
        np.minimum(self.minimum, other.minimum, out=self.minimum)
        np.maximum(self.maximum, other.maximum, out=self.maximum)
        self.zeros |= other.zeros

    def _occupied_bins(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest bin that may hold samples, int64 (U)."""
        if self.upper is None and np.isfinite(self.minimum).all():
            least, most = self.minimum, self.maximum
            if self.zeros:
                least, most = np.minimum(least, 0), np.maximum(most, 0)
            return rising_bits(least, self.half), rising_bits(most, self.half)
        return np.zeros(len(self.rank), np.int64), np.full(len(self.rank), BINS - 1)


NO_GRID = Grid(
    np.zeros((2, 0), np.uint32), np.zeros(0, np.float32), np.zeros((2, 0), np.uint32),
    np.zeros((2, 0), np.uint32), np.zeros(0, np.float32), np.zeros((2, 0), np.uint32),
)  # fmt: skip


def sparse_zeros(rows: int, columns: int) -> np.ndarray:
    """Zeros, uint32 (rows, columns), that take up memory only where something is written."""
    # Private, so that pages that are only read take up no memory, either.
    memory = mmap.mmap(-1, 4 * rows * columns, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # huge pages would allocate and clear nearly all of it
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.uint32).reshape(rows, columns)


def join_bits(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The float32 whose rising bit pattern has these upper and lower 16 bits; for -0, the number before it."""
    rising = (np.maximum(upper, 0).astype(np.uint32) << 16) | np.maximum(lower, 0).astype(np.uint32)
    rising = np.where(rising == 0x7FFFFFFF, np.uint32(0x7FFFFFFE), rising)
    return np.where(rising >> 31, rising ^ 0x80000000, ~rising).astype(np.uint32).view(np.float32)


def half_of(rising: np.ndarray) -> np.ndarray:
    """The half-precision number, as float32, of a rising 16-bit pattern."""
    rising = np.maximum(rising, 0).astype(np.uint16)
    pattern = np.where(rising >> 15, rising ^ 0x8000, ~rising).astype(np.uint16)
    return pattern.view(np.float16).astype(np.float32)


def rising_bits(values: np.ndarray, half: bool) -> np.ndarray:
    """The bins of numbers, int64: the upper 16 bits of bit patterns that rise with the number."""
    values = values + np.float32(0)  # -0 and 0 are one number
    pattern = values.astype(np.float16).view(np.uint16) if half else values.view(np.uint32) >> 16
    pattern = pattern.astype(np.int64)
    return np.where(pattern >> 15, pattern ^ 0xFFFF, pattern ^ 0x8000)


def refuse_not_finite(layer: str, unit: int) -> None:
    """Raise UserError for a layer and unit whose activations are NaN or infinite."""
    raise UserError(
        f"layer {layer}, unit {unit}: the activations hold NaN or infinity, which is never written: dump them again"
    )
