"""The gallery of 2,048 units, 19 levels and 1,197 concepts, opened from disk in Chromium: bytes, memory, scrolling.

    python -m benchmarks.gallery

Pictures are noise with the spectrum of photos, or crops of the pictures in an archive (--pictures FILE.zip or
FILE.tar), with round masks; everything else is random, too. The first level's sheets are drawn, encoded like the
workflow's within the bytes that the default config allows, and copied to the other levels. Then the page is opened and
scrolled from top to bottom at a steady speed, and a unit is opened at all levels. Needs Chromium and Playwright. Prints
the measurements; the last line is one JSON object.
"""

import argparse
import base64
import json
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workflow_scripts.dissect.interpolation import grid
from workflow_scripts.dissect.name_units import least_iou
from workflow_scripts.gallery.histograms import BINS
from workflow_scripts.gallery.label_masks import mask_runs
from workflow_scripts.gallery.site_data import (
    PICTURE_BYTES,
    PICTURES_PER_ROW,
    UNITS_PER_SCRIPT,
    UNITS_PER_SHEET,
    network_folder,
    sheet_file,
    site_files,
    write_call,
    write_data,
    write_layer,
)
from workflow_scripts.gallery.sprites import draw_mask, encode, join_rows, resize

IMAGES, TILE, TILE_BYTES = 5, 96, 2500  # as in the default config
BEST, LABELS = 5, 1197  # as many labels as Broden has
CATEGORIES = ["color", "object", "part", "material", "scene", "texture"]
LAYER = "layer4"
PICTURES = 400  # different pictures
SET, MAP, LABEL = 63_305, 7, 112  # pictures of Broden; sides of ResNet-50's last maps and of Broden's label maps
ENLARGED, SHEETS = 224, 12  # side of an enlarged picture; different sheets of them
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1400, 900  # of the window
VIEWS = {"first_view_by_number": "#sort=unit", "first_view": ""}
SPEED = 3000  # pixels a second, a fast wheel

SCROLL = """async (speed) => {
  const frames = [], tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
    .observe({ type: "longtask" });
  const end = document.documentElement.scrollHeight - innerHeight;
  const start = await new Promise(requestAnimationFrame);
  for (let before = start, y = 0; y < end; ) {
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
    y = (speed * (now - start)) / 1000;
    scrollTo(0, y);
  }
  return { frames, tasks };
}"""


def main() -> None:
    """Write a gallery of made-up units, visit it in Chromium, and print the measurements, finally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--levels", type=int, default=19)
    parser.add_argument("--pictures", type=Path, help="a zip or tar archive of JPEG files")
    parser.add_argument("--folder", type=Path, help="keep the gallery here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gallery_") as scratch:
        folder = arguments.folder or Path(scratch)
        pictures = cut_pictures(arguments.pictures) if arguments.pictures else noise_pictures()
        sheets = [*draw_sheets(pictures, arguments.units)]
        write_synthetic(folder, sheets, arguments.units, arguments.levels)
        write_pictures(folder, pictures)
        found = sizes(folder, arguments.levels) | visit(folder)
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {value}")
    print(json.dumps(found))


# ---------------------------------------------------------------- a synthetic gallery


def noise_pictures() -> list[np.ndarray]:
    """Pictures uint8 (TILE, TILE, 3) whose amplitudes fall with the frequency, as in photos."""
    random = np.random.default_rng(0)
    across = np.fft.fftfreq(TILE)
    frequency = np.hypot(across[:, None], across)[..., None].clip(1 / TILE)
    noise = random.normal(size=(PICTURES, TILE, TILE, 3)) @ (np.eye(3) + 1.5)  # correlated colours
    drawn = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) / frequency, axes=(1, 2)).real
    drawn *= 55 / drawn.std(axis=(1, 2, 3), keepdims=True)
    return [*(128 + drawn).clip(0, 255).astype(np.uint8)]


def cut_pictures(archive: Path) -> list[np.ndarray]:
    """The middle squares of the first pictures in an archive, uint8 (TILE, TILE, 3)."""
    pictures = []
    for file in open_members(archive):
        image = Image.open(file, formats=["JPEG"]).convert("RGB")
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        pictures.append(resize(np.asarray(image.crop((left, top, left + side, top + side))), TILE))
        if len(pictures) == PICTURES:
            break
    return pictures


def open_members(archive: Path) -> Iterator:
    """The JPEG files of a zip or tar archive, opened one after another."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            names = sorted(file.namelist())
            yield from (file.open(name) for name in names if name.endswith((".jpg", ".jpeg")))
        return
    with tarfile.open(archive) as file:
        yield from (file.extractfile(each) for each in file if each.name.endswith((".jpg", ".jpeg")))


def draw_sheets(pictures: list[np.ndarray], units: int) -> Iterator[bytes]:
    """The sheets of a layer: each unit's pictures, with a random blob on each."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:TILE, :TILE] / TILE
    for first in range(0, units, UNITS_PER_SHEET):
        rows = []
        for _ in range(first, min(units, first + UNITS_PER_SHEET)):
            centres = random.uniform(0.2, 0.8, (IMAGES, 2))
            masks = [np.hypot(y - down, x - right) < random.uniform(0.1, 0.3) for down, right in centres]
            chosen = random.choice(len(pictures), IMAGES, replace=False)
            rows.append([draw_mask(pictures[image], mask) for image, mask in zip(chosen, masks, strict=True)])
        yield encode(join_rows(rows, IMAGES, TILE), len(rows) * IMAGES * TILE_BYTES)


def write_synthetic(folder: Path, sheets: list[bytes], units: int, levels: int) -> None:
    """Write a gallery of one arm and replicate; all networks use these sheets in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    networks, detectors = [], []
    for level in range(levels):
        network = network_folder("imp", 1, level)
        sheet_file(folder / network, 0, 0).parent.mkdir(parents=True)
        for number in range(-(-units // UNITS_PER_SHEET)):
            sheet_file(folder / network, 0, number).write_bytes(sheets[number % len(sheets)])
        columns = random_columns(units, level)
        write_layer(folder / network, network, "layer_0", columns)
        write_layer(folder / network, network, "layer_0_histograms", random_histograms(units, level))
        for number, some in enumerate(random_maps(units, level)):
            write_layer(folder / network, network, f"layer_0_maps_{number}", some)
        detected = [best[0] for best in columns["best"] if best[1] > 0.04]
        numbers = [int(columns["labels"][place][0].split()[1]) for place in detected]
        units_of = [unit for unit, best in enumerate(columns["best"]) if best[1] > 0.04]
        detectors.append([[each for pair in zip(units_of, numbers, strict=True) for each in pair]])
        layer = {"name": LAYER, "units": units, "detectors": len(detected), "concepts": len(set(detected))}
        networks.append(
            {"arm": "imp", "name": "iterative magnitude pruning", "same_units": True, "replicate": 1, "level": level}
            | {"density": 0.8**level, "accuracy": 0.76 - 0.002 * level, "folder": network, "layers": [layer]}
        )
    experiment = {"name": "synthetic", "quantile": 0.005, "detector_iou": 0.04, "detector_rule": "above"}
    experiment |= {"least_iou": least_iou(0.04, "above")}
    experiment |= {"tile": TILE, "images": IMAGES, "units_per_sheet": UNITS_PER_SHEET, "categories": CATEGORIES}
    experiment |= {"units_per_script": UNITS_PER_SCRIPT, "pictures_per_row": PICTURES_PER_ROW, "enlarged_pixels": 224}
    write_call(folder / "experiment.js", "experiment", experiment | {"networks": networks})
    labels = [[f"concept {number}", number % len(CATEGORIES)] for number in range(LABELS)]
    write_data(folder / "detectors.js", "detectors", {"labels": labels, "networks": detectors})
    write_concepts(folder, sheets)
    for file in site_files():
        shutil.copy(file, folder)


def random_columns(units: int, level: int) -> dict:
    """The contents of a layer's data script (see `site_data`): units keep their concepts, and their IoU falls."""
    random, of_level = np.random.default_rng(2), np.random.default_rng(level)
    label = (LABELS * random.random((units, BEST)) ** 2).astype(int)  # some concepts are frequent
    iou = random.gamma(2, 0.04, units) * of_level.uniform(0.7, 1.1, units) * 0.96**level
    best_iou = iou[:, None] * np.cumprod(np.c_[np.ones(units), of_level.uniform(0.5, 0.9, (units, BEST - 1))], axis=1)
    used, position = np.unique(label, return_inverse=True)
    flat = np.stack([position.reshape(label.shape), np.round(best_iou, 4)], -1).reshape(units, -1)
    image = of_level.integers(0, 63_305, (units, IMAGES))
    return {
        "labels": [[f"concept {number}", int(number) % len(CATEGORIES)] for number in used],
        "best": [[int(value) if place % 2 == 0 else value for place, value in enumerate(row)] for row in flat.tolist()],
        "slot": np.argsort(np.argsort(-np.round(best_iou[:, 0], 4), kind="stable")).tolist(),
        "chance": of_level.uniform(0.001, 0.02, units).round(6).tolist(),
        "agreement": (of_level.integers(0, 41, units) / 40).tolist(),  # of 40 halves, as in `validate_units`
        "threshold": of_level.uniform(1, 3, units).round(3).tolist(),
        "maximum": of_level.uniform(4, 9, units).round(3).tolist(),
        "dead": [],
        "shown": [IMAGES] * units,
        "image": image.tolist(),
    }


def random_histograms(units: int, level: int) -> dict:
    """The contents of a layer's script of histograms: counts that fall towards the maximum."""
    random = np.random.default_rng(level)
    falling = 10 ** np.linspace(5, 0.5, BINS) * random.uniform(0.2, 1.8, (units, BINS))
    return {"samples": SET * MAP**2, "low": [0.0] * units, "counts": falling.astype(int).tolist()}


def random_maps(units: int, level: int) -> Iterator[dict]:
    """The contents of a layer's scripts of maps; the labels are blobs with a rough edge."""
    random = np.random.default_rng(level)
    knots = grid((MAP, MAP), (LABEL, LABEL), "align_corners_false")
    axis = [*knots.rows.tolist(), knots.row_weight.tolist()]
    y, x = np.mgrid[:LABEL, :LABEL] / LABEL
    labels = []
    for _ in range(PICTURES):
        down, right, rough = random.uniform(0.2, 0.8), random.uniform(0.2, 0.8), random.uniform(0, 0.02, (LABEL, LABEL))
        labels.append(mask_runs(np.hypot(y - down, x - right) + rough < random.uniform(0.1, 0.4)))
    for first in range(0, units, UNITS_PER_SCRIPT):
        some = []
        for _ in range(first, min(first + UNITS_PER_SCRIPT, units)):
            values = base64.b64encode(random.normal(size=(IMAGES, MAP, MAP)).astype("<f2").tobytes()).decode()
            chosen = [labels[place] for place in random.integers(0, PICTURES, IMAGES)]
            some.append({"cut": 1.5, "values": values, "labels": chosen})
        yield {"size": [MAP, MAP], "half": True, "border": 0, "rows": axis, "columns": axis, "units": some}


def write_concepts(folder: Path, sheets: list[bytes]) -> None:
    """Write what the pages of concepts load: all labels of a concept set, with these sheets in turn."""
    (folder / "concepts").mkdir()
    for number in range(-(-LABELS // UNITS_PER_SHEET)):
        (folder / "concepts" / f"sheet_{number}.webp").write_bytes(sheets[number % len(sheets)])
    labels = [[f"concept {number}", number % len(CATEGORIES)] for number in range(LABELS)]
    examples = np.random.default_rng(0).integers(0, SET, (LABELS, IMAGES)).tolist()
    columns = {"labels": labels, "pictures": [500] * LABELS, "share": [0.01] * LABELS, "image": examples}
    write_data(folder / "concepts" / "concepts.js", "concepts/concepts", columns)


def write_pictures(folder: Path, pictures: list[np.ndarray]) -> None:
    """Write the enlarged pictures of a concept set as large as Broden; a few sheets are encoded and used in turn."""
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    sheets = []
    for _ in range(SHEETS):
        chosen = random.choice(len(pictures), (PICTURES_PER_ROW, PICTURES_PER_ROW))
        rows = [[resize(pictures[place], ENLARGED) for place in row] for row in chosen]
        sheet = join_rows(rows, PICTURES_PER_ROW, ENLARGED)
        sheets.append(encode(sheet, PICTURES_PER_ROW**2 * PICTURE_BYTES))
    for number in range(-(-SET // PICTURES_PER_ROW**2)):
        (folder / "pictures" / f"sheet_{number}.webp").write_bytes(sheets[number % SHEETS])
    names = [f"opensurfaces/{number:06}.jpg" for number in range(SET)]
    write_data(folder / "pictures" / "names.js", "pictures/names", names)


# ---------------------------------------------------------------- what it takes


def sizes(folder: Path, levels: int) -> dict:
    """Return the sizes of a gallery's files: in total, of a level, of a level's data script, and of the page alone."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    enlarged = [path for path in files if path.parent.name == "pictures" or "_maps_" in path.name]
    total, to_enlarge = (sum(path.stat().st_size for path in some) for some in (files, enlarged))
    total -= to_enlarge
    script = folder / network_folder("imp", 1, 0) / "layer_0.js"
    return {
        "gallery_megabytes": round(total / 1e6, 1),
        "gallery_files": len(files) - len(enlarged),
        "megabytes_to_enlarge": round(to_enlarge / 1e6, 1),
        "files_to_enlarge": len(enlarged),
        "megabytes_of_a_level": round(total / levels / 1e6, 1),
        "kilobytes_of_a_levels_data": round(script.stat().st_size / 1e3),
        "kilobytes_of_the_page": round(sum(path.stat().st_size for path in site_files()) / 1e3),
    }


def visit(folder: Path) -> dict:
    """Open the gallery, scroll through it, open a unit at all levels, and return what that took."""
    from playwright.sync_api import sync_playwright  # needed only here

    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None) or sys.exit("Chromium is missing: install it")
    loaded: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, offline=True).new_page()
        page.on("request", lambda request: loaded.append(request.url))
        result = {}
        for view, address in VIEWS.items():
            loaded.clear()
            page.goto("about:blank")
            page.goto((folder / "index.html").as_uri() + address)
            page.wait_for_selector(".card")
            page.wait_for_load_state("networkidle")
            result[view] = bytes_of(loaded)
        scrolled = page.evaluate(SCROLL, SPEED)
        result |= smoothness(scrolled) | page_memory(browser)
        loaded.clear()
        page.locator(".card").last.click()
        page.wait_for_selector("#across li")
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")  # the last levels' pictures, too
        page.wait_for_timeout(1000)
        result |= {"a_unit_at_all_levels": bytes_of(loaded)}
        browser.close()
    return result


def page_memory(browser: Any) -> dict:
    """Memory of the process that holds the page, in MB: its own, and that shared with the browser (Linux).

    The shared memory holds decoded pictures; the browser keeps as many as fit into memory that it can reclaim.
    """
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    statuses = [Path(f"/proc/{each['id']}/status").read_text() for each in processes if each["type"] == "renderer"]
    kinds = {"megabytes_of_memory": "RssAnon", "megabytes_of_decoded_pictures": "RssShmem"}
    return {
        name: round(max(int(re.findall(rf"{kind}:\s+(\d+)", status)[0]) for status in statuses) / 1e3)
        for name, kind in kinds.items()
    }


def bytes_of(addresses: list[str]) -> str:
    """How many files were loaded, and their total size."""
    paths = {Path(address.removeprefix("file://")) for address in addresses if address.startswith("file://")}
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.2f} MB in {len(paths)} files"


def smoothness(scrolled: dict) -> dict:
    """Return how long frames ("frames") and long tasks ("tasks") took while scrolling, in milliseconds."""
    frames = np.array(scrolled["frames"])
    return {
        "frames": len(frames),
        "median_frame_ms": round(float(np.median(frames)), 1),
        "99th_percentile_frame_ms": round(float(np.percentile(frames, 99)), 1),
        "longest_frame_ms": round(float(frames.max()), 1),
        "share_of_frames_over_50_ms": round(float((frames > 50).mean()), 4),
        "long_tasks": len(scrolled["tasks"]),
        "longest_task_ms": round(max(scrolled["tasks"], default=0)),
    }


if __name__ == "__main__":
    main()
