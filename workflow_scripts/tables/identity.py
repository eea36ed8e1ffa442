"""How far the names of units agree: between levels of a chain, between trainings, and between halves of the pictures.

A name is a category and a label, and a unit has one if it is a detector.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.dissect.name_agreement import cohens_kappa, jaccard, rarefied, ruzicka
from workflow_scripts.plan.keys import BASELINE
from workflow_scripts.tables.arms import AGAIN, begin_with_base, trained_again

OF_SETS = ("jaccard", "counts_overlap")
AGREEMENTS = ("kappa_common", "kappa_all", *OF_SETS)
COLUMNS = (
    *("arm", "replicate", "level", "layer", "against", "common", "same_name", *AGREEMENTS),
    *("concepts_rarefied", "concepts_rarefied_against", "rarefied_to"),
)
NETWORK = ["arm", "replicate", "level", "layer"]
NO_NAME = 0  # for a unit that detects nothing


class Named(NamedTuple):
    """The units of one layer of one network, by number, with the number of each unit's name, or `NO_NAME`."""

    units: np.ndarray
    names: np.ndarray

    @property
    def concepts(self) -> Counter:
        """How many units have each name."""
        return Counter(self.names[self.names != NO_NAME].tolist())


def identity_rows(
    units: pd.DataFrame, arms: pd.DataFrame, dense: Collection[tuple[str, int]], split: pd.DataFrame
) -> Iterator[dict]:
    """Yield the rows of identity.csv, whose columns are `COLUMNS`; columns without meaning for a row are left out.

    Args:
        units: the table units.csv.
        arms: arms.csv, indexed by arm.
        dense: arms and replicates whose level 0 is a dense network.
        split: split.csv, how far the names from two halves of the pictures agree.
    """
    named = name_units(units)
    replicates = sorted(set(units["replicate"]))
    repeating = begin_with_base(arms)
    halves = {tuple(row[key] for key in NETWORK): row for row in split.to_dict("records")}
    for (arm, replicate, level, layer), own in named.items():
        base, role = arms.at[arm, "base"], arms.at[arm, "role"]
        if role == BASELINE or (level == 0 and arm in repeating):  # its base's network
            continue
        place = {"arm": arm, "replicate": replicate, "level": level, "layer": layer}
        again = trained_again(arms, base)
        for against, other in (("dense", base if (base, replicate) in dense else None), (AGAIN, again)):
            key = (other, replicate, 0, layer)
            if other is not None and key in named and key != (arm, replicate, level, layer):
                keep = keeps_units(arms, arm) and keeps_units(arms, other)
                yield place | {"against": against} | compare_names(own, named[key], keep)
        keys = [(arm, other, level, layer) for other in replicates if other != replicate]
        if others := [named[key] for key in keys if key in named]:
            sets = [compare_sets(own, other) for other in others]
            means = {name: mean_of_known([of_one[name] for of_one in sets]) for name in OF_SETS}
            yield place | {"against": "other_replicate"} | means
        if half := halves.get((arm, replicate, level, layer)):
            agreements = {name: half[name] for name in AGREEMENTS}
            yield place | {"against": "other_half", "same_name": half["agreement"]} | agreements


def name_units(units: pd.DataFrame) -> dict[tuple[str, int, int, str], Named]:
    """The units of each layer of each network, in the order of the table."""
    names, _ = pd.factorize(pd.MultiIndex.from_frame(units[["category", "label"]]))
    units = units.assign(name=np.where(units["detector"], names + 1, NO_NAME))
    groups = units.groupby(NETWORK, sort=False)
    return {key: Named(rows["unit"].to_numpy(), rows["name"].to_numpy()) for key, rows in groups}


def keeps_units(arms: pd.DataFrame, arm: str) -> bool:
    """Whether unit n of any network of an arm descends from unit n of its base's dense network."""
    base = arms.at[arm, "base"]
    return bool(arms.at[arm, "same_units"]) and (arm == base or arms.at[arm, "starts_from"] == base)


def compare_names(own: Named, other: Named, keep: bool) -> dict:
    """How far the names of two networks' units agree; unit by unit if units `keep` their places."""
    row = compare_sets(own, other)
    if keep and np.array_equal(own.units, other.units):
        common = (own.names != NO_NAME) & (other.names != NO_NAME)
        row["common"] = int(common.sum())
        row["same_name"] = np.mean(own.names[common] == other.names[common]) if common.any() else math.nan
        row["kappa_common"] = cohens_kappa(own.names[common], other.names[common])
        row["kappa_all"] = cohens_kappa(own.names, other.names)
    drawn = min(own.concepts.total(), other.concepts.total())
    if drawn:
        row["concepts_rarefied"] = rarefied(list(own.concepts.values()), drawn)
        row["concepts_rarefied_against"] = rarefied(list(other.concepts.values()), drawn)
        row["rarefied_to"] = drawn
    return row


def compare_sets(own: Named, other: Named) -> dict:
    """How far the sets of names agree, and how far the numbers of units of each name agree."""
    return {
        "jaccard": jaccard(own.concepts, other.concepts),
        "counts_overlap": ruzicka(own.concepts, other.concepts),
    }


def mean_of_known(values: list[float]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan
