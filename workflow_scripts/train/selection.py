"""Choosing the weights, or filters, with the highest scores."""

import torch
from torch import Tensor

from workflow_scripts.networks.pruning import Masks

Scores = dict[str, Tensor]  # like masks, a number for each weight: the higher, the longer the weight stays


def highest(scores: Tensor, count: int) -> Tensor:
    """Return where the `count` highest scores are, bool of the same shape; of equal scores, the first are chosen."""
    order = scores.flatten().sort(descending=True, stable=True).indices
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[order[:count]] = True
    return kept.view_as(scores)


def highest_of_all(scores: Scores, count: int) -> Masks:
    """Return masks of the `count` highest scores over all layers."""
    kept = highest(torch.cat([score.flatten() for score in scores.values()]), count)
    parts = kept.split([score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def best_filters(weight: Tensor, kind: str, density: float) -> Tensor:
    """Return which filters of a weight have the largest L1 norms: bool, of length 1 on all axes but that of filters.

    Their number is the share `density` of all filters, rounded, and at least one (Li et al. 2017, Pruning Filters for
    Efficient ConvNets, section 3.1).
    """
    axis = 1 if kind == "transposed_conv" else 0
    # Sum in double precision, so that the order of addition does not decide between filters.
    norm = weight.double().abs().sum([other for other in range(weight.ndim) if other != axis], keepdim=True)
    return highest(norm, max(round(density * norm.numel()), 1))
