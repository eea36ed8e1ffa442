"""The tables that findings are read from, and the names of arms and levels in sentences."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workflow_scripts.findings.words import joined, percent
from workflow_scripts.tables.arms import asked_curves, begin_with_base, name_arms, read_arms
from workflow_scripts.tables.compare_networks import DENSE, UNTESTED
from workflow_scripts.tables.read_tables import read_ablation, read_rotations, read_table

TABLES = ("networks", "units", "categories", "equivalence", "matched", "correlations", "identity", "sweep", "split")
NETWORK = ["arm", "replicate", "level", "layer"]


@dataclass(frozen=True)
class Tables:
    """The tables by name, the table of arms, and any rotations."""

    frames: dict[str, pd.DataFrame]
    arms: pd.DataFrame
    rotations: pd.DataFrame | None

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The table of a name."""
        return self.frames[name]

    def called(self, arm: str) -> str:
        """The name of an arm in sentences."""
        return name_arms(self.arms)[arm]

    def base(self, arm: str) -> str:
        """The arm whose dense networks an arm is compared with."""
        return self.arms.set_index("arm").at[arm, "base"]

    def curves(self) -> list[str]:
        """The arms that the findings are about."""
        return asked_curves(self.arms, self["networks"])

    def layers(self, curve: str) -> list[str]:
        """The layers of a curve's networks, in the order in which they were dissected."""
        return list(self.of("networks", curve)["layer"].unique())

    def of(self, name: str, arm: str, layer: str | None = None, level: int | None = None) -> pd.DataFrame:
        """The rows of a table for an arm, and for one layer or level if given."""
        rows = self[name]
        rows = rows[rows["arm"] == arm]
        rows = rows if layer is None else rows[rows["layer"] == layer]
        return rows if level is None else rows[rows["level"] == level]

    def against_dense(self, arm: str) -> pd.DataFrame:
        """The rows of equivalence.csv that compare an arm with dense networks, sorted by level."""
        rows = self.of("equivalence", arm)
        return rows[rows["against"] == "dense"].sort_values("level", kind="stable")

    def levels(self, curve: str) -> list[int]:
        """The levels of a curve from dense to sparse, level 0 first; by number if any density is unknown."""
        density = self.of("networks", curve).groupby("level")["density"].mean()
        known = density.notna().all()
        return sorted(density.index, key=lambda level: (level > 0, -density[level] if known else 0, level))

    def density(self, arm: str, level: int) -> float:
        """The mean density of a level."""
        return self.of("networks", arm, level=level)["density"].mean()

    def weights(self, arm: str, level: int) -> str:
        """A level of an arm: "12.5 % of the weights"."""
        return weights(pd.Series({"level": level, "density": self.density(arm, level)}, dtype=object))

    def share(self, arm: str, level: int) -> str:
        """The same without "of the weights", for places that say so already: "12.5 %"."""
        return self.weights(arm, level).removesuffix(" of the weights")

    def with_recipe(self, recipe: str, base: str) -> list[str]:
        """The arms with a recipe that are compared with a base."""
        return self.arms.loc[(self.arms["recipe"] == recipe) & (self.arms["base"] == base), "arm"].tolist()

    def title(self, title: str, curve: str) -> str:
        """The title, with the curve's name if there are several curves."""
        return f"{title}: {self.called(curve)}" if len(self.curves()) > 1 else title

    def first_networks(self, curve: str) -> str:
        """What a curve starts from: dense networks, unless they are known to be sparse."""
        level = self.levels(curve)[0]
        sparse = level > 0 or self.density(curve, level) < DENSE
        return f"the networks at {self.weights(curve, level)}" if sparse else "the dense networks"

    def middle_level(self, curve: str) -> int:
        """The pruned level whose density is nearest to 10 %, down to which the paper finds that nothing is lost.

        If no density is known, it is the middle one.
        """
        levels = [level for level in self.levels(curve) if level > 0]
        known = {level: density for level in levels if not pd.isna(density := self.density(curve, level))}
        return min(known, key=lambda level: abs(known[level] - 0.1)) if known else levels[len(levels) // 2]

    def three_levels(self, curve: str, known: Collection[int]) -> list[int]:
        """The first, the middle and the last level of a curve, from among `known`."""
        levels = [level for level in self.levels(curve) if level in known]
        chosen = [levels[0], self.middle_level(curve), levels[-1]] if levels else []
        return [level for level in dict.fromkeys(chosen) if level in levels]


def read_tables(folder: Path, ablated: bool = True) -> Tables:
    """The tables of an experiment, with those that only some experiments have if they exist.

    Args:
        folder: the folder of the tables.
        ablated: whether the config switches units off. If not, tables of that come from an earlier config.

    Raises:
        UserError: a table that every experiment has is missing.
    """
    frames = {name: read_table(folder / f"{name}.csv") for name in TABLES} | (read_ablation(folder) if ablated else {})
    arms = read_arms(folder / "arms.csv", frames["networks"])
    return Tables(frames, arms, read_rotations(folder, arms))


def tested(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of equivalence.csv that are tested: those with enough replicates and a margin."""
    return rows[(rows["shown"] != UNTESTED) & rows["margin"].notna()]


def weights(row: pd.Series) -> str:
    """The level of a row: "12.5 % of the weights", or "level 3" if its density is unknown."""
    return f"level {row['level']}" if pd.isna(row["density"]) else f"{percent(row['density'])} of the weights"


def levels_of(rows: pd.DataFrame) -> str:
    """The levels of rows in words: "50 % and 25 % of the weights"."""
    words = [weights(row) for _, row in rows.iterrows()]
    if all(text.endswith(" of the weights") for text in words):
        words = [text.removesuffix(" of the weights") for text in words]
        return f"{joined(words)} of the weights"
    return joined(words)


def count_networks(tables: Tables, networks: pd.DataFrame) -> int:
    """The number of networks behind rows of networks.csv; a base's network counts once, whatever arms start from it."""
    again = networks["arm"].isin(begin_with_base(tables.arms)) & (networks["level"] == 0)
    return len(networks[~again].drop_duplicates(NETWORK[:3]))
