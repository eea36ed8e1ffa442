"""The classes of ImageNet's and Tiny ImageNet's validation pictures, in the forms in which they are distributed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workflow_scripts.data.mat_files import fields_of, read_mat, text_of
from workflow_scripts.plan.class_order import digits_by_value
from workflow_scripts.shared.files import UserError, require_file
from workflow_scripts.shared.regular_files import read_file

MOST_DIGITS = 18


def read_ground_truth(path: Path, names: list[str], classes: tuple[str, ...]) -> np.ndarray:
    """Return the labels, int64 (N,), of the files `names`, which are sorted; a label is a position in `classes`.

    The file may be Kaggle's LOC_val_solution.csv (a line `picture,class box ...`), Tiny ImageNet's val_annotations.txt
    (`file class box`, with tabs), Caffe's val.txt (`file label`), or the development kit's
    ILSVRC2012_validation_ground_truth.txt (an ILSVRC2012_ID for each file; meta.mat beside it has the IDs' classes).

    Raises:
        UserError: a file has no class or two, a listed file is missing, a class is unknown; or as in
            `require_one_order`.
    """
    lines = read_lines(path)
    if lines[0].startswith("ImageId,"):
        keys = [Path(name).stem for name in names]
        require_distinct(path, names, keys)
        pairs = kaggle_pairs(path, lines, classes)
    elif "\t" in lines[0]:
        keys = names
        pairs = tiny_pairs(path, lines, classes)
    elif len(lines[0].split()) == 2:
        keys = names
        require_one_order(path, classes)
        pairs = caffe_pairs(path, lines, len(classes))
    elif lines[0].strip().isdecimal():
        if len(lines) != len(names):
            raise UserError(f"{path} has {len(lines)} lines for {len(names)} pictures: give the file for these")
        return np.array(list(development_kit_labels(path, lines, classes)), np.int64)
    else:
        raise UserError(
            f"{path} is not a known form of ground truth: give Kaggle's LOC_val_solution.csv, Caffe's val.txt, the"
            " development kit's ILSVRC2012_validation_ground_truth.txt, or Tiny ImageNet's val_annotations.txt"
        )
    truth: dict[str, int] = {}
    for picture, label in pairs:
        if picture in truth:
            raise UserError(f"{path} lists the picture {picture} twice: remove one of its lines")
        truth[picture] = label
    without_class = [name for name, key in zip(names, keys, strict=True) if key not in truth]
    without_file = sorted(truth.keys() - set(keys))
    if without_class:
        raise UserError(
            f"{path} names no class for the picture {without_class[0]}: remove the picture, or complete the list"
        )
    if without_file:
        raise UserError(f"{path} names {without_file[0]}, but there is no such picture: unpack the pictures again")
    return np.array([truth[key] for key in keys], np.int64)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, without blank lines at its end."""
    try:
        lines = read_file(path).decode("utf-8-sig").rstrip().splitlines()
    except UserError as error:
        raise UserError(f"the ground truth {error}, or correct images.test_labels") from None
    except UnicodeDecodeError:
        raise UserError(f"the ground truth {path} is not a text file: correct images.test_labels") from None
    if not lines:
        raise UserError(f"the ground truth {path} is empty: correct images.test_labels")
    return lines


def require_distinct(path: Path, names: list[str], keys: list[str]) -> None:
    """Raise UserError if two pictures have the same name without its ending, by which the ground truth knows them."""
    first: dict[str, str] = {}
    for name, key in zip(names, keys, strict=True):
        if first.setdefault(key, name) != name:
            raise UserError(f"{path} names {key}, which may be {first[key]} or {name}: remove or rename one of the two")


def kaggle_pairs(path: Path, lines: list[str], classes: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield the stem of each picture's name, and its label."""
    label = {name: number for number, name in enumerate(classes)}
    for row, line in enumerate(lines[1:], 2):
        picture, _, prediction = line.partition(",")
        name = next(iter(prediction.split()), "")
        if name not in label:
            raise no_class(path, row, name)
        yield picture, label[name]


def tiny_pairs(path: Path, lines: list[str], classes: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield each picture's name, and its label."""
    label = {name: number for number, name in enumerate(classes)}
    for row, line in enumerate(lines, 1):
        picture, name, *_ = [*line.split("\t"), ""]
        if name not in label:
            raise no_class(path, row, name)
        yield picture, label[name]


def no_class(path: Path, row: int, name: str) -> UserError:
    """Return the error for a line with an unknown class."""
    return UserError(f"{path}, line {row}: there is no class folder {name!r}: give one for these classes")


def require_one_order(path: Path, classes: tuple[str, ...]) -> None:
    """Raise UserError if it is unclear which class has which number; `classes` are the names sorted as text."""
    by_number = sorted(classes, key=digits_by_value)
    for number, (one, other) in enumerate(zip(classes, by_number, strict=True)):
        if one != other:
            raise UserError(
                f"{path} gives classes as numbers, and {number} may be the class folder {one}, as text, or {other}, by"
                " number: rename the folders so that both orders agree, for example 02 instead of 2"
            )


def caffe_pairs(path: Path, lines: list[str], classes: int) -> Iterator[tuple[str, int]]:
    """Yield each picture's name, and its label."""
    for row, line in enumerate(lines, 1):
        picture, _, label = line.rpartition(" ")
        # Python refuses to read numbers of thousands of digits.
        if not label.isdecimal() or len(label) > MOST_DIGITS or int(label) >= classes:
            raise UserError(
                f"{path}, line {row}: {label[:40]!r} is not a class's number, from 0 to {classes - 1}: correct it"
            )
        yield picture.strip(), int(label)


def development_kit_labels(path: Path, lines: list[str], classes: tuple[str, ...]) -> Iterator[int]:
    """Yield each line's label, by way of meta.mat."""
    name_of = read_development_kit(path.with_name("meta.mat"))
    label = {name: number for number, name in enumerate(classes)}
    for row, line in enumerate(lines, 1):
        name = name_of.get(line.strip())
        if name not in label:
            raise UserError(
                f"{path}, line {row}: there is no class folder for the ILSVRC2012_ID {line.strip()!r}"
                f" ({name or 'not in meta.mat'}): give the file for these classes"
            )
        yield label[name]


def read_development_kit(path: Path) -> dict[str, str]:
    """Return the class name (WNID) of each ILSVRC2012_ID, written in decimal, from the development kit's meta.mat."""
    require_file(path, "copy it there from the development kit, because it has the classes")
    with fields_of(path, "the development kit's meta.mat"):
        synsets = read_mat(path, "synsets", ("ILSVRC2012_ID", "WNID"))
        name_of: dict[str, str] = {}
        for synset in synsets:
            number, name = synset["ILSVRC2012_ID"].item(), text_of(synset["WNID"])
            if number != int(number) or name_of.setdefault(str(int(number)), name) != name:
                raise ValueError(f"the ILSVRC2012_ID {number} is not whole, or is that of two classes")
        return name_of
