"""Gives mutated files to every parser of what comes from outside; each must accept them, or raise a UserError.

    python -m tests.fuzz_parsers --seconds 60 --seed 1

A folder of tests/corpus has the valid and invalid files of a parser, all made by this project. A seed and a number give
the same mutation of the same corpus. Processes that are forked handle many inputs each, within bounds of time and
memory, so that a crash of native code is noticed. An input that fails is saved in the corpus: fix the fault, and keep
the input if it is small.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

# Before torchvision, which cannot be imported first everywhere.
import workflow_scripts.networks.torchvision_models  # noqa: F401
from workflow_scripts.data.broden_layout import read_categories, read_index, read_label_map, read_labels
from workflow_scripts.data.concept_sets.ade20k import read_annotation
from workflow_scripts.data.concept_sets.coco import CocoPanoptic, CocoSegments
from workflow_scripts.data.concept_sets.joined import read_synonyms
from workflow_scripts.data.concept_sets.label_maps import read_colours, read_values
from workflow_scripts.data.concept_sets.names import read_names
from workflow_scripts.data.concept_sets.parquet import Parquet
from workflow_scripts.data.concept_sets.part_masks import read_mask
from workflow_scripts.data.concept_sets.pascal import PascalContext, PascalPart
from workflow_scripts.data.concept_sets.picture_labels import read_labels_of_pictures
from workflow_scripts.data.decode import decode
from workflow_scripts.data.ground_truth import read_development_kit, read_ground_truth
from workflow_scripts.data.image_index import read_image_index
from workflow_scripts.data.mat_files import read_mat
from workflow_scripts.data.pack_images import read_class_names, read_records
from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.data.unpack_archive import unpack_archive
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.networks.checkpoints import load_tensors
from workflow_scripts.networks.weight_files import flatten, read_tensors
from workflow_scripts.plan.load import read_config
from workflow_scripts.plan.openlth import hyperparameter
from workflow_scripts.shared.files import UserError, remove
from workflow_scripts.shared.locks import may_run, read_holder
from workflow_scripts.shared.regular_files import read_file
from workflow_scripts.tables.collect import read_metrics

CORPUS = Path(__file__).with_name("corpus")
MOST_SECONDS = 20.0  # for one input
MOST_BYTES = 10**9  # of memory that one process takes more than at its start
GENEROUS = ("concepts", "image_index", "packed_images", "weights")  # HDF5 and torch take what 32 bits of a file say
AT_ONCE = 200  # inputs of a process
NUMBERS = [0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
TEXTS = [
    "-1",
    "0",
    "1e999",
    "NaN",
    "9" * 30,
    "9" * 5000,
    "\x00",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "[",
    "{",
    '"',
    "&a",
    "*a",
]
MAPS: dict[str, Any] = {"label_maps": "{}.mat", "pictures": "{}.jpg"}
PARTS: dict[str, Any] = {"annotations": "{}.mat", "pictures": "{}.jpg"}
Parse = Callable[[Path], object]


def pictures(path: Path) -> None:
    """Read a picture, and label maps of each kind."""
    data = read_file(path)
    for read in (decode, read_values, read_colours, read_mask):
        ignoring(read, data, str(path))
    read_label_map(path, 8, 8)


def ignoring(read: Callable[..., object], *arguments: object) -> None:
    """Call a reader that may raise UserError."""
    with suppress(UserError):
        read(*arguments)


def annotations(kind: type[CocoSegments] | type[CocoPanoptic], path: Path, **options: str) -> None:
    """Read a JSON file of COCO, whose pictures are in its folder, and all labels."""
    Image.new("RGB", (8, 8), (7, 0, 0)).save(path.parent / "0.png")
    reader = kind(path.parent, path.parent, "object", pictures=".", annotations=path.name, **options)
    for index in range(len(reader.names)):
        reader.annotation(index)


def parquet(path: Path) -> None:
    """Read a table with a picture and a label in each row, if pyarrow is installed."""
    reader = Parquet(path.parent, path.parent, "object", files=path.name, image="image", label="label")
    for index in range(len(reader.names)):
        reader.picture(index)
        reader.annotation(index)


def matrices(path: Path) -> None:
    """Read a MATLAB file, of any of the kinds that are known."""
    for variable in ("LabelMap", "anno", "index", "synsets"):
        ignoring(read_mat, path, variable)
    ignoring(read_development_kit, path)
    path.with_suffix(".jpg").touch()
    ignoring(lambda: PascalContext(path.parent, path.parent, "object", **MAPS, names={"a": 1}).annotation(0))
    ignoring(lambda: PascalPart(path.parent, path.parent, "object", **PARTS).annotation(0))


def tables(path: Path) -> None:
    """Read a table, of any of the kinds that are known."""
    categories = ("scene", "object")
    for read in (
        lambda: read_categories(path),
        lambda: read_labels(path, categories),
        lambda: read_index(path, categories, {1, 2}),
        lambda: read_names(path.name, path.parent, "object"),
        lambda: read_synonyms(str(path)),
        lambda: read_labels_of_pictures(path, ["a/x", "b/y"]),
    ):
        ignoring(read)


def ground_truth(path: Path) -> None:
    """Read the classes of two pictures."""
    read_ground_truth(path, ["x.png", "y.png"], ("a", "b"))


def hyperparameters(path: Path) -> None:
    """Read a log of OpenLTH."""
    place = path.parent / "level_0" / "main"
    place.mkdir(parents=True, exist_ok=True)
    (place / "hparams.log").write_bytes(path.read_bytes())
    for section, name in (("Training Hyperparameters", "training_steps"), ("Model Hyperparameters", "model_name")):
        ignoring(hyperparameter, path.parent, section, name)


def archives(path: Path) -> None:
    """Unpack an archive."""
    unpack_archive(path, path.parent / "unpacked", path.parent / "unpacked.sha256")


def concepts(path: Path) -> None:
    """Read all labels of a concepts.h5."""
    with ConceptData(path) as data:
        for _ in data.blocks(with_category=True, each_plane=True):
            pass


def weights(path: Path) -> None:
    """Read a file of weights."""
    flatten(read_tensors(path), path)


def lock(path: Path) -> None:
    """Read who holds a lock."""
    holder = read_holder(path)
    if holder is not None:
        may_run(holder, path, True)


PARSERS: dict[str, Parse] = {
    "archives": archives,
    "class_names": read_class_names,
    "cifar": lambda path: read_records(path, 2),
    "coco": lambda path: annotations(CocoSegments, path),
    "coco_panoptic": lambda path: annotations(CocoPanoptic, path, label_maps="."),
    "ade20k": read_annotation,
    "concepts": concepts,
    "config": lambda path: read_config([path]),
    "ground_truth": ground_truth,
    "image_index": read_image_index,
    "lock": lock,
    "matrices": matrices,
    "metrics": read_metrics,
    "networks": load_tensors,
    "openlth": hyperparameters,
    "packed_images": read_packed_images,
    "pictures": pictures,
    "tables": tables,
    "weights": weights,
}
if find_spec("pyarrow"):
    PARSERS["parquet"] = parquet


@dataclass(frozen=True)
class Failure:
    """An input that a parser neither accepted nor refused: its bytes, its ending, and what happened."""

    parser: str
    data: bytes
    suffix: str
    what: str

    def save(self) -> Path:
        """Write the input into the corpus; return its path."""
        name = hashlib.sha256(self.data).hexdigest()[:12]
        path = CORPUS / self.parser / f"found_{name}{self.suffix}"
        path.write_bytes(self.data)
        return path


def corpus(parser: str) -> list[Path]:
    """Return the files of a parser, in order."""
    return sorted(path for path in (CORPUS / parser).iterdir() if path.is_file())


def mutated(parser: str, seed: int, number: int) -> tuple[bytes, str]:
    """Return the bytes of an input and its file's ending; numbers below the size of the corpus are its files."""
    files = corpus(parser)
    if number < len(files):
        return files[number].read_bytes(), ending(files[number])
    rng = random.Random(f"{seed} {parser} {number}")
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    others = [each for each in files if ending(each) == ending(path)]
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        rng.choice(MUTATIONS)(rng, data, rng.choice(others))
    return bytes(data), ending(path)


def ending(path: Path) -> str:
    """Return all endings of a file's name."""
    return "".join(path.suffixes)


def flip(rng: random.Random, data: bytearray, other: Path) -> None:
    """Flip a bit."""
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, data: bytearray, other: Path) -> None:
    """Put a number in place of some bytes."""
    size, order = rng.choice([1, 2, 4, 8]), rng.choice(["big", "little"])
    place = rng.randrange(len(data) + 1)
    data[place : place + size] = (rng.choice(NUMBERS) % 256**size).to_bytes(size, order)


def cut(rng: random.Random, data: bytearray, other: Path) -> None:
    """Remove some bytes, or all from a place on."""
    place = rng.randrange(len(data) + 1)
    del data[place : place + rng.choice([1, 2, 16, 256, len(data)])]


def repeat(rng: random.Random, data: bytearray, other: Path) -> None:
    """Repeat some bytes."""
    place, size = rng.randrange(len(data) + 1), rng.choice([1, 8, 64, 512])
    data[place:place] = data[place : place + size] * rng.choice([1, 2, 20])


def splice(rng: random.Random, data: bytearray, other: Path) -> None:
    """Put bytes of another file in."""
    there = other.read_bytes()
    start, place = rng.randrange(len(there) + 1), rng.randrange(len(data) + 1)
    size = rng.choice([4, 32, 512, len(there)])
    data[place : place + rng.choice([0, size])] = there[start : start + size]


def edit(rng: random.Random, data: bytearray, other: Path) -> None:
    """Put a text in place of a number or a word, if there is one."""
    place = rng.randrange(len(data) + 1)
    end = place
    while end < len(data) and chr(data[end]).isalnum():
        end += 1
    data[place:end] = rng.choice(TEXTS).encode("utf-8", "surrogatepass")


MUTATIONS: list[Callable[[random.Random, bytearray, Path], None]] = [flip, overwrite, cut, repeat, splice, edit]


def failures(parser: str, seed: int, count: int, until: float = float("inf")) -> Iterator[Failure]:
    """Yield what fails among the first `count` inputs of a parser, or those that are tried until a time."""
    done = 0
    while done < count and time.monotonic() < until:
        last = min(done + AT_ONCE, count)
        with tempfile.TemporaryDirectory() as folder:
            reached, what = run_forked(parser, seed, done, last, Path(folder), until)
        if what:
            yield Failure(parser, *mutated(parser, seed, reached), what)
        done = reached + 1


def run_forked(parser: str, seed: int, first: int, last: int, folder: Path, until: float) -> tuple[int, str]:
    """Try inputs in another process; return the number of the last that was tried, and what was wrong with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            try_inputs(parser, seed, range(first, last), folder, writing, until)
        finally:
            os._exit(0)
    os.close(writing)
    reached, what, said = first, "", b""
    with open(reading, "rb", buffering=0) as answers:
        while select.select([answers], [], [], MOST_SECONDS)[0]:
            block = answers.read(2**16)
            if not block:
                break
            said += block
            *lines, said = said.split(b"\n")
            for line in lines:
                reached, what = json.loads(line)
        else:
            what = f"it takes more than {MOST_SECONDS:.0f} s"
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and not what:
        what = f"signal {os.WTERMSIG(status)}"
    return reached, what


def try_inputs(parser: str, seed: int, numbers: range, folder: Path, answers: int, until: float) -> None:
    """Try inputs one after another, until one fails or the time is up; before each, and after a failure, say so."""
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    faulthandler.disable()
    os.environ["PATH"] = ""  # nothing is to be started
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(1000)
    before = peak()
    limit = address_space() + 4 * MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in numbers:
        if time.monotonic() > until:
            return
        os.write(answers, json.dumps([number, ""]).encode() + b"\n")
        data, suffix = mutated(parser, seed, number)
        path = folder / f"input{suffix}"
        path.write_bytes(data)
        what = try_input(parser, path)
        if not what and peak() - before > MOST_BYTES and parser not in GENEROUS:
            what = f"it takes {(peak() - before) / 1e9:.1f} GB of memory"
        if what:
            os.write(answers, json.dumps([number, what]).encode() + b"\n")
            return
        for left in folder.iterdir():
            remove(left)


def try_input(parser: str, path: Path) -> str:
    """Parse a file; return what was wrong, or nothing."""
    try:
        PARSERS[parser](path)
    except UserError as error:
        if isinstance(error.__cause__, MemoryError) and parser not in GENEROUS:
            return f"it allocates more than {4 * MOST_BYTES / 1e9:.0f} GB: {str(error)[:300]}"
    except BaseException:
        return traceback.format_exc()[-3000:]
    return ""


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def address_space() -> int:
    """Return the size of this process's address space, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    """Try mutations for a time, shared equally by the parsers; the exit status is 1 if an input fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parsers", nargs="+", choices=PARSERS, default=list(PARSERS), metavar="PARSER")
    args = parser.parse_args()
    found = 0
    for name in args.parsers:
        until = time.monotonic() + args.seconds / len(args.parsers)
        for failure in failures(name, args.seed, sys.maxsize, until):
            found += 1
            print(f"{failure.save()}\n{failure.what}\n")
    print(f"{found} inputs failed")
    sys.exit(min(found, 1))


if __name__ == "__main__":
    main()
