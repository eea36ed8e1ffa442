"""Test pictures for a brought network, batch by batch."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.data.class_folders import existing, list_class_folders
from workflow_scripts.data.decode import tell_turned
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.shared.concept_names import table_name
from workflow_scripts.train.measure_network import require_resize, view
from workflow_scripts.train.pictures import normaliser


class FolderPictures:
    """Pictures in class folders, with the classes and the preprocessing of `measure_accuracy`.

    Arguments and errors are those of `measure_accuracy`.
    """

    def __init__(
        self,
        folder: Path,
        preprocessing: dict,
        workers: int,
        class_order: str | Sequence[str] | None,
        device: torch.device,
    ) -> None:
        self.folder, self.preprocessing, self.workers, self.device = folder, preprocessing, workers, device
        require_resize(preprocessing)
        classes = list_classes(existing(folder), class_order)
        self.names, self.numbers = list_class_folders(folder, classes)
        self.classes = tuple(map(table_name, classes))  # as packed pictures have them
        self.normalise = normaliser(preprocessing["mean"], preprocessing["std"], device)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)

    def plain(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each batch of positions, int64 (n,), the pictures, float32 (n, C, H, W), and labels, int64 (n,)."""
        turned: list[str] = []
        with ThreadPoolExecutor(self.workers) as pool:
            for positions in batches:
                paths = [self.folder / self.names[position] for position in positions]
                views = pool.map(lambda path: view(path, self.preprocessing, turned), paths)
                pictures = torch.from_numpy(np.stack(list(views))).to(self.device)
                yield self.normalise(pictures), torch.from_numpy(self.numbers[positions]).to(self.device)
        tell_turned(turned)
