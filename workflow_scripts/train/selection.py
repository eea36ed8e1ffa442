"""Choosing the weights, or filters, of the highest scores."""

import torch
from torch import Tensor

from workflow_scripts.networks.pruning import Masks

Scores = dict[str, Tensor]  # as masks, a number for each weight: the higher, the longer the weight stays


def highest(scores: Tensor, count: int) -> Tensor:
    """Return where the `count` highest scores are, bool; of equals the first."""
    order = scores.flatten().sort(descending=True, stable=True).indices
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[order[:count]] = True
    return kept.view_as(scores)


def highest_of_all(scores: Scores, count: int) -> Masks:
    """Return masks of the `count` highest scores of all layers together."""
    kept = highest(torch.cat([score.flatten() for score in scores.values()]), count)
    parts = kept.split([score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def best_filters(weight: Tensor, kind: str, density: float) -> Tensor:
    """Return which filters of a weight have the largest L1 norms: bool, 1 long along all axes but that of filters.

    As many as the share `density` of their number rounds to, and at least one (Li et al. 2017, Pruning Filters for
    Efficient ConvNets, section 3.1).
    """
    axis = 1 if kind == "transposed_conv" else 0
    # Summed in double precision, so that the order of addition does not choose between filters.
    norm = weight.double().abs().sum([other for other in range(weight.ndim) if other != axis], keepdim=True)
    return highest(norm, max(round(density * norm.numel()), 1))
