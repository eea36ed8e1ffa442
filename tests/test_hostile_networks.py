"""Hostile and broken input to all that reads networks: weights, masks, constructors, checkpoints and saved trainings.

Each case is a command as a user runs it, on one file that is not what it should be.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import torch
from conftest import TRAINING as USUAL
from hostile_inputs import Put, fifo, instead
from hostile_inputs import device as link_to_device
from hostile_runner import EXECUTED, require_harmless, require_refusal, run_hostile
from torch import Tensor, nn

from workflow_scripts.data.image_index import ImageIndex, write_image_index
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.networks.checkpoints import save_tensors
from workflow_scripts.shared.files import remove
from workflow_scripts.shared.limits import LIMITS, SHIPPED

Make = Callable[[Path], object]  # writes a case's input into a folder
CLASSES, SIDE = 3, 12
SETTINGS = {"constructor": "nets:small", "arguments": {}}
TRAINING = USUAL | {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "warmup_epochs": 0, "shift": 0, "flip": False}
NETS = """
import os
import sys

import torch
from torch import nn


def small(num_classes=3):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes),
    )


def exits():
    sys.exit(0)


def interrupts():
    raise KeyboardInterrupt


def ends():
    raise GeneratorExit


def shouts():
    raise ValueError(10**5 * "x")


def none():
    return None


def a_class():
    return nn.Linear


def cyclic():
    network = small()
    network[2].itself = network
    return network


def slashed():
    network = nn.Sequential()
    network.add_module("a/b", nn.Conv2d(3, 4, 3))
    return network


class Exits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, pictures):
        sys.exit(0)
"""


class Case(NamedTuple):
    """A command's input, written by `make`, its arguments, and what its sentence must say; None if it may succeed."""

    make: Make
    command: str
    arguments: list[object]
    says: str | None
    lock: str = ""  # which the case itself leaves


# What a command is run on: everything in a folder is right, before a case changes it.


@pytest.fixture(scope="session")
def right(tmp_path_factory) -> Path:
    """A folder with a constructor, pictures, a dense training, and weights."""
    folder = tmp_path_factory.mktemp("right")
    (folder / "nets.py").write_text(NETS)
    (folder / "EVIL.py").write_text("")
    random = np.random.default_rng(0)
    for name, count in (("train.h5", 8), ("test.h5", 6)):
        images = random.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
        write_packed_images(folder / name, PackedImages(images, np.arange(count) % CLASSES, ("a", "b", "c")))
    torch.save(small_state(), folder / "w.pth")
    for command, arguments in (("init_network", INITIAL), ("train_dense", DENSE)):
        outcome = run_hostile(folder, f"workflow_scripts.train.{command}", *arguments)
        assert outcome.status == 0, outcome.output
    (folder / "network.pt").rename(folder / "dense.pt")
    shutil.copyfile(folder / "dense.pt", folder / "like.pt")
    (folder / "network.pt.training" / "finished").rename(folder / "done")
    (folder / "network.pt.training").rmdir()
    (folder / "metrics.json").unlink()
    return folder


PICTURES = [
    *("--train", "train.h5", "--test", "test.h5", "--mean", 0.5, 0.5, 0.5, "--std", 0.25, 0.25, 0.25, "--gpus", 0),
    *("--network", json.dumps(SETTINGS), "--replicate", 1),
]
TRAINED = [*PICTURES, "--training", json.dumps(TRAINING), "--code", "the code"]
INITIAL = [*PICTURES, "--precision", "float32", "--out", "initial.pt", "--metrics", "initial.json"]
DENSE = [
    *TRAINED, "--initial", "initial.pt", "--rewind-epoch", 1, "--rewind", "rewind.pt", "--out", "network.pt",
    "--metrics", "metrics.json",
]  # fmt: skip
LEVEL = [
    *TRAINED, "--parent", "dense.pt", "--rewind", "rewind.pt", "--mask", "global", "--fraction", 0.2, "--from-epoch", 1,
    "--out", "network.pt", "--metrics", "metrics.json",
]  # fmt: skip
REWOUND = [*LEVEL, "--weights", "rewound"]
FROM_INITIAL = [*LEVEL, "--weights", "initial", "--initial", "initial.pt"]
LIKE = [
    *TRAINED, "--parent", "dense.pt", "--like", "like.pt", "--mask", "same", "--weights", "kept", "--from-epoch", 1,
    "--out", "network.pt", "--metrics", "metrics.json",
]  # fmt: skip
ONCE = [
    *("--network", "dense.pt", "--settings", json.dumps(SETTINGS), "--method", "global", "--density", 0.5, "--seed", 0),
    *("--out", "network.pt"),
]
CONTROL = [
    *PICTURES, "--precision", "float32", "--recipe", "untrained_calibrated", "--initial", "dense.pt", "--out",
    "network.pt", "--metrics", "metrics.json",
]  # fmt: skip
MEASURE = [
    *("--network", "dense.pt", "--settings", json.dumps(SETTINGS), "--preprocessing", "{}", "--gpus", 0),
    *("--out", "network.json"),
]
DUMP = [
    *("--network", "dense.pt", "--settings", json.dumps(SETTINGS), "--layers", 3, "--concepts", "concepts.h5"),
    *("--mean", 0.5, 0.5, 0.5, "--std", 1, 1, 1, "--precision", "float16", "--forward", "float32"),
    *("--execution", "plain", "--gpus", 0, "--out", "activations.h5"),
]
OUTPUTS = ("network.pt", "network.json", "activations.h5", "metrics.json")  # which no refused command may write


def imports(*more: object, settings: dict = SETTINGS, weights: str = "w.pth") -> list[object]:
    return [
        *("--settings", json.dumps(settings), "--weights", json.dumps(weights), "--seed", 0, "--size", SIDE),
        *("--out", "network.pt", *more),
    ]


def small_state(seed: int = 0) -> dict[str, Tensor]:
    """The state dict of the module's small network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made: dict[str, Any] = {}
        exec(NETS, made)
        return made["small"]().state_dict()


# Files


class Runs:
    """What leaves a file EXECUTED in the folder that a command runs in, if it is unpickled."""

    def __reduce__(self) -> tuple:
        """Make unpickling create that."""
        return os.mkdir, (EXECUTED,)


class Calls:
    """What calls a function when it is unpickled."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        """Make unpickling call it."""
        return self.function, self.arguments


def steps(*makes: Make) -> Make:
    """Several changes, one after another."""

    def make(folder: Path) -> None:
        for each in makes:
            each(folder)

    return make


def link(name: str, target: str) -> Make:
    return lambda folder: (folder / name).symlink_to(target)


def copied(name: str, other: str) -> Make:
    return lambda folder: shutil.copyfile(folder / other, folder / name)


def saved(name: str, contents: Callable[[], object], **options: bool) -> Make:
    return lambda folder: torch.save(contents(), folder / name, **options)


def pickled(name: str, contents: Callable[[], object], protocol: int = 2) -> Make:
    return lambda folder: (folder / name).write_bytes(pickle.dumps(contents(), protocol))


def holding(name: str, contents: bytes) -> Make:
    return lambda folder: (folder / name).write_bytes(contents)


def placed(put: Put) -> Callable[[str], Make]:
    """Return a function of a file's name, whose result puts something in place of that file."""
    return lambda name: lambda folder: instead(put)(folder / name)


pipe, device, in_folder = placed(fifo), placed(link_to_device), placed(Path.mkdir)


def sparse_file(name: str, gigabytes: int) -> Make:
    """A file of so many bytes, none of which are on the disk, behind those that it has."""
    return lambda folder: os.truncate(folder / name, gigabytes * 10**9)


def rezipped(name: str, change: Callable[[str, bytes], bytes], how: int = zipfile.ZIP_STORED, twice: str = "") -> Make:
    """A torch file that zip has written anew, with changed members; one whose name ends with `twice` is there twice."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        with zipfile.ZipFile(folder / name, "w", how) as archive:
            for member, data in members.items():
                archive.writestr(member, change(member, data))
                if twice and member.endswith(twice):
                    archive.writestr(member, change(member, data))

    return make


def tensors_header(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    return struct.pack("<Q", len(header)) + header + data


def state_with(**changed: object) -> Callable[[], dict]:
    """The small network's state with other tensors, whose names have _ for dots; None leaves one out."""

    def contents() -> dict:
        new = {name.replace("_", ".", 1): value for name, value in changed.items()}
        return {name: tensor for name, tensor in (small_state() | new).items() if tensor is not None}

    return contents


def with_mask(mask: Tensor, own: str = "0.weight") -> Callable[[], dict]:
    """A state in which torch.nn.utils.prune has left this mask."""

    def contents() -> dict:
        state: dict = small_state()
        return state | {f"{own}_orig": state.pop(own), f"{own}_mask": mask}

    return contents


def sparse(places: list[int], shape: tuple[int, ...]) -> Tensor:
    """A sparse tensor with ones at places that torch does not check."""
    indices = torch.tensor([places] * len(shape))
    return torch.sparse_coo_tensor(indices, torch.ones(len(places)), shape, check_invariants=False)


ONES = torch.ones(4, 3, 3, 3)


def seen(dtype: torch.dtype) -> Tensor:
    return torch.zeros(3, 6, dtype=torch.uint8).view(dtype)


def shared_dicts(width: int) -> dict:
    """Dicts of dicts that unfold to width ** 6 entries, though each is in memory once."""
    inner: dict = {"x": 1}
    for _ in range(6):
        inner = {str(number): inner for number in range(width)}
    return inner


def with_pickle(code: bytes) -> Make:
    """A torch file whose pickle is written by hand."""
    return rezipped("w.pth", lambda name, data: b"\x80\x02" + code if name.endswith("data.pkl") else data)


def text(words: bytes) -> bytes:
    """The code of a pickle that puts a text on the stack."""
    return b"X" + struct.pack("<I", len(words)) + words


def damage(name: str, count: int) -> Make:
    """Flip bytes of a file, at places that depend on `count` alone."""

    def make(folder: Path) -> None:
        contents = bytearray((folder / name).read_bytes())
        for place in np.random.default_rng(count).integers(0, len(contents), count):
            contents[place] ^= 0xFF
        (folder / name).write_bytes(contents)

    return make


def imported(make: Make, says: str | None, *more: object) -> Case:
    return Case(make, "networks.import_network", imports(*more), says)


ANY_FILE = r"w\.pth"
NOT_A_FILE = r" is a folder, pipe, socket or device, not a file"
WEIGHTS: dict[str, Case] = {
    # Code
    "code": imported(saved("w.pth", lambda: small_state() | {"x": Runs()}), r"w\.pth holds .*mkdir"),
    "code, old format": imported(
        saved("w.pth", lambda: {"x": Runs()}, _use_new_zipfile_serialization=False), r"w\.pth holds .*mkdir"
    ),
    "code, plain pickle": imported(pickled("w.pth", Runs), ANY_FILE),
    "code, pickle protocol 5": imported(pickled("w.pth", Runs, protocol=5), ANY_FILE),
    "code, text pickle": imported(holding("w.pth", b"cos\nmkdir\n(VEXECUTED\ntR."), ANY_FILE),
    "a module of the folder": imported(holding("w.pth", b"cEVIL\nmain\n)R."), ANY_FILE),
    "a whole module": imported(saved("w.pth", lambda: nn.Linear(2, 2)), r"holds .*Linear, a whole network"),
    "torch's own functions": imported(
        saved("w.pth", lambda: Calls(torch.hub.load, "a/b", "c")), r"holds .*load, a whole network"
    ),
    # Memory
    "bytes without end": imported(saved("w.pth", lambda: {"x": Calls(bytearray, 10**11)}), r"w\.pth cannot be read \("),
    "2 GB of bytes": imported(saved("w.pth", lambda: {"x": Calls(bytearray, 2 * 10**9)}), r"w\.pth cannot be read \("),
    "a tensor that is not stored": imported(
        saved("w.pth", lambda: {"x": Calls(torch.Tensor, 10**12)}), r"w\.pth cannot be read \("
    ),
    "compressed": imported(rezipped("w.pth", lambda _, data: data, zipfile.ZIP_DEFLATED), "is compressed, which torch"),
    "a bomb": imported(
        rezipped("w.pth", lambda name, data: bytes(10**8) if name.endswith("data/0") else data, zipfile.ZIP_DEFLATED),
        "is compressed, which torch",
    ),
    "a bomb by bzip2": imported(
        rezipped("w.pth", lambda name, data: bytes(10**7) if name.endswith("data/0") else data, zipfile.ZIP_BZIP2),
        "is compressed, which torch",
    ),
    "larger than the limit": imported(sparse_file("w.pth", 21), r"has 21\.0 GB, .* raise limits.weights_gb"),
    "safetensors larger than the limit": imported(
        steps(holding("w.pth", tensors_header(b"{}")), sparse_file("w.pth", 2000)),
        r"has 2000\.0 GB, .* raise limits.weights_gb",
    ),
    "10^12 numbers in one place": imported(
        saved("w.pth", state_with(**{"7_weight": torch.zeros(1).expand(10**6, 10**6)})), r"7\.weight is 1000000 x"
    ),
    "dicts of one another": imported(saved("w.pth", lambda: shared_dicts(40)), "more than a million entries"),
    "a dict that contains itself": imported(
        with_pickle(b"}q\x00" + text(b"x") + b"h\x00s."), "has a different architecture|only holds x"
    ),
    "a list of masks that contains itself": imported(
        with_pickle(b"}" + text(b"masks") + b"]q\x00h\x00as."), "only holds masks"
    ),
    "lists in lists": imported(
        with_pickle(b"}" + text(b"masks") + 10**5 * b"]" + (10**5 - 1) * b"a" + b"s."), "only holds masks"
    ),
    "a key of tuples in tuples": imported(
        with_pickle(b"}" + text(b"x") + 2000 * b"\x85" + b"Ns."), "only holds a long tuple"
    ),
    "a key of 10^4 digits": imported(
        with_pickle(b"}\x8b" + struct.pack("<I", 5000) + 5000 * b"\x7f" + b"Ns."), "is damaged|only holds a long int"
    ),
    "a stack that is empty": imported(with_pickle(b"0000."), ANY_FILE),
    "a memo that is empty": imported(with_pickle(b"h\x05."), ANY_FILE),
    "text that lies about its length": imported(with_pickle(b"}X\xff\xff\xff\x7fx."), ANY_FILE),
    # Archives
    "a member twice": imported(rezipped("w.pth", lambda _, data: data, twice="data/0"), "two members of one name"),
    "a pickle twice": imported(rezipped("w.pth", lambda _, data: data, twice="data.pkl"), "two members of one name"),
    "no pickle": imported(lambda folder: zipfile.ZipFile(folder / "w.pth", "w").close(), ANY_FILE),
    "an empty pickle": imported(
        rezipped("w.pth", lambda name, data: b"" if name.endswith("data.pkl") else data), ANY_FILE
    ),
    "numbers cut off": imported(
        rezipped("w.pth", lambda name, data: data[:5] if name.endswith("data/0") else data), ANY_FILE
    ),
    "arrays of NumPy": imported(
        steps(
            lambda folder: np.savez_compressed(str(folder / "w"), x=np.zeros(10**7)),
            lambda folder: (folder / "w.npz").rename(folder / "w.pth"),
        ),
        "is an archive of NumPy arrays",
    ),
    "a NumPy array of objects": imported(
        steps(
            lambda folder: np.save(str(folder / "w.npy"), np.array([Runs()])),
            lambda folder: (folder / "w.npy").rename(folder / "w.pth"),
        ),
        "is a NumPy array",
    ),
    "half of it": imported(
        lambda folder: (folder / "w.pth").write_bytes((folder / "w.pth").read_bytes()[:3000]), ANY_FILE
    ),
    "bytes flipped": imported(damage("w.pth", 200), ANY_FILE),
    # safetensors
    "a header longer than the file": imported(holding("w.pth", struct.pack("<Q", 2**40) + b"{}"), ANY_FILE),
    "a header of 2^63": imported(holding("w.pth", struct.pack("<Q", 2**63) + b"{}"), ANY_FILE),
    "offsets beyond the file": imported(
        holding("w.pth", tensors_header(b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}')), ANY_FILE
    ),
    "offsets that overlap": imported(
        holding(
            "w.pth",
            tensors_header(
                b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
                bytes(8),
            ),
        ),
        ANY_FILE,
    ),
    "a shape that overflows": imported(
        holding(
            "w.pth",
            tensors_header(b'{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
        ),
        ANY_FILE,
    ),
    "a type that torch lacks": imported(
        holding("w.pth", tensors_header(b'{"x":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}', bytes(3))),
        ANY_FILE,
    ),
    "a header of lists": imported(holding("w.pth", tensors_header(b"{" + b'"a":' + 10**5 * b"[")), ANY_FILE),
    # Names
    "a key of 10^5 characters": imported(
        saved("w.pth", lambda: small_state() | {"\x1b[31m" + 10**5 * "k": ONES}), r"called \?\[31mkkk.* too long"
    ),
    "a key of 10^5 dots": imported(saved("w.pth", lambda: small_state() | {10**5 * ".": ONES}), "too long"),
    "a plain value's key of 10^5 dots": imported(saved("w.pth", lambda: small_state() | {10**5 * "a.": 1}), None),
    "a key for the terminal": imported(
        saved("w.pth", lambda: small_state() | {"\x1b]0;x\x07\r\n\u202e": ONES}), r"has \?\]0;x"
    ),
    "many keys": imported(
        saved("w.pth", lambda: small_state() | {f"{n}{90 * 'k'}": torch.ones(1) for n in range(3000)}), "2,?996 more"
    ),
    "keys that are not text": imported(
        saved("w.pth", lambda: {(1, 2): ONES, None: ONES, 0.5: ONES, b"x": ONES}), "a different architecture"
    ),
    "one key in two ways": imported(saved("w.pth", lambda: {1: ONES, "1": ONES}), "two entries called 1"),
    # Kinds of tensors
    "float8": imported(
        saved("w.pth", lambda: {n: t.to(torch.float8_e5m2) if t.ndim else t for n, t in small_state().items()}), None
    ),
    "float8 that is not finite": imported(
        saved("w.pth", state_with(**{"7_bias": torch.full((3,), torch.nan).to(torch.float8_e4m3fn)})), "not finite"
    ),
    "float4": imported(
        saved("w.pth", state_with(**{"7_weight": seen(torch.float4_e2m1fn_x2)})),
        r"7\.weight, of torch\.float4.*damaged",
    ),
    "bits": imported(
        saved("w.pth", state_with(**{"7_weight": seen(torch.bits8)})), r"7\.weight, of torch.bits8, is damaged"
    ),
    "nested": imported(
        saved("w.pth", lambda: small_state() | {"7.bias": torch.nested.nested_tensor([ONES[0, 0], ONES[0, 0, :2]])}),
        r"7\.bias is a nested tensor",
    ),
    "sparse, places outside": imported(
        saved("w.pth", state_with(**{"7_weight": sparse([0, 10**9], (3, 6))})), r"7\.weight, .* is damaged"
    ),
    "sparse, places below 0": imported(
        saved("w.pth", state_with(**{"7_weight": sparse([-1], (3, 6))})), r"7\.weight, .* is damaged"
    ),
    "sparse, 10^12 times one place": imported(
        saved(
            "w.pth",
            state_with(
                **{
                    "7_weight": torch.sparse_coo_tensor(
                        torch.zeros(2, 1, dtype=torch.long).expand(2, 10**12),
                        torch.ones(1).expand(10**12),
                        (3, 6),
                        check_invariants=False,
                    )
                }
            ),
        ),
        r"7\.weight, .* is damaged",
    ),
    "sparse rows, places outside": imported(
        saved(
            "w.pth",
            state_with(
                **{
                    "7_weight": torch.sparse_csr_tensor(
                        torch.tensor([0, 1, 2, 10**9]),
                        torch.tensor([0, 1, 2]),
                        torch.ones(3),
                        (3, 6),
                        check_invariants=False,
                    )
                }
            ),
        ),
        r"7\.weight, .* is damaged",
    ),
    "numbers below 0 in whole numbers": imported(
        saved("w.pth", state_with(**{"7_weight": -torch.ones(3, 6, dtype=torch.int16)})), "holds whole numbers"
    ),
    # Masks
    "a mask of one number": imported(saved("w.pth", with_mask(torch.ones(()))), "the mask of 0.weight is a number"),
    "a mask of one number in brackets": imported(
        saved("w.pth", with_mask(torch.ones(1))), "the mask of 0.weight is 1,"
    ),
    "a mask for each filter": imported(saved("w.pth", with_mask(torch.ones(4, 1, 1, 1))), "0.weight is 4 x 1 x 1 x 1"),
    "a mask of a row": imported(saved("w.pth", with_mask(torch.ones(3))), "the mask of 0.weight is 3,"),
    "a mask of halves": imported(saved("w.pth", with_mask(ONES / 2)), "numbers other than 0 and 1"),
    "a mask of nearly 0": imported(saved("w.pth", with_mask(ONES.double() * 1e-300)), "numbers other than 0 and 1"),
    "a mask below 0": imported(saved("w.pth", with_mask(-ONES)), "numbers other than 0 and 1"),
    "a mask of NaN": imported(saved("w.pth", with_mask(ONES * torch.nan)), "numbers other than 0 and 1"),
    "a mask of infinity": imported(saved("w.pth", with_mask(ONES * torch.inf)), "numbers other than 0 and 1"),
    "a mask of a batch-norm for each filter": imported(
        saved("w.pth", with_mask(torch.ones(1), "1.weight")), "the mask of 1.weight is 1,"
    ),
}
MASKS: dict[str, tuple[Tensor, str | None]] = {
    "in a sparse tensor": (ONES.to_sparse(), None),
    "in a sparse tensor with places outside": (sparse([0, 10**9], (4, 3, 3, 3)), "is damaged"),
    "without data": (ONES.to("meta"), "has no data"),
    "quantised": (torch.quantize_per_tensor(ONES, 1.0, 0, torch.quint8), "is quantised"),
    "complex": (ONES.to(torch.complex64), "is complex"),
    "of float8": (ONES.to(torch.float8_e4m3fn), None),
    "of halves in float8": ((ONES / 2).to(torch.float8_e4m3fn), "other than 0 and 1"),
    "of bits": (ONES.to(torch.uint8).view(torch.bits8), "is damaged or of a kind"),
    "of 64 bits without a sign": (ONES.to(torch.uint64), None),
    "of one number in 10^12 places": (torch.ones(1).expand(10**6, 10**6), "is 1000000 x 1000000"),
    "of one number in its places": (torch.ones(1).expand(4, 3, 3, 3), None),
    "for each filter": (torch.ones(4, 1, 1, 1), "is 4 x 1 x 1 x 1"),
}


def masked(mask: Tensor, place: str) -> Make:
    """A mask at one of the places that it may be at."""
    if place == "in its own file":
        return saved("m.pth", lambda: {"0.weight": mask})
    if place == "left by torch":
        return saved("w.pth", with_mask(mask))
    return saved("w.pth", lambda: {"model": small_state(), "masks": {"0": mask}})


for name, (mask, says) in MASKS.items():
    for place in ("in its own file", "left by torch", "beside its weights"):
        more = ["--masks", "m.pth"] if place == "in its own file" else []
        WEIGHTS[f"a mask {name}, {place}"] = imported(
            masked(mask, place), says and rf"the mask of 0(\.weight)?.* {says}", *more
        )


def masks_beside(report: bytes) -> Make:
    return steps(saved("m.pth", lambda: {"0.weight": ONES}), holding("sparsity_report.json", report))


for name, report, says in (
    ("infinity", b'{"total": Infinity, "unpruned": 3}', "is damaged"),
    ("NaN", b'{"total": 108, "unpruned": NaN}', "is damaged"),
    ("a key twice", b'{"total": 108, "total": 108, "unpruned": 108}', "is damaged"),
    ("a half", b'{"total": 108.0, "unpruned": 108.5}', "does not say"),
    ("a number as text", b'{"total": "108", "unpruned": 108}', "does not say"),
    ("a list", b"[108, 108]", "does not say"),
    ("text", b'{"total": "all", "unpruned": 3}', "does not say"),
    ("no number", b'{"total": 108, "unpruned": {}}', "does not say"),
    ("other numbers", b'{"total": 108, "unpruned": -1}', "says -1 of 108"),
    ("5000 digits", b'{"total": ' + 5000 * b"9" + b"}", "is damaged"),
    ("10^1000", b'{"total": 1e1000, "unpruned": 1}', "does not say"),
    ("lists in lists", 10**5 * b"[", "is damaged"),
    ("bytes", b"\xff\xfe\x00", "is damaged"),
    ("nothing", b"", "is damaged"),
):
    WEIGHTS[f"a report of {name}"] = imported(masks_beside(report), f"sparsity_report.json {says}", "--masks", "m.pth")
for kind, make_kind in (("a pipe", pipe), ("a device", device), ("a folder", in_folder)):
    WEIGHTS[f"weights that are {kind}"] = imported(make_kind("w.pth"), r"w\.pth" + NOT_A_FILE)
    WEIGHTS[f"masks that are {kind}"] = imported(make_kind("m.pth"), r"m\.pth" + NOT_A_FILE, "--masks", "m.pth")
    WEIGHTS[f"a report that is {kind}"] = imported(
        steps(saved("m.pth", lambda: {"0": ONES}), make_kind("sparsity_report.json")),
        r"sparsity_report\.json" + NOT_A_FILE, "--masks", "m.pth",
    )  # fmt: skip


def constructed(name: str, says: str | None) -> Case:
    settings = {"constructor": f"nets:{name}", "arguments": {}}
    return Case(lambda folder: None, "networks.import_network", imports(settings=settings), says)


CONSTRUCTORS = {
    "exits": constructed("exits", r"nets:exits failed with \{\} \(SystemExit"),
    "interrupts": constructed("interrupts", r"nets:interrupts failed with \{\} \(KeyboardInterrupt"),
    "ends": constructed("ends", r"nets:ends failed with \{\} \(GeneratorExit"),
    "shouts": constructed("shouts", "nets:shouts failed with"),
    "none": constructed("none", "returns a NoneType, not a torch.nn.Module"),
    "a class": constructed("a_class", "returns a type, not a torch.nn.Module"),
    "cyclic": constructed("cyclic", "a network that contains itself"),
    "nowhere": constructed("none.there", "cannot be imported"),
    "a module that exits": Case(
        holding("nets.py", b"import sys; sys.exit(0)"), "networks.import_network", imports(), "cannot be imported"
    ),
    "a module of bytes": Case(
        holding("nets.py", b"\xff\0"), "networks.import_network", imports(), "cannot be imported"
    ),
}


# Networks and rewind points of the workflow's own format


def changed(name: str, **entries: object) -> Make:
    """A torch file with other entries; "gone" leaves one out, and a function changes one."""

    def make(folder: Path) -> None:
        contents = torch.load(folder / name)
        for key, value in entries.items():
            contents[key] = value(contents[key]) if callable(value) else value
            if value == "gone":
                del contents[key]
        save_tensors(folder / name, contents)

    return make


def tensor_set(name: object, tensor: object) -> Callable[[dict], dict]:
    return lambda tensors: tensors | {name: tensor}


def each(change: Callable[[Tensor], object]) -> Callable[[dict], dict]:
    return lambda tensors: {name: change(tensor) for name, tensor in tensors.items()}


NO_NETWORK = "does not hold a network with its masks"
NETWORKS: dict[str, tuple[Callable[[str], Make], str]] = {
    "code": (lambda name: saved(name, lambda: {"model": Runs()}), "holds .*mkdir"),
    "code, old format": (
        lambda name: saved(name, lambda: {"x": Runs()}, _use_new_zipfile_serialization=False),
        "holds .*mkdir",
    ),
    "bytes without end": (lambda name: saved(name, lambda: Calls(bytearray, 10**11)), r"cannot be read \("),
    "compressed": (lambda name: rezipped(name, lambda _, data: data, zipfile.ZIP_DEFLATED), "is compressed"),
    "larger than the limit": (lambda name: sparse_file(name, 21), "raise limits.weights_gb"),
    "a state dict": (lambda name: saved(name, small_state), NO_NETWORK),
    "a tensor": (lambda name: saved(name, lambda: ONES), "holds a Tensor"),
    "a list": (lambda name: saved(name, lambda: [small_state()]), "holds a list"),
    "a rewind point": (lambda name: copied(name, "rewind.pt"), NO_NETWORK),
    "cut off": (lambda name: lambda folder: os.truncate(folder / name, 5000), "is damaged"),
    "empty": (lambda name: holding(name, b""), "is damaged"),
    "no masks": (lambda name: changed(name, masks="gone"), NO_NETWORK),
    "masks in a list": (lambda name: changed(name, masks=[ONES]), NO_NETWORK),
    "masks of text": (lambda name: changed(name, masks=tensor_set("0", "all")), NO_NETWORK),
    "a model of text": (lambda name: changed(name, model="small"), NO_NETWORK),
    "a model with text": (lambda name: changed(name, model=tensor_set("0.weight", "text")), NO_NETWORK),
    "an empty model": (lambda name: changed(name, model={}), NO_NETWORK),
    "names that are numbers": (lambda name: changed(name, model=tensor_set(0, ONES)), NO_NETWORK),
    "classes of text": (lambda name: changed(name, classes="three"), NO_NETWORK),
    "classes below 0": (lambda name: changed(name, classes=-3), NO_NETWORK),
    "10^12 classes": (lambda name: changed(name, classes=10**12), NO_NETWORK),
    "half a class": (lambda name: changed(name, classes=2.5), NO_NETWORK),
    "true classes": (lambda name: changed(name, classes=True), NO_NETWORK),
    "other classes": (lambda name: changed(name, classes=4), "a different architecture"),
    "epochs of text": (lambda name: changed(name, epochs="two"), NO_NETWORK),
    "epochs that are not a number": (lambda name: changed(name, epochs=float("nan")), NO_NETWORK),
    "a lineage of numbers": (lambda name: changed(name, lineage=[1, 2]), NO_NETWORK),
    "weights of NaN": (lambda name: changed(name, model=each(lambda t: t * torch.nan)), "not finite"),
    "weights of infinity": (
        lambda name: changed(name, model=tensor_set("0.bias", torch.full((4,), -torch.inf))),
        "finite",
    ),
    "weights of another shape": (
        lambda name: changed(name, model=tensor_set("0.weight", ONES[:1])),
        "0.weight is 1 x 3",
    ),
    "weights without data": (
        lambda name: changed(name, model=tensor_set("0.bias", torch.ones(4, device="meta"))),
        "no data",
    ),
    "weights outside": (
        lambda name: changed(name, model=tensor_set("7.weight", sparse([10**9], (3, 6)))),
        "is damaged",
    ),
    "nested weights": (
        lambda name: changed(name, model=tensor_set("0.bias", torch.nested.nested_tensor([ONES[0]]))),
        NO_NETWORK,
    ),
    "a mask of one number": (
        lambda name: changed(name, masks=tensor_set("0", torch.tensor(True))),
        "mask of 0 is a number",
    ),
    "a mask for each filter": (
        lambda name: changed(name, masks=tensor_set("0", torch.ones(4, 1, 1, 1, dtype=torch.bool))),
        "mask of 0 is 4 x 1",
    ),
    "a mask of halves": (lambda name: changed(name, masks=tensor_set("0", ONES / 2)), "other than 0 and 1"),
    "a mask of a bias": (lambda name: changed(name, masks=tensor_set("0.bias", ONES[0, 0, 0])), "has masks of 0.bias"),
    "a mask of nothing": (
        lambda name: changed(name, masks=tensor_set(10**5 * "x", ONES)),
        r"has masks of x{100}\.\.\.",
    ),
    "a pipe": (pipe, NOT_A_FILE),
    "a device": (device, NOT_A_FILE),
    "a folder": (in_folder, NOT_A_FILE),
}
READERS: dict[str, tuple[str, str, list]] = {
    "a network that starts a training": ("initial.pt", "train.train_dense", DENSE),
    "a parent": ("dense.pt", "train.train_level", REWOUND),
    "a network to start from again": ("initial.pt", "train.train_level", FROM_INITIAL),
    "a network with the masks": ("like.pt", "train.train_level", LIKE),
    "a network for a control": ("dense.pt", "train.make_control", CONTROL),
    "a network that is measured": ("dense.pt", "train.measure_network", MEASURE),
    "a network that is dissected": ("dense.pt", "dissect.dump_activations", DUMP),
}
OF_ALL = (  # which every reader of a network is given
    *(
        "code",
        "compressed",
        "a rewind point",
        "a state dict",
        "no masks",
        "classes of text",
        "epochs of text",
        "a pipe",
    ),
    *("weights of NaN", "a mask of one number", "a mask of a bias"),
)
NOT_ASKED = {  # what does not matter of a network, or that it is not what the training started from is said first
    "a network to start from again": ("weights of NaN", "a mask of one number", "a mask of a bias"),
    "a network with the masks": ("weights of NaN",),
}
CHECKPOINTS = {
    f"a network to prune: {name}": Case(make("dense.pt"), "train.prune_once", ONCE, says)
    for name, (make, says) in NETWORKS.items()
}
CHECKPOINTS |= {
    f"{reader}: {name}": Case(NETWORKS[name][0](file), command, arguments, NETWORKS[name][1])
    for reader, (file, command, arguments) in READERS.items()
    for name in OF_ALL
    if name not in NOT_ASKED.get(reader, ())
}


NO_STATE = r"rewind\.pt does not hold the state of this network's training"
REWINDS: dict[str, tuple[Make, str | None]] = {
    "code": (saved("rewind.pt", lambda: {"model": Runs()}), "holds .*mkdir"),
    "a list": (saved("rewind.pt", lambda: [1]), "holds a list"),
    "a network": (copied("rewind.pt", "dense.pt"), "was made with other"),
    "no start": (changed("rewind.pt", start="gone"), "was made with other"),
    "no epoch": (changed("rewind.pt", epoch="gone"), "was made with other"),
    "epoch of text": (changed("rewind.pt", epoch="1"), NO_STATE),
    "epoch of a tensor": (changed("rewind.pt", epoch=torch.ones(2)), "was made with other"),
    "true epoch": (changed("rewind.pt", epoch=True), "was made with other"),
    "no model": (changed("rewind.pt", model="gone"), NO_STATE),
    "a model in a list": (changed("rewind.pt", model=[ONES]), NO_STATE),
    "a model that lacks a tensor": (
        changed("rewind.pt", model=lambda model: dict(list(model.items())[1:])),
        "lacks 0.weight",
    ),
    "a model of another shape": (
        changed("rewind.pt", model=tensor_set("0.weight", ONES[:, :1])),
        "0.weight is 4 x 1 x 3",
    ),
    "weights of NaN": (changed("rewind.pt", model=each(lambda t: t * torch.nan)), "not finite"),
    "no momentum": (changed("rewind.pt", momentum="gone"), NO_STATE),
    "momentum of text": (changed("rewind.pt", momentum=tensor_set("0.weight", "fast")), NO_STATE),
    "momentum of nothing": (changed("rewind.pt", momentum=tensor_set("9.weight", ONES)), NO_STATE),
    "momentum of one number": (changed("rewind.pt", momentum=tensor_set("0.weight", torch.ones(()))), NO_STATE),
    "momentum of NaN": (changed("rewind.pt", momentum=each(lambda t: t * torch.nan)), "not finite"),
    "momentum without data": (changed("rewind.pt", momentum=each(lambda t: t.to("meta"))), "has no data"),
    "a scaler of text": (changed("rewind.pt", scaler="large"), NO_STATE),
    "a scaler that lacks all": (changed("rewind.pt", scaler={}), NO_STATE),
    "a pipe": (pipe("rewind.pt"), NOT_A_FILE),
}
CHECKPOINTS |= {
    f"a rewind point: {name}": Case(make, "train.train_level", REWOUND, says) for name, (make, says) in REWINDS.items()
}


# The saved progress of a training


def progress(**changed: object) -> Callable[[Path], dict]:
    """What an interrupted training of this recipe has saved after an epoch, with other entries."""

    def contents(folder: Path) -> dict:
        row = {"epoch": 1, "learning_rate": 0.01, "train_loss": 1.0, "train_accuracy": 0.5}
        start = {name: value for name, value in torch.load(folder / "rewind.pt").items() if name not in OF_REWIND}
        sums = {"loss_sum": torch.zeros(()), "correct": torch.zeros(())}
        new = {name: value(start[name]) if callable(value) else value for name, value in changed.items()}
        state = start | sums | {"step": 0, "history": [row], "rewind_point": start} | new
        return {name: value for name, value in state.items() if not isinstance(value, str) or value != "gone"}

    return contents


OF_REWIND = ("start", "lineage")


def state_of(contents: Callable[[Path], object], name: str = "state", **options: bool) -> Make:
    """A state with a right digest and, around `contents`, a right recipe."""

    def make(folder: Path) -> None:
        recipe = json.loads((folder / "done" / "record.json").read_text())["recipe"]
        write_state({"recipe": recipe, "state": contents(folder)}, folder, name, **options)

    return make


def write_state(saved: object, folder: Path, name: str = "state", **options: bool) -> None:
    buffer = io.BytesIO()
    torch.save(saved, buffer, **options)
    write_bytes(buffer.getvalue(), folder, name)


def write_bytes(payload: bytes, folder: Path, name: str = "state") -> None:
    (folder / "network.pt.training").mkdir(exist_ok=True)
    (folder / "network.pt.training" / name).write_bytes(hashlib.sha256(payload).digest() + payload)


def finished(change: Callable[[dict], object], **files: bytes) -> Make:
    """The outputs of a finished training with another record.json, and other contents of files beside it."""

    def make(folder: Path) -> None:
        kept = folder / "network.pt.training" / "finished"
        shutil.copytree(folder / "done", kept)
        record = change(json.loads((kept / "record.json").read_text()))
        (kept / "record.json").write_bytes(record if isinstance(record, bytes) else json.dumps(record).encode())

    return make


def within_training(make: Callable[[str], Make], name: str) -> Make:
    def made(folder: Path) -> None:
        (folder / "network.pt.training").mkdir()
        make(f"network.pt.training/{name}")(folder)

    return made


NO_PROGRESS = r"network\.pt\.training does not hold the state of this network's training"
STATES: dict[str, tuple[Make, str | None]] = {  # None: the training starts over, and ends well
    "right": (state_of(progress()), None),
    "code": (state_of(lambda folder: Runs()), None),
    "code, old format": (state_of(lambda folder: Runs(), _use_new_zipfile_serialization=False), None),
    "code alone": (lambda folder: write_bytes(pickle.dumps(Runs()), folder), None),
    "code in the one before": (state_of(lambda folder: Runs(), name="previous"), None),
    "text": (state_of(lambda folder: "text"), "does not hold the state"),
    "a list": (lambda folder: write_state([1, 2], folder), None),
    "another recipe": (lambda folder: write_state({"recipe": [1], "state": {}}, folder), None),
    "a recipe of tensors": (lambda folder: write_state({"recipe": ONES, "state": {}}, folder), None),
    "no digest": (steps(lambda folder: write_bytes(b"", folder), holding("network.pt.training/state", b"x")), None),
    "nothing behind the digest": (lambda folder: write_bytes(b"", folder), None),
    "bytes without end": (
        state_of(lambda folder: Calls(bytearray, 10**11)),
        r"state cannot be read \(Cannot allocate memory\)",
    ),
    "compressed": (
        steps(
            rezipped("w.pth", lambda _, data: data, zipfile.ZIP_DEFLATED),
            lambda folder: write_bytes((folder / "w.pth").read_bytes(), folder),
        ),
        None,
    ),
    "empty": (state_of(lambda folder: {}), NO_PROGRESS),
    "no epoch": (state_of(progress(epoch="gone")), NO_PROGRESS),
    "an epoch below 0": (state_of(progress(epoch=-1)), NO_PROGRESS),
    "a step of text": (state_of(progress(step="one")), NO_PROGRESS),
    "a history of numbers": (state_of(progress(history=[1])), NO_PROGRESS),
    "a history of tensors": (state_of(progress(history=[{"epoch": ONES}])), NO_PROGRESS),
    "no sums": (state_of(progress(loss_sum="gone")), NO_PROGRESS),
    "sums of many": (state_of(progress(correct=ONES)), NO_PROGRESS),
    "a model of another shape": (state_of(progress(model=tensor_set("0.weight", ONES[:1]))), "0.weight is 1 x 3"),
    "a model that is none": (state_of(progress(model=None)), NO_PROGRESS),
    "momentum of another shape": (state_of(progress(momentum=tensor_set("0.weight", ONES[:1]))), NO_PROGRESS),
    "a rewind point of text": (state_of(progress(rewind_point="start")), NO_PROGRESS),
    "a rewind point without a model": (state_of(progress(rewind_point={"epoch": 1})), NO_PROGRESS),
    "a pipe": (within_training(pipe, "state"), "state" + NOT_A_FILE),
    "a device": (within_training(device, "previous"), "previous" + NOT_A_FILE),
    "a folder": (within_training(in_folder, "state"), "state" + NOT_A_FILE),
    "a lock of {}": (within_training(lambda name: holding(name, b"{}"), "training.lock"), None),
    "a lock of lists in lists": (within_training(lambda name: holding(name, 10**5 * b"["), "training.lock"), None),
    "a lock that is a pipe": (within_training(pipe, "training.lock"), r"training\.lock cannot be read or written"),
    "a lock that is a folder": (
        within_training(in_folder, "training.lock"),
        r"training\.lock cannot be read or written",
    ),
    "a lock that is a link": (
        within_training(lambda name: link(name, "../w.pth"), "training.lock"),
        r"training\.lock cannot be read or written",
    ),
    "a file in place of the folder": (holding("network.pt.training", b""), r"network\.pt\.training.* cannot be"),
    "finished that is a file": (within_training(lambda name: holding(name, b""), "finished"), None),
    "finished that is a pipe": (within_training(pipe, "finished"), None),
    "finished, right": (finished(lambda record: record), None),
    "a record that is a list": (finished(lambda record: [record]), None),
    "a record of text": (finished(lambda record: "record"), None),
    "a record without files": (finished(lambda record: {"recipe": record["recipe"]}), None),
    "a record without a recipe": (finished(lambda record: {"files": record["files"]}), None),
    "a record whose recipe is a list": (finished(lambda record: record | {"recipe": [1]}), None),
    "a record whose files are a list": (finished(lambda record: record | {"files": ["network.pt"]}), None),
    "a record of lists in lists": (finished(lambda record: 10**5 * b"["), None),
    "a record of bytes": (finished(lambda record: b"\xff\xfe\0"), None),
    "a record that is a pipe": (steps(finished(dict), pipe("network.pt.training/finished/record.json")), NOT_A_FILE),
    "a finished network that is a pipe": (
        steps(finished(dict), pipe("network.pt.training/finished/network.pt")),
        NOT_A_FILE,
    ),
    "a finished network that was changed": (
        steps(finished(dict), holding("network.pt.training/finished/network.pt", b"x")),
        None,
    ),
}
TRAININGS = {
    f"saved: {name}": Case(make, "train.train_dense", DENSE, says, "network.pt.training/training.lock")
    for name, (make, says) in STATES.items()
}


# Pictures


def with_file(name: str, change: Callable[[h5py.File], object]) -> Make:
    def make(folder: Path) -> None:
        with h5py.File(folder / name, "r+") as file:
            change(file)

    return make


def replaced(dataset: str, values: object, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        old = file[dataset][:]
        del file[dataset]
        file.create_dataset(dataset, data=values(old) if callable(values) else values, **options)

    return change


def many_rows(file: h5py.File) -> None:
    """Pictures that are declared, and not stored."""
    del file["images"], file["labels"]
    file.create_dataset("images", (10**9, SIDE, SIDE, 3), np.uint8, chunks=(1, SIDE, SIDE, 3))
    file.create_dataset("labels", (10**9,), np.int64, chunks=(1,))


def linked(kind: str) -> Callable[[h5py.File], None]:
    """Pictures that are elsewhere: in another file, or nowhere."""

    def change(file: h5py.File) -> None:
        del file["images"]
        if kind == "external":
            file["images"] = h5py.ExternalLink("test.h5", "/images")
        elif kind == "circle":
            file["images"], file["again"] = h5py.SoftLink("/again"), h5py.SoftLink("/images")
        elif kind == "stored outside":
            file.create_dataset(
                "images", (8, SIDE, SIDE, 3), np.uint8, external=[("/etc/passwd", 0, 8 * SIDE * SIDE * 3)]
            )
        else:
            layout = h5py.VirtualLayout((8, SIDE, SIDE, 3), np.uint8)
            layout[:6] = h5py.VirtualSource("test.h5", "images", (6, SIDE, SIDE, 3))
            file.create_virtual_dataset("images", layout)

    return change


PACKED: dict[str, tuple[Make, str]] = {
    "labels beyond the classes": (with_file("train.h5", replaced("labels", np.full(8, 99))), "labels holds 99"),
    "labels below 0": (with_file("train.h5", replaced("labels", np.full(8, -1))), "labels holds -1"),
    "labels of half": (with_file("train.h5", replaced("labels", np.full(8, 0.5))), "labels is float64"),
    "labels of text": (with_file("train.h5", replaced("labels", np.full(8, b"a"))), r"labels is \|S1"),
    "labels of 2^63": (with_file("train.h5", replaced("labels", np.full(8, 2**63, np.uint64))), "labels holds 9223"),
    "fewer labels": (with_file("train.h5", replaced("labels", np.zeros(7, int))), r"images is uint8 \(8,"),
    "no labels": (with_file("train.h5", lambda file: file.__delitem__("labels")), "holds no labels"),
    "labels in two axes": (
        with_file("train.h5", replaced("labels", np.zeros((8, 1), int))),
        r"labels is int64 \(8, 1\)",
    ),
    "pictures of one channel": (
        with_file("train.h5", replaced("images", lambda old: old[..., :1])),
        r"12, 1\) and not",
    ),
    "pictures without channels": (with_file("train.h5", replaced("images", lambda old: old[..., 0])), r"12\) and not"),
    "pictures of four channels": (with_file("train.h5", replaced("images", lambda old: old.repeat(2, 3))), "12, 6"),
    "pictures of no size": (with_file("train.h5", replaced("images", lambda old: old[:, :0, :0])), r"0, 0, 3\) and"),
    "oblong pictures": (with_file("train.h5", replaced("images", lambda old: old[:, :5])), "images are not square"),
    "pictures of floats": (with_file("train.h5", replaced("images", lambda old: old / 255)), "images is float64"),
    "pictures that are not stored": (with_file("train.h5", many_rows), "is not stored to its end"),
    "classes of numbers": (with_file("train.h5", replaced("classes", np.arange(3))), "classes is int64"),
    "no classes": (with_file("train.h5", replaced("classes", lambda old: old[:0])), r"classes is object \(0,\)"),
    "other classes": (with_file("test.h5", replaced("classes", ["a", "b", 10**5 * "d"])), "class folder"),
    "pictures in another file": (with_file("train.h5", linked("external")), "images is a link"),
    "pictures in a circle": (with_file("train.h5", linked("circle")), "images is a link"),
    "pictures outside": (with_file("train.h5", linked("stored outside")), "is stored in other files"),
    "virtual pictures": (with_file("train.h5", linked("virtual")), "is stored in other files"),
    "no format": (with_file("train.h5", lambda file: file.attrs.__delitem__("format")), "is not of format"),
    "a format of text": (with_file("train.h5", lambda file: file.attrs.__setitem__("format", "two")), "format is of"),
    "a picture": (holding("train.h5", b"\x89PNG\r\n\x1a\n" + bytes(100)), "train.h5 is damaged"),
    "cut off": (lambda folder: os.truncate(folder / "train.h5", 3000), "train.h5 is damaged"),
    "a pipe": (pipe("train.h5"), NOT_A_FILE),
    "a device": (device("test.h5"), NOT_A_FILE),
    "a folder": (in_folder("train.h5"), NOT_A_FILE),
}
TRAININGS |= {
    f"pictures: {name}": Case(make, "train.train_dense", DENSE, says) for name, (make, says) in PACKED.items()
}

IN_FILES = [
    *DENSE, "--train", "index.h5", "--test", "index.h5", "--train-folder", "files", "--test-folder", "files", "--size",
    SIDE, "--resize", SIDE,
]  # fmt: skip


def indexed(*paths: str, **changed: object) -> Make:
    """An index of pictures, of which only the file is changed."""

    def make(folder: Path) -> None:
        (folder / "files").mkdir()
        names = paths or tuple(f"{number}.png" for number in range(8))
        sides = np.full(len(names), SIDE, np.int32)
        write_image_index(
            folder / "index.h5", ImageIndex(names, np.arange(len(names)) % 3, ("a", "b", "c"), sides, sides, "f")
        )
        for name, values in changed.items():
            with_file("index.h5", replaced(name, values))(folder)

    return make


INDICES: dict[str, tuple[Make, str]] = {
    "labels beyond the classes": (indexed(labels=np.full(8, 3)), "labels holds 3"),
    "sides of 0": (indexed(height=np.zeros(8, np.int32)), "height holds 0"),
    "sides below 0": (indexed(width=np.full(8, -1)), "width holds -1"),
    "sides of 2^40": (indexed(width=np.full(8, 2**40)), "width holds"),
    "fewer sides": (indexed(width=np.ones(7, int)), r"width is int64 \(7,\)"),
    "paths of numbers": (indexed(paths=np.arange(8)), "paths is int64"),
    "pictures that are not there": (indexed(), "is missing or is a broken link"),
    "pictures that are devices": (indexed(*["../../../../../../../../dev/zero"] * 8), NOT_A_FILE),
    "pictures that are code": (indexed(*["../nets.py"] * 8), "nets.py"),
    "packed pictures": (steps(indexed(), copied("index.h5", "train.h5")), "holds no"),
}
TRAININGS |= {
    f"index: {name}": Case(make, "train.train_dense", IN_FILES, says) for name, (make, says) in INDICES.items()
}


# A folder of OpenLTH

READS = """
import sys


def lottery(read):
    from workflow_scripts.plan import openlth

    print(getattr(openlth, read)("lottery"))


def main():
    eval(sys.argv[1])
"""
HPARAMS = """Dataset Hyperparameters
    * dataset_name => cifar10
Model Hyperparameters
    * model_name => cifar_resnet_20
Training Hyperparameters
    * training_steps => 160ep
"""


def lottery(read: str, says: str | None, hparams: bytes | None = None, change: Make = lambda folder: None) -> Case:
    def make(folder: Path) -> None:
        (folder / "reads.py").write_text(READS)
        main = folder / "lottery/replicate_1/level_0/main"
        main.mkdir(parents=True)
        (main / "hparams.log").write_bytes(HPARAMS.encode() if hparams is None else hparams)
        for name in ("mask.pth", "sparsity_report.json", "model_ep0_it0.pth", "model_ep160_it0.pth"):
            (main / name).write_bytes(b"")
        change(folder)

    return Case(make, "reads", [f"lottery('{read}')"], says)


def log(old: str, new: str | bytes) -> bytes:
    return HPARAMS.encode().replace(old.encode(), new if isinstance(new, bytes) else new.encode())


MAIN = "lottery/replicate_1/level_0/main"
LOTTERIES = {
    "right": lottery("read_networks", None),
    "steps of 5000 digits": lottery("read_networks", "training_steps has 5002 characters", log("160", 5000 * "9")),
    "steps of 90 digits": lottery("read_networks", "training has not ended", log("160", 90 * "9")),
    "a depth of 5000 digits": lottery("read_model", "model_name has 5013 characters", log("20", 5000 * "9")),
    "a depth of 60 digits": lottery("read_model", "is not one that this workflow can build", log("20", 59 * "9" + "2")),
    "10^9 layers": lottery("read_model", "is not one that this workflow can build", log("20", "6000000002")),
    "a width of 10^9": lottery("read_model", "is not one that this workflow can build", log("20", "20_1000000000")),
    "a depth in other digits": lottery(
        "read_model", "is not one that this workflow can build", log("20", "\u0662\u0660")
    ),
    "a dataset of 10^5 characters": lottery("read_preprocessing", "has 100000 characters", log("cifar10", 10**5 * "x")),
    "a log of bytes": lottery("read_networks", "has no training_steps", b"\xff\xfe\0" * 1000),
    "an empty log": lottery("read_networks", "has no training_steps", b""),
    "a log of one line": lottery("read_networks", "has no training_steps", 10**7 * b"x"),
    "a log that is a pipe": lottery("read_networks", "there is no file", change=pipe(f"{MAIN}/hparams.log")),
    "a log larger than the limit": lottery(
        "read_networks", "has 30 GB: .* limits.file_gb", change=sparse_file(f"{MAIN}/hparams.log", 30)
    ),
    "masks that are a pipe": lottery("read_networks", "there is no file", change=pipe(f"{MAIN}/mask.pth")),
    "weights that are a folder": lottery(
        "read_networks", "has not ended", change=in_folder(f"{MAIN}/model_ep160_it0.pth")
    ),
    "a level that is a file": lottery(
        "read_networks", None, change=lambda folder: (folder / "lottery/replicate_1/level_1").write_bytes(b"")
    ),
    "level 10^200": lottery(
        "read_networks",
        "level_9+ has a replicate or level above 4294967295 in its name: give it another name",
        change=lambda folder: (folder / f"lottery/replicate_1/level_{200 * '9'}").mkdir(),
    ),
    "replicate 10^30": lottery(
        "read_networks",
        "replicate_9+ has a replicate or level above 4294967295 in its name: give it another name",
        change=lambda folder: (folder / f"lottery/replicate_{30 * '9'}").mkdir(),
    ),
    "replicate 2^32": lottery(
        "read_starts",
        "replicate_4294967296 has a replicate or level above 4294967295 in its name",
        change=lambda folder: (folder / "lottery/replicate_4294967296").mkdir(),
    ),
}
TABLES: dict[str, dict[str, Case]] = {
    "weights": WEIGHTS,
    "constructors": CONSTRUCTORS,
    "checkpoints": CHECKPOINTS,
    "trainings": TRAININGS,
    "lotteries": LOTTERIES,
}


@pytest.fixture
def folder(right, tmp_path) -> Path:
    """A copy of the right folder."""
    return shutil.copytree(right, tmp_path / "case")


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, cases in TABLES.items() for name in cases])
def test_a_hostile_network_is_refused_or_does_no_harm(folder, monkeypatch, table, name):
    case = TABLES[table][name]
    monkeypatch.setenv(LIMITS, json.dumps(SHIPPED))
    case.make(folder)
    before = {path for path in folder.iterdir() if path.name in OUTPUTS}
    command = case.command if case.command == "reads" else f"workflow_scripts.{case.command}"
    outcome = run_hostile(folder, command, *case.arguments)
    if case.lock and (folder / case.lock).parent.is_dir():
        remove(folder / case.lock)
    if case.says is None:
        assert outcome.status == 0, outcome.output[-3000:]
        require_harmless(folder, outcome)
        return
    require_refusal(folder, outcome, case.says)
    assert {path for path in folder.iterdir() if path.name in OUTPUTS} == before
