"""Compare networks: with dense ones, with other arms at equal accuracy or density, and in their units' names."""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.plan.keys import CURVE, REFERENCE
from workflow_scripts.shared.files import run_command, whole_file
from workflow_scripts.tables.arms import AGAIN, begin_with_base, compared_arms, read_arms, trained_again
from workflow_scripts.tables.identity import COLUMNS as IDENTITY_COLUMNS
from workflow_scripts.tables.identity import identity_rows
from workflow_scripts.tables.read_tables import read_rotations, read_table, units_above_rotation
from workflow_scripts.tables.statistics import (
    ALPHA,
    EQUIVALENT,
    LEAST_REPLICATES,
    NO_OVERLAP,
    ROUNDING,
    equivalence_p,
    equivalence_power,
    fixed_sequence,
    half_width,
    interpolate,
    mean_and_sd,
    noninferiority_p,
    partial_rank_correlation,
    verdict,
    what_it_follows,
)

DENSE = 0.99  # share of the weights: a few weights of an unpruned network may be zero
COUNTS = ("units", "concepts")
MEASURES = (*COUNTS, "accuracy", "units_above_rotation")
LEAST_NETWORKS = 4  # for a partial correlation
NO_LOSS, UNTESTED = "no loss", "not testable"
SEQUENCES = {"in_sequence": (EQUIVALENT,), "no_loss_in_sequence": (EQUIVALENT, NO_LOSS)}  # what passes in each sequence
EQUIVALENCE_COLUMNS = (
    *("arm", "level", "layer", "measure", "against", "density", "n", "mean", "mean_against", "difference", "sd"),
    *("low90", "high90", "margin", "smallest_change", "p_equivalence", "p_noninferiority", "shown", "in_sequence"),
    *("no_loss_in_sequence", "power"),
)
MATCHED_COLUMNS = (
    *("arm", "imp_arm", "level", "layer", "measure", "matched_by", "n", "difference", "sd", "low90", "high90"),
    *("margin", "p_equivalence", "equivalent", "follows"),
)
CORRELATION_COLUMNS = ("base", "layer", "measure", "replicate", "networks", "with_accuracy", "with_density")
PLACE = ["replicate", "layer", "measure"]  # the columns that pair values


class Margins(NamedTuple):
    """The largest changes that count as none: a share of the dense mean count, and a difference in accuracy."""

    counts: float
    accuracy: float


def compare_networks(tables: Path, margins: Margins) -> None:
    """Write equivalence.csv, matched.csv, correlations.csv and identity.csv into the folder that has the tables.

    equivalence.csv   a row per arm, level, layer and measure: the paired difference from the dense networks
    matched.csv       rows per other arm and level of imp: the differences at equal accuracy and at equal density
    correlations.csv  a row per layer, measure and replicate: partial rank correlations over all arms
    identity.csv      a row per network, layer and what it is compared with: how far the names of units agree

    The captions in report/ explain each column. A table without rows has only a header.

    Args:
        tables: the folder.
        margins: the margins of the tests.

    Raises:
        UserError: a table is missing.
    """
    networks = read_table(tables / "networks.csv")
    arms = read_arms(tables / "arms.csv", networks).set_index("arm", drop=False)
    values = measured_values(networks, read_rotations(tables, arms))
    equivalence = pd.DataFrame(equivalence_rows(values, arms, margins), columns=EQUIVALENCE_COLUMNS)
    frames = {
        "equivalence": equivalence.sort_values(["arm", "level"], kind="stable"),
        "matched": pd.DataFrame(matched_rows(values, arms, margins), columns=MATCHED_COLUMNS),
        "correlations": pd.DataFrame(correlation_rows(values, arms), columns=CORRELATION_COLUMNS),
        "identity": pd.DataFrame(
            identity_rows(
                read_table(tables / "units.csv"),
                arms,
                set(networks.loc[is_dense(networks), ["arm", "replicate"]].itertuples(index=False, name=None)),
                read_table(tables / "split.csv"),
            ),
            columns=IDENTITY_COLUMNS,
        ).astype(dict.fromkeys(("common", "rarefied_to"), "Int64")),
    }
    for name, frame in frames.items():
        with whole_file(tables / f"{name}.csv") as part:
            frame.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


# What is compared


def measured_values(networks: pd.DataFrame, rotations: pd.DataFrame | None) -> pd.DataFrame:
    """A row for each network, layer and measure, in the order of the tables.

    The columns are arm, replicate, level, density and test_accuracy of the network, layer, measure, and value. The
    layer of accuracy is "". `rotations` is as `read_rotations` returns it.
    """
    names = ["arm", "replicate", "level", "density", "test_accuracy", "layer"]
    values = {"units": networks["detectors_a"], "concepts": networks["concepts_a"]}
    if rotations is not None:
        values["units_above_rotation"] = units_above_rotation(networks, rotations)
    frames = [networks[names].assign(measure=measure, value=value) for measure, value in values.items()]
    whole = networks[names].assign(layer="").drop_duplicates(names[:3])
    frames.append(whole.assign(measure="accuracy", value=whole["test_accuracy"]))
    found = pd.concat(frames, ignore_index=True)
    found = found[found["value"].notna()]
    # Groups come in the order of the categories: "" first, then layers in the order of dissection.
    layers = ["", *dict.fromkeys(networks["layer"])]
    return found.assign(
        layer=pd.Categorical(found["layer"], layers), measure=pd.Categorical(found["measure"], MEASURES)
    )


def levels_of(rows: pd.DataFrame, arm: str, arms: pd.DataFrame) -> pd.DataFrame:
    """The rows of an arm's networks, without those of its base's networks."""
    own = rows[rows["arm"] == arm]
    return own[own["level"] > 0] if arm in begin_with_base(arms) else own


def is_dense(values: pd.DataFrame) -> pd.Series:
    """Which rows belong to networks that others are compared with: level 0, unless it is known to be sparse."""
    return (values["level"] == 0) & ~(values["density"] < DENSE)


def dense_values(values: pd.DataFrame, base: str | None) -> pd.DataFrame:
    """The values of the dense networks of a base, which its arms are compared with."""
    return values[(values["arm"] == base) & is_dense(values)]


def margins_of(dense: pd.DataFrame, margins: Margins) -> dict[tuple[str, str], float]:
    """The margin of each layer and measure, in the unit of the measure, from the values of dense networks.

    Units above rotation have a margin only if their mean is above 0: if there are none, none can be lost.
    """
    found = {("", "accuracy"): margins.accuracy}
    for (layer, measure), rows in dense.groupby(["layer", "measure"], observed=True):
        if measure != "accuracy" and (measure in COUNTS or rows["value"].mean() > 0):
            found[layer, measure] = margins.counts * rows["value"].mean()
    return found


def accuracy_step(values: pd.DataFrame) -> float:
    """The smallest step between accuracies: one test picture, or a few pictures if there are few networks.

    If all accuracies are equal, the step is unknown; 1 is returned, with which nothing is shown.
    """
    steps = np.diff(np.unique(values.loc[values["measure"] == "accuracy", "value"]))
    steps = steps[steps > 1.5e-6]  # the tables have six digits
    return float(steps.min()) if len(steps) else 1.0


# Differences from dense networks


def equivalence_rows(values: pd.DataFrame, arms: pd.DataFrame, margins: Margins) -> Iterator[dict]:
    """Yield the rows of equivalence.csv: differences from the dense networks, and from those trained again."""
    for arm in compared_arms(arms):
        base, role = arms.at[arm, "base"], arms.at[arm, "role"]
        own = levels_of(values, arm, arms)
        own = own[own["level"] > 0] if arm == base else own
        dense, again = dense_values(values, base), trained_again(arms, base)
        of_measures = margins_of(dense, margins)
        step = accuracy_step(values[values["arm"].map(arms["base"]) == base])
        rows = []
        for against, others in (("dense", dense), (AGAIN, dense_values(values, again))):
            if again == arm and against == AGAIN:
                continue
            pairs = own.merge(others[[*PLACE, "value"]], on=PLACE, suffixes=("", "_against"))
            for (level, layer, measure), of_level in pairs.groupby(["level", "layer", "measure"], observed=True):
                rounding = ROUNDING * (step if measure == "accuracy" else 1)
                rows.append(
                    {"arm": arm, "level": level, "layer": layer, "measure": measure, "against": against}
                    | compare_pairs(of_level, of_measures.get((layer, measure), math.nan), rounding)
                )
        add_sequences(rows, role)
        yield from rows


def compare_pairs(pairs: pd.DataFrame, margin: float, rounding: float) -> dict:
    """What the differences of replicates show; `pairs` has the columns density, value and value_against."""
    n = len(pairs)
    mean, sd = map(float, mean_and_sd(pairs["value"] - pairs["value_against"], rounding))
    p_equivalence, p_noninferiority = (float(p(mean, sd, n, margin)) for p in (equivalence_p, noninferiority_p))
    return {
        "density": pairs["density"].mean(),
        "n": n,
        "mean": pairs["value"].mean(),
        "mean_against": pairs["value_against"].mean(),
        **interval(mean, sd, n),
        "margin": margin,
        "smallest_change": half_width(sd, n),
        "p_equivalence": p_equivalence,
        "p_noninferiority": p_noninferiority,
        "shown": what_is_shown(n, p_equivalence, p_noninferiority),
        "power": equivalence_power(sd, n, margin),
    }


def what_is_shown(n: int, p_equivalence: float, p_noninferiority: float) -> str:
    """The strongest conclusion of the tests; equivalence includes no loss."""
    if n < LEAST_REPLICATES:
        return UNTESTED
    return EQUIVALENT if p_equivalence <= ALPHA else NO_LOSS if p_noninferiority <= ALPHA else "not shown"


def interval(mean: float, sd: float, n: int) -> dict:
    """A mean difference, its standard deviation and its 90 % interval, by column."""
    half = half_width(sd, n)
    return {"difference": mean, "sd": sd, "low90": mean - half, "high90": mean + half}


def add_sequences(rows: list[dict], role: str) -> None:
    """Add to the rows of one arm, in place, whether this level and all denser ones show equivalence, or no loss.

    Levels of references do not form a sequence; each stands alone.
    """
    sequences: dict[tuple, list[dict]] = {}
    for row in rows:
        of_reference = row["level"] if role == REFERENCE else None
        sequences.setdefault((row["layer"], row["measure"], row["against"], of_reference), []).append(row)
    for sequence in sequences.values():
        known = not any(math.isnan(row["density"]) for row in sequence)
        sequence.sort(key=lambda row: (-row["density"] if known else 0, row["level"]))
        for column, passes in SEQUENCES.items():
            passed = fixed_sequence([row["shown"] in passes for row in sequence])
            for row, of_row in zip(sequence, passed, strict=True):
                row[column] = bool(of_row)


# Arms at equal accuracy, and at equal density


def matched_rows(values: pd.DataFrame, arms: pd.DataFrame, margins: Margins) -> Iterator[dict]:
    """Yield the rows of matched.csv: each curve that is its own base minus each arm of its own with several levels."""
    density = values["density"].where(values["density"] > 0)
    counts = values[values["measure"].isin(COUNTS)].assign(log_density=np.log(density))
    levels = counts.groupby("arm")["level"].nunique()
    for arm in compared_arms(arms):
        base = arms.at[arm, "base"]
        if arm == base or arms.at[base, "role"] != CURVE or arms.at[base, "base"] != base or levels.get(arm, 0) < 2:
            continue
        of_measures = margins_of(dense_values(values, base), margins)
        others = dict(list(counts[counts["arm"] == arm].groupby(PLACE, observed=True)))
        pruned = counts[(counts["arm"] == base) & (counts["level"] > 0)]
        for (level, layer, measure), of_level in pruned.groupby(["level", "layer", "measure"], observed=True):
            margin = of_measures.get((layer, measure), math.nan)
            rows = {}
            for by, covariate in (("accuracy", "test_accuracy"), ("density", "log_density")):
                differences = differences_at_equal(of_level, others, covariate)
                if differences is not None:
                    names = {"arm": arm, "imp_arm": base, "level": level, "layer": layer, "measure": measure}
                    rows[by] = names | {"matched_by": by} | compare_matched(differences, margin)
            verdicts = [rows[by].pop("verdict") if by in rows else NO_OVERLAP for by in ("accuracy", "density")]
            for row in rows.values():
                yield row | {"follows": what_it_follows(*verdicts)}


def differences_at_equal(
    networks: pd.DataFrame, others: dict[tuple, pd.DataFrame], covariate: str
) -> list[float] | None:
    """Values of one level minus those of another arm at the same covariate; None if the covariate is unknown.

    Args:
        networks: the rows of one measure at one level, one for each replicate.
        others: the rows of the other arm by replicate, layer and measure. Replicates outside its range are left out.
        covariate: the column that is to be equal.
    """
    pairs = [(row, others[tuple(row[PLACE])]) for _, row in networks.iterrows() if tuple(row[PLACE]) in others]
    pairs = [(row, other) for row, other in pairs if not (pd.isna(row[covariate]) or other[covariate].isna().all())]
    if not pairs:
        return None
    differences = [row["value"] - interpolate(other[covariate], other["value"], row[covariate]) for row, other in pairs]
    return [difference for difference in differences if not math.isnan(difference)]


def compare_matched(differences: list[float], margin: float) -> dict:
    """What such differences show, and their `verdict`, which is not a column."""
    n = len(differences)
    if not n:
        return {"n": 0, "margin": margin, "verdict": NO_OVERLAP}
    mean, sd = map(float, mean_and_sd(differences))
    return {
        "n": n,
        **interval(mean, sd, n),
        "margin": margin,
        "p_equivalence": equivalence_p(mean, sd, n, margin),
        "equivalent": equivalence_p(mean, sd, n, margin) <= ALPHA if n >= LEAST_REPLICATES else None,
        "verdict": verdict(mean, sd, n, margin),
    }


# Correlations


def correlation_rows(values: pd.DataFrame, arms: pd.DataFrame) -> Iterator[dict]:
    """Yield the rows of correlations.csv, over all networks of a base whose accuracy and density are known."""
    known = values[values["measure"].isin(COUNTS) & values["test_accuracy"].notna() & values["density"].notna()]
    for base in sorted(set(arms["base"])):
        own = [levels_of(known, arm, arms) for arm in compared_arms(arms) if arms.at[arm, "base"] == base]
        if not own:
            continue
        for place, rows in pd.concat(own).groupby(["layer", "measure", "replicate"], observed=True):
            if len(rows) < LEAST_NETWORKS:
                continue
            value, accuracy, density = (rows[column] for column in ("value", "test_accuracy", "density"))
            yield {
                "base": base,
                **dict(zip(("layer", "measure", "replicate"), place, strict=True)),
                "networks": len(rows),
                "with_accuracy": partial_rank_correlation(value, accuracy, density),
                "with_density": partial_rank_correlation(value, density, accuracy),
            }


def main() -> None:
    """Compare the networks of the tables in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tables", type=Path, required=True, help="the folder of the collected tables, where these are written, too"
    )
    parser.add_argument(
        "--margin", type=float, required=True, help="a share of the dense mean count: smaller changes count as none"
    )
    parser.add_argument(
        "--accuracy-margin", type=float, required=True, help="the same for a difference in test accuracy"
    )
    args = parser.parse_args()
    compare_networks(args.tables, Margins(args.margin, args.accuracy_margin))


if __name__ == "__main__":
    run_command(main)
