"""How often a unit has which activation, as far as the dump tells."""

import numpy as np

from workflow_scripts.dissect.kernels import compiled, single
from workflow_scripts.dissect.maps import LayerMaps, MapBlock, as_bits

BINS = 32


class Histograms:
    """Counts of each unit's activations between what the dump holds all of and its maximum, in BINS equal bins.

    A dump of candidates holds every activation above its bound, one of all maps every activation. `low` and `high`
    are float32 (U); activations above `low` are counted, in `counts` int64 (U, BINS); all others of the layer's
    `samples` lie at or below it.
    """

    def __init__(self, maps: LayerMaps, minimum: np.ndarray, maximum: np.ndarray) -> None:
        """Start with no counts; `minimum` and `maximum` of each unit are float32 (U)."""
        # Every map of a unit without a bound is a candidate.
        self.low = np.where(np.isfinite(maps.bound), maps.bound, minimum) if maps.candidates else minimum
        self.high = maximum
        self.samples = maps.samples
        self.counts = np.zeros((len(self.low), BINS), np.int64)

    def add(self, block: MapBlock) -> None:
        """Count the activations of some maps."""
        count_bins(as_bits(block.values), block.unit, self.low, self.high, self.counts)


@compiled
def count_bins(values: np.ndarray, unit: np.ndarray, low: np.ndarray, high: np.ndarray, counts: np.ndarray) -> None:
    """Add to `counts` int64 (U, BINS) the values of maps, as the kernels take them, that are above their unit's low."""
    for entry in range(values.shape[0]):
        u = unit[entry]
        least, most = np.float64(low[u]), np.float64(high[u])
        for place in range(values.shape[1]):
            value = np.float64(single(values[entry, place]))
            if value > least:
                # A damaged tally may say that the maximum is smaller than what the dump has.
                share = 1.0 if value >= most else (value - least) / (most - least)
                counts[u, min(int(share * BINS), BINS - 1)] += 1
