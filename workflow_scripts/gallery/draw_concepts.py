"""Draw examples of every label of a concept set for the gallery: pictures that carry it, with its mask."""

import argparse
from pathlib import Path

import numpy as np

from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.gallery.draw_units import Tiles, scaled_pictures, stored_pictures
from workflow_scripts.gallery.label_masks import LabelMasks
from workflow_scripts.gallery.site_data import UNITS_PER_SHEET, write_data
from workflow_scripts.gallery.sprites import draw_label, encode, join_rows
from workflow_scripts.shared.files import run_command, whole_file, write_checksums
from workflow_scripts.shared.progress import Progress


def draw_concepts(concepts: str | Path, tiles: Tiles, out: Path) -> None:
    """Write concepts.js and the sheets of a concept set into the folder `out`, and their checksums beside it.

    `site_data` describes them. A label's examples are the pictures with the most of its pixels, the first of equals.

    Raises:
        UserError: the concept set is missing or damaged.
    """
    with ConceptData(concepts) as labels, whole_file(out) as folder:
        folder.mkdir(parents=True)
        pictures, examples = find_examples(labels, tiles.pictures)
        masks = LabelMasks(labels, ((image, label) for label, images in enumerate(examples) for image in images))
        scaled = scaled_pictures(stored_pictures(labels), tiles.side)
        progress = Progress("labels", len(examples))
        for number, first in enumerate(range(0, len(examples), UNITS_PER_SHEET)):
            rows = [
                [draw_label(scaled(image), masks.mask(image, label)) for image in examples[label]]
                for label in range(first, min(first + UNITS_PER_SHEET, len(examples)))
            ]
            sheet = join_rows(rows, tiles.pictures, tiles.side)
            most = len(rows) * tiles.pictures * tiles.most_bytes
            (folder / f"sheet_{number}.webp").write_bytes(encode(sheet, most))
            progress.log(first + len(rows))
        progress.finish()
        pixels = len(labels.image_has_category) * labels.height * labels.width
        columns = {
            "labels": [
                [name, int(category)] for name, category in zip(labels.label_name, labels.label_category, strict=True)
            ],
            "pictures": pictures.tolist(),
            "share": [float(f"{area / pixels:.4g}") for area in labels.label_area.tolist()],
            "image": examples,
        }
        write_data(folder / "concepts.js", "concepts/concepts", columns)
    write_checksums(out, out.with_name(out.name + ".sha256"))


def find_examples(labels: ConceptData, most: int) -> tuple[np.ndarray, list[list[int]]]:
    """How many pictures carry each label, int64 (L), and at most so many of them, by falling area and rising number."""
    count = len(labels.label_number)
    pictures = np.zeros(count, np.int64)
    best: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for images, block in labels.blocks(with_category=True, each_plane=False):
        areas = np.zeros((len(images), count), np.int64)
        place = np.repeat(np.arange(len(images)), np.diff(block.mask_start))
        np.add.at(areas, (place, block.mask_label), np.bitwise_count(block.masks).sum(1, dtype=np.int64))
        place = np.repeat(np.arange(len(images)), np.diff(block.whole_start))
        areas[place, block.whole_label] = labels.height * labels.width
        pictures += np.count_nonzero(areas, axis=0)
        for place, label in zip(*map(np.ndarray.tolist, np.nonzero(areas)), strict=True):
            best[label].append((-int(areas[place, label]), int(images[place])))
        best = [sorted(some)[:most] for some in best]
    return pictures, [[image for _, image in some] for some in best]


def main() -> None:
    """Draw the labels of the concept set that the command line names into the folder --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--tiles", type=int, nargs=3, required=True, metavar=("IMAGES", "SIDE", "MOST_BYTES"))
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    draw_concepts(arguments.concepts, Tiles(*arguments.tiles), arguments.out)


if __name__ == "__main__":
    run_command(main)
