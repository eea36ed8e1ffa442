"""COCO's sets: a JSON file lists pictures, categories, and segments, by their outlines or by the ids in a PNG."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from workflow_scripts.data.concept_sets.coco_outlines import Outline, compact_outline, fill, require_outline
from workflow_scripts.data.concept_sets.files import files_below, read_text
from workflow_scripts.data.concept_sets.reader import Annotation, Label, look_up, stack
from workflow_scripts.data.decode import MOST_PIXELS, open_picture
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file

# What counts of the JSON's objects; the rest is dropped while it is read.
KEPT = {
    *("images", "annotations", "categories", "id", "name", "file_name", "coco_url", "height", "width"),
    *("image_id", "category_id", "segmentation", "size", "counts", "segments_info"),
}
MOST_ID = 2**24 - 1  # what three channels of 8 bits hold

Id = int | str


class Picture(NamedTuple):
    """A picture of the JSON: its file, and its size in pixels."""

    file: str
    height: int
    width: int


class Segment(NamedTuple):
    """An annotation with an outline."""

    number: Any
    image: Any
    category: Any
    outline: Outline


class CocoSegments:
    """Pictures and outlines of what is in them, as of COCO's instances and stuff, LVIS and PACO; otherwise as `Reader`.

    Crowds count as any segment: each pixel of them is of the category, though nobody says of which instance. Pictures
    without an annotation are kept, without labels: units may be active in them, too. LVIS does not label each category
    in each picture; where it leaves one out, that counts as absent.
    """

    aligned = True

    def __init__(
        self, folder: Path, pictures_folder: Path, category: str, *, pictures: str, annotations: str | list[str]
    ) -> None:
        """Read the JSON files.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: of all labels.
            pictures: the folder in `pictures_folder` in which the JSON's file names begin. LVIS has addresses in their
                place: their last two parts count, as val2017/000000000139.jpg.
            annotations: the JSON file in `folder`, or several, which may label the same pictures; categories of one
                name are one label.

        Raises:
            UserError: a file is missing, or the JSON is not as COCO's; an outline that cannot be is named by its file
                and id.
        """
        self._root = pictures_folder / pictures
        self._pictures: dict[str, Picture] = {}
        self._segments: dict[str, list[tuple[int, Outline]]] = {}
        self._category = category
        self._places: dict[Label, int] = {}
        for name in [annotations] if isinstance(annotations, str) else annotations:
            self._add(folder / name)
            require_files(pictures_folder, pictures, list(self._pictures), folder / name)
        self.labels = tuple(self._places)
        self.names = sorted(self._pictures)

    def _add(self, path: Path) -> None:
        """Add what a JSON file says."""
        content = read_coco(path, compact_segment)
        pictures, categories = read_images(content, path), read_categories(content, path)
        for picture in pictures.values():
            other = self._pictures.setdefault(picture.file, picture)
            if other != picture:
                raise UserError(
                    f"{path}: {picture.file} is {picture.height} x {picture.width}, and another of the files says"
                    f" {other.height} x {other.width}: take files of the same pictures"
                )
        place = {
            number: self._places.setdefault(Label(name, self._category), len(self._places))
            for number, name in categories.items()
        }
        for position, segment in enumerate(items(content, "annotations", path)):
            if not isinstance(segment, Segment):
                raise UserError(
                    f"{path}, annotations[{position}] has no segmentation: take the file of instances or stuff"
                )
            where = f"{path}, annotation {segment.number}"
            picture = pictures[known(segment.image, pictures, "image_id", where)]
            label = place[known(segment.category, categories, "category_id", where)]
            require_outline(segment.outline, picture.height, picture.width, where)
            self._segments.setdefault(picture.file, []).append((label, segment.outline))

    def picture(self, index: int) -> tuple[bytes, str]:
        """Return what `Reader.picture` does."""
        path = self._root / self.names[index]
        return read_file(path), str(path)

    def annotation(self, index: int) -> Annotation:
        """Return the labels of a picture, with a further plane for those that lie on others."""
        _, height, width = self._pictures[self.names[index]]
        segments = self._segments.get(self.names[index], [])
        masks = ((position, fill(outline, height, width)) for position, outline in segments)
        return Annotation(stack(masks, (height, width)))


class PanopticAnnotation(NamedTuple):
    """An annotation whose segments are the pixels of a PNG that have their ids."""

    image: Any
    file: Any
    segments: list[tuple[Any, Any]]  # id, category


class CocoPanoptic:
    """Pictures and PNGs in which each segment has an id, red + 256 green + 65536 blue; otherwise as `Reader`.

    0 means no label. Crowds count as any segment: each pixel of them is of the category, and COCO's own labels without
    instances are made with them.
    """

    aligned = True

    def __init__(
        self,
        folder: Path,
        pictures_folder: Path,
        category: str,
        *,
        pictures: str,
        annotations: str,
        label_maps: str,
    ) -> None:
        """Read the JSON file.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: of all labels.
            pictures: the folder in `pictures_folder` that has them.
            annotations: the JSON file in `folder`.
            label_maps: the folder in `folder` that has the PNGs.

        Raises:
            UserError: a file is missing, the JSON is not as COCO's, or a picture has no annotation, or two.
        """
        self._root, self._maps, self._json = pictures_folder / pictures, folder / label_maps, folder / annotations
        content = read_coco(self._json, compact_panoptic)
        images, categories = read_images(content, self._json), read_categories(content, self._json)
        self.labels = tuple(Label(name, category) for name in categories.values())
        code = {number: position for position, number in enumerate(categories, 1)}
        self._pictures = {picture.file: picture for picture in images.values()}
        self._segments: dict[str, tuple[str, np.ndarray, np.ndarray]] = {}  # PNG, ids in order, code of each
        for position, item in enumerate(items(content, "annotations", self._json)):
            where = f"{self._json}, annotations[{position}]"
            if not isinstance(item, PanopticAnnotation):
                raise UserError(f"{where} has no segments_info: take the panoptic file")
            picture = images[known(item.image, images, "image_id", where)]
            if picture.file in self._segments:
                raise UserError(f"{where} is of {picture.file}, which has one already: remove one of them")
            codes = {0: 0}
            for number, of_category in item.segments:
                if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= MOST_ID:
                    raise UserError(f"{where} has the segment id {number!r}: give it one from 1 to {MOST_ID}")
                if number in codes:
                    raise UserError(f"{where} has two segments with the id {number}: correct one of them")
                codes[number] = code[known(of_category, categories, "category_id", f"{where}, segment {number}")]
            ids = np.array(sorted(codes), np.uint32)
            file = inside(item.file, "file_name", where)
            self._segments[picture.file] = file, ids, np.array([codes[number] for number in ids.tolist()], np.int32)
        for name in self._pictures:
            if name not in self._segments:
                raise UserError(f"{self._json} has no annotation of {name}: remove the picture, or complete the file")
        require_files(pictures_folder, pictures, list(self._pictures), self._json)
        require_files(folder, label_maps, [file for file, _, _ in self._segments.values()], self._json)
        self.names = sorted(self._pictures)

    def picture(self, index: int) -> tuple[bytes, str]:
        """Return what `Reader.picture` does."""
        path = self._root / self.names[index]
        return read_file(path), str(path)

    def annotation(self, index: int) -> Annotation:
        """Return the labels of a picture.

        Raises:
            UserError: its PNG has no three channels, another size than the JSON says, or an id that it does not name.
        """
        _, height, width = self._pictures[self.names[index]]
        file, ids, codes = self._segments[self.names[index]]
        path = str(self._maps / file)
        image = open_picture(read_file(path), path, ("PNG",))
        if image.mode != "RGB":
            raise UserError(f"{path} has mode {image.mode}; ids are colours, RGB: take the file as it was published")
        if image.size != (width, height):
            raise UserError(
                f"{path} is {image.height} x {image.width}, and {self._json} says {height} x {width}: take the file as"
                " it was published"
            )
        red, green, blue = np.moveaxis(np.asarray(image, np.uint32), -1, 0)
        numbers = red + 256 * green + 65536 * blue
        plane = look_up(numbers, ids, codes)
        odd = numbers[plane < 0]
        if odd.size:
            raise UserError(
                f"{path} has the segment id {odd[0]}, which {self._json} does not name: take both as they were"
                " published, for ids are lost where a PNG is saved with a palette, or scaled"
            )
        return Annotation([plane])


def read_coco(path: Path, compact: Callable[[dict, Path], Any]) -> dict:
    """Return what counts of a JSON file, its annotations as `compact` makes them; UserError if it is none.

    Each object is made small as soon as it is read: as lists of numbers, outlines take four times as much.
    """
    try:
        content = json.loads(
            read_text(path), object_hook=lambda found: compact(found, path), parse_constant=refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not whole JSON ({error}): download or make it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is a list or a value, and COCO's files are objects with images, annotations and so on")
    return content


def refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which are not in JSON."""
    raise ValueError(f"it holds {text}")


def kept(found: dict) -> dict:
    """Return what counts of an object."""
    return {key: value for key, value in found.items() if key in KEPT}


def compact_segment(found: dict, path: Path) -> dict | Segment:
    """Return what counts of an object; UserError for an outline that is of no known kind."""
    if "segmentation" not in found:
        return kept(found)
    number = found.get("id")
    try:
        outline = compact_outline(found["segmentation"])
    except (TypeError, ValueError, OverflowError):
        raise UserError(
            f"{path}, annotation {number}: its segmentation is neither polygons, [[x, y, x, y, x, y, ...], ...], nor"
            " runs, {size, counts}: correct or remove it"
        ) from None
    return Segment(number, found.get("image_id"), found.get("category_id"), outline)


def compact_panoptic(found: dict, path: Path) -> dict | PanopticAnnotation:
    """Return what counts of an object; UserError for segments that are none."""
    if "segments_info" not in found:
        return kept(found)
    segments = found["segments_info"]
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise UserError(f"{path}: segments_info of the image {found.get('image_id')} is no list of objects: correct it")
    pairs = [(segment.get("id"), segment.get("category_id")) for segment in segments]
    return PanopticAnnotation(found.get("image_id"), found.get("file_name"), pairs)


def items(content: dict, key: str, path: Path) -> list:
    """Return one of the file's lists; UserError if there is none."""
    found = content.get(key)
    if not isinstance(found, list) or not found:
        raise UserError(f"{path} has no list {key}, or an empty one: take the file that has labels")
    return found


def read_images(content: dict, path: Path) -> dict[Id, Picture]:
    """Return the pictures of a file by id; UserError if one is incomplete, or an id or a file stands there twice."""
    found: dict[Id, Picture] = {}
    files = set()
    for number, item, where in entries(content, "images", path):
        if "file_name" in item:
            file = inside(item["file_name"], "file_name", where)
        else:
            address = item.get("coco_url")
            file = inside("/".join(address.split("/")[-2:]) if isinstance(address, str) else None, "coco_url", where)
        sides: list[Any] = [item.get(key) for key in ("height", "width")]
        if any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
            raise UserError(f"{where}: height and width are {sides[0]!r} and {sides[1]!r}: give both, in pixels")
        if sides[0] * sides[1] > MOST_PIXELS:
            raise UserError(f"{where}: {sides[0]} x {sides[1]} is more than the {MOST_PIXELS} pixels that are read")
        if file in files:
            raise UserError(f"{where}: {file} has another id already: remove one of the two")
        files.add(file)
        found[number] = Picture(file, *sides)
    return found


def read_categories(content: dict, path: Path) -> dict[Id, str]:
    """Return the names of categories by id; UserError if one has none, or an id or a name stands there twice."""
    found: dict[Id, str] = {}
    for number, item, where in entries(content, "categories", path):
        name = item.get("name")
        if not is_text(name) or not name.strip():
            raise UserError(f"{where}: it has no name: give it one")
        found[number] = name.strip()
    for name, count in Counter(found.values()).items():
        if count > 1:
            raise UserError(f"{path}: {count} categories are called {name!r}: rename or remove all but one")
    return found


def entries(content: dict, key: str, path: Path) -> Iterator[tuple[Id, dict, str]]:
    """Yield the id of each entry of a list, itself and its place; UserError if it has none, or that of another."""
    seen = set()
    for position, item in enumerate(items(content, key, path)):
        where = f"{path}, {key}[{position}]"
        number = item.get("id") if isinstance(item, dict) else None
        if not isinstance(number, Id):
            raise UserError(f"{where} has no id: give it one")
        if number in seen:
            raise UserError(f"{where} has the id {number}, which another has, too: correct one of them")
        seen.add(number)
        yield number, item, where


def known(number: Any, entries: dict, key: str, where: str) -> Id:
    """Return an id that the file must have; UserError if it does not."""
    if not isinstance(number, Id) or number not in entries:
        raise UserError(f"{where}: {key} is {number!r}, which the file does not have: complete or correct it")
    return number


def inside(name: Any, key: str, where: str) -> str:
    """Return the path of a file, as it is within its folder; UserError if it is none, or leads out of that."""
    path = os.path.normpath(name) if is_text(name) and "\0" not in name else "."
    if os.path.isabs(path) or path.split(os.sep)[0] in ("..", "."):
        raise UserError(f"{where}: {key} is {name!r}: write the path of a file within the folder that the config gives")
    return path


def is_text(value: Any) -> TypeGuard[str]:
    """Tell whether a value is text that can be written: JSON may have half a character by its number."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def require_files(folder: Path, within: str, names: list[str], path: Path) -> None:
    """Raise UserError if files that a JSON file names are not in the folder `within` of another."""
    there = set(files_below(folder, within))
    missing = [name for name in names if os.path.normpath(os.path.join(within, name)) not in there]
    if missing:
        raise UserError(
            f"{folder / within} lacks {min(missing)}, which {path} names ({len(missing)} of {len(names)} are missing):"
            " complete the set, or correct the config"
        )
