"""Reading COCO's sets: pictures in the true layout, and masks from the test's own slow decoders."""

import io
import json
import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco_mask

from workflow_scripts.data.concept_sets.coco import CocoPanoptic, CocoSegments
from workflow_scripts.data.concept_sets.coco_outlines import compact_outline, fill, require_outline, run_lengths
from workflow_scripts.data.concept_sets.reader import Label
from workflow_scripts.shared.files import UserError

HEIGHT, WIDTH = 4, 6
CATEGORIES = [
    {"supercategory": "person", "isthing": 1, "id": 1, "name": "person"},
    {"supercategory": "animal", "isthing": 1, "id": 17, "name": "cat"},
    {"supercategory": "plant", "isthing": 0, "id": 184, "name": "tree-merged"},
]
PERSON, CAT, TREE = 1, 2, 3  # their positions plus 1
# Ids in three channels, in the last, and only in the first; two of one category.
IDS = {3937500: 1, 65536: 17, 7: 184, 4260062: 1}
COLOURS = {0: (0, 0, 0), 3937500: (220, 20, 60), 65536: (0, 0, 1), 7: (7, 0, 0), 4260062: (222, 0, 65)}
CODES = {0: 0, 3937500: PERSON, 65536: CAT, 7: TREE, 4260062: PERSON}
ID_MAP = np.array(
    [
        [0, 0, 7, 7, 7, 7],
        [3937500, 3937500, 7, 7, 7, 7],
        [3937500, 3937500, 65536, 65536, 4260062, 4260062],
        [3937500, 0, 65536, 65536, 4260062, 0],
    ]
)


def picture_bytes(height: int = HEIGHT, width: int = WIDTH, file_format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (40, 90, 20)).save(buffer, file_format)
    return buffer.getvalue()


def image_entry(number: int, **changes: object) -> dict:
    return {
        "license": 2,
        "file_name": f"{number:012d}.jpg",
        "coco_url": f"http://images.cocodataset.org/val2017/{number:012d}.jpg",
        "height": HEIGHT,
        "width": WIDTH,
        "date_captured": "2013-11-20 16:47:35",
        "id": number,
    } | changes


def in_folder(folder: Path, content: object, name: str = "annotations/a.json") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def put_picture(folder: Path, name: str) -> bytes:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    data = picture_bytes()
    path.write_bytes(data)
    return data


def coloured(id_map: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array([[COLOURS[number] for number in row] for row in id_map.tolist()], np.uint8))


def segments_info(id_map: np.ndarray) -> list[dict]:
    return [
        {
            "area": int((id_map == number).sum()),
            "category_id": category,
            "iscrowd": int(number == 4260062),
            "id": number,
        }
        for number, category in IDS.items()
        if (id_map == number).any()
    ]


def slow_counts(mask: np.ndarray) -> list[int]:
    """The lengths of alternating runs outside and inside the mask, down the columns."""
    counts, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def slow_mask(counts: list[int], height: int, width: int) -> np.ndarray:
    pixels = [place % 2 == 1 for place, count in enumerate(counts) for _ in range(count)]
    return np.array([[pixels[x * height + y] for x in range(width)] for y in range(height)], bool)


def slow_text(text: str) -> list[int]:
    """The numbers of COCO's text, one character after another."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        while True:
            bits = ord(text[place]) - 48
            place += 1
            value += (bits & 31) << shift
            shift += 5
            if not bits & 32:
                break
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


# Panoptic


@pytest.fixture
def panoptic(tmp_path):
    """Two pictures; a function that changes the JSON's content and reads the set."""
    content = {
        "info": {"year": 2018},
        "licenses": [{"id": 1, "name": "a licence"}],
        "images": [image_entry(20), image_entry(3)],
        "annotations": [
            {"image_id": 3, "file_name": "third.png", "segments_info": segments_info(ID_MAP)},
            {"image_id": 20, "file_name": "000000000020.png", "segments_info": segments_info(ID_MAP[:, ::-1])},
        ],
        "categories": deepcopy(CATEGORIES),
    }
    for number in (3, 20):
        put_picture(tmp_path, f"pictures/val2017/{number:012d}.jpg")
    maps = tmp_path / "set" / "panoptic_val2017"
    maps.mkdir(parents=True)
    coloured(ID_MAP).save(maps / "third.png")
    coloured(ID_MAP[:, ::-1]).save(maps / "000000000020.png")

    def read(change=None, text=None):
        if change:
            change(content)
        in_folder(tmp_path / "set", text or content)
        options = {"pictures": "val2017", "annotations": "annotations/a.json", "label_maps": "panoptic_val2017"}
        return CocoPanoptic(tmp_path / "set", tmp_path / "pictures", "object", **options)

    read.maps = maps
    read.pictures = tmp_path / "pictures" / "val2017"
    return read


def test_panoptic_ids_combine_the_three_channels(panoptic):
    reader = panoptic()
    assert reader.labels == tuple(Label(item["name"], "object") for item in CATEGORIES)
    assert reader.names == ["000000000003.jpg", "000000000020.jpg"] and reader.aligned
    codes = np.vectorize(CODES.get)(ID_MAP)
    for index, expected in enumerate((codes, codes[:, ::-1])):
        [plane] = reader.annotation(index).planes
        np.testing.assert_array_equal(plane, expected)
        assert reader.annotation(index).whole == []
    assert reader.picture(1) == (picture_bytes(), str(panoptic.pictures / "000000000020.jpg"))


@given(hnp.arrays(np.int64, (HEIGHT, WIDTH), elements=st.sampled_from(list(COLOURS))))
@settings(max_examples=30, deadline=None)
def test_both_of_cocos_layouts_give_the_same_labels(tmp_path_factory, id_map):
    folder = tmp_path_factory.mktemp("both")
    put_picture(folder, "val2017/000000000003.jpg")
    info = segments_info(id_map) or [{"id": 9, "category_id": 1}]
    common = {"images": [image_entry(3)], "categories": CATEGORIES}
    in_folder(folder, common | {"annotations": [{"image_id": 3, "file_name": "3.png", "segments_info": info}]})
    coloured(id_map).save(folder / "3.png")
    annotations = []
    for item in info:
        mask = id_map == item["id"]
        runs = {"size": [HEIGHT, WIDTH], "counts": slow_counts(mask)}
        if item["category_id"] != 1:
            runs["counts"] = coco_mask.frPyObjects(runs, HEIGHT, WIDTH)["counts"].decode()
        annotations.append({"image_id": 3, "category_id": item["category_id"], "segmentation": runs, "id": item["id"]})
    in_folder(folder, common | {"annotations": annotations}, "annotations/s.json")
    panoptic = CocoPanoptic(
        folder, folder, "object", pictures="val2017", annotations="annotations/a.json", label_maps="."
    )
    segments = CocoSegments(folder, folder, "object", pictures="val2017", annotations="annotations/s.json")
    assert (panoptic.labels, panoptic.names) == (segments.labels, segments.names)
    [plane], planes = panoptic.annotation(0).planes, segments.annotation(0).planes
    np.testing.assert_array_equal(plane, planes[0] if planes else 0 * plane)
    assert len(planes) <= 1


def change_of(*keys, value):
    """A change of the JSON's content: the value at some keys becomes `value`, or is removed if that is None."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        if value is None:
            del content[keys[-1]]
        else:
            content[keys[-1]] = value

    return change


FIRST = ("annotations", 0)
PANOPTIC_FAULTS = {
    "no image": (change_of(*FIRST, "image_id", value=4), r"annotations\[0\]: image_id is 4, which"),
    "two annotations": (
        change_of(*FIRST, "image_id", value=20),
        r"annotations\[1\] belongs to 000000000020.jpg, which",
    ),
    "none": (lambda content: content["annotations"].pop(), "has no annotation of 000000000020.jpg"),
    "no category": (
        change_of(*FIRST, "segments_info", 1, "category_id", value=2),
        r"annotations\[0\], segment 65536: category_id is 2",
    ),
    "id 0": (change_of(*FIRST, "segments_info", 1, "id", value=0), "has the segment id 0"),
    "large id": (change_of(*FIRST, "segments_info", 1, "id", value=2**24), "the segment id 16777216"),
    "id in words": (change_of(*FIRST, "segments_info", 1, "id", value="7"), "the segment id '7'"),
    "id twice": (change_of(*FIRST, "segments_info", 1, "id", value=7), "two segments with the id 7"),
    "no segments": (change_of(*FIRST, "segments_info", value=None), "has no segments_info: take the panoptic file"),
    "odd segments": (change_of(*FIRST, "segments_info", value=[3]), "segments_info of the image 3 is not a list"),
    "lost map": (change_of(*FIRST, "file_name", value="4.png"), r"panoptic_val2017 lacks 4.png, .*\(1 of 2"),
    "map elsewhere": (change_of(*FIRST, "file_name", value="../a.png"), r"file_name is '../a.png'"),
    "no map": (change_of(*FIRST, "file_name", value=None), r"annotations\[0\]: file_name is None"),
    "image id twice": (change_of("images", 0, "id", value=3), r"images\[1\] has the id 3, which another also has"),
    "category id twice": (change_of("categories", 1, "id", value=1), r"categories\[1\] has the id 1"),
    "category name twice": (change_of("categories", 1, "name", value="person"), "2 categories are called 'person'"),
    "half a letter": (change_of("categories", 1, "name", value="a\ud800"), r"categories\[1\]: it has no name"),
    "half a letter in a path": (change_of(*FIRST, "file_name", value="\ud800.png"), r"file_name is '.ud800.png'"),
    "no category name": (change_of("categories", 1, "name", value=" "), r"categories\[1\]: it has no name"),
    "no images": (change_of("images", value=None), "has no list images"),
    "empty": (change_of("annotations", value=[]), "has no list annotations, or an empty one"),
}


@pytest.mark.parametrize("fault", PANOPTIC_FAULTS)
def test_invalid_contents_of_a_panoptic_file_are_reported(panoptic, fault):
    change, message = PANOPTIC_FAULTS[fault]
    with pytest.raises(UserError, match=message) as raised:
        panoptic(change)
    assert "a.json" in str(raised.value)


def test_a_map_of_another_kind_is_refused(panoptic):
    path = panoptic.maps / "third.png"
    image = coloured(ID_MAP)
    for mode in ("P", "L", "RGBA"):
        image.convert(mode).save(path)
        with pytest.raises(UserError, match=f"third.png has mode {mode}, but ids are RGB colours"):
            panoptic().annotation(0)
    image.resize((WIDTH * 2, HEIGHT), 0).save(path)
    with pytest.raises(UserError, match=r"third.png is 4 x 12, but .*a.json says 4 x 6"):
        panoptic().annotation(0)
    # What becomes of its colours by way of a palette of few.
    image.quantize(3).convert("RGB").save(path)
    with pytest.raises(UserError, match=r"third.png has the segment id \d+, which .*a.json does not have.*palette"):
        panoptic().annotation(0)
    path.write_bytes(picture_bytes())
    with pytest.raises(UserError, match=r"third.png is not a whole PNG"):
        panoptic().annotation(0)


# Segments


@given(hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
@settings(max_examples=200, deadline=None)
def test_runs_become_the_mask_that_they_were_made_of(mask):
    height, width = mask.shape
    counts = slow_counts(mask)
    np.testing.assert_array_equal(slow_mask(counts, height, width), mask)
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    for form in (counts, text):
        outline = compact_outline({"size": [height, width], "counts": form})
        require_outline(outline, height, width, "here")
        np.testing.assert_array_equal(fill(outline, height, width), mask)


def test_long_runs_become_the_mask_that_they_were_made_of():
    mask = np.zeros((3000, 2000), bool)
    mask[1:2900, 3:1990] = True
    mask[:, 700:1500] = False
    mask[5, 5] = False
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    outline = compact_outline({"size": [3000, 2000], "counts": text})
    require_outline(outline, 3000, 2000, "here")
    np.testing.assert_array_equal(fill(outline, 3000, 2000), mask)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
@settings(max_examples=500, deadline=None)
def test_a_run_text_is_refused_or_decodes_to_its_numbers(text):
    lengths = run_lengths(text)
    if lengths is None:
        groups = re.findall(r"[P-o]*[0-O]", text)
        assert not text or "".join(groups) != text or max(map(len, groups)) > 6
    else:
        assert lengths.tolist() == slow_text(text)


sides = st.integers(1, 30)


@given(sides, sides, st.data())
@settings(max_examples=200, deadline=None)
def test_polygons_of_boxes_hold_the_pixels_inside(height, width, data):
    expected = np.zeros((height, width), bool)
    polygons = []
    for _ in range(data.draw(st.integers(1, 3))):
        left, right = sorted(data.draw(st.tuples(*[st.integers(-width, 2 * width)] * 2)))
        top, bottom = sorted(data.draw(st.tuples(*[st.integers(-height, 2 * height)] * 2)))
        polygons.append(box(left, top, right, bottom))
        expected[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    outline = compact_outline(polygons)
    require_outline(outline, height, width, "here")
    mask = fill(outline, height, width)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)


def test_polygons_keep_their_numbers():
    polygon = [100.1, 7.3, 33.35, 0.1, 5, 2.7]  # pixels follow from fifths, some of which a short float moves
    assert [list(found) for found in compact_outline([polygon])] == [polygon]


def annotation_entry(number: int, image: int, category: int, segmentation: object) -> dict:
    return {
        "segmentation": segmentation,
        "area": 3.5,
        "iscrowd": int(isinstance(segmentation, dict)),
        "image_id": image,
        "bbox": [0, 0, 3, 3],
        "category_id": category,
        "id": number,
    }


@pytest.fixture
def segments(tmp_path):
    """Three pictures, of which the last has no annotation; a function that changes the JSON and reads the set."""
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[3, 2:] = True
    content = {
        "info": {},
        "images": [image_entry(20), image_entry(3), image_entry(41)],
        "annotations": [
            annotation_entry(501, 3, 1, [box(0, 0, 2, 2), box(4, 0, 6, 1)]),
            annotation_entry(502, 3, 17, [box(1, 1, 4, 3)]),
            annotation_entry(503, 20, 184, {"size": [HEIGHT, WIDTH], "counts": slow_counts(crowd)}),
            annotation_entry(504, 3, 1, [box(0, 3, 1, 4)]),
        ],
        "categories": deepcopy(CATEGORIES),
    }
    for number in (3, 20, 41):
        put_picture(tmp_path, f"val2017/{number:012d}.jpg")

    def read(change=None, text=None, pictures="val2017", annotations="annotations/a.json"):
        if change:
            change(content)
        in_folder(tmp_path, text or content)
        return CocoSegments(tmp_path, tmp_path, "object", pictures=pictures, annotations=annotations)

    read.folder = tmp_path
    read.crowd = crowd
    return read


def mask_of(reader, index: int, code: int) -> np.ndarray:
    return np.any([plane == code for plane in reader.annotation(index).planes], axis=0)


def test_overlapping_segments_are_put_into_separate_planes(segments):
    reader = segments()
    assert reader.names == ["000000000003.jpg", "000000000020.jpg", "000000000041.jpg"]
    assert reader.labels == tuple(Label(item["name"], "object") for item in CATEGORIES)
    person, cat = np.zeros((2, HEIGHT, WIDTH), bool)
    person[0:2, 0:2] = person[0, 4:6] = person[3, 0] = cat[1:3, 1:4] = True
    assert (person & cat).any() and len(reader.annotation(0).planes) == 2
    np.testing.assert_array_equal(mask_of(reader, 0, PERSON), person)
    np.testing.assert_array_equal(mask_of(reader, 0, CAT), cat)
    [plane] = reader.annotation(1).planes  # a crowd
    np.testing.assert_array_equal(plane, np.where(segments.crowd, TREE, 0))
    assert reader.annotation(2).planes == []
    assert reader.picture(2) == (picture_bytes(), str(segments.folder / "val2017" / "000000000041.jpg"))


def test_lvis_names_pictures_by_their_addresses(segments):
    def without_names(content):
        for image in content["images"]:
            del image["file_name"]

    reader = segments(without_names, pictures=".")
    assert reader.names == [f"val2017/{number:012d}.jpg" for number in (3, 20, 41)]
    assert reader.picture(0)[0] == picture_bytes()
    assert reader.annotation(0).planes


def test_several_files_may_label_the_same_pictures(segments):
    # The same id for another category, the same name for another id, the pictures under other ids.
    other = {
        "images": [image_entry(3, id="three"), image_entry(50)],
        "categories": [{"id": 1, "name": "grass"}, {"id": 2, "name": "cat"}],
        "annotations": [
            annotation_entry(1, "three", 1, [box(0, 0, 6, 4)]),
            annotation_entry(2, "three", 2, [box(5, 3, 6, 4)]),
        ],
    }
    put_picture(segments.folder, "val2017/000000000050.jpg")
    in_folder(segments.folder, other, "annotations/b.json")
    reader = segments(annotations=["annotations/a.json", "annotations/b.json"])
    assert [label.name for label in reader.labels] == ["person", "cat", "tree-merged", "grass"]
    assert reader.names == [f"{number:012d}.jpg" for number in (3, 20, 41, 50)]
    cat = np.zeros((HEIGHT, WIDTH), bool)
    cat[1:3, 1:4] = cat[3, 5] = True
    np.testing.assert_array_equal(mask_of(reader, 0, CAT), cat)
    assert mask_of(reader, 0, 4).all()
    in_folder(segments.folder, other | {"images": [image_entry(3, id="three", width=7)]}, "annotations/b.json")
    with pytest.raises(UserError, match=r"b.json: 000000000003.jpg is 4 x 7, but another file says 4 x 6"):
        segments(annotations=["annotations/a.json", "annotations/b.json"])


RUNS = {"size": [HEIGHT, WIDTH], "counts": [4, 20]}
SEGMENT_FAULTS = {
    "none": (None, "neither polygons"),
    "a box alone": ([], "neither polygons"),
    "a flat polygon": (box(0, 0, 2, 2), "neither polygons"),
    "text": ([["1", "2", "3", "4", "5", "6"]], "neither polygons"),
    "number too large": ([[10**400, 2, 3, 4, 5, 6]], "neither polygons"),
    "four numbers": ([[0, 0, 2, 2]], "a polygon has 4 numbers"),
    "four numbers behind": ([box(0, 0, 2, 2), [0, 0, 2, 2]], "a polygon has 4 numbers"),
    "odd": ([[0, 0, 2, 2, 1, 1, 1]], "a polygon has 7 numbers"),
    "far": ([box(0, 0, 2, 1e9)], "far outside the picture"),
    "far to the left": ([box(-7, 0, 2, 1)], "far outside the picture"),
    "endless": ([[0, 0, 2, 1e999, 1, 1]], "it holds Infinity"),
    "no number": ([[0, 0, 2, float("nan"), 1, 1]], "it holds NaN"),
    "no size": ({"counts": [4, 20]}, "neither polygons"),
    "no counts": ({"size": [HEIGHT, WIDTH]}, "neither polygons"),
    "another size": (RUNS | {"size": [WIDTH, HEIGHT]}, r"its size is \[6, 4\], but that of its picture is \[4, 6\]"),
    "negative": (RUNS | {"counts": [-4, 28]}, "neither polygons"),
    "fractions": (RUNS | {"counts": [4.5, 19.5]}, "neither polygons"),
    "too few": (RUNS | {"counts": [4, 19]}, "sum to 23, but its picture has 24 pixels"),
    "too many": (RUNS | {"counts": [4, 20, 1]}, "sum to 25"),
    "no runs": (RUNS | {"counts": []}, "not run lengths"),
    "too long": (RUNS | {"counts": [4000000000, 20]}, "not run lengths"),
    "no text": (RUNS | {"counts": ""}, "not run lengths"),
    "cut text": (RUNS | {"counts": "4d"}, "not run lengths"),
    "other letters": (RUNS | {"counts": "4ä"}, "not run lengths"),
    "half a letter": (RUNS | {"counts": "4\ud800"}, "not run lengths"),
    "short text": (RUNS | {"counts": "4c0"}, "sum to 23"),
    "negative in text": (RUNS | {"counts": "L"}, "not run lengths"),
    "long number": (RUNS | {"counts": "PPPPPPPPPPPP0"}, "not run lengths"),
}


@pytest.mark.parametrize("fault", SEGMENT_FAULTS)
def test_impossible_outlines_are_reported_with_file_and_annotation(segments, fault):
    segmentation, message = SEGMENT_FAULTS[fault]

    def change(content):
        content["annotations"][1]["segmentation"] = segmentation

    with pytest.raises(UserError, match=message) as raised:
        segments(change)
    assert "a.json" in str(raised.value)
    if "it holds" not in message:
        assert "a.json, annotation 502" in str(raised.value)


FILE_FAULTS = {
    "no image": (change_of(*FIRST, "image_id", value=4), "annotation 501: image_id is 4"),
    "odd image": (change_of(*FIRST, "image_id", value=[3]), r"annotation 501: image_id is \[3\]"),
    "no category": (change_of(*FIRST, "category_id", value=None), "annotation 501: category_id is None"),
    "no segmentation": (change_of(*FIRST, "segmentation", value=None), r"annotations\[0\] has no segmentation"),
    "lost picture": (
        change_of("images", 0, "file_name", value="4.jpg"),
        r"val2017 lacks 4.jpg, .*\(1 of 3 are missing",
    ),
    "picture elsewhere": (change_of("images", 0, "file_name", value="/etc/a.jpg"), r"images\[0\]: file_name is '/etc"),
    "picture above": (change_of("images", 0, "file_name", value="a/../../b.jpg"), r"file_name is 'a/../../b.jpg'"),
    "picture twice": (
        change_of("images", 0, "file_name", value="000000000003.jpg"),
        r"images\[1\]: 000000000003.jpg already has another id",
    ),
    "no height": (change_of("images", 0, "height", value=None), r"images\[0\]: height and width are None and 6"),
    "no width": (change_of("images", 0, "width", value=0), "height and width are 4 and 0"),
    "huge": (change_of("images", 0, "width", value=10**9), r"4 x 1000000000 pixels: .* limits\.picture_megapixels"),
    "no id": (change_of("images", 0, "id", value=None), r"images\[0\] has no id"),
    "no categories": (change_of("categories", value=None), "has no list categories"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_invalid_contents_of_a_segments_file_are_reported(segments, fault):
    change, message = FILE_FAULTS[fault]
    with pytest.raises(UserError, match=message) as raised:
        segments(change)
    assert "a.json" in str(raised.value)


@pytest.mark.parametrize("text", ['{"images": [', "[" * 100_000, "[1, 2]", "null"])
def test_files_that_are_not_coco_json_are_refused(segments, panoptic, text):
    for read in (segments, panoptic):
        with pytest.raises(UserError, match=r"a.json is (not whole JSON|a list or a value)"):
            read(text=text)
