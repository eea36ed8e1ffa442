"""Generate the world "shapes": classification images in class folders, concept images in Broden's layout."""

import argparse
import csv
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.data.shapes.canvas import render_labels
from workflow_scripts.data.shapes.labels import CATEGORIES, CLASSES, NAMES, NUMBERS
from workflow_scripts.data.shapes.palette import nearest_colours
from workflow_scripts.data.shapes.pictures import Picture, class_picture, concept_picture, photograph
from workflow_scripts.data.shapes.settings import DEFAULT
from workflow_scripts.files import UserError, run_command, whole_file

log = logging.getLogger(__name__)

# The seed of a picture is (seed of the world, its stream, its index), so no two sets share a picture.
STREAMS = {"train": 0, "test": 1, "concepts": 2}
VALIDATION_SHARE = 0.3  # of the concept images, as in Broden


def make_shapes(
    seed: int,
    size: int,
    train: int,
    test: int,
    concept_images: int,
    processes: int,
    images_folder: str | Path,
    concepts_folder: str | Path,
) -> None:
    """Write `train` and `test` classification images and `concept_images` labelled ones.

    `images_folder` gets `train/<class>/000123.png` and `test/...`, RGB, `size` x `size` pixels, image i of class
    i mod 20. `concepts_folder` gets the layout of Broden (Bau et al. 2017, section 2.1) with label maps of half
    the size. The same seed and counts give the same bytes whatever the number of processes.

    Raises `UserError` if `size` is odd or below 16, the seed or a count below 0, or `processes` below 1.
    """
    if size < 16 or size % 2:
        raise UserError(f"size is {size}: it must be an even number of at least 16, for label maps have half of it")
    counts = {"seed": seed, "train": train, "test": test, "concept_images": concept_images}
    for name, count in counts.items():
        if count < 0:
            raise UserError(f"{name} is {count}: it must not be negative")
    if processes < 1:
        raise UserError(f"processes is {processes}: at least 1 must do the work")
    with whole_file(images_folder) as images, whole_file(concepts_folder) as concepts, workers(processes) as each:
        for split, count in (("train", train), ("test", test)):
            for name in CLASSES:
                (images / split / name).mkdir(parents=True)
            work = partial(write_class_image, folder=images / split, seed=seed, split=split, size=size)
            for _ in progress(each(work, range(count)), count, f"{split} images"):
                pass
        (concepts / "images" / "shapes").mkdir(parents=True)
        work = partial(write_concept_image, folder=concepts / "images", seed=seed, size=size)
        written = list(progress(each(work, range(concept_images)), concept_images, "concept images"))
        write_tables(concepts, [row for row, _ in written], [shares for _, shares in written])


@contextmanager
def workers(processes: int) -> Iterator[Callable]:
    """Yield a `map` that spreads its work over `processes` and keeps the order."""
    if processes == 1:
        yield map
    else:
        with Pool(processes) as pool:
            yield partial(pool.imap, chunksize=50)


def progress(results: Iterable, count: int, what: str) -> Iterator:
    """Pass `results` on, with a line in the log at every quarter."""
    for done, result in enumerate(results, start=1):
        yield result
        if done % max(1, count // 4) == 0:
            log.info("%s: %d of %d", what, done, count)


def picture_generator(seed: int, stream: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, STREAMS[stream], index])


def write_class_image(index: int, folder: Path, seed: int, split: str, size: int) -> None:
    rng = picture_generator(seed, split, index)
    name = CLASSES[index % len(CLASSES)]
    image = photograph(class_picture(name, rng, DEFAULT), size, rng, DEFAULT)
    Image.fromarray(image).save(folder / name / f"{index:06d}.png")


def write_concept_image(index: int, folder: Path, seed: int, size: int) -> tuple[dict, dict[int, float]]:
    """Write one concept image and its label maps; return its row of index.csv and its labels' shares of pixels."""
    rng = picture_generator(seed, "concepts", index)
    picture = concept_picture(index, rng, DEFAULT)
    image = photograph(picture.strokes, size, rng, DEFAULT)
    stem = f"shapes/{index:06d}"
    Image.fromarray(image).save(folder / f"{stem}.png")

    planes = label_planes(picture, image)
    cells = {category: write_planes(folder, stem, category, planes.get(category, [])) for category in CATEGORIES}
    shares = pixel_shares(planes)
    for category, name in (("scene", picture.scene and f"{picture.scene}-s"), ("texture", picture.texture)):
        if name:
            number = NUMBERS[category, name]
            cells[category] = str(number)
            shares[number] = 1.0
    split = "val" if rng.random() < VALIDATION_SHARE else "train"
    sides = {"ih": size, "iw": size, "sh": size // 2, "sw": size // 2}
    return {"image": f"{stem}.png", "split": split, **sides, **cells}, shares


def label_planes(picture: Picture, image: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The label planes of a concept image by category, each (h, w) with 0 where nothing is labelled.

    Colours are read off the image, as Broden does; planes without labels are left out. Images of textures and
    of materials have no objects or parts, as those of DTD and OpenSurfaces.
    """
    first_colour = NUMBERS["color", NAMES["color"][0]]
    planes = {"color": [first_colour + nearest_colours(image)]}
    for category, drawn in render_labels(picture.strokes, image.shape[0] // 2).items():
        planes[category] = [plane for plane in drawn if plane.any()]
    return planes


def write_planes(folder: Path, stem: str, category: str, planes: list[np.ndarray]) -> str:
    """Write label maps (number = R + 256 G); return their paths as a cell of index.csv."""
    paths = []
    for i, plane in enumerate(planes, start=1):
        ending = f"_{i}" if category == "part" else ""
        paths.append(f"{stem}_{category}{ending}.png")
        channels = np.stack([plane % 256, plane // 256, np.zeros_like(plane)], axis=2).astype(np.uint8)
        Image.fromarray(channels).save(folder / paths[-1])
    return ";".join(paths)


def pixel_shares(planes: dict[str, list[np.ndarray]]) -> dict[int, float]:
    """For every label number in `planes`, the share of the pixels that carry it."""
    pixels = np.concatenate([plane.ravel() for group in planes.values() for plane in group])
    counts = np.bincount(pixels)
    counts[0] = 0
    return {int(number): counts[number] / planes["color"][0].size for number in np.flatnonzero(counts)}


def write_tables(folder: Path, rows: list[dict], shares: list[dict[int, float]]) -> None:
    """Write index.csv, label.csv, category.csv and a c_<category>.csv per category, with Broden's columns."""
    write_csv(folder / "index.csv", ["image", "split", "ih", "iw", "sh", "sw", *CATEGORIES], rows)
    frequency, coverage = Counter(), Counter()
    for image in shares:
        frequency.update(image.keys())
        coverage.update(image)

    labels, categories = [], []
    for category in CATEGORIES:
        rows = []
        for name in NAMES[category]:
            number = NUMBERS[category, name]
            count = frequency[number]
            share = f"{coverage[number]:f}"
            values = {"number": number, "name": name, "frequency": count, "coverage": share, "syns": ""}
            rows.append({**values, "category": f"{category}({count})"})
        labels += rows
        ends = {"first": rows[0]["number"], "last": rows[-1]["number"], "count": len(rows)}
        total = sum(row["frequency"] for row in rows)
        categories.append({"name": category, **ends, "frequency": total})
        # Broden codes the labels of a category from the most to the least frequent one.
        ranked = sorted(rows, key=lambda row: -row["frequency"])
        coded = [{"code": code, **row} for code, row in enumerate(ranked, start=1)]
        write_csv(folder / f"c_{category}.csv", ["code", "number", "name", "frequency", "coverage"], coded)
    write_csv(folder / "label.csv", ["number", "name", "category", "frequency", "coverage", "syns"], labels)
    write_csv(folder / "category.csv", ["name", "first", "last", "count", "frequency"], categories)


def write_csv(path: Path, columns: list[str], rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="of the whole world, not negative")
    parser.add_argument("--size", type=int, required=True, help="pixels along an image's side; label maps have half")
    parser.add_argument("--train", type=int, required=True, help="number of training images")
    parser.add_argument("--test", type=int, required=True, help="number of test images")
    parser.add_argument("--concept-images", type=int, required=True, help="number of labelled images")
    parser.add_argument("--processes", type=int, default=1, help="to share the work; the files stay the same")
    parser.add_argument("--images", type=Path, required=True, help="folder of the classification images")
    parser.add_argument("--concepts", type=Path, required=True, help="folder of the concept images and tables")
    options = parser.parse_args()
    make_shapes(
        options.seed,
        options.size,
        options.train,
        options.test,
        options.concept_images,
        options.processes,
        options.images,
        options.concepts,
    )


if __name__ == "__main__":
    run_command(main)
