"""Draw the generated world's labelled pictures, in Broden's layout."""

import csv
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.data.world.canvas import render_labels
from workflow_scripts.data.world.labels import CATEGORIES, NAMES, NUMBERS
from workflow_scripts.data.world.palette import nearest_colours
from workflow_scripts.data.world.pictures import Picture, concept_picture, photograph
from workflow_scripts.data.world.settings import DEFAULT
from workflow_scripts.data.world.work import check_order, picture_generator, progress, workers, world_parser
from workflow_scripts.shared.files import run_command, whole_file, write_checksums

VALIDATION_SHARE = 0.3  # of the pictures, as in Broden


def make_concepts(seed: int, size: int, count: int, processes: int, folder: str | Path) -> None:
    """Write `count` labelled pictures of `size` x `size` pixels, label maps of half the size, and the tables.

    `folder` gets the layout of Broden (Bau et al. 2017, section 2.1). The same seed and count give the same bytes
    whatever the number of processes. Raises `UserError` as `check_order` does.
    """
    check_order(size, processes, seed=seed, count=count)
    with whole_file(folder) as part, workers(processes) as each:
        (part / "images" / "shapes").mkdir(parents=True)
        work = partial(write_concept_image, folder=part / "images", seed=seed, size=size)
        written = list(progress(each(work, range(count)), count, "concept images"))
        write_tables(part, [row for row, _ in written], [shares for _, shares in written])


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
    """Return the label planes of a concept image by category, each (h, w), with 0 where nothing is labelled.

    Colours are read from the image, as in Broden; planes without labels are left out. Images of textures and of
    materials have no objects or parts, like those of DTD and OpenSurfaces.
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
    """Return, for every label number in `planes`, the share of pixels that carry it."""
    pixels = np.concatenate([plane.ravel() for group in planes.values() for plane in group])
    counts = np.bincount(pixels)
    counts[0] = 0
    return {int(number): counts[number] / planes["color"][0].size for number in np.flatnonzero(counts)}


def write_tables(folder: Path, rows: list[dict], shares: list[dict[int, float]]) -> None:
    """Write index.csv, label.csv, category.csv and a c_<category>.csv per category, with Broden's columns."""
    write_csv(folder / "index.csv", ["image", "split", "ih", "iw", "sh", "sw", *CATEGORIES], rows)
    frequency: Counter = Counter()
    coverage: Counter = Counter()
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
        # Broden numbers the labels of a category from the most to the least frequent.
        ranked = sorted(rows, key=lambda row: -row["frequency"])
        coded = [{"code": code, **row} for code, row in enumerate(ranked, start=1)]
        write_csv(folder / f"c_{category}.csv", ["code", "number", "name", "frequency", "coverage"], coded)
    write_csv(folder / "label.csv", ["number", "name", "category", "frequency", "coverage", "syns"], labels)
    write_csv(folder / "category.csv", ["name", "first", "last", "count", "frequency"], categories)


def write_csv(path: Path, columns: list[str], rows: list[dict]) -> None:
    """Write a CSV file with a header: only these columns of each row, in this order."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Draw as many labelled pictures as the command line says, and list the checksums of their files."""
    parser = world_parser(__doc__)
    parser.add_argument("--count", type=int, required=True, help="number of labelled pictures")
    options = parser.parse_args()
    make_concepts(options.seed, options.size, options.count, options.processes, options.out)
    write_checksums(options.out, options.checksums)


if __name__ == "__main__":
    run_command(main)
