"""Global magnitude pruning, masks, and densities."""

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.networks.prunable import PRUNABLE, prunable_weights, weights_of
from workflow_scripts.shared.files import UserError

Masks = dict[str, Tensor]  # name in `weights_of` -> bool tensor of the weight's shape, True where it remains


def full_masks(network: nn.Module, exempt: list[str]) -> Masks:
    """Return masks that keep every prunable weight."""
    return {
        name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(network, exempt).items()
    }


def log_dense(network: nn.Module, masks: Masks) -> None:
    """Log which weights no mask can prune because of what they are: embeddings, tokens and other bare matrices."""
    dense = [
        f"{name} ({weight.tensor.numel():,})"
        for name, weight in weights_of(network).items()
        if weight.kind not in PRUNABLE and name not in masks
    ]
    if dense:
        logging.info("stay dense: %s", ", ".join(dense))


def prune_by_magnitude(network: nn.Module, masks: Masks, fraction: float) -> Masks:
    """Return `masks` without the remaining weights of lowest magnitude, by one threshold over all masks.

    OpenLTH's rule: n = ceil(fraction x remaining weights, including those of exempt layers), t = the element at index n
    of the sorted magnitudes of the remaining weights that have a mask; a weight is kept if its magnitude is strictly
    greater than t. So n + 1 weights are pruned, and more if several equal t.

    Raises:
        UserError: the rule leaves no weight, because too few remain or too many are equal.
    """
    weights = weights_of(network)
    magnitudes = torch.cat([weights[name].tensor.detach().abs()[mask] for name, mask in masks.items()])
    count = math.ceil(fraction * (len(magnitudes) + exempt_weights(network, masks)))
    ordered = magnitudes.sort().values
    if count >= len(ordered) or ordered[count] == ordered[-1]:
        raise UserError(
            f"pruning would remove all of the {len(magnitudes)} weights that remain: lower pruning.levels or"
            " pruning.fraction"
        )
    return {name: mask & (weights[name].tensor.detach().abs() > ordered[count]) for name, mask in masks.items()}


def exempt_weights(network: nn.Module, masks: Masks) -> int:
    """Return how many prunable weights have no mask."""
    return sum(w.numel() for name, w in prunable_weights(network, exempt=[]).items() if name not in masks)


def remaining_weights(weights: int, exempt: int, fraction: float, levels: int) -> list[int]:
    """Return how many of `weights` remain at level 0, 1, ... `levels`, if no two magnitudes are equal.

    The `exempt` weights stay, but the fraction counts them, too.

    Raises:
        UserError: no weight would remain.
    """
    remaining = [weights]
    for level in range(levels):
        remaining.append(remaining[-1] - math.ceil(fraction * (remaining[-1] + exempt)) - 1)
        if remaining[-1] < 1:
            raise UserError(
                f"pruning would remove all of the {remaining[-2]} weights that remain: set pruning.levels to {level},"
                " or lower pruning.fraction"
            )
    return remaining


@torch.no_grad()
def apply_masks(network: nn.Module, masks: Masks) -> None:
    """Set the pruned weights to zero, in place."""
    weights = weights_of(network)
    for name, mask in masks.items():
        weights[name].tensor.mul_(mask)


def describe_density(network: nn.Module, masks: Masks) -> dict:
    """Return the shares of parameters that remain, as `metrics.json` records them.

    `density` has three denominators: `prunable`, the weights that have a mask; `weights`, all parameters of two or more
    dimensions; `all`, every parameter, including biases and batch-norm. `layers` lists all weights, each with its kind.
    """
    layers: list[dict[str, Any]] = []
    for name, weight in weights_of(network).items():
        weights = weight.tensor.numel()
        layers.append(
            {
                "name": name,
                "kind": weight.kind,
                "weights": weights,
                "remaining": int(masks[name].sum()) if name in masks else weights,
                "prunable": name in masks,
            }
        )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    pruned = sum(layer["weights"] - layer["remaining"] for layer in layers)
    prunable = sum(layer["weights"] for layer in layers if layer["prunable"])
    weights = sum(layer["weights"] for layer in layers)
    return {
        "parameters": parameters,
        "density": {
            "prunable": 1 - pruned / prunable,
            "weights": 1 - pruned / weights,
            "all": 1 - pruned / parameters,
        },
        "layers": layers,
    }
