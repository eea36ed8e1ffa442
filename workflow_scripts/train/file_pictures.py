"""Pictures that are decoded from their files during training."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workflow_scripts.data.decode import decode, scaled_sides
from workflow_scripts.data.image_index import ImageIndex
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file
from workflow_scripts.train.pictures import normaliser

TRIES = 10  # torchvision's RandomResizedCrop
PICTURES_PER_JOB = 4
BATCHES_AHEAD = 2
PICTURES_AHEAD = 32  # for each worker, if batches are small


@dataclass(frozen=True)
class Crops:
    """One epoch's order and augmentation, by picture: `order` int64 (N,), `flip` bool (N,), and the boxes, int32 (N,).

    A box is cropped from the whole picture; its numbers are pixels of that picture.
    """

    order: np.ndarray
    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    flip: np.ndarray


class FilePictures:
    """Pictures in files, which threads decode in advance.

    Decoding and scaling release the interpreter's lock, so threads are as fast as processes; and they need no shared
    memory, receive no signals and end with the process.

    Args:
        index: lists the files below `folder`.
        size: side of the pictures that are returned, in pixels.
        resize: shorter side of a test picture before its centre is cropped, at least `size`.
        mean, std: per channel, in units of the full brightness (0 to 1).
        workers: threads that decode; 0 means 1.
    """

    def __init__(
        self,
        index: ImageIndex,
        folder: Path,
        size: int,
        resize: int,
        mean: list[float],
        std: list[float],
        device: torch.device,
        workers: int,
    ) -> None:
        self.index, self.folder = index, folder
        self.size, self.resize = size, resize
        self.classes = index.classes
        self.device = device
        self.workers = max(1, workers)
        self.normalise = normaliser(mean, std, device)

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.index.paths)

    def draw_augmentation(self, settings: dict, seed: tuple[int, ...], epoch: int) -> Crops:
        """Draw an epoch's order, crops and flips; they depend only on (seed, epoch) and the pictures' sizes.

        `settings` is the config's `training` section.
        """
        rng = np.random.default_rng([*seed, epoch])
        order = rng.permutation(len(self))
        flip = rng.random(len(self)) < 0.5 if settings["flip"] else np.zeros(len(self), bool)
        boxes = draw_boxes(rng, self.index.height, self.index.width, settings["crop_scale"], settings["crop_ratio"])
        return Crops(order, *boxes, flip)

    def augmented(self, batches: Iterable[np.ndarray], augmentation: Crops) -> Generator[tuple[Tensor, Tensor]]:
        """Yield, for each batch of positions, int64 (n,), its pictures, cropped and flipped, and its labels.

        Pictures are float32 (n, C, size, size), channels last, and labels int64 (n,), both on the device. A crop is
        scaled to `size` x `size` (bilinear, antialiased).

        Raises:
            UserError: a file no longer holds the picture that was indexed.
        """
        for positions, pictures in self.decoded(batches, lambda position: self.crop(position, augmentation)):
            flip = self.to_device(augmentation.flip[positions])[:, None, None, None]
            yield self.normalise(torch.where(flip, pictures.flip(2), pictures)), self.labels(positions)

    def plain(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the test view of the pictures; otherwise like `augmented`.

        The shorter side is scaled to `resize` pixels and the central square of `size` is cropped, as torchvision's
        Resize and CenterCrop do.
        """
        for positions, pictures in self.decoded(batches, self.centre):
            yield self.normalise(pictures), self.labels(positions)

    def crop(self, position: int, augmentation: Crops) -> np.ndarray:
        """Return the crop of a picture, uint8 (size, size, 3), not yet flipped."""
        top, left = augmentation.top[position], augmentation.left[position]
        rows = slice(top, top + augmentation.height[position])
        columns = slice(left, left + augmentation.width[position])
        return scale(self.read(position)[rows, columns], (self.size, self.size))

    def centre(self, position: int) -> np.ndarray:
        """Return the test view of a picture, uint8 (size, size, 3).

        Raises UserError as `scaled_sides` does.
        """
        picture = self.read(position)
        path = f"{self.folder}/{self.index.paths[position]}"
        height, width = scaled_sides(path, picture.shape[0], picture.shape[1], self.resize)
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return scale(picture, (height, width))[top : top + self.size, left : left + self.size]

    def read(self, position: int) -> np.ndarray:
        """Return a whole picture, uint8 (height, width, 3); raise UserError if its size is not the indexed one."""
        path = f"{self.folder}/{self.index.paths[position]}"
        picture = decode(read_file(path), path)
        if picture.shape[:2] != (self.index.height[position], self.index.width[position]):
            raise UserError(f"{path} has changed since it was indexed: index the pictures again")
        return picture

    def labels(self, positions: np.ndarray) -> Tensor:
        """Return the labels of the pictures at `positions`, int64 (n,), on the device."""
        return self.to_device(self.index.labels[positions])

    def to_device(self, values: np.ndarray) -> Tensor:
        """Return an array as a tensor on the device."""
        tensor = torch.from_numpy(values)
        # From pinned memory, so that the copy does not wait for the GPU's current work.
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def decoded(
        self, batches: Iterable[np.ndarray], view: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield each batch and the views of its pictures, uint8 (n, size, size, 3), on the device."""

        def fill(rows: np.ndarray, positions: np.ndarray) -> None:
            for row, position in zip(rows, positions, strict=True):
                row[:] = view(position)

        waiting: deque[tuple[np.ndarray, Tensor, list[Future]]] = deque()

        def finished() -> tuple[np.ndarray, Tensor]:
            positions, pictures, jobs = waiting.popleft()
            for job in jobs:
                job.result()
            return positions, pictures.to(self.device, non_blocking=True)

        pool = ThreadPoolExecutor(self.workers)
        try:
            for positions in batches:
                pictures = self.empty(len(positions))
                rows = pictures.numpy()
                starts = range(0, len(positions), PICTURES_PER_JOB)
                parts = [slice(start, start + PICTURES_PER_JOB) for start in starts]
                waiting.append((positions, pictures, [pool.submit(fill, rows[p], positions[p]) for p in parts]))
                if len(waiting) > max(BATCHES_AHEAD, PICTURES_AHEAD * self.workers // len(positions)):
                    yield finished()
            while waiting:
                yield finished()
        finally:
            pool.shutdown(cancel_futures=True)

    def empty(self, pictures: int) -> Tensor:
        """Return memory for `pictures` pictures, uint8 (n, size, size, 3), that is fast to copy to a GPU."""
        shape = (pictures, self.size, self.size, 3)
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")


def scale(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture, uint8 (height, width, 3), scaled to `size` (bilinear, antialiased)."""
    whole = np.ascontiguousarray(picture)  # torch would copy it on its own threads
    # Add the batch axis before the permutation; otherwise torch takes the layout for channels first and is slower by
    # half.
    pictures = torch.from_numpy(whole)[None].permute(0, 3, 1, 2)
    scaled = F.interpolate(pictures, size, mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1)[0].numpy()


def draw_boxes(
    rng: np.random.Generator,
    height: np.ndarray,
    width: np.ndarray,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the top, left, height and width, int32 (N,), of a random crop of each picture: RandomResizedCrop.

    A box's share of the area is uniform in `scale`, and the logarithm of width / height is uniform between the
    logarithms of `ratio`. A box that does not fit into the picture is drawn again, up to ten draws in all. If none
    fits, the box is the central part of the picture with a ratio as near to the picture's as `ratio` allows.
    """
    box_height = np.minimum(height, np.rint(width / ratio[0])).astype(np.int32)
    box_width = np.minimum(width, np.rint(height * ratio[1])).astype(np.int32)
    narrowest, widest = np.log(ratio)
    pending = np.arange(len(height))
    for _ in range(TRIES):
        area = rng.uniform(*scale, len(pending)) * height[pending] * width[pending]
        aspect = np.exp(rng.uniform(narrowest, widest, len(pending)))
        rows, columns = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
        fits = (rows > 0) & (rows <= height[pending]) & (columns > 0) & (columns <= width[pending])
        box_height[pending[fits]], box_width[pending[fits]] = rows[fits], columns[fits]
        pending = pending[~fits]
    top = rng.integers(0, height - box_height + 1, dtype=np.int32)
    left = rng.integers(0, width - box_width + 1, dtype=np.int32)
    top[pending] = (height - box_height)[pending] // 2
    left[pending] = (width - box_width)[pending] // 2
    return top, left, box_height, box_width
