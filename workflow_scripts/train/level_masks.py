"""How the weights that a level keeps are chosen. Arms of pruning differ in this; see `plan.methods`."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from workflow_scripts.networks.prunable import PRUNABLE, weights_of
from workflow_scripts.networks.pruning import Masks, exempt_weights, prune_by_magnitude, remaining_weights
from workflow_scripts.train.selection import best_filters, highest, highest_of_all

# As in `plan.methods`, which is not imported, because a training starts anew when code that it imports changes.
MASKS = ("global", "layerwise", "structured", "same", "shuffled_layerwise", "shuffled_global", "all")
OF_MASKS = ("same", "shuffled_layerwise", "shuffled_global")


class Pruned(NamedTuple):
    """The network to prune, with its weights, and its masks."""

    network: nn.Module
    masks: Masks


class Size(NamedTuple):
    """How many weights should stay: as many as in the masks `like`, or as `rounds` of pruning a `fraction` leave.

    The fraction refers to the remaining weights, including those of exempt layers; see `prune_by_magnitude`.
    """

    like: Masks | None = None
    fraction: float | None = None
    rounds: int = 1

    def count(self, pruned: Pruned) -> int:
        """Return this number of weights, for all layers together."""
        if self.like:
            return kept(self.like)
        assert self.fraction is not None, "a size comes from other masks or from rounds"
        exempt = exempt_weights(pruned.network, pruned.masks)
        return remaining_weights(kept(pruned.masks), exempt, self.fraction, self.rounds)[-1]


def choose_masks(how: str, pruned: Pruned, size: Size, seed: int = 0) -> Masks:
    """Return the masks of a level. Pruned weights stay pruned, unless the masks of another network are used.

    Args:
        how: one of `MASKS`:
            global: the largest weights of the whole network; for one round, by `prune_by_magnitude`.
            layerwise: the largest of each layer: as many as `size.like` has there, or the same share of each layer.
            structured: in each layer except the last, the whole filters of the largest L1 norm. Their share is the
                density; the density of weights that results differs from it.
            same: the masks `size.like`.
            shuffled_layerwise, shuffled_global: these masks with their places drawn anew, within each layer or over
                all.
            all: all weights that remain in the network.
        pruned: the network of the level before, with its masks.
        size: how many weights stay, or the masks of another network.
        seed: of the random draws.
    """
    if how == "all":
        return pruned.masks
    if how in OF_MASKS:
        assert size.like is not None, f"the masks {how} need another network"
        if how == "same":
            return size.like
        return shuffled(size.like, within_layers=how == "shuffled_layerwise", seed=seed)
    if how == "global" and not size.like and size.rounds == 1:
        assert size.fraction is not None, "a size comes from other masks or from rounds"
        return prune_by_magnitude(pruned.network, pruned.masks, size.fraction)
    weights = weights_of(pruned.network)
    if how == "structured":
        return filters(weights, pruned.masks, size.count(pruned) / sum(mask.numel() for mask in pruned.masks.values()))
    scores = {name: weights[name].tensor.detach().abs().masked_fill(~mask, -1) for name, mask in pruned.masks.items()}
    if how == "global":
        chosen = highest_of_all(scores, size.count(pruned))
    elif size.like:
        chosen = {name: highest(score, int(size.like[name].sum())) for name, score in scores.items()}
    else:
        share = size.count(pruned) / kept(pruned.masks)
        chosen = {name: highest(scores[name], round(share * int(mask.sum()))) for name, mask in pruned.masks.items()}
    return {name: mask & chosen[name] for name, mask in pruned.masks.items()}


def kept(masks: Masks) -> int:
    """Return how many weights the masks keep."""
    return sum(int(mask.sum()) for mask in masks.values())


def filters(weights: dict, masks: Masks, density: float) -> Masks:
    """Return masks that keep whole filters: in each layer except the last, the share `density` of them."""
    last = [name for name, weight in weights.items() if weight.kind in PRUNABLE][-1]
    return {
        name: mask if name == last else mask & best_filters(weights[name].tensor.detach(), weights[name].kind, density)
        for name, mask in masks.items()
    }


def shuffled(masks: Masks, within_layers: bool, seed: int) -> Masks:
    """Return masks with as many ones in each layer, or in all layers together, at places that follow from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    if within_layers:
        return {name: permuted(mask, generator) for name, mask in masks.items()}
    parts = permuted(torch.cat([mask.flatten() for mask in masks.values()]), generator)
    parts = parts.split([mask.numel() for mask in masks.values()])
    return {name: part.view_as(mask) for (name, mask), part in zip(masks.items(), parts, strict=True)}


def permuted(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return a mask with its values shuffled."""
    order = torch.randperm(mask.numel(), generator=generator)
    return mask.flatten()[order].view_as(mask)
