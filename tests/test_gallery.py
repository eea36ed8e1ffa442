"""The gallery's data: top pictures, masks, sheets and scripts, compared with plain loops and with the tables."""

import base64
import csv
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import reference_dissection as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_experiments import arm_row, complete, measured_network, write_metrics, write_validation
from torch import nn

from workflow_scripts.data.hdf5 import FORMAT, read_texts
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.interpolation import grid, interpolate
from workflow_scripts.dissect.map_writers import Candidates
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.dissect.tensors import interpolate as interpolate_in_torch
from workflow_scripts.dissect.validate_units import validate_units
from workflow_scripts.findings.summarise import summarise
from workflow_scripts.gallery import sprites
from workflow_scripts.gallery.draw_concepts import draw_concepts
from workflow_scripts.gallery.draw_pictures import draw_pictures
from workflow_scripts.gallery.draw_unit import draw_unit
from workflow_scripts.gallery.draw_units import Tiles, draw_units
from workflow_scripts.gallery.histograms import BINS, Histograms
from workflow_scripts.gallery.label_masks import LabelMasks, mask_runs
from workflow_scripts.gallery.site_data import (
    PICTURE_BYTES,
    PICTURES_PER_ROW,
    UNITS_PER_SCRIPT,
    UNITS_PER_SHEET,
    network_folder,
    site_files,
    write_call,
    write_layer,
)
from workflow_scripts.gallery.top_maps import top_maps
from workflow_scripts.gallery.write_gallery import write_gallery
from workflow_scripts.plan.check import least_tile_bytes
from workflow_scripts.plan.protocols import SCHEMES, Protocol
from workflow_scripts.shared.concept_names import shown_name
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.collect import collect

NETWORK = network_folder("imp", 1, 2)
TILES = Tiles(3, 16, 4000)
LAYERS = ("stages.2", "stages.3")
UNITS = UNITS_PER_SHEET + 3  # a second sheet, not full
RULE = (0.1, "above")  # the best IoU of a unit of the second layer is exactly 0.1
seeds = st.integers(0, 2**32 - 1)


# Top pictures


def top_by_sorting(maps: np.ndarray, cut: np.ndarray, count: int) -> list[list[int]]:
    """For each unit the images of the highest maximum that exceeds the cut, the first of equals first."""
    found = []
    for unit in range(maps.shape[1]):
        maxima = [float(maps[image, unit].max()) for image in range(len(maps))]
        order = sorted(range(len(maps)), key=lambda image: (-maxima[image], image))
        found.append([image for image in order if maxima[image] > cut[unit]][:count])
    return found


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 40), st.integers(1, 5), st.sampled_from([np.float16, np.float32]), st.booleans())
def test_top_maps_are_those_that_sorting_finds(tmp_path_factory, seed, images, count, dtype, candidates):
    random = np.random.default_rng(seed)
    maps = random.choice([random.normal(size=4), random.normal(size=900)][seed % 2], (images, 4, 2, 3)).astype(dtype)
    maps[:, 1] = 0.5  # constant
    path = tmp_path_factory.mktemp("top") / "dump.h5"
    with h5py.File(path, "w") as file, h5py.File(path.with_name("scratch"), "w") as scratch:
        if candidates:
            writer = Candidates(file, scratch, "layer", maps.shape, maps.dtype, 0.3, "above")
            writer.add(torch.from_numpy(maps))
            writer.finish()
            cut = np.sort(np.moveaxis(maps, 1, 0).reshape(4, -1))[:, -1 - int(0.3 * images * 6)].astype(np.float32)
        else:
            file.create_dataset("maps/layer", data=maps, chunks=(1, *maps.shape[1:]))
            cut = np.array([-np.inf, 0.2, 0, 1], np.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workflow_scripts.dissect.maps.IMAGES_AT_ONCE", 1 + seed % 7)
            top = top_maps(LayerMaps(file, "layer"), cut, count, lambda block: None)
    expected = top_by_sorting(maps, cut, count)
    assert [top.image[top.unit == unit].tolist() for unit in range(4)] == expected
    assert (np.diff(top.unit) >= 0).all()
    np.testing.assert_array_equal(top.values, maps[top.image, top.unit].reshape(-1, 6))
    np.testing.assert_array_equal(top.maximum, top.values.max(1, initial=-np.inf))


@settings(max_examples=40, deadline=None)
@given(seeds, st.tuples(st.integers(1, 5), st.integers(1, 5)), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_interpolation_is_the_reference_to_the_bit(seed, size, new_size):
    maps = np.random.default_rng(seed).normal(size=(2, *size)).astype(np.float16)
    found = interpolate(maps, grid(size, new_size, "align_corners_false"))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [reference.interpolated(values, *new_size) for values in maps])


@pytest.mark.parametrize("scheme", SCHEMES[:2])
def test_interpolation_is_that_of_the_tally(scheme):
    import torch

    maps = np.random.default_rng(1).normal(size=(3, 5, 7)).astype(np.float16)
    to = grid((5, 7), (24, 31), scheme)
    np.testing.assert_array_equal(interpolate(maps, to), interpolate_in_torch(torch.from_numpy(maps), to).numpy())


# Pictures


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 9), st.integers(1, 12), st.integers(1, 12))
def test_masks_darken_what_lies_outside_and_draw_the_edge(seed, side, height, width):
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
    mask, label = (random.random((height, width)) < random.random() for _ in range(2))
    alone, both, of_label = (
        sprites.draw_mask(picture, mask), sprites.draw_mask(picture, mask, label), sprites.draw_label(picture, label)
    )  # fmt: skip

    def inside(mask, y, x):
        return mask[int((y + 0.5) * height / side), int((x + 0.5) * width / side)]

    def at_edge(mask, y, x):
        neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        outside = [place for place in neighbours if min(place) >= 0 and max(place) < side and not inside(mask, *place)]
        return inside(mask, y, x) and outside != []

    for y in range(side):
        for x in range(side):
            plain = picture[y, x].tolist()
            dark = [int(sprites.DARKENED * value) for value in plain]
            of_mask = list(sprites.EDGE) if at_edge(mask, y, x) else plain if inside(mask, y, x) else dark
            assert alone[y, x].tolist() == of_mask
            covered = at_edge(label, y, x) and not at_edge(mask, y, x)
            assert both[y, x].tolist() == (list(sprites.LABEL_EDGE) if covered else of_mask)
            expected = list(sprites.LABEL_EDGE) if at_edge(label, y, x) else plain if inside(label, y, x) else dark
            assert of_label[y, x].tolist() == expected


def test_a_sheet_has_a_row_for_each_unit_and_is_blank_where_one_has_fewer_pictures():
    rows = [[np.full((4, 4, 3), 10 * row + place, np.uint8) for place in range(row)] for row in range(4)]
    sheet = sprites.join_rows(rows, 3, 4)
    assert sheet.shape == (16, 12, 3)
    for row in range(4):
        for place in range(3):
            expected = 10 * row + place if place < row else sprites.BLANK
            assert (sheet[4 * row : 4 * row + 4, 4 * place : 4 * place + 4] == expected).all()


@pytest.mark.parametrize(("tile", "images", "levels"), [(32, 1, 2), (32, 5, 256), (96, 5, 2), (96, 5, 256)])
def test_even_noise_stays_within_the_bytes_that_the_config_allows(tile, images, levels):
    noise = np.random.default_rng(0).integers(0, levels, (tile, images * tile, 3)) * (255 // (levels - 1))
    noise = noise.astype(np.uint8)
    most = images * least_tile_bytes(tile)
    assert len(sprites.encode(noise, most)) <= most
    assert len(sprites.encode(noise, 10 * most)) > most  # where there is room, the quality is higher


# A network


def concept_set() -> reference.Concepts:
    """Twelve pictures of one colour each, with a label in an upper part of rising height."""
    labels = {1: ("cat & <b>", ["object"]), 2: ("dog", ["object"]), 3: ("leg", ["part"]), 4: ("never", ["part"])}
    concepts = reference.Concepts(["object", "part"], labels, 6, 5)
    for place in range(12):
        plane = np.zeros((6, 5), int)
        plane[: 1 + place % 5] = 1 + place % 2
        pixels = np.full((9, 9, 3), (20 * place, 255 - 20 * place, 90), np.uint8)
        concepts.pictures.append(reference.Picture(pixels, {"object": [plane], "part": [np.where(plane, 3, 0)]}))
    return concepts


@pytest.fixture(scope="module")
def dissected(tmp_path_factory) -> Path:
    """A folder with the files of a network of two layers; unit 1 of each is dead, unit 2 active in two pictures."""
    folder = tmp_path_factory.mktemp("network")
    reference.write_broden(concept_set(), folder / "set")
    pack_concepts(folder / "set", 9, folder / "concepts.h5")
    with h5py.File(folder / "concepts.h5") as concepts, h5py.File(folder / "activations.h5", "w") as file:
        file.attrs.update(format=FORMAT, fingerprint="the dump", concepts=concepts.attrs["fingerprint"])
        for seed, layer in enumerate(LAYERS):
            maps = np.random.default_rng(seed).normal(size=(12, UNITS, 3, 3)).astype(np.float16)
            maps[:, 1] = 0
            maps[:, 2] = 0
            maps[3:5, 2] = 1
            file[f"maps/{layer}"] = maps
    find_thresholds(folder / "activations.h5", 0.2, folder / "thresholds.h5")
    for name, shuffled in (("tally", None), ("shuffled", 1)):
        inputs = [folder / f"{name}.h5" for name in ("activations", "thresholds", "concepts")]
        tally_units(inputs[0], inputs[1], inputs[2], folder / f"{name}.h5", shuffled)
        name_units(folder / f"{name}.h5", folder / "concepts.h5", *RULE, folder / f"{name}.csv")
        validate(folder, nulls_of(name), shuffled)
    return folder


def nulls_of(tally: str) -> str:
    return "nulls.csv" if tally == "tally" else f"{tally}_nulls.csv"


def validate(folder: Path, nulls: str, seed: int | None = None, fields: dict | None = None, **choices: Any) -> None:
    """Validate the units of a dissection in a folder, without permutations."""
    inputs = [folder / f"{name}.h5" for name in ("activations", "thresholds", "concepts")]
    protocol = Protocol(**{"knots": "align_corners_false"} | choices)
    validate_units(inputs, protocol, fields, 0, folder / nulls, folder / "split.csv", seed)


def draw(
    dissected: Path, gallery: Path, tally: str = "tally", tiles: Tiles = TILES, fields: dict | None = None
) -> Path:
    activations, counts, concepts = (dissected / f"{name}.h5" for name in ("activations", tally, "concepts"))
    draw_units(activations, counts, concepts, dissected / nulls_of(tally), tiles, NETWORK, gallery / NETWORK, fields)
    return gallery / NETWORK


def read_rows(units: Path) -> list[dict]:
    with open(units, newline="") as file:
        return list(csv.DictReader(file))


def read_call(path: Path) -> list:
    """The arguments of the call that a data script is made of."""
    text = path.read_text()
    return json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")


@pytest.mark.parametrize("tally", ["tally", "shuffled"])
def test_data_scripts_say_what_the_tables_say(dissected, tmp_path, tally):
    folder = draw(dissected, tmp_path, tally)
    rows = read_rows(dissected / f"{tally}.csv")
    for index, layer in enumerate(LAYERS):
        name, data = read_call(folder / f"layer_{index}.js")
        assert name == f"{NETWORK}/layer_{index}"
        of_layer = [row for row in rows if row["layer"] == layer]
        assert len(of_layer) == UNITS
        scores = [float(row["score"]) for row in of_layer]
        for row, best in zip(of_layer, data["best"], strict=True):
            if float(row["score"]) == 0:
                assert (best, row["label"], row["category"]) == ([], "", "")
                continue
            label, category = data["labels"][best[0]]
            assert (label, ["object", "part"][category]) == (row["label"], row["category"])
            assert best[1] == float(row["score"])
            assert best[1::2] == sorted(best[1::2], reverse=True)
            listed = {data["labels"][position][0]: iou for position, iou in zip(best[::2], best[1::2], strict=True)}
            assert "never" not in listed
            for name in ("object", "part"):
                assert listed.get(row[f"{name}-label"], 0) == pytest.approx(float(row[f"{name}-iou"]), abs=1e-4)
        assert sorted(data["slot"]) == list(range(UNITS))
        by_slot = sorted(range(UNITS), key=lambda unit: data["slot"][unit])
        assert by_slot == sorted(range(UNITS), key=lambda unit: (-scores[unit], unit))
        assert data["dead"] == [unit for unit, row in enumerate(of_layer) if row["dead"] == "True"] == [1]
        assert data["shown"][1] == 0
        assert data["shown"][2] == 2
        assert data["image"][2] == [3, 4]
        assert data["shown"] == [len(images) for images in data["image"]]
        assert data["threshold"] == pytest.approx([float(row["threshold"]) for row in of_layer], rel=1e-3)
        assert data["maximum"] == pytest.approx([float(row["maximum"]) for row in of_layer], rel=1e-3)


@pytest.mark.parametrize("tally", ["tally", "shuffled"])
def test_data_scripts_say_what_validation_says(dissected, tmp_path, tally):
    rows = read_rows(dissected / nulls_of(tally))
    assert {row["p"] + row["q"] for row in rows} == {""}  # no permutations
    folder = draw(dissected, tmp_path, tally)
    chances, agreements = [], []
    for index, layer in enumerate(LAYERS):
        _, data = read_call(folder / f"layer_{index}.js")
        of_layer = [row for row in rows if row["layer"] == layer]
        assert len(data["chance"]) == len(data["agreement"]) == UNITS
        assert data["chance"] == [round(float(row["iou_chance"]), 6) for row in of_layer]
        assert data["agreement"] == [round(float(row["agreement"]), 3) for row in of_layer]
        assert [chance > 0 for chance in data["chance"]] == [best != [] for best in data["best"]]
        chances += data["chance"]
        agreements += data["agreement"]
    assert len(set(chances)) > UNITS and len(set(agreements)) > 2


def test_validation_is_told_by_the_numbers_of_units_whatever_the_order_of_rows(dissected, tmp_path):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    rows = pd.read_csv(copy / "nulls.csv", dtype=str, keep_default_na=False)
    rows[::-1].assign(more="x").to_csv(copy / "nulls.csv", index=False)
    folder, as_before = draw(copy, tmp_path / "one"), draw(dissected, tmp_path / "two")
    for index in range(len(LAYERS)):
        assert (folder / f"layer_{index}.js").read_text() == (as_before / f"layer_{index}.js").read_text()


def put(column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Change a cell of the last unit of the first layer."""
    return lambda rows: rows.assign(**{column: rows[column].where(rows.index != UNITS - 1, value)})


REFUSED = {
    "a column less": (lambda rows: rows.drop(columns="agreement"), "has no column agreement"),
    "a layer less": (lambda rows: rows[rows["layer"] != LAYERS[1]], f"has no layer {LAYERS[1]}"),
    "a unit less": (lambda rows: rows.drop(index=UNITS - 1), f"has no unit {UNITS - 1} of {LAYERS[0]}"),
    "a unit twice": (lambda rows: rows.loc[[0, *rows.index]], f"has more rows of {LAYERS[0]} than its {UNITS} units"),
    "no rows": (lambda rows: rows[:0], f"has no layer {LAYERS[0]}"),
    "no number": (put("iou_chance", ""), 'has "" in column iou_chance where a number from 0 to 1 belongs'),
    "not finite": (put("agreement", "nan"), 'has "nan" in column agreement where a number from 0 to 1 belongs'),
    "no share": (put("agreement", "1.5"), 'has "1.5" in column agreement where a number from 0 to 1 belongs'),
    "another concept": (put("label", "bird"), f"has other concepts of {LAYERS[0]}'s units than its tally"),
    "another IoU": (put("iou", "0.0123"), f"has other concepts of {LAYERS[0]}'s units than its tally"),
}


@pytest.mark.parametrize(("change", "problem"), REFUSED.values(), ids=REFUSED)
def test_validation_of_other_units_is_refused_and_nothing_is_left(dissected, tmp_path, change, problem):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    nulls = copy / "nulls.csv"
    change(pd.read_csv(nulls, dtype=str, keep_default_na=False)).to_csv(nulls, index=False)
    with pytest.raises(UserError) as refused:
        draw(copy, tmp_path / "gallery")
    assert str(refused.value) == f"{nulls} {problem}: validate that network's units again"
    assert not list((tmp_path / "gallery").rglob("*.*"))


def test_validation_that_is_missing_or_damaged_is_refused(dissected, tmp_path):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    nulls = copy / "nulls.csv"
    nulls.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"nulls\.csv is damaged"):
        draw(copy, tmp_path / "gallery")
    nulls.unlink()
    with pytest.raises(UserError, match=r"nulls\.csv is missing.*: validate that network's units again$"):
        draw(copy, tmp_path / "gallery")
    assert not list((tmp_path / "gallery").rglob("*.*"))


def ious_of(dissected: Path, tally: str, layer: str) -> list[list[Fraction]]:
    """Each unit's IoUs with the labels, of which each category has two, from the counts alone."""
    with h5py.File(dissected / f"{tally}.h5") as file:
        counts = {name: values[:].tolist() for name, values in file[layer].items()}
    return [
        [
            reference.iou(counts["intersection"][unit][label], counts["unit_area"][unit][label // 2], area)
            for label, area in enumerate(counts["label_area"])
        ]
        for unit in range(UNITS)
    ]


def least_iou_of(dissected: Path, folder: Path, rule: tuple[float, str]) -> float:
    """The least IoU of a detector, as experiment.js has it."""
    write_networks(folder / "networks.csv")
    about = dict(zip(("detector_iou", "detector_rule"), rule, strict=True))
    write_gallery(about, folder, dissected / "concepts.h5", {}, folder)
    return read_call(folder / "experiment.js")[0]["least_iou"]


@pytest.mark.parametrize("rule", [RULE, (0.1, "at_least"), (0.08, "above"), (0.3, "above"), (0, "at_least")])
@pytest.mark.parametrize("tally", ["tally", "shuffled"])
def test_what_the_page_calls_a_detector_is_one_in_the_tables(dissected, tmp_path, tally, rule):
    least = least_iou_of(dissected, tmp_path, rule)
    name_units(dissected / f"{tally}.h5", dissected / "concepts.h5", *rule, tmp_path / "units.csv")
    rows = read_rows(tmp_path / "units.csv")
    folder = draw(dissected, tmp_path, tally)
    cut, at_least = Fraction(str(rule[0])), rule[1] == "at_least"
    detected = []
    for index, layer in enumerate(LAYERS):
        _, data = read_call(folder / f"layer_{index}.js")
        past = [sum(iou >= least for iou in best[1::2]) for best in data["best"]]
        ious = ious_of(dissected, tally, layer)
        assert past == [sum(iou > cut or (at_least and iou == cut > 0) for iou in of_unit) for of_unit in ious]
        of_layer = [row for row in rows if row["layer"] == layer]
        for row, best, count in zip(of_layer, data["best"], past, strict=True):
            assert row["detector"] == str(count > 0)
            listed = {data["labels"][position][0] for position in best[: 2 * count : 2]}
            for name in ("object", "part"):
                assert row[f"{name}-detector"] == str(row[f"{name}-label"] in listed)
        detected += past
    assert (sum(detected) == 0) == (rule[0] == 0.3)


def test_at_the_cut_the_rule_decides(dissected, tmp_path):
    assert max(ious_of(dissected, "tally", LAYERS[1])[5]) == Fraction(1, 10)
    _, data = read_call(draw(dissected, tmp_path) / "layer_1.js")
    leasts = [least_iou_of(dissected, tmp_path, (0.1, rule)) for rule in ("above", "at_least")]
    above, at_least = ([bool(best) and best[1] >= least for best in data["best"]] for least in leasts)
    assert (above[5], at_least[5]) == (False, True)
    assert [unit for unit in range(UNITS) if above[unit] != at_least[unit]] == [5]


def test_the_tally_says_which_units_are_dead(dissected, tmp_path):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    with h5py.File(copy / "tally.h5", "a") as file:
        assert file[f"{LAYERS[0]}/dead"][:].tolist() == [unit == 1 for unit in range(UNITS)]
        file[f"{LAYERS[0]}/dead"][3] = True
    folder, as_before = draw(copy, tmp_path / "one"), draw(dissected, tmp_path / "two")
    (_, data), (_, before) = (read_call(each / "layer_0.js") for each in (folder, as_before))
    assert (before["dead"], before["shown"][3]) == ([1], TILES.pictures)
    assert (data["dead"], data["shown"][3], data["image"][3]) == ([1, 3], 0, [])
    for name in ("labels", "best", "slot", "threshold", "maximum"):
        assert data[name] == before[name]
    assert (folder / "layer_1.js").read_text() == (as_before / "layer_1.js").read_text()
    name_units(copy / "tally.h5", copy / "concepts.h5", *RULE, copy / "tally.csv")
    dead = [(row["layer"], row["unit"]) for row in read_rows(copy / "tally.csv") if row["dead"] == "True"]
    assert dead == [(LAYERS[0], "1"), (LAYERS[0], "3"), (LAYERS[1], "1")]


SIDE = 96  # of pictures in whose masks a pixel is 16 wide or more: colours have not run at its centre
LARGE = TILES._replace(side=SIDE, most_bytes=10**6)
# Centres at 1 + 3 j of nine pixels; the first lies at pixel 0 of label maps of 6 and of 5.
FIELDS = {"picture": 9, "layers": {LAYERS[0]: [[1.0, 3.0], [1.0, 3.0]], LAYERS[1]: None}}


def test_sheets_show_the_top_pictures_and_where_the_unit_is_active(dissected, tmp_path):
    masks = expected_masks(dissected, lambda layer, values: reference.interpolated(values, 6, 5))
    assert all(mask.any() for mask in masks.values())
    check_sheets(draw(dissected, tmp_path, tiles=LARGE), masks)


@pytest.mark.parametrize("border", ["clamp", "zero"])
@pytest.mark.parametrize("knots", ["align_corners_false", "receptive_field"])
def test_masks_lie_where_those_of_the_tally_do(dissected, tmp_path, knots, border):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    files = (copy / f"{name}.h5" for name in ("activations", "thresholds", "concepts", "tally"))
    tally_units(*files, knots=knots, border=border, receptive_fields=FIELDS)
    validate(copy, "nulls.csv", fields=FIELDS, knots=knots, border=border)

    def interpolated(layer: str, values: np.ndarray) -> np.ndarray:
        if knots == "receptive_field" and layer == LAYERS[0]:
            sources = [np.arange(6) / 2, np.arange(5) * 3 / 5]
        else:
            sources = [(np.arange(6) + 0.5) * 3 / 6 - 0.5, (np.arange(5) + 0.5) * 3 / 5 - 0.5]
        if border == "clamp":
            sources = [source.clip(0, 2) for source in sources]
        # What each position takes of each knot; beyond them there are zeros.
        rows, columns = (np.maximum(0, 1 - np.abs(source[:, None] - np.arange(3))) for source in sources)
        return rows @ values.astype(float) @ columns.T

    masks = expected_masks(dissected, interpolated)
    check_sheets(draw(copy, tmp_path / "gallery", tiles=LARGE, fields=FIELDS), masks)
    default = expected_masks(dissected, lambda layer, values: reference.interpolated(values, 6, 5))
    changed = {place[0] for place, mask in masks.items() if (mask != default[place]).any()}
    assert changed == {*(LAYERS if border == "zero" else []), *(LAYERS[:1] if knots == "receptive_field" else [])}


def expected_masks(dissected: Path, interpolated: Callable) -> dict[tuple[str, int, int], np.ndarray]:
    """The masks on the top pictures by layer, unit and image; `interpolated(layer, map)` has the label maps' size."""
    masks = {}
    with h5py.File(dissected / "activations.h5") as file, h5py.File(dissected / "thresholds.h5") as thresholds:
        for layer in LAYERS:
            maps, cut = file[f"maps/{layer}"][:], thresholds[f"{layer}/threshold"][:]
            for unit in [unit for unit in range(UNITS) if unit != 1]:
                for image in top_by_sorting(maps[:, [unit]], cut[[unit]], TILES.pictures)[0]:
                    masks[layer, unit, image] = interpolated(layer, maps[image, unit]) > cut[unit]
    return masks


def check_sheets(folder: Path, masks: dict[tuple[str, int, int], np.ndarray]) -> None:
    """Compare sheets of LARGE tiles with `expected_masks`."""
    pictures = [picture.pixels[0, 0] for picture in concept_set().pictures]
    for index, layer in enumerate(LAYERS):
        _, data = read_call(folder / f"layer_{index}.js")
        sheets = [np.asarray(Image.open(folder / f"sheets/layer_{index}_{number}.webp")) for number in (0, 1)]
        assert [sheet.shape for sheet in sheets] == [(rows * SIDE, 3 * SIDE, 3) for rows in (UNITS_PER_SHEET, 3)]
        for unit in range(UNITS):
            assert data["image"][unit] == [image for *place, image in masks if place == [layer, unit]]
            number, row = divmod(data["slot"][unit], UNITS_PER_SHEET)
            for place, image in enumerate(data["image"][unit]):
                tile = sheets[number][row * SIDE : (row + 1) * SIDE, place * SIDE : (place + 1) * SIDE].astype(int)
                mask = masks[layer, unit, image]
                for y, x in np.ndindex(6, 5):
                    centre = tile[int((y + 0.5) * SIDE / 6), int((x + 0.5) * SIDE / 5)]
                    colour = pictures[image] * (1 if mask[y, x] else sprites.DARKENED)
                    assert abs(centre - colour).max() < 25, (unit, image, y, x)


def test_the_whole_is_the_same_bytes_again_and_its_checksums_stand_beside_it(dissected, tmp_path):
    folders = [draw(dissected, tmp_path / name) for name in ("one", "two")]
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in folders]
    assert files[0] == files[1]
    assert len(files[0]) == 2 * 2 + 4
    for file in files[0]:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    checksums = [folder.with_name(folder.name + ".sha256").read_text() for folder in folders]
    assert checksums[0] == checksums[1]
    assert len(checksums[0].splitlines()) == 8


def test_bytes_are_bounded(dissected, tmp_path):
    tiles = Tiles(4, 48, least_tile_bytes(48))
    folder = draw(dissected, tmp_path, tiles=tiles)
    for sheet in folder.glob("sheets/*"):
        rows = Image.open(sheet).size[1] // tiles.side
        assert sheet.stat().st_size <= rows * tiles.pictures * tiles.most_bytes


@pytest.mark.parametrize("file", ["activations", "tally", "concepts"])
def test_what_does_not_belong_together_is_refused_and_nothing_is_left(dissected, tmp_path, file):
    copy = tmp_path / "copy"
    shutil.copytree(dissected, copy)
    with h5py.File(copy / f"{file}.h5", "a") as changed:
        changed.attrs["activations" if file == "tally" else "fingerprint"] = "another"
    with pytest.raises(UserError, match="was not made from"):
        draw(copy, tmp_path / "gallery")
    assert not list((tmp_path / "gallery").rglob("*.*"))


def test_a_tally_that_does_not_say_what_lies_beyond_its_maps_is_refused(dissected, tmp_path):
    copy = shutil.copytree(dissected, tmp_path / "copy")
    with h5py.File(copy / "tally.h5", "a") as changed:
        del changed.attrs["border"]
    with pytest.raises(UserError, match=r"tally\.h5 holds no border"):
        draw(copy, tmp_path / "gallery")
    assert not list((tmp_path / "gallery").rglob("*.*"))


# What a page loads beside the units


def test_histograms_count_all_that_is_above_where_they_begin(dissected, tmp_path):
    folder = draw(dissected, tmp_path)
    with h5py.File(dissected / "activations.h5") as file:
        for index, layer in enumerate(LAYERS):
            name, found = read_call(folder / f"layer_{index}_histograms.js")
            assert name == f"{NETWORK}/layer_{index}_histograms"
            maps = file[f"maps/{layer}"][:].astype(float)
            check_histograms(found, [maps[:, unit].ravel() for unit in range(UNITS)])


def check_histograms(found: dict, values: list[np.ndarray]) -> None:
    """Compare histograms with NumPy's, of all activations of each unit."""
    for unit, (own, low, counts) in enumerate(zip(values, found["low"], found["counts"], strict=True)):
        assert found["samples"] == own.size
        assert len(counts) == BINS
        if own.min() == own.max():
            assert sum(counts) == 0
            continue
        least = min(own, key=lambda value: abs(value - low))  # exactly, where the script rounds
        expected, _ = np.histogram(own[own > least], BINS, (least, own.max()))
        assert counts == expected.tolist(), unit


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_histograms_of_candidates_begin_at_their_bound(tmp_path_factory, seed):
    maps = np.random.default_rng(seed).normal(size=(9, 4, 2, 3)).astype(np.float16)
    maps[:, 1] = 0.5
    path = tmp_path_factory.mktemp("histograms") / "dump.h5"
    with h5py.File(path, "w") as file, h5py.File(path.with_name("scratch"), "w") as scratch:
        writer = Candidates(file, scratch, "layer", maps.shape, maps.dtype, 0.3, "above")
        writer.add(torch.from_numpy(maps))
        writer.finish()
        layer = LayerMaps(file, "layer")
        extremes = [maps.astype(np.float32).min((0, 2, 3)), maps.astype(np.float32).max((0, 2, 3))]
        histograms = Histograms(layer, *extremes)
        for block in layer.blocks(0, layer.images):
            histograms.add(block)
        bound = layer.bound.astype(float)
    for unit in range(4):
        own = maps[:, unit].ravel().astype(float)
        above = own[own > bound[unit]]
        expected, _ = np.histogram(above, BINS, (bound[unit], own.max())) if len(above) else (np.zeros(BINS), None)
        np.testing.assert_array_equal(histograms.counts[unit], expected)
        assert histograms.samples == own.size


def test_histograms_without_a_bound_begin_at_the_minimum():
    maps = np.random.default_rng(1).normal(size=(9, 4, 2, 3)).astype(np.float16)
    values = maps.astype(np.float32)
    layer = SimpleNamespace(candidates=True, bound=np.full(4, -np.inf, np.float32), samples=maps[:, 0].size)
    histograms = Histograms(layer, values.min((0, 2, 3)), values.max((0, 2, 3)))
    histograms.add(SimpleNamespace(values=maps.reshape(36, 6), unit=np.tile(np.arange(4), 9)))
    of_units = values.transpose(1, 0, 2, 3).reshape(4, -1).astype(float)
    for own, counts in zip(of_units, histograms.counts, strict=True):
        assert counts.tolist() == np.histogram(own[own > own.min()], BINS, (own.min(), own.max()))[0].tolist()


@pytest.mark.parametrize("tally", ["tally", "shuffled"])
def test_maps_to_enlarge_are_those_of_the_dump(dissected, tmp_path, tally):
    folder = draw(dissected, tmp_path, tally, TILES._replace(enlarged=True))
    planes = [picture.cells for picture in concept_set().pictures]
    with h5py.File(dissected / "activations.h5") as file, h5py.File(dissected / "thresholds.h5") as thresholds:
        for index, layer in enumerate(LAYERS):
            _, columns = read_call(folder / f"layer_{index}.js")
            assert columns["outlined"] == (tally == "tally")
            name, found = read_call(folder / f"layer_{index}_maps_0.js")
            assert name == f"{NETWORK}/layer_{index}_maps_0"
            assert (found["size"], found["half"], len(found["units"])) == ([3, 3], True, UNITS)
            maps, cut = file[f"maps/{layer}"][:], thresholds[f"{layer}/threshold"][:]
            for unit, own in enumerate(found["units"]):
                assert own["cut"] == cut[unit]
                values = np.frombuffer(base64.b64decode(own["values"]), "<f2").reshape(-1, 3, 3)
                np.testing.assert_array_equal(values, maps[columns["image"][unit], unit])
                for image, runs in zip(columns["image"][unit], own["labels"], strict=True):
                    if tally == "shuffled":
                        assert runs is None
                        continue
                    label, category = columns["labels"][columns["best"][unit][0]]
                    number = {"cat & <b>": 1, "dog": 2, "leg": 3}[label]
                    expected = planes[image][["object", "part"][category]][0] == number
                    assert unpacked(runs).reshape(6, 5).tolist() == expected.tolist()


def unpacked(runs: list[int]) -> np.ndarray:
    """The pixels of a mask from the lengths of its runs."""
    return np.concatenate([np.full(length, place % 2 == 1) for place, length in enumerate(runs)])


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 9), st.integers(1, 9))
def test_runs_give_a_mask_again(seed, height, width):
    random = np.random.default_rng(seed)
    mask = random.random((height, width)) < random.choice([0, 0.5, 1])
    runs = mask_runs(mask)
    assert unpacked(runs).reshape(mask.shape).tolist() == mask.tolist()
    assert 0 not in runs[1:]


def test_labels_of_whole_pictures_and_of_several_planes_are_read(tmp_path):
    """Label 1 lies in two planes of one picture, label 2 on all of it."""
    concepts = reference.Concepts(["object", "scene"], {1: ("a", ["object"]), 2: ("b", ["scene"])}, 4, 3)
    random = np.random.default_rng(0)
    for _ in range(5):
        planes = [(random.random((4, 3)) < 0.5).astype(int) for _ in range(2)]
        concepts.pictures.append(reference.Picture(np.zeros((4, 3, 3), np.uint8), {"object": planes, "scene": [2]}))
    reference.write_broden(concepts, tmp_path / "set")
    pack_concepts(tmp_path / "set", 4, tmp_path / "concepts.h5")
    with ConceptData(tmp_path / "concepts.h5") as labels:
        masks = LabelMasks(labels, [(image, label) for image in (4, 0, 2) for label in (0, 1)])
    for image in (0, 2, 4):
        one, other = concepts.pictures[image].cells["object"]
        assert masks.mask(image, 0).tolist() == ((one == 1) | (other == 1)).tolist()
        assert masks.mask(image, 1).all()


# Concepts and pictures


def test_examples_of_a_concept_have_the_most_of_it(dissected, tmp_path):
    draw_concepts(dissected / "concepts.h5", LARGE, tmp_path / "concepts")
    name, found = read_call(tmp_path / "concepts" / "concepts.js")
    assert name == "concepts/concepts"
    assert found["labels"] == [["cat & <b>", 0], ["dog", 0], ["leg", 1], ["never", 1]]
    pictures = concept_set().pictures
    for place, number in enumerate([1, 2, 3, 4]):
        category = ["object", "part"][found["labels"][place][1]]
        areas = [int((picture.cells[category][0] == number).sum()) for picture in pictures]
        order = sorted(range(12), key=lambda image: (-areas[image], image))
        assert found["image"][place] == [image for image in order if areas[image]][: LARGE.pictures]
        assert found["pictures"][place] == sum(area > 0 for area in areas)
        assert found["share"][place] == pytest.approx(sum(areas) / (12 * 30), rel=1e-3)
    sheet = np.asarray(Image.open(tmp_path / "concepts" / "sheet_0.webp")).astype(int)
    assert sheet.shape == (4 * SIDE, 3 * SIDE, 3)
    image = found["image"][1][0]  # its lowest row of pixels carries no label, its first one does
    bright, dark = sheet[SIDE + 5, SIDE // 2], sheet[2 * SIDE - 5, SIDE // 2]
    assert abs(bright - pictures[image].pixels[0, 0]).max() < 25
    assert abs(dark - sprites.DARKENED * pictures[image].pixels[0, 0]).max() < 25
    assert (abs(sheet[3 * SIDE + 9 :: 20, 9::20] - sprites.BLANK) < 9).all()  # no picture carries it


def test_pictures_to_enlarge_are_those_that_units_show(dissected, tmp_path):
    folder = draw(dissected, tmp_path, tiles=TILES._replace(pictures=1))
    shown = {
        image
        for index in range(2)
        for images in read_call(folder / f"layer_{index}.js")[1]["image"]
        for image in images
    }
    draw_pictures(dissected / "concepts.h5", [folder], 224, tmp_path / "pictures")
    name, names = read_call(tmp_path / "pictures" / "names.js")
    with ConceptData(dissected / "concepts.h5") as labels:
        assert (name, names) == ("pictures/names", read_texts(labels.file, "image_name", (12,)))
    assert shown and not list((tmp_path / "pictures").glob("sheet_[1-9]*"))  # sixteen stand on the first
    sheet = Image.open(tmp_path / "pictures" / "sheet_0.webp")
    assert sheet.size == (4 * 9, 3 * 9)  # pictures of nine pixels are not made larger
    assert (tmp_path / "pictures" / "sheet_0.webp").stat().st_size <= 12 * PICTURE_BYTES
    middles = np.asarray(sheet.convert("RGB")).astype(int)[4::9, 4::9].reshape(-1, 3)
    for image, picture in enumerate(concept_set().pictures):
        assert abs(middles[image] - picture.pixels[0, 0]).max() < 40


def test_a_sheet_without_a_picture_that_is_shown_is_not_drawn(dissected, tmp_path):
    write_layer(tmp_path, NETWORK, "layer_0", {"image": [[], []]})
    draw_pictures(dissected / "concepts.h5", [tmp_path], 224, tmp_path / "pictures")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["names.js"]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("gallery.data(")])
def test_a_script_that_cannot_be_read_is_named(dissected, tmp_path, harm):
    write_layer(tmp_path, NETWORK, "layer_0", {"image": [[1]]})
    harm(tmp_path / "layer_0.js")
    if harm is Path.unlink:
        (tmp_path / "layer_0.js").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"layer_0\.js"):
        draw_pictures(dissected / "concepts.h5", [tmp_path], 224, tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize(
    ("name", "category", "shown"),
    [
        ("room-s", "scene", "room"),
        ("room-s", "object", "room-s"),
        ("red-c", "color", "red"),
        ("cup_body", "part", "cup body"),
        ("-s", "scene", "-s"),
        ("_", "part", "_"),
    ],
)
def test_names_are_shown_as_people_read_them(name, category, shown):
    assert shown_name(name, category) == shown


# A figure of units


@pytest.fixture(scope="module")
def drawn_gallery(dissected, tmp_path_factory) -> Path:
    """The gallery of one network, level 2 of imp."""
    folder = tmp_path_factory.mktemp("drawn") / "gallery"
    draw(dissected, folder)
    layers = [{"name": layer, "units": UNITS, "detectors": 0, "concepts": 0} for layer in LAYERS]
    network = {"arm": "imp", "replicate": 1, "level": 2, "density": 0.09, "folder": NETWORK, "layers": layers}
    about = {"images": 3, "tile": 16, "units_per_sheet": UNITS_PER_SHEET, "categories": ["object", "part"]}
    write_call(folder / "experiment.js", "experiment", about | {"least_iou": 0.04, "networks": [network]})
    return folder


def test_a_figure_has_the_pictures_and_concepts_of_its_units(drawn_gallery):
    _, columns = read_call(drawn_gallery / NETWORK / "layer_1.js")
    figure = draw_unit(drawn_gallery, "imp", 1, LAYERS[1], [0, 1, 2], [], 3.5)
    texts = [text.get_text().split("\n") for text in figure.texts]
    assert [text[:2] for text in texts] == [[f"unit {unit}", "level 2, 9 %"] for unit in range(3)]
    for unit, text in enumerate(texts):
        best = columns["best"][unit]
        assert text[2] == (f"{columns['labels'][best[0]][0]} {best[1]:.3f}" if best else "dead")
    for unit, axes in enumerate(figure.axes):
        pixels = axes.images[0].get_array()
        number, row = divmod(columns["slot"][unit], UNITS_PER_SHEET)
        sheet = np.asarray(Image.open(drawn_gallery / NETWORK / f"sheets/layer_1_{number}.webp").convert("RGB"))
        shown = 16 * columns["shown"][unit]
        assert (pixels[:, :shown] == sheet[16 * row : 16 * row + 16, :shown]).all()
        assert (pixels[:, shown:] == 255).all()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"arm": "im"}, "has no replicate 1 of the arm im"),
        ({"replicate": 3}, "has no replicate 3 of the arm imp"),
        ({"levels": [2, 7]}, "has no level 7 of imp"),
        ({"layer": "stages"}, f"has no layer stages in .*: choose {LAYERS[0]} or {LAYERS[1]}"),
        ({"units": [UNITS]}, f"has no unit {UNITS}: choose one from 0 to {UNITS - 1}"),
        ({"gallery": Path("nowhere")}, r"nowhere/experiment\.js is missing"),
    ],
)
def test_a_figure_of_what_is_not_there_is_refused(drawn_gallery, changed, sentence):
    asked = {"arm": "imp", "replicate": 1, "layer": LAYERS[0], "units": [0], "levels": []} | changed
    with pytest.raises(UserError, match=sentence):
        draw_unit(**{"gallery": drawn_gallery, "width": 3.5} | asked)


@pytest.mark.parametrize("key", ["images", "tile", "units_per_sheet"])
@pytest.mark.parametrize("value", [0, -1, "x", None, 10**9])
def test_a_gallery_of_other_sizes_is_refused(drawn_gallery, tmp_path, key, value):
    shutil.copytree(drawn_gallery, tmp_path / "gallery")
    script = tmp_path / "gallery/experiment.js"
    (about,) = read_call(script)
    assert key in about
    script.write_text(f"gallery.experiment({json.dumps(about | {key: value})});\n")
    asked = {"arm": "imp", "replicate": 1, "layer": LAYERS[0], "units": [UNITS - 1], "levels": [], "width": 3.5}
    if (key, value) == ("images", 10**9):  # narrow, but can be drawn
        draw_unit(tmp_path / "gallery", **asked)
        return
    with pytest.raises(UserError, match="is damaged"):
        draw_unit(tmp_path / "gallery", **asked)


# The page's list of networks


DETECTORS = [  # arm, replicate, level, layer; unit, category, label, whether it detects
    (("imp", 1, 0, LAYERS[0]), (0, "object", "dog", True)),
    (("imp", 1, 0, LAYERS[0]), (1, "", "", False)),
    (("imp", 1, 0, LAYERS[0]), (95, "part", "leg", True)),
    (("imp", 1, 0, LAYERS[1]), (4, "object", "cat & <b>", False)),
    (("imp", 1, 1, LAYERS[1]), (3, "object", "dog", True)),
    (("NA", 1, 0, LAYERS[1]), (2, "part", "leg", False)),
]


def write_networks(path: Path, imp_first: bool = True) -> None:
    columns = ["arm", "replicate", "level", "density", "test_accuracy", "layer", "units", "detectors_a", "concepts_a"]
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for level, (density, accuracy) in enumerate([(1, 0.9), (0.25, "")]):
            for layer in LAYERS:
                table.writerow(["imp", 1, level, density, accuracy, layer, 96, 40 - level, 12 + level])
        table.writerow(["NA", 1, 0, 1, 0.1, LAYERS[1], 96, 0, 0])
    complete("networks", pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    columns = ["arm", "replicate", "level", "layer", "unit", "category", "label", "detector"]
    units = pd.DataFrame([(*place, *found) for place, found in DETECTORS], columns=columns)
    complete("units", units).to_csv(path.with_name("units.csv"), index=False)
    arms = [arm_row("NA", "imp", "baseline", label="null"), arm_row("imp", label="pruned", same_units=False)]
    pd.DataFrame(arms[::-1] if imp_first else arms).to_csv(path.with_name("arms.csv"), index=False)


def test_the_experiment_is_listed_and_the_pages_files_are_copied(dissected, tmp_path):
    write_networks(tmp_path / "networks.csv")
    other = {network_folder("imp", 1, 1): network_folder("imp", 1, 0)}
    about = {"name": "small", "quantile": 0.2, "detector_iou": 0.04, "detector_rule": "above", "images": 3, "tile": 16}
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    write_gallery(about, tmp_path, dissected / "concepts.h5", other, gallery)
    (experiment,) = read_call(gallery / "experiment.js")
    assert about.items() <= experiment.items()
    assert experiment["least_iou"] == np.nextafter(0.04, 1)
    assert experiment["categories"] == ["object", "part"]
    assert experiment["units_per_sheet"] == UNITS_PER_SHEET
    assert experiment["units_per_script"] == UNITS_PER_SCRIPT
    assert experiment["pictures_per_row"] == PICTURES_PER_ROW
    dense, pruned, baseline = experiment["networks"]
    assert (dense["arm"], dense["replicate"], dense["level"]) == ("imp", 1, 0)
    assert (dense["name"], dense["same_units"]) == ("pruned", False)
    assert (dense["density"], dense["accuracy"], dense["folder"]) == (1, 0.9, "networks/imp/replicate_1/level_0")
    assert (pruned["density"], pruned["accuracy"], pruned["folder"]) == (0.25, None, dense["folder"])
    assert [layer["name"] for layer in pruned["layers"]] == list(LAYERS)
    assert pruned["layers"][1] == {"name": LAYERS[1], "units": 96, "detectors": 39, "concepts": 13}
    assert (baseline["arm"], baseline["name"], baseline["same_units"]) == ("NA", "null", True)
    assert len(baseline["layers"]) == 1
    for file in site_files():
        assert (gallery / file.name).read_bytes() == file.read_bytes()
    assert not list(gallery.glob("*.part"))
    # The order is that of arms.csv.
    write_networks(tmp_path / "networks.csv", imp_first=False)
    write_gallery(about, tmp_path, dissected / "concepts.h5", other, gallery)
    (experiment,) = read_call(gallery / "experiment.js")
    assert experiment["networks"] == [baseline, dense, pruned]


def test_detectors_are_listed_by_network_and_layer(dissected, tmp_path):
    write_networks(tmp_path / "networks.csv")
    about = {"detector_iou": 0.04, "detector_rule": "above"}
    write_gallery(about, tmp_path, dissected / "concepts.h5", {}, tmp_path)
    name, found = read_call(tmp_path / "detectors.js")
    networks = read_call(tmp_path / "experiment.js")[0]["networks"]
    listed = []
    for network, of_layers in zip(networks, found["networks"], strict=True):
        for layer, pairs in zip(network["layers"], of_layers, strict=True):
            place = (*(network[key] for key in ("arm", "replicate", "level")), layer["name"])
            for unit, label in zip(pairs[::2], pairs[1::2], strict=True):
                label_name, category = found["labels"][label]
                listed.append((place, (unit, ["object", "part"][category], label_name, True)))
    assert name == "detectors"
    assert sorted(listed) == sorted(row for row in DETECTORS if row[1][3])


def test_a_category_that_the_concept_set_lacks_is_named(dissected, tmp_path):
    write_networks(tmp_path / "networks.csv")
    units = tmp_path / "units.csv"
    units.write_text(units.read_text().replace("part", "organ"))
    about = {"detector_iou": 0.04, "detector_rule": "above"}
    with pytest.raises(UserError, match=r"units\.csv has the category organ, which concepts\.h5 lacks: run"):
        write_gallery(about, tmp_path, dissected / "concepts.h5", {}, tmp_path / "gallery")
    assert not (tmp_path / "gallery/detectors.js").exists()


def test_a_density_that_is_not_known_is_none(dissected, tmp_path):
    write_networks(tmp_path / "networks.csv")
    rows = pd.read_csv(tmp_path / "networks.csv", keep_default_na=False)
    rows["density"] = rows["density"].astype(object).where(rows["arm"] == "imp", "")
    rows.to_csv(tmp_path / "networks.csv", index=False)
    about = {"detector_iou": 0.04, "detector_rule": "above"}
    files = (tmp_path, dissected / "concepts.h5", {}, tmp_path)
    write_gallery(about, *files)
    networks = read_call(tmp_path / "experiment.js")[0]["networks"]
    assert [network["density"] for network in networks] == [1, 0.25, None]


def test_the_networks_of_chosen_arms_are_listed(dissected, tmp_path):
    write_networks(tmp_path / "networks.csv")
    about = {"detector_iou": 0.04, "detector_rule": "above"}
    other = {network_folder("NA", 1, 0): network_folder("imp", 1, 0)}
    files = (tmp_path, dissected / "concepts.h5", other, tmp_path)
    write_gallery(about, *files)
    everything = read_call(tmp_path / "experiment.js")[0]["networks"]
    write_gallery(about, *files, chosen=["NA"])
    [network] = read_call(tmp_path / "experiment.js")[0]["networks"]
    assert network == everything[-1]
    assert (network["arm"], network["folder"]) == ("NA", "networks/imp/replicate_1/level_0")  # where it is drawn


def test_a_missing_table_is_named(dissected, tmp_path):
    about = {"detector_iou": 0.04, "detector_rule": "above"}
    with pytest.raises(UserError, match="run snakemake again, which collects the tables"):
        write_gallery(about, tmp_path, dissected / "concepts.h5", {}, tmp_path)


# The order of layers


ORDER = {"stages.10": 3, "stages.9": 4, "stages.2": 5}  # units of layers in the config's order, which no sorting gives


class Stages(nn.Module):
    """Eleven convolutions, run by rising number."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3, ORDER.get(f"stages.{i}", 1), 3, 3) for i in range(11))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return [stage(pictures) for stage in self.stages]


@pytest.mark.parametrize("candidates", [None, (0.2, "above")], ids=["all maps", "candidates"])
def test_layers_keep_the_configs_order_from_the_dump_to_the_summary(dissected, tmp_path, candidates):
    activations, thresholds, tally, units = (tmp_path / name for name in ("a.h5", "t.h5", "c.h5", "units.csv"))
    concepts = dissected / "concepts.h5"
    fields = {"picture": 9, "layers": dict.fromkeys(ORDER, FIELDS["layers"][LAYERS[0]]) | {"stages.9": None}}
    knots = dict.fromkeys(ORDER, "receptive_field") | {"stages.9": "align_corners_false"}
    torch.manual_seed(0)
    colours = ([0.5] * 3, [0.25] * 3)
    dump_activations(Stages(), list(ORDER), concepts, *colours, "float16", "n" * 64, activations, candidates=candidates)
    find_thresholds(activations, 0.2, thresholds)
    tally_units(activations, thresholds, concepts, tally, knots="receptive_field", receptive_fields=fields)
    name_units(tally, concepts, *RULE, units)
    with h5py.File(activations) as dump, h5py.File(thresholds) as cuts, h5py.File(tally) as counts:
        assert list(dump["maps"]) == list(cuts) == list(counts) == list(ORDER)
    numbered = [(layer, str(unit)) for layer, count in ORDER.items() for unit in range(count)]
    rows = read_rows(units)
    assert [(row["layer"], row["unit"]) for row in rows] == numbered
    assert [row["knots"] for row in rows] == [knots[layer] for layer, _ in numbered]

    write_validation(units)
    networks = []
    for level in range(8):
        metrics = tmp_path / f"{level}.json"
        write_metrics(metrics, density=0.5**level)
        networks.append(measured_network("imp", 1, level, metrics, units))
    tables = tmp_path / "results" / "tables"
    collect(networks, [arm_row("imp")], *RULE, tables)
    of_layers = pd.read_csv(tables / "networks.csv")
    assert of_layers[["layer", "units", "knots"]].to_numpy().tolist() == [
        [layer, count, knots[layer]] for layer, count in ORDER.items()
    ] * len(networks)
    for table in ("categories", "units"):
        frame = pd.read_csv(tables / f"{table}.csv")
        for _, of_network in frame.groupby("level"):
            assert list(dict.fromkeys(of_network["layer"])) == list(ORDER)

    gallery = tmp_path / "gallery"
    draw_units(activations, tally, concepts, units.with_name("nulls.csv"), TILES, NETWORK, gallery / NETWORK, fields)
    for index, (layer, count) in enumerate(ORDER.items()):
        _, data = read_call(gallery / NETWORK / f"layer_{index}.js")
        assert len(data["best"]) == count
        of_layer = [row for row in rows if row["layer"] == layer]
        assert [best[1] if best else 0 for best in data["best"]] == [float(row["score"]) for row in of_layer]
        assert {label for label, _ in data["labels"]} >= {row["label"] for row in of_layer} - {""}
    about = dict(zip(("detector_iou", "detector_rule"), RULE, strict=True))
    write_gallery(about, tables, concepts, {}, gallery)
    (experiment,) = read_call(gallery / "experiment.js")
    for network in experiment["networks"]:
        assert {layer["name"]: layer["units"] for layer in network["layers"]} == ORDER
        assert [layer["name"] for layer in network["layers"]] == list(ORDER)

    # Three layers of eight levels are more than a screen holds.
    lines = summarise(tmp_path / "results").split("\n")
    assert [line for line in lines if line.startswith("stages")] == ["stages.9, 4 units", "stages.2, 5 units"]
    assert any("Left out here: 1 of 3 layers;" in line for line in lines)
