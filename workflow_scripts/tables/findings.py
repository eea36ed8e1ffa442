"""What an experiment has found, in words: every sentence follows from its tables, and says no more than they do."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.plan.keys import BASELINE, CURVE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.plan.replicates import LEAST_REPLICATES
from workflow_scripts.plan.rotations import RECIPE as ROTATED
from workflow_scripts.tables.arms import name_arms, read_arms
from workflow_scripts.tables.compare_networks import DENSE
from workflow_scripts.tables.read_tables import detector_rule_of, farthest, read_ablation, read_rotations, read_table
from workflow_scripts.tables.statistics import EQUIVALENT, fisher_difference, half_width
from workflow_scripts.tables.statistics import mean_and_sd as mean_and_sd_of

TABLES = ("networks", "equivalence", "matched", "correlations", "identity", "sweep", "split")
MEASURES = {  # of equivalence.csv: what a count of it is called, and its unit in a table
    "units": "interpretable units",
    "concepts": "unique concepts",
    "units_above_rotation": "units above rotation",
    "accuracy": "test accuracy",
}
NAMED = 4  # items in a sentence
NETWORK = ["arm", "replicate", "level", "layer"]
TABLE_NOTE = "Mean ± standard deviation of replicates."
MARKED = " °: the tests from dense downwards have ended here or before, so that no loss is excluded here."
UNMARKED = f" With fewer than {LEAST_REPLICATES} replicates no loss is tested."


class Section(NamedTuple):
    """A heading, paragraphs, and a table, rows of cells of which the first are its columns' names, with a note."""

    title: str
    paragraphs: list[str]
    table: Sequence[list[str]] = ()
    note: str = ""


class Tables(NamedTuple):
    """The tables that findings are read from, by name, and what people call the arms."""

    frames: dict[str, pd.DataFrame]
    arms: pd.DataFrame
    rotations: pd.DataFrame | None

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def called(self, arm: str) -> str:
        """What people call an arm."""
        return name_arms(self.arms)[arm]

    def curves(self) -> list[str]:
        """The arms in question: curves that start from no other curve, and have more than one level."""
        levels = self["networks"].groupby("arm")["level"].nunique()
        own = self.arms[(self.arms["role"] == CURVE) & (self.arms["base"] == self.arms["arm"])]["arm"]
        return [arm for arm in own if levels.get(arm, 0) > 1]

    def layers(self, curve: str) -> list[str]:
        """The layers of a curve's networks, in the order of their dissection."""
        return list(self["networks"].loc[self["networks"]["arm"] == curve, "layer"].unique())

    def levels(self, curve: str) -> list[int]:
        """The levels of a curve from the densest on, level 0 first; by number where a density is not known."""
        networks = self["networks"]
        density = networks[networks["arm"] == curve].groupby("level")["density"].mean()
        known = density.notna().all()
        return sorted(density.index, key=lambda level: (level > 0, -density[level] if known else 0, level))

    def with_recipe(self, recipe: str, base: str) -> list[str]:
        """The arms of a recipe that are compared with a base."""
        return self.arms.loc[(self.arms["recipe"] == recipe) & (self.arms["base"] == base), "arm"].tolist()


def read_tables(folder: Path, ablated: bool = True) -> Tables:
    """The tables of an experiment; those that not every experiment has, where they are.

    Args:
        ablated: whether units are switched off in it; without that such tables are an earlier config's.

    Raises:
        UserError: one is missing.
    """
    frames = {name: read_table(folder / f"{name}.csv") for name in TABLES} | (read_ablation(folder) if ablated else {})
    arms = read_arms(folder / "arms.csv", frames["networks"])
    return Tables(frames, arms, read_rotations(folder, arms))


def find(tables: Tables, margin: float, accuracy_margin: float) -> list[Section]:
    """The findings of an experiment, section by section.

    Args:
        margin, accuracy_margin: as in the config's section `statistics`.
    """
    curves = tables.curves()
    sections = [asked(tables, margin, accuracy_margin)]
    sections += [in_short(tables, curve) for curve in curves]
    for curve in curves:
        layers = tables.layers(curve)
        sections += [lost(tables, curve, layer) for layer in layers]
        sections.append(how_sure(tables, curve))
        sections += [accuracy_or_sparsity(tables, curve, layer) for layer in layers]
        sections += [same_units(tables, curve), *causes(tables, curve)]
        sections.append(other_choices(tables, curve, margin))
    sections.append(not_told(tables))
    return [section for section in sections if section.paragraphs or section.table]


def asked(tables: Tables, margin: float, accuracy_margin: float) -> Section:
    """The question, and what was measured to answer it."""
    networks = tables["networks"]
    iou, rule = detector_rule_of(networks)
    sizes = {layer: sorted(set(rows["units"])) for layer, rows in networks.groupby("layer", sort=False)}
    sizes = {layer: counted(" or ".join(map(str, units)), "unit") for layer, units in sizes.items()}
    dissected = listed([f"{layer} ({units})" for layer, units in sizes.items()])
    sentences = [
        "Does pruning cost a network units that a person can name? A unit counts as interpretable if the places"
        f" where it is most active overlap with one concept, IoU {DETECTOR_RULES[rule]} {decimal(iou)}.",
        f"Dissected: {dissected}, of {counted(count_networks(tables, networks), 'network')}.",
    ]
    for curve in tables.curves():
        of_curve = networks[networks["arm"] == curve]
        densities = [density_of(tables, curve, level) for level in tables.levels(curve)]
        known = [percent(density) for density in densities if not pd.isna(density)]
        parts = [f"with {listed(known, most=len(known))} of the weights"] if known else []
        if len(known) < len(densities):
            parts.append(f"{counted(len(densities) - len(known), 'level')} with an unknown share of the weights")
        sentences.append(
            f"{capital(tables.called(curve))}: {counted(of_curve['replicate'].nunique(), 'replicate')},"
            f" {listed(parts)}."
        )
    points = decimal(100 * accuracy_margin)
    sentences.append(
        f"Fixed beforehand: less than {percent(margin)} of the dense networks' mean is no change of a count, less than"
        f" {counted(points, 'percentage point')} none of accuracy. Another"
        " machine trains other networks."
    )
    return Section("What was asked", [" ".join(sentences)])


def count_networks(tables: Tables, networks: pd.DataFrame) -> int:
    """How many networks rows of networks.csv are of; a curve that has a base begins with that, which counts once."""
    begins = tables.arms.loc[(tables.arms["role"] == CURVE) & (tables.arms["base"] != tables.arms["arm"]), "arm"]
    own = networks[~((networks["level"] == 0) & networks["arm"].isin(begins))]
    return len(own.drop_duplicates(NETWORK[:3]))


def in_short(tables: Tables, curve: str) -> Section:
    """Down to which density nothing is lost."""
    rows = tables["equivalence"]
    rows = rows[(rows["arm"] == curve) & (rows["against"] == "dense")]
    paragraphs = headlines(rows, [curve])
    replicates = rows.loc[rows[list(SHOWN)].astype(bool).any(axis=1), "n"]
    if len(replicates):
        count = counted(span(replicates.min(), replicates.max()), "replicate")
        paragraphs.append(
            "Each of these claims is wrong with a probability of at most 5 %"
            f" ({count}, each compared with its own dense network; tested level"
            " after level from there on); that one of them is wrong is more likely."
        )
    return Section(title_of(tables, "In short", curve), paragraphs)


def headlines(equivalence: pd.DataFrame, curves: Sequence[str]) -> list[str]:
    """The sparsest levels that are shown to be as the dense networks, a paragraph for accuracy and for each layer."""
    rows = equivalence[equivalence["arm"].isin(curves) & (equivalence["against"] == "dense")]
    rows = rows.sort_values("level", kind="stable")
    texts = []
    for (arm, layer), of_layer in rows.groupby(["arm", "layer"], sort=False):
        places = ([f"in {layer}"] if layer else []) + ([f"of {arm}"] if len(curves) > 1 else [])
        start = capital(" ".join(places)) + ": " if places else ""
        if text := down_to(of_layer) or untested(of_layer):
            texts.append(start + (text if start else capital(text)))
    return texts


def untested(rows: pd.DataFrame) -> str:
    """What a comparison with too few replicates leaves open, in a layer."""
    units = rows[rows["measure"] == "units"]
    if units.empty:
        return ""
    text = f"with {counted(int(units['n'].max()), 'replicate')} no test of a change is made"
    least, most = units["smallest_change"].min(), units["smallest_change"].max()
    if pd.isna(least):
        return f"{text}, and how much another training would change is not known."
    return f"{text}; a change of less than {counted(span(least, most), 'unit')} could not have been ruled out."


def span(least: float, most: float) -> str:
    """Two numbers, or one where they read the same: "2.2 to 5.7"."""
    return number(least) if number(least) == number(most) else f"{number(least)} to {number(most)}"


def lost(tables: Tables, curve: str, layer: str) -> Section:
    """What a layer has at each level, beside random bases, and what is lost."""
    rows = pd.concat([against_dense(tables, curve, layer), against_dense(tables, curve, "")])
    paragraphs = [beside_rotation(tables, curve, layer)]
    paragraphs += [beyond(rows[rows["measure"] == measure], measure) for measure in MEASURES]
    title = title_of(tables, f"What is lost in {layer}", curve)
    table = table_of(tables, curve, layer, rows)
    marked = any(cell.endswith("°") for cells in table for cell in cells)
    untested = len(rows) and (rows["shown"] == UNTESTED).all()
    note = TABLE_NOTE + (MARKED if marked else UNMARKED if untested else "")
    return Section(title, [text for text in paragraphs if text], table, note)


def beside_rotation(tables: Tables, curve: str, layer: str) -> str:
    """How many directions of a random basis would count, beside the units, dense and at the middle level."""
    if tables.rotations is None:
        return ""
    turned = farthest(tables.rotations).groupby(NETWORK)["detectors_a"].mean().rename("turned")
    networks = tables["networks"]
    networks = networks[(networks["arm"] == curve) & (networks["layer"] == layer)].join(turned, on=NETWORK, how="inner")
    means = networks.groupby("level")[["turned", "detectors_a"]].mean()
    parts = [
        f"{number(chance)} where there are {counted(number(units), 'unit')} at {of_weights(tables, curve, level)}"
        f" ({percent(chance / units, 2)})"
        for level in three_levels(tables, curve, set(means.index))
        for chance, units in [means.loc[level]]
        if units
    ]
    if not parts:
        return ""
    return (
        "Of a random basis of the same space so many directions would count as interpretable:"
        f" {listed(parts)}. Only what units have beyond that, units above rotation, speaks of the units themselves."
    )


def title_of(tables: Tables, title: str, curve: str) -> str:
    """The title, with the curve's name where there are several."""
    return f"{title}: {tables.called(curve)}" if len(tables.curves()) > 1 else title


def against_dense(tables: Tables, curve: str, layer: str) -> pd.DataFrame:
    """The rows of equivalence.csv of a curve in a layer, from dense downwards; in "" those of accuracy."""
    rows = tables["equivalence"]
    rows = rows[(rows["arm"] == curve) & (rows["against"] == "dense") & (rows["layer"] == layer)]
    return rows.sort_values("level", kind="stable")


def from_dense(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one measure in the order of the tests: from dense downwards, by level where a density is not known."""
    known = rows["density"].notna().all()
    return rows.sort_values(["density", "level"], ascending=[False, True]) if known else rows.sort_values("level")


def down_to(rows: pd.DataFrame) -> str:
    """The sparsest level of an unbroken sequence that is shown, of each measure of a layer."""
    rows = rows[rows["shown"] != UNTESTED]
    measures = [measure for measure in MEASURES if measure in set(rows["measure"])]
    sentences, shown = [], set()
    for column, words in SHOWN.items():
        ends: dict[str, list[str]] = {}
        for measure in measures:
            passed = from_dense(rows[(rows["measure"] == measure) & rows[column]])
            if len(passed):
                ends.setdefault(weights(passed.iloc[-1]), []).append(MEASURES[measure])
                shown.add(measure)
        parts = [f"{listed(names)} down to {end}" for end, names in ends.items()]
        if parts:
            sentences.append(f"{words}: {'; '.join(parts)}.")
    if missing := [MEASURES[measure] for measure in measures if measure not in shown]:
        sentences.append(
            f"neither a loss nor a change as large as the margin is excluded, at any level, for {listed(missing)}."
        )
    return " ".join([*sentences[:1], *map(capital, sentences[1:])])


UNTESTED = "not testable"
SHOWN = {
    "no_loss_in_sequence": "no loss as large as the margin",
    "in_sequence": "no change as large as the margin, up or down",
}


def beyond(rows: pd.DataFrame, measure: str) -> str:
    """What is known of the first level where a loss is not excluded, of the first with a loss, and of the last."""
    rows = from_dense(rows[rows["shown"] != UNTESTED])
    failed = rows[~rows["no_loss_in_sequence"].astype(bool)]
    if failed.empty:
        return ""
    first, last, lost = failed.iloc[0], failed.iloc[-1], failed[failed["high90"] < 0]
    sentences = [f"{capital(MEASURES[measure])}: at {weights(first)} {change(first)}."]
    if first["high90"] >= 0:
        if lost.empty:
            return f"{sentences[0]} From there on no level has an interval that is a loss throughout."
        first = lost.iloc[0]
        sentences.append(
            f"From there on the first interval that is a loss throughout is at {weights(first)}: {change(first)}."
        )
    if last["level"] != first["level"]:
        sentences.append(f"At {weights(last)}: {change(last)}.")
    return " ".join(sentences)


def table_of(tables: Tables, curve: str, layer: str, rows: pd.DataFrame) -> list[list[str]]:
    """Means and standard deviations of a layer at each level; marked where a loss is not excluded."""
    networks = tables["networks"]
    networks = networks[(networks["arm"] == curve) & (networks["layer"] == layer)]
    values = {
        "accuracy": (100 * networks["test_accuracy"], "test accuracy (%)"),
        "units": (networks["detectors_a"], MEASURES["units"]),
        "concepts": (networks["concepts_a"], MEASURES["concepts"]),
    }
    if tables.rotations is not None:
        turned = farthest(tables.rotations).groupby(NETWORK)["detectors_a"].mean()
        keys = pd.MultiIndex.from_frame(networks[NETWORK])
        above = networks["detectors_a"] - turned.reindex(keys).to_numpy()
        values["units_above_rotation"] = above, MEASURES["units_above_rotation"]
    values = {measure: pair for measure, pair in values.items() if pair[0].notna().any()}
    table = [["weights", *(title for _, title in values.values())]]
    tested = (rows["shown"] != UNTESTED).any()
    for level in tables.levels(curve):
        of_level = networks[networks["level"] == level]
        cells = [level_cell(tables, curve, level)]
        for measure, (column, _) in values.items():
            shown = rows[(rows["measure"] == measure) & (rows["level"] == level)]["no_loss_in_sequence"]
            ended = tested and level > 0 and not (len(shown) and shown.all())
            cell = mean_and_sd(column[of_level.index])
            cells.append(f"{cell} °" if ended and cell != "-" else cell)
        table.append(cells)
    return table


def how_sure(tables: Tables, curve: str) -> Section:
    """The noise of training, of pictures and of chance."""
    paragraphs = [*noise(tables, curve), *chance(tables, curve), *halves(tables, curve)]
    return Section(title_of(tables, "How sure that is", curve), paragraphs)


def noise(tables: Tables, curve: str) -> Iterator[str]:
    """What training the dense network again changes, and what could not have been ruled out."""
    rows = tables["equivalence"]
    counts = rows[(rows["measure"] == "units") & (rows["against"] == "dense")]
    sentences = []
    again = counts[counts["arm"].isin(tables.with_recipe("dense_again", curve))]
    for row in again[again["n"] > 1].to_dict("records"):
        sentences.append(
            f"In {row['layer']} the dense network, trained once more with its data in another order, has {change(row)};"
            f" standard deviation {number(row['sd'])}."
        )
    if sentences:
        yield "Noise of training. " + " ".join(sentences)
    of_curve = counts[(counts["arm"] == curve) & counts["smallest_change"].notna()]
    for layer, of_layer in of_curve.groupby("layer", sort=False):
        least, most = of_layer["smallest_change"].min(), of_layer["smallest_change"].max()
        size = counted(span(least, most), "unit")
        by_level = ", depending on the level," if "to" in size else ""
        yield f"In {layer} a change of less than {size}{by_level} could not have been ruled out."


def chance(tables: Tables, curve: str) -> Iterator[str]:
    """How many units chance explains."""
    networks = tables["networks"]
    networks = networks[networks["detectors_fdr"].notna()]
    bases = networks["arm"].map(tables.arms.set_index("arm")["base"])
    untrained = [arm for recipe in ("untrained", "untrained_calibrated") for arm in tables.with_recipe(recipe, curve)]
    for layer, of_layer in networks[bases == curve].groupby("layer", sort=False):
        of_curve = of_layer[of_layer["arm"] == curve]
        found = [level for level in tables.levels(curve) if level in set(of_curve["level"])]
        if not found:
            continue
        ends = [(level, of_curve[of_curve["level"] == level]) for level in dict.fromkeys([found[0], found[-1]])]
        words = [
            f"{number(rows['detectors_fdr'].mean())} of {counted(rows['units'].iloc[0], 'unit')} at"
            f" {of_weights(tables, curve, level)}"
            for level, rows in ends
        ]
        words[0] += " match their concept better than chance would"
        means = {arm: of_layer.loc[of_layer["arm"] == arm, "detectors_fdr"].mean() for arm in untrained}
        means = {arm: mean for arm, mean in means.items() if not pd.isna(mean)}
        text = f"Chance. In {layer} {', '.join(words)}"
        if means:
            text += "; " + listed([f"{number(mean)} in {tables.called(arm)} networks" for arm, mean in means.items()])
            if max(means.values()) >= 1:
                text += ", so that this alone makes no unit interpretable"
        text += " (false discovery rate 5 %)."
        by_chance = ends[0][1]["chance_detectors"].mean()
        if not pd.isna(by_chance):
            text += (
                f" With permuted labels {counted(number(by_chance, 2), 'unit')} of"
                f" {first_networks(tables, curve)} would count as interpretable."
            )
        few = of_layer[of_layer["detectors_fdr"] < of_layer["fewest_fdr"]]
        if len(few):
            text += (
                f" Fewer than {counted(int(few['fewest_fdr'].max()), 'unit')} could not have been found with so few"
                f" permutations, which concerns {counted(count_networks(tables, few), 'network')}."
            )
        yield text


def halves(tables: Tables, curve: str) -> Iterator[str]:
    """What other pictures would have given."""
    rows = tables["split"]
    rows = rows[rows["arm"] == curve]
    for layer, of_layer in rows.groupby("layer", sort=False):
        dense = of_layer[of_layer["level"] == tables.levels(curve)[0]]
        if dense["keep"].isna().all():
            continue
        text = (
            f"Pictures. In {layer} of {first_networks(tables, curve)} {share(dense['keep'])} of the units that one half"
            " of the pictures finds interpretable are so on the other half, under the same name"
        )
        if dense["agreement"].notna().any():
            text += f"; {share(dense['agreement'])} of those interpretable on both get the same name from each"
        yield (
            f"{text}. Other pictures of the same kind would change the count of a network by"
            f" {counted(number(dense['units_sd'].mean()), 'unit')} (standard deviation)."
        )


def accuracy_or_sparsity(tables: Tables, curve: str, layer: str) -> Section:
    """Whether units of a layer follow accuracy or density, by arms that are matched."""
    rows = tables["matched"]
    rows = rows[(rows["imp_arm"] == curve) & (rows["measure"] == "units") & (rows["layer"] == layer)]
    title = title_of(tables, f"Accuracy or sparsity, in {layer}", curve)
    if rows.empty:
        return Section(title, [])
    pairs = rows.drop_duplicates(["arm", "level"])["follows"].value_counts()
    decided = [f"in {pairs[kind]} {words}" for kind, words in VERDICTS.items() if kind in pairs]
    text = (
        f"{capital(tables.called(curve))} is compared with other arms, interpolated to the accuracy and to the"
        f" density that it has at a level. Of {counted(pairs.sum(), 'pair')} of an arm and a level:"
        f" {listed(decided, most=len(VERDICTS))}."
    )
    paragraphs = [text, correlated(tables, curve, layer), NO_CAUSES]
    table = [["compared with", "at equal accuracy", "at equal density"]]
    for arm, of_arm in rows.groupby("arm", sort=False):
        table.append([tables.called(arm), *(matched(tables, curve, of_arm, by) for by in ("accuracy", "density"))])
    note = (
        f"How many interpretable units {tables.called(curve)} has more or fewer than the arm, at the sparsest level"
        f" where {LEAST_REPLICATES} replicates or more can be compared."
    )
    return Section(title, [text for text in paragraphs if text], table, note)


NO_CAUSES = (
    "Arms differ in their masks and in what they start from; nobody assigned them their accuracy: these are"
    " associations, not causes."
)
VERDICTS = {
    "accuracy": "units go with accuracy (alike at equal accuracy, not at equal density)",
    "sparsity": "units go with sparsity (alike at equal density, not at equal accuracy)",
    "neither": "neither explains the difference alone (units differ at equal accuracy and at equal density)",
    "cannot tell": "units are alike both ways",
    "undecided": "it is undecided",
    "no overlap": "they have no accuracy or no density in common",
}


def matched(tables: Tables, curve: str, rows: pd.DataFrame, by: str) -> str:
    """The cell of an arm: how a curve differs from it where they are as accurate or as dense, at the sparsest level."""
    rows = rows[(rows["matched_by"] == by) & (rows["n"] >= LEAST_REPLICATES)]
    if rows.empty:
        return "-"
    level = max(rows["level"], key=tables.levels(curve).index)
    return f"{change(rows[rows['level'] == level].iloc[0])} at {of_weights(tables, curve, level)}"


def correlated(tables: Tables, curve: str, layer: str) -> str:
    """The partial rank correlations of units with accuracy and with density, over all networks of a replicate."""
    rows = tables["correlations"]
    rows = rows[(rows["base"] == curve) & (rows["layer"] == layer) & (rows["measure"] == "units")]
    differences = fisher_difference(rows["with_accuracy"], rows["with_density"])
    rows, differences = rows[~np.isnan(differences)], differences[~np.isnan(differences)]
    if len(rows) < LEAST_REPLICATES:
        return ""
    mean, sd = mean_and_sd_of(differences, 0)
    low, high = mean - half_width(sd, len(rows)), mean + half_width(sd, len(rows))
    accuracy, density = rows["with_accuracy"].mean(), rows["with_density"].mean()
    verdict = (
        "more with accuracy"
        if low > 0 and accuracy > 0
        else "more with density"
        if high < 0 and density > 0
        else "with neither more than the other"
    )
    return (
        f"Over all arms units go {verdict}: their rank correlation with accuracy, density held fixed, is"
        f" {accuracy:z.2f}, with density, accuracy held fixed, {density:z.2f}"
        f" (means of {counted(len(rows), 'replicate')}; difference on Fisher's scale, 90 % interval:"
        f" {low:z.2f} to {high:z.2f})."
    )


def density_of(tables: Tables, arm: str, level: int) -> float:
    """The mean density of a level."""
    networks = tables["networks"]
    return networks.loc[(networks["arm"] == arm) & (networks["level"] == level), "density"].mean()


def weights(row: pd.Series) -> str:
    """The level of a row: "12.5 % of the weights", or "level 3" where nobody knows the share."""
    return f"level {row['level']}" if pd.isna(row["density"]) else f"{percent(row['density'])} of the weights"


def of_weights(tables: Tables, arm: str, level: int) -> str:
    """The same of an arm's level."""
    return weights(pd.Series({"level": level, "density": density_of(tables, arm, level)}, dtype=object))


def level_cell(tables: Tables, arm: str, level: int) -> str:
    """The same in a table with the column weights."""
    return of_weights(tables, arm, level).removesuffix(" of the weights")


def first_networks(tables: Tables, curve: str) -> str:
    """What a curve starts with: dense networks, unless they are known to be sparse."""
    level = tables.levels(curve)[0]
    sparse = level > 0 or density_of(tables, curve, level) < DENSE
    return f"the networks at {of_weights(tables, curve, level)}" if sparse else "the dense networks"


def same_units(tables: Tables, curve: str) -> Section:
    """Whether the same units detect the same concepts, and which concepts stay."""
    rows = tables["identity"]
    rows = rows[rows["arm"] == curve]
    paragraphs = []
    for layer, of_layer in rows.groupby("layer", sort=False):
        chain = of_layer[(of_layer["against"] == "dense") & (of_layer["level"] > 0)]
        if chain.empty:
            continue
        parts = []
        for level in three_levels(tables, curve, set(chain["level"])):
            if kept := agreeing(chain[chain["level"] == level]):
                parts.append(f"at {of_weights(tables, curve, level)} {kept}")
        if not parts:
            continue
        dense = of_layer[of_layer["level"] == 0]
        ceilings = [
            f"{words} {kept}"
            for against, words in CEILINGS.items()
            if (kept := agreeing(dense[dense["against"] == against]))
        ]
        text = (
            f"In {layer}, of the units that are interpretable in the dense network and after pruning, and of the"
            f" concepts of either, these shares stay the same: {'; '.join(parts)}."
        )
        if ceilings:
            text += f" Without any pruning {', '.join(ceilings)}."
        paragraphs.append(text)
    return Section(title_of(tables, "Are they the same units and concepts?", curve), paragraphs)


def agreeing(rows: pd.DataFrame) -> str:
    """Which shares of units and of concepts agree, as far as either is known: "49 % of the units"."""
    names = {"same_name": "units", "jaccard": "concepts"}
    return " and ".join(
        f"{share(rows[column])} of the {name}" for column, name in names.items() if rows[column].notna().any()
    )


CEILINGS = {
    "other_half": "two halves of the pictures agree on",
    "dense_again": "the dense network and the same trained again on",
    "other_replicate": "two replicates of the dense network on",
}


def causes(tables: Tables, curve: str) -> Iterator[Section]:
    """What happens to a class when its own detectors are switched off: a section for each layer."""
    if "ablation" not in tables.frames:
        return
    rows = tables["ablation"]
    rows = rows[rows["arm"] == curve]
    title = "What the units do"
    if rows.empty and curve in set(tables["classes"]["arm"]):
        text = "No class is a concept that a unit detects: nothing could be switched off."
        yield Section(title_of(tables, title, curve), [text])
    for layer, of_layer in rows.groupby("layer", sort=False):
        table = [["weights", "pairs", "units", "own class", "other classes", "own class, random units", "p ≤ 0.05"]]
        for level in [level for level in tables.levels(curve) if level in set(of_layer["level"])]:
            of_level = of_layer[of_layer["level"] == level]
            means = [of_level[column].mean() for column in ("own", "others", "random_own_mean")]
            cells = [level_cell(tables, curve, level), str(len(of_level)), number(of_level["units"].mean())]
            table.append(
                [*cells, *(number(100 * mean) for mean in means), percent((of_level["p"] <= SMALL_P).mean(), 2)]
            )
        parts = [
            f"by {counted(number(100 * of_level['own'].mean()), 'point')} at {of_weights(tables, curve, level)}"
            f" (as many random units: {number(100 * of_level['random_own_mean'].mean())})"
            for level in three_levels(tables, curve, set(of_layer["level"]))[:2]
            if len(of_level := of_layer[of_layer["level"] == level])
        ]
        text = f"If the units that detect a class are switched off, the accuracy of that class changes {listed(parts)}."
        yield Section(title_of(tables, f"{title} in {layer}", curve), [text], table, ABLATION_NOTE)


SMALL_P = 0.05
ABLATION_NOTE = (
    "Pairs of a class and a network that detects it; units that are switched off, and changes of accuracy in percentage"
    " points: means over pairs. p: how often as many random units cost the class at least as much."
)


def other_choices(tables: Tables, curve: str, margin: float) -> Section:
    """How far the counts hold under other choices of the dissection, and in other ways of counting."""
    rows = tables["sweep"]
    rows = rows[rows["arm"] == curve]
    paragraphs = []
    for layer, of_layer in rows.groupby("layer", sort=False):
        own = of_layer[of_layer["own"]].drop_duplicates(["replicate", "level"])
        ends = [(words, kept_down_to(tables, curve, own, column, margin)) for column, words in COUNTED.items()]
        parts = [f"as the experiment counts, {listed([f'{words} {end}' for words, end in ends])}"] if len(own) else []
        for choice, of_choice in of_layer.groupby("choice", sort=False):
            ends = {
                value: kept_down_to(tables, curve, of_value, "detectors_a", margin)
                for value, of_value in of_choice.groupby("value")
            }
            if len(ends) > 1:
                words = [f"{value} {end}" for value, end in sorted(ends.items(), key=lambda item: sort_key(item[0]))]
                parts.append(f"units by {CHOICES[choice]} {listed(words, most=len(words))}")
        if parts:
            paragraphs.append(
                f"In {layer} means over replicates stay above {percent(1 - margin)} of those of"
                f" {first_networks(tables, curve)} down to these shares of the weights: {'; '.join(parts)}."
            )
    return Section(title_of(tables, "Does it hang on how units are counted?", curve), paragraphs)


COUNTED = {
    "detectors_a": "units",
    "concepts_a": "concepts",
    "detectors_b": "units that count in each category",
    "concepts_b": "concepts counted so",
}
CHOICES = {"detector_iou": "IoU threshold", "quantile": "quantile", "protocol": "protocol", "knots": "knots"}


def sort_key(value: object) -> tuple:
    """Numbers by size, then words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, str(value)


def kept_down_to(tables: Tables, curve: str, rows: pd.DataFrame, column: str, margin: float) -> str:
    """ "to" the sparsest level of an unbroken sequence whose mean is within the margin of the first, or above it."""
    means = rows.groupby("level")[column].mean()
    means = means.reindex([level for level in tables.levels(curve) if level in means.index])
    if not means.iloc[0]:
        return "(0 from the start)"
    kept = (means / means.iloc[0] > 1 - margin).cumprod()
    return f"to {level_cell(tables, curve, kept[kept == 1].index[-1])}"


def not_told(tables: Tables) -> Section:
    """What the experiment leaves open."""
    curves = tables.curves()
    paragraphs = []
    for curve in curves:
        start = f"{capital(tables.called(curve))}: " if len(curves) > 1 else ""
        if text := " ".join(left_open(tables, curve)):
            paragraphs.append(start + text)
    last = "Networks of another architecture, or trained on other pictures, may do otherwise."
    if not curves:
        last = f"No arm has dense networks and pruned levels of its own: what pruning changes is not said here. {last}"
    return Section("What could not be told", [*paragraphs, last])


def left_open(tables: Tables, curve: str) -> Iterator[str]:
    """What the experiment leaves open of a curve, in sentences."""
    networks = tables["networks"]
    networks = networks[networks["arm"] == curve]
    rows = tables["equivalence"]
    rows = rows[(rows["arm"] == curve) & (rows["against"] == "dense")]
    if rows.empty:
        yield "No level is compared with dense networks: what pruning changes is not known."
    elif (rows["n"] < LEAST_REPLICATES).all():
        replicates = int(rows["n"].max())
        count = counted(replicates, "replicate")
        yield f"With {count} no test of equivalence is made: take {LEAST_REPLICATES} or more."
    weak = rows[(rows["shown"] != EQUIVALENT) & (rows["low90"] <= 0) & (rows["high90"] >= 0)]
    weak = weak[weak["power"] < ENOUGH_POWER]
    for layer, of_layer in weak.groupby("layer", sort=False, dropna=False):
        measures = listed([MEASURES[measure] for measure in MEASURES if measure in set(of_layer["measure"])])
        where = f" in {layer}" if layer else ""
        yield (
            f"At some levels neither equivalence nor a change is shown of {measures}{where}, and the power to show"
            f" equivalence was less than {percent(ENOUGH_POWER)}."
        )
    if networks["density"].isna().any():
        yield "The share of the weights is not known at every level."
    if networks["test_accuracy"].isna().all():
        yield "Test accuracy was not measured."
    if not tables.with_recipe("dense_again", curve):
        yield "No arm of the recipe dense_again says how much another training alone changes."
    matched = tables["matched"]
    if matched.empty or (matched["imp_arm"] != curve).all():
        yield "No other arm tells sparsity and accuracy apart."
    if tables.rotations is None or (tables.rotations["arm"] != curve).all():
        yield "No arm is rotated: whether units detect more than any basis of their space is not known."
    if "classes" not in tables.frames or (tables["classes"]["arm"] != curve).all():
        yield "Nothing was switched off: what units do for the network is not known."
    if networks["detectors_fdr"].isna().all():
        yield "No labels were permuted: how many units chance explains is not known."
    if (tables["split"]["arm"] != curve).all():
        yield "The pictures were not halved: what other pictures would give is not known."
    baselines = tables.arms[(tables.arms["role"] == BASELINE) & (tables.arms["recipe"] != ROTATED)]
    if (baselines["base"] != curve).all():
        yield "There is no baseline of chance."


ENOUGH_POWER = 0.8


def three_levels(tables: Tables, curve: str, known: Collection[int]) -> list[int]:
    """The first level of a curve, the middle and the last, of those that are known."""
    levels = [level for level in tables.levels(curve) if level in known]
    chosen = [levels[0], middle_level(tables, curve), levels[-1]] if levels else []
    return [level for level in dict.fromkeys(chosen) if level in levels]


def middle_level(tables: Tables, curve: str) -> int:
    """The level nearest to a tenth of the weights, where the paper sees the end of what pruning leaves whole.

    Where no density is known, the one in the middle.
    """
    levels = [level for level in tables.levels(curve) if level > 0]
    known = {level: density for level in levels if not pd.isna(density := density_of(tables, curve, level))}
    return min(known, key=lambda level: abs(known[level] - 0.1)) if known else levels[len(levels) // 2]


def change(row: pd.Series | dict) -> str:
    """A difference with its interval, of a count or of accuracy."""
    noun = NOUNS[row["measure"]]
    scale, fewer = (100, "less") if noun == "point" else (1, "fewer")
    difference, low, high = (scale * row[column] for column in ("difference", "low90", "high90"))
    size = number(abs(difference))
    more = f"{counted(size, noun)} {'more' if difference > 0 else fewer}"
    text = f"no {noun}s more or {fewer}" if size == "0" else more
    return text if pd.isna(low) else f"{text} (90 % interval: {interval(low, high, fewer)})"


NOUNS = {"units": "unit", "concepts": "concept", "units_above_rotation": "unit", "accuracy": "point"}


def interval(low: float, high: float, fewer: str) -> str:
    """An interval of differences: "5.9 to 16.1 fewer", "3 fewer to 2 more"."""
    if high <= 0:
        return f"{number(-high)} to {number(-low)} {fewer}"
    if low >= 0:
        return f"{number(low)} to {number(high)} more"
    return f"{number(-low)} {fewer} to {number(high)} more"


def number(value: float, digits: int = 1) -> str:
    """A number with at most so many digits behind the point; "-" where it is not known."""
    return "-" if pd.isna(value) else decimal(value, digits, fractional=True)


def decimal(value: float, digits: int = 6, fractional: bool = False) -> str:
    """A number with so many digits in all, or behind the point; never with an exponent, and 0 without a sign."""
    text = np.format_float_positional(value, digits, fractional=fractional, trim="-")
    return "0" if text == "-0" else text


def percent(share: float, digits: int = 3) -> str:
    """A share in per cent, with so many digits, and all those before the point: "12.5 %"."""
    if pd.isna(share):
        return "-"
    return f"{100 * share:.0f} %" if share >= 1 else f"{decimal(100 * share, digits)} %"


def share(values: pd.Series) -> str:
    """The mean of shares, in per cent: "49 %"."""
    return percent(values.mean(), 2)


def mean_and_sd(values: pd.Series) -> str:
    """The mean of some values and, of several, their standard deviation."""
    known = values.dropna().astype(float)
    if known.empty:
        return "-"
    return f"{known.mean():z.1f}" + (f" ± {known.std():.1f}" if len(known) > 1 else "")


def counted(count: float | str, noun: str) -> str:
    """A count and its noun: "1 replicate", "2 replicates"; a number may be in words already, as "2 to 3"."""
    return f"{count} {plural(count, noun)}"


def plural(count: float | str, noun: str) -> str:
    """The noun, in its plural unless there is one."""
    return noun if str(count) in ("1", "-1") else f"{noun}s"


def capital(text: str) -> str:
    """The text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def listed(items: Sequence[str], most: int = NAMED) -> str:
    """Items in a sentence: "a, b and c"; what is too many is counted."""
    items = list(items)
    if len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """The findings as a page in Markdown."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for paragraph in section.paragraphs:
            lines += [paragraph, ""]
        if section.table:
            head, *rows = [[cell.replace("|", r"\|") for cell in row] for row in section.table]
            lines += [" | ".join(head).join(("| ", " |")), "|--:" * len(head) + "|"]
            lines += [" | ".join(row).join(("| ", " |")) for row in rows]
            lines += ["", *([f"*{section.note}*", ""] if section.note else [])]
    return "\n".join(lines)
