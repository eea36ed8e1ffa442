"""Class folders and archives: what is read, and what is refused."""

import contextlib
import errno
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.data.image_index import read_image_index
from workflow_scripts.data.index_images import index_images
from workflow_scripts.data.labelled_pictures import Wanted
from workflow_scripts.data.pack_images import pack_images, read_square
from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.data.unpack_archive import unpack_archive
from workflow_scripts.shared.files import Unwritable, UserError, whole_file, write_checksums


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("cat", 2), ("ant", 3)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(count):
            array = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"


def test_pictures_come_in_order_with_their_labels(folder, tmp_path):
    pack_images(folder, 10, tmp_path / "out.h5")
    packed = read_packed_images(tmp_path / "out.h5")
    assert packed.classes == ("ant", "cat")
    assert packed.labels.tolist() == [0, 0, 0, 1, 1]
    expected = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*/*.png"))]
    np.testing.assert_array_equal(packed.images, expected)


def test_hidden_folders_and_files_are_ignored(folder, tmp_path):
    pack_images(folder, 10, tmp_path / "out.h5")
    (folder / ".thumbnails").mkdir()
    (folder / "cat" / "._0.png").write_bytes(b"of another system")
    pack_images(folder, 10, tmp_path / "again.h5")
    assert (tmp_path / "out.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_names_of_classes_in_another_encoding_are_kept(folder, tmp_path):
    os.rename(os.fsencode(folder / "cat"), os.fsencode(folder) + b"/caf\xe9")
    pack_images(folder, 10, tmp_path / "out.h5")
    assert [os.fsencode(name) for name in read_packed_images(tmp_path / "out.h5").classes] == [b"ant", b"caf\xe9"]


def test_a_class_that_a_spreadsheet_would_compute_is_text(folder, tmp_path):
    (folder / "cat").rename(folder / "=cat")
    pack_images(folder, 10, tmp_path / "out.h5")
    index_images(folder, folder, tmp_path / "index.h5")
    assert read_packed_images(tmp_path / "out.h5").classes == ("'=cat", "ant")
    assert read_image_index(tmp_path / "index.h5").classes == ("'=cat", "ant")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 0}, "images.size is 0"),
        ({"size": 10, "per_class": 0}, "images.per_class is 0"),
        ({"size": 10, "per_class": -1}, "images.per_class is -1"),
        ({"size": 2_000_000}, "images.size is 2000000, which is too large"),
    ],
)
def test_impossible_sizes_and_numbers_are_refused(folder, tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        pack_images(folder, out=tmp_path / "out.h5", **arguments)
    assert not list(tmp_path.glob("out.h5*"))


def test_packing_twice_gives_the_same_bytes(folder, tmp_path):
    pack_images(folder, 8, tmp_path / "a.h5")
    pack_images(folder, 8, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_unexpected_numbers_are_reported_before_anything_is_written(folder, tmp_path):
    pack_images(folder, 10, tmp_path / "out.h5", wanted=Wanted(expect_classes=2, expect_pictures=5))
    for wanted, message in (
        (Wanted(expect_classes=3), "2 class folders, but 3"),
        (Wanted(expect_pictures=4), "5 pictures, but 4"),
    ):
        with pytest.raises(UserError, match=message):
            pack_images(folder, 10, tmp_path / "other.h5", wanted=wanted)
    assert not (tmp_path / "other.h5").exists()


def test_a_share_of_each_class_can_be_taken(folder, tmp_path):
    pack_images(folder, 10, tmp_path / "out.h5", per_class=2)
    assert read_packed_images(tmp_path / "out.h5").labels.tolist() == [0, 0, 1, 1]


def test_a_wide_picture_is_scaled_by_its_shorter_side_and_cropped_in_the_middle(tmp_path):
    array = np.zeros((20, 60, 3), np.uint8)
    array[:, 17:43] = 255
    Image.fromarray(array).save(tmp_path / "wide.png")
    square = read_square(tmp_path / "wide.png", 10)
    assert square.shape == (10, 10, 3)
    assert square.min() == 255


def test_grey_and_transparent_pictures_become_rgb(tmp_path):
    Image.fromarray(np.full((6, 6), 77, np.uint8)).save(tmp_path / "grey.png")
    assert (read_square(tmp_path / "grey.png", 6) == 77).all()


@pytest.mark.parametrize("content", [b"", b"not a picture", "cut"])
def test_a_damaged_picture_is_reported_and_nothing_is_left(folder, tmp_path, content):
    path = folder / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:100] if content == "cut" else content)
    with pytest.raises(UserError, match=r"cat/1\.png"):
        pack_images(folder, 10, tmp_path / "out.h5")
    assert not list(tmp_path.glob("out.h5*"))


def test_missing_folders_and_empty_classes_are_reported(folder, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        pack_images(tmp_path / "nowhere", 10, tmp_path / "out.h5")
    (folder / "dog").mkdir()
    with pytest.raises(UserError, match="dog"):
        pack_images(folder, 10, tmp_path / "out.h5")


@pytest.fixture
def batches(tmp_path):
    """Two files in the layout of CIFAR-10's binary version, and their records."""
    rng = np.random.default_rng(7)
    records = rng.integers(0, 256, (2, 6, 3073), dtype=np.uint8)
    records[:, :, 0] = [[2, 0, 1, 1, 0, 2], [1, 1, 0, 2, 0, 0]]
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, batch in enumerate(records, 1):
        batch.tofile(folder / f"data_batch_{number}.bin")
    (folder / "batches.meta.txt").write_text("airplane\ndeer\nant\n\n")
    return folder, records.reshape(12, 3073)


def record_picture(record):
    """A picture, pixel by pixel: the planes of red, green and blue one after the other, each row by row."""
    picture = np.empty((32, 32, 3), np.uint8)
    for channel in range(3):
        for y in range(32):
            for x in range(32):
                picture[y, x, channel] = record[1 + channel * 1024 + y * 32 + x]
    return picture


def test_binary_files_come_in_order_with_their_labels(batches, tmp_path):
    folder, records = batches
    pack_images(folder / "data_batch_*.bin", 32, tmp_path / "all.h5")
    packed = read_packed_images(tmp_path / "all.h5")
    assert packed.classes == ("airplane", "deer", "ant")
    assert packed.labels.dtype == np.int64 and packed.labels.tolist() == records[:, 0].tolist()
    assert packed.images.dtype == np.uint8
    np.testing.assert_array_equal(packed.images, [record_picture(record) for record in records])
    pack_images(folder / "data_batch_2.bin", 32, tmp_path / "second.h5")
    np.testing.assert_array_equal(read_packed_images(tmp_path / "second.h5").images, packed.images[6:])


def test_binary_files_are_resized_as_class_folders_are(batches, tmp_path):
    folder, records = batches
    pack_images(folder / "data_batch_1.bin", 20, tmp_path / "out.h5")
    for packed, record in zip(read_packed_images(tmp_path / "out.h5").images, records[:6], strict=True):
        Image.fromarray(record_picture(record)).save(tmp_path / "picture.png")
        np.testing.assert_array_equal(packed, read_square(tmp_path / "picture.png", 20))


@pytest.mark.parametrize("per_class", [1, 3, 9])
def test_a_share_of_each_class_is_the_first_of_the_binary_files(batches, tmp_path, per_class):
    folder, records = batches
    pack_images(folder / "data_batch_*.bin", 32, tmp_path / "out.h5", per_class)
    packed = read_packed_images(tmp_path / "out.h5")
    taken, kept = {0: 0, 1: 0, 2: 0}, []
    for record in records:
        taken[record[0]] += 1
        if taken[record[0]] <= per_class:
            kept.append(record)
    assert packed.labels.tolist() == [record[0] for record in kept]
    np.testing.assert_array_equal(packed.images, [record_picture(record) for record in kept])


@pytest.mark.parametrize(("per_class", "first"), [(None, 2), (1, 2), (2, None)])
def test_binary_files_are_narrowed_to_the_first_classes_of_their_list_that_are_not_left_out(
    batches, tmp_path, per_class, first
):
    folder, records = batches
    wanted = Wanted(first=first, without=["deer"])
    pack_images(folder / "data_batch_*.bin", 32, tmp_path / "out.h5", per_class, wanted=wanted)
    packed = read_packed_images(tmp_path / "out.h5")
    taken = {0: [], 2: []}
    for position, record in enumerate(records):
        if record[0] in taken and len(taken[record[0]]) < (per_class or 12):
            taken[record[0]].append(position)
    assert packed.classes == ("airplane", "ant")
    kept = records[sorted(taken[0] + taken[2])]
    assert [packed.classes[label] for label in packed.labels] == [("airplane", "deer", "ant")[row[0]] for row in kept]
    np.testing.assert_array_equal(packed.images, [record_picture(record) for record in kept])


def test_classes_that_binary_files_do_not_have_are_refused(batches, tmp_path):
    for wanted, words in (
        (Wanted(without=["cat"]), r"images\.without has 'cat', but .*\.bin has no such class"),
        (Wanted(first=3, without=["ant"]), r"3 classes, 2 without those of .*, too few for images\.classes, 3"),
        (Wanted(first=2, expect_classes=3), r"2 classes \(narrowed by .*, but 3 are expected"),
    ):
        with pytest.raises(UserError, match=words):
            pack_images(batches[0] / "data_batch_*.bin", 32, tmp_path / "out.h5", wanted=wanted)


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


def name_classes(text):
    return lambda folder: (folder / "batches.meta.txt").write_text(text)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
BATCH_DAMAGES = {
    "names with NUL": (name_classes("a\nb\0\nc\n"), r"batches\.meta\.txt names a class twice, or with a NUL"),
    "a name twice": (name_classes("a\nb\na\n"), r"batches\.meta\.txt names a class twice"),
    "names in a pipe": (lambda folder: replace_by_pipe(folder / "batches.meta.txt"), r"batches\.meta\.txt is a .*pipe"),
    "names left in Git LFS": (name_classes(POINTER), r"batches\.meta\.txt .*git lfs pull"),
    "pipe": (lambda folder: replace_by_pipe(folder / "data_batch_2.bin"), r"data_batch_2\.bin is a .*pipe"),
    "folder": (lambda folder: (folder / "data_batch_3.bin").mkdir(), r"data_batch_3\.bin is a folder"),
    "without end": (
        lambda folder: os.truncate(folder / "data_batch_2.bin", 3073 * 10**8),
        r"data_batch_.*GB of memory",
    ),
    "cut": (lambda folder: os.truncate(folder / "data_batch_2.bin", 3073 * 5 + 3072), r"data_batch_2\.bin has .*3073"),
    "empty": (lambda folder: os.truncate(folder / "data_batch_2.bin", 0), r"data_batch_2\.bin has 0 bytes"),
    "no names": (lambda folder: (folder / "batches.meta.txt").unlink(), r"batches\.meta\.txt is missing"),
    "names in no text": (lambda folder: (folder / "batches.meta.txt").write_bytes(b"\xff"), r"batches\.meta\.txt"),
    "too few names": (
        lambda folder: (folder / "batches.meta.txt").write_text("a\nb\n\n"),
        r"data_batch_1\.bin has the label 2, .*2 classes",
    ),
    "no files": (lambda folder: [path.unlink() for path in folder.glob("*.bin")], r"no file .*data_batch_\*\.bin"),
}


def test_names_that_begin_with_a_byte_order_mark_are_read_without_it(batches, tmp_path):
    (batches[0] / "batches.meta.txt").write_text("airplane\ndeer\nant\n", "utf-8-sig")
    pack_images(batches[0] / "data_batch_*.bin", 32, tmp_path / "out.h5")
    assert read_packed_images(tmp_path / "out.h5").classes == ("airplane", "deer", "ant")


@pytest.mark.parametrize("case", BATCH_DAMAGES)
def test_damaged_binary_files_are_reported_and_nothing_is_left(batches, tmp_path, case):
    damage, words = BATCH_DAMAGES[case]
    damage(batches[0])
    with pytest.raises(UserError, match=words):
        pack_images(batches[0] / "data_batch_*.bin", 32, tmp_path / "out.h5")
    assert not list(tmp_path.glob("out.h5*"))


def test_archives_are_unpacked_whole(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "cat" / "0.png", "train/cat/0.png")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder / "cat" / "0.png", "train/cat/0.png")
    for name in ("a.zip", "a.tar.gz"):
        out = tmp_path / f"unpacked {name}"
        unpack_archive(tmp_path / name, out)
        assert (out / "train/cat/0.png").read_bytes() == (folder / "cat" / "0.png").read_bytes()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize(
    ("kind", "method"), [("zip", "zipfile.ZipFile.extractall"), ("tar", "tarfile.TarFile.extract")]
)
def test_an_archive_is_not_blamed_for_the_disk(tmp_path, monkeypatch, kind, method, number):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("x")
    archive = Path(shutil.make_archive(str(tmp_path / "a"), kind, tmp_path / "folder"))
    monkeypatch.setattr(method, mock.Mock(side_effect=OSError(number, os.strerror(number), "out.part/file")))
    with pytest.raises((OSError, Unwritable)) as error:
        unpack_archive(archive, tmp_path / "out")
    assert os.strerror(number) in str(error.value) and "fetch it again" not in str(error.value)
    assert isinstance(error.value, Unwritable) == (number == errno.ENOSPC)
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name, "folder"]


def test_bad_archives_are_reported_and_nothing_is_left(tmp_path):
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with tarfile.open(tmp_path / "up.tar", "w") as archive:
        entry = tarfile.TarInfo("../evil")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "up.tar").read_bytes()[:300])
    with zipfile.ZipFile(tmp_path / "flip.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise", np.random.default_rng(0).integers(0, 9, 5000, dtype=np.uint8).tobytes())
    for kind in ("gz", "xz", "bz2"):
        with tarfile.open(tmp_path / f"flip.tar.{kind}", f"w:{kind}") as archive:
            archive.add(tmp_path / "flip.zip", "noise")
    flips = [tmp_path / name for name in ("flip.tar.gz", "flip.tar.xz", "flip.tar.bz2", "flip.zip")]
    for path in flips:
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 4] = bytes(255 - byte for byte in content[middle : middle + 4])
        path.write_bytes(content)
    flipped = [path.name for path in flips]
    for name in ("up.zip", "up.tar", "text.zip", "cut.tar", "missing.zip", *flipped):
        with pytest.raises(UserError, match=name):
            unpack_archive(tmp_path / name, tmp_path / "out" / "folder")
        assert not (tmp_path / "evil").exists() and not (tmp_path / "out" / "evil").exists()
        assert not list((tmp_path / "out").glob("*")), name


TAR_KINDS = {
    "symbolic link outside": (tarfile.SYMTYPE, "/etc/passwd"),
    "symbolic link inside": (tarfile.SYMTYPE, "file"),
    "hard link inside": (tarfile.LNKTYPE, "file"),
    "pipe": (tarfile.FIFOTYPE, ""),
    "device": (tarfile.CHRTYPE, ""),
}
OUTSIDE = ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "C:evil", "//host/share/evil"]


def make_archive(path, entries):
    """Write a zip or tar of entries: a name, and for tar a type and where it links to."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, mode in entries:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = mode << 16
                archive.writestr(entry, b"file")
    else:
        with tarfile.open(path, "w") as archive:
            for name, kind, target in entries:
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = kind, target
                entry.size = 4 if kind == tarfile.REGTYPE else 0
                archive.addfile(entry, io.BytesIO(b"file"))


def refuse(tmp_path, name, words):
    with pytest.raises(UserError, match=words) as error:
        unpack_archive(tmp_path / name, tmp_path / "out" / "folder")
    assert name in str(error.value) and "\n" not in str(error.value)
    assert {path.name for path in tmp_path.rglob("*")} <= {name, "out"}


@pytest.mark.parametrize("entry", OUTSIDE)
def test_entries_outside_the_folder_are_refused(tmp_path, entry):
    make_archive(tmp_path / "a.zip", [("file", stat.S_IFREG | 0o644), (entry, 0)])
    refuse(tmp_path, "a.zip", "outside its folder")
    (tmp_path / "a.zip").unlink()
    make_archive(tmp_path / "a.tar", [("file", tarfile.REGTYPE, ""), (entry, tarfile.REGTYPE, "")])
    refuse(tmp_path, "a.tar", "outside its folder")


@pytest.mark.parametrize("case", TAR_KINDS)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, case):
    make_archive(tmp_path / "a.tar", [("file", tarfile.REGTYPE, ""), ("odd", *TAR_KINDS[case])])
    refuse(tmp_path, "a.tar", "'odd' that is a link or device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    make_archive(tmp_path / "a.zip", [("file", 0), ("odd", kind | 0o777)])
    refuse(tmp_path, "a.zip", "'odd' that is a link or device")


def test_archives_without_files_are_refused(tmp_path):
    make_archive(tmp_path / "a.zip", [])
    refuse(tmp_path, "a.zip", "holds no files")
    (tmp_path / "a.zip").unlink()
    make_archive(tmp_path / "a.tar", [("folder", tarfile.DIRTYPE, "")])
    refuse(tmp_path, "a.tar", "holds no files")


def test_a_member_with_a_wrong_checksum_is_reported(tmp_path):
    make_archive(tmp_path / "a.zip", [("one", 0), ("two", 0)])
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"twofile") + 3] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    refuse(tmp_path, "a.zip", "CRC.*'two'")


def test_an_encrypted_member_is_reported(tmp_path):
    make_archive(tmp_path / "a.zip", [("one", 0)])
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[6] |= 1  # the flag in the member's own header
    content[content.index(b"PK\1\2") + 8] |= 1  # and in the list of members
    (tmp_path / "a.zip").write_bytes(content)
    refuse(tmp_path, "a.zip", "filename='one' .*is encrypted")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_any_damage_ends_in_a_sentence_or_in_intact_files(tmp_path, name):
    noise = np.random.default_rng(8).bytes(3000)
    files = {"a/one": noise[:1000], "a/two": noise[1000:1001], "three": noise}
    if name == "a.zip":
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, data in files.items():
                archive.writestr(entry, data)
    else:
        with tarfile.open(tmp_path / name, "w" + name[5:].replace(".", ":")) as archive:
            for entry, data in files.items():
                info = tarfile.TarInfo(entry)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(9)
    for size in rng.integers(0, len(content), 60).tolist():
        flipped = bytearray(content)
        flipped[size] ^= 1 << int(rng.integers(8))
        for damaged in (content[:size], flipped):
            (tmp_path / name).write_bytes(damaged)
            with contextlib.suppress(UserError):
                unpack_archive(tmp_path / name, tmp_path / "out" / "folder")
                unpacked = tmp_path / "out" / "folder"
                for entry, data in files.items():
                    # Plain tar has no checksums of what files hold.
                    assert (unpacked / entry).read_bytes() == data or (name == "a.tar" and damaged is flipped)
                shutil.rmtree(unpacked)
            assert {path.name for path in tmp_path.rglob("*")} <= {name, "out"}


def test_a_full_disk_is_reported_and_nothing_is_left(tmp_path, monkeypatch):
    make_archive(tmp_path / "a.zip", [("one", 0)])
    make_archive(tmp_path / "a.tar", [("one", tarfile.REGTYPE, "")])

    def copy(source, target, *rest):
        with open("/dev/full", "wb") as full:
            full.write(source.read(4))

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    monkeypatch.setattr(tarfile, "copyfileobj", copy)
    for name in ("a.zip", "a.tar"):
        with pytest.raises(UserError, match=r"folder cannot be written \(No space left .*make room"):
            unpack_archive(tmp_path / name, tmp_path / "out" / "folder")
        assert list((tmp_path / "out").iterdir()) == []


def test_checksums_are_those_of_every_file(folder, tmp_path):
    write_checksums(folder, tmp_path / "list")
    run = subprocess.run(["sha256sum", "--check", "--quiet", tmp_path / "list"], cwd=folder)
    assert run.returncode == 0
    assert len((tmp_path / "list").read_text().splitlines()) == 5


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "deep" / "file"
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
