"""How often a unit has which activation, as far as the dump tells."""

import numpy as np

from workflow_scripts.dissect.maps import LayerMaps, MapBlock

BINS = 32


class Histograms:
    """Counts of each unit's activations between what the dump holds all of and its maximum, in BINS equal bins.

    A dump of candidates holds every activation above its bound, one of all maps every activation. `low` and `high`
    are float32 (U); activations above `low` are counted, in `counts` int64 (U, BINS); all others of the layer's
    `samples` lie at or below it.
    """

    def __init__(self, maps: LayerMaps, minimum: np.ndarray, maximum: np.ndarray) -> None:
        """Start with no counts; `minimum` and `maximum` of each unit are float32 (U)."""
        self.low = maps.bound if maps.candidates else minimum
        self.high = maximum
        self.samples = maps.samples
        self.counts = np.zeros((len(self.low), BINS), np.int64)

    def add(self, block: MapBlock) -> None:
        """Count the activations of some maps."""
        values = block.values.astype(np.float32)
        entry, place = np.nonzero(values > self.low[block.unit][:, None])
        unit = block.unit[entry]
        low, high = self.low[unit].astype(np.float64), self.high[unit].astype(np.float64)
        # Where a value is counted, high is above low.
        bins = ((values[entry, place] - low) / (high - low) * BINS).astype(np.int64).clip(0, BINS - 1)
        self.counts += np.bincount(unit.astype(np.int64) * BINS + bins, minlength=self.counts.size).reshape(
            self.counts.shape
        )
