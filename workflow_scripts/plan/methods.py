"""Methods of pruning: four choices define an arm, and the published ones have names.

Sources (arXiv): iterative magnitude pruning with rewinding, Frankle et al. 2020, 1912.05671, and to the start, Frankle
and Carbin 2019, 1803.03635; learning-rate rewinding, fine-tuning and one-shot pruning, Renda et al. 2020, 2003.02389;
masks at random places, Frankle et al. 2021, 2009.08576; whole filters, Li et al. 2017, 1608.08710.
"""

from dataclasses import dataclass, replace

# Which weights stay: those of the largest magnitude, in the whole network or in each layer; whole filters; the masks
# that the arm `of` has at this level; as many weights at other places, in each layer or in the whole network; or all.
MASKS = ("global", "layerwise", "structured", "same", "shuffled_layerwise", "shuffled_global", "all")
OF_MASKS = ("same", "shuffled_layerwise", "shuffled_global")  # those that need the masks of another arm
ROUNDS = ("iterative", "straight")  # each level prunes the one before it, or the network that the arm starts with
# What the remaining weights start from: the rewind point, the initial weights, the parent's weights, or fresh ones.
WEIGHTS = ("rewound", "initial", "kept", "fresh")
OF_TRAINING = ("rewound", "initial")  # those that need a dense training
# The schedule and, with it, the order of the data: from the rewind point on, the whole of it, or from the rewind point
# on at one constant rate.
SCHEDULES = ("continued", "whole", "constant")
CHOICES = {"mask": MASKS, "rounds": ROUNDS, "weights": WEIGHTS, "schedule": SCHEDULES}


@dataclass(frozen=True)
class Method:
    """One choice of each kind, and `order`: a number other than 0 gives another order of the data."""

    mask: str
    rounds: str
    weights: str
    schedule: str
    order: int = 0


IMP = Method("global", "iterative", "rewound", "continued")
PUBLISHED = {
    "imp_rewind0": Method("global", "iterative", "initial", "whole"),
    "lr_rewind": Method("global", "iterative", "kept", "continued"),
    "finetune": Method("global", "iterative", "kept", "constant"),
    "oneshot": Method("global", "straight", "rewound", "continued"),
    "random_layerwise": Method("shuffled_layerwise", "straight", "rewound", "continued"),
    "random_global": Method("shuffled_global", "straight", "rewound", "continued"),
    "reinit": Method("same", "straight", "fresh", "whole"),
    "structured": Method("structured", "straight", "rewound", "continued"),
    "dense_again": Method("all", "straight", "rewound", "continued", order=1),
}


def method_of(item: dict) -> Method | None:
    """Return the method of the arm that an item of the config's `arms` describes; None if its recipe has none."""
    if item["recipe"] == "pruned":
        return Method(**{choice: item[choice] for choice in CHOICES}, order=item.get("order", 0))
    method = PUBLISHED.get(item["recipe"])
    return replace(method, order=item["order"]) if method and "order" in item else method
