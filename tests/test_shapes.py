"""The generated world: labels match pixels, tables match label maps, and bytes follow from the seed."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from attempts import heed_signals
from PIL import Image

from workflow_scripts.data.make_concepts import make_concepts
from workflow_scripts.data.make_images import make_images
from workflow_scripts.data.world import labels, objects, scenes
from workflow_scripts.data.world.canvas import ellipse, render_image, render_labels
from workflow_scripts.data.world.palette import PROTOTYPES, nearest_colours
from workflow_scripts.data.world.patterns import MATERIALS, TEXTURES, Paint, paint_pixels, texture_paint
from workflow_scripts.data.world.pictures import (
    FLOATING,
    ROOMS,
    USUAL_SCENES,
    class_picture,
    concept_picture,
    place,
)
from workflow_scripts.data.world.settings import DEFAULT
from workflow_scripts.data.world.work import picture_generator
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.interruption import INTERRUPTED

ROOT = Path(__file__).resolve().parent.parent
SEED, SIZE, TRAIN, TEST, CONCEPTS = 5, 32, 40, 20, 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_images(SEED, SIZE, TRAIN, TEST, 1, folder / "images")
    make_concepts(SEED, SIZE, CONCEPTS, 1, folder / "concepts")
    return folder


@pytest.fixture(scope="module")
def rows(world):
    return read_csv(world / "concepts" / "index.csv")


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def decode(world: Path, relative: str) -> np.ndarray:
    channels = np.asarray(Image.open(world / "concepts" / "images" / relative).convert("RGB")).astype(int)
    assert not channels[..., 2].any()
    return channels[..., 0] + 256 * channels[..., 1]


def planes_of(world: Path, row: dict[str, str], category: str) -> list[np.ndarray]:
    """The decoded planes of one cell, a whole-image label spread over all pixels."""
    shape = int(row["sh"]), int(row["sw"])
    values = [value for value in row[category].split(";") if value]
    planes = [np.full(shape, int(v)) if v.isdigit() else decode(world, v) for v in values]
    assert all(plane.shape == shape for plane in planes)
    return planes


def drawn_strokes(index: int):
    return concept_picture(index, picture_generator(SEED, "concepts", index), DEFAULT).strokes


def winds_around(polygon: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether the polygon encloses the point: the angles under which its edges are seen add up to a turn."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        cross = (x0 - x) * (y1 - y) - (y0 - y) * (x1 - x)
        dot = (x0 - x) * (x1 - x) + (y0 - y) * (y1 - y)
        total += math.atan2(cross, dot)
    return abs(total) > math.pi


def corners_of(stroke) -> list[tuple[float, float]]:
    return [tuple(corner) for corner in stroke.polygon.tolist()]


# Labels and pixels


@pytest.mark.parametrize("index", [0, 1, 7, 11, 12, 26, 4, 9, 14])
def test_label_maps_name_the_topmost_stroke_at_each_pixel_centre(world, rows, index):
    strokes = [(corners_of(stroke), stroke) for stroke in drawn_strokes(index)]
    object_, part_1, part_2, material = expected = np.zeros((4, SIZE // 2, SIZE // 2), dtype=int)
    for i in range(SIZE // 2):
        for j in range(SIZE // 2):
            x, y = (j + 0.5) / (SIZE // 2), (i + 0.5) / (SIZE // 2)
            top = next(s for polygon, s in reversed(strokes) if winds_around(polygon, x, y))
            object_[i, j] = labels.NUMBERS.get(("object", top.object), 0)
            part_1[i, j] = labels.NUMBERS.get(("part", top.within or top.part), 0)
            part_2[i, j] = labels.NUMBERS.get(("part", top.part), 0) if top.within else 0
            material[i, j] = labels.NUMBERS.get(("material", top.paint.material), 0)
    row = rows[index]
    found = [planes_of(world, row, category) for category in ("object", "part", "material")]
    for planes, truth in zip(found, (expected[:1], expected[1:3], expected[3:]), strict=True):
        assert [plane.tolist() for plane in planes] == [plane.tolist() for plane in truth if plane.any()]


@pytest.mark.parametrize("index", [0, 2, 6, 10, 16, 21])
def test_image_shows_the_labelled_strokes(index):
    """Each stroke has its own colour: where a label pixel has only one colour, that stroke is labelled."""
    strokes = drawn_strokes(index)
    assert len(strokes) < 256
    coded = [replace(s, paint=Paint("code", (i, 255 - i, 7)), outlined=False) for i, s in enumerate(strokes)]
    image = render_image(coded, 64).astype(int)
    blocks = image.reshape(32, 2, 32, 2, 3).swapaxes(1, 2).reshape(32, 32, 4, 3)
    pure = (blocks == blocks[:, :, :1]).all(axis=(2, 3)) & (blocks[:, :, 0, :2].sum(axis=2) == 255)
    pure &= blocks[:, :, 0, 2] == 7
    assert pure.mean() > 0.5
    planes = render_labels(strokes, 32)
    for i, j in np.argwhere(pure):
        stroke = strokes[blocks[i, j, 0, 0]]
        assert planes["object"][0][i, j] == labels.NUMBERS.get(("object", stroke.object), 0)
        assert planes["part"][0][i, j] == labels.NUMBERS.get(("part", stroke.within or stroke.part), 0)
        assert planes["part"][1][i, j] == (labels.NUMBERS["part", stroke.part] if stroke.within else 0)
        assert planes["material"][0][i, j] == labels.NUMBERS.get(("material", stroke.paint.material), 0)


def slow_lab(rgb) -> tuple[float, float, float]:
    """CIELAB under D65, with the rounded constants of the older definition."""
    r, g, b = (v / 255 / 12.92 if v <= 10.3 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_every_prototype_and_plain_tints_have_their_own_name():
    named = {**PROTOTYPES, "light green": (150, 210, 120), "sky": (100, 175, 240), "sand": (246, 214, 116)}
    blocks = np.repeat(np.array([list(named.values())] * 2, dtype=np.uint8), 2, axis=1)
    names = [list(PROTOTYPES)[i] for i in nearest_colours(blocks)[0]]
    assert names == [*PROTOTYPES, "green", "blue", "yellow"]


@pytest.mark.parametrize("index", [0, 3, 4])
def test_colour_label_is_the_prototype_nearest_to_the_written_pixels(world, rows, index):
    image = np.asarray(Image.open(world / "concepts" / "images" / rows[index]["image"])).tolist()
    (plane,) = planes_of(world, rows[index], "color")
    for i in range(SIZE // 2):
        for j in range(SIZE // 2):
            block = [image[2 * i + a][2 * j + b] for a in (0, 1) for b in (0, 1)]
            mean = [sum(pixel[c] for pixel in block) / 4 for c in range(3)]
            distance = {name: math.dist(slow_lab(mean), slow_lab(rgb)) for name, rgb in PROTOTYPES.items()}
            nearest = min(distance, key=distance.get)
            assert plane[i, j] == labels.NUMBERS["color", f"{nearest}-c"]


@pytest.mark.parametrize("name", labels.OBJECTS)
def test_nested_parts_lie_within_their_parent_part(name):
    for seed in range(8):
        strokes = objects.draw_object(name, np.random.default_rng(seed), DEFAULT)
        for stroke in strokes:
            if stroke.within is None:
                continue
            parents = [corners_of(other) for other in strokes if other.part == stroke.within]
            middle = stroke.polygon.mean(axis=0)
            for x, y in (middle + 0.98 * (stroke.polygon - middle)).tolist():
                assert any(winds_around(parent, x, y) for parent in parents), (stroke.part, seed)


def test_vocabulary_is_what_the_drawings_use():
    used = {category: set() for category in ("object", "part")}
    strokes = [s for seed in range(6) for name in scenes.DRAWINGS for s in draw_scene_of(name, seed)]
    for seed in range(6):
        for name in labels.OBJECTS:
            drawn = objects.draw_object(name, np.random.default_rng(seed), DEFAULT)
            assert {stroke.object for stroke in drawn} == {name}
            strokes += drawn
    for stroke in strokes:
        used["object"].add(stroke.object)
        used["part"] |= {stroke.part, stroke.within} - {None}
    assert used == {category: set(labels.NAMES[category]) for category in used}
    assert set(scenes.DRAWINGS) == set(labels.SCENES)
    assert set(objects.DRAWINGS) == set(labels.OBJECTS) == set(USUAL_SCENES) == set(objects.USUAL_PAINTS)
    assert set(USUAL_SCENES.values()) <= set(labels.SCENES)
    for name, paints in objects.USUAL_PAINTS.items():
        drawn = [objects.draw_object(name, np.random.default_rng(seed), DEFAULT) for seed in range(6)]
        assert set(paints) <= {stroke.part for strokes in drawn for stroke in strokes}
        assert {paint for usual in paints.values() for paint in usual} <= {*PROTOTYPES, *MATERIALS}


def draw_scene_of(name: str, seed: int):
    return scenes.draw_scene(name, 0.6, np.random.default_rng(seed))


# Drawing


@pytest.mark.parametrize("name", TEXTURES)
def test_pattern_depends_on_the_place_alone_and_shows_both_colours(name):
    paint = replace(texture_paint(name, 0, np.random.default_rng(3)), first=(0, 0, 0), second=(200, 200, 200))
    grid = (np.arange(60) + 0.5) / 60
    full = paint_pixels(paint, grid, grid).astype(int)
    window = paint_pixels(paint, grid[13:40], grid[5:19])
    assert np.abs(full[5:19, 13:40] - window).max() <= 1
    assert full.max() <= 200 and full.max() - full.min() > 90
    assert 20 < full.mean() < 180


def test_ellipse_has_its_radii():
    outline = ellipse(0.5, 0.4, 0.3, 0.1, turned=math.pi / 2)
    assert np.ptp(outline, axis=0) == pytest.approx([0.2, 0.6], abs=0.01)
    assert outline.mean(axis=0) == pytest.approx([0.5, 0.4])
    upper = ellipse(0, 0, 1, 1, start=180)
    assert upper[:, 1].max() == pytest.approx(0, abs=1e-9) and upper[:, 1].min() < -0.99


@pytest.mark.parametrize("name", labels.OBJECTS)
def test_objects_stay_in_their_room_and_keep_their_size(name):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        left, top = rng.uniform(0, 0.4, 2)
        right, bottom = rng.uniform(0.6, 1, 2)
        side = rng.uniform(0.1, 0.9)
        drawn = objects.draw_object(name, rng, DEFAULT)
        placed = place(name, drawn, side, (left, top, right, bottom), rng, DEFAULT)
        corners = np.concatenate([stroke.polygon for stroke in placed])
        assert (corners >= np.array([left, top]) - 1e-9).all()
        assert (corners <= np.array([right, bottom]) + 1e-9).all()
        extent = np.ptp(corners, axis=0)
        filled = extent / (right - left, bottom - top)
        assert extent.max() == pytest.approx(side) or filled.max() == pytest.approx(1)
        if name not in FLOATING:
            assert bottom - corners[:, 1].max() <= corners[:, 1].min() - top + 1e-9


def test_rooms_of_a_scene_do_not_overlap():
    for rooms in ROOMS.values():
        for (l0, t0, r0, b0), (l1, t1, r1, b1) in combinations(rooms, 2):
            assert r0 <= l1 or r1 <= l0 or b0 <= t1 or b1 <= t0


def test_settings_steer_the_pictures():
    plain = replace(DEFAULT, usual_scene=1.0, texture_background=0.0, clutter=0.0, occlusion=0.0)
    busy = replace(plain, texture_background=1.0, clutter=1.0, occlusion=1.0)
    for seed in range(5):
        strokes = class_picture("fish", np.random.default_rng(seed), plain)
        assert {stroke.object for stroke in strokes} == {"water", "seaweed", "fish"}
        strokes = class_picture("fish", np.random.default_rng(seed), busy)
        assert strokes[0].paint.name in TEXTURES
        assert strokes[1].object is None and strokes[-1].object is None
        assert {stroke.object for stroke in strokes[2:-1]} == {"fish"}


def test_classes_without_an_object_show_their_view_or_surface():
    plain = replace(DEFAULT, clutter=0.0, occlusion=0.0)
    assert set(labels.VIEWS) <= {*labels.SCENES, *MATERIALS, *TEXTURES}
    for name in labels.VIEWS:
        strokes = class_picture(name, np.random.default_rng(0), plain)
        assert not {stroke.object for stroke in strokes} & set(labels.OBJECTS)
        if name in labels.SCENES:
            expected = {stroke.object for stroke in draw_scene_of(name, 0)}
            assert {stroke.object for stroke in strokes} == expected
        else:
            assert [stroke.paint.name for stroke in strokes] == [name]
            assert set(render_labels(strokes, 8)["object"][0].ravel()) == {0}


# Files


@pytest.mark.parametrize(("split", "count"), [("train", TRAIN), ("test", TEST)])
def test_class_folders_hold_fixed_counts(world, split, count):
    files = sorted((world / "images" / split).glob("*/*.png"))
    expected = {(labels.CLASSES[i % len(labels.CLASSES)], f"{i:06d}.png") for i in range(count)}
    assert {(file.parent.name, file.name) for file in files} == expected
    assert {folder.name for folder in (world / "images" / split).iterdir()} == set(labels.CLASSES)
    for file in files:
        image = Image.open(file)
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))


def test_no_image_occurs_twice(world):
    files = [*world.glob("images/*/*/*.png"), *world.glob("concepts/images/shapes/??????.png")]
    assert len(files) == TRAIN + TEST + CONCEPTS
    assert len({np.asarray(Image.open(file)).tobytes() for file in files}) == len(files)


def test_index_is_in_brodens_layout(world, rows):
    header = (world / "concepts" / "index.csv").read_text().splitlines()[0]
    assert header == "image,split,ih,iw,sh,sw,color,object,part,material,scene,texture"
    assert len(rows) == CONCEPTS
    named = {row["image"] for row in rows}
    for row in rows:
        image = Image.open(world / "concepts" / "images" / row["image"])
        assert (image.mode, image.size) == ("RGB", (int(row["iw"]), int(row["ih"])))
        assert (int(row["sh"]), int(row["sw"])) == (SIZE // 2, SIZE // 2)
        for category in labels.CATEGORIES:
            named |= {value for value in row[category].split(";") if value.endswith(".png")}
        assert all(row[category].isdigit() for category in ("scene", "texture") if row[category])
    folder = world / "concepts" / "images"
    assert named == {str(file.relative_to(folder)) for file in folder.rglob("*.png")}
    splits = Counter(row["split"] for row in rows)
    assert set(splits) == {"train", "val"} and 0.15 < splits["val"] / CONCEPTS < 0.45


def test_each_kind_of_image_has_its_categories_only(rows):
    kinds = Counter()
    for row in rows:
        filled = {category for category in labels.CATEGORIES if row[category]}
        if row["scene"]:
            kinds["scene"] += 1
            assert {"color", "object", "part", "scene"} <= filled <= set(labels.CATEGORIES) - {"texture"}
        elif row["texture"]:
            kinds["texture"] += 1
            assert filled == {"color", "texture"}
        else:
            kinds["material"] += 1
            assert filled == {"color", "material"}
    assert kinds == {"scene": CONCEPTS * 0.6, "texture": CONCEPTS * 0.2, "material": CONCEPTS * 0.2}


def test_tables_count_what_the_label_maps_hold(world, rows):
    frequency, coverage, of_category = Counter(), Counter(), {}
    for row in rows:
        for category in labels.CATEGORIES:
            planes = planes_of(world, row, category)
            if category in ("color", "scene", "texture") and planes:
                assert len(planes) == 1 and planes[0].all()
            for number in {int(value) for plane in planes for value in np.unique(plane)} - {0}:
                frequency[number] += 1
                coverage[number] += sum((plane == number).mean() for plane in planes)
                assert of_category.setdefault(number, category) == category

    table = read_csv(world / "concepts" / "label.csv")
    assert list(table[0]) == ["number", "name", "category", "frequency", "coverage", "syns"]
    assert [int(row["number"]) for row in table] == list(range(1, len(table) + 1))
    assert set(frequency) <= set(range(1, len(table) + 1))
    assert len({row["name"] for row in table}) == len(table)
    for row in table:
        number = int(row["number"])
        category, count = row["category"].removesuffix(")").split("(")
        assert of_category.get(number, category) == category
        assert row["name"].endswith("-c") == (category == "color")
        assert row["name"].endswith("-s") == (category == "scene")
        assert int(row["frequency"]) == int(count) == frequency[number]
        assert float(row["coverage"]) == pytest.approx(coverage[number], abs=1e-6)

    summary = read_csv(world / "concepts" / "category.csv")
    assert [row["name"] for row in summary] == list(labels.CATEGORIES)
    for entry in summary:
        own = [row for row in table if row["category"].startswith(entry["name"] + "(")]
        numbers = [int(row["number"]) for row in own]
        assert (int(entry["first"]), int(entry["last"])) == (min(numbers), max(numbers))
        assert int(entry["count"]) == len(own)
        assert int(entry["frequency"]) == sum(frequency[number] for number in numbers)
        codes = read_csv(world / "concepts" / f"c_{entry['name']}.csv")
        assert list(codes[0]) == ["code", "number", "name", "frequency", "coverage"]
        assert [int(row["code"]) for row in codes] == list(range(1, len(own) + 1))
        counts = [int(row["frequency"]) for row in codes]
        assert counts == sorted(counts, reverse=True)
        keys = ("number", "name", "frequency", "coverage")
        assert {tuple(row[key] for key in keys) for row in codes} == {tuple(row[k] for k in keys) for row in own}


def test_part_planes_do_not_repeat_a_label_at_a_pixel(world, rows):
    two_planes = [planes for row in rows if len(planes := planes_of(world, row, "part")) == 2]
    assert two_planes
    for outer, inner in two_planes:
        assert (outer[inner > 0] > 0).all()
        assert (outer[inner > 0] != inner[inner > 0]).all()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_bytes_depend_on_the_seed_and_not_on_the_processes(world, tmp_path):
    make_images(SEED, SIZE, TRAIN, TEST, 2, tmp_path / "images")
    make_concepts(SEED, SIZE, CONCEPTS, 2, tmp_path / "concepts")
    assert contents(tmp_path / "images") == contents(world / "images")
    assert contents(tmp_path / "concepts") == contents(world / "concepts")
    make_images(SEED + 1, SIZE, 2, 0, 1, tmp_path / "other")
    other = contents(tmp_path / "other")
    assert other and all(other[file] != (world / "images" / file).read_bytes() for file in other)


@pytest.fixture
def drawing(tmp_path):
    """A command that draws with two processes, and these, which are at work."""
    words = ["--seed", 1, "--size", 64, "--train", 10**6, "--test", 0, "--processes", 2, "--out", tmp_path / "images"]
    command = [sys.executable, "-m", "workflow_scripts.data.make_images", *words, "--checksums", tmp_path / "list"]
    running = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while len(found := children.read_text().split()) < 2 or not list(tmp_path.rglob("*.png")):
        assert running.poll() is None
        time.sleep(0.01)
    yield running, list(map(int, found))
    running.kill()
    running.wait()


def test_a_helping_process_that_is_killed_ends_the_drawing_with_a_sentence(drawing, tmp_path):
    running, helpers = drawing
    os.kill(helpers[0], signal.SIGKILL)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 1 and said.splitlines()[-1].startswith("error: a process that worked for this step")
    assert "Traceback" not in said and list(tmp_path.iterdir()) == []


def test_helping_processes_end_with_a_drawing_that_is_killed(drawing):
    running, helpers = drawing
    running.kill()
    running.wait()
    deadline = time.monotonic() + 60
    while any(map(runs, helpers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(process: int) -> bool:
    """Tell whether a process has not ended; one that nobody waits for remains as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_ends_a_drawing_with_a_sentence(drawing, tmp_path):
    running, helpers = drawing
    for process in (running.pid, *helpers):
        os.kill(process, signal.SIGINT)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 1 and said.splitlines()[-1] == f"error: {INTERRUPTED}"
    assert "Traceback" not in said and list(tmp_path.iterdir()) == []


def test_pictures_do_not_depend_on_how_many_there_are(world, tmp_path):
    make_images(SEED, SIZE, 17, 0, 1, tmp_path / "images")
    make_concepts(SEED, SIZE, 6, 1, tmp_path / "concepts")
    for folder in ("images", "concepts/images"):
        some = contents(tmp_path / folder)
        assert some.items() <= contents(world / folder).items()


@pytest.mark.parametrize(
    "changed", [{"size": 33}, {"size": 8}, {"train": -1}, {"test": -2}, {"processes": 0}, {"seed": -1}]
)
def test_impossible_worlds_are_refused_before_anything_is_written(tmp_path, changed):
    sound = {"seed": 0, "size": 32, "train": 1, "test": 1, "processes": 1}
    with pytest.raises(UserError, match=next(iter(changed))):
        make_images(**sound | changed, folder=tmp_path / "a")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="count"):
        make_concepts(0, 32, -1, 1, tmp_path / "b")
    assert not list(tmp_path.iterdir())
