"""Paints: flat colours, gradients, and the repeating patterns of textures and materials."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workflow_scripts.data.world.palette import PROTOTYPES, Colour, varied

Pattern = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Paint:
    """The fill of a stroke: `first`, or a pattern that mixes `first` and `second`.

    `period` is the pattern's length in picture widths, `angle` its direction in radians, `shift` its place in periods
    from the middle of the picture; `seed` fixes everything random within it. `material` is the label of material where
    the paint shows, if any.
    """

    name: str
    first: Colour
    second: Colour | None = None
    pattern: Pattern | None = None
    period: float = 1.0
    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    seed: int = 0
    material: str | None = None


def paint_pixels(paint: Paint, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The paint at the grid of points `x` (w,) by `y` (h,), in picture widths, as (h, w, 3) uint8."""
    assert paint.pattern, "a flat paint needs no grid"
    rng = np.random.default_rng(paint.seed)
    x = (x[None, :].astype(np.float32) - 0.5) / paint.period
    y = (y[:, None].astype(np.float32) - 0.5) / paint.period
    cosine, sine = math.cos(paint.angle), math.sin(paint.angle)
    u = cosine * x - sine * y + paint.shift[0]
    v = sine * x + cosine * y + paint.shift[1]
    share = np.asarray(paint.pattern(u, v, rng), dtype=np.float32)[..., None]
    first, second = (np.array(colour, dtype=np.float32) for colour in (paint.first, paint.second))
    return (first + (second - first) * share).astype(np.uint8)


# A pattern is the share of the second colour, 0..1, at points (u, v) given in periods.


def fraction(values: np.ndarray) -> np.ndarray:
    """The fractional part of numbers, 0..1."""
    return values - np.floor(values)


def hash_noise(column: np.ndarray, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random number 0..1 for every cell of a grid that repeats after 64 cells."""
    table = rng.random((64, 64), dtype=np.float32)
    return table[row.astype(np.int64) % 64, column.astype(np.int64) % 64]


def smooth_noise(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random numbers at whole (u, v), smoothly interpolated between."""
    table = rng.random((64, 64), dtype=np.float32)
    column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    a, b = u - column, v - row
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    upper = table[row % 64, column % 64] * (1 - a) + table[row % 64, (column + 1) % 64] * a
    lower = table[(row + 1) % 64, column % 64] * (1 - a) + table[(row + 1) % 64, (column + 1) % 64] * a
    return upper * (1 - b) + lower * b


def gradient(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From the first colour at v = 0 to the second at v = 1."""
    return np.clip(v, 0, 1) + 0 * u


def striped(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stripes along v, of 0.4 to 0.6 of a period."""
    return fraction(u) < rng.uniform(0.4, 0.6)


def dotted(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A disc in each cell of a square grid."""
    return (fraction(u) - 0.5) ** 2 + (fraction(v) - 0.5) ** 2 < rng.uniform(0.07, 0.11)


def checkered(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A checkerboard of cells one period wide."""
    return (np.floor(u) + np.floor(v)) % 2


def zigzag(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stripes along u that turn at right angles, twice in a period."""
    return fraction(v + np.abs(fraction(u) - 0.5)) < 0.48


def gridded(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lines of 0.22 of a period in both directions."""
    return (fraction(u) < 0.22) | (fraction(v) < 0.22)


def wavy(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stripes along u, bent like a sine."""
    return fraction(v + 0.25 * np.sin(4.4 * u)) < 0.48


def ringed(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rings about the origin, half a period wide."""
    return fraction(np.hypot(u, v)) < 0.5


def honeycombed(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Discs in rows; every other row is shifted by half a period."""
    row = np.floor(v / 0.866)
    return (fraction(u + 0.5 * (row % 2)) - 0.5) ** 2 + (fraction(v / 0.866) - 0.5) ** 2 < 0.19


def crosshatched(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two sets of slanted stripes; where both overlap, the second colour is pure."""
    return 0.5 * (fraction(u + 0.35 * v) < 0.35) + 0.5 * (fraction(v + 0.35 * u) < 0.35)


def blotchy(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blots with sharp edges, at random places."""
    return np.clip((smooth_noise(u, v, rng) - 0.5) * 8 + 0.5, 0, 1)


def speckled(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small squares, a third of a period wide; about 22 in 100, at random, are filled."""
    column, row = np.floor(3 * u), np.floor(3 * v)
    return hash_noise(column, row, rng) < 0.22


def woven(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Threads that run across and along in turn, from cell to cell."""
    across = (np.floor(u) + np.floor(v)) % 2 > 0
    return np.where(across, np.abs(fraction(u) - 0.5), np.abs(fraction(v) - 0.5)) * 2


def bricks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The joints of bricks 1.7 periods long, every other row shifted by half a brick."""
    shifted = u / 1.7 + 0.5 * (np.floor(v) % 2)
    return (fraction(shifted) < 0.13) | (fraction(v) < 0.2)


def wood_grain(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lines along u that noise bends."""
    return 0.45 + 0.4 * np.sin(6.28 * (v + 1.2 * smooth_noise(0.35 * u, 0.35 * v, rng)))


def plaid(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Broad bands in both directions; where they overlap, the second colour is pure."""
    return 0.5 * (fraction(u) < 0.5) + 0.5 * (fraction(v) < 0.5)


def sheen(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft stripes along v."""
    return 0.5 + 0.5 * np.sin(6.28 * u)


def blades(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft noise, drawn out along v."""
    return smooth_noise(3.0 * u, 1.2 * v, rng)


def cobbles(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rounded blots at random places, softer than `blotchy`."""
    return np.clip((smooth_noise(1.3 * u, 1.3 * v, rng) - 0.5) * 5 + 0.5, 0, 1)


def fish_scales(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round scales in rows, every other row shifted by half a period, with the second colour towards their edges."""
    row = np.floor(v)
    return np.clip(1.1 * np.hypot(fraction(u + 0.5 * (row % 2)) - 0.5, fraction(v)), 0, 1) ** 2


TEXTURES: dict[str, Pattern] = {
    "striped": striped,
    "dotted": dotted,
    "checkered": checkered,
    "zigzagged": zigzag,
    "gridded": gridded,
    "wavy": wavy,
    "ringed": ringed,
    "honeycombed": honeycombed,
    "crosshatched": crosshatched,
    "blotchy": blotchy,
    "speckled": speckled,
    "woven": woven,
}


@dataclass(frozen=True)
class Material:
    """A pattern with its two colours, its usual angle and its length relative to the other materials."""

    pattern: Pattern
    first: Colour
    second: Colour
    length: float = 1.0
    angle: float = 0.0


MATERIALS: dict[str, Material] = {
    "brick": Material(bricks, (178, 74, 52), (222, 212, 196)),
    "wood": Material(wood_grain, (176, 114, 58), (108, 66, 32)),
    "tile": Material(gridded, (208, 226, 230), (90, 116, 130), 1.2),
    "fabric": Material(plaid, (240, 230, 216), (184, 48, 70), 1.1),
    "metal": Material(sheen, (228, 232, 238), (108, 116, 130), 3.0, 0.8),
    "grass": Material(blades, (128, 196, 64), (36, 108, 36)),
    "stone": Material(cobbles, (176, 172, 164), (96, 94, 92)),
    "scales": Material(fish_scales, (92, 204, 192), (18, 88, 120)),
}


def flat_paint(name: str, spread: float, rng: np.random.Generator) -> Paint:
    """The palette's colour `name`, varied a little."""
    return Paint(name, varied(PROTOTYPES[name], spread, rng))


def material_paint(name: str, spread: float, rng: np.random.Generator) -> Paint:
    """The material `name`, its colours varied a little."""
    material = MATERIALS[name]
    return Paint(
        name,
        varied(material.first, spread, rng),
        varied(material.second, spread, rng),
        material.pattern,
        period=rng.uniform(0.075, 0.12) * material.length,
        angle=material.angle + rng.uniform(-0.25, 0.25),
        shift=tuple(rng.uniform(-2, 2, 2).tolist()),
        seed=int(rng.integers(2**32)),
        material=name,
    )


def texture_paint(name: str, spread: float, rng: np.random.Generator) -> Paint:
    """The texture `name` in two colours of the palette that are easy to tell apart."""
    while True:
        first, second = (PROTOTYPES[str(colour)] for colour in rng.choice(list(PROTOTYPES), 2, replace=False))
        if np.abs(np.subtract(first, second)).mean() > 60:
            break
    return Paint(
        name,
        varied(first, spread, rng),
        varied(second, spread, rng),
        TEXTURES[name],
        period=rng.uniform(0.10, 0.18),
        angle=rng.uniform(0, np.pi),
        shift=tuple(rng.uniform(-2, 2, 2).tolist()),
        seed=int(rng.integers(2**32)),
    )


def gradient_paint(top: Colour, bottom: Colour, length: float) -> Paint:
    """From `top` at the upper edge of the picture to `bottom` at `length` picture widths below."""
    return Paint("gradient", top, bottom, gradient, period=length, shift=(0.0, 0.5 / length))
