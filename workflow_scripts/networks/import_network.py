"""Import a user's network: read its weights and masks, and check them against its constructor."""

import argparse
import json
import logging
from pathlib import Path

import torch
from torch import nn

from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.masks import masks_of_zeros, read_masks
from workflow_scripts.networks.pruning import Masks, apply_masks, full_masks, log_dense
from workflow_scripts.networks.state_dicts import Reading
from workflow_scripts.networks.weight_files import listed
from workflow_scripts.networks.weights import WHOLE, load_weights
from workflow_scripts.plan.openlth import SPARSITY_REPORT
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.shared.outside_json import read_json
from workflow_scripts.shared.sizes import Size, read_size, sides


def import_network(
    settings: dict,
    weights: str | dict | None,
    masks: Path | None,
    seed: int,
    size: Size,
    reading: Reading = WHOLE,
    channels: int = 3,
) -> tuple[nn.Module, Masks]:
    """Return a network, with its pruned weights set to zero, and its masks.

    Args:
        settings: as `build` takes them.
        weights: a file; further arguments that make the constructor load weights; or None for the weights that it
            draws.
        masks: a file of masks. Without it, the masks in the weight file are used; without these, its zero weights.
        seed: of the numbers that the constructor draws.
        size: of its pictures, in pixels.
        reading: which tensors of the file are the network's.
        channels: of its pictures.

    Raises:
        UserError: as in `build`, `load_weights`, `read_masks_beside` and `require_reported`; or the constructor's
            arguments for its own weights change more than the weights.
    """
    network = build(settings, None, seed)
    found: Masks = {}
    if isinstance(weights, str):
        found = load_weights(network, Path(weights), reading, with_masks=masks is None)
    elif weights:
        load_own_weights(network, settings, weights, size, channels)
    if masks:
        found = read_masks_beside(network, masks, found, str(weights))
    if not found:
        # Some constructors draw zeros, which are not pruned weights.
        found = masks_of_zeros(network) if weights else full_masks(network, exempt=[])
    apply_masks(network, found)
    empty = [name for name, mask in found.items() if not mask.any()]
    if empty:
        logging.warning("no weight remains in %s: the layers after it do not depend on the picture", listed(empty))
    return network, found


def read_masks_beside(network: nn.Module, path: Path, pruned: Masks, weights: str) -> Masks:
    """Return the masks in a file; raise UserError if they differ from `pruned`, those in the weight file itself."""
    masks = read_masks(network, path)
    require_reported(masks, path)
    for name, mask in pruned.items():
        if name not in masks or not torch.equal(masks[name], mask):
            raise UserError(f"{path} has a different mask of {name} than {weights}, or none: give only the right masks")
    return masks


def load_own_weights(network: nn.Module, settings: dict, more: dict, size: Size, channels: int) -> None:
    """Load the weights that the constructor loads itself when it is given `more` arguments.

    Later the network is rebuilt without these arguments, so it must compute the same.
    """
    whole = build(settings | {"arguments": settings["arguments"] | more}, None, seed=0)
    own, state = network.state_dict(), whole.state_dict()
    same = own.keys() == state.keys() and all(own[name].shape == state[name].shape for name in own)
    if same:
        network.load_state_dict(state)
        picture = torch.rand(1, channels, *sides(size), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            same = equal(network(picture), whole(picture))
    if not same:
        raise UserError(
            f"constructor {settings['constructor']} builds a different network with {more} than without: write the"
            " arguments that make the difference under arguments, too"
        )


def equal(one: object, other: object) -> bool:
    """Tell whether two outputs of networks, tensors or containers of tensors, are equal."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and equal(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return one == other


def require_reported(masks: Masks, path: Path) -> None:
    """Raise UserError unless masks keep as many weights as the report beside their file says, if there is one."""
    report = path.with_name(SPARSITY_REPORT)
    if not report.exists():
        return
    counts = read_json(report)
    try:
        reported = int(counts["total"]), int(counts["unpruned"])
        if reported != (counts["total"], counts["unpruned"]):  # whole numbers, which OpenLTH writes as floats
            raise ValueError
    except (ValueError, KeyError, TypeError, OverflowError):
        raise UserError(f"{report} does not say how many weights there are in total and unpruned: restore it") from None
    found = sum(mask.numel() for mask in masks.values()), sum(int(mask.sum()) for mask in masks.values())
    if found != reported:
        raise UserError(
            f"{path} keeps {found[1]} of {found[0]} weights, but {report} says {reported[1]} of {reported[0]}: the two"
            " do not belong to one network; copy both again"
        )


def main() -> None:
    """Import the network that the command line describes, and write network.pt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument(
        "--weights", type=json.loads, help="JSON: a file, or further arguments; by default the constructor draws them"
    )
    parser.add_argument("--masks", type=Path, help="a file of masks")
    parser.add_argument("--reading", type=json.loads, default={}, help="JSON: part, prefix, missing, unused")
    parser.add_argument("--seed", type=int, required=True, help="of untrained weights")
    parser.add_argument("--size", type=read_size, required=True, help="of its pictures, in pixels")
    parser.add_argument("--channels", type=int, default=3, help="of its pictures")
    parser.add_argument("--out", type=Path, required=True, help="network.pt")
    args = parser.parse_args()
    network, masks = import_network(
        args.settings, args.weights, args.masks, args.seed, args.size, Reading(**args.reading), args.channels
    )
    log_dense(network, masks)
    save_network(args.out, network, masks, classes=None, epochs=None)


if __name__ == "__main__":
    run_command(main)
