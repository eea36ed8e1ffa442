"""How the arms of an experiment are drawn: which are, what they are called there, and the look of each."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import pandas as pd

from workflow_scripts.figures.style import KNOWN_BASELINES, KNOWN_REFERENCES
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE
from workflow_scripts.plan.recipes import BUILT_IN
from workflow_scripts.plan.rotations import RECIPE
from workflow_scripts.tables.arms import name_arm

# Recipes that are one method, whatever their arms are called. Of others, also the user's own, the label says it.
ONE_METHOD = [name for name, recipe in BUILT_IN.items() if recipe.label]


def describe_arms(networks: pd.DataFrame, arms: pd.DataFrame, chosen: Sequence[str] = ()) -> pd.DataFrame:
    """How arms are drawn: a row for each that is, in the order of arms.csv.

    networks    the table of that name
    arms        the arms of these networks, with the columns of arms.csv
    chosen      the names of those to draw, if not all

    The columns are arm, base, role and recipe of arms.csv, and
    rotated     whether its layers are rotated, too
    short_name  its label: enough where a panel shows one base
    name        what legends call it: with its base, where it could be another's as well
    number      of curves counts them; of others counts the bases, where baselines of several share a panel
    method      the number of its method, which has a colour
    network     the number of the network that it is of in the end, which has dashes and a marker
    network_name  what that network is called
    look        of baselines and references: the number of its look, see `style`

    An arm of one network (of each replicate) is not drawn if curves start from it: they begin with it. Whatever is
    chosen, an arm has one look.
    """
    present = arms[arms["arm"].isin(networks["arm"])]
    roots = [root_of(arm, arms) for arm in present["arm"]]
    labels = dict(zip(arms["arm"], arms["label"], strict=True))
    present = present.assign(root=roots, network_name=[labels[root] for root in roots])
    present = number_arms(present, networks)
    drawn = without_starts(present[present["arm"].isin(chosen or present["arm"])], networks)
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
            "recipe": drawn["recipe"],
            "rotated": drawn["arm"].isin(arms.loc[arms["recipe"] == RECIPE, "base"]),
            "short_name": drawn["label"],
            "name": [
                name_arm(arm, arms, with_base[role]) for arm, role in zip(drawn["arm"], drawn["role"], strict=True)
            ],
            "number": np.where(curve, curve.cumsum() - 1, bases * shared),
            **{column: drawn[column] for column in ("method", "network", "network_name", "look")},
        }
    )


def root_of(arm: str, arms: pd.DataFrame) -> str:
    """The arm that one is of in the end: its base, or that one's base, and so on."""
    bases = dict(zip(arms["arm"], arms["base"], strict=True))
    while bases[arm] != arm:
        arm = bases[arm]
    return arm


def without_starts(arms: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The arms but for those of one network (of each replicate) that curves start from."""
    levels = networks.groupby(["arm", "replicate"])["level"].nunique().groupby("arm").max()
    starts = arms.loc[arms["role"] == CURVE, "starts_from"]
    return arms[~arms["arm"].isin(starts) | (arms["arm"].map(levels) > 1)]


def number_arms(arms: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """Arms with the columns method, network and look of `describe_arms`; they have the column root."""
    drawn = without_starts(arms, networks)
    curves = drawn[drawn["role"] == CURVE]
    ordered = pd.concat([curves, arms.drop(curves.index)])  # so that the first curve has the first look
    by_label = ~ordered["recipe"].isin(ONE_METHOD) | ordered.duplicated(["root", "recipe"], keep=False)
    methods = ordered["recipe"] + "\n" + ordered["label"].where(by_label, "")
    ordered = ordered.assign(method=pd.factorize(methods)[0], network=pd.factorize(ordered["root"])[0])
    looks = number_looks(arms, BASELINE, KNOWN_BASELINES) + number_looks(arms, REFERENCE, KNOWN_REFERENCES)
    return ordered.assign(look=looks).sort_index()


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


def look_of(rows: pd.DataFrame) -> tuple[int, int]:
    """The method and the network of the one curve that `rows` are of, as `curve_look` takes them."""
    return rows["method"].iloc[0], rows["network"].iloc[0]


def compared_with(rows: pd.DataFrame, arm: str, base: str) -> pd.DataFrame:
    """Of `rows` those of the baselines and references of an arm, and of its base."""
    return rows[(rows["role"] != CURVE) & rows["base"].isin([arm, base])]


def first_level(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of an arm's first level: what stands for it where there is no axis of densities."""
    return rows[rows["level"] == rows["level"].min()]


def of_known_density(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a place on an axis of densities."""
    return rows[rows["remaining %"].notna()]
