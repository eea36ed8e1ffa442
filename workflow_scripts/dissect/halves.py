"""Names from one half of the pictures, scored on the other half; and counts under other draws of pictures.

Everything is a weighted sum of the tallies of groups of pictures. Thresholds are those of all pictures, because they do
not depend on labels.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from workflow_scripts.dissect.name_agreement import cohens_kappa, jaccard, ruzicka
from workflow_scripts.dissect.name_units import detects
from workflow_scripts.dissect.permutations import SEED

GROUPS, HALVINGS, DRAWS = 20, 20, 200
NO_NAME = 0  # for a unit that detects nothing
# The columns of split.csv, as `validate_units` writes it.
SPLIT_COLUMNS = [
    *("layer", "groups", "halvings", "detectors_half", "detectors_cv", "keep", "agreement", "bias"),
    *("units_sd", "concepts_sd", "kappa_common", "kappa_all", "jaccard", "counts_overlap"),
]
VALUES_AT_ONCE = 2**24  # IoUs; bounds memory


class Groups(NamedTuple):
    """The tallies of G groups of pictures: intersection (G, L, U), unit_area (G, U, C), label_area (G, L), int64.

    label_category (L): the labels' primary categories.
    """

    intersection: np.ndarray
    unit_area: np.ndarray
    label_area: np.ndarray
    label_category: np.ndarray

    def ious(self, weights: np.ndarray, units: slice) -> np.ndarray:
        """IoU of the units with each label, float64 (W, L, u), where group g counts weights[w, g] times, (W, G)."""
        weights = weights.astype(float)  # sums stay below 2 ** 53: exact
        shared, area, of_labels = (
            np.tensordot(weights, counts.astype(float), 1)
            for counts in (self.intersection[..., units], self.unit_area[:, units], self.label_area)
        )
        union = area.transpose(0, 2, 1)[:, self.label_category] + of_labels[..., None] - shared
        return shared / np.maximum(union, 1)

    def best(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each unit's best label, int64 (W, U), and its IoU; ties go to the first label."""
        found = [(ious.argmax(1), ious.max(1)) for ious in self._in_parts(weights)]
        labels, scores = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        return labels, scores

    def scores(self, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The IoU of each unit with its label in `labels` (W, U), float64 (W, U)."""
        parts, first = [], 0
        for ious in self._in_parts(weights):
            here = labels[:, None, first : first + ious.shape[2]]
            parts.append(np.take_along_axis(ious, here, 1)[:, 0])
            first += ious.shape[2]
        return np.concatenate(parts, axis=1)

    def _in_parts(self, weights: np.ndarray) -> Iterator[np.ndarray]:
        units, labels = self.intersection.shape[2], self.intersection.shape[1]
        step = max(1, VALUES_AT_ONCE // (len(weights) * labels))
        return (self.ious(weights, slice(first, first + step)) for first in range(0, units, step))


class Split(NamedTuple):
    """What `compare_halves` finds: a row of split.csv by column, and how often each unit kept its name (U)."""

    row: dict
    agreement: np.ndarray


def compare_halves(groups: Groups, rule: tuple[float, str]) -> Split:
    """Name units on one half of the groups and score these names on the other, both ways, for random halvings.

    A row has the number of `groups` and `halvings`, and means over halvings: `detectors_half`, units that are detectors
    on the half that names them; `detectors_cv`, units that detect that concept on the other half; `keep`, the share of
    the first that are among the second; `agreement`, the share of equal names among units that are detectors on both
    halves, each under its own name; `bias`, the IoU on the naming half minus that on the other, mean over all units;
    and `kappa_common`, `kappa_all`, `jaccard` and `counts_overlap` of the names on both, as in `name_agreement`. A
    unit's agreement is the share of halves that give it the same name as all pictures. NaN if there are no detectors.

    Args:
        groups: the groups of pictures; a group is never split.
        rule: the rule for detectors, as `detects` takes it.
    """
    count = len(groups.intersection)
    rng = np.random.default_rng((SEED, 3))
    first = np.array([rng.permutation(count) < count // 2 for _ in range(HALVINGS)])
    naming = np.concatenate([first, ~first])
    names, own = groups.best(naming)
    other = groups.scores(~naming, names)
    detecting, confirmed = detects(own, *rule), detects(other, *rule)
    whole, score = groups.best(np.ones((1, count)))
    named = (names == whole) & (own > 0) & (score > 0)
    numbered = np.where(detecting, names + 1, NO_NAME)
    pairs = list(zip(numbered[:HALVINGS], numbered[HALVINGS:], strict=True))
    common = [(a[both], b[both]) for a, b in pairs for both in [(a != NO_NAME) & (b != NO_NAME)]]
    row = {
        "groups": count,
        "halvings": HALVINGS,
        "detectors_half": detecting.sum(1).mean(),
        "detectors_cv": confirmed.sum(1).mean(),
        "keep": (detecting & confirmed).sum() / detecting.sum() if detecting.any() else np.nan,
        "agreement": mean([(a == b).mean() for a, b in common if len(a)]),
        "bias": (own - other).mean(),
        "kappa_common": mean([cohens_kappa(a, b) for a, b in common]),
        "kappa_all": mean([cohens_kappa(a, b) for a, b in pairs]),
        "jaccard": mean([jaccard(detected(a), detected(b)) for a, b in pairs]),
        "counts_overlap": mean([ruzicka(detected(a), detected(b)) for a, b in pairs]),
    }
    return Split(row, named.mean(0))


def detected(names: np.ndarray) -> Counter:
    """How many detectors have each name."""
    return Counter(names[names != NO_NAME].tolist())


def mean(values: list[float]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def bootstrap(groups: Groups, rule: tuple[float, str]) -> dict:
    """The standard deviation of counts when groups of pictures are drawn with replacement and units named anew.

    `units_sd` and `concepts_sd` say what other pictures of the same kind would change. A draw holds fewer different
    pictures, which lowers the number of concepts; so only the spread is given, not an interval.
    """
    count = len(groups.intersection)
    draws = np.random.default_rng((SEED, 4)).multinomial(count, np.full(count, 1 / count), DRAWS)
    names, scores = groups.best(draws)
    detecting = detects(scores, *rule)
    concepts = [len(np.unique(name[found])) for name, found in zip(names, detecting, strict=True)]
    return {"units_sd": detecting.sum(1).std(ddof=1), "concepts_sd": np.std(concepts, ddof=1)}
