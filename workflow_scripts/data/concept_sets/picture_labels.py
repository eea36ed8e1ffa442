"""Sets whose labels are of whole pictures: by folder, or by a table, as DTD's textures."""

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.data.concept_sets.files import PictureFiles, read_text
from workflow_scripts.data.concept_sets.reader import Annotation, Label
from workflow_scripts.shared.files import UserError


class PictureLabels(PictureFiles):
    """Pictures with a label of each whole; otherwise as `Reader`."""

    aligned = True

    def __init__(
        self, folder: Path, pictures_folder: Path, category: str, *, pictures: str | list[str], table: str | None = None
    ) -> None:
        """Find the pictures.

        Args:
            folder: of the set.
            pictures_folder: of its pictures.
            category: of all labels.
            pictures: their pattern, as `find_files` takes it.
            table: a text file in `folder`, as `read_labels_of_pictures` takes it. Without it, a picture's label is the
                name of the folder that it lies in.

        Raises:
            UserError: as these functions, a picture has no label, or lies in no folder.
        """
        super().__init__(pictures_folder, pictures)
        self.names = list(self._pictures)
        if table is None:
            folders = {key: Path(path).parent.name for key, path in self._pictures.items()}
            of_picture: dict[str, tuple[str, ...]] = {key: (name,) for key, name in folders.items() if name}
        else:
            of_picture = read_labels_of_pictures(folder / table, self.names)
        for key in self.names:
            if key not in of_picture:
                where = f"{folder / table} names no label for it" if table else "it lies in no folder"
                raise UserError(f"{pictures_folder / self._pictures[key]} has no label, for {where}: give it one")
        self.labels = tuple(
            Label(name, category) for name in sorted({name for of in of_picture.values() for name in of})
        )
        place = {label.name: position for position, label in enumerate(self.labels)}
        self._labels_of = [[place[name] for name in of_picture[key]] for key in self.names]

    def annotation(self, index: int) -> Annotation:
        """Return what `Reader.annotation` does: labels of the whole picture alone."""
        return Annotation(whole=self._labels_of[index])


def read_labels_of_pictures(path: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the labels of each picture that a table names and that is among `names`.

    In a line of the text file a picture stands before its label: with a comma or a tab between, all that follows is one
    label; with a blank each word is a label, as in DTD's labels_joint_anno.txt. The picture is named as in `names`, or
    by the last part of that, with an ending or without. Lines of other pictures do not count.

    Raises:
        UserError: the file cannot be read, a line has no label, a picture has two lines, or there is none that counts.
    """
    of_name = {name: name for name in names}
    last: dict[str, str] = {}
    for name in names:
        part = name.rpartition("/")[2]
        if last.setdefault(part, name) != name:
            last[part] = ""  # which of the two is meant is not clear
    of_name = {part: name for part, name in last.items() if name} | of_name
    found: dict[str, tuple[str, ...]] = {}
    for line_number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        between = next((mark for mark in "\t," if mark in line), None)
        picture, label = (part.strip() for part in (*line.strip().split(between, 1), "")[:2])
        if not picture or not label:
            raise UserError(f"{path}, line {line_number}: {line[:40]!r} is not a picture and its label: correct it")
        key = of_name.get(picture) or of_name.get(picture.rpartition(".")[0])
        if key is None:
            continue
        if key in found:
            raise UserError(f"{path}, line {line_number}: {picture} stands in another line already: leave one of them")
        found[key] = (label,) if between else tuple(dict.fromkeys(label.split()))
    if not found:
        raise UserError(f"{path} names none of the {len(names)} pictures: give the table of these, or correct pictures")
    return found
