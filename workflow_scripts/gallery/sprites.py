"""Sheets of small pictures, each darkened where a unit is not active."""

import io

import numpy as np
from PIL import Image

DARKENED = 0.35  # what is left of the brightness outside a mask
EDGE = (255, 214, 10)  # of masks: RGB
BLANK = 128  # grey, where a unit has fewer pictures
QUALITIES = (80, 65, 50, 35, 20, 0)  # WebP's, tried in turn


def resize(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture uint8 (S, S, 3) as (side, side, 3)."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def draw_mask(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Darken a picture uint8 (T, T, 3) outside the mask bool (H, W), and draw its edge; uint8 (T, T, 3).

    A pixel of the picture belongs to that of the mask in which its centre lies.
    """
    rows, columns = (((np.arange(len(picture)) + 0.5) * size / len(picture)).astype(int) for size in mask.shape)
    inside = mask[np.ix_(rows, columns)]
    drawn = np.where(inside[..., None], picture, (DARKENED * picture).astype(np.uint8))
    drawn[edge(inside)] = EDGE
    return drawn


def edge(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask bool (H, W) that have a neighbour outside it; the picture's border is no edge."""
    padded = np.pad(mask, 1, mode="edge")
    return mask & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])


def join_rows(rows: list[list[np.ndarray]], count: int, side: int) -> np.ndarray:
    """Rows of up to `count` pictures uint8 (side, side, 3), below each other: (len(rows) * side, count * side, 3)."""
    sheet = np.full((len(rows) * side, count * side, 3), BLANK, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = picture
    return sheet


def encode(pixels: np.ndarray, most: int) -> bytes:
    """An image uint8 (h, w, 3) as WebP of at most `most` bytes, or of the lowest quality if none is as small."""
    for quality in QUALITIES:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=4)
        if file.tell() <= most:
            break
    return file.getvalue()
