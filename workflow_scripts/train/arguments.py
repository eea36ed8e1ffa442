"""Arguments that the scripts that make networks share."""

import argparse
import json
import os
from pathlib import Path

import torch

from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.networks.precisions import TRAINING
from workflow_scripts.networks.weight_files import shown
from workflow_scripts.shared.files import UserError, file_fingerprint, text_fingerprint
from workflow_scripts.train.pictures import MemoryPictures
from workflow_scripts.train.processes import Group
from workflow_scripts.train.training import Pictures
from workflow_scripts.train.training_state import TrainingState


def network_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the pictures, the network, and the two files to write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--train", type=Path, required=True, help="packed training pictures, or their index")
    parser.add_argument("--test", type=Path, required=True, help="packed test pictures, or their index")
    parser.add_argument("--train-folder", type=Path, help="where the files of the index --train are")
    parser.add_argument("--test-folder", type=Path, help="where the files of the index --test are")
    parser.add_argument("--size", type=int, help="of pictures from files, in pixels")
    parser.add_argument("--resize", type=int, help="shorter side of test pictures from files, before they are cropped")
    parser.add_argument("--workers", type=int, default=1, help="threads that decode files, in total")
    parser.add_argument("--gpus", type=int, help="how many to use, 0 for none; by default one is used if there is one")
    parser.add_argument("--mean", type=float, nargs="+", required=True)
    parser.add_argument("--std", type=float, nargs="+", required=True)
    parser.add_argument("--network", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--replicate", type=int, required=True, help="seeds weights, order and augmentation")
    parser.add_argument("--out", type=Path, required=True, help="network.pt")
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json")
    return parser


def untrained_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a script that makes an untrained network."""
    parser = network_parser(description)
    parser.add_argument("--precision", choices=TRAINING, required=True, help="of the accuracy")
    return parser


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a script that trains a network."""
    parser = network_parser(description)
    parser.add_argument("--training", type=json.loads, required=True, help="the config's training section")
    parser.add_argument("--code", required=True, help="fingerprint of this script's code: with another it starts anew")
    parser.add_argument(
        "--rewind-momentum",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue from the rewind point with its momentum, or without momentum",
    )
    return parser


def load_pictures(args: argparse.Namespace, device: torch.device) -> tuple[Pictures, Pictures]:
    """Return the training and the test pictures, for `device`.

    Raises:
        UserError: the two do not have the same classes.
    """
    train, test = (
        open_pictures(packed, folder, args, device)
        for packed, folder in ((args.train, args.train_folder), (args.test, args.test_folder))
    )
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"the class folder {shown(odd[0])!r} is missing from images.train or images.test: add or remove it"
        )
    return train, test


def open_pictures(packed: Path, folder: Path | None, args: argparse.Namespace, device: torch.device) -> Pictures:
    """Return packed pictures, or, if there is a `folder`, the pictures in its files that `packed` lists."""
    if folder is None:
        return MemoryPictures(read_packed_images(packed), args.mean, args.std, device)
    # An experiment with packed pictures does not need the code that decodes files.
    from workflow_scripts.data.image_index import read_image_index
    from workflow_scripts.train.file_pictures import FilePictures

    processes = int(os.environ.get("WORLD_SIZE", 1))
    workers = max(1, args.workers // processes)
    index = read_image_index(packed)
    return FilePictures(index, folder, args.size, args.resize, args.mean, args.std, device, workers)


def recipe_fingerprint(args: argparse.Namespace) -> str:
    """Return a fingerprint of everything that a training depends on, except the network that it starts from."""
    sections = [json.dumps(section, sort_keys=True) for section in (args.network, args.training)]
    view = [args.size, args.resize] if args.train_folder else []
    momentum = [] if args.rewind_momentum else ["no momentum"]
    parts = [*args.mean, *args.std, *sections, args.replicate, *view, *momentum]
    return text_fingerprint(file_fingerprint(args.train), *parts)


def training_state(args: argparse.Namespace, group: Group, *depends_on: object) -> TrainingState:
    """Return the saved state of a training; it is beside the network that the training writes.

    Its recipe is everything that the outputs' bytes depend on: the arguments, `depends_on`, and the code.
    """
    code = [torch.__version__, args.code]
    recipe = text_fingerprint(recipe_fingerprint(args), file_fingerprint(args.test), *depends_on, *code)
    return TrainingState(args.out.with_name(args.out.name + ".training"), recipe, writes=group.rank == 0)
