"""How the arms of an experiment are drawn: which are, what they are called there, and the look of each."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import pandas as pd

from workflow_scripts.figures.style import KNOWN_BASELINES, KNOWN_REFERENCES
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE
from workflow_scripts.tables.arms import name_arm


def describe_arms(networks: pd.DataFrame, arms: pd.DataFrame) -> pd.DataFrame:
    """How arms are drawn: a row for each that is, in the order of arms.csv.

    networks    the table of that name
    arms        the arms of these networks, with the columns of arms.csv

    The columns are arm, base and role of arms.csv, and
    short_name  its label: enough where a panel shows one base
    name        what legends call it: with its base, where it could be another's as well
    number      of curves counts them; of others counts the bases, where baselines of several share a panel
    look        of baselines and references: the number of its look, see `style`

    An arm of one network (of each replicate) is not drawn if curves start from it: they begin with it.
    """
    present = arms[arms["arm"].isin(networks["arm"])]
    levels = networks.groupby(["arm", "replicate"])["level"].nunique().groupby("arm").max()
    starts = present.loc[present["role"] == CURVE, "starts_from"]
    drawn = present[~present["arm"].isin(starts) | (present["arm"].map(levels) > 1)]
    if not (drawn["role"] == CURVE).any():  # baselines of nothing
        drawn = drawn.assign(role=CURVE)
    curve = drawn["role"] == CURVE
    several = drawn.loc[curve, "base"].nunique() > 1
    shared = networks.merge(drawn, on="arm").groupby("layer")["base"].nunique().max() > 1
    with_base = {CURVE: several, BASELINE: shared, REFERENCE: several or shared}
    bases, _ = pd.factorize(drawn["base"].where(~curve))
    return pd.DataFrame(
        {
            "arm": drawn["arm"],
            "base": drawn["base"],
            "role": drawn["role"],
            "short_name": drawn["label"],
            "name": [
                name_arm(arm, arms, with_base[role]) for arm, role in zip(drawn["arm"], drawn["role"], strict=True)
            ],
            "number": np.where(curve, curve.cumsum() - 1, bases * shared),
            "look": number_looks(drawn, BASELINE, KNOWN_BASELINES) + number_looks(drawn, REFERENCE, KNOWN_REFERENCES),
        }
    )


def number_looks(arms: pd.DataFrame, role: str, known: Sequence[str]) -> pd.Series:
    """The number of each arm's look among those of `role`, 0 for others.

    Arms with one recipe and label have one look. The first of a `known` recipe has that recipe's; others have
    the next, in the order of the table.
    """
    numbers: dict[tuple[str, str], int] = {}
    following = count(len(known))
    for recipe, label in arms.loc[arms["role"] == role, ["recipe", "label"]].itertuples(index=False):
        if (recipe, label) not in numbers:
            own = known.index(recipe) if recipe in known else None
            numbers[recipe, label] = next(following) if own is None or own in numbers.values() else own
    rows = arms[["role", "recipe", "label"]].itertuples(index=False)
    return pd.Series([numbers[*kind] if its_role == role else 0 for its_role, *kind in rows], arms.index)


def of_role(rows: pd.DataFrame, role: str) -> list[pd.DataFrame]:
    """The rows of each baseline or of each reference, by their look; `rows` has the columns of `describe_arms`."""
    groups = rows[rows["role"] == role].groupby(["look", "number", "arm"])
    return [of_arm for _, of_arm in groups]


def compared_with(rows: pd.DataFrame, arm: str, base: str) -> pd.DataFrame:
    """Of `rows` those of the baselines and references of an arm, and of its base."""
    return rows[(rows["role"] != CURVE) & rows["base"].isin([arm, base])]


def first_level(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of an arm's first level: what stands for it where there is no axis of densities."""
    return rows[rows["level"] == rows["level"].min()]
