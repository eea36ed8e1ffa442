"""Sets in Parquet files, as on Hugging Face: pictures, and label maps or labels, are columns of a table."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

from workflow_scripts.data.concept_sets.label_maps import Values, without_nothing
from workflow_scripts.data.concept_sets.names import Value, read_names
from workflow_scripts.data.concept_sets.reader import Annotation, Label, require_labels
from workflow_scripts.shared.files import UserError, reading, require_file
from workflow_scripts.shared.limits import raise_limit
from workflow_scripts.shared.outside_json import parse_json
from workflow_scripts.shared.regular_files import LFS_POINTER, most_bytes

PYARROW = "pyarrow==26.0.1"
MOST_HELD = 2  # groups of rows in memory: threads that read pictures in order may be in two of them
BYTES = "bytes"  # the part of a picture's column that holds its file


class Parquet:
    """Rows with a picture, and its label map or its label; otherwise like `Reader`.

    Two of the files' row groups are held in memory. Threads may share a reader.
    """

    aligned = True

    def __init__(
        self,
        folder: Path,
        pictures_folder: Path,
        category: str,
        *,
        files: str,
        image: str,
        annotation: str | None = None,
        label: str | None = None,
        names: str | dict[str, int | list[int]] | None = None,
        nothing: Sequence[int | list[int]] = (),
    ) -> None:
        """Read the files' metadata, and the names of labels.

        Args:
            folder: of the set.
            pictures_folder: not used, because pictures are in the files.
            category: of labels for which the table of names has none.
            files: their pattern in `folder`, such as "data/train-*.parquet".
            image: the column of pictures.
            annotation: the column of label maps, or
            label: the column of integers, each the label of a whole picture.
            names: the labels of numbers or colours, as `read_names` takes them; without it, the names that the files
                have for the column `label`.
            nothing: numbers, or colours [red, green, blue], that mean no label.

        Raises:
            UserError: pyarrow is not installed, there is no such file, it lacks a column or has one of another type, or
                numbers have no names; or as in `read_names`.
        """
        require_pyarrow()
        if (annotation is None) == (label is None):
            raise UserError("format parquet needs annotation or label, the column that has labels: give one of the two")
        self._image, self._annotation, self._label = image, annotation, label
        files_columns = [image] if annotation is None else [image, annotation]
        self._columns = [f"{name}.{BYTES}" for name in files_columns] + ([] if label is None else [label])
        found = sorted(glob(files, root_dir=folder))
        if not found:
            raise UserError(f"{folder} holds no file {files}: correct files, or download the set again")
        self._files = [(folder / name, read_metadata(folder / name)) for name in found]
        self._groups: list[tuple[int, int]] = []  # file, group
        self._starts: list[int] = []  # of each group, the index of its first picture
        self._firsts: list[int] = []  # of each group, the row of that in its file
        self.names: list[str] = []
        named: dict[Value, Label] | None = None if names is None else read_names(names, folder, category)
        for place, (path, metadata) in enumerate(self._files):
            with reading_parquet(path):
                schema = metadata.schema.to_arrow_schema()
                require_files_column(schema, image, path)
                if annotation is not None:
                    require_files_column(schema, annotation, path)
                if label is not None:
                    require_numbers_column(schema, label, path)
                require_bounded_groups(metadata, path)
            if names is None:
                of_file = names_of(schema, label, path, category)
                if named is not None and of_file != named:
                    raise UserError(
                        f"{path} and {self._files[0][0]} name labels differently: give names, or choose files of one"
                        " kind"
                    )
                named = of_file
            self._add_groups(place, metadata, found[place].removesuffix(".parquet"))
        if not self.names:
            raise UserError(f"{folder}: the files {files} have no rows: download the set again")
        assert named is not None, "each file has names, if they are not given"
        of_value, void = without_nothing(named, nothing)
        self._values = Values(of_value, void)
        self.labels = self._values.labels
        if label is not None:
            self._places = {value: self.labels.index(found) for value, found in of_value.items()} | dict.fromkeys(void)
        self._held: dict[int, Any] = {}  # tables by group
        self._lock = Lock()

    def _add_groups(self, file: int, metadata: Any, name: str) -> None:
        """Record the rows of a file; a picture's name is that of the file and its row."""
        first = 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            self._groups.append((file, group))
            self._starts.append(len(self.names))
            self._firsts.append(first)
            self.names += [f"{name}/{row}" for row in range(first, first + rows)]
            first += rows

    def _cell(self, index: int, column: str) -> tuple[Any, str]:
        """Return a picture's value in a column, a pyarrow scalar, and the row, for messages."""
        group = bisect_right(self._starts, index) - 1
        place, within = self._groups[group]
        path, metadata = self._files[place]
        with self._lock:
            if group not in self._held:
                if len(self._held) == MOST_HELD:
                    del self._held[next(iter(self._held))]
                with reading_parquet(path) as parquet, parquet.ParquetFile(path, metadata=metadata) as file:
                    self._held[group] = file.read_row_group(within, columns=self._columns)
            table = self._held[group]
        row = index - self._starts[group]
        return table.column(column)[row], f"{path}, row {self._firsts[group] + row}"

    def _bytes(self, index: int, column: str) -> tuple[bytes, str]:
        """Return the bytes of a picture's file in a column, and the row, for messages."""
        cell, row = self._cell(index, column)
        data = cell[BYTES].as_py()
        if data is None:
            raise UserError(
                f"{row}: {column} has no bytes, at most the path of a file: take a set that contains its pictures"
            )
        return data, f"{row}, {column}"

    def picture(self, index: int) -> tuple[bytes, str]:
        """Return what `Reader.picture` does."""
        return self._bytes(index, self._image)

    def annotation(self, index: int) -> Annotation:
        """Return the labels of a picture; raise UserError if there are none, or they have no name."""
        if self._annotation is not None:
            data, place = self._bytes(index, self._annotation)
            return Annotation([self._values.read(data, place)])
        assert self._label is not None, "a set without label maps has labels"
        cell, row = self._cell(index, self._label)
        number = cell.as_py()
        if number not in self._places:
            raise UserError(
                f"{row}: {self._label} is {number}, which has no name: complete names, or add it to nothing"
            )
        position = self._places[number]
        return Annotation(whole=[] if position is None else [position])


def require_pyarrow() -> None:
    """Raise UserError if pyarrow is not installed: it is large, and only this format needs it."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UserError(f"format parquet needs pyarrow, which is not installed here: pip install {PYARROW}") from None


@contextmanager
def reading_parquet(path: Path) -> Iterator[ModuleType]:
    """Yield pyarrow's module for reading a file; its errors are handled as in `reading`."""
    from pyarrow import ArrowException, parquet

    with reading(path, ArrowException, UnicodeDecodeError):
        yield parquet


def read_metadata(path: Path) -> Any:
    """Return the metadata of a Parquet file; raise UserError if it is not one."""
    require_file(path, "put one in its place, or remove it")
    with reading_parquet(path) as parquet:
        with open(path, "rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UserError(f"{path} is a Git LFS pointer, not the file itself: fetch it with git lfs pull")
        return parquet.read_metadata(path)


def require_bounded_groups(metadata: Any, path: Path) -> None:
    """Raise UserError if a file has more rows than bytes, or a group of rows, which is read whole, is too large."""
    bytes_of_file = path.stat().st_size
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not 0 <= group.num_rows <= bytes_of_file:
            raise UserError(
                f"{path} says that it has {group.num_rows} rows, in {bytes_of_file} bytes: download it again"
            )
        if group.total_byte_size > most_bytes():
            raise UserError(
                f"{path} has a group of rows of {group.total_byte_size / 1e9:.3g} GB: write it with smaller groups, or"
                f" {raise_limit('file_gb')}"
            )


def column_type(schema: Any, name: str, path: Path) -> Any:
    """Return the type of a column; raise UserError if there is no such column."""
    if schema.names.count(name) != 1:
        raise UserError(f"{path} has no column {name}, only {', '.join(schema.names)}: correct the config")
    return schema.field(name).type


def require_files_column(schema: Any, name: str, path: Path) -> None:
    """Raise UserError unless a column holds files, as Hugging Face stores pictures."""
    kind = column_type(schema, name, path)
    parts = [kind.field(place) for place in range(kind.num_fields)]
    if not any(part.name == BYTES and str(part.type) in ("binary", "large_binary") for part in parts):
        raise UserError(f"{path}: the column {name} is {kind}, but files are struct<bytes, path>: name another column")


def require_numbers_column(schema: Any, name: str, path: Path) -> None:
    """Raise UserError unless a column holds whole numbers."""
    kind = column_type(schema, name, path)
    if not str(kind).startswith(("int", "uint")):
        raise UserError(f"{path}: the column {name} is {kind}, but labels are whole numbers: name another column")


def names_of(schema: Any, column: str | None, path: Path, category: str) -> dict[Value, Label]:
    """Return the labels, by number, that a file has for a column; raise UserError if it has none."""
    try:
        features = parse_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, LookupError, TypeError):
        raise UserError(
            f"{path} does not name the labels: give names, such as {{cat: 0, dog: 1}}, or a table"
        ) from None
    labels = [Label(name.strip(), category) for name in names]
    require_labels(labels, str(path))
    return dict(enumerate(labels))
