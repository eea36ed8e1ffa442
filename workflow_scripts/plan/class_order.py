"""The class of each class folder: the folders' names in the order in which a network was trained."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import list_folders


def list_classes(folder: Path, order: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the class folders in `folder`, except hidden ones, by the number of their class.

    Args:
        folder: that contains the class folders.
        order: "text", by the characters' codes, as torchvision's ImageFolder sorts (10, 2, Z, a); "number", digits by
            their value and letters regardless of case, as timm sorts (2, 10, a, Z); the names themselves; or None if
            both orders agree.

    Raises:
        UserError: there are fewer than two folders; `order` is None and the two orders differ; or the names are not
            those of the folders, each once.
    """
    by_text = list_folders(folder)
    if len(by_text) < 2:
        raise UserError(
            f"test is {folder}, which has {len(by_text)} class folders, but at least 2 are needed: sort its pictures"
            " into a folder for each class"
        )
    by_number = sorted(by_text, key=digits_by_value)
    if order is None and by_text != by_number:
        raise UserError(differing(folder, by_text, by_number))
    if order in (None, "text"):
        return tuple(by_text)
    if order == "number":
        return tuple(by_number)
    require_each_once(folder, by_text, order)
    return tuple(order)


def digits_by_value(name: str) -> list[str | int]:
    """Split a name into its numbers and the text between them, for sorting."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]


def differing(folder: Path, by_text: Sequence[str], by_number: Sequence[str]) -> str:
    """Return the message for class folders whose two orders differ."""
    first = next(number for number, (one, other) in enumerate(zip(by_text, by_number, strict=True)) if one != other)
    text, number = (", ".join(names[first : first + 3]) for names in (by_text, by_number))
    return (
        f"class_order is missing: from class {first} on, the class folders of {folder} are {text}, ... as text, as"
        f" torchvision's ImageFolder sorts them, but {number}, ... by number, as timm does: write text, number, or a"
        " list of all names, whichever the network was trained with"
    )


def require_each_once(folder: Path, names: Sequence[str], order: Sequence[str]) -> None:
    """Raise UserError unless `order` has each of the folders' names once."""
    given, there = Counter(order), set(names)
    if unknown := sorted(given.keys() - there):
        raise UserError(f"class_order has {unknown[0]!r}, but there is no such class folder in {folder}: correct it")
    if missing := sorted(there - given.keys()):
        raise UserError(f"class_order lacks {missing[0]!r}, a class folder in {folder}: list all {len(there)}")
    if twice := sorted(name for name, times in given.items() if times > 1):
        raise UserError(f"class_order has {twice[0]!r} more than once: list each class folder of {folder} once")
