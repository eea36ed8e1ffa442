"""The tables of ablation, and their figure."""

import re

import numpy as np
import pandas as pd
import pytest
from small_experiments import ablate, collected, figure_of, is_drawn, legend_of, write_brought, write_experiment

from workflow_scripts.figures.draw_figures import read_tables
from workflow_scripts.figures.panels import PAGE_HEIGHT
from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.collect_ablation import AblatedNetwork, collect_ablation

KEYS = ["arm", "replicate", "level"]


def network_of(folder, key, rows=1, classes=("7", "NA")):
    """A network with `rows` rows in its ablation.csv and a row for each class; the last class has no pictures."""
    files = folder / f"{key}_ablation.csv", folder / f"{key}_classes.csv"
    row = ["x", "NA", "7", 2, 10, 0.5, -0.123456789, "", -0.1, 0, 0.1, 0, 0.05, 19, "logits"]
    pd.DataFrame([row] * rows, columns=COLUMNS).to_csv(files[0], index=False)
    counts = [[name, 0 if name == "NA" else 9, "" if name == "NA" else 1 / 3] for name in classes]
    pd.DataFrame(counts, columns=CLASS_COLUMNS).to_csv(files[1], index=False)
    return AblatedNetwork("imp", *key, *files)


def gathered(folder, networks, given=()):
    collect_ablation(networks, given, folder / "ablation.csv", folder / "classes.csv")
    kept = {"dtype": dict.fromkeys(("class", "concept"), str), "keep_default_na": False}
    return [pd.read_csv(folder / f"{name}.csv", **kept) for name in ("ablation", "classes")]


def test_rows_are_sorted_by_network_and_names_stay_as_they_are(tmp_path):
    networks = [network_of(tmp_path, key) for key in ((2, 0), (1, 10), (1, 2))]
    networks.append(networks[0]._replace(arm="again"))
    ablation, classes = gathered(tmp_path, networks)
    assert list(ablation.columns) == [*KEYS, *COLUMNS] and list(classes.columns) == [*KEYS, *CLASS_COLUMNS]
    wanted = [["again", 2, 0], ["imp", 1, 2], ["imp", 1, 10], ["imp", 2, 0]]
    assert ablation[KEYS].to_numpy().tolist() == wanted
    assert (ablation["class"] == "NA").all() and (ablation["concept"] == "7").all()
    assert (ablation["own"] == -0.123457).all() and (ablation["others"] == "").all()
    assert classes["class"].tolist() == ["7", "NA"] * 4 and classes["accuracy"].tolist() == ["0.333333", ""] * 4


def test_without_detectors_of_classes_there_is_only_a_header(tmp_path):
    some, none = network_of(tmp_path, (1, 0)), network_of(tmp_path, (1, 1), rows=0)
    assert gathered(tmp_path, [none, some])[0]["level"].tolist() == [0]
    ablation, classes = gathered(tmp_path, [none])
    assert ablation.empty and list(ablation.columns) == [*KEYS, *COLUMNS] and len(classes) == 2


def test_only_a_class_that_no_network_has_is_refused(tmp_path):
    """Brought networks may have other classes than those that are trained here."""
    networks = [network_of(tmp_path, (1, 0)), network_of(tmp_path, (2, 0), classes=("n02", "no"))]
    given = ["NA", "n02", "7"]
    assert gathered(tmp_path, networks, given)[1]["class"].tolist() == ["7", "NA", "n02", "no"]
    (tmp_path / "ablation.csv").unlink()
    for name, advice in (("n03", "did you mean n02?"), ("house", "write an existing name, such as 7")):
        with pytest.raises(UserError) as error:
            gathered(tmp_path, networks, [*given, name])
        assert str(error.value) == (
            f"ablation.classes names the class '{name}', which no network's test pictures have; {advice}"
        )
    assert not (tmp_path / "ablation.csv").exists()


def test_a_missing_file_or_other_columns_are_named(tmp_path):
    network = network_of(tmp_path, (1, 0))
    network.classes.write_text("class\n7\n")
    with pytest.raises(UserError, match=re.escape(f"{network.classes} has no column pictures")):
        gathered(tmp_path, [network])
    network.ablation.unlink()
    with pytest.raises(UserError, match=r"ablation\.csv is missing.*switch off that network's units again"):
        gathered(tmp_path, [network])


def test_the_figure_shows_changes_and_accuracies_by_density(tmp_path):
    layers = ("one", "two")
    tables = ablate(collected(write_experiment(tmp_path, layers=layers), tmp_path))
    rows = pd.read_csv(tables / "ablation.csv")
    few = (rows["replicate"] == 0) & (rows["level"] == 2) & (rows["class"] != "class 1")
    rows[~few].to_csv(tables / "ablation.csv", index=False)  # replicates differ in how many classes they detect
    changes, classes = (pd.read_csv(tables / f"{name}.csv").query("arm == 'imp'") for name in ("ablation", "classes"))
    figure = figure_of("ablation", tables)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "all units on"]
    places = 100 * 0.3 ** np.arange(3)
    for layer, axes in zip(layers, figure.axes, strict=False):
        of_layer = changes[changes["layer"] == layer]
        of_replicates = of_layer.groupby(["level", "replicate"])[["own", "others", "random_own_mean"]].mean()
        means = 100 * of_replicates.groupby("level").mean()
        for column in means:
            assert is_drawn(axes, np.column_stack([places, means[column]]))
        for column in ("own", "random_own_mean"):
            assert is_drawn(axes, np.column_stack([places[of_layer["level"]], 100 * of_layer[column]]))
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for _, of_class in classes.groupby("class"):
        means = 100 * of_class.groupby("level")["accuracy"].mean()
        assert is_drawn(figure.axes[2], np.column_stack([places, means]))
    right = (classes["accuracy"] * classes["pictures"]).groupby(classes["level"]).sum()
    every = 100 * right / classes.groupby("level")["pictures"].sum()
    assert is_drawn(figure.axes[2], np.column_stack([places, every]))
    assert len(legend_of(figure)) == 6


def test_without_a_class_that_has_detectors_the_figure_says_so(tmp_path):
    tables = ablate(collected(write_experiment(tmp_path), tmp_path))
    header = (tables / "ablation.csv").read_text().splitlines()[0]
    (tables / "ablation.csv").write_text(header + "\n")
    frames = read_tables(tables)
    assert frames["ablation"].empty and not frames["classes"].empty
    [text] = figure_of("ablation", tables).axes[0].texts
    assert "No class of the test pictures has a concept of its name" in text.get_text().replace("\n", " ")
    (tables / "classes.csv").unlink()
    assert not {"ablation", "classes"} & read_tables(tables).keys()


def test_dense_networks_and_many_curves_have_a_figure(tmp_path):
    tables = ablate(
        collected(write_brought(tmp_path / "dense", "net", measured=True, layers=("a", "b", "c")), tmp_path)
    )
    figure = figure_of("ablation", tables)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "all units on"]
    assert all([label.get_text() for label in axes.get_xticklabels()] == ["dense"] for axes in figure.axes)
    networks = [one for name in "abcdef" for one in write_brought(tmp_path, name, ["global"], measured=True)]
    figure = figure_of("ablation", ablate(collected(networks, tmp_path)))
    figure.draw_without_rendering()
    assert len(figure.axes) == 2 * 4 and figure.get_figheight() <= PAGE_HEIGHT
    assert "Not shown: e, one-shot, global magnitude; f, one-shot" in figure.get_suptitle().replace("\n", " ")
