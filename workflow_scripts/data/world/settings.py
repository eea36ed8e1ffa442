"""How hard the generated world is to learn: every number that was tuned, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Lengths are shares of the picture's width, probabilities lie in 0..1, pixel values in 0..255."""

    # The object
    extent: tuple[float, float] = (0.70, 0.94)  # longest side of the object in a classification image
    stretch: tuple[float, float] = (0.82, 1.22)  # width over height, times that of the drawing
    tilt_standing: float = 0.10  # largest rotation of what stands on the ground, in radians
    tilt_floating: float = 0.35  # largest rotation of what flies, swims or is held, in radians
    usual_paint: float = 0.7  # probability that a part has one of its usual paints (a red roof, a wooden trunk)
    material_paint: float = 0.25  # probability that any other paint is a material and not a flat colour
    colour_spread: float = 10.0  # standard deviation of a paint's channels about its prototype

    # What surrounds it
    usual_scene: float = 0.5  # probability that an object stands in its usual scene (a fish underwater)
    texture_background: float = 0.10  # probability that a classification image has a texture, not a scene
    clutter: float = 0.30  # probability of a small plain shape behind the object of a classification image
    clutter_extent: tuple[float, float] = (0.08, 0.18)  # its width
    occlusion: float = 0.10  # probability of a plain shape in front of the object of a classification image
    occlusion_extent: tuple[float, float] = (0.18, 0.30)  # its width

    # The light and the camera
    contrast: tuple[float, float] = (0.85, 1.10)  # factor on the pixels' distance from mid-grey
    brightness: float = 10.0  # standard deviation of what is added to the whole image
    noise: tuple[float, float] = (1.0, 4.0)  # standard deviation of what is added to every pixel value

    # The concept images
    object_counts: tuple[float, ...] = (0.5, 0.35, 0.15)  # probabilities of 1, 2 and 3 objects in a scene
    concept_extent: tuple[float, float] = (0.75, 1.0)  # longest side, as a share of the room an object is given
    surface_counts: tuple[float, ...] = (0.3, 0.45, 0.25)  # probabilities of 0, 1, 2 surfaces on a material


DEFAULT = Settings()
