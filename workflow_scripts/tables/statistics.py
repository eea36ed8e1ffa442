"""Statistics of a few replicates: intervals, equivalence, and matching.

Functions of arrays take replicates along the last axis.
"""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, ndtr, stdtr, stdtrit
from scipy.stats import rankdata

from workflow_scripts.plan.replicates import LEAST_REPLICATES

ALPHA = 0.05  # of each one-sided test, so intervals are 90 % intervals
Floats = TypeVar("Floats", float, np.ndarray)
ROUNDING = math.sqrt(1 / 6)  # sd of the difference of two counts, each rounded by less than a half
EQUIVALENT, DIFFERENT, UNCLEAR, NO_OVERLAP = "equivalent", "different", "unclear", "no overlap"
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
CERTAIN = 1e-10  # correlations closer to 1 than this are 1


# Differences of pairs


def mean_and_sd(differences: ArrayLike, rounding: float = ROUNDING) -> tuple[np.ndarray, np.ndarray]:
    """The mean of paired differences, and their standard deviation (n - 1), at least that of rounding.

    Counts tie: three differences of -2 would have no spread, and any test of them would be certain.
    With fewer than two differences the standard deviation is NaN.

    Args:
        differences: float (..., n).
        rounding: the least standard deviation, in the unit of the differences.
    """
    differences = np.asarray(differences, float)
    mean = differences.mean(axis=-1)
    if differences.shape[-1] < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, np.maximum(differences.std(axis=-1, ddof=1), rounding)


def half_width(sd: Floats, n: int, level: float = 1 - 2 * ALPHA) -> Floats:
    """Half the width of Student's t interval of a mean of `n` values, in the unit of `sd`; NaN if n < 2."""
    return stdtrit(n - 1, (1 + level) / 2) * sd / math.sqrt(n) if n > 1 else sd * np.nan


def noninferiority_p(mean: Floats, sd: Floats, n: int, margin: float) -> Floats:
    """The p of "the true mean lies `margin` or more below 0"; NaN for NaN or fewer than `LEAST_REPLICATES`."""
    return stdtr(n - 1, -(mean + margin) * math.sqrt(n) / sd) if n >= LEAST_REPLICATES else mean * np.nan


def equivalence_p(mean: Floats, sd: Floats, n: int, margin: float) -> Floats:
    """The p of "the true mean lies `margin` or more from 0": the larger of two one-sided tests (Schuirmann 1987).

    It is at most `ALPHA` if `mean` ± `half_width` lies within the margin. NaN as in `noninferiority_p`.
    """
    return np.maximum(noninferiority_p(mean, sd, n, margin), noninferiority_p(-mean, sd, n, margin))


def equivalence_power(sd: float, n: int, margin: float) -> float:
    """The chance to show equivalence if the true mean is 0 and the true standard deviation is `sd`.

    The mean must lie within the margin minus the half width, which depends on the standard deviation that is found.
    The chance of that is integrated over the chi distribution of this deviation. NaN with fewer than
    `LEAST_REPLICATES`, or if the margin or the deviation is NaN.
    """
    if n < LEAST_REPLICATES:
        return math.nan
    if margin <= 0:
        return 0.0
    of_mean, t = margin * math.sqrt(n) / sd, float(half_width(math.sqrt(n), n))
    freedom = n - 1
    # Of the ratio of the found to the true standard deviation; beyond this its density is below 1e-30.
    most = min(of_mean / t, 1 + 12 / math.sqrt(freedom))
    ratio = most * (NODES + 1) / 2
    log_density = (
        math.log(2) + freedom / 2 * math.log(freedom / 2) - gammaln(freedom / 2)
        + (freedom - 1) * np.log(ratio) - freedom / 2 * ratio**2
    )  # fmt: skip
    chance = 2 * ndtr(of_mean - t * ratio) - 1
    return float(np.minimum(1, most / 2 * np.sum(WEIGHTS * np.exp(log_density) * chance)))  # `min` would lose a NaN


def fixed_sequence(passed: ArrayLike) -> np.ndarray:
    """Whether a test and all before it pass, along the last axis: the first that fails ends the sequence.

    The chance that any one passes wrongly is that of a single test, however many there are (Hsu and Berger 1999).
    """
    return np.logical_and.accumulate(np.asarray(passed, bool), axis=-1)


# Matching


def interpolate(covariate: ArrayLike, values: ArrayLike, at: float) -> float:
    """The value at a place of the covariate, by linear interpolation between the points; NaN outside their range.

    Args:
        covariate: the places of points, float (points,), in any order.
        values: the values of the points, likewise. Points at the same place are averaged; those with NaN are left out.
        at: the place.
    """
    covariate, values = np.asarray(covariate, float), np.asarray(values, float)
    known = np.isfinite(covariate) & np.isfinite(values)
    places, which = np.unique(covariate[known], return_inverse=True)
    if not len(places) or not places[0] <= at <= places[-1]:
        return math.nan
    return float(np.interp(at, places, np.bincount(which, values[known]) / np.bincount(which)))


def verdict(mean: float, sd: float, n: int, margin: float) -> str:
    """What differences show: `EQUIVALENT` if their interval lies within the margin, `DIFFERENT` if it lies outside.

    `UNCLEAR` if neither holds, there are too few, or the margin is NaN; `NO_OVERLAP` if there are no differences.
    """
    if not n:
        return NO_OVERLAP
    if n < LEAST_REPLICATES:
        return UNCLEAR
    if equivalence_p(mean, sd, n, margin) <= ALPHA:
        return EQUIVALENT
    return DIFFERENT if abs(mean) - half_width(sd, n) >= margin else UNCLEAR


def what_it_follows(at_equal_accuracy: str, at_equal_density: str) -> str:
    """What a measure follows, from the verdicts on two arms at equal accuracy and at equal density."""
    verdicts = (at_equal_accuracy, at_equal_density)
    if NO_OVERLAP in verdicts:
        return NO_OVERLAP
    return {
        (EQUIVALENT, DIFFERENT): "accuracy",
        (DIFFERENT, EQUIVALENT): "sparsity",
        (EQUIVALENT, EQUIVALENT): "cannot tell",  # the arms do not differ enough
        (DIFFERENT, DIFFERENT): "neither",
    }.get(verdicts, "undecided")


# Correlations


def partial_rank_correlation(one: np.ndarray, other: np.ndarray, given: np.ndarray) -> float:
    """Spearman's correlation of two variables with the ranks of a third partialled out of both.

    NaN if it is undefined: with fewer than four values, a constant, or a variable with the same ranks as `given`.
    """
    ranks = np.array([rankdata(values) for values in (one, other, given)])
    if ranks.shape[1] < 4 or (np.ptp(ranks, axis=1) == 0).any():
        return math.nan
    (_, r, r_one), (_, _, r_other), _ = np.corrcoef(ranks)
    left = (1 - r_one**2) * (1 - r_other**2)
    return float(np.clip((r - r_one * r_other) / math.sqrt(left), -1, 1)) if left > CERTAIN else math.nan


def fisher_difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The difference of correlations on Fisher's scale, where their spread does not depend on them; NaN if one is 1.

    Args:
        one: correlations, float (replicates,).
        other: the correlations to subtract, likewise.
    """
    correlations = np.array([one, other], float)
    correlations[np.abs(correlations) > 1 - CERTAIN] = np.nan
    return np.arctanh(correlations[0]) - np.arctanh(correlations[1])
