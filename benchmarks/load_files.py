"""Write what `benchmarks.load` dissects: a wide network and concepts with thousands of labels.

python -m benchmarks.load_files --folder FOLDER --pictures 500
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.concept_files import ImageLabels, broden_images, write_concepts
from benchmarks.synthetic import CATEGORIES, LABEL_CATEGORY, broden_like
from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks

SIDE = 28  # of the pictures, in pixels; the maps have a quarter of it
KINDS = 5  # of each of Broden's labels, which makes 5,985
DRAWN = 100  # images whose labels are drawn; others repeat them
CONSTRUCTOR = '''"""A network with one wide layer."""

from torch import nn


def wide(units):
    """Return a network whose layer `wide` has so many units, with maps of a quarter of the picture's side."""
    network = nn.Sequential()
    network.add_module("stem", nn.Conv2d(3, 16, 4, stride=4))
    network.add_module("wide", nn.Sequential(nn.Conv2d(16, units, 1), nn.ReLU()))
    return network
'''


def main() -> None:
    """Write wide.py, settings.json, network.pt and concepts_<pictures>.h5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pictures", type=int, required=True)
    parser.add_argument("--units", type=int, default=8192)
    args = parser.parse_args()
    write_network(args.folder, args.units)
    path = args.folder / f"concepts_{args.pictures}.h5"
    pictures = np.random.default_rng(0).integers(0, 256, (args.pictures, SIDE, SIDE, 3), np.uint8)
    drawn = [kinds_of(image, place) for place, image in enumerate(broden_images(broden_like(DRAWN, 1)))]
    category = np.repeat(LABEL_CATEGORY, KINDS).astype(np.uint8)
    write_concepts(path, drawn, args.pictures, drawn[0].masks.shape[1], category, CATEGORIES, pictures)


def write_network(folder: Path, units: int) -> None:
    """Write the network, with random weights, and its settings."""
    (folder / "wide.py").write_text(CONSTRUCTOR)
    settings = {"constructor": "wide:wide", "arguments": {"units": units}}
    (folder / "settings.json").write_text(json.dumps(settings))
    network = build(settings, classes=None, seed=1)
    save_network(folder / "network.pt", network, full_masks(network, []), classes=None, epochs=None)


def kinds_of(image: ImageLabels, place: int) -> ImageLabels:
    """Return an image's labels as one of `KINDS` of each."""
    mask, whole, again = (
        label * KINDS + place % KINDS for label in (image.mask_label, image.whole_label, image.again_label)
    )
    return image._replace(mask_label=mask, whole_label=whole, again_label=again)


if __name__ == "__main__":
    main()
