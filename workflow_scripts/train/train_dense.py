"""Train a dense network (level 0) and keep its state at the rewind point."""

import argparse
from pathlib import Path

from workflow_scripts.networks.checkpoints import load_tensors, rebuild, save_network, save_tensors, write_metrics
from workflow_scripts.networks.precisions import resolved
from workflow_scripts.shared.files import file_fingerprint, run_command, text_fingerprint
from workflow_scripts.train.arguments import load_pictures, recipe_fingerprint, training_parser, training_state
from workflow_scripts.train.processes import Group, joined_group
from workflow_scripts.train.training import Trainer, accuracy


def train_dense(trainer: Trainer, rewind_epoch: int, rewind_momentum: bool = True) -> dict:
    """Train for all epochs, or continue an interrupted training; return the state after `rewind_epoch` epochs.

    Without `rewind_momentum`, that state has no momentum, and neither has the training that continues from it.
    """
    trainer.resume()
    trainer.train_to(rewind_epoch)
    if trainer.rewind_point is None:
        if not rewind_momentum:
            trainer.optimizer.state.clear()
        trainer.rewind_point = trainer.state()
    trainer.train_to(trainer.settings["epochs"])
    return trainer.rewind_point


def main() -> None:
    """Train the dense network as the command line says, in this process or in one process for each GPU."""
    parser = training_parser(__doc__)
    parser.add_argument("--initial", type=Path, required=True, help="the network.pt to start from")
    parser.add_argument("--rewind-epoch", type=int, required=True)
    parser.add_argument("--rewind", type=Path, required=True, help="rewind.pt, to be written")
    args = parser.parse_args()
    with joined_group(args.gpus) as group:
        train(args, group)


def train(args: argparse.Namespace, group: Group) -> None:
    """Train as the arguments say, unless that is already done."""
    args.training["precision"] = resolved(args.training["precision"], group.device)
    start = file_fingerprint(args.initial)
    lineage = text_fingerprint(start, recipe_fingerprint(args), args.rewind_epoch)
    kept = training_state(args, group, lineage)
    outputs = (args.rewind, args.out, args.metrics)
    with kept.alone():
        if group.any(kept.was_finished(*outputs)):
            return
        pictures, test = load_pictures(args, group.device)
        initial = load_tensors(args.initial)
        network, masks = rebuild(initial, args.network, args.initial)
        trainer = Trainer(network, masks, pictures, args.training, args.replicate, group, kept)
        rewind_point = train_dense(trainer, args.rewind_epoch, args.rewind_momentum)
        test_accuracy = accuracy(network, test, args.training["precision"], group)
        epochs = None if initial["epochs"] is None else initial["epochs"] + len(trainer.history)
        if group.rank == 0:
            with kept.outputs(*outputs) as (rewind, out, metrics):
                save_tensors(rewind, rewind_point | {"start": start, "lineage": lineage})
                save_network(out, network, masks, len(test.classes), epochs, lineage)
                write_metrics(metrics, network, masks, test_accuracy, trainer.history, epochs, trainer.pictures_shown())


if __name__ == "__main__":
    run_command(main)
