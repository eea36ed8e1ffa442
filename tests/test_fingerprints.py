"""Fingerprints of code and of users' files: what makes jobs stale."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from hostile_inputs import DIGITS, content, device, fifo, hole

from workflow_scripts.plan import contents
from workflow_scripts.plan.code import code_of
from workflow_scripts.plan.contents import content_fingerprint, file_contents, own_fingerprint
from workflow_scripts.shared.files import UserError, text_fingerprint

ROOT = Path(__file__).resolve().parent.parent


def test_code_follows_imports_to_any_depth_and_no_further():
    code = code_of("workflow_scripts.train.train_level")
    for path in ("train/train_level.py", "networks/pruning.py", "networks/torchvision_models.py", "shared/files.py"):
        assert f"workflow_scripts/{path}" in code
    assert not any("dissect" in path or "figures" in path for path in code)
    tally = code_of("workflow_scripts.dissect.tally_units")
    assert not any("/train/" in path for path in tally)
    assert not any("/plan/" in path for path in code)  # what is asked for makes no network stale: its arguments do
    assert all((ROOT / path).is_file() for path in code + tally)
    assert code_of("workflow_scripts.train.train_level") is code  # jobs that share a module share the search
    with pytest.raises(ValueError, match="no_such"):
        code_of("workflow_scripts.train.no_such")


def test_a_folders_fingerprint_changes_with_names_and_contents_and_not_with_times(tmp_path):
    folder, memory = tmp_path / "own", tmp_path / "memory.json"
    picture = folder / "a" / "x.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"12")

    def fingerprint():
        content_fingerprint.cache_clear()
        return content_fingerprint(str(folder), memory)

    first = fingerprint()
    os.utime(picture, ns=(1, 1))
    assert fingerprint() == first
    picture.write_bytes(b"21")
    second = fingerprint()
    picture.rename(folder / "a" / "y.png")
    third = fingerprint()
    assert len({first, second, third}) == 3
    (folder / "a" / "broken link").symlink_to("nowhere")
    (folder / ".DS_Store").touch()
    assert fingerprint() == third
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "z.png").write_bytes(b"1")
    with_link = fingerprint()
    (tmp_path / "elsewhere" / "z.png").write_bytes(b"2")
    assert len({third, with_link, fingerprint()}) == 3
    (folder / "linked").unlink()
    memory.write_text("{")
    assert fingerprint() == third


def test_contents_are_read_once(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "x.png").write_bytes(b"12")
    first = content_fingerprint(str(tmp_path / "own"), tmp_path / "memory.json")
    content_fingerprint.cache_clear()
    monkeypatch.setattr(contents, "file_fingerprint", lambda path: pytest.fail("read again"))
    assert content_fingerprint(str(tmp_path / "own"), tmp_path / "memory.json") == first


def test_a_file_with_the_size_and_time_of_the_one_before_is_read_again(tmp_path):
    file, other, memory = (str(tmp_path / name) for name in ("weights.pt", "other.pt", "memory.json"))
    for path, data in ((file, b"12"), (other, b"21")):
        Path(path).write_bytes(data)
        os.utime(path, ns=(1, 1))
    first = file_contents([file], Path(memory))[file]
    os.rename(other, file)
    assert (os.stat(file).st_size, os.stat(file).st_mtime_ns) == (2, 1)
    assert file_contents([file], Path(memory))[file] != first


def test_an_outdated_memory_file_changes_no_fingerprint(tmp_path):
    file, memory = tmp_path / "x.tar", tmp_path / "memory.json"
    file.write_bytes(b"12")
    digest, status = hashlib.sha256(b"12").hexdigest(), file.stat()
    memory.write_text(json.dumps({f"{file} {status.st_size} {status.st_mtime_ns}": digest}))
    assert content_fingerprint(str(file), memory) == text_fingerprint(file, digest)
    assert len(json.loads(memory.read_text())) == 1


@pytest.mark.parametrize(
    "put",
    [
        *(content(text) for text in ("", "{", "[1]", "[" * 99999, '{"a": NaN}', b"\xff", f'{{"a": {DIGITS}}}')),
        *(fifo, device, hole, Path.mkdir),
    ],
)
def test_a_damaged_memory_is_made_again_and_a_folder_in_its_place_is_left(tmp_path, put):
    file, memory = tmp_path / "x.tar", tmp_path / "memory.json"
    file.write_bytes(b"12")
    put(memory)
    paths, wanted = [str(file)], {str(file): hashlib.sha256(b"12").hexdigest()}
    assert file_contents(paths, memory) == wanted
    assert memory.is_dir() or (memory.is_file() and list(json.loads(memory.read_text()).values()) == [*wanted.values()])


def test_only_texts_are_taken_from_a_memory(tmp_path):
    file, memory = tmp_path / "x.tar", tmp_path / "memory.json"
    file.write_bytes(b"12")
    first = file_contents([str(file)], memory)
    memory.write_text(json.dumps(dict.fromkeys(json.loads(memory.read_text()), 7)))
    assert file_contents([str(file)], memory) == first


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "No space left on device")])
def test_without_a_place_for_the_memory_files_are_read_again(tmp_path, monkeypatch, error):
    def refuse(path, text):
        raise error

    (tmp_path / "x.tar").write_bytes(b"12")
    monkeypatch.setattr(Path, "write_text", refuse)
    paths = [str(tmp_path / "x.tar")]
    assert file_contents(paths, tmp_path / "memory.json") == {paths[0]: hashlib.sha256(b"12").hexdigest()}
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_a_file_that_cannot_be_read_ends_in_one_sentence(tmp_path):
    vanished = str(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x.png is missing"):
        file_contents([vanished], tmp_path / "memory.json")
    with pytest.raises(UserError, match=r"x.png is missing"):
        own_fingerprint(vanished)
    assert not (tmp_path / "memory.json").exists()


def test_an_endless_link_is_reported(tmp_path):
    (tmp_path / "own" / "within").mkdir(parents=True)
    (tmp_path / "own" / "within" / "up").symlink_to("..")
    with pytest.raises(UserError, match=r"own/within/up is a link to a folder that contains it"):
        contents.files_of(str(tmp_path / "own"))
