"""The sixteen objects: each function draws one object, in its own coordinates of about -1..1, y downwards."""

import numpy as np
from numpy.typing import ArrayLike

from workflow_scripts.data.world.canvas import Stroke, bar, ellipse, rectangle
from workflow_scripts.data.world.palette import PROTOTYPES
from workflow_scripts.data.world.patterns import MATERIALS, Paint, flat_paint, material_paint
from workflow_scripts.data.world.settings import Settings

# The paints that a part usually has; all other paints are left to chance.
USUAL_PAINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "house": {"wall": ("brick", "white"), "roof": ("red",), "door": ("brown",)},
    "tree": {"trunk": ("brown",), "foliage": ("green", "grass")},
    "car": {"car_body": ("metal", "red"), "window": ("white",), "wheel": ("black",), "hub": ("grey",)},
    "boat": {"hull": ("red", "blue"), "sail": ("white",), "pole": ("brown",)},
    "fish": {"fish_body": ("scales",), "tail": ("orange",)},
    "flower": {"petal": ("pink", "red", "purple"), "centre": ("yellow",), "stem": ("green",)},
    "cup": {"cup_body": ("tile", "white"), "rim": ("brown",)},
    "lamp": {"shade": ("fabric", "yellow"), "pole": ("grey",), "base": ("grey",)},
    "rocket": {"rocket_body": ("white", "grey"), "fin": ("red",), "window": ("blue",)},
    "umbrella": {"canopy": ("purple", "blue"), "pole": ("grey",)},
    "mushroom": {"cap": ("red", "orange"), "stalk": ("white",), "spot": ("white",)},
    "clock": {"rim": ("stone", "brown"), "face": ("white",), "hand": ("black",)},
    "chair": {"seat": ("wood", "brown"), "back": ("wood", "brown"), "leg": ("wood", "brown")},
    "bird": {"bird_body": ("yellow", "blue"), "beak": ("orange",), "wing": ("orange",), "leg": ("orange",)},
    "ice_cream": {"cone": ("orange", "brown"), "scoop": ("pink", "white", "brown"), "cherry": ("red",)},
    "butterfly": {"wing": ("purple", "blue", "orange"), "centre": ("black",), "spot": ("yellow",)},
}


class Figure:
    """An object under construction: its strokes so far, and the paints that it is given."""

    def __init__(self, name: str, rng: np.random.Generator, settings: Settings) -> None:
        self.name = name
        self.rng = rng
        self.settings = settings
        self.strokes: list[Stroke] = []

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly from `low` to `high`."""
        return self.rng.uniform(low, high)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def flat(self, part: str, *unlike: Paint) -> Paint:
        """A flat colour for a small part: one of its usual colours or any, with another name than `unlike`."""
        return self._choose(part, unlike, 0)

    def paint(self, part: str, *unlike: Paint) -> Paint:
        """A colour or material for a large part: one of its usual paints or any, with another name than `unlike`."""
        return self._choose(part, unlike, self.settings.material_paint)

    def colour(self, name: str) -> Paint:
        """The palette's colour `name`, varied as in the settings."""
        return flat_paint(name, self.settings.colour_spread, self.rng)

    def _choose(self, part: str, unlike: tuple[Paint, ...], material_probability: float) -> Paint:
        names = USUAL_PAINTS[self.name].get(part, ())
        if not names or not self.chance(self.settings.usual_paint):
            names = tuple(MATERIALS) if self.chance(material_probability) else tuple(PROTOTYPES)
        taken = {paint.name for paint in unlike}
        free = [name for name in names if name not in taken] or [name for name in PROTOTYPES if name not in taken]
        name = free[self.rng.integers(len(free))]
        make = material_paint if name in MATERIALS else flat_paint
        return make(name, self.settings.colour_spread, self.rng)

    def add(self, part: str, polygon: ArrayLike, paint: Paint, within: str | None = None) -> None:
        """Put a part on top: a polygon (n, 2), filled with a paint, optionally within another part of the object."""
        self.strokes.append(Stroke(np.asarray(polygon, dtype=float), paint, self.name, part, within))


def draw_object(name: str, rng: np.random.Generator, settings: Settings) -> list[Stroke]:
    """The strokes of one object of class `name`, in its own coordinates."""
    figure = Figure(name, rng, settings)
    DRAWINGS[name](figure)
    return figure.strokes


def house(figure: Figure) -> None:
    """Draw a wall under a roof, with a door, one or two windows and sometimes a chimney."""
    wall = figure.paint("wall")
    roof = figure.paint("roof", wall)
    door = figure.flat("door", wall)
    window = figure.flat("window", wall, door)
    half = figure.between(0.6, 0.85)
    if figure.chance(0.6):
        figure.add("chimney", rectangle(0.25, -0.92, 0.5, -0.2), figure.flat("chimney", roof))
    figure.add("wall", rectangle(-half, -0.2, half, 0.95), wall)
    figure.add("roof", [(-half - 0.15, -0.18), (figure.between(-0.15, 0.15), -0.95), (half + 0.15, -0.18)], roof)
    middle = figure.between(-0.1, 0.1)
    figure.add("door", rectangle(middle - 0.16, 0.3, middle + 0.16, 0.95), door, "wall")
    figure.add("window", rectangle(half - 0.36, 0.0, half - 0.1, 0.32), window, "wall")
    if figure.chance(0.7):
        figure.add("window", rectangle(0.1 - half, 0.0, 0.36 - half, 0.32), window, "wall")


def tree(figure: Figure) -> None:
    """Draw a trunk under foliage of three triangles, like a fir, or of four ellipses."""
    figure.add("trunk", rectangle(-0.14, 0.2, 0.14, 0.98), figure.paint("trunk"))
    foliage = figure.paint("foliage")
    if figure.chance(0.5):
        for bottom, half in ((0.5, 0.7), (0.05, 0.58), (-0.4, 0.45)):
            figure.add("foliage", [(-half, bottom), (0, bottom - 0.62), (half, bottom)], foliage)
    else:
        for x, y in ((-0.35, -0.05), (0.35, -0.05), (0.0, -0.45), (0.0, 0.05)):
            radius = figure.between(0.38, 0.48)
            shifted = x + figure.between(-0.08, 0.08)
            figure.add("foliage", ellipse(shifted, y, radius, 0.9 * radius), foliage)


def car(figure: Figure) -> None:
    """Draw a body with a cabin of two windows, from the side, on two wheels with hubs."""
    body = figure.paint("car_body")
    window = figure.flat("window", body)
    wheel = figure.flat("wheel", body)
    hub = figure.flat("hub", wheel)
    roof = figure.between(-0.62, -0.5)
    figure.add("car_body", [(-0.58, -0.08), (-0.36, roof), (0.3, roof), (0.58, -0.08)], body)
    figure.add("car_body", rectangle(-0.98, -0.1, 0.98, 0.36), body)
    pane = roof + 0.1
    figure.add("window", [(-0.42, -0.12), (-0.28, pane), (-0.04, pane), (-0.04, -0.12)], window, "car_body")
    figure.add("window", [(0.06, -0.12), (0.06, pane), (0.24, pane), (0.41, -0.12)], window, "car_body")
    for x in (-0.52, 0.52):
        figure.add("wheel", ellipse(x, 0.38, 0.28, 0.28), wheel)
        figure.add("hub", ellipse(x, 0.38, 0.11, 0.11), hub, "wheel")


def boat(figure: Figure) -> None:
    """Draw a hull with a pole and one sail or two."""
    hull = figure.paint("hull")
    sail = figure.paint("sail")
    figure.add("pole", bar(0, -0.97, 0, 0.4, 0.1), figure.flat("pole", sail))
    figure.add("sail", [(0.07, -0.9), (0.07, 0.25), (figure.between(0.6, 0.8), 0.25)], sail)
    if figure.chance(0.6):
        other = sail if figure.chance(0.5) else figure.paint("sail")
        figure.add("sail", [(-0.07, -0.7), (-0.07, 0.25), (-0.58, 0.25)], other)
    figure.add("hull", [(-0.95, 0.35), (0.95, 0.35), (0.6, 0.9), (-0.6, 0.9)], hull)


def fish(figure: Figure) -> None:
    """Draw a body with a tail, two fins and an eye, looking left."""
    body = figure.paint("fish_body")
    tail = figure.paint("tail") if figure.chance(0.6) else body
    figure.add("tail", [(0.4, 0), (0.98, -0.48), (0.85, 0), (0.98, 0.48)], tail)
    figure.add("fin", [(-0.25, -0.35), (0.2, -0.78), (0.3, -0.22)], tail)
    figure.add("fish_body", ellipse(-0.18, 0, 0.78, 0.5), body)
    figure.add("fin", [(-0.1, 0.05), (0.22, 0.3), (0.24, -0.02)], tail, "fish_body")
    figure.add("eye", ellipse(-0.6, -0.12, 0.14, 0.14), figure.colour("white"), "fish_body")
    figure.add("eye", ellipse(-0.62, -0.12, 0.07, 0.07), figure.colour("black"), "fish_body")


def flower(figure: Figure) -> None:
    """Draw a stem with one leaf or two, and five to eight petals around a centre."""
    stem = figure.flat("stem")
    petal = figure.paint("petal", stem)
    figure.add("stem", bar(0, -0.2, figure.between(-0.1, 0.1), 0.98, 0.13), stem)
    figure.add("leaf", ellipse(0.3, 0.55, 0.3, 0.14, turned=-0.5), stem)
    if figure.chance(0.6):
        figure.add("leaf", ellipse(-0.3, 0.65, 0.3, 0.14, turned=0.5), stem)
    count = int(figure.rng.integers(5, 9))
    first = figure.between(0, 2 * np.pi)
    for turned in first + np.arange(count) * 2 * np.pi / count:
        x, y = 0.4 * np.cos(turned), -0.38 + 0.4 * np.sin(turned)
        figure.add("petal", ellipse(x, y, 0.28, 0.17, turned=turned), petal)
    figure.add("centre", ellipse(0, -0.38, 0.22, 0.22), figure.flat("centre", petal))


def cup(figure: Figure) -> None:
    """Draw a cup that narrows to its foot, with a rim, and a handle at its right."""
    body = figure.paint("cup_body")
    handle = figure.flat("handle") if figure.chance(0.5) else body
    t = np.radians(np.linspace(-80, 80, 11))
    outer = np.stack([0.45 + 0.48 * np.cos(t), 0.02 + 0.46 * np.sin(t)], axis=1)
    inner = np.stack([0.45 + 0.28 * np.cos(t), 0.02 + 0.28 * np.sin(t)], axis=1)
    figure.add("handle", np.concatenate([outer, inner[::-1]]), handle)
    foot = figure.between(0.4, 0.55)
    figure.add("cup_body", [(-0.72, -0.6), (0.6, -0.6), (foot, 0.8), (-foot - 0.1, 0.8)], body)
    figure.add("rim", ellipse(-0.06, -0.6, 0.66, 0.17), figure.flat("rim", body))


def lamp(figure: Figure) -> None:
    """Draw a shade on a pole with a round base."""
    figure.add("base", ellipse(0, 0.84, 0.46, 0.14), figure.paint("base"))
    figure.add("pole", bar(0, -0.2, 0, 0.84, 0.12), figure.flat("pole"))
    top = figure.between(0.2, 0.36)
    figure.add("shade", [(-top, -0.95), (top, -0.95), (0.68, -0.05), (-0.68, -0.05)], figure.paint("shade"))


def rocket(figure: Figure) -> None:
    """Draw an upright rocket: body, nose, round window, two fins and a flame."""
    body = figure.paint("rocket_body")
    fin = figure.flat("fin", body)
    nose = fin if figure.chance(0.6) else figure.flat("nose", body)
    for side in (-1, 1):
        figure.add("fin", [(side * 0.25, 0.15), (side * 0.68, 0.75), (side * 0.25, 0.62)], fin)
    flame = figure.colour(str(figure.rng.choice(["orange", "yellow", "red"])))
    figure.add("flame", [(-0.2, 0.6), (0, 0.98), (0.2, 0.6)], flame)
    figure.add("rocket_body", [(-0.3, -0.45), (0.3, -0.45), (0.32, 0.65), (-0.32, 0.65)], body)
    figure.add("nose", [(-0.32, -0.43), (0, -0.98), (0.32, -0.43)], nose)
    figure.add("window", ellipse(0, -0.12, 0.17, 0.17), figure.flat("window", body), "rocket_body")


def umbrella(figure: Figure) -> None:
    """Draw an open umbrella: a scalloped canopy with a panel in its middle, a pole, and a hooked handle."""
    pole = figure.flat("pole")
    canopy = figure.paint("canopy")
    stripe = figure.flat("canopy", canopy) if figure.chance(0.5) else canopy
    figure.add("pole", bar(0, -0.5, 0, 0.72, 0.09), pole)
    inner = [(-0.06, 0.6), (0.06, 0.6), (0.08, 0.8), (0.28, 0.8), (0.3, 0.65)]
    outer = [(0.42, 0.65), (0.4, 0.92), (0.02, 0.92)]
    figure.add("handle", [*inner, *outer], figure.flat("handle"))
    dome = ellipse(0, 0.05, 0.97, 0.98, start=180)
    # Three scallops, from the right end of the dome's edge back to the left one.
    t = np.linspace(1, -1, 25)
    scallops = np.stack([0.97 * t, 0.05 - 0.13 * np.abs(np.cos(1.5 * np.pi * t))], axis=1)
    figure.add("canopy", np.concatenate([dome, scallops[1:-1]]), canopy)
    figure.add("canopy", [(-0.2, -0.55), (0, -0.92), (0.2, -0.55), *scallops[8:17]], stripe)


def mushroom(figure: Figure) -> None:
    """Draw a cap with three spots on a stalk."""
    cap = figure.paint("cap")
    spot = figure.flat("spot", cap)
    figure.add("stalk", [(-0.22, -0.1), (0.22, -0.1), (0.32, 0.95), (-0.32, 0.95)], figure.paint("stalk", cap))
    height = figure.between(0.75, 0.95)
    figure.add("cap", ellipse(0, 0.05, 0.92, height, start=180), cap)
    for x, y in ((-0.48, -0.17), (0, -0.45), (0.45, -0.2)):
        figure.add("spot", ellipse(x, y * height / 0.75, 0.15, 0.13), spot, "cap")


def clock(figure: Figure) -> None:
    """Draw a round face with a rim and two hands, on two legs."""
    rim = figure.paint("rim")
    face = figure.flat("face", rim)
    hand = figure.flat("hand", face)
    for side in (-1, 1):
        figure.add("leg", bar(side * 0.4, 0.5, side * 0.6, 0.98, 0.17), rim)
    figure.add("rim", ellipse(0, 0, 0.86, 0.86), rim)
    figure.add("face", ellipse(0, 0, 0.62, 0.62), face)
    for length, width in ((0.5, 0.11), (0.34, 0.15)):
        t = figure.between(0, 2 * np.pi)
        figure.add("hand", bar(0, 0, length * np.cos(t), length * np.sin(t), width), hand, "face")


def chair(figure: Figure) -> None:
    """Draw a seat with a back, from the side, on two legs."""
    leg = figure.paint("leg")
    seat = figure.paint("seat") if figure.chance(0.5) else leg
    back = seat if figure.chance(0.6) else figure.paint("back")
    for x in (-0.48, 0.48):
        figure.add("leg", bar(x, 0.15, x, 0.98, 0.16), leg)
    figure.add("back", [(-0.68, -0.95), (-0.4, -0.95), (-0.36, 0.15), (-0.6, 0.15)], back)
    figure.add("seat", [(-0.62, 0.0), (0.64, 0.0), (0.7, 0.28), (-0.62, 0.28)], seat)


def bird(figure: Figure) -> None:
    """Draw a bird that looks left: body, head with beak and eye, wing, tail and two legs."""
    body = figure.paint("bird_body")
    head = body if figure.chance(0.6) else figure.flat("head")
    leg = figure.flat("leg")
    for top, foot in ((0.0, -0.05), (0.25, 0.25)):
        figure.add("leg", bar(top, 0.4, foot, 0.95, 0.1), leg)
    figure.add("tail", [(0.45, -0.05), (0.98, -0.4), (0.95, 0.12)], body)
    figure.add("bird_body", ellipse(0.1, 0.1, 0.62, 0.44), body)
    figure.add("beak", [(-0.65, -0.5), (-0.98, -0.35), (-0.65, -0.22)], figure.flat("beak", head))
    figure.add("head", ellipse(-0.45, -0.4, 0.32, 0.3), head)
    figure.add("eye", ellipse(-0.52, -0.45, 0.1, 0.1), figure.colour("white"), "head")
    figure.add("eye", ellipse(-0.54, -0.45, 0.06, 0.06), figure.colour("black"), "head")
    figure.add("wing", ellipse(0.18, 0.06, 0.36, 0.21, turned=0.3), figure.paint("wing", body), "bird_body")


def ice_cream(figure: Figure) -> None:
    """Draw a cone with two or three scoops and sometimes a cherry."""
    figure.add("cone", [(-0.46, 0.0), (0.46, 0.0), (0, 0.98)], figure.paint("cone"))
    scoops = [(-0.27, -0.1), (0.27, -0.1), (0.0, -0.48)] if figure.chance(0.7) else [(0.0, -0.1), (0.0, -0.52)]
    radius = 0.36 if len(scoops) == 3 else 0.44
    for x, y in scoops:
        figure.add("scoop", ellipse(x, y, radius, 0.9 * radius), figure.flat("scoop"))
    if figure.chance(0.7):
        figure.add("cherry", ellipse(0, -0.87, 0.14, 0.14), figure.flat("cherry"))


def butterfly(figure: Figure) -> None:
    """Draw four wings, the upper ones sometimes with spots, about a body with two antennas."""
    upper = figure.paint("wing")
    lower = upper if figure.chance(0.5) else figure.paint("wing")
    spot = figure.flat("spot", upper) if figure.chance(0.7) else None
    body = figure.flat("centre", upper)
    for side in (-1, 1):
        figure.add("antenna", bar(0, -0.5, side * 0.28, -0.95, 0.08), body)
        figure.add("wing", ellipse(side * 0.4, 0.42, 0.4, 0.38, turned=side * 0.5), lower)
        figure.add("wing", ellipse(side * 0.5, -0.33, 0.5, 0.42, turned=-side * 0.5), upper)
        if spot:
            figure.add("spot", ellipse(side * 0.55, -0.35, 0.18, 0.16), spot, "wing")
    figure.add("centre", ellipse(0, 0, 0.13, 0.65), body)


DRAWINGS = {
    drawing.__name__: drawing
    for drawing in (
        *(house, tree, car, boat, fish, flower, cup, lamp),
        *(rocket, umbrella, mushroom, clock, chair, bird, ice_cream, butterfly),
    )
}
