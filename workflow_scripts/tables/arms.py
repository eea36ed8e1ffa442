"""The arms of an experiment, as arms.csv lists them: what part each plays, and what people call it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.plan.keys import BASELINE, CURVE, ROLES
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.read_tables import read_table

COLUMNS = ["arm", "base", "role", "recipe", "starts_from", "label", "same_units"]
AGAIN = "dense_again"  # the recipe of dense networks that differ by noise alone


def tabulate_arms(arms: Sequence[object], collected: Sequence[str]) -> pd.DataFrame:
    """The table of arms, from a row for each; `collected` has the arms of the networks that are collected.

    Raises UserError if a row has other keys than `COLUMNS` or an unknown role, or if an arm is listed twice or missing.
    """
    for row in arms:
        if not isinstance(row, dict) or sorted(row) != sorted(COLUMNS):
            raise UserError(f"--arms: {row} is not an object with the keys {', '.join(COLUMNS)}")
        if row["role"] not in ROLES:
            raise UserError(f"--arms: arm {row['arm']} has the role {row['role']}: give one of {', '.join(ROLES)}")
    table = pd.DataFrame(arms, columns=COLUMNS)
    if table["arm"].duplicated().any():
        raise UserError(f"--arms: arm {table.loc[table['arm'].duplicated(), 'arm'].iloc[0]} is listed twice")
    for arm in [*collected, *table["base"]]:
        if arm not in table["arm"].array:
            raise UserError(f"--arms: arm {arm} is not listed, but networks or other arms refer to it: add it")
    return table


def read_arms(path: Path, networks: pd.DataFrame) -> pd.DataFrame:
    """arms.csv, with the columns `COLUMNS`; UserError if it lacks an arm of the table of networks."""
    arms = read_table(path)
    for arm in networks["arm"].unique():
        if arm not in arms["arm"].array:
            raise UserError(f"{path} does not list arm {arm} of networks.csv: run snakemake to collect both again")
    return arms


def name_arms(arms: pd.DataFrame) -> dict[str, str]:
    """What a person calls each arm: "one-shot, random", or where there are several bases "lite0, one-shot, random"."""
    several = arms["base"].nunique() > 1
    return {arm: name_arm(arm, arms, with_base=several) for arm in arms["arm"]}


def name_arm(arm: str, arms: pd.DataFrame, with_base: bool) -> str:
    """What a person calls one arm of the table, which lists its base, too."""
    [(base, label)] = arms.loc[arms["arm"] == arm, ["base", "label"]].itertuples(index=False)
    return f"{name_arm(base, arms, with_base)}, {label}" if with_base and base != arm else label


def compared_arms(arms: pd.DataFrame) -> list[str]:
    """The curves and references of the table, sorted."""
    return sorted(arms.loc[arms["role"] != BASELINE, "arm"])


def asked_curves(arms: pd.DataFrame, networks: pd.DataFrame) -> list[str]:
    """The curves that an experiment asks about, of several levels each: those that are their own base.

    A base of one level asks about the curves that start from it, such as the one-shot arms of a network brought along.
    """
    levels = networks.groupby("arm")["level"].nunique()
    curves = arms[(arms["role"] == CURVE) & (arms["arm"].map(levels) > 1)]
    own = curves.loc[curves["base"] == curves["arm"], "arm"]
    return curves.loc[curves["arm"].isin(own) | ~curves["base"].isin(own), "arm"].tolist()


def begin_with_base(arms: pd.DataFrame) -> set[str]:
    """The curves whose level 0 is their base's network, and so no network of their own."""
    return set(arms.loc[(arms["role"] == CURVE) & (arms["starts_from"] == arms["base"]), "arm"])


def trained_again(arms: pd.DataFrame, base: str) -> str | None:
    """The arm of the networks of a base that are trained again in another order; of several the first."""
    again = arms.loc[(arms["recipe"] == AGAIN) & (arms["base"] == base), "arm"]
    return None if again.empty else again.iloc[0]
