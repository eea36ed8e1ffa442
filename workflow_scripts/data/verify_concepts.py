"""Check a packed concept set against its tables and against published numbers.

The pixel totals in `broden1_224_label_pixels.csv` beside this script are recovered from the result files of broden1_224
that were released with CLIP-Dissect and with NetDissect, for label maps of 112 x 112. Of the 598 labels that both have,
29 (25 of them materials) differ between the two by up to 0.25 %, and the others not at all: hence the tolerance. It
applies to all labels, so that the right data are never refused; labels that need it are listed.
"""

import argparse
import json
import logging
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.broden_layout import INDEX_COLUMNS, read_labels
from workflow_scripts.data.csv_tables import table_rows, whole_number
from workflow_scripts.data.hdf5 import MOST_COUNTED, find_dataset, open_hdf5, read_texts, read_whole_numbers
from workflow_scripts.shared.concept_names import table_name
from workflow_scripts.shared.files import UserError, run_command, whole_file

TOLERANCE = 0.0025  # share of a label's published pixels
TOTALS_SIZE = (112, 112)  # of the label maps that the published totals count
DATASETS = ("image_name", "label_number", "label_name", "label_area", "label_category", "category_name", "label_size")


def verify_concepts(
    concepts: Path, folder: Path | None, images: int | None, labels: int | None, pixel_totals: Path | None
) -> dict:
    """Check concepts.h5 against the tables of the folder that it was packed from, and against published numbers.

    Args:
        concepts: the file that `pack_concepts` wrote.
        folder: the concept set in Broden's layout; None if it was joined from others.
        images: how many images there must be; index.csv must then have all of Broden's columns.
        labels: how many labels there must be, numbered from 1 without gaps.
        pixel_totals: CSV of `label,category,pixels`: how many pixels of all label maps carry a label. The category is
            the published one, and the totals refer to label maps of 112 x 112; other maps are not compared. None, here
            and above, means that nothing is checked.

    Returns:
        A summary for people, made of text, numbers, lists and dictionaries.

    Raises:
        UserError: the set is not as expected.
    """
    with open_hdf5(concepts, *DATASETS) as file:
        if folder is not None:
            check_tables(file, concepts, folder, () if images is None else INDEX_COLUMNS)
        numbers = read_whole_numbers(file, "label_number", (None,), 0, 2**16 - 1)
        pictures = len(find_dataset(file, "image_name", str, (None,)))
        check_count(concepts, "images", pictures, images)
        check_count(concepts, "labels", len(numbers), labels)
        if labels is not None and (gaps := numbers != np.arange(1, labels + 1)).any():
            raise UserError(
                f"{concepts} has no label number {np.argmax(gaps) + 1}, though its labels should be 1 to {labels}: fix"
                " label.csv or fetch the set again"
            )
        logging.info("%d images and %d labels", pictures, len(numbers))
        summary = {
            "images": pictures,
            "labels": len(numbers),
            "label_map_size": read_sizes(file).tolist(),
        }
        if pixel_totals is not None:
            summary["pixel_totals"] = compare_totals(file, concepts, pixel_totals)
    return summary


def read_sizes(file: h5py.File) -> np.ndarray:
    """Return the height and width of label maps, int (2,)."""
    return read_whole_numbers(file, "label_size", (2,), 1, 2**16)


def check_tables(file: h5py.File, concepts: Path, folder: Path, columns: tuple[str, ...]) -> None:
    """Raise UserError if the folder's index.csv or label.csv differs from the packed set, or lacks columns."""
    categories = tuple(read_texts(file, "category_name", (None,)))
    rows = table_rows(folder / "index.csv", ["image", *columns, *categories])
    if [row["image"] for _, row in rows] != read_texts(file, "image_name", (None,)):
        raise UserError(f"{concepts} has other images than {folder / 'index.csv'}: delete it and pack the set again")
    labels = [(label.number, table_name(label.name)) for label in read_labels(folder / "label.csv", categories)]
    numbers = read_whole_numbers(file, "label_number", (None,), 0, 2**16 - 1)
    if labels != list(zip(numbers, read_texts(file, "label_name", numbers.shape), strict=True)):
        raise UserError(f"{concepts} has other labels than {folder / 'label.csv'}: delete it and pack the set again")


def check_count(concepts: Path, what: str, found: int, expected: int | None) -> None:
    """Raise UserError if a number differs from the expected one."""
    if expected not in (None, found):
        raise UserError(
            f"{concepts} has {found} {what} and not {expected}: check that its archive is the right one, or correct"
            " concepts.expect"
        )


def compare_totals(file: h5py.File, concepts: Path, pixel_totals: Path) -> dict | str:
    """Compare the labels' areas with published ones; return the differences within the tolerance, or why none were."""
    size = tuple(read_sizes(file))
    if size != TOTALS_SIZE:
        text = "not compared: the totals are of label maps of {} x {}, and these are {} x {}"
        reason = text.format(*TOTALS_SIZE, *size)
        logging.info("pixel totals: %s", reason)
        return reason
    published = read_totals(pixel_totals)
    names, named = (read_texts(file, name, (None,)) for name in ("label_name", "category_name"))
    labels = (len(names),)
    areas = dict(zip(names, read_whole_numbers(file, "label_area", labels, 0, MOST_COUNTED).tolist(), strict=True))
    primary = [named[place] for place in read_whole_numbers(file, "label_category", labels, 0, len(named) - 1)]
    categories = dict(zip(names, primary, strict=True))
    if missing := [label for label in published if label not in areas]:
        raise UserError(
            f"{concepts} lacks the label {missing[0]!r} of {pixel_totals} and {len(missing) - 1} more: "
            "check that its archive is the right one, or set concepts.pixel_totals to none"
        )
    differing = {}
    for label, (_, pixels) in published.items():
        if areas[label] != pixels:
            differing[label] = {"pixels": areas[label], "published": pixels, "difference": areas[label] - pixels}
    off = {label: share(row) for label, row in differing.items() if share(row) > TOLERANCE}
    if off:
        worst = max(off, key=off.__getitem__)
        raise UserError(
            f"{concepts} has {areas[worst]} pixels of the label {worst!r}, where {pixel_totals} has "
            f"{published[worst][1]}, and {len(off) - 1} more labels are off by more than {TOLERANCE:.2%}: "
            "check that its archive is the right one, or set concepts.pixel_totals to none"
        )
    largest = f"{max(map(share, differing.values()), default=0):.3%}"
    logging.info("pixel totals: %d of %d differ, by up to %s", len(differing), len(published), largest)
    return {
        "labels_compared": len(published),
        "equal": len(published) - len(differing),
        "within_tolerance": differing,
        "largest_difference": largest,
        "in_another_category": {
            label: {"here": categories[label], "published": category}
            for label, (category, _) in published.items()
            if categories[label] != category
        },
    }


def share(row: dict[str, int]) -> float:
    """Return a difference as a share of the published pixels."""
    return abs(row["difference"]) / max(row["published"], 1)


def read_totals(path: Path) -> dict[str, tuple[str, int]]:
    """Return the published category and number of pixels of each label; `path` may name a table beside this file."""
    packaged = Path(__file__).with_name(f"{path.name}_label_pixels.csv")
    path = packaged if packaged.is_file() and path.name == str(path) else path
    if not path.is_file():
        raise UserError(f"there is no table {path} of published pixel totals; name the right one, or none")
    totals = {}
    for place, row in table_rows(path, ["label", "category", "pixels"]):
        label = table_name(row["label"])
        if label in totals:
            raise UserError(f"{place}: the label {row['label']!r} appears twice; keep one of its rows")
        totals[label] = row["category"], whole_number(row["pixels"], f"{place}, column pixels")
    if not totals:
        raise UserError(f"{path} has no rows, so there is nothing to compare; name the right table, or none")
    return totals


def main() -> None:
    """Check the packed set that the command line names, and write the summary as JSON to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument("--folder", type=Path, help="the concept set that it was packed from")
    parser.add_argument("--images", type=int, help="how many there must be")
    parser.add_argument("--labels", type=int, help="how many there must be, numbered from 1")
    parser.add_argument(
        "--pixel-totals", type=Path, help="CSV of label,category,pixels for maps of 112 x 112, or broden1_224"
    )
    parser.add_argument("--out", type=Path, required=True, help="the summary to write, in JSON")
    args = parser.parse_args()
    summary = verify_concepts(args.concepts, args.folder, args.images, args.labels, args.pixel_totals)
    with whole_file(args.out) as part:
        part.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
