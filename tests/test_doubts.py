"""The report's warnings: a sentence for each thing that is doubtful, and none for what is not."""

from dataclasses import replace

import pandas as pd
import pytest
from small_experiments import arms_of, collected, write_experiment

from workflow_scripts.findings.source import Tables, read_tables
from workflow_scripts.plan.load import read_config
from workflow_scripts.run.doubts import doubts

PROJECT = {"commit": "c0ffee", "changed": False}
LAYER = "stages.3"


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Tables:
    """Three replicates with nothing that is doubtful."""
    folder = tmp_path_factory.mktemp("tables")
    networks = write_experiment(folder, replicates=3)
    found = read_tables(collected(networks, folder, arms=arms_of(networks)))
    of_networks = found["networks"].assign(chance_detectors=0.01, knots="receptive_field")
    of_networks.loc[of_networks["arm"] == "untrained", "detectors_a"] = 0
    return replace(found, frames=found.frames | {"networks": of_networks})


def found(tables: Tables, pictures: int = 2000, project: dict | None = None, **sections: dict) -> list[str]:
    config = read_config([])
    config |= {name: config[name] | values for name, values in sections.items()}
    return doubts(tables, config, {"project": project or PROJECT}, pictures)


def changed(tables: Tables, name: str, rows: dict, **values: object) -> Tables:
    """The tables with other values in the rows of one that have some values."""
    frame = tables[name].copy()
    chosen = pd.Series(True, frame.index)
    for column, value in rows.items():
        chosen &= frame[column] == value
    assert chosen.any()
    for column, value in values.items():
        frame.loc[chosen, column] = value
    return replace(tables, frames=tables.frames | {name: frame})


def without(tables: Tables, arm: str, level: int, replicate: int) -> Tables:
    """The tables without one network."""
    frame = tables["networks"]
    gone = (frame["arm"] == arm) & (frame["level"] == level) & (frame["replicate"] == replicate)
    return replace(tables, frames=tables.frames | {"networks": frame[~gone]})


def test_nothing_doubtful_gives_no_warning(tables):
    assert found(tables) == []


DENSE = {"arm": "imp", "level": 0}
TWICE = {"arm": "trained_twice", "measure": "accuracy", "against": "dense"}


@pytest.mark.parametrize(
    ("name", "rows", "values", "words"),
    [
        ("networks", DENSE, {"test_accuracy": 0.3}, "The dense networks classify 30 % of the test pictures rightly"),
        ("networks", {"arm": "imp", "level": 2, "replicate": 1}, {"dead_units": 5}, "up to 5 of 12 units are dead"),
        (
            "networks",
            {"arm": "imp", "level": 2},
            {"zero_threshold_units": 6},
            "up to 6 of 12 units are active at",
        ),
        ("networks", DENSE, {"chance_detectors": 2.0, "detectors_a": 8}, "chance alone would make 2 detectors"),
        ("networks", {"arm": "untrained"}, {"detectors_a": 11}, "untrained networks have 11 detectors"),
        ("networks", {"arm": "imp"}, {"knots": "align_corners_false"}, "placed by align_corners_false, not by"),
        (
            "equivalence",
            TWICE,
            {"difference": 0.05, "low90": 0.02},
            "trained once more they are 5 points more accurate",
        ),
    ],
    ids=["accuracy", "dead", "thresholds", "chance", "untrained", "knots", "converged"],
)
def test_what_tables_tell_is_said_once(tables, name, rows, values, words):
    [warning] = found(changed(tables, name, rows, **values))
    assert words in warning


@pytest.mark.parametrize(
    ("name", "rows", "values"),
    [
        ("networks", DENSE, {"test_accuracy": 0.6}),
        ("networks", {"arm": "imp"}, {"dead_units": 1, "zero_threshold_units": 2}),
        ("networks", {"arm": "untrained"}, {"dead_units": 12, "zero_threshold_units": 12}),
        ("equivalence", TWICE, {"difference": 0.05, "low90": -0.01}),
        ("equivalence", TWICE, {"difference": 0.009, "low90": 0.001}),
    ],
)
def test_what_is_usual_is_not_doubtful(tables, name, rows, values):
    assert found(changed(tables, name, rows, **values)) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pictures": 591}, "dissected with 591 pictures only"),
        ({"dissection": {"quantile": 0.2}}, "active at 20 % of the places (dissection.quantile)"),
        ({"images": {"unreadable": "skip", "storage": "files"}}, "images.unreadable"),
        ({"project": {"commit": "c0ffee", "changed": True}}, "changes that no commit has"),
        ({"project": {"commit": None, "changed": None}}, "Which commit of the code made the results is not known"),
    ],
    ids=["pictures", "quantile", "unreadable", "changes", "commit"],
)
def test_what_config_and_provenance_tell_is_said_once(tables, arguments, words):
    [warning] = found(tables, **arguments)
    assert words in warning


def test_a_missing_network_and_too_few_replicates_are_named(tables):
    [warning] = found(without(tables, "imp", 2, 1))
    assert warning.startswith("Iterative magnitude pruning has 2 of 3 replicates at 9 % of the weights")
    [warning] = found(without(without(without(tables, "imp", 0, 1), "imp", 1, 1), "imp", 2, 1))
    assert "has 2 replicates, too few" in warning


def test_a_curve_without_baselines_is_named(tables):
    alone = replace(tables, arms=tables.arms[tables.arms["role"] != "baseline"])
    [warning] = found(alone)
    assert "no baseline" in warning
