"""Which arms an experiment has, what part each plays, and what figures and pages call it."""

from collections.abc import Collection

import numpy as np
import pandas as pd

# Controls are single networks. Floors become horizontal lines, the dense network's twin a point;
# every other arm is a curve. The floors and the one-shot arms of an arm have its name before theirs: lite0_untrained.
FLOOR_NAMES = {
    "untrained": "untrained",
    "untrained_calibrated": "untrained, calibrated",
    "shuffled_labels": "dense, labels shuffled",
}
TWIN = "trained_twice"
CURVE = "curve"
CURVE_NAMES = {"imp": "iterative magnitude pruning"}
ONE_SHOT_NAMES = {
    "global": "one-shot, global magnitude",
    "layerwise": "one-shot, layerwise magnitude",
    "random": "one-shot, random",
    "structured": "one-shot, whole filters",
}
SUFFIX_NAMES = FLOOR_NAMES | ONE_SHOT_NAMES | {TWIN: "dense, trained twice"}


def name_arms(networks: pd.DataFrame) -> dict[str, str]:
    """What a person calls each arm in the table of networks: "lite0, one-shot, random" for "lite0_random"."""
    return {arm: label_arm(base, suffix) for arm, base, suffix in split_arms(networks).itertuples(index=False)}


def split_arms(networks: pd.DataFrame) -> pd.DataFrame:
    """A row for each arm in the table of networks: its name (arm), and base and suffix as `split_arm` has them."""
    names = networks["arm"].unique()
    arms = pd.DataFrame([(arm, *split_arm(arm, names)) for arm in names], columns=["arm", "base", "suffix"])
    # Names alone do not make one network another, pruned: "net_random" may be any.
    unlike = [
        suffix in ONE_SHOT_NAMES and not first_networks(arm, networks).equals(first_networks(base, networks))
        for arm, base, suffix in arms.itertuples(index=False)
    ]
    return arms.assign(base=arms["base"].mask(unlike, arms["arm"]), suffix=arms["suffix"].mask(unlike, ""))


def split_arm(arm: str, arms: Collection[str]) -> tuple[str, str]:
    """The base of `arm` and what follows it: ("lite0", "untrained"); ("", "untrained"); of others ("lite0", "")."""
    if arm in FLOOR_NAMES or arm == TWIN:
        return "", arm
    for suffix in (*FLOOR_NAMES, *ONE_SHOT_NAMES):
        base = arm.removesuffix(f"_{suffix}")
        if base != arm and base in arms:
            return base, suffix
    return arm, ""


def label_arm(base: str, suffix: str, say_base: bool = True) -> str:
    base_name = CURVE_NAMES.get(base, base.replace("_", " "))
    if not suffix:
        return base_name
    return f"{base_name}, {SUFFIX_NAMES[suffix]}" if say_base and base else SUFFIX_NAMES[suffix]


def describe_arms(networks: pd.DataFrame) -> pd.DataFrame:
    """How arms are drawn: a row for each that is, with the columns arm, base, role, name (str) and number (int).

    base    the arm whose floor or one-shot arm it is, or "" for a floor of them all; of other arms the arm itself
    role    "curve", a key of `FLOOR_NAMES`, or `TWIN`
    name    what figures call it: with its base, where it could be another's as well
    number  gives it its look: counts the curves; counts the bases of floors, where their floors share panels

    An arm of one network (of each replicate) is not drawn if it has one-shot arms: their curves begin with it.
    """
    arms = split_arms(networks)
    one_shot = arms["suffix"].isin(ONE_SHOT_NAMES)
    levels = networks.groupby(["arm", "replicate"])["level"].nunique().groupby("arm").max()
    arms = arms[~arms["arm"].isin(arms.loc[one_shot, "base"]) | (arms["arm"].map(levels) > 1)]
    curve = arms["suffix"].isin(["", *ONE_SHOT_NAMES])
    if not curve.any():  # floors of nothing
        curve = ~curve
    several = arms.loc[curve, "base"].nunique() > 1
    shared = networks.merge(arms[curve], on="arm").groupby("layer")["base"].nunique().max() > 1
    say_base = np.where(curve, several, shared)
    floor_bases, _ = pd.factorize(arms["base"].where(~curve))
    return pd.DataFrame(
        {
            "arm": arms["arm"],
            "base": arms["base"],
            "role": arms["suffix"].where(~curve, CURVE),
            "name": [label_arm(*row) for row in zip(arms["base"], arms["suffix"], say_base, strict=True)],
            "number": np.where(curve, curve.cumsum() - 1, floor_bases * shared),
        }
    )


def first_networks(arm: str, networks: pd.DataFrame) -> pd.DataFrame:
    """All that was measured of an arm's first network of each replicate."""
    rows = networks[networks["arm"] == arm]
    first = rows["level"] == rows.groupby("replicate")["level"].transform("min")
    return rows[first].drop(columns=["arm", "level"]).reset_index(drop=True)


def controls_beside(rows: pd.DataFrame, base: str) -> pd.DataFrame:
    """Of `rows` those of the controls that the curves of `base` are compared with."""
    return rows[(rows["role"] != CURVE) & rows["base"].isin(["", base])]
