"""pack_concepts: concepts.h5 holds what a folder in Broden's layout contains."""

import os

import h5py
import numpy as np
import pytest
import reference_dissection as reference
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.data import pack_concepts as module
from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.data.label_masks import pack_masks
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.data.verify_concepts import verify_concepts
from workflow_scripts.shared.files import UserError

SIZE = 8


def make_concepts() -> reference.Concepts:
    """Five images; two part planes, numbers above 255, whole-image labels beside a map, an unused label."""
    random = np.random.default_rng(1)
    concepts = reference.Concepts(
        categories=["color", "object", "part", "scene"],
        labels={
            700: ("télé", ["object", "part"]),
            2: ("red-c", ["color"]),
            9: ("leg", ["part"]),
            256: ("arm", ["part"]),
            300: ("street-s", ["scene"]),
            5: ("tie", ["color", "part"]),
            8: ("unused", ["part", "object"]),
        },
        height=5,
        width=7,
    )

    def label_map(*numbers: int) -> np.ndarray:
        return random.choice([0, *numbers], (5, 7))

    tie_color, tie_part = np.zeros((5, 7), int), np.zeros((5, 7), int)
    tie_color[0, :3] = 5
    tie_part[4, :3] = 5
    drawn: list[dict[str, list]] = [
        {"color": [label_map(2)], "object": [label_map(700)], "part": [label_map(9), label_map(9, 256)]},
        {"scene": [300], "part": [label_map(700, 9)]},
        {"scene": [300, label_map(300)], "object": [700, label_map(700)]},
        {},
        {"color": [tie_color], "part": [tie_part]},
    ]
    for place, cells in enumerate(drawn):
        side = SIZE if place == 0 else 11 + place
        pixels = random.integers(0, 256, (side, side + place, 3), np.uint8)
        concepts.pictures.append(reference.Picture(pixels, cells, "val" if place == 3 else "train"))
    return concepts


@pytest.fixture
def concepts():
    return make_concepts()


@pytest.fixture
def folder(concepts, tmp_path):
    reference.write_broden(concepts, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def packed(folder, tmp_path):
    pack_concepts(folder, SIZE, tmp_path / "concepts.h5")
    with h5py.File(tmp_path / "concepts.h5") as file:
        yield file


def test_pictures_are_resized_whole_and_kept_where_they_fit(packed, concepts):
    assert packed["images"].dtype == np.uint8
    assert (packed["images"][0] == concepts.pictures[0].pixels).all()
    for stored, picture in zip(packed["images"], concepts.pictures, strict=True):
        resized = Image.fromarray(picture.pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        assert (stored == np.asarray(resized)).all()


def test_masks_and_whole_labels_are_what_every_pixel_carries(packed, concepts):
    assert packed["masks"].dtype == np.uint64 and packed["masks"].shape[1:] == (5, 1)
    assert packed["label_size"][:].tolist() == [5, 7]
    numbers = list(packed["label_number"])
    for image, picture in enumerate(concepts.pictures):
        of_masks = slice(*packed["mask_start"][image : image + 2])
        of_whole = slice(*packed["whole_start"][image : image + 2])
        with_mask = [numbers[label] for label in packed["mask_label"][of_masks]]
        whole = [numbers[label] for label in packed["whole_label"][of_whole]]
        items = [item for cell in picture.cells.values() for item in cell]
        assert whole == sorted({item for item in items if not isinstance(item, np.ndarray)})
        drawn = {int(number) for item in items if isinstance(item, np.ndarray) for number in item.ravel()}
        assert with_mask == sorted(drawn - {0, *whole})
        masks = packed["masks"][of_masks, :, 0]
        assert not (masks >> np.uint64(7)).any()
        for y in range(5):
            for x in range(7):
                carried = {n for n, mask in zip(with_mask, masks, strict=True) if int(mask[y]) >> x & 1}
                assert carried | set(whole) == reference.labels_at(picture, y, x, concepts.categories)
    assert packed["mask_start"][-1] == len(packed["masks"]) == len(packed["mask_label"])
    assert packed["whole_start"][-1] == len(packed["whole_label"])


@given(st.integers(1, 3), st.integers(0, 3), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_pixel_x_of_a_row_is_bit_x_of_its_words(height, count, width, seed):
    masks = np.random.default_rng(seed).random((count, height, width)) < 0.5
    packed = pack_masks(masks)
    assert packed.dtype == np.uint64 and packed.shape == (count, height, (width + 63) // 64)
    for mask, words in zip(masks, packed, strict=True):
        for row, row_words in zip(mask, words, strict=True):
            whole = sum(int(word) << 64 * place for place, word in enumerate(row_words))
            assert whole == sum(1 << x for x in range(width) if row[x])


def test_label_maps_wider_than_a_word_come_back(tmp_path):
    numbers = np.random.default_rng(2).choice([0, 3, 4], (3, 130))
    picture = reference.Picture(np.zeros((SIZE, SIZE, 3), np.uint8), {"part": [numbers]})
    labels = {3: ("leg", ["part"]), 4: ("arm", ["part"])}
    reference.write_broden(reference.Concepts(["part"], labels, 3, 130, [picture]), tmp_path / "set")
    pack_concepts(tmp_path / "set", SIZE, tmp_path / "concepts.h5")
    with h5py.File(tmp_path / "concepts.h5") as file:
        assert file["masks"].shape == (2, 3, 3)
        bits = np.unpackbits(file["masks"][:].astype("<u8").view(np.uint8), axis=-1, bitorder="little")
    assert (bits[:, :, :130] == np.stack([numbers == 3, numbers == 4])).all() and not bits[:, :, 130:].any()


def test_label_table_agrees_with_the_slow_reference(packed, concepts):
    numbers = list(packed["label_number"])
    assert numbers == sorted(concepts.labels)
    assert list(packed["label_name"].asstr()) == [concepts.labels[number][0] for number in numbers]
    assert list(packed["category_name"].asstr()) == concepts.categories
    areas = [reference.area(concepts, number, concepts.categories) for number in numbers]
    assert list(packed["label_area"]) == areas
    primary = {number: reference.primary_category(concepts, number) for number in numbers}
    assert [concepts.categories[c] for c in packed["label_category"]] == list(primary.values())
    assert primary[5] == "part" and primary[8] == "part"  # the tie, and the label that never occurs
    expected = [
        [reference.has_category(concepts, picture, name, primary) for name in concepts.categories]
        for picture in concepts.pictures
    ]
    assert packed["image_has_category"][:].tolist() == expected
    assert list(packed["split"].asstr()) == [picture.split for picture in concepts.pictures]
    assert list(packed["image_name"].asstr()) == [f"some/{place}.png" for place in range(5)]


def test_the_same_folder_gives_the_same_bytes_with_any_chunks(folder, tmp_path, monkeypatch):
    pack_concepts(folder, SIZE, tmp_path / "first.h5")
    pack_concepts(folder, SIZE, tmp_path / "second.h5")
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()
    monkeypatch.setattr(module, "IMAGES_IN_MEMORY", 2)
    pack_concepts(folder, SIZE, tmp_path / "third.h5")
    with h5py.File(tmp_path / "first.h5") as first, h5py.File(tmp_path / "third.h5") as third:
        # lzf gives other bytes only once in a while, which comparing two files would seldom catch.
        lz4 = 32004  # the filter's registered number
        assert all(list(first[name]._filters) == [str(lz4)] for name in ("images", "masks"))
        assert first.attrs["format"] == FORMAT
        assert first.attrs["fingerprint"] == third.attrs["fingerprint"]
        assert set(first) == set(third)
        assert all((first[name][:] == third[name][:]).all() for name in first)


def change_pixel(folder):
    with Image.open(folder / "images/some/3.png") as picture:
        picture.load()
    red, *others = picture.getpixel((0, 0))
    picture.putpixel((0, 0), ((red + 128) % 256, *others))
    picture.save(folder / "images/some/3.png")


def change_label_map(folder):
    path = folder / "images/some/1_part_0.png"
    reference.save_label_map(np.full((5, 7), 9), path)


def change_name(folder):
    path = folder / "label.csv"
    path.write_text(path.read_text("utf-8").replace("leg", "log"), "utf-8")


@pytest.mark.parametrize("change", [change_pixel, change_label_map, change_name])
def test_fingerprint_follows_the_contents(folder, tmp_path, change):
    fingerprints = []
    for name in ("before.h5", "after.h5"):
        pack_concepts(folder, SIZE, tmp_path / name)
        with h5py.File(tmp_path / name) as file:
            fingerprints.append(file.attrs["fingerprint"])
        change(folder)
    assert fingerprints[0] != fingerprints[1]


def test_a_set_with_only_whole_image_labels_has_no_masks(tmp_path):
    picture = reference.Picture(np.zeros((SIZE, SIZE, 3), np.uint8), {"scene": [3]})
    concepts = reference.Concepts(["scene"], {3: ("street-s", ["scene"])}, 4, 6, [picture])
    reference.write_broden(concepts, tmp_path / "set")
    pack_concepts(tmp_path / "set", SIZE, tmp_path / "concepts.h5")
    with h5py.File(tmp_path / "concepts.h5") as file:
        assert file["masks"].shape == (0, 4, 1)
        assert file["mask_start"][:].tolist() == [0, 0] and file["whole_label"][:].tolist() == [0]
        assert list(file["label_area"]) == [24]


def replace_text(name, old, new):
    def damage(folder):
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), "utf-8")

    return damage


def truncate(name):
    def damage(folder):
        contents = (folder / name).read_bytes()
        (folder / name).write_bytes(contents[: len(contents) - 30])

    return damage


def write(name, contents):
    return lambda folder: (folder / name).write_bytes(contents)


def remove(name):
    return lambda folder: (folder / name).unlink()


def label_map(numbers):
    return lambda folder: reference.save_label_map(numbers, folder / "images/some/1_part_0.png")


def save_image(mode, color, file_format="PNG"):
    return lambda folder: Image.new(mode, (7, 5), color).save(folder / "images/some/1_part_0.png", file_format)


def put_pipe(name):
    def damage(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


PIPES = ["index.csv", "label.csv", "category.csv", "images/some/2.png", "images/some/1_part_0.png"]
DAMAGES = {
    "no index": (remove("index.csv"), ["index.csv", "missing"]),
    "no labels": (remove("label.csv"), ["label.csv", "missing"]),
    "no categories": (remove("category.csv"), ["category.csv", "missing"]),
    "no such column": (replace_text("index.csv", "object", "objects"), ["index.csv", "column object"]),
    "no number column": (replace_text("label.csv", "number", "code"), ["label.csv", "column number"]),
    "no images": (
        write("index.csv", b"image,split,sh,sw,color,object,part,scene\n"),
        ["index.csv", "no images"],
    ),
    "short row": (replace_text("label.csv", "2,red-c,color(7),", "2,red-c"), ["label.csv, line 3"]),
    "bad number": (replace_text("label.csv", "9,leg", "nine,leg"), ["label.csv, line 4", "nine"]),
    "label without a name": (replace_text("label.csv", "9,leg", "9,"), ["label.csv, line 4: the label has no name"]),
    "blank label": (replace_text("label.csv", "9,leg", "9,  "), ["label.csv, line 4: the label has no name"]),
    "label name twice": (
        replace_text("label.csv", "256,arm", "256,leg"),
        ["label.csv, line 5: the label 'leg' is already in ", "label.csv, line 4"],
    ),
    "label name twice but for a blank": (
        replace_text("label.csv", "256,arm", "256,leg "),
        ["label.csv, line 5: the label 'leg' is already in ", "label.csv, line 4"],
    ),
    "category without a name": (
        replace_text("category.csv", "part,", ","),
        ["category.csv, line 4: the category has no name"],
    ),
    "category with blanks": (replace_text("category.csv", "part,", "part ,"), ["category.csv, line 4", "'part '"]),
    "category twice": (
        replace_text("category.csv", "part,", "object,"),
        ["category.csv, line 4: the category 'object' is already in ", "category.csv, line 3"],
    ),
    "category called image": (
        replace_text("category.csv", "part,", "image,"),
        ["category.csv, line 4: a category cannot be called 'image', like a column of index.csv"],
    ),
    "category called sw": (replace_text("category.csv", "part,", "sw,"), ["category.csv, line 4", "'sw'"]),
    "empty table of categories": (write("category.csv", b"name\n"), ["category.csv names 0 categories"]),
    "row that is too long": (
        write("category.csv", b"name\npart,object\n"),
        ["category.csv, line 2: the row has more cells than the header"],
    ),
    "column twice": (
        replace_text("index.csv", "iw,ih", "part,ih"),
        ["index.csv, line 1: the header must have the column part once"],
    ),
    "picture twice": (
        replace_text("index.csv", "some/4.png", "some/1.png"),
        ["index.csv, line 6: the picture 'some/1.png' is already in ", "index.csv, line 3"],
    ),
    "picture twice under two paths": (
        replace_text("index.csv", "some/4.png", "some/./1.png"),
        ["index.csv, line 6: the picture 'some/1.png' is already in ", "index.csv, line 3"],
    ),
    "picture without a name": (
        replace_text("index.csv", "some/4.png", ""),
        ["index.csv, line 6: the picture has no name"],
    ),
    "number of 5000 digits": (
        replace_text("index.csv", "300", "3" * 5000),
        ["index.csv, line 3, column scene", "not a whole number of at most 18 digits"],
    ),
    "NUL in a cell": (replace_text("index.csv", "val", "v\0l"), ["index.csv, line 5: the row holds a NUL"]),
    "number twice": (replace_text("label.csv", "9,leg", "2,leg"), ["label.csv, line 4", "2"]),
    "number 0": (replace_text("label.csv", "9,leg", "0,leg"), ["label.csv, line 4", "0"]),
    "unknown category": (replace_text("label.csv", "scene(7)", "place(7)"), ["label.csv, line 6", "place"]),
    "not UTF-8": (write("label.csv", b"number,name,category\n1,t\xe9l\xe9,part\n"), ["label.csv", "UTF-8"]),
    "other size in a row": (replace_text("index.csv", "7,5,val", "8,5,val"), ["index.csv, line 5", "5 x 8"]),
    "unknown whole label": (replace_text("index.csv", "300", "301"), ["index.csv, line 3", "scene", "301"]),
    "picture missing": (remove("images/some/2.png"), ["some/2.png", "missing"]),
    "map missing": (remove("images/some/1_part_0.png"), ["some/1_part_0.png", "missing"]),
    "picture truncated": (truncate("images/some/2.png"), ["some/2.png"]),
    "map truncated": (truncate("images/some/1_part_0.png"), ["some/1_part_0.png"]),
    "picture no image": (write("images/some/2.png", b"<html>"), ["some/2.png", "image"]),
    "map of other size": (label_map(np.ones((7, 5), int)), ["some/1_part_0.png", "7 x 5", "5 x 7"]),
    "number not in the table": (label_map(np.full((5, 7), 77)), ["some/1_part_0.png", "77", "label.csv"]),
    **{f"pipe, {name}": (put_pipe(name), [f"{name} is a folder, pipe"]) for name in PIPES},
    "table left in Git LFS": (
        write("label.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"),
        ["label.csv is a Git LFS pointer"],
    ),
    "map left in Git LFS": (
        write("images/some/1_part_0.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"),
        ["some/1_part_0.png is a Git LFS pointer"],
    ),
    "deep map": (save_image("I;16", 2), ["some/1_part_0.png", "more than 8 bits a channel"]),
    **{
        f"map in {name}": (save_image("RGB", (2, 0, 0), name), ["some/1_part_0.png is not a whole PNG picture"])
        for name in ("BMP", "GIF", "JPEG", "TIFF", "WEBP")
    },
    "grey map": (save_image("L", 2), ["some/1_part_0.png", "RGB"]),
    "blue map": (save_image("RGB", (2, 0, 1)), ["some/1_part_0.png", "blue"]),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_set_is_refused_and_nothing_is_left(folder, tmp_path, case):
    damage, words = DAMAGES[case]
    damage(folder)
    out = tmp_path / "out" / "concepts.h5"
    with pytest.raises(UserError) as error:
        pack_concepts(folder, SIZE, out)
    assert all(word in str(error.value) for word in words)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def write_set_of_two(folder, first, second):
    """A set of two labels and an image that has these two as scenes."""
    picture = reference.Picture(np.zeros((SIZE, SIZE, 3), np.uint8), {"scene": [first, second]})
    labels = {3: ("street", ["scene"]), 4: ("Street", ["scene"])}
    reference.write_broden(reference.Concepts(["scene"], labels, 4, 6, [picture]), folder)


def test_0_is_not_a_label_and_names_that_differ_in_case_are_two_labels(tmp_path):
    write_set_of_two(tmp_path / "set", 0, 4)
    pack_concepts(tmp_path / "set", SIZE, tmp_path / "concepts.h5")
    with h5py.File(tmp_path / "concepts.h5") as file:
        assert list(file["label_name"].asstr()) == ["street", "Street"]
        assert list(file["label_area"]) == [0, 24] and file["whole_label"][:].tolist() == [1]


def test_a_set_without_any_label_is_refused_and_nothing_is_left(tmp_path):
    write_set_of_two(tmp_path / "set", 0, 0)
    with pytest.raises(UserError, match="none of the 1 pictures with concepts has a label"):
        pack_concepts(tmp_path / "set", SIZE, tmp_path / "out" / "concepts.h5")
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_folder_and_an_impossible_size_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        pack_concepts(tmp_path / "nowhere", SIZE, tmp_path / "concepts.h5")
    with pytest.raises(UserError, match="image size 0"):
        pack_concepts(folder, 0, tmp_path / "concepts.h5")


def test_a_label_that_a_spreadsheet_would_compute_is_text_and_a_category_is_refused(tmp_path):
    concepts = make_concepts()
    names = {9: "=leg", 256: "@arm", 2: "+red-c", 300: "-street-s", 8: "a=b"}
    concepts.labels |= {number: (name, concepts.labels[number][1]) for number, name in names.items()}
    reference.write_broden(concepts, tmp_path / "set")
    pack_concepts(tmp_path / "set", SIZE, tmp_path / "concepts.h5")
    with h5py.File(tmp_path / "concepts.h5") as file:
        packed = dict(zip(file["label_number"][()].tolist(), file["label_name"].asstr()[()], strict=True))
    assert packed == {2: "'+red-c", 5: "tie", 8: "a=b", 9: "'=leg", 256: "'@arm", 300: "'-street-s", 700: "télé"}
    verify_concepts(tmp_path / "concepts.h5", tmp_path / "set", 5, None, None)
    concepts = reference.Concepts(categories=["=part"], labels={1: ("leg", ["=part"])}, height=5, width=7)
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    concepts.pictures.append(reference.Picture(pixels, {"=part": [np.ones((5, 7), int)]}, "train"))
    reference.write_broden(concepts, tmp_path / "other")
    with pytest.raises(UserError, match=r"'=part'.* for a formula: rename it"):
        pack_concepts(tmp_path / "other", SIZE, tmp_path / "concepts.h5")
