"""Sets of labelled pictures in other layouts than Broden's: read, joined and packed unchanged, or refused."""

import hashlib
import inspect
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import reference_dissection as reference
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.data.concept_sets.broden import Broden
from workflow_scripts.data.concept_sets.formats import READERS, read_joined, read_set
from workflow_scripts.data.concept_sets.joined import JoinedSet, Rules, bounded_counts, choose, read_synonyms
from workflow_scripts.data.concept_sets.label_maps import LabelMaps
from workflow_scripts.data.concept_sets.names import read_names
from workflow_scripts.data.concept_sets.picture_labels import PictureLabels
from workflow_scripts.data.concept_sets.reader import Annotation, Label, nearest, stack
from workflow_scripts.data.pack_concepts import pack_concepts, pack_pictures
from workflow_scripts.data.world.palette import PROTOTYPES, cielab
from workflow_scripts.plan.concept_sets import FORMATS, PRESETS, complete_set, options_of, own_tables, set_mistakes
from workflow_scripts.plan.load import complete_config
from workflow_scripts.plan.schema import read_schema
from workflow_scripts.shared.files import UserError

ROOT = Path(__file__).resolve().parent.parent
NAMES = {"wall": 1, "Night_Sky": 2, "tree": 7}
NAME_OF = {number: name for name, number in NAMES.items()}
RULES = {
    "label_size": 4,
    "colours": False,
    "synonyms": "none",
    "categories": {},
    "least_pictures": 0,
    "least_pixels": 0,
    "largest_share": 1,
}


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    """Write a picture or a label map; uint16 as PNG of 16 bits; with the mode P a palette that shows other colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = Image.fromarray(pixels, "L")
        image.putpalette([255 - value for value in range(256) for _ in range(3)])
    image.save(path)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def maps(tmp_path):
    """Two pictures of different sizes in folders, with their index maps."""
    drawn = {}
    for place, (key, shape) in enumerate({"train/a": (3, 5), "val/b.c": (6, 2)}.items()):
        values = np.random.default_rng(place).choice(np.array([0, 1, 2, 7], np.uint8), shape)
        save(tmp_path / f"images/{key}.png", photo(*shape))
        save(tmp_path / f"maps/{key}_labels.png", values)
        drawn[key] = values
    return tmp_path, drawn


def open_maps(folder: Path, **changes) -> LabelMaps:
    options = {"pictures": "images/{}.png", "label_maps": "maps/{}_labels.png", "names": NAMES, "nothing": [0]}
    return LabelMaps(folder, folder, "object", **options | changes)


def labels_at(reader, index: int) -> np.ndarray:
    """The names at each pixel of a picture's planes, as sets, (h, w)."""
    annotation = reader.annotation(index)
    shape = annotation.planes[0].shape
    found = np.empty(shape, object)
    for place in product(*map(range, shape)):
        found[place] = {reader.labels[plane[place] - 1].name for plane in annotation.planes if plane[place]}
    return found


def test_index_maps_are_read_to_the_pixel(maps):
    folder, drawn = maps
    reader = open_maps(folder)
    assert reader.names == list(drawn) and {label.category for label in reader.labels} == {"object"}
    for index, (key, values) in enumerate(drawn.items()):
        read = labels_at(reader, index)
        for place in product(*map(range, values.shape)):
            assert read[place] == ({NAME_OF[values[place]]} if values[place] else set())
        data, path = reader.picture(index)
        assert data == (folder / f"images/{key}.png").read_bytes() and path.endswith(f"{key}.png")


@pytest.mark.parametrize("kind", ["P", "16 bits", "1", "BMP"])
def test_an_index_map_may_be_stored_in_each_lossless_way(maps, kind):
    folder, drawn = maps
    expected = [labels_at(open_maps(folder), index) for index in range(2)]
    ending = "bmp" if kind == "BMP" else "png"
    for key, values in drawn.items():
        pixels = values.astype(np.uint16) if kind == "16 bits" else values if kind != "1" else values == 7
        (folder / f"maps/{key}_labels.png").unlink()
        save(folder / f"maps/{key}_labels.{ending}", pixels, "P" if kind == "P" else None)
    names = {"tree": 1} if kind == "1" else NAMES
    reader = open_maps(folder, label_maps=f"maps/{{}}_labels.{ending}", names=names)
    for index in range(2):
        read = labels_at(reader, index)
        if kind == "1":
            expected[index] = np.vectorize(lambda found: found & {"tree"}, otypes=[object])(expected[index])
        assert (read == expected[index]).all()


def test_values_of_sixteen_bits_are_whole(tmp_path):
    save(tmp_path / "images/a.png", photo(2, 2))
    save(tmp_path / "maps/a_labels.png", np.array([[0, 300], [65535, 44]], np.uint16))
    reader = open_maps(tmp_path, names={"far": 300, "last": 65535, "near": 44})
    assert labels_at(reader, 0).tolist() == [[set(), {"far"}], [{"last"}, {"near"}]]


def test_colour_maps_are_read_by_their_table(tmp_path):
    colours = np.array([[[64, 128, 64], [0, 0, 0]], [[192, 0, 128], [64, 128, 64]]], np.uint8)
    save(tmp_path / "images/a.png", photo(2, 2))
    save(tmp_path / "maps/a_labels.png", colours)
    (tmp_path / "colours.txt").write_text("64 128 64\tAnimal\n192 0 128\t\tArchway\n0 0 0\t\tVoid\n")
    reader = open_maps(tmp_path, names="colours.txt", nothing=[[0, 0, 0]])
    assert labels_at(reader, 0).tolist() == [[{"Animal"}, set()], [{"Archway"}, {"Animal"}]]
    save(tmp_path / "maps/a_labels.png", colours + np.uint8([0, 0, 1]))
    with pytest.raises(UserError, match=r"a_labels\.png holds the colour 64, 128, 65, which is in no table"):
        open_maps(tmp_path, names="colours.txt", nothing=[[0, 0, 0]]).annotation(0)


def test_a_map_with_an_unnamed_value_is_refused(maps):
    folder, _ = maps
    with pytest.raises(UserError, match=r"a_labels\.png holds the value 0, which is in no table: complete names, or"):
        open_maps(folder, nothing=[]).annotation(0)


@pytest.mark.parametrize(
    ("pixels", "names", "sentence"),
    [
        (np.zeros((3, 5, 3), np.uint8), NAMES, r"has mode RGB, but a label map must have one number per pixel"),
        (np.zeros((3, 5), np.uint8), "rgb.csv", r"has mode L, but the table names colours"),
    ],
)
def test_a_map_of_the_other_kind_is_refused(maps, pixels, names, sentence):
    folder, _ = maps
    save(folder / "maps/train/a_labels.png", pixels)
    (folder / "rgb.csv").write_text("red,green,blue,name\n1,2,3,wall\n")
    with pytest.raises(UserError, match=rf"a_labels\.png {sentence}"):
        open_maps(folder, names=names, nothing=[]).annotation(0)


def png_of(bits: int, values: np.ndarray) -> bytes:
    """A grey PNG of 2 or 4 bits a pixel, which Pillow does not write."""
    rows = b"".join(b"\0" + packed(bits, row) for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def tiff_of(bits: int, values: np.ndarray, photometric: int = 1) -> bytes:
    """The same as TIFF; with `photometric` 0, 0 is white."""
    pixels = b"".join(packed(bits, row) for row in values)
    (height, width), start = values.shape, 8 + 2 + 12 * 9 + 4
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: start, 277: 1, 278: height}
    tags[279] = len(pixels)
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + pixels


def packed(bits: int, row: np.ndarray) -> bytes:
    """A row of values, the first in the highest bits, filled up to whole bytes."""
    return np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).ravel().astype(np.uint8)).tobytes()


@pytest.mark.parametrize(("write", "ending"), [(png_of, "png"), (tiff_of, "tif")])
@pytest.mark.parametrize("bits", [2, 4])
def test_greys_of_few_bits_keep_their_numbers(tmp_path, write, ending, bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 7))
    save(tmp_path / "images/a.png", photo(5, 7))
    (tmp_path / "maps").mkdir()
    (tmp_path / f"maps/a.{ending}").write_bytes(write(bits, values))
    names = {str(value): value for value in range(1, 256)}
    read = labels_at(open_maps(tmp_path, label_maps=f"maps/{{}}.{ending}", names=names), 0)
    assert read.tolist() == [[{str(value)} if value else set() for value in row] for row in values.tolist()]


def test_greys_that_begin_with_white_are_refused(tmp_path):
    save(tmp_path / "images/a.png", photo(2, 2))
    (tmp_path / "a.tif").write_bytes(tiff_of(4, np.array([[1, 2], [7, 0]]), photometric=0))
    with pytest.raises(UserError, match=r"a\.tif is a TIFF in which 0 is white"):
        open_maps(tmp_path, label_maps="{}.tif").annotation(0)


def test_mixed_numbers_and_colours_are_refused(maps):
    folder, _ = maps
    for changes, sentence in (
        ({"nothing": [[0, 0, 0]]}, "nothing has colours, .* but names has numbers"),
        ({"names": {"wall": [1, 2, 3]}}, "nothing has numbers but names has colours"),
        ({"names": {"wall": 1, "sky": [0, 0, 2]}}, "names, sky: some labels have numbers and some have colours"),
    ):
        with pytest.raises(UserError, match=sentence):
            open_maps(folder, **changes)


def test_a_map_that_lost_pixels_to_compression_is_refused(maps):
    folder, drawn = maps
    for key, values in drawn.items():
        save(folder / f"maps/{key}_labels.jpg", values)
    with pytest.raises(UserError, match=r"a_labels\.jpg is not a whole PNG, BMP or TIFF picture"):
        open_maps(folder, label_maps="maps/{}_labels.jpg").annotation(0)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("images/train/a.png", r"has maps/train/a_labels\.png, but no picture for it \(such files in all: 1\)"),
        ("maps/val/b.c_labels.png", r"has images/val/b\.c\.png, but no label map for it"),
    ],
)
def test_a_file_without_its_pair_is_reported(maps, missing, sentence):
    folder, _ = maps
    (folder / missing).unlink()
    with pytest.raises(UserError, match=sentence):
        open_maps(folder)


def test_a_list_chooses_the_pictures_that_count(maps):
    folder, _ = maps
    save(folder / "images/unlabelled.png", photo(2, 2))
    (folder / "list.txt").write_text("val/b.c\n\n")
    assert open_maps(folder, listed="list.txt").names == ["val/b.c"]
    for text, sentence in {
        "val/b.c\nunlabelled\n": r"lists 'unlabelled', but there is no such label map",
        "gone\n": r"lists 'gone', but there is no such picture",
        "val/b.c\nval/b.c\n": r"lists 'val/b\.c' twice",
        "\n": "is empty",
    }.items():
        (folder / "list.txt").write_text(text)
        with pytest.raises(UserError, match=sentence):
            open_maps(folder, listed="list.txt")


def test_patterns_take_any_picture_or_several_and_leave_hidden_files_out(tmp_path):
    for path in ("one/a.JPG", "one/b.png", "two/c.webp", "one/.d.png", ".e/f.png", "one/__MACOSX/g.png", "one/h.txt"):
        save(tmp_path / "x.png", photo(2, 2))
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x.png").rename(tmp_path / path)
    assert PictureLabels(tmp_path, tmp_path, "scene", pictures=["one/{}", "two/{}"]).names == ["a", "b", "c"]
    (tmp_path / "two/a.png").touch()
    with pytest.raises(UserError, match=r"has one/a\.JPG and two/a\.png, both with the name 'a'"):
        PictureLabels(tmp_path, tmp_path, "scene", pictures=["one/{}", "two/{}"])
    assert PictureLabels(tmp_path, tmp_path, "scene", pictures="./one//{}.JPG").names == ["a"]
    for pattern, sentence in {"three/{}": "has no file three", "one/a.png": "write a path with one {}"}.items():
        with pytest.raises(UserError, match=sentence):
            PictureLabels(tmp_path, tmp_path, "scene", pictures=pattern)


def test_an_endless_link_is_refused(maps):
    folder, drawn = maps
    (folder / "images/val/more").symlink_to("../train")  # a link that has one
    assert len(PictureLabels(folder, folder, "scene", pictures="images/{}").names) == len(drawn) + 1
    (folder / "images/train/again").symlink_to("..")
    with pytest.raises(UserError, match=r"images/train/again is a link to a folder that contains it"):
        open_maps(folder)


def test_whole_pictures_are_labelled_by_folder_or_by_table(tmp_path):
    for key in ("banded/1", "banded/2", "dotted/1"):
        save(tmp_path / f"images/{key}.png", photo(2, 3))
    by_folder = PictureLabels(tmp_path, tmp_path, "texture", pictures="images/{}")
    (tmp_path / "table.csv").write_text("banded/1.png,striped\nbanded/2 , two words\ndotted/1\tspotted\nother 9,none\n")
    by_table = PictureLabels(tmp_path, tmp_path, "texture", pictures="images/{}", table="table.csv")
    for reader, names in ((by_folder, ["banded", "banded", "dotted"]), (by_table, ["striped", "two words", "spotted"])):
        annotations = [reader.annotation(index) for index in range(3)]
        assert all(not annotation.planes for annotation in annotations)
        assert [[reader.labels[i] for i in annotation.whole] for annotation in annotations] == [
            [Label(name, "texture")] for name in names
        ]
    for text, sentence in {
        "banded/1 striped\n": "has no label, because .*table.csv names no label for it",
        "banded/1 striped\nbanded/1 dotted\n": "line 2: banded/1 is already in another line",
        "banded/1\n": "line 1: 'banded/1' is not a picture and its label",
        "x y\n": "names none of the 3 pictures",
    }.items():
        (tmp_path / "table.csv").write_text(text)
        with pytest.raises(UserError, match=sentence):
            PictureLabels(tmp_path, tmp_path, "texture", pictures="images/{}", table="table.csv")


def test_each_word_after_a_blank_is_a_label(tmp_path):
    """As in DTD's labels_joint_anno.txt, whose lines end with a blank."""
    for key in ("banded/banded_0002", "grid/grid_0001"):
        save(tmp_path / f"images/{key}.jpg", photo(2, 3))
    (tmp_path / "joint.txt").write_text("banded/banded_0002.jpg banded \ngrid/grid_0001.jpg grid banded grid \n")
    reader = PictureLabels(tmp_path, tmp_path, "texture", pictures="images/{}.jpg", table="joint.txt")
    assert [[reader.labels[i].name for i in reader.annotation(index).whole] for index in range(2)] == [
        ["banded"],
        ["grid", "banded"],
    ]


def test_a_picture_may_have_a_map_and_a_scene(maps):
    folder, _ = maps
    (folder / "scenes.txt").write_text("a street\nb.c,bed room\nunknown sea\n")
    reader = open_maps(folder, scenes="scenes.txt")
    assert [[reader.labels[i] for i in reader.annotation(index).whole] for index in range(2)] == [
        [Label("street", "scene")],
        [Label("bed room", "scene")],
    ]


OBJECT_INFO = "Idx\tRatio\tTrain\tVal\tName\n1\t0.15\t11664\t1172\twall\n2\t0.1\t6046\t612\tbuilding;edifice\n"
TABLES = {
    "objectInfo150.txt": (OBJECT_INFO, {1: "wall", 2: "building"}),
    "labels.txt": ("0: unlabeled\n1: person\n12: street sign\n", {0: "unlabeled", 1: "person", 12: "street sign"}),
    "colors.txt": ("64 128 64\tAnimal\n", {(64, 128, 64): "Animal"}),
    "list.txt": ("background\nstreet light\n\n", {0: "background", 1: "street light"}),
    "upper.CSV": ('name,number\r\nwall,1\r\n"tree, tall",9\r\n', {1: "wall", 9: "tree, tall"}),
    "t.csv": ("name,number,category\nwall,1,material\ntree,9,\n", {1: "wall", 9: "tree"}),
    "c.csv": ("name,red,green,blue\nwall,1,2,3\n", {(1, 2, 3): "wall"}),
    "d.json": ('{"label_map": {"0": "b", "3": "car"}, "background_label": "0"}', {3: "car"}),
    "e.json": ('{"label_map": {"0": "car"}, "segmentation_colors": [[1, 2, 3]]}', {(1, 2, 3): "car"}),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_names_are_read_in_each_form(tmp_path, name):
    text, expected = TABLES[name]
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    found = read_names(name, tmp_path, "object")
    assert {value: label.name for value, label in found.items()} == expected
    categories = {label.name: label.category for label in found.values()}
    assert categories == dict.fromkeys(expected.values(), "object") | ({"wall": "material"} if name == "t.csv" else {})


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "name,number\nwall,1\nsky,1\n", r"t\.csv, line 3: 1 already means 'wall'"),
        ("t.csv", "name,number\n ,1\n", r"t\.csv, line 2: the label has no name"),
        ("t.csv", "name,number,category\nwall,1, \n", r"t\.csv, line 2: the category has no name"),
        ("t.csv", "name,number\nwall,1.5\n", r"t\.csv, line 2: '1\.5' is not a whole number"),
        ("t.csv", "name,number\nwall,70000\n", r"t\.csv, line 2: 70000 is not a pixel value"),
        ("t.csv", "name,red,green,blue\nwall,256,0,0\n", r"t\.csv, line 2: \(256, 0, 0\) is not a pixel value"),
        ("t.csv", "number,label\n1,wall\n", r"t\.csv, line 1: the header must have the column name once"),
        ("t.csv", "name,number\nwall\n", r"t\.csv, line 2: the row has fewer cells"),
        ("t.csv", "name,number\nstreet, road,1\n", r"t\.csv, line 2: the row has more cells"),
        ("t.txt", "1 wall\n2 sky\n", r"t\.txt, line 1: '1 wall' begins with a number"),
        ("t.txt", "1,wall\n2,sky\n", r"t\.txt, line 1: '1,wall' begins with a number"),
        (
            "t.tsv",
            "number\tname\n1\twall\n",
            r"t\.tsv, line 2: '1.twall' has the form NUMBER: NAME, unlike the lines before",
        ),
        ("t.txt", "1: wall\n1 2 3 sky\n", r"t\.txt, line 2: '1 2 3 sky' has the form RED GREEN BLUE NAME, unlike"),
        ("t.txt", OBJECT_INFO + "x\t1\t1\t1\tsky\n", r"t\.txt, line 4: 'x' is not a whole number"),
        ("t.txt", OBJECT_INFO + "3 1 1 1 sky\n", r"t\.txt, line 4: cells between tabs: 1 instead of 5"),
        pytest.param("t.json", "[" * 100_000, r"t\.json is not JSON with label_map", id="deep"),
        ("t.json", '{"label_map": {"0": null}}', r"t\.json is not JSON with label_map, .*a name that is not text"),
        ("t.json", '{"label_map": {"0": "a"}, "segmentation_colors": [[1, 2]]}', "not three whole numbers"),
        ("t.json", '{"label_map": {"0": "a"}, "segmentation_colors": [[1e999, 2, 3]]}', "not three whole numbers"),
        ("t.json", '{"label_map": {"1": "a", "1": "b"}}', "the key '1' twice"),
        ("t.json", '{"label_map": {"1": "a", "01": "b"}}', "a number twice"),
        ("t.csv", "name,number\n", r"t\.csv names no label"),
        ("t.json", "[1]", r"t\.json is not JSON with label_map"),
        ("t.json", '{"label_map": {"0": "a"}, "segmentation_colors": []', r"t\.json is not JSON with label_map"),
        ("t.txt", "\xff", r"t\.txt is not text in UTF-8"),
        ("gone.txt", None, r"there is no table of names gone\.txt, neither in"),
    ],
)
def test_a_doubtful_table_of_names_is_refused(tmp_path, name, text, sentence):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=sentence):
        read_names(name, tmp_path, "object")


def test_a_table_outside_the_set_is_only_found_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "t.csv").write_text("name,number\nwall,1\n")
    with pytest.raises(UserError, match=r"there is no table of names \.\./t\.csv"):
        read_names("../t.csv", tmp_path / "set", "object")
    monkeypatch.chdir(tmp_path / "here")
    assert read_names("../t.csv", tmp_path / "set", "object") == {1: Label("wall", "object")}
    item = {"name": "a", "format": "label_maps", "source": "x", "names": "../t.csv"}
    assert own_tables({"sources": [item], "synonyms": "none"}) == ["../t.csv"]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_nearest_takes_the_values_at_the_new_pixels_centres(height, width, new_height, new_width):
    plane = np.arange(height * width, dtype=np.int32).reshape(height, width)
    scaled = nearest(plane, new_height, new_width)
    assert scaled.shape == (new_height, new_width)
    for y, x in product(range(new_height), range(new_width)):
        row, column = (
            floor(Fraction(2 * place + 1, 2) * old / new)
            for place, old, new in ((y, height, new_height), (x, width, new_width))
        )
        assert scaled[y, x] == plane[row, column]


def test_a_share_that_is_too_small_is_refused_with_a_possible_one():
    for count in (3, 6, 7):
        with pytest.raises(UserError, match="write at least") as error:
            bounded_counts([5] * count, round(1 / count, 3) - 0.001)
        assert bounded_counts([5] * count, float(str(error.value).rsplit(" ", 1)[1]))


@given(st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_stacked_planes_hold_each_segment_whole(count, seed):
    random = np.random.default_rng(seed)
    segments = [(int(random.integers(3)), random.random((3, 4)) < 0.4) for _ in range(count)]
    planes = stack(segments, (3, 4))
    for place in product(range(3), range(4)):
        carried = {position for position, mask in segments if mask[place]}
        stored = [plane[place] - 1 for plane in planes if plane[place]]
        assert set(stored) == carried and len(stored) == len(carried)


class Drawn:
    """A reader of pictures that are made here."""

    def __init__(self, labels, pictures, annotations, aligned=True):
        self.labels, self.pictures, self.annotations, self.aligned = labels, pictures, annotations, aligned
        self.names = [f"{place}" for place in range(len(annotations))]

    def picture(self, index):
        path = Path(self.pictures) / f"{index}.png"
        return path.read_bytes(), str(path)

    def annotation(self, index):
        return self.annotations[index]


@pytest.fixture
def two_sets(tmp_path):
    """Two sets that share names in other spellings, categories and sizes."""
    random = np.random.default_rng(3)
    one = [Label("Traffic_Light", "object"), Label("glass", "object"), Label("street", "scene")]
    other = [Label("traffic  light", "part"), Label("Glass", "material"), Label("automobile", "object")]
    annotations = [], []
    for place, shape in enumerate([(6, 9), (5, 5), (8, 4)]):
        save(tmp_path / f"one/{place}.png", photo(*shape, place))
        annotations[0].append(Annotation([random.integers(0, 3, shape, np.int32)], [2] if place else []))
    for place, shape in enumerate([(7, 7), (3, 6)]):
        save(tmp_path / f"other/{place}.png", photo(*shape, 9 + place))
        annotations[1].append(Annotation([random.integers(0, 4, shape, np.int32) for _ in range(2)]))
    return {
        "one": Drawn(one, tmp_path / "one", annotations[0]),
        "other": Drawn(other, tmp_path / "other", annotations[1]),
    }


def packed_labels(path: Path) -> list[list[list[set]]]:
    """The names that each pixel of each packed picture carries."""
    with h5py.File(path) as file:
        names = file["label_name"].asstr()[:]
        height, width = file["label_size"][:]
        found = []
        for image in range(len(file["images"])):
            of_masks = slice(*file["mask_start"][image : image + 2])
            whole = {names[label] for label in file["whole_label"][slice(*file["whole_start"][image : image + 2])]}
            pixels = [[set(whole) for _ in range(width)] for _ in range(height)]
            for label, mask in zip(file["mask_label"][of_masks], file["masks"][of_masks], strict=True):
                for y, x in product(range(height), range(width)):
                    if int(mask[y, x // 64]) >> (x % 64) & 1:
                        pixels[y][x].add(names[label])
            found.append(pixels)
        return found


def expected_labels(sets, side, name_of) -> list[list[list[set]]]:
    """The same, pixel by pixel, from the annotations; `name_of` says what a label of a set counts as, or None."""
    found = []
    for of_set, reader in sets.items():
        for annotation in reader.annotations:
            names = [name_of(of_set, label) for label in reader.labels]
            pixels: list[list[set]] = [[set() for _ in range(side)] for _ in range(side)]
            for y, x in product(range(side), range(side)):
                for plane in annotation.planes:
                    height, width = plane.shape
                    value = plane[int((y + 0.5) * height / side), int((x + 0.5) * width / side)]
                    pixels[y][x] |= {names[value - 1]} if value else set()
                pixels[y][x] |= {names[position] for position in annotation.whole}
                pixels[y][x] -= {None}
            found.append(pixels)
    return found


SYNONYMS = {"automobile": "car"}
JOINED_NAMES = {"Traffic_Light": "traffic light", "traffic  light": "traffic light", "Glass": "glass"} | {
    "glass": "glass", "street": "street-s", "automobile": "car"
}  # fmt: skip


def test_joined_sets_carry_their_labels_under_common_names(two_sets, tmp_path):
    rules = Rules(side=4, synonyms=SYNONYMS, categories={"car": "vehicle"})
    pack_pictures(JoinedSet(two_sets, rules), 8, tmp_path / "c.h5")
    assert packed_labels(tmp_path / "c.h5") == expected_labels(two_sets, 4, lambda _, label: JOINED_NAMES[label.name])
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["category_name"].asstr()[:].tolist() == ["object", "part", "material", "scene", "vehicle"]
        assert file["label_name"].asstr()[:].tolist() == ["glass", "traffic light", "street-s", "car"]
        assert file["image_name"].asstr()[:].tolist() == ["one/0", "one/1", "one/2", "other/0", "other/1"]
        areas = file["label_area"][:]
        # glass and traffic light are in two categories: that in which more pixels carry them counts.
        counted = [[0, 0, 0], [0, 0, 0]]
        for of_set, label, place in (("one", 2, 0), ("other", 2, 0), ("one", 1, 1), ("other", 1, 1)):
            for annotation in two_sets[of_set].annotations:
                planes = [nearest(plane, 4, 4) == label for plane in annotation.planes]
                counted[place][["one", "other"].index(of_set)] += np.count_nonzero(np.any(planes, axis=0))
        primary = file["category_name"].asstr()[:][file["label_category"][:]]
        assert primary[0] == ("object" if counted[0][0] > counted[0][1] else "material")
        assert primary[1] == ("object" if counted[1][0] > counted[1][1] else "part")
        assert sum(counted[0]) == areas[0] and sum(counted[1]) == areas[1]


def test_a_joined_set_has_the_same_bytes_on_any_number_of_threads(two_sets, tmp_path):
    for threads in (1, 3):
        pack_pictures(JoinedSet(two_sets, Rules(side=4, colours=True)), 8, tmp_path / f"{threads}.h5", threads=threads)
    with h5py.File(tmp_path / "1.h5") as one, h5py.File(tmp_path / "3.h5") as three:
        assert one.attrs["fingerprint"] == three.attrs["fingerprint"]
        assert one["images"][:].tobytes() == three["images"][:].tobytes()


@pytest.mark.parametrize(
    "least", [{"least_pictures": 3}, {"least_pixels": 20}, {"least_pictures": 2, "least_pixels": 28}]
)
def test_labels_with_fewer_pictures_or_pixels_are_left_out(two_sets, tmp_path, least):
    def name_of(_, label):
        return (JOINED_NAMES | {"street": "street"})[label.name]

    everywhere = expected_labels(two_sets, 4, name_of)
    pictures, pixels = {}, {}
    for of_picture in everywhere:
        flat = [names for row in of_picture for names in row]
        for name in set().union(*flat):
            pictures[name] = pictures.get(name, 0) + 1
            pixels[name] = pixels.get(name, 0) + sum(name in names for names in flat)
    kept = {
        name
        for name in pictures
        if pictures[name] >= least.get("least_pictures", 0) and pixels[name] >= least.get("least_pixels", 0)
    }
    assert 0 < len(kept) < len(pictures)
    # As a scene, street would be the only label of its category.
    rules = Rules(side=4, synonyms=SYNONYMS, categories={"street": "object"}, **least)
    pack_pictures(JoinedSet(two_sets, rules, threads=2), 8, tmp_path / "c.h5")
    assert packed_labels(tmp_path / "c.h5") == [
        [[names & kept for names in row] for row in of_picture] for of_picture in everywhere
    ]


def test_computed_colours_are_the_nearest_prototypes(tmp_path):
    rows = photo(8, 8, 5)
    save(tmp_path / "0.png", rows)
    reader = Drawn([Label("wall", "object")], tmp_path, [Annotation([np.ones((8, 8), np.int32)])])
    pack_pictures(JoinedSet({"a": reader}, Rules(side=4, colours=True)), 8, tmp_path / "c.h5")
    prototypes = {name: cielab(np.array(colour)) for name, colour in PROTOTYPES.items()}
    for y, x in product(range(4), range(4)):
        block = cielab(rows[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(4, 3).mean(axis=0))
        name = min(prototypes, key=lambda colour: np.square(prototypes[colour] - block).sum())
        assert packed_labels(tmp_path / "c.h5")[0][y][x] == {"wall", f"{name}-c"}


def test_a_set_that_labels_colours_keeps_its_own(tmp_path):
    save(tmp_path / "0.png", photo(4, 4))
    reader = Drawn([Label("red", "color")], tmp_path, [Annotation([np.ones((4, 4), np.int32)])])
    joined = JoinedSet({"a": reader}, Rules(side=4, colours=True))
    assert [label.name for label in joined.labels] == ["red-c"]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.sampled_from([1, 0.9, 0.6, 0.5, 0.35, 0.25]))
def test_no_source_has_more_than_its_share(sizes, share):
    if share * len(sizes) < 1:
        with pytest.raises(UserError, match="cannot all satisfy"):
            bounded_counts(sizes, share)
        return
    counts = bounded_counts(sizes, share)
    assert all(0 < count <= min(size, share * sum(counts)) for count, size in zip(counts, sizes, strict=True))
    # The largest: one more of any source that has more would break the rule, also with one more of others.
    room = [range(count, size + 1) for count, size in zip(counts, sizes, strict=True)]
    if np.prod([len(r) for r in room]) < 5000:
        better = [c for c in product(*room) if sum(c) > sum(counts) and all(n <= share * sum(c) for n in c)]
        assert not better


def test_which_pictures_of_a_source_count_follows_from_their_names(two_sets):
    fewer = [JoinedSet(two_sets, Rules(side=4, largest_share=0.5)).names for _ in range(2)]
    assert fewer[0] == fewer[1] and len(fewer[0]) == 4
    assert sum(name.startswith("one/") for name in fewer[0]) == 2 and fewer[0] == sorted(fewer[0])


def test_pictures_that_count_are_those_of_the_lowest_digests_in_their_order():
    sets = {size: SimpleNamespace(names=[f"{place:02}.jpg" for place in range(size)]) for size in (30, 4)}
    names = sets[30].names
    lowest = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:4]
    chosen, all_of_them = choose(sets, 0.5)
    assert [names[place] for place in chosen] == sorted(lowest) != names[:4]
    assert all_of_them == [0, 1, 2, 3]


def test_a_label_map_of_other_proportions_is_refused(tmp_path):
    save(tmp_path / "0.png", photo(8, 16))
    labels = [Label("wall", "object")]
    for shape, refused in {(4, 8): False, (16, 8): True, (8, 8): True, (3, 5): False, (1, 2): False}.items():
        for aligned in (True, False):
            reader = Drawn(labels, tmp_path, [Annotation([np.ones(shape, np.int32)])], aligned)
            joined = JoinedSet({"a": reader}, Rules(side=4))
            if refused and aligned:
                with pytest.raises(UserError, match=r"a/0 is 8 x 16, but its label map is .* with other proportions"):
                    joined.labelled(0, joined.picture(0))
            else:
                joined.labelled(0, joined.picture(0))


@pytest.mark.parametrize(
    ("labels", "rules", "sentence"),
    [
        ([Label(" _ ", "object")], {}, "concepts.sources, a: the label has no name"),
        ([Label("x", " ")], {}, "concepts.sources, a: the category of x has no name"),
        ([Label("x\0y", "object")], {}, r"concepts\.sources, a: the label .* has characters that are not text"),
        ([Label("x", "\udcff")], {}, r"concepts\.sources, a: the label 'x' of .* has characters that are not text"),
        ([Label("x", f"of {i}") for i in range(257)], {}, "the sets have 257 categories, but only 256 can be numbered"),
        (
            [Label("x", "object")],
            {"categories": {"y": "part"}},
            "concepts.categories has 'y', but no set has such a label",
        ),
        ([Label("x", "object")], {"least_pictures": 5}, "no label of the category object is carried by 5 pic"),
    ],
)
def test_doubtful_labels_are_refused(tmp_path, labels, rules, sentence):
    reader = Drawn(labels, tmp_path, [Annotation([np.ones((4, 4), np.int32)])])
    with pytest.raises(UserError, match=sentence):
        JoinedSet({"a": reader}, Rules(side=4, **rules))


def test_a_category_without_any_label_is_refused(tmp_path):
    save(tmp_path / "0.png", photo(4, 4))
    labels = [Label("wall", "object"), Label("wood", "material")]
    joined = JoinedSet({"a": Drawn(labels, tmp_path, [Annotation([np.ones((4, 4), np.int32)])])}, Rules(side=4))
    with pytest.raises(UserError, match="no picture has a label of the category material: complete the set"):
        pack_pictures(joined, 8, tmp_path / "c.h5", every_category=True)
    assert not list(tmp_path.glob("c.h5*"))
    pack_pictures(joined, 8, tmp_path / "c.h5")


def test_synonyms_are_read_and_lead_to_one_name(tmp_path):
    table = tmp_path / "s.csv"
    table.write_text("name,same_as\nTV_monitor,television\ntv,television\n")
    assert read_synonyms(str(table)) == {"tv monitor": "television", "tv": "television"}
    assert read_synonyms("none") == {}
    for text, sentence in {
        "name,same_as\na,b\nb,c\n": "'a' is the same as 'b', which is itself the same as another",
        "name,same_as\na,b\nA,c\n": "the name 'a' is a duplicate",
        "name,same_as\na,\n": "or a name is missing",
    }.items():
        table.write_text(text)
        with pytest.raises(UserError, match=sentence):
            read_synonyms(str(table))


def test_a_set_in_brodens_layout_joins_as_it_is_packed_by_itself(tmp_path):
    random = np.random.default_rng(1)
    concepts = reference.Concepts(
        categories=["object", "part", "scene"],
        labels={1: ("arm", ["part"]), 2: ("cup", ["object", "part"]), 300: ("street-s", ["scene"])},
        height=4,
        width=4,
    )
    for place in range(3):
        cells = {"object": [2 * random.integers(0, 2, (4, 4))], "part": [random.integers(0, 3, (4, 4))]}
        cells |= {"scene": [300]} if place else {}
        concepts.pictures.append(reference.Picture(photo(8, 8, place), cells, "train"))
    reference.write_broden(concepts, tmp_path / "set")
    pack_concepts(tmp_path / "set", 8, tmp_path / "alone.h5")
    pack_pictures(JoinedSet({"b": Broden(tmp_path / "set", tmp_path, "x")}, Rules(side=4)), 8, tmp_path / "joined.h5")
    assert packed_labels(tmp_path / "alone.h5") == packed_labels(tmp_path / "joined.h5")
    with h5py.File(tmp_path / "alone.h5") as alone, h5py.File(tmp_path / "joined.h5") as joined:
        for name in ("label_area", "label_category"):
            by_name = [
                dict(zip(file["label_name"].asstr()[:], file[name][:].tolist(), strict=True))
                for file in (alone, joined)
            ]
            assert by_name[0] == by_name[1]
        assert (alone["images"][:] == joined["images"][:]).all()


def test_the_config_knows_the_keys_of_each_reader():
    assert set(FORMATS) == set(READERS)
    for name, reader in READERS.items():
        takes = [
            value for key, value in inspect.signature(reader).parameters.items() if value.kind is value.KEYWORD_ONLY
        ]
        required = {parameter.name for parameter in takes if parameter.default is parameter.empty}
        assert required == set(FORMATS[name].required), name
        assert {parameter.name for parameter in takes} - required == set(FORMATS[name].optional), name
    known = read_schema()["$defs"]["set_format"]["enum"]
    assert sorted(known) == sorted([*FORMATS, *PRESETS])


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_has_the_keys_of_its_format(preset):
    item = {"name": "a", "format": preset, "source": "data/a"}
    assert not list(set_mistakes([item]))
    complete = complete_set(item)
    assert set(FORMATS[complete["format"]].required) <= set(options_of(complete))
    assert complete_set(item | {"folder": "elsewhere"})["folder"] == "elsewhere"


def test_unknown_and_missing_keys_of_a_format_are_reported():
    sets = [
        {"name": "a", "format": "label_maps", "source": "x", "pictures": "{}", "table": "t"},
        {"name": "a", "format": "picture_labels", "source": "x"},
        {"name": "c", "format": "coco_segments", "source": "x", "pictures": ["a"], "annotations": ["b", "c"]},
    ]
    sentences = list(set_mistakes(sets))
    assert any("the name a appears 2 times" in sentence for sentence in sentences)
    assert any("a: the format label_maps has no key table" in sentence for sentence in sentences)
    lists = [sentence for sentence in sentences if "is a list" in sentence]
    assert len(lists) == 1 and "c: pictures is a list, but the format coco_segments takes one path" in lists[0]
    for key in ("label_maps", "names"):
        assert any(f"a: the format label_maps needs the key {key}" in sentence for sentence in sentences)
    assert any("a: the format picture_labels needs the key pictures" in sentence for sentence in sentences)


def test_useless_keys_and_paths_out_of_the_set_are_reported():
    sets = [
        {"name": "a", "format": "broden", "source": "x", "category": "part", "pictures_from": {"source": "y"}},
        {
            "name": "b",
            "format": "dtd",
            "source": "x",
            "table": "../t.txt",
            "pictures": ["images/{}.jpg", "/else/{}.jpg"],
        },
    ]
    sentences = list(set_mistakes(sets))
    assert len(sentences) == 4
    for start in (
        "a: the format broden has no key category",
        "a: the format broden has no key pictures_from",
        "b: table has ../t.txt, which leads out of the set",
        "b: pictures has /else/{}.jpg, which leads out of the set",
    ):
        assert any(start in sentence for sentence in sentences), start


def test_a_path_of_the_wrong_type_is_reported():
    item = {"name": "a", "format": "dtd", "source": "x", "pictures": [["a"]]}
    with pytest.raises(UserError, match=r"concepts\.sources\.0\.pictures\.0 is .*: write a path within the set"):
        complete_config({"concepts": {"sources": [item]}})


def test_a_readers_error_names_the_set(maps):
    folder, _ = maps
    options = {"pictures": "images/{}.png", "label_maps": "gone/{}.png", "names": NAMES}
    places = {"folder": str(folder), "pictures_folder": str(folder)}
    with pytest.raises(UserError, match=r"concepts\.sources, m: .* has no file gone/{}\.png: correct label_maps"):
        read_set({"name": "m", "format": "label_maps", "category": "object", "options": options} | places)


def test_sets_are_read_as_the_rules_pass_them(maps):
    folder, _ = maps
    item = complete_set({"name": "m", "format": "label_maps", "source": "x", "pictures": "images/{}.png"} | {
        "label_maps": "maps/{}_labels.png", "names": {"wall": 1, "sky": 2, "tree": 7}, "nothing": [0]
    })  # fmt: skip
    handed = {"name": "m", "format": item["format"], "category": item["category"], "options": options_of(item)}
    handed |= {"folder": str(folder), "pictures_folder": str(folder)}
    joined = read_joined([json.loads(json.dumps(handed))], RULES)
    assert joined.names == ["m/train/a", "m/val/b.c"] and [label.name for label in joined.labels] == [
        "sky",
        "tree",
        "wall",
    ]


def test_sets_are_unpacked_joined_and_packed_again_when_a_picture_changes(tmp_path):
    """Through snakemake: a published layout in an archive, folders by label, pictures separate from their labels."""
    data = tmp_path / "data"
    for place, part in enumerate(["training", "training", "validation"]):
        save(data / f"ade/images/{part}/ADE_{place}.jpg", photo(20, 30, place))
        save(data / f"ade/annotations/{part}/ADE_{place}.png", np.full((20, 30), place, np.uint8))
    (data / "ade/objectInfo150.txt").write_text(OBJECT_INFO)
    (data / "ade/sceneCategories.txt").write_text("ADE_0 street\nADE_1 street\nADE_2 bedroom\n")
    shutil.make_archive(str(data / "ade"), "zip", data, "ade")
    shutil.rmtree(data / "ade")
    for place, texture in enumerate(["banded", "dotted"]):
        save(data / f"dtd/images/{texture}/{texture}_1.jpg", photo(9, 9, place))
    save(data / "photos/one.png", photo(8, 8))
    shutil.make_archive(str(data / "photos"), "tar", data / "photos")
    save(data / "mine/one.png", np.full((8, 8), 255, np.uint8))
    (tmp_path / "c.yaml").write_text(JOINED_CONFIG)
    target = "results/joined/data/concepts.verified.json"

    def run() -> str:
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", ".", "--cores", "2"]
        configs = [str(ROOT / "configs/tiny.yaml"), "c.yaml"]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [*command, "--configfile", *configs, "--", target],
            cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    assert run().count("unpack_archive") >= 2
    packed = tmp_path / "results/joined/data/concepts.h5"
    names = [sorted(set().union(*(set().union(*row) for row in rows))) for rows in packed_labels(packed)]
    assert names == [
        ["street-s"], ["street-s", "wall"], ["bedroom-s", "building"], ["banded"], ["dotted"], ["blob"],
    ]  # fmt: skip
    assert "Nothing to be done" in run()
    (data / "dtd/images/dotted").rename(data / "dtd/images/striped")
    again = run()
    assert "pack_concepts" in again and "unpack_archive" not in again
    assert packed_labels(packed)[4][0][0] == {"striped"}


JOINED_CONFIG = """
experiment: joined
concepts:
  sources:
    - {name: ade, format: sceneparse150, source: data/ade.zip, folder: ade}
    - {name: dtd, format: picture_labels, source: data/dtd, pictures: "images/{}.jpg", category: texture}
    - name: mine
      format: label_maps
      source: data/mine
      pictures_from: {source: data/photos.tar}
      pictures: "{}.png"
      label_maps: "{}.png"
      names: {blob: 255}
      nothing: [0]
      category: part
  label_size: 8
  synonyms: none
  expect: {images: 6}
"""
