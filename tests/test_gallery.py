"""The gallery's data: top pictures, masks, sheets and scripts, compared with plain loops and with the tables."""

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.config import least_tile_bytes
from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.dump_activations import Candidates
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.interpolation import SCHEMES, grid, interpolate
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.dissect.tensors import interpolate as interpolate_in_torch
from workflow_scripts.files import UserError
from workflow_scripts.gallery import sprites
from workflow_scripts.gallery.draw_units import Tiles, draw_units
from workflow_scripts.gallery.site_data import UNITS_PER_SHEET, network_folder, site_files
from workflow_scripts.gallery.top_maps import top_maps
from workflow_scripts.gallery.write_gallery import write_gallery

NETWORK = network_folder("imp", 1, 2)
TILES = Tiles(3, 16, 4000)
LAYERS = ("stages.2", "stages.3")
UNITS = UNITS_PER_SHEET + 3  # a second sheet, not full
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
            top = top_maps(LayerMaps(file, "layer"), cut, count)
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
    mask = random.random((height, width)) < random.random()
    drawn = sprites.draw_mask(picture, mask)

    def inside(y, x):
        return mask[int((y + 0.5) * height / side), int((x + 0.5) * width / side)]

    for y in range(side):
        for x in range(side):
            neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            if not inside(y, x):
                expected = [int(sprites.DARKENED * value) for value in picture[y, x]]
            elif all(inside(*place) for place in neighbours if min(place) >= 0 and max(place) < side):
                expected = picture[y, x].tolist()
            else:
                expected = list(sprites.EDGE)
            assert drawn[y, x].tolist() == expected


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
    for name, seed in (("tally", None), ("shuffled", 1)):
        tally_units(*(folder / f"{n}.h5" for n in ("activations", "thresholds", "concepts", name)), seed)
        name_units(folder / f"{name}.h5", folder / "concepts.h5", folder / f"{name}.csv")
    return folder


def draw(dissected: Path, gallery: Path, tally: str = "tally", tiles: Tiles = TILES) -> Path:
    files = (dissected / f"{name}.h5" for name in ("activations", tally, "concepts"))
    draw_units(*files, tiles, NETWORK, gallery / NETWORK)
    return gallery / NETWORK


def read_call(path: Path) -> list:
    """The arguments of the call that a data script is made of."""
    text = path.read_text()
    return json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")


@pytest.mark.parametrize("tally", ["tally", "shuffled"])
def test_data_scripts_say_what_the_tables_say(dissected, tmp_path, tally):
    folder = draw(dissected, tmp_path, tally)
    with open(dissected / f"{tally}.csv") as file:
        rows = list(csv.DictReader(file))
    for index, layer in enumerate(LAYERS):
        name, data = read_call(folder / f"layer_{index}.js")
        assert name == f"{NETWORK}/layer_{index}"
        of_layer = [row for row in rows if row["layer"] == layer]
        assert len(of_layer) == UNITS
        scores = [float(row["score"]) for row in of_layer]
        for row, best in zip(of_layer, data["best"], strict=True):
            if float(row["score"]) == 0:
                assert best == []
                continue
            label, category = data["labels"][best[0]]
            assert (label, ["object", "part"][category]) == (row["label"], row["category"])
            assert best[1] == float(row["score"])
            assert best[1::2] == sorted(best[1::2], reverse=True)
            told = {data["labels"][position][0]: iou for position, iou in zip(best[::2], best[1::2], strict=True)}
            assert "never" not in told
            for name in ("object", "part"):
                assert told.get(row[f"{name}-label"], 0) == pytest.approx(float(row[f"{name}-iou"]), abs=1e-4)
        assert sorted(data["slot"]) == list(range(UNITS))
        by_slot = sorted(range(UNITS), key=lambda unit: data["slot"][unit])
        assert by_slot == sorted(range(UNITS), key=lambda unit: (-scores[unit], unit))
        assert data["dead"] == [1]
        assert data["shown"][1] == 0
        assert data["shown"][2] == 2
        assert data["image"][2] == [3, 4]
        assert data["shown"] == [len(images) for images in data["image"]]
        assert data["threshold"] == pytest.approx([float(row["threshold"]) for row in of_layer], rel=1e-3)
        assert data["maximum"] == pytest.approx([float(row["maximum"]) for row in of_layer], rel=1e-3)


def test_sheets_show_the_top_pictures_and_where_the_unit_is_active(dissected, tmp_path):
    side = 96  # a mask's pixel is 16 wide or more: colours have not run at its centre
    folder = draw(dissected, tmp_path, tiles=TILES._replace(side=side, most_bytes=10**6))
    with h5py.File(dissected / "activations.h5") as file, h5py.File(dissected / "thresholds.h5") as thresholds:
        maps = {layer: file[f"maps/{layer}"][:] for layer in LAYERS}
        cut = {layer: thresholds[f"{layer}/threshold"][:] for layer in LAYERS}
    pictures = [picture.pixels[0, 0] for picture in concept_set().pictures]
    for index, layer in enumerate(LAYERS):
        _, data = read_call(folder / f"layer_{index}.js")
        sheets = [np.asarray(Image.open(folder / f"sheets/layer_{index}_{number}.webp")) for number in (0, 1)]
        assert [sheet.shape for sheet in sheets] == [(rows * side, 3 * side, 3) for rows in (UNITS_PER_SHEET, 3)]
        for unit in range(UNITS):
            expected = [] if unit == 1 else top_by_sorting(maps[layer][:, [unit]], cut[layer][[unit]], TILES.count)[0]
            assert data["image"][unit] == expected
            number, row = divmod(data["slot"][unit], UNITS_PER_SHEET)
            for place, image in enumerate(expected):
                tile = sheets[number][row * side : (row + 1) * side, place * side : (place + 1) * side].astype(int)
                mask = reference.interpolated(maps[layer][image, unit], 6, 5) > cut[layer][unit]
                assert mask.any()
                for y, x in np.ndindex(6, 5):
                    centre = tile[int((y + 0.5) * side / 6), int((x + 0.5) * side / 5)]
                    colour = pictures[image] * (1 if mask[y, x] else sprites.DARKENED)
                    assert abs(centre - colour).max() < 25, (unit, image, y, x)


def test_the_whole_is_the_same_bytes_again_and_its_checksums_stand_beside_it(dissected, tmp_path):
    folders = [draw(dissected, tmp_path / name) for name in ("one", "two")]
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in folders]
    assert files[0] == files[1]
    assert len(files[0]) == 2 + 4
    for file in files[0]:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    checksums = [folder.with_name(folder.name + ".sha256").read_text() for folder in folders]
    assert checksums[0] == checksums[1]
    assert len(checksums[0].splitlines()) == 6


def test_bytes_are_bounded(dissected, tmp_path):
    tiles = Tiles(4, 48, least_tile_bytes(48))
    folder = draw(dissected, tmp_path, tiles=tiles)
    for sheet in folder.glob("sheets/*"):
        rows = Image.open(sheet).size[1] // tiles.side
        assert sheet.stat().st_size <= rows * tiles.count * tiles.most_bytes


@pytest.mark.parametrize("file", ["activations", "tally", "concepts"])
def test_what_does_not_belong_together_is_refused_and_nothing_is_left(dissected, tmp_path, file):
    copy = tmp_path / "copy"
    shutil.copytree(dissected, copy)
    with h5py.File(copy / f"{file}.h5", "a") as changed:
        changed.attrs["activations" if file == "tally" else "fingerprint"] = "another"
    with pytest.raises(UserError, match="was not made from"):
        draw(copy, tmp_path / "gallery")
    assert not list((tmp_path / "gallery").rglob("*.*"))


# The page's list of networks


def write_networks(path: Path) -> None:
    columns = ["arm", "replicate", "level", "density", "test_accuracy", "layer", "units", "detectors_a", "concepts_a"]
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for level, (density, accuracy) in enumerate([(1, 0.9), (0.25, "")]):
            for layer in LAYERS:
                table.writerow(["imp", 1, level, density, accuracy, layer, 96, 40 - level, 12 + level])
        table.writerow(["NA", 1, 0, 1, 0.1, LAYERS[1], 96, 0, 0])


def test_the_experiment_is_listed_and_the_pages_files_are_copied(dissected, tmp_path):
    write_networks(tmp_path / "networks.csv")
    other = {network_folder("imp", 1, 1): network_folder("imp", 1, 0)}
    said = {"name": "small", "quantile": 0.2, "detector_iou": 0.04, "detector_rule": "above", "images": 3, "tile": 16}
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    write_gallery(said, tmp_path / "networks.csv", dissected / "concepts.h5", other, gallery)
    (experiment,) = read_call(gallery / "experiment.js")
    assert said.items() <= experiment.items()
    assert experiment["categories"] == ["object", "part"]
    assert experiment["units_per_sheet"] == UNITS_PER_SHEET
    dense, pruned, control = experiment["networks"]
    assert (dense["arm"], dense["replicate"], dense["level"]) == ("imp", 1, 0)
    assert dense["name"] == "iterative magnitude pruning"
    assert (dense["density"], dense["accuracy"], dense["folder"]) == (1, 0.9, "networks/imp/replicate_1/level_0")
    assert (pruned["density"], pruned["accuracy"], pruned["folder"]) == (0.25, None, dense["folder"])
    assert [layer["name"] for layer in pruned["layers"]] == list(LAYERS)
    assert pruned["layers"][1] == {"name": LAYERS[1], "units": 96, "detectors": 39, "concepts": 13}
    assert control["arm"] == "NA"
    assert len(control["layers"]) == 1
    for file in site_files():
        assert (gallery / file.name).read_bytes() == file.read_bytes()
    assert not list(gallery.glob("*.part"))


def test_a_missing_table_is_told(dissected, tmp_path):
    with pytest.raises(UserError, match="collect the tables first"):
        write_gallery({}, tmp_path / "networks.csv", dissected / "concepts.h5", {}, tmp_path)
