"""A picture as a list of strokes, and its two renderings: the image, and the labels of its pixels.

Coordinates are in picture widths: (0, 0) is the upper left corner, (1, 1) the lower right one.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from workflow_scripts.data.world.labels import NUMBERS
from workflow_scripts.data.world.palette import shaded
from workflow_scripts.data.world.patterns import Paint, paint_pixels

SUPERSAMPLING = 3  # images are drawn at this multiple of their size and averaged down
OUTLINE_WIDTH = 0.014  # of the outlines, in picture widths
OUTLINE_SHADE = 0.5  # an outline's colour is its fill times this


@dataclass(frozen=True, eq=False)
class Stroke:
    """A filled polygon, (n, 2) float64; later strokes hide earlier ones.

    `within` names the part of the same object that this part lies in (the head, for an eye).
    """

    polygon: np.ndarray
    paint: Paint
    object: str | None = None
    part: str | None = None
    within: str | None = None
    outlined: bool = True


# Shapes, as the corners of a polygon.


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """An upright rectangle, as its corners, float64 (4, 2)."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=float)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, turned: float = 0, start: float = 0, end: float = 360
) -> np.ndarray:
    """An ellipse about (x, y), turned by radians; or only its segment from `start` to `end` degrees."""
    corners = 24
    t = np.radians(np.linspace(start, end, corners, endpoint=end - start < 360))
    across, down = radius_x * np.cos(t), radius_y * np.sin(t)
    cosine, sine = np.cos(turned), np.sin(turned)
    return np.stack([x + cosine * across - sine * down, y + sine * across + cosine * down], axis=1)


def bar(x0: float, y0: float, x1: float, y1: float, width: float) -> np.ndarray:
    """A straight bar from one point to another."""
    along = np.array([x1 - x0, y1 - y0])
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * width / 2
    start, end = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([start + across, end + across, end - across, start - across])


def render_image(strokes: list[Stroke], size: int) -> np.ndarray:
    """The picture as (size, size, 3) uint8."""
    width = size * SUPERSAMPLING
    image = Image.new("RGB", (width, width))
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        # Pillow's whole coordinates are the middles of pixels.
        corners = [tuple(corner) for corner in (stroke.polygon * width - 0.5).tolist()]
        if stroke.paint.pattern is None:
            draw.polygon(corners, fill=stroke.paint.first)
        else:
            fill_pattern(image, stroke.polygon, stroke.paint)
        if stroke.outlined:
            line = max(1, round(OUTLINE_WIDTH * width))
            draw.line([*corners, corners[0]], shaded(stroke.paint.first, OUTLINE_SHADE), line, joint="curve")
    return np.asarray(image.reduce(SUPERSAMPLING))


def fill_pattern(image: Image.Image, polygon: np.ndarray, paint: Paint) -> None:
    """Fill a polygon with a pattern, which is computed only inside the polygon's bounding box."""
    width = image.width
    left, top = np.clip(np.floor(polygon.min(axis=0) * width).astype(int), 0, width)
    right, bottom = np.clip(np.ceil(polygon.max(axis=0) * width).astype(int) + 1, 0, width)
    if left >= right or top >= bottom:
        return
    x, y = ((np.arange(*ends) + 0.5) / width for ends in ((left, right), (top, bottom)))
    mask = Image.new("1", (int(right - left), int(bottom - top)))
    corners = polygon * width - 0.5 - (left, top)
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in corners.tolist()], fill=1)
    image.paste(Image.fromarray(paint_pixels(paint, x, y)), (int(left), int(top)), mask)


def render_labels(strokes: list[Stroke], size: int) -> dict[str, list[np.ndarray]]:
    """The label planes of the picture, each (size, size) uint16: one of objects and materials, two of parts.

    A pixel has the label numbers of the topmost stroke at its centre, 0 for none. For a part within another, the other
    part is in the first plane and the part itself in the second.
    """
    objects, parts, nested, materials = np.zeros((4, size, size), dtype=np.uint16)
    for stroke in strokes:
        covered = pixels_inside(stroke.polygon, size)
        part, within = label("part", stroke.part), label("part", stroke.within)
        objects[covered] = label("object", stroke.object)
        parts[covered] = within or part
        nested[covered] = part if within else 0
        materials[covered] = label("material", stroke.paint.material)
    return {"object": [objects], "part": [parts, nested], "material": [materials]}


def label(category: str, name: str | None) -> int:
    """The number of a label; 0 without a name."""
    return NUMBERS[category, name] if name else 0


def pixels_inside(polygon: np.ndarray, size: int) -> np.ndarray:
    """Which pixel centres of a size x size grid lie in the polygon, by the even-odd rule: (size, size) bool."""
    centres = (np.arange(size) + 0.5) / size
    x0, y0 = polygon.T[:, :, None]
    x1, y1 = np.roll(polygon, -1, axis=0).T[:, :, None]
    crossed = (y0 > centres) != (y1 > centres)  # (edges, rows)
    slope = (x1 - x0) / np.where(y1 == y0, 1, y1 - y0)
    crossing = np.where(crossed, x0 + (centres - y0) * slope, -np.inf)
    return (crossing[:, :, None] > centres).sum(axis=0) % 2 == 1
