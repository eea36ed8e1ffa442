"""The arms of an experiment as arms.csv lists them: their roles and labels."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.plan.keys import BASELINE, CURVE, ROLES
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.read_tables import read_table

COLUMNS = ["arm", "base", "role", "recipe", "starts_from", "label", "same_units"]
AGAIN_BOTH = "run snakemake to collect both again"
AGAIN = "dense_again"  # the recipe of dense networks that differ only by noise


def tabulate_arms(arms: Sequence[object], collected: Sequence[str]) -> pd.DataFrame:
    """The table of arms, from a row for each; `collected` lists the arms of the collected networks.

    Raises UserError if the keys of a row are not `COLUMNS`, a role is unknown, or an arm is listed twice or missing.
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
    """Read arms.csv, with the columns `COLUMNS`.

    Raises:
        UserError: it lacks an arm of the table of networks, or an arm's base; or an arm is the base of its own base.
    """
    arms = read_table(path)
    bases = dict(zip(arms["arm"], arms["base"], strict=True))
    for arm in arms["arm"]:
        base = arm
        for _ in bases:
            if base not in bases:
                raise UserError(f"{path} does not list {base}, which {arm} is compared with: {AGAIN_BOTH}")
            if bases[base] == base:
                break
            base = bases[base]
        else:
            raise UserError(f"{path} has a circle of bases, to which {arm} leads: {AGAIN_BOTH}")
    for arm in networks["arm"].unique():
        if arm not in arms["arm"].array:
            raise UserError(f"{path} does not list arm {arm} of networks.csv: {AGAIN_BOTH}")
    return arms


def name_arms(arms: pd.DataFrame) -> dict[str, str]:
    """The name of each arm: "one-shot, random", or with several bases "lite0, one-shot, random"."""
    several = arms["base"].nunique() > 1
    return {arm: name_arm(arm, arms, with_base=several) for arm in arms["arm"]}


def name_arm(arm: str, arms: pd.DataFrame, with_base: bool) -> str:
    """The name of one arm of the table, which lists its base, too."""
    [(base, label)] = arms.loc[arms["arm"] == arm, ["base", "label"]].itertuples(index=False)
    return f"{name_arm(base, arms, with_base)}, {label}" if with_base and base != arm else label


def compared_arms(arms: pd.DataFrame) -> list[str]:
    """The curves and references of the table, sorted."""
    return sorted(arms.loc[arms["role"] != BASELINE, "arm"])


def asked_curves(arms: pd.DataFrame, networks: pd.DataFrame) -> list[str]:
    """The curves that an experiment asks about: those with several levels that are their own base.

    If a base has one level, these are the curves that start from it, such as one-shot arms of a user's network.
    """
    levels = networks.groupby("arm")["level"].nunique()
    curves = arms[(arms["role"] == CURVE) & (arms["arm"].map(levels) > 1)]
    own = curves.loc[curves["base"] == curves["arm"], "arm"]
    return curves.loc[curves["arm"].isin(own) | ~curves["base"].isin(own), "arm"].tolist()


def begin_with_base(arms: pd.DataFrame) -> set[str]:
    """The curves whose level 0 is their base's network and not one of their own."""
    return set(arms.loc[(arms["role"] == CURVE) & (arms["starts_from"] == arms["base"]), "arm"])


def trained_again(arms: pd.DataFrame, base: str) -> str | None:
    """The first arm that trains the networks of a base again in another order; None if there is none."""
    again = arms.loc[(arms["recipe"] == AGAIN) & (arms["base"] == base), "arm"]
    return None if again.empty else again.iloc[0]
