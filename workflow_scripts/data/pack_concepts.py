"""Pack labelled pictures, from one set or several, into one HDF5 file, so that they are decoded only once."""

import argparse
import hashlib
import json
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from workflow_scripts.data.broden_layout import (
    INTERPOLATIONS,
    Labelled,
    NumberedLabel,
    read_concept_set,
    squeeze,
)
from workflow_scripts.data.concept_sets.formats import read_joined
from workflow_scripts.data.decode import most_pixels, tell_turned
from workflow_scripts.data.hdf5 import COMPRESSION, FORMAT, append_rows, create_hdf5
from workflow_scripts.data.label_masks import WORD_BITS, label_masks, masks_again, pack_masks
from workflow_scripts.shared.concept_names import table_name
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.limits import raise_limit
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.sizes import Size, read_size, sides

IMAGES_IN_MEMORY, BYTES_IN_MEMORY = 256, 2**28  # at most, together; a larger image is alone
KINDS = (
    "mask",
    "whole",
    "again",
)  # of rows: labels with a mask, of whole images, carried again
STORED_BLOCK = 2**16  # bytes of an HDF5 chunk: whole images, tens of kilobytes in all


class LabelledPictures(Protocol):
    """The pictures to pack: a set in Broden's layout, or several joined sets."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of the categories."""

    @property
    def labels(self) -> tuple[NumberedLabel, ...]:
        """The labels, by ascending number."""

    @property
    def names(self) -> list[str]:
        """The names of the pictures."""

    @property
    def splits(self) -> list[str]:
        """The part of the set that each picture belongs to."""

    @property
    def height(self) -> int:
        """Of all label maps, in pixels."""

    @property
    def width(self) -> int:
        """Of all label maps, in pixels."""

    def picture(self, index: int, turned: list[str] | None = None) -> np.ndarray:
        """Return a picture, uint8 (h, w, 3); otherwise like `decode`."""

    def labelled(self, index: int, picture: np.ndarray) -> Labelled:
        """Return the labels of a picture; `picture` is what the method `picture` returns."""


def pack_concepts(
    folder: str | Path, image_size: Size, out: str | Path, interpolation: str = "bilinear", threads: int = 1
) -> None:
    """Write concepts.h5 from a folder in Broden's layout; otherwise like `pack_pictures`.

    Raises UserError as `pack_pictures` and `read_concept_set` do.
    """
    require_size(image_size)
    pack_pictures(read_concept_set(folder), image_size, out, interpolation, threads)


def pack_pictures(
    concepts: LabelledPictures,
    image_size: Size,
    out: str | Path,
    interpolation: str = "bilinear",
    threads: int = 1,
    every_category: bool = False,
) -> None:
    """Write concepts.h5 from labelled pictures.

    Pictures are resized by `interpolation`, one of INTERPOLATIONS.
    With N images of P x Q pixels, M label masks of H x W pixels, L labels and C categories:

    images uint8 (N, P, Q, 3); masks uint64 (M, H, words), label masks as `pack_masks` packs them, those of image i from
    mask_start[i] to mask_start[i + 1]; mask_label int32 (M), the labels of the masks, as positions in the label table;
    whole_label int32, the labels of whole images, those of image i from whole_start[i] to whole_start[i + 1];
    label_size (2): H, W; label_number (L, ascending), label_name, label_area int64 (L): pixels that carry the label;
    label_category uint8 (L): the primary category, in which the label covers the most pixels (of equal ones the later;
    for a label that never occurs, the first in label.csv; as in the released code of Bau et al. 2017); category_name
    (C); image_has_category bool (N, C): whether the image carries a label with this primary category; image_name, split
    (N). A pixel carries a label if any plane has it there; every pixel carries a whole-image label. For protocols that
    count each plane: masks_again uint64 (K, H, words), again_label and again_start, like masks, for the pixels that
    carry a label again, as `label_masks.masks_again` finds them; plane_area int64 (L): label_area plus these pixels.

    Attributes: `format`, and `fingerprint`, SHA-256 of the contents. The same pictures give the same contents on any
    number of threads. Raises UserError as the pictures' methods do, for a set without any label, for a category that
    tables cannot have and, with `every_category`, for a category without any label.
    """
    require_size(image_size)
    if formulas := [name for name in concepts.categories if name != table_name(name)]:
        raise UserError(
            f"a spreadsheet would take the category {formulas[0]!r}, a column of tables, for a formula: rename it"
        )
    with whole_file(out) as part, create_hdf5(part) as file:
        pixel_hash, areas, rows = pack_pixels(concepts, image_size, interpolation, threads, file)
        if not areas.any():
            raise UserError(
                f"none of the {len(concepts.names)} pictures with concepts has a label: complete the label maps, or the"
                " tables with labels of whole pictures"
            )
        empty = [name for name, area in zip(concepts.categories, areas[:, 2:].sum(axis=0), strict=True) if not area]
        if every_category and empty:
            raise UserError(
                f"no picture has a label of the category {empty[0]}: complete the set, or change the categories of its"
                " labels"
            )
        tables = index_tables(concepts) | rows.tables() | label_tables(concepts, areas, rows)
        for name, table in tables.items():
            text = table.dtype == object
            file.create_dataset(name, data=table, dtype=h5py.string_dtype() if text else None)
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = contents_fingerprint(pixel_hash, tables)


def require_size(image_size: Size) -> None:
    """Raise UserError unless pictures can have this size."""
    height, width = sides(image_size)
    if min(height, width) < 1:
        raise UserError(f"image size {image_size} is not positive; give the pictures' side in pixels")
    if height * width > most_pixels():
        raise UserError(
            f"pictures of {height} x {width} pixels are too large: correct images.size, or"
            f" {raise_limit('picture_megapixels')}"
        )


def index_tables(concepts: LabelledPictures) -> dict[str, np.ndarray]:
    """Return the tables of concepts.h5 that are known before any picture is decoded."""
    return {
        "label_size": np.array([concepts.height, concepts.width]),
        "label_number": np.array([label.number for label in concepts.labels], np.uint16),
        "label_name": np.array([table_name(label.name) for label in concepts.labels], object),
        "category_name": np.array(concepts.categories, object),
        "image_name": np.array(concepts.names, object),
        "split": np.array(concepts.splits, object),
    }


class LabelRows:
    """Which labels each image carries, as positions in the label table; it grows image by image."""

    def __init__(self) -> None:
        self._labels = {kind: array("i") for kind in KINDS}
        self._starts = {kind: array("q", [0]) for kind in KINDS}

    def add(self, with_mask: np.ndarray, whole: np.ndarray, again: np.ndarray) -> None:
        """Add an image: its labels with a mask, those of all its pixels, and those that pixels carry again."""
        for kind, labels in zip(KINDS, (with_mask, whole, again), strict=True):
            self._labels[kind].extend(labels.tolist())
            self._starts[kind].append(len(self._labels[kind]))

    def tables(self) -> dict[str, np.ndarray]:
        """Return their tables in concepts.h5."""
        tables = {}
        for kind in KINDS:
            tables[f"{kind}_label"] = np.array(self._labels[kind], np.int32)
            tables[f"{kind}_start"] = np.array(self._starts[kind], np.int64)
        return tables

    def occurrences(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each pair of an image and one of its labels, as two arrays of equal length."""
        tables = self.tables()
        images = len(tables["mask_start"]) - 1
        return (
            np.concatenate([np.repeat(np.arange(images), np.diff(tables[f"{kind}_start"])) for kind in KINDS[:2]]),
            np.concatenate([tables[f"{kind}_label"] for kind in KINDS[:2]]),
        )


@dataclass(frozen=True)
class PackedPicture:
    """A picture and its labels, in the form of concepts.h5.

    Attributes:
        pixels: uint8 (P, Q, 3).
        masks, again: of its labels, as `pack_masks` packs them; masks of whole-image labels are left out.
        mask_label, whole_label, again_label: positions in the label table.
        areas: for each category, positions in the label table, and how many pixels carry these labels in its planes.
        area: the same for all categories together; again_area: how many pixels carry a label again.
    """

    pixels: np.ndarray
    masks: np.ndarray
    again: np.ndarray
    mask_label: np.ndarray
    whole_label: np.ndarray
    again_label: np.ndarray
    areas: dict[int, tuple[np.ndarray, np.ndarray]]
    area: tuple[np.ndarray, np.ndarray]
    again_area: np.ndarray


def pack_pixels(
    concepts: LabelledPictures, image_size: Size, interpolation: str, threads: int, file: h5py.File
) -> tuple[str, np.ndarray, LabelRows]:
    """Decode and store all pictures and label masks, a bounded number at a time.

    Returns the SHA-256 of their pixels; the label areas, int64 (L, 2 + C): counting each plane, over all categories
    together, and within each category; and the labels that each image carries.
    """
    row_of_number = np.full(2**16, -1, np.int32)
    row_of_number[[label.number for label in concepts.labels]] = np.arange(len(concepts.labels))
    count, words = len(concepts.names), -(-concepts.width // WORD_BITS)
    images = create_pixels(file, "images", (count, *sides(image_size), 3), np.uint8)
    masks = create_pixels(file, "masks", (0, concepts.height, words), np.uint64)
    again = create_pixels(file, "masks_again", (0, concepts.height, words), np.uint64)
    image_hash, mask_hash, again_hash = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    areas = np.zeros((len(concepts.labels), 2 + len(concepts.categories)), np.int64)
    rows = LabelRows()
    turned: list[str] = []

    def pack(index: int) -> PackedPicture:
        picture = concepts.picture(index, turned)
        return pack_picture(
            squeeze(picture, image_size, interpolation), concepts.labelled(index, picture), row_of_number
        )

    progress = Progress("labelled images", count)
    at_once = max(1, min(IMAGES_IN_MEMORY, BYTES_IN_MEMORY // int(np.prod(images.shape[1:]))))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for start in range(0, count, at_once):
            batch = list(pool.map(pack, range(start, min(start + at_once, count))))
            pixels = np.stack([packed.pixels for packed in batch])
            images[start : start + len(batch)] = pixels
            image_hash.update(pixels.data)
            for dataset, digest, new in (
                (masks, mask_hash, [packed.masks for packed in batch]),
                (again, again_hash, [packed.again for packed in batch]),
            ):
                joined = np.concatenate(new)
                append_rows(dataset, joined)
                digest.update(joined.data)
            for packed in batch:
                rows.add(packed.mask_label, packed.whole_label, packed.again_label)
                add_areas(areas, packed)
            progress.log(start + len(batch))
    progress.finish(f", {len(masks)} label masks")
    tell_turned(turned)
    return "".join(digest.hexdigest() for digest in (image_hash, mask_hash, again_hash)), areas, rows


def create_pixels(file: h5py.File, name: str, shape: tuple[int, ...], dtype: type) -> h5py.Dataset:
    """Create a compressed dataset whose HDF5 chunks are whole images or masks."""
    rows = max(1, STORED_BLOCK // (int(np.prod(shape[1:])) * np.dtype(dtype).itemsize))
    # The first axis is resizable, because a chunk may then be longer than the data.
    return file.create_dataset(
        name, shape, dtype, chunks=(rows, *shape[1:]), maxshape=(None, *shape[1:]), **COMPRESSION
    )


def pack_picture(pixels: np.ndarray, labelled: Labelled, row_of_number: np.ndarray) -> PackedPicture:
    """Pack a picture's labels; `row_of_number` maps a label number to its position in the label table."""
    areas = {}
    for category in {*labelled.categories.tolist(), *(category for category, _ in labelled.whole)}:
        in_category = np.array([number for of_label, number in labelled.whole if of_label == category], np.uint16)
        numbers, masks = label_masks(labelled.planes[labelled.categories == category], in_category)
        areas[category] = row_of_number[numbers], np.count_nonzero(masks, axis=(1, 2))
    listed = [number for _, number in labelled.whole]
    whole = np.unique(np.array(listed, np.uint16))
    numbers, masks = label_masks(labelled.planes, whole)
    numbers_again, again = masks_again(labelled.planes, listed)
    with_mask = ~np.isin(numbers, whole)
    return PackedPicture(
        pixels=pixels,
        masks=pack_masks(masks[with_mask]),
        again=pack_masks(again),
        mask_label=row_of_number[numbers[with_mask]],
        whole_label=row_of_number[whole],
        again_label=row_of_number[numbers_again],
        areas=areas,
        area=(row_of_number[numbers], np.count_nonzero(masks, axis=(1, 2))),
        again_area=np.count_nonzero(again, axis=(1, 2)),
    )


def add_areas(areas: np.ndarray, packed: PackedPicture) -> None:
    """Add the areas of a picture's labels to the totals, int64 (L, 2 + C), as `pack_pixels` returns them."""
    labels, area = packed.area
    areas[labels, :2] += area[:, None]
    np.add.at(areas[:, 0], packed.again_label, packed.again_area)
    for category, (labels, area) in packed.areas.items():
        areas[labels, 2 + category] += area


def label_tables(concepts: LabelledPictures, areas: np.ndarray, rows: LabelRows) -> dict[str, np.ndarray]:
    """Return the tables of concepts.h5 that are known once all pixels are counted."""
    plane_area, label_area, within = areas[:, 0], areas[:, 1], areas[:, 2:]
    latest_largest = within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
    first_named = np.array([label.categories[0] for label in concepts.labels], int)
    primary = np.where(label_area > 0, latest_largest, first_named).astype(np.uint8)
    has_category = np.zeros((len(concepts.names), len(concepts.categories)), bool)
    images, labels = rows.occurrences()
    has_category[images, primary[labels]] = True
    return {
        "label_category": primary,
        "label_area": label_area.copy(),
        "plane_area": plane_area.copy(),
        "image_has_category": has_category,
    }


def contents_fingerprint(pixel_hash: str, tables: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 over the pixels' hash and every table's name, shape and values."""
    digest = hashlib.sha256(pixel_hash.encode())
    for name, table in sorted(tables.items()):
        digest.update(f"\x1f{name}{table.shape}\x1f".encode())
        digest.update("\x1f".join(table).encode() if table.dtype == object else table.tobytes())
    return digest.hexdigest()


def main() -> None:
    """Pack the folder, or the joined sets, that the command line names into concepts.h5."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", help="concept set in Broden's layout")
    source.add_argument("--sets", type=json.loads, help="sets in other layouts, as in concepts.sources, JSON")
    parser.add_argument("--rules", type=json.loads, help="how sets are joined, JSON: the keys of concepts for that")
    parser.add_argument("--image-size", type=read_size, required=True, help="of the packed pictures, in pixels")
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default="bilinear", help="to scale pictures by")
    parser.add_argument("--threads", type=int, default=1, help="that decode")
    parser.add_argument("--out", required=True, help="concepts.h5 to write")
    args = parser.parse_args()
    concepts = read_concept_set(args.folder) if args.folder else read_joined(args.sets, args.rules, args.threads)
    # In Broden's layout, a small part of a set may lack a category that its tables have.
    joined = args.sets is not None
    pack_pictures(concepts, args.image_size, args.out, args.interpolation, args.threads, every_category=joined)


if __name__ == "__main__":
    run_command(main)
