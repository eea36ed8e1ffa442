"""The campaign of faults notices what it looks for."""

import json

import h5py
import pytest
import torch
from nothing_lost import RESULTS, Lost, read_whole, require_kept, require_same, require_sentence
from nothing_lost import mark as mark_of

from workflow_scripts.data.hdf5 import COMPRESSION
from workflow_scripts.run.failures import GO_ON


def write_h5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("numbers", data=list(range(5000)), **COMPRESSION)


WRITE = {
    "h5": write_h5,
    "json": lambda path: path.write_text(json.dumps({"numbers": list(range(100))})),
    "csv": lambda path: path.write_text("a,b\n" + "1,2\n" * 100),
    "pt": lambda path: torch.save(torch.arange(1000), path),
}


@pytest.mark.parametrize("suffix", WRITE)
def test_half_a_file_is_noticed(tmp_path, suffix):
    path = tmp_path / f"file.{suffix}"
    WRITE[suffix](path)
    assert read_whole(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 1])
    with pytest.raises(Lost, match="half-written"):
        read_whole(path)
    assert not read_whole(tmp_path / f"missing.{suffix}") and not read_whole(tmp_path)


def test_a_changed_byte_in_weights_is_noticed(tmp_path):
    path = tmp_path / "network.pt"
    WRITE["pt"](path)
    contents = bytearray(path.read_bytes())
    contents[contents.index(bytes(torch.arange(10, 20).numpy()))] ^= 1
    path.write_bytes(contents)
    with pytest.raises(Lost, match="half-written"):
        read_whole(path)


@pytest.mark.parametrize(
    "said",
    [
        "Using workflow\nTraceback (most recent call last):\n" + GO_ON,
        "Using workflow\nerror: x\n" + "12:00 a\n" * 9,
        "",
    ],
    ids=["traceback", "a sentence of a step alone", "nothing"],
)
def test_an_end_without_a_sentence_is_noticed(tmp_path, said):
    require_sentence(tmp_path, 1, f"Using workflow\nFailed: x\n{GO_ON}\n")
    require_sentence(tmp_path, -9, "")
    with pytest.raises(Lost):
        require_sentence(tmp_path, 1, said)


def test_a_traceback_in_a_log_is_noticed(tmp_path):
    log = tmp_path / RESULTS / "logs/a/b.log"
    log.parent.mkdir(parents=True)
    log.write_text("Traceback (most recent call last):\n")
    with pytest.raises(Lost, match="a traceback"):
        require_sentence(tmp_path, 0, "")


def test_other_bytes_lost_files_and_what_is_left_are_noticed(tmp_path):
    path = tmp_path / RESULTS / "tables/a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("1\n")
    for expected in ({}, {f"{RESULTS}/tables/a.csv": "0" * 64}, {f"{RESULTS}/tables/b.csv": "0" * 64}):
        with pytest.raises(Lost, match="differ"):
            require_same(expected, tmp_path)
    before = {path: mark_of(path)}
    require_kept(before)
    path.rename(tmp_path / "kept")
    path.write_text("1\n")
    with pytest.raises(Lost, match="made again"):
        require_kept(before)
