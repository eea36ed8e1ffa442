"""The twelve scenes: each function draws a background whose horizon lies at a given height."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workflow_scripts.data.world.canvas import Stroke, bar, ellipse, rectangle
from workflow_scripts.data.world.palette import Colour, shaded, varied
from workflow_scripts.data.world.patterns import Paint, gradient_paint, material_paint

SPREAD = 10.0  # standard deviation of a scene's colours about those given here


class Backdrop:
    """A scene under construction."""

    def __init__(self, horizon: float, rng: np.random.Generator) -> None:
        self.horizon = horizon
        self.rng = rng
        self.strokes: list[Stroke] = []

    def between(self, low: float, high: float, count: int | None = None) -> Any:
        """A number drawn evenly from `low` to `high`; or `count` of them, float64 (count,)."""
        return self.rng.uniform(low, high, count)

    def colour(self, colour: Colour) -> Paint:
        """A flat paint of a colour, varied a little."""
        return Paint("flat", varied(colour, SPREAD, self.rng))

    def add(
        self, name: str | None, polygon: ArrayLike, paint: Paint, part: str | None = None, within: str | None = None
    ) -> None:
        """Put a polygon (n, 2) on top, in picture widths, without an outline; `name` None has no label."""
        self.strokes.append(Stroke(np.asarray(polygon, dtype=float), paint, name, part, within, outlined=False))

    def sky(self, top: Colour, bottom: Colour, name: str = "sky", length: float | None = None) -> None:
        """Fill the picture with a gradient from `top` to `bottom`, `length` picture widths long, or to the horizon."""
        top, bottom = varied(top, SPREAD, self.rng), varied(bottom, SPREAD, self.rng)
        self.add(name, rectangle(0, 0, 1, 1), gradient_paint(top, bottom, length or self.horizon))

    def below_horizon(self, name: str, paint: Paint) -> None:
        """Fill the picture below the horizon."""
        self.add(name, rectangle(0, self.horizon, 1, 1), paint)


def draw_scene(name: str, horizon: float, rng: np.random.Generator) -> list[Stroke]:
    """The strokes of the scene `name` (without Broden's ending "-s"), in picture widths."""
    backdrop = Backdrop(horizon, rng)
    DRAWINGS[name](backdrop)
    return backdrop.strokes


def beach(backdrop: Backdrop) -> None:
    """Draw sand before the sea, with four white crests, under a blue sky."""
    horizon = backdrop.horizon
    backdrop.sky((70, 164, 244), (168, 216, 250))
    sea = backdrop.colour((36, 118, 196))
    backdrop.add("sea", rectangle(0, horizon - 0.18, 1, horizon), sea)
    for _ in range(4):
        x, y = backdrop.between(0, 0.9), backdrop.between(horizon - 0.15, horizon - 0.03)
        backdrop.add("sea", rectangle(x, y, x + 0.14, y + 0.018), Paint("flat", (226, 240, 250)))
    backdrop.below_horizon("sand", backdrop.colour((246, 214, 116)))


def mountains(backdrop: Backdrop) -> None:
    """Draw three mountains with snow on their tops, behind a lawn."""
    horizon = backdrop.horizon
    backdrop.sky((88, 162, 240), (190, 216, 240))
    for x in np.array([0.15, 0.85, 0.5]) + backdrop.between(-0.12, 0.12, 3):
        height, half = backdrop.between(0.3, 0.5), backdrop.between(0.28, 0.42)
        peak = horizon - height
        backdrop.add(
            "mountain", [(x - half, horizon), (x, peak), (x + half, horizon)], backdrop.colour((112, 112, 138))
        )
        snow = [(x - 0.3 * half, peak + 0.3 * height), (x, peak), (x + 0.3 * half, peak + 0.3 * height)]
        backdrop.add("mountain", [*snow, (x, peak + 0.22 * height)], Paint("flat", (246, 248, 252)))
    backdrop.below_horizon("lawn", backdrop.colour((100, 158, 82)))


def field(backdrop: Backdrop) -> None:
    """Draw a lawn with furrows, under a blue sky with two clouds."""
    backdrop.sky((74, 168, 248), (160, 212, 250))
    for x, y in backdrop.rng.uniform((0.1, 0.06), (0.9, 0.25), (2, 2)):
        for shift in (-0.07, 0.0, 0.07):
            backdrop.add("sky", ellipse(x + shift, y, 0.08, 0.045), Paint("flat", (250, 252, 255)))
    backdrop.below_horizon("lawn", backdrop.colour((122, 196, 70)))
    furrow = backdrop.colour((86, 158, 50))
    for y in np.arange(backdrop.horizon + 0.04, 1, 0.1):
        backdrop.add("lawn", bar(0, y, 1, y + backdrop.between(-0.03, 0.03), 0.02), furrow)


def night(backdrop: Backdrop) -> None:
    """Draw dark ground under a violet sky with stars and a moon."""
    backdrop.sky((30, 36, 104), (96, 78, 160))
    for x, y in backdrop.rng.uniform((0, 0), (1, backdrop.horizon), (22, 2)):
        radius = backdrop.between(0.006, 0.014)
        backdrop.add("sky", rectangle(x - radius, y - radius, x + radius, y + radius), Paint("flat", (252, 248, 214)))
    x, y, radius = backdrop.between(0.12, 0.88), backdrop.between(0.12, 0.25), backdrop.between(0.06, 0.1)
    backdrop.add("moon", ellipse(x, y, radius, radius), backdrop.colour((250, 240, 188)))
    backdrop.below_horizon("ground", backdrop.colour((54, 92, 88)))


def city(backdrop: Backdrop) -> None:
    """Draw buildings, most of their windows lit, behind a street."""
    horizon = backdrop.horizon
    backdrop.sky((242, 170, 140), (250, 224, 186))
    x = -backdrop.between(0, 0.1)
    while x < 1:
        width, top = backdrop.between(0.18, 0.26), horizon - backdrop.between(0.2, 0.45)
        backdrop.add("building", rectangle(x, top, x + width, horizon), backdrop.colour((104, 108, 132)), "wall")
        lit = Paint("flat", (252, 232, 140))
        for left in np.arange(x + 0.03, x + width - 0.05, 0.07):
            for upper in np.arange(top + 0.04, horizon - 0.06, 0.09):
                if backdrop.rng.random() < 0.7:
                    pane = rectangle(left, upper, left + 0.035, upper + 0.045)
                    backdrop.add("building", pane, lit, "window", "wall")
        x += width + backdrop.between(0.01, 0.05)
    backdrop.below_horizon("street", backdrop.colour((136, 136, 142)))


def room(backdrop: Backdrop) -> None:
    """Draw a wall with upright stripes, a skirting board, and a wooden floor."""
    horizon = backdrop.horizon
    wall = varied((234, 214, 190), 2 * SPREAD, backdrop.rng)
    backdrop.add("room_wall", rectangle(0, 0, 1, 1), Paint("flat", wall))
    for x in np.arange(backdrop.between(-0.05, 0.0), 1, 0.12):
        backdrop.add("room_wall", rectangle(x, 0, x + 0.045, horizon), Paint("flat", shaded(wall, 0.91)))
    backdrop.below_horizon("floor", material_paint("wood", SPREAD, backdrop.rng))
    backdrop.add("floor", rectangle(0, horizon - 0.025, 1, horizon + 0.01), Paint("flat", (246, 242, 234)))


def road(backdrop: Backdrop) -> None:
    """Draw a street that runs to the horizon through a lawn, with a dashed line in its middle."""
    horizon = backdrop.horizon
    backdrop.sky((98, 174, 242), (176, 214, 244))
    backdrop.below_horizon("lawn", backdrop.colour((104, 170, 76)))
    asphalt = backdrop.colour((92, 92, 98))
    backdrop.add("street", [(0.42, horizon), (0.58, horizon), (1.1, 1), (-0.1, 1)], asphalt)
    for share in (0.0, 0.12, 0.36, 0.7):
        near = share + 0.08 + 0.16 * share
        (y0, half0), (y1, half1) = ((horizon + s * (1 - horizon), 0.008 + 0.03 * s) for s in (share, near))
        dash = [(0.5 - half0, y0), (0.5 + half0, y0), (0.5 + half1, y1), (0.5 - half1, y1)]
        backdrop.add("street", dash, Paint("flat", (250, 246, 214)))


def forest(backdrop: Backdrop) -> None:
    """Draw tree trunks on a lawn, with foliage along the upper edge."""
    horizon = backdrop.horizon
    backdrop.sky((134, 200, 112), (196, 230, 150))
    backdrop.below_horizon("lawn", backdrop.colour((96, 148, 66)))
    for x in np.arange(0.06, 1, 0.15) + backdrop.between(-0.04, 0.04):
        half, foot = backdrop.between(0.02, 0.035), horizon + backdrop.between(0.0, 0.1)
        backdrop.add("tree", rectangle(x - half, 0, x + half, foot), backdrop.colour((112, 80, 52)), "trunk")
    for x in np.arange(0, 1.1, 0.12):
        y, radius = backdrop.between(-0.02, 0.2), backdrop.between(0.09, 0.15)
        leaves = backdrop.colour((62, 138, 62))
        backdrop.add("tree", ellipse(x, y, radius, 0.8 * radius), leaves, "foliage")


def desert(backdrop: Backdrop) -> None:
    """Draw four dunes one before the other, each darker, under a yellow sky."""
    horizon = backdrop.horizon
    backdrop.sky((250, 196, 112), (254, 236, 184))
    x = np.linspace(0, 1, 13)
    for i, y in enumerate(np.linspace(horizon, 0.92, 4)):
        crest = y + 0.045 * np.sin(6 * x + backdrop.between(0, 6.3))
        dune = [(0, 1), *zip(x.tolist(), crest.tolist(), strict=True), (1, 1)]
        backdrop.add("dune", dune, backdrop.colour((232 - 8 * i, 156 - 10 * i, 74 - 6 * i)))


def underwater(backdrop: Backdrop) -> None:
    """Draw water that darkens downwards, with bubbles and four strands of seaweed."""
    backdrop.sky((60, 152, 236), (18, 70, 160), "water", length=1.0)
    for _ in range(10):
        x, y, radius = backdrop.between(0, 1), backdrop.between(0, 0.9), backdrop.between(0.01, 0.028)
        backdrop.add("water", ellipse(x, y, radius, radius), Paint("flat", (176, 226, 244)))
    for x in np.array([0.1, 0.25, 0.8, 0.93]) + backdrop.between(-0.05, 0.05, 4):
        y = np.linspace(1, backdrop.between(0.6, 0.8), 8)
        sway = x + 0.035 * np.sin(22 * y + backdrop.between(0, 6))
        left, right = (np.stack([sway + side * 0.018, y], axis=1) for side in (-1, 1))
        weed = np.concatenate([left, right[::-1]])
        backdrop.add("seaweed", weed, backdrop.colour((40, 150, 88)))


def snowfall(backdrop: Backdrop) -> None:
    """Draw snow on the ground, under a pale sky with flakes."""
    backdrop.sky((168, 190, 220), (222, 230, 242))
    backdrop.below_horizon("snow", backdrop.colour((242, 246, 252)))
    for x, y in backdrop.rng.uniform((0, 0), (1, backdrop.horizon), (18, 2)):
        radius = backdrop.between(0.01, 0.018)
        backdrop.add("snow", ellipse(x, y, radius, radius), Paint("flat", (255, 255, 255)))


def stage(backdrop: Backdrop) -> None:
    """Draw a floor with a round podium, before a curtain in folds."""
    horizon = backdrop.horizon
    cloth = varied((184, 30, 48), SPREAD, backdrop.rng)
    backdrop.add("curtain", rectangle(0, 0, 1, 1), Paint("flat", cloth))
    for x in np.arange(backdrop.between(-0.1, 0), 1, 0.11):
        fold = Paint("flat", shaded(cloth, backdrop.between(0.66, 0.8)))
        backdrop.add("curtain", rectangle(x, 0, x + 0.05, horizon), fold)
    backdrop.below_horizon("floor", backdrop.colour((130, 90, 58)))
    middle = (1 + horizon) / 2 + 0.05
    backdrop.add("podium", ellipse(0.5, middle, 0.44, 0.13), backdrop.colour((238, 206, 116)))


DRAWINGS = {
    drawing.__name__: drawing
    for drawing in (
        *(beach, mountains, field, night, city, room),
        *(road, forest, desert, underwater, snowfall, stage),
    )
}
