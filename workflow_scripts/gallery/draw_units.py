"""Draw the units of one network for the gallery: their top pictures in sheets, their concepts in data scripts."""

import argparse
import base64
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.data.chunks import Rows
from workflow_scripts.data.hdf5 import find_dataset, member_names, open_hdf5, read_attribute, wrong
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.dissect.interpolation import Grid, grid, interpolate, layer_knots, read_receptive_fields
from workflow_scripts.dissect.maps import LayerMaps, strict_bound
from workflow_scripts.dissect.name_units import iou
from workflow_scripts.dissect.unit_files import Counts, read_counts
from workflow_scripts.gallery.histograms import Histograms
from workflow_scripts.gallery.label_masks import LabelMasks, mask_runs
from workflow_scripts.gallery.read_validation import Validation
from workflow_scripts.gallery.site_data import UNITS_PER_SCRIPT, UNITS_PER_SHEET, sheet_file, write_layer
from workflow_scripts.gallery.sprites import draw_mask, encode, join_rows, resize
from workflow_scripts.gallery.top_maps import TopMaps, top_maps
from workflow_scripts.plan.protocols import BORDERS, MASKS, SCHEMES
from workflow_scripts.shared.files import UserError, run_command, whole_file, write_checksums
from workflow_scripts.shared.progress import Progress

BEST = 5  # concepts that are listed of a unit
BYTES_IN_MEMORY = 2**27  # of scaled pictures


class Tiles(NamedTuple):
    """How many pictures a unit has, their side in pixels, how many bytes one may take; whether they are enlarged."""

    pictures: int
    side: int
    most_bytes: int
    enlarged: bool = False


def draw_units(
    activations: str | Path,
    tally: str | Path,
    concepts: str | Path,
    nulls: str | Path,
    tiles: Tiles,
    network: str,
    out: Path,
    receptive_fields: dict | None = None,
) -> None:
    """Write the data scripts and the sheets of a network into the folder `out`, and their checksums beside it.

    `site_data` describes them; `network` is what the gallery calls that folder, see `network_folder`.
    A unit's pictures are those in which its activation is highest, and exceeds its threshold somewhere; a unit that is
    constant over all pictures has none. Masks are those of the tally, at the resolution of the label maps. Beside a
    mask there is the outline of the unit's best concept, unless the tally has the labels of other pictures. What only
    pictures that are enlarged need is written if they are.
    `nulls` is nulls.csv, as `validate_units` writes it; `receptive_fields` as `layer_knots` takes them.

    Raises UserError if an input is missing or damaged, or if they do not belong together.
    """
    validation = Validation(nulls)
    with (
        open_hdf5(activations, "maps", "fingerprint") as dump,
        open_hdf5(tally, "activations", "concepts", "knots", "border", "mask") as counts,
        ConceptData(concepts) as labels,
        whole_file(out) as folder,
    ):
        made_from, of_concepts, knots, border, mask = (
            read_attribute(counts, name, str) for name in ("activations", "concepts", "knots", "border", "mask")
        )
        outlined = str(read_attribute(counts, "shuffle_labels", object)) == "none"
        require_same(tally, made_from, activations, read_attribute(dump, "fingerprint", str))
        require_same(tally, of_concepts, concepts, labels.fingerprint)
        for name, value, known in (("knots", knots, SCHEMES), ("border", border, BORDERS), ("mask", mask, MASKS)):
            if value not in known:
                raise wrong(counts, name, f"is {value!r}, not one of {', '.join(known)}")
        images = len(labels.image_has_category)
        scaled = scaled_pictures(stored_pictures(labels), tiles.side)
        sheet_file(folder, 0, 0).parent.mkdir(parents=True)
        for index, layer in enumerate(member_names(counts)):
            maps = LayerMaps(dump, layer)
            units = read_units(read_counts(counts, layer, labels), labels)
            require_maps(tally, maps, len(units.threshold), images)
            validated = validation.columns(layer, units.best_names(labels), units.best_iou[:, 0])
            cut = strict_bound(units.threshold, mask)
            histograms = Histograms(maps, units.minimum, units.maximum)
            top = top_maps(maps, np.where(units.dead, np.float32(np.inf), cut), tiles.pictures, histograms.add)
            outlines = Outlines(labels, units, top, outlined)
            scheme, fields = layer_knots(receptive_fields, layer, knots)
            to = grid((maps.height, maps.width), (labels.height, labels.width), scheme, fields, border)
            progress, sheet_bytes = Progress(f"units of {layer}", len(cut)), 0
            for number, first in enumerate(range(0, len(cut), UNITS_PER_SHEET)):
                rows = [
                    unit_row(top, unit, maps, to, cut[unit], scaled, outlines)
                    for unit in units.by_score[first : first + UNITS_PER_SHEET]
                ]
                sheet = join_rows(rows, tiles.pictures, tiles.side)
                most = len(rows) * tiles.pictures * tiles.most_bytes
                sheet_bytes += sheet_file(folder, index, number).write_bytes(encode(sheet, most))
                progress.log(first + len(rows))
            progress.finish(f", {sheet_bytes / 1e6:.1f} MB")
            columns = units.columns(labels) | validated | image_columns(top, len(cut))
            write_layer(folder, network, f"layer_{index}", columns | {"outlined": outlined})
            write_layer(folder, network, f"layer_{index}_histograms", histogram_columns(histograms))
            if tiles.enlarged:
                for number, some in enumerate(map_columns(top, maps, to, cut, outlines)):
                    write_layer(folder, network, f"layer_{index}_maps_{number}", some)
    write_checksums(out, out.with_name(out.name + ".sha256"))


def require_maps(tally: str | Path, maps: LayerMaps, units: int, images: int) -> None:
    """Raise UserError unless a layer has maps of so many units and images."""
    if (maps.units, maps.images) != (units, images):
        raise UserError(
            f"{tally}: {maps.layer} has {units} units and {images} images, and its maps {maps.units} and {maps.images};"
            " make it again"
        )


class Units(NamedTuple):
    """What was counted of a layer's units.

    `best_label` intp and `best_iou` float64 (U, at most BEST) are in order of falling IoU; `threshold`, `maximum` and
    `minimum` are float32 (U), and `dead` is bool (U): units that are constant over the concept set.
    """

    best_label: np.ndarray
    best_iou: np.ndarray
    threshold: np.ndarray
    maximum: np.ndarray
    minimum: np.ndarray
    dead: np.ndarray

    @property
    def by_score(self) -> np.ndarray:
        """The units by falling IoU with their best concept, ties by rising number."""
        return np.argsort(-self.best_iou[:, 0], kind="stable")

    def best_names(self, labels: ConceptData) -> list[str]:
        """The name of each unit's best concept, "" of one that has none."""
        best = zip(self.best_label[:, 0], self.best_iou[:, 0], strict=True)
        return [labels.label_name[label] if iou > 0 else "" for label, iou in best]

    def columns(self, labels: ConceptData) -> dict:
        """What the layer's data script says of them, but for their validation and their pictures."""
        known = self.best_iou > 0
        used, position = np.unique(self.best_label[known], return_inverse=True)
        place = np.zeros(known.shape, int)
        place[known] = position
        best = []
        for places, ious in zip(place, self.best_iou, strict=True):
            # Whether a unit is a detector must not hang on rounding.
            rounded = [float(ious[0]), *(round(float(iou), 6) for iou in ious[1:])]
            pairs = zip(places.tolist(), rounded, strict=True)
            best.append([number for pair in pairs if pair[1] > 0 for number in pair])
        return {
            "labels": [[labels.label_name[label], int(labels.label_category[label])] for label in used],
            "best": best,
            "slot": np.argsort(self.by_score).tolist(),
            "threshold": [float(f"{value:.4g}") for value in self.threshold],
            "maximum": [float(f"{value:.4g}") for value in self.maximum],
            "dead": np.flatnonzero(self.dead).tolist(),
        }


def read_units(counted: Counts, labels: ConceptData) -> Units:
    """The units of a layer of tally.h5; ties go to the lowest label."""
    scores = iou(counted.intersection, counted.unit_area, counted.label_area, labels.label_category)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST]
    return Units(best, np.take_along_axis(scores, best, 1), *counted.thresholds, counted.dead)


class Outlines:
    """The masks of each unit's best concept in its pictures, of units that have one, if they are `outlined` at all."""

    def __init__(self, labels: ConceptData, units: Units, top: TopMaps, outlined: bool) -> None:
        """Read those of the pictures in `top`; UserError if the concept set is damaged there."""
        self.label = np.where(outlined & (units.best_iou[:, 0] > 0), units.best_label[:, 0], -1)
        pairs = zip(top.image.tolist(), self.label[top.unit].tolist(), strict=True)
        self.masks = LabelMasks(labels, ((image, label) for image, label in pairs if label >= 0))

    def mask(self, unit: int, image: int) -> np.ndarray | None:
        """Return the mask of the unit's best concept in a picture, bool (H, W); None for a unit without any."""
        label = int(self.label[unit])
        return None if label < 0 else self.masks.mask(image, label)


def image_columns(top: TopMaps, units: int) -> dict:
    """What a layer's data script says of the pictures."""
    first = np.searchsorted(top.unit, np.arange(units + 1))
    return {"shown": np.diff(first).tolist(), "image": [top.image[a:b].tolist() for a, b in pairwise(first)]}


def histogram_columns(histograms: Histograms) -> dict:
    """What a layer's script of histograms says."""
    return {
        "samples": histograms.samples,
        "low": [float(f"{value:.4g}") for value in histograms.low],
        "counts": histograms.counts.tolist(),
    }


def map_columns(top: TopMaps, maps: LayerMaps, to: Grid, cut: np.ndarray, outlines: Outlines) -> Iterator[dict]:
    """What each of a layer's scripts of maps says."""
    of_all = {
        "size": [maps.height, maps.width],
        "half": maps.half,
        "border": to.border,
        "rows": [*to.rows.tolist(), to.row_weight.tolist()],
        "columns": [*to.columns.tolist(), to.column_weight.tolist()],
    }
    for first in range(0, maps.units, UNITS_PER_SCRIPT):
        some = range(first, min(first + UNITS_PER_SCRIPT, maps.units))
        yield of_all | {"units": [unit_maps(top, unit, cut[unit], outlines) for unit in some]}


def unit_maps(top: TopMaps, unit: int, cut: np.float32, outlines: Outlines) -> dict:
    """What a script of maps says of one unit."""
    chosen = slice(*np.searchsorted(top.unit, [unit, unit + 1]))
    labels = [outlines.mask(unit, image) for image in top.image[chosen].tolist()]
    values = top.values[chosen].astype(top.values.dtype.newbyteorder("<"))
    return {
        "cut": float(cut),
        "values": base64.b64encode(values.tobytes()).decode(),
        "labels": [None if label is None else mask_runs(label) for label in labels],
    }


def unit_row(
    top: TopMaps,
    unit: int,
    maps: LayerMaps,
    to: Grid,
    cut: np.float32,
    scaled: Callable[[int], np.ndarray],
    outlines: Outlines,
) -> list[np.ndarray]:
    """The pictures of a unit, uint8 (side, side, 3), with its masks and its concept's outlines on them."""
    chosen = slice(*np.searchsorted(top.unit, [unit, unit + 1]))
    masks = interpolate(top.values[chosen].reshape(-1, maps.height, maps.width), to) > cut
    return [
        draw_mask(scaled(image), mask, outlines.mask(unit, image))
        for image, mask in zip(top.image[chosen].tolist(), masks, strict=True)
    ]


def stored_pictures(labels: ConceptData) -> Rows:
    """The pictures of a concept set, uint8 (N, P, Q, 3); UserError if their type or shape differs."""
    return Rows(find_dataset(labels.file, "images", np.uint8, (len(labels.image_has_category), None, None, 3)))


def scaled_pictures(images: Rows, side: int) -> Callable[[int], np.ndarray]:
    """A function that returns the picture of a number, uint8 (side, side, 3); it remembers the last ones."""
    return lru_cache(BYTES_IN_MEMORY // (3 * side**2))(lambda image: resize(images.read(image, image + 1)[0], side))


def main() -> None:
    """Draw the units of the network that the command line names into the folder --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", required=True, help="activations.h5")
    parser.add_argument("--tally", required=True, help="tally.h5, which has the thresholds, too")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--nulls", required=True, help="nulls.csv, for what chance gives, and how names agree")
    parser.add_argument("--receptive-fields", type=Path, help="receptive_fields.json, for those knots")
    parser.add_argument("--tiles", type=int, nargs=3, required=True, metavar=("IMAGES", "SIDE", "MOST_BYTES"))
    parser.add_argument("--enlarged", action="store_true", help="write what pictures that are enlarged need, too")
    parser.add_argument("--network", required=True, help="the folder's path within the gallery's")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    pictures, side, most_bytes = arguments.tiles
    draw_units(
        arguments.activations,
        arguments.tally,
        arguments.concepts,
        arguments.nulls,
        Tiles(pictures, side, most_bytes, arguments.enlarged),
        arguments.network,
        arguments.out,
        read_receptive_fields(arguments.receptive_fields),
    )


if __name__ == "__main__":
    run_command(main)
