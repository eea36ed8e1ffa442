"""Counting, for every unit and label of a layer, the pixels that both cover, by the compiled kernels."""

from typing import NamedTuple

import numpy as np

from workflow_scripts.dissect import kernels
from workflow_scripts.dissect.concept_data import ConceptData, LabelBlock
from workflow_scripts.dissect.interpolation import Grid
from workflow_scripts.dissect.maps import LayerMaps, MapBlock, as_bits
from workflow_scripts.dissect.parallel import in_shards
from workflow_scripts.shared.progress import Progress


class TallySettings(NamedTuple):
    """How the units of a layer are tallied, for U units and L labels.

    cut: float32 (U); a mask is where the map, interpolated to the grid `to`, is greater. label_category (L): the
    labels' primary categories, of `categories`. in_mask: whether an image counts for a category only if a label of
    the category lies in the unit's mask. tallies: how many are made.
    """

    cut: np.ndarray
    to: Grid
    label_category: np.ndarray
    categories: int
    in_mask: bool
    tallies: int = 1


class Tally:
    """The counts of one layer in T tallies, int64.

    `intersection` (T, L, U), so that neighbouring units lie together; `unit_area` (T, U, C).
    """

    def __init__(self, settings: TallySettings):
        self.settings = settings
        units, labels = len(settings.cut), len(settings.label_category)
        self.intersection = np.zeros((settings.tallies, labels, units), np.int64)
        self.unit_area = np.zeros((settings.tallies, units, settings.categories), np.int64)

    def add(self, block: MapBlock, width: int, labels: LabelBlock, target: np.ndarray) -> None:
        """Add N images: their maps, of `width` columns, and the labels that they meet.

        `labels` are those of m * N images, at p * N + i those of image i's partner p, which count in the tally
        target[p * N + i], int64.
        """
        kernels.tally(
            as_bits(block.values), block.unit, block.start, self.settings.cut, width, self.settings.to, labels, target,
            self.settings.label_category, self.settings.in_mask, self.intersection, self.unit_area,
        )  # fmt: skip


class Pairing(NamedTuple):
    """Which labels the maps of N images meet, and in which tally that counts: both int64 (m, N).

    Image i's maps meet the labels of image partner[p, i], which counts in the tally target[p, i].
    """

    partner: np.ndarray
    target: np.ndarray


def own_labels(images: int) -> Pairing:
    """Every image's maps meet its own labels, in one tally."""
    return Pairing(np.arange(images)[None], np.zeros((1, images), np.int64))


def tally_layer(
    maps: LayerMaps,
    labels: ConceptData,
    settings: TallySettings,
    pairing: Pairing,
    with_category: bool,
    each_plane: bool = False,
    threads: int = 1,
) -> Tally:
    """The tallies of a layer; `with_category` and `each_plane` as `ConceptData.block` takes them."""
    parts = in_shards(tally_images, maps.images, threads, maps, labels, settings, pairing, with_category, each_plane)
    for part in parts[1:]:
        parts[0].intersection += part.intersection
        parts[0].unit_area += part.unit_area
    return parts[0]


def tally_images(
    first: int,
    last: int,
    maps: LayerMaps,
    labels: ConceptData,
    settings: TallySettings,
    pairing: Pairing,
    with_category: bool,
    each_plane: bool,
) -> Tally:
    """The tallies of images `first` to `last` of a layer."""
    tally = Tally(settings)
    progress = Progress(f"images of {maps.layer}", last - first)
    for block in maps.blocks(first, last):
        of_block = labels.block(pairing.partner[:, block.images].ravel(), with_category, each_plane)
        tally.add(block, maps.width, of_block, pairing.target[:, block.images].ravel())
        progress.log(block.images.stop - first)
    progress.finish()
    return tally
