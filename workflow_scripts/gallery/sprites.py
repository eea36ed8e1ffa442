"""Sheets of small pictures, each darkened where a unit is not active."""

import io

import numpy as np
from PIL import Image

DARKENED = 0.35  # what is left of the brightness outside a mask
EDGE = (255, 214, 10)  # of masks: RGB
LABEL_EDGE = (30, 144, 255)  # of labels: far from the other for every kind of eyes, and in grey
BLANK = 128  # grey, where a unit has fewer pictures
QUALITIES = (80, 65, 50, 35, 20, 0)  # WebP's, tried in turn


def resize(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture uint8 (S, S, 3) as (side, side, 3)."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def draw_mask(picture: np.ndarray, mask: np.ndarray, label: np.ndarray | None = None) -> np.ndarray:
    """Darken a picture uint8 (T, T, 3) outside the mask bool (H, W), and draw its edge; uint8 (T, T, 3).

    `label` is the mask of the unit's best concept, bool (H, W), if it has one: its edge is drawn, too, below the
    other. A pixel of the picture belongs to that of a mask in which its centre lies.
    """
    inside = scale_mask(mask, len(picture))
    drawn = darken(picture, inside)
    if label is not None:
        drawn[edge(scale_mask(label, len(picture)))] = LABEL_EDGE
    drawn[edge(inside)] = EDGE
    return drawn


def draw_label(picture: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Darken a picture uint8 (T, T, 3) outside a label's mask bool (H, W), and draw its edge; uint8 (T, T, 3)."""
    inside = scale_mask(label, len(picture))
    drawn = darken(picture, inside)
    drawn[edge(inside)] = LABEL_EDGE
    return drawn


def darken(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A copy of a picture uint8 (T, T, 3), darkened outside a mask bool (T, T)."""
    return np.where(inside[..., None], picture, (DARKENED * picture).astype(np.uint8))


def scale_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask bool (H, W) as (side, side)."""
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in mask.shape)
    return mask[np.ix_(rows, columns)]


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
