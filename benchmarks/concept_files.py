"""Packed concept sets with made-up labels, with Broden's statistics or with every oddity that a set can have."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from benchmarks.synthetic import CATEGORIES, LABEL_CATEGORY, Labels, packed_labels
from workflow_scripts.data.hdf5 import FORMAT, append_rows, create_hdf5
from workflow_scripts.data.label_masks import label_masks, masks_again, pack_masks
from workflow_scripts.data.pack_concepts import LabelRows, create_pixels

ODD_CATEGORY = np.array([0, 0, 1, 1, 2], np.uint8)  # of the labels of an odd set


class ImageLabels(NamedTuple):
    """An image's labels, as positions in the label table.

    These are masks uint64 (n, H, words), as `pack_masks` packs them, and their labels; the labels of the whole image;
    and the masks of pixels that carry a label again (see `pack_concepts`), and their labels.
    """

    masks: np.ndarray
    mask_label: np.ndarray
    whole_label: np.ndarray
    masks_again: np.ndarray
    again_label: np.ndarray

    @property
    def all(self) -> np.ndarray:
        """All labels."""
        return np.concatenate([self.mask_label, self.whole_label]).astype(np.int64)


def image_labels(label: np.ndarray, masks: np.ndarray, whole: np.ndarray) -> ImageLabels:
    """Return an image's labels from those of planes, bool (n, H, W), and those of the whole image; both may repeat."""
    planes = (masks * (label + 1)[:, None, None]).astype(np.uint16)
    every = np.unique(whole).astype(np.int32)
    numbers, once = label_masks(planes, every + 1)
    chosen = ~np.isin(numbers, every + 1)
    again_numbers, again = masks_again(planes, (whole + 1).tolist())
    found = [(once[chosen], numbers[chosen]), (again, again_numbers)]
    (masks, mask_label), (more, again_label) = ((pack_masks(m), n.astype(np.int32) - 1) for m, n in found)
    return ImageLabels(masks, mask_label, every, more, again_label)


def broden_images(labels: Labels) -> list[ImageLabels]:
    """Return labels with Broden's statistics, image by image."""
    masks, rows = packed_labels(labels)
    tables = rows.tables()
    with_mask, whole = (np.split(tables[f"{kind}_label"], tables[f"{kind}_start"][1:-1]) for kind in ("mask", "whole"))
    none = np.zeros((0, *masks[0].shape[1:]), np.uint64), np.zeros(0, np.int32)
    return [ImageLabels(*image, *none) for image in zip(masks, with_mask, whole, strict=True)]


def odd_images(rng: np.random.Generator, images: int, size: tuple[int, int]) -> list[ImageLabels]:
    """Return images with few labels, some in several planes of an image, in part or wholly; some images have none."""
    found = []
    for _ in range(images):
        label = np.sort(rng.integers(0, len(ODD_CATEGORY), rng.integers(0, 7)))
        masks = rng.random((len(label), *size)) < rng.choice([0.1, 0.4, 1], (len(label), 1, 1))
        found.append(image_labels(label, masks, rng.integers(0, len(ODD_CATEGORY), rng.integers(0, 3))))
    return found


def write_broden(path: Path, drawn: list[ImageLabels], images: int, pictures: np.ndarray | None = None) -> None:
    """Write a set with label maps of 112 x 112; image i has the labels of drawn[i % len(drawn)]."""
    write_concepts(path, drawn, images, drawn[0].masks.shape[1], LABEL_CATEGORY.astype(np.uint8), CATEGORIES, pictures)


def write_odd(path: Path, drawn: list[ImageLabels], size: tuple[int, int]) -> None:
    """Write a set with few labels."""
    write_concepts(path, drawn, len(drawn), size[1], ODD_CATEGORY, ("a", "b", "c"))


def write_concepts(
    path: Path,
    drawn: list[ImageLabels],
    images: int,
    width: int,
    category: np.ndarray,
    categories: tuple[str, ...],
    pictures: np.ndarray | None = None,
) -> None:
    """Write concepts.h5 with the labels of `drawn`, repeated, and with pictures if they are given."""
    height, words = drawn[0].masks.shape[1:]
    rows, area, again_area = LabelRows(), np.zeros(len(category), np.int64), np.zeros(len(category), np.int64)
    has_category = np.zeros((images, len(categories)), bool)
    areas = [(mask_areas(image.masks), mask_areas(image.masks_again)) for image in drawn]
    for place, has in enumerate(has_category):
        image = drawn[place % len(drawn)]
        rows.add(image.mask_label, image.whole_label, image.again_label)
        has[category[image.all]] = True
        once, again = areas[place % len(drawn)]
        np.add.at(area, image.mask_label, once)
        np.add.at(area, image.whole_label, height * width)
        np.add.at(again_area, image.again_label, again)
    with create_hdf5(path) as file:
        for name in ("masks", "masks_again"):
            stored = create_pixels(file, name, (0, height, words), np.uint64)
            for first, last in pairwise([*range(0, images, len(drawn)), images]):
                append_rows(stored, np.concatenate([getattr(image, name) for image in drawn[: last - first]]))
        tables = rows.tables() | {
            "label_size": [height, width],
            "label_category": category,
            "label_number": np.arange(1, len(category) + 1),
            "label_area": area,
            "plane_area": area + again_area,
            "image_has_category": has_category,
        }
        for name, table in tables.items():
            file[name] = table
        for name, names in (
            ("label_name", [f"label {i}" for i in range(len(category))]),
            ("category_name", categories),
        ):
            file.create_dataset(name, data=list(names), dtype=h5py.string_dtype())
        if pictures is not None:
            file["images"] = pictures
        file.attrs.update(format=FORMAT, fingerprint="benchmark")


def mask_areas(masks: np.ndarray) -> np.ndarray:
    """Return the number of pixels of each mask (n, H, words)."""
    return np.unpackbits(masks.view(np.uint8), axis=2).sum((1, 2), dtype=np.int64)
