"""A dissection by the definition alone: pixel by pixel, in plain loops, slow and easy to read.

It shares no code with the workflow. It also writes small concept sets in Broden's layout, which both sides use.
"""

import csv
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

f32 = np.float32


@dataclass
class Picture:
    """An image of a test set; a cell lists label maps (arrays of numbers) and whole-image labels (int)."""

    pixels: np.ndarray
    cells: dict[str, list]
    split: str = "train"


@dataclass
class Concepts:
    """A test set; labels are {number: (name, categories)}, label maps height x width."""

    categories: list[str]
    labels: dict[int, tuple[str, list[str]]]
    height: int
    width: int
    pictures: list[Picture] = field(default_factory=list)


def write_broden(concepts: Concepts, folder: Path) -> None:
    """Write the set as a folder in Broden's layout, with the columns of index.csv in another order."""
    (folder / "images" / "some").mkdir(parents=True)
    with open(folder / "category.csv", "w", newline="") as file:
        csv.writer(file).writerows([["name", "first"], *([name, 0] for name in concepts.categories)])
    with open(folder / "label.csv", "w", newline="", encoding="utf-8") as file:
        of_labels = csv.writer(file)
        of_labels.writerow(["number", "name", "category", "syns"])
        for number, (name, categories) in concepts.labels.items():
            of_labels.writerow([number, name, ";".join(f"{category}(7)" for category in categories), ""])
    with open(folder / "index.csv", "w", newline="") as file:
        columns = [*reversed(concepts.categories), "sw", "sh", "split", "image", "iw", "ih"]
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for place, picture in enumerate(concepts.pictures):
            row: dict[str, Any] = {"image": f"some/{place}.png", "split": picture.split, "ih": 9, "iw": 9}
            row |= {"sh": concepts.height, "sw": concepts.width}
            Image.fromarray(picture.pixels).save(folder / "images" / row["image"])
            for category, cell in picture.cells.items():
                items: list[str] = []
                for item in cell:
                    if isinstance(item, np.ndarray):
                        path = f"some/{place}_{category}_{len(items)}.png"
                        save_label_map(item, folder / "images" / path)
                        item = path
                    items.append(str(item))
                row[category] = ";".join(items)
            table.writerow(row)


def save_label_map(numbers: np.ndarray, path: Path) -> None:
    """Write label numbers (h, w) as Broden does: red and 256 times green."""
    coded = np.zeros((*numbers.shape, 3), np.uint8)
    coded[..., 0] = numbers % 256
    coded[..., 1] = numbers // 256
    Image.fromarray(coded).save(path)


def labels_at(picture: Picture, y: int, x: int, categories: list[str]) -> set[int]:
    """The labels of a pixel in the columns of `categories`."""
    found = set()
    for category in categories:
        for item in picture.cells.get(category, []):
            found.add(int(item[y, x]) if isinstance(item, np.ndarray) else item)
    return found - {0}


def area(concepts: Concepts, label: int, categories: list[str]) -> int:
    """The number of pixels in all pictures that have a label in one of the categories."""
    return sum(
        label in labels_at(picture, y, x, categories)
        for picture in concepts.pictures
        for y in range(concepts.height)
        for x in range(concepts.width)
    )


def primary_category(concepts: Concepts, label: int) -> str:
    """The category in which a label has the most pixels, the last of equals; the first listed if it has no pixels."""
    areas = [(area(concepts, label, [name]), place) for place, name in enumerate(concepts.categories)]
    largest, place = max(areas)
    return concepts.categories[place] if largest else concepts.labels[label][1][0]


def has_category(concepts: Concepts, picture: Picture, category: str, primary: dict[int, str]) -> bool:
    """Whether a picture has a label whose primary category is this one."""
    return any(
        primary[label] == category
        for y in range(concepts.height)
        for x in range(concepts.width)
        for label in labels_at(picture, y, x, concepts.categories)
    )


def threshold(samples: list[float], quantile: str) -> float:
    """The smallest sample that at most a share `quantile` of the samples exceeds."""
    allowed = int(Decimal(quantile) * len(samples))
    return sorted(samples, reverse=True)[allowed]


def value_between(a: f32, b: f32, weight: f32) -> f32:
    """The value at `weight` on the way from `a` to `b`, with every operation rounded to single precision."""
    return f32(a + f32(weight * f32(b - a)))


def knot(place: int, size: int, new_size: int) -> tuple[int, int, f32]:
    """The cells on both sides of a pixel along an axis, and its position between them."""
    source = min(max((place + 0.5) * size / new_size - 0.5, 0.0), size - 1.0)
    first = int(source)
    return first, min(first + 1, size - 1), f32(source - first)


def interpolated(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """One map (h, w) at height x width, with every operation rounded to single precision."""
    values = values.astype(f32)
    result = np.empty((height, width), f32)
    for y in range(height):
        upper, lower, down = knot(y, values.shape[0], height)
        for x in range(width):
            left, right, along = knot(x, values.shape[1], width)
            above = value_between(values[upper, left], values[upper, right], along)
            below = value_between(values[lower, left], values[lower, right], along)
            result[y, x] = value_between(above, below, down)
    return result


def tally(
    maps: np.ndarray, thresholds: list[float], concepts: Concepts
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, str], int]]:
    """Intersections by (unit, label) and unit areas by (unit, category)."""
    primary = {label: primary_category(concepts, label) for label in concepts.labels}
    intersection = {(unit, label): 0 for unit in range(maps.shape[1]) for label in concepts.labels}
    unit_area = {(unit, name): 0 for unit in range(maps.shape[1]) for name in concepts.categories}
    for image, picture in enumerate(concepts.pictures):
        carried = [name for name in concepts.categories if has_category(concepts, picture, name, primary)]
        for unit in range(maps.shape[1]):
            values = interpolated(maps[image, unit], concepts.height, concepts.width)
            for y in range(concepts.height):
                for x in range(concepts.width):
                    if values[y, x] > thresholds[unit]:
                        for label in labels_at(picture, y, x, concepts.categories):
                            intersection[unit, label] += 1
                        for name in carried:
                            unit_area[unit, name] += 1
    return intersection, unit_area


def iou(shared: int, unit_area: int, label_area: int) -> Fraction:
    """Intersection over union; 0 if the union is empty."""
    union = unit_area + label_area - shared
    return Fraction(shared, union) if union else Fraction(0)


def best_label(scores: dict[int, Fraction]) -> int | None:
    """The label with the highest score; the lowest number among equals."""
    return min(scores, key=lambda label: (-scores[label], label), default=None)
