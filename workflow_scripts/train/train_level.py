"""Make a network of an arm: prune, set the starting point of the remaining weights, and train them.

The arguments are what distinguishes one arm from another (`plan.methods` has those of the published arms): how masks
are chosen and from which network, what the weights start from and in which epoch, and by which schedule they are
trained.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
from torch import nn

from workflow_scripts.networks.checkpoints import (
    load_tensors,
    masks_for,
    rebuild,
    require_contents,
    save_network,
    write_metrics,
)
from workflow_scripts.networks.constructors import build, require_trainable
from workflow_scripts.networks.precisions import resolved
from workflow_scripts.networks.pruning import Masks, describe_density, full_masks
from workflow_scripts.networks.weights import require_fit
from workflow_scripts.shared.files import UserError, file_fingerprint, run_command, text_fingerprint
from workflow_scripts.train.arguments import load_pictures, recipe_fingerprint, training_parser, training_state
from workflow_scripts.train.level_masks import MASKS, OF_MASKS, Pruned, Size, choose_masks
from workflow_scripts.train.processes import Group, joined_group
from workflow_scripts.train.training import Pictures, Trainer, accuracy, require_state, seed_of

# What the remaining weights may start from, and the argument with its file; fresh weights are drawn.
WEIGHTS = {"rewound": "rewind", "initial": "initial", "kept": "parent", "fresh": None}
FILES = ("parent", "rewind", "like", "initial")  # arguments that name files of other jobs


def start_of(
    args: argparse.Namespace, files: dict[str, dict], classes: int, network: nn.Module
) -> tuple[dict, int | None]:
    """Return what a network's weights start from, as `Trainer.state` returns it, and how many epochs they were trained.

    rewound: the rewind point, with its momentum if it has any (Frankle et al. 2020); initial: the network that the
    dense training started from (Frankle and Carbin 2019); kept: the parent's weights (Renda et al. 2020); fresh:
    weights drawn by `--seed`.

    Raises:
        UserError: as in `require_state` and `require_fit`.
    """
    if args.weights == "rewound":
        start = require_state(files["rewind"], network, args.rewind)
        return start | {"epoch": args.from_epoch}, start["epoch"]
    if source := WEIGHTS[args.weights]:
        model = require_fit(files[source]["model"], network.state_dict(), getattr(args, source))
        epochs = files[source]["epochs"]
    else:
        model, epochs = build(args.network, classes, args.seed).state_dict(), 0
    return {"epoch": args.from_epoch, "model": model, "momentum": {}}, epochs


def schedule_of(training: dict, constant_rate: float | None) -> dict:
    """Return the settings of a training: the config's, or these with one constant learning rate for all epochs."""
    if constant_rate is None:
        return training
    return training | {"learning_rate": constant_rate, "schedule": "milestones", "milestones": [], "warmup_epochs": 0}


def train_level(trainer: Trainer, start: dict, until_epoch: int | None = None) -> None:
    """Start from a state, with the masks applied, and train to an epoch; or continue an interrupted training.

    The schedule and the data order continue from the epoch of the state; without `until_epoch`, to the last epoch.
    """
    if not trainer.resume():
        trainer.rewind(start)
    trainer.train_to(trainer.settings["epochs"] if until_epoch is None else until_epoch)


def require_one_training(args: argparse.Namespace, files: dict[str, dict]) -> None:
    """Raise UserError unless all files come from one training, with the rewind point's pictures and settings."""
    compared = [name for name in ("rewind", "parent", "like") if name in files]
    for name in compared[1:]:
        if files[name].get("lineage") != files[compared[0]].get("lineage"):
            path, other = getattr(args, name), getattr(args, compared[0])
            raise UserError(f"{path} does not come from the training of {other}: run both again")
    if "rewind" not in files:
        return
    lineage, start, epoch = (files["rewind"].get(name) for name in ("lineage", "start", "epoch"))
    if lineage != text_fingerprint(start, recipe_fingerprint(args), epoch):
        raise UserError(
            f"{args.rewind} was made with other pictures or settings, for another replicate, or in another precision"
            f" than {args.training['precision']}: make it again, or set training.precision to a fixed precision"
        )
    if "initial" in files and start != file_fingerprint(args.initial):
        raise UserError(f"{args.initial} is not what the training of {args.rewind} started from: run both again")


def pruned_network(args: argparse.Namespace, files: dict[str, dict], classes: int) -> tuple[nn.Module, Masks]:
    """Return the network to prune with the masks of its prunable weights, or a new network with full masks."""
    if "parent" not in files:
        network = build(args.network, classes, args.seed)
        return network, full_masks(network, args.exempt)
    network, masks = rebuild(files["parent"], args.network, args.parent)
    prunable = full_masks(network, args.exempt)
    # Pruned weights of an exempt layer stay pruned.
    return network, {name: mask for name, mask in masks.items() if name in prunable or not mask.all()}


def require_classes(args: argparse.Namespace, parent: dict, test: Pictures) -> None:
    """Raise UserError unless a user's network returns a score for each class of the pictures."""
    pictures, _ = next(iter(test.plain([np.arange(2) % len(test)])))
    require_trainable(rebuild(parent, args.network, args.parent)[0].to(test.device), pictures, len(test.classes))


def main() -> None:
    """Prune and train as the command line says; exit if its options contradict each other."""
    parser = training_parser(__doc__)
    parser.add_argument("--parent", type=Path, help="network.pt to prune; without it a new network is trained")
    parser.add_argument(
        "--rewind", type=Path, help="rewind.pt of the dense training; needed with --initial, to check that"
    )
    parser.add_argument("--like", type=Path, help="network.pt of another arm at this level, for its masks or counts")
    parser.add_argument("--initial", type=Path, help="network.pt that the dense training started from")
    parser.add_argument("--mask", choices=MASKS, required=True, help="which weights stay")
    parser.add_argument("--fraction", type=float, help="without --like: share of the remaining weights to prune")
    parser.add_argument("--rounds", type=int, default=1, help="how many times to prune that share")
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    parser.add_argument("--weights", choices=WEIGHTS, required=True, help="what the remaining weights start from")
    parser.add_argument("--seed", type=int, default=0, help="of drawn weights")
    parser.add_argument("--mask-seed", type=int, nargs="+", default=[0], help="of drawn places")
    parser.add_argument("--from-epoch", type=int, required=True, help="first epoch of the schedule and the data order")
    parser.add_argument("--until-epoch", type=int, help="where to stop, if before the last epoch")
    parser.add_argument("--constant-rate", type=float, help="learning rate of all epochs, instead of the schedule")
    parser.add_argument("--order", type=int, default=0, help="another number gives another order of the data")
    args = parser.parse_args()
    if args.mask != "all" and not args.like and (args.fraction is None or args.mask in OF_MASKS):
        parser.error(f"--mask {args.mask} needs --like" + (" or --fraction" if args.mask not in OF_MASKS else ""))
    for source in (WEIGHTS[args.weights], "rewind" if args.initial else None):
        if source and getattr(args, source) is None:
            parser.error(f"--weights {args.weights} needs --{source}")
    with joined_group(args.gpus) as group:
        train(args, group)


def train(args: argparse.Namespace, group: Group) -> None:
    """Prune and train as the arguments say, unless that is already done."""
    args.training["precision"] = resolved(args.training["precision"], group.device)
    paths = {name: path for name in FILES if (path := getattr(args, name))}
    files = {name: load_tensors(path) for name, path in paths.items()}
    for name in files.keys() - {"rewind"}:
        require_contents(files[name], paths[name])
    require_one_training(args, files)
    choices = (
        *(args.mask, args.fraction, args.rounds, args.mask_seed, args.exempt, args.weights, args.seed),
        *(args.from_epoch, args.until_epoch, args.constant_rate, args.order),
    )
    kept = training_state(args, group, *map(file_fingerprint, paths.values()), *choices)
    outputs = (args.out, args.metrics)
    with kept.alone():
        if group.any(kept.was_finished(*outputs)):
            return
        pictures, test = load_pictures(args, group.device)
        parent = files.get("parent", {"classes": len(test.classes)})
        if parent["classes"] is None:
            require_classes(args, parent, test)
        network, masks = pruned_network(args, files, parent["classes"])
        like = masks_for(network, files["like"], args.like) if args.like else None
        size = Size(like, args.fraction, args.rounds)
        masks = choose_masks(args.mask, Pruned(network, masks), size, seed_of(*args.mask_seed))
        density = describe_density(network, masks)["density"]["prunable"]
        logging.info("%.2f %% of the prunable weights remain", 100 * density)
        settings = schedule_of(args.training, args.constant_rate)
        trainer = Trainer(network, masks, pictures, settings, args.replicate, group, kept, args.order)
        start, epochs = start_of(args, files, parent["classes"], network)
        train_level(trainer, start, args.until_epoch)
        epochs = None if epochs is None else epochs + len(trainer.history)
        test_accuracy = accuracy(network, test, args.training["precision"], group)
        if group.rank == 0:
            with kept.outputs(*outputs) as (out, metrics):
                save_network(out, network, masks, parent["classes"], epochs, parent.get("lineage", ""))
                write_metrics(metrics, network, masks, test_accuracy, trainer.history, epochs, trainer.pictures_shown())


if __name__ == "__main__":
    run_command(main)
