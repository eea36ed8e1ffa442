"""The figures that are drawn from the tables."""

import re
import shutil
import warnings
from itertools import pairwise, product

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_experiments import (
    BASELINES,
    CUT,
    LAYER,
    ONE_SHOT,
    OWN_BASELINES,
    a_score,
    ablate,
    arm_row,
    baseline_lines,
    collected,
    figure_of,
    is_drawn,
    legend_of,
    points_of,
    rotate,
    write_brought,
    write_experiment,
    write_metrics,
    write_network,
)

from workflow_scripts.figures.arms import of_role
from workflow_scripts.figures.curves import line_of
from workflow_scripts.figures.draw_figures import draw_figures, make_figure, read_arguments, read_tables
from workflow_scripts.figures.panels import density_ticks
from workflow_scripts.figures.plots.iou_distribution import share_above
from workflow_scripts.figures.style import (
    CURVE_COLOURS,
    CURVE_SHAPES,
    FORMATS,
    GREY,
    PAGE_HEIGHT,
    STYLE,
    curve_look,
    save_figure,
    style_of,
)
from workflow_scripts.plan.figures import figure_names
from workflow_scripts.plan.keys import BASELINE
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.read_tables import detector_rule_of

FIGURES = figure_names()


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The networks of a small experiment with every baseline and reference, and the folder of its tables."""
    folder = tmp_path_factory.mktemp("experiment")
    networks = write_experiment(folder / "results")
    return networks, ablate(rotate(collected(networks, folder), "imp"))


def test_figures_come_from_tables_alone_and_are_the_same_bytes(experiment, tmp_path):
    _, tables = experiment
    shutil.copytree(tables, tmp_path / "elsewhere")
    draw_figures(tmp_path / "elsewhere", tmp_path / "once")
    names = {f"{name}.{form}" for name in FIGURES for form in (*FORMATS, "rst", "tex")}
    assert {path.name for path in (tmp_path / "once").iterdir()} == names
    for figure in ("overview", "concept_trajectories"):
        with matplotlib.rc_context(STYLE):
            save_figure(figure_of(figure, tables), tmp_path / "again", figure)
        for form in FORMATS:
            name = f"{figure}.{form}"
            assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_tables_that_no_figure_of_these_needs_are_not_read(experiment, tmp_path):
    """An earlier config may have left them, and an earlier version may have written them."""
    shutil.copytree(experiment[1], tmp_path / "tables")
    for table in ("rotations", "ablation", "classes"):
        (tmp_path / "tables" / f"{table}.csv").write_text("unknown\n")
    for name, tables in (("drawn", tmp_path / "tables"), ("fresh", experiment[1])):
        draw_figures(tables, tmp_path / name, ["unique_concepts"])
    svgs = [(tmp_path / name / "unique_concepts.svg").read_bytes() for name in ("drawn", "fresh")]
    assert svgs[0] == svgs[1] and len(list((tmp_path / "drawn").iterdir())) == len(FORMATS) + 2


@pytest.mark.parametrize(("options", "width"), [({}, 7.2), ({"width": 3.5, "font_size": 9}, 3.5), ({"width": 5}, 5)])
def test_figures_are_as_wide_as_asked_for_in_every_format(experiment, tmp_path, options, width):
    draw_figures(experiment[1], tmp_path, ["overview"], **options)
    pdf = (tmp_path / "overview.pdf").read_bytes()
    [box] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", pdf)
    [svg] = re.findall(r'<svg [^>]*?width="([\d.]+)pt"', (tmp_path / "overview.svg").read_text())
    assert float(box) / 72 == pytest.approx(width, abs=0.001) and float(svg) / 72 == pytest.approx(width, abs=0.001)
    with Image.open(tmp_path / "overview.png") as png:
        assert png.width / STYLE["figure.dpi"] == pytest.approx(width, abs=0.005)
    command = (tmp_path / "overview.rst").read_text().splitlines()[-1]
    for name, value in options.items():
        assert f"--{name.replace('_', '-')} {value}" in command


@pytest.mark.parametrize("wrong", ["0", "-3", "nan", "inf", "wide"])
@pytest.mark.parametrize("option", ["--width", "--font-size"])
def test_sizes_that_are_no_positive_numbers_are_refused(option, wrong, capsys):
    with pytest.raises(SystemExit):
        read_arguments(["--tables", "t", "--out", "o", f"{option}={wrong}"])
    assert f"{wrong!r} is no positive number" in capsys.readouterr().err


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
        baselines = {line.get_label(): line.get_ydata()[0] for line in baseline_lines(axes)}
        means = rows.groupby("arm")[column].mean()
        wanted = {} if column == "accuracy" else {name: means[arm] for arm, name in BASELINES.items()}
        assert baselines == pytest.approx(wanted)


def test_the_distribution_gives_the_detectors_at_the_cut(tmp_path):
    cut = a_score(write_experiment(tmp_path))
    signs_and_words = {"above": (">", "above"), "at_least": ("≥", "at least")}
    found = {}
    for rule, (sign, words) in signs_and_words.items():
        collected(write_experiment(tmp_path, cut=cut, rule=rule), tmp_path, cut, rule)
        networks = pd.read_csv(tmp_path / "tables" / "networks.csv")
        networks["share"] = 100 * networks["detectors_a"] / networks["units"]
        axes = figure_of("iou_distribution", tmp_path / "tables").axes[0]
        curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
        solid, dashed = ([line for line in curves if line.get_linestyle() == style] for style in ("-", "--"))
        at_the_cut = [y[list(x).index(cut)] for x, y in (curve.get_data() for curve in solid)]
        imp = networks[networks["arm"] == "imp"].groupby("level")[["detectors_a", "units"]].sum()
        wanted = 100 * imp["detectors_a"] / imp["units"]
        assert sorted(at_the_cut) == pytest.approx(sorted(wanted))
        baselines_drawn = {line.get_label(): line.get_ydata()[list(line.get_xdata()).index(cut)] for line in dashed}
        means = networks.groupby("arm")["share"].mean()
        assert baselines_drawn == pytest.approx({name: means[arm] for arm, name in BASELINES.items()})
        assert axes.get_ylabel() == f"Units with best IoU {words} x (%)"
        [line] = [line for line in axes.lines if line.get_label() == f"detectors: IoU {sign} {cut:g}"]
        assert list(line.get_xdata()) == [cut, cut]
        found[rule] = wanted.sum()
    assert found["above"] < found["at_least"]


def test_share_above_is_strict_and_that_of_at_least_is_not():
    scores, cuts = pd.Series([0.0, CUT, 0.1, 0.2]), np.array([0.0, CUT, 0.2])
    assert share_above(scores, cuts, "above").tolist() == [75, 50, 0]
    assert share_above(scores, cuts, "at_least").tolist() == [75, 75, 25]  # an IoU of 0 never makes a detector


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
        {"replicates": 1, "levels": 2, "comparisons": ()},
        {"replicates": 1, "levels": 1, "keep": 0.5, "comparisons": ("untrained",)},
        {"replicates": 1, "levels": 19, "keep": 0.8, "layers": ("layer3", "layer4")},
    ],
    ids=["no comparisons", "dense alone", "19 levels and two layers"],
)
@pytest.mark.parametrize("cut", [CUT, 0.99], ids=["", "no detectors"])
def test_every_figure_can_be_made_of_little_and_of_much(tmp_path, shape, cut):
    tables = collected(write_experiment(tmp_path, **shape, cut=cut), tmp_path, cut)
    frames = read_tables(ablate(rotate(tables, "imp", alphas=(0.5, 1))))
    layers = len(shape.get("layers", (LAYER,)))
    panels = {"overview": 2 * layers + 1, "accuracy": 1, "units_by_category": 3 * layers}
    panels["concepts_by_category"] = panels["units_by_category"]
    pruned, found = shape["levels"] > 1, cut < 0.5
    panels["iou_distribution"] = layers + pruned  # with a bar of colours for the densities
    panels["against_accuracy"] = 2 * layers + pruned
    panels["relative_to_dense"] = layers if pruned else 1
    panels["concept_trajectories"] = 2 * layers + 1 if found else 1
    panels["layer_densities"] = 1 + pruned
    panels["robustness"] = 2 * 2 * layers if pruned else 1  # two choices, units and concepts
    panels["rotation"] = 3 * layers if pruned else 1
    panels["equivalence"] = 3 * layers + 1 if pruned and found else 1  # accuracy belongs to no layer
    panels["identity"], panels["matched"] = 3 * layers if pruned and found else 1, 1
    panels["training_curves"] = 2 * (1 + ("comparisons" not in shape)) + pruned  # imp, and trained twice
    panels["ablation"], panels["significance"] = layers + 1, 2 * layers if pruned else 2
    with matplotlib.rc_context(STYLE):
        for name in FIGURES:
            axes = make_figure(name, frames).axes
            assert len(axes) == panels.get(name, layers)
            for one in axes:
                assert all(np.isfinite(line.get_ydata()).all() for line in one.lines)
                assert len(set(one.get_ylim())) == 2


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """The tables of one brought network, pruned in every way, whose accuracy nobody measured."""
    folder = tmp_path_factory.mktemp("brought")
    return collected(write_brought(folder, "lite0", ONE_SHOT), folder)


def baseline_values(tables, base, column):
    """What the baselines of `base` are called and their values."""
    return {BASELINES[baseline]: points_of(tables, f"{base}_{baseline}", column)[0, 1] for baseline in OWN_BASELINES}


def test_one_shot_arms_are_the_curves_of_a_network(brought):
    assert "lite0" in pd.read_csv(brought / "networks.csv")["arm"].tolist()
    figure = figure_of("overview", brought)
    assert list(legend_of(figure)) == [*ONE_SHOT.values(), "dense", *(BASELINES[name] for name in OWN_BASELINES)]
    for axes, column in zip(figure.axes, ("share", "concepts_a"), strict=True):
        points = {method: points_of(brought, f"lite0_{method}", column) for method in ONE_SHOT}
        for curve in points.values():
            assert is_drawn(axes, curve)
        assert len([line for line in axes.lines if line.get_linewidth() == 1.6]) == len(points)
        baselines_drawn = {line.get_label(): line.get_ydata()[0] for line in baseline_lines(axes)}
        assert baselines_drawn == pytest.approx(baseline_values(brought, "lite0", column))
        assert not axes.texts  # a name in the panel would lie over a curve


def test_curves_run_from_dense_to_sparse(tmp_path):
    networks = write_brought(tmp_path, "net", ["global"], densities=(0.2, 0.7, 0.4), replicates=2)
    tables = collected(networks, tmp_path)
    rows = pd.read_csv(tables / "networks.csv").query("arm == 'net_global'")
    curves = [rows[rows["replicate"] == 0], rows[rows["replicate"] == 1], rows.groupby("level").mean(numeric_only=True)]
    axes = figure_of("unique_concepts", tables).axes[0]
    for curve in curves:
        points = curve.sort_values("density", ascending=False)[["density", "concepts_a"]].to_numpy()
        assert is_drawn(axes, points * [100, 1])


def test_roles_come_from_the_table_and_not_from_names(tmp_path):
    """Here "net_random" and "plain_untrained" are networks of their own."""
    networks = [write_network(tmp_path, "net", 0, level, 0.5**level, 0.9) for level in range(2)]
    networks += [networks[0]._replace(arm="net_global"), write_network(tmp_path, "net_global", 0, 1, 0.3, 0.5)]
    networks += [write_network(tmp_path, "net_random", 0, level, 0.4**level, 0.6) for level in range(2)]
    networks += [write_network(tmp_path, "plain_untrained", 0, 0, 1.0, 0.1)]
    arms = [arm_row("net"), arm_row("net_global", "net", recipe="prune_once", starts_from="net", label="global")]
    arms += [arm_row("plain_untrained"), arm_row("net_random")]
    names = list(legend_of(figure_of("overview", collected(networks, tmp_path, arms=arms))))
    assert names == ["net", "net, global", "plain untrained", "net random", "dense"]


def test_baselines_alone_are_drawn_as_curves(tmp_path):
    arms = [arm_row("untrained", role="baseline", recipe="untrained")]
    tables = collected([write_network(tmp_path, "untrained", 0, 0, 1.0, 0.5)], tmp_path, arms=arms)
    ablate(rotate(tables, "untrained"))
    for name in FIGURES:
        assert figure_of(name, tables).axes
    [label] = figure_of("overview", tables).axes[0].get_yticklabels()
    assert label.get_text() == f"untrained\n{LAYER}"


def test_baselines_say_whose_they_are_where_they_share_a_panel(tmp_path):
    networks = write_brought(tmp_path, "one", ["global"]) + write_brought(tmp_path, "other", ["global"])
    tables = collected(networks, tmp_path)
    wanted = {f"{base}, {BASELINES[baseline]}" for base in ("one", "other") for baseline in OWN_BASELINES}
    for name in ("overview", "unique_concepts", "units_by_category"):
        figure = figure_of(name, tables)
        assert wanted <= legend_of(figure).keys()
        for axes in figure.axes:
            assert {line.get_label() for line in baseline_lines(axes)} == wanted
            assert not axes.texts  # names in the panel would lie over each other and the curves
    looks = [line_of(of_arm) for of_arm in of_role(read_tables(tables)["networks"], BASELINE)]
    looks = [(look["marker"], look["linestyle"], look["fillstyle"]) for look in looks]
    assert len(set(looks)) == len(looks) == len(wanted)
    # A distribution has a panel to itself, with its own baselines.
    for axes, base in zip(figure_of("iou_distribution", tables).axes, ("one", "other"), strict=False):
        dashed = {line.get_label(): line.get_data() for line in axes.lines if line.get_linestyle() == "--"}
        at_the_cut = {name: y[list(x).index(CUT)] for name, (x, y) in dashed.items()}
        assert at_the_cut == pytest.approx(baseline_values(tables, base, "share"))


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
    baselines = [f"{base}, {BASELINES[baseline]}" for base in ("one", "other") for baseline in OWN_BASELINES]
    assert list(legend)[:4] == [*names, "dense"] and not set(list(legend)[4:]) - {*baselines, *BASELINES.values()}
    shown = {"7": ["one_global", "one_random"], "8": ["other_global"]}
    for axes, (layer, arms) in zip(figure.axes, shown.items(), strict=True):
        assert axes.get_title() == layer
        curves = [line for line in axes.lines if line.get_linewidth() == 1.6]
        for curve, arm in zip(curves, arms, strict=True):
            assert curve.get_xydata() == pytest.approx(points_of(two_layers, arm, "share"))
            look = (curve.get_color(), curve.get_marker())
            [name] = [name for name in names if (legend[name].get_color(), legend[name].get_marker()) == look]
            assert name.startswith(arm.partition("_")[0])
        base = arms[0].partition("_")[0]
        baselines_drawn = {line.get_label(): line.get_ydata()[0] for line in baseline_lines(axes)}
        assert baselines_drawn == pytest.approx(baseline_values(two_layers, base, "share"))
    titles = [
        axes.get_title().partition("\nunits without")[0] for axes in figure_of("iou_distribution", two_layers).axes[:-1]
    ]
    assert titles == [f"7\n{names[0]}", f"7\n{names[1]}", f"8\n{names[2]}"]


def test_accuracy_is_drawn_where_it_was_measured(two_layers, brought, tmp_path, monkeypatch):
    [axes] = figure_of("accuracy", two_layers).axes
    for arm in ("one_global", "one_random"):
        points = points_of(two_layers, arm, "test_accuracy") * [1, 100]
        assert is_drawn(axes, points)
    assert len([line for line in axes.lines if line.get_linewidth() == 1.6]) == 2
    assert "other, one-shot, global magnitude" not in legend_of(figure_of("accuracy", two_layers))
    labels = [axes.get_ylabel() for axes in figure_of("overview", two_layers).axes]
    counts = ["Detectors (% of 12 units)", "Unique concepts"]
    assert labels == ["Test accuracy (%)", *counts, *counts]
    drawn = []
    monkeypatch.setattr(
        "workflow_scripts.figures.draw_figures.save_figure", lambda figure, out, name: drawn.append(name)
    )
    draw_figures(brought, tmp_path)
    assert drawn == figure_names(["epochs"])  # which these networks have, as if they had been trained here


def test_training_is_drawn_for_each_network_with_its_test_accuracy_at_the_end(experiment, tmp_path):
    _, tables = experiment
    epochs, networks = (pd.read_csv(tables / f"{name}.csv") for name in ("epochs", "networks"))
    figure = figure_of("training_curves", tables)
    loss, accuracy = figure.axes[:2]
    assert loss.get_title(loc="left") == "iterative magnitude pruning"
    of_imp = epochs[epochs["arm"] == "imp"]
    for (replicate, level), rows in of_imp.groupby(["replicate", "level"]):
        assert is_drawn(loss, rows[["epoch", "train_loss"]].to_numpy())
        assert is_drawn(accuracy, rows[["epoch", "train_accuracy"]].to_numpy() * [1, 100])
        one = networks[(networks["arm"] == "imp") & (networks["replicate"] == replicate) & (networks["level"] == level)]
        assert is_drawn(accuracy, [[rows["epoch"].max(), 100 * one["test_accuracy"].iloc[0]]])
    assert len(loss.lines) == of_imp[["replicate", "level"]].drop_duplicates().shape[0]
    assert not any("shuffled" in axes.get_title(loc="left") for axes in figure.axes)
    shutil.copytree(tables, tmp_path / "tables")
    epochs[epochs["arm"] == "shuffled_labels"].to_csv(tmp_path / "tables" / "epochs.csv", index=False)
    assert "No network of a curve" in figure_of("training_curves", tmp_path / "tables").axes[0].texts[0].get_text()


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
            for baseline in OWN_BASELINES:
                [mark] = [
                    line
                    for line in axes.lines
                    if line.get_label() == BASELINES[baseline] and abs(line.get_ydata().mean() - place) < 0.5
                ]
                assert mark.get_xdata() == pytest.approx([means[f"{arm}_{baseline}", layer]])
    [accuracy] = figure_of("accuracy", tables).axes
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["one"]
    ablate(rotate(tables, "one", "other"))
    assert "log" not in [axes.get_xscale() for name in FIGURES for axes in figure_of(name, tables).axes]


def test_a_single_network_beside_curves_is_points(tmp_path):
    networks = write_experiment(tmp_path, comparisons=())
    networks += [write_network(tmp_path, "sparse", replicate, 0, 0.4, 0.9) for replicate in range(2)]
    figure = figure_of("overview", collected(networks, tmp_path))
    points = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [40]]
    assert sorted(line.get_ydata()[0] for line in points) == pytest.approx([86, 86.5, 87])  # replicates and their mean
    assert all(line.get_marker() not in ("", "None") for line in points)
    circles = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in circles] == [[100]]  # what is sparse is not called dense


def test_curves_can_be_told_apart():
    assert len(set(CURVE_COLOURS)) >= 10
    looks = [str(curve_look(*numbers)) for numbers in product(range(len(CURVE_COLOURS)), range(len(CURVE_SHAPES)))]
    assert len(set(looks)) == len(looks)


MANY = ("imp", "imp_rewind0", "lr_rewind", "finetune", "oneshot", "random_layerwise", "random_global", "reinit")


def write_many(folder, bases=("",), curves=(*MANY, "structured"), replicates=2):
    """The tables of experiments of many arms of one dense network each, whose names begin with one of `bases`."""
    networks, arms = [], []
    for base in bases:
        imp = f"{base}imp"
        for number, recipe in enumerate(curves):
            label = f"{base}network" if recipe == "imp" and base else recipe
            arms.append(
                arm_row(f"{base}{recipe}", imp, recipe=recipe, starts_from=imp * (recipe != "imp"), label=label)
            )
            for replicate in range(1, replicates + 1):
                dense = write_network(folder, imp, replicate, 0, 1.0, 0.9)
                networks.append(dense._replace(arm=f"{base}{recipe}"))
                for level in (1, 2):
                    quality = 0.9 - 0.05 * number - 0.2 * level
                    networks.append(write_network(folder, f"{base}{recipe}", replicate, level, 0.3**level, quality))
        others = {"untrained": "baseline", "shuffled_labels": "baseline"} | dict.fromkeys(DENSE_ARMS, "reference")
        for name, role in others.items():
            arms.append(arm_row(f"{base}{name}", imp, role, name, label=name))
            for replicate, level in product(range(1, replicates + 1), range(DENSE_ARMS.get(name, 1))):
                networks.append(write_network(folder, f"{base}{name}", replicate, level, 1.0, 0.5 + 0.1 * level))
    tables = collected(networks, folder, arms=arms)
    rows = pd.read_csv(tables / "networks.csv")
    rows.loc[rows["arm"].str.endswith("dense_small"), "density"] = np.nan
    rows.to_csv(tables / "networks.csv", index=False)
    return tables


DENSE_ARMS = {"dense_again": 1, "dense_early": 3, "dense_small": 2}  # and their levels


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write_many(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def two_origins(tmp_path_factory):
    return write_many(tmp_path_factory.mktemp("two_origins"), ("a_", "b_"), ("imp", "oneshot", "finetune"))


def test_colour_is_the_method_and_dashes_the_network(two_origins):
    legend = legend_of(figure_of("overview", two_origins))
    lines = {base: [legend[f"{base}_network{method}"] for method in ("", ", oneshot", ", finetune")] for base in "ab"}
    colours = {base: [line.get_color() for line in lines[base]] for base in "ab"}
    assert colours["a"] == colours["b"] and len(set(colours["a"])) == 3
    markers = {base: {line.get_marker() for line in lines[base]} for base in "ab"}
    assert len(markers["a"]) == len(markers["b"]) == 1 and markers["a"] != markers["b"]
    rows = read_tables(two_origins)["networks"]
    curves = rows[rows["role"] == "curve"].drop_duplicates("arm")
    assert curves["method"].tolist() == [0, 1, 2, 0, 1, 2] and curves["network"].tolist() == [0, 0, 0, 1, 1, 1]
    assert curves["network_name"].tolist() == ["a_network"] * 3 + ["b_network"] * 3


def test_what_pruned_once_is_called_is_its_method_and_networks_that_were_brought_have_their_own(tmp_path):
    networks = write_brought(tmp_path, "one", ["global", "random"]) + write_brought(tmp_path, "other", ["random"])
    networks += [write_network(tmp_path, "plain", 0, level, 0.5**level, 0.9) for level in range(2)]
    rows = read_tables(collected(networks, tmp_path))["networks"].drop_duplicates("arm").set_index("arm")
    methods = rows.loc[["one_global", "one_random", "other_random", "plain"], "method"].tolist()
    assert methods == [0, 1, 1, 2]
    assert rows.loc[["one_global", "one_random", "other_random", "plain"], "network"].tolist() == [0, 0, 1, 2]


def test_two_arms_of_one_recipe_and_network_are_told_apart(tmp_path):
    networks = [
        write_network(tmp_path, arm, 1, level, 0.5**level, 0.5) for arm in ("imp", "fast", "slow") for level in range(2)
    ]
    arms = [arm_row("imp", recipe="imp")] + [arm_row(name, "imp", recipe="finetune") for name in ("fast", "slow")]
    rows = read_tables(collected(networks, tmp_path, arms=arms))["networks"].drop_duplicates("arm")
    assert rows["method"].tolist() == [0, 1, 2]


def test_baselines_are_grey_with_a_marker_each(many):
    for name in ("overview", "against_accuracy", "iou_distribution"):
        legend = legend_of(figure_of(name, many))
        looks = [legend[baseline] for baseline in ("untrained", "shuffled_labels")]
        assert {look.get_color() for look in looks} == {GREY}
        assert len({look.get_marker() for look in looks} - {"None"}) == 2
        assert GREY not in {line.get_color() for line in legend.values() if line.get_label() in MANY}


def test_a_network_of_unknown_density_has_no_place_among_densities_but_one_among_accuracies(many):
    rows = pd.read_csv(many / "networks.csv")
    small, early = (
        rows[rows["arm"] == arm].groupby("level").mean(numeric_only=True) for arm in ("dense_small", "dense_early")
    )
    overview, scatter = figure_of("overview", many), figure_of("against_accuracy", many)
    assert "dense_small" not in legend_of(overview) and "dense_small" in legend_of(scatter)
    assert is_drawn(scatter.axes[1], np.column_stack([100 * small["test_accuracy"], small["concepts_a"]]))
    for concepts in early["concepts_a"]:
        assert is_drawn(overview.axes[2], [[100, concepts]])  # one mark a level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in figure_names(["accuracy"]):
            for line in [line for axes in figure_of(name, many).axes for line in axes.lines]:
                assert np.isfinite(np.asarray(line.get_xdata(), float)).all(), name


def test_all_arms_of_a_network_share_a_panel_against_accuracy(many, two_origins):
    rows = pd.read_csv(many / "networks.csv")
    figure = figure_of("against_accuracy", many)
    assert len(figure.axes) == 2
    for arm in (*MANY, "structured"):
        mean = rows[rows["arm"] == arm].groupby("level").mean(numeric_only=True)
        assert is_drawn(figure.axes[1], np.column_stack([100 * mean["test_accuracy"], mean["concepts_a"]]))
    legend = legend_of(figure)
    assert len({legend[arm].get_color() for arm in (*MANY, "structured")}) == 9
    sizes = [name for name in legend if name.endswith("% of the weights")]
    assert 2 <= len(sizes) <= 4
    assert len(legend) == 9 + 2 + 3 + len(sizes) + 1  # curves, baselines, references, sizes, and replicates
    titles = [axes.get_title(loc="left") for axes in figure_of("against_accuracy", two_origins).axes[::2]]
    assert titles == [f"{LAYER}, a_network", f"{LAYER}, b_network"]


@pytest.mark.parametrize("name", figure_names(["accuracy"]))
def test_figures_of_many_arms_fit_on_a_page_and_say_what_is_left_out(many, name):
    figure = figure_of(name, many)
    figure.draw_without_rendering()
    assert figure.get_figheight() <= PAGE_HEIGHT + 1e-6
    shown = {word for axes in figure.axes for word in axes.get_title().split() + axes.get_title(loc="right").split()}
    if name in ("relative_to_dense", "stacked_categories", "iou_distribution"):
        assert shown & {*MANY, "structured"} == set(MANY[:6])
    if name in (
        "relative_to_dense",
        "stacked_categories",
        "iou_distribution",
        "concept_trajectories",
        "layer_densities",
    ):
        sentence = figure.get_suptitle().replace("\n", " ")
        assert sentence == "Not shown: random_global; reinit; structured. Choose with --arm or figures.arms."
    elif name == "robustness":  # each curve has two rows
        assert figure.get_suptitle().startswith("Not shown: finetune; oneshot; random_layerwise;")
    else:
        assert not figure.get_suptitle()


def test_chosen_arms_keep_their_looks(many, tmp_path):
    everything, some = (
        read_tables(many, chosen)["networks"] for chosen in ((), ("reinit", "untrained", "dense_early"))
    )
    assert list(some["arm"].unique()) == ["reinit", "untrained", "dense_early"]
    columns = ["arm", "role", "name", "method", "network", "look"]
    whole = everything[columns].drop_duplicates().set_index("arm")
    assert some[columns].drop_duplicates().set_index("arm").equals(whole.loc[some["arm"].unique()])
    draw_figures(many, tmp_path, ["overview"], ["imp", "oneshot"])
    assert "finetune" not in (tmp_path / "overview.svg").read_text()
    assert (tmp_path / "overview.rst").read_text().endswith("--figure overview --arm imp --arm oneshot\n")


def test_without_a_curve_chosen_arms_are_drawn_as_curves(many):
    frames = read_tables(many, ["untrained", "dense_small"])
    assert set(frames["networks"]["role"]) == {"curve"}
    with matplotlib.rc_context(STYLE):
        for name in figure_names(["accuracy"]):
            assert make_figure(name, frames).axes


def test_an_arm_that_curves_start_from_is_drawn_where_it_is_chosen_alone(brought):
    assert set(read_tables(brought, ["lite0"])["networks"]["arm"]) == {"lite0"}


def test_an_arm_that_is_not_there_is_refused(many, tmp_path):
    with pytest.raises(UserError, match=r"--arm: .*networks\.csv has no arm oneshto; did you mean oneshot\?"):
        draw_figures(many, tmp_path / "figures", arms=["imp", "oneshto"])
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize(
    ("name", "inches"),
    [("overview", 1.9), ("units_by_category", 1.6), ("unique_concepts", 2.3), ("iou_distribution", 2 * 2.3)],
)
def test_the_legend_fits_and_leaves_room(tmp_path, name, inches):
    networks = [
        network
        for base in ("a_network_with_a_long_name", "another_one_whose_name_is_long")
        for network in write_brought(tmp_path, base, ONE_SHOT)
    ]
    figure = figure_of(name, collected(networks, tmp_path))
    figure.draw_without_rendering()
    [legend] = figure.legends
    extent = legend.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width
    assert (figure.bbox.height - extent.height) / figure.dpi >= inches
    assert extent.y0 >= 0 and extent.y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes)


@pytest.mark.parametrize(
    "table", ["networks", "categories", "units", "layers", "arms", "equivalence", "matched", "identity"]
)
def test_tables_that_are_not_there_are_told(experiment, tmp_path, table):
    shutil.copytree(experiment[1], tmp_path / "tables")
    (tmp_path / "tables" / f"{table}.csv").unlink()
    with pytest.raises(UserError, match=rf"{table}\.csv is missing"):
        draw_figures(tmp_path / "tables", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("lowest", [100, 80, 55, 10, 1.4, 0.4, 0.01])
@pytest.mark.parametrize("inches", [0.8, 1.5, 3, 6])
@pytest.mark.parametrize("font_size", [6, 9])
def test_density_ticks_are_in_range_and_their_labels_apart(lowest, inches, font_size):
    """Labels of ticks are one point smaller than the font; a letter is at most 0.64 of its size wide."""
    with matplotlib.rc_context(style_of(font_size)):
        ticks = density_ticks(lowest, inches)
    assert ticks[0] == 100
    assert all(high > low >= lowest for high, low in pairwise(ticks))
    apart = inches * np.diff(-np.log10(ticks)) / max(np.log10(100 / lowest), 0.04)
    letters = np.array([max(len(f"{tick:g}"), len(f"{100 - tick:g}")) for tick in ticks])
    fits = apart > 0.64 * (font_size - 1) / 72 * (letters[1:] + letters[:-1]) / 2
    assert fits.all() or not set(ticks) - {100, 10, 1, 0.1, 0.01}  # no axis has less than its decades


def test_tables_of_detectors_by_several_rules_are_refused(two_layers):
    networks = read_tables(two_layers)["networks"]
    assert detector_rule_of(networks) == (CUT, "above")
    for column, other in (("detector_iou", 0.05), ("detector_rule", "at_least")):
        mixed = pd.concat([networks, networks.head(1).assign(**{column: other})])
        with pytest.raises(UserError, match="detectors by several rules"):
            detector_rule_of(mixed)
