"""COCO's sets: a JSON file lists pictures, categories, and segments, by outlines or by ids in a PNG."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from workflow_scripts.data.concept_sets.coco_outlines import Outline, compact_outline, fill, require_outline
from workflow_scripts.data.concept_sets.files import files_below, read_text
from workflow_scripts.data.concept_sets.reader import Annotation, Label, look_up, stack
from workflow_scripts.data.decode import open_picture, require_size
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.outside_json import parse_json
from workflow_scripts.shared.regular_files import read_file

# The keys of JSON objects that are kept; the others are dropped during reading.
KEPT = {
    *("images", "annotations", "categories", "id", "name", "file_name", "coco_url", "height", "width"),
    *("image_id", "category_id", "segmentation", "size", "counts", "segments_info"),
}
MOST_ID = 2**24 - 1  # the largest number in three channels of 8 bits

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
    """Pictures and outlines, as in COCO's instances and stuff, LVIS and PACO; otherwise like `Reader`.

    Crowds count like any segment: each of their pixels has the category, though its instance is unknown. Pictures
    without an annotation are kept, without labels, because units may be active in them, too. LVIS does not label every
    category in every picture; a category that it leaves out counts as absent.
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
            pictures: the folder in `pictures_folder` to which the JSON's file names are relative. LVIS has addresses
                instead: their last two parts count, such as val2017/000000000139.jpg.
            annotations: the JSON file in `folder`, or several, which may label the same pictures; categories with the
                same name are one label.

        Raises:
            UserError: a file is missing, or the JSON is not like COCO's; for an impossible outline, it names the file
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
        """Add the contents of a JSON file."""
        content = read_coco(path, compact_segment)
        pictures, categories = read_images(content, path), read_categories(content, path)
        for picture in pictures.values():
            other = self._pictures.setdefault(picture.file, picture)
            if other != picture:
                raise UserError(
                    f"{path}: {picture.file} is {picture.height} x {picture.width}, but another file says"
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
        """Return the labels of a picture, with further planes for overlapping ones."""
        _, height, width = self._pictures[self.names[index]]
        segments = self._segments.get(self.names[index], [])
        masks = ((position, fill(outline, height, width)) for position, outline in segments)
        return Annotation(stack(masks, (height, width)))


class PanopticAnnotation(NamedTuple):
    """An annotation whose segments are the pixels with their ids in a PNG."""

    image: Any
    file: Any
    segments: list[tuple[Any, Any]]  # id, category


class CocoPanoptic:
    """Pictures and PNGs in which each segment has an id, red + 256 green + 65536 blue; otherwise like `Reader`.

    0 means no label. Crowds count like any segment: each of their pixels has the category, and COCO's own labels
    without instances include them, too.
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
            pictures: the folder in `pictures_folder` that contains the pictures.
            annotations: the JSON file in `folder`.
            label_maps: the folder in `folder` that contains the PNGs.

        Raises:
            UserError: a file is missing, the JSON is not like COCO's, or a picture has no annotation or two.
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
                raise UserError(f"{where} belongs to {picture.file}, which already has one: remove one of them")
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
            UserError: its PNG does not have three channels, has another size than the JSON says, or an id that is not
                in the JSON.
        """
        _, height, width = self._pictures[self.names[index]]
        file, ids, codes = self._segments[self.names[index]]
        path = str(self._maps / file)
        image = open_picture(read_file(path), path, ("PNG",))
        if image.mode != "RGB":
            raise UserError(f"{path} has mode {image.mode}, but ids are RGB colours: take the file as it was published")
        if image.size != (width, height):
            raise UserError(
                f"{path} is {image.height} x {image.width}, but {self._json} says {height} x {width}: take the file as"
                " it was published"
            )
        red, green, blue = np.moveaxis(np.asarray(image, np.uint32), -1, 0)
        numbers = red + 256 * green + 65536 * blue
        plane = look_up(numbers, ids, codes)
        odd = numbers[plane < 0]
        if odd.size:
            raise UserError(
                f"{path} has the segment id {odd[0]}, which {self._json} does not have: take both as they were"
                " published, because ids are lost when a PNG is scaled or saved with a palette"
            )
        return Annotation([plane])


def read_coco(path: Path, compact: Callable[[dict, Path], Any]) -> dict:
    """Return the needed parts of a JSON file, its annotations made by `compact`; raise UserError if it is invalid.

    Each object is compacted as soon as it is read: as lists of numbers, outlines take four times as much memory.
    """
    try:
        content = parse_json(read_text(path), lambda found: compact(found, path))
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON ({error}): download or make it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is a list or a value, but COCO's files are objects with images, annotations and so on")
    return content


def kept(found: dict) -> dict:
    """Return the needed keys of an object."""
    return {key: value for key, value in found.items() if key in KEPT}


def compact_segment(found: dict, path: Path) -> dict | Segment:
    """Return the needed parts of an object; raise UserError for an unknown kind of outline."""
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
    """Return the needed parts of an object; raise UserError for invalid segments."""
    if "segments_info" not in found:
        return kept(found)
    segments = found["segments_info"]
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise UserError(
            f"{path}: segments_info of the image {found.get('image_id')} is not a list of objects: correct it"
        )
    pairs = [(segment.get("id"), segment.get("category_id")) for segment in segments]
    return PanopticAnnotation(found.get("image_id"), found.get("file_name"), pairs)


def items(content: dict, key: str, path: Path) -> list:
    """Return one of the file's lists; raise UserError if it is missing or empty."""
    found = content.get(key)
    if not isinstance(found, list) or not found:
        raise UserError(f"{path} has no list {key}, or an empty one: take the file that has labels")
    return found


def read_images(content: dict, path: Path) -> dict[Id, Picture]:
    """Return the pictures of a file by id; raise UserError if one is incomplete, or an id or a file is duplicate."""
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
        require_size(where, *sides)
        if file in files:
            raise UserError(f"{where}: {file} already has another id: remove one of the two")
        files.add(file)
        found[number] = Picture(file, *sides)
    return found


def read_categories(content: dict, path: Path) -> dict[Id, str]:
    """Return the names of categories by id; raise UserError if a name is missing, or an id or a name is duplicate."""
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
    """Yield the id of each entry of a list, the entry and its place; raise UserError for a missing or duplicate id."""
    seen = set()
    for position, item in enumerate(items(content, key, path)):
        where = f"{path}, {key}[{position}]"
        number = item.get("id") if isinstance(item, dict) else None
        if not isinstance(number, Id):
            raise UserError(f"{where} has no id: give it one")
        if number in seen:
            raise UserError(f"{where} has the id {number}, which another also has: correct one of them")
        seen.add(number)
        yield number, item, where


def known(number: Any, entries: dict, key: str, where: str) -> Id:
    """Return an id that the file must have; raise UserError if it does not."""
    if not isinstance(number, Id) or number not in entries:
        raise UserError(f"{where}: {key} is {number!r}, which the file does not have: complete or correct it")
    return number


def inside(name: Any, key: str, where: str) -> str:
    """Return the path of a file within its folder; raise UserError if it is not a path, or leads out of the folder."""
    path = os.path.normpath(name) if is_text(name) and "\0" not in name else "."
    if os.path.isabs(path) or path.split(os.sep)[0] in ("..", "."):
        raise UserError(f"{where}: {key} is {name!r}: write the path of a file within the folder that the config gives")
    return path


def is_text(value: Any) -> TypeGuard[str]:
    """Tell whether a value is text that can be encoded: JSON may contain lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def require_files(folder: Path, within: str, names: list[str], path: Path) -> None:
    """Raise UserError if files that the JSON file `path` names are missing from the folder `within` of `folder`."""
    there = set(files_below(folder, within))
    missing = [name for name in names if os.path.normpath(os.path.join(within, name)) not in there]
    if missing:
        raise UserError(
            f"{folder / within} lacks {min(missing)}, which {path} names ({len(missing)} of {len(names)} are missing):"
            " complete the set, or correct the config"
        )
