"""Count, for every unit and concept, the pixels that the unit's mask and the concept share."""

import argparse
import logging
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import FORMAT, open_hdf5
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.dissect.interpolation import upsample
from workflow_scripts.files import UserError, run_command, whole_file

log = logging.getLogger(__name__)

VALUES_IN_MEMORY = 2**24  # of the maps, and as many of the interpolated maps: bounds memory
LARGEST_COUNT = 2**24  # float32 counts exactly up to here


def tally_units(
    activations: str | Path,
    thresholds: str | Path,
    concepts: str | Path,
    out: str | Path,
    shuffle_labels: int | None = None,
) -> None:
    """Write tally.h5: the integers of which every IoU is made (Bau et al. 2017, section 2.3).

    Per layer a group with, for U units, L labels and C categories, int64 `intersection` (U, L): pixels in
    the unit's mask that carry the label; `unit_area` (U, C): pixels in the mask, over the images that
    carry a label of the category; `label_area` (L): pixels that carry the label; and the layer's
    `threshold`, `maximum` and `minimum`. A unit's mask is where its interpolated map exceeds its
    threshold, strictly: after a ReLU a nearly dead unit has threshold 0, and its mask stays empty.

    With `shuffle_labels`, a seed, the maps of image i meet the labels of image p(i), p a random
    permutation: a control for what IoU chance gives.

    Attributes: `format`, `activations` and `concepts` (fingerprints), `quantile`, and `shuffle_labels`
    (the seed, or "none"). Raises UserError if an input is missing or damaged or the three do not belong
    together.
    """
    with (
        open_hdf5(activations, "maps", "concepts") as dump,
        open_hdf5(thresholds, "activations", "quantile") as cuts,
        ConceptData(concepts) as labels,
    ):
        require_same(thresholds, cuts.attrs["activations"], activations, dump.attrs["fingerprint"])
        require_same(activations, dump.attrs["concepts"], concepts, labels.fingerprint)
        if labels.height * labels.width > LARGEST_COUNT:
            raise UserError(f"{concepts}: label maps of more than {LARGEST_COUNT} pixels cannot be counted")
        layers = {layer: LayerTally(maps, cuts[layer]["threshold"][:], labels) for layer, maps in dump["maps"].items()}
        count_images(layers, labels, shuffle_labels)
        with whole_file(out) as part, h5py.File(part, "w") as file:
            file.attrs.update(
                format=FORMAT,
                activations=dump.attrs["fingerprint"],
                concepts=labels.fingerprint,
                quantile=cuts.attrs["quantile"],
                shuffle_labels="none" if shuffle_labels is None else shuffle_labels,
            )
            for layer, tally in layers.items():
                file[f"{layer}/intersection"] = tally.intersection
                file[f"{layer}/unit_area"] = tally.unit_area
                file[f"{layer}/label_area"] = labels.label_area
                for name in ("threshold", "maximum", "minimum"):
                    file[f"{layer}/{name}"] = cuts[layer][name][:]


class LayerTally:
    """The counts of one layer, to which images are added one by one."""

    def __init__(self, maps: h5py.Dataset, threshold: np.ndarray, labels: ConceptData):
        images, units = maps.shape[:2]
        if images != len(labels.image_has_category):
            raise UserError(f"{maps.file.filename}: {maps.name} has {images} images, not the concept set's number")
        self.maps, self.threshold, self.labels = maps, threshold, labels
        self.intersection = np.zeros((units, len(labels.label_number)), np.int64)
        self.unit_area = np.zeros((units, len(labels.category_name)), np.int64)

    def add_image(
        self, maps: np.ndarray, label_rows: np.ndarray, label_masks: np.ndarray, has_category: np.ndarray
    ) -> None:
        """Add an image: its maps (units, h, w), its labels (l) and their masks (l, H * W), its categories."""
        # No interpolated value exceeds its map's maximum (see `upsample`): other units have empty masks.
        active = np.flatnonzero(maps.max(axis=(1, 2)) > self.threshold)
        height, width = self.labels.height, self.labels.width
        step = max(1, VALUES_IN_MEMORY // (height * width))
        for start in range(0, len(active), step):
            units = active[start : start + step]
            masks = upsample(maps[units], height, width) > self.threshold[units, None, None]
            masks = masks.reshape(len(units), -1).astype(np.float32)
            # Sums of zeros and ones below 2^24 are exact in float32, in whatever order they are added.
            self.intersection[units[:, None], label_rows] += (masks @ label_masks.T).astype(np.int64)
            area = masks.sum(axis=1).astype(np.int64)
            self.unit_area[units] += area[:, None] * has_category


def count_images(layers: dict[str, LayerTally], labels: ConceptData, shuffle_labels: int | None) -> None:
    """Add all images to all layers, reading a bounded number at a time."""
    images = len(labels.image_has_category)
    partner = np.arange(images)
    if shuffle_labels is not None:
        partner = np.random.default_rng(shuffle_labels).permutation(images)
    values_per_image = sum(int(np.prod(layer.maps.shape[1:])) for layer in layers.values())
    step = max(1, VALUES_IN_MEMORY // max(1, values_per_image))
    for start in range(0, images, step):
        chunks = [layer.maps[start : start + step].astype(np.float32) for layer in layers.values()]
        for offset, image in enumerate(partner[start : start + step]):
            label_rows, label_masks = labels.image_labels(image)
            for layer, chunk in zip(layers.values(), chunks, strict=True):
                layer.add_image(chunk[offset], label_rows, label_masks, labels.image_has_category[image])
        log.info("tallied %d of %d images", min(start + step, images), images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", required=True, help="activations.h5")
    parser.add_argument("--thresholds", required=True, help="thresholds.h5")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--out", required=True, help="tally.h5 to write")
    parser.add_argument("--shuffle-labels", type=int, metavar="SEED", help="control: pair images at random")
    arguments = parser.parse_args()
    tally_units(
        arguments.activations,
        arguments.thresholds,
        arguments.concepts,
        arguments.out,
        arguments.shuffle_labels,
    )


if __name__ == "__main__":
    run_command(main)
