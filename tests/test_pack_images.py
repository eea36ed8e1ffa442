"""Class folders and archives: what is read, and what is refused."""

import io
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.data.pack_images import pack_images, read_square
from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.data.unpack_archive import unpack_archive
from workflow_scripts.files import UserError, whole_file, write_checksums


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


def test_packing_twice_gives_the_same_bytes(folder, tmp_path):
    pack_images(folder, 8, tmp_path / "a.h5")
    pack_images(folder, 8, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_share_of_each_class_can_be_taken(folder, tmp_path):
    pack_images(folder, 10, tmp_path / "out.h5", per_class=2)
    assert read_packed_images(tmp_path / "out.h5").labels.tolist() == [0, 0, 1, 1]


def test_a_wide_picture_is_scaled_by_its_shorter_side_and_cut_in_the_middle(tmp_path):
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
def test_a_damaged_picture_is_named_and_nothing_is_left(folder, tmp_path, content):
    path = folder / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:100] if content == "cut" else content)
    with pytest.raises(UserError, match=r"cat/1\.png"):
        pack_images(folder, 10, tmp_path / "out.h5")
    assert not list(tmp_path.glob("out.h5*"))


def test_missing_folders_and_empty_classes_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        pack_images(tmp_path / "nowhere", 10, tmp_path / "out.h5")
    (folder / "dog").mkdir()
    with pytest.raises(UserError, match="dog"):
        pack_images(folder, 10, tmp_path / "out.h5")


def test_archives_are_unpacked_whole(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "cat" / "0.png", "train/cat/0.png")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder / "cat" / "0.png", "train/cat/0.png")
    for name in ("a.zip", "a.tar.gz"):
        out = tmp_path / f"unpacked {name}"
        unpack_archive(tmp_path / name, out)
        assert (out / "train/cat/0.png").read_bytes() == (folder / "cat" / "0.png").read_bytes()


def test_bad_archives_are_named_and_nothing_is_left(tmp_path):
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with tarfile.open(tmp_path / "up.tar", "w") as archive:
        entry = tarfile.TarInfo("../evil")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type = tarfile.SYMTYPE
        entry.linkname = "/etc/passwd"
        archive.addfile(entry)
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
    for name in ("up.zip", "up.tar", "link.tar", "text.zip", "cut.tar", "missing.zip", *flipped):
        with pytest.raises(UserError, match=name):
            unpack_archive(tmp_path / name, tmp_path / "out" / "folder")
        assert not (tmp_path / "evil").exists() and not (tmp_path / "out" / "evil").exists()
        assert not list((tmp_path / "out").glob("*")), name


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
