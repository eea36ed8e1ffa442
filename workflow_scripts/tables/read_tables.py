"""Reading the collected tables."""

from pathlib import Path

import pandas as pd

from workflow_scripts.plan.rotations import RECIPE
from workflow_scripts.shared.files import UserError, reading, require_file

NAMES = (
    *("arm", "imp_arm", "base", "role", "recipe", "starts_from", "layer", "name", "category", "label", "class"),
    *("concept", "by", "choice", "value"),
)
MAYBE_UNKNOWN = (
    *("density", "density_weights", "density_all", "pruned_of_all", "weights", "share_of_base", "epochs_in_all"),
    *("test_accuracy", "accuracy", "others"),
    *("detectors_fdr", "concepts_fdr", "detectors_fdr_and_cut", "fewest_fdr", "chance_detectors"),
    *("null_mean", "null_sd", "null_max", "null_detectors", "permutations", "p", "q", "p_gumbel"),
    "keep",
    *("difference", "sd", "low90", "high90", "margin", "smallest_change", "power", "equivalent"),
    *("p_equivalence", "p_noninferiority", "with_accuracy", "with_density"),
    *("common", "same_name", "kappa_common", "kappa_all", "jaccard", "counts_overlap"),
    *("concepts_rarefied", "concepts_rarefied_against", "rarefied_to", "agreement"),
)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that `collect` or `compare_networks` wrote; names are str, unknown values are NaN.

    Raises UserError if it is missing or not a table.
    """
    require_file(path, "run snakemake, which collects the tables")
    with reading(path, ValueError):
        # An arm, a layer or a concept may be called "7", "true" or "NA".
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(NAMES, str),
            keep_default_na=False,
            na_values={column: [""] for column in MAYBE_UNKNOWN},
        )


def read_rotations(tables: Path, arms: pd.DataFrame) -> pd.DataFrame | None:
    """Read the rotations of the arms that are rotated; None if there are none, or before they are collected.

    Two columns are added: "detectors_a %", and basis, the label of the arm of rotations. `arms` is arms.csv.
    """
    labels = arms[arms["recipe"] == RECIPE].set_index("base")["label"]
    path = tables / "rotations.csv"
    if labels.empty or not path.is_file():
        return None
    rotations = read_table(path)
    rotations["detectors_a %"] = 100 * rotations["detectors_a"] / rotations["units"]
    rotations["basis"] = rotations["arm"].map(labels)
    rotations = rotations[rotations["basis"].notna()]  # others come from an earlier config
    return None if rotations.empty else rotations


def read_ablation(tables: Path) -> dict[str, pd.DataFrame]:
    """The tables "ablation" and "classes" by name; empty before both are collected. "ablation" may have no rows."""
    names = ("ablation", "classes")
    if not all((tables / f"{name}.csv").is_file() for name in names):
        return {}
    return {name: read_table(tables / f"{name}.csv").astype({"replicate": int, "level": int}) for name in names}


def farthest(rotations: pd.DataFrame) -> pd.DataFrame:
    """The rotations of each arm with the largest alpha: full rotations if its alphas reach 1."""
    return rotations[rotations["alpha"] == rotations.groupby("arm")["alpha"].transform("max")]


def units_above_rotation(networks: pd.DataFrame, rotations: pd.DataFrame) -> pd.Series:
    """For each row of networks.csv, detectors minus the mean of its full rotations; NaN if there are none."""
    network = ["arm", "replicate", "level", "layer"]
    turned = rotations[rotations["alpha"] == 1].groupby(network)["detectors_a"].mean().rename("turned")
    return networks["detectors_a"] - networks.join(turned, on=network)["turned"]


def detector_rule_of(networks: pd.DataFrame) -> tuple[float, str]:
    """The IoU threshold and the rule of detectors; UserError unless all rows of networks.csv have the same."""
    rules = networks[["detector_iou", "detector_rule"]].drop_duplicates()
    if len(rules) > 1:
        raise UserError("networks.csv has detectors by several rules: collect its networks with one rule")
    return rules["detector_iou"].iloc[0], rules["detector_rule"].iloc[0]
