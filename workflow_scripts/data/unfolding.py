"""Bounds on the unfolded size of compressed chunks: HDF5 itself takes as much memory as they ask for."""

import os
import zlib

import h5py
import hdf5plugin
from h5py import h5z

from workflow_scripts.shared.files import UserError, reading

LZ4 = hdf5plugin.LZ4.filter_id
SIZE_BYTES = 8  # at the start of an LZ4 chunk: its unfolded size
UNFOLDING = (h5z.FILTER_DEFLATE, LZ4)
KEEPING = (h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)  # filters that keep the size, except for a checksum
CHECKSUM_BYTES = 4


def require_bounded_chunks(dataset: h5py.Dataset) -> None:
    """Raise UserError if a chunk of a dataset, in a file that is read, unfolds to more than a chunk."""
    if dataset.chunks is None or dataset.file.mode != "r":
        return
    filters = filters_of(dataset)
    unfolding = [number for number in filters if number in UNFOLDING]
    if len(unfolding) > 1 or set(filters) - set(UNFOLDING) - set(KEEPING):
        raise UserError(
            f"{dataset.file.filename}: {dataset.name} is compressed by filters that are not supported (numbers"
            f" {', '.join(map(str, filters))}): store it with gzip only, as h5repack -f GZIP=1 does"
        )
    if unfolding:
        chunks: list[h5py.h5d.StoreInfo] = []
        most = chunk_bytes(dataset) + CHECKSUM_BYTES
        with reading(dataset.file.filename, RuntimeError, ValueError, OverflowError, zlib.error):
            dataset.id.chunk_iter(chunks.append)
            file = dataset.file.id.get_vfd_handle()
            for chunk in chunks:
                skipped = chunk.filter_mask >> filters.index(unfolding[0]) & 1
                if not skipped and unfolded_bytes(file, chunk, unfolding[0], most) > most:
                    raise ValueError(f"a chunk of {dataset.name} unfolds to more than {most} bytes")


def filters_of(dataset: h5py.Dataset) -> list[int]:
    """Return the numbers of a dataset's filters, in the order in which they were applied."""
    stored = dataset.id.get_create_plist()
    return [stored.get_filter(place)[0] for place in range(stored.get_nfilters())]


def chunk_bytes(dataset: h5py.Dataset) -> int:
    """Return the unfolded size of a dataset's chunks, in bytes."""
    size = dataset.dtype.itemsize
    for side in dataset.chunks:
        size *= side
    return size


def unfolded_bytes(file: int, chunk: h5py.h5d.StoreInfo, unfolding: int, most: int) -> int:
    """Return how many bytes a chunk of an open file unfolds to with this filter, counted up to `most` + 1."""
    if unfolding == LZ4:
        return int.from_bytes(os.pread(file, SIZE_BYTES, chunk.byte_offset), "big")
    if chunk.size > 2 * most:
        return chunk.size  # larger than any compressed chunk
    return len(zlib.decompressobj().decompress(os.pread(file, chunk.size, chunk.byte_offset), most + 1))
