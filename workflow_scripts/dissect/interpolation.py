"""Bilinear interpolation of activation maps, fixed to the last bit."""

import numpy as np


def upsample(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize maps (..., h, w) to float32 (..., height, width), bilinearly and without antialiasing.

    The convention is align_corners false with clamped edges (Bau et al. 2017 in the version of
    NetDissect-Lite). So that every implementation gives the same bits, the arithmetic is part of the
    definition: columns first, then rows, and each interpolation is a + weight * (b - a), with each of the
    three operations rounded to float32. Written so, a constant map stays exactly constant; and since a
    weight is at most 1 - 1 / (2 * size) up to rounding, weight * (b - a) stays within b - a for any size
    below 2^22, and no result lies above the largest or below the smallest value of its map. A map whose
    maximum is not above a threshold is therefore nowhere above it after interpolation.
    """
    maps = np.asarray(maps, np.float32)
    left, right, weight = knots(maps.shape[-1], width)
    maps = between(maps[..., left], maps[..., right], weight)
    upper, lower, weight = knots(maps.shape[-2], height)
    return between(maps[..., upper, :], maps[..., lower, :], weight[:, None])


def knots(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `new_size` positions its two neighbours among `size` and the float32 weight of the second.

    The order of operations matters: a position that falls on a knot is then computed exactly, so that
    its weight is 0 and never a number that rounds to 1.
    """
    source = (np.arange(new_size, dtype=np.float64) + 0.5) * size / new_size - 0.5
    source = np.clip(source, 0, size - 1)
    first = np.floor(source).astype(np.intp)
    return first, np.minimum(first + 1, size - 1), (source - first).astype(np.float32)


def between(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """a + weight * (b - a), each operation in float32."""
    step = b - a
    step *= weight
    step += a
    return step
