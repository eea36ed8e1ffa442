"""How far two namings of units agree, and two collections of detectors."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

NONE = -1  # in place of a name: a unit that detects nothing


def cohens_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """Cohen's kappa of two namings of the same units: agreement beyond what their frequencies of names give.

    (po - pe) / (1 - pe), with the share of equal names po, and pe the sum over names of the product of their shares in
    both (Cohen 1960). NaN where there are no units or both know but one and the same name.
    """
    if not len(one):
        return np.nan
    agreed = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    counts = Counter(other)
    by_chance = sum(count * counts[name] for name, count in Counter(one).items()) / len(one) ** 2
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan


def jaccard(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """Names in both collections as a share of those in either; NaN if both are empty."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else np.nan


def counts_overlap(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """Ruzicka's similarity of how often each name occurs: sum of minima by sum of maxima; NaN if both are empty."""
    counts, others = Counter(one), Counter(other)
    most = (counts | others).total()
    return (counts & others).total() / most if most else np.nan
