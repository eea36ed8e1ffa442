"""What an experiment has found, in words: every sentence follows from its tables, and says no more than they do."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.keys import BASELINE, CURVE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.tables.arms import name_arms, read_arms
from workflow_scripts.tables.read_tables import detector_rule_of, farthest, read_rotations, read_table
from workflow_scripts.tables.statistics import fisher_difference, half_width
from workflow_scripts.tables.statistics import mean_and_sd as mean_and_sd_of

TABLES = ("networks", "equivalence", "matched", "correlations", "identity", "sweep", "nulls", "split")
OPTIONAL = ("ablation", "classes")
MEASURES = {  # of equivalence.csv: what a count of it is called, and its unit in a table
    "units": "interpretable units",
    "concepts": "unique concepts",
    "units_above_rotation": "units above rotation",
    "accuracy": "test accuracy",
}
TESTABLE = 3  # replicates
NAMED = 4  # items in a sentence
TABLE_NOTE = "Mean ± standard deviation of replicates. ° From here on a loss of as much as the margin is not excluded."


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

    def with_recipe(self, recipe: str, base: str) -> list[str]:
        """The arms of a recipe that are compared with a base."""
        return self.arms.loc[(self.arms["recipe"] == recipe) & (self.arms["base"] == base), "arm"].tolist()


def read_tables(folder: Path) -> Tables:
    """The tables of an experiment; those that not every experiment has, where they are.

    Raises:
        UserError: one is missing.
    """
    optional = [name for name in OPTIONAL if (folder / f"{name}.csv").is_file()]
    frames = {name: read_table(folder / f"{name}.csv") for name in (*TABLES, *optional)}
    arms = read_arms(folder / "arms.csv", frames["networks"])
    return Tables(frames, arms, read_rotations(folder, arms))


def find(tables: Tables, margin: float, accuracy_margin: float) -> list[Section]:
    """The findings of an experiment, section by section.

    Args:
        margin, accuracy_margin: as in the config's section `statistics`.
    """
    curves, layers = tables.curves(), tables["networks"]["layer"].unique()
    sections = [asked(tables, margin, accuracy_margin)]
    sections += [in_short(tables, curve) for curve in curves]
    for curve in curves:
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
    layers = networks.drop_duplicates("layer")
    dissected = listed([f"{layer} ({units} units)" for layer, units in layers[["layer", "units"]].to_numpy()])
    sentences = [
        "Does pruning cost a network units that a person can name? A unit counts as interpretable if the places"
        f" where it is most active overlap with one concept, IoU {DETECTOR_RULES[rule]} {iou:g}.",
        f"Dissected: {dissected}, of {len(networks.drop_duplicates(['arm', 'replicate', 'level']))} networks.",
    ]
    for curve in tables.curves():
        of_curve = networks[networks["arm"] == curve]
        levels = of_curve.groupby("level")["density"].mean().sort_values(ascending=False)
        sentences.append(
            f"{capital(tables.called(curve))}: {counted(of_curve['replicate'].nunique(), 'replicate')}, with"
            f" {listed([percent(density) for density in levels], most=len(levels))} of the weights."
        )
    sentences.append(
        f"Fixed beforehand: less than {percent(margin)} of the dense networks' mean is no change of a count, less than"
        f" {100 * accuracy_margin:g} percentage {plural(100 * accuracy_margin, 'point')} none of accuracy. Another"
        " machine trains other networks."
    )
    return Section("What was asked", [" ".join(sentences)])


def in_short(tables: Tables, curve: str) -> Section:
    """Down to which density nothing is lost."""
    rows = tables["equivalence"]
    rows = rows[(rows["arm"] == curve) & (rows["against"] == "dense")]
    paragraphs = headlines(rows, [curve])
    if (rows["n"] >= TESTABLE).any():
        paragraphs.append(
            "Each of these claims is wrong with a probability of at most 5 %"
            f" ({counted(int(rows['n'].max()), 'replicate')}, each compared with its own dense network; tested level"
            " after level from there on)."
        )
    return Section(title_of(tables, "In short", curve), paragraphs)


def headlines(equivalence: pd.DataFrame, curves: Sequence[str]) -> list[str]:
    """The sparsest levels that are shown to be as the dense networks, a paragraph for accuracy and for each layer."""
    rows = equivalence[equivalence["arm"].isin(curves) & (equivalence["against"] == "dense")]
    rows = rows.sort_values("level", kind="stable")
    texts = []
    for (arm, layer), of_layer in rows.groupby(["arm", "layer"], sort=False):
        start = "" if not layer else f"In {layer}: " if len(curves) == 1 else f"In {layer} of {arm}: "
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
    return f"{text}; a change of less than {span(least, most)} units could not have been ruled out."


def span(least: float, most: float) -> str:
    """Two numbers, or one where they read the same: "2.2 to 5.7"."""
    return number(least) if number(least) == number(most) else f"{number(least)} to {number(most)}"


def lost(tables: Tables, curve: str, layer: str) -> Section:
    """What a layer has at each level, beside random bases, and what is lost."""
    rows = pd.concat([against_dense(tables, curve, layer), against_dense(tables, curve, "")])
    paragraphs = [beside_rotation(tables, curve, layer)]
    paragraphs += [beyond(rows[rows["measure"] == measure], measure) for measure in MEASURES]
    title = title_of(tables, f"What is lost in {layer}", curve)
    return Section(title, [text for text in paragraphs if text], table_of(tables, curve, layer, rows), TABLE_NOTE)


def beside_rotation(tables: Tables, curve: str, layer: str) -> str:
    """How many directions of a random basis would count, beside the units, dense and at the middle level."""
    if tables.rotations is None:
        return ""
    turned = farthest(tables.rotations)
    turned = turned[(turned["arm"] == curve) & (turned["layer"] == layer)].groupby("level")["detectors_a"].mean()
    networks = tables["networks"]
    units = networks[(networks["arm"] == curve) & (networks["layer"] == layer)].groupby("level")["detectors_a"].mean()
    parts = [
        f"{number(turned[level])} where there are {number(units[level])} units at"
        f" {percent(density_of(tables, curve, level))} of the weights ({percent(turned[level] / units[level], 2)})"
        for level in dict.fromkeys([turned.index.min(), middle_level(tables, curve), turned.index.max()])
        if level in turned and units[level]
    ]
    if not parts:
        return ""
    return (
        "Of a random basis of the same space so many directions would count as interpretable:"
        f" {listed(parts)}. Only what units have beyond that speaks of the units themselves."
    )


def title_of(tables: Tables, title: str, curve: str) -> str:
    """The title, with the curve's name where there are several."""
    return f"{title}: {tables.called(curve)}" if len(tables.curves()) > 1 else title


def against_dense(tables: Tables, curve: str, layer: str) -> pd.DataFrame:
    """The rows of equivalence.csv of a curve in a layer, from dense downwards; in "" those of accuracy."""
    rows = tables["equivalence"]
    rows = rows[(rows["arm"] == curve) & (rows["against"] == "dense") & (rows["layer"] == layer)]
    return rows.sort_values("level", kind="stable")


def down_to(rows: pd.DataFrame) -> str:
    """The sparsest level of an unbroken sequence that is shown, of each measure of a layer."""
    if rows.empty or (rows["shown"] == "not testable").all():
        return ""
    measures = [measure for measure in MEASURES if measure in set(rows["measure"])]
    sentences, shown = [], set()
    for column, words in SHOWN.items():
        ends: dict[float, list[str]] = {}
        for measure in measures:
            passed = rows[(rows["measure"] == measure) & rows[column]]
            if len(passed):
                ends.setdefault(passed["density"].iloc[-1], []).append(MEASURES[measure])
                shown.add(measure)
        parts = [f"{listed(names)} down to {percent(density)} of the weights" for density, names in ends.items()]
        if parts:
            sentences.append(f"{words}: {'; '.join(parts)}.")
    if missing := [MEASURES[measure] for measure in measures if measure not in shown]:
        sentences.append(f"neither is shown, at any level, of {listed(missing)}.")
    return " ".join([sentences[0], *map(capital, sentences[1:])])


SHOWN = {
    "no_loss_in_sequence": "no loss as large as the margin",
    "in_sequence": "no change as large as the margin, up or down",
}


def beyond(rows: pd.DataFrame, measure: str) -> str:
    """What is known of the first level where a loss is not excluded, of the first with a loss, and of the last."""
    failed = rows[(rows["shown"] != "not testable") & ~rows["no_loss_in_sequence"]]
    if failed.empty:
        return ""
    first, last, lost = failed.iloc[0], failed.iloc[-1], failed[failed["high90"] < 0]
    sentences = [f"{capital(MEASURES[measure])}: at {percent(first['density'])} of the weights {change(first)}."]
    if first["high90"] >= 0:
        if lost.empty:
            return f"{sentences[0]} No level has an interval that is a loss throughout."
        row = lost.iloc[0]
        sentences.append(
            f"The first interval that is a loss throughout is at {percent(row['density'])}: {change(row)}."
        )
        first = row
    if last["level"] > first["level"]:
        sentences.append(f"At {percent(last['density'])}: {change(last)}.")
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
        turned = farthest(tables.rotations).groupby(["arm", "replicate", "level", "layer"])["detectors_a"].mean()
        keys = pd.MultiIndex.from_frame(networks[["arm", "replicate", "level", "layer"]])
        above = networks["detectors_a"] - turned.reindex(keys).to_numpy()
        values["units_above_rotation"] = above, MEASURES["units_above_rotation"]
    values = {measure: pair for measure, pair in values.items() if pair[0].notna().any()}
    table = [["weights", *(title for _, title in values.values())]]
    for level, of_level in networks.groupby("level"):
        cells = [percent(of_level["density"].mean())]
        for measure, (column, _) in values.items():
            row = rows[(rows["measure"] == measure) & (rows["level"] == level)]
            ended = ((row["shown"] != "not testable") & ~row["no_loss_in_sequence"]).any()
            cells.append(mean_and_sd(column[of_level.index]) + (" °" if ended else ""))
        table.append(cells)
    return table


def how_sure(tables: Tables, curve: str) -> Section:
    """The noise of training, of pictures and of chance."""
    paragraphs = [*noise(tables, curve), *chance(tables, curve), *halves(tables, curve)]
    return Section("How sure that is", paragraphs)


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
        yield (
            f"In {layer} a change of less than {span(least, most)} units, depending on the level, could not have"
            " been ruled out."
        )


def chance(tables: Tables, curve: str) -> Iterator[str]:
    """How many units chance explains."""
    networks = tables["networks"]
    if networks["detectors_fdr"].isna().all():
        return
    untrained = [arm for recipe in ("untrained", "untrained_calibrated") for arm in tables.with_recipe(recipe, curve)]
    for layer, of_layer in networks.groupby("layer", sort=False):
        of_curve = of_layer[of_layer["arm"] == curve]
        first, last = of_curve["level"].min(), of_curve["level"].max()
        ends = [of_curve[of_curve["level"] == level] for level in (first, last)]
        words = [
            f"{number(rows['detectors_fdr'].mean())} of {rows['units'].iloc[0]} units at"
            f" {percent(rows['density'].mean())} of the weights"
            for rows in ends
        ]
        floors = [
            f"{number(of_layer.loc[of_layer['arm'] == arm, 'detectors_fdr'].mean())} in {tables.called(arm)} networks"
            for arm in untrained
        ]
        text = (
            f"Chance. In {layer} {words[0]} match their concept better than chance would, {words[1]}"
            + (f"; {listed(floors)}, so that this alone makes no unit interpretable" if floors else "")
            + f" (false discovery rate 5 %). With permuted labels {number(ends[0]['chance_detectors'].mean(), 2)} units"
            " of the dense networks would count as interpretable."
        )
        few = of_layer[(of_layer["detectors_fdr"] < of_layer["fewest_fdr"])]
        if len(few):
            text += (
                f" Fewer than {int(few['fewest_fdr'].max())} units could not have been found with so few permutations,"
                f" which concerns {counted(len(few), 'network')}."
            )
        yield text


def halves(tables: Tables, curve: str) -> Iterator[str]:
    """What other pictures would have given."""
    rows = tables["split"]
    rows = rows[rows["arm"] == curve]
    for layer, of_layer in rows.groupby("layer", sort=False):
        dense = of_layer[of_layer["level"] == of_layer["level"].min()]
        if dense["keep"].isna().all():
            continue
        yield (
            f"Pictures. In {layer} of the dense networks {percent(dense['keep'].mean(), 2)} of the units that one"
            " half of the pictures finds interpretable are so on the other half, under the same name;"
            f" {percent(dense['agreement'].mean(), 2)} of those interpretable on both get the same name from each."
            " Other pictures of the same kind would change the count of a network by"
            f" {number(dense['units_sd'].mean())} units (standard deviation)."
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
        "The difference in interpretable units, at the sparsest level where three replicates or more can be compared."
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
    rows = rows[(rows["matched_by"] == by) & (rows["n"] >= TESTABLE)]
    if rows.empty:
        return "-"
    row = rows.sort_values("level").iloc[-1]
    return f"{change(row)} at {percent(density_of(tables, curve, row['level']))} of the weights"


def correlated(tables: Tables, curve: str, layer: str) -> str:
    """The partial rank correlations of units with accuracy and with density, over all networks of a replicate."""
    rows = tables["correlations"]
    rows = rows[(rows["base"] == curve) & (rows["layer"] == layer) & (rows["measure"] == "units")]
    rows = rows[rows["with_accuracy"].notna() & rows["with_density"].notna()]
    if len(rows) < TESTABLE:
        return ""
    differences = fisher_difference(rows["with_accuracy"], rows["with_density"])
    mean, sd = mean_and_sd_of(differences, 0)
    low, high = mean - half_width(sd, len(rows)), mean + half_width(sd, len(rows))
    verdict = (
        "more with accuracy" if low > 0 else "more with density" if high < 0 else "with neither more than the other"
    )
    return (
        f"Over all arms units go {verdict}: their rank correlation with accuracy, density held fixed, is"
        f" {rows['with_accuracy'].mean():.2f}, with density, accuracy held fixed, {rows['with_density'].mean():.2f}"
        f" (means of {counted(len(rows), 'replicate')}; difference on Fisher's scale, 90 % interval:"
        f" {low:.2f} to {high:.2f})."
    )


def density_of(tables: Tables, arm: str, level: int) -> float:
    """The mean density of a level."""
    networks = tables["networks"]
    return networks.loc[(networks["arm"] == arm) & (networks["level"] == level), "density"].mean()


def same_units(tables: Tables, curve: str) -> Section:
    """Whether the same units detect the same concepts, and which concepts stay."""
    rows = tables["identity"]
    rows = rows[rows["arm"] == curve]
    paragraphs = []
    for layer, of_layer in rows.groupby("layer", sort=False):
        chain = of_layer[(of_layer["against"] == "dense") & (of_layer["level"] > 0)]
        if chain.empty:
            continue
        levels = [chain["level"].min(), middle_level(tables, curve), chain["level"].max()]
        parts = []
        for level in dict.fromkeys(level for level in levels if level in set(chain["level"])):
            of_level = chain[chain["level"] == level]
            parts.append(
                f"at {percent(density_of(tables, curve, level))} of the weights {share(of_level['same_name'])} of"
                f" the units and {share(of_level['jaccard'])} of the concepts"
            )
        ceilings = []
        for against, words in CEILINGS.items():
            dense = of_layer[(of_layer["against"] == against) & (of_layer["level"] == 0)]
            names = f"{share(dense['same_name'])} of the units and " if dense["same_name"].notna().any() else ""
            if dense["jaccard"].notna().any():
                ceilings.append(f"{words} {names}{share(dense['jaccard'])} of the concepts")
        text = (
            f"In {layer}, of the units that are interpretable in the dense network and after pruning, and of the"
            f" concepts of either, these shares stay the same: {'; '.join(parts)}."
        )
        if ceilings:
            text += f" Without any pruning {', '.join(ceilings)}."
        paragraphs.append(text)
    return Section("Are they the same units and concepts?", paragraphs)


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
    if rows.empty:
        text = "No class is a concept that a unit detects: nothing could be switched off."
        yield Section(title_of(tables, title, curve), [text])
    for layer, of_layer in rows.groupby("layer", sort=False):
        table = [["weights", "pairs", "units", "own class", "other classes", "own class, random units", "p ≤ 0.05"]]
        for level, of_level in of_layer.groupby("level"):
            means = [of_level[column].mean() for column in ("own", "others", "random_own_mean")]
            cells = [percent(density_of(tables, curve, level)), str(len(of_level)), number(of_level["units"].mean())]
            table.append(
                [*cells, *(number(100 * mean) for mean in means), percent((of_level["p"] <= SMALL_P).mean(), 2)]
            )
        parts = [
            f"by {number(100 * of_level['own'].mean())} points at {percent(density_of(tables, curve, level))} of the"
            f" weights (as many random units: {number(100 * of_level['random_own_mean'].mean())})"
            for level in dict.fromkeys([of_layer["level"].min(), middle_level(tables, curve)])
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
        parts = [f"as the experiment counts, {listed([f'{words} to {end}' for words, end in ends])}"]
        for choice, of_choice in of_layer.groupby("choice", sort=False):
            ends = {
                value: kept_down_to(tables, curve, of_value, "detectors_a", margin)
                for value, of_value in of_choice.groupby("value")
            }
            if len(ends) > 1:
                words = [f"{value} to {end}" for value, end in sorted(ends.items(), key=lambda item: sort_key(item[0]))]
                parts.append(f"units by {CHOICES[choice]} {listed(words, most=len(words))}")
        paragraphs.append(
            f"In {layer} means over replicates stay above {percent(1 - margin)} of the dense networks' down to these"
            f" shares of the weights: {'; '.join(parts)}."
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
    """The sparsest level of an unbroken sequence whose mean is within the margin of dense, or above it."""
    means = rows.groupby("level")[column].mean()
    if means.empty or not means.iloc[0]:
        return "none at all"
    kept = (means / means.iloc[0] > 1 - margin).cumprod()
    return percent(density_of(tables, curve, kept[kept == 1].index[-1]))


def not_told(tables: Tables) -> Section:
    """What the experiment leaves open."""
    sentences = []
    for curve in tables.curves():
        replicates = tables["networks"].loc[tables["networks"]["arm"] == curve, "replicate"].nunique()
        if replicates < TESTABLE:
            sentences.append(f"With {counted(replicates, 'replicate')} no test of equivalence is made: take 3 or more.")
        rows = tables["equivalence"]
        weak = rows[(rows["arm"] == curve) & (rows["against"] == "dense") & (rows["power"] < 0.8)]
        for layer, of_layer in weak.groupby("layer", sort=False, dropna=False):
            measures = listed([MEASURES[measure] for measure in MEASURES if measure in set(of_layer["measure"])])
            where = f" in {layer}" if layer else ""
            sentences.append(
                f"At some levels the test had a power of less than 80 % for {measures}{where}: that it is not shown"
                " there does not mean that there is a change."
            )
        if not tables.with_recipe("dense_again", curve):
            sentences.append("No arm of the recipe dense_again says how much another training alone changes.")
        matched = tables["matched"]
        if matched.empty or (matched["imp_arm"] != curve).all():
            sentences.append("No other arm parts sparsity from accuracy.")
    if tables.rotations is None:
        sentences.append("No arm is rotated: whether units detect more than any basis of their space is not known.")
    if "ablation" not in tables.frames:
        sentences.append("Nothing was switched off: what units do for the network is not known.")
    baselines = tables.arms[tables.arms["role"] == BASELINE]
    if baselines.empty:
        sentences.append("There is no baseline of chance.")
    sentences.append("Networks of another architecture, or trained on other pictures, may do otherwise.")
    return Section("What could not be told", [" ".join(sentences)])


def middle_level(tables: Tables, curve: str) -> int:
    """The level of a curve nearest to a tenth of the weights, where the paper sees the end of what pruning leaves"
    " whole."""
    networks = tables["networks"]
    density = networks[(networks["arm"] == curve) & (networks["level"] > 0)].groupby("level")["density"].mean()
    return int((density - 0.1).abs().idxmin())


def change(row: pd.Series | dict) -> str:
    """A difference with its interval, of a count or of accuracy."""
    noun = NOUNS[row["measure"]]
    scale, fewer = (100, "less") if noun == "points" else (1, "fewer")
    difference, low, high = (scale * row[column] for column in ("difference", "low90", "high90"))
    size = number(abs(difference))
    text = f"no {noun} more or {fewer}" if size == "0" else f"{size} {noun} {'more' if difference > 0 else fewer}"
    return text if pd.isna(low) else f"{text} (90 % interval: {interval(low, high, fewer)})"


NOUNS = {"units": "units", "concepts": "concepts", "units_above_rotation": "units", "accuracy": "points"}


def interval(low: float, high: float, fewer: str) -> str:
    """An interval of differences: "5.9 to 16.1 fewer", "3 fewer to 2 more"."""
    if high <= 0:
        return f"{number(-high)} to {number(-low)} {fewer}"
    if low >= 0:
        return f"{number(low)} to {number(high)} more"
    return f"{number(-low)} {fewer} to {number(high)} more"


def number(value: float, digits: int = 1) -> str:
    """A number with at most so many digits behind the point."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def percent(share: float, digits: int = 3) -> str:
    """A share in per cent, with so many digits: "12.5 %"."""
    if pd.isna(share):
        return "-"
    return f"{100 * share:.0f} %" if share >= 1 else f"{100 * share:.{digits}g} %"


def share(values: pd.Series) -> str:
    """The mean of shares, in per cent: "49 %"."""
    return percent(values.mean(), 2)


def points(change: float) -> str:
    """A change of accuracy, in words: "loses 6.1 points"."""
    return f"{'gains' if change > 0 else 'loses'} {number(100 * abs(change))} points"


def mean_and_sd(values: pd.Series) -> str:
    """The mean of some values and, of several, their standard deviation."""
    known = values.dropna().astype(float)
    if known.empty:
        return "-"
    return f"{known.mean():.1f}" + (f" ± {known.std():.1f}" if len(known) > 1 else "")


def counted(count: int, noun: str) -> str:
    """A count and its noun: "1 replicate", "2 replicates"."""
    return f"{count} {plural(count, noun)}"


def plural(count: float, noun: str) -> str:
    """The noun, in its plural unless there is one."""
    return noun if count == 1 else f"{noun}s"


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
            head, *rows = section.table
            lines += [" | ".join(head).join(("| ", " |")), "|--:" * len(head) + "|"]
            lines += [" | ".join(row).join(("| ", " |")) for row in rows]
            lines += ["", f"*{section.note}*", ""]
    return "\n".join(lines)
