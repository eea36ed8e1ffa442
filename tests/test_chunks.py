"""Rows of compressed datasets, read in threads, equal those that HDF5 reads, and damage is reported."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.data.chunks import Rows, decode_lz4, stored_as_whole_rows
from workflow_scripts.data.hdf5 import COMPRESSION
from workflow_scripts.shared.files import UserError

LZ4_BLOCKS = [hdf5plugin.LZ4(), hdf5plugin.LZ4(nbytes=64)]  # a chunk in one block, and in many


def values_of(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that compress, that do not, and that partly do."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 2**16, shape, np.uint16)
    half = noise.copy()
    half[random.random(shape[0]) < 0.5] = 0
    return {"zeros": np.zeros(shape, np.uint16), "noise": noise, "both": half}[kind]


def write(path: Path, values: np.ndarray, **options) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, **options)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["zeros", "noise", "both"]),
    st.tuples(st.integers(1, 30), st.integers(1, 5), st.integers(1, 40)),
    st.integers(1, 12),
    st.sampled_from(LZ4_BLOCKS),
    st.data(),
)
def test_rows_are_those_that_hdf5_reads(kind, shape, at_once, compression, data):
    values = values_of(kind, shape)
    runs = data.draw(st.lists(st.tuples(*[st.integers(0, shape[0])] * 2).map(sorted), min_size=1, max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5")
        write(path, values, chunks=(at_once, *shape[1:]), maxshape=(None, *shape[1:]), **compression)
        with h5py.File(path) as file, ThreadPoolExecutor(3) as pool:
            assert stored_as_whole_rows(file["values"])
            rows = Rows(file["values"])
            found = list(pool.map(lambda run: rows.read(*run), runs))
    for (first, last), of_run in zip(runs, found, strict=True):
        assert of_run.dtype == values.dtype and of_run.tobytes() == values[first:last].tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 3), "compression": "gzip"},
        {"chunks": (2, 2), **COMPRESSION},
        {"chunks": (2, 3), "shuffle": True, **COMPRESSION},
    ],
)
def test_data_in_other_layouts_are_read_through_hdf5(tmp_path, options):
    values = np.arange(21, dtype=np.float32).reshape(7, 3)
    write(tmp_path / "a.h5", values, **options)
    with h5py.File(tmp_path / "a.h5") as file:
        assert not stored_as_whole_rows(file["values"])
        assert (Rows(file["values"]).read(1, 6) == values[1:6]).all()


def test_unwritten_chunks_read_as_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("values", (6, 2), np.int32, chunks=(2, 2), fillvalue=7, **COMPRESSION)
        made[2:4] = 1
    with h5py.File(tmp_path / "a.h5") as file:
        assert Rows(file["values"]).read(0, 6)[:, 0].tolist() == [7, 7, 1, 1, 7, 7]


def test_damaged_chunks_are_refused_by_file_and_dataset(tmp_path):
    values = values_of("both", (8, 400))
    path = tmp_path / "a.h5"
    write(path, values, chunks=(8, 400), **COMPRESSION)
    with h5py.File(path) as file:
        chunk = file["values"].id.get_chunk_info(0)
    whole = path.read_bytes()
    stored = whole[chunk.byte_offset : chunk.byte_offset + chunk.size]
    for place in [0, 7, 8, 11, 12, 15, 16, *range(20, chunk.size, 97)]:
        changed = bytearray(stored)
        changed[place] ^= 0xFF
        path.write_bytes(whole[: chunk.byte_offset] + changed + whole[chunk.byte_offset + chunk.size :])
        with h5py.File(path) as file:
            try:
                found = Rows(file["values"]).read(0, 8)
            except UserError as error:
                assert str(path) in str(error) and "/values" in str(error)
            else:  # LZ4 has no checksum: what is wrong in a literal cannot be seen, and HDF5 reads the same
                assert (found == file["values"][:]).all()
    path.write_bytes(whole[: chunk.byte_offset + chunk.size // 2])
    out = np.zeros(values.nbytes, np.uint8)
    for length in range(0, chunk.size, 61):
        with pytest.raises(Exception, match=r"cut off|holds|LZ4|lz4|decompress|mal"):
            decode_lz4(memoryview(stored[:length]), out)
