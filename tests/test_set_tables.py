"""The shipped tables of labels, and the names that mean the same."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import set_fixtures as fixtures

from workflow_scripts.data.concept_sets.label_maps import LabelMaps
from workflow_scripts.data.concept_sets.names import SHIPPED, read_names

# For each table: its number of values, the values that mean no label, and some that other sources confirm.
TABLES = {
    "voc": (20, [0, 255], {1: "aeroplane", 8: "cat", 15: "person", 20: "tvmonitor"}),
    "coco_stuff": (182, [255], {0: "person", 89: "toothbrush", 90: "hair brush", 91: "banner", 181: "wood"}),
    "cityscapes": (
        34,
        [*range(7), 9, 10, 14, 15, 16, 18, 29, 30],
        {7: "road", 11: "building", 26: "car", 33: "bicycle"},
    ),
    "camvid": (11, [11], {0: "Sky", 3: "Road", 4: "Pavement", 10: "Bicyclist"}),
    "camvid_colours": (32, [[0, 0, 0]], {(128, 64, 128): "Road", (0, 0, 192): "Sidewalk", (64, 64, 0): "Pedestrian"}),
    "msrc": (24, [[0, 0, 0]], {(128, 0, 0): "building", (192, 64, 0): "boat", (0, 192, 128): "cat"}),
}

BRODEN = Path(__file__).parent.parent / "workflow_scripts" / "data" / "broden1_224_label_pixels.csv"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def same_as():
    rows = rows_of(SHIPPED / "synonyms.csv")
    found = {row["name"]: row["same_as"] for row in rows}
    assert len(found) == len(rows), "a name is listed twice"
    return found


def plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())


def test_every_table_is_known_and_has_its_source():
    tables = {path.stem for path in SHIPPED.glob("*.csv")}
    assert tables == {*TABLES, "synonyms"}
    readme = (SHIPPED / "README.md").read_text()
    assert all(f"\n| `{table}.csv` | " in readme for table in tables)


@pytest.mark.parametrize("table", TABLES)
def test_each_value_is_read_as_its_name(tmp_path, table):
    """A label map that holds each value once."""
    count, nothing, some = TABLES[table]
    named = read_names(table, tmp_path, "object")
    assert len(named) == count and {value: named[value].name for value in some} == some
    void = [tuple(value) if isinstance(value, list) else value for value in nothing]
    values = sorted({*named, *void})
    fixtures.write_jpeg(tmp_path / "images" / "a.jpg", 1, len(values))
    fixtures.write_png(tmp_path / "masks" / "a.png", np.array([values], np.uint8))
    reader = LabelMaps(
        tmp_path, tmp_path, "object", pictures="images/{}.jpg", label_maps="masks/{}.png", names=table, nothing=nothing
    )
    (plane,) = reader.annotation(0).planes
    found = [reader.labels[code - 1].name if code else None for code in plane[0].tolist()]
    assert found == [None if value in void else named[value].name for value in values]
    assert len(reader.labels) == len(set(named) - set(void)), "two values have one name"


def test_the_ids_that_cityscapes_does_not_evaluate_are_marked():
    rows = rows_of(SHIPPED / "cityscapes.csv")
    assert [int(row["number"]) for row in rows if row["evaluated"] == "no"] == TABLES["cityscapes"][1]
    assert sum(row["evaluated"] == "yes" for row in rows) == 19


def test_synonyms_are_in_order_plain_and_lead_to_a_name_in_one_step(same_as):
    assert list(same_as) == sorted(same_as)
    for name, target in same_as.items():
        assert name == plain(name) and target == plain(target)
        assert target not in same_as and target != name


def test_names_of_broden_stay(same_as):
    assert not same_as.keys() & {row["label"] for row in rows_of(BRODEN)}


# Labels of a table that count as one, besides those that only get another name.
MERGED = {
    "coco_stuff": {
        "desk": {"desk", "desk-stuff"},
        "door": {"door", "door-stuff"},
        "mirror": {"mirror", "mirror-stuff"},
        "windowpane": {"window", "window-other"},
    }
}


@pytest.mark.parametrize("table", TABLES)
def test_labels_of_one_table_are_merged_only_on_purpose(tmp_path, same_as, table):
    merged = defaultdict(set)
    for label in read_names(table, tmp_path, "object").values():
        name = plain(label.name)
        merged[same_as.get(name, name)].add(name)
    assert {name: of for name, of in merged.items() if len(of) > 1} == MERGED.get(table, {})


def test_what_the_sets_share_has_one_name(tmp_path, same_as):
    names = {
        table: {
            same_as.get(plain(label.name), plain(label.name)) for label in read_names(table, tmp_path, "x").values()
        }
        for table in TABLES
    }
    assert {"airplane", "sofa", "dining table", "pottedplant", "motorbike", "tvmonitor", "person"} <= (
        names["voc"] & names["coco_stuff"]
    )
    assert {"person", "motorbike", "sky", "building", "wall"} <= names["cityscapes"] & names["coco_stuff"]
    assert {"person", "traffic light"} <= names["camvid_colours"] & names["cityscapes"]
    assert {"airplane", "tree", "boat"} <= names["msrc"] & names["coco_stuff"]
