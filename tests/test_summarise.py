"""The summary: its numbers are right, it fits on one screen, and it says what it leaves out."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from small_experiments import BASELINES, REFERENCES, arm_row, complete

from workflow_scripts.findings.summarise import ROWS, WIDTH, align, list_places, main, summarise
from workflow_scripts.shared.files import UserError


def row(arm: str, replicate: int, level: int, density: float, accuracy: float, detectors: int, concepts: int, **more):
    base = {"layer": "stages.3", "detector_iou": 0.04, "detector_rule": "above", "units": 100}
    base |= {"share_of_base": density, "epochs_in_all": 7}
    measured = {"density": density, "test_accuracy": accuracy, "detectors_a": detectors, "concepts_a": concepts}
    return {"arm": arm, "replicate": replicate, "level": level} | base | measured | more


IMP = arm_row("imp", recipe="imp", label="iterative magnitude pruning")
ARMS = [IMP, *(arm_row(name, "imp", "baseline", name, label=label) for name, label in BASELINES.items())]
ARMS += [arm_row(name, "imp", "reference", name, label=label) for name, label in REFERENCES.items()]


def write_tables(folder, rows: list[dict], arms: list[dict]) -> None:
    """Write the tables of networks and of arms: those of `arms` that have networks, then other arms as curves."""
    names = list(dict.fromkeys(row["arm"] for row in rows))
    listed = [arm for arm in arms if arm["arm"] in names]
    others = [arm_row(name) for name in names if name not in [arm["arm"] for arm in listed]]
    (folder / "tables").mkdir(exist_ok=True)
    complete("networks", pd.DataFrame(rows)).to_csv(folder / "tables" / "networks.csv", index=False)
    pd.DataFrame(listed + others).to_csv(folder / "tables" / "arms.csv", index=False)


def summary(tmp_path, rows: list[dict], arms: list[dict] = ARMS) -> list[str]:
    write_tables(tmp_path, rows, arms)
    text = summarise(tmp_path)
    lines = text.split("\n")
    assert len(lines) <= 40
    assert all(len(line) <= WIDTH for line in lines if str(tmp_path) not in line)
    return lines


def test_a_doubtfully_large_quantile_is_named(tmp_path):
    usual = summary(tmp_path, [row("imp", 1, 0, 1.0, 0.96, 80, 30)])
    assert summarise(tmp_path, 0.1).split("\n") == usual
    large = summarise(tmp_path, 0.2).split("\n")
    [warning] = [line for line in large if line not in usual]
    assert warning == "Doubtful: dissection.quantile is 0.2, so masks cover 20 % of places; 0.005 is usual."
    assert len(warning) <= WIDTH


def cells(line: str) -> list[str]:
    """A line's cells, of which ranges may stand apart from their means."""
    return re.split(r"  +(?!\()", re.sub(r" +\(", " (", line.strip()))


def test_numbers_stand_to_the_right_and_means_end_at_one_place():
    rows = [("", "weights", "accuracy", "units"), ("a layer, which is longer than any of the columns",)]
    rows += [("mine", "100 %", "5.0 % (5.0-5.1)", "12.5 %"), ("", "0.8 %", "-", "-")]
    rows += [("yours", "9 %", "100.0 % (99.5-100.0)", "100.0 %")]
    assert align(rows) == [
        "       weights              accuracy    units",
        "a layer, which is longer than any of the columns",
        "mine     100 %    5.0 %    (5.0-5.1)   12.5 %",
        "         0.8 %        -                     -",
        "yours      9 %  100.0 % (99.5-100.0)  100.0 %",
    ]


def test_means_over_replicates_and_their_range(tmp_path):
    rows = [
        row("imp", 1, 0, 1.0, 0.96, 80, 30),
        row("imp", 2, 0, 1.0, 0.98, 90, 33),
        row("imp", 1, 1, 0.5, 0.90, 20, 7),
        row("imp", 2, 1, 0.5, 0.92, 20, 8),
        row("untrained", 1, 0, 1.0, 0.05, 0, 0),
        row("untrained", 2, 0, 1.0, 0.05, 3, 1),
    ]
    lines = summary(tmp_path, rows)
    means = "Means of 2 replicates (lowest to highest)."
    assert lines[0] == f"{means} Detector: a unit whose best concept has IoU > 0.04."
    dense, pruned, baseline = (cells(line) for line in lines[3:6])
    assert dense == [
        "iterative magnitude pruning",
        "100 %",
        "97.0 % (96.0-98.0)",
        "85.0 % (80.0-90.0)",
        "31.5 (30-33)",
    ]
    assert pruned == ["50 %", "91.0 % (90.0-92.0)", "20.0 % (20.0-20.0)", "7.5 (7-8)"]
    assert baseline == ["untrained", "100 %", "5.0 % (5.0-5.0)", "1.5 % (0.0-3.0)", "0.5 (0-1)"]


ROTATED = arm_row("rotated", "imp", "baseline", "rotated", label="in a random basis")


def write_rotations(folder, *counts: tuple) -> None:
    """Write rotations.csv: (arm, replicate, level, alpha, seed, detectors of 100)."""
    names = ("arm", "replicate", "level", "alpha", "seed", "detectors_a")
    rows = [dict(zip(names, values, strict=True)) | {"layer": "stages.3", "units": 100} for values in counts]
    complete("rotations", pd.DataFrame(rows)).to_csv(folder / "tables" / "rotations.csv", index=False)


def test_random_bases_have_a_column_beside_the_detectors(tmp_path):
    rows = [row("imp", replicate, level, 0.5**level, 0.9, 80, 30) for replicate in (1, 2) for level in (0, 1)]
    rows.append(row("untrained", 1, 0, 1.0, 0.05, 3, 1))
    plain = summary(tmp_path, rows)
    counts = [("imp", 1, 0, 1, 1, 70), ("imp", 1, 0, 1, 2, 80), ("imp", 2, 0, 1, 1, 41), ("imp", 2, 0, 1, 2, 43)]
    write_rotations(tmp_path, *counts, ("imp", 1, 0, 0.5, 1, 9), ("imp", 1, 1, 1, 1, 5), ("gone", 1, 0, 1, 1, 99))
    assert summary(tmp_path, rows) == plain  # without their arm the table is left over from an earlier run
    other = [arm_row("other"), arm_row("other_rotated", "other", "baseline", "rotated")]
    pd.DataFrame([*ARMS, *other]).to_csv(tmp_path / "tables" / "arms.csv", index=False)
    assert not any("otated" in line for line in summarise(tmp_path).split("\n"))  # not yet that other arm's table
    arms = [*ARMS, ROTATED]
    pd.DataFrame(arms).to_csv(tmp_path / "tables" / "arms.csv", index=False)
    lines = summarise(tmp_path).split("\n")
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[1] == "Rotated: means for the directions of random bases instead of units."
    assert cells(lines[2]) == ["weights", "test accuracy", "detectors", "rotated", "unique concepts"]
    dense, pruned, baseline = (cells(line) for line in lines[4:7])
    assert dense[3:5] == ["80.0 % (80.0-80.0)", "58.5 %"]
    assert pruned[-3:] == ["80.0 % (80.0-80.0)", "5.0 %", "30.0 (30-30)"]
    assert baseline == ["untrained", "100 %", "5.0 %", "3.0 %", "-", "1"]
    assert cells(lines[4])[0] == "iterative magnitude" and cells(lines[5])[0] == "pruning"  # the whole name
    (tmp_path / "tables" / "rotations.csv").unlink()
    assert summarise(tmp_path).split("\n") == plain  # not collected yet


@pytest.mark.parametrize(("rule", "sign"), [("above", ">"), ("at_least", "≥")])
def test_the_sign_of_the_iou_threshold_follows_the_rule(tmp_path, rule, sign):
    rows = [row("imp", 1, 0, 1.0, 0.96, 80, 30, detector_iou=0.125, detector_rule=rule)]
    assert summary(tmp_path, rows)[0] == f"Detector: a unit whose best concept has IoU {sign} 0.125."


def test_long_names_are_shortened_to_fit_the_screen(tmp_path):
    rows = [row("n" * 90, r, 0, 0.125, 0.7 + r / 10, 50 + 25 * r, 1000 + r, layer="l" * 60) for r in (0, 1, 2)]
    lines = summary(tmp_path, rows)
    assert cells(lines[3])[0].startswith("nnnn") and "n...n" in lines[3]
    assert lines[3].rstrip().endswith("1001.0 (1000-1002)")


def test_names_that_differ_only_at_one_end_remain_different(tmp_path):
    arms = [arm_row(name, name, label=name) for name in ("a" + 90 * "n", 90 * "n" + "a", 90 * "n" + "b")]
    lines = summary(tmp_path, [row(arm["arm"], 1, 0, 1.0, 0.5, 5, 5) for arm in arms], arms)[3:6]
    assert len({line.split("  ")[1] for line in lines}) == 3 and all("n...n" in line for line in lines)


def test_one_replicate_has_no_range_and_accuracy_may_be_missing(tmp_path):
    lines = summary(tmp_path, [row("mine", 1, 0, 0.999, np.nan, 7, 3)])
    assert cells(lines[3]) == ["mine", "99.9 %", "-", "7.0 %", "3"]


def test_curves_come_first_then_baselines_then_references(tmp_path):
    arms = [arm_row("trained_twice", "imp", "reference", label="twice"), IMP]
    arms += [arm_row(name, "imp", "baseline", label=f"the {name}") for name in ("rotated", "abc")]
    arms += [arm_row("zebra", "imp", label="a zebra"), arm_row("horse", "imp", label="a horse")]
    rows = [row(arm["arm"], 1, 0, 1.0, 0.5, 5, 5) for arm in sorted(arms, key=lambda arm: arm["arm"])]
    names = [cells(line)[0] for line in summary(tmp_path, rows, arms)[3:9]]
    assert names == ["iterative magnitude pruning", "a zebra", "a horse", "the rotated", "the abc", "twice"]


def test_curves_without_a_baseline_are_named(tmp_path):
    more = [arm_row("imp_random", "imp"), arm_row("null", "imp_random", "baseline")]

    def named(*arms: str) -> list[str]:
        lines = summary(tmp_path, [row(arm, 1, 0, 1.0, 0.5, 5, 5) for arm in arms], [*ARMS, *more])
        return [line for line in lines if "no baseline" in line]

    sentence = "no baseline, so it is unknown how many detectors chance alone gives."
    assert named("imp", "imp_random", "untrained") == []
    assert named("imp", "trained_twice") == [f"Arm imp has {sentence}"]
    assert named("imp", "imp_random", "null") == [f"Arm imp has {sentence}"]
    assert named("imp", "mine", "yours", "shuffled_labels") == [f"Arms mine and yours have {sentence}"]
    assert named("a", "b", "c", "d", "e") == [f"Arms a, b, c and 2 more have {sentence}"]


def test_findings_come_first_if_networks_are_compared(tmp_path):
    rows = [row("imp", replicate, level, 0.5**level, 0.9, 80, 30) for replicate in (1, 2, 3) for level in (0, 1)]
    plain = summary(tmp_path, rows)
    cells = {"arm": "imp", "level": 1, "layer": "stages.3", "against": "dense", "density": 0.5, "n": 3}
    cells |= {
        "smallest_change": 1.0,
        "difference": 0.0,
        "low90": -1.0,
        "high90": 1.0,
        "shown": "no loss",
        "in_sequence": False,
        "no_loss_in_sequence": True,
    }
    margins = {"units": 8.0, "concepts": 3.0}
    found = pd.DataFrame([cells | {"measure": measure, "margin": margin} for measure, margin in margins.items()])
    complete("equivalence", found).to_csv(tmp_path / "tables" / "equivalence.csv", index=False)
    lines = summarise(tmp_path).split("\n")
    assert " ".join(lines[:2]) == (
        "In stages.3: a loss as large as the margin is ruled out for detectors (margin 8) and unique concepts (margin"
        " 3) down to 50 % of the weights."
    )
    assert lines[2:] == ["", *plain] and all(len(line) <= WIDTH for line in lines)
    found.iloc[:0].to_csv(tmp_path / "tables" / "equivalence.csv", index=False)
    assert summarise(tmp_path).split("\n") == plain


def test_the_command_also_lists_where_the_results_are(tmp_path, monkeypatch, capsys):
    write_tables(tmp_path, [row("imp", 1, 0, 1.0, 0.96, 80, 30)], ARMS)
    monkeypatch.setattr("sys.argv", ["summarise", str(tmp_path), "--quantile", "0.2"])
    main()
    assert capsys.readouterr().out == f"{summarise(tmp_path, 0.2)}\n\ntables   {tmp_path}/tables\n"


def test_an_arm_that_is_not_listed_is_named(tmp_path):
    write_tables(tmp_path, [row("imp", 1, 0, 1.0, 0.96, 80, 30)], ARMS)
    pd.DataFrame([arm_row("other")]).to_csv(tmp_path / "tables" / "arms.csv", index=False)
    with pytest.raises(UserError, match=r"arms.csv does not list arm imp of networks.csv"):
        summarise(tmp_path)


def test_of_many_levels_some_in_between_are_left_out(tmp_path):
    rows = [row("imp", 1, level, 0.9**level, 0.9, 50, 20) for level in range(60)]
    lines = summary(tmp_path, [*rows, row("untrained", 1, 0, 1.0, 0.1, 2, 1)])
    shares = [float(found[1]) for line in lines if (found := re.search(r" ([\d.]+) %  ", line))]
    assert len(shares) == ROWS and shares[0] == 100 and shares[-2] == pytest.approx(100 * 0.9**59, rel=0.01)
    assert any(line.startswith("Left out here: some levels;") for line in lines)


def test_of_many_layers_the_last_are_shown(tmp_path):
    rows = [row("imp", 1, level, 0.9**level, 0.9, 50, 20, layer=f"layer{i}") for i in range(9) for level in range(8)]
    lines = summary(tmp_path, rows)
    assert [line for line in lines if line.startswith("layer")] == ["layer7, 100 units", "layer8, 100 units"]
    assert any("7 of 9 layers" in line for line in lines)


def test_of_many_arms_some_are_left_out(tmp_path):
    rows = [row(f"arm{i}", 1, level, 0.9**level, 0.9, 50, 20) for i in range(40) for level in range(2)]
    lines = summary(tmp_path, rows)
    assert any(f"{40 - ROWS} of 40 arms and some levels" in line for line in lines)


def test_arms_share_the_rows_and_the_first_has_more(tmp_path):
    rows = [row(f"arm{i}", 1, level, 0.9**level, 0.9, 50, 20) for i in range(10) for level in range(8)]
    lines = summary(tmp_path, rows)
    start = next(number for number, line in enumerate(lines) if line.startswith("stages"))
    starts = [number for number, line in enumerate(lines) if line.startswith("  arm")]
    lengths = [after - one for one, after in pairwise([*starts, start + ROWS + 1])]
    assert lengths == [3] * 6 + [2] * 4
    assert all(" 47.8 % " in lines[number + length - 1] for number, length in zip(starts, lengths, strict=True))


def test_the_dense_network_is_not_repeated_under_other_arms(tmp_path):
    rows = [row(name, 1, level, 0.5**level, 0.9, 50, 20) for name in ("imp", "oneshot") for level in range(3)]
    write_tables(tmp_path, rows, [IMP, arm_row("oneshot", "imp", recipe="oneshot", starts_from="imp", label="at once")])
    lines = summarise(tmp_path).splitlines()
    shown = [found[1] for line in lines if (found := re.search(r"  ([\d.]+) %  ", line))]
    assert shown == ["100", "50", "25", "50", "25"]


def test_a_curve_without_a_level_0_keeps_its_first_row(tmp_path):
    rows = [row("imp", 1, level, 0.5**level, 0.9, 50, 20) for level in range(3)]
    rows += [row("early", 1, epoch, 1, 0.5 + epoch / 100, 40, 10, epochs_in_all=epoch) for epoch in (3, 5, 7)]
    arms = [IMP, arm_row("early", "imp", recipe="dense_early", starts_from="imp", label="stopped early")]
    lines = summary(tmp_path, rows, arms)
    assert [found.groups() for line in lines if (found := re.search(r"(100 %|\d epochs)  +(\d\d\.0) %", line))] == [
        *(("100 %", "90.0"), ("3 epochs", "53.0"), ("5 epochs", "55.0"), ("7 epochs", "57.0"))
    ]


@pytest.mark.parametrize(("share", "shown"), [(0.568, r"56\.8 %"), (np.nan, "-")])
def test_a_network_without_a_density_shows_its_share_of_the_dense_networks_weights(tmp_path, share, shown):
    small = row("small", 1, 1, np.nan, 0.8, 40, 10, share_of_base=share)
    lines = summary(tmp_path, [row("imp", 1, 0, 1.0, 0.9, 50, 20), small])
    assert any(re.match(rf"  small +{shown} +80", line) for line in lines)


def test_nothing_is_left_out_without_need(tmp_path):
    rows = [row("imp", 1, level, 0.9**level, 0.9, 50, 20) for level in range(ROWS)]
    assert not any("Left out" in line for line in summary(tmp_path, rows))


def test_only_results_that_exist_are_listed(tmp_path):
    (tmp_path / "report.html").touch()
    summary(tmp_path, [row("imp", 1, 0, 1.0, 0.5, 5, 5)])
    assert list_places(tmp_path).splitlines() == [f"report   {tmp_path}/report.html", f"tables   {tmp_path}/tables"]


def test_without_tables_the_error_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"networks.csv is missing"):
        summarise(tmp_path)
