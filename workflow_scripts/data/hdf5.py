"""Opening the HDF5 files that the steps hand on."""

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from workflow_scripts.files import UserError

FORMAT = 2  # raised when what a file holds changes its meaning
# Decoded several times as fast as gzip. Maps with many zeros halve; shuffling bytes or bits first was slower and, for
# such maps, larger. The same values give the same bytes, unlike lzf's.
COMPRESSION = hdf5plugin.LZ4()


def append_rows(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Lengthen a resizable dataset by `rows`."""
    size = len(dataset)
    dataset.resize(size + len(rows), axis=0)
    dataset[size:] = rows


def open_hdf5(path: str | Path, *contents: str) -> h5py.File:
    """Open an HDF5 file of this format with all of `contents` (members or attributes), or raise UserError."""
    if not Path(path).is_file():
        raise UserError(f"{path} is missing; run the step that writes it")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} is not a whole HDF5 file ({error}); delete it and make it again") from error
    missing = [name for name in contents if name not in file and name not in file.attrs]
    if missing or file.attrs.get("format") != FORMAT:
        file.close()
        lack = f"holds no {missing[0]}" if missing else f"is not of format {FORMAT}"
        raise UserError(f"{path} {lack}; check that it is the right file, or make it again")
    return file
