"""How the weights that a level keeps are chosen: what parts one arm of pruning from another.

Magnitude over the whole network: Frankle and Carbin 2019; in each layer: Han et al. 2015; whole filters: Li et al.
2017; masks shuffled within layers: Frankle et al. 2021, arXiv 2009.08576.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from workflow_scripts.networks.prunable import PRUNABLE, weights_of
from workflow_scripts.networks.pruning import Masks, prune_by_magnitude
from workflow_scripts.train.selection import best_filters, highest, highest_of_all

MASKS = ("round", "magnitude", "layerwise", "filters", "same", "shuffled_layers", "shuffled", "whole")


class Pruned(NamedTuple):
    """What is pruned: a network with its weights, and the masks that it has."""

    network: nn.Module
    masks: Masks


def choose_masks(how: str, pruned: Pruned, like: Masks | None, fraction: float | None, seed: int) -> Masks:
    """Return the masks of a level.

    Args:
        how: one of `MASKS`:
            round: the remaining weights less the `fraction` of lowest magnitude, as `prune_by_magnitude`.
            magnitude: the largest of the whole network, as many as `like` keeps.
            layerwise: the largest of each layer, in each as many as `like` keeps.
            filters: of each layer but the last the whole filters of the largest L1 norm, their share the density of
                `like`; the density that results is its own.
            same: `like` itself.
            shuffled_layers, shuffled: `like`, its places drawn anew within each layer, or over all of them.
            whole: all weights that the network has left.
        like: the masks of another arm at this level.
        seed: of what is drawn.
    """
    if how == "round":
        return prune_by_magnitude(*pruned, fraction)
    if how == "whole":
        return pruned.masks
    if how == "same":
        return like
    if how in ("shuffled_layers", "shuffled"):
        return shuffled(like, within_layers=how == "shuffled_layers", seed=seed)
    weights = weights_of(pruned.network)
    scores = {name: weights[name].tensor.detach().abs().masked_fill(~mask, -1) for name, mask in pruned.masks.items()}
    if how == "layerwise":
        return {name: highest(score, int(like[name].sum())) for name, score in scores.items()}
    if how == "magnitude":
        return highest_of_all(scores, sum(int(mask.sum()) for mask in like.values()))
    return filters(weights, pruned.masks, like)


def filters(weights: dict, masks: Masks, like: Masks) -> Masks:
    """Return masks that keep whole filters, in each layer but the last the share of `like`'s density."""
    density = sum(int(mask.sum()) for mask in like.values()) / sum(mask.numel() for mask in like.values())
    last = [name for name, weight in weights.items() if weight.kind in PRUNABLE][-1]
    return {
        name: mask if name == last else mask & best_filters(weights[name].tensor.detach(), weights[name].kind, density)
        for name, mask in masks.items()
    }


def shuffled(masks: Masks, within_layers: bool, seed: int) -> Masks:
    """Return masks with as many ones in each layer, or in all together, at places that follow from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    if within_layers:
        return {name: permuted(mask, generator) for name, mask in masks.items()}
    parts = permuted(torch.cat([mask.flatten() for mask in masks.values()]), generator)
    parts = parts.split([mask.numel() for mask in masks.values()])
    return {name: part.view_as(mask) for (name, mask), part in zip(masks.items(), parts, strict=True)}


def permuted(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return the values of a mask at other places."""
    order = torch.randperm(mask.numel(), generator=generator)
    return mask.flatten()[order].view_as(mask)
