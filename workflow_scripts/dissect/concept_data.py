"""Reading concepts.h5, and checking that files belong together."""

from pathlib import Path

import numpy as np

from workflow_scripts.data.hdf5 import open_hdf5
from workflow_scripts.data.pack_concepts import label_masks
from workflow_scripts.files import UserError


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


def require_same(path: str | Path, made_from: str, other: str | Path, fingerprint: str) -> None:
    """Raise UserError unless the file `path` was made from `other`."""
    if made_from != fingerprint:
        raise UserError(f"{path} was not made from {other} but from other data; make it again")
