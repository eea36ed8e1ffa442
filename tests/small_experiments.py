"""Small experiments, written as their networks' files or as tables, and the figures that are drawn from them."""

import csv
import json

import matplotlib
import numpy as np
import pandas as pd

from workflow_scripts.dissect.halves import SPLIT_COLUMNS
from workflow_scripts.dissect.nulls import UNIT_COLUMNS
from workflow_scripts.figures.draw_figures import make_figure, read_tables
from workflow_scripts.figures.style import FONT_SIZE, style_of
from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS
from workflow_scripts.tables.collect import MeasuredNetwork, collect
from workflow_scripts.tables.collect_sweep import SweptNetwork, collect_sweep
from workflow_scripts.tables.columns import TABLES
from workflow_scripts.tables.compare_networks import Margins, compare_networks

CUT = 0.04
LAYER = "stages.3.conv2"
KNOTS = "receptive_field"
BASELINES = {
    "untrained": "untrained",
    "untrained_calibrated": "untrained, calibrated",
    "shuffled_labels": "dense, labels shuffled",
}
REFERENCES = {"trained_twice": "dense, trained twice"}
ONE_SHOT = {
    "global": "one-shot, global magnitude",
    "layerwise": "one-shot, layerwise magnitude",
    "random": "one-shot, random",
    "structured": "one-shot, whole filters",
}
OWN_BASELINES = ("untrained", "shuffled_labels")  # of a brought network


def write_units(path, units, layers=(LAYER,), cut=CUT, rule="above"):
    """A units.csv from {unit: (maximum, threshold, {category: (label, IoU)})}, the same for every layer.

    A unit detects a label if their IoU is above the cut or, where the rule is "at_least", equals it; never with IoU 0,
    with which there is no label either.
    """

    def is_detected(iou):
        return iou > 0 and (iou > cut or (rule == "at_least" and iou == cut))

    rows = []
    for layer in layers:
        for unit, (maximum, threshold, found) in units.items():
            found = {name: (label if iou else "", iou) for name, (label, iou) in found.items()}
            category = max(found, key=lambda name: found[name][1])
            label, score = found[category]
            row = {"layer": layer, "unit": unit, "category": category if score else "", "label": label, "score": score}
            row |= {"threshold": threshold, "maximum": maximum, "minimum": 0.0}
            row |= {"detector": is_detected(score), "dead": maximum == 0, "knots": KNOTS}
            for name, (label, iou) in found.items():
                row |= {f"{name}-label": label, f"{name}-truth": 9, f"{name}-activation": 9}
                row |= {f"{name}-intersect": 1, f"{name}-iou": iou, f"{name}-detector": is_detected(iou)}
            rows.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    write_validation(path)


def write_validation(units, nulls="nulls.csv", split="split.csv", **columns_of_units):
    """A nulls.csv and a split.csv beside a units.csv, of numbers that are the same for every unit but for the IoUs.

    `columns_of_units` are other numbers, a list for each column of nulls.csv.
    """
    table = pd.read_csv(units, dtype=str, keep_default_na=False)
    names = table[["layer", "unit", "category", "label"]].assign(iou=table["score"])
    score = table["score"].astype(float)
    columns = {"iou_chance": 0.005, "null_mean": 0.02, "null_sd": 0.002, "null_max": 0.03, "null_detectors": 0.01}
    columns |= {"permutations": 99, "p": np.where(score > 0.03, 0.01, 0.5), "q": np.where(score > 0.03, 0.02, 0.5)}
    columns |= {"p_gumbel": 0.001, "agreement": 0.75} | columns_of_units
    names.assign(**columns)[UNIT_COLUMNS].to_csv(units.with_name(nulls), index=False)
    row = {"groups": 20, "halvings": 20, "detectors_half": 6.5, "detectors_cv": 5.5, "keep": 0.8, "agreement": 0.75}
    row |= {"bias": 0.006, "units_sd": 1.5, "concepts_sd": 1.2, "kappa_common": 0.7, "kappa_all": 0.6}
    row |= {"jaccard": 0.65, "counts_overlap": 0.6}
    layers = pd.DataFrame({"layer": table["layer"].unique()}).assign(**row)
    layers[SPLIT_COLUMNS].to_csv(units.with_name(split), index=False)


def complete(name, rows):
    """A table with all its columns: those that `rows`, a DataFrame, lacks have some allowed value in each row."""
    for column, kind in TABLES[name][0].items():
        if column not in rows:
            text = kind.choices[0] if kind.choices else "x"
            number = False if "b" in kind.dtypes else 1 if "f" not in kind.dtypes else 0.5
            rows[column] = "" if kind.may_be_empty else number if kind.dtypes else text
    return rows


def measured_network(arm, replicate, level, metrics, units):
    """The network whose files are these, and what validates its units beside them."""
    return MeasuredNetwork(
        arm, replicate, level, metrics, units, units.with_name("nulls.csv"), units.with_name("split.csv")
    )


def write_metrics(path, density=1.0, accuracy=0.9, epochs=2):
    """Write the metrics.json of a network with one layer and a density."""
    path.parent.mkdir(parents=True, exist_ok=True)
    epoch = {"learning_rate": 0.12345678, "train_loss": 1.5, "train_accuracy": 0.5}
    layer = {"name": "stem", "kind": "conv", "weights": 1000, "prunable": True}
    metrics = {
        "test_accuracy": accuracy,
        "parameters": 1100,
        "density": {"prunable": density, "weights": density, "all": 0.1 + 0.9 * density},
        "budget": {"epochs": epochs, "pictures": 100 * epochs, "epochs_in_all": epochs},
        "epochs": [{"epoch": number + 1, **epoch} for number in range(epochs)],
        "layers": [layer | {"remaining": int(1000 * density)}],
    }
    path.write_text(json.dumps(metrics))


def random_units(random, quality):
    """Draw 12 units with random concepts in three categories; their IoUs rise with `quality`."""
    units = {}
    for unit in range(12):
        ious = random.gamma(1.6, 0.03 * quality, size=3).round(4)
        labels = random.integers(4, size=3)
        names = ("object", "part", "color")
        found = {name: (f"{name} {label}", iou) for name, label, iou in zip(names, labels, ious, strict=True)}
        units[unit] = (2.0, 1.0, found)
    return units


def write_network(folder, arm, replicate, level, density, quality, layers=(LAYER,), measured=True, **rule):
    """Files of a network of random units; `rule`: cut and rule, as `write_units` takes them."""
    random = np.random.default_rng([replicate, level, *arm.encode()])
    here = folder / arm / f"replicate_{replicate}" / f"level_{level}"
    accuracy = 0.5 + 0.4 * quality + 0.01 * replicate if measured else None
    write_metrics(here / "metrics.json", density, accuracy)
    write_units(here / "units.csv", random_units(random, quality), layers, **rule)
    return measured_network(arm, replicate, level, here / "metrics.json", here / "units.csv")


def write_experiment(
    folder, replicates=2, levels=3, keep=0.3, comparisons=(*BASELINES, *REFERENCES), layers=(LAYER,), **rule
):
    """Write the files of an experiment's networks; return them as `collect` takes them."""
    networks = []
    for replicate in range(replicates):
        for level in range(levels):
            numbers = (keep**level, 1 - level / levels)
            networks.append(write_network(folder, "imp", replicate, level, *numbers, layers, **rule))
        for comparison in comparisons:
            networks.append(write_network(folder, comparison, replicate, 0, 1.0, 0.1, layers, **rule))
    return networks


def write_brought(folder, name, methods=(), layers=(LAYER,), measured=False, densities=(0.5, 0.2), replicates=1):
    """A brought network, its baselines, and its one-shot arms, which begin with that same network."""
    networks = []
    for replicate in range(replicates):
        dense = write_network(folder, name, replicate, 0, 1.0, 0.9, layers, measured)
        networks.append(dense)
        for baseline in OWN_BASELINES:
            networks.append(write_network(folder, f"{name}_{baseline}", replicate, 0, 1.0, 0.5, layers, measured))
        for method in methods:
            networks.append(dense._replace(arm=f"{name}_{method}"))
            for level, density in enumerate(densities, 1):
                arm = f"{name}_{method}"
                networks.append(write_network(folder, arm, replicate, level, density, density, layers, measured))
    return networks


def arm_row(arm, base=None, role="curve", recipe="brought", starts_from="", label=None, same_units=True):
    """A row of arms.csv, by default of a brought network."""
    label = label or arm.replace("_", " ")
    row = {"arm": arm, "base": base or arm, "role": role, "recipe": recipe, "starts_from": starts_from}
    return row | {"label": label, "same_units": same_units}


def split_name(name, names):
    """The base and the recipe, or the method, of one of the `names` of arms: ("lite0", "untrained")."""
    for recipe in (*BASELINES, *REFERENCES, *ONE_SHOT):
        base = "imp" if name == recipe else name.removesuffix(f"_{recipe}")
        if base != name and base in names:
            return base, recipe
    return name, ""


def arms_of(networks):
    """Rows of arms.csv for the arms that `write_experiment` and `write_brought` write, found by their names."""
    names = list(dict.fromkeys(network.arm for network in networks))
    rows = []
    for name in names:
        base, recipe = split_name(name, names)
        if name == "imp":
            rows.append(arm_row("imp", recipe="imp", label="iterative magnitude pruning"))
        elif recipe in ONE_SHOT:
            rows.append(arm_row(name, base, recipe="prune_once", starts_from=base, label=ONE_SHOT[recipe]))
        elif recipe in BASELINES:
            starts_from = "" if recipe == "untrained" else base
            rows.append(arm_row(name, base, "baseline", recipe, starts_from, BASELINES[recipe]))
        elif recipe in REFERENCES:
            rows.append(arm_row(name, base, "reference", recipe, base, REFERENCES[recipe]))
        else:
            rows.append(arm_row(name))
    known = [*BASELINES, *REFERENCES]
    return sorted(rows, key=lambda row: known.index(row["recipe"]) if row["recipe"] in known else -1)


def collected(networks, folder, cut=CUT, rule="above", arms=None):
    """The folder of their tables, in `folder`; `arms` are rows of arms.csv, if not those of `arms_of`."""
    arms = arms or arms_of(networks)
    collect(networks, arms, cut, rule, folder / "tables")
    curves = [row["arm"] for row in arms if row["role"] == "curve"]
    swept = [SweptNetwork(*network[:3], network.units) for network in networks if network.arm in curves]
    values = {"detector_iou": [str(cut), *(value for value in ("0.02", "0.06") if float(value) != cut)]}
    collect_sweep(swept, rule, values, folder / "tables" / "sweep.csv")
    return compared(folder / "tables")


def compared(tables):
    """The folder of tables, with those that compare its networks."""
    compare_networks(tables, Margins(0.1, 0.01))
    return tables


def rotate(tables, *arms, alphas=(1.0,), seeds=3):
    """Write rotations.csv of random counts for these arms into the folder of tables, and their rotations into arms.csv.

    Returns the folder.
    """
    random = np.random.default_rng(7)
    networks = pd.read_csv(tables / "networks.csv", dtype={"layer": str})
    rows = []
    for network in networks[networks["arm"].isin(arms)].to_dict("records"):
        for alpha in alphas:
            for seed in range(1, seeds + 1):
                row = {key: network[key] for key in ("arm", "replicate", "level", "layer", "units", "dead_units")}
                detectors = network["detectors_a"] if alpha == 0 else random.integers(network["units"] + 1)
                row |= {"alpha": alpha, "seed": seed, "detectors_a": detectors, "concepts_a": min(detectors, 5)}
                rows.append(row | {"median_score": 0.05})
    pd.DataFrame(rows).to_csv(tables / "rotations.csv", index=False)
    listed = pd.read_csv(tables / "arms.csv", keep_default_na=False)
    turned = [arm_row(f"{arm}_rotated", arm, "baseline", "rotated", label="in a random basis") for arm in arms]
    pd.concat([listed, pd.DataFrame(turned)]).to_csv(tables / "arms.csv", index=False)
    return compared(tables)


def ablate(tables, classes=4):
    """Write ablation.csv and classes.csv of random changes for all networks into the folder of tables, and return it.

    All classes but the first have detectors.
    """
    random = np.random.default_rng(11)
    networks = pd.read_csv(tables / "networks.csv", dtype={"layer": str})
    changes, accuracies = [], []
    for network, of_layers in networks.groupby(["arm", "replicate", "level"]):
        key = dict(zip(("arm", "replicate", "level"), network, strict=True))
        accuracy = random.uniform(0.5, 1, classes).round(3)
        for number in range(classes):
            row = key | {"class": f"class {number}", "pictures": 10 + number, "accuracy": accuracy[number]}
            accuracies.append(row)
            for layer in of_layers["layer"] if number else []:
                own, other, chance = random.uniform(-0.5, 0, 3).round(3)
                row = row | {"layer": layer, "concept": f"class {number}", "units": number, "own": own, "others": other}
                row |= {"all": own, "random_own_mean": chance, "random_own_sd": 0.1, "random_all_mean": other}
                changes.append(row | {"p": 0.05, "sets": 19, "by": "logits"})
    for name, rows, columns in (("ablation", changes, COLUMNS), ("classes", accuracies, CLASS_COLUMNS)):
        pd.DataFrame(rows)[["arm", "replicate", "level", *columns]].to_csv(tables / f"{name}.csv", index=False)
    return tables


def sweep(tables, **settings):
    """Write sweep.csv of random counts into the folder of tables, for its first arm; the first setting is its own.

    `settings`: by choice its values, as tables have them.
    """
    random = np.random.default_rng(8)
    networks = pd.read_csv(tables / "networks.csv", dtype={"layer": str})
    rows = []
    for network in networks[networks["arm"] == networks["arm"].iloc[0]].to_dict("records"):
        own = {f"{count}_{way}": network[f"{count}_{way}"] for count in ("detectors", "concepts") for way in "ab"}
        for choice, (first, *others) in settings.items():
            for value in (first, *others):
                row = {key: network[key] for key in ("arm", "replicate", "level", "layer")}
                row |= {"choice": choice, "value": value, "own": value == first, "units": network["units"]}
                counts = (
                    own if value == first else {column: random.integers(1, count + 2) for column, count in own.items()}
                )
                rows.append(row | counts | {"dead_units": network["dead_units"]})
    pd.DataFrame(rows).to_csv(tables / "sweep.csv", index=False)
    return tables


def figure_of(name, tables, width=None, font_size=FONT_SIZE):
    """The figure of a name, drawn from a folder of tables."""
    with matplotlib.rc_context(style_of(font_size)):
        return make_figure(name, read_tables(tables), width)


def legend_of(figure):
    """The legend's names and their lines."""
    [legend] = figure.legends
    return {text.get_text(): line for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}


def a_score(networks):
    """A best IoU in the middle of those of the arm imp, which is some unit's: at such a cut the rules differ."""
    scores = [pd.read_csv(network.units)["score"] for network in networks if network.arm == "imp"]
    return float(np.sort(np.concatenate(scores))[sum(map(len, scores)) // 2])


def baseline_lines(axes):
    """The baselines of a panel against density: there they are the lines that have a label."""
    return [line for line in axes.lines if not line.get_label().startswith("_")]


def is_drawn(axes, points):
    """Whether a line goes through these points, and no others."""
    drawn = [line.get_xydata() for line in axes.lines]
    return any(line.shape == np.shape(points) and np.allclose(line, points) for line in drawn)


def points_of(tables, arm, column):
    """The densities of an arm's networks in per cent, and a column of theirs: (networks, 2)."""
    rows = pd.read_csv(tables / "networks.csv", dtype={"layer": str})
    rows["share"] = 100 * rows["detectors_a"] / rows["units"]
    return rows.loc[rows["arm"] == arm, ["density", column]].to_numpy() * [100, 1]
