"""Show what labelled pictures hold: counts on the terminal, examples with their masks on one sheet.

python -m workflow_scripts show_concepts --configfile mine.yaml --out sheet.png

It reads the sources as they lie on disk, and runs nothing. Archives must have been unpacked: it says how.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workflow_scripts.data.broden_layout import Labelled, NumberedLabel, read_concept_set, squeeze
from workflow_scripts.data.concept_sets.formats import read_joined
from workflow_scripts.data.label_masks import label_masks
from workflow_scripts.data.pack_concepts import LabelledPictures
from workflow_scripts.plan.command_line import add_config_arguments, config_of
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.shared.concept_names import COLOUR
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.printable import sentence
from workflow_scripts.shared.progress import Progress

TILE = 160  # pixels a side of an example
TEXT = 28  # pixels of height for what stands below it
ACROSS = 8  # examples beside each other
OUTSIDE = 0.3  # brightness outside of a mask
NAMED = 20  # of labels that were not seen
NAME_WIDTH = 24  # letters of a name that fit below an example


@dataclass
class Look:
    """What some of the pictures of a set hold.

    Attributes:
        looked_at: positions of the pictures.
        sizes: height and width of each, int (N, 2).
        pictures, pixels: how many carry each label, by its number.
        unlabelled: pixels that carry none but of a colour.
        example: the picture in which each label has the most pixels, and how many.
    """

    looked_at: Sequence[int]
    sizes: list[tuple[int, int]] = field(default_factory=list)
    pictures: dict[int, int] = field(default_factory=dict)
    pixels: dict[int, int] = field(default_factory=dict)
    unlabelled: int = 0
    example: dict[int, tuple[int, int]] = field(default_factory=dict)


def look(concepts: LabelledPictures, most: int) -> Look:
    """Read pictures and labels, at most so many, evenly spaced; UserError as the pictures' methods raise."""
    count = len(concepts.names)
    some = min(most, count)
    found = Look([place * count // some for place in range(some)])
    colours = [label.number for label in concepts.labels if concepts.categories[label.categories[0]] == COLOUR]
    progress = Progress("pictures", len(found.looked_at))
    for done, index in enumerate(found.looked_at, 1):
        picture = concepts.picture(index)
        found.sizes.append(picture.shape[:2])
        numbers, masks = masks_of(concepts.labelled(index, picture))
        for number, mask in zip(numbers.tolist(), masks, strict=True):
            area = int(np.count_nonzero(mask))
            found.pictures[number] = found.pictures.get(number, 0) + 1
            found.pixels[number] = found.pixels.get(number, 0) + area
            found.example[number] = max(found.example.get(number, (0, 0)), (area, index))
        found.unlabelled += int(np.count_nonzero(~masks[~np.isin(numbers, colours)].any(axis=0)))
        progress.log(done)
    return found


def masks_of(labelled: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """Return the label numbers of a picture, (labels), and their masks, bool (labels, H, W)."""
    return label_masks(labelled.planes, np.array([number for _, number in labelled.whole], np.uint16))


def describe(concepts: LabelledPictures, found: Look, quantile: float, detector_iou: float) -> list[str]:
    """Return what was found as lines of text; `quantile` and `detector_iou` as in the config's `dissection`."""
    total = len(found.looked_at) * concepts.height * concepts.width
    heights, widths = zip(*found.sizes, strict=True)
    lines = [
        f"{len(concepts.names):,} pictures, label maps of {concepts.height} x {concepts.width};"
        f" {len(concepts.labels):,} labels (categories: {', '.join(concepts.categories)})",
        f"looked at {len(found.looked_at):,} pictures: {min(heights)} to {max(heights)} pixels high, {min(widths)} to"
        f" {max(widths)} wide; {found.unlabelled / total:.1%} of all pixels have no label, colours aside",
        "",
    ]
    seen = [label for label in concepts.labels if label.number in found.pictures]
    seen.sort(key=lambda label: (label.categories[0], -found.pixels[label.number], label.name))
    rows = [
        (
            label.name,
            ", ".join(concepts.categories[place] for place in label.categories),
            f"{found.pictures[label.number]:,}",
            f"{found.pixels[label.number] / total:.3%}",
        )
        for label in seen
    ]
    lines += aligned([("label", "category", "pictures", "pixels"), *rows])
    reach = quantile / detector_iou if detector_iou else 1.0
    if far := [label.name for label in seen if found.pixels[label.number] / total > reach]:
        lines += [
            "",
            f"out of reach, for more than {reach:.1%} of all pixels carry them (quantile {quantile:g}, IoU"
            f" {detector_iou:g}): {', '.join(far)}",
        ]
    if unseen := [label.name for label in concepts.labels if label.number not in found.pictures]:
        more = f" and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
        lines += ["", f"not seen: {', '.join(unseen[:NAMED])}{more}"]
    return lines


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows of cells as lines, the first two columns to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def draw_sheet(concepts: LabelledPictures, found: Look, most: int, out: Path) -> int:
    """Draw an example of each label, darkened outside of its mask, up to so many labels; return how many.

    Of each category as many labels as of the others, where it has them: those with the most pixels.
    """
    chosen = choose_labels(concepts, found, most)
    rows = -(-len(chosen) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * TILE, rows * (TILE + TEXT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, label in enumerate(chosen):
        left, top = place % ACROSS * TILE, place // ACROSS * (TILE + TEXT)
        area, index = found.example[label.number]
        sheet.paste(Image.fromarray(example(concepts, index, label.number)), (left, top))
        share = area / (concepts.height * concepts.width)
        name = label.name if len(label.name) <= NAME_WIDTH else f"{label.name[: NAME_WIDTH - 1]}…"
        draw.text((left + 3, top + TILE + 1), name, "black", font)
        of_category = concepts.categories[label.categories[0]]
        draw.text((left + 3, top + TILE + 13), f"{of_category}, {share:.0%} of it", "dimgrey", font)
    with whole_file(out) as part:
        sheet.save(part, "PNG")
    return len(chosen)


def choose_labels(concepts: LabelledPictures, found: Look, most: int) -> list[NumberedLabel]:
    """Return labels that were seen, by category and pixels, at most so many, in turn from each category."""
    of_category: dict[int, list[NumberedLabel]] = {}
    for label in concepts.labels:
        if label.number in found.pictures:
            of_category.setdefault(label.categories[0], []).append(label)
    ranked = [
        (rank, category, label)
        for category, labels in of_category.items()
        for rank, label in enumerate(sorted(labels, key=lambda label: -found.pixels[label.number]))
    ]
    ranked.sort(key=lambda item: item[:2])
    kept = sorted(ranked[:most], key=lambda item: (item[1], item[0]))
    return [label for _, _, label in kept]


def example(concepts: LabelledPictures, index: int, number: int) -> np.ndarray:
    """Return a picture, uint8 (TILE, TILE, 3), darkened outside of a label's mask."""
    picture = concepts.picture(index)
    numbers, masks = masks_of(concepts.labelled(index, picture))
    mask = Image.fromarray(masks[numbers.tolist().index(number)]).resize((TILE, TILE), Image.Resampling.NEAREST)
    light = np.where(np.asarray(mask), 1.0, OUTSIDE)
    return (squeeze(picture, TILE) * light[..., None]).astype(np.uint8)


def read_pictures(experiment: Experiment) -> LabelledPictures:
    """Return the labelled pictures of an experiment, from where they lie.

    Raises:
        UserError: a rule has to unpack or draw them first; or as the readers do.
    """
    for kind in experiment.concept_kinds:
        folder = experiment.source(kind)
        if experiment.is_made(kind) and not Path(folder).is_dir():
            raise UserError(f"{folder} is not there yet: make it, by snakemake --cores 1 {folder} --configfile ...")
    if not experiment.config["concepts"]["sources"]:
        return read_concept_set(experiment.packed_folder("concepts"))
    return read_joined(*experiment.joined_sets(experiment.packed_folder))


def main() -> None:
    """Print what the pictures of a config's concept sets hold, and draw the sheet.

    Raises:
        UserError: an option is out of range, --out is no PNG file, or no picture has a label; or as the readers.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="the sheet to draw, PNG")
    parser.add_argument("--pictures", type=int, default=500, help="how many to look at, evenly spaced")
    parser.add_argument("--labels", type=int, default=64, help="how many to draw, at most")
    args = parser.parse_args()
    if min(args.pictures, args.labels) < 1:
        raise UserError("--pictures and --labels must be at least 1: correct them")
    # A folder would be replaced.
    if args.out.suffix.lower() != ".png" or args.out.is_dir():
        raise UserError(f"--out is {args.out}: give the path of a file that ends with .png")
    experiment = Experiment(config_of(args))
    concepts = read_pictures(experiment)
    found = look(concepts, args.pictures)
    dissection = experiment.config["dissection"]
    lines = describe(concepts, found, dissection["quantile"], dissection["detector_iou"])
    print("\n".join(map(sentence, lines)))
    if not found.pictures:
        raise UserError("none of these pictures has a label: complete the label maps, or look at more pictures")
    drawn = draw_sheet(concepts, found, args.labels, args.out)
    print(f"\n{sentence(str(args.out))}: an example of {drawn} labels, darkened outside of their masks")


if __name__ == "__main__":
    run_command(main)
