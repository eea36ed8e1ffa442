"""Prune a network once, to a given density, without training it again."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.bring.constructors import load_network
from workflow_scripts.files import UserError, run_command
from workflow_scripts.train.checkpoints import save_network
from workflow_scripts.train.networks import prunable_layers
from workflow_scripts.train.pruning import Masks, apply_masks

Weights = dict[str, Tensor]  # layer name -> weight


def prune_once(network: nn.Module, method: str, density: float, exempt: list[str], seed: int) -> Masks:
    """Set weights to zero until a share `density` of those that may be pruned is left, and return the masks.

    Methods, of which each keeps what it would keep at a lower density (equal weights: the first ones stay):
        global: those of the largest magnitude in the whole network.
        layerwise: those of the largest magnitude in each layer, the share being every layer's.
        random: a random choice from the whole network, which follows from `seed`.
        structured: whole filters (all weights of an output channel) of the largest L1 norm in each layer, the share
            being of filters and at least one (Li et al. 2017, Pruning Filters for Efficient ConvNets, section 3.1). The
            last layer, whose outputs are the classes, stays whole. What a pruned filter puts out is constant.

    What is zero already goes first. So many weights or filters stay as the share of their number rounds to.

    Raises:
        UserError: as `prunable_layers`, or nothing would be left.
    """
    weights = {name: layer.weight.detach() for name, layer in prunable_layers(network, exempt).items()}
    masks = METHODS[method](weights, density, seed)
    if not any(mask.any() for mask in masks.values()):
        raise UserError(f"one_shot.densities: at {density} no weight would be left: raise it")
    apply_masks(network, masks)
    return masks


def by_global_magnitude(weights: Weights, density: float, seed: int) -> Masks:
    return keep_of_all({name: weight.abs() for name, weight in weights.items()}, density)


def at_random(weights: Weights, density: float, seed: int) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    scores = {
        name: torch.rand(weight.shape, generator=generator, dtype=torch.float64) for name, weight in weights.items()
    }
    return keep_of_all({name: scores[name].masked_fill(weight == 0, -1) for name, weight in weights.items()}, density)


def by_layerwise_magnitude(weights: Weights, density: float, seed: int) -> Masks:
    return {name: highest(weight.abs(), density) for name, weight in weights.items()}


def by_filter_norm(weights: Weights, density: float, seed: int) -> Masks:
    classifier = list(weights)[-1]
    masks = {}
    for name, weight in weights.items():
        if name == classifier:
            masks[name] = torch.ones_like(weight, dtype=torch.bool)
            continue
        # Summed in double precision, so that the order of addition does not choose between filters.
        norm = weight.double().abs().flatten(1).sum(1)
        kept = highest(norm, max(density, 1 / len(norm)))
        masks[name] = kept.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight).clone()
    return masks


METHODS: dict[str, Callable[[Weights, float, int], Masks]] = {
    "global": by_global_magnitude,
    "layerwise": by_layerwise_magnitude,
    "random": at_random,
    "structured": by_filter_norm,
}


def keep_of_all(scores: Weights, density: float) -> Masks:
    """Return masks of the highest scores of all layers together."""
    kept = highest(torch.cat([score.flatten() for score in scores.values()]), density)
    parts = kept.split([score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def highest(scores: Tensor, density: float) -> Tensor:
    """Return where the highest scores are, bool: as many as their share rounds to, of equals the first."""
    order = scores.flatten().sort(descending=True, stable=True).indices
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[order[: round(density * scores.numel())]] = True
    return kept.view_as(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, required=True, help="network.pt")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON: constructor and arguments")
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--density", type=float, required=True, help="share of the weights that stays")
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    parser.add_argument("--seed", type=int, required=True, help="of a random choice")
    parser.add_argument("--out", type=Path, required=True, help="network.pt of the pruned network")
    args = parser.parse_args()
    network, _ = load_network(args.network, args.settings)
    masks = prune_once(network, args.method, args.density, args.exempt, args.seed)
    save_network(args.out, network, masks)


if __name__ == "__main__":
    run_command(main)
