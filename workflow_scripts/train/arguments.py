"""The arguments that the scripts that make networks share."""

import argparse
import json
from pathlib import Path

import torch

from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.files import UserError, file_fingerprint, text_fingerprint
from workflow_scripts.train.training import Batches


def network_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the pictures, the network, and the two files to write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--train", type=Path, required=True, help="packed training pictures")
    parser.add_argument("--test", type=Path, required=True, help="packed test pictures")
    parser.add_argument("--mean", type=float, nargs=3, required=True)
    parser.add_argument("--std", type=float, nargs=3, required=True)
    parser.add_argument("--network", type=json.loads, required=True, help="the config's network section")
    parser.add_argument("--replicate", type=int, required=True, help="seeds weights, order and augmentation")
    parser.add_argument("--out", type=Path, required=True, help="network.pt")
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json")
    return parser


def untrained_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a network that is not trained."""
    parser = network_parser(description)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], required=True, help="of the accuracy")
    return parser


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a network that is trained."""
    parser = network_parser(description)
    parser.add_argument("--training", type=json.loads, required=True, help="the config's training section")
    return parser


def load_batches(args: argparse.Namespace, device: torch.device) -> tuple[Batches, Batches]:
    """Return the training and the test pictures on `device`.

    Raises:
        UserError: the two do not have the same classes.
    """
    train, test = (Batches(read_packed_images(path), args.mean, args.std, device) for path in (args.train, args.test))
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(f"the class folder {odd[0]!r} is not in both images.train and images.test: add or remove it")
    return train, test


def recipe_fingerprint(args: argparse.Namespace) -> str:
    """Return a fingerprint of all that a training depends on, besides the network that it starts from."""
    sections = [json.dumps(section, sort_keys=True) for section in (args.network, args.training)]
    return text_fingerprint(file_fingerprint(args.train), *args.mean, *args.std, *sections, args.replicate)
