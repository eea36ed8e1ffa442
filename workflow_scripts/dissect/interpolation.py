"""Bilinear interpolation of activation maps, fixed to the last bit.

A map (h, w) becomes (H, W): columns first, then rows, each value a + weight * (b - a) between two knots of the map,
with each of the three operations rounded to float32 and none fused. That order is part of the definition, so that
every implementation gives the same bits. Written so, a constant map stays exactly constant; and since no weight lies
above 1 - 2^-22, weight * (b - a) stays within b - a, and no result lies above the largest or below the smallest of
its knots. A map whose maximum is not above a threshold is therefore nowhere above it, and the same holds for the
part of a map between neighbouring rows or columns of knots.
"""

from typing import NamedTuple

import numpy as np

from workflow_scripts.files import UserError

SCHEMES = ("align_corners_false", "align_corners_true", "receptive_field")
LARGEST_WEIGHT = 1 - 2.0**-22


class Field(NamedTuple):
    """Where the receptive fields of a layer's units are centred, along one axis: pixels of the picture.

    Unit j's lies at offset + stride * j; `picture` is the picture's side.
    """

    offset: float
    stride: float
    picture: int


class Grid(NamedTuple):
    """Between which knots each position of the interpolated map lies.

    `columns` uint32 (2, W): the two knots; `column_weight` float32 (W): the weight of the second; `column_reach`
    uint32 (2, w): each knot bears on the positions from the first to before the second. The same for rows.
    """

    columns: np.ndarray
    column_weight: np.ndarray
    column_reach: np.ndarray
    rows: np.ndarray
    row_weight: np.ndarray
    row_reach: np.ndarray


def grid(
    size: tuple[int, int], new_size: tuple[int, int], scheme: str, fields: tuple[Field, Field] | None = None
) -> Grid:
    """The grid from maps of `size` (h, w) to `new_size` (H, W).

    `scheme` is one of SCHEMES; "receptive_field" takes `fields`, of the rows and of the columns.
    """
    axes = [
        axis_knots(*sizes, scheme, fields and fields[i]) for i, sizes in enumerate(zip(size, new_size, strict=True))
    ]
    return Grid(*axes[1], *axes[0])


def interpolate(maps: np.ndarray, to: Grid) -> np.ndarray:
    """Interpolate maps (K, h, w) to float32 (K, H, W)."""
    maps = maps.astype(np.float32)
    for axis, knots, weight in ((2, to.columns, to.column_weight), (1, to.rows, to.row_weight[:, None])):
        first, second = (maps.take(knot, axis) for knot in knots)
        maps = first + weight * (second - first)
    return maps


def axis_knots(size: int, new_size: int, scheme: str, field: Field | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The knots (2, new_size), the weights of the second (new_size), and the reach (2, size) along one axis."""
    source = np.clip(source_positions(size, new_size, scheme, field), 0, size - 1)
    first = np.floor(source)
    weight = source - first
    first, weight = np.where(weight > LARGEST_WEIGHT, first + 1, first), np.where(weight > LARGEST_WEIGHT, 0, weight)
    knots = np.stack([first, np.minimum(first + 1, size - 1)]).astype(np.uint32)
    bears = (knots[:, None] == np.arange(size)[:, None]).any(0)
    last = np.where(bears.any(1), new_size - bears[:, ::-1].argmax(1), 0)
    reach = np.stack([np.where(bears.any(1), bears.argmax(1), new_size), last]).astype(np.uint32)
    return knots, weight.astype(np.float32), reach


def source_positions(size: int, new_size: int, scheme: str, field: Field | None) -> np.ndarray:
    """Where each of `new_size` positions lies among `size` knots: float64, not yet clamped to the map.

    The order of operations matters: a position that falls on a knot is computed exactly.
    """
    place = np.arange(new_size, dtype=np.float64)
    if scheme == "align_corners_true":
        return place * (size - 1) / max(new_size - 1, 1)
    if scheme == "align_corners_false":
        return (place + 0.5) * size / new_size - 0.5
    # As the code of Bau et al. 2017 has it (src/upsample.py): position i of the label map stands at i, the field's
    # centre is rounded up to a pixel of the picture and then down to one of the label map.
    centre = np.floor(np.floor(field.offset + 0.5) * new_size / field.picture)
    return (place - centre) * field.picture / (field.stride * new_size)


def layer_fields(receptive_fields: dict | None, layer: str, knots: str) -> tuple[Field, Field] | None:
    """The fields of a layer's rows and columns, from receptive_fields.json as `find_receptive_fields` writes it.

    Raises UserError if `knots` is "receptive_field" and the fields are not known; None for other knots.
    """
    if knots != "receptive_field":
        return None
    try:
        fields, picture = receptive_fields["layers"][layer], receptive_fields["picture"]
    except (KeyError, TypeError):
        raise UserError(f"the receptive fields of {layer} are not known: give the file that has them") from None
    return tuple(Field(offset, stride, picture) for offset, stride in fields)
