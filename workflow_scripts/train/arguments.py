"""The arguments that the training scripts share."""

import argparse
import json
from pathlib import Path

import torch

from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.files import UserError
from workflow_scripts.train.training import Batches


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the pictures, the config's sections (as JSON) and the two files to write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--train", type=Path, required=True, help="packed training pictures")
    parser.add_argument("--test", type=Path, required=True, help="packed test pictures")
    parser.add_argument("--mean", type=float, nargs=3, required=True)
    parser.add_argument("--std", type=float, nargs=3, required=True)
    parser.add_argument("--network", type=json.loads, required=True, help="the config's network section")
    parser.add_argument("--training", type=json.loads, required=True, help="the config's training section")
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    parser.add_argument("--replicate", type=int, required=True, help="seeds weights, order and augmentation")
    parser.add_argument("--out", type=Path, required=True, help="network.pt")
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json")
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
