"""Which pictures may take each other's labels, and how pictures are shared out among groups."""

import numpy as np

SEED = 20  # of permutations and of groups: the same for every network


def strata(image_has_category: np.ndarray) -> np.ndarray:
    """Number the sets of categories that pictures have labels of, int64 (N), from `image_has_category`, bool (N, C).

    Pictures of one set may take each other's labels: a unit's area in a category, which is counted over pictures that
    have it, stays what it is.
    """
    return np.unique(image_has_category, axis=0, return_inverse=True)[1].ravel()


def permuted(partner: np.ndarray, stratum: np.ndarray, number: int) -> np.ndarray:
    """Return whose labels each picture meets, int64 (N), once those within each stratum have changed places at random.

    Args:
        partner: whose labels each picture meets at first, int64 (N): a permutation.
        stratum: of each picture's own labels, int64 (N).
        number: of the permutation; the same number, the same permutation.
    """
    of_labels = stratum[partner]
    random = np.random.default_rng((SEED, 1, number)).random(len(partner))
    result = np.empty_like(partner)
    result[np.argsort(of_labels, kind="stable")] = partner[np.lexsort((random, of_labels))]
    return result


def group_pictures(stratum: np.ndarray, groups: int) -> np.ndarray:
    """Return the group of each picture, int64 (N), at random, groups of about equal numbers of each stratum."""
    random = np.random.default_rng((SEED, 2)).random(len(stratum))
    group = np.empty(len(stratum), np.int64)
    group[np.lexsort((random, stratum))] = np.arange(len(stratum)) % groups
    return group
