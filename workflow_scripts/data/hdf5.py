"""Opening the HDF5 files that steps pass on, and checking everything that is read from them.

Users may provide such files, too, and the code that counts pixels trusts the indices in them. So every item is checked
when it is read: it must exist in this very file, have its type and shape, be stored in full, and be within its bounds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import TypeVar

import h5py
import hdf5plugin
import numpy as np
from h5py import h5t

from workflow_scripts.data.unfolding import require_bounded_chunks
from workflow_scripts.shared.files import UserError, reading, require_file

Kind = TypeVar("Kind")
FORMAT = 2  # increased when the meaning of a file's contents changes
# It is decoded several times as fast as gzip. It halves maps with many zeros; shuffling bytes or bits first was slower
# and, for such maps, larger. Unlike with lzf, the same values give the same bytes.
COMPRESSION = hdf5plugin.LZ4()
DAMAGES = (KeyError, ValueError, TypeError, RuntimeError, OverflowError)  # what h5py raises for wrong contents
SCALARS = (h5t.INTEGER, h5t.FLOAT, h5t.STRING)  # classes of HDF5's types
MOST_COUNTED = 2**53  # pixels; sums of several such counts fit into int64, and a float holds each exactly
Shape = tuple[int | EllipsisType | None, ...]  # None means any number from 1 on, ... any number, including 0


def append_rows(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Append `rows` to a resizable dataset."""
    size = len(dataset)
    dataset.resize(size + len(rows), axis=0)
    dataset[size:] = rows


def create_hdf5(path: str | Path, **options: object) -> h5py.File:
    """Create an HDF5 file to write to, or overwrite it; `options` as h5py.File takes them."""
    # Not every file system has the locks that HDF5 takes by default; writers of a file hold the project's own lock.
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
    """Like `files.reading`, for a block that reads an HDF5 file."""
    with reading(path, *DAMAGES):
        yield


def wrong(group: h5py.Group, name: str, what: str) -> UserError:
    """Return the error for a wrong member or attribute; `what` says what is wrong with it."""
    path = f"{group.name}/{name}".strip("/")
    return UserError(f"{group.file.filename}: {path} {what}; check that it is the right file, or make it again")


def lacks(group: h5py.Group, name: str) -> UserError:
    """Return the error for a missing member or attribute."""
    path = f"{group.name}/{name}".strip("/")
    return UserError(f"{group.file.filename} holds no {path}; check that it is the right file, or make it again")


def link_to(group: h5py.Group, name: str) -> object | None:
    """Return h5py's link to a member; None if there is no such member."""
    return group.get(name, getlink=True)


def read_attribute(node: h5py.Group, name: str, kind: type[Kind]) -> Kind:
    """Return an attribute of a type: str, float or np.int64; raise UserError if it is missing or of another type."""
    with reading_hdf5(node.file.filename):
        if name not in node.attrs:
            raise lacks(node, name)
        stored = node.attrs.get_id(name)
        # Reading a list of variable length would crash h5py if the file is damaged.
        if stored.shape != () or stored.get_type().get_class() not in SCALARS:
            raise wrong(node, name, "is neither a number nor a text")
        value = node.attrs[name]
    if not isinstance(value, kind):
        raise wrong(node, name, f"is of the type {type(value).__name__}")
    return value


def find_member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return a member of a group; raise UserError if it is missing, or only a link to elsewhere."""
    with reading_hdf5(group.file.filename):
        link = link_to(group, name)
        if link is None:
            raise lacks(group, name)
        if not isinstance(link, h5py.HardLink):
            raise wrong(group, name, "is a link, and not in the file itself")
        return group[name]


def member_names(group: h5py.Group) -> list[str]:
    """Return the names of a group's members, in their order."""
    with reading_hdf5(group.file.filename):
        return list(group)


def find_group(group: h5py.Group, name: str) -> h5py.Group:
    """Return a group within another; raises as `find_member` does, or UserError if it is not a group."""
    found = find_member(group, name)
    if not isinstance(found, h5py.Group):
        raise wrong(group, name, "is not a group")
    return found


def find_dataset(group: h5py.Group, name: str, dtype: type, shape: Shape) -> h5py.Dataset:
    """Return a dataset of a dtype, as in numpy.issubdtype (str for text), and a shape, stored with all its values.

    Raises:
        UserError: it is missing, of another type or shape, stored in other files, or not fully stored.
    """
    found = find_member(group, name)
    with reading_hdf5(group.file.filename):
        if not isinstance(found, h5py.Dataset):
            raise wrong(group, name, "is not a dataset")
        # This comes first, because asking a virtual dataset for its shape may open other files.
        if found.is_virtual or found.external:
            raise wrong(group, name, "is stored in other files")
        is_text = h5py.check_string_dtype(found.dtype) is not None
        fits = is_text if dtype is str else np.issubdtype(found.dtype, dtype) and found.dtype.isnative
        if not fits or not has_shape(found.shape, shape):
            wanted = " x ".join("any" if side in (None, ...) else str(side) for side in shape)
            raise wrong(group, name, f"is {found.dtype} {found.shape} and not {dtype.__name__} {wanted}")
        if not stored_whole(found):
            raise wrong(group, name, "is not stored to its end")
    return found


def has_shape(sizes: tuple[int, ...] | None, shape: Shape) -> bool:
    """Tell whether a dataset's sizes (None for an empty dataset) match a shape."""
    return len(sizes or ()) == len(shape) and all(
        side is ... or (size >= 1 if side is None else size == side)
        for size, side in zip(sizes or (), shape, strict=True)
    )


def stored_whole(dataset: h5py.Dataset) -> bool:
    """Tell whether all of a dataset's values are in the file; HDF5 would make up the missing ones."""
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size()
        end = (dataset.id.get_offset() or 0) + stored  # small datasets have no place of their own
        return stored >= dataset.nbytes and end <= dataset.file.id.get_filesize()  # texts take more
    chunks = [-(-size // side) for size, side in zip(dataset.shape, dataset.chunks, strict=True)]
    return dataset.id.get_num_chunks() == np.prod(chunks, dtype=object)


def read_dataset(group: h5py.Group, name: str, dtype: type, shape: Shape) -> np.ndarray:
    """Return the values of a dataset; raises as `find_dataset` does, or UserError if they are damaged."""
    dataset = find_dataset(group, name, dtype, shape)
    require_bounded_chunks(dataset)
    with reading_hdf5(group.file.filename):
        return dataset[:]


def read_whole_numbers(group: h5py.Group, name: str, shape: Shape, least: int, most: int) -> np.ndarray:
    """Return integers from `least` to `most`, in the file's dtype; raise UserError as `read_dataset`, or for others."""
    numbers = read_dataset(group, name, np.integer, shape)
    if numbers.size and not least <= numbers.min() <= numbers.max() <= most:
        raise wrong(group, name, f"holds {numbers.min()} to {numbers.max()}, which is not within {least} to {most}")
    return numbers


def read_starts(group: h5py.Group, name: str, runs: int, rows: int) -> np.ndarray:
    """Return where runs of `rows` rows begin, and where the last ends, int64 (runs + 1); raise UserError if invalid."""
    starts = read_whole_numbers(group, name, (runs + 1,), 0, rows).astype(np.int64)
    if starts[0] != 0 or starts[-1] != rows or (np.diff(starts) < 0).any():
        raise wrong(group, name, f"does not rise from 0 to {rows}")
    return starts


def read_flags(group: h5py.Group, name: str, shape: Shape) -> np.ndarray:
    """Return flags, bool; raise UserError as `read_dataset` does, or for a byte that is neither 0 nor 1."""
    flags = read_dataset(group, name, np.bool_, shape)
    if (flags.view(np.uint8) > 1).any():
        raise wrong(group, name, "holds values that are neither true nor false")
    return flags


def read_singles(group: h5py.Group, name: str, shape: Shape) -> np.ndarray:
    """Return single-precision numbers, float32; raise UserError as `read_dataset` does, or for NaN."""
    numbers = read_dataset(group, name, np.float32, shape)
    if np.isnan(numbers).any():
        raise wrong(group, name, "holds NaN")
    return numbers


def read_extremes(group: h5py.Group, units: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest and the smallest value of each of `units` units, float32; raise UserError if not finite."""
    maximum, minimum = (read_singles(group, name, (units,)) for name in ("maximum", "minimum"))
    if len(maximum) != len(minimum) or not (np.isfinite(maximum) & np.isfinite(minimum) & (minimum <= maximum)).all():
        raise wrong(group, "maximum", "and minimum do not match, or are not finite")
    return maximum, minimum


def read_texts(group: h5py.Group, name: str, shape: Shape, errors: str = "strict") -> list[str]:
    """Return a list of texts; `errors` is as in bytes.decode; raises as `read_dataset` does."""
    dataset = find_dataset(group, name, str, shape)
    require_bounded_chunks(dataset)
    with reading_hdf5(group.file.filename):
        return list(dataset.asstr(errors=errors)[:])
