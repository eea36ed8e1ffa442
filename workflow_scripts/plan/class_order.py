"""Which class each class folder holds: the folders' names put in the order in which a network was trained with them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import list_folders


def list_classes(folder: Path, order: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the class folders in `folder`, hidden ones left out, by the number of their class.

    Args:
        folder: that holds the class folders.
        order: "text", by the characters' numbers, as torchvision's ImageFolder does (10, 2, Z, a); "number", digits by
            their value and letters whatever their case, as timm does (2, 10, a, Z); the names themselves; or None where
            the two agree.

    Raises:
        UserError: there are fewer than two; `order` is None and the two differ; or the names are not those of the
            folders, each once.
    """
    by_text = list_folders(folder)
    if len(by_text) < 2:
        raise UserError(
            f"test is {folder}, which holds {len(by_text)} class folders, and at least 2 are needed: sort its pictures"
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
    """Return a name as what its runs of digits and the text between them sort by."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]


def differing(folder: Path, by_text: Sequence[str], by_number: Sequence[str]) -> str:
    """Return what to say where two orders of the class folders differ."""
    first = next(number for number, (one, other) in enumerate(zip(by_text, by_number, strict=True)) if one != other)
    text, number = (", ".join(names[first : first + 3]) for names in (by_text, by_number))
    return (
        f"class_order is missing: from class {first} on the class folders of {folder} are {text}, ... as text, which is"
        f" how torchvision's ImageFolder sorts them, and {number}, ... by number, as timm does: say text, number, or a"
        " list of all names, whichever the network was trained with"
    )


def require_each_once(folder: Path, names: Sequence[str], order: Sequence[str]) -> None:
    """Raise UserError unless `order` has each of the folders' names once."""
    given, there = Counter(order), set(names)
    if unknown := sorted(given.keys() - there):
        raise UserError(f"class_order names {unknown[0]!r}, and there is no such class folder in {folder}: correct it")
    if missing := sorted(there - given.keys()):
        raise UserError(f"class_order lacks {missing[0]!r}, a class folder in {folder}: name all {len(there)}")
    if twice := sorted(name for name, times in given.items() if times > 1):
        raise UserError(f"class_order names {twice[0]!r} more than once: name each class folder of {folder} once")
