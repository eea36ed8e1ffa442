"""The eleven basic colours (Berlin and Kay, 1969): their prototypes, and the nearest one to a pixel."""

import numpy as np

Colour = tuple[int, int, int]

# Broden's colour labels, in sRGB.
PROTOTYPES: dict[str, Colour] = {
    "black": (28, 28, 32),
    "grey": (128, 128, 128),
    "white": (240, 240, 236),
    "red": (208, 38, 40),
    "orange": (240, 134, 30),
    "yellow": (244, 214, 52),
    "green": (58, 158, 62),
    "blue": (48, 112, 214),
    "purple": (128, 56, 164),
    "pink": (242, 140, 180),
    "brown": (118, 74, 40),
}

SRGB_TO_XYZ = np.array(
    [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
)


def varied(colour: Colour, spread: float, rng: np.random.Generator) -> Colour:
    """`colour` with normal noise of standard deviation `spread` on every channel, within 0..255."""
    red, green, blue = np.clip(colour + rng.normal(0, spread, 3), 0, 255)
    return int(red), int(green), int(blue)


def shaded(colour: Colour, factor: float) -> Colour:
    """`colour` with every channel times `factor`, within 0..255."""
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def cielab(colours: np.ndarray) -> np.ndarray:
    """Colours as sRGB values 0..255, (..., 3), in CIELAB: (..., 3) float64 (IEC 61966-2-1; CIE 15:2004; D65 white)."""
    encoded = np.asarray(colours, dtype=np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    relative = linear @ SRGB_TO_XYZ.T / SRGB_TO_XYZ.sum(axis=1)
    x, y, z = np.moveaxis(
        np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116), -1, 0
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def nearest_colours(image: np.ndarray) -> np.ndarray:
    """Index into `PROTOTYPES` of the colour nearest to every 2 x 2 block of pixels.

    `image` is (2h, 2w, 3) uint8; the result is (h, w) int64. A block counts by its mean. Distances are those of
    CIELAB: in sRGB light blues and greens would be nearest to grey.
    """
    means = (image[::2, ::2].astype(np.float64) + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
    lightness, a, b = np.moveaxis(cielab(means), -1, 0)
    nearest = np.zeros(lightness.shape, np.int64)
    least = np.full(lightness.shape, np.inf)
    for place, colour in enumerate(PROTOTYPES.values()):
        of_colour = cielab(np.array(colour))
        distance = (lightness - of_colour[0]) ** 2 + (a - of_colour[1]) ** 2 + (b - of_colour[2]) ** 2
        nearer = distance < least
        nearest[nearer] = place
        least[nearer] = distance[nearer]
    return nearest
