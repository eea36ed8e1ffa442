"""Collect the measurements of every network in tidy tables, which readers cite and figures are drawn from."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.dissect.halves import SPLIT_COLUMNS
from workflow_scripts.dissect.name_units import detects
from workflow_scripts.dissect.nulls import SIGNIFICANCE, UNIT_COLUMNS, fewest_found
from workflow_scripts.plan.network_words import read_words
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.shared.files import UserError, reading, require_file, run_command, whole_file
from workflow_scripts.shared.outside_json import without_twins
from workflow_scripts.shared.printable import printable
from workflow_scripts.tables.arms import tabulate_arms
from workflow_scripts.tables.columns import COUNT, NUMBER, SHARE, Kind, is_value, maybe, of_network
from workflow_scripts.tables.columns import TABLES as TABLE_COLUMNS
from workflow_scripts.tables.read_tables import LONGEST_CELL, harmless, read_columns, require_once, require_whole_lines

KEYS = ["arm", "replicate", "level"]
DENSITIES = ("density", "density_weights", "density_all", "pruned_of_all")
SMALLER = "dense_small"  # the recipe of networks that are smaller by design, not by pruning
TABLES = ("networks", "categories", "units", "epochs", "layers", "nulls", "split")
EPOCH_COLUMNS = ["epoch", "learning_rate", "train_loss", "train_accuracy"]
LAYER_COLUMNS = ["name", "kind", "prunable", "weights", "remaining"]
# What metrics.json has under these keys.
DENSITY_KINDS = {"prunable": maybe(SHARE), "weights": maybe(SHARE), "all": maybe(SHARE)}
BUDGET_KINDS = {"epochs": COUNT, "pictures": COUNT, "epochs_in_all": maybe(COUNT)}
EPOCH_KINDS = {column: TABLE_COLUMNS["epochs"][0][column] for column in EPOCH_COLUMNS}
LAYER_KINDS = {column: TABLE_COLUMNS["layers"][0][column] for column in LAYER_COLUMNS}
UNIT_NUMBERS = ["threshold", "maximum", "minimum"]
UNIT_FLAGS = ["detector", "dead"]
VALIDATED = ["iou_chance", "p", "q", "agreement"]  # columns of nulls.csv that units.csv repeats
COUNTED_FDR = ("detectors_fdr", "concepts_fdr", "detectors_fdr_and_cut", "fewest_fdr")  # columns of networks.csv
CATEGORY_COLUMNS = ("label", "truth", "activation", "intersect", "iou", "detector")


class MeasuredNetwork(NamedTuple):
    """One network and the files that describe it."""

    arm: str
    replicate: int
    level: int
    metrics: Path
    units: Path
    nulls: Path
    split: Path

    def keys(self) -> dict:
        """The columns that identify the network in every table: arm, replicate, level."""
        return {"arm": self.arm, "replicate": self.replicate, "level": self.level}


def collect(
    networks: Sequence[MeasuredNetwork],
    arms: Sequence[dict],
    detector_iou: float,
    detector_rule: str,
    tables: str | Path,
) -> None:
    """Write arms.csv and the tables of `TABLES` into the folder `tables`.

    arms.csv        a row per arm: its role in the comparison, its recipe, its label
    networks.csv    a row per network and dissected layer: densities, budget, accuracy, both counts, dead units, and
                    the number of significant units
    categories.csv  a row per network, layer and category: both counts
    units.csv       a row per unit: its best concept, their IoU, and how sure both are
    epochs.csv      a row per network and epoch of training
    layers.csv      a row per network and layer with weights: how many remain
    nulls.csv       a row per unit: its IoU, and those with permuted labels
    split.csv       a row per network and dissected layer: how far two halves of the pictures agree

    The cell of an accuracy that was not measured is empty, and a brought network has no epochs. If a
    network's masks do not show which weights remain, its densities other than the stated one are empty, and it has no
    layers. A smaller network has no density, because nothing was pruned; `share_of_base` has its share of its base's
    weights. Rows are sorted by arm, replicate and level, then in the order of the files they come from; arms.csv has
    the order of `arms`, whose keys are its columns (see `tables.arms`).
    `detector_iou` and `detector_rule` are those that the units were named with; see `name_units.detects`.
    Raises UserError if a network is named twice, its arm is not listed, or a file is damaged or of another kind.
    """
    networks = sorted(networks)
    refuse_duplicates(networks)
    arm_rows = tabulate_arms(arms, [network.arm for network in networks])
    rows: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}
    for network in networks:
        metrics, units = read_metrics(network.metrics), read_units(network.units)
        refuse_other_rule(network.units, units, detector_iou, detector_rule)
        validation = read_validation(network.nulls, network.split, units)
        for table, new in tabulate(network, metrics, units, validation, detector_iou, detector_rule).items():
            rows[table].append(new)
    frames = {table: join(rows[table]) for table in TABLES}
    add_shares(frames["networks"], arm_rows)
    for table, frame in {"arms": arm_rows, **frames}.items():
        with whole_file(Path(tables) / f"{table}.csv") as part:
            frame.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def join(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate `frames`, leaving out empty ones: their columns have no types, and would change those of others."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled or frames[:1], ignore_index=True)


def add_shares(networks: pd.DataFrame, arms: pd.DataFrame) -> None:
    """Add the column share_of_base in place: prunable weights as a share of those of the base's first network.

    The first network is that of the same replicate at the lowest level. Densities of smaller networks become NaN.
    """
    first = networks.sort_values("level", kind="stable").drop_duplicates(["arm", "replicate"])
    weights = first.set_index(["arm", "replicate"])["weights"]
    bases = dict(zip(arms["arm"], arms["base"], strict=True))
    of_base = [weights.get((bases[arm], replicate), np.nan) for arm, replicate in networks[KEYS[:2]].to_numpy()]
    place = networks.columns.get_loc("weights") + 1
    networks.insert(place, "share_of_base", networks["weights"] / of_base)
    for column in ("weights", "epochs_in_all", *COUNTED_FDR):
        networks[column] = networks[column].astype("Int64")  # because with NaN they would be written as floats
    smaller = networks["arm"].isin(arms.loc[arms["recipe"] == SMALLER, "arm"])
    networks.loc[smaller, [column for column in networks if column in DENSITIES]] = np.nan


def refuse_duplicates(networks: Sequence[MeasuredNetwork]) -> None:
    """Raise UserError if there is no network, or one is named twice; `networks` are sorted."""
    if not networks:
        raise UserError("there is no network to collect: name at least one with --network")
    for one, next_one in pairwise(networks):
        if one[:3] == next_one[:3]:
            raise UserError(f"arm {one.arm}, replicate {one.replicate}, level {one.level} is named twice: name it once")


def refuse_other_rule(path: Path, units: pd.DataFrame, detector_iou: float, detector_rule: str) -> None:
    """Raise UserError if the detectors in a units.csv do not follow this rule."""
    if not units.equals(with_detectors(units, detector_iou, detector_rule)):
        words = detector_rule.replace("_", " ")
        raise UserError(
            f"{path}: its detectors are not the units with an IoU {words} {detector_iou:g}: name its units again"
        )


def tabulate(
    network: MeasuredNetwork,
    metrics: dict,
    units: pd.DataFrame,
    validation: tuple[pd.DataFrame, pd.DataFrame],
    detector_iou: float,
    detector_rule: str,
) -> dict:
    """The rows of one network, a DataFrame for each of `TABLES`; `validation` as `read_validation` returns it."""
    nulls, split = validation
    units = units.join(nulls[[*VALIDATED, "null_detectors", "permutations"]])
    counts = [(layer, count_detectors(of_layer), of_layer) for layer, of_layer in units.groupby("layer", sort=False)]
    rule = {"detector_iou": detector_iou, "detector_rule": detector_rule}
    network_rows = [network_row(metrics, layer, by_category, of_layer, rule) for layer, by_category, of_layer in counts]
    frames = {
        "networks": pd.DataFrame(network_rows),
        "categories": pd.concat([by_category.assign(layer=layer) for layer, by_category, _ in counts])[
            ["layer", "category", "detectors_a", "concepts_a", "detectors_b", "concepts_b"]
        ],
        "units": units[["layer", "unit", "category", "label", "score", "detector", "dead", *VALIDATED]],
        "epochs": pd.DataFrame(metrics["epochs"], columns=EPOCH_COLUMNS),
        "layers": layer_rows(metrics["layers"]),
        "nulls": nulls.copy(),
        "split": split.copy(),
    }
    for frame in frames.values():
        for place, (key, value) in enumerate(network.keys().items()):
            frame.insert(place, key, value)
    return frames


def network_row(metrics: dict, layer: str, by_category: pd.DataFrame, units: pd.DataFrame, rule: dict) -> dict:
    """One row of networks.csv without the network's key: shares in [0, 1], counts of units and of concepts."""
    density = metrics["density"]
    best = units[units["detector"]]
    budget = metrics["budget"]
    prunable = [layer["remaining"] for layer in metrics["layers"] if layer["prunable"]]
    return {
        "density": density["prunable"],
        "density_weights": or_nan(density["weights"]),
        "density_all": or_nan(density["all"]),
        "pruned_of_all": 1 - or_nan(density["all"]),
        "weights": sum(prunable) if prunable else np.nan,
        "epochs": budget["epochs"],
        "pictures": budget["pictures"],
        "epochs_in_all": or_nan(budget["epochs_in_all"]),
        "test_accuracy": or_nan(metrics["test_accuracy"]),
        "layer": layer,
        "knots": units["knots"].iloc[0],
        **rule,
        "units": len(units),
        "detectors_a": len(best),
        "concepts_a": len(best[["category", "label"]].drop_duplicates()),
        "detectors_b": int(by_category["detectors_b"].sum()),
        "concepts_b": int(by_category["concepts_b"].sum()),
        "dead_units": int(units["dead"].sum()),
        "zero_threshold_units": int((units["threshold"] == 0).sum()),
        "median_score": units["score"].median(),
        **significant(units),
    }


def significant(units: pd.DataFrame) -> dict:
    """The columns of networks.csv that permutations give; NaN without permutations.

    `detectors_fdr` and `concepts_fdr` count units whose q is at most `SIGNIFICANCE`, and their concepts;
    `detectors_fdr_and_cut` counts those of them that are detectors, too. `fewest_fdr` is the smallest number above 0
    that so few permutations can find. `chance_detectors` is the mean number of detectors with permuted labels.
    """
    if units["q"].isna().all():
        return dict.fromkeys((*COUNTED_FDR, "chance_detectors"), np.nan)
    found = units[units["q"] <= SIGNIFICANCE]
    return {
        "detectors_fdr": len(found),
        "concepts_fdr": len(found[["category", "label"]].drop_duplicates()),
        "detectors_fdr_and_cut": int(found["detector"].sum()),
        "fewest_fdr": fewest_found(len(units), int(units["permutations"].iloc[0])),
        "chance_detectors": units["null_detectors"].sum(),
    }


def or_nan(share: float | None) -> float:
    """A share, or NaN if it is unknown."""
    return np.nan if share is None else share


def with_detectors(units: pd.DataFrame, detector_iou: float, detector_rule: str) -> pd.DataFrame:
    """The units, with flags that mark detectors by this rule."""
    ious = {"detector": "score"} | {f"{name}-detector": f"{name}-iou" for name in categories_of(units.columns)}
    return units.assign(**{flag: detects(units[iou], detector_iou, detector_rule) for flag, iou in ious.items()})


def count_detectors(units: pd.DataFrame) -> pd.DataFrame:
    """Count one layer's detectors and their distinct concepts per category, in the two ways in use.

    A: a unit counts once, under its best concept overall.
    B: a unit counts in every category whose best label it detects (Bau et al. 2017, published code).

    Returns a DataFrame with the columns category (str), detectors_a, concepts_a, detectors_b and
    concepts_b (int), a row per category, in the order of the columns of `units`.
    """
    best = units[units["detector"]]
    rows = []
    for category in categories_of(units.columns):
        a = best.loc[best["category"] == category, "label"]
        b = units.loc[units[f"{category}-detector"], f"{category}-label"]
        rows.append(
            {
                "category": category,
                "detectors_a": len(a),
                "concepts_a": a.nunique(),
                "detectors_b": len(b),
                "concepts_b": b.nunique(),
            }
        )
    return pd.DataFrame(rows)


def categories_of(columns: Sequence[str]) -> list[str]:
    """The categories that a units.csv has columns for, in the order of the columns."""
    return [column.removesuffix("-iou") for column in columns if column.endswith("-iou")]


def layer_rows(layers: list[dict]) -> pd.DataFrame:
    """A row for each layer of a metrics.json, with its density."""
    frame = pd.DataFrame(layers, columns=LAYER_COLUMNS)
    frame["name"] = harmless(frame["name"])
    frame["density"] = frame["remaining"] / frame["weights"]
    return frame


def read_metrics(path: str | Path) -> dict:
    """Read a metrics.json; test_accuracy and all densities but that of prunable weights may be None.

    Raises UserError if it is not JSON or lacks a key that the tables need.
    """
    require_file(path, "make that network first")
    with reading(path, ValueError, RecursionError):
        # Of NaN and Infinity, the sentence below says where they are.
        metrics = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=without_twins)
    require_values(path, metrics, {"test_accuracy": maybe(SHARE)} | dict.fromkeys(("density", "budget")), "")
    require_values(path, metrics["density"], DENSITY_KINDS, " under density")
    require_values(path, metrics["budget"], BUDGET_KINDS, " under budget")
    for key, kinds in (("epochs", EPOCH_KINDS), ("layers", LAYER_KINDS)):
        if not isinstance(metrics.get(key), list):
            raise UserError(f'{path} has no list "{key}": make that network again')
        for item in metrics[key]:
            require_values(path, item, kinds, f" in one of its {key}")
    return metrics


def require_values(path: str | Path, mapping: object, kinds: Mapping[str, Kind | None], where: str) -> None:
    """Raise UserError, naming the file and `where` in it, if `mapping` lacks a key or a value is not of its kind."""
    for key, kind in kinds.items():
        if not isinstance(mapping, dict) or key not in mapping:
            raise UserError(f'{path} has no key "{key}"{where}: make that network again')
        if kind and not is_value(mapping[key], kind):
            value = repr(mapping[key])[:LONGEST_CELL]
            raise UserError(f'{path}: "{key}"{where} is {value}, but must be {kind.words}: make that network again')


def read_units(path: str | Path) -> pd.DataFrame:
    """Read a units.csv, as `name_units` writes it, a row per unit: numbers as float64, flags as bool, names as str.

    Raises UserError if a column is missing, a number is not finite, or a flag is neither True nor False.
    """
    require_whole_lines(path, "name that network's units first")
    with reading(path, ValueError):
        # Every cell as text first: a concept may be called "NA" or "null".
        units = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False).fillna("")
    categories = categories_of(units.columns)
    wanted = ["layer", "unit", "category", "label", "knots", "score", *UNIT_NUMBERS, *UNIT_FLAGS]
    wanted += [f"{category}-{column}" for category in categories for column in CATEGORY_COLUMNS]
    missing = [column for column in wanted if column not in units.columns]
    if missing or not categories or units.empty:
        lack = f"column {missing[0]}" if missing else "categories" if not categories else "units"
        raise UserError(f"{path} has no {lack}: name that network's units again")
    require_once(path, units.columns, "name that network's units again")
    for column in ("layer", "category", *(name for name in units.columns if name.endswith("label"))):
        units[column] = harmless(units[column])
    for column in UNIT_NUMBERS:
        units[column] = to_numbers(path, units[column])
    for column in UNIT_FLAGS + [f"{category}-detector" for category in categories]:
        units[column] = to_flags(path, units[column])
    to_numbers(path, units["unit"], 0)  # its text stays as it is
    for column in ("score", *(f"{category}-iou" for category in categories)):
        units[column] = to_numbers(path, units[column], 0, 1)
    if units.duplicated(["layer", "unit"]).any():
        layer, unit = units.loc[units.duplicated(["layer", "unit"]), ["layer", "unit"]].iloc[0]
        raise UserError(f"{path} has unit {unit} of {layer} twice: name that network's units again")
    return units


def read_validation(nulls: Path, split: Path, units: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the nulls.csv and the split.csv of these units, as `validate_units` writes them; unknown values are NaN.

    Raises UserError if one is missing, has other columns, or is of other units or layers.
    """
    tables = []
    for name, path, wanted in (("nulls", nulls, UNIT_COLUMNS), ("split", split, SPLIT_COLUMNS)):
        table = read_columns(path, *of_network(name), "validate that network's units again")
        tables.append(table[wanted])
    of_units, of_layers = tables
    concepts = ["layer", "unit", "category", "label"]
    same = of_units[concepts].astype(str).equals(units[concepts].astype(str)) and np.allclose(
        of_units["iou"], units["score"], rtol=1e-9, atol=0
    )
    if not same or list(of_layers["layer"]) != list(units["layer"].unique()):
        raise UserError(f"{nulls} is of other units than units.csv: validate that network's units again")
    return of_units, of_layers


def to_numbers(path: str | Path, text: pd.Series, low: float = NUMBER.low, high: float = NUMBER.high) -> pd.Series:
    """A column of text as float64; UserError, naming the file, if a cell is not a finite number within the bounds."""
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    wrong = ~numbers.between(low, high)
    if wrong.any():
        within = f" from {low:g} to {high:g}" if high == 1 else ""
        raise UserError(
            f'{path} has "{shown(text[wrong])}" in column {text.name} where a number{within} belongs: '
            "name that network's units again"
        )
    return numbers


def to_flags(path: str | Path, text: pd.Series) -> pd.Series:
    """A column of text as bool; UserError, naming the file, if a cell is neither True nor False."""
    wrong = ~text.isin(["True", "False"])
    if wrong.any():
        raise UserError(
            f'{path} has "{shown(text[wrong])}" in column {text.name} where True or False belongs: '
            "name that network's units again"
        )
    return text == "True"


def shown(cells: pd.Series) -> str:
    """The first of some cells, shortened for a sentence."""
    return printable(cells.iloc[0][:LONGEST_CELL])


def find_networks(
    results: Path, named: Sequence[Sequence[str]], measured: Sequence[Sequence[str]]
) -> list[MeasuredNetwork]:
    """The networks that --networks and --measured describe; UserError as `read_words` raises it."""
    metrics_of = read_words(measured)
    networks = []
    for key, other in read_words(named).items():
        files = [results / other.folder / name for name in ("units.csv", "nulls.csv", "split.csv")]
        networks.append(MeasuredNetwork(*key, results / metrics_of.get(key, other).folder / "metrics.json", *files))
    return networks


def networks_of(arguments: argparse.Namespace, *names: str) -> Iterator[tuple]:
    """Yield the key of each network of --networks, followed by the paths of its files with these names."""
    for key, other in read_words(arguments.networks).items():
        yield (*key, *(arguments.results / other.folder / name for name in names))


def add_network_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the arguments for the networks, as `read_words` takes them, and for the folder of their files."""
    parser.add_argument("--results", type=Path, required=True, help="the experiment's folder, with all networks' files")
    parser.add_argument(
        "--networks",
        nargs="+",
        action="append",
        required=required,
        default=[],
        metavar=("ARM", "REPLICATE/LEVEL"),
        help="the networks of an arm; with =ARM/REPLICATE/LEVEL the one whose files a network has; once for each arm",
    )


def main() -> None:
    """Collect the tables of the networks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_network_arguments(parser)
    parser.add_argument(
        "--measured",
        nargs="+",
        action="append",
        default=[],
        metavar=("ARM", "REPLICATE/LEVEL"),
        help="likewise, networks that have only the metrics.json of others",
    )
    parser.add_argument(
        "--arms", type=json.loads, required=True, help="JSON: a list of the arms, objects with the columns of arms.csv"
    )
    parser.add_argument("--detector-iou", type=float, required=True, help="the IoU threshold of a detector")
    parser.add_argument("--detector-rule", choices=DETECTOR_RULES, required=True, help="above it, or at least it")
    parser.add_argument("--tables", type=Path, required=True, help="the folder to write the tables into")
    arguments = parser.parse_args()
    networks = find_networks(arguments.results, arguments.networks, arguments.measured)
    collect(networks, arguments.arms, arguments.detector_iou, arguments.detector_rule, arguments.tables)


if __name__ == "__main__":
    run_command(main)
