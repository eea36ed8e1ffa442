"""Make a network of an arm: prune, choose what the weights that remain start from, and train them.

Arms are combinations of four choices, each an argument here (`plan.methods` has those of the published ones): how masks
are chosen and of which network, from where the weights start, in which epoch, and by which schedule they are trained.
"""

import argparse
import logging
from pathlib import Path

from workflow_scripts.networks.checkpoints import load_tensors, rebuild, save_network, write_metrics
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import describe_density
from workflow_scripts.shared.files import UserError, file_fingerprint, run_command, text_fingerprint
from workflow_scripts.train.arguments import load_pictures, recipe_fingerprint, training_parser, training_state
from workflow_scripts.train.level_masks import MASKS, Pruned, choose_masks
from workflow_scripts.train.processes import Group, joined_group
from workflow_scripts.train.training import Trainer, accuracy

WEIGHTS = ("rewound", "kept", "fresh")


def start_state(args: argparse.Namespace, parent: dict, rewind_point: dict | None) -> dict:
    """Return what the weights start from, as `Trainer.state` has it, with the epoch that training goes on from.

    rewound: the rewind point, with its momentum if it has any, or the initial network (Frankle et al. 2020); kept: the
    parent's weights (learning-rate rewinding and fine-tuning, Renda et al. 2020); fresh: drawn anew by `--seed`.
    """
    if args.weights == "rewound" and args.initial is None:
        return rewind_point
    if args.weights == "rewound":
        model = load_tensors(args.initial)["model"]
    elif args.weights == "kept":
        model = parent["model"]
    else:
        model = build(args.network, parent["classes"], args.seed).state_dict()
    return {"epoch": args.from_epoch, "model": model, "momentum": {}}


def schedule_of(training: dict, constant_rate: float | None) -> dict:
    """Return the settings of a training: the config's, or those of one rate from its first epoch to its last."""
    if constant_rate is None:
        return training
    return training | {"learning_rate": constant_rate, "schedule": "milestones", "milestones": [], "warmup_epochs": 0}


def train_level(trainer: Trainer, start: dict) -> None:
    """Start from what the masks leave of a state and train to the end, or continue an interrupted training.

    The schedule and the data order go on from the epoch of the state.
    """
    if not trainer.resume():
        trainer.rewind(start)
    trainer.train_to(trainer.settings["epochs"])


def require_one_training(args: argparse.Namespace, networks: dict[Path, dict], rewind_point: dict) -> None:
    """Raise UserError unless networks, rewind point, pictures, settings and replicate are those of one training."""
    lineage = rewind_point.get("lineage")
    for path, tensors in networks.items():
        if tensors.get("lineage") != lineage:
            raise UserError(f"{path} does not come from the training of {args.rewind}: run both again")
    if lineage != text_fingerprint(rewind_point.get("start"), recipe_fingerprint(args), rewind_point.get("epoch")):
        raise UserError(f"{args.rewind} was made with other pictures, settings or another replicate: make it again")
    if args.initial and file_fingerprint(args.initial) != rewind_point.get("start"):
        raise UserError(f"{args.initial} is not what the training of {args.rewind} started from: make both again")


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--parent", type=Path, required=True, help="network.pt that is pruned")
    parser.add_argument("--rewind", type=Path, help="rewind.pt of the dense training, where there was one")
    parser.add_argument("--mask", choices=MASKS, required=True, help="how the weights that stay are chosen")
    parser.add_argument("--fraction", type=float, help="with --mask round: share of the remaining weights to prune")
    parser.add_argument("--like", type=Path, help="network.pt of another arm at this level: its masks or their counts")
    parser.add_argument("--weights", choices=WEIGHTS, required=True, help="what they start from")
    parser.add_argument("--initial", type=Path, help="with --weights rewound: network.pt to go back to")
    parser.add_argument("--from-epoch", type=int, default=0, help="where the schedule starts, but at a rewind point")
    parser.add_argument("--constant-rate", type=float, help="learning rate of all epochs, in place of the schedule")
    parser.add_argument("--order", type=int, default=0, help="another number is another order of the data")
    parser.add_argument("--seed", type=int, default=0, help="of fresh weights and of shuffled masks")
    args = parser.parse_args()
    with joined_group(args.gpus) as group:
        train(args, group)


def train(args: argparse.Namespace, group: Group) -> None:
    """Do what the arguments say, unless it has been done."""
    parent = load_tensors(args.parent)
    like = load_tensors(args.like) if args.like else None
    rewind_point = load_tensors(args.rewind) if args.rewind else None
    if rewind_point:
        require_one_training(args, {args.parent: parent} | ({args.like: like} if like else {}), rewind_point)
    files = (args.parent, args.rewind, args.like, args.initial)
    choices = (args.mask, args.fraction, args.weights, args.from_epoch, args.constant_rate, args.order, args.seed)
    kept = training_state(args, group, *(file_fingerprint(file) for file in files if file), *choices)
    outputs = (args.out, args.metrics)
    with kept.alone():
        if group.any(kept.was_finished(*outputs)):
            return
        network, masks = rebuild(parent, args.network, args.parent)
        pictures, test = load_pictures(args, group.device)
        masks = choose_masks(args.mask, Pruned(network, masks), like and like["masks"], args.fraction, args.seed)
        density = describe_density(network, masks)["density"]["prunable"]
        logging.info("%.2f %% of the prunable weights remain", 100 * density)
        settings = schedule_of(args.training, args.constant_rate)
        trainer = Trainer(network, masks, pictures, settings, args.replicate, group, kept, args.order)
        train_level(trainer, start_state(args, parent, rewind_point))
        test_accuracy = accuracy(network, test, args.training["precision"], group)
        if group.rank == 0:
            with kept.outputs(*outputs) as (out, metrics):
                save_network(out, network, masks, len(test.classes), parent.get("lineage", ""))
                write_metrics(metrics, network, masks, test_accuracy, trainer.history)


if __name__ == "__main__":
    run_command(main)
