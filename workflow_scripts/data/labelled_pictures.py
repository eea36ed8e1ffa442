"""The files of pictures to classify, with their classes: from class folders, or from a table."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.data.class_folders import (
    NARROWED,
    check_count,
    existing,
    list_class_folders,
    list_pictures,
    tell_narrowed,
)
from workflow_scripts.data.ground_truth import read_ground_truth
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import list_folders


@dataclass(frozen=True)
class Wanted:
    """What the config says about the pictures: which classes to take, and which counts to check.

    The first `first` classes that are not in `without` are taken; None takes all of these. `expect_classes` and
    `expect_pictures` say how many classes and pictures should be taken; None allows any number.
    """

    first: int | None = None
    without: Sequence[str] = ()
    expect_classes: int | None = None
    expect_pictures: int | None = None

    def choose(self, source: Path, what: str, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the classes that are taken, in order.

        Args:
            source: where the classes come from, for messages.
            what: what they are there, for messages, such as "class folders".
            classes: all existing classes, by number.

        Raises:
            UserError: there are fewer than two or not as many as expected, fewer than two or than `first` are left, or
                a name in `without` is not a class.
        """
        if self.first is not None and self.first < 1:
            raise UserError(f"images.classes is {self.first}, but must be at least 1")
        check_count(source, what, len(classes), None, least=2)
        if unknown := sorted(set(self.without) - set(classes)):
            raise UserError(f"images.without has {unknown[0]!r}, but {source} has no such class: correct or remove it")
        left = [name for name in classes if name not in self.without]
        if len(left) < (self.first or 2):
            but = f", {len(left)} without those of images.without" if self.without else ""
            key = "without: leave fewer out" if self.first is None else f"classes, {self.first}: write a lower number"
            raise UserError(f"{source} has {len(classes)} {what}{but}, too few for images.{key}")
        taken = tuple(left[: self.first])
        check_count(source, f"{what}{self.narrowed}", len(taken), self.expect_classes)
        return taken

    def check_pictures(self, source: Path, count: int) -> None:
        """Raise UserError unless the classes that are taken have as many pictures as expected."""
        check_count(source, f"pictures{self.narrowed}", count, self.expect_pictures)

    @property
    def narrowed(self) -> str:
        """What to add to counts that only include some classes."""
        return f" ({NARROWED})" if self.without or self.first is not None else ""


ALL = Wanted()


def list_labelled(
    folder: Path, classes_of: Path | None, ground_truth: Path | None, wanted: Wanted
) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Return the pictures' paths below `folder`, their labels, int64 (N,), and the classes in the labels' order.

    Classes are the `wanted` class folders of `classes_of`, or of `folder` if that is None, in alphabetical order;
    pictures of other classes are left out, which is logged. Pictures are in class folders or, with `ground_truth`, in
    `folder` itself. The caller must check their number.

    Raises:
        UserError: there is no such folder; or as in `Wanted.choose`, `list_class_folders` and `read_ground_truth`.
    """
    classes_of = classes_of or folder
    classes = tuple(list_folders(existing(classes_of)))
    taken = wanted.choose(classes_of, "class folders", classes)
    if ground_truth is None:
        return *list_class_folders(folder, taken, set(classes) - set(taken)), taken
    names = list_pictures(existing(folder))
    check_count(folder, "pictures", len(names), None)
    labels = renumber(read_ground_truth(ground_truth, names, classes), classes, taken)
    kept = np.flatnonzero(labels >= 0)
    tell_narrowed(folder, len(names) - len(kept))
    return [names[i] for i in kept], labels[kept], taken


def renumber(labels: np.ndarray, classes: Sequence[str], taken: Sequence[str]) -> np.ndarray:
    """Convert labels from positions in `classes`, int64 (N,), to positions in `taken`: -1 for other classes."""
    number = {name: label for label, name in enumerate(taken)}
    return np.array([number.get(name, -1) for name in classes], np.int64)[labels]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments to a parser for where pictures are, and which are wanted."""
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--classes-of", type=Path, help="the training pictures, if their classes count")
    parser.add_argument("--ground-truth", type=Path, help="the classes, if the pictures are not in class folders")
    parser.add_argument("--classes", type=number_or_none, help='"all", or how many of the first classes to take')
    parser.add_argument("--without", type=json.loads, default=[], help="classes to leave out, a list as JSON")
    parser.add_argument("--expect-classes", type=number_or_none, help='a number or "any"')
    parser.add_argument("--expect-pictures", type=number_or_none, help='a number or "any"')
    parser.add_argument("--out", type=Path, required=True)


def wanted_of(args: argparse.Namespace) -> Wanted:
    """Return which pictures the arguments want."""
    return Wanted(args.classes, args.without, args.expect_classes, args.expect_pictures)


def number_or_none(text: str) -> int | None:
    """Return the number in `text`; None for "any" and "all"."""
    return None if text in ("any", "all") else int(text)
