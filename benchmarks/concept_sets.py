"""Pack synthetic photographs with label maps: pictures per second and peak memory, for sets of increasing size.

python -m benchmarks.concept_sets --folder FOLDER

A pool of different pictures (JPEG, 500 x 375, smooth noise; label maps of the same size with 150 labels) is linked
under as many names as requested, so that files are read and decoded as often as for a set of that size. If memory does
not rise from one size to the next, it does not for larger sets. Prints a table; the last line is one JSON object.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.processes import Taken, take

POOL = 100
HEIGHT, WIDTH, LABELS = 375, 500, 150
RULES = {
    "label_size": 112,
    "colours": True,
    "synonyms": "none",
    "categories": {},
    "least_pictures": 10,
    "least_pixels": 1000,
    "largest_share": 1,
}


def draw_pool(folder: Path) -> None:
    """Draw the pool of pictures and label maps."""
    random = np.random.default_rng(0)
    for kind in ("images", "maps"):
        (folder / "pool" / kind).mkdir(parents=True, exist_ok=True)
    for place in range(POOL):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / f"pool/images/{place}.jpg", quality=90)
        regions = Image.fromarray(random.choice(random.integers(0, LABELS + 1, 12), (6, 8)).astype(np.uint8))
        regions.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(folder / f"pool/maps/{place}.png")


def link_set(folder: Path, pictures: int) -> Path:
    """Return the folder of a set of `pictures` pictures, which are links to the pool."""
    made = folder / f"set_{pictures}"
    for kind, ending in (("images", "jpg"), ("maps", "png")):
        (made / kind).mkdir(parents=True, exist_ok=True)
        for place in range(pictures):
            link = made / kind / f"{place:07d}.{ending}"
            if not link.exists():
                os.link(folder / f"pool/{kind}/{place % POOL}.{ending}", link)
    (made / "names.txt").write_text("\n".join(["nothing", *(f"label {number}" for number in range(1, LABELS + 1))]))
    return made


def pack(folder: Path, threads: int) -> Taken:
    """Pack a set in a process of its own, and return what it took."""
    options = {"pictures": "images/{}.jpg", "label_maps": "maps/{}.png", "names": "names.txt", "nothing": [0]}
    item = {"name": "a", "format": "label_maps", "category": "object", "folder": str(folder), "options": options}
    command = [sys.executable, "-m", "workflow_scripts.data.pack_concepts", "--image-size", "224"]
    command += ["--sets", json.dumps([item | {"pictures_folder": str(folder)}]), "--rules", json.dumps(RULES)]
    command += ["--threads", str(threads), "--out", str(folder / "concepts.h5")]
    taken = take(command)
    (folder / "concepts.h5").unlink()
    return taken


def main() -> None:
    """Pack sets of the sizes on the command line; print pictures per second and peak memory, finally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder on a file system with hard links")
    parser.add_argument("--pictures", type=int, nargs="+", default=[2000, 4000, 8000, 16000])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    draw_pool(args.folder)
    print(f"{'pictures':>8}  {'seconds':>8}  {'per s':>8}  {'MB':>6}")
    result = {"threads": args.threads}
    for pictures in args.pictures:
        taken = pack(link_set(args.folder, pictures), args.threads)
        seconds, megabytes = taken.seconds, taken.megabytes
        print(f"{pictures:8d}  {seconds:8.1f}  {pictures / seconds:8.0f}  {megabytes:6.0f}", flush=True)
        result |= {f"{pictures}_a_second": round(pictures / seconds), f"{pictures}_megabytes": round(megabytes)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
