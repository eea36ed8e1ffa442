"""What the figures beyond the plain curves draw, read back from them and computed once more from the tables."""

import re
import shlex
import shutil
import subprocess
import sys
from itertools import combinations, pairwise, product
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from small_experiments import (
    BASELINES,
    CUT,
    KNOTS,
    LAYER,
    ONE_SHOT,
    OWN_BASELINES,
    REFERENCES,
    a_score,
    ablate,
    arm_row,
    arms_of,
    baseline_lines,
    collected,
    compared,
    complete,
    figure_of,
    is_drawn,
    legend_of,
    points_of,
    rotate,
    sweep,
    write_brought,
    write_experiment,
    write_network,
)

from workflow_scripts.figures.draw_figures import REDRAWN_BY, draw_figures, read_arguments, read_tables, write_caption
from workflow_scripts.figures.heat_maps import Block, draw_heat_map, label_columns, name_blocks, row_height
from workflow_scripts.figures.numbers import rounded
from workflow_scripts.figures.panels import density_colours
from workflow_scripts.figures.plots.against_accuracy import to_accuracy, to_place
from workflow_scripts.figures.plots.concept_trajectories import FATES, follow
from workflow_scripts.figures.style import BRODEN_CATEGORIES, PAGE_HEIGHT, STYLE, category_looks, fix_layout
from workflow_scripts.plan.figures import figure_names
from workflow_scripts.shared.concept_names import shown_name
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.arms import name_arms
from workflow_scripts.tables.read_tables import read_table

ROOT = Path(__file__).resolve().parent.parent
FIGURES = figure_names()
CATEGORIES = ["object", "part", "color"]  # in the order of the tables
NETWORK = ["arm", "replicate", "level"]
SETTINGS = {  # of a sweep, the experiment's own first
    "detector_iou": ["0.04", "0.02", "0.03", "0.06", "0.08", "0.1"],
    "quantile": ["0.005", "0.001", "0.002", "0.01", "0.02"],
    "protocol": ["own", "netdissect", "lite", "quick", "pnas"],
    "knots": ["receptive_field", "receptive_field_exact", "align_corners_false", "align_corners_true"],
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of a small experiment with every baseline and reference."""
    folder = tmp_path_factory.mktemp("experiment")
    tables = collected(write_experiment(folder / "results", replicates=3, levels=4), folder)
    return ablate(rotate(tables, "imp", alphas=(0.0, 0.5, 1.0)))


@pytest.fixture(scope="module")
def one_shot(tmp_path_factory):
    """The tables of two brought networks, pruned in every way, whose accuracy nobody measured."""
    folder = tmp_path_factory.mktemp("one_shot")
    networks = write_brought(folder, "lite0", ONE_SHOT) + write_brought(folder, "vgg", ["random"])
    return rotate(collected(networks, folder), "lite0_global", "lite0_random", "vgg_random")


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """Tables as large as those of the paper's experiment, but for the number of units; and names that are odd."""
    folder = tmp_path_factory.mktemp("paper")
    write_large(folder)
    return sweep(ablate(rotate(folder, "imp"), classes=1000), **SETTINGS)


def write_large(folder, levels=19, replicates=3, units=400, concepts=150, layers=54):
    random = np.random.default_rng(0)
    labels = [f"concept {number}" for number in range(concepts)]
    labels[1:9] = ["$x$", "$", "_underscored_", "NA", "", "x^2_3", "100%", "a\\b"]
    rows = {"networks": [], "categories": [], "units": [], "layers": [], "epochs": []}
    for replicate in range(replicates):
        for level in range(levels):
            key = {"arm": "imp", "replicate": replicate, "level": level}
            scores = random.gamma(2, 0.03 * 0.95**level, units).round(6)
            picked = random.zipf(1.3, units) % concepts
            found = pd.DataFrame({"layer": "layer4", "unit": range(units), "score": scores, "dead": False})
            found = found.assign(
                detector=found["score"] > CUT,
                category=[CATEGORIES[one % 3] for one in picked],
                label=[labels[one] for one in picked],
            )
            rows["units"].append(found.assign(**key))
            detectors = found[found["score"] > CUT]
            counts = {"units": units, "detectors_a": len(detectors), "detectors_b": len(detectors)}
            counts |= dict.fromkeys(
                ("concepts_a", "concepts_b"), detectors[["category", "label"]].drop_duplicates().shape[0]
            )
            network = key | {"density": 0.8**level, "test_accuracy": 0.7 - 0.02 * level, "layer": "layer4"}
            rule = {"detector_iou": CUT, "detector_rule": "above", "knots": KNOTS}
            shares = dict.fromkeys(("density_weights", "density_all"), 0.8**level) | {"pruned_of_all": 1 - 0.8**level}
            others = {"dead_units": level, "zero_threshold_units": 0, "median_score": found["score"].median()}
            others["detectors_fdr"] = units - 10 * level
            rows["networks"].append(pd.DataFrame([network | counts | rule | shares | others]))
            for category in CATEGORIES:
                of_category = detectors[detectors["category"] == category]
                names = of_category["label"].nunique()
                counts = {"detectors_a": len(of_category), "detectors_b": len(of_category)}
                counts |= {"concepts_a": names, "concepts_b": names, "category": category, "layer": "layer4"}
                rows["categories"].append(pd.DataFrame([key | counts]))
            epochs = pd.DataFrame({"epoch": range(1, 91), "train_loss": 7 * 0.97 ** np.arange(90)})
            rows["epochs"].append(epochs.assign(train_accuracy=1 - epochs["train_loss"] / 7, **key))
            names = [f"layer{number}.a_long_name_of_a_layer.conv{number}" for number in range(layers)]
            density = 0.8 ** (level * random.uniform(0.5, 1.5, layers))
            of_layers = {"name": names, "kind": "conv", "prunable": True, "weights": 1000, "density": density}
            rows["layers"].append(pd.DataFrame(of_layers | {"remaining": (1000 * density).astype(int)}).assign(**key))
    for table, frames in rows.items():
        complete(table, pd.concat(frames)).to_csv(folder / f"{table}.csv", index=False)
    pd.DataFrame([arm_row("imp", recipe="imp")]).to_csv(folder / "arms.csv", index=False)
    complete("split", pd.DataFrame()).to_csv(folder / "split.csv", index=False)
    compared(folder)


def heat_map(axes):
    """The cells of a heat map, its arms beside each other, by the names of its rows."""
    blocks = [mesh for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    cells = np.hstack([mesh.get_array().filled(0) for mesh in blocks])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == len(cells)
    return names, cells


def test_the_paper_s_curves_are_relative_to_the_own_dense_network(tables):
    rows = pd.read_csv(tables / "networks.csv").query("arm == 'imp'")
    [axes] = figure_of("relative_to_dense", tables).axes
    curves = []
    for column in ("test_accuracy", "detectors_a", "concepts_a"):
        relative = []
        for _, of_replicate in rows.groupby("replicate"):
            values = of_replicate[column].to_numpy()
            relative.append(100 * values / values[0])
            assert is_drawn(axes, np.column_stack([100 * of_replicate["density"], relative[-1]]))
        means = rows.groupby("level")[column].mean().to_numpy()  # the ratio of means is not the mean of the ratios
        assert column == "test_accuracy" or np.abs(100 * means / means[0] - np.mean(relative, axis=0)).max() > 0.5
        curves.append(np.column_stack([100 * of_replicate["density"], 100 * means / means[0]]))
        assert is_drawn(axes, curves[-1])
        assert curves[-1][0] == pytest.approx([100, 100])
    means = [line for line in axes.lines if line.get_marker() not in ("", "None") and line.get_linestyle() == "-"]
    assert len(means) == 3
    assert len({line.get_color() for line in means}) == len({line.get_marker() for line in means}) == 3
    names = ["test accuracy", "detectors", "unique concepts"]
    lines = "each replicate; bold: ratio of means, 3 replicates"
    assert list(legend_of(axes.figure)) == [*names, lines, *BASELINES.values()]
    for line, curve, name in zip(means, curves, names, strict=True):
        assert line.get_xydata() == pytest.approx(curve)
        assert legend_of(axes.figure)[name].get_color() == line.get_color()


def test_two_figures_give_one_number_for_the_same_thing(tables):
    """In per cent of dense, the bold lines of one are the black lines of the other."""
    [relative] = figure_of("relative_to_dense", tables).axes
    for axes in figure_of("robustness", tables).axes:
        [own] = [line for line in axes.lines if line.get_linewidth() == 2]
        assert is_drawn(relative, own.get_xydata())


def test_relative_curves_have_a_panel_for_each_arm(one_shot):
    figure = figure_of("relative_to_dense", one_shot)
    wanted = [*(f"lite0, {name}" for name in ONE_SHOT.values()), "vgg, one-shot, random"]
    assert [axes.get_title().replace("\n", " ") for axes in figure.axes] == wanted
    own = [BASELINES[name] for name in OWN_BASELINES]
    assert list(legend_of(figure)) == ["detectors", "unique concepts", *own]
    for axes, arm in zip(figure.axes, [*(f"lite0_{method}" for method in ONE_SHOT), "vgg_random"], strict=True):
        points = points_of(one_shot, arm, "concepts_a")
        assert is_drawn(axes, points * [1, 100 / points[0, 1]])


def test_nothing_is_related_to_a_dense_network_that_is_not_there(tmp_path):
    networks = [write_network(tmp_path, "sparse", 0, level, 0.5**level, 0.9) for level in (1, 2)]
    networks += [write_network(tmp_path, "dense", 0, 0, 1.0, 0.9)]
    figure = figure_of("relative_to_dense", collected(networks, tmp_path))
    [axes] = figure.axes
    assert not axes.lines
    assert "nothing to relate" in axes.texts[0].get_text().replace("\n", " ")


def test_units_stand_beside_their_own_rotations(tables):
    networks = pd.read_csv(tables / "networks.csv").query("arm == 'imp'")
    networks["share"] = 100 * networks["detectors_a"] / networks["units"]
    rotations = pd.read_csv(tables / "rotations.csv")
    rotations["share"] = 100 * rotations["detectors_a"] / rotations["units"]
    turned = rotations[rotations["alpha"] == 1]
    top, middle, bottom = figure_of("rotation", tables).axes
    density = 100 * networks.groupby("level")["density"].mean()
    of_level = turned.groupby("level")["share"]
    assert is_drawn(top, np.column_stack([density, networks.groupby("level")["share"].mean()]))
    assert is_drawn(top, np.column_stack([density, of_level.mean()]))
    [band] = top.collections
    ends = [*zip(density, of_level.min(), strict=True), *zip(density, of_level.max(), strict=True)]
    drawn = band.get_paths()[0].vertices
    assert all(np.isclose(drawn, end).all(axis=1).any() for end in ends)
    assert all(np.isclose(ends, corner).all(axis=1).any() for corner in drawn)
    # Each network less the mean of its own rotations, then the mean of the replicates.
    chance = turned.groupby(["replicate", "level"])["share"].mean()
    excess = networks.set_index(["replicate", "level"])["share"] - chance
    for of_replicate in (
        *(values.to_numpy() for _, values in excess.groupby("replicate")),
        excess.groupby("level").mean(),
    ):
        assert is_drawn(middle, np.column_stack([density, of_replicate]))
    assert [0, 0] in [list(line.get_ydata()) for line in middle.lines]
    # The dense level, and of 100, 30, 9 and 2.7 % that of 9 %; from the units themselves on.
    for level in (0, 2):
        of_alpha = rotations[(rotations["level"] == level) & (rotations["alpha"] > 0)].groupby("alpha")["share"].mean()
        own = networks.loc[networks["level"] == level, "share"].mean()
        assert is_drawn(bottom, [[0, own], *of_alpha.items()])
    assert [text for text in legend_of(figure_of("rotation", tables)) if "basis" in text or "90" in text] == [
        "in a random basis, mean",
        "nearest to 90 % pruned",
    ]


def test_of_dense_networks_rotations_are_marks(tmp_path):
    tables = rotate(collected(write_brought(tmp_path, "net", replicates=2), tmp_path), "net")
    rows = pd.read_csv(tables / "rotations.csv")
    [axes] = figure_of("rotation", tables).axes
    lines = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert lines["in a random basis"] == pytest.approx([100 * (rows["detectors_a"] / rows["units"]).mean()])
    assert lines["mean of 2 replicates"] == pytest.approx(points_of(tables, "net", "share")[:, 1].mean())
    assert sorted(lines["each replicate"]) == pytest.approx(sorted(points_of(tables, "net", "share")[:, 1]))


def test_where_no_curve_is_rotated_the_figure_says_so(tmp_path):
    tables = rotate(collected(write_experiment(tmp_path), tmp_path), "untrained")
    assert "No curve here is rotated" in figure_of("rotation", tables).axes[0].texts[0].get_text()


def test_a_single_sparse_network_has_a_bar_in_place_of_a_band(tmp_path):
    networks = write_experiment(tmp_path, comparisons=())
    networks += [write_network(tmp_path, "sparse", replicate, 0, 0.4, 0.9) for replicate in range(2)]
    tables = rotate(collected(networks, tmp_path), "sparse")
    rows = pd.read_csv(tables / "rotations.csv")
    share = 100 * rows["detectors_a"] / rows["units"]
    top = figure_of("rotation", tables).axes[0]
    [bar] = top.collections
    assert bar.get_segments()[0] == pytest.approx(np.array([[40, share.min()], [40, share.max()]]))
    assert is_drawn(top, [[40, share.mean()]])


def marks_of(axes):
    """The points of marks alone, by whether they are filled."""
    found = {True: [], False: []}
    for line in axes.lines:
        if line.get_marker() not in ("None", "", None) and line.get_linestyle() == "None":
            found[line.get_markerfacecolor() != "white"] += line.get_xydata().tolist()
    return {filled: np.array(sorted(points)).reshape(-1, 2) for filled, points in found.items()}


def test_differences_stand_in_per_cent_of_dense_with_intervals_and_margin(tmp_path):
    tables = rotate(collected(write_experiment(tmp_path, replicates=4, levels=4), tmp_path), "imp")
    rows = read_table(tables / "equivalence.csv")
    shown = rows.index[(rows["arm"] == "imp") & (rows["level"] == 2)]
    rows.loc[shown, "shown"] = "equivalent"
    rows.to_csv(tables / "equivalence.csv", index=False)
    imp = rows[(rows["arm"] == "imp") & (rows["against"] == "dense")]
    units = imp.loc[imp["measure"] == "units", "mean_against"].iloc[0]
    figure = figure_of("equivalence", tables)
    measures = ("accuracy", "units", "concepts", "units_above_rotation")
    for axes, measure in zip(figure.axes, measures, strict=True):
        of_measure = imp[imp["measure"] == measure].set_index("level")
        scale = {"accuracy": 1, "units_above_rotation": units}.get(measure, of_measure["mean_against"].iloc[0])
        points = {filled: marks[marks[:, 0] < 99] for filled, marks in marks_of(axes).items()}
        wanted = np.column_stack([100 * of_measure["density"], 100 * of_measure["difference"] / scale])
        is_shown = (of_measure["shown"] == "equivalent").to_numpy()
        assert is_shown[1]
        for filled in (True, False):
            assert points[filled] == pytest.approx(np.array(sorted(wanted[is_shown == filled].tolist())).reshape(-1, 2))
        ends = np.concatenate([lines.get_segments() for lines in axes.collections])[:, :, 1]
        for low, high in 100 * of_measure[["low90", "high90"]].to_numpy() / scale:
            assert np.isclose(ends, [low, high]).all(axis=1).any()
        band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert band.y1 == pytest.approx(100 * of_measure["margin"].iloc[0] / scale)
    assert {"dense, trained twice", "shown to be equivalent", "not shown to be equivalent", "margin: no change"} <= {
        text.get_text() for text in figure.legends[0].get_texts()
    }


def test_arms_at_equal_accuracy_and_density_are_the_table_s_differences(tmp_path):
    networks = write_experiment(tmp_path, replicates=3, levels=4, keep=0.5)
    arms = arms_of(networks)
    for replicate in range(3):
        for level in range(4):
            networks.append(write_network(tmp_path, "other", replicate, level, 0.5**level, 1 - level / 3))
    tables = collected(networks, tmp_path, arms=[*arms, arm_row("other", "imp", starts_from="imp")])
    rows = read_table(tables / "matched.csv")
    rows = rows[rows["difference"].notna()]
    figure = figure_of("matched", tables)
    panels = [(measure, by) for measure in ("units", "concepts") for by in ("accuracy", "density")]
    for axes, (measure, by) in zip(figure.axes, panels, strict=True):
        wanted = rows[(rows["measure"] == measure) & (rows["matched_by"] == by)]
        marks = marks_of(axes)
        assert len(marks[True]) == wanted["equivalent"].eq(True).sum() and len(wanted) >= 2
        places = np.column_stack([100 * 0.5 ** wanted["level"], wanted["difference"]])
        drawn = np.concatenate([marks[True], marks[False]])
        assert drawn[drawn[:, 0].argsort()] == pytest.approx(places[::-1])
    require_legible(figure)


@pytest.mark.parametrize(("width", "font_size"), [(3.5, 9), (7.2, 6)])
def test_matched_arms_of_two_networks_can_be_read_at_other_sizes(tmp_path, width, font_size):
    arms, networks = [], []
    for base in "ab":
        arms.append(arm_row(base, recipe="imp", label=f"iterative magnitude pruning {base}"))
        arms += [arm_row(f"{base}_{name}", base, starts_from=base, label=f"one-shot, {name}") for name in ("x", "y")]
        for replicate, level in product(range(3), range(4)):
            for arm, quality in ((base, 1 - level / 4), (f"{base}_x", 1 - level / 3), (f"{base}_y", 1 - level / 3)):
                networks.append(write_network(tmp_path, arm, replicate, level, 0.5**level, quality))
    figure = figure_of("matched", collected(networks, tmp_path, arms=arms), width, font_size)
    require_legible(figure, smallest=5)
    assert figure.get_figheight() <= PAGE_HEIGHT + 1e-6


def test_agreement_with_the_dense_network_and_its_ceilings(tmp_path):
    networks = write_experiment(tmp_path, replicates=3, levels=3)
    arms = arms_of(networks)
    networks += [write_network(tmp_path, "again", replicate, 0, 1.0, 0.9) for replicate in range(3)]
    again = arm_row("again", "imp", "reference", "dense_again", starts_from="imp", label="noise")
    tables = collected(networks, tmp_path, arms=[*arms, again])
    frame = read_table(tables / "identity.csv").query("arm == 'imp'")
    figure = figure_of("identity", tables)
    for axes, column in zip(figure.axes, ("kappa_common", "kappa_all", "jaccard"), strict=True):
        means = frame[frame["against"] == "dense"].groupby("level")[column].mean()
        assert is_drawn(axes, np.column_stack([[30, 9], means]))
        [noise] = [line for line in axes.lines if line.get_linestyle() == "--"]
        ceiling = frame.query("against == 'dense_again' and level == 0")[column].mean()
        assert noise.get_ydata() == pytest.approx([ceiling, ceiling])
    others = frame[frame["against"] == "other_replicate"].groupby("level")["jaccard"].mean()
    assert is_drawn(figure.axes[2], np.column_stack([[100, 30, 9], others]))
    assert {"dense, another data order", "other replicates"} <= legend_of(figure).keys()


def test_where_nothing_can_be_compared_figures_say_so(tmp_path):
    tables = collected(write_experiment(tmp_path, levels=1), tmp_path)
    for name, words in (("equivalence", "nothing to"), ("matched", "No other arm here"), ("identity", "no identity")):
        [text] = figure_of(name, tables).axes[0].texts
        assert words in text.get_text().replace("\n", " ")


def test_stacks_add_up_to_the_detectors(tables):
    [axes] = figure_of("stacked_categories", tables).axes
    categories = pd.read_csv(tables / "categories.csv").merge(
        pd.read_csv(tables / "networks.csv")[[*NETWORK, "units", "density"]], on=NETWORK
    )
    categories["share"] = 100 * categories["detectors_a"] / categories["units"]
    means = categories.groupby(["arm", "level", "category"])["share"].mean()
    bars = [("imp", level) for level in range(4)] + [(comparison, 0) for comparison in (*BASELINES, *REFERENCES)]
    drawn = np.array([[bar.get_height() for bar in container] for container in axes.containers])
    assert drawn.shape == (len(CATEGORIES), len(bars))
    assert drawn == pytest.approx(np.array([[means[*bar, category] for bar in bars] for category in CATEGORIES]))
    tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
    networks = pd.read_csv(tables / "networks.csv")
    whole = (100 * networks["detectors_a"] / networks["units"]).groupby([networks["arm"], networks["level"]]).mean()
    assert tops == pytest.approx([whole[bar] for bar in bars])
    labels = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]
    names = BASELINES | REFERENCES
    assert labels == ["100", "30", "9", "2.7", *(names[comparison] for comparison, _ in bars[4:])]
    lefts = np.diff([bar.get_x() for bar in axes.containers[0]])
    assert lefts[3] > 1.5 and np.delete(lefts, 3) == pytest.approx(1)  # baselines and references stand apart
    [legend] = axes.figure.legends
    for category, container, patch in zip(CATEGORIES, axes.containers, legend.get_patches(), strict=True):
        assert patch.get_facecolor() == container[0].get_facecolor()
        assert patch.get_label() == category


def test_categories_keep_their_looks():
    names = [*BRODEN_CATEGORIES, *(f"category {number}" for number in range(14))]
    looks = category_looks(names)
    assert len({(look["facecolor"], look["hatch"]) for look in looks.values()}) == len(names)
    assert category_looks(["part", "mine"]) == {"part": looks["part"], "mine": looks["category 0"]}


def test_points_are_networks(tables):
    rows = pd.read_csv(tables / "networks.csv")
    rows = rows.assign(share=100 * rows["detectors_a"] / rows["units"], accuracy=100 * rows["test_accuracy"])
    rows["remaining"] = 100 * rows["density"]
    imp = rows[rows["arm"] == "imp"]
    colours = matplotlib.colormaps["viridis_r"]
    norm = LogNorm(imp["remaining"].min(), 100)
    figure = figure_of("against_accuracy", tables)
    for axes, column in zip(figure.axes, ("share", "concepts_a"), strict=False):
        clouds = [cloud for cloud in axes.collections if isinstance(cloud, PathCollection)]
        replicates = [of_replicate for _, of_replicate in imp.groupby("replicate")]
        for cloud, of_replicate in zip(clouds, replicates, strict=True):
            points = of_replicate[["accuracy", column]].to_numpy()
            assert np.asarray(cloud.get_offsets()) == pytest.approx(points)
            assert is_drawn(axes, points)  # the line that joins them
            assert cloud.get_facecolors() == pytest.approx(colours(norm(of_replicate["remaining"])))
        assert len({cloud.get_paths()[0].vertices.tobytes() for cloud in clouds}) == len(clouds)
        for comparison in (*BASELINES, *REFERENCES):
            assert is_drawn(axes, rows.loc[rows["arm"] == comparison, ["accuracy", column]].to_numpy())
        low, high = axes.get_xlim()
        assert low < rows["accuracy"].min() and rows["accuracy"].max() < high < 100
        assert len(axes.get_xticks()) >= 2
    names = [f"replicate {number}" for number in range(3)]
    assert legend_of(figure).keys() == {*names, *BASELINES.values(), *REFERENCES.values()}


def test_accuracy_is_spaced_by_the_logarithm_of_the_error():
    accuracy = np.array([0, 50, 90, 99, 99.9])
    assert to_accuracy(to_place(accuracy)) == pytest.approx(accuracy)
    assert np.diff(to_place(accuracy[[0, 2, 3, 4]])) == pytest.approx([1, 1, 1])
    assert np.isfinite(to_place(100))


def test_the_heat_map_counts_detectors(tables):
    units = pd.read_csv(tables / "units.csv").query(f"arm == 'imp' and score > {CUT}")
    counts = units.groupby(["category", "label", "level"]).size().unstack(fill_value=0) / 3
    names, cells = heat_map(figure_of("concept_trajectories", tables).axes[0])
    assert sorted(names) == sorted(counts.index.get_level_values("label"))
    for name, row in zip(names, cells, strict=True):  # "object 1" says its category
        assert row == pytest.approx(counts.loc[name.split()[0], name])
    categories = [name.split()[0] for name in names]
    assert categories == sorted(categories, key=CATEGORIES.index)
    for category in CATEGORIES:
        rows = cells[[name.startswith(category) for name in names]] > 0
        keys = [(not row[0], -row.sum()) for row in rows]
        assert keys == sorted(keys)


def test_arms_share_the_rows_of_a_heat_map(one_shot):
    units = pd.read_csv(one_shot / "units.csv")
    arms = [*(f"lite0_{method}" for method in ONE_SHOT), "vgg_random"]
    units = units[units["arm"].isin(arms) & (units["score"] > CUT)]
    counts = units.groupby(["label", "arm", "level"]).size()
    axes = figure_of("concept_trajectories", one_shot).axes[0]
    names, cells = heat_map(axes)
    columns = [(arm, level) for arm in arms for level in range(3)]
    wanted = [[counts.get((name, *column), 0) for column in columns] for name in names]
    assert cells == pytest.approx(np.array(wanted))
    assert set(names) == set(units["label"])
    named = name_arms(read_table(one_shot / "arms.csv"))
    wanted = [named[arm] for arm in arms]
    assert block_names(axes) == wanted
    densities = figure_of("layer_densities", one_shot).axes
    assert [block_names(axes) for axes in densities[:2]] == [wanted[:4], wanted[4:]]  # of layers, those of one network


def block_names(axes):
    [top] = axes.child_axes
    return [" ".join(label.get_text().split()) for label in top.get_xticklabels()]


def test_what_does_not_fit_is_added_up(paper):
    units = read_tables(paper)["units"].query(f"score > {CUT}")
    figure = figure_of("concept_trajectories", paper)
    assert PAGE_HEIGHT - 0.2 < figure.get_figheight() <= PAGE_HEIGHT
    names, cells = heat_map(figure.axes[0])
    concepts = units.groupby(["category", "label"]).size().sort_values(ascending=False)
    others = len(concepts) - (len(names) - 1)
    assert others > 10
    assert names[-1] == f"{others} other concepts"
    assert set(names[:-1]) >= {shown_name(label, category) for category, label in concepts.index[:40]}
    assert {"$x$", "NA", "underscored"} <= set(names)
    per_level = units.groupby("level").size() / 3
    assert cells.sum(axis=0) == pytest.approx(per_level)
    assert cells[-1] == pytest.approx(per_level - cells[:-1].sum(axis=0))


def test_fates_by_hand():
    levels = [{"dog", "cat", "sky"}, {"dog", "sea"}, {"dog", "cat"}, set(), {"dog", "sea", "car"}]
    assert follow(levels) == [
        (3, 0, 0, 0),
        (1, 0, 1, 2),  # sea is new; cat and sky are gone
        (1, 1, 0, 2),  # cat is back; sky and sea are gone
        (0, 0, 0, 4),
        (0, 2, 1, 2),  # car is new, dog and sea are back; cat and sky are gone
    ]


def test_fates_add_up_to_the_unique_concepts(tables):
    rows = pd.read_csv(tables / "networks.csv").query("arm == 'imp'")
    units = pd.read_csv(tables / "units.csv").query(f"arm == 'imp' and score > {CUT}")
    strip = figure_of("concept_trajectories", tables).axes[1]
    kept, came, new, vanished = [np.array([bar.get_height() for bar in bars]) for bars in strip.containers]
    assert kept + came + new == pytest.approx(rows.groupby("level")["concepts_a"].mean())
    assert np.array([bar.get_y() for bar in strip.containers[2]]) == pytest.approx(kept + came)
    seen = [units[units["level"] <= level].groupby("replicate")["label"].nunique().mean() for level in range(4)]
    assert kept + came + new - vanished == pytest.approx(seen)
    assert vanished.min() < 0 and len(strip.containers) == len(FATES)


def test_detectors_are_those_that_the_tables_count(tmp_path):
    cut = a_score(write_experiment(tmp_path, replicates=1, levels=2))
    numbers = []
    for rule in ("above", "at_least"):
        networks = write_experiment(tmp_path, replicates=1, levels=2, cut=cut, rule=rule)
        collected(networks, tmp_path, cut, rule)
        frames = read_tables(tmp_path / "tables")
        detected = frames["units"]["score"] > cut if rule == "above" else frames["units"]["score"] >= cut
        assert (frames["units"]["detector"] == detected).all()
        assert detected.sum() == frames["networks"]["detectors_a"].sum()
        of_imp = frames["units"][detected & (frames["units"]["arm"] == "imp")]
        _, cells = heat_map(figure_of("concept_trajectories", tmp_path / "tables").axes[0])
        assert cells.sum(axis=0) == pytest.approx(of_imp.groupby("level").size())
        numbers.append(detected.sum())
    assert numbers[0] < numbers[1]


def test_layers_are_rows_of_their_densities(paper):
    layers = pd.read_csv(paper / "layers.csv")
    wanted = 100 * layers.pivot_table(index="name", columns="level", values="density")
    axes = figure_of("layer_densities", paper).axes[0]
    names, cells = heat_map(axes)
    whole = layers["name"].unique()
    assert len(names) == 54 and all(name.endswith(short.lstrip("…")) for name, short in zip(whole, names, strict=True))
    assert cells == pytest.approx(wanted.loc[whole].to_numpy())
    remaining = [label.get_text() for label in axes.get_xticklabels()]
    assert remaining == [rounded(100 * 0.8**level) for level in range(19)]


def test_layers_that_cannot_be_pruned_and_dense_networks_have_no_densities(tmp_path):
    networks = write_brought(tmp_path, "one", ["global"]) + write_brought(tmp_path, "other")
    tables = collected(networks, tmp_path)
    layers = pd.read_csv(tables / "layers.csv")
    exempt = layers.assign(name="head", prunable=False)
    gone = layers.assign(name="gone", density=layers["density"].where(layers["level"] < 2, 0))
    pd.concat([layers, exempt, gone]).sort_values(NETWORK, kind="stable").to_csv(tables / "layers.csv", index=False)
    axes = figure_of("layer_densities", tables).axes[0]
    names, cells = heat_map(axes)
    assert names == ["stem", "gone"]
    assert cells == pytest.approx(np.array([[100, 50, 20], [100, 50, 0]]))
    assert [text.get_text() for text in axes.texts] == ["100", "50", "20", "100", "50", "0"]
    layers.head(0).to_csv(tables / "layers.csv", index=False)
    assert "not known here" in figure_of("layer_densities", tables).axes[0].texts[0].get_text()
    dense = collected(write_brought(tmp_path, "other"), tmp_path)
    assert "No network here is pruned" in figure_of("layer_densities", dense).axes[0].texts[0].get_text()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("case", ["tables", "one_shot", "paper"])
def test_text_can_be_read_and_is_not_cut_off(case, name, request):
    if name == "matched" or (case == "one_shot" and name not in figure_names(["rotations"])):
        return  # arms that match have a test of their own
    figure = figure_of(name, request.getfixturevalue(case))
    require_legible(figure)
    assert figure.get_figwidth() in (3.5, 7.2)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(("width", "font_size"), [(3.5, 9), (7.2, 6)])
def test_text_can_be_read_at_other_sizes(tables, name, width, font_size):
    if name != "matched":
        figure = figure_of(name, tables, width, font_size)
        require_legible(figure, smallest=5)
        assert figure.get_figwidth() == width and figure.get_figheight() <= PAGE_HEIGHT + 1e-6


def require_legible(figure, smallest=6):
    """Fail unless all text of a figure can be read: it is whole, at least so many points high, and none lies on other.

    Of extents 0.4 points at each side are not ink.
    """
    fix_layout(figure)
    figure.draw_without_rendering()
    unseen = labels_out_of_sight(figure)
    drawn = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    texts = [text for text in drawn if text not in unseen]
    assert len(texts) > 5
    assert min(text.get_fontsize() for text in texts) >= smallest
    inside = figure.bbox.padded(1)
    extents = [text.get_window_extent() for text in texts]
    for text, extent in zip(texts, extents, strict=True):
        assert inside.contains(*extent.min) and inside.contains(*extent.max), text.get_text()
    for (one, first), (other, second) in combinations(zip(texts, extents, strict=True), 2):
        assert not first.padded(-1.5).overlaps(second.padded(-1.5)), (one.get_text(), other.get_text())


def labels_out_of_sight(figure):
    """The labels of ticks beyond the ends of their axes, which are there but not drawn."""
    found = []
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        out = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        found += [label for tick in out for label in (tick.label1, tick.label2)]
    return found


@pytest.mark.parametrize(("rows", "arms", "numbers"), [(10, 1, True), (10, 2, False), (60, 1, True), (160, 6, False)])
def test_crowded_heat_maps_say_less(rows, arms, numbers):
    cells = np.full((rows, 19), 0.123)
    blocks = [Block(f"arm {number}", np.linspace(100, 1, 19), cells) for number in range(arms)]
    row = row_height(rows, rest=1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, rows * row + 1), layout="constrained")
        axes = figure.subplots()
        draw_heat_map(axes, [f"layer {number}" for number in range(rows)], blocks, density_colours(0.1), rounded, row)
        label_columns(axes, blocks)
        name_blocks(axes, blocks)
        figure.draw_without_rendering()
    assert len(axes.texts) == (cells.size * arms if numbers else 0)
    width = np.diff(axes.transData.transform([(0, 0), (1, 0)])[:, 0])[0]
    assert all(text.get_window_extent().width <= width for text in axes.texts)
    for axis in figure.findobj(Axis):
        extents = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
        assert len(extents) > 5 or axis.axes is not axes
        assert not any(one.padded(-0.5).overlaps(other.padded(-0.5)) for one, other in pairwise(extents))


def test_odd_names_are_written_as_people_read_them(paper, tmp_path):
    figure = figure_of("concept_trajectories", paper)
    with matplotlib.rc_context(STYLE):
        figure.savefig(tmp_path / "figure.svg")
    written = re.findall(r">([^<>]+)</text>", (tmp_path / "figure.svg").read_text())
    assert {"$x$", "$", "underscored", "NA", "x^2 3", "a\\b"} <= set(written)


def test_asked_for_alone_a_figure_is_drawn_alone(tables, one_shot, tmp_path):
    draw_figures(tables, tmp_path / "two", ["stacked_categories", "against_accuracy"])
    assert {path.stem for path in (tmp_path / "two").iterdir()} == {"stacked_categories", "against_accuracy"}
    with pytest.raises(UserError, match="no accuracy of these networks, which against_accuracy draws"):
        draw_figures(one_shot, tmp_path / "none", ["overview", "against_accuracy"])
    plain = collected(write_experiment(tmp_path / "plain"), tmp_path)
    with pytest.raises(
        UserError, match=r"no rotations of these networks in rotations\.csv, which rotation draws: leave"
    ):
        draw_figures(plain, tmp_path / "none", ["rotation"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", FIGURES)
def test_captions_end_with_the_command_that_draws_the_figure(name, tmp_path):
    tables, out = "results/a b/tables", tmp_path / "drawn anew"
    write_caption(tables, out, name, "Of *units*: 5 %.")
    text = (out / f"{name}.rst").read_text()
    assert text.startswith(f"Of *units*: 5 %.\n\n{REDRAWN_BY}::\n\n    ")
    assert (out / f"{name}.tex").read_text() == "Of \\emph{units}: 5 \\%.\n"
    words = shlex.split(text.splitlines()[-1])
    assert words[:4] == ["python", "-m", "workflow_scripts", "draw_figures"]
    arguments = read_arguments(words[4:])
    assert (arguments.tables, arguments.out, arguments.figure) == (Path(tables), Path("redrawn"), [name])
    assert not arguments.arm and arguments.width is None
    write_caption(tables, out, name, "Units.", ["--arm", "imp", "--arm", "my net"])
    words = shlex.split((out / f"{name}.rst").read_text().splitlines()[-1])
    assert read_arguments(words[4:]).arm == ["imp", "my net"]


OWN_FIGURE = '''"""How many networks each arm has."""

import pandas as pd
from matplotlib.figure import Figure

ORDER = 15


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    figure = Figure(figsize=(width or 3.5, 2))
    axes = figure.subplots()
    axes.bar(*zip(*frames["networks"]["name"].value_counts().items()))
    return figure
'''


def test_a_figure_is_added_as_one_file(tables, tmp_path):
    shutil.copytree(
        ROOT / "workflow_scripts", tmp_path / "workflow_scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    plots = tmp_path / "workflow_scripts" / "figures" / "plots"
    (plots / "networks_of_arms.py").write_text(OWN_FIGURE)

    def run(*command):
        return subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)

    listed = run("-c", "from workflow_scripts.plan.figures import figure_names; print(*figure_names(['rotations']))")
    others = figure_names(["rotations"])
    assert listed.stdout.split() == [others[0], "networks_of_arms", *others[1:]]
    draw = ("-m", "workflow_scripts", "draw_figures", "--tables", str(tables), "--out", "drawn")
    drawn = run(*draw, "--figure", "networks_of_arms")
    assert drawn.returncode == 0, drawn.stderr
    assert "dense, trained twice" in (tmp_path / "drawn" / "networks_of_arms.svg").read_text()
    assert (tmp_path / "drawn" / "networks_of_arms.rst").read_text().startswith("How many networks each arm has.\n\n")
    # A file that is no whole figure is named before anything is drawn.
    for old, new, message in [
        ("ORDER = 15", "", "has no ORDER"),
        ('"""How many networks each arm has."""', "", "has no caption"),
        ("def draw(", "def paint(", "draws nothing"),
        ("def draw(", "def draw", "is no Python"),
    ]:
        (plots / "networks_of_arms.py").write_text(OWN_FIGURE.replace(old, new))
        failed = run(*draw)
        assert failed.returncode != 0 and message in failed.stderr and "networks_of_arms.py" in failed.stderr


def test_the_docs_list_the_figures_in_their_order():
    rows = re.findall(r"^\| (`.*)$", (ROOT / "docs" / "gallery_and_figures.md").read_text(), flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row) if name in FIGURES]
    assert named == FIGURES


def test_arms_have_names_for_people():
    arms = pd.DataFrame(
        [
            arm_row("imp", label="iterative magnitude pruning"),
            arm_row("untrained", "imp", role="baseline", label="untrained"),
            arm_row("imp_random", "imp", label="one-shot, random"),
        ]
    )
    assert name_arms(arms) == {
        "imp": "iterative magnitude pruning",
        "untrained": "untrained",
        "imp_random": "one-shot, random",
    }
    more = [arm_row("my_net"), arm_row("null", "imp_random", role="baseline", label="untrained")]
    assert name_arms(pd.concat([arms, pd.DataFrame(more)])) == {
        "imp": "iterative magnitude pruning",
        "untrained": "iterative magnitude pruning, untrained",
        "imp_random": "iterative magnitude pruning, one-shot, random",
        "my_net": "my net",
        "null": "iterative magnitude pruning, one-shot, random, untrained",
    }


def test_a_new_baseline_and_a_new_reference_have_looks_and_labels_of_their_own(tmp_path):
    networks = write_experiment(tmp_path, replicates=2, levels=3)
    arms = arms_of(networks)
    for replicate in range(2):
        for level in range(3):
            networks.append(write_network(tmp_path, "rotated", replicate, level, 0.3**level, 0.5))
        networks.append(write_network(tmp_path, "noise", replicate, 0, 1.0, 0.2))
        networks.append(write_network(tmp_path, "best", replicate, 0, 1.0, 1.0))
    arms += [arm_row(name, "imp", "baseline", "rotate", label=f"units {name}") for name in ("rotated", "noise")]
    arms += [arm_row("best", "imp", "reference", label="the best there is")]
    tables = collected(networks, tmp_path, arms=arms)
    described = read_tables(tables)["networks"].drop_duplicates("arm").set_index("arm")
    assert described["look"].tolist() == [0, 0, 1, 2, 0, 3, 4, 1]
    labels = {"units rotated", "units noise", "the best there is"}

    overview = figure_of("overview", tables)
    _, units, concepts = overview.axes[:3]
    rows = pd.read_csv(tables / "networks.csv").query("arm == 'rotated'").groupby("level").mean(numeric_only=True)
    assert is_drawn(concepts, rows[["density", "concepts_a"]].to_numpy() * [100, 1])  # a baseline with levels
    drawn = {line.get_label(): line for line in baseline_lines(units)}
    assert drawn.keys() == {*BASELINES.values(), "units rotated", "units noise"}
    assert len({line.get_marker() for line in drawn.values()}) == 5
    assert drawn.keys() <= legend_of(overview).keys() and not units.texts  # a name would lie over a line with levels
    marks = [legend_of(overview)[name].get_marker() for name in (*REFERENCES.values(), "the best there is")]
    assert marks[0] == "D" and marks[1] != "D"

    scatter = legend_of(figure_of("against_accuracy", tables))
    assert labels <= scatter.keys()
    looks = [(scatter[name].get_color(), scatter[name].get_marker()) for name in (*BASELINES.values(), *labels)]
    assert len(set(looks)) == len(looks)
    bars = [label.get_text() for label in figure_of("stacked_categories", tables).axes[0].get_xticklabels()]
    names = [*BASELINES.values(), "units rotated", "units noise", *REFERENCES.values(), "the best there is"]
    assert [bar.replace("\n", " ") for bar in bars[3:]] == names
    assert labels - {"the best there is"} <= legend_of(figure_of("iou_distribution", tables)).keys()


def test_arms_of_two_kinds_stand_in_one_experiment(tmp_path):
    """Each is compared with its own baselines, and drawn in the order of arms.csv."""
    networks = write_experiment(tmp_path, replicates=1) + write_brought(tmp_path, "alex", ["global"], ["7"])
    ordered = arms_of(networks)
    tables = collected(networks, tmp_path, arms=ordered)
    figure = figure_of("stacked_categories", tables)
    titles = [axes.get_title().replace("\n", " ") for axes in figure.axes]
    assert titles == [f"{LAYER} iterative magnitude pruning", "7 alex, one-shot, global magnitude"]
    for axes, wanted in zip(figure.axes, ([*BASELINES, *REFERENCES], OWN_BASELINES), strict=True):
        bars = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()][3:]
        assert bars == [(BASELINES | REFERENCES)[name] for name in wanted]
    figure = figure_of("overview", tables)
    units = [axes for axes in figure.axes if "units" in axes.get_ylabel()]
    labels = [{line.get_label() for line in baseline_lines(axes)} for axes in units]
    assert labels == [set(BASELINES.values()), {BASELINES[name] for name in OWN_BASELINES}]
