"""ADE20K with all its classes, as in Broden: the releases of 2016, 2017 and 2021."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from workflow_scripts.data.concept_sets.files import PictureFiles, find_files, pair_files
from workflow_scripts.data.concept_sets.label_maps import read_colours
from workflow_scripts.data.concept_sets.reader import Annotation, Label
from workflow_scripts.data.mat_files import fields_of, read_mat, text_of
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.outside_json import parse_json
from workflow_scripts.shared.regular_files import read_file

INDEX = "index_ade20k.mat"
PICTURE, OBJECTS, PARTS = ".jpg", "_seg.png", "_parts_{}.png"
SPLITS = ("training", "validation")
CLASSES = 26 * 256  # a label map has class // 256 x 10 in red, and class % 256 in green
UNKNOWN = -1


class Ade20k(PictureFiles):
    """X.jpg, X_seg.png with its objects, and X_parts_1.png, X_parts_2.png and so on; otherwise like `Reader`.

    The names of classes are in index_ade20k.mat in `folder` (2016 and 2017), or in X.json (2021); index_ade20k.pkl is
    not read, because unpickling can run code. A class is an object in X_seg.png and a part in the other maps. If a
    class has several names, the first one that no class with more objects has counts; if there is none, it counts as
    the class that has its first name.
    """

    aligned = True

    def __init__(
        self, folder: Path, pictures_folder: Path, category: str, *, pictures: str | list[str] = "{}.jpg"
    ) -> None:
        """Find the files, and read the names.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: not used; labels are objects, parts and scenes.
            pictures: their pattern, or several, as `find_files` takes them; each ends with .jpg.

        Raises:
            UserError: as in `find_files` and `pair_files`; or there are no names, or they are not as published.
        """
        patterns = [pictures] if isinstance(pictures, str) else pictures
        for pattern in patterns:
            if not pattern.endswith(PICTURE):
                raise UserError(
                    f"pictures has {pattern!r}, but ADE20K's pictures are JPEG files: let it end with {PICTURE}"
                )
        super().__init__(pictures_folder, patterns)
        self.folder = folder
        self._maps = find_files(folder, [pattern.removesuffix(PICTURE) + OBJECTS for pattern in patterns], "pictures")
        self.names = pair_files(self._pictures, self._maps, folder)
        stems = {key: path.removesuffix(OBJECTS) for key, path in self._maps.items()}
        synonyms, counts, scenes = read_index(folder, stems) or read_annotations(folder, stems)
        name_of = class_names(synonyms, counts)
        names = sorted(set(name_of.values()))
        scene_names = sorted(set(scenes.values()))
        self.labels = (
            *(Label(name, "object") for name in names),
            *(Label(name, "part") for name in names),
            *(Label(name, "scene") for name in scene_names),
        )
        code = {name: position for position, name in enumerate(names, 1)}
        self._codes = np.full(CLASSES, UNKNOWN, np.int32)
        self._codes[0] = 0
        for number in synonyms:
            self._codes[number] = code[name_of[number]] if number in name_of else 0
        self._first_part = len(names)
        place = {scene: position for position, scene in enumerate(scene_names, 2 * len(names))}
        self._scene_of = {key: place[scene] for key, scene in scenes.items()}

    def annotation(self, index: int) -> Annotation:
        """Return objects, levels of parts, and the scene; raise UserError for an invalid map or an unknown class."""
        key = self.names[index]
        path = self.folder / self._maps[key]
        planes = [self._classes(path)]
        while (of_parts := level_path(path, len(planes))).is_file():
            parts = self._classes(of_parts)
            if parts.shape != planes[0].shape:
                sizes = " and ".join(f"{height} x {width}" for height, width in (parts.shape, planes[0].shape))
                raise UserError(f"{of_parts} and {path.name} have {sizes} pixels: copy both again")
            planes.append(np.where(parts > 0, parts + self._first_part, 0))
        return Annotation(planes, [self._scene_of[key]] if key in self._scene_of else [])

    def _classes(self, path: Path) -> np.ndarray:
        """Return the codes, int32 (h, w), of the classes in a label map."""
        colours = read_colours(read_file(path), str(path))
        numbers = (colours >> 16) // 10 * 256 + (colours >> 8 & 255)
        codes = self._codes[numbers]
        if (codes == UNKNOWN).any():
            number = int(numbers[codes == UNKNOWN][0])
            raise UserError(f"{path} holds the class {number}, which has no name: take names and maps from one release")
        return codes


def level_path(path: Path, level: int) -> Path:
    """Return the label map of parts at a level, from 1, that belongs to a label map of objects."""
    return path.with_name(path.name.removesuffix(OBJECTS) + PARTS.format(level))


Names = tuple[dict[int, list[str]], Mapping[int, int], dict[str, str]]


def read_index(folder: Path, stems: Mapping[str, str]) -> Names | None:
    """Return the contents of index_ade20k.mat; None if there is no such file.

    Args:
        folder: of the set.
        stems: the path of each picture within `folder`, without its ending.

    Returns:
        The names of each class, how many objects it has, and the scenes of pictures.

    Raises:
        UserError: the file is not of this kind.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    with fields_of(path, "the index of ADE20K"):
        # It also has two matrices with a number for each class in each picture; they are skipped.
        (index,) = read_mat(path, "index", ("objectnames", "objectcounts", "filename", "scene"))
        synonyms = {number: split_names(text_of(cell)) for number, cell in enumerate(index["objectnames"], 1)}
        counts = dict(enumerate(index["objectcounts"].ravel().astype(int).tolist(), 1))
        files, scenes = ([text_of(cell) for cell in index[name]] for name in ("filename", "scene"))
        scene_of = {file.removesuffix(PICTURE): scene for file, scene in zip(files, scenes, strict=True)}
    require_numbers(synonyms, path)
    tidied = {key: tidy(scene_of.get(stem.rpartition("/")[2], "")) for key, stem in stems.items()}
    return synonyms, counts, {key: scene for key, scene in tidied.items() if is_scene(scene)}


def read_annotations(folder: Path, stems: Mapping[str, str]) -> Names:
    """Return the contents of the pictures' JSON files, in the form of `read_index`.

    A scene is the name of the picture's folder or, without such folders, the last entry of the list in its file.
    """
    synonyms: dict[int, list[str]] = {}
    counts: Counter[int] = Counter()
    scenes = {}
    for key, stem in stems.items():
        path = folder / f"{stem}.json"
        if not path.is_file():
            raise UserError(
                f"{folder} has neither {INDEX} nor {stem}.json, which would name classes: unpack the whole archive, and"
                " let folder be the one with the index"
            )
        objects, listed = read_annotation(path)
        for number, names in objects:
            synonyms.setdefault(number, split_names(names))
            counts[number] += 1
        above = Path(stem).parent.name
        scene = tidy(above if above and above not in SPLITS else listed)
        if is_scene(scene):
            scenes[key] = scene
    return synonyms, counts, scenes


def read_annotation(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Return the class and names of each object in a JSON file, in Latin-1, and the last entry of its scene.

    Raises:
        UserError: the file is not of this kind.
    """
    with fields_of(path, "an annotation of ADE20K"):
        annotation = parse_json(read_file(path).decode("latin-1"))["annotation"]
        objects = []
        for item in listed(annotation["object"]):
            number, names = item["name_ndx"], item["name"]
            if not isinstance(names, str) or not isinstance(number, int) or not 0 < number < CLASSES:
                raise ValueError(f"the class {number!r} named {names!r}")
            objects.append((number, names))
        scene = listed(annotation.get("scene", []))
        return objects, str(scene[-1]) if scene else ""


def listed(value: object) -> list:
    """Return a list; a single item becomes a list, because MATLAB writes a list of one item as that item."""
    return value if isinstance(value, list) else [value]


def require_numbers(synonyms: Mapping[int, list[str]], path: Path) -> None:
    """Raise UserError if there are no classes, or more than pixels can hold."""
    if not 0 < len(synonyms) < CLASSES:
        raise UserError(f"{path} names {len(synonyms)} classes: take the file as it was published")


def class_names(synonyms: Mapping[int, list[str]], counts: Mapping[int, int]) -> dict[int, str]:
    """Return the name of each class that has one, by the rule in `Ade20k`."""
    owner: dict[str, int] = {}
    found: dict[int, str] = {}
    for number in sorted(synonyms, key=lambda number: (-counts.get(number, 0), number)):
        names = synonyms[number]
        for name in names:
            owner.setdefault(name, number)
        own = [name for name in names if owner[name] == number]
        if names:
            found[number] = own[0] if own else found[owner[names[0]]]
    return found


def split_names(names: str) -> list[str]:
    """Return the names between commas, without "-", which means none."""
    return [name for part in names.split(",") if (name := part.strip()) not in ("", "-")]


def tidy(scene: str) -> str:
    """Return a scene's name as in Broden, which has a hyphen instead of / and of the folders' __."""
    return scene.strip("/ ").replace(" - ", "-").replace("__", "-").replace("/", "-")


def is_scene(name: str) -> bool:
    """Tell whether a scene has a name; a name with ~ means that it was not labelled."""
    return bool(name) and not name.startswith("~")
