"""Reading concepts.h5, and opening the HDF5 files that the stages of a dissection hand on."""

from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.pack_concepts import label_masks
from workflow_scripts.files import UserError

FORMAT = 1


class ConceptData:
    """An open concepts.h5: its tables in memory, its label planes read image by image.

    Attributes are named as the datasets that `pack_concepts` documents. Names are str. Use it as a
    context manager.
    """

    def __init__(self, path: str | Path):
        """Raises UserError if the file is missing, damaged or of another format."""
        self.file = open_hdf5(path, "label_number", "planes")
        self.fingerprint: str = self.file.attrs["fingerprint"]
        self.label_number = self.file["label_number"][:]
        self.label_name: list[str] = list(self.file["label_name"].asstr()[:])
        self.label_category = self.file["label_category"][:]
        self.label_area = self.file["label_area"][:]
        self.category_name: list[str] = list(self.file["category_name"].asstr()[:])
        self.image_has_category = self.file["image_has_category"][:]
        self.height, self.width = self.file["planes"].shape[1:]
        self._plane_start = self.file["plane_start"][:]
        self._whole_start = self.file["whole_start"][:]
        self._whole_labels = self.file["whole_labels"][:]

    def __enter__(self) -> "ConceptData":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def image_labels(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        """The labels of an image: positions in the label table, intp (l), and masks, float32 (l, H * W)."""
        planes = self.file["planes"][self._plane_start[image] : self._plane_start[image + 1]]
        whole_labels = self._whole_labels[self._whole_start[image] : self._whole_start[image + 1]]
        numbers, masks = label_masks(planes, whole_labels)
        return np.searchsorted(self.label_number, numbers), masks


def open_hdf5(path: str | Path, *contents: str) -> h5py.File:
    """Open an HDF5 file of format 1 with all of `contents` (members or attributes), or raise UserError."""
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


def require_same(path: str | Path, made_from: str, other: str | Path, fingerprint: str) -> None:
    """Raise UserError unless the file `path` was made from `other`."""
    if made_from != fingerprint:
        raise UserError(f"{path} was not made from {other} but from other data; make it again")
