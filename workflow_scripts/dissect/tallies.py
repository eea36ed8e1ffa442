"""Count, for every unit and label of a layer, the pixels that both cover, with the compiled kernels."""

from pathlib import Path
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
    the category lies in the unit's mask. tallies: the number of tallies.
    """

    cut: np.ndarray
    to: Grid
    label_category: np.ndarray
    categories: int
    in_mask: bool
    tallies: int = 1


class Tally:
    """The counts of one layer in T tallies, int64.

    `intersection` (T, L, U), so that neighbouring units are adjacent; `unit_area` (T, U, C).
    """

    def __init__(self, settings: TallySettings):
        self.settings = settings
        units, labels = len(settings.cut), len(settings.label_category)
        self.intersection = np.zeros((settings.tallies, labels, units), np.int64)
        self.unit_area = np.zeros((settings.tallies, units, settings.categories), np.int64)

    def add(self, block: MapBlock, width: int, labels: LabelBlock, partner: np.ndarray, target: np.ndarray) -> None:
        """Add N images: their maps, of `width` columns, and the labels that they meet.

        For each p, image i meets the labels of the image at partner[p * N + i] of `labels`, which count in the tally
        target[p * N + i]; both are int64 (m * N).
        """
        kernels.tally(
            as_bits(block.values), block.unit, block.start, self.settings.cut, width, self.settings.to, labels, partner,
            target, self.settings.label_category, self.settings.in_mask, self.intersection, self.unit_area,
        )  # fmt: skip


class Pairing(NamedTuple):
    """Which labels the maps of N images meet, and in which tally they count: both int64 (m, N).

    The maps of image i meet the labels of image partner[p, i], which count in the tally target[p, i].
    """

    partner: np.ndarray
    target: np.ndarray


def own_labels(images: int) -> Pairing:
    """Pair every image's maps with its own labels, in one tally."""
    return Pairing(np.arange(images)[None], np.zeros((1, images), np.int64))


class Labels:
    """The labels that images meet, read for each block of images, or once for all of them.

    With many partners, labels are needed from all over the file, so they are read once, into `kept`, by
    `ConceptData.all_labels`.
    """

    def __init__(self, concepts: ConceptData, with_category: bool, each_plane: bool = False):
        """`with_category` and `each_plane` as `ConceptData.block` takes them."""
        self.concepts, self.choices = concepts, (with_category, each_plane)
        self.kept: LabelBlock | None = None

    def keep(self, scratch: Path) -> None:
        """Read all labels into a file that is mapped into memory."""
        self.kept = self.concepts.all_labels(*self.choices, scratch)

    def of(self, images: np.ndarray) -> tuple[LabelBlock, np.ndarray]:
        """Labels, and the places among them of the images at these positions (n), which may repeat: int64 (n)."""
        if self.kept is not None:
            return self.kept, images
        return self.concepts.block(images, *self.choices), np.arange(len(images))


def tally_layer(maps: LayerMaps, labels: Labels, settings: TallySettings, pairing: Pairing, threads: int = 1) -> Tally:
    """Count the tallies of a layer."""
    parts = in_shards(tally_images, maps.images, threads, maps, labels, settings, pairing)
    for part in parts[1:]:
        parts[0].intersection += part.intersection
        parts[0].unit_area += part.unit_area
    return parts[0]


def tally_images(
    first: int, last: int, maps: LayerMaps, labels: Labels, settings: TallySettings, pairing: Pairing
) -> Tally:
    """Count the tallies of images `first` to `last` of a layer."""
    tally = Tally(settings)
    progress = Progress(f"images of {maps.layer}", last - first)
    for block in maps.blocks(first, last):
        of_block, partner = labels.of(pairing.partner[:, block.images].ravel())
        tally.add(block, maps.width, of_block, partner, pairing.target[:, block.images].ravel())
        progress.log(block.images.stop - first)
    progress.finish()
    return tally
