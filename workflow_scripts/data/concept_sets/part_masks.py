"""Sets with a mask file for each label of a picture, such as CelebAMask-HQ with one for each part of a face."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.data.concept_sets.files import PLACE, PictureFiles, files_below
from workflow_scripts.data.concept_sets.label_maps import LOSSLESS
from workflow_scripts.data.concept_sets.reader import Annotation, Label, stack
from workflow_scripts.data.decode import open_picture
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file

LABEL = "{label}"
ANY_FOLDER = "*"
MODES = ("1", "L", "P", "RGB")


class PartMasks(PictureFiles):
    """Pictures and masks, whose pixels other than 0 have the label in the file's name; otherwise like `Reader`.

    A label without a file is not in the picture, and pictures without any label are kept. Masks may overlap, and may be
    smaller than their pictures.
    """

    aligned = True

    def __init__(
        self, folder: Path, pictures_folder: Path, category: str, *, pictures: str | list[str], masks: str
    ) -> None:
        """Find the files.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: of all labels.
            pictures: their pattern, as `find_files` takes it.
            masks: their pattern, as `find_masks` takes it.

        Raises:
            UserError: as in these functions.
        """
        super().__init__(pictures_folder, pictures)
        self.folder = folder
        self._masks = find_masks(folder, masks, self._pictures)
        self.names = list(self._pictures)
        names = sorted({name for of_picture in self._masks.values() for name in of_picture})
        self.labels = tuple(Label(name, category) for name in names)
        self._places = {name: place for place, name in enumerate(names)}

    def annotation(self, index: int) -> Annotation:
        """Return the labels of a picture, with further planes for overlapping ones.

        Raises:
            UserError: masks differ in size, or as in `read_mask`.
        """
        segments = []
        sizes: dict[tuple[int, int], str] = {}
        for name, file in sorted(self._masks.get(self.names[index], {}).items()):
            path = str(self.folder / file)
            mask = read_mask(read_file(path), path)
            sizes.setdefault(mask.shape, path)
            segments.append((self._places[name], mask))
        if len(sizes) > 1:
            (one, path), (other, other_path) = list(sizes.items())[:2]
            raise UserError(
                f"{path} is {one[0]} x {one[1]}, but {other_path} is {other[0]} x {other[1]}: give masks of a picture"
                " one size"
            )
        return Annotation([plane for shape in sizes for plane in stack(segments, shape)])


def find_masks(folder: Path, pattern: str, pictures: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the paths of masks below `folder`, by picture and label.

    Args:
        folder: that of the set.
        pattern: a path such as "CelebAMask-HQ-mask-anno/*/{}_{label}.png": {} is the picture's name, as in the
            pictures' pattern, though numbers may have leading zeros; {label} is a label; * is any folder.
        pictures: the pictures' files, by name.

    Raises:
        UserError: there is no such file, or the pattern is invalid; a mask has no picture, or may belong to two; or two
            masks have the same picture and label.
    """
    wild = any(ANY_FOLDER in part and part != ANY_FOLDER for part in pattern.split("/"))
    if pattern.count(PLACE) != 1 or pattern.count(LABEL) != 1 or wild:
        raise UserError(
            f"masks is {pattern!r}: write a path with one {{}} and one {{label}}, such as masks/{{label}}/{{}}.png; a"
            " folder of any name is *"
        )
    number_of: dict[str, str] = {}
    for key in pictures:
        other = number_of.setdefault(plain_number(key), key)
        if other != key:
            raise UserError(f"the pictures {other} and {key} have the same number: rename or remove one of them")
    found: dict[str, dict[str, str]] = {}
    lone = []
    for path in sorted(files_below(folder, fixed_folder(pattern))):
        ways = list(splits(pattern, path))
        if not ways:
            continue
        ways = [(number_of[plain_number(key)], label) for key, label in ways if plain_number(key) in number_of]
        if not ways:
            lone.append(path)
            continue
        if len(ways) > 1:
            (key, label), (other, other_label) = ways[:2]
            raise UserError(
                f"{folder / path} may be {label!r} of the picture {key} or {other_label!r} of {other}: rename it, or"
                " put each label into its own folder"
            )
        [(key, label)] = ways
        other = found.setdefault(key, {}).setdefault(label, path)
        if other != path:
            raise UserError(f"{folder} has {other} and {path}, both {label!r} of {key}: remove one of them")
    if lone:
        raise UserError(
            f"{folder} has {lone[0]}, but no picture for it (such files in all: {len(lone)}): complete the set, or"
            " correct the patterns"
        )
    if not found:
        raise UserError(f"{folder} has no file {pattern}: correct masks, or unpack the set again")
    return found


def splits(pattern: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield all pairs that {} and {label} may mean in a path that matches a pattern."""
    least = 1
    while match := expression(pattern, least).fullmatch(path):
        yield match["key"], match["label"]
        least = len(match["key"]) + 1


@cache
def expression(pattern: str, least: int) -> re.Pattern:
    """Return the regular expression of a pattern whose {} matches as few characters as possible, from `least` on."""
    parts = re.split(r"(\{\}|\{label\}|(?:(?<=/)|^)\*(?=/))", pattern)
    meaning = {PLACE: f"(?P<key>.{{{least},}}?)", LABEL: "(?P<label>[^/]+)", ANY_FOLDER: "[^/]+"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts), re.DOTALL)


def fixed_folder(pattern: str) -> str:
    """Return the folder that contains all files of a pattern."""
    parts = pattern.split("/")[:-1]
    fixed = [part == ANY_FOLDER or PLACE in part or LABEL in part for part in parts]
    return "/".join(parts[: fixed.index(True)] if True in fixed else parts)


def plain_number(key: str) -> str:
    """Return a number without leading zeros, and any other text unchanged."""
    return key.lstrip("0") or "0" if key.isascii() and key.isdecimal() else key


def read_mask(data: bytes, path: str) -> np.ndarray:
    """Return the mask, bool (h, w), in the file `path`, whose bytes are `data`: all pixels that are not 0, or black.

    Raises:
        UserError: it is not an intact picture of a LOSSLESS format, or has more than one other value; or the colours of
            its palette contradict its numbers.
    """
    image = open_picture(data, path, LOSSLESS)
    if image.mode not in MODES:
        raise UserError(f"{path} has mode {image.mode}, but masks are {', '.join(MODES)}: convert it")
    values = [value for _, value in image.getcolors(2) or ()]
    if not values or (len(values) == 2 and 0 not in values and (0, 0, 0) not in values):
        raise UserError(
            f"{path} has more values than 0 and one other, so it is unclear which pixels have the label: take the file"
            " as it was published, or use the format label_maps if it holds several labels"
        )
    if image.mode == "RGB":
        return not_black(image)
    mask = np.asarray(image) != 0
    if image.mode == "P" and not np.array_equal(mask, not_black(image.convert("RGB"))):
        raise UserError(
            f"{path} has a palette in which 0 is not black, or another number is: save it in black and white"
        )
    return mask


def not_black(image: Image.Image) -> np.ndarray:
    """Return where a picture in red, green and blue is not black, bool (h, w)."""
    red, green, blue = np.moveaxis(np.asarray(image), -1, 0)
    return (red | green | blue) != 0  # many times as fast as `any` over the three
