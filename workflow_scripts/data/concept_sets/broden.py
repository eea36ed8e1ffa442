"""Sets in Broden's layout, to be joined with others."""

from pathlib import Path

import numpy as np

from workflow_scripts.data.broden_layout import read_concept_set, read_label_map
from workflow_scripts.data.concept_sets.reader import Annotation, Label
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file


class Broden:
    """A folder with index.csv, label.csv, category.csv and images/; otherwise like `Reader`."""

    aligned = False  # Broden's pictures are squeezed, but similar sets need not squeeze theirs

    def __init__(self, folder: Path, pictures_folder: Path, category: str) -> None:
        """Read the tables; raises as `read_concept_set` does. Categories are those of the tables."""
        self.set = read_concept_set(folder)
        self.names = self.set.names
        self._places: dict[tuple[int, int], int] = {}  # positions in labels, by (category, label number)
        labels: list[Label] = []
        for label in self.set.labels:
            for of_label in label.categories:
                self._places[of_label, label.number] = len(labels)
                labels.append(Label(label.name, self.set.categories[of_label]))
        self.labels = tuple(labels)

    def picture(self, index: int) -> tuple[bytes, str]:
        """Return what `Reader.picture` does."""
        path = self.set.path(self.names[index])
        return read_file(path), str(path)

    def annotation(self, index: int) -> Annotation:
        """Return the labels in a row of index.csv; raise UserError for a number that label.csv lacks."""
        image = self.set.images[index]
        planes = []
        for category, name in image.planes:
            numbers = read_label_map(self.set.path(name), self.set.height, self.set.width)
            plane = np.zeros(numbers.shape, np.int32)
            for number in np.unique(numbers[numbers > 0]).tolist():
                plane[numbers == number] = self._place(category, number, self.set.path(name)) + 1
            planes.append(plane)
        where = self.set.folder / "index.csv"
        return Annotation(planes, [self._place(category, number, where) for category, number in image.whole_labels])

    def _place(self, category: int, number: int, path: Path) -> int:
        place = self._places.get((category, number))
        if place is None:
            raise UserError(
                f"{path} has the label number {number} in the category {self.set.categories[category]}, but label.csv"
                " does not: complete the label's row there, or fix the map"
            )
        return place
