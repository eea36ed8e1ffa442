"""Sets with a label map for each picture; a table names the values or colours of its pixels."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from workflow_scripts.data.concept_sets.files import PictureFiles, find_files, pair_files, read_list
from workflow_scripts.data.concept_sets.names import MOST, Value, read_names
from workflow_scripts.data.concept_sets.picture_labels import read_labels_of_pictures
from workflow_scripts.data.concept_sets.reader import Annotation, Label, look_up
from workflow_scripts.data.decode import open_picture
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file

LOSSLESS = ("PNG", "BMP", "TIFF")
INDEX_MODES = ("1", "L", "P", "I;16")  # an integer of at most 16 bits per pixel
WHITE_IS_ZERO = 0  # a TIFF value for which Pillow inverts greys
COLOUR_MODES = ("RGB", "P")


class LabelMaps(PictureFiles):
    """Pictures and label maps, paired by the {} of their patterns; otherwise like `Reader`."""

    aligned = True

    def __init__(
        self,
        folder: Path,
        pictures_folder: Path,
        category: str,
        *,
        pictures: str | list[str],
        label_maps: str | list[str],
        names: str | dict[str, int | list[int]],
        nothing: Sequence[int | list[int]] = (),
        listed: str | None = None,
        scenes: str | None = None,
    ) -> None:
        """Find the files and read the tables.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: of labels for which the table has none.
            pictures: their pattern, as `find_files` takes it.
            label_maps: the label maps' pattern.
            names: the labels of pixel values, as `read_names` takes them.
            nothing: values, or colours [red, green, blue], that mean no label.
            listed: a text file in `folder` with the names, in place of {}, of the pictures that count, one per line.
            scenes: a text file in `folder` with the scenes of pictures, as `read_labels_of_pictures` takes it.

        Raises:
            UserError: as in these functions, `pair_files` and `read_list`.
        """
        super().__init__(pictures_folder, pictures)
        self.folder = folder
        self._maps = find_files(folder, label_maps, "label_maps")
        if listed is None:
            self.names = pair_files(self._pictures, self._maps, folder)
        else:
            self.names = read_list(folder / listed, self._pictures, "picture")
            read_list(folder / listed, self._maps, "label map")
        self._values = Values(*without_nothing(read_names(names, folder, category), nothing))
        self.labels = self._values.labels
        self._scenes_of: dict[str, list[int]] = {}
        if scenes is not None:
            of_picture = read_labels_of_pictures(folder / scenes, self.names)
            if without := len(self.names) - len(of_picture):
                logging.warning("%s has no scene for %d of %d pictures", folder / scenes, without, len(self.names))
            names_of_scenes = sorted({name for names in of_picture.values() for name in names})
            place = {name: len(self.labels) + position for position, name in enumerate(names_of_scenes)}
            self._scenes_of = {key: [place[name] for name in names] for key, names in of_picture.items()}
            self.labels += tuple(Label(name, "scene") for name in names_of_scenes)

    def annotation(self, index: int) -> Annotation:
        """Return the label map's labels; raise UserError if it is of another kind, or has a value without a name."""
        key = self.names[index]
        path = str(self.folder / self._maps[key])
        return Annotation([self._values.read(read_file(path), path)], self._scenes_of.get(key, []))


def without_nothing(
    named: Mapping[Value, Label], nothing: Sequence[int | list[int]]
) -> tuple[dict[Value, Label], list[Value]]:
    """Return the labels of values or colours, and the values that mean no label.

    Raises:
        UserError: a value in `nothing` is a number but `named` has colours, or the other way round.
    """
    void = [tuple(value) if isinstance(value, list) else value for value in nothing]
    has_colours = isinstance(next(iter(named)), tuple)
    for value in void:
        if isinstance(value, tuple) != has_colours:
            kinds = ("numbers", "colours") if has_colours else ("colours, [red, green, blue],", "numbers")
            raise UserError(f"nothing has {kinds[0]} but names has {kinds[1]}: write both as {kinds[1]}")
    return {value: label for value, label in named.items() if value not in void}, void


class Values:
    """The label of each pixel value, or of each colour; `number` turns a colour into one number.

    Attributes:
        labels: the labels of all values, each once.
    """

    def __init__(self, of_value: Mapping[Value, Label], void: Sequence[Value]) -> None:
        """Take the label of each value, and the values that mean none; all are numbers, or all are colours."""
        self.labels = tuple(dict.fromkeys(of_value.values()))
        self._read = read_colours if isinstance(next(iter((*of_value, *void))), tuple) else read_values
        place = {label: position for position, label in enumerate(self.labels)}
        codes = {number(value): place[label] + 1 for value, label in of_value.items()} | {number(v): 0 for v in void}
        self.known = np.array(sorted(codes), np.int64)
        self.code = np.array([codes[value] for value in self.known.tolist()], np.int32)
        self.of_number = np.full(MOST + 1, -1, np.int32)  # faster than a search if numbers are small
        small = (self.known >= 0) & (self.known <= MOST)
        self.of_number[self.known[small]] = self.code[small]

    def read(self, data: bytes, path: str) -> np.ndarray:
        """Return the plane, as in `Annotation`, of the label map in the file `path`, whose bytes are `data`.

        Raises:
            UserError: as in `read_values` or `read_colours`, and `labelled`.
        """
        return self.labelled(self._read(data, path), path)

    def labelled(self, values: np.ndarray, path: str) -> np.ndarray:
        """Return the plane, as in `Annotation`, of values (h, w); raise UserError if one of them is unknown."""
        has_colours = values.dtype == np.int32
        plane = look_up(values, self.known, self.code) if has_colours else self.of_number[values]
        odd = values[plane < 0]
        if odd.size:
            first = int(odd[0])
            colour = f"the colour {first >> 16}, {first >> 8 & 255}, {first & 255}"
            raise UserError(
                f"{path} holds {colour if has_colours else f'the value {first}'}, which is in no table:"
                " complete names, or add it to nothing"
            )
        return plane


def number(value: Value) -> int:
    """Return a value, or the number for a colour."""
    return value if isinstance(value, int) else value[0] * 65536 + value[1] * 256 + value[2]


def read_values(data: bytes, path: str) -> np.ndarray:
    """Return the values of a label map, uint8 or uint16 (h, w); with a palette, the indices.

    Args:
        data: the bytes of the file.
        path: its path, for messages.

    Raises:
        UserError: it is not an intact picture of a LOSSLESS format, has colours, or has greys that begin with white.
    """
    picture = open_picture(data, path, LOSSLESS, deep_grey=True)
    if picture.mode not in INDEX_MODES:
        raise UserError(
            f"{path} has mode {picture.mode}, but a label map must have one number per pixel"
            f" ({', '.join(INDEX_MODES)}): take the file as it was published, or give names with colours"
        )
    if (
        isinstance(picture, TiffImageFile)
        and picture.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO
    ):
        raise UserError(f"{path} is a TIFF in which 0 is white, so its numbers are ambiguous: save it as PNG")
    values = np.asarray(picture).astype(np.uint16 if picture.mode == "I;16" else np.uint8)
    # Pillow stretches greys of 2 and 4 bits to the range from 0 to 255.
    return values // (255 // (2 ** bits_of(picture, data) - 1)) if picture.mode == "L" else values


def bits_of(picture: Image.Image, data: bytes) -> int:
    """Return the bits per pixel of a grey picture, opened from `data`."""
    if picture.format == "PNG":
        return data[24]
    return picture.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))[0] if isinstance(picture, TiffImageFile) else 8


def read_colours(data: bytes, path: str) -> np.ndarray:
    """Return the colours of the label map in the file `path`, whose bytes are `data`, as in `number`, int32 (h, w).

    Raises:
        UserError: it is not an intact picture of a LOSSLESS format, or has no colours.
    """
    picture = open_picture(data, path, LOSSLESS)
    if picture.mode not in COLOUR_MODES:
        raise UserError(
            f"{path} has mode {picture.mode}, but the table names colours: take the file as it was published, or give"
            " names by number"
        )
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), np.int32), -1, 0)
    return (red << 16) + (green << 8) + blue
