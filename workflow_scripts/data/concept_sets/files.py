"""The files of a set, found by a pattern: `images/{}.jpg`, where {} is a name that pairs pictures with labels."""

import os
import re
from pathlib import Path

from workflow_scripts.data.decode import IMAGE_SUFFIXES
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import MACOS_FOLDER, read_file, walk

PLACE = "{}"
ANY_PICTURE = f"({'|'.join(map(re.escape, IMAGE_SUFFIXES))})"


def find_files(folder: Path, patterns: str | list[str], what: str) -> dict[str, str]:
    """Return the paths below `folder` that match a pattern, by the name in place of {}, in the order of these names.

    {} matches anything, including folders; a pattern that ends with it matches pictures with any known ending, which is
    not part of the name. Hidden files, and those that macOS adds, are left out.

    Args:
        folder: that of the set.
        patterns: a path with one {}, or several.
        what: the config key with the pattern, for messages.

    Raises:
        UserError: there is no such file, or two have the same name in place of {}.
    """
    found: dict[str, str] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        before, place, after = os.path.normpath(pattern).partition(PLACE)
        if not place or PLACE in after:
            raise UserError(f"{what} has {pattern!r}: write a path with one {{}}, such as images/{{}}.jpg")
        ending = re.escape(after) if after else ANY_PICTURE
        expression = re.compile(re.escape(before) + "(.+)" + ending, re.DOTALL | (0 if after else re.IGNORECASE))
        matches = [
            match for path in files_below(folder, os.path.dirname(before)) if (match := expression.fullmatch(path))
        ]
        if not matches:
            raise UserError(f"{folder} has no file {pattern}: correct {what}, or unpack the set again")
        for match in matches:
            path = found.setdefault(match[1], match[0])
            if path != match[0]:
                raise UserError(
                    f"{folder} has {path} and {match[0]}, both with the name {match[1]!r}: remove one of them"
                )
    return dict(sorted(found.items()))


def files_below(folder: Path, within: str) -> list[str]:
    """Return the paths, relative to `folder`, of all files below its folder `within`; raises as `walk` does."""
    paths = []
    for place, folders, names in walk(folder / within):
        folders[:] = [name for name in folders if not name.startswith(".") and name != MACOS_FOLDER]
        relative = os.path.relpath(place, folder)
        paths += [os.path.normpath(os.path.join(relative, name)) for name in names if not name.startswith(".")]
    return paths


class PictureFiles:
    """Pictures that are separate files, for readers.

    Attributes:
        names: the names, in place of {}, of the pictures that count; the reader sets them.
    """

    names: list[str]

    def __init__(self, folder: Path, patterns: str | list[str], what: str = "pictures") -> None:
        """Find the pictures; arguments and errors as in `find_files`."""
        self.pictures_folder = folder
        self._pictures = find_files(folder, patterns, what)

    def picture(self, index: int) -> tuple[bytes, str]:
        """Return what `Reader.picture` does."""
        path = self.pictures_folder / self._pictures[self.names[index]]
        return read_file(path), str(path)


def pair_files(pictures: dict[str, str], labels: dict[str, str], folder: Path) -> list[str]:
    """Return the names that pictures share with their labels' files; raise UserError if one lacks the other."""
    if odd := sorted(pictures.keys() ^ labels.keys()):
        key = odd[0]
        path, lack = (pictures[key], "no label map") if key in pictures else (labels[key], "no picture")
        raise UserError(
            f"{folder} has {path}, but {lack} for it (such files in all: {len(odd)}): complete the set, correct the"
            " patterns, or give a list of those that count"
        )
    return list(pictures)


def read_list(path: Path, known: dict[str, str], what: str) -> list[str]:
    """Return the lines of a text file; raise UserError for a line that is unknown or duplicate."""
    keys = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not keys:
        raise UserError(f"{path} is empty: list the pictures that count, one per line")
    seen = set()
    for key in keys:
        if key not in known:
            raise UserError(f"{path} lists {key!r}, but there is no such {what}: complete the set, or fix the list")
        if key in seen:
            raise UserError(f"{path} lists {key!r} twice: remove one of the lines")
        seen.add(key)
    return keys


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, without a byte order mark; raise UserError if it is not such a file."""
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: save it in UTF-8, or correct the config") from None
