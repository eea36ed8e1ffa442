"""OpenSurfaces (Bell et al. 2013), as its authors' script process_opensurfaces_release_0.py writes it for Broden."""

from pathlib import Path

import numpy as np

from workflow_scripts.data.concept_sets.files import PictureFiles, find_files, pair_files
from workflow_scripts.data.concept_sets.label_maps import read_colours
from workflow_scripts.data.concept_sets.reader import Annotation, Label
from workflow_scripts.data.csv_tables import table_rows, whole_number
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file

# For each category: the shift of its channel in bits, the table that names the channel's values, and its columns.
CHANNELS = {
    "material": (16, "label-substance-colors.csv", "substance_name", "red_color"),
    "object": (8, "label-name-colors.csv", "name_name", "green_color"),
    "scene": (0, "label-scene-colors.csv", "scene_category_name", "blue_color"),
}
UNKNOWN = -1


class OpenSurfaces(PictureFiles):
    """photos/K.jpg and photos-labels/K.png, with a category in each channel; otherwise like `Reader`.

    Red has materials, green objects, blue the scene of the picture; 0 means none. Tables in `folder` name the values;
    of several names separated by /, the first counts.
    """

    aligned = True

    def __init__(
        self, folder: Path, pictures_folder: Path, category: str, *, channels: tuple[str, ...] = ("material",)
    ) -> None:
        """Find the files, and read the tables.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: not used; the channels give the categories.
            channels: which of material, object and scene are read. Broden only has materials.

        Raises:
            UserError: as in `find_files` and `pair_files`; or a table is missing or not as the script writes it.
        """
        super().__init__(pictures_folder, "photos/{}.jpg", "folder")
        self.folder = folder
        self._maps = find_files(folder, "photos-labels/{}.png", "folder")
        self.names = pair_files(self._pictures, self._maps, folder)
        labels: list[Label] = []
        self._codes: dict[str, np.ndarray] = {}
        for channel in channels:
            names = read_table(folder, channel)
            of_channel = [Label(name, channel) for name in sorted(set(names.values()))]
            place = {label.name: position for position, label in enumerate(of_channel, len(labels) + 1)}
            codes = np.full(256, UNKNOWN, np.int32)
            codes[0] = 0
            for value, name in names.items():
                codes[value] = place[name]
            self._codes[channel] = codes
            labels += of_channel
        self.labels = tuple(labels)

    def annotation(self, index: int) -> Annotation:
        """Return the labels of the channels; raise UserError if a map is invalid, or has a value without a name."""
        path = self.folder / self._maps[self.names[index]]
        colours = read_colours(read_file(path), str(path))
        planes, of_picture = [], []
        for channel, codes in self._codes.items():
            shift, table, _, _ = CHANNELS[channel]
            values = colours >> shift & 255
            plane = codes[values]
            if (plane == UNKNOWN).any():
                value = int(values[plane == UNKNOWN][0])
                raise UserError(f"{path} holds the {channel} {value}, which {table} lacks: run the script again")
            if channel != "scene":
                planes.append(plane)
            elif (plane != plane[0, 0]).any():
                raise UserError(f"{path} has several scenes in its blue channel: run the script again")
            elif plane[0, 0]:
                of_picture.append(int(plane[0, 0]) - 1)
        return Annotation(planes, of_picture)


def read_table(folder: Path, channel: str) -> dict[int, str]:
    """Return the names of a channel's values, as Broden writes them; raise UserError for an invalid row."""
    _, table, column, value_column = CHANNELS[channel]
    found = {}
    for place, row in table_rows(folder / table, [column, value_column]):
        value = whole_number(row[value_column], place)
        name = row[column].partition("/")[0].replace(" - ", "-").strip().lower()
        if not 0 < value < 256 or value in found or not name:
            raise UserError(
                f"{place}: {value} is not from 1 to 255, is a duplicate, or has no name: run the script again"
            )
        found[value] = name
    return found
