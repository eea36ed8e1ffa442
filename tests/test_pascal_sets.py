"""Pascal-Context and Pascal-Part: the readers return what the MATLAB files contain."""

from types import SimpleNamespace

import numpy as np
import pytest
import set_fixtures as fixtures
from scipy.io import savemat

from workflow_scripts.data.concept_sets.pascal import NAME_OF_PART, PARTS, WITHOUT_NAME, PascalContext, PascalPart
from workflow_scripts.data.concept_sets.reader import require_labels
from workflow_scripts.shared.files import UserError

KINDS = {"context": (PascalContext, fixtures.write_pascal_context), "part": (PascalPart, fixtures.write_pascal_part)}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    reader, write = KINDS[request.param]
    fixtures.write_voc_pictures(tmp_path / "voc")
    carried = write(tmp_path / "set")
    (file,) = (tmp_path / "set").rglob("2008_000002.mat")
    return SimpleNamespace(read=lambda **options: read(reader, tmp_path, **options), carried=carried, file=file)


@pytest.fixture
def parts(tmp_path):
    fixtures.write_voc_pictures(tmp_path / "voc")
    return fixtures.write_pascal_part(tmp_path / "set")


def read(reader, tmp_path, **options):
    found = reader(tmp_path / "set", tmp_path / "voc", "object", **options)
    require_labels(found.labels, "set")
    return found


def test_every_pixel(kind, tmp_path):
    reader = kind.read()
    fixtures.assert_same(fixtures.carried_by(reader), kind.carried)
    path = tmp_path / "voc" / "JPEGImages" / "2008_000003.jpg"
    assert reader.picture(1) == (path.read_bytes(), str(path))


def test_what_overlaps_is_kept_in_as_few_planes_as_come(parts, tmp_path):
    planes = read(PascalPart, tmp_path).annotation(0).planes
    # A head with eyes; a wheel is on the bus alone, and parts do not share planes with objects.
    assert len(planes) == 4 and all(plane.shape == (6, 9) for plane in planes)


def test_parts_alone_as_in_broden(parts, tmp_path):
    reader = read(PascalPart, tmp_path, objects=False)
    assert {label.category for label in reader.labels} == {"part"}
    expected = {name: {label: mask for label, mask in of.items() if label[1] == "part"} for name, of in parts.items()}
    fixtures.assert_same(fixtures.carried_by(reader), expected)


def test_a_picture_without_objects_has_no_labels(parts, tmp_path):
    fixtures.write_annotation(tmp_path / "set", "2008_000003", [])
    assert fixtures.carried_by(read(PascalPart, tmp_path))["2008_000003"] == {}


def test_each_part_has_one_name():
    shorts = [short for of_name in PARTS.values() for short in of_name.split()]
    assert len(shorts) == len(set(shorts)) == len(NAME_OF_PART)
    assert not set(shorts) & set(WITHOUT_NAME)
    assert list(PARTS) == sorted(PARTS)


SPELLED_OUT = {
    "frontside": "front side",
    "roofside": "roof side",
    "hroofside": "head roof side",
    "hleftside": "head left side",
    "cbackside": "coach back side",
    "fliplate": "front license plate",
    "rear": "right ear",
    "lflleg": "left front lower leg",
    "ruarm": "right upper arm",
    "rbpa": "right back paw",
    "lfho": "left front hoof",
    "bwheel": "back wheel",
    "chainwheel": "chain wheel",
}


@pytest.mark.parametrize(("short", "spelled_out"), SPELLED_OUT.items())
def test_names_are_those_of_the_parts_without_their_side(short, spelled_out):
    dropped = {"left", "right", "front", "back", "upper", "lower", "side"}
    name = " ".join(word for word in spelled_out.split() if word not in dropped)
    assert NAME_OF_PART.get(short, "") == name
    assert (short in WITHOUT_NAME) == (name == "")


def test_an_annotation_without_its_picture_is_refused(kind, tmp_path):
    (tmp_path / "voc" / "JPEGImages" / "2008_000003.jpg").unlink()
    with pytest.raises(UserError, match=r"has no picture 2008_000003 \(such files in all: 1\)"):
        kind.read()


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", b"\x89HDF\r\n\x1a\n" + bytes(200), bytes(1000)])
def test_files_of_another_kind_are_refused(kind, content):
    kind.file.write_bytes(content)
    with pytest.raises(UserError, match=r"2008_000002\.mat"):
        kind.read().annotation(0)


def test_another_variable_is_refused(kind):
    savemat(kind.file, {"other": 1})
    with pytest.raises(UserError, match=r"2008_000002\.mat lacks the variable (LabelMap|anno)"):
        kind.read().annotation(0)


@pytest.mark.parametrize(
    "content", [1.5, "text", np.zeros((0, 0)), {"a": 1}, np.full((2, 2), -1.0), np.zeros((2, 2, 2))]
)
def test_variables_of_another_kind_are_refused(kind, content):
    savemat(kind.file, {"LabelMap": content, "anno": content})
    with pytest.raises(UserError, match=r"2008_000002\.mat is not an? (label map|annotation)"):
        kind.read().annotation(0)


def test_a_number_without_a_name_is_refused(tmp_path):
    fixtures.write_voc_pictures(tmp_path / "voc")
    fixtures.write_pascal_context(tmp_path / "set")
    savemat(tmp_path / "set" / "trainval" / "2008_000002.mat", {"LabelMap": np.full((6, 9), 459, np.uint16)})
    with pytest.raises(UserError, match=r"2008_000002\.mat holds the value 459"):
        read(PascalContext, tmp_path).annotation(0)


@pytest.mark.parametrize(
    ("number", "short", "height", "message"),
    [(21, "head", 6, "the class 21"), (15, "antler", 6, "the part 'antler'"), (15, "head", 5, "masks of 2 sizes")],
)
def test_unknown_classes_and_parts_and_other_sizes_are_refused(parts, tmp_path, number, short, height, message):
    item = ("person", number, np.ones((6, 9), bool), {short: np.ones((height, 9), bool)})
    fixtures.write_annotation(tmp_path / "set", "2008_000002", [item])
    with pytest.raises(UserError, match=f"2008_000002.mat is not an annotation of Pascal-Part .{message}"):
        read(PascalPart, tmp_path).annotation(0)
