"""Concept labels and activation maps with the statistics of Broden and of a ResNet's last stage."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.data.label_masks import label_masks, pack_masks
from workflow_scripts.data.pack_concepts import LabelRows

SIDE = 112  # of a label map, in pixels
PIXELS = np.insert(np.indices((SIDE, SIDE), dtype=np.float32).reshape(2, -1), 2, 1, axis=0).T.copy()  # (y, x, 1)

# Broden's numbers of labels by category sum to 1,376, because many of its 1,197 labels are in two categories.
# Here each label is in one category: the excess of 179 is taken from objects (584) and parts (234) in proportion.
LABEL_COUNTS = {"color": 11, "object": 456, "part": 183, "material": 32, "scene": 468, "texture": 47}
CATEGORIES = tuple(LABEL_COUNTS)
LABEL_CATEGORY = np.repeat(np.arange(len(CATEGORIES)), list(LABEL_COUNTS.values()))
COLOR, OBJECT, PART, MATERIAL, SCENE, TEXTURE = np.split(
    np.arange(1, len(LABEL_CATEGORY) + 1), np.cumsum(list(LABEL_COUNTS.values()))[:-1]
)  # label numbers, the most frequent first
PART_LEVELS = [PART[level::3] for level in range(3)]  # parts, parts of parts, and parts of those

PASCAL_WITH_PARTS = 0.5  # share of the images
ADE_PART_PLANES = np.array([10_650, 7_307, 4_079, 174]) / 22_210  # share of the images with 0, 1, 2, 3


@dataclass(frozen=True)
class Labels:
    """The labels of some images.

    planes: one array per image, uint16 (P, 112, 112): the label number of every pixel, 0 for none.
    whole_labels: one list per image: the numbers of the labels that cover the whole image.
    label_category: int64 (L + 1,): by label number, the index of its category; entry 0 is unused.
    categories: the names of the categories.
    """

    planes: list[np.ndarray]
    whole_labels: list[list[int]]
    label_category: np.ndarray
    categories: tuple[str, ...]


def frequent(rng: np.random.Generator, labels: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` of the labels, with replacement; the frequency of the k-th is proportional to 1 / k (Zipf)."""
    weight = 1 / np.arange(1, len(labels) + 1)
    return rng.choice(labels, count, p=weight / weight.sum())


def draw_plane(rng: np.random.Generator, labels: np.ndarray, regions: int, kinds: int, labelled: float) -> np.ndarray:
    """Draw a plane of regions, uint16 (112, 112): the pixels nearest to each of `regions` random points.

    A share `labelled` of the regions gets `kinds` labels in turn, which need not differ; the others have none.
    """
    label = np.zeros(regions, np.uint16)
    with_label = round(labelled * regions)
    label[:with_label] = np.resize(frequent(rng, labels, kinds), with_label)
    points = rng.random((2, regions), dtype=np.float32) * SIDE
    # |pixel - point|^2 minus |pixel|^2, which is the same for all points.
    distance = PIXELS @ np.vstack([-2 * points, (points**2).sum(axis=0)])
    return label[distance.argmin(axis=1)].reshape(SIDE, SIDE)


def draw_part_planes(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Draw the first `count` of three planes, each uint16 (112, 112): parts, parts of parts, and parts of those."""
    return [draw_plane(rng, labels, regions=30, kinds=4, labelled=0.13) for labels in PART_LEVELS[:count]]


def label_pascal(rng: np.random.Generator) -> tuple[list[np.ndarray], list[int]]:
    """Draw an image's labels as in Pascal: planes of objects and, for half of the images, of parts."""
    objects = draw_plane(rng, OBJECT, regions=10, kinds=int(rng.integers(1, 4)), labelled=0.4)
    return [objects, *draw_part_planes(rng, int(rng.random() < PASCAL_WITH_PARTS))], []


def label_ade(rng: np.random.Generator) -> tuple[list[np.ndarray], list[int]]:
    """Draw an image's labels as in ADE20K: planes of objects and of up to three levels of parts, and a scene."""
    objects = draw_plane(rng, OBJECT, regions=24, kinds=int(rng.integers(6, 19)), labelled=0.95)
    parts = draw_part_planes(rng, rng.choice(4, p=ADE_PART_PLANES))
    return [objects, *parts], frequent(rng, SCENE, 1).tolist()


def label_opensurfaces(rng: np.random.Generator) -> tuple[list[np.ndarray], list[int]]:
    """Draw an image's labels as in OpenSurfaces: a plane of materials."""
    return [draw_plane(rng, MATERIAL, regions=12, kinds=int(rng.integers(3, 7)), labelled=0.6)], []


def label_dtd(rng: np.random.Generator) -> tuple[list[np.ndarray], list[int]]:
    """Draw an image's labels as in DTD: a texture that covers the whole image."""
    return [], [int(rng.choice(TEXTURE))]


SOURCES = (label_pascal, label_ade, label_opensurfaces, label_dtd)
SOURCE_IMAGES = np.array([10_103, 22_210, 25_352, 5_640])


def broden_like(images: int, seed: int) -> Labels:
    """Labels of `images` images, from Broden's four sources in Broden's proportions, in random order.

    No pixel carries a label in two planes, so counting plane by plane counts pixels. Equal arguments give equal
    labels.
    """
    rng = np.random.default_rng(seed)
    last = SOURCE_IMAGES.cumsum() / SOURCE_IMAGES.sum()
    planes, whole_labels = [], []
    for source in np.searchsorted(last, (rng.permutation(images) + 0.5) / images):
        some, whole = SOURCES[source](rng)
        colors = draw_plane(rng, COLOR, regions=40, kinds=10, labelled=1.0)
        planes.append(np.stack([colors, *some]))
        whole_labels.append(whole)
    return Labels(planes, whole_labels, np.concatenate([[0], LABEL_CATEGORY]), CATEGORIES)


def packed_labels(labels: Labels) -> tuple[list[np.ndarray], LabelRows]:
    """The label masks of each image, as `pack_masks` packs them, and their labels; label n is position n - 1."""
    masks, rows = [], LabelRows()
    for planes, whole in zip(labels.planes, labels.whole_labels, strict=True):
        numbers, of_image = label_masks(planes, np.array([], np.uint16))
        masks.append(pack_masks(of_image))
        rows.add(numbers.astype(np.int64) - 1, np.array(whole, np.int64) - 1, np.zeros(0, np.int64))
    return masks, rows


def relu_maps(images: int, units: int, side: int, seed: int) -> np.ndarray:
    """Maps like those after the last ReLU of a ResNet, float16 (images, units, side, side).

    A map is a Gaussian field with correlation exp(-distance / 3.6), minus the unit's bias, clamped at zero; expm1
    gives it a log-normal tail, and the unit's scale multiplies it. Two thirds of the values are zero. With
    7 x 7 positions about 10 % of the maps exceed their unit's 99.5 % quantile somewhere. Equal arguments give
    equal maps.
    """
    rng = np.random.default_rng(seed)
    bias = rng.normal(0.45, 0.3, (units, 1)).astype(np.float32)
    scale = rng.lognormal(0, 0.5, (units, 1)).astype(np.float32)
    positions = np.indices((side, side)).reshape(2, -1)
    distance = np.hypot(*(positions[:, :, None] - positions[:, None, :]))
    correlate = np.linalg.cholesky(np.exp(-distance / 3.6)).T.astype(np.float32)
    maps = np.empty((images, units, side * side), np.float16)
    for image in range(images):
        field = rng.standard_normal((units, side * side), dtype=np.float32) @ correlate
        maps[image] = scale * np.expm1(np.maximum(field - bias, 0))
    return maps.reshape(images, units, side, side)


UNIT_KINDS = (
    "normal", "sparse", "dead", "constant", "negative", "ties", "coarse", "zeros", "about zero", "subnormal", "near",
)  # fmt: skip


def unit_maps(kind: str, shape: tuple[int, ...], random: np.random.Generator, dtype: type) -> np.ndarray:
    """Maps of one unit over all images; the kind is one of UNIT_KINDS."""
    normal: np.ndarray = random.normal(size=shape).astype(dtype)
    smallest, step = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).eps
    return {
        "normal": normal,
        "sparse": np.maximum(normal - 1, 0),
        "dead": np.zeros(shape),
        "constant": np.full(shape, 0.1),
        "negative": -np.abs(normal) - 1,
        "ties": random.integers(-1, 3, shape),
        "coarse": normal.astype(np.float16),
        "zeros": random.choice([0.0, -0.0], shape),
        "about zero": random.choice(np.array([0.0, -0.0, smallest, -smallest, 1, -1]), shape),
        "subnormal": random.integers(-900, 900, shape) * float(smallest),
        "near": random.choice([1, -1], 1) * (1 + random.integers(0, 900, shape) * float(step)),  # equal upper bits
    }[kind].astype(dtype)
