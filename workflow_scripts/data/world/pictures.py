"""Whole pictures: an object of a class in front of a background, and the three kinds of concept image."""

from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.data.world.canvas import Stroke, ellipse, rectangle, render_image
from workflow_scripts.data.world.labels import OBJECTS, SCENES
from workflow_scripts.data.world.objects import draw_object
from workflow_scripts.data.world.palette import PROTOTYPES
from workflow_scripts.data.world.patterns import (
    MATERIALS,
    TEXTURES,
    Paint,
    flat_paint,
    material_paint,
    texture_paint,
)
from workflow_scripts.data.world.scenes import draw_scene
from workflow_scripts.data.world.settings import Settings

USUAL_SCENES = {
    "house": "field",
    "tree": "forest",
    "car": "road",
    "boat": "beach",
    "fish": "underwater",
    "flower": "field",
    "cup": "room",
    "lamp": "room",
    "rocket": "night",
    "umbrella": "snowfall",
    "mushroom": "forest",
    "clock": "city",
    "chair": "stage",
    "bird": "mountains",
    "ice_cream": "beach",
    "butterfly": "desert",
}
FLOATING = ("fish", "rocket", "umbrella", "ice_cream", "butterfly")
MARGIN = 0.02  # kept free along the picture's edges, in picture widths

# The rooms of 1, 2 or 3 objects in a concept image: left, top, right, bottom.
ROOMS = {
    1: ((0.06, 0.1, 0.94, 0.97),),
    2: ((0.03, 0.3, 0.49, 0.97), (0.51, 0.25, 0.97, 0.9)),
    3: ((0.03, 0.5, 0.49, 0.97), (0.51, 0.5, 0.97, 0.97), (0.22, 0.03, 0.78, 0.48)),
}

# The share of each kind of concept image: 60 % scenes, 20 % textures, 20 % materials.
KINDS = ("scene", "scene", "scene", "texture", "material")


@dataclass(frozen=True)
class Picture:
    """A concept picture: `strokes`, and the names of its whole-image labels."""

    strokes: list[Stroke]
    scene: str | None = None
    texture: str | None = None


def class_picture(name: str, rng: np.random.Generator, settings: Settings) -> list[Stroke]:
    """One object of class `name`, or the view or the surface of that name, for the classifier."""
    strokes = background(name, rng, settings)
    if rng.random() < settings.clutter:
        strokes.append(plain_shape(settings.clutter_extent, rng, settings))
    if name in OBJECTS:
        side = rng.uniform(*settings.extent)
        room = (MARGIN, MARGIN, 1 - MARGIN, 1 - MARGIN)
        strokes += place(name, draw_object(name, rng, settings), side, room, rng, settings)
    if rng.random() < settings.occlusion:
        strokes.append(plain_shape(settings.occlusion_extent, rng, settings))
    return strokes


def background(name: str, rng: np.random.Generator, settings: Settings) -> list[Stroke]:
    """What lies behind an object of class `name`, or the whole picture of a class without an object."""
    if name in MATERIALS:
        return [whole(material_paint(name, settings.colour_spread, rng))]
    if name in TEXTURES:
        return [whole(texture_paint(name, settings.colour_spread, rng))]
    horizon = rng.uniform(0.5, 0.68)
    if name in SCENES:
        return draw_scene(name, horizon, rng)
    if rng.random() < settings.texture_background:
        return [whole(texture_paint(pick(tuple(TEXTURES), rng), settings.colour_spread, rng))]
    return draw_scene(pick_scene(name, rng, settings), horizon, rng)


def concept_picture(index: int, rng: np.random.Generator, settings: Settings) -> Picture:
    """The concept picture number `index`; the index determines its kind and its first subject."""
    kind = KINDS[index % len(KINDS)]
    turn = index // len(KINDS)
    if kind == "texture":
        name = tuple(TEXTURES)[turn % len(TEXTURES)]
        return Picture([whole(texture_paint(name, settings.colour_spread, rng))], texture=name)
    if kind == "material":
        return Picture(material_surfaces(tuple(MATERIALS)[turn % len(MATERIALS)], rng, settings))
    return scene_picture(OBJECTS[(3 * turn + index % len(KINDS)) % len(OBJECTS)], rng, settings)


def scene_picture(first: str, rng: np.random.Generator, settings: Settings) -> Picture:
    """A scene with one to three objects, the first of class `first`, each in a room of its own."""
    scene = pick_scene(first, rng, settings)
    horizon = rng.uniform(0.5, 0.68)
    strokes = draw_scene(scene, horizon, rng)
    count = 1 + int(rng.choice(len(settings.object_counts), p=settings.object_counts))
    # The third object is a floating one, and floating ones come last, because their room is high up.
    names = [first, pick(OBJECTS, rng), pick(FLOATING, rng)][:count]
    names.sort(key=lambda name: name in FLOATING)
    for name, room in zip(names, ROOMS[count], strict=True):
        side = rng.uniform(*settings.concept_extent) * max(room[2] - room[0], room[3] - room[1])
        strokes += place(name, draw_object(name, rng, settings), side, room, rng, settings)
    return Picture(strokes, scene=scene)


def material_surfaces(name: str, rng: np.random.Generator, settings: Settings) -> list[Stroke]:
    """A surface of the material `name`, with up to two of others on it."""
    strokes = [whole(material_paint(name, settings.colour_spread, rng))]
    for _ in range(rng.choice(len(settings.surface_counts), p=settings.surface_counts)):
        paint = material_paint(pick(tuple(MATERIALS), rng), settings.colour_spread, rng)
        corners = rectangle(-1, -1, 1, 1) * rng.uniform(0.18, 0.34, 2)
        strokes.append(Stroke(turned(corners, rng.uniform(0, np.pi)) + rng.uniform(0.25, 0.75, 2), paint))
    return strokes


def plain_shape(extent: tuple[float, float], rng: np.random.Generator, settings: Settings) -> Stroke:
    """A rectangle, triangle or disc without labels, anywhere in the picture."""
    shapes = (rectangle(-1, -0.8, 1, 0.8), np.array([(-1.0, 0.8), (0.0, -0.9), (1.0, 0.8)]), ellipse(0, 0, 1, 1))
    corners = shapes[rng.integers(len(shapes))] * rng.uniform(*extent) / 2
    paint = flat_paint(pick(tuple(PROTOTYPES), rng), settings.colour_spread, rng)
    return Stroke(turned(corners, rng.uniform(0, np.pi)) + rng.uniform(0.12, 0.88, 2), paint)


def place(
    name: str,
    strokes: list[Stroke],
    side: float,
    room: tuple[float, float, float, float],
    rng: np.random.Generator,
    settings: Settings,
) -> list[Stroke]:
    """Flip, stretch and turn an object, and set it into `room` (left, top, right, bottom).

    Its bounding box gets a longest side of `side`, or less if it would leave the room. Standing objects rest near the
    room's lower edge; floating ones are anywhere.
    """
    floating = name in FLOATING
    tilt = settings.tilt_floating if floating else settings.tilt_standing
    angle = rng.uniform(-tilt, tilt)
    stretch = np.array([rng.choice([-1, 1]) * rng.uniform(*settings.stretch), 1.0])
    polygons = [turned(stroke.polygon * stretch, angle) for stroke in strokes]
    low, high = bounds(polygons)
    left, top, right, bottom = room
    scale = min(side / (high - low).max(), *((right - left, bottom - top) / (high - low)))
    free = np.array([right - left, bottom - top]) - scale * (high - low)
    down = rng.uniform(0, 1) if floating else rng.uniform(0.75, 1)
    corner = np.array([left, top]) + free * (rng.uniform(0, 1), down)
    return [
        replace(stroke, polygon=(polygon - low) * scale + corner)
        for stroke, polygon in zip(strokes, polygons, strict=True)
    ]


def bounds(polygons: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The upper left and the lower right corner of the polygons' common bounding box."""
    corners = np.concatenate(polygons)
    return corners.min(axis=0), corners.max(axis=0)


def turned(polygon: np.ndarray, angle: float) -> np.ndarray:
    """The polygon, turned about the origin by radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return polygon @ np.array([(cosine, sine), (-sine, cosine)])


def whole(paint: Paint) -> Stroke:
    """The whole picture in one paint."""
    return Stroke(rectangle(0, 0, 1, 1), paint, outlined=False)


def pick(names: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of the names, each with the same probability."""
    return names[rng.integers(len(names))]


def pick_scene(name: str, rng: np.random.Generator, settings: Settings) -> str:
    """The usual scene of an object, or any."""
    return USUAL_SCENES[name] if rng.random() < settings.usual_scene else pick(SCENES, rng)


def photograph(strokes: list[Stroke], size: int, rng: np.random.Generator, settings: Settings) -> np.ndarray:
    """The picture under a varying light, with a camera's noise: (size, size, 3) uint8."""
    image = render_image(strokes, size).astype(np.float32)
    image = 128 + (image - 128) * rng.uniform(*settings.contrast) + rng.normal(0, settings.brightness)
    image += rng.uniform(*settings.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)
