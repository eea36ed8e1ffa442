"""Units compared with chance, and their names on halves of the pictures."""

import csv
import tempfile
from collections import Counter
from itertools import permutations, product
from pathlib import Path
from statistics import stdev

import h5py
import numpy as np
import pytest
import reference_dissection as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dissection import LAYER, expected_tallies, prepare, small_set, write_dump

from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect import halves as halves_module
from workflow_scripts.dissect import tallied_layers as layers_module
from workflow_scripts.dissect import validate_units as validate_module
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.halves import DRAWS, GROUPS, HALVINGS, Groups, bootstrap, compare_halves
from workflow_scripts.dissect.interpolation import grid, interpolate
from workflow_scripts.dissect.name_units import iou, name_units
from workflow_scripts.dissect.nulls import fewest_found, null_columns
from workflow_scripts.dissect.permutations import group_pictures, permuted, strata
from workflow_scripts.dissect.tallies import Pairing
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.dissect.validate_units import label_areas, validate_units
from workflow_scripts.plan.protocols import Protocol

KNOTS = Protocol(knots="align_corners_false")
RULE = (KNOTS.detector_iou, KNOTS.detector_rule)
seeds = st.integers(0, 2**32 - 1)


def random_set(seed: int, pictures: int) -> reference.Concepts:
    """A set with two kinds of pictures: some with objects and parts, the others covered by a texture."""
    random = np.random.default_rng(seed)
    labels = {1: ("cat", ["object"]), 2: ("dog", ["object"]), 3: ("leg", ["part"]), 4: ("dots", ["texture"])}
    concepts = reference.Concepts(["object", "part", "texture"], labels, 5, 6)
    for place in range(pictures):
        cells: dict[str, list] = {"texture": [4]}
        if place % 3:
            objects = np.where(random.random((5, 6)) < 0.6, random.integers(1, 3, (5, 6)), 0)
            objects[0, 0], parts = 1, np.where(random.random((5, 6)) < 0.4, 3, 0)
            parts[1, 1] = 3
            cells = {"object": [objects], "part": [parts]}
        concepts.pictures.append(reference.Picture(random.integers(0, 256, (4, 4, 3), np.uint8), cells))
    return concepts


def mixed_set(seed: int, pictures: int) -> reference.Concepts:
    """A set of pictures with labels of one to three categories, in up to seven combinations."""
    random, concepts = np.random.default_rng(seed), random_set(seed, 0)
    for _ in range(pictures):
        chosen = random.permutation(3)[: random.integers(1, 4)]
        numbers = [int(random.integers(1, 3)), 3, 4]  # label numbers of an object, a part and a texture
        planes = [np.where(random.random((5, 6)) < 0.7, number, 0) for number in numbers]
        cells = {concepts.categories[place]: [planes[place]] for place in chosen}
        concepts.pictures.append(reference.Picture(random.integers(0, 256, (4, 4, 3), np.uint8), cells))
    return concepts


def prepared(folder: Path, seed: int, pictures: int = 12, units: int = 5) -> np.ndarray:
    """Write a small set, a dump of random maps (N, U, 2, 3) whose last unit is dead, and thresholds into `folder`."""
    maps = np.random.default_rng(seed).random((pictures, units, 2, 3)).astype(np.float32)
    maps[:, -1] = 0
    prepare(folder, random_set(seed, pictures), maps)
    return maps


def validated(folder: Path, permutations: int = 19, **options) -> tuple[list, list]:
    """The rows of nulls.csv and split.csv."""
    inputs = [folder / f"{name}.h5" for name in ("activations", "thresholds", "concepts")]
    nulls, split = folder / "nulls.csv", folder / "split.csv"
    choices = options.pop("choices", KNOTS)
    validate_units(inputs, choices, None, permutations, nulls, split, **options)
    return read_rows(nulls), read_rows(split)


def read_rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def masks_of(folder: Path, maps: np.ndarray) -> np.ndarray:
    with h5py.File(folder / "thresholds.h5") as file:
        threshold = file[LAYER]["threshold"][:]
    to = grid((2, 3), (5, 6), "align_corners_false")
    return np.array([interpolate(image, to) for image in maps]) > threshold[:, None, None]


@given(seeds, st.integers(1, 40), st.booleans(), st.integers(0, 5))
def test_permutations_keep_to_the_strata_of_labels(seed, images, shuffled, number):
    random = np.random.default_rng(seed)
    stratum = strata(random.random((images, 3)) < 0.5)
    partner = random.permutation(images) if shuffled else np.arange(images)
    found = permuted(partner, stratum, number)
    assert sorted(found) == list(range(images))
    assert (stratum[found] == stratum[partner]).all()
    assert (found == permuted(partner, stratum, number)).all()


def test_permutations_are_all_equally_likely():
    stratum = np.array([0, 1, 0, 1, 0])
    found = [tuple(permuted(np.arange(5), stratum, number)) for number in range(2400)]
    counts = [found.count(kind) for kind in set(found)]
    assert len(counts) == 12  # 3! x 2!
    assert (np.abs(np.array(counts) - 200) < 5 * np.sqrt(200)).all()


@given(seeds, st.integers(1, 80), st.integers(1, 20))
def test_groups_divide_each_stratum_evenly(seed, images, groups):
    stratum = strata(np.random.default_rng(seed).random((images, 2)) < 0.5)
    group = group_pictures(stratum, groups)
    for kind in [stratum == number for number in set(stratum)] + [np.ones(images, bool)]:
        counts = np.bincount(group[kind], minlength=groups)
        assert counts.max() - counts.min() <= 1


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from(["once", "each"]), st.booleans())
def test_p_values_agree_with_plain_loops(seed, planes, shuffled):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maps = prepared(folder, seed)
        masks = masks_of(folder, maps)
        choices = Protocol(knots="align_corners_false", planes=planes)
        rows, _ = validated(folder, choices=choices, shuffle_labels=3 if shuffled else None)
        with ConceptData(folder / "concepts.h5") as labels:
            partner = np.random.default_rng(3).permutation(12) if shuffled else np.arange(12)
            stratum = strata(labels.image_has_category)
            pairings = [partner, *(permuted(partner, stratum, number) for number in range(19))]
            best = []
            for pairing in pairings:
                drawn = planes_of(labels)
                counts = expected_tallies(
                    masks, drawn, labels.image_has_category, labels.label_category,
                    Pairing(pairing[None], np.zeros((1, 12), int)), 1, False, planes == "each",
                )  # fmt: skip
                area = labels.plane_area if planes == "each" else labels.label_area
                best.append(iou(counts[0][0].T, counts[1][0], area, labels.label_category).max(1))
        expected = (1 + (np.array(best[1:]) >= best[0]).sum(0)) / 20
        expected[-1] = 1  # dead
        assert [float(row["p"]) for row in rows] == pytest.approx(expected)
        assert [float(row["iou"]) for row in rows] == pytest.approx(best[0])
        assert [float(row["null_mean"]) for row in rows] == pytest.approx(np.mean(best[1:], axis=0))


def planes_of(labels: ConceptData) -> list:
    """Each image's labels and their pixels, as `expected_tallies` takes them."""
    found = []
    for image in range(len(labels.image_has_category)):
        block = labels.block(np.array([image]), True, True)
        bits = np.unpackbits(block.masks.view(np.uint8), axis=1, bitorder="little")
        bits = bits.reshape(len(block.masks), labels.height, 8 * labels.row_bytes)[..., : labels.width].astype(bool)
        every = np.ones((labels.height, labels.width), bool)
        found.append([*zip(block.mask_label, bits, strict=True), *((label, every) for label in block.whole_label)])
    return found


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_iou_of_chance_is_that_of_all_permutations(seed):
    pictures = 6  # two of one kind, four of the other: 2! x 4! permutations
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        masks = masks_of(folder, prepared(folder, seed, pictures))
        rows, _ = validated(folder, permutations=0)
        with ConceptData(folder / "concepts.h5") as labels:
            planes, names = planes_of(labels), labels.label_name
            one, other = ([i for i in range(pictures) if (i % 3 == 0) == first] for first in (True, False))
            shared = []
            for a, b in product(permutations(one), permutations(other)):
                partner = np.empty(pictures, int)
                partner[one], partner[other] = a, b
                counts = expected_tallies(
                    masks, planes, labels.image_has_category, labels.label_category,
                    Pairing(partner[None], np.zeros((1, pictures), int)), 1, False, False,
                )  # fmt: skip
                shared.append(counts[0][0])
            areas = counts[1][0]
            for row in rows:
                if not row["label"]:
                    assert float(row["iou_chance"]) == 0
                    continue
                unit, label = int(row["unit"]), names.index(row["label"])
                mean = np.mean([counts[label, unit] for counts in shared])
                union = areas[unit, labels.label_category[label]] + labels.label_area[label] - mean
                assert float(row["iou_chance"]) == pytest.approx(mean / union, rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(1, 30), st.integers(1, 2), st.booleans())
def test_the_iou_of_chance_is_the_same_to_the_bit_however_little_is_counted_at_once(seed, at_once, threads, shuffled):
    pictures, shuffle = 20, 3 if shuffled else None
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr(validate_module, "HEAT_AT_ONCE", at_once * 4 * 5 * 64)  # this number of label maps
        maps = np.random.default_rng(seed).random((pictures, 5, 2, 3)).astype(np.float32)
        prepare(folder, mixed_set(seed, pictures), maps)
        masks = masks_of(folder, maps)
        rows, _ = validated(folder, permutations=0, threads=threads, shuffle_labels=shuffle)
        with ConceptData(folder / "concepts.h5") as labels:
            has, category, area = labels.image_has_category, labels.label_category, labels.label_area
            names, planes = labels.label_name, planes_of(labels)
    stratum = strata(has)
    partner = np.random.default_rng(3).permutation(pictures) if shuffled else np.arange(pictures)
    label = np.array([names.index(row["label"]) if row["label"] else -1 for row in rows])
    labelled = np.zeros((len(names), pictures, 5, 6), int)
    for image, of_image in enumerate(planes):
        for number, pixels in of_image:
            labelled[number, image] += pixels
    shared = np.array(
        [
            (masks[stratum[partner] == kind].sum(0) * labelled[label][:, stratum == kind].sum(1)).sum((1, 2))
            for kind in range(stratum.max() + 1)
        ]
    )
    intersection = (shared / np.bincount(stratum)[:, None]).sum(0)
    unit_area = (masks.sum((2, 3)) * has[partner][:, category[label]]).sum(0)
    expected = intersection / np.maximum(unit_area + area[label] - intersection, 1)
    assert [float(row["iou_chance"]) for row in rows] == np.where(label < 0, 0, expected).tolist()


@pytest.mark.parametrize("at_once", [1, 5_000])
def test_results_do_not_depend_on_how_much_is_counted_at_once(tmp_path, monkeypatch, at_once):
    prepared(tmp_path, seed=4)
    expected = validated(tmp_path)
    monkeypatch.setattr(validate_module, "COUNTS_AT_ONCE", at_once)
    monkeypatch.setattr(validate_module, "HEAT_AT_ONCE", at_once)
    monkeypatch.setattr(halves_module, "VALUES_AT_ONCE", at_once)
    assert validated(tmp_path) == expected == validated(tmp_path, threads=2)


def test_labels_have_room_on_the_disk_before_they_are_mapped(tmp_path, monkeypatch):
    """A page of a mapped file for which there is no room would kill the process."""
    prepared(tmp_path, seed=4, pictures=60)
    sizes = []
    map_file = np.memmap

    def mapped(path, *arguments, **options):
        sizes.append((path.stat().st_size, path.stat().st_blocks * 512))
        return map_file(path, *arguments, **options)

    monkeypatch.setattr(np, "memmap", mapped)
    validated(tmp_path)
    assert sizes and all(0 < size <= allocated for size, allocated in sizes)


def test_a_device_counts_the_same(tmp_path, monkeypatch):
    prepared(tmp_path, seed=10)
    expected = validated(tmp_path)
    monkeypatch.setattr(layers_module, "lease_gpu", lambda: "cpu")
    assert validated(tmp_path) == expected


def test_groups_add_up_to_the_tally_and_names_are_those_of_units(tmp_path):
    prepared(tmp_path, seed=5, pictures=30)
    inputs = [tmp_path / f"{name}.h5" for name in ("activations", "thresholds", "concepts")]
    tally_units(*inputs, tmp_path / "tally.h5")
    name_units(tmp_path / "tally.h5", tmp_path / "concepts.h5", *RULE, tmp_path / "units.csv")
    rows, _ = validated(tmp_path)
    named = read_rows(tmp_path / "units.csv")
    for column, other in (("layer", "layer"), ("unit", "unit"), ("label", "label"), ("iou", "score")):
        assert [row[column] for row in rows] == [row[other] for row in named], column
    with ConceptData(tmp_path / "concepts.h5") as labels:
        group = group_pictures(strata(labels.image_has_category), GROUPS)
        assert (label_areas(labels, group, GROUPS, False).sum(0) == labels.label_area).all()
        assert (label_areas(labels, group, GROUPS, True).sum(0) == labels.plane_area).all()


def test_without_permutations_columns_of_chance_are_empty(tmp_path):
    prepared(tmp_path, seed=6)
    rows, [split] = validated(tmp_path, permutations=0)
    assert all(row["p"] == row["q"] == row["permutations"] == "" for row in rows)
    assert all(row["iou_chance"] and row["agreement"] for row in rows)
    assert split["groups"] == "12"  # as many as pictures


def test_the_log_says_how_many_pictures_can_be_permuted(tmp_path, caplog):
    concepts = mixed_set(2, 20)
    kinds = Counter(frozenset(picture.cells) for picture in concepts.pictures)
    alone = sum(count == 1 for count in kinds.values())
    prepare(tmp_path, concepts, np.random.default_rng(2).random((20, 2, 2, 3)).astype(np.float32))
    with caplog.at_level("INFO"):
        validated(tmp_path)
    assert alone > 0 and f"the labels of {20 - alone} of 20 pictures can be permuted" in caplog.messages


def test_small_p_values_are_as_frequent_by_chance_as_they_should_be(tmp_path):
    small = []
    for world in range(12):
        folder = tmp_path / str(world)
        folder.mkdir()
        maps = np.random.default_rng((world, 1)).random((30, 40, 2, 3)).astype(np.float32)
        reference.write_broden(random_set(world, 30), folder / "set")
        pack_concepts(folder / "set", 4, folder / "concepts.h5")
        with ConceptData(folder / "concepts.h5") as labels:
            write_dump(folder / "activations.h5", {LAYER: maps}, labels.fingerprint)
        find_thresholds(folder / "activations.h5", 0.1, folder / "thresholds.h5")
        rows, _ = validated(folder, permutations=39)
        small += [float(row["p"]) <= 0.05 for row in rows]
    error = np.sqrt(0.05 * 0.95 / len(small))
    assert abs(np.mean(small) - 0.05) <= 3 * error


def test_columns_of_nulls_by_hand():
    nulls = np.array([[0.02, 0.05, 0.0, 0.0], [0.03, 0.01, 0.0, 0.0], [0.04, 0.02, 0.0, 0.0]])
    columns = null_columns(np.array([0.03, 0.06, 0.0, 0.5]), nulls, np.array([False, False, False, True]), RULE)
    assert columns["p"].tolist() == [0.75, 0.25, 1, 1]  # ties count against a unit, and a dead one is never better
    assert columns["p_gumbel"][3] == 1
    assert columns["q"].tolist() == [1, 1, 1, 1]
    assert columns["null_detectors"] == pytest.approx([0, 1 / 3, 0, 0])
    assert columns["null_max"].tolist() == [0.04, 0.05, 0, 0]
    assert columns["null_mean"] == pytest.approx([0.03, 0.08 / 3, 0, 0])
    assert columns["null_sd"] == pytest.approx([0.01, np.sqrt(39) / 300, 0, 0])


def test_q_by_hand():
    best = np.array([5, 4, 3, 2, 0.5])  # p = .01, .02, .03, .04 and .5 of 99 permutations
    nulls = np.zeros((99, 5))
    nulls[:49, 4] = 1
    for unit in range(4):
        nulls[:unit, unit] = 9
    columns = null_columns(best, nulls, np.zeros(5, bool), RULE)
    assert columns["p"] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.5])
    assert columns["q"] == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.5])


def test_the_gumbel_tail_is_that_of_the_distribution():
    nulls = np.random.default_rng(1).gumbel(0.02, 0.003, (4000, 3))
    best = 0.02 + 0.003 * -np.log(-np.log(1 - np.array([0.5, 0.05, 0.001])))
    found = null_columns(best, nulls, np.zeros(3, bool), RULE)["p_gumbel"]
    assert found == pytest.approx([0.5, 0.05, 0.001], rel=0.2)


@pytest.mark.parametrize(("units", "many", "fewest"), [(96, 23, 80), (96, 191, 10), (96, 1919, 1), (2048, 30, 1322)])
def test_fewest_units_that_permutations_can_find(units, many, fewest):
    assert fewest_found(units, many) == fewest
    best, nulls = np.zeros(units), np.ones((many, units))
    for found, significant in ((fewest, True), (fewest - 1, False)):
        best[:], best[:found] = 0, 2
        q = null_columns(best, nulls, np.zeros(units, bool), RULE)["q"]
        assert (q[:found] <= 0.05 + 1e-12).all() == significant or not found


@st.composite
def groups_of_counts(draw):
    """Possible tallies of groups."""
    random = np.random.default_rng(draw(seeds))
    count, labels, units = draw(st.integers(2, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    label_area = random.integers(0, 50, (count, labels))
    shared = random.integers(0, label_area[..., None] + 1, (count, labels, units))
    area = shared.max(1)[..., None] + random.integers(0, 9, (count, units, 2))
    return Groups(shared, area, label_area, random.integers(0, 2, labels))


@given(groups_of_counts(), seeds)
def test_names_of_groups_are_those_of_their_sums(groups, seed):
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(groups.intersection)))
    names, scores = groups.best(weights)
    for weight, name, score in zip(weights, names, scores, strict=True):
        shared, area, of_labels = (
            sum(w * counts[g] for g, w in enumerate(weight))
            for counts in (groups.intersection, groups.unit_area, groups.label_area)
        )
        expected = iou(shared.T, area, of_labels, groups.label_category)
        assert (name == expected.argmax(1)).all()
        assert score == pytest.approx(expected.max(1))
    assert groups.scores(weights, names) == pytest.approx(scores)


def test_halves_of_equal_groups_agree():
    one = np.array([[30, 1], [2, 40]])  # labels, units
    groups = Groups(*(np.repeat(c[None], 20, 0) for c in (one, np.array([[60], [70]]), np.array([90, 80]))), [0, 0])
    groups = groups._replace(label_category=np.array([0, 0]))
    split = compare_halves(groups, RULE)
    assert split.agreement.tolist() == [1, 1]
    assert (split.row["groups"], split.row["halvings"]) == (20, HALVINGS)
    for column in ("keep", "agreement", "kappa_common", "kappa_all", "jaccard", "counts_overlap"):
        assert split.row[column] == 1, column
    assert (split.row["detectors_half"], split.row["detectors_cv"], split.row["bias"]) == (2, 2, 0)
    assert bootstrap(groups, RULE) == {"units_sd": 0, "concepts_sd": 0}


def test_halves_without_a_name_for_a_unit_do_not_agree():
    # Unit 0 shares no pixel with any label; unit 1 only with the first label, in one group, which is in one half.
    shared = np.zeros((4, 2, 2), int)
    shared[2, 0, 1] = 5
    groups = Groups(shared, np.full((4, 2, 1), 9), np.full((4, 2), 9), np.zeros(2, int))
    assert compare_halves(groups, RULE).agreement.tolist() == [0, 0.5]


def test_names_by_chance_on_one_half_fail_on_the_other():
    random = np.random.default_rng(8)
    shared = random.integers(0, 8, (20, 60, 300))
    groups = Groups(shared, np.full((20, 300, 1), 60), np.full((20, 60), 60), np.zeros(60, int))
    row = compare_halves(groups, (0.05, "above")).row
    assert row["bias"] > 0.005
    assert row["agreement"] < 0.3
    assert row["detectors_cv"] <= row["detectors_half"]


def test_without_detectors_shares_are_unknown(tmp_path):
    groups = Groups(np.zeros((4, 2, 3), int), np.zeros((4, 3, 1), int), np.ones((4, 2), int), np.zeros(2, int))
    row = compare_halves(groups, RULE).row
    assert row["detectors_half"] == row["detectors_cv"] == row["bias"] == 0
    assert np.isnan([row[name] for name in ("keep", "agreement", "kappa_common", "kappa_all", "jaccard")]).all()


def test_the_bootstrap_draws_groups_with_replacement():
    # The unit is a detector if its one good group is drawn, which happens in 1 - (19 / 20) ** 20 of all draws.
    shared = np.zeros((20, 1, 1), int)
    shared[3] = 500
    groups = Groups(shared, np.full((20, 1, 1), 500), np.full((20, 1), 500), np.zeros(1, int))
    share = 1 - (19 / 20) ** 20
    found = bootstrap(groups, RULE)
    assert found["units_sd"] == pytest.approx(np.sqrt(share * (1 - share)), abs=0.06)
    of_draws = [stdev([1] * drawn + [0] * (DRAWS - drawn)) for drawn in range(DRAWS + 1)]
    assert found["concepts_sd"] == pytest.approx(found["units_sd"])
    assert any(found["units_sd"] == pytest.approx(sd) for sd in of_draws)


def test_a_validation_needs_files_that_belong_together(tmp_path):
    prepared(tmp_path, seed=7)
    (tmp_path / "other").mkdir()
    prepare(tmp_path / "other", small_set(12), np.zeros((12, 2, 2, 3), np.float32) + np.arange(3, dtype=np.float32))
    inputs = [tmp_path / "activations.h5", tmp_path / "thresholds.h5", tmp_path / "other" / "concepts.h5"]
    with pytest.raises(Exception, match="was not made from"):
        validate_units(inputs, KNOTS, None, 19, tmp_path / "n.csv", tmp_path / "s.csv")
    assert not (tmp_path / "n.csv").exists()


def test_the_mean_over_permutations_approaches_the_iou_of_chance(tmp_path):
    maps = prepared(tmp_path, seed=9, pictures=30)
    with ConceptData(tmp_path / "concepts.h5") as labels:
        stratum, images = strata(labels.image_has_category), len(maps)
        masks, planes = masks_of(tmp_path, maps), planes_of(labels)
        rows, _ = validated(tmp_path, permutations=0)
        pairing = Pairing(
            np.array([permuted(np.arange(images), stratum, n) for n in range(40)]), np.zeros((40, images), int)
        )
        shared = expected_tallies(
            masks, planes, labels.image_has_category, labels.label_category, pairing, 1, False, False
        )[0][0]
        names = labels.label_name
    for row in rows[:-1]:
        unit, label = int(row["unit"]), names.index(row["label"])
        area = masks[:, unit].sum((1, 2))[labels.image_has_category[:, labels.label_category[label]]].sum()
        mean = shared[label, unit] / 40
        assert float(row["iou_chance"]) == pytest.approx(mean / (area + labels.label_area[label] - mean), rel=0.1)
