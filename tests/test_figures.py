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
    ONE_SHOT_NAMES,
    curve_look,
    density_ticks,
    draw_figures,
    floor_lines,
    floors,
    make_figure,
    read_tables,
    share_above,
)
from workflow_scripts.figures.style import FORMATS, STYLE, save_figure
from workflow_scripts.files import UserError

CUT = 0.04
LAYER = "stages.3.conv2"
OWN_FLOORS = ("untrained", "shuffled_labels")  # of a network that came trained

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
    epoch = {"learning_rate": 0.12345678, "train_loss": 1.5, "train_accuracy": 0.5}
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


def write_network(folder, arm, replicate, level, density, quality, layers=(LAYER,), measured=True):
    random = np.random.default_rng([replicate, level, *arm.encode()])
    here = folder / arm / f"replicate_{replicate}" / f"level_{level}"
    accuracy = 0.5 + 0.4 * quality + 0.01 * replicate if measured else None
    write_metrics(here / "metrics.json", density, accuracy)
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


def write_brought(folder, name, methods=(), layers=(LAYER,), measured=False, densities=(0.5, 0.2), replicates=1):
    """A network that came trained, its floors, and its one-shot arms, which begin with that same network."""
    networks = []
    for replicate in range(replicates):
        dense = write_network(folder, name, replicate, 0, 1.0, 0.9, layers, measured)
        networks.append(dense)
        for floor in OWN_FLOORS:
            networks.append(write_network(folder, f"{name}_{floor}", replicate, 0, 1.0, 0.5, layers, measured))
        for method in methods:
            networks.append(dense._replace(arm=f"{name}_{method}"))
            for level, density in enumerate(densities, 1):
                arm = f"{name}_{method}"
                networks.append(write_network(folder, arm, replicate, level, density, density, layers, measured))
    return networks


def collected(networks, folder):
    """The folder of their tables, in `folder`."""
    collect(networks, CUT, "above", folder / "tables")
    return folder / "tables"


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


def legend_of(figure):
    """The legend's names and their lines."""
    [legend] = figure.legends
    return {text.get_text(): line for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}


def is_drawn(axes, points):
    """Whether a line goes through these points, and no others."""
    drawn = [line.get_xydata() for line in axes.lines]
    return any(line.shape == np.shape(points) and np.allclose(line, points) for line in drawn)


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("epochs", [(0,), (0, 0), (0, 2, 0), (2, 2)])
def test_networks_without_epochs_are_collected(by_hand, tmp_path, epochs):
    networks = []
    for replicate, number in enumerate(epochs):
        metrics = tmp_path / f"{replicate}.json"
        write_metrics(metrics, epochs=number)
        networks.append(by_hand._replace(replicate=replicate, metrics=metrics))
    collect(networks, CUT, "above", tmp_path / "tables")
    lines = ["arm,replicate,level,epoch,learning_rate,train_loss,train_accuracy"]
    for replicate, number in enumerate(epochs):
        lines += [f"imp,{replicate},1,{epoch + 1},0.123457,1.5,0.5" for epoch in range(number)]
    assert (tmp_path / "tables" / "epochs.csv").read_text().splitlines() == lines


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("accuracies", [(None,), (None, 0.12345678), (0.12345678, None)])
def test_accuracy_that_nobody_measured_is_an_empty_cell(by_hand, tmp_path, accuracies):
    networks = []
    for replicate, accuracy in enumerate(accuracies):
        metrics = tmp_path / f"{replicate}.json"
        write_metrics(metrics, accuracy=accuracy)
        networks.append(by_hand._replace(replicate=replicate, metrics=metrics))
    collect(networks, CUT, "above", tmp_path / "tables")
    cells = pd.read_csv(tmp_path / "tables" / "networks.csv", dtype=str, keep_default_na=False)["test_accuracy"]
    assert cells.tolist() == ["" if accuracy is None else "0.123457" for accuracy in accuracies]


def test_arms_may_have_layers_of_their_own(tmp_path):
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
        by_replicate = [of[["density", column]].to_numpy() for _, of in imp.groupby("replicate")]
        mean = imp.groupby("level")[["density", column]].mean().to_numpy()
        for wanted in (*by_replicate, mean, mean[:1]):
            assert is_drawn(axes, wanted * [100, 1]), column
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
    panels["iou_distribution"] = layers + (shape["levels"] > 1)  # with a bar of colours for the densities
    with matplotlib.rc_context(STYLE):
        for name in FIGURES:
            axes = make_figure(name, frames, cut).axes
            assert len(axes) == panels.get(name, layers)
            for one in axes:
                assert all(np.isfinite(line.get_ydata()).all() for line in one.lines)
                assert len(set(one.get_ylim())) == 2


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """The tables of one network that came trained, pruned in every way, whose accuracy nobody measured."""
    folder = tmp_path_factory.mktemp("brought")
    return collected(write_brought(folder, "lite0", ONE_SHOT_NAMES), folder)


def points_of(tables, arm, column):
    rows = pd.read_csv(tables / "networks.csv", dtype={"layer": str})
    rows["share"] = 100 * rows["detectors_a"] / rows["units"]
    return rows.loc[rows["arm"] == arm, ["density", column]].to_numpy() * [100, 1]


def floor_values(tables, base, column):
    """What the floors of `base` are called and their values."""
    return {FLOORS[floor][0]: points_of(tables, f"{base}_{floor}", column)[0, 1] for floor in OWN_FLOORS}


def test_one_shot_arms_are_the_curves_of_a_network(brought):
    assert "lite0" in pd.read_csv(brought / "networks.csv")["arm"].tolist()
    figure = figure_of("overview", brought)
    assert list(legend_of(figure)) == [*ONE_SHOT_NAMES.values(), "dense"]
    for axes, column in zip(figure.axes, ("share", "concepts_a"), strict=True):
        points = {method: points_of(brought, f"lite0_{method}", column) for method in ONE_SHOT_NAMES}
        for curve in points.values():
            assert is_drawn(axes, curve)
        assert len([line for line in axes.lines if line.get_linewidth() == 1.6]) == len(points)
        floors_drawn = {line.get_label(): line.get_ydata()[0] for line in floor_lines(axes)}
        assert floors_drawn == pytest.approx(floor_values(brought, "lite0", column))
        assert {text.get_text() for text in axes.texts} == floors_drawn.keys()


def test_curves_run_from_dense_to_sparse(tmp_path):
    networks = write_brought(tmp_path, "net", ["global"], densities=(0.2, 0.7, 0.4), replicates=2)
    tables = collected(networks, tmp_path)
    rows = pd.read_csv(tables / "networks.csv").query("arm == 'net_global'")
    curves = [rows[rows["replicate"] == 0], rows[rows["replicate"] == 1], rows.groupby("level").mean(numeric_only=True)]
    axes = figure_of("unique_concepts", tables).axes[0]
    for curve in curves:
        points = curve.sort_values("density", ascending=False)[["density", "concepts_a"]].to_numpy()
        assert is_drawn(axes, points * [100, 1])


def test_a_network_is_a_curve_where_no_other_begins_with_it(tmp_path):
    """Names alone do not make one arm another's: "net_random" may be any network."""
    networks = [write_network(tmp_path, "net", 0, level, 0.5**level, 0.9) for level in range(2)]
    networks += [networks[0]._replace(arm="net_global"), write_network(tmp_path, "net_global", 0, 1, 0.3, 0.5)]
    networks += [write_network(tmp_path, "net_random", 0, level, 0.4**level, 0.6) for level in range(2)]
    networks += [write_network(tmp_path, "plain_untrained", 0, 0, 1.0, 0.1)]
    names = list(legend_of(figure_of("overview", collected(networks, tmp_path))))
    assert names == ["net", "net, one-shot, global magnitude", "net random", "plain untrained", "dense"]


def test_an_untrained_network_alone_is_no_floor(tmp_path):
    tables = collected([write_network(tmp_path, "untrained", 0, 0, 1.0, 0.5)], tmp_path)
    for name in FIGURES:
        assert figure_of(name, tables).axes
    [label] = figure_of("overview", tables).axes[0].get_yticklabels()
    assert label.get_text() == f"untrained\n{LAYER}"


def test_floors_say_whose_they_are_where_they_share_a_panel(tmp_path):
    networks = write_brought(tmp_path, "one", ["global"]) + write_brought(tmp_path, "other", ["global"])
    tables = collected(networks, tmp_path)
    wanted = {f"{base}, {FLOORS[floor][0]}" for base in ("one", "other") for floor in OWN_FLOORS}
    for name in ("overview", "unique_concepts", "units_by_category"):
        figure = figure_of(name, tables)
        assert wanted <= legend_of(figure).keys()
        for axes in figure.axes:
            assert {line.get_label() for line in floor_lines(axes)} == wanted
            assert not axes.texts  # names in the panel would lie over each other and the curves
    looks = [(look["color"], look["linestyle"][1]) for _, look, _ in floors(read_tables(tables, CUT)["networks"])]
    assert len(set(looks)) == len(looks) == len(wanted)
    # A distribution has a panel to itself, with its own floors.
    for axes, base in zip(figure_of("iou_distribution", tables).axes, ("one", "other"), strict=False):
        dashed = {line.get_label(): line.get_data() for line in axes.lines if line.get_linestyle() == "--"}
        at_the_cut = {name: y[list(x).index(CUT)] for name, (x, y) in dashed.items()}
        assert at_the_cut == pytest.approx(floor_values(tables, base, "share"))


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory):
    """The tables of two networks without a layer in common; one's accuracy was measured."""
    folder = tmp_path_factory.mktemp("two_layers")
    networks = write_brought(folder, "one", ["global", "random"], ["7"], measured=True)
    networks += write_brought(folder, "other", ["global"], ["8"])
    return collected(networks, folder)


def test_a_panel_shows_what_has_its_layer(two_layers):
    names = ["one, one-shot, global magnitude", "one, one-shot, random", "other, one-shot, global magnitude"]
    figure = figure_of("interpretable_units", two_layers)
    legend = legend_of(figure)
    assert list(legend) == [*names, "dense"]
    shown = {"7": ["one_global", "one_random"], "8": ["other_global"]}
    for axes, (layer, arms) in zip(figure.axes, shown.items(), strict=True):
        assert axes.get_title() == layer
        curves = [line for line in axes.lines if line.get_linewidth() == 1.6]
        for curve, arm in zip(curves, arms, strict=True):
            assert curve.get_xydata() == pytest.approx(points_of(two_layers, arm, "share"))
            [name] = [name for name in names if legend[name].get_color() == curve.get_color()]
            assert name.startswith(arm.partition("_")[0])
        base = arms[0].partition("_")[0]
        floors_drawn = {line.get_label(): line.get_ydata()[0] for line in floor_lines(axes)}
        assert floors_drawn == pytest.approx(floor_values(two_layers, base, "share"))
    titles = [axes.get_title(loc="right") for axes in figure_of("iou_distribution", two_layers).axes[:-1]]
    assert titles == [f"7\n{names[0]}", f"7\n{names[1]}", f"8\n{names[2]}"]


def test_accuracy_is_drawn_where_it_was_measured(two_layers, brought, tmp_path, monkeypatch):
    [axes] = figure_of("accuracy", two_layers).axes
    for arm in ("one_global", "one_random"):
        points = points_of(two_layers, arm, "test_accuracy") * [1, 100]
        assert is_drawn(axes, points)
    assert len([line for line in axes.lines if line.get_linewidth() == 1.6]) == 2
    assert "other, one-shot, global magnitude" not in legend_of(figure_of("accuracy", two_layers))
    labels = [axes.get_ylabel() for axes in figure_of("overview", two_layers).axes]
    counts = ["Interpretable units (% of 12)", "Unique concepts"]
    assert labels == ["Test accuracy (%)", *counts, *counts]
    drawn = []
    monkeypatch.setattr(
        "workflow_scripts.figures.draw_figures.save_figure", lambda figure, out, name: drawn.append(name)
    )
    draw_figures(brought, CUT, tmp_path)
    assert drawn == [name for name in FIGURES if name != "accuracy"]


def test_dense_networks_stand_on_lines_of_their_own(tmp_path):
    networks = write_brought(tmp_path, "one", layers=["7"], measured=True, replicates=3)
    networks += write_brought(tmp_path, "other", layers=["7", "8"])
    # Weights that happen to be zero make no network sparse.
    write_metrics(networks[0].metrics, density=0.9999)
    write_metrics(networks[-1].metrics, density=0.98)
    tables = collected(networks, tmp_path)
    rows = pd.read_csv(tables / "networks.csv", dtype={"layer": str})
    rows["share"] = 100 * rows["detectors_a"] / rows["units"]
    figure = figure_of("overview", tables)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["one\n7", "other\n7", "other\n8"]
    for axes, column in zip(figure.axes[1:], ("share", "concepts_a"), strict=True):
        means = rows.groupby(["arm", "layer"])[column].mean()
        for place, label in enumerate(labels):
            arm, layer = label.split("\n")
            assert is_drawn(axes, [[means[arm, layer], place]])
            for floor in OWN_FLOORS:
                [stroke] = [
                    line
                    for line in axes.lines
                    if line.get_label() == FLOORS[floor][0] and abs(line.get_ydata().mean() - place) < 0.5
                ]
                assert stroke.get_xdata() == pytest.approx([means[f"{arm}_{floor}", layer]] * 2)
    [accuracy] = figure_of("accuracy", tables).axes
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["one"]
    assert "Weights remaining (%)" not in [
        axes.get_xlabel() for name in FIGURES for axes in figure_of(name, tables).axes
    ]


def test_a_single_network_beside_curves_is_points(tmp_path):
    networks = write_experiment(tmp_path, controls=())
    networks += [write_network(tmp_path, "sparse", replicate, 0, 0.4, 0.9) for replicate in range(2)]
    figure = figure_of("overview", collected(networks, tmp_path))
    points = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [40]]
    assert sorted(line.get_ydata()[0] for line in points) == pytest.approx([86, 86.5, 87])  # replicates and their mean
    assert all(line.get_marker() not in ("", "None") for line in points)
    circles = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in circles] == [[100]]  # what is sparse is not called dense


def test_curves_can_be_told_apart():
    looks = [str(curve_look(number)) for number in range(12)]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize(
    ("name", "inches"),
    [("overview", 2.0), ("units_by_category", 1.5), ("unique_concepts", 2.8), ("iou_distribution", 4 * 2.3)],
)
def test_the_legend_fits_and_leaves_room(tmp_path, name, inches):
    networks = [
        network
        for base in ("a_network_with_a_long_name", "another_one_whose_name_is_long")
        for network in write_brought(tmp_path, base, ONE_SHOT_NAMES)
    ]
    figure = figure_of(name, collected(networks, tmp_path))
    figure.draw_without_rendering()
    [legend] = figure.legends
    extent = legend.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width
    assert (figure.bbox.height - extent.height) / figure.dpi >= inches
    assert extent.y0 >= 0 and extent.y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes)


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
