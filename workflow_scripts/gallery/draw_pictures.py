"""Draw the pictures that the gallery enlarges, each once, however many units show it."""

import argparse
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workflow_scripts.data.hdf5 import read_texts
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.gallery.draw_units import stored_pictures
from workflow_scripts.gallery.site_data import PICTURE_BYTES, PICTURES_PER_ROW, network_folder, read_call, write_data
from workflow_scripts.gallery.sprites import encode, join_rows, resize
from workflow_scripts.plan.network_words import read_words
from workflow_scripts.shared.files import reading, run_command, whole_file, write_checksums
from workflow_scripts.shared.progress import Progress


def draw_pictures(concepts: str | Path, networks: Iterable[Path], pixels: int, out: Path, threads: int = 1) -> None:
    """Write names.js and sheets of pictures into the folder `out`, and their checksums beside it.

    `site_data` describes them. There are the sheets of which the units of the drawn `networks`, their folders, show a
    picture. A picture is a square of `pixels` a side, or of as many as it has; its quality is lowered to fit in
    PICTURE_BYTES.

    Raises:
        UserError: the concept set or a network's script is missing or damaged.
    """
    per_sheet = PICTURES_PER_ROW**2
    with ConceptData(concepts) as labels, whole_file(out) as folder:
        folder.mkdir(parents=True)
        count = len(labels.image_has_category)
        pictures = stored_pictures(labels)
        side = min(pixels, *pictures.shape[1:3])
        sheets = sorted({image // per_sheet for image in shown_images(networks)})

        def draw(number: int) -> None:
            first = number * per_sheet
            some = [resize(picture, side) for picture in pictures.read(first, min(first + per_sheet, count))]
            rows = [some[start : start + PICTURES_PER_ROW] for start in range(0, len(some), PICTURES_PER_ROW)]
            sheet = join_rows(rows, PICTURES_PER_ROW, side)
            (folder / f"sheet_{number}.webp").write_bytes(encode(sheet, len(some) * PICTURE_BYTES))

        progress = Progress("sheets of pictures", len(sheets))
        with ThreadPoolExecutor(threads) as pool:
            for done, _ in enumerate(pool.map(draw, sheets), 1):
                progress.log(done)
        progress.finish()
        write_data(folder / "names.js", "pictures/names", read_texts(labels.file, "image_name", (count,)))
    write_checksums(out, out.with_name(out.name + ".sha256"))


def shown_images(networks: Iterable[Path]) -> set[int]:
    """The numbers of the pictures that the units of drawn networks show."""
    shown: set[int] = set()
    for folder in networks:
        for script in sorted(folder.glob("layer_*.js")):
            if script.stem.removeprefix("layer_").isdigit():
                with reading(script, KeyError, TypeError, ValueError):
                    _, columns = read_call(script)
                    shown.update(*columns["image"])
    return shown


def main() -> None:
    """Draw the pictures that the drawn networks on the command line show into the folder --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--gallery", type=Path, required=True, help="the folder where networks are drawn")
    parser.add_argument(
        "--networks",
        nargs="+",
        action="append",
        required=True,
        metavar=("ARM", "REPLICATE/LEVEL"),
        help="the drawn networks of an arm; once for each arm",
    )
    parser.add_argument("--pixels", type=int, required=True, help="the side of a picture, at most")
    parser.add_argument("--threads", type=int, default=1, help="that draw sheets")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    networks = [arguments.gallery / network_folder(*key) for key in read_words(arguments.networks)]
    draw_pictures(arguments.concepts, networks, arguments.pixels, arguments.out, arguments.threads)


if __name__ == "__main__":
    run_command(main)
