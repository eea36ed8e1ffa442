"""How far two namings of units agree, or two collections of detectors."""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np


def cohens_kappa(one: np.ndarray, other: np.ndarray) -> float:
    """How far two names of each thing agree beyond chance (Cohen 1960): 1 if always, 0 if only as chance would.

    NaN if there are no things, or if all names are the same.

    Args:
        one: one name of each thing (things,): whole numbers of at least 0.
        other: the other name of each thing, likewise.
    """
    if not len(one):
        return math.nan
    count = 1 + max(np.max(one), np.max(other))
    shares = [np.bincount(names, minlength=count) / len(one) for names in (one, other)]
    by_chance = float(shares[0] @ shares[1])
    return (float(np.mean(np.equal(one, other))) - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan


def jaccard(one: Collection[Hashable], other: Collection[Hashable]) -> float:
    """The share of the names in either set that are in both; NaN if both are empty."""
    union = set(one) | set(other)
    return len(set(one) & set(other)) / len(union) if union else math.nan


def ruzicka(one: Mapping[Hashable, int], other: Mapping[Hashable, int]) -> float:
    """Jaccard's index of counts by name: the sum of the smaller over the sum of the larger; NaN if both are empty."""
    pairs = [(one.get(name, 0), other.get(name, 0)) for name in set(one) | set(other)]
    larger = sum(map(max, pairs))
    return sum(map(min, pairs)) / larger if larger else math.nan


def rarefied(counts: Sequence[int], drawn: int) -> float:
    """The expected number of names among `drawn` things drawn at random without replacement (Hurlbert 1971).

    Args:
        counts: the number of things with each name.
        drawn: the number of things drawn, at most all.
    """
    ways = math.comb(sum(counts), drawn)
    return sum(1 - math.comb(sum(counts) - count, drawn) / ways for count in counts)
