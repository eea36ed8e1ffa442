"""Draw units at several levels as a figure, from the pictures in the gallery.

Each unit and level has a row; the text of a row is grey if the unit detects nothing.

python -m workflow_scripts draw_unit --gallery results/shapes/gallery --arm imp --layer stages.3 --unit 12 --out 12.pdf
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from workflow_scripts.figures.numbers import rounded
from workflow_scripts.figures.style import COLUMN_WIDTH, FORMATS, GREY, METADATA, STYLE, small
from workflow_scripts.gallery.site_data import read_call, sheet_file
from workflow_scripts.shared.concept_names import shown_name
from workflow_scripts.shared.files import UserError, reading, require_file, run_command, whole_file

TEXT_WIDTH, ROW_HEIGHT = 1.15, 0.44  # inches: beside the pictures; at least, so that three lines have room
LETTERS = 22  # of a line
WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # what scripts of another kind raise


def draw_unit(
    gallery: Path, arm: str, replicate: int, layer: str, units: list[int], levels: list[int], width: float
) -> Figure:
    """Draw some units of an arm's networks, their pictures beside the concept and the IoU of each.

    Args:
        gallery: the gallery's folder.
        arm: its name.
        replicate: its number.
        layer: of its networks, the layer that has the units.
        units: their numbers.
        levels: those to show; all without any.
        width: of the figure, in inches.

    Raises:
        UserError: the gallery has no such arm, replicate, layer, unit or level, or a file of it is missing or damaged.
    """
    with reading(f"{gallery}: a script", *WRONG):
        rows, about = list_rows(gallery, arm, replicate, layer, units, levels)
    across = width - TEXT_WIDTH
    height = max(across / about["images"], ROW_HEIGHT)
    figure = Figure(figsize=(width, height * len(rows)))
    for place, (pictures, text, colour) in enumerate(rows):
        bottom = 1 - (place + 1) / len(rows)
        axes = figure.add_axes((TEXT_WIDTH / width, bottom, across / width, 0.96 / len(rows)), anchor="W")
        axes.imshow(pictures, interpolation="nearest")
        axes.set_axis_off()
        figure.text(0, bottom + 0.48 / len(rows), text, va="center", fontsize=small(), color=colour)
    return figure


def list_rows(
    gallery: Path, arm: str, replicate: int, layer: str, units: list[int], levels: list[int]
) -> tuple[list[tuple[np.ndarray, str, str]], dict]:
    """The rows of the figure, as `unit_row` returns them, and what the gallery says about itself."""
    (about,) = read_call(gallery / "experiment.js")
    if min(about[key] for key in ("images", "tile", "units_per_sheet")) < 1:
        raise ValueError("images, tile and units_per_sheet must be at least 1")
    networks = [each for each in about["networks"] if (each["arm"], each["replicate"]) == (arm, replicate)]
    if not networks:
        raise UserError(f"{gallery} has no replicate {replicate} of the arm {arm}: choose one that it shows")
    if lacking := set(levels) - {network["level"] for network in networks}:
        raise UserError(f"{gallery} has no level {min(lacking)} of {arm}: choose levels that it shows")
    has_layer = [each for each in networks if layer in [own["name"] for own in each["layers"]]]
    chosen = [each for each in networks if each["level"] in levels] if levels else has_layer or networks[:1]
    return [unit_row(gallery, about, network, layer, unit) for unit in units for network in chosen], about


def unit_row(gallery: Path, about: dict, network: dict, layer: str, unit: int) -> tuple[np.ndarray, str, str]:
    """A unit's pictures in a network, uint8 (side, images * side, 3), what is said of it, and in which colour."""
    names = [each["name"] for each in network["layers"]]
    if layer not in names:
        raise UserError(f"{network['folder']} has no layer {layer} in {gallery}: choose {' or '.join(names)}")
    index, folder = names.index(layer), gallery / network["folder"]
    script = folder / f"layer_{index}.js"
    _, columns = read_call(script)
    if not 0 <= unit < len(columns["slot"]):
        raise UserError(f"{script} has no unit {unit}: choose one from 0 to {len(columns['slot']) - 1}")
    sheet, row = divmod(columns["slot"][unit], about["units_per_sheet"])
    path, side = sheet_file(folder, index, sheet), about["tile"]
    require_file(path, "run snakemake again")
    with reading(path, ValueError), Image.open(path, formats=["WEBP"]) as image:
        pictures = np.asarray(image.convert("RGB"))[row * side : (row + 1) * side].copy()
        if len(pictures) != side:
            raise ValueError(f"it ends above the pictures of unit {unit}")
    pictures[:, columns["shown"][unit] * side :] = 255
    best = columns["best"][unit]
    density = "" if network["density"] is None else f", {rounded(100 * network['density'])} %"
    detects = bool(best) and best[1] >= about["least_iou"]
    if best:
        label, category = columns["labels"][best[0]]
        said = textwrap.shorten(shown_name(label, about["categories"][category]), LETTERS - 6, placeholder="…")
        said = f"{said} {best[1]:.3f}"
    else:
        said = "dead" if unit in columns["dead"] else "overlaps no concept"
    return pictures, f"unit {unit}\nlevel {network['level']}{density}\n{said}", "black" if detects else GREY


def main() -> None:
    """Draw the units that the command line names into the file --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=Path, required=True, help="the folder results/<experiment>/gallery")
    parser.add_argument("--arm", required=True, help="as the config names it")
    parser.add_argument("--replicate", type=int, default=1)
    parser.add_argument("--layer", required=True)
    parser.add_argument("--unit", type=int, nargs="+", required=True, help="numbers of units")
    parser.add_argument("--level", type=int, nargs="+", default=[], help="levels to show, if not all")
    parser.add_argument("--width", type=float, default=COLUMN_WIDTH, help="inches (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help=f"a file that ends with .{', .'.join(FORMATS)}")
    args = parser.parse_args()
    form = args.out.suffix.lower().removeprefix(".")
    if form not in FORMATS or args.out.is_dir():
        raise UserError(f"--out is {args.out}: give the path of a file that ends with .{', .'.join(FORMATS)}")
    if not 2 * TEXT_WIDTH < args.width < 100:
        raise UserError(f"--width is {args.width:g}: give a number of inches from {2 * TEXT_WIDTH:g} to 100")
    with rc_context(STYLE):
        figure = draw_unit(
            args.gallery, args.arm, args.replicate, args.layer, args.unit, sorted(set(args.level)), args.width
        )
        with whole_file(args.out) as part:
            figure.savefig(part, format=form, metadata=METADATA[form])


if __name__ == "__main__":
    run_command(main)
