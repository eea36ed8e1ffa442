"""Check, before hours of training, that a network can be built, trained, pruned to the end, and dissected."""

import argparse
import json
import logging
from pathlib import Path

from torch import nn

from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.networks.constructors import (
    black_pictures,
    build,
    require_trainable,
    show_picture,
    takes_classes,
)
from workflow_scripts.networks.pruning import exempt_weights, full_masks, remaining_weights
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.sizes import Size, read_size

# The number of classes is known only once the pictures are unpacked. The larger number is above it, so that no usable
# network is rejected; the smaller is not above it, for the weights of an exempt classifier.
CLASSES, FEWEST_CLASSES = 1000, 2


def check_network(
    settings: dict,
    size: Size,
    layers: list[str],
    exempt: list[str],
    levels: int,
    fraction: float,
    trained: bool = False,
    shapes_like: dict | None = None,
    channels: int = 3,
) -> dict:
    """Return the most weights that remain at each level, and the units and map size of each dissected layer.

    Args:
        settings: as `build` takes them.
        size: the size of the pictures, in pixels.
        layers: the dissected layers, as `layer_outputs` takes them.
        exempt: names of layers that are never pruned.
        levels: how many times the network is pruned.
        fraction: the share of the remaining weights that is pruned at each level.
        trained: whether the network will be trained, on pictures whose number of classes is not known yet.
        shapes_like: settings of another network, whose layers must have as many units and places.
        channels: the channels of the pictures.

    Raises:
        UserError: a layer is missing or cannot be dissected, an exempt pattern matches nothing, nothing would be left
            at the last level, the network cannot be trained, or a layer's shape differs from that in the other network.
    """
    network = build(settings, CLASSES if trained else None, seed=0)
    masks = full_masks(network, exempt)
    prunable = sum(mask.numel() for mask in masks.values())
    smaller = build(settings, FEWEST_CLASSES, seed=0) if trained else network
    left_out = exempt_weights(smaller, masks)
    shapes = shapes_of(network, size, channels, layers)
    if shapes_like:
        dense = build(shapes_like, CLASSES, seed=0)
        if prunable >= (of_dense := sum(mask.numel() for mask in full_masks(dense, exempt).values())):
            raise UserError(
                f"the smaller network has {prunable:,} weights that can be pruned, and the dense one {of_dense:,}:"
                " choose arguments that leave it fewer"
            )
        wanted = shapes_of(dense, size, channels, layers)
        for layer, shape in shapes.items():
            if shape != wanted[layer]:
                found, dense_shape = (" x ".join(map(str, each)) for each in (shape, wanted[layer]))
                raise UserError(
                    f"the output of {layer} is {found} (units x height x width) in the smaller network, and"
                    f" {dense_shape} in the dense one: counts of units are only comparable if both are the same; choose"
                    " arguments that leave that layer as it is"
                )
    if trained:
        pictures = black_pictures(2, size, channels)
        require_trainable(smaller, pictures, FEWEST_CLASSES if takes_classes(settings) else None)
    return {
        "weights at each level, at most": remaining_weights(prunable, left_out, fraction, levels),
        "units, height and width of each layer": shapes,
    }


def shapes_of(network: nn.Module, size: Size, channels: int, layers: list[str]) -> dict[str, list[int]]:
    """Return the units, height and width of each layer for pictures of this size."""
    with layer_outputs(network, layers) as outputs:
        show_picture(network, size, channels)
    return {name: list(output.shape[1:]) for name, output in outputs.items()}


def main() -> None:
    """Check the network that the command line describes, and write its sizes to network.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--trained", action="store_true", help="the network will be trained")
    parser.add_argument("--size", type=read_size, required=True, help="size of the pictures, in pixels")
    parser.add_argument("--channels", type=int, default=3, help="channels of the pictures")
    parser.add_argument("--layers", nargs="+", required=True)
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    parser.add_argument("--levels", type=int, required=True)
    parser.add_argument("--fraction", type=float, required=True)
    parser.add_argument("--shapes-like", type=json.loads, help="JSON: a network whose layers must have the same shapes")
    parser.add_argument("--out", type=Path, required=True, help="network.json")
    args = parser.parse_args()
    found = check_network(
        args.network,
        args.size,
        args.layers,
        args.exempt,
        args.levels,
        args.fraction,
        args.trained,
        args.shapes_like,
        args.channels,
    )
    with whole_file(args.out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")
    logging.info("%s", found)


if __name__ == "__main__":
    run_command(main)
