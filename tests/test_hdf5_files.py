"""HDF5 files from users: any mistake in one ends in a sentence that names it, never in a crash."""

import os
import shutil
import subprocess
import sys
import zlib
from contextlib import ExitStack
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import reference_dissection as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from small_experiments import write_validation

from workflow_scripts.data import hdf5
from workflow_scripts.data.chunks import Rows
from workflow_scripts.data.hdf5 import COMPRESSION, FORMAT, create_hdf5, find_dataset, open_hdf5, read_dataset
from workflow_scripts.data.image_index import ImageIndex, read_image_index, write_image_index
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.data.packed_images import read_packed_images, write_packed_images
from workflow_scripts.data.unfolding import require_bounded_chunks
from workflow_scripts.dissect import find_thresholds as thresholds_module
from workflow_scripts.dissect import tallied_layers as tally_module
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.dump_activations import PictureBatches
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.maps import CandidateWriter
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.gallery.draw_units import Tiles, draw_units
from workflow_scripts.shared.files import UserError

ROOT = Path(__file__).resolve().parent.parent
IMAGES, UNITS, SIDE = 6, 4, 3
HEIGHT, WIDTH = 5, 70  # of label maps: rows of two words, the second one partial
FILES = ("concepts.h5", "activations.h5", "thresholds.h5", "tally.h5")


@pytest.fixture(scope="module")
def dissected(tmp_path_factory):
    """A dissection of six pictures: one layer with all maps kept, and one with candidates."""
    folder = tmp_path_factory.mktemp("dissected")
    random = np.random.default_rng(2)
    labels = {2: ("cat", ["object"]), 3: ("leg", ["part"]), 5: ("street", ["object"])}
    concepts = reference.Concepts(["object", "part"], labels, HEIGHT, WIDTH)
    for place in range(IMAGES):
        planes = [random.choice([0, number], (HEIGHT, WIDTH)) for number in (2, 2, 3)]
        cells = {"object": [*planes[:2], 5][: 2 + place % 2], "part": [planes[2]]}
        concepts.pictures.append(reference.Picture(random.integers(0, 256, (8, 8, 3)).astype(np.uint8), cells))
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", 8, folder / "concepts.h5")
    maps = random.normal(size=(IMAGES, UNITS, SIDE, SIDE)).astype(np.float16)
    with h5py.File(folder / "concepts.h5") as file, create_hdf5(folder / "activations.h5") as dump:
        dump.attrs.update(format=FORMAT, fingerprint="the dump", concepts=file.attrs["fingerprint"])
        dump.attrs.update(candidates_quantile=0.3, candidates_mask="at_least")
        dump.create_dataset("maps/all", data=maps, chunks=(2, *maps.shape[1:]), **COMPRESSION)
        writer = CandidateWriter(dump, "some", SIDE, SIDE, maps.dtype)
        kept = maps.max((2, 3)) > 1
        writer.append(maps[kept], np.nonzero(kept)[1].astype(np.int32), kept.sum(1))
        ends = np.full(UNITS, -9, np.float32), np.full(UNITS, 9, np.float32)
        writer.finish(np.full(UNITS, 1, np.float32), *ends)
    dissect(folder)
    return folder


def dissect(folder: Path, changed: str = "concepts.h5") -> dict[str, np.ndarray]:
    """Do the steps that read the file `changed`, and return their counts: {layer/name: values}."""
    activations, thresholds, tally, units = (folder / name for name in (*FILES[1:], "units.csv"))
    if changed == "activations.h5":
        thresholds = folder / "new_thresholds.h5"
    if changed in ("concepts.h5", "activations.h5") and not thresholds.exists():
        find_thresholds(activations, 0.1, thresholds)
    if changed not in ("tally.h5", "images"):
        tally = folder / ("new_tally.h5" if tally.exists() else "tally.h5")
        tally_units(activations, thresholds, folder / "concepts.h5", tally, planes="each", mask="at_least")
    name_units(tally, folder / "concepts.h5", 0.04, "above", units)
    if changed in ("tally.h5", "images"):
        write_validation(units)
        files = (activations, tally, folder / "concepts.h5", folder / "nulls.csv")
        draw_units(*files, Tiles(2, 8, 9999), "network", folder / "drawn")
    with h5py.File(tally) as file:
        return {f"{layer}/{name}": values[:] for layer, group in file.items() for name, values in group.items()}


def datasets_of(path: Path) -> list[str]:
    names = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return names


# Ways to change a dataset, from the open file, its name and its values


def replace(file, name, values, **options):
    del file[name]
    file.create_dataset(name, data=values, **options)


def put(value, place):
    def change(file, name, values):
        changed = values.copy()
        changed.flat[place] = value
        replace(file, name, changed)

    return change


def in_group(file, name, values):
    del file[name]
    file.create_group(name)["inside"] = values


def stored_outside(file, name, values):
    del file[name]
    outside = Path(file.filename).with_name("outside.bin")
    outside.write_bytes(bytes(8 * values.size))
    file.create_dataset(name, values.shape, np.int64, external=[(str(outside), 0, 8 * values.size)])


def virtual(file, name, values):
    del file[name]
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as outside:
        outside["values"] = values
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(str(other), "values", values.shape)
    file.create_virtual_dataset(name, layout)


def linked(link):
    def change(file, name, values):
        other = Path(file.filename).with_name("other.h5")
        with h5py.File(other, "w") as outside:
            outside["values"] = values
        del file[name]
        file[name] = h5py.SoftLink("/nowhere") if link is h5py.SoftLink else h5py.ExternalLink(str(other), "values")

    return change


def never_stored(file, name, values):
    del file[name]
    file.create_dataset(name, (10**9, *values.shape[1:]), values.dtype, chunks=(1, *values.shape[1:]))


def of_any_length(file, name, values):
    del file[name]
    made = file.create_dataset(name, values.shape, h5py.vlen_dtype(np.int32))
    made[(0,) * values.ndim] = [1, 2, 3]


STRUCTURE = {
    "gone": lambda file, name, values: file.__delitem__(name),
    "a group": in_group,
    "a soft link": linked(h5py.SoftLink),
    "an external link": linked(h5py.ExternalLink),
    "stored outside": stored_outside,
    "virtual": virtual,
    "never stored": never_stored,
    "empty": lambda file, name, values: replace(file, name, h5py.Empty(values.dtype)),
    "scalar": lambda file, name, values: replace(file, name, values.flat[0]),
    "no rows": lambda file, name, values: replace(file, name, values[:0]),
    "a row less": lambda file, name, values: replace(file, name, values[:-1]),
    "a row more": lambda file, name, values: replace(file, name, np.concatenate([values, values[-1:]])),
    "an axis more": lambda file, name, values: replace(file, name, values[..., None]),
    "text": lambda file, name, values: replace(file, name, np.full(values.shape, b"7")),
    "numbers": lambda file, name, values: replace(file, name, np.full(values.shape, 7, np.int16)),
    "float64": lambda file, name, values: replace(file, name, np.full(values.shape, 1.5)),
    "of any length": of_any_length,
    "the other end first": lambda file, name, values: replace(file, name, np.ones(values.shape, ">u4")),
}
VALUES: list[tuple[float, int]] = [
    *((value, place) for value in (-1, 0, 1, 2, 7, 2**31 - 1, 2**62) for place in (0, -1)),
    (-(2**63), 0),
]
VALUES += [(value, 0) for value in (np.nan, np.inf, -np.inf, 1e30)]


def changes_of(values: np.ndarray) -> list:
    """The changes that this kind of values can have."""
    return [*STRUCTURE.values(), *(put(value, place) for value, place in VALUES if fits(value, values.dtype))]


def fits(value: float, dtype: np.dtype) -> bool:
    if dtype.kind in "Ob":
        return dtype.kind == "b" and value in (0, 1)
    if dtype.kind == "f":
        return True
    return np.isfinite(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


CHANGED = [
    ("concepts.h5", name)
    for name in (
        "images",
        "masks",
        "masks_again",
        "mask_label",
        "mask_start",
        "again_label",
        "again_start",
        "whole_label",
        "whole_start",
        "label_size",
        "label_number",
        "label_name",
        "label_category",
        "label_area",
        "plane_area",
        "category_name",
        "image_has_category",
    )
]
CHANGED += [("activations.h5", f"maps/{name}") for name in ["all", *(f"some/{n}" for n in ("values", "unit", "start"))]]
CHANGED += [("activations.h5", f"maps/some/{name}") for name in ("bound", "minimum", "maximum")]
CHANGED += [("thresholds.h5", f"all/{name}") for name in ("threshold", "maximum", "minimum")]
CHANGED += [
    ("tally.h5", f"some/{name}")
    for name in ("intersection", "unit_area", "label_area", "threshold", "maximum", "minimum", "dead")
]


def test_every_dataset_is_changed(dissected):
    read = {(name, dataset) for name in FILES for dataset in datasets_of(dissected / name)}
    unread = {("concepts.h5", "image_name"), ("concepts.h5", "split")}
    layers = {
        (name, dataset.replace(*pair)) for name, dataset in CHANGED for pair in (("all", "some"), ("some", "all"))
    }
    assert read - unread <= {*CHANGED, *layers}


INDICES = [(file, name) for file, name in CHANGED if name.endswith(("mask_label", "start", "unit", "whole_label"))]


@pytest.mark.parametrize(
    ("device", "changed", "name"),
    [*((None, *pair) for pair in CHANGED), *(("cpu", *pair) for pair in INDICES)],
)
def test_a_changed_dataset_is_refused_or_counts_as_many_pixels_as_there_are(
    dissected, tmp_path, monkeypatch, device, changed, name
):
    for module in (thresholds_module, tally_module):
        monkeypatch.setattr(module, "lease_gpu", lambda: device)
    with h5py.File(dissected / changed) as file:
        values = file[name][:]
    refused = 0
    changes = changes_of(values)
    for number, change in enumerate(changes):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in FILES:
            shutil.copyfile(dissected / file, folder / file)
        with h5py.File(folder / changed, "r+") as file, np.errstate(over="ignore", invalid="ignore"):
            change(file, name, values)
        try:
            found = dissect(folder, "images" if name == "images" else changed)
        except UserError as error:
            assert str(folder) in str(error), error
            refused += 1
            continue
        for path, counted in found.items():
            if path.endswith(("intersection", "unit_area")) and changed != "tally.h5":
                assert (counted >= 0).all() and (counted <= 3 * IMAGES * HEIGHT * WIDTH).all()
    assert len(STRUCTURE) - 3 <= refused < len(changes) + 1


@pytest.mark.parametrize("changed", FILES)
@pytest.mark.parametrize("value", [None, 7, 1.5, "text", np.arange(3), h5py.Empty("f4"), b"bytes"])
def test_a_changed_attribute_is_refused_or_has_no_effect(dissected, tmp_path, changed, value):
    with h5py.File(dissected / changed) as file:
        attributes = file.attrs.keys() - {"counted_images", "planes", "shuffle_labels"}  # which are for people to read
        attributes -= {"quantile", "samples"} if changed == "tally.h5" else set()
        layer = None if changed != "tally.h5" else "some"
    for place, attribute in [*(("/", name) for name in attributes), *([(layer, "knots")] if layer else [])]:
        folder = tmp_path / f"{place.strip('/')}{attribute}"
        folder.mkdir()
        for file in FILES:
            shutil.copyfile(dissected / file, folder / file)
        with h5py.File(folder / changed, "r+") as file:
            del file[place].attrs[attribute]
            if value is not None:
                file[place].attrs[attribute] = value
        try:
            dissect(folder, changed)
        except UserError as error:
            assert str(folder / changed) in str(error), error
            continue
        assert isinstance(value, float) or (isinstance(value, str | bytes) and attribute in ("fingerprint", "samples"))


def test_the_unchanged_files_are_read(dissected, tmp_path):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    for changed in FILES:
        shutil.rmtree(copy / "drawn", ignore_errors=True)
        assert dissect(copy, changed)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("mask", ["above", "at_least"])
def test_bits_beyond_the_label_maps_do_not_count(dissected, tmp_path, monkeypatch, mask, device):
    monkeypatch.setattr(tally_module, "lease_gpu", lambda: device)
    counts = []
    for beyond in (0, (1 << 64) - (1 << WIDTH % 64)):
        shutil.copytree(dissected, tmp_path / "copy")
        with h5py.File(tmp_path / "copy/concepts.h5", "r+") as file:
            for name in ("masks", "masks_again"):
                file[name][...] = file[name][:] | np.array([0, beyond], np.uint64)
        inputs = (tmp_path / "copy" / name for name in ("activations.h5", "thresholds.h5", "concepts.h5"))
        tally_units(*inputs, tmp_path / "tally.h5", planes="each", mask=mask)
        with h5py.File(tmp_path / "tally.h5") as file:
            counts.append([file[f"all/{name}"][:] for name in ("intersection", "unit_area")])
        shutil.rmtree(tmp_path / "copy")
    assert counts[0][0].any()
    assert all((one == other).all() for one, other in zip(*counts, strict=True))


# Other files


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file["labels"].__setitem__(0, 99), r"labels holds 0 to 99"),
        (lambda file: file["labels"].__setitem__(0, -1), r"labels holds -1"),
        (lambda file: replace(file, "images", file["images"][..., :1]), r"images is uint8 \(40, 12, 12, 1\)"),
        (lambda file: replace(file, "images", file["images"][:, 1:]), r"images are not square"),
        (lambda file: replace(file, "images", file["images"][1:]), r"images is uint8 \(39"),
        (lambda file: replace(file, "classes", np.arange(4)), r"classes is int64"),
    ],
)
def test_inconsistent_packed_pictures_are_refused(packed, tmp_path, change, words):
    write_packed_images(tmp_path / "train.h5", packed)
    assert (read_packed_images(tmp_path / "train.h5").images == packed.images).all()
    with h5py.File(tmp_path / "train.h5", "r+") as file:
        change(file)
    with pytest.raises(UserError, match=rf"train\.h5: {words}"):
        read_packed_images(tmp_path / "train.h5")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("labels", np.array([0, 2])),
        ("labels", np.array([0, -1])),
        ("labels", np.array([0])),
        ("height", np.array([0, 1])),
        ("width", np.array([1, 2**31])),
        ("width", np.array([1.0, 2.0])),
        ("paths", np.array([1, 2])),
    ],
)
def test_an_inconsistent_index_is_refused(tmp_path, name, values):
    sides = np.array([3, 4], np.int32)
    index = ImageIndex(("a/1", "b/2"), np.array([0, 1]), ("a", "b"), sides, sides, "f")
    write_image_index(tmp_path / "index.h5", index)
    assert read_image_index(tmp_path / "index.h5").paths == index.paths
    with h5py.File(tmp_path / "index.h5", "r+") as file:
        replace(file, name, values)
    with pytest.raises(UserError, match=rf"index\.h5: {name} "):
        read_image_index(tmp_path / "index.h5")


# Chunks that unfold to more than a chunk


def write_bomb(path: Path, name: str, filters: dict, chunk: bytes) -> None:
    """A dataset of one chunk of 1,024 bytes, with other bytes stored in its place."""
    with create_hdf5(path) as file:
        made = file.create_dataset(name, (1024,), np.uint8, chunks=(1024,), **filters)
        made.id.write_direct_chunk((0,), chunk)


def lz4_chunk(size: int) -> bytes:
    return size.to_bytes(8, "big") + (2**30).to_bytes(4, "big") + (8).to_bytes(4, "big") + bytes(8)


@pytest.mark.parametrize(
    ("filters", "chunk"),
    [
        ({"compression": "gzip"}, zlib.compress(bytes(2**24))),
        ({"compression": "gzip", "shuffle": True}, zlib.compress(bytes(2**24))),
        ({"compression": "gzip"}, zlib.compress(np.random.default_rng(0).bytes(5000))),
        ({"shuffle": True, **COMPRESSION}, lz4_chunk(2**40)),
        (dict(COMPRESSION), lz4_chunk(2**40)),
        (dict(COMPRESSION), b"\0"),
        (dict(COMPRESSION), bytes(2**13)),
    ],
)
def test_chunks_that_unfold_to_more_than_a_chunk_are_refused_before_decoding(tmp_path, filters, chunk):
    write_bomb(tmp_path / "a.h5", "values", filters, chunk)
    with h5py.File(tmp_path / "a.h5") as file:
        with pytest.raises(UserError, match=r"a\.h5.* damaged"):
            Rows(file["values"]).read(0, 1024)
        with pytest.raises(UserError, match=r"a\.h5.* damaged"):
            read_dataset(file, "values", np.uint8, (1024,))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["gzip", "lz4"]), st.booleans(), st.booleans(), st.integers(1, 9), st.integers(0, 2**32))
def test_files_with_usual_compression_are_read(tmp_path_factory, kind, shuffled, checked, rows, seed):
    values = np.random.default_rng(seed).integers(0, 1 + seed % 1000, (rows, 5)).astype(np.int32)
    path = tmp_path_factory.mktemp("usual") / "a.h5"
    with create_hdf5(path) as file:
        compression = {"compression": "gzip"} if kind == "gzip" else COMPRESSION
        file.create_dataset(
            "a", data=values, chunks=(min(2, rows), 3), shuffle=shuffled, fletcher32=checked, **compression
        )
    with h5py.File(path) as file:
        require_bounded_chunks(file["a"])
        assert (read_dataset(file, "a", np.int32, (rows, 5)) == values).all()


def test_filters_whose_output_cannot_be_bounded_are_refused(tmp_path):
    with create_hdf5(tmp_path / "a.h5") as file:
        file.create_dataset("values", data=np.arange(100), chunks=(10,), **hdf5plugin.Zstd())
    with h5py.File(tmp_path / "a.h5") as file, pytest.raises(UserError, match=r"a\.h5: /values .*32015.*h5repack"):
        read_dataset(file, "values", np.int64, (100,))


# Errors of the system, and damage


def concepts_read(path: Path) -> None:
    with ConceptData(path) as labels:
        labels.block(np.arange(IMAGES), True, True)
    [PictureBatches(path)[0]]


@pytest.mark.parametrize("step", [0.02, 0.37, 0.64, 0.9])
def test_files_cut_off_are_called_damaged(dissected, tmp_path, step):
    for name in FILES[:2]:
        contents = (dissected / name).read_bytes()
        (tmp_path / name).write_bytes(contents[: int(step * len(contents))])
    with pytest.raises(UserError, match=r"concepts\.h5 is damaged"):
        concepts_read(tmp_path / "concepts.h5")
    with pytest.raises(UserError, match=r"activations\.h5 is damaged"):
        find_thresholds(tmp_path / "activations.h5", 0.1, tmp_path / "out.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES[:2])


FLIPPING = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_hdf5_files import concepts_read
from workflow_scripts.shared.files import UserError
path, whole = Path(sys.argv[2]), Path(sys.argv[1]).read_bytes()
refused = 0
for place in range(int(sys.argv[3]), len(whole), len(whole) // 150):
    changed = bytearray(whole)
    changed[place] ^= 0xFF
    path.write_bytes(changed)
    try:
        concepts_read(path)
    except UserError as error:
        assert str(path) in str(error), error
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("first", [0, 7])
def test_flipped_bytes_end_in_a_sentence_or_are_pixels(dissected, tmp_path, first):
    words = [sys.executable, "-c", FLIPPING, str(dissected / "concepts.h5"), str(tmp_path / "c.h5"), str(first)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    assert int(run.stdout.split()[-1]) > 20  # HDF5's filters print, too


@pytest.mark.parametrize(
    ("number", "words"),
    [(13, "Permission denied"), (24, "Too many open files"), (116, "Stale file handle"), (5, "Input/output error")],
)
def test_errors_of_the_system_are_not_called_damage(dissected, monkeypatch, number, words):
    def refuse(*arguments, **options):
        # As h5py words it.
        raise OSError(number, f"Unable to synchronously open file (errno = {number}, error message = '{words}')")

    monkeypatch.setattr(hdf5.h5py, "File", refuse)
    for read in (open_hdf5, read_packed_images, read_image_index, ConceptData):
        with pytest.raises(UserError, match=rf"concepts\.h5 cannot be read \({words}\)") as error:
            read(dissected / "concepts.h5")
        assert "damaged" not in str(error.value) and "delete" not in str(error.value)


def test_lack_of_memory_is_not_called_damage(dissected, monkeypatch):
    with open_hdf5(dissected / "concepts.h5") as file:
        for error in (MemoryError(), OSError("can't read data (memory allocation failed)")):
            told = pytest.raises(UserError, match=r"concepts\.h5 cannot be read \(Cannot allocate memory\)")
            with told, hdf5.reading_hdf5(file.filename):
                raise error


def test_a_folder_a_pipe_and_a_missing_file_are_distinguished(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "folder.h5").mkdir()
    for name, words in (("pipe.h5", "not a file"), ("folder.h5", "not a file"), ("none.h5", "is missing")):
        with pytest.raises(UserError, match=rf"{name}.* {words}"):
            open_hdf5(tmp_path / name)


def test_too_many_open_files_are_reported(dissected):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 3, before[1]))
        try:
            with pytest.raises(UserError, match=r"concepts\.h5 cannot be read \(Too many open files\)"):
                for _ in range(9):
                    open_files.enter_context(open_hdf5(dissected / "concepts.h5"))
                    open_files.enter_context(open("/dev/null"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_member_of_another_file_is_not_even_opened(tmp_path):
    with create_hdf5(tmp_path / "a.h5") as file:
        file.attrs["format"] = FORMAT
        file["maps"] = h5py.ExternalLink("other.h5", "/maps")
    with open_hdf5(tmp_path / "a.h5", "maps") as file, pytest.raises(UserError, match=r"a\.h5: maps is a link"):
        find_dataset(file, "maps", np.uint8, (None,))
