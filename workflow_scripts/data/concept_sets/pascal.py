"""Pascal-Context and Pascal-Part: additional labels for the pictures of Pascal VOC 2010."""

import re
from pathlib import Path

import numpy as np

from workflow_scripts.data.concept_sets.files import PictureFiles, find_files
from workflow_scripts.data.concept_sets.label_maps import Values
from workflow_scripts.data.concept_sets.names import read_names
from workflow_scripts.data.concept_sets.reader import Annotation, Label, stack
from workflow_scripts.data.mat_files import fields_of, read_mat, text_of
from workflow_scripts.shared.files import UserError

NOTHING = "unknown"  # Pascal-Context's name for pixels without a label

# The parts that count as one, as Broden's script joins them (src/pascalseg.py and src/joinseg.py of
# CSAILVision/NetDissect): part2ind.m, which comes with Pascal-Part, spells out the names, and the words left, right,
# front, back, upper, lower and side are dropped. The sides of a bus or a car then have no name left.
PARTS = {
    "arm": "llarm luarm rlarm ruarm",
    "beak": "beak",
    "body": "body",
    "cap": "cap",
    "chain wheel": "chainwheel",
    "coach": "coach cfrontside cleftside crightside cbackside",
    "coach roof": "croofside",
    "door": "door",
    "ear": "lear rear",
    "engine": "engine",
    "eye": "leye reye",
    "eyebrow": "lebrow rebrow",
    "foot": "lfoot rfoot",
    "hair": "hair",
    "hand": "lhand rhand",
    "handle bar": "handlebar",
    "head": "head hfrontside hleftside hrightside hbackside",
    "head roof": "hroofside",
    "headlight": "headlight",
    "hoof": "lfho rfho lbho rbho",
    "horn": "lhorn rhorn",
    "leg": "lleg rleg lfleg rfleg lbleg rbleg lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg"
    " llleg luleg rlleg ruleg",
    "license plate": "fliplate bliplate",
    "mirror": "leftmirror rightmirror",
    "mouth": "mouth",
    "muzzle": "muzzle",
    "neck": "neck",
    "nose": "nose",
    "paw": "lfpa rfpa lbpa rbpa",
    "plant": "plant",
    "pot": "pot",
    "roof": "roofside",
    "saddle": "saddle",
    "screen": "screen",
    "stern": "stern",
    "tail": "tail",
    "torso": "torso",
    "wheel": "wheel fwheel bwheel",
    "window": "window",
    "wing": "lwing rwing",
}
WITHOUT_NAME = ("frontside", "leftside", "rightside", "backside")
NAME_OF_PART = {short: name for name, shorts in PARTS.items() for short in shorts.split()}


class MatFiles(PictureFiles):
    """MATLAB files, one for each picture, and the pictures."""

    def __init__(
        self, folder: Path, patterns: str | list[str], what: str, pictures_folder: Path, pictures: str | list[str]
    ) -> None:
        """Find them, by patterns as in `find_files`; raise UserError if a file lacks its picture."""
        super().__init__(pictures_folder, pictures)
        self.folder = folder
        self._paths = find_files(folder, patterns, what)
        if alone := sorted(self._paths.keys() - self._pictures.keys()):
            raise UserError(
                f"{folder} has {self._paths[alone[0]]}, but {pictures_folder} has no picture {alone[0]} (such files in"
                f" all: {len(alone)}): unpack the pictures of Pascal VOC 2010, or correct pictures"
            )
        self.names = list(self._paths)

    def path(self, index: int) -> Path:
        """Return the file of a picture."""
        return self.folder / self._paths[self.names[index]]


class PascalContext(MatFiles):
    """A MATLAB file for each picture with its label map, `LabelMap`; otherwise like `Reader`."""

    aligned = True

    def __init__(
        self,
        folder: Path,
        pictures_folder: Path,
        category: str,
        *,
        pictures: str | list[str] = "JPEGImages/{}.jpg",
        label_maps: str | list[str] = "trainval/{}.mat",
        names: str | dict[str, int] = "labels.txt",
    ) -> None:
        """Find the files, and read the names.

        Args:
            folder: of the set.
            pictures_folder: of Pascal VOC, which has more pictures than are labelled.
            category: of all labels.
            pictures: their pattern, as `find_files` takes it.
            label_maps: the label maps' pattern.
            names: a table of the labels, as `read_names` takes it; pixels called unknown, and 0, have no label.

        Raises:
            UserError: as in these functions; or a label map lacks its picture.
        """
        super().__init__(folder, label_maps, "label_maps", pictures_folder, pictures)
        named = read_names(names, folder, category)
        of_value = {value: label for value, label in named.items() if label.name != NOTHING}
        self._values = Values(of_value, [0, *(named.keys() - of_value.keys())])
        self.labels = self._values.labels

    def annotation(self, index: int) -> Annotation:
        """Return the label map's labels; raise UserError if it is of another kind, or has a value without a name."""
        path = self.path(index)
        with fields_of(path, "a label map of Pascal-Context"):
            plane = read_mat(path, "LabelMap")
            values = plane.astype(np.uint16)
            if plane.ndim != 2 or not plane.size or (values != plane).any():
                raise ValueError(f"LabelMap of shape {plane.shape} and type {plane.dtype}")
        return Annotation([self._values.labelled(values, str(path))])


class PascalPart(MatFiles):
    """A MATLAB file for each picture, with masks of its objects and their parts, `anno`; otherwise like `Reader`.

    Objects have the names of Pascal VOC, and parts those of `PARTS`, whatever object they belong to.
    """

    aligned = True

    def __init__(
        self,
        folder: Path,
        pictures_folder: Path,
        category: str,
        *,
        pictures: str | list[str] = "JPEGImages/{}.jpg",
        annotations: str | list[str] = "Annotations_Part/{}.mat",
        objects: bool = True,
    ) -> None:
        """Find the files.

        Args:
            folder: of the set.
            pictures_folder: of Pascal VOC, which has more pictures than are labelled.
            category: not used; labels are objects and parts.
            pictures: their pattern, as `find_files` takes it.
            annotations: the annotations' pattern.
            objects: whether objects are labels; otherwise only their parts are, as in Broden.

        Raises:
            UserError: as in `find_files`; or an annotation lacks its picture.
        """
        super().__init__(folder, annotations, "annotations", pictures_folder, pictures)
        self._class_names = {number: label.name for number, label in read_names("voc", folder, "object").items()}
        self._has_objects = objects
        self.labels = (
            *(Label(name, "object") for name in (self._class_names.values() if objects else ())),
            *(Label(name, "part") for name in PARTS),
        )
        self._place = {label: position for position, label in enumerate(self.labels)}

    def annotation(self, index: int) -> Annotation:
        """Return the masks; raise UserError if the file is of another kind, or has an unknown class or part."""
        path = self.path(index)
        with fields_of(path, "an annotation of Pascal-Part"):
            objects, parts = [], []
            (annotation,) = read_mat(path, "anno")
            for item in annotation["objects"]:
                number = int(item["class_ind"].item())
                if number not in self._class_names:
                    raise ValueError(f"the class {number}")
                if self._has_objects:
                    objects.append((self._place[Label(self._class_names[number], "object")], mask_of(item)))
                for part in item["parts"]:
                    short = re.sub(r"_\d+$", "", text_of(part["part_name"]))
                    if short in WITHOUT_NAME:
                        continue
                    if short not in NAME_OF_PART:
                        raise ValueError(f"the part {short!r}")
                    parts.append((self._place[Label(NAME_OF_PART[short], "part")], mask_of(part)))
            shapes = {mask.shape for _, mask in (*objects, *parts)}
            if len(shapes) > 1:
                raise ValueError(f"masks of {len(shapes)} sizes")
        shape = next(iter(shapes), (0, 0))
        return Annotation([*stack(objects, shape), *stack(parts, shape)])


def mask_of(item: dict) -> np.ndarray:
    """Return a mask, bool (h, w); raise ValueError or AttributeError if it is not one."""
    mask = item["mask"]
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"a mask of shape {mask.shape}")
    return mask != 0
