"""Label masks: which pixels of an image carry which label, as bits in concepts.h5."""

import numpy as np

WORD_BITS = 64


def label_masks(planes: np.ndarray, whole_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels an image carries and where.

    Args:
        planes: label numbers, uint16 (planes, H, W), 0 for none.
        whole_labels: numbers of the labels that every pixel carries, uint16 (any).

    Returns:
        The label numbers, rising, uint16 (labels), and their masks, bool (labels, H, W): a pixel carries a label if
        any plane does.
    """
    numbers = np.unique(np.concatenate([[0], planes.ravel(), whole_labels]).astype(np.uint16))
    pixels = planes.shape[1] * planes.shape[2]
    masks = np.zeros((len(numbers), pixels), bool)
    masks[np.searchsorted(numbers, planes.reshape(-1, pixels)), np.arange(pixels)] = True
    masks[np.searchsorted(numbers, whole_labels)] = True
    return numbers[1:], masks[1:].reshape(-1, *planes.shape[1:])  # without the background


def pack_masks(masks: np.ndarray) -> np.ndarray:
    """Pack masks, bool (..., H, W), into uint64 (..., H, words): pixel x of a row is bit x % 64 of word x // 64."""
    padding = [(0, 0)] * (masks.ndim - 1) + [(0, -masks.shape[-1] % WORD_BITS)]
    packed = np.packbits(np.pad(masks, padding), axis=-1, bitorder="little")
    return packed.view("<u8").astype(np.uint64)
