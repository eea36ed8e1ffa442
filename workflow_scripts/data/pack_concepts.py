"""Pack a concept set in Broden's layout into one HDF5 file, so that its PNGs are decoded once."""

import argparse
import hashlib
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.broden_layout import (
    INTERPOLATIONS,
    ConceptSet,
    LabelledImage,
    read_concept_set,
    read_label_map,
    read_picture,
)
from workflow_scripts.data.decode import tell_turned
from workflow_scripts.data.hdf5 import COMPRESSION, FORMAT, append_rows, create_hdf5
from workflow_scripts.data.label_masks import WORD_BITS, label_masks, masks_again, pack_masks
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.sizes import Size, read_size, sides

IMAGES_IN_MEMORY = 256  # bounds memory
STORED_BLOCK = 2**16  # bytes of an HDF5 chunk: whole images, some tens of kilobytes together


def pack_concepts(folder: str | Path, image_size: Size, out: str | Path, interpolation: str = "bilinear") -> None:
    """Write concepts.h5 from a folder in Broden's layout.

    Pictures are resized by `interpolation`, one of INTERPOLATIONS.
    With N images of P x Q pixels, M label masks of H x W pixels, L labels and C categories:

    images uint8 (N, P, Q, 3); masks uint64 (M, H, words), label masks as `pack_masks` packs them, those of
    image i from mask_start[i] to mask_start[i + 1]; mask_label int32 (M), whose masks they are, as positions in
    the label table; whole_label int32, the labels of whole images, those of image i from whole_start[i] to
    whole_start[i + 1]; label_size (2): H, W; label_number (L, rising), label_name,
    label_area int64 (L): pixels that carry the label; label_category uint8 (L): the primary category, in
    which the label covers the most pixels (ties to the later; for a label that never occurs the first that
    label.csv names; Bau et al. 2017's released code); category_name (C); image_has_category bool (N, C):
    whether the image carries a label whose primary category it is; image_name, split (N).
    A pixel carries a label if any plane does; a whole-image label is carried by every pixel. Where planes are counted
    each: masks_again uint64 (K, H, words), again_label and again_start, as masks, for the pixels that carry a label
    once more, as `label_masks.masks_again` finds them; plane_area int64 (L): label_area and these.

    Attributes: `format`, and `fingerprint`, SHA-256 of the contents. Raises UserError as
    `read_concept_set`, `read_label_map` and `read_picture` do, for a number outside the label table, and for a set
    without any label.
    """
    if min(sides(image_size)) < 1:
        raise UserError(f"image size {image_size} is not positive; give the pictures' side in pixels")
    concepts = read_concept_set(folder)
    with whole_file(out) as part, create_hdf5(part) as file:
        tables = index_tables(concepts)
        pixel_hash, areas, rows = pack_pixels(concepts, image_size, interpolation, file)
        if not areas.any():
            raise UserError(
                f"no picture of {concepts.folder / 'index.csv'} has a label: fill its columns"
                f" {', '.join(concepts.categories)}, and the label maps that they name"
            )
        tables |= rows.tables() | label_tables(concepts, areas, rows.of_images())
        for name, table in tables.items():
            text = table.dtype == object
            file.create_dataset(name, data=table, dtype=h5py.string_dtype() if text else None)
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = contents_fingerprint(pixel_hash, tables)


def index_tables(concepts: ConceptSet) -> dict[str, np.ndarray]:
    """What concepts.h5 takes from index.csv, label.csv and category.csv as it stands."""
    images = concepts.images
    return {
        "label_size": np.array([concepts.height, concepts.width]),
        "label_number": np.array([label.number for label in concepts.labels], np.uint16),
        "label_name": np.array([label.name for label in concepts.labels], object),
        "category_name": np.array(concepts.categories, object),
        "image_name": np.array([image.name for image in images], object),
        "split": np.array([image.split for image in images], object),
    }


class LabelRows:
    """Which labels each image carries, as positions in the label table: grows image by image."""

    def __init__(self) -> None:
        self.mask_label: list[np.ndarray] = []
        self.whole_label: list[np.ndarray] = []
        self.again_label: list[np.ndarray] = []

    def add(self, with_mask: np.ndarray, whole: np.ndarray, again: np.ndarray) -> None:
        """Add an image: its labels that have a mask, those of all its pixels, and those that have a mask again."""
        self.mask_label.append(with_mask)
        self.whole_label.append(whole)
        self.again_label.append(again)

    def tables(self) -> dict[str, np.ndarray]:
        """Their tables in concepts.h5."""
        tables = {}
        for kind, rows in (("mask", self.mask_label), ("whole", self.whole_label), ("again", self.again_label)):
            tables[f"{kind}_label"] = np.concatenate(rows).astype(np.int32)
            tables[f"{kind}_start"] = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return tables

    def of_images(self) -> list[np.ndarray]:
        """The labels of each image."""
        return [np.concatenate(rows) for rows in zip(self.mask_label, self.whole_label, strict=True)]


def pack_pixels(
    concepts: ConceptSet, image_size: Size, interpolation: str, file: h5py.File
) -> tuple[str, np.ndarray, LabelRows]:
    """Decode and store all pictures and label masks, a bounded number at a time.

    Returns the SHA-256 of their pixels, the label areas int64 (L, 2 + C) (each plane counted, over all categories
    together, then within each), and the labels that each image carries.
    """
    row_of_number = np.full(2**16, -1, np.int32)
    row_of_number[[label.number for label in concepts.labels]] = np.arange(len(concepts.labels))
    words = -(-concepts.width // WORD_BITS)
    images = create_pixels(file, "images", (len(concepts.images), *sides(image_size), 3), np.uint8)
    masks = create_pixels(file, "masks", (0, concepts.height, words), np.uint64)
    again = create_pixels(file, "masks_again", (0, concepts.height, words), np.uint64)
    image_hash, mask_hash, again_hash = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    areas = np.zeros((len(concepts.labels), 2 + len(concepts.categories)), np.int64)
    rows = LabelRows()
    turned: list[str] = []
    progress = Progress("labelled images", len(concepts.images))
    for start in range(0, len(concepts.images), IMAGES_IN_MEMORY):
        batch = concepts.images[start : start + IMAGES_IN_MEMORY]
        paths = [concepts.path(image.name) for image in batch]
        pictures = np.stack([read_picture(path, image_size, interpolation, turned) for path in paths])
        images[start : start + len(batch)] = pictures
        packed = [pack_labels(concepts, image, row_of_number, areas, rows) for image in batch]
        image_hash.update(pictures)
        for dataset, digest, new in zip(
            (masks, again), (mask_hash, again_hash), zip(*packed, strict=True), strict=True
        ):
            joined = np.concatenate(new)
            append_rows(dataset, joined)
            digest.update(joined)
        progress.log(start + len(batch))
    progress.finish(f", {len(masks)} label masks")
    tell_turned(turned)
    return "".join(digest.hexdigest() for digest in (image_hash, mask_hash, again_hash)), areas, rows


def create_pixels(file: h5py.File, name: str, shape: tuple[int, ...], dtype: type) -> h5py.Dataset:
    """A compressed dataset whose HDF5 chunks are whole images or masks."""
    rows = max(1, STORED_BLOCK // (int(np.prod(shape[1:])) * np.dtype(dtype).itemsize))
    # A resizable first axis, because a chunk may then be longer than the data.
    return file.create_dataset(
        name, shape, dtype, chunks=(rows, *shape[1:]), maxshape=(None, *shape[1:]), **COMPRESSION
    )


def pack_labels(
    concepts: ConceptSet, image: LabelledImage, row_of_number: np.ndarray, areas: np.ndarray, rows: LabelRows
) -> tuple[np.ndarray, np.ndarray]:
    """The masks of an image's labels, uint64 (labels, H, words), those of whole-image labels left out; masks again.

    Adds the labels to `rows` and their areas to `areas` (L, 2 + C).
    """
    planes = read_planes(concepts, image, row_of_number)
    plane_category = np.array([category for category, _ in image.planes], int)
    for category in {category for category, _ in image.planes + image.whole_labels}:
        whole = [number for c, number in image.whole_labels if c == category]
        numbers, masks = label_masks(planes[plane_category == category], np.array(whole, np.uint16))
        areas[row_of_number[numbers], 2 + category] += np.count_nonzero(masks, axis=(1, 2))
    listed = [number for _, number in image.whole_labels]
    whole = np.unique(np.array(listed, np.uint16))
    numbers, masks = label_masks(planes, whole)
    areas[row_of_number[numbers], :2] += np.count_nonzero(masks, axis=(1, 2))[:, None]
    numbers_again, again = masks_again(planes, listed)
    np.add.at(areas[:, 0], row_of_number[numbers_again], np.count_nonzero(again, axis=(1, 2)))
    with_mask = ~np.isin(numbers, whole)
    rows.add(row_of_number[numbers[with_mask]], row_of_number[whole], row_of_number[numbers_again])
    return pack_masks(masks[with_mask]), pack_masks(again)


def read_planes(concepts: ConceptSet, image: LabelledImage, row_of_number: np.ndarray) -> np.ndarray:
    """The label planes of an image, uint16 (planes, H, W); UserError for a number not in the table."""
    planes = np.empty((len(image.planes), concepts.height, concepts.width), np.uint16)
    for plane, (_, name) in zip(planes, image.planes, strict=True):
        plane[:] = read_label_map(concepts.path(name), concepts.height, concepts.width)
        unknown = plane[(plane > 0) & (row_of_number[plane] < 0)]
        if unknown.size:
            raise UserError(
                f"{concepts.path(name)} holds label number {unknown.min()}, which label.csv lacks; "
                "add the label or mend the map"
            )
    return planes


def label_tables(concepts: ConceptSet, areas: np.ndarray, occurring: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What concepts.h5 says of labels and images once all pixels are counted."""
    plane_area, label_area, within = areas[:, 0], areas[:, 1], areas[:, 2:]
    latest_largest = within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
    first_named = np.array([label.categories[0] for label in concepts.labels], int)
    primary = np.where(label_area > 0, latest_largest, first_named).astype(np.uint8)
    has_category = np.zeros((len(concepts.images), len(concepts.categories)), bool)
    for row, labels in zip(has_category, occurring, strict=True):
        row[primary[labels]] = True
    return {
        "label_category": primary,
        "label_area": label_area.copy(),
        "plane_area": plane_area.copy(),
        "image_has_category": has_category,
    }


def contents_fingerprint(pixel_hash: str, tables: dict[str, np.ndarray]) -> str:
    """SHA-256 over the pixels' hash and every table's name, shape and values."""
    digest = hashlib.sha256(pixel_hash.encode())
    for name, table in sorted(tables.items()):
        digest.update(f"\x1f{name}{table.shape}\x1f".encode())
        digest.update("\x1f".join(table).encode() if table.dtype == object else table.tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="concept set in Broden's layout")
    parser.add_argument("--image-size", type=read_size, required=True, help="of the packed pictures, in pixels")
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default="bilinear", help="to scale pictures by")
    parser.add_argument("--out", required=True, help="concepts.h5 to write")
    arguments = parser.parse_args()
    pack_concepts(arguments.folder, arguments.image_size, arguments.out, arguments.interpolation)


if __name__ == "__main__":
    run_command(main)
