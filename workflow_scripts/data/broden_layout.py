"""Reading a concept set in the layout of Broden (Bau et al. 2017, "Network Dissection", section 2.1).

A folder with `category.csv` (the categories, in order), `label.csv` (the labels, numbered over all
categories), `index.csv` (one row per image) and `images/` (the pictures and their label maps).
"""

import csv
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.files import UserError

LARGEST_NUMBER = 2**16 - 1  # a label map codes a number in two bytes, red and green
INTERPOLATIONS = {
    name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
}
DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Label:
    """A row of label.csv; `categories` are positions in `ConceptSet.categories`, in the row's order."""

    number: int
    name: str
    categories: tuple[int, ...]


@dataclass(frozen=True)
class LabelledImage:
    """A row of index.csv; every plane and every whole-image label comes with the category of its column."""

    name: str
    split: str
    planes: tuple[tuple[int, str], ...]  # (category, path under images/)
    whole_labels: tuple[tuple[int, int], ...]  # (category, label number)


@dataclass(frozen=True)
class ConceptSet:
    """The tables of a concept set: labels by rising number, images in the order of index.csv."""

    folder: Path
    categories: tuple[str, ...]
    labels: tuple[Label, ...]
    images: tuple[LabelledImage, ...]
    height: int  # of every label map, in pixels
    width: int

    def path(self, name: str) -> Path:
        """Where a picture or label map named in index.csv lies."""
        return self.folder / "images" / name


def read_concept_set(folder: str | Path) -> ConceptSet:
    """Read the three tables and check that every picture and label map is there; decodes none of them.

    Raises UserError, naming the file and line, if a table or column is missing, a number is not in
    label.csv, a category is not in category.csv, label maps differ in size, or a file is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds Broden's index.csv and images/")
    categories = tuple(row["name"] for _, row in table_rows(folder / "category.csv", ["name"]))
    if len(set(categories)) != len(categories) or not 0 < len(categories) < 256:
        raise UserError(f"{folder / 'category.csv'} must name between 1 and 255 different categories")
    labels = read_labels(folder / "label.csv", categories)
    images, (height, width) = read_index(folder / "index.csv", categories, {label.number for label in labels})
    concepts = ConceptSet(folder, categories, labels, images, height, width)
    for image in images:
        for name in (image.name, *(path for _, path in image.planes)):
            if os.path.isabs(name) or ".." in Path(name).parts:
                raise UserError(
                    f"{folder / 'index.csv'} names {name!r}, which lies outside images/; do not use this set"
                )
            if not os.path.isfile(concepts.path(name)):
                raise UserError(f"{concepts.path(name)}, named in index.csv, is missing; unpack the set again")
    return concepts


def read_labels(path: Path, categories: tuple[str, ...]) -> tuple[Label, ...]:
    """The labels of label.csv by rising number."""
    labels = {}
    for place, row in table_rows(path, ["number", "name", "category"]):
        number = whole_number(row["number"], f"{place}, column number")
        if not 1 <= number <= LARGEST_NUMBER or number in labels:
            raise UserError(f"{place}: label number {number} must be unique and from 1 to {LARGEST_NUMBER}")
        # A cell reads like "material(36);object(3)": the counts in brackets are not needed.
        names = [re.sub(r"\(\d+\)$", "", item) for item in split_cell(row["category"])]
        unknown = [name for name in names if name not in categories]
        if unknown or not names:
            raise UserError(f"{place}: category {row['category']!r} must name categories of category.csv")
        labels[number] = Label(number, row["name"], tuple(categories.index(name) for name in names))
    return tuple(labels[number] for number in sorted(labels))


def read_index(
    path: Path, categories: tuple[str, ...], numbers: set[int]
) -> tuple[tuple[LabelledImage, ...], tuple[int, int]]:
    """The images of index.csv, and the (height, width) that all label maps share."""
    images, size = [], None
    for place, row in table_rows(path, ["image", "split", "sh", "sw", *categories]):
        row_size = tuple(whole_number(row[column], f"{place}, column {column}") for column in ("sh", "sw"))
        size = size or row_size
        if row_size != size or min(size) < 1:
            raise UserError(
                f"{place}: label maps are {row_size[0]} x {row_size[1]} and those of the first image "
                f"{size[0]} x {size[1]}; all must have one size"
            )
        planes, whole_labels = [], []
        for category, name in enumerate(categories):
            for item in split_cell(row[name]):
                if not item.isdecimal():
                    planes.append((category, item))
                elif int(item) in numbers:
                    whole_labels.append((category, int(item)))
                else:
                    raise UserError(f"{place}, column {name}: label number {item} is not in label.csv")
        images.append(LabelledImage(row["image"], row["split"], tuple(planes), tuple(whole_labels)))
    if not images:
        raise UserError(f"{path} lists no images; give a set that has some")
    return tuple(images), size


def read_label_map(path: Path, height: int, width: int) -> np.ndarray:
    """The label numbers of a PNG, red + 256 x green, as uint16 (height, width); 0 is background.

    Raises UserError if the PNG is damaged, not RGB, uses its blue channel or has another size.
    """
    picture = open_picture(path)
    if picture.mode != "RGB":
        raise UserError(f"{path} has mode {picture.mode}; a label map must be an RGB image")
    if picture.size != (width, height):
        raise UserError(
            f"{path} is {picture.height} x {picture.width} where index.csv says {height} x {width}; "
            "mend the file or the columns sh and sw"
        )
    red, green, blue = np.moveaxis(np.asarray(picture), -1, 0)
    if blue.any():
        raise UserError(f"{path} uses its blue channel; a label map codes numbers as red + 256 x green alone")
    return red + (green.astype(np.uint16) << 8)


def read_picture(path: Path, size: int, interpolation: str = "bilinear") -> np.ndarray:
    """A picture as uint8 (size, size, 3), RGB.

    The whole picture, resized (with antialiasing, by one of INTERPOLATIONS) without keeping its aspect, as
    Broden's are; a picture that has the size already keeps its pixels. Raises UserError if it is damaged.
    """
    picture = open_picture(path).convert("RGB")
    return np.asarray(picture.resize((size, size), INTERPOLATIONS[interpolation]))


def open_picture(path: Path) -> Image.Image:
    """Decode an image file, or raise UserError if it is none, truncated or damaged."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except DECODING_ERRORS as error:
        raise UserError(f"{path} is not a whole image ({error}); unpack or fetch it again") from error
    return picture


def table_rows(path: Path, columns: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with a header, each with its place ("FILE, line N"), columns in any order."""
    if not path.is_file():
        raise UserError(f"{path} is missing; a concept set in Broden's layout has this file")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{path} has no column {missing[0]}; its header must name {', '.join(columns)}")
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                if any(row[column] is None for column in columns):
                    raise UserError(f"{place}: the row has fewer cells than the header; complete it")
                yield place, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 ({error}); save it as one") from error


def split_cell(cell: str) -> list[str]:
    """The values of a cell, which may be none, one or several joined by semicolons."""
    return [item.strip() for item in cell.split(";") if item.strip()]


def whole_number(text: str, place: str) -> int:
    """`text` as a number, or UserError naming its place."""
    if not text.strip().isdecimal():
        raise UserError(f"{place}: {text!r} is not a whole number")
    return int(text)
