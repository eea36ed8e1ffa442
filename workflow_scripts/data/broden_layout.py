"""Reading a concept set in the layout of Broden (Bau et al. 2017, "Network Dissection", section 2.1).

A folder with `category.csv` (the categories, in order), `label.csv` (the labels, numbered over all
categories), `index.csv` (one row per image) and `images/` (the pictures and their label maps).
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.data.csv_tables import table_rows, whole_number
from workflow_scripts.data.decode import decode, open_picture, require_size
from workflow_scripts.shared.files import UserError, require_file
from workflow_scripts.shared.regular_files import read_file
from workflow_scripts.shared.sizes import Size, sides

INDEX_COLUMNS = ("image", "split", "ih", "iw", "sh", "sw")  # of Broden's index.csv, besides one for each category
LARGEST_NUMBER = 2**16 - 1  # a label map codes a number in two bytes, red and green
INTERPOLATIONS = {
    name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
}


@dataclass(frozen=True)
class NumberedLabel:
    """A row of label.csv; `categories` are positions in `ConceptSet.categories`, in the row's order."""

    number: int
    name: str
    categories: tuple[int, ...]


@dataclass(frozen=True)
class LabelledImage:
    """A row of index.csv; every plane and every whole-image label has the category of its column."""

    name: str
    split: str
    planes: tuple[tuple[int, str], ...]  # (category, path under images/)
    whole_labels: tuple[tuple[int, int], ...]  # (category, label number)


@dataclass(frozen=True)
class Labelled:
    """The labels of one picture.

    Attributes:
        planes: label numbers, uint16 (planes, H, W), 0 for none.
        categories: the category of each plane, int (planes).
        whole: (category, label number) of each label that every pixel carries.
    """

    planes: np.ndarray
    categories: np.ndarray
    whole: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ConceptSet:
    """The tables of a concept set: labels by ascending number, images in the order of index.csv."""

    folder: Path
    categories: tuple[str, ...]
    labels: tuple[NumberedLabel, ...]
    images: tuple[LabelledImage, ...]
    height: int  # of every label map, in pixels
    width: int

    def path(self, name: str) -> Path:
        """Return the path of a picture or label map that index.csv names."""
        return self.folder / "images" / name

    @property
    def names(self) -> list[str]:
        """The pictures' names."""
        return [image.name for image in self.images]

    @property
    def splits(self) -> list[str]:
        """The part of the set that each belongs to: "train" or "val"."""
        return [image.split for image in self.images]

    def picture(self, index: int, turned: list[str] | None = None) -> np.ndarray:
        """Return a picture, uint8 (h, w, 3), RGB; otherwise like `decode`."""
        path = self.path(self.images[index].name)
        return decode(read_file(path), str(path), turned)

    def labelled(self, index: int, picture: np.ndarray) -> Labelled:
        """Return the labels of a picture; raises as `read_label_map` does, and for a number that label.csv lacks."""
        image = self.images[index]
        planes = np.empty((len(image.planes), self.height, self.width), np.uint16)
        for plane, (_, name) in zip(planes, image.planes, strict=True):
            plane[:] = read_label_map(self.path(name), self.height, self.width)
            unknown = plane[~self._is_number[plane]]
            if unknown.size:
                raise UserError(
                    f"{self.path(name)} holds label number {unknown.min()}, which label.csv lacks; add the label or fix"
                    " the map"
                )
        return Labelled(planes, np.array([category for category, _ in image.planes], int), image.whole_labels)

    @cached_property
    def _is_number(self) -> np.ndarray:
        """Whether a number may occur in a label map, bool (65536)."""
        known = np.zeros(LARGEST_NUMBER + 1, bool)
        known[[0, *(label.number for label in self.labels)]] = True
        return known


def read_concept_set(folder: str | Path) -> ConceptSet:
    """Read the three tables and check that every picture and label map exists, without decoding any.

    Raises UserError, naming the file and line, if a table or column is missing, a name or number is empty or duplicate,
    a number is not in label.csv, a category is not in category.csv, label maps differ in size, or a file is missing.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):  # unlike Path's, it does not raise if permissions are missing
        raise UserError(f"{folder} is not a folder; give the folder that holds Broden's index.csv and images/")
    categories = read_categories(folder / "category.csv")
    labels = read_labels(folder / "label.csv", categories)
    images, (height, width) = read_index(folder / "index.csv", categories, {label.number for label in labels})
    concepts = ConceptSet(folder, categories, labels, images, height, width)
    for image in images:
        for name in (image.name, *(path for _, path in image.planes)):
            if os.path.isabs(name) or ".." in Path(name).parts:
                raise UserError(f"{folder / 'index.csv'} names {name!r}, which is outside images/; do not use this set")
            require_file(concepts.path(name), "unpack the set again")
    return concepts


def read_categories(path: Path) -> tuple[str, ...]:
    """Return the names in category.csv, in its order."""
    place_of: dict[str, str] = {}
    for place, row in table_rows(path, ["name"]):
        name = row["name"]
        if name != name.strip():
            raise UserError(f"{place}: the category {name!r} has blanks around its name; remove them")
        if name in INDEX_COLUMNS:
            raise UserError(f"{place}: a category cannot be called {name!r}, like a column of index.csv; rename it")
        require_new(name, place, "category", place_of)
    if not 0 < len(place_of) < 256:
        raise UserError(f"{path} names {len(place_of)} categories; it must name 1 to 255")
    return tuple(place_of)


def require_new(name: str, place: str, what: str, place_of: dict[str, str]) -> None:
    """Raise UserError if a name is empty or already used elsewhere; record its place."""
    if not name:
        raise UserError(f"{place}: the {what} has no name; give it one")
    if name in place_of:
        raise UserError(f"{place}: the {what} {name!r} is already in {place_of[name]}; remove or rename one of them")
    place_of[name] = place


def read_labels(path: Path, categories: tuple[str, ...]) -> tuple[NumberedLabel, ...]:
    """Return the labels in label.csv by ascending number."""
    labels: dict[int, NumberedLabel] = {}
    place_of: dict[str, str] = {}
    for place, row in table_rows(path, ["number", "name", "category"]):
        # Counts are by name: two labels with one name would be one concept. Blanks around a name are invisible in a
        # table.
        require_new(row["name"].strip(), place, "label", place_of)
        number = whole_number(row["number"], f"{place}, column number")
        if not 1 <= number <= LARGEST_NUMBER or number in labels:
            raise UserError(f"{place}: label number {number} must be unique and from 1 to {LARGEST_NUMBER}")
        # A cell is like "material(36);object(3)"; the counts in brackets are not needed.
        names = [re.sub(r"\(\d+\)$", "", item) for item in split_cell(row["category"])]
        unknown = [name for name in names if name not in categories]
        if unknown or not names:
            raise UserError(f"{place}: category {row['category']!r} must name categories of category.csv")
        labels[number] = NumberedLabel(number, row["name"], tuple(categories.index(name) for name in names))
    return tuple(labels[number] for number in sorted(labels))


def read_index(
    path: Path, categories: tuple[str, ...], numbers: set[int]
) -> tuple[tuple[LabelledImage, ...], tuple[int, int]]:
    """Return the images in index.csv, and the (height, width) that all label maps share."""
    images: list[LabelledImage] = []
    size: tuple[int, int] | None = None
    place_of: dict[str, str] = {}
    for place, row in table_rows(path, ["image", "split", "sh", "sw", *categories]):
        # A picture that is listed twice would count twice, however its path is spelled.
        require_new(row["image"] and os.path.normpath(row["image"]), place, "picture", place_of)
        height, width = (whole_number(row[column], f"{place}, column {column}") for column in ("sh", "sw"))
        row_size = height, width
        size = size or row_size
        if row_size != size or min(size) < 1:
            raise UserError(
                f"{place}: label maps are {row_size[0]} x {row_size[1]}, but those of the first image are {size[0]} x"
                f" {size[1]}; all must have one size"
            )
        require_size(f"{place}: a label map", height, width)
        planes, whole_labels = [], []
        for category, name in enumerate(categories):
            for item in split_cell(row[name]):
                if not item.isdecimal():
                    planes.append((category, item))
                    continue
                number = whole_number(item, f"{place}, column {name}")
                if number in numbers:
                    whole_labels.append((category, number))
                elif number:  # 0 means no label, as in a label map: Broden has it for labels that were dropped
                    raise UserError(f"{place}, column {name}: label number {item} is not in label.csv")
        images.append(LabelledImage(row["image"], row["split"], tuple(planes), tuple(whole_labels)))
    if size is None:
        raise UserError(f"{path} lists no images; give a set that has some")
    return tuple(images), size


def read_label_map(path: Path, height: int, width: int) -> np.ndarray:
    """Return the label numbers of a PNG, red + 256 x green, as uint16 (height, width); 0 is background.

    Raises UserError if it is not an intact PNG, is not RGB, uses its blue channel or has another size.
    """
    picture = open_picture(read_file(path), str(path), ("PNG",))
    if picture.mode != "RGB":
        raise UserError(f"{path} has mode {picture.mode}; a label map must be an RGB image")
    if picture.size != (width, height):
        raise UserError(
            f"{path} is {picture.height} x {picture.width}, but index.csv says {height} x {width}; fix the file or the"
            " columns sh and sw"
        )
    red, green, blue = np.moveaxis(np.asarray(picture), -1, 0)
    if blue.any():
        raise UserError(f"{path} uses its blue channel; a label map codes numbers as red + 256 x green only")
    return red + (green.astype(np.uint16) << 8)


def squeeze(picture: np.ndarray, size: Size, interpolation: str = "bilinear") -> np.ndarray:
    """Scale a picture, uint8 (h, w, 3), to a size in pixels without keeping its proportions, as in Broden.

    It uses antialiasing and one of INTERPOLATIONS; a picture that already has the size is unchanged.
    """
    height, width = sides(size)
    return np.asarray(Image.fromarray(picture).resize((width, height), INTERPOLATIONS[interpolation]))


def split_cell(cell: str) -> list[str]:
    """Return the values of a cell: none, one, or several separated by semicolons."""
    return [item.strip() for item in cell.split(";") if item.strip()]
