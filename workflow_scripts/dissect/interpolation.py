"""Bilinear interpolation of activation maps, fixed to the last bit.

A map (h, w) becomes (H, W): columns first, then rows. Each value is a + weight * (b - a) between two knots of the map;
each of the three operations is rounded to float32, and none are fused. That order is part of the definition, so that
every implementation gives the same bits. Positions beyond the outer knots have the value of the nearest knot (border
"clamp"), or approach a knot of 0 one step further out and stay 0 beyond it ("zero").

In this form, a constant map stays exactly constant where it is clamped. And since no weight lies above 1 - 2^-22,
weight * (b - a) stays within b - a, so no result lies above the largest or below the smallest of its knots. A map
whose maximum is not above a threshold is therefore nowhere above it, unless a knot of its border is, and the same
holds for the part of a map between neighbouring rows or columns of knots.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.plan.protocols import BORDERS, CELL_CENTRES, OF_FIELDS
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.outside_json import read_json
from workflow_scripts.shared.sizes import sides

LARGEST_WEIGHT = 1 - 2.0**-22


class Field(NamedTuple):
    """The centres of the receptive fields of a layer's units along one axis, in pixels of the picture.

    That of unit j is offset + stride * j; `picture` is the picture's side along that axis.
    """

    offset: float
    stride: float
    picture: int


class Grid(NamedTuple):
    """The knots between which each position of the interpolated map lies.

    `columns` uint32 (2, W): the two knots; `column_weight` float32 (W): the weight of the second; `column_reach`
    uint32 (2, w): each knot affects the positions from the first up to the second, exclusive. The same for rows.
    `border`: the number of rows and columns of zeros around the map, 0 or 1; the numbering of knots includes them.
    """

    columns: np.ndarray
    column_weight: np.ndarray
    column_reach: np.ndarray
    rows: np.ndarray
    row_weight: np.ndarray
    row_reach: np.ndarray
    border: int = 0


def grid(
    size: tuple[int, int],
    new_size: tuple[int, int],
    scheme: str,
    fields: tuple[Field, Field] | None = None,
    border: str = "clamp",
) -> Grid:
    """The grid from maps of `size` (h, w) to `new_size` (H, W).

    `scheme` is one of SCHEMES; those in OF_FIELDS need `fields`, for the rows and for the columns. `border` is one of
    BORDERS.
    """
    rows, columns = (source_positions(size[i], new_size[i], scheme, fields and fields[i]) for i in range(2))
    return grid_at(size, rows, columns, border)


def grid_at(size: tuple[int, int], rows: np.ndarray, columns: np.ndarray, border: str = "clamp") -> Grid:
    """The grid from maps of `size` (h, w) to positions anywhere: `rows` (H) and `columns` (W), float64, ascending.

    Positions are in knots, from the centre of the first knot; `border` is one of BORDERS.
    """
    width = BORDERS.index(border)
    axes = [
        axis_knots(sources + width, knots + 2 * width)
        for sources, knots in zip((columns, rows), size[::-1], strict=True)
    ]
    return Grid(*axes[0], *axes[1], width)


def interpolate(maps: np.ndarray, to: Grid) -> np.ndarray:
    """Interpolate maps (K, h, w) to float32 (K, H, W)."""
    maps = np.pad(maps.astype(np.float32), ((0, 0), *[(to.border, to.border)] * 2))
    for axis, knots, weight in ((2, to.columns, to.column_weight), (1, to.rows, to.row_weight[:, None])):
        first, second = (maps.take(knot, axis) for knot in knots)
        maps = first + weight * (second - first)
    return maps


def axis_knots(source: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The knots (2, n) of n positions, the weights of the second knot (n), and the reach (2, size) of `size` knots."""
    new_size, source = len(source), np.clip(source, 0, size - 1)
    first = np.floor(source)
    weight = source - first
    first, weight = np.where(weight > LARGEST_WEIGHT, first + 1, first), np.where(weight > LARGEST_WEIGHT, 0, weight)
    knots = np.stack([first, np.minimum(first + 1, size - 1)]).astype(np.uint32)
    bears = (knots[:, None] == np.arange(size)[:, None]).any(0)
    last = np.where(bears.any(1), new_size - bears[:, ::-1].argmax(1), 0)
    reach = np.stack([np.where(bears.any(1), bears.argmax(1), new_size), last]).astype(np.uint32)
    return knots, weight.astype(np.float32), reach


def source_positions(size: int, new_size: int, scheme: str, field: Field | None) -> np.ndarray:
    """The place of each of `new_size` positions among `size` knots: float64, not yet clamped to the map.

    The order of operations matters: positions that fall on a knot are computed exactly.
    """
    place = np.arange(new_size, dtype=np.float64)
    if scheme == "align_corners_true":
        return place * (size - 1) / max(new_size - 1, 1)
    if scheme == CELL_CENTRES:
        return (place + 0.5) * size / new_size - 0.5
    assert field is not None, f"the knots {scheme} need receptive fields"
    if scheme == "receptive_field_exact":
        return ((place + 0.5) * field.picture / new_size - 0.5 - field.offset) / field.stride
    # As in the code of Bau et al. 2017 (src/upsample.py): position i of the label map is at i; the field's centre is
    # rounded to a pixel of the picture, then down to a pixel of the label map.
    centre = np.floor(np.floor(field.offset + 0.5) * new_size / field.picture)
    return (place - centre) * field.picture / (field.stride * new_size)


def read_receptive_fields(path: Path | None) -> dict | None:
    """The contents of receptive_fields.json; None without a file, UserError if it cannot be read or is damaged."""
    return None if path is None else read_json(path)


def layer_knots(receptive_fields: dict | None, layer: str, knots: str) -> tuple[str, tuple[Field, Field] | None]:
    """The scheme of a layer, and the fields of its rows and columns if these are its knots.

    `receptive_fields` is receptive_fields.json, as `find_receptive_fields` writes it. A layer whose units have no
    receptive fields on a grid uses cell centres instead.

    Raises UserError if the file is needed and lacks the layer.
    """
    if knots not in OF_FIELDS:
        return knots, None
    said = receptive_fields or {}
    try:
        fields, picture = said["layers"][layer], said["picture"]
        found = fields and tuple(
            Field(float(offset), float(stride), int(side))
            for (offset, stride), side in zip(fields, sides(picture), strict=True)
        )
        if found and not all(
            0 < field.stride < np.inf > abs(field.offset) and float(field.picture) > 0 for field in found
        ):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(f"the receptive fields of {layer} are unknown: give the file that has them") from None
    return (CELL_CENTRES, None) if found is None else (knots, found)
