"""The paper's config, with ResNet-50, on small stand-ins for ImageNet and Broden in their true layouts."""

import csv
import hashlib
import json
import re
import shutil
import threading
from collections import Counter
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - reads compressed files
import numpy as np
import pytest
import yaml
from flaky_server import FlakyServer
from PIL import Image
from test_workflow import ROOT, copy_sources, kill_when_there, listed, snakemake

from workflow_scripts.data.make_concepts import make_concepts

PAPER = ["--cores", "2", "--configfile", "configs/paper.yaml"]
CLASSES = [f"n{number:08d}" for number in (1440764, 1443537, 1484850, 1491361)]
TRAIN, TEST = 12, 3  # pictures of each class
CONCEPTS = 24  # labelled pictures
LEVELS = 2  # after the dense network
LISTINGS = [f"-n --configfile configs/paper.yaml {more}" for more in ("--cores 2", "--cores 2 --resources gpu=8")]


def imagenet(folder: Path) -> None:
    """A stand-in for ImageNet: class folders of JPEGs of various sizes, told apart by their colour."""
    rng = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("val", TEST)):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                small = rng.integers(0, 120, (6, 8, 3)) + 40 * np.array([label % 2, label // 2, 1])
                width, height = rng.integers(200, 500, 2).tolist()
                picture = Image.fromarray(small.astype(np.uint8)).resize((width, height))
                picture.save(folder / split / name / f"{name}_{number}.JPEG", quality=90)


def broden(folder: Path) -> tuple[bytes, dict[tuple[str, str], int], int]:
    """A stand-in for Broden: the archive's bytes, its labels' pixel totals, and how many labels there are."""
    make_concepts(7, 224, CONCEPTS, 1, folder / "broden1_224")
    archive = shutil.make_archive(str(folder / "archive"), "zip", folder, "broden1_224")
    index, label = (
        list(csv.DictReader((folder / "broden1_224" / name).read_text().splitlines()))
        for name in ("index.csv", "label.csv")
    )
    pixels: Counter = Counter()
    for row in index:
        carried = np.zeros((112, 112, 1 + len(label)), bool)
        for cell in (row[key] for key in ("color", "object", "part", "material", "scene", "texture")):
            for item in filter(None, cell.split(";")):
                if item.isdecimal():
                    carried[:, :, int(item)] = True
                else:
                    red, green, _ = np.moveaxis(np.asarray(Image.open(folder / "broden1_224/images" / item), int), 2, 0)
                    np.put_along_axis(carried, (red + 256 * green)[..., None], True, 2)
        pixels.update(dict(enumerate(carried.sum((0, 1)).tolist())))
    totals = {
        (row["name"], row["category"].split("(")[0]): pixels[int(row["number"])]
        for row in label
        if pixels[int(row["number"])]
    }
    return Path(archive).read_bytes(), totals, len(label)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A clone with the stand-ins; nothing but sizes, and where Broden is fetched, differs from the paper's config."""
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("paper") / "run")
    imagenet(folder / "data" / "imagenet")
    content, totals, labels = broden(tmp_path_factory.mktemp("broden"))
    with open(folder / "totals.csv", "w") as file:
        file.write("label,category,pixels\n")
        file.writelines(f"{name},{category},{pixels}\n" for (name, category), pixels in totals.items())
    server = FlakyServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The first address is out of order, as Broden's has often been; the second breaks off once.
    addresses = [
        server.add("/down/broden1_224.zip", content, ("status", 503)),
        server.add("/broden1_224.zip", content, ("drop", len(content) // 2), "serve"),
    ]
    sizes = {
        "replicates": [1],
        "gpus": 0,
        "images": {"expect": {"classes": len(CLASSES), "train": TRAIN * len(CLASSES), "test": TEST * len(CLASSES)}},
        "concepts": {
            "addresses": addresses,
            "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
            "expect": {"images": CONCEPTS, "labels": labels},
            "pixel_totals": "totals.csv",
        },
        "training": {"epochs": 2, "batch_size": 16, "micro_batch": 4, "warmup_epochs": 1, "learning_rate": 0.006},
        "pruning": {"levels": LEVELS, "rewind_epoch": 1},
    }
    (folder / "sizes.yaml").write_text(yaml.safe_dump(sizes))
    yield folder
    server.shutdown()


@pytest.mark.rare
def test_the_paper_runs_end_to_end_and_survives_a_kill(experiment):
    arguments = [*PAPER, "sizes.yaml"]
    level = "imp/replicate_1/level_0"
    kill_when_there(experiment / f"results/paper/{level}/network.pt.training/state", experiment, *arguments)
    run = snakemake(experiment, *arguments)
    assert run.returncode == 0, run.stdout
    assert "continuing after 1 epochs" in (experiment / f"results/paper/logs/{level}/train_dense.log").read_text()
    assert "Nothing to be done" in snakemake(experiment, *arguments).stdout

    with open(experiment / "results/paper/tables/networks.csv") as file:
        rows = {(row["arm"], int(row["level"])): row for row in csv.DictReader(file)}
    controls = {("untrained", 0), ("untrained_calibrated", 0), ("shuffled_labels", 0)}
    assert rows.keys() == {("imp", level) for level in range(LEVELS + 1)} | controls
    for level in range(LEVELS + 1):
        row = rows["imp", level]
        assert row["layer"] == "layer4" and int(row["units"]) == 2048
        assert float(row["density"]) == pytest.approx(0.8**level, abs=1e-5)
    verified = json.loads((experiment / "results/paper/data/concepts.verified.json").read_text())
    assert str(CONCEPTS) in json.dumps(verified)
    assert (experiment / "data/broden1_224.zip").is_file()
    for name in ("overview", "unique_concepts"):
        assert (experiment / f"results/paper/figures/{name}.pdf").stat().st_size > 1000


@pytest.mark.rare
def test_a_wrong_imagenet_ends_in_one_sentence_before_training(experiment):
    missing = experiment / "data/imagenet/val" / CLASSES[1]
    moved = experiment / "moved"
    missing.rename(moved)
    other = [*PAPER, "sizes.yaml", "--config", "experiment=other"]
    try:
        run = snakemake(experiment, *other)
    finally:
        moved.rename(missing)
    assert run.returncode == 1
    assert CLASSES[1] in run.stdout and "Traceback" not in run.stdout
    assert not list((experiment / "results/other").rglob("*.pt"))
    assert not (experiment / "results/other/data/test_index.h5").exists()


@pytest.mark.rare
def test_a_changed_ground_truth_is_noticed(experiment):
    """Of validation pictures as published, flat."""
    source = experiment / "data/imagenet"
    (source / "flat").mkdir()
    for picture in (source / "val").rglob("*.JPEG"):
        shutil.copy(picture, source / "flat")
    truth = sorted(f"{path.name} {CLASSES.index(path.name.split('_')[0])}\n" for path in (source / "flat").iterdir())
    (experiment / "val.txt").write_text("".join(truth))
    images = {"test": "flat", "test_labels": "val.txt"}
    (experiment / "flat.yaml").write_text(yaml.safe_dump({"experiment": "flat", "images": images}))
    index = "results/flat/data/test_index.h5"
    flat = [index, *PAPER, "sizes.yaml", "flat.yaml"]
    run = snakemake(experiment, *flat)
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in snakemake(experiment, "-n", *flat).stdout
    with h5py.File(experiment / index) as file:
        names = [CLASSES[label] for label in file["labels"][:]]
        assert [path.decode().split("_")[0] for path in file["paths"][:]] == names
    (experiment / "val.txt").write_text("".join(truth).replace(" 1\n", " 2\n"))
    assert "index_images" in snakemake(experiment, "-n", *flat).stdout


@pytest.mark.slow
def test_the_whole_experiment_can_be_listed_without_its_data(tmp_path):
    folder = copy_sources(ROOT, tmp_path / "run")
    run = snakemake(folder, "-n", "--configfile", "configs/paper.yaml")
    assert run.returncode == 0, run.stdout
    networks = 3 * (19 + 3)  # replicates x (dense and 18 levels, and three controls)
    assert listed(run.stdout) == {
        "fetch_archive": 1,  # Broden
        "unpack_archive": 1,
        "pack_concepts": 1,
        "verify_concepts": 1,
        "index_images": 2,  # ImageNet's training and validation pictures
        "check_network": 1,
        "find_receptive_fields": 1,
        "init_network": 3,
        "make_control": 3,
        "train_dense": 3,
        "train_level": 3 * 18,
        "dump_activations": networks - 3,  # the shuffled control takes the dense network's
        "find_thresholds": networks - 3,
        "tally_units": networks,
        "name_units": networks,
        "validate_units": networks,
        "ablate_units": 3 * 19,
        "rotate_units": 3 * 19,
        "draw_units": networks,
        "draw_concepts": 1,
        "draw_pictures": 1,
        "collect": 1,
        "collect_rotations": 1,
        "collect_ablation": 1,
        "compare_networks": 1,
        "collect_sweep": 1,
        "draw_figures": 1,
        "write_gallery": 1,
        "sum_costs": 1,
        "record_provenance": 1,
        "write_report": 1,
        "list_checksums": 1,
        "all": 1,
    }
    assert not (folder / "results").exists()
    # The default profile lets jobs hold one GPU at once, however many the config gives to a training.
    wanted = {text: re.findall(r"resources: .*gpu=(\d+)", snakemake(folder, *text.split()).stdout) for text in LISTINGS}
    assert [max(map(int, found)) for found in wanted.values()] == [1, 4]
    started = snakemake(folder, *PAPER)
    assert started.returncode == 1
    assert "ImageNet cannot be downloaded freely" in started.stdout and "Traceback" not in started.stdout
