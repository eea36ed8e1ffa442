"""MATLAB files: the reader returns what SciPy has written, and refuses damaged files."""

import string
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import savemat

from workflow_scripts.data.mat_files import read_mat, text_of
from workflow_scripts.shared.files import UserError

NAMES = st.text(string.ascii_letters, min_size=1, max_size=12)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)
NUMBERS = arrays.arrays(
    st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.float32, np.float64]),
    arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4),
)
VALUES = st.recursive(
    TEXT | NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
)


def as_saved(value):
    """The input of `savemat`: lists as rows of cells."""
    if isinstance(value, list):
        cells = np.empty((1, len(value)), object)
        for place, item in enumerate(value):
            cells[0, place] = as_saved(item)
        return cells
    return {name: as_saved(item) for name, item in value.items()} if isinstance(value, dict) else value


def assert_same(found, value):
    if isinstance(value, dict):
        (found,) = found
        assert found.keys() == value.keys()
        for name in value:
            assert_same(found[name], value[name])
    elif isinstance(value, list):
        assert isinstance(found, list) and len(found) == len(value)
        for one, other in zip(found, value, strict=True):
            assert_same(one, other)
    elif isinstance(value, str):
        assert found == value
    else:
        assert found.dtype == value.dtype and np.array_equal(found, value, equal_nan=value.dtype.kind == "f")


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), st.booleans())
def test_saved_variables_are_read(tmp_path_factory, variables, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, as_saved(variables), do_compression=compressed)
    for name, value in variables.items():
        assert_same(read_mat(path, name), value)
    with pytest.raises(UserError, match="lacks the variable"):
        read_mat(path, "no such")


@pytest.mark.parametrize("compressed", [False, True])
def test_fields_that_are_not_wanted_are_left_out(tmp_path, compressed):
    large = np.arange(300_000.0).reshape(2, -1)
    structs = np.empty((1, 2), [("large", object), ("small", object)])
    structs[0, 0], structs[0, 1] = (large, "one"), (np.zeros((0, 0)), "two")
    savemat(tmp_path / "a.mat", {"a": structs}, do_compression=compressed)
    assert read_mat(tmp_path / "a.mat", "a", ("small",)) == [{"small": "one"}, {"small": "two"}]
    whole = read_mat(tmp_path / "a.mat", "a")
    assert np.array_equal(whole[0]["large"], large) and whole[1]["large"].shape == (0, 0)


def element(kind: int, data: bytes) -> bytes:
    """As MATLAB writes them: short ones in eight bytes, others filled up to a multiple of eight."""
    if len(data) <= 4:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


@pytest.mark.parametrize(
    ("flags", "shape", "kind", "data", "expected"),
    [
        (6, (2, 3), 2, bytes([1, 2, 3, 4, 5, 6]), np.array([[1.0, 3, 5], [2, 4, 6]])),  # doubles, stored as they need
        (6, (1, 2), 3, struct.pack("<hh", -2, 300), np.array([[-2.0, 300]])),
        (0x200 | 9, (1, 3), 2, bytes([0, 1, 1]), np.array([[0, 1, 1]], np.uint8)),  # logical
        (4, (1, 2), 4, "né".encode("utf-16-le"), "né"),
        (4, (1, 5), 4, "naïve".encode("utf-16-le"), "naïve"),
        (4, (1, 3), 2, b"leg", "leg"),
        (4, (0, 0), 4, b"", ""),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_and_text_as_matlab_stores_them(tmp_path, flags, shape, kind, data, expected, compressed):
    inner = [struct.pack("<II", flags, 0), struct.pack("<ii", *shape), b"a", data]
    content = b"".join(element(*item) for item in zip((6, 5, 1, kind), inner, strict=True))
    content = struct.pack("<II", 14, len(content)) + content
    if compressed:
        content = struct.pack("<II", 15, len(zlib.compress(content))) + zlib.compress(content)
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + content)
    assert_same(read_mat(tmp_path / "a.mat", "a"), expected)


@pytest.mark.parametrize("value", [np.array([[1j]]), np.array(["ab", "cd"])])
def test_unsupported_contents_are_refused(tmp_path, value):
    savemat(tmp_path / "a.mat", {"a": value})
    with pytest.raises(UserError, match="a matrix of class"):
        read_mat(tmp_path / "a.mat", "a")


def test_a_matrix_of_impossible_size_is_refused_unread(tmp_path):
    savemat(tmp_path / "a.mat", {"a": 1.0})
    header = (tmp_path / "a.mat").read_bytes()[:128]
    flags, shape, name = (6, 8, 9, 0), (5, 8, 1, 10**9), (1 | 1 << 16, ord("a"))
    matrix = struct.pack("<14I", 14, 10**9 + 48, *flags, *shape, *name, 2, 10**9 + 1)
    packed = zlib.compress(matrix + bytes(10**6))
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(UserError, match=r"a\.mat is damaged.*a matrix of 1000000001 bytes"):
        read_mat(tmp_path / "a.mat", "a")


@pytest.fixture(scope="module", params=[False, True])
def content(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    mask = np.random.default_rng(1).random((9, 7)) < 0.5
    value = {"name": "one", "parts": [{"mask": mask.astype(np.uint8), "name": "head"}, "leg", np.zeros((0, 0))]}
    savemat(path, as_saved({"other": 1.0, "anno": value}), do_compression=request.param)
    return request.param, path.read_bytes(), read_mat(path, "anno")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3), st.integers(0, 2**16))
def test_damaged_files_are_read_or_refused(content, tmp_path_factory, changes, length):
    compressed, data, value = content
    damaged = bytearray(data)
    for place, byte in changes:
        damaged[place % len(data)] = byte
    damaged = damaged[: length % (2 * len(data))]
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    path.write_bytes(damaged)
    try:
        found = read_mat(path, "anno")
    except UserError as error:
        assert str(path) in str(error)
    else:
        if compressed:  # a checksum tells
            assert repr(found) == repr(value)


def test_text_may_be_empty_but_not_a_matrix():
    assert text_of("a") == "a" and text_of(np.zeros((0, 0))) == ""
    for value in (np.zeros((1, 1)), [], ["a"]):
        with pytest.raises(TypeError):
            text_of(value)
