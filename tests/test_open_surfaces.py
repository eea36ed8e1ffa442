"""OpenSurfaces: the reader returns what channels and tables contain."""

import numpy as np
import pytest
import set_fixtures as fixtures

from workflow_scripts.data.concept_sets.open_surfaces import CHANNELS, OpenSurfaces
from workflow_scripts.data.concept_sets.reader import require_labels
from workflow_scripts.shared.files import UserError


@pytest.fixture
def carried(tmp_path):
    return fixtures.write_open_surfaces(tmp_path)


def read(folder, **options):
    reader = OpenSurfaces(folder, folder, "object", **options)
    require_labels(reader.labels, "set")
    return reader


@pytest.mark.parametrize("channels", [("material",), ("scene", "object"), tuple(CHANNELS)])
def test_every_pixel_of_the_channels_that_are_read(carried, tmp_path, channels):
    reader = read(tmp_path, channels=channels)
    expected = {
        name: {label: mask for label, mask in of.items() if label[1] in channels} for name, of in carried.items()
    }
    fixtures.assert_same(fixtures.carried_by(reader), expected)
    assert reader.picture(0)[0] == (tmp_path / "photos" / "12.jpg").read_bytes()


def test_materials_alone_as_in_broden(carried, tmp_path):
    assert {label.category for label in read(tmp_path).labels} == {"material"}


def test_a_photo_without_its_map_is_refused(carried, tmp_path):
    (tmp_path / "photos-labels" / "7.png").unlink()
    with pytest.raises(UserError, match=r"photos/7\.jpg, but no label map"):
        read(tmp_path)


@pytest.mark.parametrize(("channel", "value"), [("material", 4), ("object", 3), ("scene", 255)])
def test_a_value_that_its_table_lacks_is_refused(carried, tmp_path, channel, value):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., list(CHANNELS).index(channel)] = value
    fixtures.write_png(tmp_path / "photos-labels" / "12.png", pixels)
    with pytest.raises(UserError, match=rf"12\.png holds the {channel} {value}, which {CHANNELS[channel][1]} lacks"):
        read(tmp_path, channels=(channel,)).annotation(0)


def test_a_picture_has_one_scene(carried, tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0, 2] = 1
    fixtures.write_png(tmp_path / "photos-labels" / "12.png", pixels)
    assert read(tmp_path).annotation(0)
    with pytest.raises(UserError, match=r"12\.png has several scenes"):
        read(tmp_path, channels=("scene",)).annotation(0)


@pytest.mark.parametrize("row", ["1,Brick,1", "1,Brick,256", "1,Brick,0", "1,Brick,x", "1,/rug,9", "1"])
def test_a_table_must_name_each_value_once(carried, tmp_path, row):
    with (tmp_path / "label-substance-colors.csv").open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(UserError, match=r"label-substance-colors\.csv, line 5"):
        read(tmp_path)


def test_a_missing_table_is_refused(carried, tmp_path):
    (tmp_path / "label-substance-colors.csv").unlink()
    with pytest.raises(UserError, match=r"label-substance-colors\.csv"):
        read(tmp_path)
