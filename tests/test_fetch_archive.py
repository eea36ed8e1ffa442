"""fetch_archive: whatever the servers do, the result is the exact archive, or a sentence and no file."""

import csv
import hashlib
import io
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from flaky_server import flaky_server
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.data.fetch_archive import fetch_archive
from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.limits import LIMITS, SHIPPED

CONTENT = np.random.default_rng(0).bytes(2000)
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
LATE, SOON = 20, 0.4  # seconds; the second where a server is to hang


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch, flaky_server() as server:
        patch.setenv("no_proxy", "127.0.0.1")
        yield server


@pytest.fixture
def archive(tmp_path, server):
    server.requests.clear()
    server.released.clear()
    return tmp_path / "cache" / "set.zip"


def fetch(archive, *addresses, checksum=SHA, timeout=LATE):
    return fetch_archive(archive, list(addresses), checksum, timeout, wait=0)


def part_of(archive):
    return archive.with_name("set.zip.part")


def refused_port() -> str:
    with flaky_server() as closed:
        return closed.add("/gone", b"")


@pytest.mark.parametrize("checksum", [SHA, MD5, MD5.upper().replace("MD5", "md5"), "none"])
def test_the_receipt_has_the_contents_but_not_the_address(archive, server, checksum):
    first = fetch(archive, server.add("/a", CONTENT), checksum=checksum)
    assert first == {"archive": str(archive), "bytes": 2000, "sha256": SHA.removeprefix("sha256:")}
    assert archive.read_bytes() == CONTENT
    archive.unlink()
    other = server.add("/c", CONTENT)
    assert fetch(archive, refused_port(), server.add("/b", b"", ("redirect", other)), checksum=checksum) == first
    assert [path.name for path in archive.parent.iterdir()] == ["set.zip"]
    assert os.stat(archive).st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_existing_archive_is_checked_and_never_changed(archive, server):
    archive.parent.mkdir()
    archive.write_bytes(CONTENT)
    address = server.add("/a", CONTENT)
    assert fetch(archive, address)["bytes"] == 2000
    archive.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=rf"set\.zip has .*{hashlib.sha256(CONTENT[:-1]).hexdigest()}, not {SHA}"):
        fetch(archive, address)
    assert archive.read_bytes() == CONTENT[:-1] and server.requests == []


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
def test_a_folder_or_pipe_in_place_of_an_archive_is_refused_and_not_replaced(archive, server, put):
    archive.parent.mkdir()
    put(archive)
    with pytest.raises(UserError, match=r"set\.zip is a folder, pipe"):
        fetch(archive, server.add("/a", CONTENT))
    assert not archive.is_file() and server.requests == [] and list(archive.parent.iterdir()) == [archive]


def test_without_a_checksum_the_one_found_is_logged(archive, server, caplog):
    caplog.set_level(logging.INFO)
    fetch(archive, server.add("/a", CONTENT), checksum="none")
    assert SHA in caplog.text


@pytest.mark.parametrize("checksum", ["md5:12", "sha1:" + 40 * "0", "sha256:" + 64 * "g", "", MD5 + "0"])
def test_an_invalid_checksum_is_reported(archive, server, checksum):
    with pytest.raises(UserError, match="must read md5"):
        fetch(archive, server.add("/a", CONTENT), checksum=checksum)
    assert not archive.parent.exists() and server.requests == []


FAILURES = {
    "not found": (("status", 404), "HTTP 404"),
    "unavailable": (("status", 503), "HTTP 503"),
    "no content": (("status", 204), "HTTP 204"),
    "no range to satisfy": (("status", 416), "HTTP 416"),
    "web page": ("page", "web page"),
    "empty": ("empty", "no bytes"),
    "hanging": (("hang", 0), "sent nothing"),
    "other bytes": ("wrong", "checksum sha256"),
    "closing": ("close", "5 times without a new byte"),
    "always short": (("whole_drop", 700), "broke off .* 5 times without a new byte"),
    "short and silent": (("silent_drop", 700), "checksum sha256"),
    "a byte too few": (("whole_drop", 1999), "broke off"),
    "circle": (("redirect", "/circle"), "HTTP 302"),
    "to a file": (("redirect", "file:///etc/passwd"), "HTTP 302"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_address_is_reported_and_the_next_is_tried(archive, server, case):
    behaviour, words = FAILURES[case]
    bad = server.add("/circle", CONTENT, behaviour)
    with pytest.raises(UserError, match=rf"set\.zip .*{bad}: .*{words}") as error:
        fetch(archive, bad, timeout=SOON)
    assert "\n" not in str(error.value)
    assert not archive.exists()
    assert fetch(archive, bad, server.add("/good", CONTENT), timeout=SOON)["bytes"] == 2000


@pytest.mark.parametrize(
    "address", ["nonsense", "http://", "ftp://127.0.0.1/a", "file:///etc/passwd", "http://127.0.0.1:x/", "http://[/"]
)
def test_an_invalid_address_fails_like_any_other(archive, server, address):
    with pytest.raises(UserError, match="no address serves"):
        fetch(archive, address)
    assert fetch(archive, address, refused_port(), server.add("/good", CONTENT))["bytes"] == 2000


def test_all_failures_are_listed_in_one_sentence(archive, server):
    addresses = [refused_port(), server.add("/a", CONTENT, ("status", 404)), "http://name.invalid/a"]
    with pytest.raises(UserError) as error:
        fetch(archive, *addresses)
    assert all(f"{address}: " in str(error.value) for address in addresses)
    assert "refused" in str(error.value) and "by hand" in str(error.value)
    assert list(archive.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_a_dropped_connection_resumes_where_it_broke(archive, server, kind):
    lengths = np.random.default_rng(1).integers(100, 300, 6).tolist()
    address = server.add("/a", CONTENT, *[(kind, length) for length in lengths], "serve")
    fetch(archive, address)
    assert archive.read_bytes() == CONTENT
    starts = [int(wanted[6:-1]) for _, wanted in server.requests[1:]]
    assert len(starts) == 6 and starts == sorted(set(starts))
    if kind == "drop":  # a reset may swallow bytes that were under way
        assert starts == np.cumsum(lengths).tolist()


def test_a_silent_connection_resumes_if_it_has_brought_bytes(archive, server):
    fetch(archive, server.add("/a", CONTENT, ("hang", 600), "serve"), timeout=SOON)
    assert archive.read_bytes() == CONTENT
    assert server.requests == [("/a", None), ("/a", "bytes=600-")]


@pytest.mark.parametrize("answer", ["whole", ("status", 416), "elsewhere"])
def test_a_server_that_cannot_resume_serves_everything_again(archive, server, answer):
    fetch(archive, server.add("/a", CONTENT, ("drop", 900), answer, "serve"))
    assert archive.read_bytes() == CONTENT


def test_bytes_from_another_position_are_not_taken(archive, server, caplog):
    caplog.set_level(logging.INFO)
    fetch(archive, server.add("/a", CONTENT, ("drop", 900), "elsewhere", "serve"))
    assert "different byte" in caplog.text and "checksum" not in caplog.text


def test_repeated_fruitless_tries_end(archive, server):
    behaviours = [("whole_drop", 700), ("whole_drop", 300)] * 10
    with pytest.raises(UserError, match="5 times without a new byte"):
        fetch(archive, server.add("/a", CONTENT, *behaviours, "serve"))


@pytest.mark.parametrize("behaviour", ["chunked", "silent"])
def test_an_unknown_length_is_accepted(archive, server, behaviour):
    fetch(archive, server.add("/a", CONTENT, behaviour))
    assert archive.read_bytes() == CONTENT


def test_the_next_call_resumes_a_kept_part_at_another_address(archive, server):
    with pytest.raises(UserError, match="next run continues") as error:
        fetch(archive, server.add("/a", CONTENT, ("drop", 1200), ("status", 503)))
    assert str(part_of(archive)) in str(error.value)
    assert part_of(archive).read_bytes() == CONTENT[:1200]
    fetch(archive, server.add("/b", CONTENT))
    assert archive.read_bytes() == CONTENT and server.requests[-1] == ("/b", "bytes=1200-")


def test_a_complete_part_is_used_as_it_is(archive, server):
    archive.parent.mkdir()
    part_of(archive).write_bytes(CONTENT)
    fetch(archive, server.add("/a", CONTENT))
    assert archive.read_bytes() == CONTENT and server.requests == [("/a", "bytes=2000-")]


@pytest.mark.parametrize("size", [500, 2000, 3000])
def test_a_wrong_part_costs_one_more_try(archive, server, size):
    archive.parent.mkdir()
    part_of(archive).write_bytes(bytes(size))
    fetch(archive, server.add("/a", CONTENT))
    assert archive.read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/a", "/a"]


def test_wrong_bytes_are_requested_only_once(archive, server):
    with pytest.raises(UserError):
        fetch(archive, server.add("/a", CONTENT, "wrong"))
    assert len(server.requests) == 1
    assert list(archive.parent.iterdir()) == []


def test_without_a_checksum_answers_are_never_joined(archive, server):
    archive.parent.mkdir()
    part_of(archive).write_bytes(b"from another archive")
    addresses = server.add("/a", CONTENT, ("drop", 900), "silent"), server.add("/b", CONTENT, ("drop", 900))
    with pytest.raises(UserError) as error:
        fetch(archive, *addresses, checksum="none")
    assert "how long" in str(error.value) and "next run" not in str(error.value)
    assert list(archive.parent.iterdir()) == []
    assert {wanted for _, wanted in server.requests} == {None}


LENGTHS = st.integers(100, 1999)
BEHAVIOURS = st.one_of(
    st.sampled_from(["serve", "whole", "chunked", "silent", "elsewhere", "page", "empty", "close"]),
    st.sampled_from([("status", 404), ("status", 503), ("status", 416), ("redirect", "/good"), ("redirect", "/0")]),
    st.tuples(st.sampled_from(["drop", "reset", "whole_drop", "silent_drop", "chunked_drop", "more"]), LENGTHS),
)


@settings(max_examples=200, deadline=None)
@given(
    addresses=st.lists(st.lists(BEHAVIOURS, min_size=1, max_size=5), max_size=3),
    wrong=st.booleans(),
    hang=st.sampled_from([*[None] * 15, 300]),
    good=st.booleans(),
    part=st.none() | st.integers(0, 2100),
    part_right=st.booleans(),
    checksum=st.sampled_from([SHA, MD5, "none"]),
)
@example([[("drop", 500), "wrong"]], True, None, True, None, True, SHA)
@example([[("whole_drop", 100)], [("silent_drop", 500)]], False, None, False, 1000, True, MD5)
def test_the_exact_archive_or_a_sentence(server, addresses, wrong, hang, good, part, part_right, checksum):
    if wrong and checksum != "none":  # which nothing could tell
        addresses = [*addresses, ["wrong"]]
    if hang:
        addresses = [[("hang", hang), "serve"], *addresses]
    listed = [server.add(f"/{i}", CONTENT, *behaviours) for i, behaviours in enumerate(addresses)]
    whole = server.add("/good", CONTENT)
    server.add("/0", CONTENT, *(addresses[0] if addresses else ["serve"]))
    if good or not listed:
        listed.append(whole)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "set.zip"
        if part is not None:
            part_of(archive).write_bytes((CONTENT + bytes(100))[:part] if part_right else bytes(part))
        try:
            fetch(archive, *listed, checksum=checksum, timeout=SOON if hang else LATE)
        except UserError as error:
            assert not archive.exists()
            assert not good and all(address in str(error) for address in listed)
            left = part_of(archive)
            assert (left.name in str(error)) == left.exists()
        else:
            assert archive.read_bytes() == CONTENT
            assert [path.name for path in Path(folder).iterdir()] == ["set.zip"]


def command(module: str, *arguments: object, **options) -> subprocess.Popen:
    line = [sys.executable, "-m", f"workflow_scripts.data.{module}", *map(str, arguments)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, **options)


def fetching(archive: Path, address: str, out: str, checksum: str = SHA, **options) -> subprocess.Popen:
    place = archive.parent.parent / out
    return command(
        "fetch_archive", "--archive", archive, "--addresses", address, "--checksum", checksum, "--out", place, **options
    )


def wait_for_bytes(path: Path, size: int) -> None:
    for _ in range(3000):
        if path.exists() and path.stat().st_size == size:
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not reach {size} bytes")


def test_a_killed_download_resumes(archive, server):
    address = server.add("/a", CONTENT, ("hang", 1500), "serve")
    process = fetching(archive, address, "receipt")
    wait_for_bytes(part_of(archive), 1500)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert sorted(path.name for path in archive.parent.iterdir()) == ["set.zip.part", "set.zip.part.lock"]
    fetch(archive, address)
    assert archive.read_bytes() == CONTENT
    assert server.requests == [("/a", None), ("/a", "bytes=1500-")]


def test_two_processes_fetch_an_archive_once(archive, server):
    address = server.add("/a", CONTENT, ("hang", 1500), "serve")
    first = fetching(archive, address, "first.json")
    wait_for_bytes(part_of(archive), 1500)
    second = fetching(archive, address, "second.json")
    while "waiting for it to end" not in (line := second.stderr.readline()):
        assert line
    server.released.set()
    assert all("error" not in process.communicate()[1] for process in (first, second))
    assert (first.returncode, second.returncode) == (0, 0)
    assert server.requests == [("/a", None)]
    assert archive.read_bytes() == CONTENT and [path.name for path in archive.parent.iterdir()] == ["set.zip"]
    receipts = [(archive.parent.parent / name).read_bytes() for name in ("first.json", "second.json")]
    assert receipts[0] == receipts[1] and json.loads(receipts[0])["sha256"] == SHA.removeprefix("sha256:")


def test_an_archive_for_which_there_is_no_room_is_reported_and_nothing_is_left(archive, server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=len(CONTENT) - 1))
    with pytest.raises(UserError, match=r"/a: serves 0\.0 MB, for which there is no room: make room; http"):
        fetch(archive, server.add("/a", CONTENT), server.add("/b", CONTENT))
    assert list(archive.parent.iterdir()) == []
    assert len(server.requests) == 2


@pytest.mark.parametrize("allowed", [1e-5, 1000])
def test_an_address_that_claims_too_much_costs_no_bytes_of_another(archive, server, monkeypatch, allowed):
    """Beyond the config's limit, or beyond the disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    monkeypatch.setenv(LIMITS, json.dumps(SHIPPED | {"download_gb": allowed}))
    archive.parent.mkdir()
    part_of(archive).write_bytes(CONTENT[:1900])
    fetch(archive, server.add("/a", bytes(2 * 10**6)), server.add("/b", CONTENT))
    assert archive.read_bytes() == CONTENT and server.requests[-1] == ("/b", "bytes=1900-")


@pytest.mark.parametrize("checksum", [SHA, "none"])
def test_when_the_disk_becomes_full_only_bytes_that_a_checksum_can_check_stay(archive, server, checksum):
    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    process = fetching(archive, server.add("/a", CONTENT), "receipt", checksum, preexec_fn=limit_files)
    errors = process.communicate()[1]
    assert process.returncode == 1 and "Traceback" not in errors
    assert f"error: there is no room for {part_of(archive)} (File too large): make room, and run again" in errors
    assert [path.read_bytes() for path in archive.parent.iterdir()] == [CONTENT[:1024]] * (checksum != "none")
    assert not (archive.parent.parent / "receipt").exists()


@pytest.mark.parametrize("link", [Path.hardlink_to, Path.symlink_to])
def test_a_part_that_is_a_link_is_refused_and_nothing_behind_it_is_written(archive, server, link):
    archive.parent.mkdir()
    mine = archive.with_name("mine")
    mine.write_text("mine")
    link(part_of(archive), mine)
    with pytest.raises(UserError, match=r"set\.zip\.part cannot be written \(Too many (levels of symbolic )?links\)"):
        fetch(archive, server.add("/a", CONTENT))
    assert mine.read_text() == "mine"


def test_an_unwritable_place_is_reported(archive, server):
    archive.parent.write_text("no folder")
    with pytest.raises(UserError, match=r"set\.zip\.part cannot be written"):
        fetch(archive, server.add("/a", CONTENT))


def broden_archive() -> tuple[bytes, list[tuple[str, str, int]]]:
    """A zip in Broden's layout, with four images and six labels; and the labels' pixels, counted here."""
    rng = np.random.default_rng(3)
    labels = [
        (1, "black-c", "color(4)"),
        (2, "grey-c", "color(4)"),
        (3, "cat", "object(1)"),
        (4, "head", "part(1)"),
        (5, "street-s", "scene(1)"),
        (6, "banded", "texture(2)"),
    ]
    categories = ["color", "object", "part", "material", "scene", "texture"]
    images: list[tuple[str, dict]] = [
        ("ade20k/ADE_train_00000001", {"color": (1, 2), "object": (3,), "part": (4,), "scene": 5}),
        ("pascal/2008_000002", {"color": (2,), "object": (3,)}),
        ("dtd/banded_0002", {"color": (1,), "texture": 6}),
        ("dtd/banded_0004", {"color": (1, 2), "texture": 6}),
    ]
    pixels = {number: 0 for number, *_ in labels}
    index, files = [], {}
    for name, cells in images:
        picture = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (224, 224, 3), np.uint8)).save(picture, "JPEG")
        files[f"images/{name}.jpg"] = picture.getvalue()
        row: dict[str, object] = {"image": f"{name}.jpg", "split": "train", "ih": 224, "iw": 224, "sh": 112, "sw": 112}
        for category, numbers in cells.items():
            row[category] = numbers
            if isinstance(numbers, int):
                pixels[numbers] += 112 * 112
                continue
            drawn = rng.choice([*([] if category == "color" else [0]), *numbers], (112, 112))
            for number in numbers:
                pixels[number] += int((drawn == number).sum())
            row[category] = f"{name}_{category}.png"
            label_map = io.BytesIO()
            Image.fromarray(np.stack([drawn, 0 * drawn, 0 * drawn], -1).astype(np.uint8)).save(label_map, "PNG")
            files[f"images/{row[category]}"] = label_map.getvalue()
        index.append(row)
    columns = ["image", "split", "ih", "iw", "sh", "sw", *categories]
    files["index.csv"] = table(columns, [[row.get(column, "") for column in columns] for row in index])
    rows = [[number, name, category, 4, 0.5, ""] for number, name, category in labels]
    files["label.csv"] = table(["number", "name", "category", "frequency", "coverage", "syns"], rows)
    rows = [[category, 1, 6, 2, 4] for category in categories]
    files["category.csv"] = table(["name", "first", "last", "count", "frequency"], rows)
    for category in categories:
        rows = [[1, n, name, 4, 0.5] for n, name, kinds in labels if kinds.startswith(category)]
        files[f"c_{category}.csv"] = table(["code", "number", "name", "frequency", "coverage"], rows)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("broden1_224")
        for name, content in files.items():
            archive.writestr(f"broden1_224/{name}", content)
    return result.getvalue(), [(name, kinds.split("(")[0], pixels[number]) for number, name, kinds in labels]


def table(columns: list[str], rows: list[list]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue().encode()


def run(module: str, *arguments: object) -> str:
    """Run a command to its end and return its log."""
    process = command(module, *arguments)
    log = process.communicate()[1]
    assert process.returncode == 0, log
    return log


def test_broden_is_fetched_packed_and_checked(tmp_path, server):
    content, pixels = broden_archive()
    (tmp_path / "pixels.csv").write_bytes(table(["label", "category", "pixels"], pixels))
    gone = server.add("/broden/gone", b"", ("status", 404))
    address = server.add("/broden", content, ("drop", 3000), "serve")
    archive, folder, concepts = tmp_path / "broden1_224.zip", tmp_path / "concepts", tmp_path / "concepts.h5"
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    arguments = ["--addresses", gone, address, "--checksum", checksum, "--out", tmp_path / "fetched.json"]
    log = run("fetch_archive", "--archive", archive, *arguments)
    assert "HTTP 404" in log and "broke off" in log
    assert json.loads((tmp_path / "fetched.json").read_text())["bytes"] == len(content)
    run("unpack_archive", "--archive", archive, "--out", folder, "--checksums", tmp_path / "concepts.sha256")
    run("pack_concepts", "--folder", folder / "broden1_224", "--image-size", 64, "--out", concepts)
    arguments = ["--images", 4, "--labels", 6, "--pixel-totals", tmp_path / "pixels.csv"]
    out = tmp_path / "verified.json"
    run("verify_concepts", "--concepts", concepts, "--folder", folder / "broden1_224", *arguments, "--out", out)
    summary = json.loads(out.read_text())
    assert summary["images"] == 4 and summary["labels"] == 6 and summary["label_map_size"] == [112, 112]
    assert summary["pixel_totals"]["labels_compared"] == summary["pixel_totals"]["equal"] == 6
    with h5py.File(concepts) as file:
        assert file["image_name"].asstr()[0] == "ade20k/ADE_train_00000001.jpg"


def test_cifar10_is_fetched_and_packed(tmp_path, server):
    rng = np.random.default_rng(4)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    batches = {f"data_batch_{number}.bin": rng.integers(0, 256, (20, 3073), np.uint8) for number in range(1, 6)}
    batches["test_batch.bin"] = rng.integers(0, 256, (20, 3073), np.uint8)
    for batch in batches.values():
        batch[:, 0] = rng.permutation(20) % 10
    files = {"batches.meta.txt": "".join(f"{name}\n" for name in [*names, ""]).encode(), "readme.html": b"<html>"}
    files |= {name: batch.tobytes() for name, batch in batches.items()}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    content = content.getvalue()
    archive, folder = tmp_path / "cifar-10-binary.tar.gz", tmp_path / "images"
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    address = server.add("/cifar", content, ("reset", 70_000), "serve")
    arguments = ["--addresses", address, "--checksum", checksum, "--out", tmp_path / "fetched.json"]
    run("fetch_archive", "--archive", archive, *arguments)
    run("unpack_archive", "--archive", archive, "--out", folder, "--checksums", tmp_path / "images.sha256")
    for split, pattern in (("train", "data_batch_*.bin"), ("test", "test_batch.bin")):
        out = tmp_path / f"{split}.h5"
        run("pack_images", "--folder", folder / "cifar-10-batches-bin" / pattern, "--size", 32, "--out", out)
    train, test = read_packed_images(tmp_path / "train.h5"), read_packed_images(tmp_path / "test.h5")
    assert train.classes == test.classes == tuple(names)
    ordered = np.concatenate([batches[f"data_batch_{number}.bin"] for number in range(1, 6)])
    assert train.images.shape == (100, 32, 32, 3) and test.images.shape == (20, 32, 32, 3)
    assert (train.labels == ordered[:, 0]).all() and (test.labels == batches["test_batch.bin"][:, 0]).all()
    for image, y, x, channel in rng.integers(0, [100, 32, 32, 3], (300, 4)):
        assert train.images[image, y, x, channel] == ordered[image, 1 + 1024 * channel + 32 * y + x]
