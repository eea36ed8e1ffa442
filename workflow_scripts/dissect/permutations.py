"""Which pictures may exchange labels, and how pictures are divided into groups."""

import numpy as np

SEED = 20  # of permutations and groups; the same for every network


def strata(image_has_category: np.ndarray) -> np.ndarray:
    """Number the sets of categories that pictures have labels of, int64 (N), from `image_has_category`, bool (N, C).

    Pictures with the same set may exchange labels: a unit's area in a category, which is counted over pictures that
    have the category, does not change.
    """
    return np.unique(image_has_category, axis=0, return_inverse=True)[1].ravel()


def permuted(partner: np.ndarray, stratum: np.ndarray, number: int) -> np.ndarray:
    """Return whose labels each picture meets, int64 (N), after a random permutation of labels within each stratum.

    Args:
        partner: whose labels each picture meets before, int64 (N): a permutation.
        stratum: the stratum of each picture's own labels, int64 (N).
        number: the number of the permutation; the same number gives the same permutation.
    """
    of_labels = stratum[partner]
    random = np.random.default_rng((SEED, 1, number)).random(len(partner))
    result = np.empty_like(partner)
    result[np.argsort(of_labels, kind="stable")] = partner[np.lexsort((random, of_labels))]
    return result


def group_pictures(stratum: np.ndarray, groups: int) -> np.ndarray:
    """Return a random group for each picture, int64 (N); groups have about equally many pictures of each stratum."""
    random = np.random.default_rng((SEED, 2)).random(len(stratum))
    group = np.empty(len(stratum), np.int64)
    group[np.lexsort((random, stratum))] = np.arange(len(stratum)) % groups
    return group
