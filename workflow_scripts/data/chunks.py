"""Reading the rows of compressed datasets in threads.

HDF5 reads and decodes under one lock for the whole process. Here its chunks are read as stored and decoded outside that
lock, each directly into its destination, so that threads can work in parallel.
"""

import os
import threading
from contextlib import AbstractContextManager

import cramjam
import h5py
import numpy as np

from workflow_scripts.data.unfolding import LZ4, chunk_bytes, filters_of, require_bounded_chunks
from workflow_scripts.shared.files import reading

HEADER_BYTES, BLOCK_HEADER_BYTES = 12, 4
LARGEST_RATIO = 255  # bytes that one byte of LZ4 can decode to


class Rows:
    """The rows of a dataset of an open file: its entries along the first axis.

    Any number of threads may read at once; each keeps the last chunk that it read only partly. Data that is not stored
    as this project stores it (LZ4 only, chunks of whole rows) is read through HDF5, one thread at a time.
    """

    def __init__(self, dataset: h5py.Dataset):
        """Raises UserError if a chunk's stored size shows that it unfolds to less or more than a chunk."""
        self.dataset = dataset
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._place = f"{dataset.file.filename}: {dataset.name}"
        self.at_once = dataset.chunks[0] if dataset.chunks else 1
        self._chunks: dict[int, h5py.h5d.StoreInfo] = {}
        self._kept = threading.local()
        if stored_as_whole_rows(dataset):
            self._file = dataset.file.id.get_vfd_handle()
            self._chunk_bytes = chunk_bytes(dataset)
            with self._reading():
                dataset.id.chunk_iter(self._note)
        else:
            require_bounded_chunks(dataset)

    def _note(self, chunk: h5py.h5d.StoreInfo) -> None:
        """Record where a chunk is; raise ValueError if it is too short to unfold, or impossibly long."""
        most = HEADER_BYTES + (1 + BLOCK_HEADER_BYTES) * self._chunk_bytes
        if chunk.size * LARGEST_RATIO < self._chunk_bytes or chunk.size > most:
            raise ValueError(f"a chunk of {self._chunk_bytes} bytes is stored in {chunk.size}")
        self._chunks[chunk.chunk_offset[0]] = chunk

    def read(self, first: int, last: int, out: np.ndarray | None = None) -> np.ndarray:
        """Return the rows from `first` up to `last`, (last - first, ...), in `out`, if given; it must be C-contiguous.

        Raises:
            UserError: the file is damaged there.
        """
        if out is None:
            out = np.empty((last - first, *self.shape[1:]), self.dtype)
        done = first
        while done < last:
            begin = done - done % self.at_once
            end = min(begin + self.at_once, last)
            here = out[done - first : end - first]
            chunk = self._chunks.get(begin)
            if chunk is None or chunk.filter_mask:
                here[...] = self._through_hdf5(done, end)
            elif len(here) == self.at_once:
                self._decode(chunk, here)
            else:
                here[...] = self._whole(begin, chunk)[done - begin : end - begin]
            done = end
        return out

    def _whole(self, begin: int, chunk: h5py.h5d.StoreInfo) -> np.ndarray:
        """Return all rows of a chunk; the last chunk may extend beyond the last row."""
        if getattr(self._kept, "begin", None) != begin:
            self._kept.begin, self._kept.rows = None, np.empty((self.at_once, *self.shape[1:]), self.dtype)
            self._decode(chunk, self._kept.rows)
            self._kept.begin = begin
        return self._kept.rows

    def _through_hdf5(self, first: int, last: int) -> np.ndarray:
        with self._reading():
            return self.dataset[first:last]

    def _decode(self, chunk: h5py.h5d.StoreInfo, out: np.ndarray) -> None:
        """Read a chunk and decode it into `out`, which it fills."""
        with self._reading():
            stored = os.pread(self._file, chunk.size, chunk.byte_offset)
            decode_lz4(memoryview(stored), out.reshape(-1).view(np.uint8))

    def _reading(self) -> AbstractContextManager:
        return reading(self._place, RuntimeError, ValueError, OverflowError, cramjam.DecompressionError)


def stored_as_whole_rows(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset's chunks are whole rows, compressed only by LZ4, in a file that is only read."""
    file = dataset.file
    if file.driver != "sec2" or file.mode != "r" or not dataset.chunks or dataset.chunks[1:] != dataset.shape[1:]:
        return False
    return filters_of(dataset) == [LZ4]


def decode_lz4(stored: memoryview, out: np.ndarray) -> None:
    """Decode a chunk as HDF5's LZ4 filter stores it (registered filter 32004) into `out`, uint8, of exactly its size.

    All sizes are big-endian: the size of all values in 8 bytes, the size of a block in 4; then each block, preceded by
    its stored size in 4 bytes. A block that did not shrink is stored uncompressed.

    Raises:
        ValueError, cramjam.DecompressionError: the chunk is cut off or damaged.
    """
    size, block = int.from_bytes(stored[:8], "big"), int.from_bytes(stored[8:HEADER_BYTES], "big")
    if size != out.size or block == 0:
        raise ValueError(f"a chunk says that it holds {size} bytes, not {out.size}")
    place = HEADER_BYTES
    for begin in range(0, size, block):
        part = out[begin : begin + block]
        length = int.from_bytes(stored[place : place + BLOCK_HEADER_BYTES], "big")
        place += BLOCK_HEADER_BYTES
        data = stored[place : place + length]
        place += length
        if len(data) < length or length == 0:
            raise ValueError("a chunk is cut off")
        if length == part.size:
            part[:] = data
        elif cramjam.lz4.decompress_block_into(data, part.data) != part.size:
            raise ValueError("a chunk is too short")
