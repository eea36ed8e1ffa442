"""verify_concepts: a set must match the published numbers."""

import csv
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import reference_dissection as reference

from workflow_scripts.data import verify_concepts as module
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.data.verify_concepts import verify_concepts
from workflow_scripts.shared.files import UserError

CATEGORIES = ["color", "material", "scene"]
LABELS = {1: ("red-c", ["color"]), 2: ("wood", ["color", "material"]), 3: ("street-s", ["scene"])}


def make_set(folder: Path, side: int, labels: dict = LABELS) -> reference.Concepts:
    """Write and pack three images of 16 x 16 with label maps of `side` x `side`."""
    rng = np.random.default_rng(5)
    concepts = reference.Concepts(CATEGORIES, labels, side, side)
    first, second, third = labels
    for cells in (
        {"color": [rng.choice([first, second], (side, side))], "scene": [third]},
        {"material": [rng.choice([0, second], (side, side))]},
        {"scene": [third]},
    ):
        concepts.pictures.append(reference.Picture(rng.integers(0, 256, (16, 16, 3), np.uint8), cells))
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", 16, folder / "concepts.h5")
    return concepts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A packed set with maps of 112 x 112, and how many pixels carry each of its labels."""
    folder = tmp_path_factory.mktemp("made")
    concepts = make_set(folder, 112)
    return folder, {name: reference.area(concepts, number, CATEGORIES) for number, (name, _) in LABELS.items()}


def verify(folder, images=None, labels=None, totals=None):
    return verify_concepts(folder / "concepts.h5", folder / "set", images, labels, totals)


def write_totals(path: Path, rows: list) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["label", "category", "pixels"], *rows])
    return path


def test_a_set_as_published_passes(made, tmp_path):
    folder, pixels = made
    categories = {"red-c": "color", "wood": "material", "street-s": "scene"}
    totals = write_totals(tmp_path / "totals.csv", [[name, categories[name], pixels[name]] for name in pixels])
    summary = verify(folder, 3, 3, totals)
    assert (summary["images"], summary["labels"], summary["label_map_size"]) == (3, 3, [112, 112])
    assert summary["pixel_totals"] == {
        "labels_compared": 3,
        "equal": 3,
        "within_tolerance": {},
        "largest_difference": "0.000%",
        "in_another_category": {},
    }


def test_only_requested_checks_are_made(made, tmp_path):
    assert "pixel_totals" not in verify(made[0])
    make_set(tmp_path, 8, {number * 7: label for number, label in LABELS.items()})
    assert verify(tmp_path)["labels"] == 3


def test_differences_within_the_tolerance_are_listed(made, tmp_path):
    folder, pixels = made
    published = pixels["wood"] - 7
    rows = [["wood", "color", published], ["red-c", "color", pixels["red-c"]]]
    totals = verify(folder, totals=write_totals(tmp_path / "totals.csv", rows))["pixel_totals"]
    row = {"pixels": pixels["wood"], "published": published, "difference": 7}
    assert totals["within_tolerance"] == {"wood": row}
    assert (totals["labels_compared"], totals["equal"]) == (2, 1)
    assert totals["largest_difference"] == f"{100 * 7 / published:.3f}%"
    assert totals["in_another_category"] == {"wood": {"here": "material", "published": "color"}}


@pytest.mark.parametrize(("published", "passes"), [(25088, True), (25026, True), (25025, False), (25151, False)])
def test_the_tolerance_is_a_quarter_of_a_percent_of_the_published_number(made, tmp_path, published, passes):
    folder, pixels = made
    assert pixels["street-s"] == 2 * 112 * 112 == 25088
    assert passes == (400 * abs(25088 - published) <= published)
    totals = write_totals(tmp_path / "totals.csv", [["street-s", "scene", published]])
    if passes:
        verify(folder, totals=totals)
    else:
        with pytest.raises(UserError):
            verify(folder, totals=totals)


def test_a_difference_of_just_the_tolerance_passes(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "copy")
    totals = write_totals(tmp_path / "totals.csv", [["wood", "material", 400]])
    with h5py.File(tmp_path / "copy" / "concepts.h5", "r+") as file:
        file["label_area"][1] = 401
    assert verify(tmp_path / "copy", totals=totals)["pixel_totals"]["largest_difference"] == "0.250%"


def test_the_worst_difference_is_reported(made, tmp_path):
    folder, pixels = made
    rows = [["red-c", "color", pixels["red-c"] + 500], ["wood", "material", 2 * pixels["wood"]]]
    rows += [["street-s", "scene", pixels["street-s"]]]
    with pytest.raises(UserError) as error:
        verify(folder, totals=write_totals(tmp_path / "totals.csv", rows))
    for word in ("'wood'", str(pixels["wood"]), str(2 * pixels["wood"]), "1 more"):
        assert word in str(error.value)


def test_a_missing_label_is_reported(made, tmp_path):
    rows = [["sky", "object", 5], ["wood", "material", made[1]["wood"]], ["tree", "object", 1]]
    with pytest.raises(UserError, match=r"lacks the label 'sky' .* 1 more"):
        verify(made[0], totals=write_totals(tmp_path / "totals.csv", rows))


def test_totals_of_other_label_maps_are_not_compared_and_this_is_reported(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    make_set(tmp_path, 113)
    summary = verify(tmp_path, totals=write_totals(tmp_path / "totals.csv", [["sky", "object", 5]]))
    words = "not compared: the totals are of label maps of 112 x 112, and these are 113 x 113"
    assert summary["pixel_totals"] == words and words in caplog.text


def test_wrong_counts_are_reported(made):
    with pytest.raises(UserError, match="3 images and not 63305"):
        verify(made[0], images=63305)
    with pytest.raises(UserError, match="3 labels and not 1197"):
        verify(made[0], labels=1197)


def test_a_gap_in_the_numbers_is_reported(tmp_path):
    make_set(tmp_path, 8, {1: LABELS[1], 2: LABELS[2], 4: LABELS[3]})
    with pytest.raises(UserError, match=r"no label number 3, .* 1 to 3"):
        verify(tmp_path, labels=3)


def test_brodens_columns_are_required_if_its_counts_are_expected(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "copy")
    index = tmp_path / "copy" / "set" / "index.csv"
    index.write_text(index.read_text().replace(",ih", ",height", 1))
    images = verify(tmp_path / "copy")["images"]
    with pytest.raises(UserError, match=r"index\.csv, line 1: the header must have the column ih once"):
        verify(tmp_path / "copy", images=images)


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        ("index.csv", "material,", "stuff,", r"index\.csv, line 1: the header must have the column material once"),
        ("index.csv", "some/1.png", "some/2.png", "other images than"),
        ("label.csv", "wood", "would", "other labels than"),
    ],
)
def test_other_tables_than_were_packed_are_refused(made, tmp_path, table, old, new, words):
    shutil.copytree(made[0], tmp_path / "copy")
    path = tmp_path / "copy" / "set" / table
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=words):
        verify(tmp_path / "copy")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["wood", "material", "many"]], "line 2, column pixels: 'many'"),
        ([["wood", "material", 1], ["wood", "object", 2]], "line 3: the label 'wood'"),
        ([["wood", "material", "9" * 5000]], "line 2, column pixels: '999"),
        ([["wood", "material"]], "line 2: the row has fewer cells"),
        ([], r"totals\.csv has no rows"),
    ],
)
def test_an_invalid_table_of_totals_is_refused(made, tmp_path, rows, words):
    with pytest.raises(UserError, match=words):
        verify(made[0], totals=write_totals(tmp_path / "totals.csv", rows))


def test_missing_files_are_reported(made, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.csv"):
        verify(made[0], totals=tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match=r"concepts\.h5"):
        verify(tmp_path)


def test_the_published_totals_are_those_that_are_known():
    totals = module.read_totals(Path(module.__file__).with_name("broden1_224_label_pixels.csv"))
    assert len(totals) == 759
    assert totals["cat"] == ("object", 4_163_987) and totals["head"] == ("part", 4_946_761)
    assert totals["brown-c"] == ("color", 182_265_724)
    textures = [pixels for category, pixels in totals.values() if category == "texture"]
    # Each labels 120 images whole as the first of their textures, and most label some more.
    assert len(textures) == 47 and min(textures) == 120 * 112**2


def test_the_command_writes_its_summary_or_ends_with_a_sentence(made, tmp_path):
    out = tmp_path / "verified.json"
    line = [sys.executable, "-m", "workflow_scripts.data.verify_concepts", "--concepts", made[0] / "concepts.h5"]
    line += ["--folder", made[0] / "set", "--out", out]
    failed = subprocess.run([*line, "--images", "4"], capture_output=True, text=True)
    assert failed.returncode == 1 and "error: " in failed.stderr and "Traceback" not in failed.stderr
    assert not out.exists()
    subprocess.run([*line, "--images", "3", "--labels", "3"], check=True)
    assert json.loads(out.read_text()) == {"images": 3, "labels": 3, "label_map_size": [112, 112]}
