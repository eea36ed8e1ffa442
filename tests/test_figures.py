"""Counting detectors, the tables, and the figures that are drawn from them."""

import csv
import json
import shutil
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest

from workflow_scripts.figures.collect import TABLES, Network, collect, count_detectors, parse_network, read_units
from workflow_scripts.figures.draw_figures import (
    FIGURES,
    FLOORS,
    density_ticks,
    draw_figures,
    floor_lines,
    make_figure,
    read_tables,
    share_above,
)
from workflow_scripts.figures.style import FORMATS, STYLE, save_figure
from workflow_scripts.files import UserError

CUT = 0.04
LAYER = "stages.3.conv2"

# unit: (maximum, threshold, {category: (label, IoU)}); what each is there for stands beside it.
UNITS_BY_HAND = {
    1: (3.0, 1.5, {"object": ("dog", 0.10), "part": ("head", 0.08)}),  # A: dog; B: dog and head
    2: (3.0, 1.5, {"object": ("dog", 0.05), "part": ("leg", 0.06)}),  # A: leg; B: dog and leg
    3: (3.0, 1.5, {"object": ("dog", 0.07), "part": ("leg", 0.01)}),  # A: dog again
    4: (3.0, 1.5, {"object": ("cat", CUT), "part": ("head", 0.03)}),  # exactly at the cut: no detector
    5: (3.0, 0.0, {"object": ("cat", 0.02), "part": ("null", 0.05)}),  # threshold 0; a concept called null
    6: (0.0, 0.0, {"object": ("", 0.0), "part": ("", 0.0)}),  # dead
}


def write_units(path, units, layers=(LAYER,)):
    """A units.csv from {unit: (maximum, threshold, {category: (label, IoU)})}, the same for every layer."""
    rows = []
    for layer in layers:
        for unit, (maximum, threshold, found) in units.items():
            category = max(found, key=lambda name: found[name][1])
            label, score = found[category]
            row = {"layer": layer, "unit": unit, "category": category, "label": label, "score": score}
            row |= {"threshold": threshold, "maximum": maximum, "minimum": 0.0}
            for name, (label, iou) in found.items():
                row |= {f"{name}-label": label, f"{name}-truth": 9, f"{name}-activation": 9}
                row |= {f"{name}-intersect": 1, f"{name}-iou": iou}
            rows.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_metrics(path, density=1.0, accuracy=0.9, epochs=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    epoch = {"learning_rate": 0.1, "train_loss": 1.5, "train_accuracy": 0.5}
    layer = {"name": "stem", "kind": "conv", "weights": 1000, "prunable": True}
    metrics = {
        "test_accuracy": accuracy,
        "parameters": 1100,
        "density": {"prunable": density, "weights": density, "all": 0.1 + 0.9 * density},
        "epochs": [{"epoch": number + 1, **epoch} for number in range(epochs)],
        "layers": [layer | {"remaining": int(1000 * density)}],
    }
    path.write_text(json.dumps(metrics))


def random_units(random, quality):
    units = {}
    for unit in range(12):
        ious = random.gamma(1.6, 0.03 * quality, size=3).round(4)
        labels = random.integers(4, size=3)
        names = ("object", "part", "color")
        found = {name: (f"{name} {label}", iou) for name, label, iou in zip(names, labels, ious, strict=True)}
        units[unit] = (2.0, 1.0, found)
    return units


def write_network(folder, arm, replicate, level, density, quality, layers=(LAYER,)):
    random = np.random.default_rng([replicate, level, len(arm)])
    here = folder / arm / f"replicate_{replicate}" / f"level_{level}"
    write_metrics(here / "metrics.json", density, accuracy=0.5 + 0.4 * quality + 0.01 * replicate)
    write_units(here / "units.csv", random_units(random, quality), layers)
    return Network(arm, replicate, level, here / "metrics.json", here / "units.csv")


def write_experiment(folder, replicates=2, levels=3, keep=0.3, controls=(*FLOORS, "trained_twice"), layers=(LAYER,)):
    networks = []
    for replicate in range(replicates):
        for level in range(levels):
            networks.append(write_network(folder, "imp", replicate, level, keep**level, 1 - level / levels, layers))
        for control in controls:
            networks.append(write_network(folder, control, replicate, 0, 1.0, 0.1, layers))
    return networks


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The networks of a small experiment with every control, and the folder of its tables."""
    folder = tmp_path_factory.mktemp("experiment")
    networks = write_experiment(folder / "results")
    collect(networks, CUT, "above", folder / "tables")
    return networks, folder / "tables"


@pytest.fixture
def by_hand(tmp_path):
    write_units(tmp_path / "units.csv", UNITS_BY_HAND)
    write_metrics(tmp_path / "metrics.json", density=0.5)
    return Network("imp", 0, 1, tmp_path / "metrics.json", tmp_path / "units.csv")


def figure_of(name, tables):
    with matplotlib.rc_context(STYLE):
        return make_figure(name, read_tables(tables, CUT), CUT)


def test_counts_by_hand(by_hand):
    counts = count_detectors(read_units(by_hand.units), CUT, "above").set_index("category")
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
    collect([by_hand], CUT, "above", tmp_path / "tables")
    [row] = pd.read_csv(tmp_path / "tables" / "networks.csv").to_dict("records")
    assert row == {
        "arm": "imp",
        "replicate": 0,
        "level": 1,
        "density": 0.5,
        "density_weights": 0.5,
        "density_all": 0.55,
        "pruned_of_all": 0.45,
        "test_accuracy": 0.9,
        "layer": LAYER,
        "detector_iou": CUT,
        "units": 6,
        "detectors_a": 4,
        "concepts_a": 3,
        "detectors_b": 6,
        "concepts_b": 4,
        "dead_units": 1,
        "zero_threshold_units": 2,
        "median_score": 0.055,  # of 0.10, 0.07, 0.06, 0.05, 0.04, 0
    }


def test_a_detector_is_strictly_above_the_cut(by_hand):
    units = read_units(by_hand.units)
    at_the_cut = count_detectors(units, CUT, "above").set_index("category")
    just_below = count_detectors(units, np.nextafter(CUT, 0), "above").set_index("category")
    gain = just_below - at_the_cut
    assert gain.loc["object"].tolist() == [1, 1, 1, 1]  # unit 4, cat
    assert gain.loc["part"].tolist() == [0, 0, 0, 0]


def test_a_detector_may_be_at_the_cut_where_the_rule_says_so(by_hand, tmp_path):
    units = read_units(by_hand.units)
    at_least = count_detectors(units, CUT, "at_least")
    assert at_least.equals(count_detectors(units, np.nextafter(CUT, 0), "above"))
    assert count_detectors(units, np.nextafter(CUT, 1), "at_least").equals(count_detectors(units, CUT, "above"))
    collect([by_hand], CUT, "at_least", tmp_path / "tables")
    [row] = pd.read_csv(tmp_path / "tables" / "networks.csv").to_dict("records")
    # One more than above the cut: unit 4, cat.
    assert [row[name] for name in ("detectors_a", "concepts_a", "detectors_b", "concepts_b")] == [5, 4, 7, 5]


def test_empty_labels_count_nowhere_even_at_a_cut_of_zero(by_hand):
    counts = count_detectors(read_units(by_hand.units), 0.0, "above")
    assert counts["detectors_b"].tolist() == [5, 5]
    assert counts["detectors_a"].sum() == 5


def test_tables_have_a_row_for_everything(experiment):
    networks, tables = experiment
    assert {path.name for path in tables.iterdir()} == {f"{table}.csv" for table in TABLES}
    frames = {table: pd.read_csv(tables / f"{table}.csv") for table in TABLES}
    keys = ["arm", "replicate", "level"]
    wanted = sorted(network[:3] for network in networks)
    for table, rows_each in {"networks": 1, "categories": 3, "units": 12, "epochs": 2, "layers": 1}.items():
        frame = frames[table]
        assert frame[keys].apply(tuple, axis=1).tolist() == [key for key in wanted for _ in range(rows_each)]
    sums = frames["categories"].groupby([*keys, "layer"]).sum(numeric_only=True)
    whole = frames["networks"].set_index([*keys, "layer"])
    for column in ("detectors_a", "detectors_b", "concepts_b"):
        assert (sums[column] == whole[column]).all()
    detecting = frames["units"][frames["units"]["score"] > CUT].groupby([*keys, "layer"])
    assert (detecting.size().reindex(whole.index, fill_value=0) == whole["detectors_a"]).all()
    assert whole["detectors_a"].between(1, 11).any()  # otherwise the sums above would say little


def test_tables_do_not_depend_on_the_order_of_networks(experiment, tmp_path):
    networks, tables = experiment
    collect(networks[::-1], CUT, "above", tmp_path)
    for table in TABLES:
        assert (tmp_path / f"{table}.csv").read_bytes() == (tables / f"{table}.csv").read_bytes()


def test_layers_are_rows(tmp_path):
    networks = write_experiment(tmp_path, replicates=1, levels=2, controls=(), layers=("layer3", "layer4"))
    collect(networks, CUT, "above", tmp_path / "tables")
    rows = pd.read_csv(tmp_path / "tables" / "networks.csv")
    assert rows[["level", "layer"]].apply(tuple, axis=1).tolist() == [
        (level, layer) for level in (0, 1) for layer in ("layer3", "layer4")
    ]


def test_a_network_without_epochs_is_collected(by_hand, tmp_path):
    write_metrics(by_hand.metrics, epochs=0)
    collect([by_hand], CUT, "above", tmp_path / "tables")
    assert pd.read_csv(tmp_path / "tables" / "epochs.csv").empty


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda network: network.metrics.unlink(), "metrics.json is not there"),
        (lambda network: network.metrics.write_text("{"), "is not JSON"),
        (lambda network: network.metrics.write_text("{}"), 'no key "test_accuracy"'),
        (lambda network: network.units.unlink(), "units.csv is not there"),
        (lambda network: network.units.write_text(""), "is not CSV"),
        (lambda network: network.units.write_text("layer,unit\nstem,1\n"), "no column category"),
        (lambda network: edit(network.units, "part-truth", "truth"), "no column part-truth"),
        (lambda network: edit(network.units, "0.05", "oops"), '"oops" in column'),
    ],
)
def test_malformed_inputs_are_named(by_hand, tmp_path, break_it, says):
    break_it(by_hand)
    with pytest.raises(UserError, match=says):
        collect([by_hand], CUT, "above", tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_a_network_is_named_once(by_hand, tmp_path):
    with pytest.raises(UserError, match="named twice"):
        collect([by_hand, by_hand], CUT, "above", tmp_path)


def test_replicate_and_level_are_whole_numbers():
    assert parse_network(["imp", "2", "10", "m", "u"])[:3] == ("imp", 2, 10)
    with pytest.raises(UserError, match="whole numbers"):
        parse_network(["imp", "2", "-1", "m", "u"])


def test_figures_come_from_tables_alone_and_are_the_same_bytes(experiment, tmp_path):
    _, tables = experiment
    shutil.copytree(tables, tmp_path / "elsewhere")
    draw_figures(tmp_path / "elsewhere", CUT, tmp_path / "once")
    names = {f"{name}.{form}" for name in FIGURES for form in FORMATS}
    assert {path.name for path in (tmp_path / "once").iterdir()} == names
    for figure in ("overview", "iou_distribution"):
        with matplotlib.rc_context(STYLE):
            save_figure(figure_of(figure, tables), tmp_path / "again", figure)
        for form in FORMATS:
            name = f"{figure}.{form}"
            assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_text_in_figures_stays_text(experiment, tmp_path):
    with matplotlib.rc_context(STYLE):
        save_figure(figure_of("accuracy", experiment[1]), tmp_path, "accuracy")
    assert "Test accuracy (%)" in (tmp_path / "accuracy.svg").read_text()
    pdf = (tmp_path / "accuracy.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf  # a TrueType font, embedded


def test_overview_plots_the_table(experiment):
    _, tables = experiment
    rows = pd.read_csv(tables / "networks.csv")
    rows["accuracy"] = 100 * rows["test_accuracy"]
    rows["share"] = 100 * rows["detectors_a"] / rows["units"]
    imp = rows[rows["arm"] == "imp"]
    axes_of = figure_of("overview", tables).axes
    for axes, column in zip(axes_of, ("accuracy", "share", "concepts_a"), strict=False):
        drawn = [line.get_xydata() for line in axes.lines]
        by_replicate = [of[["density", column]].to_numpy() for _, of in imp.groupby("replicate")]
        mean = imp.groupby("level")[["density", column]].mean().to_numpy()
        for wanted in (*by_replicate, mean, mean[:1]):
            wanted = wanted * [100, 1]
            assert any(line.shape == wanted.shape and np.allclose(line, wanted) for line in drawn), column
        floors = {line.get_label(): line.get_ydata()[0] for line in floor_lines(axes)}
        means = rows.groupby("arm")[column].mean()
        wanted = {} if column == "accuracy" else {name: means[arm] for arm, (name, *_) in FLOORS.items()}
        assert floors == pytest.approx(wanted)


def test_the_distribution_gives_the_detectors_at_the_cut(experiment):
    _, tables = experiment
    networks = pd.read_csv(tables / "networks.csv")
    imp = networks[networks["arm"] == "imp"].groupby("level")[["detectors_a", "units"]].sum()
    wanted = 100 * imp["detectors_a"] / imp["units"]
    curves = [line for line in figure_of("iou_distribution", tables).axes[0].lines if line.get_linestyle() == "-"]
    at_the_cut = [y[list(x).index(CUT)] for x, y in (curve.get_data() for curve in curves) if CUT in x and len(x) > 2]
    assert sorted(at_the_cut) == pytest.approx(sorted(wanted))


def test_share_above_is_strict():
    shares = share_above(pd.Series([0.0, CUT, 0.1, 0.2]), np.array([0.0, CUT, 0.2]))
    assert shares.tolist() == [75, 50, 0]


def test_panels_by_category_add_up_to_the_whole(experiment):
    _, tables = experiment
    networks = pd.read_csv(tables / "networks.csv")
    wanted = networks[networks["arm"] == "imp"].groupby("level")["detectors_a"].mean()
    figure = figure_of("units_by_category", tables)
    solid = [[line for line in axes.lines if line.get_linewidth() == 1.6] for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["object", "part", "color"]
    assert sum(line.get_ydata() for [line] in solid) == pytest.approx(wanted.to_numpy())


@pytest.mark.parametrize(
    "shape",
    [
        {"replicates": 1, "levels": 2, "controls": ()},
        {"replicates": 1, "levels": 1, "keep": 0.5, "controls": ("untrained",)},
        {"replicates": 1, "levels": 19, "keep": 0.8, "layers": ("layer3", "layer4")},
    ],
    ids=["no controls", "dense alone", "19 levels and two layers"],
)
@pytest.mark.parametrize("cut", [CUT, 0.99], ids=["", "no detectors"])
def test_every_figure_can_be_made_of_little_and_of_much(tmp_path, shape, cut):
    collect(write_experiment(tmp_path, **shape), cut, "above", tmp_path / "tables")
    frames = read_tables(tmp_path / "tables", cut)
    layers = len(shape.get("layers", (LAYER,)))
    panels = {"overview": 3 * layers, "accuracy": 1, "units_by_category": 3 * layers}
    panels["concepts_by_category"] = panels["units_by_category"]
    with matplotlib.rc_context(STYLE):
        for name in FIGURES:
            axes = make_figure(name, frames, cut).axes
            assert len(axes) == panels.get(name, layers + (name == "iou_distribution"))
            for one in axes:
                assert all(np.isfinite(line.get_ydata()).all() for line in one.lines)
                assert len(set(one.get_ylim())) == 2


def test_tables_of_another_cut_are_refused(experiment, tmp_path):
    _, tables = experiment
    with pytest.raises(UserError, match=r"collected with the detector IoU 0\.04, not 0\.05"):
        draw_figures(tables, 0.05, tmp_path)
    with pytest.raises(UserError, match="is not there"):
        draw_figures(tmp_path, CUT, tmp_path)


@pytest.mark.parametrize("lowest", [100, 80, 55, 10, 1.4, 0.4, 0.01])
@pytest.mark.parametrize("most", [6, 9])
def test_density_ticks_are_few_and_in_range(lowest, most):
    ticks = density_ticks(lowest, most)
    assert ticks[0] == 100
    assert all(high > low >= lowest for high, low in pairwise(ticks))
    assert len(ticks) <= most
