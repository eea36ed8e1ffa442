"""The inputs of every tally: the layers of a dump with their thresholds, and the labels that they meet."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workflow_scripts.data.hdf5 import open_hdf5, read_attribute
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.dissect.interpolation import Grid, grid, layer_knots
from workflow_scripts.dissect.maps import LayerMaps, layers_of, strict_bound
from workflow_scripts.dissect.tallies import Labels, Pairing, Tally, TallySettings, own_labels, tally_layer
from workflow_scripts.dissect.unit_files import Thresholds, read_thresholds
from workflow_scripts.plan.protocols import BORDERS, COUNTED_IMAGES, MASKS, PLANES, SCHEMES, Protocol
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.gpus import lease_gpu


class TalliedLayer(NamedTuple):
    """A layer's maps, its units' thresholds, where its activations lie, and how it is tallied."""

    maps: LayerMaps
    thresholds: Thresholds
    knots: str
    settings: TallySettings

    @property
    def dead(self) -> np.ndarray:
        """Whether each unit is constant over the whole concept set, bool (U)."""
        return self.thresholds.maximum == self.thresholds.minimum


class Dissected(NamedTuple):
    """Open inputs of a tally: the layers in the dump's order, the concept set, and the attributes of the tally file."""

    layers: dict[str, TalliedLayer]
    labels: ConceptData
    attributes: dict


@contextmanager
def open_layers(
    activations: str | Path,
    thresholds: str | Path,
    concepts: str | Path,
    choices: Protocol,
    receptive_fields: dict | None = None,
) -> Iterator[Dissected]:
    """Open the inputs of a tally.

    Args:
        activations: activations.h5.
        thresholds: thresholds.h5 of that dump.
        concepts: concepts.h5 that the dump was made with.
        choices: how units are masked and counted.
        receptive_fields: as `layer_knots` takes them.

    Raises:
        UserError: a file is missing or damaged, the three do not belong together, or the dump lacks maps.
    """
    with (
        open_hdf5(activations, "maps", "concepts") as dump,
        open_hdf5(thresholds, "activations", "quantile", "samples") as cuts,
        ConceptData(concepts) as labels,
    ):
        fingerprint = read_attribute(dump, "fingerprint", str)
        require_same(thresholds, read_attribute(cuts, "activations", str), activations, fingerprint)
        require_same(activations, read_attribute(dump, "concepts", str), concepts, labels.fingerprint)
        attributes = {
            "activations": fingerprint,
            "concepts": labels.fingerprint,
            "quantile": read_attribute(cuts, "quantile", float),
            "samples": read_attribute(cuts, "samples", str),
        }
        layers = {}
        for layer in layers_of(dump):
            maps = LayerMaps(dump, layer)
            of_units = read_thresholds(cuts, layer, maps.units)
            knots, fields = layer_knots(receptive_fields, layer, choices.knots)
            to = grid((maps.height, maps.width), (labels.height, labels.width), knots, fields, choices.border)
            cut = strict_bound(of_units.threshold, choices.mask)
            made_for = read_attribute(dump, "candidates_mask", str) if maps.candidates else None
            require_maps(activations, maps, labels, made_for, choices.mask, to, cut)
            in_mask = choices.counted_images == "with_label_in_mask"
            settings = TallySettings(cut, to, labels.label_category, len(labels.category_name), in_mask)
            layers[layer] = TalliedLayer(maps, of_units, knots, settings)
        yield Dissected(layers, labels, attributes)


def require_maps(
    activations: str | Path,
    maps: LayerMaps,
    labels: ConceptData,
    made_for: str | None,
    mask: str,
    to: Grid,
    cut: np.ndarray,
) -> None:
    """Raise UserError unless a layer has all maps that the tally needs; `made_for` is the mask of candidates."""
    if maps.images != len(labels.image_has_category):
        raise UserError(f"{activations}: {maps.layer} has {maps.images} images, not the concept set's number")
    if maps.candidates and mask == "at_least" and made_for != "at_least":
        raise UserError(f"{activations} lacks maps that only reach their threshold: make it again with mask at_least")
    if maps.candidates and to.border and (cut < 0).any():
        raise UserError(
            f"{activations} lacks maps whose border of zeros is above a negative threshold: set dissection.dump to all"
        )


def pair_labels(images: int, shuffle_labels: int | None) -> Pairing:
    """Pair every image's maps with its own labels or, with a seed, with those of a random permutation of the images."""
    pairing = own_labels(images)
    if shuffle_labels is not None:
        pairing.partner[0] = np.random.default_rng(shuffle_labels).permutation(pairing.partner[0])
    return pairing


class Counter:
    """Counts the layers of a dump against the labels of a concept set, on a leased GPU or else on the CPU.

    While it works, `copies` of the counts are in memory.
    """

    def __init__(self, labels: ConceptData, choices: Protocol, threads: int, scratch: Path | None = None):
        """With many partners for each image, the new file `scratch` holds what the CPU reads repeatedly.

        Raises:
            UserError: as in `tensor_tallies.Labels`.
        """
        self.threads = threads
        with_category, each_plane = choices.counted_images == "with_category", choices.planes == "each"
        device = lease_gpu()
        self.copies = 1 if device else threads
        self.labels: Any  # from `tallies` or `tensor_tallies`, like `tally`
        self.tally: Callable[..., Tally]
        if device:
            from workflow_scripts.dissect import tensor_tallies

            self.labels = tensor_tallies.Labels(labels, with_category, each_plane, device, threads)
            self.tally = tensor_tallies.tally_layer
        else:
            self.labels, self.tally = Labels(labels, with_category, each_plane), tally_layer
            if scratch:
                self.labels.keep(scratch)

    def count(self, layer: TalliedLayer, pairing: Pairing, tallies: int = 1) -> Tally:
        """Make `tallies` tallies of a layer."""
        return self.tally(
            layer.maps, self.labels, layer.settings._replace(tallies=tallies), pairing, threads=self.threads
        )


def add_tally_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is tallied and how."""
    parser.add_argument("--activations", type=Path, required=True, help="activations.h5")
    parser.add_argument("--thresholds", type=Path, required=True, help="thresholds.h5")
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument("--shuffle-labels", type=int, metavar="SEED", help="baseline: pair images at random")
    add_choices(parser)
    parser.add_argument("--threads", type=int, default=1, help="number of threads, which share the images")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how units are masked and counted, as in a Protocol, and where receptive fields are."""
    parser.add_argument("--knots", choices=SCHEMES, required=True, help="where activations lie in the picture")
    parser.add_argument("--border", choices=BORDERS, required=True, help="values beyond the outer activations")
    parser.add_argument("--mask", choices=MASKS, required=True, help="above the threshold, or at least it")
    parser.add_argument("--counted-images", choices=COUNTED_IMAGES, required=True, help="images in a unit's area")
    parser.add_argument("--planes", choices=PLANES, required=True, help="how often a label in several planes counts")
    parser.add_argument("--receptive-fields", type=Path, help="receptive_fields.json, for those knots")
