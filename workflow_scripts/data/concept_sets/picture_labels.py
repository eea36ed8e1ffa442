"""Sets with labels of whole pictures, by folder or by a table, such as DTD's textures."""

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.data.concept_sets.files import PictureFiles, read_text
from workflow_scripts.data.concept_sets.reader import Annotation, Label
from workflow_scripts.shared.files import UserError


class PictureLabels(PictureFiles):
    """Pictures with labels for the whole picture; otherwise like `Reader`."""

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
                name of its folder.

        Raises:
            UserError: as in these functions; or a picture has no label, or is in no folder.
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
                where = f"{folder / table} names no label for it" if table else "it is in no folder"
                raise UserError(f"{pictures_folder / self._pictures[key]} has no label, because {where}: give it one")
        self.labels = tuple(
            Label(name, category) for name in sorted({name for of in of_picture.values() for name in of})
        )
        place = {label.name: position for position, label in enumerate(self.labels)}
        self._labels_of = [[place[name] for name in of_picture[key]] for key in self.names]

    def annotation(self, index: int) -> Annotation:
        """Return what `Reader.annotation` does: only labels of the whole picture."""
        return Annotation(whole=self._labels_of[index])


def read_labels_of_pictures(path: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the labels of each picture that is in a table and among `names`.

    A line of the text file has a picture and then its label. After a comma or a tab, all that follows is one label;
    after a blank, each word is a label, as in DTD's labels_joint_anno.txt. The picture's name is as in `names`, or the
    last part of that, with or without an ending. Lines for other pictures are ignored.

    Raises:
        UserError: the file cannot be read, a line has no label, a picture has two lines, or no line counts.
    """
    of_name = {name: name for name in names}
    last: dict[str, str] = {}
    for name in names:
        part = name.rpartition("/")[2]
        if last.setdefault(part, name) != name:
            last[part] = ""  # it is unclear which of the two is meant
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
            raise UserError(f"{path}, line {line_number}: {picture} is already in another line: keep one of them")
        found[key] = (label,) if between else tuple(dict.fromkeys(label.split()))
    if not found:
        raise UserError(
            f"{path} names none of the {len(names)} pictures: give the table for these, or correct pictures"
        )
    return found
