"""Prune the network of the level before, rewind what remains, and train it again."""

import argparse
import logging
from pathlib import Path

from torch import nn

from workflow_scripts.networks.checkpoints import load_tensors, rebuild, save_network, write_metrics
from workflow_scripts.networks.pruning import Masks, describe_density, prune_by_magnitude
from workflow_scripts.shared.files import UserError, file_fingerprint, run_command, text_fingerprint
from workflow_scripts.train.arguments import load_pictures, recipe_fingerprint, training_parser, training_state
from workflow_scripts.train.processes import Group, joined_group
from workflow_scripts.train.training import Trainer, accuracy


def prune(network: nn.Module, masks: Masks, fraction: float) -> Masks:
    """Return new masks, nested in the old, that prune a `fraction` of the remaining weights; log the density."""
    masks = prune_by_magnitude(network, masks, fraction)
    density = describe_density(network, masks)["density"]["prunable"]
    logging.info("%.2f %% of the prunable weights remain", 100 * density)
    return masks


def train_level(trainer: Trainer, rewind_point: dict) -> None:
    """Rewind what the masks leave (Frankle et al. 2020) and train to the end, or continue an interrupted training.

    `rewind_point` is what `train_dense` returned, with momentum or without; the schedule and the data order continue
    there.
    """
    if not trainer.resume():
        trainer.rewind(rewind_point)
    trainer.train_to(trainer.settings["epochs"])


def require_one_training(args: argparse.Namespace, parent: dict, rewind_point: dict) -> None:
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
    with joined_group(args.gpus) as group:
        train(args, group)


def train(args: argparse.Namespace, group: Group) -> None:
    """Do what the arguments say, unless it has been done."""
    parent, rewind_point = load_tensors(args.parent), load_tensors(args.rewind)
    require_one_training(args, parent, rewind_point)
    depends_on = (file_fingerprint(args.parent), file_fingerprint(args.rewind), args.fraction)
    kept = training_state(args, group, *depends_on)
    outputs = (args.out, args.metrics)
    with kept.alone():
        if group.any(kept.was_finished(*outputs)):
            return
        network, masks = rebuild(parent, args.network, args.parent)
        pictures, test = load_pictures(args, group.device)
        masks = prune(network, masks, args.fraction)
        trainer = Trainer(network, masks, pictures, args.training, args.replicate, group, kept)
        train_level(trainer, rewind_point)
        test_accuracy = accuracy(network, test, args.training["precision"], group)
        if group.rank == 0:
            with kept.outputs(*outputs) as (out, metrics):
                save_network(out, network, masks, len(test.classes), rewind_point["lineage"])
                write_metrics(metrics, network, masks, test_accuracy, trainer.history)


if __name__ == "__main__":
    run_command(main)
