"""Opening the HDF5 files that the steps hand on, and reading no more from them than they may hold.

People hand in such files, too, and what counts pixels takes indices as they are. So everything is checked when it is
read: that it is there, in this very file, of its type and shape, stored whole, and within its bounds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import TypeVar

import h5py
import hdf5plugin
import numpy as np

from workflow_scripts.data.unfolding import require_bounded_chunks
from workflow_scripts.shared.files import UserError, reading, require_file

Kind = TypeVar("Kind")
FORMAT = 2  # raised when what a file holds changes its meaning
# Decoded several times as fast as gzip. Maps with many zeros halve; shuffling bytes or bits first was slower and, for
# such maps, larger. The same values give the same bytes, unlike lzf's.
COMPRESSION = hdf5plugin.LZ4()
DAMAGES = (KeyError, ValueError, TypeError, RuntimeError, OverflowError)  # what h5py raises for wrong contents
MOST_COUNTED = 2**53  # pixels; sums of several such counts fit int64, and floats hold each exactly
Shape = tuple[int | EllipsisType | None, ...]  # None stands for any number from 1 on, ... for any, 0 too


def append_rows(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Lengthen a resizable dataset by `rows`."""
    size = len(dataset)
    dataset.resize(size + len(rows), axis=0)
    dataset[size:] = rows


def create_hdf5(path: str | Path, **options: object) -> h5py.File:
    """Create an HDF5 file to write to, or overwrite it; `options` as h5py.File takes them."""
    # Not every file system has the locks that HDF5 takes by default; who writes a file holds its lock.
    return h5py.File(path, "w", locking=False, **options)


def open_hdf5(path: str | Path, *contents: str) -> h5py.File:
    """Open an HDF5 file of this format with all of `contents` (members or attributes), or raise UserError."""
    require_file(path, "run the step that writes it")
    with reading_hdf5(path):
        file = h5py.File(path, "r", locking=False)
    try:
        with reading_hdf5(path):
            missing = [name for name in contents if name not in file.attrs and link_to(file, name) is None]
        if missing:
            raise lacks(file, missing[0])
        if "format" not in file.attrs or read_attribute(file, "format", np.int64) != FORMAT:
            raise UserError(f"{path} is not of format {FORMAT}; check that it is the right file, or make it again")
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def reading_hdf5(path: str | Path) -> Iterator[None]:
    """`files.reading` for a block that reads an HDF5 file."""
    with reading(path, *DAMAGES):
        yield


def wrong(group: h5py.Group, name: str, what: str) -> UserError:
    """The error for a member, or an attribute, of which `what` is wrong."""
    path = f"{group.name}/{name}".strip("/")
    return UserError(f"{group.file.filename}: {path} {what}; check that it is the right file, or make it again")


def lacks(group: h5py.Group, name: str) -> UserError:
    """The error for a member, or an attribute, that is not there."""
    path = f"{group.name}/{name}".strip("/")
    return UserError(f"{group.file.filename} holds no {path}; check that it is the right file, or make it again")


def link_to(group: h5py.Group, name: str) -> object | None:
    """h5py's link to a member; None if there is none."""
    return group.get(name, getlink=True)


def read_attribute(node: h5py.Group, name: str, kind: type[Kind]) -> Kind:
    """An attribute of a kind: str, float or np.int64; UserError if it is not there or of another."""
    with reading_hdf5(node.file.filename):
        value = node.attrs.get(name)
    if value is None:
        raise lacks(node, name)
    if not isinstance(value, kind):
        raise wrong(node, name, f"is of the type {type(value).__name__}")
    return value


def find_member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """A member of a group; UserError if it is not there, or only a link to elsewhere."""
    with reading_hdf5(group.file.filename):
        link = link_to(group, name)
        if link is None:
            raise lacks(group, name)
        if not isinstance(link, h5py.HardLink):
            raise wrong(group, name, "is a link, and not in the file itself")
        return group[name]


def member_names(group: h5py.Group) -> list[str]:
    """The names of a group's members, in their order."""
    with reading_hdf5(group.file.filename):
        return list(group)


def find_group(group: h5py.Group, name: str) -> h5py.Group:
    """A group within another; UserError as `find_member`, or if it is no group."""
    found = find_member(group, name)
    if not isinstance(found, h5py.Group):
        raise wrong(group, name, "is no group")
    return found


def find_dataset(group: h5py.Group, name: str, dtype: type, shape: Shape) -> h5py.Dataset:
    """A dataset of a dtype, as numpy.issubdtype has it (str for text), and a shape, with all of its values.

    Raises:
        UserError: it is not there, of another type or shape, lies in other files, or not all of it is stored.
    """
    found = find_member(group, name)
    with reading_hdf5(group.file.filename):
        if not isinstance(found, h5py.Dataset):
            raise wrong(group, name, "is no dataset")
        # First of all: to ask a virtual dataset for its shape may open other files.
        if found.is_virtual or found.external:
            raise wrong(group, name, "lies in other files")
        is_text = h5py.check_string_dtype(found.dtype) is not None
        fits = is_text if dtype is str else np.issubdtype(found.dtype, dtype) and found.dtype.isnative
        if not fits or not has_shape(found.shape, shape):
            wanted = " x ".join("any" if side in (None, ...) else str(side) for side in shape)
            raise wrong(group, name, f"is {found.dtype} {found.shape} and not {dtype.__name__} {wanted}")
        if not stored_whole(found):
            raise wrong(group, name, "is not stored to its end")
    return found


def has_shape(sizes: tuple[int, ...] | None, shape: Shape) -> bool:
    """Whether a dataset's sizes, None of an empty one, are those of a shape."""
    return len(sizes or ()) == len(shape) and all(
        side is ... or (size >= 1 if side is None else size == side)
        for size, side in zip(sizes or (), shape, strict=True)
    )


def stored_whole(dataset: h5py.Dataset) -> bool:
    """Whether a dataset's values are all in the file; others would be made up, however many it claims to have."""
    if dataset.chunks is None:
        return dataset.id.get_storage_size() >= dataset.nbytes  # texts take more
    chunks = [-(-size // side) for size, side in zip(dataset.shape, dataset.chunks, strict=True)]
    return dataset.id.get_num_chunks() == np.prod(chunks, dtype=object)


def read_dataset(group: h5py.Group, name: str, dtype: type, shape: Shape) -> np.ndarray:
    """The values of a dataset; UserError as `find_dataset`, or if they are damaged."""
    dataset = find_dataset(group, name, dtype, shape)
    require_bounded_chunks(dataset)
    with reading_hdf5(group.file.filename):
        return dataset[:]


def read_whole_numbers(group: h5py.Group, name: str, shape: Shape, least: int, most: int) -> np.ndarray:
    """Whole numbers from `least` to `most`, of the file's dtype; UserError as `read_dataset`, or for another number."""
    numbers = read_dataset(group, name, np.integer, shape)
    if numbers.size and not least <= numbers.min() <= numbers.max() <= most:
        raise wrong(group, name, f"holds {numbers.min()} to {numbers.max()}, which is not within {least} to {most}")
    return numbers


def read_starts(group: h5py.Group, name: str, runs: int, rows: int) -> np.ndarray:
    """Where so many runs of `rows` rows begin, and where the last one ends, int64 (runs + 1); UserError if nowhere."""
    starts = read_whole_numbers(group, name, (runs + 1,), 0, rows).astype(np.int64)
    if starts[0] != 0 or starts[-1] != rows or (np.diff(starts) < 0).any():
        raise wrong(group, name, f"does not rise from 0 to {rows}")
    return starts


def read_flags(group: h5py.Group, name: str, shape: Shape) -> np.ndarray:
    """Flags, bool; UserError as `read_dataset`, or for a byte that is neither 0 nor 1."""
    flags = read_dataset(group, name, np.bool_, shape)
    if (flags.view(np.uint8) > 1).any():
        raise wrong(group, name, "holds what is neither true nor false")
    return flags


def read_singles(group: h5py.Group, name: str, shape: Shape) -> np.ndarray:
    """Single-precision numbers, float32; UserError as `read_dataset`, or for NaN."""
    numbers = read_dataset(group, name, np.float32, shape)
    if np.isnan(numbers).any():
        raise wrong(group, name, "holds NaN")
    return numbers


def read_extremes(group: h5py.Group, units: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the smallest value of each of so many units, float32; UserError if they are not finite."""
    maximum, minimum = (read_singles(group, name, (units,)) for name in ("maximum", "minimum"))
    if len(maximum) != len(minimum) or not (np.isfinite(maximum) & np.isfinite(minimum) & (minimum <= maximum)).all():
        raise wrong(group, "maximum", "and minimum do not go together, or are not finite")
    return maximum, minimum


def read_texts(group: h5py.Group, name: str, shape: Shape, errors: str = "strict") -> list[str]:
    """Texts in a row, with `errors` as bytes.decode has it; UserError as `read_dataset`."""
    dataset = find_dataset(group, name, str, shape)
    require_bounded_chunks(dataset)
    with reading_hdf5(group.file.filename):
        return list(dataset.asstr(errors=errors)[:])
