"""Packed pictures on a device, returned as normalised batches."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.data.packed_images import PackedImages

LUMA = (19595, 38470, 7471)  # of red, green and blue: 0.299, 0.587 and 0.114 in 2^16ths
PIXELS_AT_ONCE = 2**21  # in a portion on a CPU: 32 pictures of 224 x 224


def normaliser(mean: Sequence[float], std: Sequence[float], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function from pictures, uint8 (n, H, W, 3), to a network's input, float32 (n, C, H, W), channels last.

    It maps each byte to (byte / 255 - mean) / std of its channel. If mean and std have one number, C is 1 and the
    pictures are grey; otherwise C is 3.
    """
    deviation = torch.tensor(std, device=device)
    scale, offset = 1 / (255 * deviation), -torch.tensor(mean, device=device) / deviation
    channels = grey if len(mean) == 1 else lambda pictures: pictures
    return lambda pictures: (channels(pictures).float() * scale + offset).permute(0, 3, 1, 2)


def grey(pictures: Tensor) -> Tensor:
    """Return the luma of pictures (ITU-R 601), (..., 3) to (..., 1), the same integers as Pillow's mode "L"."""
    weights = torch.tensor(LUMA, dtype=torch.int32, device=pictures.device)
    return ((pictures.int() * weights).sum(-1, keepdim=True, dtype=torch.int32) + (1 << 15)) >> 16


def portions(pictures: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """Split a batch, (n, H, W, 3), into the portions that pass through a network that is not being trained.

    On a GPU there is one portion. On a CPU a portion has a power of two of pictures, so that those of a batch are
    alike. With more pictures at once a network is no faster, since its outputs leave the caches, and needs more memory.
    """
    if device.type == "cuda":
        return (pictures,)
    at_once = max(1, PIXELS_AT_ONCE // pictures[0, ..., 0].numel())
    return pictures.split(2 ** (at_once.bit_length() - 1))


@dataclass(frozen=True)
class Augmentation:
    """One epoch's order and augmentation, by picture: `order`, `down`, `right` int64 (N,), `flip` bool (N,)."""

    order: Tensor
    down: Tensor
    right: Tensor
    flip: Tensor


class MemoryPictures:
    """Pictures that are all held on the device.

    Args:
        packed: the pictures, uint8 (N, S, S, 3), and their labels.
        mean, std: per channel, in units of the full brightness (0 to 1).
    """

    def __init__(self, packed: PackedImages, mean: list[float], std: list[float], device: torch.device) -> None:
        self.images = torch.from_numpy(packed.images).to(device)
        self.labels = torch.from_numpy(packed.labels).to(device)
        self.classes = packed.classes
        self.device = device
        self.normalise = normaliser(mean, std, device)

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.labels)

    def plain(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each batch of positions, int64 (n,), the pictures, float32 (n, C, S, S), and their labels."""
        for positions in batches:
            index = torch.from_numpy(positions).to(self.device)
            yield self.normalise(self.images[index]), self.labels[index]

    def draw_augmentation(self, settings: dict, seed: tuple[int, ...], epoch: int) -> Augmentation:
        """Draw an epoch's order, shifts and flips; they depend only on (seed, epoch, picture).

        So in epoch k, level n sees exactly what the dense network saw (the data order continues at the rewind point).
        `settings` is the config's `training` section.
        """
        rng = np.random.default_rng([*seed, epoch])
        shift = settings["shift"]
        flip = rng.random(len(self)) < 0.5 if settings["flip"] else np.zeros(len(self), bool)
        arrays = (
            rng.permutation(len(self)),
            rng.integers(-shift, shift + 1, len(self)),
            rng.integers(-shift, shift + 1, len(self)),
            flip,
        )
        return Augmentation(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def augmented(self, batches: Iterable[Tensor], augmentation: Augmentation) -> Generator[tuple[Tensor, Tensor]]:
        """Yield, for each batch, a piece of the order, the pictures, shifted and flipped, and their labels.

        A shift repeats the pixels at the picture's edge.
        """
        size = self.images.shape[1]
        grid = torch.arange(size, device=self.device)
        for index in batches:
            rows = (grid + augmentation.down[index, None]).clamp(0, size - 1)
            columns = (grid + augmentation.right[index, None]).clamp(0, size - 1)
            columns = torch.where(augmentation.flip[index, None], columns.flip(1), columns)
            pictures = self.images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield self.normalise(pictures), self.labels[index]
