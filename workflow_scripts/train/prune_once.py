"""Prune a network once, to a given density, without retraining it."""

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from workflow_scripts.networks.checkpoints import load_tensors, rebuild, save_network
from workflow_scripts.networks.prunable import prunable_weights, weights_of
from workflow_scripts.networks.pruning import Masks, apply_masks, log_dense
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.train.level_masks import filters
from workflow_scripts.train.selection import highest, highest_of_all

METHODS = ("global", "layerwise", "random", "structured")


def prune_once(network: nn.Module, parent: Masks, method: str, density: float, exempt: list[str], seed: int) -> Masks:
    """Set weights to zero until the share `density` of the prunable weights remains, and return the masks.

    Each method keeps what it would keep at a lower density, and more (of equal weights, the first ones stay):
        global: keeps those of the largest magnitude in the whole network.
        layerwise: keeps those of the largest magnitude in each layer, with the same share in every layer.
        random: keeps a random choice from the whole network, which follows from `seed`.
        structured: keeps the whole filters (all weights of an output channel) of the largest L1 norm in each layer; the
            share is of filters, and at least one stays (Li et al. 2017, Pruning Filters for Efficient ConvNets,
            section 3.1). The last layer, whose outputs are the classes, stays whole. The output of a pruned filter is
            constant. Queries, keys and values of attention in one matrix are one layer; in a transposed convolution
            with groups, one filter of each group is pruned at a time.

    Weights that are pruned in the `parent` stay pruned and are the first to go. The number of weights or filters that
    stay is the share of their number, rounded; fewer stay if the parent has fewer.

    Raises:
        UserError: as in `prunable_weights`, or no weight would remain.
    """
    weights = {name: weight.detach() for name, weight in prunable_weights(network, exempt).items()}
    remaining = {name: parent.get(name, torch.ones_like(weight, dtype=torch.bool)) for name, weight in weights.items()}
    if method == "random":
        generator = torch.Generator().manual_seed(seed)
        scores = {name: torch.rand(w.shape, generator=generator, dtype=torch.float64) for name, w in weights.items()}
    else:
        scores = {name: weight.abs() for name, weight in weights.items()}
    scores = {name: score.masked_fill(~remaining[name], -1) for name, score in scores.items()}
    if method == "layerwise":
        kept = {name: highest(score, round(density * score.numel())) for name, score in scores.items()}
    elif method == "structured":
        kept = filters(weights_of(network), remaining, density)
    else:
        kept = highest_of_all(scores, round(density * sum(score.numel() for score in scores.values())))
    masks = {name: kept[name] & mask for name, mask in remaining.items()}
    if not any(mask.any() for mask in masks.values()):
        raise UserError(f"densities: at {density} no weight would remain: raise it")
    apply_masks(network, masks)
    return masks


def main() -> None:
    """Prune the network that the command line names, and write network.pt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, required=True, help="network.pt")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--density", type=float, required=True, help="share of the weights that stays")
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    parser.add_argument("--seed", type=int, required=True, help="of a random choice")
    parser.add_argument("--out", type=Path, required=True, help="network.pt of the pruned network")
    args = parser.parse_args()
    tensors = load_tensors(args.network)
    network, parent = rebuild(tensors, args.settings, args.network)
    masks = prune_once(network, parent, args.method, args.density, args.exempt, args.seed)
    log_dense(network, masks)
    save_network(args.out, network, masks, tensors["classes"], tensors["epochs"])


if __name__ == "__main__":
    run_command(main)
