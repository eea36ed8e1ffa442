"""Prune the network of the level before, rewind what remains, and train it again."""

import argparse
import logging
from pathlib import Path

from torch import nn

from workflow_scripts.files import UserError, run_command, text_fingerprint
from workflow_scripts.train.arguments import load_batches, recipe_fingerprint, training_parser
from workflow_scripts.train.checkpoints import load_tensors, rebuild_network, save_network, write_metrics
from workflow_scripts.train.pruning import Masks, describe_density, prune_by_magnitude
from workflow_scripts.train.training import Batches, Trainer, accuracy, choose_device


def train_level(
    network: nn.Module,
    masks: Masks,
    rewind_point: dict,
    train: Batches,
    settings: dict,
    replicate: int,
    fraction: float,
) -> tuple[Masks, list[dict]]:
    """Run one round of iterative magnitude pruning with weight rewinding (Frankle et al. 2020), in place.

    Args:
        network: trained, with its `masks`.
        rewind_point: what `train_dense` returned; the schedule and the data order continue there.
        fraction: share of the remaining prunable weights that goes.

    Returns:
        The new masks, nested in the old ones, and the history of the epochs from the rewind point on.
    """
    masks = prune_by_magnitude(network, masks, fraction)
    density = describe_density(network, masks)["density"]["prunable"]
    logging.info("%.2f %% of the prunable weights remain", 100 * density)
    trainer = Trainer(network, masks, train, settings, replicate)
    trainer.restore(rewind_point)
    trainer.train_to(settings["epochs"])
    return masks, trainer.history


def refuse_strangers(args: argparse.Namespace, parent: dict, rewind_point: dict) -> None:
    """Raise UserError unless parent, rewind point, pictures, settings and replicate are those of one training."""
    lineage = rewind_point.get("lineage")
    if parent.get("lineage") != lineage:
        raise UserError(f"{args.parent} does not come from the training of {args.rewind}: run both again")
    if lineage != text_fingerprint(rewind_point.get("start"), recipe_fingerprint(args), rewind_point.get("epoch")):
        raise UserError(f"{args.rewind} was made with other pictures, settings or another replicate: make it again")


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--parent", type=Path, required=True, help="network.pt of the level before")
    parser.add_argument("--rewind", type=Path, required=True, help="rewind.pt of level 0")
    parser.add_argument("--fraction", type=float, required=True, help="share of the remaining weights to prune")
    args = parser.parse_args()
    parent, rewind_point = load_tensors(args.parent), load_tensors(args.rewind)
    refuse_strangers(args, parent, rewind_point)
    network, masks = rebuild_network(parent, args.network, args.parent)
    train, test = load_batches(args, choose_device())
    masks, history = train_level(network, masks, rewind_point, train, args.training, args.replicate, args.fraction)
    save_network(args.out, network, masks, rewind_point["lineage"])
    write_metrics(args.metrics, network, masks, accuracy(network, test, args.training["precision"]), history)


if __name__ == "__main__":
    run_command(main)
