"""List the files of a picture dataset with labels and sizes, and decode each once to check it."""

import argparse
import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from workflow_scripts.data.decode import decode, tell_turned
from workflow_scripts.data.image_index import ImageIndex, write_image_index
from workflow_scripts.data.labelled_pictures import ALL, Wanted, add_arguments, list_labelled, wanted_of
from workflow_scripts.shared.concept_names import table_name
from workflow_scripts.shared.files import Unreadable, UserError, run_command, whole_file
from workflow_scripts.shared.progress import Progress
from workflow_scripts.shared.regular_files import read_file

FILES_PER_JOB = 64


def index_images(
    folder: Path,
    classes_of: Path,
    out: Path,
    ground_truth: Path | None = None,
    wanted: Wanted = ALL,
    unreadable: str = "stop",
    threads: int = 1,
) -> None:
    """Index `folder/<class>/<picture>` or, with `ground_truth`, `folder/<picture>`.

    Labels number the `wanted` class folders of `classes_of` in alphabetical order. Every file is decoded once, by
    `threads` threads; `unreadable` "skip" leaves out files that cannot be decoded. Other files that are left out are
    logged, and so are pictures that ask for a turn, which is ignored.

    Raises:
        UserError: the number of pictures is not as expected, or files cannot be decoded; or as in `list_labelled`.
    """
    names, labels, classes = list_labelled(folder, classes_of, ground_truth, wanted)
    wanted.check_pictures(folder, len(names))
    turned: list[str] = []
    digests, sizes = inspect_all(folder, names, threads, turned)
    tell_turned(turned)
    whole = sizes[:, 0] > 0
    if not whole.all():
        check_unreadable(folder, names, labels, whole, classes, unreadable)
    kept = np.flatnonzero(whole)
    paths = tuple(names[i] for i in kept)
    height, width = sizes[kept].T
    named = tuple(map(table_name, classes))
    index = ImageIndex(paths, labels[kept], named, height, width, fingerprint(paths, digests[kept]))
    with whole_file(out) as part:
        write_image_index(part, index)


def inspect_all(folder: Path, names: list[str], threads: int, turned: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return each file's SHA-256, bytes (N,), and its height and width, int32 (N, 2), 0 if it cannot be decoded.

    Adds to `turned` as `decode` does.

    Threads suffice, because reading, decoding and hashing all release the interpreter's lock.
    """
    digests = np.zeros(len(names), "V32")
    sizes = np.zeros((len(names), 2), np.int32)
    progress = Progress(f"pictures of {folder}", len(names))
    jobs = [names[start : start + FILES_PER_JOB] for start in range(0, len(names), FILES_PER_JOB)]
    done = 0
    with ThreadPoolExecutor(max(1, threads)) as pool:
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
    """Yield each file's SHA-256, and its height and width, or (0, 0) and a warning if it cannot be decoded."""
    for name in names:
        path = f"{folder}/{name}"
        try:
            data = read_file(path)
            height, width, _ = decode(data, path, turned).shape
            yield hashlib.sha256(data).digest(), (height, width)
        except Unreadable:
            raise  # it says nothing about the picture
        except UserError as error:
            logging.warning("%s", error)
            yield bytes(32), (0, 0)


def check_unreadable(
    folder: Path, names: list[str], labels: np.ndarray, whole: np.ndarray, classes: tuple[str, ...], unreadable: str
) -> None:
    """Raise UserError if files that are not `whole`, bool (N,), may not or cannot be left out; else log the number."""
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
    """Return the SHA-256 over the files' paths and the SHA-256 of their bytes."""
    digest = hashlib.sha256()
    for path, of_file in zip(paths, digests, strict=True):
        digest.update(os.fsencode(path) + b"\0" + of_file.tobytes())
    return digest.hexdigest()


def main() -> None:
    """Index the dataset that the command line names, and write the index to --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--unreadable", choices=["stop", "skip"], required=True)
    parser.add_argument("--threads", type=int, required=True, help="that decode")
    args = parser.parse_args()
    index_images(
        args.folder, args.classes_of, args.out, args.ground_truth, wanted_of(args), args.unreadable, args.threads
    )


if __name__ == "__main__":
    run_command(main)
