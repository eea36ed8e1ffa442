"""What masks cost in training: images per second with nine in ten weights pruned, and without masks.

python -m benchmarks.training                         # ResNet-50 at 224 pixels, on a GPU if there is one
python -m benchmarks.training --batch 16 --steps 2    # on a small machine
"""

import argparse
import statistics
import time

import numpy as np
import torch

from benchmarks.gpu.workloads import RESNET50
from workflow_scripts.data.packed_images import PackedImages
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import Masks, full_masks
from workflow_scripts.shared.files import run_command
from workflow_scripts.train.pictures import MemoryPictures
from workflow_scripts.train.processes import join_group
from workflow_scripts.train.training import Trainer

CLASSES = 1000
DENSITY = 0.1


def training_settings(args: argparse.Namespace) -> dict:
    """The parts of the recipe of configs/paper.yaml that affect speed."""
    return {
        "epochs": 10**6,
        "batch_size": args.batch,
        "micro_batch": "batch_size",
        "learning_rate": 1e-3,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 1e-4,
        "warmup_epochs": 5,
        "schedule": "cosine",
        "shift": 0,
        "flip": True,
        "precision": args.precision,
        "compile": args.compile,
    }


def random_masks(masks: Masks) -> Masks:
    """Random masks that keep a tenth of each layer's weights."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(mask.shape, generator=generator) < DENSITY for name, mask in masks.items()}


def main() -> None:
    """Train a ResNet-50 without and with masks, in turn, and print the images per second of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224, help="side of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=20, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each, in turn")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    device = join_group(None).device
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.batch * args.steps, args.size, args.size, 3), np.uint8)
    packed = PackedImages(images, rng.integers(0, CLASSES, len(images)), tuple(map(str, range(CLASSES))))
    pictures = MemoryPictures(packed, [0.5] * 3, [0.25] * 3, device)
    trainers = {}
    for name, change in (("without masks", lambda masks: masks), ("with masks", random_masks)):
        network = build(RESNET50, CLASSES, seed=1)
        trainers[name] = Trainer(network, change(full_masks(network, [])), pictures, training_settings(args), 1)
        trainers[name].train_epoch()  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(args.rounds):
        for name, trainer in trainers.items():
            started = time.perf_counter()
            trainer.train_epoch()  # ends by reading the loss, so that a GPU has finished
            seconds[name].append(time.perf_counter() - started)
    for name, times in seconds.items():
        rates = sorted(len(images) / time for time in times)
        print(f"{name}: {statistics.median(rates):.1f} images per second ({rates[0]:.1f} to {rates[-1]:.1f}), {device}")
    pairs = zip(seconds["without masks"], seconds["with masks"], strict=True)
    print(f"with masks / without: {statistics.median(without / masked for without, masked in pairs):.3f}")


if __name__ == "__main__":
    run_command(main)
