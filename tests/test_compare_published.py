"""compare_published: published numbers of a ResNet-50, and the measured ones beside them."""

import csv
import hashlib
import json
import logging
import statistics
import subprocess
import sys
from dataclasses import asdict

import h5py
import numpy as np
import pytest

from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.plan.protocols import PROTOCOLS
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables import compare_published as module
from workflow_scripts.tables.compare_published import PublishedNetwork, compare_published, parse_network

CATEGORIES = ["color", "object", "part", "material", "scene", "texture"]
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
LITE = asdict(PROTOCOLS["lite"])
PUBLISHED = list(csv.DictReader(module.PUBLISHED.read_text().splitlines()))


def write_units(path, layers=LAYERS, seed=0):
    """Write a units.csv with many IoUs exactly at a published IoU threshold; its own threshold is a different one.

    A published number must not depend on the IoU threshold that the units were named with.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for layer in layers:
        for unit in range(60):
            found = {name: (f"{name} {rng.integers(40)}", rng.integers(12) / 100) for name in CATEGORIES}
            if unit % 7 == 0:
                found["part"] = ("", 0.0)  # shares no pixel with a label of this category
            found = {name: (label if iou else "", iou) for name, (label, iou) in found.items()}
            best = max(found, key=lambda name: found[name][1])
            row = {"layer": layer, "unit": unit, "category": best, "label": found[best][0], "score": found[best][1]}
            row |= {"threshold": 1.0, "maximum": 2.0, "minimum": 0.0}
            row |= {"detector": found[best][1] >= 0.07, "dead": False, "knots": "align_corners_false"}
            for name, (label, iou) in found.items():
                row |= {f"{name}-label": label, f"{name}-truth": 9, f"{name}-activation": 9}
                row |= {f"{name}-intersect": 1, f"{name}-iou": iou, f"{name}-detector": iou >= 0.07}
            rows.append(row)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_concepts(path, images=63305, labels=1197, side=112):
    """Write a stand-in with as many images and labels as Broden."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file["image_name"] = np.zeros(images, "S1")
        file["label_number"] = np.arange(1, labels + 1, dtype=np.uint16)
        file["label_size"] = [side, side]
    return path


@pytest.fixture
def units(tmp_path):
    return write_units(tmp_path / "units.csv")


@pytest.fixture
def broden(tmp_path):
    return write_concepts(tmp_path / "concepts.h5")


def compared(tmp_path, units, concepts, dissection=LITE, weights=None):
    """The rows of published.csv for one network."""
    compare_published([PublishedNetwork("lite", 1, units, weights)], concepts, dissection, tmp_path / "published.csv")
    rows = list(csv.DictReader((tmp_path / "published.csv").read_text().splitlines()))
    assert len(rows) == len(PUBLISHED)
    return rows


def only(rows, column):
    """The only value of a column."""
    [value] = {row[column] for row in rows}
    return value


def slowly_measured(path, row, strict):
    """One published quantity, counted from units.csv unit by unit."""
    of_layer = [unit for unit in csv.DictReader(path.read_text().splitlines()) if unit["layer"] == row["layer"]]
    if row["quantity"] == "median_iou":
        return statistics.median(float(unit["score"]) for unit in of_layer)
    found = []
    for unit in of_layer:
        for category in CATEGORIES:
            iou, cut = float(unit[f"{category}-iou"]), float(row["detector_iou"])
            detected = iou > cut if strict else iou >= cut
            named = row["counting"] == "B" or unit["category"] == category
            if detected and named and row["category"] in ("all", category):
                found.append((category, unit[f"{category}-label"]))
    return len(found) if row["quantity"] == "units" else len(set(found))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_published_number_stands_beside_the_measured_one(tmp_path, units, broden, protocol):
    strict = protocol != "lite"
    rows = compared(tmp_path, units, broden, asdict(PROTOCOLS[protocol]))
    for row, published in zip(rows, PUBLISHED, strict=True):
        assert (row["arm"], row["replicate"]) == ("lite", "1")
        for column in ("layer", "counting", "category", "quantity"):
            assert row[column] == published[column]
        for column in ("detector_iou", "published"):
            assert float(row[column] or -1) == float(published[column] or -1)
        measured, number = slowly_measured(units, row, strict), float(row["published"])
        assert float(row["measured"]) == pytest.approx(measured)
        assert float(row["difference"]) == pytest.approx(measured - number, rel=1e-5)
        assert float(row["relative_difference"]) == pytest.approx((measured - number) / number, rel=1e-5)
    measured_strictly = [slowly_measured(units, row, True) for row in PUBLISHED]
    assert measured_strictly != [slowly_measured(units, row, False) for row in PUBLISHED]  # the rule matters here


def test_the_protocol_and_concepts_of_the_published_run_are_comparable(tmp_path, units, broden):
    for cut in (0.04, 0.1):  # it does not matter, because each row has its own
        rows = compared(tmp_path, units, broden, LITE | {"protocol": "lite", "detector_iou": cut, "forward": "float32"})
        assert (only(rows, "comparable"), only(rows, "differs")) == ("True", "")


@pytest.mark.parametrize(
    ("choices", "differs"),
    [
        (
            asdict(PROTOCOLS["netdissect"]),
            "quantile is 0.005 and not 0.005005; knots is receptive_field and not align_corners_false;"
            " counted_images is with_category and not with_label_in_mask; planes is once and not each;"
            " detector_rule is above and not at_least",
        ),
        (LITE | {"mask": "at_least"}, "mask is at_least and not above"),
        (LITE | {"quantile_of": "upsampled"}, "quantile_of is upsampled and not raw"),
        (LITE | {"knots": "receptive_field"}, "knots is receptive_field and not align_corners_false"),
        (LITE | {"border": "zero"}, "border is zero and not clamp"),
    ],
)
def test_another_protocol_is_measured_and_its_differences_are_named(tmp_path, units, broden, choices, differs):
    rows = compared(tmp_path, units, broden, choices)
    assert (only(rows, "comparable"), only(rows, "differs")) == ("False", differs)
    assert all(row["measured"] for row in rows)


def test_other_label_maps_are_measured_and_named(tmp_path, units):
    rows = compared(tmp_path, units, write_concepts(tmp_path / "concepts.h5", side=192))
    assert (only(rows, "comparable"), only(rows, "differs")) == ("False", "label maps are 192 x 192 and not 112 x 112")
    assert all(row["measured"] for row in rows)


def test_nothing_is_measured_with_other_concepts(tmp_path, units, caplog):
    for images, labels in ((63304, 1197), (63305, 1198)):
        rows = compared(tmp_path, units, write_concepts(tmp_path / "concepts.h5", images, labels))
        words = f"has {images} images and {labels} labels and not Broden's 63305 and 1197"
        assert {only(rows, name) for name in ("measured", "difference", "relative_difference")} == {""}
        assert only(rows, "comparable") == "False" and only(rows, "differs").endswith(words)
        assert "arm lite, replicate 1 is not measured" in caplog.text and words in caplog.text
        caplog.clear()


def test_other_weights_are_not_measured(tmp_path, units, broden, caplog):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"other weights")
    words = f"begins with {hashlib.sha256(b'other weights').hexdigest()[:8]} and not 0676ba61"
    rows = compared(tmp_path, units, broden, weights=weights)
    assert only(rows, "measured") == "" and only(rows, "comparable") == "False"
    assert only(rows, "differs").endswith(words) and words in caplog.text


def test_the_published_weights_are_recognised_by_the_start_of_their_sha_256(tmp_path, units, broden, monkeypatch):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"the published weights")
    monkeypatch.setattr(module, "WEIGHTS", hashlib.sha256(weights.read_bytes()).hexdigest()[:8])
    rows = compared(tmp_path, units, broden, weights=weights)
    assert only(rows, "comparable") == "True" and all(row["measured"] for row in rows)


def test_layers_that_were_not_dissected_stay_empty(tmp_path, broden, caplog):
    caplog.set_level(logging.INFO)
    rows = compared(tmp_path, write_units(tmp_path / "units.csv", ["layer4", "layer2"]), broden)
    assert {row["layer"] for row in rows if row["measured"] == ""} == {"layer1", "layer3"}
    assert {row["layer"] for row in rows if row["measured"]} == {"layer2", "layer4"}
    assert only(rows, "comparable") == "True"
    assert "layer1 was not dissected" in caplog.text and "layer2 was not" not in caplog.text


def test_rows_are_sorted_by_arm_and_replicate(tmp_path, broden):
    networks = [
        PublishedNetwork(arm, replicate, write_units(tmp_path / f"{arm}{replicate}.csv", seed=replicate), None)
        for arm, replicate in (("b", 10), ("b", 2), ("a", 3))
    ]
    contents = []
    for order in (networks, networks[::-1]):
        compare_published(order, broden, LITE, tmp_path / "published.csv")
        contents.append((tmp_path / "published.csv").read_bytes())
    rows = list(csv.DictReader(contents[0].decode().splitlines()))
    expected = [("a", "3"), ("b", "2"), ("b", "10")]
    assert [(row["arm"], row["replicate"]) for row in rows[:: len(PUBLISHED)]] == expected
    assert contents[0] == contents[1] and len(rows) == 3 * len(PUBLISHED)
    for network in networks:
        of_network = [row for row in rows if (row["arm"], int(row["replicate"])) == network[:2]]
        slow = [slowly_measured(network.units, row, False) for row in of_network]
        assert [float(row["measured"]) for row in of_network] == pytest.approx(slow)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concepts": "nowhere.h5"}, r"nowhere\.h5 is missing"),
        ({"units": "nowhere.csv"}, r"nowhere\.csv is missing"),
        ({"weights": "nowhere.pth"}, r"there is no file .*nowhere\.pth"),
        ({"dissection": {**LITE, "knots": "protocol"}}, "knots is unknown"),
        ({"dissection": {name: LITE[name] for name in LITE if name != "mask"}}, "mask is unknown"),
    ],
)
def test_missing_inputs_are_named(tmp_path, units, broden, change, message):
    files = {name: tmp_path / value for name, value in change.items() if name != "dissection"}
    given = {"units": units, "concepts": broden} | change | files
    with pytest.raises(UserError, match=message):
        compared(tmp_path, **given)
    assert not (tmp_path / "published.csv").exists()


def test_a_network_on_the_command_line():
    assert parse_network(["lite", "2", "u.csv"])[:2] == ("lite", 2)
    assert parse_network(["lite", "2", "u.csv"]).weights is None
    assert parse_network(["lite", "2", "u.csv", "w.pth"]).weights.name == "w.pth"
    for words in (["lite", "2"], ["lite", "two", "u.csv"], ["lite", "2", "u.csv", "w.pth", "more"]):
        with pytest.raises(UserError, match=f"--network {' '.join(words)}: give"):
            parse_network(words)


def test_the_command_writes_the_table_or_ends_with_one_sentence(tmp_path, units, broden):
    def command(*network):
        line = [sys.executable, "-m", "workflow_scripts.tables.compare_published", "--network", *network]
        line += ["--concepts", broden, "--dissection", json.dumps(LITE), "--out", tmp_path / "command.csv"]
        return subprocess.run(line, capture_output=True, text=True)

    failed = command("lite", "1", tmp_path / "nowhere.csv")
    assert failed.returncode == 1 and "error: " in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "command.csv").exists()
    assert command("lite", "1", units).returncode == 0
    compared(tmp_path, units, broden)
    assert (tmp_path / "command.csv").read_bytes() == (tmp_path / "published.csv").read_bytes()


# The published numbers are consistent.


def published(**columns):
    """The published numbers of the rows with these values."""
    return [float(row["published"]) for row in PUBLISHED if columns.items() <= row.items()]


def test_no_number_is_published_twice():
    keys = [tuple(value for name, value in row.items() if name != "published") for row in PUBLISHED]
    assert len(set(keys)) == len(keys) == 28


def test_published_categories_add_up():
    units = {"layer": "layer4", "counting": "A", "detector_iou": "0.04", "quantity": "units"}
    by_category = [number for name in CATEGORIES for number in published(**units, category=name)]
    assert len(by_category) == len(CATEGORIES)
    assert [sum(by_category)] == published(**units, category="all")


def test_published_counts_fall_as_the_iou_threshold_rises():
    curves = {}
    for quantity in ("units", "concepts"):
        rows = [row for row in PUBLISHED if row["layer"] == "layer4" and row["counting"] == "A"]
        rows = [row for row in rows if (row["category"], row["quantity"]) == ("all", quantity)]
        rows.sort(key=lambda row: float(row["detector_iou"]))
        assert [row["detector_iou"] for row in rows] == ["0.02", "0.03", "0.04", "0.05", "0.06", "0.08", "0.10"]
        curves[quantity] = [float(row["published"]) for row in rows]
        assert curves[quantity] == sorted(set(curves[quantity]), reverse=True)
    assert all(concepts <= units for units, concepts in zip(*curves.values(), strict=True))
    assert curves["units"][0] <= 2048


def test_the_published_median_agrees_with_the_published_counts():
    [median] = published(layer="layer4", quantity="median_iou")
    rows = [row for row in PUBLISHED if (row["layer"], row["category"], row["quantity"]) == ("layer4", "all", "units")]
    # The median of 2,048 units reaches an IoU threshold if and only if half of them do; it has three decimals.
    for row in rows:
        if float(row["published"]) > 1024:
            assert median + 0.0005 > float(row["detector_iou"])
        else:
            assert median - 0.0005 < float(row["detector_iou"])


def test_at_least_as_many_concepts_are_published_if_a_unit_may_have_several():
    cut = {"layer": "layer4", "detector_iou": "0.04", "quantity": "concepts"}
    [a], [b] = published(**cut, counting="A"), published(**cut, counting="B")
    assert a < b
    for layer, units in zip(LAYERS[:3], (256, 512, 1024), strict=True):
        [found], [concepts] = (published(layer=layer, quantity=quantity) for quantity in ("units", "concepts"))
        assert concepts < found < units
