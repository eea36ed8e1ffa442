"""Tiny sets of labelled pictures in the layouts in which published ones come, and which labels they carry where.

Each function writes a set of pictures below a folder, and returns `Carried`: of each picture, named as its reader names
it, the mask of each label (name, category).
"""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Carried = dict[str, dict[tuple[str, str], np.ndarray]]


def carried_by(reader) -> Carried:
    """What a reader says, in the form that the functions here return; labels without a pixel do not count."""
    found: Carried = {}
    for index, name in enumerate(reader.names):
        annotation = reader.annotation(index)
        of_picture: dict[tuple[str, str], np.ndarray] = {}
        for plane in annotation.planes:
            for code in range(1, len(reader.labels) + 1):
                if (mask := plane == code).any():
                    label = tuple(reader.labels[code - 1])
                    of_picture[label] = of_picture[label] | mask if label in of_picture else mask
        for position in annotation.whole:
            of_picture[tuple(reader.labels[position])] = np.ones((1, 1), bool)
        found[name] = of_picture
    return found


def assert_same(found: Carried, expected: Carried) -> None:
    """Assert that the same pictures carry the same labels at the same pixels, pictures in the same order."""
    assert list(found) == list(expected)
    for name, of_picture in expected.items():
        assert found[name].keys() == of_picture.keys(), name
        for label, mask in of_picture.items():
            assert np.array_equal(found[name][label], mask), (name, label)


def write_jpeg(path: Path, height: int, width: int, seed: int = 0) -> None:
    """Write a picture of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def blocks(height: int, width: int, *values: int) -> np.ndarray:
    """A map (height, width) of values in upright stripes, from the left."""
    return np.repeat(np.array(values), -(-width // len(values)))[None, :width].repeat(height, 0)


def masks_of(maps: list[np.ndarray], labels: dict[int, tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
    """The mask of each label that a value in one of the maps stands for."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for values in maps:
        for value, label in labels.items():
            if (values == value).any():
                found[label] = found.get(label, np.zeros(values.shape, bool)) | (values == value)
    return found


# ADE20K: numbers of classes, and their names. 300 needs red; 1 and 300 share their first name.
ADE_NAMES = {
    1: "screen, silver screen",
    2: "person, individual, someone",
    7: "-",
    300: "screen, crt screen",
    301: "leg",
}
ADE_COUNTS = {1: 1, 2: 9, 7: 3, 300: 5, 301: 2}  # 300 has more objects, and is the screen
ADE_OBJECTS = {1: ("silver screen", "object"), 2: ("person", "object"), 300: ("screen", "object")}
ADE_PARTS = {2: ("person", "part"), 300: ("screen", "part"), 301: ("leg", "part")}


def ade_pixels(classes: np.ndarray) -> np.ndarray:
    """The colours of a label map of ADE20K; blue, which has instances, and the last digit of red are of no account."""
    red = classes // 256 * 10 + np.arange(classes.size).reshape(classes.shape) % 10
    return np.stack([red, classes % 256, np.full(classes.shape, 90)], -1).astype(np.uint8)


def write_ade_maps(folder: Path, stem: str, objects: np.ndarray, *parts: np.ndarray) -> dict:
    """Write a picture of ADE20K with its maps of objects and of levels of parts; return the masks of its labels."""
    write_jpeg(folder / f"{stem}.jpg", *objects.shape)
    write_png(folder / f"{stem}_seg.png", ade_pixels(objects))
    for level, values in enumerate(parts, 1):
        write_png(folder / f"{stem}_parts_{level}.png", ade_pixels(values))
    return masks_of([objects], ADE_OBJECTS) | masks_of(list(parts), ADE_PARTS)


def write_ade20k_2016(folder: Path) -> Carried:
    """The releases of 2016 and 2017: names and scenes in index_ade20k.mat; folders by the first letter."""
    stems = {
        "images/training/a/airport_terminal/ADE_train_00000001": "airport_terminal",
        "images/training/outliers/b/bar/ADE_train_00000002": "~not labeled",
        "images/validation/c/church/indoor/ADE_val_00000001": "church - indoor",
    }
    first, second, third = stems
    carried = {
        first: write_ade_maps(folder, first, blocks(6, 9, 0, 1, 300), blocks(6, 9, 301, 2, 0), blocks(6, 9, 0, 0, 300)),
        second: write_ade_maps(folder, second, blocks(4, 6, 2, 7, 0)),
        third: write_ade_maps(folder, third, blocks(5, 7, 300), blocks(5, 7, 0, 301)),
    }
    carried[first]["airport_terminal", "scene"] = np.ones((1, 1), bool)
    carried[third]["church-indoor", "scene"] = np.ones((1, 1), bool)
    write_ade_index(folder / "index_ade20k.mat", stems)
    return carried


def write_ade_index(path: Path, stems: dict[str, str]) -> None:
    """Write ADE20K's index, a MATLAB file, of pictures and their scenes by the stems of their paths."""

    def cells(values: list[str]) -> np.ndarray:
        found = np.empty((1, len(values)), object)
        found[0] = values
        return found

    numbers = range(1, 302)
    index = {
        "filename": cells([f"{stem.rpartition('/')[2]}.jpg" for stem in stems]),
        "folder": cells([f"ADE20K_2016_07_26/{stem.rpartition('/')[0]}" for stem in stems]),
        "scene": cells(list(stems.values())),
        "objectnames": cells([ADE_NAMES.get(number, f"other {number}") for number in numbers]),
        "objectcounts": np.array([[float(ADE_COUNTS.get(number, 0))] for number in numbers]),
    }
    savemat(path, {"index": index}, do_compression=True)


def write_ade20k_2021(folder: Path) -> Carried:
    """The release of 2021: a JSON file a picture, in Latin-1; folders by kind and scene."""
    street = "images/ADE/training/urban/street/ADE_train_00000001"
    apse = "images/ADE/validation/cultural/apse__indoor/ADE_val_00000002"
    bare = "validation/ADE_val_00000003"  # a small set of somebody's own
    carried = {
        street: write_ade_maps(
            folder, street, blocks(6, 9, 1, 300, 0), blocks(6, 9, 0, 2, 301), blocks(6, 9, 0, 300, 0)
        ),
        apse: write_ade_maps(folder, apse, blocks(3, 4, 300, 2)),
        bare: write_ade_maps(folder, bare, blocks(2, 2, 2, 7)),
    }
    scenes = {street: ["outdoor", "urban", "street"], apse: ["indoor", "cultural", "apse"], bare: "café"}
    objects = {street: [(1, 0), (300, 0), (300, 0), (2, 1), (301, 1), (300, 2)], apse: [(300, 0), (2, 0)]}
    for stem, scene in scenes.items():
        items = [
            {
                "id": place,
                "name_ndx": number,
                "name": ADE_NAMES[number],
                "raw_name": "x",
                "parts": {"part_level": level},
            }
            for place, (number, level) in enumerate(objects.get(stem, [(2, 0), (7, 0)]))
        ]
        annotation = {"filename": f"{stem.rpartition('/')[2]}.jpg", "scene": scene, "object": items}
        text = json.dumps({"annotation": annotation}, ensure_ascii=False)
        (folder / f"{stem}.json").write_text(text, "latin-1")
    for stem, scene in {street: "street", apse: "apse-indoor", bare: "café"}.items():
        carried[stem][scene, "scene"] = np.ones((1, 1), bool)
    (folder / "index_ade20k.pkl").write_bytes(b"cos\nabort\n(tR.")  # ends the process of whoever unpickles it
    return carried


VOC_PICTURES = {"2008_000002": (6, 9), "2008_000003": (5, 8), "2008_000007": (4, 4)}


def write_voc_pictures(folder: Path) -> None:
    """JPEGImages of Pascal VOC; the last has no further labels."""
    for name, (height, width) in VOC_PICTURES.items():
        write_jpeg(folder / "JPEGImages" / f"{name}.jpg", height, width)


def write_pascal_context(folder: Path) -> Carried:
    """Pascal-Context, of the pictures of `write_voc_pictures`."""
    labels = {1: "accordion", 2: "aeroplane", 300: "sky", 431: "unknown"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.txt").write_text("".join(f"{number}: {name}\n" for number, name in labels.items()))
    maps = {"2008_000002": blocks(6, 9, 1, 300, 431), "2008_000003": blocks(5, 8, 2, 0)}
    (folder / "trainval").mkdir()
    for name, values in maps.items():
        savemat(folder / "trainval" / f"{name}.mat", {"LabelMap": values.astype(np.uint16)}, do_compression=True)
    known = {number: (name, "object") for number, name in labels.items() if name != "unknown"}
    return {name: masks_of([values], known) for name, values in maps.items()}


def write_pascal_part(folder: Path) -> Carried:
    """Pascal-Part, of the pictures of `write_voc_pictures`: a person on a bus, and a boat without parts."""
    person, head, eye = (np.zeros((6, 9), bool) for _ in range(3))
    person[:, :5], head[:3, :4], eye[1, 1:3] = True, True, True
    arm, bus, side, wheel = (np.zeros((6, 9), bool) for _ in range(4))
    arm[3, :3], bus[2:, 3:], side[2:5, 3:], wheel[5, 4:6] = True, True, True, True
    boat = np.ones((5, 8), bool)
    write_annotation(
        folder,
        "2008_000002",
        [
            ("person", 15, person, {"head": head, "leye": eye[:, ::-1], "reye": eye, "llarm": arm, "ruarm": arm[::-1]}),
            ("bus", 6, bus, {"frontside": side, "wheel_1": wheel, "wheel_12": wheel[:, ::-1]}),
        ],
    )
    write_annotation(folder, "2008_000003", [("boat", 4, boat, {})])
    return {
        "2008_000002": {
            ("person", "object"): person,
            ("bus", "object"): bus,
            ("head", "part"): head,
            ("eye", "part"): eye | eye[:, ::-1],
            ("arm", "part"): arm | arm[::-1],
            ("wheel", "part"): wheel | wheel[:, ::-1],
        },
        "2008_000003": {("boat", "object"): boat},
    }


def write_annotation(folder: Path, name: str, items: list[tuple[str, int, np.ndarray, dict[str, np.ndarray]]]) -> None:
    """A file of Annotations_Part, of objects (class, its number, mask, masks of parts)."""
    fields = [(field, object) for field in ("class", "class_ind", "mask", "parts")]
    objects = np.empty((1, len(items)), fields)
    for place, (kind, number, mask, of_parts) in enumerate(items):
        parts: np.ndarray = np.empty((1, len(of_parts)), [("part_name", object), ("mask", object)])
        for part, (short, part_mask) in enumerate(of_parts.items()):
            parts[0, part] = (short, part_mask.astype(np.uint8))
        objects[0, place] = (kind, float(number), mask.astype(np.uint8), parts if of_parts else np.zeros((0, 0)))
    path = folder / "Annotations_Part" / f"{name}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"anno": {"imname": name, "objects": objects}}, do_compression=True)


OPEN_SURFACES = {
    "label-substance-colors.csv": (
        "substance_id,substance_name,red_color",
        ["Fabric/cloth", "Plastic - clear", "Wood"],
    ),
    "label-name-colors.csv": ("name_id,name_name,green_color", ["Book", "Sofa/couch"]),
    "label-scene-colors.csv": ("scene_category_id,scene_category_name,blue_color", ["bathroom", "kitchen"]),
}


def write_open_surfaces(folder: Path) -> Carried:
    """OpenSurfaces after its authors' script: label maps are smaller or larger than photos, and in proportion."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, (header, names) in OPEN_SURFACES.items():
        with (folder / table).open("w", newline="") as file:
            csv.writer(file).writerows([header.split(","), *((70 + n, name, n) for n, name in enumerate(names, 1))])
    materials = {1: ("fabric", "material"), 2: ("plastic-clear", "material"), 3: ("wood", "material")}
    objects = {1: ("book", "object"), 2: ("sofa", "object")}
    carried: Carried = {}
    maps = {"12": (blocks(6, 8, 1, 2, 0, 3), blocks(6, 8, 0, 1, 2, 2), 2), "7": (blocks(3, 3, 0), blocks(3, 3, 0), 0)}
    for name, (red, green, blue) in maps.items():
        write_jpeg(folder / "photos" / f"{name}.jpg", 2 * red.shape[0], 2 * red.shape[1])
        pixels = np.stack([red, green, np.full(red.shape, blue)], -1).astype(np.uint8)
        write_png(folder / "photos-labels" / f"{name}.png", pixels)
        carried[name] = masks_of([red], materials) | masks_of([green], objects)
    carried["12"]["kitchen", "scene"] = np.ones((1, 1), bool)
    return carried
