"""Label masks: which pixels of an image carry which label, as bits in concepts.h5."""

import numpy as np

WORD_BITS = 64


def label_masks(planes: np.ndarray, whole_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels an image carries, and where.

    Args:
        planes: label numbers, uint16 (planes, H, W), 0 for none.
        whole_labels: numbers of the labels that every pixel carries, uint16 of any length.

    Returns:
        The label numbers, ascending, uint16 (labels), and their masks, bool (labels, H, W): a pixel carries a label if
        any plane has it there.
    """
    numbers = np.unique(np.concatenate([[0], planes.ravel(), whole_labels]).astype(np.uint16))
    pixels = planes.shape[1] * planes.shape[2]
    masks = np.zeros((len(numbers), pixels), bool)
    masks[np.searchsorted(numbers, planes.reshape(-1, pixels)), np.arange(pixels)] = True
    masks[np.searchsorted(numbers, whole_labels)] = True
    return numbers[1:], masks[1:].reshape(-1, *planes.shape[1:])  # without the background


def masks_again(planes: np.ndarray, whole_labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels an image carries more than once at a pixel, and where.

    Args:
        planes: label numbers, uint16 (planes, H, W), 0 for none.
        whole_labels: numbers of the labels that every pixel carries, repeated as often as it carries them.

    Returns:
        Label numbers, ascending, uint16 (labels), and bool (labels, H, W): the pixels that carry the label at least
        twice; then, for the same label, those that carry it at least three times, and so on.
    """
    present = np.concatenate([*map(np.unique, planes), whole_labels]).astype(np.uint16)
    numbers, listed = np.unique(present[present > 0], return_counts=True)
    found, masks = [], [np.zeros((0, *planes.shape[1:]), bool)]
    for number in numbers[listed > 1].tolist():
        times = (planes == number).sum(axis=0) + whole_labels.count(number)
        for least in range(2, times.max() + 1):
            found.append(number)
            masks.append((times >= least)[None])
    return np.array(found, np.uint16), np.concatenate(masks)


def pack_masks(masks: np.ndarray) -> np.ndarray:
    """Pack masks, bool (..., H, W), into uint64 (..., H, words): pixel x of a row is bit x % 64 of word x // 64."""
    padding = [(0, 0)] * (masks.ndim - 1) + [(0, -masks.shape[-1] % WORD_BITS)]
    packed = np.packbits(np.pad(masks, padding), axis=-1, bitorder="little")
    return packed.view("<u8").astype(np.uint64)
