"""Tiny ImageNet in its published layout, in miniature: how it is read, whole and narrowed to some classes."""

import csv
import json
import logging
import random
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from test_workflow import ROOT, copy_sources, snakemake

from workflow_scripts.data.image_index import read_image_index
from workflow_scripts.data.index_images import index_images
from workflow_scripts.data.labelled_pictures import ALL, Wanted
from workflow_scripts.data.pack_images import pack_images, read_square
from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.dissect.class_pictures import FolderPictures
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import complete_config
from workflow_scripts.shared.files import UserError

CLASSES = ("n01443537", "n01629819", "n02123394", "n03444034", "n12267677")
TRAIN, VAL = 3, 2  # pictures of each class
SIDE = 16


def write_picture(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path, quality=90)


def write_tiny(folder: Path) -> Path:
    """The dataset in miniature, as in the archive."""
    rng = np.random.default_rng(0)
    shuffled = random.Random(0)
    root = folder / "tiny-imagenet-200"
    for name in CLASSES:
        for number in range(TRAIN):
            write_picture(root / "train" / name / "images" / f"{name}_{number}.JPEG", rng)
        boxes = "".join(f"{name}_{number}.JPEG\t0\t32\t44\t62\n" for number in range(TRAIN))
        (root / "train" / name / f"{name}_boxes.txt").write_text(boxes)
    labels = list(CLASSES * VAL)
    shuffled.shuffle(labels)
    rows = []
    for number, name in enumerate(labels):
        write_picture(root / "val" / "images" / f"val_{number}.JPEG", rng)
        rows.append(f"val_{number}.JPEG\t{name}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    write_picture(root / "test" / "images" / "test_0.JPEG", rng)
    names = list(CLASSES)
    shuffled.shuffle(names)
    (root / "wnids.txt").write_text("".join(f"{name}\n" for name in names))
    (root / "words.txt").write_text("".join(f"{name}\ta word\n" for name in names))
    return root


@pytest.fixture
def tiny(tmp_path) -> Path:
    return write_tiny(tmp_path)


def rows_of(tiny: Path) -> list[list[str]]:
    """The rows of the table of validation pictures."""
    with open(tiny / "val" / "val_annotations.txt", newline="") as file:
        return list(csv.reader(file, dialect="excel-tab"))


def validation(tiny: Path) -> dict:
    """Where the validation pictures are, as both readers take it."""
    return {
        "folder": tiny / "val" / "images",
        "classes_of": tiny / "train",
        "ground_truth": tiny / "val" / "val_annotations.txt",
    }


def training(tiny: Path) -> dict:
    return {"folder": tiny / "train", "classes_of": tiny / "train"}


def packed(out: Path, wanted: Wanted = ALL, **places: Any) -> tuple[list[bytes], list[str]]:
    """The pictures' pixels and the names of their classes."""
    pack_images(size=SIDE, out=out, wanted=wanted, **places)
    found = read_packed_images(out)
    return [image.tobytes() for image in found.images], [found.classes[label] for label in found.labels]


def indexed(out: Path, wanted: Wanted = ALL, **places: Any) -> tuple[list[bytes], list[str]]:
    index_images(out=out, wanted=wanted, **places)
    found = read_image_index(out)
    paths = [places["folder"] / path for path in found.paths]
    return [read_square(path, SIDE).tobytes() for path in paths], [found.classes[label] for label in found.labels]


READERS = [packed, indexed]


@pytest.mark.parametrize("read", READERS)
def test_training_pictures_are_read_from_the_folders_within_class_folders(tiny, tmp_path, read, caplog):
    pictures, classes = read(tmp_path / "out.h5", **training(tiny))
    assert classes == [name for name in CLASSES for _ in range(TRAIN)]
    files = [tiny / "train" / name / "images" / f"{name}_{number}.JPEG" for name in CLASSES for number in range(TRAIN)]
    assert pictures == [read_square(path, SIDE).tobytes() for path in files]
    (told,) = [line for line in caplog.messages if "left out" in line]
    assert told.startswith(f"{len(CLASSES)} files") and told.endswith(f"as {CLASSES[0]}/{CLASSES[0]}_boxes.txt")


@pytest.mark.parametrize("read", READERS)
def test_validation_pictures_have_the_classes_of_their_table(tiny, tmp_path, read):
    pictures, classes = read(tmp_path / "out.h5", **validation(tiny))
    expected = {read_square(tiny / "val" / "images" / file, SIDE).tobytes(): name for file, name, *_ in rows_of(tiny)}
    assert len(pictures) == len(expected) == len(CLASSES) * VAL
    assert dict(zip(pictures, classes, strict=True)) == expected


def test_users_networks_are_tested_with_them_too(tiny):
    preprocessing = {"resize": SIDE, "mean": [0.5] * 3, "std": [0.2] * 3}
    pictures = FolderPictures(tiny / "train", preprocessing, 1, None, torch.device("cpu"))
    assert pictures.classes == CLASSES and len(pictures) == len(CLASSES) * TRAIN


CHOICES = {
    "the first": (Wanted(first=3), CLASSES[:3]),
    "all but some": (Wanted(without=[CLASSES[3], CLASSES[0]]), (CLASSES[1], CLASSES[2], CLASSES[4])),
    "the first of the others": (Wanted(first=2, without=[CLASSES[1]]), (CLASSES[0], CLASSES[2])),
    "all": (Wanted(first=5), CLASSES),
}


def keep_only(tiny: Path, classes: tuple[str, ...]) -> None:
    """Remove all other classes, as if they had never been there."""
    for name in set(CLASSES) - set(classes):
        shutil.rmtree(tiny / "train" / name)
    rows = rows_of(tiny)
    for file, name, *_ in rows:
        if name not in classes:
            (tiny / "val" / "images" / file).unlink()
    kept = ["\t".join(row) + "\n" for row in rows if row[1] in classes]
    (tiny / "val" / "val_annotations.txt").write_text("".join(kept))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("choice", CHOICES)
def test_chosen_classes_give_the_same_bytes_as_a_dataset_without_the_others(tiny, tmp_path, read, choice, caplog):
    wanted, classes = CHOICES[choice]
    names = {"train": training(tiny), "val": validation(tiny)}
    with caplog.at_level(logging.INFO):
        for split, places in names.items():
            read(tmp_path / f"{split}.h5", wanted, **places)
    others = len(CLASSES) - len(classes)
    told = [int(line.split()[0]) for line in caplog.messages if "because of their classes" in line]
    assert told == ([others * TRAIN, others * VAL] if others else [])
    keep_only(tiny, classes)
    for split, places in names.items():
        read(tmp_path / f"{split}_only.h5", **places)
        assert (tmp_path / f"{split}_only.h5").read_bytes() == (tmp_path / f"{split}.h5").read_bytes()
        with h5py.File(tmp_path / f"{split}.h5") as file:
            assert tuple(name.decode() for name in file["classes"][:]) == classes


@pytest.mark.parametrize("read", READERS)
def test_test_pictures_in_class_folders_are_narrowed_like_the_training_pictures(tiny, tmp_path, read):
    """Folders of other classes may be there, missing or broken."""
    test = tmp_path / "test"
    for name in CLASSES[:4]:
        shutil.copytree(tiny / "train" / name, test / name)
    shutil.rmtree(test / CLASSES[3] / "images")
    _, classes = read(tmp_path / "out.h5", Wanted(first=3), folder=test, classes_of=tiny / "train")
    assert classes == [name for name in CLASSES[:3] for _ in range(TRAIN)]
    with pytest.raises(UserError, match=f"{CLASSES[3]} has no pictures but 1 files"):
        read(tmp_path / "out.h5", Wanted(first=4), folder=test, classes_of=tiny / "train")
    (test / "n99").mkdir()
    with pytest.raises(UserError, match="test/n99 is not among the training pictures'"):
        read(tmp_path / "out.h5", Wanted(first=3), folder=test, classes_of=tiny / "train")


@pytest.mark.parametrize("read", READERS)
def test_expected_numbers_refer_to_the_classes_that_are_taken(tiny, tmp_path, read):
    for places, pictures in ((training(tiny), 3 * TRAIN), (validation(tiny), 3 * VAL)):
        read(tmp_path / "out.h5", Wanted(3, (), 3, pictures), **places)
        with pytest.raises(UserError, match=rf"{pictures} pictures \(narrowed by images\.classes .*, but 10 are"):
            read(tmp_path / "other.h5", Wanted(3, (), 3, 10), **places)
        with pytest.raises(UserError, match=r"3 class folders \(narrowed by images\.classes .*, but 5 are"):
            read(tmp_path / "other.h5", Wanted(3, (), 5, pictures), **places)


def test_per_class_applies_to_the_classes_that_are_taken(tiny, tmp_path):
    pack_images(tiny / "train", SIDE, tmp_path / "out.h5", per_class=2, wanted=Wanted(without=[CLASSES[0]]))
    assert read_packed_images(tmp_path / "out.h5").labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(without=["n00", CLASSES[1]]), r"images\.without has 'n00', but .*/train has no such class"),
        (Wanted(without=CLASSES[1:]), r"has 5 class folders, 1 without those of .*, too few for images\.without"),
        (Wanted(first=6), r"has 5 class folders, too few for images\.classes, 6: write a lower number"),
        (Wanted(first=4, without=CLASSES[3:]), r"5 class folders, 3 without those .*, too few for images\.classes, 4"),
    ],
)
def test_unknown_classes_are_refused(tiny, tmp_path, read, wanted, words):
    for places in (training(tiny), validation(tiny)):
        with pytest.raises(UserError, match=words):
            read(tmp_path / "out.h5", wanted, **places)
    assert not list(tmp_path.glob("out.h5*"))


@pytest.mark.parametrize("read", READERS)
def test_pictures_in_a_class_folder_and_within_it_are_refused(tiny, tmp_path, read):
    folder = tiny / "train" / CLASSES[2]
    shutil.copy(folder / "images" / f"{CLASSES[2]}_0.JPEG", folder / "more.JPEG")
    words = (
        f"{CLASSES[2]} has pictures, such as .*/more.JPEG, and others in its folder images, such as .*_0.JPEG: put all"
    )
    with pytest.raises(UserError, match=words):
        read(tmp_path / "out.h5", **training(tiny))
    read(tmp_path / "out.h5", Wanted(without=[CLASSES[2]]), **training(tiny))


@pytest.mark.parametrize("read", READERS)
def test_a_folder_images_without_pictures_is_left_out_and_reported(tiny, tmp_path, read, caplog):
    folder = tiny / "train" / CLASSES[0]
    for path in list((folder / "images").iterdir()):
        path.rename(folder / path.name)
    (folder / "images" / "list.txt").touch()
    _, classes = read(tmp_path / "out.h5", **training(tiny))
    assert classes.count(CLASSES[0]) == TRAIN
    (told,) = [line for line in caplog.messages if "left out" in line]
    assert told.startswith(f"{len(CLASSES) + 1} files or folders") and told.endswith(f"as {CLASSES[0]}/images")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("val_3.JPEG\t", "val_33.JPEG\t", r"names no class for the picture val_3\.JPEG"),
        ("val_3.JPEG\t", "val_4.JPEG\t", r"lists the picture val_4\.JPEG twice"),
        ("\tn03444034\t", "\tn00\t", r"val_annotations\.txt, line \d+: there is no class folder 'n00'"),
        ("\tn03444034\t", "\n", r"val_annotations\.txt, line \d+: there is no class folder ''"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_whatever_classes_are_taken(tiny, tmp_path, read, old, new, words):
    table = tiny / "val" / "val_annotations.txt"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    for wanted in (ALL, Wanted(first=2)):
        with pytest.raises(UserError, match=words):
            read(tmp_path / "out.h5", wanted, **validation(tiny))


@pytest.mark.parametrize("read", READERS)
def test_a_picture_without_a_row_a_row_without_a_picture_and_a_missing_table_are_reported(tiny, tmp_path, read):
    (tiny / "val" / "images" / "val_7.JPEG").rename(tiny / "val" / "images" / "val_70.JPEG")
    with pytest.raises(UserError, match=r"names no class for the picture val_70\.JPEG"):
        read(tmp_path / "out.h5", **validation(tiny))
    (tiny / "val" / "images" / "val_70.JPEG").unlink()
    with pytest.raises(UserError, match=r"names val_7\.JPEG, but there is no such picture"):
        read(tmp_path / "out.h5", **validation(tiny))
    (tiny / "val" / "val_annotations.txt").unlink()
    with pytest.raises(UserError, match=r"val_annotations\.txt is missing.*correct images\.test_labels"):
        read(tmp_path / "out.h5", **validation(tiny))


def test_the_table_is_a_users_file_or_one_within_the_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    labels = "val/table.txt"

    def found(split: str = "test", **images: str) -> tuple[str, bool] | None:
        given = {"experiment": "x", "images": {"test_labels": labels, "addresses": ["https://a.org/a.zip"]} | images}
        return Experiment(complete_config(given)).test_labels(split)

    folder = {"source": "pictures", "addresses": []}
    assert found(source="a.zip") == ("results/x/data/images/val/table.txt", True)
    assert found(**folder) == ("pictures/val/table.txt", False)
    assert found(source="a.zip", test_labels="/nowhere/table.txt") == ("/nowhere/table.txt", False)
    (tmp_path / "val").mkdir()
    (tmp_path / labels).touch()
    assert found(source="a.zip") == found(**folder) == (labels, False)
    assert found("train", **folder) is None and found(test_labels="none", **folder) is None


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone with the archive, and a config that takes four of its five classes."""
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("tiny_imagenet") / "run")
    tiny = write_tiny(tmp_path_factory.mktemp("archive"))
    shutil.make_archive(str(folder / "tiny-imagenet-200"), "zip", tiny.parent, tiny.name)
    images = {
        "source": "tiny-imagenet-200.zip",
        "train": "tiny-imagenet-200/train",
        "test": "tiny-imagenet-200/val/images",
        "test_labels": "tiny-imagenet-200/val/val_annotations.txt",
        "without": [CLASSES[1]],
        "expect": {"classes": 4, "train": 4 * TRAIN, "test": 4 * VAL},
        "size": SIDE,
        "test_resize": SIDE,
    }
    config = {"experiment": "mine", "images": images, "training": {"batch_size": 8}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return folder


PACKED = [f"results/mine/data/{split}.h5" for split in ("train", "test")]
INDEXED = [f"results/mine/data/{split}_index.h5" for split in ("train", "test")]
TINY = ["--cores", "2", "--configfile", "configs/tiny.yaml", "mine.yaml"]


def test_the_archive_is_unpacked_narrowed_and_packed_once(clone):
    run = snakemake(clone, *PACKED, *TINY)
    assert run.returncode == 0, run.stdout
    train, test = (read_packed_images(clone / path) for path in PACKED)
    assert train.classes == test.classes == tuple(name for name in CLASSES if name != CLASSES[1])
    assert [np.bincount(split.labels).tolist() for split in (train, test)] == [[TRAIN] * 4, [VAL] * 4]
    log = (clone / "results/mine/logs/data/pack_test.log").read_text()
    assert f"{VAL} pictures of " in log and "are left out because of their classes" in log
    assert "Nothing to be done" in snakemake(clone, "-n", *PACKED, *TINY).stdout


@pytest.mark.rare
def test_a_network_is_trained_on_some_classes_of_the_archive(clone):
    network = "results/mine/imp/replicate_1/level_0"
    run = snakemake(clone, f"{network}/metrics.json", *TINY)
    assert run.returncode == 0, run.stdout
    weights = torch.load(clone / network / "network.pt", weights_only=True)
    assert next(tensor.shape[0] for name, tensor in flat(weights) if name.endswith("classifier.weight")) == 4
    accuracy = json.loads((clone / network / "metrics.json").read_text())["test_accuracy"]
    assert round(accuracy * 4 * VAL) / (4 * VAL) == accuracy
    files = [*INDEXED, *TINY, "--config", "images={storage: files}"]
    run = snakemake(clone, *files)
    assert run.returncode == 0, run.stdout
    for packed_file, index_file in zip(PACKED, INDEXED, strict=True):
        memory, index = read_packed_images(clone / packed_file), read_image_index(clone / index_file)
        assert index.classes == memory.classes and index.labels.tolist() == memory.labels.tolist()
    assert "Nothing to be done" in snakemake(clone, "-n", *files).stdout


def flat(state: dict, prefix: str = ""):
    """Yield the tensors at any depth of a state with their names."""
    for name, value in state.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
