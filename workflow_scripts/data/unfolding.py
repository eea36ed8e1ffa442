"""Bounds on what compressed chunks unfold to: HDF5 itself takes as much memory as they ask for."""

import os
import zlib

import h5py
import hdf5plugin
from h5py import h5z

from workflow_scripts.shared.files import UserError, reading

LZ4 = hdf5plugin.LZ4.filter_id
SIZE_BYTES = 8  # at the head of an LZ4 chunk: that of what it unfolds to
UNFOLDING = (h5z.FILTER_DEFLATE, LZ4)
KEEPING = (h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)  # as large as before, but for a checksum
CHECKSUM_BYTES = 4


def require_bounded_chunks(dataset: h5py.Dataset) -> None:
    """Raise UserError unless each chunk of a dataset, of a file that is read, unfolds to a chunk and no more."""
    if dataset.chunks is None or dataset.file.mode != "r":
        return
    filters = filters_of(dataset)
    unfolding = [number for number in filters if number in UNFOLDING]
    if len(unfolding) > 1 or set(filters) - set(UNFOLDING) - set(KEEPING):
        raise UserError(
            f"{dataset.file.filename}: {dataset.name} is compressed by filters that are not read here (numbers"
            f" {', '.join(map(str, filters))}): store it by gzip alone, as h5repack -f GZIP=1 does"
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
    """The numbers of a dataset's filters, in the order in which they were applied."""
    stored = dataset.id.get_create_plist()
    return [stored.get_filter(place)[0] for place in range(stored.get_nfilters())]


def chunk_bytes(dataset: h5py.Dataset) -> int:
    """The size of one of a dataset's chunks, unfolded."""
    size = dataset.dtype.itemsize
    for side in dataset.chunks:
        size *= side
    return size


def unfolded_bytes(file: int, chunk: h5py.h5d.StoreInfo, unfolding: int, most: int) -> int:
    """How many bytes a chunk of an open file unfolds to by this filter, counted up to one more than `most`."""
    if unfolding == LZ4:
        return int.from_bytes(os.pread(file, SIZE_BYTES, chunk.byte_offset), "big")
    if chunk.size > 2 * most:
        return chunk.size  # stored larger than it could have been
    return len(zlib.decompressobj().decompress(os.pread(file, chunk.size, chunk.byte_offset), most + 1))
