"""MATLAB files of versions 5 to 7, as described in "MAT-File Format" by MathWorks.

This is our own reader, because SciPy's crashes the process on some damaged files, and must load a file as a whole.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.limits import raise_limit
from workflow_scripts.shared.regular_files import most_bytes, read_file

HEADER = 128
HEADER_END = b"\0\1IM"  # of versions 5 to 7, in little-endian byte order, as on nearly all processors
PIECE = 2**16  # bytes that are inflated at a time

# Kinds of elements.
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
MATRIX, COMPRESSED = 14, 15

# Classes of matrices.
CELLS, STRUCTS, CHARACTERS = 1, 2, 4
NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x800  # a flag

Value = np.ndarray | str | list  # numbers; a row of characters; cells, or structs as dictionaries, in column order


def read_mat(path: Path, variable: str, fields: Collection[str] | None = None) -> Any:
    """Return a variable of a file, a `Value`; a caller that expects a certain kind uses it within `fields_of`.

    Args:
        path: of the file.
        variable: its name.
        fields: the wanted fields of structs; None means all.

    Raises:
        UserError: the file cannot be read, is damaged or of another kind (7.3 is HDF5), or lacks the variable; or the
            variable is not a matrix of numbers, a row of characters, or an array of structs or cells.
    """
    data = read_file(path)
    try:
        if data[HEADER - len(HEADER_END) : HEADER] != HEADER_END:
            raise ValueError("it does not begin like one")
        found = find_variable(data, variable, fields)
    except (ValueError, LookupError, struct.error, zlib.error, RecursionError) as error:
        raise UserError(f"{path} is damaged, or not a MATLAB file of version 5 to 7 ({error}): copy it again") from None
    if found is None:
        raise UserError(f"{path} lacks the variable {variable}: take the file as it was published")
    return found


@contextmanager
def fields_of(path: Path, what: str) -> Iterator[None]:
    """Raise UserError, with the file and what it should be, if a field is missing or of another kind."""
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is not {what} ({error}): take the file as it was published") from None


class Bytes:
    """Uncompressed bytes, read from the first on."""

    def __init__(self, data: bytes) -> None:
        """Take the bytes."""
        self.position, self._data = 0, data

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; raise ValueError if there are fewer."""
        found = self._data[self.position : self.position + count]
        if len(found) < count:
            raise ValueError("it is cut off")
        self.position += count
        return found

    def skip(self, count: int) -> None:
        """Skip the next `count` bytes; raise ValueError if there are fewer."""
        if self.position + count > len(self._data):
            raise ValueError("it is cut off")
        self.position += count

    def finish(self) -> None:
        """Do nothing; uncompressed bytes have no checksum."""


class Inflated(Bytes):
    """Compressed bytes, few of which are held at a time."""

    def __init__(self, data: bytes) -> None:
        """Take the compressed bytes."""
        super().__init__(b"")
        self._pieces = (data[start : start + PIECE] for start in range(0, len(data), PIECE))
        self._inflate = zlib.decompressobj()
        self._held = bytearray()

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; raise ValueError if these are too few or too many, zlib.error if damaged."""
        if count > most_bytes():
            raise ValueError(f"a matrix of {count} bytes; {raise_limit('file_gb')}")
        while len(self._held) < count:
            self._held += self._next()
        found = bytes(self._held[:count])
        del self._held[:count]
        self.position += count
        return found

    def skip(self, count: int) -> None:
        """Skip the next `count` bytes; raise ValueError if there are fewer, zlib.error if they are damaged."""
        self.position += count
        while len(self._held) < count:
            count -= len(self._held)
            self._held = bytearray(self._next())
        del self._held[:count]

    def finish(self) -> None:
        """Go to the end, where the checksum is; raise zlib.error if it is wrong."""
        while not self._inflate.eof:
            self._next()

    def _next(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            raise ValueError("it is cut off")
        return self._inflate.decompress(piece)


def find_variable(data: bytes, variable: str, fields: Collection[str] | None) -> Value | None:
    """Return the value of a variable in a file's bytes; None if there is no such variable."""
    file = Bytes(data)
    file.skip(HEADER)
    while file.position < len(data):
        kind, size = struct.unpack("<II", file.read(8))
        element = file.read(size)
        if kind == COMPRESSED:
            source: Bytes = Inflated(element)
            kind, size = struct.unpack("<II", source.read(8))
        else:
            source = Bytes(element)
        if kind != MATRIX:
            raise ValueError(f"an element of kind {kind}")
        name, value = read_matrix(source, size, variable, fields)
        if name == variable:
            source.finish()
            return value
    return None


def read_matrix(
    source: Bytes, size: int, wanted: str | None = None, fields: Collection[str] | None = None
) -> tuple[str, Value]:
    """Return the name and the value of the matrix in the next `size` bytes.

    If its name is not `wanted`, the rest stays unread.
    """
    if not size:
        return "", np.zeros((0, 0))
    end = source.position + size
    flags, _ = read_whole_numbers(source)
    shape = tuple(read_whole_numbers(source))
    name = read_element(source)[1].decode("latin-1")
    if wanted is not None and name != wanted:
        return name, ""
    count = math.prod(shape)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a matrix of shape {shape}")
    if count * np.dtype(NUMERIC.get(flags & 255, "u1")).itemsize > most_bytes():
        raise ValueError(f"a matrix of shape {shape}; {raise_limit('file_gb')}")
    value: Value
    if flags & 255 in NUMERIC and not flags & COMPLEX:
        value = read_numbers(source).astype(NUMERIC[flags & 255]).reshape(shape, order="F")
    elif flags & 255 == CHARACTERS and (count == 0 or count == shape[-1]):
        kind, characters = read_element(source)
        if kind not in TEXTS:
            raise ValueError(f"an element of kind {kind} in place of characters")
        value = characters.decode(TEXTS[kind])
    elif flags & 255 == CELLS:
        value = [read_inner(source) for _ in range(count)]
    elif flags & 255 == STRUCTS:
        value = read_structs(source, count, fields)
    else:
        raise ValueError(f"a matrix of class {flags & 255} and shape {shape}")
    if source.position != end:
        raise ValueError("a matrix of another size than it says")
    return name, value


def read_structs(source: Bytes, count: int, wanted: Collection[str] | None) -> list[dict[str, Value]]:
    """Return structs with the wanted fields, or with all."""
    (length,) = read_whole_numbers(source)
    names = read_element(source)[1]
    if length < 1 or len(names) % length or (count and not names):
        raise ValueError("a struct without fields")
    fields = [
        names[start : start + length].partition(b"\0")[0].decode("latin-1") for start in range(0, len(names), length)
    ]
    found = []
    for _ in range(count):
        values = {field: read_inner(source, wanted is None or field in wanted) for field in fields}
        found.append({field: value for field, value in values.items() if value is not None})
    return found


def read_inner(source: Bytes, wanted: bool = True) -> Value | None:
    """Return the value of a matrix in a cell or a field; if it is not wanted, skip it and return None."""
    kind, size = struct.unpack("<II", source.read(8))
    if kind != MATRIX:
        raise ValueError(f"an element of kind {kind} within a matrix")
    if wanted:
        return read_matrix(source, size)[1]
    source.skip(size)
    return None


def read_numbers(source: Bytes) -> np.ndarray:
    """Return the numbers of an element, (n,)."""
    kind, data = read_element(source)
    if kind not in NUMBERS:
        raise ValueError(f"an element of kind {kind} in place of numbers")
    return np.frombuffer(data, "<" + NUMBERS[kind])


def read_whole_numbers(source: Bytes) -> list[int]:
    """Return the numbers of an element; raise ValueError if they are not whole."""
    numbers = read_numbers(source)
    if numbers.dtype.kind not in "iu":
        raise ValueError("numbers that are not whole, as a shape")
    return numbers.tolist()


def read_element(source: Bytes) -> tuple[int, bytes]:
    """Return the kind of an element, and its bytes; short ones are in the tag itself, in place of the size."""
    (kind,) = struct.unpack("<I", source.read(4))
    if kind >> 16:
        if kind >> 16 > 4:
            raise ValueError("a short element of more than four bytes")
        return kind & 0xFFFF, source.read(4)[: kind >> 16]
    (size,) = struct.unpack("<I", source.read(4))
    data = source.read(size)
    source.skip(-size % 8)
    return kind, data


def text_of(value: Value) -> str:
    """Return a value that is text; raise TypeError if it is not."""
    if isinstance(value, np.ndarray) and not value.size:
        return ""
    if not isinstance(value, str):
        raise TypeError("a matrix in place of text")
    return value
