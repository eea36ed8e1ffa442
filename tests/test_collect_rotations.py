"""The table of rotations: one row for each rotation that an arm asks for, under every key of a network."""

import re

import pandas as pd
import pytest

from workflow_scripts.plan.rotations import Rotations
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables import collect_rotations
from workflow_scripts.tables.collect_rotations import COLUMNS, RotatedNetwork


def write_rotations(folder, name, alphas=(0.5, 1.0), seeds=2, layers=("b", "7")):
    """Write a network's rotations.csv, in the order in which rotations are made."""
    path = folder / f"{name}.csv"
    rows = [
        [layer, alpha, seed, 9, seed, 1, 0, 0.123456789]
        for alpha in alphas
        for seed in range(1, seeds + 1)
        for layer in layers
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(path, index=False)
    return path


def collected(folder, networks, asked):
    collect_rotations.collect_rotations(networks, asked, folder / "rotations.csv")
    return pd.read_csv(folder / "rotations.csv", dtype={"layer": str})


def test_rows_are_sorted_by_network_layer_and_rotation(tmp_path):
    file = write_rotations(tmp_path, "x")
    networks = [RotatedNetwork("imp", *key, file) for key in ((2, 0), (1, 10), (1, 2))]
    table = collected(tmp_path, networks, {"imp": Rotations((0.5, 1.0), 2)})
    assert list(table.columns) == ["arm", "replicate", "level", *COLUMNS]
    assert len(table) == 3 * 2 * 2 * 2
    assert table.loc[::8, ["replicate", "level"]].to_numpy().tolist() == [[1, 2], [1, 10], [2, 0]]
    first = table.head(8)
    assert first["layer"].tolist() == ["b"] * 4 + ["7"] * 4  # in the order of their dissection
    assert first[["alpha", "seed"]].to_numpy().tolist() == [[0.5, 1], [0.5, 2], [1, 1], [1, 2]] * 2
    assert (table["median_score"] == 0.123457).all() and (table["detectors_a"] == table["seed"]).all()


def test_a_network_of_two_arms_has_the_rotations_that_each_asks_for(tmp_path):
    shared, own = write_rotations(tmp_path, "shared", seeds=3), write_rotations(tmp_path, "own", [1.0], seeds=1)
    networks = [RotatedNetwork("lite", 1, 0, shared), RotatedNetwork("once", 1, 0, shared)]
    networks.append(RotatedNetwork("once", 1, 1, own))
    asked = {"lite": Rotations((0.5,), 3), "once": Rotations((1.0,), 1)}
    table = collected(tmp_path, networks, asked).query("layer == 'b'")
    assert table[["arm", "level", "alpha", "seed"]].to_numpy().tolist() == [
        *(["lite", 0, 0.5, seed] for seed in (1, 2, 3)),
        *(["once", level, 1.0, 1] for level in (0, 1)),
    ]


def test_missing_or_damaged_files_are_named(tmp_path):
    file, other = write_rotations(tmp_path, "x"), tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    for path, asked, words in [
        (tmp_path / "none.csv", Rotations((1.0,), 2), "none.csv is missing"),
        (other, Rotations((1.0,), 2), "other.csv has no column layer"),
        (file, Rotations((1.0,), 3), "x.csv lacks rotations that its arm asks for"),
        (file, Rotations((0.25,), 2), "x.csv lacks rotations that its arm asks for"),
    ]:
        with pytest.raises(UserError, match=re.escape(words)):
            collected(tmp_path, [RotatedNetwork("imp", 1, 0, path)], {"imp": asked})
    assert not (tmp_path / "rotations.csv").exists()


def test_the_command_line(tmp_path, monkeypatch):
    folder, out = tmp_path / "imp" / "replicate_1" / "level_0", tmp_path / "rotations.csv"
    folder.mkdir(parents=True)
    write_rotations(tmp_path, "x").rename(folder / "rotations.csv")
    words = ["--results", str(tmp_path), "--networks", "imp", "1/0", "--rotated", "imp", "2", "0.5", "1.0"]
    words += ["--out", str(out)]
    monkeypatch.setattr("sys.argv", ["collect_rotations", *words])
    collect_rotations.main()
    assert len(pd.read_csv(out)) == 8
