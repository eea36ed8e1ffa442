"""The list of picture files: its contents, what is refused, and what is left out."""

import errno
import hashlib
import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from workflow_scripts.data.decode import decode
from workflow_scripts.data.ground_truth import read_development_kit, read_ground_truth
from workflow_scripts.data.image_index import read_image_index
from workflow_scripts.data.index_images import index_images
from workflow_scripts.data.labelled_pictures import Wanted
from workflow_scripts.shared.files import Unreadable, UserError

CLASSES = ("n01", "n02", "n03")
NAMES = [f"val_{number:08}.JPEG" for number in range(1, 7)]
LABELS = [2, 0, 1, 1, 0, 2]
IDS = {"n02": 1, "n03": 2, "n01": 3}  # as in the development kit, not in alphabetical order


def picture(seed: int, height: int = 30, width: int = 40) -> Image.Image:
    """A picture with smooth and rough places."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    rough = np.asarray(coarse, np.int64) + rng.integers(-20, 20, (height, width, 3))
    return Image.fromarray(rough.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, file_format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.fixture
def train(tmp_path) -> Path:
    """Two pictures of different sizes in each class folder."""
    for i, name in enumerate(CLASSES):
        (tmp_path / "train" / name).mkdir(parents=True)
        for j in range(2):
            image = picture(2 * i + j, 30 + i, 40 + j)
            (tmp_path / "train" / name / f"{name}_{j}.JPEG").write_bytes(encoded(image))
    return tmp_path / "train"


@pytest.fixture
def flat(tmp_path) -> Path:
    """Six pictures beside each other."""
    (tmp_path / "val").mkdir()
    for seed, name in enumerate(NAMES):
        (tmp_path / "val" / name).write_bytes(encoded(picture(seed)))
    return tmp_path / "val"


def write_kaggle(folder: Path) -> Path:
    rows = [
        f"{Path(name).stem},{CLASSES[label]} 1 2 3 4 {CLASSES[0]} 5 6 7 8 "
        for name, label in zip(NAMES, LABELS, strict=True)
    ]
    path = folder / "LOC_val_solution.csv"
    path.write_text("\n".join(["ImageId,PredictionString", *rows[::-1]]) + "\n")
    return path


def write_caffe(folder: Path) -> Path:
    path = folder / "val.txt"
    path.write_text("".join(f"{name} {label}\n" for name, label in zip(NAMES[::-1], LABELS[::-1], strict=True)))
    return path


def write_tiny(folder: Path) -> Path:
    path = folder / "val_annotations.txt"
    rows = [f"{name}\t{CLASSES[label]}\t0\t32\t44\t62\n" for name, label in zip(NAMES, LABELS, strict=True)]
    path.write_text("".join(rows[::-1]))
    return path


def write_development_kit(folder: Path) -> Path:
    path = folder / "ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(f"{IDS[CLASSES[label]]}\n" for label in LABELS))
    synsets = np.zeros((len(IDS) + 1, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")])
    for row, (name, number) in zip(synsets, [*IDS.items(), ("n00", 4)], strict=True):
        row["ILSVRC2012_ID"], row["WNID"], row["num_children"] = number, name, 3 if name == "n00" else 0
    savemat(folder / "meta.mat", {"synsets": synsets})
    return path


GROUND_TRUTHS = [write_kaggle, write_caffe, write_tiny, write_development_kit]


def test_the_index_holds_paths_labels_sizes_and_a_fingerprint(train, tmp_path):
    index_images(train, train, tmp_path / "out.h5", wanted=Wanted(expect_classes=3, expect_pictures=6))
    index = read_image_index(tmp_path / "out.h5")
    files = sorted(train.glob("*/*.JPEG"))
    assert index.classes == CLASSES
    assert index.paths == tuple(path.relative_to(train).as_posix() for path in files)
    assert index.labels.tolist() == [0, 0, 1, 1, 2, 2] and index.labels.dtype == np.int64
    sizes = [Image.open(path).size for path in files]
    assert np.stack([index.width, index.height], 1).tolist() == [list(size) for size in sizes]
    assert index.width.dtype == index.height.dtype == np.int32
    digest = hashlib.sha256()
    for path, name in zip(files, index.paths, strict=True):
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    assert index.fingerprint == digest.hexdigest()


def test_the_bytes_do_not_depend_on_the_number_of_threads(train, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.data.index_images.FILES_PER_JOB", 2)
    for threads in (1, 3):
        index_images(train, train, tmp_path / f"{threads}.h5", threads=threads)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "3.h5").read_bytes()


def test_hidden_folders_and_files_are_left_out(train, tmp_path):
    index_images(train, train, tmp_path / "a.h5")
    (train / ".cache").mkdir()
    (train / CLASSES[0] / "._n01_0.JPEG").write_bytes(b"of another system")
    index_images(train, train, tmp_path / "b.h5", wanted=Wanted(expect_classes=3, expect_pictures=6))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_another_byte_gives_another_fingerprint(train, tmp_path):
    index_images(train, train, tmp_path / "a.h5")
    path = train / "n01" / "n01_0.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    index_images(train, train, tmp_path / "b.h5")
    assert read_image_index(tmp_path / "a.h5").fingerprint != read_image_index(tmp_path / "b.h5").fingerprint


@pytest.mark.parametrize("write", GROUND_TRUTHS)
def test_every_form_of_ground_truth_gives_the_labels(train, flat, tmp_path, write):
    index_images(flat, train, tmp_path / "out.h5", ground_truth=write(tmp_path))
    index = read_image_index(tmp_path / "out.h5")
    assert index.paths == tuple(NAMES) and index.labels.tolist() == LABELS and index.classes == CLASSES


@pytest.mark.parametrize("write", GROUND_TRUTHS)
def test_every_form_of_ground_truth_is_narrowed_to_the_classes_that_are_taken(train, flat, tmp_path, write):
    index_images(flat, train, tmp_path / "out.h5", write(tmp_path), Wanted(without=["n02"]))
    index = read_image_index(tmp_path / "out.h5")
    kept = [(name, CLASSES[label]) for name, label in zip(NAMES, LABELS, strict=True) if CLASSES[label] != "n02"]
    assert [(path, index.classes[label]) for path, label in zip(index.paths, index.labels, strict=True)] == kept
    assert index.classes == ("n01", "n03")


@pytest.mark.parametrize("write", GROUND_TRUTHS)
def test_a_wrong_number_of_pictures_is_reported(train, flat, tmp_path, write):
    truth = write(tmp_path)
    (flat / NAMES[2]).rename(tmp_path / "aside")
    counted = write is write_development_kit  # it names no pictures
    with pytest.raises(UserError, match="6 lines for 5" if counted else Path(NAMES[2]).stem):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)
    (tmp_path / "aside").rename(flat / NAMES[2])
    (flat / "val_9.JPEG").write_bytes(encoded(picture(9)))
    with pytest.raises(UserError, match="6 lines for 7" if counted else r"val_9\.JPEG"):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)


@pytest.mark.parametrize(
    ("write", "old", "new", "message"),
    [
        (write_kaggle, "n02 1", "n99 1", r"line 4: .*'n99'"),
        (write_kaggle, ",n02 1 2 3 4 n01 5 6 7 8", ",", r"line 4: .*''"),
        (write_tiny, "3.JPEG\tn02", "3.JPEG\tn99", r"line 4: .*'n99'"),
        (write_tiny, "3.JPEG\tn02\t0\t32\t44\t62", "3.JPEG", r"line 4: .*''"),
        (write_caffe, "00000003.JPEG 1", "00000003.JPEG 3", r"line 4: '3' .* from 0 to 2"),
        (write_caffe, "00000003.JPEG 1", "00000003.JPEG", "line 4"),
        (write_caffe, "00000003.JPEG 1", f"00000003.JPEG {'1' * 5000}", "line 4: '1{40}' is not a class's number"),
        (write_development_kit, "2\n3\n1", "4\n3\n1", r"line 1: .*'4' \(n00\)"),
        (write_development_kit, "2\n3\n1", "5\n3\n1", r"line 1: .*'5' \(not in meta.mat\)"),
    ],
)
def test_an_unknown_class_is_reported_with_its_line(train, flat, tmp_path, write, old, new, message):
    truth = write(tmp_path)
    text = truth.read_text()
    assert old in text
    truth.write_text(text.replace(old, new, 2))
    with pytest.raises(UserError, match=f"{truth.name}, {message}"):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)


def test_numbers_of_classes_that_could_be_two_are_refused(tmp_path):
    (tmp_path / "val.txt").write_text("a.jpg 1\n")
    with pytest.raises(UserError, match=r"val\.txt .* 1 may be the class folder 10, as text, or 2, by number"):
        read_ground_truth(tmp_path / "val.txt", ["a.jpg"], ("1", "10", "2"))
    assert read_ground_truth(tmp_path / "val.txt", ["a.jpg"], ("01", "02", "10")) == [1]


@pytest.mark.parametrize("write", [write_kaggle, write_caffe, write_tiny])
def test_a_picture_with_two_classes_is_refused(train, flat, tmp_path, write):
    truth = write(tmp_path)
    lines = truth.read_text().splitlines()
    truth.write_text("\n".join([*lines, lines[-1].replace(CLASSES[LABELS[0]], CLASSES[2]).replace(" 1", " 0")]))
    with pytest.raises(
        UserError, match=rf"{truth.name} lists the picture {Path(NAMES[0]).stem}(\.JPEG)? twice: remove"
    ):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("content", [None, b"", b"a,b,c\n", b"\xff\xfe\x00"])
def test_a_file_that_is_not_ground_truth_is_reported(train, flat, tmp_path, content):
    if content is not None:
        (tmp_path / "truth").write_bytes(content)
    with pytest.raises(UserError, match="truth"):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=tmp_path / "truth")


def put_folder(path: Path) -> None:
    path.mkdir()


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("put", [put_folder, put_pipe, put_device])
def test_a_ground_truth_that_is_not_a_file_is_reported(train, flat, tmp_path, put):
    put(tmp_path / "truth")
    with pytest.raises(UserError, match=r"truth (is a folder, pipe|cannot be read).*correct images\.test_labels"):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=tmp_path / "truth")
    truth = write_development_kit(tmp_path)
    (tmp_path / "meta.mat").unlink()
    put(tmp_path / "meta.mat")
    with pytest.raises(UserError, match=r"meta\.mat (is a folder, pipe|cannot be read).*development kit"):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)


def test_a_byte_order_mark_in_a_ground_truth_is_ignored(train, flat, tmp_path):
    truth = write_kaggle(tmp_path)
    truth.write_text(truth.read_text(), "utf-8-sig")
    index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)
    assert read_image_index(tmp_path / "out.h5").labels.tolist() == LABELS


def test_other_files_beside_pictures_without_class_folders_are_reported(train, flat, tmp_path, caplog):
    (flat / "more").mkdir()
    (flat / "list.txt").touch()
    index_images(flat, train, tmp_path / "out.h5", ground_truth=write_caffe(tmp_path))
    (told,) = [line for line in caplog.messages if "left out" in line]
    assert told.startswith(f"2 files or folders of {flat} are left out") and told.endswith("as list.txt")


@pytest.mark.parametrize("content", [None, b"", b"no matrix" * 100])
def test_a_development_kit_without_its_list_of_classes_is_reported(train, flat, tmp_path, content):
    truth = write_development_kit(tmp_path)
    (tmp_path / "meta.mat").unlink()
    if content is not None:
        (tmp_path / "meta.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"meta\.mat"):
        index_images(flat, train, tmp_path / "out.h5", ground_truth=truth)


def test_a_damaged_list_of_classes_is_read_or_reported(tmp_path):
    path = write_development_kit(tmp_path).with_name("meta.mat")
    content, damages = path.read_bytes(), np.random.default_rng(0)
    assert read_development_kit(path) == {str(number): name for name, number in [*IDS.items(), ("n00", 4)]}
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[damages.integers(len(content))] = damages.integers(256)
        path.write_bytes(damaged)
        try:
            read_development_kit(path)
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 50
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"meta\.mat is damaged"):
        read_development_kit(path)


@pytest.mark.parametrize(
    "synset",
    [
        {"WNID": "n01"},
        {"ILSVRC2012_ID": 1.0, "WNID": 1.0},
        *({"ILSVRC2012_ID": number, "WNID": "n01"} for number in ("one", np.nan, np.inf, [1.0, 2.0])),
    ],
)
def test_a_list_of_other_things_than_classes_is_reported(tmp_path, synset):
    savemat(tmp_path / "meta.mat", {"synsets": synset})
    with pytest.raises(UserError, match=r"meta\.mat is not the development kit's meta\.mat"):
        read_development_kit(tmp_path / "meta.mat")


def test_missing_files_are_reported_before_anything_is_decoded(train, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.data.index_images.decode", lambda *_: pytest.fail("decoded"))
    out = tmp_path / "out.h5"
    with pytest.raises(UserError, match=r"nowhere.*image-net\.org"):
        index_images(tmp_path / "nowhere", train, out)
    with pytest.raises(UserError, match=r"nowhere.*image-net\.org"):
        index_images(train, tmp_path / "nowhere", out)
    with pytest.raises(UserError, match="3 class folders, but 4"):
        index_images(train, train, out, wanted=Wanted(expect_classes=4))
    with pytest.raises(UserError, match="6 pictures, but 7"):
        index_images(train, train, out, wanted=Wanted(expect_pictures=7))
    test = tmp_path / "test"
    for name in CLASSES[:2]:
        (test / name).mkdir(parents=True)
    with pytest.raises(UserError, match="test/n03 is missing"):
        index_images(test, train, out)
    (test / "n03").mkdir()
    (test / "n04").mkdir()
    with pytest.raises(UserError, match="test/n04 is not among the training pictures'"):
        index_images(test, train, out)
    (test / "n04").rmdir()
    (test / "n01" / "notes.txt").touch()
    with pytest.raises(UserError, match="test/n01 has no pictures"):
        index_images(test, train, out)
    for folder, message in ((train.parent, "0 pictures"), (train / "n01", "no class folders")):
        truth = write_caffe(tmp_path) if folder == train.parent else None
        with pytest.raises(UserError, match=message):
            index_images(folder, train, out, ground_truth=truth)
    assert not list(tmp_path.glob("out.h5*"))


def test_unreadable_pictures_are_counted_and_reported_or_left_out(train, tmp_path, caplog):
    (train / "n01" / "n01_0.JPEG").write_bytes(b"")
    (train / "n03" / "n03_1.JPEG").write_text("a text")
    with pytest.raises(UserError, match=r"2 of the 6 .*\(n01/n01_0\.JPEG, n03/n03_1\.JPEG\)"):
        index_images(train, train, tmp_path / "out.h5")
    assert not list(tmp_path.glob("out.h5*"))
    with caplog.at_level(logging.WARNING):
        index_images(train, train, tmp_path / "out.h5", wanted=Wanted(expect_pictures=6), unreadable="skip", threads=2)
    assert all(name in caplog.text for name in ("n01_0.JPEG", "n03_1.JPEG", "2 of the 6"))
    index = read_image_index(tmp_path / "out.h5")
    assert index.paths == ("n01/n01_1.JPEG", "n02/n02_0.JPEG", "n02/n02_1.JPEG", "n03/n03_0.JPEG")
    assert index.labels.tolist() == [0, 1, 1, 2] and index.width.tolist() == [41, 40, 41, 40]
    for name in ("n01_0.JPEG", "n03_1.JPEG"):
        (train / name[:3] / name).unlink()
    index_images(train, train, tmp_path / "without.h5")
    assert (tmp_path / "out.h5").read_bytes() == (tmp_path / "without.h5").read_bytes()


def test_no_class_is_emptied_by_leaving_pictures_out(train, tmp_path):
    for path in (train / "n02").iterdir():
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="class n02"):
        index_images(train, train, tmp_path / "out.h5", unreadable="skip")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_a_picture_that_the_system_does_not_let_be_read_is_not_left_out(train, tmp_path, monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)
    with pytest.raises(Unreadable, match=r"JPEG cannot be read \((Cannot allocate memory|Too many open files)\)"):
        index_images(train, train, tmp_path / "out.h5", unreadable="skip")


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize(
    "data",
    [
        *(encoded(picture(0), quality=quality, subsampling=kind) for quality in (30, 96) for kind in (0, 1, 2)),
        *(simplejpeg.encode_jpeg(np.array(picture(0)), colorsubsampling=kind) for kind in ("440", "411", "Gray")),
        encoded(picture(0), progressive=True),
        encoded(picture(0, 1, 1)),
        encoded(picture(0).convert("L")),
        encoded(picture(0).convert("CMYK")),
        encoded(picture(0), "PNG"),
        encoded(picture(0).convert("P"), "PNG"),
        encoded(picture(0).convert("RGBA"), "PNG"),
    ],
)
def test_pictures_are_decoded_as_by_pillow(data):
    np.testing.assert_array_equal(decode(data, "file"), pillow(data))


def test_defects_that_cost_no_rows_are_tolerated():
    data = encoded(picture(0, 64, 64), quality=95)
    scan = data.index(b"\xff\xda")
    blemished = data[: scan + 200] + b"\xff\xd3" + data[scan + 200 :]  # a restart marker where none belongs
    with pytest.raises(ValueError, match="Corrupt"):
        simplejpeg.decode_jpeg(blemished)
    np.testing.assert_array_equal(decode(blemished, "file"), pillow(blemished))


def test_a_turn_in_the_exif_data_is_not_done():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(picture(0), exif=exif)
    assert b"Exif" in turned
    np.testing.assert_array_equal(decode(turned, "file"), decode(encoded(picture(0)), "file"))


@given(
    kind=st.sampled_from([{}, {"progressive": True}, {"restart_marker_rows": 1}, {"mode": "CMYK"}, {"format": "PNG"}]),
    kept=st.floats(0, 1),
)
def test_a_truncated_picture_is_never_accepted(kind, kept):
    kind = {"format": "JPEG", "mode": "RGB"} | kind
    image = picture(1, 48, 64).convert(kind.pop("mode"))
    data = encoded(image, kind.pop("format"), **kind)
    cut = data[: round(kept * (len(data) - 1))]
    try:
        found = decode(cut, "some file")
    except UserError as error:
        assert "some file" in str(error) and " at 0x" not in str(error)
    else:
        np.testing.assert_array_equal(found, pillow(data))


def test_a_picture_cut_in_half_or_with_deep_channels_is_refused():
    data = encoded(picture(1, 48, 64))
    deep = encoded(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG")
    for bad in (data[: len(data) // 2], data[:-10], b"", b"text", deep):
        with pytest.raises(UserError, match="some file"):
            decode(bad, "some file")
