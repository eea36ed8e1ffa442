"""Reading sets with one mask per file, in CelebAMask-HQ's layout and in others."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.data.concept_sets.part_masks import PartMasks, read_mask
from workflow_scripts.data.concept_sets.reader import Label
from workflow_scripts.shared.files import UserError

SIDE = 8
CELEBA = {"pictures": "CelebA-HQ-img/{}.jpg", "masks": "CelebAMask-HQ-mask-anno/*/{}_{label}.png"}


def put(folder: Path, name: str, image: Image.Image) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def put_picture(folder: Path, name: str) -> bytes:
    return put(folder, name, Image.new("RGB", (2 * SIDE, 2 * SIDE), (9, 80, 120))).read_bytes()


def mask_image(mask: np.ndarray, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(mask).convert(mode)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


FACES = {
    12: {"skin": rectangle(1, 1, 7, 7), "l_brow": rectangle(2, 2, 3, 4), "r_brow": rectangle(2, 5, 3, 6)},
    2: {"hair": rectangle(0, 0, 3, 8), "skin": rectangle(2, 1, 8, 7)},
    4001: {"l_brow": rectangle(7, 0, 8, 1)},
    30: {},
}


@pytest.fixture
def faces(tmp_path):
    """CelebAMask-HQ's layout: 2000 pictures' masks a folder, whose names have five digits; one picture has no mask."""
    for number, parts in FACES.items():
        put_picture(tmp_path, f"CelebA-HQ-img/{number}.jpg")
        for part, mask in parts.items():
            put(tmp_path, f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05d}_{part}.png", mask_image(mask))
    return tmp_path


def read(folder: Path, **changes: str) -> PartMasks:
    return PartMasks(folder, folder, "part", **CELEBA | changes)


def masks_of(reader: PartMasks, name: str) -> dict[str, np.ndarray]:
    planes = reader.annotation(reader.names.index(name)).planes
    codes = {code for plane in planes for code in np.unique(plane).tolist()} - {0}
    return {reader.labels[code - 1].name: np.any([plane == code for plane in planes], axis=0) for code in codes}


def test_faces_have_the_parts_that_files_give_them(faces):
    reader = read(faces)
    assert reader.labels == tuple(Label(name, "part") for name in ("hair", "l_brow", "r_brow", "skin"))
    assert sorted(reader.names) == ["12", "2", "30", "4001"] and reader.aligned
    for number, parts in FACES.items():
        found = masks_of(reader, str(number))
        assert found.keys() == parts.keys()
        for part, mask in parts.items():
            np.testing.assert_array_equal(found[part], mask)
    planes = {name: len(reader.annotation(index).planes) for index, name in enumerate(reader.names)}
    assert planes == {"12": 2, "2": 2, "4001": 1, "30": 0}
    data, path = reader.picture(reader.names.index("12"))
    assert data == put_picture(faces, "again.jpg") and path == str(faces / "CelebA-HQ-img" / "12.jpg")


@pytest.mark.parametrize(
    "masks",
    [
        "masks/{label}/{}.png",
        "masks/{}/{label}.png",
        "masks/{}-{label}.png",
        "masks/{label}_{}.png",
        "{}/*/{label}_mask.png",
        "*/*/{label}-of-{}.png",
        "a.b/{label}+{}.png",
    ],
)
def test_masks_are_found_by_the_pattern(tmp_path, masks):
    keys, labels = ["park_1", "park_12", "sea/0_1"], ["a", "of_b"]
    expected = {}
    for place, (key, label) in enumerate((key, label) for key in keys for label in labels):
        mask = rectangle(place, 0, place + 1, SIDE)
        expected.setdefault(key, {})[label] = mask
        name = masks.replace("{}", key).replace("{label}", label).replace("*", f"folder{place % 2}")
        put(tmp_path, name, mask_image(mask, "L"))
        put_picture(tmp_path, f"pictures/{key}.jpg")
    reader = read(tmp_path, pictures="pictures/{}", masks=masks)
    assert reader.names == keys
    for key in keys:
        found = masks_of(reader, key)
        assert found.keys() == expected[key].keys()
        for label, mask in expected[key].items():
            np.testing.assert_array_equal(found[label], mask)


def test_a_mask_of_two_pictures_is_refused(tmp_path):
    for key in ("a", "a_b"):
        put_picture(tmp_path, f"pictures/{key}.jpg")
    path = put(tmp_path, "masks/a_b_c.png", mask_image(rectangle(0, 0, 1, 1)))
    with pytest.raises(UserError, match=f"{path} may be 'b_c' of the picture a or 'c' of a_b"):
        read(tmp_path, pictures="pictures/{}", masks="masks/{}_{label}.png")


def test_a_label_is_never_a_path_of_folders(tmp_path):
    put_picture(tmp_path, "pictures/one.jpg")
    put(tmp_path, "masks/a/b/one.png", mask_image(rectangle(0, 0, 1, 1)))
    with pytest.raises(UserError, match=r"masks/a/b/one.png, but no picture for it"):
        read(tmp_path, pictures="pictures/{}", masks="masks/{label}/{}.png")


def test_files_that_do_not_pair_are_reported(faces):
    lone = put(faces, "CelebAMask-HQ-mask-anno/0/00013_skin.png", mask_image(rectangle(0, 0, 1, 1)))
    with pytest.raises(
        UserError, match=r"has CelebAMask-HQ-mask-anno/0/00013_skin.png, but no picture for it \(such files in all: 1"
    ):
        read(faces)
    lone.unlink()
    for again in ("7/00012_skin.png", "0/12_skin.png"):
        path = put(faces, f"CelebAMask-HQ-mask-anno/{again}", mask_image(rectangle(0, 0, 1, 1)))
        with pytest.raises(UserError, match="both 'skin' of 12: remove one of them"):
            read(faces)
        path.unlink()
    put_picture(faces, "CelebA-HQ-img/012.jpg")
    with pytest.raises(UserError, match="the pictures 012 and 12 have the same number"):
        read(faces)


@pytest.mark.parametrize(
    "masks", ["masks/{}.png", "masks/{label}.png", "{label}/{label}/{}.png", "anno*/{}_{label}.png"]
)
def test_an_invalid_pattern_is_refused(faces, masks):
    with pytest.raises(UserError, match=r"write a path with one {} and one {label}"):
        read(faces, masks=masks)


def test_a_pattern_without_matches_is_refused(faces):
    for masks in ("CelebAMask-HQ-mask-anno/{}_{label}.jpg", "nowhere/{}_{label}.png"):
        with pytest.raises(UserError, match="has no file"):
            read(faces, masks=masks)


def test_masks_of_one_picture_must_have_one_size(faces):
    path = put(faces, "CelebAMask-HQ-mask-anno/0/00012_hat.png", Image.new("L", (SIDE, SIDE + 1)))
    with pytest.raises(
        UserError, match=f"{path} is 9 x 8, but .*00012_l_brow.png is 8 x 8: give masks of a picture one"
    ):
        read(faces).annotation(0)


MASK = rectangle(2, 1, 5, 7)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def with_palette(mask: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8), "L").convert("P")
    image.putpalette(colours)
    return image


def test_every_way_to_store_a_mask_gives_the_same_mask():
    ways = {
        "1": mask_image(MASK, "1"),
        "L": mask_image(MASK, "L"),
        "small numbers": Image.fromarray(MASK.astype(np.uint8)),
        "RGB": mask_image(MASK),
        "red": Image.fromarray(np.stack([128 * MASK, 0 * MASK, 0 * MASK], -1).astype(np.uint8)),
        "blue": Image.fromarray(np.stack([0 * MASK, 0 * MASK, 128 * MASK], -1).astype(np.uint8)),
        "P": with_palette(MASK, [0, 0, 0, 128, 0, 0]),
    }
    for image in ways.values():
        mask = read_mask(png(image), "a.png")
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, MASK)
    for value in (0, 255):
        assert (read_mask(png(Image.new("L", (3, 2), value)), "a.png") == np.full((2, 3), value > 0)).all()


def test_ambiguous_masks_are_refused():
    soft = np.where(MASK, 255, 0)
    soft[0, 0] = 128
    refused = {
        "soft": (Image.fromarray(soft.astype(np.uint8)), "more values than 0 and one other"),
        "no 0": (Image.fromarray(np.where(MASK, 255, 1).astype(np.uint8)), "more values than 0"),
        "no black": (Image.fromarray(np.stack([255 * MASK, 0 * MASK + 1, 0 * MASK], -1).astype(np.uint8)), "other"),
        "RGBA": (mask_image(MASK, "RGBA"), "has mode RGBA"),
        "white 0": (with_palette(MASK, [255, 255, 255, 0, 0, 0]), "a palette in which 0 is not black"),
        "black 1": (with_palette(MASK, [0, 0, 0, 0, 0, 0]), "a palette in which 0 is not black, or another number is"),
    }
    for image, message in refused.values():
        with pytest.raises(UserError, match=f"a.png has {message}|a.png.*{message}"):
            read_mask(png(image), "a.png")
    buffer = io.BytesIO()
    mask_image(MASK).save(buffer, "JPEG")
    with pytest.raises(UserError, match=r"a.png is not a whole PNG"):
        read_mask(buffer.getvalue(), "a.png")
