"""Find each unit's activation threshold, the exact order statistic over all images and positions."""

import argparse
import logging
from fractions import Fraction
from math import floor
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import FORMAT, open_hdf5
from workflow_scripts.files import UserError, run_command, whole_file

log = logging.getLogger(__name__)

VALUES_IN_MEMORY = 2**24  # of the maps, and as many of the largest values: bounds memory


def find_thresholds(activations: str | Path, quantile: float, out: str | Path) -> None:
    """Write thresholds.h5: per layer a group with `threshold`, `maximum` and `minimum`, float32 (units).

    A unit's threshold T is chosen such that P(activation > T) = quantile (Bau et al. 2017, section 2.2):
    of n samples, over all images and positions of the raw map, the (floor(quantile * n) + 1)-th largest.
    Attributes: `format`, `activations` (fingerprint of the dump) and `quantile`.

    Raises UserError if the dump is missing or damaged, a map holds NaN or infinity (naming layer and
    unit), or the quantile does not lie between 0 and 1.
    """
    with open_hdf5(activations, "maps") as dump, whole_file(out) as part, h5py.File(part, "w") as file:
        file.attrs.update(format=FORMAT, activations=dump.attrs["fingerprint"], quantile=quantile)
        for layer, maps in dump["maps"].items():
            images, _, height, width = maps.shape
            rank = order_statistic_rank(quantile, images * height * width)
            threshold, maximum, minimum = order_statistics(layer, maps, rank)
            file[f"{layer}/threshold"] = threshold
            file[f"{layer}/maximum"] = maximum
            file[f"{layer}/minimum"] = minimum
            log.info("%s: thresholds of %d units", layer, len(threshold))


def order_statistic_rank(quantile: float, samples: int) -> int:
    """The rank, counted from the largest as 1, of the value that at most `quantile` of the samples exceed.

    floor(quantile * samples) + 1, computed exactly for the decimal number that `quantile` is written as:
    in binary, 0.005 * 1000 and its like may fall on either side of a whole number.
    """
    if not 0 < quantile < 1:
        raise UserError(f"quantile {quantile} does not lie between 0 and 1; the usual one is 0.005")
    return floor(Fraction(str(quantile)) * samples) + 1


def order_statistics(layer: str, maps: h5py.Dataset, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rank-th largest, the largest and the smallest value of each unit: three float32 (units)."""
    units = maps.shape[1]
    block = max(1, VALUES_IN_MEMORY // rank)  # units whose `rank` largest values fit
    blocks = [
        order_statistics_of_units(layer, maps, rank, slice(start, min(start + block, units)))
        for start in range(0, units, block)
    ]
    # Adding 0 makes -0 and 0 one number, whichever of them the partition met first.
    return tuple(np.concatenate(values) + np.float32(0) for values in zip(*blocks, strict=True))


def order_statistics_of_units(
    layer: str, maps: h5py.Dataset, rank: int, units: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`order_statistics` of some units, in one pass over the images that keeps the `rank` largest values."""
    images, _, height, width = maps.shape
    count = units.stop - units.start
    step = max(1, VALUES_IN_MEMORY // (count * height * width))
    largest = np.empty((count, 0), np.float32)
    maximum = np.full(count, -np.inf, np.float32)
    minimum = np.full(count, np.inf, np.float32)
    for start in range(0, images, step):
        chunk = maps[start : start + step, units].astype(np.float32)
        samples = np.moveaxis(chunk, 1, 0).reshape(count, -1)
        # Not fmax: NaN has to come through.
        maximum = np.maximum(maximum, samples.max(axis=1))
        minimum = np.minimum(minimum, samples.min(axis=1))
        refuse_not_finite(layer, units.start, maximum, minimum)
        largest = np.concatenate([largest, samples], axis=1)
        if largest.shape[1] > rank:
            largest.partition(largest.shape[1] - rank, axis=1)
            largest = largest[:, -rank:]
    return largest.min(axis=1), maximum, minimum


def refuse_not_finite(layer: str, first_unit: int, maximum: np.ndarray, minimum: np.ndarray) -> None:
    """Raise UserError naming the first unit whose extremes are NaN or infinite."""
    bad = np.flatnonzero(~(np.isfinite(maximum) & np.isfinite(minimum)))
    if bad.size:
        raise UserError(
            f"layer {layer}, unit {first_unit + bad[0]}: the activations hold NaN or infinity; "
            "check that the network's training did not diverge"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", required=True, help="activations.h5")
    parser.add_argument("--quantile", type=float, required=True, help="share of samples above the threshold")
    parser.add_argument("--out", required=True, help="thresholds.h5 to write")
    arguments = parser.parse_args()
    find_thresholds(arguments.activations, arguments.quantile, arguments.out)


if __name__ == "__main__":
    run_command(main)
