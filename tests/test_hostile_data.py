"""Hostile and broken input of every reader of pictures, labels, archives and downloads ends in one sentence.

Each case runs a command as a user would, in a folder of its own.
"""

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tarfile import DIRTYPE

import numpy as np
import pytest
import reference_dissection as reference
import set_fixtures
from hostile_inputs import (
    DIGITS,
    ESCAPE,
    PICTURES,
    Put,
    Serve,
    content,
    device,
    fifo,
    global_bomb,
    header_bomb,
    hole,
    instead,
    mat,
    mat_of,
    picture,
    png,
    postscript,
    sends,
    serving,
    sparse_tar,
    tar_of,
    trailing_bomb,
    zip_of,
)
from hostile_runner import require_harmless, require_refusal, run_hostile
from PIL import Image
from test_concept_sets import RULES

from workflow_scripts.data.index_images import index_images
from workflow_scripts.shared.files import write_checksums
from workflow_scripts.shared.limits import LIMITS, SHIPPED

HARMLESS = None  # in place of a sentence: the input may be accepted
PIPE = "is a folder, pipe, socket or device"


@dataclass(frozen=True)
class Case:
    """A command, what it gets, and what it must say; everything is in the working folder.

    `says` is a regular expression for its sentence. `limits` are changes of the config's. `serve` answers requests to
    the address that replaces {address} among the arguments.
    """

    name: str
    command: str
    arguments: list[object]
    write: Callable[[], object]
    says: str | None
    limits: dict[str, float] = field(default_factory=dict)
    serve: Serve | None = None


# Class folders, and CIFAR-10's binary files.


def class_folders(put: Put | None = None, path: str = "src/b/x.png") -> Callable[[], None]:
    """Return a function that writes pictures in two class folders, and something else."""

    def write() -> None:
        picture(Path("src/a/0.png"))
        picture(Path("src/b/0.png"))
        if put:
            put(Path(path))

    return write


def pack(
    name: str, write: Callable[[], object], says: str | None, *more: object, size: object = 4, **limits: float
) -> Case:
    """A case of pack_images."""
    arguments = ["--folder", "src", "--size", size, "--out", "o.h5", *more]
    return Case(name, "data.pack_images", arguments, write, says, limits)


def cifar(name: str, put: Put, path: str, says: str | None, **limits: float) -> Case:
    """A case of CIFAR-10's binary files, with something in place of one of them."""

    def write() -> None:
        Path("src").mkdir()
        Path("src/batches.meta.txt").write_text("a\nb\n")
        Path("src/one.bin").write_bytes((b"\0" + bytes(3072) + b"\1" + bytes(3072)) * 2)
        instead(put)(Path("src", path))

    arguments = ["--folder", "src/*.bin", "--size", 4, "--out", "o.h5"]
    return Case(f"CIFAR: {name}", "data.pack_images", arguments, write, says, limits)


def then(*steps: Callable[[], object]) -> Callable[[], None]:
    """Return a function that does one thing after another."""

    def write() -> None:
        for step in steps:
            step()

    return write


PACKED = [
    *(pack(f"pictures: {kind}", class_folders(put), says) for kind, (put, says) in PICTURES.items()),
    pack(
        "a limit that is lowered", class_folders(), "8 x 8 pixels.*limits.picture_megapixels", picture_megapixels=5e-5
    ),
    pack("a limit of bytes", class_folders(), r"limits.file_gb in the config \(now 1e-08\)", file_gb=1e-8),
    pack("size without end", class_folders(), "images.size is 2000000, which is too large", size=2000000),
    pack("size of many gigabytes", class_folders(), "images.size is 100000, which is too large", size=100000),
    pack("size below 1", class_folders(), "images.size is -4", size=-4),
    pack("pictures per class below 1", class_folders(), "images.per_class is -1", "--per-class", -1),
    pack("no pictures per class", class_folders(), "images.per_class is 0", "--per-class", 0),
    pack("classes below 1", class_folders(), "images.classes is -1", "--classes", -1),
    pack("a class in Latin-1", then(class_folders(), lambda: os.rename("src/a", b"src/caf\xe9")), HARMLESS),
    pack(
        "a class in control characters", then(class_folders(), lambda: Path(f"src/{ESCAPE}").mkdir()), r"\\x1b\[31mred"
    ),
    pack("a class with a newline", then(class_folders(), lambda: Path("src/a\nerror: b").mkdir()), r"a\\nerror: b"),
    pack("a stray file in control characters", class_folders(content(""), f"src/a/{ESCAPE}"), HARMLESS),
    pack("a class that is a pipe", then(class_folders(), lambda: fifo(Path("src/c"))), HARMLESS),
    pack("a class in a ring of links", then(class_folders(), lambda: Path("src/c").symlink_to("c")), HARMLESS),
    pack("a folder that is a pipe", lambda: fifo(Path("src")), "there is no folder src"),
    pack("a very long name", class_folders(content(""), f"src/a/{'n' * 240}.png"), "not a whole JPEG, PNG"),
    cifar("names in a pipe", fifo, "batches.meta.txt", PIPE),
    cifar("names on a device", device, "batches.meta.txt", PIPE),
    cifar("names with NUL", content("a\0\nb\n"), "batches.meta.txt", "NUL"),
    cifar("a name twice", content("a\na\n"), "batches.meta.txt", "twice"),
    cifar("names in UTF-16", content("a\nb\n".encode("utf-16")), "batches.meta.txt", "UTF-8"),
    cifar("names with a byte order mark", content("\ufeffa\nb\n"), "batches.meta.txt", HARMLESS),
    cifar("names with control characters", content(f"a\n{ESCAPE}\n"), "batches.meta.txt", HARMLESS),
    cifar("names without an end", hole, "batches.meta.txt", "limits.file_gb"),
    cifar("pictures without an end", hole, "one.bin", "GB of memory"),
    cifar("pictures above a limit", content(bytes(3073 * 4)), "one.bin", "limits.file_gb", file_gb=1e-5),
    cifar("pictures in a pipe", fifo, "one.bin", PIPE),
    cifar("pictures on a device", device, "one.bin", PIPE),
    cifar("a label without a name", content(b"\7" + bytes(3072)), "one.bin", "label 7"),
    cifar("cut pictures", content(bytes(3000)), "one.bin", "3073"),
]

# ImageNet's layout, and its ground truth.


def index(name: str, write: Callable[[], object], says: str | None, *more: object, **limits: float) -> Case:
    """A case of index_images."""
    arguments = ["--folder", "src", "--classes-of", "src", "--unreadable", "stop", "--threads", 2, "--out", "o.h5"]
    return Case(name, "data.index_images", [*arguments, *more], write, says, limits)


def truth(name: str, put: Put, says: str | None, *names: str, meta: Put | None = None, **limits: float) -> Case:
    """A case of ground truth for two pictures of the classes a and b."""

    def write() -> None:
        for kind in "ab":
            picture(Path("train", kind, "0.png"))
        for each in names or ("x.png", "y.png"):
            picture(Path("val", each))
        put(Path("truth"))
        if meta:
            meta(Path("meta.mat"))

    arguments = ["--folder", "val", "--classes-of", "train", "--ground-truth", "truth", "--unreadable", "stop"]
    more = ["--threads", 1, "--out", "o.h5"]
    return Case(f"ground truth: {name}", "data.index_images", [*arguments, *more], write, says, limits)


def synsets(*rows: tuple[float, str]) -> Put:
    """Return a function that writes the development kit's meta.mat."""
    fields = [("ILSVRC2012_ID", object), ("WNID", object)]
    return mat_of(synsets=np.array([(float(number), name) for number, name in rows], fields))


CAFFE, KIT = "x.png 0\ny.png 1\n", "1\n2\n"
INDEXED = [
    *(index(f"index: {kind}", class_folders(put), r"b/x\.png") for kind, (put, _) in PICTURES.items()),
    index("no threads", class_folders(), HARMLESS, "--threads", 0),
    truth("a pipe", fifo, PIPE),
    truth("a device", device, PIPE),
    truth("a folder", Path.mkdir, "is a folder, pipe, socket or device"),
    truth("without an end", hole, "limits.file_gb"),
    truth("a byte order mark", content("\ufeff" + CAFFE), HARMLESS),
    truth("UTF-16", content(CAFFE.encode("utf-16")), "is not a text file"),
    truth("a label of 5000 digits", content(f"x.png {DIGITS}\ny.png 1\n"), "line 1: '99999"),
    truth("a negative label", content("x.png -1\ny.png 1\n"), "line 1: '-1' is not"),
    truth("a picture twice", content("x.png 0\nx.png 1\n"), "lists the picture x.png twice"),
    truth("a picture in control characters", content(f"{ESCAPE} 0\ny.png 1\n"), "names no class"),
    truth("two pictures of one name", content("ImageId,P\nx,a 1 1 1 1\n"), "may be x.jpg or x.png", "x.jpg", "x.png"),
    truth("no class", content(f"ImageId,P\nx,{ESCAPE} 1\n"), "there is no class folder"),
    truth("binary", content(b"\xff\xfe\x00"), "is not a text file"),
    truth("an empty file", content(""), "is empty"),
    truth(
        "an ID of 5000 digits", content(f"1\n{DIGITS}\n"), "line 2: there is no class", meta=synsets((1, "a"), (2, "b"))
    ),
    truth("meta.mat is a pipe", content(KIT), PIPE, meta=fifo),
    truth("meta.mat has an ID twice", content(KIT), "ILSVRC2012_ID", meta=synsets((1, "a"), (2, "b"), (2, "a"))),
    truth("meta.mat has half an ID", content(KIT), "ILSVRC2012_ID", meta=synsets((1, "a"), (2.5, "b"))),
    truth("meta.mat has no ID", content(KIT), "meta.mat is not", meta=synsets((np.nan, "a"), (2, "b"))),
    truth("meta.mat is text", content(KIT), "meta.mat is damaged", meta=content("text")),
    truth("meta.mat lacks its variable", content(KIT), "lacks the variable", meta=mat_of(other=1)),
    truth(
        "meta.mat of huge shape", content(KIT), "meta.mat.*shape", meta=content(mat((10**5, 10**5), name=b"synsets"))
    ),
]

# Broden's layout.

BRODEN = {
    "category.csv": "name\nscene\nobject\n",
    "label.csv": "number,name,category\n1,street,scene\n2,car,object\n",
    "index.csv": "image,split,ih,iw,sh,sw,scene,object\n0.png,train,8,8,4,4,1,m.png\n1.png,val,8,8,4,4,1,m.png\n",
}


def broden(
    name: str, file: str, change: Put | tuple[str, str], says: str | None, *more: object, **limits: float
) -> Case:
    """A case of Broden's layout: a file is changed, by replacing a text in it, or replaced."""

    def write() -> None:
        for each in ("0.png", "1.png"):
            picture(Path("src/images", each))
        reference.save_label_map(np.full((4, 4), 2), Path("src/images/m.png"))
        for table, text in BRODEN.items():
            Path("src", table).write_text(text)
        if isinstance(change, tuple):
            text = Path("src", file).read_text()
            assert change[0] in text
            Path("src", file).write_text(text.replace(*change))
        else:
            instead(change)(Path("src", file))

    arguments = ["--folder", "src", "--image-size", 4, "--threads", 2, "--out", "o.h5", *more]
    return Case(f"Broden: {name}", "data.pack_concepts", arguments, write, says, limits)


WHOLE = ("4,4,1,m.png\n1", "4,4,{},m.png\n1")  # the cell of a whole image's label
BRODEN_CASES = [
    broden("nothing wrong", "index.csv", ("val", "val"), HARMLESS),
    *(broden(f"pictures: {kind}", "images/0.png", put, says) for kind, (put, says) in PICTURES.items()),
    *(
        broden(f"label maps: {kind}", "images/m.png", put, "m.png.*(" + says + "|not a whole PNG|mode|says 4 x 4)")
        for kind, (put, says) in PICTURES.items()
    ),
    *(broden(f"{table} is a pipe", table, fifo, PIPE) for table in BRODEN),
    *(broden(f"{table} is a device", table, device, PIPE) for table in BRODEN),
    *(broden(f"{table} has no end", table, hole, "limits.file_gb") for table in BRODEN),
    *(broden(f"{table} is empty", table, content(""), rf"{table}") for table in BRODEN),
    *(broden(f"{table} is binary", table, content(os.urandom(99) + b"\xff"), rf"{table}") for table in BRODEN),
    *(
        broden(f"{table} is in UTF-16", table, content(text.encode("utf-16")), "UTF-8")
        for table, text in BRODEN.items()
    ),
    *(
        broden(f"{table} has a byte order mark", table, content("\ufeff" + text), HARMLESS)
        for table, text in BRODEN.items()
    ),
    broden("huge label maps", "index.csv", ("4,4", "1000000000,1000000000"), "limits.picture_megapixels"),
    broden("large label maps", "index.csv", ("4,4", "100000,100000"), "limits.picture_megapixels"),
    broden("sides of 5000 digits", "index.csv", ("4,4", f"{DIGITS},4"), "column sh: '99999"),
    broden("sides below 1", "index.csv", ("4,4", "0,0"), "label maps are 0 x 0"),
    broden("negative sides", "index.csv", ("4,4", "-4,4"), "column sh: '-4'"),
    broden("a whole label of 5000 digits", "index.csv", (WHOLE[0], WHOLE[1].format(DIGITS)), "column scene: '99999"),
    broden("a whole label in other digits", "index.csv", (WHOLE[0], WHOLE[1].format("\u0661")), HARMLESS),
    broden("a superscript as label", "index.csv", (WHOLE[0], WHOLE[1].format("\u00b2")), "images/\u00b2 is missing"),
    broden("an unknown label", "index.csv", (WHOLE[0], WHOLE[1].format("77")), "77 is not in label.csv"),
    broden("a split with NUL", "index.csv", ("train", "tr\0ain"), "NUL"),
    broden("a picture with NUL", "index.csv", ("0.png", "0\0.png"), "NUL"),
    broden("a picture twice", "index.csv", ("1.png", "./0.png"), "already in"),
    broden("a picture outside", "index.csv", ("0.png", "../../0.png"), "outside images/"),
    broden("a picture with control characters", "index.csv", ("0.png", ESCAPE), r"\\x1b.*is missing"),
    broden("a picture of 10^5 letters", "index.csv", ("0.png", "n" * 10**5), "File name too long"),
    broden("a cell of 10^6 letters", "index.csv", ("0.png", "n" * 10**6), "index.csv is not a CSV file"),
    broden("a quote that does not end", "index.csv", ("0.png", '"0.png'), "index.csv"),
    broden("a map that is no file", "index.csv", ("m.png", "."), PIPE),
    broden("a category without a name", "category.csv", ("object", '""'), "the category has no name"),
    broden("a category of blanks", "category.csv", ("object", " "), "blanks"),
    broden("a category twice", "category.csv", ("object", "scene"), "already in"),
    broden("a category like a column", "category.csv", ("object", "image"), "cannot be called 'image'"),
    broden(
        "300 categories", "category.csv", ("object", "\n".join(f"c{n}" for n in range(300))), "300 categories|301 cat"
    ),
    broden("a label without a name", "label.csv", ("car", ""), "the label has no name"),
    broden("a label of blanks", "label.csv", ("car", "  "), "the label has no name"),
    broden("a label twice", "label.csv", ("car", "street"), "already in"),
    broden("a label with NUL", "label.csv", ("car", "c\0r"), "NUL"),
    broden("a label in control characters", "label.csv", ("car", ESCAPE), HARMLESS),
    broden("a label's number of 5000 digits", "label.csv", ("2,car", f"{DIGITS},car"), "column number: '99999"),
    broden("a label's number twice", "label.csv", ("2,car", "1,car"), "must be unique"),
    broden("a label's number of 17 bits", "label.csv", ("2,car", "65537,car"), "from 1 to 65535"),
    broden("no column", "label.csv", ("number", "no"), "the column number once"),
    broden("absurd size", "index.csv", ("val", "val"), "picture_megapixels", "--image-size", 200000),
    broden("absurd sides", "index.csv", ("val", "val"), "picture_megapixels", "--image-size", "1x999999999999"),
    broden("no threads", "index.csv", ("val", "val"), HARMLESS, "--threads", 0),
]

# Sets in other layouts.


def joined(
    name: str, layout: str, options: dict, write: Callable[[], object], says: str | None, **limits: float
) -> Case:
    """A case of a set in a layout, which is in the folder src, and its pictures, too."""
    item = {"name": "s", "format": layout, "folder": "src", "pictures_folder": "src", "category": "object"}
    sets = json.dumps([item | {"options": options}])
    rules = json.dumps(RULES)
    arguments = ["--sets", sets, "--rules", rules, "--image-size", 4, "--threads", 2, "--out", "o.h5"]
    return Case(f"{layout}: {name}", "data.pack_concepts", arguments, write, says, limits)


def label_maps(name: str, says: str | None, maps: Put | None = None, names: Put | None = None, **limits: float) -> Case:
    """A case of label maps and their table of names."""

    def write() -> None:
        picture(Path("src/images/0.png"))
        picture(Path("src/maps/0.png"), "L")
        Path("src/names.csv").write_text("name,number\ncar,1\n")
        if maps:
            instead(maps)(Path("src/maps/0.png"))
        if names:
            instead(names)(Path("src/names.csv"))

    options = {"pictures": "images/{}.png", "label_maps": "maps/{}.png", "names": "names.csv"}
    return joined(name, "label_maps", options, write, says, **limits)


def coco(name: str, says: str | None, change: Put | dict | None = None, **limits: float) -> Case:
    """A case of COCO's segments: keys of the JSON are changed, or the file is replaced."""
    content_of_file: dict = {
        "images": [{"id": 1, "file_name": "0.png", "height": 8, "width": 8}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 8, 0, 8, 8]]}],
    }

    def write() -> None:
        picture(Path("src/images/0.png"))
        path = Path("src/a.json")
        if callable(change):
            change(path)
        else:
            path.write_text(json.dumps(content_of_file | (change or {})))

    return joined(name, "coco_segments", {"pictures": "images", "annotations": "a.json"}, write, says, **limits)


def segment(segmentation: object) -> dict:
    """Return annotations with one outline."""
    return {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}]}


def image(**changes: object) -> dict:
    """Return images with one image."""
    return {"images": [{"id": 1, "file_name": "0.png", "height": 8, "width": 8} | changes]}


def picture_labels(name: str, says: str | None, table: Put) -> Case:
    """A case of a table with labels of pictures."""

    def write() -> None:
        picture(Path("src/images/0.png"))
        table(Path("src/t.txt"))

    return joined(name, "picture_labels", {"pictures": "images/{}.png", "table": "t.txt"}, write, says)


def published(name: str, layout: str, make: Callable[[Path], object], path: str, put: Put, says: str | None) -> Case:
    """A case of a set in a published layout, with something in place of one of its files."""

    def write() -> None:
        make(Path("src"))
        instead(put)(Path("src", path))

    return joined(name, layout, {}, write, says)


def context(folder: Path) -> None:
    """Pascal-Context with its pictures."""
    set_fixtures.write_voc_pictures(folder)
    set_fixtures.write_pascal_context(folder)


def parts(folder: Path) -> None:
    """Pascal-Part with its pictures."""
    set_fixtures.write_voc_pictures(folder)
    set_fixtures.write_pascal_part(folder)


def part_masks(name: str, says: str | None, put: Put) -> Case:
    """A case of a mask file."""

    def write() -> None:
        picture(Path("src/images/0.png"))
        Path("src/masks/nose").mkdir(parents=True)
        put(Path("src/masks/nose/0.png"))

    return joined(name, "part_masks", {"pictures": "images/{}.png", "masks": "masks/{label}/{}.png"}, write, says)


CONTEXT, PART = "trainval/2008_000002.mat", "Annotations_Part/2008_000002.mat"
ADE_INDEX, ADE_JSON = "index_ade20k.mat", "images/ADE/training/urban/street/ADE_train_00000001.json"
ADE_MAP = "images/ADE/training/urban/street/ADE_train_00000001_seg.png"
NESTED = "[" * 10**5
SHAPE = {
    "a pipe": (fifo, PIPE),
    "a device": (device, PIPE),
    "without an end": (hole, "limits.file_gb"),
    "text": (content("text"), "is damaged"),
    "HDF5": (content(b"\x89HDF\r\n\x1a\n" + bytes(200)), "is damaged"),
    "huge": (content(mat((10**5, 10**5))), r"shape \(100000, 100000\).*limits.file_gb"),
    "huge if all is multiplied": (content(mat((2**31 - 1,) * 9)), "shape"),
    "of negative shape": (content(mat((-1, 4))), "shape"),
    "huge in its class": (content(mat((20000, 20000), kind=6)), "limits.file_gb"),
    "of no numbers": (mat_of(LabelMap="text"), "is not a label map"),
    "of NaN": (mat_of(LabelMap=np.full((6, 9), np.nan)), "is not a label map"),
    "of numbers with parts": (mat_of(LabelMap=np.full((6, 9), 1.5)), "is not a label map"),
    "of complex numbers": (mat_of(LabelMap=np.full((6, 9), 1j)), "is damaged"),
    "of negative numbers": (mat_of(LabelMap=np.full((6, 9), -1)), "is not a label map"),
    "of unknown numbers": (mat_of(LabelMap=np.full((6, 9), 999)), "the value 999"),
}
JOINED = [
    *(
        label_maps(f"maps: {kind}", "not a whole PNG|has no file maps|0.png.*(" + says + ")", maps=put)
        for kind, (put, says) in PICTURES.items()
        if kind != "16 bits"
    ),
    label_maps("16 bits without a name", "the value 40000", maps=PICTURES["16 bits"][0]),
    label_maps("names in a pipe", "there is no table", names=fifo),
    label_maps("names without an end", "limits.file_gb", names=hole),
    label_maps("a value of 5000 digits", "'99999", names=content(f"name,number\ncar,{DIGITS}\n")),
    label_maps("a value twice", "already means", names=content("name,number\ncar,1\nbus,1\n")),
    label_maps("a name with NUL", "NUL", names=content("name,number\nc\0r,1\n")),
    label_maps("a name of blanks", "has no name", names=content("name,number\n  ,1\n")),
    label_maps("a name in control characters", HARMLESS, names=content(f"name,number\n{ESCAPE},1\n")),
    label_maps("names in UTF-16", "UTF-8", names=content("name,number\ncar,1\n".encode("utf-16"))),
    coco("nothing wrong", HARMLESS),
    coco("a pipe", PIPE, fifo),
    coco("a device", PIPE, device),
    coco("without an end", "limits.file_gb", hole),
    coco("nested lists", "is not whole JSON", content(NESTED)),
    coco("NaN", "is not whole JSON.*NaN", content('{"images": NaN}')),
    coco("a key twice", "it has the key 'categories' twice", content('{"categories": [], "categories": [{"id": 1}]}')),
    coco("a key of an image twice", "it has the key 'id' twice", content('{"images": [{"id": 1, "id": 2}]}')),
    label_maps(
        "a column twice", "the column category once", names=content("name,number,category,category\ncar,1,a,b\n")
    ),
    coco("a number of 5000 digits", "is not whole JSON", content(f'{{"images": [{{"id": {DIGITS}}}]}}')),
    coco("not UTF-8", "UTF-8", content(b"\xff{}")),
    coco("a list", "is a list or a value", content("[]")),
    coco("a huge picture", "limits.picture_megapixels", image(height=10**6, width=10**6)),
    coco("a picture of 400 digits", "limits.picture_megapixels", image(height=10**400)),
    coco("a picture of negative size", "height and width are -8", image(height=-8)),
    coco("a picture of infinite size", "is not whole JSON", image(height=float("inf"))),
    coco("a picture outside", "within the folder", image(file_name="../../0.png")),
    coco("a picture with NUL", "within the folder", image(file_name="0\0.png")),
    coco("a picture that is no text", "within the folder", image(file_name="\ud800.png")),
    coco("a picture in control characters", r"lacks \\x1b", image(file_name=ESCAPE)),
    coco("a category in control characters", HARMLESS, {"categories": [{"id": 1, "name": ESCAPE}]}),
    coco("a category with NUL", "not text", {"categories": [{"id": 1, "name": "c\0r"}]}),
    coco("a category without a name", "has no name", {"categories": [{"id": 1, "name": " "}]}),
    coco("a category twice", "are called 'car'", {"categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "car"}]}),
    coco("an id twice", "which another also has", {"categories": [{"id": 1, "name": "car"}, {"id": 1, "name": "bus"}]}),
    coco("an outline far outside", "far outside", segment([[0, 0, 1e300, 0, 8, 8]])),
    coco("an outline of NaN", "is not whole JSON", segment([[0, 0, float("nan"), 0, 8, 8]])),
    coco("an outline of too few points", "at least 6", segment([[0, 0]])),
    coco("runs of a huge size", "its size is", segment({"size": [10**9, 10**9], "counts": [0]})),
    coco("runs that do not fill the picture", "sum to", segment({"size": [8, 8], "counts": [1, 2]})),
    coco("runs that overflow", "run lengths|neither polygons", segment({"size": [8, 8], "counts": [2**32 - 1] * 9})),
    coco("runs that are no text of runs", "not run lengths", segment({"size": [8, 8], "counts": "\x7f" * 99})),
    coco("text that continues for ever", "not run lengths", segment({"size": [8, 8], "counts": "o" * 10**5})),
    coco("negative runs", "neither polygons", segment({"size": [8, 8], "counts": [-1, 65]})),
    picture_labels("a pipe", PIPE, fifo),
    picture_labels("a device", PIPE, device),
    picture_labels("without an end", "limits.file_gb", hole),
    picture_labels("binary", "UTF-8", content(b"\xff\xfe")),
    picture_labels("a picture twice", "already in another line", content("0.png a\n0.png b\n")),
    picture_labels("a label with NUL", "not text", content("0.png\ta\0b\n")),
    picture_labels("a label in control characters", HARMLESS, content(f"0.png\t{ESCAPE}\n")),
    *(published(f"a map {kind}", "pascal_context", context, CONTEXT, put, says) for kind, (put, says) in SHAPE.items()),
    published("names in a pipe", "pascal_context", context, "labels.txt", fifo, "there is no table"),
    published("an annotation in a pipe", "pascal_part", parts, PART, fifo, PIPE),
    published("text", "pascal_part", parts, PART, content("text"), "is damaged"),
    published("a number", "pascal_part", parts, PART, mat_of(anno=1.0), "is not an annotation"),
    published("cells", "pascal_part", parts, PART, mat_of(anno=np.array([[1, "a"]], object)), "is not an annotation"),
    published("the index in a pipe", "ade20k", set_fixtures.write_ade20k_2016, ADE_INDEX, fifo, "neither index_ade20k"),
    published("text", "ade20k", set_fixtures.write_ade20k_2016, ADE_INDEX, content("text"), "is damaged"),
    published("no names", "ade20k", set_fixtures.write_ade20k_2016, ADE_INDEX, mat_of(index=1.0), "is not the index"),
    published("JSON in a pipe", "ade20k", set_fixtures.write_ade20k_2021, ADE_JSON, fifo, "neither index_ade20k"),
    published("JSON without an end", "ade20k", set_fixtures.write_ade20k_2021, ADE_JSON, hole, "limits.file_gb"),
    published(
        "nested JSON", "ade20k", set_fixtures.write_ade20k_2021, ADE_JSON, content(NESTED), "is not an annotation"
    ),
    published(
        "a key twice",
        "ade20k",
        set_fixtures.write_ade20k_2021,
        ADE_JSON,
        content('{"annotation": {"object": [], "object": []}}'),
        "is not an annotation.*the key 'object' twice",
    ),
    published(
        "a class of 5000 digits",
        "ade20k",
        set_fixtures.write_ade20k_2021,
        ADE_JSON,
        content(f'{{"annotation": {{"object": {{"name_ndx": {DIGITS}, "name": "a"}}}}}}'),
        "is not an annotation",
    ),
    published("a map in a pipe", "ade20k", set_fixtures.write_ade20k_2021, ADE_MAP, fifo, PIPE),
    published("a PostScript map", "ade20k", set_fixtures.write_ade20k_2021, ADE_MAP, postscript, "not a whole PNG"),
    published("a map in a pipe", "open_surfaces", set_fixtures.write_open_surfaces, "photos-labels/7.png", fifo, PIPE),
    published(
        "a table in a pipe",
        "open_surfaces",
        set_fixtures.write_open_surfaces,
        "label-substance-colors.csv",
        fifo,
        PIPE,
    ),
    published(
        "a value of 5000 digits",
        "open_surfaces",
        set_fixtures.write_open_surfaces,
        "label-substance-colors.csv",
        content(f"substance_name,red_color\na,{DIGITS}\n"),
        "'99999",
    ),
    part_masks("a pipe", PIPE, fifo),
    part_masks("PostScript", "not a whole PNG", postscript),
    part_masks("float TIFF", "more than 8 bits", PICTURES["float TIFF"][0]),
    part_masks("too many pixels", "limits.picture_megapixels", content(png(10**5, 10**5))),
]

# Archives.


def archive(name: str, file: str, put: Put, says: str | None, out: str = "f", **limits: float) -> Case:
    """A case of unpack_archive."""
    arguments: list[object] = ["--archive", file, "--out", out, "--checksums", "f.sha256"]
    return Case(f"archives: {name}", "data.unpack_archive", arguments, lambda: put(Path(file)), says, limits)


TWO = (("a", b"1"), ("a", b"2"))
BOMB = ("a", bytes(10**7))
EMPTY = tuple((f"a{number}", b"") for number in range(3000))
SMALL, TINY = 0.001, 0.000001  # GB
ARCHIVES = [
    archive("zip, a name twice", "x.zip", zip_of(*TWO), "entry 'a' twice"),
    archive("tar, a name twice", "x.tar", tar_of(*TWO), "entry 'a' twice"),
    archive("zip, a name spelled in two ways", "x.zip", zip_of(("d/a", b""), ("d//a", b"")), "entry 'd//a' twice"),
    archive("tar, a name spelled in two ways", "x.tar", tar_of(("d/a", b""), ("./d/a", b"")), r"entry '\./d/a' twice"),
    archive("zip, a folder twice", "x.zip", zip_of(("d/", b""), ("d/", b""), ("d/a", b"")), HARMLESS),
    archive("zip, a file in a file", "x.zip", zip_of(("a", b""), ("a/b", b"")), "cannot be unpacked|twice"),
    archive("tar, a file in a file", "x.tar", tar_of(("a", b""), ("a/b", b"")), "cannot be unpacked|twice"),
    archive("zip, letter case", "x.zip", zip_of(("a", b""), ("A", b"")), HARMLESS),
    archive("zip, a name with newlines", "x.zip", zip_of((f"a\n{'0' * 64}  b", b"x"), ("b", b"")), HARMLESS),
    archive("tar, a name with newlines", "x.tar", tar_of((f"a\n{'0' * 64}  b", b"x"), ("c\r", b"")), HARMLESS),
    archive("zip, a name in control characters", "x.zip", zip_of((f"../{ESCAPE}", b"x")), "outside its folder"),
    archive("tar, an absolute name", "x.tar", tar_of(("/evil", b"x")), "outside its folder"),
    archive("tar, a link", "x.tar", tar_of(("a", b""), type=b"2", linkname="/etc/passwd"), "link or device"),
    archive("tar, a name that is too long", "x.tar", tar_of(("n" * 300, b"x")), "File name too long"),
    archive(
        "tar, a name with NUL",
        "x.tar",
        tar_of(("a", b"x"), pax_headers={"path": "a\0b"}, mode="w"),
        "cannot be unpacked",
    ),
    archive(
        "tar, a time without an end", "x.tar", tar_of(("a", b"x"), pax_headers={"mtime": "1e300"}), "cannot be unpacked"
    ),
    archive(
        "tar, a time that is no number",
        "x.tar",
        tar_of(("a", b"x"), pax_headers={"mtime": "nan"}),
        "cannot be unpacked",
    ),
    archive(
        "tar, a size of 5000 digits",
        "x.tar",
        tar_of(("a", b"x"), pax_headers={"size": DIGITS}),
        "cannot be unpacked|cut off",
    ),
    archive("tar, a sparse file of 1 TB", "x.tar", content(sparse_tar(2**40)), "limits.unpacked_gb"),
    archive(
        "tar, a sparse file above a limit",
        "x.tar",
        content(sparse_tar(2 * 10**6)),
        "limits.unpacked_gb",
        unpacked_gb=SMALL,
    ),
    archive(
        "tar, a sparse file larger than the disk", "x.tar", content(sparse_tar(2**60)), "no room", unpacked_gb=1e30
    ),
    archive("zip bomb", "x.zip", zip_of(BOMB), r"limits.unpacked_gb in the config \(now 0.001\)", unpacked_gb=SMALL),
    archive(
        "zip bomb in parts",
        "x.zip",
        zip_of(*((f"{n}", bytes(9 * 10**5)) for n in range(9))),
        "limits.unpacked_gb",
        unpacked_gb=SMALL,
    ),
    archive("tar.gz bomb", "x.tar.gz", tar_of(BOMB, mode="w:gz"), "limits.unpacked_gb", unpacked_gb=SMALL),
    archive("tar.bz2 bomb", "x.tar.bz2", tar_of(BOMB, mode="w:bz2"), "limits.unpacked_gb", unpacked_gb=SMALL),
    archive("tar.xz bomb", "x.tar.xz", tar_of(BOMB, mode="w:xz"), "limits.unpacked_gb", unpacked_gb=SMALL),
    archive("tar.gz bomb in a header", "x.tar.gz", header_bomb, "between two of its files"),
    archive("tar.gz bomb after the end", "x.tar.gz", trailing_bomb, "after the last"),
    archive("zip, many empty files", "x.zip", zip_of(*EMPTY), "limits.unpacked_gb", unpacked_gb=TINY),
    archive(
        "tar.xz, many empty files", "x.tar.xz", tar_of(*EMPTY, mode="w:xz"), "limits.unpacked_gb", unpacked_gb=TINY
    ),
    archive(
        "tar.xz, many empty folders",
        "x.tar.xz",
        tar_of(*EMPTY, mode="w:xz", type=DIRTYPE),
        "limits.unpacked_gb",
        unpacked_gb=TINY,
    ),
    archive(
        "tar.gz, large headers",
        "x.tar.gz",
        tar_of(*EMPTY[:20], mode="w:gz", pax_headers={"comment": "x" * 10**6}),
        "limits.unpacked_gb",
        unpacked_gb=0.01,
    ),
    archive("tar.gz, headers for all", "x.tar.gz", global_bomb, "its headers are too large"),
    archive("zip that says too little", "x.zip", lambda path: understate(path), "cannot be unpacked"),
    archive("zip in invalid UTF-8", "x.zip", lambda path: rename_entry(path, b"\xff\xfe"), "cannot be unpacked"),
    archive("zip that says too much", "x.zip", lambda path: overstate(path), "limits.unpacked_gb|cannot be unpacked"),
    archive("zip in a pipe", "x.zip", fifo, PIPE),
    archive("tar on a device", "x.tar", device, PIPE),
    archive("zip that is a folder", "x.zip", Path.mkdir, PIPE),
    archive("tar that is a folder", "x.tar", Path.mkdir, PIPE),
    archive("zip without an end", "x.zip", hole, "cannot be unpacked"),
    archive("tar without an end", "x.tar", hole, "cannot be unpacked|holds no files|after the last"),
    archive("missing", "x.zip", lambda path: None, "is missing"),
    archive("no room for the output", "x.zip", zip_of(("a", b"")), r"\(File exists\): fix that", out="x.zip/f"),
]


def understate(path: Path) -> None:
    """Write a zip whose entry is larger than it says."""
    zip_of(("a", bytes(10**5)))(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)


def overstate(path: Path) -> None:
    """Write a zip whose entry says that it has 4 GB; ten such entries have more than the limit."""
    zip_of(*((f"{n}", b"x") for n in range(300)))(path)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\1\2")
    while at >= 0:
        data[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")
        at = data.find(b"PK\1\2", at + 1)
    path.write_bytes(data)


def rename_entry(path: Path, name: bytes) -> None:
    """Write a zip whose entry has another name, which it says is UTF-8."""
    zip_of(("\u00e9", b"x"))(path)
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), name))


# Downloads.

SHA = f"sha256:{'0' * 64}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PATIENCE = 1.5  # seconds
LITTLE = 0.0001  # GB


def fetch(
    name: str,
    serve: Serve,
    says: str | None,
    write: Callable[[], object] = lambda: None,
    checksum: str = SHA,
    **limits: float,
) -> Case:
    """A case of fetch_archive."""
    arguments = ["--archive", "x.zip", "--addresses", "{address}", "--checksum", checksum, "--out", "r.json"]
    return Case(
        f"downloads: {name}",
        "data.fetch_archive",
        [*arguments, "--patience", PATIENCE, "--wait", 0],
        write,
        says,
        limits,
        serve,
    )


def answer(status: str = "200 OK", *headers: str, body: bytes = b"") -> bytes:
    """Return a response of a server."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1") + body


def part_link() -> None:
    """A link in place of the partial file, to a file of the user's."""
    Path("mine").write_text("mine")
    Path("x.zip.part").symlink_to("mine")


LONG = answer("200 OK", "Content-Length: 9999999")
SERVED = sends(answer("200 OK", "Content-Length: 3", body=b"abc"))
DOWNLOADS = [
    fetch("control characters in a reason", sends(answer(f"404 {ESCAPE}")), r"HTTP 404 \\x1b\[31mred"),
    fetch("10^4 letters in a reason", sends(answer(f"404 {'n' * 10000}")), "HTTP 404"),
    fetch(
        "control characters in a redirection", sends(answer("302 Found", f"Location: {ESCAPE}")), "no address serves"
    ),
    fetch("a redirection to a file", sends(answer("302 Found", "Location: file:///etc/passwd")), "no address serves"),
    fetch("a redirection without an end", sends(answer("302 Found", "Location: /")), "no address serves"),
    fetch("headers without an end", sends(answer()[:-2], again=b"X: y\r\n"), "no address serves"),
    fetch("a header without an end", sends(answer()[:-2] + b"X: ", again=b"y" * 1000), "no address serves"),
    fetch("a trickling header", sends(answer()[:-2] + b"X: ", again=b"y", pause=0.1), "within 1.5 s"),
    fetch("a trickling status", sends(b"HTTP/1.1 ", again=b"2", pause=0.1), "within 1.5 s"),
    fetch("a trickling body", sends(LONG, again=b"y", pause=0.1), "too slow", checksum="none"),
    fetch("trickling chunks", sends(CHUNKED, again=b"1\r\ny\r\n", pause=0.1), "too slow", checksum="none"),
    fetch("a trickling length of a chunk", sends(CHUNKED, again=b"0", pause=0.1), "within 1.5 s"),
    fetch(
        "chunks without an end",
        sends(CHUNKED, again=b"1000\r\n" + bytes(4096) + b"\r\n"),
        "limits.download_gb",
        download_gb=LITTLE,
    ),
    fetch(
        "chunks without an end, no checksum",
        sends(CHUNKED, again=b"1000\r\n" + bytes(4096) + b"\r\n"),
        "limits.download_gb",
        checksum="none",
        download_gb=LITTLE,
    ),
    fetch("a body without an end", sends(answer(), again=bytes(4096)), "limits.download_gb", download_gb=LITTLE),
    fetch("a huge length", sends(answer("200 OK", f"Content-Length: {10**15}")), "limits.download_gb"),
    fetch(
        "a length beyond the disk", sends(answer("200 OK", f"Content-Length: {10**18}")), "no room", download_gb=1e12
    ),
    fetch(
        "a length of 5000 digits", sends(answer("200 OK", f"Content-Length: {DIGITS}", body=b"abc")), "serves something"
    ),
    fetch("a negative length", sends(answer("200 OK", "Content-Length: -3", body=b"abc")), "serves something"),
    fetch(
        "a range of 5000 digits",
        sends(answer("206 Partial Content", f"Content-Range: bytes 3-{DIGITS}/{DIGITS}", body=b"abc")),
        "no address serves",
        lambda: Path("x.zip.part").write_text("abc"),
    ),
    fetch("a chunk of a huge length", sends(CHUNKED + b"f" * 5000 + b"\r\nabc"), "no address serves", checksum="none"),
    fetch("a chunk of no length", sends(CHUNKED + b"zz\r\nabc"), "no address serves"),
    fetch("binary", sends(os.urandom(9999)), "no address serves"),
    fetch("nothing", sends(), "no address serves"),
    fetch("an archive that is a folder", SERVED, PIPE, lambda: Path("x.zip").mkdir()),
    fetch("an archive that is a pipe", SERVED, PIPE, lambda: fifo(Path("x.zip"))),
    fetch("an archive that is a device", SERVED, PIPE, lambda: device(Path("x.zip"))),
]

# Training from picture files.


def train(name: str, put: Put, says: str, *names: str, **limits: float) -> Case:
    """A case of pictures that change, or are too narrow, after they were indexed."""

    def write() -> None:
        for kind in "ab":
            for each in names or ("0.png",):
                picture(Path("src", kind, each))
        if names:
            put(Path("src/a/0.png"))
        index_images(Path("src"), Path("src"), Path("i.h5"))
        if not names:
            instead(put)(Path("src/a/0.png"))

    network = {"constructor": "workflow_scripts.networks.architectures:small_resnet"}
    sizes = {"widths": [4], "blocks": [1], "strides": [1], "stem_kernel": 3, "stem_stride": 1}
    arguments: list[object] = ["--train", "i.h5", "--test", "i.h5", "--train-folder", "src", "--test-folder", "src"]
    arguments += ["--size", 8, "--resize", 8, "--workers", 2, "--gpus", 0, "--mean", 0.5, 0.5, 0.5, "--std", 1, 1, 1]
    arguments += ["--network", json.dumps(network | {"arguments": sizes}), "--replicate", 1, "--precision", "float32"]
    return Case(
        f"training: {name}",
        "train.init_network",
        [*arguments, "--out", "n.pt", "--metrics", "m.json"],
        write,
        says,
        limits,
    )


def narrow(path: Path) -> None:
    """A picture of a single row."""
    Image.new("RGB", (60000, 1)).save(path)


TRAINED = [
    *(train(kind, *PICTURES[kind]) for kind in ("fifo", "sparse file", "PostScript")),
    train("another size", lambda path: Image.new("RGB", (9, 8)).save(path), "has changed since it was indexed"),
    train("a narrow picture", narrow, "scaled so that.*8 x 480000.*picture_megapixels", "1.png", picture_megapixels=1),
]

CASES = [*PACKED, *INDEXED, *BRODEN_CASES, *JOINED, *ARCHIVES, *DOWNLOADS, *TRAINED]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_input_ends_in_a_sentence(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    case.write()
    before = {path.name for path in tmp_path.iterdir()}
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "no_proxy": "127.0.0.1",
        LIMITS: json.dumps(SHIPPED | case.limits),
    }
    with ExitStack() as stack:
        address = stack.enter_context(serving(case.serve)) if case.serve else ""
        arguments = [str(each).replace("{address}", address) for each in case.arguments]
        outcome = run_hostile(tmp_path, f"workflow_scripts.{case.command}", *arguments, **environment)
    if case.says is None:
        require_harmless(tmp_path, outcome)
        assert outcome.status == 0, outcome.output
    else:
        require_refusal(tmp_path, outcome, case.says)
        assert {path.name for path in tmp_path.iterdir()} - before <= {"output.txt", "peak.txt"}


@pytest.mark.parametrize("name", ["a\nb", "c\rd", "e\\f", "\ng\\n"])
def test_checksums_of_odd_names_can_be_checked(tmp_path, name):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / name).write_text("x")
    write_checksums(tmp_path / "f", tmp_path / "f.sha256")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "../f.sha256"], cwd=tmp_path / "f", check=True)


def test_a_link_in_place_of_a_partial_file_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part_link()
    with serving(SERVED) as address:
        arguments = ["--archive", "x.zip", "--addresses", address, "--checksum", SHA, "--out", "r.json"]
        outcome = run_hostile(tmp_path, "workflow_scripts.data.fetch_archive", *arguments, no_proxy="127.0.0.1")
    assert outcome.status == 1 and "cannot be written" in outcome.sentence
    assert Path("mine").read_text() == "mine"
