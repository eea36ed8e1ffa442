"""Counts of detectors, and the tables."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_experiments import (
    CUT,
    KNOTS,
    LAYER,
    arm_row,
    arms_of,
    collected,
    measured_network,
    write_experiment,
    write_metrics,
    write_network,
    write_units,
)
from torch import nn

from workflow_scripts.networks import checkpoints
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.plan.experiment import COMPARED
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.network_words import as_words, read_words
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.collect import TABLES, collect, count_detectors, find_networks, read_units
from workflow_scripts.tables.read_tables import read_table

# unit: (maximum, threshold, {category: (label, IoU)}), with its purpose in a comment
UNITS_BY_HAND = {
    1: (3.0, 1.5, {"object": ("dog", 0.10), "part": ("head", 0.08)}),  # A: dog; B: dog and head
    2: (3.0, 1.5, {"object": ("dog", 0.05), "part": ("leg", 0.06)}),  # A: leg; B: dog and leg
    3: (3.0, 1.5, {"object": ("dog", 0.07), "part": ("leg", 0.01)}),  # A: dog again
    4: (3.0, 1.5, {"object": ("cat", CUT), "part": ("head", 0.03)}),  # exactly at the IoU threshold: no detector
    5: (3.0, 0.0, {"object": ("cat", 0.02), "part": ("null", 0.05)}),  # threshold 0; a concept called null
    6: (0.0, 0.0, {"object": ("", 0.0), "part": ("", 0.0)}),  # dead
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The networks of a small experiment with every baseline and reference, and the folder of its tables."""
    folder = tmp_path_factory.mktemp("experiment")
    networks = write_experiment(folder / "results")
    collected(networks, folder)
    return networks, folder / "tables"


@pytest.fixture
def by_hand(tmp_path):
    write_units(tmp_path / "units.csv", UNITS_BY_HAND)
    write_metrics(tmp_path / "metrics.json", density=0.5)
    return measured_network("imp", 0, 1, tmp_path / "metrics.json", tmp_path / "units.csv")


def test_counts_by_hand(by_hand):
    counts = count_detectors(read_units(by_hand.units)).set_index("category")
    assert counts.loc["object"].to_dict() == {
        "detectors_a": 2,  # units 1 and 3
        "concepts_a": 1,  # dog
        "detectors_b": 3,  # units 1, 2 and 3
        "concepts_b": 1,
    }
    assert counts.loc["part"].to_dict() == {
        "detectors_a": 2,  # units 2 and 5
        "concepts_a": 2,  # leg, null
        "detectors_b": 3,  # units 1, 2 and 5
        "concepts_b": 3,  # head, leg, null
    }


def test_row_by_hand(by_hand, tmp_path):
    collected([by_hand], tmp_path)
    [row] = pd.read_csv(tmp_path / "tables" / "networks.csv").to_dict("records")
    expected = {
        "arm": "imp",
        "replicate": 0,
        "level": 1,
        "density": 0.5,
        "density_weights": 0.5,
        "density_all": 0.55,
        "pruned_of_all": 0.45,
        "weights": 500,
        "share_of_base": 1,
        "epochs": 2,
        "pictures": 200,
        "epochs_in_all": 2,
        "test_accuracy": 0.9,
        "layer": LAYER,
        "knots": KNOTS,
        "detector_iou": CUT,
        "detector_rule": "above",
        "units": 6,
        "detectors_a": 4,
        "concepts_a": 3,
        "detectors_b": 6,
        "concepts_b": 4,
        "dead_units": 1,
        "zero_threshold_units": 2,
        "median_score": 0.055,  # of 0.10, 0.07, 0.06, 0.05, 0.04, 0
        "detectors_fdr": 5,  # all above 0.03
        "concepts_fdr": 4,  # dog, leg, cat, null
        "detectors_fdr_and_cut": 4,
        "fewest_fdr": 2,  # 6 / (0.05 x 100) = 1.2
        "chance_detectors": 0.06,
    }
    assert row == expected and list(row) == list(expected)


def test_a_label_in_two_categories_is_two_concepts(tmp_path):
    units = {1: (3.0, 1.5, {"object": ("wood", 0.1), "part": ("", 0.0)})}
    units |= {unit: (3.0, 1.5, {"object": ("", 0.0), "part": ("wood", 0.1)}) for unit in (2, 3)}
    write_units(tmp_path / "units.csv", units)
    write_metrics(tmp_path / "metrics.json")
    collected([measured_network("imp", 0, 1, tmp_path / "metrics.json", tmp_path / "units.csv")], tmp_path)
    [row] = pd.read_csv(tmp_path / "tables" / "networks.csv").to_dict("records")
    assert [row[f"detectors_{way}"] for way in ("a", "b", "fdr")] == [3, 3, 3]
    assert [row[f"concepts_{way}"] for way in ("a", "b", "fdr")] == [2, 2, 2]


def test_smaller_networks_have_a_share_of_the_bases_weights_and_no_density(tmp_path):
    names = {"imp": (0, 1.0), "deep": (1, 0.25), "small": (1, 1.0), "unknown": (1, 1.0)}
    networks = []
    for arm, (level, density) in names.items():
        write_units(tmp_path / arm / "units.csv", UNITS_BY_HAND)
        write_metrics(tmp_path / arm / "metrics.json", density=density)
        networks.append(measured_network(arm, 1, level, tmp_path / arm / "metrics.json", tmp_path / arm / "units.csv"))
    change(networks[0].metrics, weights=20_000_001)
    change(networks[2].metrics, weights=30_000_003)
    unknown = json.loads(networks[3].metrics.read_text()) | {"layers": []}
    unknown["budget"]["epochs_in_all"] = None
    networks[3].metrics.write_text(json.dumps(unknown))
    arms = [arm_row("imp", recipe="imp"), arm_row("deep", "imp"), arm_row("small", "imp", recipe="dense_small")]
    collect(networks, [*arms, arm_row("unknown")], CUT, "above", tmp_path)
    with open(tmp_path / "networks.csv", newline="") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert [rows[arm]["weights"] for arm in names] == ["20000001", "250", "30000003", ""]
    assert [rows[arm]["share_of_base"] for arm in names] == ["1", "1.25e-05", "1.5", ""]
    assert [rows[arm]["density"] for arm in names] == ["1", "0.25", "", "1"]
    assert [rows[arm]["density_all"] for arm in names] == ["1", "0.325", "", "1"]
    assert [rows[arm]["epochs_in_all"] for arm in names] == ["2", "2", "2", ""]


def test_shares_of_weights_refer_to_the_first_network_of_a_base(by_hand, tmp_path):
    networks = []
    for level, density in ((0, 1.0), (1, 0.5)):
        metrics = tmp_path / f"{level}.json"
        write_metrics(metrics, density=density)
        networks.append(by_hand._replace(level=level, metrics=metrics))
    collected(networks, tmp_path)
    assert pd.read_csv(tmp_path / "tables" / "networks.csv")["share_of_base"].tolist() == [1, 0.5]


def change(metrics, weights):
    """Change the number of weights of a network's only layer; all of them remain."""
    content = json.loads(metrics.read_text())
    content["layers"][0] |= {"weights": weights, "remaining": weights}
    metrics.write_text(json.dumps(content))


def write_by_hand(network, cut, rule, **changed):
    """Name the network's units by a rule, and change the text of cells, given as column=(unit, text)."""
    write_units(network.units, UNITS_BY_HAND, cut=cut, rule=rule)
    units = pd.read_csv(network.units, dtype=str, keep_default_na=False)
    for column, (unit, text) in changed.items():
        units.loc[units["unit"] == str(unit), column] = text
    units.to_csv(network.units, index=False)


# Unit 4 has exactly the IoU CUT: the first two rules call it a detector, the others do not.
JUST_BELOW, JUST_ABOVE = float(np.nextafter(CUT, 0)), float(np.nextafter(CUT, 1))
RULES = [(CUT, "at_least"), (JUST_BELOW, "above"), (CUT, "above"), (JUST_ABOVE, "at_least")]


@pytest.mark.parametrize("named", RULES)
@pytest.mark.parametrize("rule", RULES)
def test_units_that_were_named_by_another_rule_are_refused(by_hand, tmp_path, named, rule):
    write_by_hand(by_hand, *named)
    if (named in RULES[:2]) != (rule in RULES[:2]):
        with pytest.raises(UserError, match=r"units\.csv: its detectors are not the units with an IoU .* 0\.04"):
            collected([by_hand], tmp_path, *rule)
        assert not (tmp_path / "tables").exists()
        return
    collected([by_hand], tmp_path, *rule)
    [row] = pd.read_csv(tmp_path / "tables" / "networks.csv").to_dict("records")
    counts = [row[name] for name in ("detectors_a", "concepts_a", "detectors_b", "concepts_b")]
    assert counts == ([5, 4, 7, 5] if named in RULES[:2] else [4, 3, 6, 4])  # unit 4, cat
    assert (row["detector_iou"], row["detector_rule"]) == (CUT, rule[1])  # equal to six digits
    by_category = count_detectors(read_units(by_hand.units)).set_index("category")
    assert by_category.loc["object"].tolist() == ([3, 2, 4, 2] if named in RULES[:2] else [2, 1, 3, 1])
    assert by_category.loc["part"].tolist() == [2, 2, 3, 3]


@pytest.mark.parametrize(("unit", "text"), [(3, "False"), (4, "True")])
def test_a_single_flag_against_the_rule_is_refused(by_hand, tmp_path, unit, text):
    write_by_hand(by_hand, CUT, "above", detector=(unit, text))
    with pytest.raises(UserError, match="its detectors are not the units with an IoU"):
        collected([by_hand], tmp_path)


def test_only_the_flags_decide_what_is_counted(by_hand):
    write_by_hand(by_hand, CUT, "above", **{"detector": (3, "False"), "part-detector": (3, "True")})
    counts = count_detectors(read_units(by_hand.units)).set_index("category")
    assert counts.loc["object"].tolist() == [1, 1, 3, 1]  # A: unit 1; B as before
    assert counts.loc["part"].tolist() == [2, 2, 4, 3]  # B: unit 3, too, leg again


@pytest.mark.parametrize("rule", ["above", "at_least"])
def test_a_unit_without_a_concept_is_no_detector_even_at_an_iou_threshold_of_zero(by_hand, tmp_path, rule):
    write_by_hand(by_hand, 0, rule)
    counts = count_detectors(read_units(by_hand.units))
    assert counts["detectors_b"].tolist() == [5, 5]
    assert counts["detectors_a"].sum() == 5
    collected([by_hand], tmp_path, 0, rule)
    rows = pd.read_csv(tmp_path / "tables" / "units.csv", dtype=str, keep_default_na=False)
    assert rows.loc[rows["unit"] == "6", ["category", "label", "score", "detector"]].to_numpy().tolist() == [
        ["", "", "0", "False"]
    ]
    write_by_hand(by_hand, 0, rule, detector=(6, "True"))
    with pytest.raises(UserError, match=r"its detectors are not the units with an IoU (above|at least) 0:"):
        collected([by_hand], tmp_path, 0, rule)


def test_columns_are_read_with_their_types(by_hand):
    units = read_units(by_hand.units)
    assert units["unit"].tolist() == [str(unit) for unit in UNITS_BY_HAND]
    assert units["detector"].tolist() == [True, True, True, False, True, False]
    assert units["object-detector"].tolist() == [True, True, True, False, False, False]
    assert units["part-detector"].tolist() == [True, True, False, False, True, False]
    assert units["dead"].tolist() == [False] * 5 + [True]
    assert {str(units[f"{name}detector"].dtype) for name in ("", "object-", "part-")} == {"bool"}
    assert units["part-label"].tolist() == ["head", "leg", "leg", "head", "null", ""]


def test_tables_have_a_row_for_everything(experiment):
    networks, tables = experiment
    files = {f"{table}.csv" for table in (*TABLES, *COMPARED, "sweep")}
    assert {path.name for path in tables.iterdir()} == {"arms.csv", *files}
    frames = {table: pd.read_csv(tables / f"{table}.csv") for table in TABLES}
    keys = ["arm", "replicate", "level"]
    wanted = sorted(network[:3] for network in networks)
    rows = {"networks": 1, "categories": 3, "units": 12, "epochs": 2, "layers": 1, "nulls": 12, "split": 1}
    for table, rows_each in rows.items():
        frame = frames[table]
        assert frame[keys].apply(tuple, axis=1).tolist() == [key for key in wanted for _ in range(rows_each)]
    sums = frames["categories"].groupby([*keys, "layer"]).sum(numeric_only=True)
    whole = frames["networks"].set_index([*keys, "layer"])
    for column in ("detectors_a", "detectors_b", "concepts_b"):
        assert (sums[column] == whole[column]).all()
    columns = [*keys, "layer", "unit", "category", "label", "score", "detector", "dead"]
    columns += ["iou_chance", "p", "q", "agreement"]
    assert list(frames["units"]) == columns
    assert (frames["units"]["detector"] == (frames["units"]["score"] > CUT)).all()
    detecting = frames["units"][frames["units"]["detector"]].groupby([*keys, "layer"])
    assert (detecting.size().reindex(whole.index, fill_value=0) == whole["detectors_a"]).all()
    assert whole["detectors_a"].between(1, 11).any()  # otherwise the sums above would test little


def test_tables_do_not_depend_on_the_order_of_networks(experiment, tmp_path):
    networks, tables = experiment
    again = collected(networks[::-1], tmp_path, arms=arms_of(networks))
    for table in ("arms", *TABLES):
        assert (again / f"{table}.csv").read_bytes() == (tables / f"{table}.csv").read_bytes()


def test_arms_are_listed_in_the_order_given(experiment, tmp_path):
    networks, _ = experiment
    arms = arms_of(networks)[::-1]
    table = read_table(collected(networks, tmp_path, arms=arms) / "arms.csv")
    assert table.to_dict("records") == arms
    text = (tmp_path / "tables" / "arms.csv").read_text()
    assert text.startswith("arm,base,role,recipe,starts_from,label,same_units\n")
    assert 'untrained_calibrated,imp,baseline,untrained_calibrated,imp,"untrained, calibrated",True\n' in text


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([arm_row("other")], "arm imp is not listed"),
        ([arm_row("imp", base="gone")], "arm gone is not listed"),
        ([arm_row("imp"), arm_row("imp")], "arm imp is listed twice"),
        ([arm_row("imp", role="floor")], "the role floor: give one of curve, baseline, reference"),
        ([{"arm": "imp"}], "is not an object with the keys arm, base, role"),
        (["imp"], "is not an object with the keys"),
    ],
)
def test_arms_that_do_not_fit_are_refused(by_hand, tmp_path, arms, message):
    with pytest.raises(UserError, match=message):
        collected([by_hand], tmp_path, arms=arms)
    assert not (tmp_path / "tables").exists()


def test_each_layer_has_rows_in_the_order_of_dissection(tmp_path):
    layers = ("layer10", "layer9", "layer2")  # sorted neither as text nor as numbers
    networks = write_experiment(tmp_path, replicates=1, levels=2, comparisons=(), layers=layers)
    collected(networks, tmp_path)
    rows = pd.read_csv(tmp_path / "tables" / "networks.csv")
    assert rows[["level", "layer"]].apply(tuple, axis=1).tolist() == [
        (level, layer) for level in (0, 1) for layer in layers
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("epochs", [(0,), (0, 0), (0, 2, 0), (2, 2)])
def test_networks_without_epochs_are_collected(by_hand, tmp_path, epochs):
    networks = []
    for replicate, number in enumerate(epochs):
        metrics = tmp_path / f"{replicate}.json"
        write_metrics(metrics, epochs=number)
        networks.append(by_hand._replace(replicate=replicate, metrics=metrics))
    collected(networks, tmp_path)
    lines = ["arm,replicate,level,epoch,learning_rate,train_loss,train_accuracy"]
    for replicate, number in enumerate(epochs):
        lines += [f"imp,{replicate},1,{epoch + 1},0.123457,1.5,0.5" for epoch in range(number)]
    assert (tmp_path / "tables" / "epochs.csv").read_text().splitlines() == lines


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("accuracies", [(None,), (None, 0.12345678), (0.12345678, None)])
def test_an_accuracy_that_was_not_measured_is_an_empty_cell(by_hand, tmp_path, accuracies):
    networks = []
    for replicate, accuracy in enumerate(accuracies):
        metrics = tmp_path / f"{replicate}.json"
        write_metrics(metrics, accuracy=accuracy)
        networks.append(by_hand._replace(replicate=replicate, metrics=metrics))
    collected(networks, tmp_path)
    cells = pd.read_csv(tmp_path / "tables" / "networks.csv", dtype=str, keep_default_na=False)["test_accuracy"]
    assert cells.tolist() == ["" if accuracy is None else "0.123457" for accuracy in accuracies]


def test_with_only_a_stated_density_other_densities_and_layers_are_empty(by_hand, tmp_path):
    network = nn.Conv2d(2, 3, 3)
    metrics = tmp_path / "stated.json"
    checkpoints.write_metrics(metrics, network, full_masks(network, []), None, [], density=0.25)
    collected([by_hand, by_hand._replace(level=2, metrics=metrics)], tmp_path)
    rows = pd.read_csv(tmp_path / "tables" / "networks.csv")
    assert rows["density"].tolist() == [0.5, 0.25]
    for column in ("density_weights", "density_all", "pruned_of_all"):
        assert rows[column].isna().tolist() == [False, True]
    assert pd.read_csv(tmp_path / "tables" / "layers.csv")["level"].tolist() == [1]


def test_arms_may_have_different_layers(tmp_path):
    networks = [
        write_network(tmp_path, "one", 0, 0, 1.0, 0.9, ("7",), measured=False),
        write_network(tmp_path, "other", 0, 0, 1.0, 0.9, ("features.3", "8"), measured=False),
    ]
    tables = collected(networks, tmp_path)
    for table, rows_each in {"networks": 1, "categories": 3, "units": 12}.items():
        rows = pd.read_csv(tables / f"{table}.csv", dtype=str)
        wanted = [("one", "7")] * rows_each + [("other", "features.3")] * rows_each + [("other", "8")] * rows_each
        assert rows[["arm", "layer"]].apply(tuple, axis=1).tolist() == wanted


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda network: network.metrics.unlink(), "metrics.json is missing"),
        (lambda network: network.metrics.write_text("{"), "metrics.json is damaged"),
        (lambda network: network.metrics.write_text("{}"), 'no key "test_accuracy"'),
        (lambda network: network.units.unlink(), "units.csv is missing"),
        (lambda network: network.units.write_text(""), "units.csv is damaged"),
        (lambda network: network.units.write_text("layer,unit\nstem,1\n"), "no column category"),
        (lambda network: edit(network.units, "part-truth", "truth"), "no column part-truth"),
        (lambda network: edit(network.units, "part-detector", "more"), "no column part-detector"),
        (lambda network: edit(network.units, "minimum,detector", "minimum,more"), "no column detector"),
        (lambda network: edit(network.units, "dead", "more"), "no column dead"),
        (lambda network: edit(network.units, "knots", "more"), "no column knots"),
        (lambda network: write_by_hand(network, CUT, "above", detector=(4, "false")), '"false" in column detector'),
        (lambda network: write_by_hand(network, CUT, "above", dead=(1, "0")), '"0" in column dead where True or False'),
        (
            lambda network: write_by_hand(network, CUT, "above", **{"part-detector": (1, "")}),
            '"" in column part-detector where True or False',
        ),
        (
            lambda network: write_by_hand(network, CUT, "above", **{"part-iou": (6, "")}),
            '"" in column part-iou where a number',
        ),
        (lambda network: edit(network.units, "0.05", "oops"), '"oops" in column'),
    ],
)
def test_malformed_inputs_are_named(by_hand, tmp_path, break_it, message):
    break_it(by_hand)
    with pytest.raises(UserError, match=message):
        collected([by_hand], tmp_path)
    assert not (tmp_path / "tables").exists()


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_a_network_named_twice_is_refused(by_hand, tmp_path):
    with pytest.raises(UserError, match="named twice"):
        collected([by_hand, by_hand], tmp_path)


def test_networks_on_the_command_line_are_found_in_the_folder_of_the_experiment():
    networks = [["imp", "1/0", "1/12"], ["oneshot", "1/0=imp/1/0"], ["shuffled", "1/0"]]
    found = find_networks(Path("r"), networks, [["shuffled", "1/0=imp/1/0"]])
    assert [network[:3] for network in found] == [("imp", 1, 0), ("imp", 1, 12), ("oneshot", 1, 0), ("shuffled", 1, 0)]
    dense, pruned = Path("r/imp/replicate_1/level_0"), Path("r/imp/replicate_1/level_12")
    assert [network.metrics.parent for network in found] == [dense, pruned, dense, dense]
    shuffled = Path("r/shuffled/replicate_1/level_0")
    assert [network.units.parent for network in found] == [dense, pruned, dense, shuffled]
    assert found[3][4:] == tuple(shuffled / name for name in ("units.csv", "nulls.csv", "split.csv"))


@pytest.mark.parametrize("word", ["1", "1/x", "-1/0", "1/0=imp", "1/0=imp/1/x", "=imp/1/0", "1/0/0", "x" * 9])
def test_replicate_and_level_must_be_whole_numbers(word):
    with pytest.raises(UserError, match=f"the network '{word}' is not understood: write REPLICATE/LEVEL"):
        find_networks(Path("r"), [["imp", word]], [])


def test_words_stand_for_the_same_networks():
    keys = [Key("imp", 1, 0), Key("imp", 1, 1), Key("a-b", 2, 0)]
    networks = dict(zip(keys, [keys[0], keys[1], keys[0]], strict=True))
    assert as_words(networks) == [["imp", "1/0", "1/1"], ["a-b", "2/0=imp/1/0"]]
    assert read_words(as_words(networks)) == networks
    with pytest.raises(UserError, match="arm imp, replicate 1, level 0 is named twice"):
        read_words([["imp", "1/0", "1/0=a/1/0"]])
