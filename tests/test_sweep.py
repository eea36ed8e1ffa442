"""Counts with other choices: what is requested, the counts of a network, the table, and the figure."""

import csv
import itertools
import re
import sys
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from small_experiments import LAYER, collected, figure_of, is_drawn, sweep, write_experiment, write_units
from test_experiment import BROUGHT, IMP, PRUNED, experiment
from test_rotations import pack, some_concepts, some_layers, write_dump

from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.dissect import dissect_dump, sweep_units
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.map_writers import Candidates
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.load import complete_config
from workflow_scripts.plan.protocols import PROTOCOLS, Protocol
from workflow_scripts.plan.robustness import Variation, from_json, own_choices, own_value, to_json, variations
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables import collect_sweep
from workflow_scripts.tables.collect import count_detectors, read_units
from workflow_scripts.tables.collect_sweep import COLUMNS, SweptNetwork

OWN = Protocol(quantile=0.1, knots="align_corners_false", detector_iou=0.05)
FIELDS = {
    "picture": 32,
    "layers": {"a": [[3.0, 9.0], [4.0, 6.0]], "b": None},  # b has none and uses cell centres
}
ASKED = {"quantiles": [0.01, 0.005], "protocols": ["netdissect", "lite", "pnas"], "knots": ["align_corners_false"]}


# The variations asked for


def test_variations_are_those_of_the_config_without_its_own_setting():
    own = PROTOCOLS["netdissect"]
    assert variations(complete_config({"robustness": ASKED})) == [
        Variation("quantile", "0.01", replace(own, quantile=0.01)),
        Variation("protocol", "lite", PROTOCOLS["lite"]),
        Variation("protocol", "pnas", PROTOCOLS["pnas"]),
        Variation("knots", "align_corners_false", replace(own, knots="align_corners_false")),
    ]
    assert variations(complete_config({})) == []
    # If a single choice differs, the named protocol also counts as a variation.
    config = complete_config({"robustness": ASKED, "dissection": {"detector_iou": 0.05}})
    found = variations(config)
    assert [value for choice, value, _ in found if choice == "protocol"] == ["netdissect", "lite", "pnas"]
    assert {choices.detector_iou for choice, _, choices in found if choice != "protocol"} == {0.05}
    assert own_value("protocol", own_choices(config["dissection"])) == "own"
    assert from_json(to_json(found)) == found


def test_settings_equal_to_a_protocol_have_its_name():
    config = complete_config({"dissection": {"knots": "align_corners_false"}, "robustness": {"protocols": ["quick"]}})
    own = own_choices(config["dissection"])
    assert variations(config) == []
    assert (own_value("protocol", own), own_value("quantile", own)) == ("quick", "0.005")


def test_only_curves_are_swept_and_only_on_request():
    arms = [IMP, {"name": "shuffled", "recipe": "shuffled_labels", "of": "imp"}, BROUGHT, PRUNED]
    plain, asked = experiment(arms=arms), experiment(arms=arms, robustness=ASKED)
    assert {network.key.arm for network in asked.curves()} == {"imp", "lite", "lite_random"}
    assert [network.dissection_of for network in asked.curves()].count(Key("lite", 1, 0)) == 2
    assert plain.variations == [] and len(asked.variations) == 4
    assert "results/shapes/tables/sweep.csv" in plain.tables() and "robustness" in plain.figure_names
    assert plain.swept_values() == "--values detector_iou 0.04 0.02 0.03 0.06 0.08 0.1"
    assert asked.swept_values().endswith(
        "--values quantile 0.005 0.01 --values protocol netdissect lite pnas"
        " --values knots receptive_field align_corners_false"
    )


def test_receptive_fields_are_found_if_a_variation_needs_them():
    cells = {"dissection": {"knots": "align_corners_false"}}
    for knots, needed in [("align_corners_true", []), ("receptive_field_exact", ["receptive_fields.json"])]:
        found = experiment(**cells, robustness={"knots": [knots]})
        design = found.first_design()
        assert found.fields(design) == []
        assert [path.rpartition("/")[2] for path in found.sweep_fields(design)] == needed


@pytest.mark.parametrize(
    ("asked", "dissection", "sentences"),
    [
        (ASKED | {"protocols": ["netdissect"], "quantiles": [0.005, 0.002]}, {}, []),
        (ASKED, {"dump": "all"}, []),
        (
            ASKED,
            {},
            [
                "robustness.quantiles has 0.01, for which dissection.dump keeps too few candidates: set"
                " dissection.largest_quantile to at least 0.01, or dissection.dump to all",
                "robustness.protocols has lite, for which dissection.dump keeps too few candidates: set"
                " dissection.largest_quantile to at least 0.005005, or dissection.dump to all",
                "robustness.protocols has pnas, whose thresholds are those of upsampled maps, but dissection.dump is"
                " candidates, which only suffice for raw maps: set dissection.dump to all, or leave pnas out",
            ],
        ),
        (ASKED | {"protocols": ["lite"]}, {"largest_quantile": 0.01}, []),
        (
            ASKED,
            {"quantile_of": "upsampled"},
            ["dissection.dump: candidates only suffice for quantiles of raw maps; set it to all"],
        ),
    ],
)
def test_variations_that_need_more_than_candidates_are_refused(asked, dissection, sentences):
    config = {"robustness": asked, "dissection": {"dump": "candidates"} | dissection}
    if not sentences:
        complete_config(config)
        return
    with pytest.raises(UserError) as error:
        complete_config(config)
    assert re.findall(r"(?:robustness|dissection)\.\w+(?: has|:) .*?(?=\n|$)", str(error.value)) == sentences


def test_invalid_values_are_refused():
    for asked, words in [
        ({"knots": ["middle"]}, 'robustness.knots.0 is "middle"'),
        ({"protocols": ["net"]}, 'robustness.protocols.0 is "net"'),
        ({"quantiles": [0.5]}, "robustness.quantiles.0 is 0.5"),
        ({"detector_ious": [0]}, "robustness.detector_ious.0 is 0"),
    ]:
        with pytest.raises(UserError, match=re.escape(words)):
            complete_config({"robustness": asked})


# The counts of a network


@pytest.fixture
def folder(tmp_path):
    """A dump and its concepts."""
    concepts = some_concepts()
    write_dump(tmp_path / "activations.h5", some_layers(np.float16, len(concepts.pictures)), pack(concepts, tmp_path))
    return tmp_path


def swept(folder, found, **more):
    (folder / "passing").mkdir(exist_ok=True)
    files = folder / "activations.h5", folder / "concepts.h5"
    rows = list(sweep_units.sweep_units(*files, found, folder / "passing", FIELDS, **more))
    assert list((folder / "passing").iterdir()) == []
    return rows


def by_themselves(folder, choices, shuffle=None):
    """The units of a dump, dissected step by step."""
    dump, concepts, thresholds, tally, units = (
        folder / name for name in ("activations.h5", "concepts.h5", "t.h5", "n.h5", "units.csv")
    )
    upsampled = choices.knots if choices.quantile_of == "upsampled" else None
    find_thresholds(dump, choices.quantile, thresholds, upsampled, concepts, FIELDS, border=choices.border)
    tally_units(
        dump, thresholds, concepts, tally, shuffle, choices.knots, choices.mask, choices.counted_images, FIELDS,
        border=choices.border, planes=choices.planes,
    )  # fmt: skip
    name_units(tally, concepts, choices.detector_iou, choices.detector_rule, units)
    return read_units(units)


def counted(units, layer):
    """The counts of a layer's units, as in the workflow's tables."""
    of_layer = units[units["layer"] == layer]
    sums = count_detectors(of_layer).sum(numeric_only=True)
    return {"units": len(of_layer), **sums, "dead_units": of_layer["dead"].sum()}


@pytest.mark.parametrize("shuffle", [None, 3])
@pytest.mark.parametrize(
    "choices",
    [
        OWN,
        replace(OWN, quantile=0.3),
        replace(OWN, knots="receptive_field"),
        replace(OWN, detector_iou=0.1),
        *(replace(protocol, quantile=10 * protocol.quantile) for protocol in PROTOCOLS.values()),
    ],
)
def test_counts_are_those_of_a_dissection_step_by_step(folder, choices, shuffle):
    rows = swept(folder, [Variation("quantile", "x", choices)], shuffle_labels=shuffle)
    assert [(row["choice"], row["value"], row["layer"]) for row in rows] == [
        ("quantile", "x", "b"),
        ("quantile", "x", "a"),
    ]
    units = by_themselves(folder, choices, shuffle)
    for row in rows:
        expected = counted(units, row["layer"])
        assert {column: row[column] for column in expected} == expected
        assert row["median_score"] == pytest.approx(units.loc[units["layer"] == row["layer"], "score"].median())
    assert sum(row["detectors_b"] for row in rows) > 0


def test_settings_matter_and_equal_ones_are_counted_once(folder, monkeypatch):
    made = []

    def spied(activations, quantile, *more):
        made.append(quantile)
        find_thresholds(activations, quantile, *more)

    monkeypatch.setattr(dissect_dump, "find_thresholds", spied)
    few, same, many = (replace(OWN, quantile=quantile) for quantile in (0.1, 0.1, 0.3))
    rows = swept(
        folder, [Variation("quantile", "0.1", few), Variation("protocol", "p", same), Variation("q", "m", many)]
    )
    counts = [[row[column] for column in ("detectors_b", "median_score")] for row in rows]
    assert made == [0.1, 0.3]
    assert counts[:2] == counts[2:4] and counts[:2] != counts[4:]


def test_the_command_line_writes_one_file_and_nothing_else(folder, monkeypatch):
    before = {path.name for path in folder.iterdir()}
    found = [Variation("quantile", "0.3", replace(OWN, quantile=0.3)), Variation("protocol", "p", OWN)]
    words = ["--activations", folder / "activations.h5", "--concepts", folder / "concepts.h5", "--gpus", 0]
    words += ["--variations", to_json(found), "--out", folder / "sweep.csv"]
    monkeypatch.setattr(sys, "argv", ["sweep_units", *map(str, words)])
    sweep_units.main()
    with open(folder / "sweep.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["choice"], row["value"], row["layer"]) for row in rows] == [
        (*variation[:2], layer) for variation in found for layer in ("b", "a")
    ]
    assert list(rows[0])[3:] == ["units", "detectors_a", "concepts_a", "detectors_b", "concepts_b", "dead_units"]
    assert {path.name for path in folder.iterdir()} == {*before, "sweep.csv"}
    # A failure leaves no file.
    (folder / "sweep.csv").unlink()
    monkeypatch.setattr(dissect_dump, "tally_units", None)
    with pytest.raises(TypeError):
        sweep_units.main()
    assert {path.name for path in folder.iterdir() if path.suffix != ".lock"} == before


def test_candidates_are_enough_up_to_their_quantile(folder):
    layers = some_layers(np.float16, 12)
    concepts = h5py.File(folder / "activations.h5").attrs["concepts"]
    found = [Variation("quantile", str(quantile), replace(OWN, quantile=quantile)) for quantile in (0.05, 0.2)]
    expected = swept(folder, found)
    (folder / "activations.h5").unlink()
    with h5py.File(folder / "activations.h5", "w") as file, h5py.File(folder / "scratch", "w") as scratch:
        file.create_group("maps", track_order=True)
        for layer, maps in layers.items():
            writer = Candidates(file, scratch, layer, maps.shape, np.dtype(np.float16), 0.2, "above")
            writer.add(torch.from_numpy(maps))
            writer.finish()
        file.attrs.update(
            concepts=concepts, fingerprint="f", format=FORMAT, candidates_quantile=0.2, candidates_mask="above"
        )
    assert swept(folder, found) == expected
    for wrong in (replace(OWN, quantile=0.3), replace(OWN, quantile_of="upsampled")):
        with pytest.raises(UserError, match="keeps only the maps that matter for quantiles of raw maps up to"):
            swept(folder, [Variation("quantile", "x", wrong)])


# The table

UNITS = {  # for each unit: maximum, threshold, and by category its best label and their IoU
    0: (2.0, 1.0, {"object": ("cat", 0.05), "part": ("leg", 0.03)}),
    1: (2.0, 1.0, {"object": ("cat", 0.02), "part": ("leg", 0.04)}),
    2: (2.0, 1.0, {"object": ("dog", 0.06), "part": ("ear", 0.05)}),
    3: (0.0, 0.0, {"object": ("", 0.0), "part": ("", 0.0)}),
}
BY_HAND = {  # for each IoU threshold: detectors and concepts, once and in every category
    "0.02": (3, 3, 5, 4),  # cat, leg, dog; the object of unit 1 is not above
    "0.04": (2, 2, 3, 3),
    "0.05": (1, 1, 1, 1),
    "0.1": (0, 0, 0, 0),
}
VALUES = {"detector_iou": ["0.04", "0.1", "0.02", "0.05"]}
OTHERS = {"quantile": ["0.005", "0.02", "0.001"], "knots": ["receptive_field", "align_corners_true"]}


def table_of(folder, networks, values=VALUES, rule="above"):
    collect_sweep.collect_sweep(networks, rule, values, folder / "table.csv")
    return pd.read_csv(folder / "table.csv", dtype={"value": str, "layer": str})


def write_sweep(folder, layers=("b", "7"), others=OTHERS):
    """A network's sweep.csv, with counts that show their origin."""
    rows, wanted = [], [(choice, value) for choice in others for value in others[choice][1:]]
    for number, (choice, value) in enumerate(wanted):
        rows += [[choice, value, layer, 4, 100 * number + place, 1, 2, 3, 1] for place, layer in enumerate(layers)]
    columns = ["choice", "value", "layer", *COLUMNS[7:]]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "sweep.csv", index=False)
    return folder / "sweep.csv"


def test_iou_thresholds_are_recounted_by_hand(tmp_path):
    write_units(tmp_path / "units.csv", UNITS, layers=("b", "7"))
    networks = [SweptNetwork("imp", *key, tmp_path / "units.csv") for key in ((2, 0), (1, 10), (1, 2))]
    table = table_of(tmp_path, networks)
    assert list(table.columns) == COLUMNS
    assert table[["replicate", "level"]].drop_duplicates().to_numpy().tolist() == [[1, 2], [1, 10], [2, 0]]
    first = table.head(8)
    assert first["layer"].tolist() == ["b"] * 4 + ["7"] * 4  # in the order of their dissection
    assert first["value"].tolist() == list(BY_HAND) * 2
    assert table.loc[table["own"], "value"].unique().tolist() == ["0.04"]
    for row in table.itertuples():
        assert (row.detectors_a, row.concepts_a, row.detectors_b, row.concepts_b) == BY_HAND[row.value]
        assert (row.choice, row.units, row.dead_units) == ("detector_iou", 4, 1)


def test_the_rule_at_least_counts_units_at_the_threshold(tmp_path):
    write_units(tmp_path / "units.csv", UNITS, rule="at_least")
    table = table_of(tmp_path, [SweptNetwork("imp", 1, 0, tmp_path / "units.csv")], rule="at_least")
    counts = table.set_index("value")[["detectors_a", "concepts_a", "detectors_b", "concepts_b"]]
    assert counts.loc["0.04"].tolist() == [3, 3, 4, 4]  # unit 1 reaches it
    assert counts.loc["0.05"].tolist() == [2, 2, 3, 3]


def test_counts_of_other_settings_come_from_sweep_csv_and_own_ones_from_units_csv(tmp_path):
    write_units(tmp_path / "units.csv", UNITS, layers=("b", "7"))
    network = SweptNetwork("imp", 1, 0, tmp_path / "units.csv", write_sweep(tmp_path))
    table = table_of(tmp_path, [network], VALUES | OTHERS)
    rows = table[(table["layer"] == "7") & (table["choice"] != "detector_iou")]
    assert rows[["choice", "value", "own", "detectors_a"]].to_numpy().tolist() == [
        ["quantile", "0.001", False, 101],
        ["quantile", "0.005", True, 2],
        ["quantile", "0.02", False, 1],
        ["knots", "receptive_field", True, 2],
        ["knots", "align_corners_true", False, 201],
    ]
    own = rows.loc[rows["own"], COLUMNS[7:]].to_numpy().tolist()
    assert own == [[4, *BY_HAND["0.04"], 1]] * 2


def test_what_is_missing_or_damaged_is_named(tmp_path):
    write_units(tmp_path / "units.csv", UNITS, layers=("b", "7"))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    write_sweep(tmp_path, layers=("b",))
    for name, words in [
        ("none.csv", "none.csv is missing"),
        ("other.csv", "other.csv has no column choice"),
        ("sweep.csv", "sweep.csv has no quantile 0.02 of layer 7: sweep that network again"),
    ]:
        network = SweptNetwork("imp", 1, 0, tmp_path / "units.csv", tmp_path / name)
        with pytest.raises(UserError, match=re.escape(words)):
            table_of(tmp_path, [network], VALUES | OTHERS)
    assert not (tmp_path / "table.csv").exists()


def test_the_command_line_collects(tmp_path, monkeypatch):
    folder = tmp_path / "imp" / "replicate_1" / "level_0"
    write_units(folder / "units.csv", UNITS, layers=("b", "7"))
    write_sweep(folder)
    words = ["--results", tmp_path, "--networks", "imp", "1/0", "--detector-rule", "above"]
    for choice, values in (VALUES | OTHERS).items():
        words += ["--values", choice, *values]
    monkeypatch.setattr(sys, "argv", ["collect_sweep", *map(str, words), "--out", str(tmp_path / "out.csv")])
    collect_sweep.main()
    assert len(pd.read_csv(tmp_path / "out.csv")) == 2 * (4 + 3 + 2)


# The figure

SETTINGS = {"detector_iou": ["0.04", "0.02", "0.1"], "quantile": ["0.005", "0.01"], "knots": ["receptive_field"]}


def relative(rows, column):
    """The points of a line, by hand: weights remaining, and the mean in per cent of the dense networks' mean."""
    means = rows.groupby("level")[column].mean()
    return [[100 * 0.3**level, 100 * mean / means[0]] for level, mean in means.items()]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables with two layers, three replicates, and random counts that are never small."""
    folder = tmp_path_factory.mktemp("sweep")
    tables = sweep(collected(write_experiment(folder, 3, 4, layers=("b", LAYER)), folder), **SETTINGS)
    rows = pd.read_csv(tables / "sweep.csv", dtype={"value": str})
    random = np.random.default_rng(1)
    for column in ("detectors_a", "concepts_a", "detectors_b", "concepts_b"):
        rows[column] = random.integers(6, 12, len(rows))
    rows.to_csv(tables / "sweep.csv", index=False)
    return tables


def test_lines_are_means_in_per_cent_of_the_dense_mean(tables):
    rows = pd.read_csv(tables / "sweep.csv", dtype={"value": str})
    figure = figure_of("robustness", tables)
    grid = np.array(figure.axes).reshape(4, 3)  # units and concepts of two layers; the knots do not vary
    assert [axes.get_title() for axes in grid[0]] == ["IoU threshold", "Quantile", "Way of counting"]
    assert [axes.get_ylabel().split()[:2] for axes in grid[:, 0]] == [
        [layer, measure] for layer, measure in itertools.product(("b", LAYER), ("Detectors", "Concepts"))
    ]
    for place, (layer, count) in enumerate(itertools.product(("b", LAYER), ("detectors", "concepts"))):
        of_layer = rows[rows["layer"] == layer]
        for column, choice in enumerate(("detector_iou", "quantile")):
            for value in SETTINGS[choice]:
                of_value = of_layer[(of_layer["choice"] == choice) & (of_layer["value"] == value)]
                assert is_drawn(grid[place, column], relative(of_value, f"{count}_a"))
        own = of_layer[(of_layer["choice"] == "detector_iou") & of_layer["own"]]
        for way in "ab":
            assert is_drawn(grid[place, 2], relative(own, f"{count}_{way}"))
    for axes in grid.flat:
        [bold] = [line for line in axes.lines if line.get_linewidth() == 2]
        assert to_hex(bold.get_color()) == "#000000"
    named = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in grid[-1]]
    assert named == [["> 0.02", "> 0.04", "> 0.1"], ["0.005", "0.01"], ["once (A)", "per category (B)"]]


def test_settings_with_few_dense_detectors_have_no_line(tables, tmp_path):
    few = pd.read_csv(tables / "sweep.csv", dtype={"value": str})
    few.loc[few["value"] == "0.1", "detectors_a"] = 4
    for name in ("networks", "arms", "units", "categories", "layers", "equivalence", "matched", "identity"):
        (tmp_path / f"{name}.csv").write_bytes((tables / f"{name}.csv").read_bytes())
    few.to_csv(tmp_path / "sweep.csv", index=False)
    first, second = figure_of("robustness", tmp_path).axes[0], figure_of("robustness", tables).axes[0]
    assert len(second.lines) - len(first.lines) == 1


def test_if_every_network_is_dense_the_figure_says_so(tmp_path):
    tables = collected(write_experiment(tmp_path, levels=1), tmp_path)
    assert (
        "No network of known density here is a pruned copy"
        in figure_of("robustness", tables).axes[0].texts[0].get_text()
    )


def test_own_settings_are_the_table_of_networks(tmp_path):
    """The table exists in every experiment, for a curve and not for its baselines."""
    networks = write_experiment(tmp_path)
    tables = collected(networks, tmp_path)
    own = pd.read_csv(tables / "sweep.csv").query("own")
    imp = pd.read_csv(tables / "networks.csv").query("arm == 'imp'")
    for column in ("level", "units", "detectors_a", "concepts_a", "detectors_b", "concepts_b", "dead_units"):
        assert own[column].tolist() == imp[column].tolist()
