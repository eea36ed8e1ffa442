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
    """A table that `collect` or `compare_networks` has written; names are str, what nobody measured or can say is NaN.

    Raises UserError if it is not there, or is no table.
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
    """The table of rotations, of those arms alone that are rotated; None without any, or before they are collected.

    Columns are added: "detectors_a %", and basis, what the arm of rotations is called. `arms` is arms.csv.
    """
    labels = arms[arms["recipe"] == RECIPE].set_index("base")["label"]
    path = tables / "rotations.csv"
    if labels.empty or not path.is_file():
        return None
    rotations = read_table(path)
    rotations["detectors_a %"] = 100 * rotations["detectors_a"] / rotations["units"]
    rotations["basis"] = rotations["arm"].map(labels)
    rotations = rotations[rotations["basis"].notna()]  # others are an earlier config's
    return None if rotations.empty else rotations


def read_ablation(tables: Path) -> dict[str, pd.DataFrame]:
    """The tables "ablation" and "classes" by name; neither before both are collected. The first may have no rows."""
    names = ("ablation", "classes")
    if not all((tables / f"{name}.csv").is_file() for name in names):
        return {}
    return {name: read_table(tables / f"{name}.csv").astype({"replicate": int, "level": int}) for name in names}


def farthest(rotations: pd.DataFrame) -> pd.DataFrame:
    """The rotations of each arm that go farthest: all the way, where its alphas go on to 1."""
    return rotations[rotations["alpha"] == rotations.groupby("arm")["alpha"].transform("max")]


def units_above_rotation(networks: pd.DataFrame, rotations: pd.DataFrame) -> pd.Series:
    """Of each row of networks.csv, detectors less the mean of its rotations all the way; NaN where there is none."""
    network = ["arm", "replicate", "level", "layer"]
    turned = rotations[rotations["alpha"] == 1].groupby(network)["detectors_a"].mean().rename("turned")
    return networks["detectors_a"] - networks.join(turned, on=network)["turned"]


def detector_rule_of(networks: pd.DataFrame) -> tuple[float, str]:
    """The IoU and the rule that make a detector, the same in all rows of networks.csv; UserError if they are not."""
    rules = networks[["detector_iou", "detector_rule"]].drop_duplicates()
    if len(rules) > 1:
        raise UserError("networks.csv has detectors by several rules: collect its networks with one")
    return rules["detector_iou"].iloc[0], rules["detector_rule"].iloc[0]
