"""The tables that compare networks: by hand, for unusual experiments, and for tests that cannot show anything."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from small_experiments import ONE_SHOT, arm_row, collected, compared, complete, rotate, write_brought, write_experiment
from test_experiment import BROUGHT, IMP, experiment

from workflow_scripts.plan.experiment import COMPARED
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables import compare_networks as script
from workflow_scripts.tables.compare_networks import (
    EQUIVALENCE_COLUMNS,
    MATCHED_COLUMNS,
    Margins,
    accuracy_step,
    compare_networks,
)
from workflow_scripts.tables.identity import COLUMNS as IDENTITY_COLUMNS
from workflow_scripts.tables.read_tables import read_table

LAYERS = ("b", "a")  # in the order of their dissection
ARMS = [
    arm_row("imp", recipe="imp"),
    arm_row("random", "imp", starts_from="imp"),
    arm_row("again", "imp", "reference", "dense_again", starts_from="imp"),
    arm_row("untrained", "imp", "baseline", "untrained"),
]


def write_tables(folder, rows, arms=ARMS, layers=("a",), units=()):
    """Write the tables that comparisons are made from.

    Args:
        folder: the folder of the tables.
        rows: arm, replicate, level, density, accuracy and detectors of networks, and concepts, if not 5.
        arms: the rows of arms.csv.
        layers: the layers of each network, with the same numbers.
        units: arm, replicate, level and the names of units, "" for a unit without one.
    """
    networks = []
    for arm, replicate, level, density, accuracy, detectors, *concepts in rows:
        for layer in layers:
            row = {"arm": arm, "replicate": replicate, "level": level, "density": density, "test_accuracy": accuracy}
            row |= {"layer": layer, "units": 100, "detectors_a": detectors, "concepts_a": [*concepts, 5][0]}
            networks.append(row)
    named = [
        {"arm": arm, "replicate": replicate, "level": level, "layer": layers[0], "unit": unit}
        | {"category": name[:1], "label": name[1:], "score": 0.5, "detector": bool(name), "dead": False}
        for arm, replicate, level, names in units
        for unit, name in enumerate(names)
    ]
    other = dict(zip(("arm", "replicate", "level"), rows[0], strict=False)) | {"layer": "other"}
    for name, frame in {
        "networks": pd.DataFrame(networks),
        "arms": pd.DataFrame(arms),
        "units": pd.DataFrame(named or [other]),
        "split": pd.DataFrame([other]),
    }.items():
        complete(name, frame).to_csv(folder / f"{name}.csv", index=False)
    return folder


def chain(arm, counts, replicates=(1, 2, 3), first=0, accuracy=0.9, density=0.5):
    """Networks of an arm, with detectors counts[level][replicate]."""
    return [
        (arm, replicate, level, density**level, accuracy - 0.01 * level, count)
        for level, of_level in enumerate(counts, first)
        for replicate, count in zip(replicates, of_level, strict=True)
    ]


def frames_of(folder, margins=Margins(0.05, 0.01)):  # noqa: B008
    compare_networks(folder, margins)
    return {name: read_table(folder / f"{name}.csv") for name in COMPARED}


def one(frame, **cells):
    """The only row with these cells."""
    for column, value in cells.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, cells
    return frame.iloc[0]


DENSE = (85, 84, 87)


# Differences


def test_differences_by_hand(tmp_path):
    rows = chain("imp", [DENSE, (83, 84, 84), (85, 84, 87), (20, 84, 150)])
    frame = frames_of(write_tables(tmp_path, rows))["equivalence"]
    assert list(frame.columns) == list(EQUIVALENCE_COLUMNS)
    first = one(frame, level=1, measure="units")
    assert first["n"] == 3 and first["density"] == 0.5 and first["mean_against"] == pytest.approx(85.3333)
    wanted = {"difference": -1.66667, "sd": 1.52753, "low90": -4.24185, "high90": 0.908519, "margin": 4.26667}
    wanted |= {"p_equivalence": 0.0491846, "p_noninferiority": 0.0491846, "smallest_change": 2.57519}
    assert first[list(wanted)].to_dict() == pytest.approx(wanted, rel=5e-5)
    assert first["shown"] == "equivalent" and first["in_sequence"]
    tie = one(frame, level=2, measure="units")
    assert tie["sd"] == pytest.approx(math.sqrt(1 / 6), rel=1e-5) and tie["p_equivalence"] > 0
    last = one(frame, level=3, measure="units")
    assert last["shown"] == "not shown" and last["power"] < 0.05
    # Accuracies always fall by 0.01; this step is taken for one picture, or a few.
    accuracy = one(frame, level=1, measure="accuracy")
    assert accuracy["layer"] == "" and accuracy["margin"] == 0.01
    assert accuracy["difference"] == pytest.approx(-0.01) and accuracy["sd"] == pytest.approx(0.01 * math.sqrt(1 / 6))
    assert set(frame["against"]) == {"dense"} and set(frame["arm"]) == {"imp"}


def test_a_sequence_in_order_of_density_ends_at_the_first_level_that_fails(tmp_path):
    other = [(*row[:3], {1: 0.1, 2: 0.5, 3: 0.3, 0: 1}[row[2]], *row[4:]) for row in chain("imp", [DENSE] * 4)]
    gained = [(*row[:5], row[5] + 20) if row[2] == 3 else row for row in other]  # at density 0.3
    frame = frames_of(write_tables(tmp_path, gained))["equivalence"].query("measure == 'units'")
    assert frame.set_index("level")["shown"].to_dict() == {1: "equivalent", 2: "equivalent", 3: "no loss"}
    assert frame.loc[frame["in_sequence"], "level"].tolist() == [2]
    assert frame.loc[frame["no_loss_in_sequence"], "level"].tolist() == [1, 2, 3]
    unknown = [(*row[:3], np.nan, *row[4:]) for row in gained]  # then by level
    frame = frames_of(write_tables(tmp_path, unknown))["equivalence"].query("measure == 'units'")
    assert frame.loc[frame["in_sequence"], "level"].tolist() == [1, 2] and frame["density"].isna().all()


def test_differences_from_rounding_to_six_digits_are_not_a_step_of_accuracy():
    values = pd.DataFrame({"measure": "accuracy", "value": [0.9, 0.900001, 0.9002, 0.91]})
    counts = pd.DataFrame({"measure": "units", "value": [0.90005, 3]})
    assert accuracy_step(pd.concat([values, counts])) == pytest.approx(0.000199)
    assert accuracy_step(values[:2]) == 1


def test_networks_are_compared_with_dense_ones_and_with_those_trained_again(tmp_path):
    rows = chain("imp", [DENSE, (80, 80, 80)]) + chain("again", [(84, 84, 84)]) + chain("random", [DENSE, (70, 71, 72)])
    rows += chain("untrained", [(5, 5, 5)])
    frame = frames_of(write_tables(tmp_path, rows))["equivalence"].query("measure == 'units'")
    kinds = list(frame[["arm", "level", "against"]].itertuples(index=False, name=None))
    assert kinds == [
        ("again", 0, "dense"),
        ("imp", 1, "dense"),
        ("imp", 1, "dense_again"),
        ("random", 1, "dense"),
        ("random", 1, "dense_again"),
    ]
    assert one(frame, arm="again")["difference"] == pytest.approx(84 - 256 / 3, rel=1e-4)
    assert one(frame, arm="imp", against="dense_again")["difference"] == -4
    assert frame["margin"].nunique() == 1  # that of the dense networks


def test_each_level_of_a_reference_stands_alone(tmp_path):
    arms = [ARMS[0], arm_row("early", "imp", "reference", "dense_early", starts_from="imp")]
    early = [(*row[:3], 1.0, *row[4:]) for row in chain("early", [(20, 21, 22), DENSE], first=2)]
    frame = frames_of(write_tables(tmp_path, chain("imp", [DENSE]) + early, arms))["equivalence"]
    units = frame.query("measure == 'units'").set_index("level")
    assert units["in_sequence"].to_dict() == {2: False, 3: True}


def test_few_replicates_are_not_tested_but_have_a_smallest_change(tmp_path):
    rows = chain("imp", [DENSE[:2], (80, 83), (70, 70)], replicates=(1, 2))[:-1]  # one replicate lacks a level
    frame = frames_of(write_tables(tmp_path, rows), margins=Margins(0.9, 0.9))["equivalence"]
    assert (frame["shown"] == "not testable").all() and not frame["in_sequence"].any()
    assert frame[["p_equivalence", "p_noninferiority", "power"]].isna().all(axis=None)
    two, single = one(frame, level=1, measure="units"), one(frame, level=2, measure="units")
    assert two["n"] == 2 and two["smallest_change"] == pytest.approx(4.4645 * two["sd"], rel=1e-4)
    assert single["n"] == 1 and single["difference"] == -15 and single[["sd", "low90", "high90"]].isna().all()


def test_only_pairs_are_compared(tmp_path):
    rows = [*chain("imp", [DENSE, (80, 81, 82)]), ("imp", 4, 1, 0.5, 0.5, 10)]
    found = one(frames_of(write_tables(tmp_path, rows))["equivalence"], level=1, measure="units")
    assert found["n"] == 3 and found["mean"] == 81 and found["mean_against"] == pytest.approx(256 / 3, rel=1e-5)


@pytest.mark.parametrize("more", [0, 20])
def test_units_above_rotation_have_a_margin_if_there_are_any(tmp_path, more):
    arms = [*ARMS, arm_row("rotated", "imp", "baseline", "rotated")]
    rows = chain("imp", [DENSE, (80, 81, 82)]) + chain("random", [DENSE, (60, 60, 60)])
    write_tables(tmp_path, rows, arms)
    turned = [
        {"arm": "imp", "replicate": replicate, "level": level, "layer": "a", "alpha": alpha, "seed": seed, "units": 100}
        | {"detectors_a": 70 + more - 10 * level + seed if alpha == 1 else 0}
        for replicate in (1, 2, 3)
        for level in (0, 1)
        for alpha in (0.5, 1)
        for seed in (1, 2)
    ]
    complete("rotations", pd.DataFrame(turned)).to_csv(tmp_path / "rotations.csv", index=False)
    frame = frames_of(tmp_path)["equivalence"]
    above = one(frame, arm="imp", measure="units_above_rotation")
    dense = 256 / 3 - 71.5 - more
    assert above["mean"] == 81 - 61.5 - more and above["mean_against"] == pytest.approx(dense, rel=1e-4)
    if more:  # random bases have more detectors than the dense networks
        assert math.isnan(above["margin"]) and math.isnan(above["power"]) and above["shown"] == "not shown"
    else:
        assert above["margin"] == pytest.approx(0.05 * dense, rel=1e-4)
    assert not ((frame["arm"] == "random") & (frame["measure"] == "units_above_rotation")).any()
    write_tables(tmp_path, rows)  # these rotations are left over from an earlier config
    assert "units_above_rotation" not in set(frames_of(tmp_path)["equivalence"]["measure"])


def test_layers_keep_the_order_of_dissection(tmp_path):
    rows = chain("imp", [DENSE, DENSE])
    frames = frames_of(write_tables(tmp_path, rows, layers=LAYERS))
    assert frames["equivalence"]["layer"].tolist() == ["", "b", "b", "a", "a"]


# Matching


def test_arms_are_matched_by_hand(tmp_path):
    """The arm imp has accuracy .88 at density .25; the other arm has it half way between its levels 1 and 2."""
    imp = chain("imp", [DENSE, DENSE, (60, 61, 62)])
    other = [("random", replicate, 0, 1, 0.9, 80) for replicate in (1, 2, 3)]
    other += [("random", replicate, 1, 0.5, 0.89, 70) for replicate in (1, 2, 3)]
    other += [("random", replicate, 2, 0.125, 0.87, 50) for replicate in (1, 2, 3)]
    frame = frames_of(write_tables(tmp_path, imp + other))["matched"]
    assert list(frame.columns) == list(MATCHED_COLUMNS)
    at_accuracy = one(frame, level=2, measure="units", matched_by="accuracy")
    at_density = one(frame, level=2, measure="units", matched_by="density")
    assert at_accuracy["difference"] == at_density["difference"] == 1  # 61 - (70 + 50) / 2
    assert at_accuracy["n"] == 3 and at_accuracy["sd"] == 1
    assert at_accuracy["margin"] == pytest.approx(0.05 * 256 / 3, rel=1e-5)
    assert at_accuracy["equivalent"] and at_accuracy["follows"] == at_density["follows"] == "cannot tell"
    assert one(frame, level=1, measure="units", matched_by="density")["difference"] == pytest.approx(
        256 / 3 - 70, rel=1e-5
    )


@pytest.mark.parametrize("follows", ["accuracy", "sparsity"])
def test_counts_that_follow_accuracy_or_density_are_recognised(tmp_path, follows):
    """The other arm loses accuracy four times as fast."""
    random = np.random.default_rng(3)
    rows = []
    for arm, speed in (("imp", 1), ("random", 4)):
        for replicate in range(1, 6):
            for level in range(8):
                accuracy = 0.95 - 0.01 * speed * level + random.normal(0, 0.0005)
                lost = 1000 * (0.95 - accuracy) if follows == "accuracy" else 10 * level
                units = round(95 - lost / 5 + random.normal(0, 0.4))
                rows.append((arm, replicate, level, 0.5**level, round(accuracy, 6), units))
    frame = frames_of(write_tables(tmp_path, rows), margins=Margins(0.05, 0.01))
    found = frame["matched"].query("measure == 'units' and level > 3")
    assert set(found["follows"]) == {follows}
    assert found.loc[found["matched_by"] == ("accuracy" if follows == "accuracy" else "density"), "equivalent"].all()
    correlations = frame["correlations"].query("measure == 'units'")
    assert correlations["replicate"].tolist() == [1, 2, 3, 4, 5] and (correlations["networks"] == 15).all()
    larger, smaller = ("with_accuracy", "with_density") if follows == "accuracy" else ("with_density", "with_accuracy")
    known = correlations.dropna()  # one is undefined if its ranks are those of what it follows
    assert (known[larger].abs() > known[smaller].abs()).all() and correlations[larger].min() > 0.9


def test_nothing_is_extrapolated(tmp_path):
    imp = chain("imp", [DENSE, DENSE, DENSE, DENSE])
    other = [(*row[:4], row[4] - 0.015, row[5]) for row in chain("random", [DENSE, DENSE])]
    other = [(*row[:4], 0.5, row[5]) if row[1] == 3 else row for row in other]  # one replicate has lower accuracy
    frame = frames_of(write_tables(tmp_path, imp + other))["matched"].query("measure == 'units'")
    for level, accuracy, density in ((1, 0, 3), (2, 2, 0), (3, 0, 0)):
        rows = frame[frame["level"] == level].set_index("matched_by")
        assert rows["n"].to_dict() == {"accuracy": accuracy, "density": density}
        assert set(rows["follows"]) == {"no overlap"}
        assert rows["difference"].isna().to_dict() == {"accuracy": accuracy == 0, "density": density == 0}
    assert pd.isna(one(frame, level=2, matched_by="accuracy")["equivalent"])  # only two replicates


def test_arms_without_densities_or_with_one_network_are_not_matched_by_density(tmp_path):
    arms = [*ARMS, arm_row("small", "imp", "reference", "dense_small")]
    rows = chain("imp", [DENSE, DENSE]) + chain("again", [DENSE])
    rows += [(*row[:3], np.nan, *row[4:]) for row in chain("small", [DENSE, DENSE, DENSE], first=1)]
    frames = frames_of(write_tables(tmp_path, rows, arms))
    assert set(frames["matched"]["arm"]) == {"small"} and set(frames["matched"]["matched_by"]) == {"accuracy"}
    assert set(frames["matched"]["follows"]) == {"no overlap"}
    small = frames["equivalence"].query("arm == 'small' and measure == 'units'")
    assert small["level"].tolist() == [1, 1, 2, 2, 3, 3] and small["density"].isna().all()


# Identity


def test_identity_by_hand(tmp_path):
    rows = chain("imp", [(1,), (1,)], replicates=(1,)) + chain("again", [(1,)], replicates=(1,))
    dense = ["oA", "oA", "oA", "oB", "oB", "oB", "oC", "oC", "pC", "oA", ""]
    pruned = ["oA", "oA", "oB", "oB", "oB", "oA", "oC", "oC", "pC", "", "oC"]
    units = [("again", 1, 0, pruned), ("imp", 1, 0, dense), ("imp", 1, 1, pruned)]
    frame = frames_of(write_tables(tmp_path, rows, units=units))["identity"]
    assert list(frame.columns) == list(IDENTITY_COLUMNS)
    row = one(frame, arm="imp", level=1, against="dense")
    assert row["common"] == 9 and row["same_name"] == pytest.approx(7 / 9, rel=1e-5)
    assert row["kappa_common"] == pytest.approx(0.6897, abs=5e-5) and row["jaccard"] == 1
    assert row["counts_overlap"] == pytest.approx((3 + 3 + 2 + 1) / (4 + 3 + 3 + 1), rel=1e-5)
    assert row["rarefied_to"] == 10 and row["concepts_rarefied"] == 4
    assert one(frame, arm="imp", level=1, against="dense_again")["kappa_all"] == 1
    assert one(frame, arm="again", against="dense")["kappa_all"] == pytest.approx(row["kappa_all"])
    assert len(frame) == 4  # including level 0 against the same network trained again


def test_concepts_are_rarefied_to_the_same_number_of_detectors(tmp_path):
    rows = chain("imp", [(1,), (1,)], replicates=(1,))
    units = [("imp", 1, 0, ["oA", "oA", "oA", "oB", "oB", "oC"]), ("imp", 1, 1, ["oA", "oA", "oD", "", "", ""])]
    row = one(frames_of(write_tables(tmp_path, rows, units=units))["identity"], level=1)
    assert (row["concepts_rarefied"], row["concepts_rarefied_against"], row["rarefied_to"]) == (2, 2.25, 3)


def test_without_names_agreement_is_undefined(tmp_path):
    rows = chain("imp", [(0,), (0,)], replicates=(1,))
    units = [("imp", 1, 0, ["", ""]), ("imp", 1, 1, ["", ""])]
    row = one(frames_of(write_tables(tmp_path, rows, units=units))["identity"], level=1)
    assert row["common"] == 0 and row[["same_name", "kappa_common", "kappa_all", "jaccard", "rarefied_to"]].isna().all()


def test_units_that_do_not_keep_their_places_are_compared_as_sets(tmp_path):
    arms = [
        *ARMS[:1],
        arm_row("fresh", "imp", starts_from="imp", same_units=False),
        arm_row("other", "imp", "reference"),  # starts from another network
        arm_row("kept", "imp", starts_from="imp"),
    ]
    rows = chain("imp", [(1,)], replicates=(1,)) + chain("other", [(1,)], replicates=(1,))
    rows += [row for arm in ("fresh", "kept") for row in chain(arm, [(1,), (1,)], replicates=(1,))]
    units = [(arm, 1, level, ["oA", "oB"]) for arm, _, level, *_ in rows]
    frame = frames_of(write_tables(tmp_path, rows, arms, units=units))["identity"]
    assert list(frame[["arm", "level"]].itertuples(index=False, name=None)) == [("other", 0), ("fresh", 1), ("kept", 1)]
    assert (frame["jaccard"] == 1).all()
    assert frame.set_index("arm")["kappa_all"].isna().to_dict() == {"other": True, "fresh": True, "kept": False}


def test_replicates_are_compared_as_sets_and_averaged(tmp_path):
    rows = chain("imp", [(1, 1, 1)])
    units = [("imp", 1, 0, ["oA", "oB"]), ("imp", 2, 0, ["oB", "oA"]), ("imp", 3, 0, ["oA", ""])]
    frame = frames_of(write_tables(tmp_path, rows, units=units))["identity"].set_index("replicate")
    assert set(frame["against"]) == {"other_replicate"} and frame["common"].isna().all()
    assert frame["jaccard"].to_dict() == {1: 0.75, 2: 0.75, 3: 0.5}


def test_agreement_between_halves_of_the_pictures_is_included(tmp_path):
    rows = chain("imp", [(1,), (1,)], replicates=(1,)) + chain("untrained", [(1,)], replicates=(1,))
    units = [(arm, 1, level, ["oA", "oB"]) for arm, _, level, *_ in rows]
    write_tables(tmp_path, rows, units=units)
    half = {"agreement": 0.7, "kappa_common": 0.6, "kappa_all": "", "jaccard": 0.8, "counts_overlap": 0.9}
    split = [{"arm": arm, "replicate": 1, "level": level, "layer": "a"} | half for arm, _, level, *_ in rows]
    complete("split", pd.DataFrame(split)).to_csv(tmp_path / "split.csv", index=False)
    frame = frames_of(tmp_path)["identity"].query("against == 'other_half'")
    assert frame["level"].tolist() == [0, 1] and set(frame["arm"]) == {"imp"}
    assert (frame["same_name"] == 0.7).all() and frame["kappa_all"].isna().all() and frame["common"].isna().all()
    assert frame[["kappa_common", "jaccard", "counts_overlap"]].to_numpy().tolist() == [[0.6, 0.8, 0.9]] * 2


# Unusual experiments


def test_a_table_without_rows_has_only_a_header(tmp_path):
    tables = collected(write_experiment(tmp_path, replicates=1, levels=1, comparisons=()), tmp_path)
    for name in ("equivalence", "matched", "correlations"):
        lines = (tables / f"{name}.csv").read_text().splitlines()
        assert len(lines) == 1 and "layer" in lines[0].split(",")


def test_brought_networks_need_neither_accuracy_nor_density(tmp_path):
    tables = collected(write_brought(tmp_path, "lite0", ONE_SHOT, replicates=3), tmp_path)
    equivalence, identity = (read_table(tables / f"{name}.csv") for name in ("equivalence", "identity"))
    assert set(equivalence["measure"]) == {"units", "concepts"}
    assert set(equivalence["arm"]) == {f"lite0_{method}" for method in ONE_SHOT}
    pruned = identity[identity["against"] == "dense"]
    assert set(pruned["level"]) == {1, 2} and pruned["common"].notna().all()
    assert len((tables / "matched.csv").read_text().splitlines()) == 1  # the network itself is no curve
    networks = pd.read_csv(tables / "networks.csv")
    networks.assign(density=np.nan).to_csv(tables / "networks.csv", index=False)
    compared(tables)
    again = read_table(tables / "equivalence.csv")
    assert again["density"].isna().all() and again["difference"].equals(equivalence["difference"])


def test_a_network_that_is_sparse_from_the_start_does_not_count_as_dense(tmp_path):
    rows = [(*row[:3], 0.5 * row[3], *row[4:]) for row in chain("imp", [DENSE, DENSE])]
    frames = frames_of(write_tables(tmp_path, rows, units=[("imp", 1, level, ["oA"]) for level in (0, 1)]))
    assert frames["equivalence"].empty and frames["identity"].empty


def test_the_command_line_writes_the_same_bytes_each_time(tmp_path, monkeypatch):
    tables = rotate(collected(write_experiment(tmp_path, replicates=3, levels=4), tmp_path), "imp")
    shutil.copytree(tables, tmp_path / "again")
    words = ["--tables", str(tmp_path / "again"), "--margin", "0.1", "--accuracy-margin", "0.01"]
    monkeypatch.setattr("sys.argv", ["compare_networks", *words])
    script.main()
    for name in COMPARED:
        assert (tables / f"{name}.csv").read_bytes() == (tmp_path / "again" / f"{name}.csv").read_bytes()
    (tables / "units.csv").unlink()
    with pytest.raises(UserError, match=r"units\.csv is missing"):
        compared(tables)


# The config


@pytest.mark.parametrize("test", ["equivalence", "noninferiority"])
def test_a_test_that_can_show_nothing_is_refused(test):
    few = {"replicates": [1, 2], "statistics": {"test": test}}
    sentence = rf"^config: statistics.test is {test}, which needs 3 replicates, but the arm imp has 2: add replicates,"
    with pytest.raises(UserError, match=sentence):
        experiment(arms=[IMP], **few)
    with pytest.raises(UserError, match="the arm lite has 1"):
        experiment(arms=[BROUGHT], statistics={"test": test})
    assert experiment(arms=[IMP], **few | {"statistics": {"test": "where_possible"}})
    plan = experiment(arms=[IMP, BROUGHT | {"role": "reference", "of": "imp"}], statistics={"test": test})
    assert plan.margins() == "--margin 0.1 --accuracy-margin 0.01"


def test_every_experiment_has_tables_of_comparisons():
    assert set(COMPARED) < set(experiment(arms=[BROUGHT]).table_names())
