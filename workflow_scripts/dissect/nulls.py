"""How likely chance is to give a unit its best IoU: p-values and chance levels from permutations of labels."""

import numpy as np
from scipy.stats import false_discovery_control

from workflow_scripts.dissect.name_units import detects

EULER = 0.5772156649015329
LEAST_SD = 1e-12  # for IoUs that do not vary
# The columns of nulls.csv, as `validate_units` writes it.
NULLS = ("null_mean", "null_sd", "null_max", "null_detectors", "permutations", "p", "q", "p_gumbel")
UNIT_COLUMNS = ["layer", "unit", "category", "label", "iou", "iou_chance", *NULLS, "agreement"]
SIGNIFICANCE = 0.05  # the false discovery rate at which units are counted


def null_columns(best: np.ndarray, nulls: np.ndarray, dead: np.ndarray, rule: tuple[float, str]) -> dict:
    """The columns of nulls.csv that permutations give, each (U).

    `null_mean`, `null_sd` and `null_max` describe the best IoU over all labels under permutations; `null_detectors` is
    the share of permutations in which it makes a detector. `p` = (1 + permutations at least as good) / (m + 1)
    (Phipson and Smyth 2010), 1 for dead units; `q` is p adjusted over the layer's units (Benjamini and Hochberg 1995),
    which is valid as far as units that share pictures depend on each other positively. `p_gumbel` is the tail of a
    Gumbel distribution with the same mean and deviation: it ranks units where p has no smaller step.

    Args:
        best: each unit's best IoU (U).
        nulls: each unit's best IoU under each of m permutations (m, U).
        dead: which units are constant (U).
        rule: the rule for detectors, as `detects` takes it.
    """
    permutations = len(nulls)
    p = (1 + (nulls >= best).sum(0)) / (permutations + 1)
    p[dead] = 1.0
    mean, sd = nulls.mean(0), nulls.std(0, ddof=1)
    scale = np.maximum(sd, LEAST_SD) * np.sqrt(6) / np.pi
    tail = -np.expm1(-np.exp(np.clip(-(best - mean) / scale - EULER, -700, 700)))
    return {
        "null_mean": mean,
        "null_sd": sd,
        "null_max": nulls.max(0),
        "null_detectors": detects(nulls, *rule).mean(0),
        "permutations": np.full(len(best), permutations),
        "p": p,
        "q": false_discovery_control(p, method="bh"),
        "p_gumbel": np.where(dead, 1.0, tail),
    }


def fewest_found(units: int, permutations: int) -> int:
    """The fewest units of a layer that can be significant together; fewer cannot, however good they are.

    With k units at the smallest p, 1 / (m + 1), q is U / (k (m + 1)), which must be at most `SIGNIFICANCE`.
    """
    return int(np.ceil(round(units / (SIGNIFICANCE * (permutations + 1)), 9)))
