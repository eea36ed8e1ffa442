"""The interface of every reader of a set of labelled pictures, whatever its files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from workflow_scripts.shared.files import UserError


class Label(NamedTuple):
    """A label of a set, in one category; a name that a set has in two categories is two labels."""

    name: str
    category: str


@dataclass(frozen=True)
class Annotation:
    """The labels of one picture.

    Attributes:
        planes: integers (h, w) each, all of one size, which may differ between pictures: a label's position in
            `Reader.labels`, plus 1; 0 where there is none.
        whole: positions of the labels that every pixel carries.
    """

    planes: list[np.ndarray] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)


class Reader(Protocol):
    """A set of labelled pictures.

    Attributes:
        labels: all labels that may occur, each once.
        names: the names of the pictures, each once.
        aligned: whether label maps have the proportions of their pictures. In Broden's layout they may differ.
    """

    labels: Sequence[Label]
    names: Sequence[str]
    aligned: bool

    def picture(self, index: int) -> tuple[bytes, str]:
        """Return the bytes of a picture's file, and its path, for messages."""

    def annotation(self, index: int) -> Annotation:
        """Return the labels of a picture; raise UserError, with the file, if they are invalid."""


def stack(segments: Iterable[tuple[int, np.ndarray]], shape: tuple[int, int]) -> list[np.ndarray]:
    """Put segments that may overlap into few planes.

    Args:
        segments: a label's position, and its mask, bool (h, w). A label may have several.
        shape: (h, w).

    Returns:
        Planes as in `Annotation`. Each label is in one of them: the first in which its pixels are free.
    """
    masks: dict[int, np.ndarray] = {}
    for position, mask in segments:
        masks[position] = masks[position] | mask if position in masks else mask
    planes: list[np.ndarray] = []
    for position, mask in masks.items():
        plane = next((plane for plane in planes if not plane[mask].any()), None)
        if plane is None:
            plane = np.zeros(shape, np.int32)
            planes.append(plane)
        plane[mask] = position + 1
    return planes


def nearest(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a label map (h, w) to (height, width) by nearest neighbour: take the values at the new pixels' centres."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(plane.shape, (height, width), strict=True)
    )
    return plane[rows[:, None], columns]


def look_up(values: np.ndarray, known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the code of each value, integers of any shape; -1 for a value that is not in `known`, ascending."""
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, codes[places], -1)


def require_labels(labels: Sequence[Label], place: str) -> None:
    """Raise UserError if a label or its category has no name, or a label is duplicate."""
    seen = set()
    for label in labels:
        if not label.name.strip() or not label.category.strip():
            what = "label" if not label.name.strip() else f"category of the label {label.name!r}"
            raise UserError(f"{place}: a {what} has no name: give it one")
        if label in seen:
            raise UserError(f"{place}: the label {label.name!r} appears twice: remove or rename one of them")
        seen.add(label)
