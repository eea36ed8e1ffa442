"""Hostile and broken HDF5 files and receptive fields, given to the commands that dissect, and networks in a notebook.

`test_hdf5_files` changes every dataset in many ways; here each file goes through a process, which native code could
crash, in which memory and time are bounded.
"""

import json
import shutil
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import torch
from hostile_runner import require_harmless, require_refusal, run_hostile
from test_hdf5_files import HEIGHT, IMAGES, SIDE, UNITS, WIDTH, dissected, replace  # noqa: F401
from test_hostile_networks import NETS, SETTINGS, device, in_folder, pipe, small_state, steps
from torch import Tensor, nn

from workflow_scripts.data.hdf5 import COMPRESSION
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.interpolation import read_receptive_fields
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.checkpoints import save_tensors
from workflow_scripts.notebook import dissect
from workflow_scripts.shared.files import UserError

Change = Callable[[Path], object]
made: dict[str, Any] = {}
exec(NETS, made)
small: Callable[[], nn.Module] = made["small"]
SPECIAL = {"pipe": pipe, "device": device, "folder": in_folder}
NEW = ("new.h5", "new.csv", "split.csv")  # what commands write; nothing else changes
FILES = ["--activations", "activations.h5", "--thresholds", "thresholds.h5", "--concepts", "concepts.h5"]
CHOICES = ["--border", "clamp", "--mask", "at_least", "--counted-images", "with_category", "--planes", "each"]
CENTRES = ["--knots", "align_corners_false"]
RULE = ["--detector-iou", 0.04, "--detector-rule", "above"]
QUANTILE = ["--quantile", 0.1]
NETWORK = [
    *("--network", "network.pt", "--settings", json.dumps(SETTINGS), "--layers", 3, "--mean", 0.5, 0.5, 0.5),
    *("--std", 1, 1, 1, "--precision", "float16", "--forward", "float32", "--execution", "plain"),
]
COMMANDS: dict[str, list[object]] = {
    "find_thresholds": ["--activations", "activations.h5", *QUANTILE, "--gpus", 0, "--out", "new.h5"],
    "tally_units": [*FILES, *CENTRES, *CHOICES, "--gpus", 0, "--out", "new.h5"],
    "name_units": ["--tally", "tally.h5", "--concepts", "concepts.h5", *RULE, "--out", "new.csv"],
    "validate_units": [
        *FILES, *CENTRES, *CHOICES, *RULE, "--permutations", 9, "--gpus", 0, "--nulls", "new.csv", "--split",
        "split.csv",
    ],
    "rotate_units": [
        *(*FILES[:2], *FILES[4:], *NETWORK, "--replicate", 1, "--alphas", 1, "--seeds", 1, *QUANTILE),
        *("--quantile-of", "raw", *CENTRES, *CHOICES, *RULE, "--gpus", 0, "--out", "new.csv"),
    ],
    "dump_activations": [*FILES[4:], *NETWORK, "--gpus", 0, "--out", "new.h5"],
}  # fmt: skip
OF_FIELDS = [
    *FILES, "--knots", "receptive_field", *CHOICES, "--receptive-fields", "fields.json", "--gpus", 0, "--out", "new.h5",
]  # fmt: skip


class Case(NamedTuple):
    """A change of a folder, the commands of `dissect` that read it, and what each must say; None: they end well."""

    change: Change
    commands: tuple[str, ...]
    says: str | None


@pytest.fixture(scope="module")
def right(dissected, tmp_path_factory) -> Path:  # noqa: F811 - the fixture of the other file
    """A folder with a dissection of six pictures, and a network."""
    folder = shutil.copytree(dissected, tmp_path_factory.mktemp("hostile") / "right")
    (folder / "nets.py").write_text(NETS)
    attribute("activations", "network", "the network")(folder)
    masks = {"0": torch.ones(4, 3, 3, 3, dtype=torch.bool)}
    save_tensors(
        folder / "network.pt", {"model": small_state(), "masks": masks, "classes": 3, "epochs": 0, "lineage": ""}
    )
    return folder


def within(name: str, change: Callable[[h5py.File], object]) -> Change:
    def changed(folder: Path) -> None:
        with h5py.File(folder / f"{name}.h5", "r+") as file:
            change(file)

    return changed


def put(name: str, dataset: str, values: Any, **options: Any) -> Change:
    """Replace a dataset; a function gets its values."""

    def change(file: h5py.File) -> None:
        replace(file, dataset, values(file[dataset][:]) if callable(values) else values, **options)

    return within(name, change)


def attribute(name: str, key: str, value: object) -> Change:
    return within(name, lambda file: file.attrs.__setitem__(key, value))


def gone(name: str, *members: str) -> Change:
    def change(file: h5py.File) -> None:
        for member in members:
            place = file.attrs if member in file.attrs else file
            del place[member]

    return within(name, change)


def declared(name: str, dataset: str, shape: tuple[int, ...], **options: Any) -> Change:
    """A dataset of which nothing, or only its first chunk, is stored."""

    def change(file: h5py.File) -> None:
        dtype = file[dataset].dtype
        del file[dataset]
        made = file.create_dataset(dataset, shape, dtype, chunks=(1, *shape[1:]), **options)
        made[0] = 0

    return within(name, change)


def linked(name: str, dataset: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[dataset]
        file[dataset] = link

    return within(name, change)


def outside(name: str, dataset: str, *parts: tuple[str, int, int]) -> Change:
    def change(file: h5py.File) -> None:
        shape, dtype = file[dataset].shape, file[dataset].dtype
        del file[dataset]
        file.create_dataset(dataset, shape, dtype, external=list(parts))

    return within(name, change)


def virtual(name: str, dataset: str, source: str) -> Change:
    def change(file: h5py.File) -> None:
        shape, dtype = file[dataset].shape, file[dataset].dtype
        del file[dataset]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(source, dataset, shape)
        file.create_virtual_dataset(dataset, layout)

    return within(name, change)


def chunk(name: str, dataset: str, contents: bytes, **filters: Any) -> Change:
    """A dataset of one chunk, whose stored bytes are these."""

    def change(file: h5py.File) -> None:
        shape, dtype = file[dataset].shape, file[dataset].dtype
        del file[dataset]
        made = file.create_dataset(dataset, shape, dtype, chunks=shape, **filters)
        made.id.write_direct_chunk((0,) * len(shape), contents)

    return within(name, change)


def flipped(name: str, dataset: str) -> Change:
    """Flip 20 bytes in the middle of each of a dataset's chunks."""

    def change(folder: Path) -> None:
        with h5py.File(folder / f"{name}.h5") as file:
            found: list = []
            file[dataset].id.chunk_iter(found.append)
        contents = bytearray((folder / f"{name}.h5").read_bytes())
        for stored in found:
            middle = stored.byte_offset + stored.size // 2
            for place in range(
                max(stored.byte_offset, middle - 10), min(stored.byte_offset + stored.size, middle + 10)
            ):
                contents[place] ^= 0xFF
        (folder / f"{name}.h5").write_bytes(contents)

    return change


def large_pictures(file: h5py.File) -> None:
    del file["images"]
    file.create_dataset("images", (1, 10**5, 10**5, 3), np.uint8, chunks=(1, 1000, 1000, 3))


def within_itself(file: h5py.File) -> None:
    del file["maps/all"]
    file["maps/all"] = file["maps"]


ALL = "maps/all"
SOME = "maps/some"
TALLY, TALLIES = ("tally_units",), ("tally_units", "validate_units")
THRESHOLD = ("find_thresholds",)
OF_MAPS = ("find_thresholds",)
OF_NAMES = ("tally_units", "name_units")
NOT_A_FILE = "is a folder, pipe, socket or device, not a file"


def full(value: float, dtype: Any = None) -> Callable[[np.ndarray], np.ndarray]:
    """The same value everywhere, in the dtype that there was unless another is given."""
    return lambda old: np.full(old.shape, value, dtype or old.dtype)


CASES: dict[str, Case] = {
    "right": Case(lambda folder: None, ("find_thresholds", "tally_units", "name_units", "dump_activations"), None),
    # Indices
    "masks that begin beyond": Case(put("concepts", "mask_start", full(10**6)), TALLIES, "mask_start holds 1000000"),
    "masks that begin below 0": Case(put("concepts", "mask_start", full(-1)), TALLY, "mask_start holds -1"),
    "masks that end before they begin": Case(
        put("concepts", "mask_start", lambda old: np.concatenate([old[:1], old[1:-1][::-1], old[-1:]])),
        TALLY,
        "mask_start does not rise",
    ),
    "again masks that begin beyond": Case(
        put("concepts", "again_start", full(2**62, np.int64)), TALLY, "again_start holds"
    ),
    "labels that begin beyond": Case(put("concepts", "whole_start", lambda old: old + 1), TALLY, "whole_start holds"),
    "a label of -5": Case(put("concepts", "mask_label", full(-5)), TALLIES, "mask_label holds -5"),
    "a label of 10^6": Case(put("concepts", "again_label", full(10**6, np.int32)), TALLY, "again_label holds 1000000"),
    "a whole label of -1": Case(put("concepts", "whole_label", full(-1, np.int32)), TALLY, "whole_label holds -1"),
    "a label of 2^63": Case(put("concepts", "mask_label", full(2**63, np.uint64)), TALLY, "mask_label holds 9223"),
    "a category of 200": Case(
        put("concepts", "label_category", full(200, np.int64)), OF_NAMES, "label_category holds 200"
    ),
    "a category below 0": Case(
        put("concepts", "label_category", full(-1, np.int64)), OF_NAMES, "label_category holds -1"
    ),
    "units beyond": Case(put("activations", f"{SOME}/unit", full(UNITS)), OF_MAPS, "some/unit holds 4"),
    "units below 0": Case(put("activations", f"{SOME}/unit", full(-1)), OF_MAPS, "some/unit holds -1"),
    "units that fall": Case(put("activations", f"{SOME}/unit", lambda old: old[::-1].copy()), OF_MAPS, "does not rise"),
    "maps that begin beyond": Case(put("activations", f"{SOME}/start", full(10**9)), OF_MAPS, "some/start holds"),
    # Sizes
    "label maps twice as high": Case(put("concepts", "label_size", [2 * HEIGHT, WIDTH]), TALLY, "masks is uint64"),
    "label maps twice as wide": Case(put("concepts", "label_size", [HEIGHT, 2 * WIDTH]), TALLY, "masks is uint64"),
    "label maps of 10^12 pixels": Case(
        put("concepts", "label_size", [10**6, 10**6]), TALLY, "more than 16777216 pixels"
    ),
    "label maps of 10^18 rows": Case(put("concepts", "label_size", [10**18, 1]), TALLY, "label_size holds"),
    "label maps of no pixels": Case(put("concepts", "label_size", [0, WIDTH]), TALLY, "label_size holds 0"),
    "a size of three": Case(put("concepts", "label_size", [HEIGHT, WIDTH, 1]), TALLY, r"label_size is int64 \(3,\)"),
    "one picture less": Case(put("concepts", "image_has_category", lambda old: old[:-1]), TALLY, "mask_start is"),
    "one category more": Case(
        put("concepts", "category_name", [b"object", b"part", b"x"]), OF_NAMES, "image_has_category is"
    ),
    "one name less": Case(put("concepts", "label_name", lambda old: old[:-1]), OF_NAMES, "label_name is"),
    "flags of two": Case(
        put("concepts", "image_has_category", lambda old: (old.astype(np.uint8) + 2).view(np.bool_)),
        OF_NAMES,
        "neither true nor false",
    ),
    "maps of two axes": Case(
        put("activations", ALL, lambda old: old.reshape(IMAGES, -1)), OF_MAPS, r"all is float16 \(6, 36\)"
    ),
    "maps of no places": Case(put("activations", ALL, lambda old: old[..., :0]), OF_MAPS, "all is float16"),
    "maps of more pictures": Case(
        put("activations", ALL, lambda old: np.tile(old, (2, 1, 1, 1))), TALLY, "has 12 images"
    ),
    "maps of doubles": Case(
        put("activations", ALL, lambda old: old.astype(float)), OF_MAPS, "neither float16 nor float32"
    ),
    "maps of whole numbers": Case(put("activations", ALL, lambda old: old.astype(int)), OF_MAPS, "all is int64"),
    "maps of text": Case(put("activations", ALL, lambda old: np.full(old.shape, b"1.5")), OF_MAPS, r"all is \|S3"),
    "maps of NaN": Case(put("activations", ALL, full(np.nan)), THRESHOLD, "hold NaN or infinity"),
    "maps of infinity": Case(put("activations", ALL, full(-np.inf)), THRESHOLD, "hold NaN or infinity"),
    "maps of the other byte order": Case(put("activations", ALL, lambda old: old.astype(">f2")), OF_MAPS, "all is >f2"),
    "3 thresholds": Case(
        put("thresholds", "all/threshold", lambda old: old[:3]), TALLIES, r"all/threshold is float32 \(3,\)"
    ),
    "a threshold more": Case(put("thresholds", "all/threshold", lambda old: np.append(old, old[:1])), TALLY, r"\(5,\)"),
    "thresholds of NaN": Case(put("thresholds", "all/threshold", full(np.nan)), TALLY, "all/threshold holds NaN"),
    "thresholds of infinity": Case(put("thresholds", "all/threshold", full(np.inf)), TALLY, "threshold is not finite"),
    "thresholds of doubles": Case(
        put("thresholds", "all/threshold", lambda old: old.astype(float)), TALLY, "is float64"
    ),
    "a maximum below the minimum": Case(put("thresholds", "all/maximum", full(-1e9)), TALLY, "do not match"),
    "an intersection beyond its label": Case(
        put("tally", "all/intersection", full(2**40)), ("name_units",), "has more pixels than a label"
    ),
    "an intersection below 0": Case(put("tally", "all/intersection", full(-1)), ("name_units",), "holds -1"),
    "an area of 2^63": Case(put("tally", "all/unit_area", full(2**63 - 1)), ("name_units",), "unit_area holds"),
    "an area of NaN": Case(put("tally", "all/unit_area", full(np.nan, float)), ("name_units",), "unit_area is float64"),
    "fewer units in a tally": Case(put("tally", "all/dead", lambda old: old[1:]), ("name_units",), "all/dead is bool"),
    # What is not there
    **{
        f"no {member} in {name}": Case(gone(name, member), commands, rf"{name}\.h5 (holds no|is not of)")
        for name, commands, members in (
            (
                "concepts",
                TALLY,
                ("fingerprint", "format", "label_name", "masks", "again_start", "plane_area", "label_size"),
            ),
            ("concepts", ("dump_activations",), ("images", "fingerprint")),
            ("activations", OF_MAPS, ("maps", "fingerprint", "format", f"{SOME}/unit", f"{SOME}/bound")),
            ("activations", THRESHOLD, ("candidates_quantile",)),
            ("activations", TALLY, ("concepts", "candidates_mask")),
            ("thresholds", TALLY, ("activations", "quantile", "samples", "all", "all/maximum")),
            ("tally", ("name_units",), ("all/intersection", "all/label_area", "some/minimum", "format")),
        )
        for member in members
    },
    # Attributes
    "a fingerprint of numbers": Case(
        attribute("concepts", "fingerprint", 7), TALLY, "fingerprint is of the type int64"
    ),
    "a fingerprint of nothing": Case(
        attribute("activations", "fingerprint", h5py.Empty("f4")), OF_MAPS, "fingerprint is neither a number nor a text"
    ),
    "a fingerprint of 10^4 characters": Case(
        attribute("thresholds", "activations", 10**4 * "x"), TALLY, "was not made from"
    ),
    "a format of 3.5": Case(attribute("activations", "format", 3.5), OF_MAPS, "format is of the type"),
    "format 99": Case(attribute("thresholds", "format", 99), TALLY, "is not of format"),
    "a quantile of text": Case(attribute("thresholds", "quantile", "half"), TALLY, "quantile is of the type str"),
    "candidates of NaN": Case(
        attribute("activations", "candidates_quantile", np.nan), THRESHOLD, "quantiles of raw maps up to nan"
    ),
    "knots of another kind": Case(
        within("tally", lambda file: file["all"].attrs.__setitem__("knots", "\x1b[31m" + 10**4 * "k")),
        ("name_units",),
        "knots is",
    ),
    # Much that is declared, and little that is stored
    "maps of 10^9 pictures": Case(
        declared("activations", ALL, (10**9, UNITS, SIDE, SIDE)), OF_MAPS, "is not stored to its end"
    ),
    "maps of 10^9 pictures, compressed": Case(
        declared("activations", ALL, (10**9, UNITS, SIDE, SIDE), **COMPRESSION), OF_MAPS, "is not stored to its end"
    ),
    "10^12 candidates": Case(declared("activations", f"{SOME}/unit", (10**12,)), OF_MAPS, "some/unit is"),
    "10^9 masks": Case(declared("concepts", "masks", (10**9, HEIGHT, 2)), TALLY, "is not stored to its end"),
    "10^9 labels": Case(declared("concepts", "label_number", (10**9,)), OF_NAMES, "is not stored to its end"),
    "10^9 pictures": Case(
        declared("concepts", "images", (10**9, 12, 12, 3)), ("dump_activations",), "is not stored to"
    ),
    "pictures of 10^10 pixels": Case(
        within("concepts", large_pictures),
        ("dump_activations",),
        "is not stored to its end",
    ),
    "maps whose chunk unfolds to 1 GB": Case(
        chunk("activations", ALL, zlib.compress(bytes(10**8)), compression="gzip"), OF_MAPS, "damaged"
    ),
    "maps whose chunk claims 2^62 bytes": Case(
        chunk("activations", ALL, (2**62).to_bytes(8, "big") + bytes(20), **COMPRESSION), OF_MAPS, "damaged"
    ),
    "labels whose chunk unfolds to 1 GB": Case(
        chunk("concepts", "label_area", zlib.compress(bytes(10**8)), compression="gzip"), OF_NAMES, "damaged"
    ),
    "pictures whose chunk unfolds to 1 GB": Case(
        chunk("concepts", "images", zlib.compress(bytes(10**8)), compression="gzip"), ("dump_activations",), "damaged"
    ),
    # Elsewhere
    "maps in another file": Case(
        linked("activations", ALL, h5py.ExternalLink("concepts.h5", "/images")), OF_MAPS, "is a link"
    ),
    "maps in a device": Case(linked("activations", ALL, h5py.ExternalLink("/dev/zero", "/x")), OF_MAPS, "is a link"),
    "maps in a circle": Case(linked("activations", ALL, h5py.SoftLink("/maps/all")), OF_MAPS, "is a link"),
    "all maps in a circle": Case(linked("activations", "maps", h5py.SoftLink("/maps")), OF_MAPS, "maps is a link"),
    "a group of maps within itself": Case(
        within("activations", within_itself),
        OF_MAPS,
        "all",
    ),
    "maps stored outside": Case(
        outside("activations", ALL, ("/etc/passwd", 0, 10**4)), OF_MAPS, "stored in other files"
    ),
    "labels stored outside": Case(
        outside("concepts", "label_area", ("/etc/passwd", 0, 10**4)), OF_NAMES, "in other files"
    ),
    "pictures stored outside": Case(
        outside("concepts", "images", ("pipe", 0, 10**6)), ("dump_activations",), "in other files"
    ),
    "virtual maps": Case(virtual("activations", ALL, "/dev/zero"), OF_MAPS, "stored in other files"),
    "virtual thresholds": Case(virtual("thresholds", "all/threshold", "tally.h5"), TALLY, "stored in other files"),
    "a virtual intersection": Case(
        virtual("tally", "all/intersection", "thresholds.h5"), ("name_units",), "in other files"
    ),
    # Files
    **{
        f"{name} is a {kind}": Case(SPECIAL[kind](f"{name}.h5"), commands, rf"{name}\.h5 {NOT_A_FILE}")
        for name, commands in (
            ("concepts", (*OF_NAMES, "dump_activations")),
            ("activations", OF_MAPS),
            ("thresholds", TALLIES),
            ("tally", ("name_units",)),
        )
        for kind in SPECIAL
    },
    "a concept set in place of the maps": Case(
        lambda folder: shutil.copyfile(folder / "concepts.h5", folder / "activations.h5"), OF_MAPS, "holds no maps"
    ),
    "maps in place of the thresholds": Case(
        lambda folder: shutil.copyfile(folder / "activations.h5", folder / "thresholds.h5"), TALLY, "holds no"
    ),
    "no layers": Case(gone("activations", ALL, SOME), OF_MAPS, "holds no maps"),
    "a layer that is a dataset of thresholds": Case(put("thresholds", "some", [1.0]), TALLY, "some is not a group"),
    "maps of candidates for a rotation": Case(lambda folder: None, ("rotate_units",), "keeps only candidates"),
    "maps of NaN for a rotation": Case(
        steps(gone("activations", SOME), put("activations", ALL, full(np.inf))),
        ("rotate_units",),
        "NaN|range",
    ),
}


# Receptive fields


def fields(text: str | bytes) -> Change:
    return lambda folder: (folder / "fields.json").write_bytes(text if isinstance(text, bytes) else text.encode())


def of_layers(axes: str, picture: str = "[8, 8]") -> Change:
    return fields(f'{{"picture": {picture}, "layers": {{"all": {axes}, "some": {axes}}}}}')


UNKNOWN = "the receptive fields of (all|some) are unknown"
NO_JSON = r"fields.json is damaged, or another kind of file \(it holds (NaN|-?Infinity)\)"
FIELDS: dict[str, tuple[Change, str | None]] = {
    "right": (of_layers("[[0, 3], [0, 3]]"), None),
    "none": (of_layers("null"), None),
    "a list": (fields("[1, 2]"), UNKNOWN),
    "a number": (fields("7"), UNKNOWN),
    "text": (fields('"layers"'), UNKNOWN),
    "no layers": (fields('{"picture": [8, 8]}'), UNKNOWN),
    "layers in a list": (fields('{"picture": [8, 8], "layers": ["all"]}'), UNKNOWN),
    "no picture": (fields('{"layers": {"all": [[0, 3], [0, 3]]}}'), UNKNOWN),
    "a picture of 0": (of_layers("[[0, 3], [0, 3]]", "[0, 0]"), UNKNOWN),
    "a picture below 0": (of_layers("[[0, 3], [0, 3]]", "[-8, 8]"), UNKNOWN),
    "a picture of NaN": (of_layers("[[0, 3], [0, 3]]", "[NaN, 8]"), NO_JSON),
    "a picture of infinity": (of_layers("[[0, 3], [0, 3]]", "[8, Infinity]"), NO_JSON),
    "a picture of 10^300 pixels": (of_layers("[[0, 3], [0, 3]]", f"[1{300 * '0'}, 8]"), None),
    "a picture of 10^400 pixels": (of_layers("[[0, 3], [0, 3]]", f"[1{400 * '0'}, 8]"), UNKNOWN),
    "a picture of text": (of_layers("[[0, 3], [0, 3]]", '"8x8"'), UNKNOWN),
    "a picture of three": (of_layers("[[0, 3], [0, 3]]", "[8, 8, 8]"), UNKNOWN),
    "one axis": (of_layers("[[0, 3]]"), UNKNOWN),
    "three numbers": (of_layers("[[0, 3, 1], [0, 3, 1]]"), UNKNOWN),
    "true": (of_layers("true"), UNKNOWN),
    "text for axes": (of_layers('"ab"'), UNKNOWN),
    "a stride of 0": (of_layers("[[0, 0], [0, 3]]"), UNKNOWN),
    "a stride below 0": (of_layers("[[0, 3], [0, -3]]"), UNKNOWN),
    "a stride of NaN": (of_layers("[[0, NaN], [0, 3]]"), NO_JSON),
    "a stride of infinity": (of_layers("[[0, Infinity], [0, 3]]"), NO_JSON),
    "a stride of 10^400": (of_layers(f"[[0, 1{400 * '0'}], [0, 3]]"), UNKNOWN),
    "a stride of 5e-324": (of_layers("[[0, 5e-324], [0, 3]]"), None),
    "an offset of NaN": (of_layers("[[NaN, 3], [0, 3]]"), NO_JSON),
    "an offset of infinity": (of_layers("[[-Infinity, 3], [0, 3]]"), NO_JSON),
    "an offset of 1e308": (of_layers("[[1e308, 3], [-1e308, 3]]"), None),
    "lists in lists": (fields(10**5 * b"["), "fields.json is damaged"),
    "5000 digits": (fields(5000 * b"9"), "fields.json is damaged"),
    "bytes": (fields(b"\xff\xfe\x00"), "fields.json is damaged"),
    "nothing": (fields(b""), "fields.json is damaged"),
}


# Networks in a notebook


class Returns(nn.Module):
    """A network that returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, pictures: Tensor) -> None:
        self.conv(pictures)


def called(name: str) -> nn.Module:
    network = small()
    network.add_module(name, nn.Identity())
    return network


def of_nan() -> nn.Module:
    network = small()
    nn.init.constant_(network.get_parameter("0.weight"), torch.nan)
    return network


NO_MODEL = "not a torch.nn.Module"
# What a notebook gives, by the name of the argument, and what it is told.
NOTEBOOK: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, NO_MODEL),
    "a class": ({"model": nn.Linear}, NO_MODEL),
    "lazy layers": ({"model": nn.LazyConv2d(3, 3)}, "lazy layers"),
    "weights of NaN": ({"model": of_nan()}, "NaN or infinite"),
    "weights without data": ({"model": small().to("meta")}, "tensors without data"),
    "a network that contains itself": ({"model": made["cyclic"]()}, "contains itself"),
    "a network that exits": ({"model": made["Exits"](), "layers": "conv"}, "does not accept a picture .*SystemExit"),
    "no layers": ({"layers": []}, "layers: none is listed"),
    "a layer of no name": ({"layers": [""]}, "the network has no layer ''"),
    "a layer that is a number": ({"layers": [3]}, "something other than names"),
    "layers that are none": ({"layers": None}, "something other than names"),
    "a layer of 10^5 characters": ({"layers": [10**5 * "x"]}, "the network has no layer 'xxx"),
    "a layer with a slash": ({"model": called("a/b"), "layers": ["a/b"]}, "'a/b' has a slash"),
    "a layer with a NUL": ({"model": called("a\0b"), "layers": ["a\0b"]}, r"'a\?b' has a slash or a NUL"),
    "a layer of dots": ({"layers": ["."]}, "no layer '.'"),
    "a layer twice": ({"layers": ["3", "3"]}, "listed more than once"),
    "a grid of 10^30": ({"layers": ["3@1" + 30 * "0" + "x1"]}, "has no grid after its @"),
    "a run of 5000 digits": ({"layers": ["3#" + 5000 * "9"]}, "has no number after its #"),
    "std of zeros": ({"std": [0, 0, 0]}, r"std\.0 is 0"),
    "mean of two": ({"mean": [0.5, 0.5]}, "mean is "),
    "mean of text": ({"mean": "abc"}, r"mean\.0 is"),
    "mean of none": ({"mean": None}, r"mean\.0 is"),
    "a protocol that is none": ({"protocol": "mine"}, "protocol"),
    "a precision of 8 bits": ({"precision": "float8"}, "precision"),
    "a choice that is none": ({"colour": 1}, "there is no choice colour"),
    "a quantile of 2": ({"quantile": 2}, "quantile"),
    "no concepts": ({"concepts": "nowhere.h5"}, "nowhere.h5 is missing"),
    "concepts that are none": ({"concepts": None}, "concepts is a NoneType"),
    "concepts that are maps": ({"concepts": "activations.h5"}, "holds no images"),
    "a folder without a size": ({"concepts": "."}, "give the size"),
}


@pytest.fixture
def folder(right, tmp_path) -> Path:
    """A copy of the right folder."""
    return shutil.copytree(right, tmp_path / "case")


def check(folder: Path, command: str, arguments: list[object], says: str | None) -> None:
    """Run a command, which must refuse what a folder holds with a sentence, or end well if that is none."""
    outcome = run_hostile(folder, command, *arguments)
    if says is None:
        assert outcome.status == 0, outcome.output[-3000:]
        require_harmless(folder, outcome)
        return
    require_refusal(folder, outcome, says)
    assert not any((folder / name).exists() for name in NEW)


@pytest.mark.parametrize(
    ("name", "command"), [(name, command) for name, case in CASES.items() for command in case.commands]
)
def test_a_hostile_file_is_refused(folder, name, command):
    CASES[name].change(folder)
    check(folder, f"workflow_scripts.dissect.{command}", COMMANDS[command], CASES[name].says)


@pytest.mark.parametrize(
    ("name", "dataset", "command"),
    [
        ("activations", ALL, "find_thresholds"),
        ("activations", f"{SOME}/values", "find_thresholds"),
        ("concepts", "masks", "tally_units"),
        ("concepts", "images", "dump_activations"),
    ],
)
def test_flipped_bytes_are_refused_or_are_other_numbers(folder, name, dataset, command):
    flipped(name, dataset)(folder)
    require_harmless(folder, run_hostile(folder, f"workflow_scripts.dissect.{command}", *COMMANDS[command]))


@pytest.mark.parametrize("name", FIELDS)
def test_hostile_receptive_fields_are_refused_or_are_somewhere(folder, name):
    change, says = FIELDS[name]
    change(folder)
    inputs = [folder / f"{name}.h5" for name in ("activations", "thresholds", "concepts", "new")]
    with nullcontext() if says is None else pytest.raises(UserError, match=says):
        tally_units(
            *inputs, knots="receptive_field", mask="at_least",
            receptive_fields=read_receptive_fields(folder / "fields.json"),
        )  # fmt: skip


@pytest.mark.parametrize("dataset", ["label_name", "category_name"])
def test_names_in_control_characters_are_read_with_escapes(folder, dataset):
    def names(old: np.ndarray) -> np.ndarray:
        return np.array(["\x1b[31m\r\u202e".encode(), *old[1:]], object)

    put("concepts", dataset, names, dtype=h5py.string_dtype())(folder)
    with ConceptData(folder / "concepts.h5") as data:
        assert getattr(data, dataset)[0] == r"\x1b[31m\r\u202e"


@pytest.mark.parametrize("kind", SPECIAL)
def test_receptive_fields_are_read_from_files_alone(folder, kind):
    SPECIAL[kind]("fields.json")(folder)
    check(folder, "workflow_scripts.dissect.tally_units", OF_FIELDS, NOT_A_FILE)


@pytest.mark.parametrize("name", NOTEBOOK)
def test_a_notebook_gets_a_sentence(right, monkeypatch, name):
    monkeypatch.chdir(right)
    given, says = NOTEBOOK[name]
    usual = {"model": small(), "layers": ["3"], "concepts": "concepts.h5", "mean": [0.5] * 3, "std": [0.25] * 3}
    with pytest.raises(UserError, match=says) as told:
        dissect(**usual | {"quantile": 0.1} | given)
    assert len(str(told.value)) < 1000


def test_a_notebook_may_have_a_network_that_returns_nothing(right, monkeypatch):
    monkeypatch.chdir(right)
    found = dissect(Returns(), "conv", "concepts.h5", mean=[0.5] * 3, std=[0.25] * 3, quantile=0.1)
    assert found.units["unit"].tolist() == [0, 1, 2, 3]
