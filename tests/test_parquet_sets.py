"""Reading sets in Hugging Face's Parquet files."""

import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.data.concept_sets.parquet import Parquet, require_bounded_groups
from workflow_scripts.data.concept_sets.reader import Label
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.limits import LIMITS, SHIPPED

SIDE = 5
FILES = "data/train-*.parquet"


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(number: int) -> bytes:
    return png(Image.new("RGB", (SIDE, SIDE), (number, 90, 20)))


def values(number: int) -> np.ndarray:
    """A label map of the values 0, 1, 2 and 255."""
    return np.array([0, 1, 2, 255], np.uint8)[(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) + number) % 4]


def label_map(number: int) -> bytes:
    return png(Image.fromarray(values(number), "L"))


def files_column(files: list[bytes | None]) -> list[dict]:
    return [{"bytes": data, "path": f"{row}.png"} for row, data in enumerate(files)]


def write(path: Path, columns: dict, names: list[str] | None = None, group: int = 2) -> Path:
    """Write a file as `datasets` does, which notes its own types in the schema's metadata."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path, row_group_size=group)
    return path


def part(number: int) -> str:
    return f"data/train-{number:05d}-of-00002.parquet"


@pytest.fixture
def labelled(tmp_path):
    """Two files with labels of whole pictures, of five rows in three groups and of two rows; one of another split."""
    names = ["tench", "goldfish", "shark"]
    first = {"image": files_column([picture(n) for n in range(5)]), "label": [0, 2, 1, 2, 0]}
    write(tmp_path / part(0), first, names)
    write(tmp_path / part(1), {"image": files_column([picture(5), picture(6)]), "label": [1, 1]}, names)
    write(tmp_path / "data/test-00000-of-00001.parquet", {"image": files_column([picture(9)]), "label": [-1]}, names)
    return tmp_path


@pytest.fixture
def mapped(tmp_path):
    """One file with label maps."""
    columns = {
        "image": files_column([picture(n) for n in range(5)]),
        "annotation": files_column([label_map(n) for n in range(5)]),
        "scene": ["street"] * 5,
    }
    write(tmp_path / part(0), columns)
    return tmp_path


def read(folder: Path, **options: Any) -> Parquet:
    return Parquet(folder, folder, "thing", files=FILES, image="image", **options)


def test_labels_of_whole_pictures_have_the_names_that_the_files_give(labelled):
    reader = read(labelled, label="label")
    assert reader.labels == (Label("tench", "thing"), Label("goldfish", "thing"), Label("shark", "thing"))
    assert reader.names == [f"data/train-00000-of-00002/{row}" for row in range(5)] + [
        f"data/train-00001-of-00002/{row}" for row in range(2)
    ]
    for index, label in enumerate([0, 2, 1, 2, 0, 1, 1]):
        assert reader.annotation(index).whole == [label] and reader.annotation(index).planes == []
        assert reader.picture(index)[0] == picture(index)
    assert reader.picture(4)[1] == f"{labelled / part(0)}, row 4, image"
    assert reader.picture(6)[1] == f"{labelled / part(1)}, row 1, image"


def test_given_names_count_in_place_of_the_files(labelled):
    reader = read(labelled, label="label", names={"a fish": 0, "another": 1, "none": 2}, nothing=[2])
    assert [label.name for label in reader.labels] == ["a fish", "another"]
    assert [reader.annotation(index).whole for index in range(4)] == [[0], [], [1], []]


def test_numbers_without_a_name_are_refused_unless_they_mean_nothing(labelled):
    options = {"files": "data/test-*.parquet", "image": "image", "label": "label"}
    with pytest.raises(UserError, match=r"test-00000-of-00001.parquet, row 0: label is -1, which has no name"):
        Parquet(labelled, labelled, "thing", **options).annotation(0)
    assert Parquet(labelled, labelled, "thing", **options, nothing=[-1]).annotation(0).whole == []


def test_label_maps_are_read_as_those_in_files(mapped):
    reader = read(mapped, annotation="annotation", names={"wall": 1, "sky": 2}, nothing=[0, 255])
    assert [label.name for label in reader.labels] == ["wall", "sky"]
    for index in range(5):
        [plane] = reader.annotation(index).planes
        np.testing.assert_array_equal(plane, np.where(values(index) == 255, 0, values(index)))
        assert reader.picture(index)[0] == picture(index)
    with pytest.raises(UserError, match=r"00002.parquet, row 0, annotation holds the value 255, which is in no table"):
        read(mapped, annotation="annotation", names={"wall": 1, "sky": 2}, nothing=[0]).annotation(0)


def test_label_maps_may_have_colours(tmp_path):
    (tmp_path / "colours.csv").write_text("name,red,green,blue\nwall,9,0,200\nsky,0,1,0\n")
    codes = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3
    coloured = np.array([[0, 0, 0], [9, 0, 200], [0, 1, 0]], np.uint8)[codes]
    columns = {"image": files_column([picture(0)]), "mask": files_column([png(Image.fromarray(coloured))])}
    write(tmp_path / part(0), columns)
    reader = read(tmp_path, annotation="mask", names="colours.csv", nothing=[[0, 0, 0]])
    [plane] = reader.annotation(0).planes
    np.testing.assert_array_equal(plane, codes)


def test_each_group_is_read_once_in_order_and_few_are_held(labelled, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    groups = []
    original = parquet.ParquetFile.read_row_group

    def counted(self, group, **options):
        groups.append((group, sorted(options["columns"])))
        return original(self, group, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", counted)
    reader = read(labelled, label="label")
    assert groups == []
    for index in range(7):
        reader.picture(index)
        reader.annotation(index)
        assert len(reader._held) <= 2
    assert groups == [(group, ["image.bytes", "label"]) for group in (0, 1, 2, 0)]
    groups.clear()
    reader = read(labelled, label="label")
    for index in (1, 2, 1, 2):  # as threads do where one group ends and another begins
        reader.picture(index)
    assert [group for group, _ in groups] == [0, 1]


def test_threads_may_share_a_reader(labelled, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    original = parquet.ParquetFile.read_row_group

    def slow(*arguments, **options):
        time.sleep(0.002)  # long enough for another thread to come
        return original(*arguments, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", slow)
    reader = read(labelled, label="label")
    labels = [0, 2, 1, 2, 0, 1, 1]
    indices = np.random.default_rng(0).integers(0, 7, 100).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: (reader.picture(index)[0], reader.annotation(index).whole), indices))
    assert found == [(picture(index), [labels[index]]) for index in indices]
    assert len(reader._held) <= 2


def test_pictures_that_are_not_in_the_files_are_refused(tmp_path):
    write(tmp_path / part(0), {"image": files_column([picture(0), None]), "label": [0, 0]}, ["cat"])
    reader = read(tmp_path, label="label")
    assert reader.picture(0)[0] == picture(0)
    with pytest.raises(UserError, match=r"row 1: image has no bytes, at most the path of a file"):
        reader.picture(1)
    write(tmp_path / part(0), {"image": [None, *files_column([picture(0)])], "label": [0, None]}, ["cat"])
    reader = read(tmp_path, label="label")
    with pytest.raises(UserError, match="row 0: image has no bytes"):
        reader.picture(0)
    with pytest.raises(UserError, match="row 1: label is None, which has no name"):
        reader.annotation(1)


FAULTS = {
    "no column": ({"label": "class"}, "has no column class, only image, label: correct the config"),
    "numbers as label maps": (
        {"annotation": "label", "names": {"a": 0}},
        "the column label is int64, but files are struct",
    ),
    "files as labels": ({"label": "image"}, "the column image is struct<.*>, but labels are whole numbers"),
    "neither": ({}, "needs annotation or label"),
    "both": ({"annotation": "image", "label": "label"}, "give one of the two"),
    "no names": ({"annotation": "image"}, "does not name the labels: give names"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unsuitable_columns_are_refused(labelled, fault):
    options, message = FAULTS[fault]
    with pytest.raises(UserError, match=message):
        read(labelled, **options)


def test_files_that_name_labels_otherwise_are_refused(labelled):
    path = write(labelled / part(1), {"image": files_column([picture(5)]), "label": [1]}, ["goldfish", "tench"])
    with pytest.raises(UserError, match=f"{path} and .*00000-of-00002.parquet name labels differently"):
        read(labelled, label="label")
    for names in (None, [], ["a", "a"], ["a", " "]):
        for number in (0, 1):
            write(labelled / part(number), {"image": files_column([picture(5)]), "label": [1]}, names)
        with pytest.raises(UserError, match=r"does not name the labels|twice|no name"):
            read(labelled, label="label")


def test_files_that_are_not_intact_parquet_are_refused(labelled):
    path = labelled / part(1)
    whole = path.read_bytes()
    for data, message in {
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n": "is a Git LFS pointer",
        whole[:-20]: "is damaged, or another kind of file",
        b"": "is damaged, or another kind of file",
    }.items():
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"{path} {message}"):
            read(labelled, label="label")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="is a folder, pipe, socket or device"):
        read(labelled, label="label")
    with pytest.raises(UserError, match=r"holds no file data/validation-\*.parquet: correct files"):
        Parquet(labelled, labelled, "thing", files="data/validation-*.parquet", image="image", label="label")


def test_files_without_rows_are_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    empty = pyarrow.array([], pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}))
    write(tmp_path / part(0), {"image": empty, "label": pyarrow.array([], pyarrow.int64())}, ["a"])
    with pytest.raises(UserError, match="have no rows"):
        read(tmp_path, label="label")


def test_where_pyarrow_is_not_installed_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow, which is not installed here: pip install pyarrow==[\d.]+$"):
        read(tmp_path, label="label")


def test_more_rows_than_bytes_and_large_groups_are_refused(labelled, monkeypatch):
    monkeypatch.setenv(LIMITS, json.dumps(SHIPPED | {"file_gb": 1e-8}))
    with pytest.raises(UserError, match=r"a group of rows of .* GB.*limits.file_gb in the config \(now 1e-08\)"):
        read(labelled, label="label")
    group = SimpleNamespace(num_rows=10**9, total_byte_size=1)
    metadata = SimpleNamespace(num_row_groups=1, row_group=lambda number: group)
    with pytest.raises(UserError, match="1000000000 rows, in"):
        require_bounded_groups(metadata, next(labelled.glob(FILES)))
