"""Pack a concept set in Broden's layout into one HDF5 file, so that its PNGs are decoded once."""

import argparse
import hashlib
import logging
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.broden_layout import (
    ConceptSet,
    LabelledImage,
    read_concept_set,
    read_label_map,
    read_picture,
)
from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.files import UserError, run_command, whole_file

log = logging.getLogger(__name__)

IMAGES_IN_MEMORY = 256  # bounds memory
STORED_BLOCK = 2**16  # bytes of an HDF5 chunk: whole images, some tens of kilobytes together


def pack_concepts(folder: str | Path, image_size: int, out: str | Path) -> None:
    """Write concepts.h5 from a folder in Broden's layout.

    With N images of size S, P label planes of H x W pixels, L labels and C categories:

    images uint8 (N, S, S, 3); planes uint16 (P, H, W), label numbers, 0 for none, those of image i from
    plane_start[i] to plane_start[i + 1]; plane_category uint8 (P); whole_labels uint16, those of image i
    from whole_start[i] to whole_start[i + 1]; whole_category uint8; label_number (L, rising), label_name,
    label_area int64 (L): pixels that carry the label; label_category uint8 (L): the primary category, in
    which the label covers the most pixels (ties to the later; for a label that never occurs the first that
    label.csv names; Bau et al. 2017's released code); category_name (C); image_has_category bool (N, C):
    whether the image carries a label whose primary category it is; image_name, split (N).
    A pixel carries a label if any plane does; a whole-image label is carried by every pixel.

    Attributes: `format`, and `fingerprint`, SHA-256 of the contents. Raises UserError as
    `read_concept_set`, `read_label_map` and `read_picture` do, and for a number outside the label table.
    """
    if image_size < 1:
        raise UserError(f"image size {image_size} is not positive; give the pictures' side in pixels")
    concepts = read_concept_set(folder)
    with whole_file(out) as part, h5py.File(part, "w") as file:
        tables = index_tables(concepts)
        pixel_hash, areas, occurring = pack_pixels(concepts, image_size, file)
        tables |= label_tables(concepts, areas, occurring)
        for name, table in tables.items():
            text = table.dtype == object
            file.create_dataset(name, data=table, dtype=h5py.string_dtype() if text else None)
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = contents_fingerprint(pixel_hash, tables)


def index_tables(concepts: ConceptSet) -> dict[str, np.ndarray]:
    """What concepts.h5 takes from index.csv, label.csv and category.csv as it stands."""
    images = concepts.images
    return {
        "plane_start": starts([len(image.planes) for image in images]),
        "plane_category": np.array([c for image in images for c, _ in image.planes], np.uint8),
        "whole_labels": np.array([number for image in images for _, number in image.whole_labels], np.uint16),
        "whole_start": starts([len(image.whole_labels) for image in images]),
        "whole_category": np.array([c for image in images for c, _ in image.whole_labels], np.uint8),
        "label_number": np.array([label.number for label in concepts.labels], np.uint16),
        "label_name": np.array([label.name for label in concepts.labels], object),
        "category_name": np.array(concepts.categories, object),
        "image_name": np.array([image.name for image in images], object),
        "split": np.array([image.split for image in images], object),
    }


def starts(counts: list[int]) -> np.ndarray:
    """Where each of consecutive runs starts, and last where the final one ends: int64 (runs + 1)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def pack_pixels(concepts: ConceptSet, image_size: int, file: h5py.File) -> tuple[str, np.ndarray, list[np.ndarray]]:
    """Decode and store all pictures and label planes, a bounded number at a time.

    Returns the SHA-256 of their pixels, the label areas int64 (L, 1 + C) (over all categories together,
    then within each), and for each image the positions in the label table of the labels that it carries.
    """
    row_of_number = np.full(2**16, -1, np.int32)
    row_of_number[[label.number for label in concepts.labels]] = np.arange(len(concepts.labels))
    plane_count = sum(len(image.planes) for image in concepts.images)
    images = create_pixels(file, "images", (len(concepts.images), image_size, image_size, 3), np.uint8)
    planes = create_pixels(file, "planes", (plane_count, concepts.height, concepts.width), np.uint16)
    image_hash, plane_hash = hashlib.sha256(), hashlib.sha256()
    areas = np.zeros((len(concepts.labels), 1 + len(concepts.categories)), np.int64)
    occurring: list[np.ndarray] = []

    plane = 0
    for start in range(0, len(concepts.images), IMAGES_IN_MEMORY):
        batch = concepts.images[start : start + IMAGES_IN_MEMORY]
        pictures = np.stack([read_picture(concepts.path(image.name), image_size) for image in batch])
        planes_of_images = [read_planes(concepts, image, row_of_number) for image in batch]
        maps = np.concatenate(planes_of_images)
        images[start : start + len(batch)] = pictures
        planes[plane : plane + len(maps)] = maps
        plane += len(maps)
        image_hash.update(pictures)
        plane_hash.update(maps)
        for image, image_planes in zip(batch, planes_of_images, strict=True):
            occurring.append(row_of_number[add_areas(areas, image, image_planes, row_of_number)])
        log.info("packed %d of %d images", start + len(batch), len(concepts.images))
    return image_hash.hexdigest() + plane_hash.hexdigest(), areas, occurring


def create_pixels(file: h5py.File, name: str, shape: tuple[int, ...], dtype: type) -> h5py.Dataset:
    """A compressed dataset whose HDF5 chunks are whole images or planes."""
    rows = max(1, STORED_BLOCK // (int(np.prod(shape[1:])) * np.dtype(dtype).itemsize))
    # A resizable first axis, because a chunk may then be longer than the data. Not lzf: its encoder does
    # not give the same bytes every time.
    return file.create_dataset(
        name,
        shape,
        dtype,
        chunks=(rows, *shape[1:]),
        maxshape=(None, *shape[1:]),
        compression="gzip",
        compression_opts=1,
    )


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


def add_areas(areas: np.ndarray, image: LabelledImage, planes: np.ndarray, row_of_number: np.ndarray) -> np.ndarray:
    """Add an image's label areas to `areas` (L, 1 + C), in place; return the label numbers it carries."""
    plane_category = np.array([category for category, _ in image.planes], int)
    for category in {category for category, _ in image.planes + image.whole_labels}:
        whole = [number for c, number in image.whole_labels if c == category]
        numbers, masks = label_masks(planes[plane_category == category], np.array(whole, np.uint16))
        areas[row_of_number[numbers], 1 + category] += np.count_nonzero(masks, axis=1)
    whole = [number for _, number in image.whole_labels]
    numbers, masks = label_masks(planes, np.array(whole, np.uint16))
    areas[row_of_number[numbers], 0] += np.count_nonzero(masks, axis=1)
    return numbers


def label_masks(planes: np.ndarray, whole_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels an image carries and where.

    Args:
        planes: label numbers, uint16 (planes, H, W), 0 for none.
        whole_labels: numbers of the labels that every pixel carries, uint16 (any).

    Returns:
        The label numbers, rising, uint16 (labels), and their masks, float32 0 or 1 (labels, H * W): a pixel
        carries a label if any plane does.
    """
    numbers = np.unique(np.concatenate([[0], planes.ravel(), whole_labels]).astype(np.uint16))
    pixels = planes.shape[1] * planes.shape[2]
    masks = np.zeros((len(numbers), pixels), np.float32)
    masks[np.searchsorted(numbers, planes.reshape(-1, pixels)), np.arange(pixels)] = 1
    masks[np.searchsorted(numbers, whole_labels)] = 1
    return numbers[1:], masks[1:]  # without the background


def label_tables(concepts: ConceptSet, areas: np.ndarray, occurring: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What concepts.h5 says of labels and images once all pixels are counted."""
    within = areas[:, 1:]
    latest_largest = within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
    first_named = np.array([label.categories[0] for label in concepts.labels], int)
    primary = np.where(areas[:, 0] > 0, latest_largest, first_named).astype(np.uint8)
    has_category = np.zeros((len(concepts.images), len(concepts.categories)), bool)
    for row, labels in zip(has_category, occurring, strict=True):
        row[primary[labels]] = True
    return {"label_category": primary, "label_area": areas[:, 0].copy(), "image_has_category": has_category}


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
    parser.add_argument("--image-size", type=int, required=True, help="side of the packed pictures, in pixels")
    parser.add_argument("--out", required=True, help="concepts.h5 to write")
    arguments = parser.parse_args()
    pack_concepts(arguments.folder, arguments.image_size, arguments.out)


if __name__ == "__main__":
    run_command(main)
