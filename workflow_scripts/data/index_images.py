"""List the files of a picture dataset, with labels and sizes, having decoded each once."""

import argparse
import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from workflow_scripts.data.decode import decode, tell_turned
from workflow_scripts.data.ground_truth import read_ground_truth
from workflow_scripts.data.image_index import ImageIndex, write_image_index
from workflow_scripts.data.pack_images import (
    check_count,
    list_class_pictures,
    list_pictures,
    number_or_any,
)
from workflow_scripts.shared.files import Unreadable, UserError, run_command, whole_file
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.regular_files import list_folders, read_file

FILES_PER_JOB = 64


def index_images(
    folder: Path,
    classes_of: Path,
    out: Path,
    ground_truth: Path | None = None,
    expect_classes: int | None = None,
    expect_pictures: int | None = None,
    unreadable: str = "stop",
    threads: int = 1,
) -> None:
    """Index `folder/<class>/<picture>` or, with `ground_truth`, `folder/<picture>`.

    Labels number the class folders of `classes_of` in alphabetical order. Every file is decoded once, by `threads`
    threads; `unreadable` "skip" leaves out those that cannot be decoded. What is left out besides is logged, as are
    pictures that ask for a turn, which is not done.

    Raises:
        UserError: other class folders or another number of pictures than expected, a ground truth that does not fit,
            or files that cannot be decoded.
    """
    classes = list_classes(classes_of, expect_classes)
    if ground_truth is None:
        names, labels = list_class_folders(folder, classes)
        check_count(folder, "pictures", len(names), expect_pictures)
    else:
        names = list_pictures(existing(folder))
        check_count(folder, "pictures", len(names), expect_pictures)
        labels = read_ground_truth(ground_truth, names, classes)
    turned: list[str] = []
    digests, sizes = inspect_all(folder, names, threads, turned)
    tell_turned(turned)
    whole = sizes[:, 0] > 0
    if not whole.all():
        check_unreadable(folder, names, labels, whole, classes, unreadable)
    kept = np.flatnonzero(whole)
    paths = tuple(names[i] for i in kept)
    index = ImageIndex(paths, labels[kept], classes, *sizes[kept].T, fingerprint(paths, digests[kept]))
    with whole_file(out) as part:
        write_image_index(part, index)


def existing(folder: Path) -> Path:
    """Return `folder`, or raise UserError if there is none."""
    if not os.path.isdir(folder):  # unlike Path's, it raises nothing for want of permissions
        raise UserError(
            f"there is no folder {folder}: put or link the pictures there (ImageNet cannot be downloaded freely: ask"
            " for access at image-net.org and unpack it)"
        )
    return folder


def list_classes(folder: Path, expected: int | None) -> tuple[str, ...]:
    """Return the sorted names of the class folders, of which there must be as many as `expected`."""
    classes = tuple(list_folders(existing(folder)))
    check_count(folder, "class folders", len(classes), expected, least=2)
    return classes


def list_class_folders(folder: Path, classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Return the pictures' paths below `folder`, class by class, and their labels int64 (N,); log what is left out."""
    found = set(list_folders(existing(folder)))
    if not found:
        raise UserError(f"{folder} holds no class folders: sort its pictures into some, or set images.test_labels")
    if odd := sorted(found ^ set(classes)):
        lack = "is not among the training pictures'" if odd[0] in found else "is missing"
        raise UserError(f"the class folder {folder / odd[0]} {lack}: all pictures must have the same classes")
    pictures = list_class_pictures(folder, classes)
    names = [name for of_class in pictures for name in of_class]
    return names, np.repeat(np.arange(len(classes), dtype=np.int64), [len(of_class) for of_class in pictures])


def inspect_all(folder: Path, names: list[str], threads: int, turned: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return each file's SHA-256, bytes (N,), and its height and width, int32 (N, 2), 0 if it cannot be decoded.

    Adds to `turned` as `decode` does.

    Threads, because reading, decoding and hashing all release the interpreter's lock.
    """
    digests = np.zeros(len(names), "V32")
    sizes = np.zeros((len(names), 2), np.int32)
    progress = Progress(f"pictures of {folder}", len(names))
    jobs = [names[start : start + FILES_PER_JOB] for start in range(0, len(names), FILES_PER_JOB)]
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        try:
            for found in pool.map(lambda job: list(inspect(folder, job, turned)), jobs):
                for digest, size in found:
                    digests[done], sizes[done] = digest, size
                    done += 1
                progress.log(done)
        finally:
            pool.shutdown(cancel_futures=True)
    progress.finish()
    return digests, sizes


def inspect(folder: Path, names: list[str], turned: list[str]) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield each file's SHA-256, and its height and width, (0, 0) if it cannot be decoded; log these by name."""
    for name in names:
        path = f"{folder}/{name}"
        try:
            data = read_file(path)
            height, width, _ = decode(data, path, turned).shape
            yield hashlib.sha256(data).digest(), (height, width)
        except Unreadable:
            raise  # which says nothing of the picture
        except UserError as error:
            logging.warning("%s", error)
            yield bytes(32), (0, 0)


def check_unreadable(
    folder: Path, names: list[str], labels: np.ndarray, whole: np.ndarray, classes: tuple[str, ...], unreadable: str
) -> None:
    """Raise UserError if files that are not `whole`, bool (N,), may not or cannot be left out; log how many are."""
    bad = np.flatnonzero(~whole)
    count = f"{len(bad)} of the {len(names)} pictures of {folder} cannot be read"
    if unreadable == "stop":
        some = ", ".join(names[i] for i in bad[:3])
        raise UserError(
            f"{count} ({some}{', ...' if len(bad) > 3 else ''}): replace them, or set images.unreadable to skip"
        )
    if emptied := sorted(set(labels[bad]) - set(labels[whole])):
        raise UserError(f"no picture of the class {classes[emptied[0]]} in {folder} can be read: replace them")
    logging.warning("%s and are left out", count)


def fingerprint(paths: tuple[str, ...], digests: np.ndarray) -> str:
    """SHA-256 over the files' paths and those over their bytes."""
    digest = hashlib.sha256()
    for path, of_file in zip(paths, digests, strict=True):
        digest.update(os.fsencode(path) + b"\0" + of_file.tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--classes-of", type=Path, required=True, help="folder whose class folders name the classes")
    parser.add_argument("--ground-truth", type=Path, help="the classes, if the pictures lie in no class folders")
    parser.add_argument("--expect-classes", type=number_or_any, required=True, help='a number or "any"')
    parser.add_argument("--expect-pictures", type=number_or_any, required=True, help='a number or "any"')
    parser.add_argument("--unreadable", choices=["stop", "skip"], required=True)
    parser.add_argument("--threads", type=int, required=True, help="that decode")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    index_images(
        args.folder,
        args.classes_of,
        args.out,
        args.ground_truth,
        args.expect_classes,
        args.expect_pictures,
        args.unreadable,
        args.threads,
    )


if __name__ == "__main__":
    run_command(main)
