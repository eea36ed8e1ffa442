"""Pictures in class folders: finding their files, and reporting other files."""

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.data.decode import IMAGE_SUFFIXES
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import list_folders, list_visible

INNER = "images"  # a folder within each class folder, where Tiny ImageNet has the pictures
NARROWED = "narrowed by images.classes or images.without"


def existing(folder: Path) -> Path:
    """Return `folder`, or raise UserError if there is none."""
    if not os.path.isdir(folder):  # unlike Path's, it does not raise if permissions are missing
        raise UserError(
            f"there is no folder {folder}: correct the config, or put or link the pictures there (ImageNet cannot be"
            " downloaded freely: ask for access at image-net.org and unpack it)"
        )
    return folder


def list_class_folders(
    folder: Path, classes: Sequence[str], others: Collection[str] = ()
) -> tuple[list[str], np.ndarray]:
    """Return the pictures' paths below `folder`, class by class, and their labels int64 (N,); log what is left out.

    A class folder's pictures are in it, or all in its own folder `images`. Pictures of the classes `others`, which need
    not exist, are left out.

    Raises:
        UserError: there are other class folders than `classes` and `others`, or one has no pictures, or has pictures
            both in it and in its folder `images`.
    """
    found = set(list_folders(existing(folder)))
    if not found:
        raise UserError(
            f"{folder} has no class folders: sort its pictures into class folders, or set images.test_labels"
        )
    if odd := sorted((found ^ set(classes)) - set(others)):
        lack = "is not among the training pictures'" if odd[0] in found else "is missing"
        raise UserError(f"the class folder {folder / odd[0]} {lack}: all pictures must have the same classes")
    names: list[str] = []
    counts: list[int] = []
    left_out = [name for name in list_visible(folder) if name not in found]
    for name in classes:
        pictures, rest = class_pictures(folder, name)
        names += pictures
        counts.append(len(pictures))
        left_out += rest
    tell_left_out(folder, left_out)
    of_others = sum(len(pictures) for name in found & set(others) for pictures in find_pictures(folder, name)[:2])
    tell_narrowed(folder, of_others)
    return names, np.repeat(np.arange(len(classes), dtype=np.int64), counts)


def class_pictures(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """Return the sorted paths below `folder` of a class folder's pictures, and of its other contents.

    Raises:
        UserError: as in `list_class_folders`.
    """
    pictures, inner, others = find_pictures(folder, name)
    if pictures and inner:
        raise UserError(
            f"the class folder {folder / name} has pictures, such as {pictures[0]}, and others in its folder {INNER},"
            f" such as {inner[0]}: put all of them into one of the two"
        )
    if not pictures and not inner:
        but = f" but {len(others)} files or folders with other endings, such as {others[0]}" if others else ""
        raise UserError(f"the class folder {folder / name} has no pictures{but}: fill it or remove it")
    return pictures or inner, others


def find_pictures(folder: Path, name: str) -> tuple[list[str], list[str], list[str]]:
    """Return the sorted paths below `folder` of a class's pictures, of those in its folder `images`, and of the rest.

    That folder is part of the rest only if it has no pictures.
    """
    pictures, others = sort_out(folder, name)
    inner: list[str] = []
    rest: list[str] = []
    within = f"{name}/{INNER}"
    if within in others and os.path.isdir(folder / within):
        inner, rest = sort_out(folder, within)
    if inner:
        others = [other for other in others if other != within] + rest
    return pictures, inner, others


def sort_out(folder: Path, within: str) -> tuple[list[str], list[str]]:
    """Return the sorted paths below `folder` of the pictures in one of its folders, and of its other contents."""
    found = [f"{within}/{name}" for name in list_visible(folder / within)]
    return [path for path in found if is_picture(path)], [path for path in found if not is_picture(path)]


def list_pictures(folder: Path) -> list[str]:
    """Return the sorted names of the pictures in `folder`, recognised by their endings; log what else is there."""
    found = list_visible(folder)
    tell_left_out(folder, [name for name in found if not is_picture(name)])
    return [name for name in found if is_picture(name)]


def is_picture(name: str) -> bool:
    """Tell, by the ending of its name, whether a file is a picture."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def tell_left_out(folder: Path, names: list[str]) -> None:
    """Log how many files and folders are left out, with an example."""
    if names:
        logging.warning(
            "%d files or folders of %s are left out, because they are not where pictures are or have other endings than"
            " (%s), such as %s",
            len(names),
            folder,
            ", ".join(IMAGE_SUFFIXES),
            names[0],
        )


def tell_narrowed(source: Path, count: int) -> None:
    """Log how many pictures are left out because their classes are not taken."""
    if count:
        logging.info("%d pictures of %s are left out because of their classes (%s)", count, source, NARROWED)


def check_count(folder: Path, what: str, found: int, expected: int | None, least: int = 1) -> None:
    """Raise UserError if there are fewer than `least`, or not as many as expected."""
    if found < least or expected not in (None, found):
        raise UserError(
            f"{folder} has {found} {what}, but {expected or f'at least {least}'} are expected: unpack it again, or"
            " correct images.expect"
        )
