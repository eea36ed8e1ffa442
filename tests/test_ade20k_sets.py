"""ADE20K: the reader returns what the files contain, in the layouts of 2016 and of 2021."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import set_fixtures as fixtures
from PIL import Image
from scipy.io import loadmat, savemat

from workflow_scripts.data.concept_sets.ade20k import Ade20k, class_names, split_names
from workflow_scripts.data.concept_sets.reader import require_labels
from workflow_scripts.shared.files import UserError

RELEASES = {"2016": fixtures.write_ade20k_2016, "2021": fixtures.write_ade20k_2021}


@pytest.fixture(params=RELEASES)
def release(request, tmp_path):
    folder = tmp_path / "set"
    carried = RELEASES[request.param](folder)
    return SimpleNamespace(folder=folder, carried=carried, first=folder / next(iter(carried)))


def read(folder, **options):
    reader = Ade20k(folder, folder, "object", **options)
    require_labels(reader.labels, "set")
    return reader


def test_every_pixel_of_objects_parts_and_scenes(release):
    reader = read(release.folder)
    fixtures.assert_same(fixtures.carried_by(reader), release.carried)
    data, path = reader.picture(0)
    assert data == (release.folder / f"{reader.names[0]}.jpg").read_bytes() and path.endswith(".jpg")


def test_levels_of_parts_are_planes_of_their_own(release):
    assert len(read(release.folder).annotation(0).planes) == 3


def test_pictures_may_be_in_another_folder_and_a_pattern_chooses_some(release, tmp_path):
    pictures = tmp_path / "pictures"
    for picture in release.folder.rglob("*.jpg"):
        moved = pictures / picture.relative_to(release.folder)
        moved.parent.mkdir(parents=True, exist_ok=True)
        picture.rename(moved)
    reader = Ade20k(release.folder, pictures, "object", pictures="images/{}.jpg")
    expected = {name.removeprefix("images/"): of for name, of in release.carried.items() if name.startswith("images/")}
    fixtures.assert_same(fixtures.carried_by(reader), expected)
    both = Ade20k(release.folder, pictures, "object", pictures=["images/{}.jpg", "images/{}.jpg"])
    assert both.names == reader.names
    with pytest.raises(UserError, match=r"end with \.jpg"):
        read(release.folder, pictures="images/{}")


def test_a_picture_without_its_map_is_refused(release):
    path = release.first.with_name(f"{release.first.name}_seg.png")
    path.unlink()
    with pytest.raises(UserError, match=rf"{release.first.name}\.jpg, but no label map"):
        read(release.folder)


def test_a_map_of_parts_of_another_size_is_refused(release):
    path = release.first.with_name(f"{release.first.name}_parts_1.png")
    Image.open(path).resize((3, 2), Image.Resampling.NEAREST).save(path)
    reader = read(release.folder)
    with pytest.raises(UserError, match=rf"{path.name} and {release.first.name}_seg.png have 2 x 3 and 6 x 9 pixels"):
        reader.annotation(0)


@pytest.mark.parametrize("number", [302, 6655])
def test_a_class_without_a_name_is_refused(release, number):
    path = release.first.with_name(f"{release.first.name}_seg.png")
    fixtures.write_png(path, fixtures.ade_pixels(np.full((6, 9), number)))
    with pytest.raises(UserError, match=rf"{path.name} holds the class {number}, "):
        read(release.folder).annotation(0)


def test_a_map_in_greys_is_refused(release):
    path = release.first.with_name(f"{release.first.name}_seg.png")
    Image.open(path).convert("L").save(path)
    with pytest.raises(UserError, match=path.name):
        read(release.folder).annotation(0)


def test_the_index_must_have_its_fields(tmp_path):
    fixtures.write_ade20k_2016(tmp_path)
    path = tmp_path / "index_ade20k.mat"
    whole = path.read_bytes()
    index = loadmat(path)["index"]
    for mat in ({"other": 1}, {"index": 1.0}, {"index": {"objectnames": index["objectnames"][0, 0]}}):
        savemat(path, mat)
        with pytest.raises(UserError, match=r"index_ade20k\.mat (lacks the variable|is not the index)"):
            read(tmp_path)
    for damaged in (whole[:300], b"", b"MATLAB 7.3 MAT-file", whole[:128] + bytes(500)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"index_ade20k\.mat"):
            read(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"neither index_ade20k\.mat nor .*00000001\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    "annotation",
    [
        "no JSON",
        "[]",
        {},
        {"annotation": {}},
        {"annotation": {"object": [{"name": "leg"}]}},
        {"annotation": {"object": [{"name_ndx": "3", "name": "leg"}]}},
        {"annotation": {"object": [{"name_ndx": 3, "name": ["leg"]}]}},
        {"annotation": {"object": [{"name_ndx": 0, "name": "leg"}]}},
        {"annotation": {"object": [{"name_ndx": 6656, "name": "leg"}]}},
        {"annotation": {"object": 3}},
        "[" * 100_000,
    ],
)
def test_json_that_does_not_fit_is_refused(tmp_path, annotation):
    first = tmp_path / next(iter(fixtures.write_ade20k_2021(tmp_path)))
    path = first.with_name(f"{first.name}.json")
    path.write_text(annotation if isinstance(annotation, str) else json.dumps(annotation))
    with pytest.raises(UserError, match=rf"{path.name} is not an annotation of ADE20K"):
        read(tmp_path)


def test_a_single_object_may_replace_a_list(tmp_path):
    stem = "images/ADE/training/urban/street/ADE_train_1"
    fixtures.write_ade_maps(tmp_path, stem, fixtures.blocks(2, 4, 2, 0))
    item = {"name_ndx": 2, "name": fixtures.ADE_NAMES[2]}
    (tmp_path / f"{stem}.json").write_text(json.dumps({"annotation": {"object": item}}))
    assert fixtures.carried_by(read(tmp_path))[stem].keys() == {("person", "object"), ("street", "scene")}


def test_classes_with_the_same_name_take_their_next_name_or_count_as_one():
    names = {1: "bag", 2: "bag, sack", 3: "bag, pouch", 4: "sack", 5: "-", 6: ""}
    synonyms = {number: split_names(text) for number, text in names.items()}
    assert class_names(synonyms, {1: 1, 2: 5, 3: 9, 4: 9}) == {3: "bag", 4: "sack", 2: "bag", 1: "bag"}
    assert class_names(synonyms, {}) == {1: "bag", 2: "sack", 3: "pouch", 4: "sack"}
