"""Measure a user's network: its densities, and its test accuracy if there are test pictures."""

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from workflow_scripts.data.class_folders import existing, list_class_folders
from workflow_scripts.data.decode import decode, most_pixels, scaled_sides, tell_turned
from workflow_scripts.networks.checkpoints import load_network, write_metrics
from workflow_scripts.networks.constructors import show_picture
from workflow_scripts.networks.torchvision_models import transforms
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.shared.gpus import lease_gpu, use_gpus
from workflow_scripts.shared.limits import raise_limit
from workflow_scripts.shared.memory import keep_freed_memory
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.regular_files import read_file
from workflow_scripts.shared.sizes import sides
from workflow_scripts.train.pictures import normaliser, portions

BATCH, BATCH_PIXELS = 100, 10**8  # the most pictures and pixels that are held at once


@torch.no_grad()
def measure_accuracy(
    network: nn.Module, folder: Path, preprocessing: dict, workers: int, class_order: str | Sequence[str] | None = None
) -> float:
    """Return the share of the pictures in `folder` that the network classifies correctly, in single precision.

    Class folder n, in the order of `list_classes`, holds the pictures of class n. A picture's shorter side is scaled to
    `resize` pixels, or the whole picture to the height and width in `resize`, and its centre of `size` is cropped. This
    uses torchvision's functions on Pillow's pictures, as torchvision's presets do.

    Args:
        network: is moved to the GPU, if there is one, and set to evaluation mode.
        folder: that contains the class folders.
        preprocessing: `size`, `resize`, `mean`, `std`, `interpolation` (torchvision's name for it).
        workers: threads that decode.
        class_order: as `list_classes` takes it.

    Raises:
        UserError: there are no class folders, or not as many as the network has outputs; or as in `list_classes` and
            `decode`.
    """
    classes = list_classes(existing(folder), class_order)
    names, labels = list_class_folders(folder, classes)
    device = torch.device(lease_gpu() or "cpu")
    network.to(device).eval()
    require_resize(preprocessing)
    normalise = normaliser(preprocessing["mean"], preprocessing["std"], device)
    torch.backends.cudnn.allow_tf32 = False  # float32 must mean float32
    right = 0
    batch = max(1, min(BATCH, BATCH_PIXELS // math.prod(sides(preprocessing["size"]))))
    turned: list[str] = []
    progress = Progress("test pictures", len(names))
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), batch):
            paths = [folder / name for name in names[start : start + batch]]
            views = pool.map(lambda path: view(path, preprocessing, turned), paths)
            pictures = torch.from_numpy(np.stack(list(views)))
            predicted = [
                classify(network, normalise(portion.to(device)), folder, len(classes))
                for portion in portions(pictures, device)
            ]
            right += int((torch.cat(predicted).numpy() == labels[start : start + batch]).sum())
            progress.log(start + len(paths))
    progress.finish()
    tell_turned(turned)
    return right / len(names)


def classify(network: nn.Module, pictures: torch.Tensor, folder: Path, classes: int) -> torch.Tensor:
    """Return the predicted classes, int64 (n,), on the CPU; raise UserError if the network has more or fewer."""
    outputs = network(pictures)
    if not isinstance(outputs, torch.Tensor) or outputs.shape[1:] != (classes,):
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UserError(
            f"{folder} has {classes} class folders, but the network's output is {found}: give the folder of the classes"
            " that it was trained for, or leave test out"
        )
    return outputs.argmax(1).cpu()


def require_resize(preprocessing: dict) -> None:
    """Raise UserError if every picture would be scaled beyond the config's limit."""
    resize = preprocessing["resize"]
    if not isinstance(resize, int) and math.prod(resize) > most_pixels():
        raise UserError(
            f"preprocessing.resize has {resize[0]} x {resize[1]} pixels: make it smaller, or"
            f" {raise_limit('picture_megapixels')}"
        )


def view(path: Path, preprocessing: dict, turned: list[str]) -> np.ndarray:
    """Return the centre of a picture, uint8 (height, width, 3); otherwise like `decode`."""
    picture = Image.fromarray(decode(read_file(path), str(path), turned))
    if isinstance(preprocessing["resize"], int):
        scaled_sides(str(path), picture.height, picture.width, preprocessing["resize"])
    interpolation = transforms.InterpolationMode(preprocessing["interpolation"])
    picture = transforms.functional.resize(picture, preprocessing["resize"], interpolation)
    return np.asarray(transforms.functional.center_crop(picture, preprocessing["size"]))


def main() -> None:
    """Measure the network that the command line names, and write metrics.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, required=True, help="network.pt")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--density", type=float, help="of the weights, if masks and zeros do not show it")
    parser.add_argument("--test", type=Path, help="class folders of test pictures")
    parser.add_argument(
        "--class-order", type=json.loads, help='JSON: "text", "number" or a list of the folders\' names'
    )
    parser.add_argument("--preprocessing", type=json.loads, required=True, help="JSON: size, resize, mean and so on")
    parser.add_argument("--workers", type=int, default=1, help="threads that decode")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")
    parser.add_argument("--out", type=Path, required=True, help="metrics.json")
    args = parser.parse_args()
    use_gpus(args.gpus)
    keep_freed_memory()
    network, masks = load_network(args.network, args.settings)
    accuracy = None
    if args.test:
        show_picture(network, args.preprocessing["size"], len(args.preprocessing["mean"]))
        accuracy = measure_accuracy(network, args.test, args.preprocessing, args.workers, args.class_order)
    write_metrics(args.out, network, masks, accuracy, [], density=args.density)


if __name__ == "__main__":
    run_command(main)
