"""Section train: images per second in training, with and without masks, from memory and from files."""

from argparse import Namespace
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.timing import time_in_turn, time_runs
from benchmarks.gpu.workloads import MEAN, RESNET20, RESNET50, STD, TINY, cores
from benchmarks.input_pipeline import HEIGHT, TRAINING, WIDTH, write_pictures
from benchmarks.training import random_masks, training_settings
from workflow_scripts.data.image_index import ImageIndex
from workflow_scripts.data.packed_images import PackedImages
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.train.file_pictures import FilePictures
from workflow_scripts.train.pictures import MemoryPictures
from workflow_scripts.train.processes import join_group
from workflow_scripts.train.training import Pictures, Trainer

PRECISION = "bfloat16"


class Scale(NamedTuple):
    """The network and pictures of a measurement; a round trains on `steps` batches."""

    network: dict
    classes: int
    side: int
    batch: int
    steps: int
    rounds: int


RESNET50_SCALE = Scale(RESNET50, 1000, 224, batch=256, steps=10, rounds=5)
RESNET20_SCALE = Scale(RESNET20, 10, 32, batch=128, steps=50, rounds=5)
SMALL = Scale(TINY, 10, 32, batch=16, steps=2, rounds=3)
# Files that are written, and used repeatedly; steps of a round; shorter side of a picture without random crops.
FILES, FILE_STEPS, RESIZE = 64, 16, 256
SMALL_FILES = 8


def run(bench: Bench) -> None:
    """Measure training; most valuable first."""
    device = join_group(None).device  # as in the scripts that train
    large, little = (SMALL, SMALL) if bench.small else (RESNET50_SCALE, RESNET20_SCALE)
    bench.part("ResNet-50", 20, time_masks, bench, "ResNet-50", large, device, False)
    bench.part("ResNet-50 from JPEG files", 30, time_files, bench, large, device)
    bench.part("ResNet-20", 20, time_masks, bench, "ResNet-20", little, device, False)
    if bench.small:
        torch.compiler.set_stance("force_eager")  # compiling takes half a minute on a CPU
    bench.part("ResNet-50, compiled", 80, time_masks, bench, "ResNet-50, compiled", large, device, True)
    bench.part("ResNet-20, compiled", 50, time_masks, bench, "ResNet-20, compiled", little, device, True)


def settings_of(scale: Scale, compiled: bool) -> dict:
    """Return the config's `training` section."""
    return training_settings(Namespace(batch=scale.batch, precision=PRECISION, compile=compiled)) | TRAINING


def new_trainer(scale: Scale, pictures: Pictures, compiled: bool = False) -> Trainer:
    """Return a trainer of a network with random weights, none of them pruned."""
    network = build(scale.network, scale.classes, seed=1)
    return Trainer(network, full_masks(network, []), pictures, settings_of(scale, compiled), 1)


def time_masks(bench: Bench, name: str, scale: Scale, device: torch.device, compiled: bool) -> None:
    """Time training from memory with nine in ten weights masked, and the same trainer without masks."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (scale.batch * scale.steps, scale.side, scale.side, 3), np.uint8)
    packed = PackedImages(images, rng.integers(0, scale.classes, len(images)), tuple(map(str, range(scale.classes))))
    trainer = new_trainer(scale, MemoryPictures(packed, MEAN, STD, device), compiled)
    full = trainer.masks
    pruned = {layer: mask.to(device) for layer, mask in random_masks(full).items()}

    def train_with(masks: dict) -> None:
        # Masks are applied outside the compiled part, so one network serves both.
        trainer.masks = masks
        trainer.train_epoch()

    with_masks, without = time_in_turn(
        [lambda: train_with(pruned), lambda: train_with(full)], bench.device, scale.rounds
    )
    count = len(images)
    note = with_masks.spread(count) + with_masks.memory()
    bench.row(name, with_masks.rate(count), "images/s", note, "with masks")
    note = f"without: {without.rate(count):,.0f} ({without.spread(count)}){without.memory()}"
    ratio = with_masks.times_as_fast_as(without)
    bench.row(name, ratio, "ratio", note, "with / without masks")
    torch.compiler.reset()


def time_files(bench: Bench, scale: Scale, device: torch.device) -> None:
    """Time training from JPEG files, and only loading pictures from files to the device; all cores decode."""
    files = len(write_pictures(bench.folder, SMALL_FILES if bench.small else FILES))
    count = scale.batch * (scale.steps if bench.small else FILE_STEPS)
    index = ImageIndex(
        tuple(f"{number % files}.JPEG" for number in range(count)),
        np.arange(count) % scale.classes,
        tuple(map(str, range(scale.classes))),
        np.full(count, HEIGHT, np.int32),
        np.full(count, WIDTH, np.int32),
        "",
    )
    pictures = FilePictures(index, bench.folder, scale.side, RESIZE, MEAN, STD, device, cores())
    trainer = new_trainer(scale, pictures)
    timing = time_runs(trainer.train_epoch, bench.device, scale.rounds)
    note = f"{timing.spread(count)}{timing.memory()}; {cores()} threads decode"
    bench.row("ResNet-50 from JPEG files", timing.rate(count), "images/s", note)

    def load_epoch() -> None:
        drawn = pictures.draw_augmentation(trainer.settings, trainer.seed, 0)
        for _ in pictures.augmented(np.split(drawn.order, count // scale.batch), drawn):
            pass

    timing = time_runs(load_epoch, bench.device, scale.rounds)
    bench.row("JPEG files to the device, no training", timing.rate(count), "images/s", timing.spread(count))
