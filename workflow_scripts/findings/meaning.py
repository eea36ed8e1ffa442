"""What the counts mean: whether units go with accuracy or sparsity, whether they stay the same, and what they do."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables
from workflow_scripts.findings.words import change, counted, listed, mean_and_sd, number, percent, share
from workflow_scripts.plan.replicates import LEAST_REPLICATES
from workflow_scripts.tables.statistics import fisher_difference, half_width
from workflow_scripts.tables.statistics import mean_and_sd as mean_and_sd_of

NO_CAUSES = (
    "Arms differ in their masks and in what they start from; nobody assigned them their accuracy: these are"
    " associations, not causes."
)
VERDICTS = {
    "accuracy": "units go with accuracy (alike at equal accuracy, not at equal density)",
    "sparsity": "units go with sparsity (alike at equal density, not at equal accuracy)",
    "neither": "neither explains the difference alone (units differ at equal accuracy and at equal density)",
    "cannot tell": "units are alike both ways",
    "undecided": (
        "it is undecided (an interval lies neither within the margin nor beyond it, or too few replicates can be"
        " compared)"
    ),
    "no overlap": "the arm has no network that is known to be as accurate, or none known to be as dense",
}
DECIDED = ("accuracy", "sparsity", "neither")  # of which the arms are named
WITHOUT_PRUNING = {  # identity.csv, `against` of a dense network: between what names and concepts agree
    "other_half": "between two halves of the pictures",
    "dense_again": "between the dense network and the same trained again",
    "other_replicate": "between two replicates",
}
CONCEPTS_NAMED = 30
SMALL_P = 0.05
ABLATION_NOTE = (
    "Pairs of a class and a network that detects it. Units switched off, and changes of accuracy in percentage points:"
    " means over the pairs of a replicate, then mean ± standard deviation of replicates. Last column: pairs of which no"
    " more than 5 % of as many random live units cost the class at least as much. Each level has its own pairs."
)


def accuracy_or_sparsity(tables: Tables, curve: str, layer: str) -> Section:
    """Whether units of a layer follow accuracy or density, by arms that are matched."""
    rows = tables["matched"]
    rows = rows[(rows["imp_arm"] == curve) & (rows["measure"] == "units") & (rows["layer"] == layer)]
    title = tables.title(f"Accuracy or sparsity, in {layer}", curve)
    if rows.empty:
        return Section(title, [])
    pairs = rows.drop_duplicates(["arm", "level"])
    decided = []
    for kind, words in VERDICTS.items():
        if len(of_kind := pairs[pairs["follows"] == kind]):
            which = [
                f"{tables.called(arm)} at {tables.share(curve, level)}"
                for arm, level in zip(of_kind["arm"], of_kind["level"], strict=True)
            ]
            decided.append(f"in {len(of_kind)} {words}" + (f": {listed(which)}" if kind in DECIDED else ""))
    text = (
        f"Each level of {tables.called(curve)} is compared with each other arm, interpolated to the same accuracy and"
        f" to the same density. Of {counted(len(pairs), 'comparison')}: {'; '.join(decided)}. Nothing corrects for"
        " their number."
    )
    paragraphs = [text, correlated(tables, curve, layer), NO_CAUSES]
    table = [["compared with", "at equal accuracy", "at equal density"]]
    for arm, of_arm in rows.groupby("arm", sort=False):
        table.append([tables.called(arm), *(matched(tables, curve, of_arm, by) for by in ("accuracy", "density"))])
    note = (
        f"How many interpretable units {tables.called(curve)} has more or fewer than the arm, at the sparsest level"
        f" where {LEAST_REPLICATES} replicates or more can be compared; -: none is known."
    )
    return Section(title, [text for text in paragraphs if text], table, note)


def matched(tables: Tables, curve: str, rows: pd.DataFrame, by: str) -> str:
    """The cell of an arm: how a curve differs from it where they are as accurate or as dense, at the sparsest level."""
    rows = rows[(rows["matched_by"] == by) & (rows["n"] >= LEAST_REPLICATES)]
    if rows.empty:
        return "-"
    level = max(rows["level"], key=tables.levels(curve).index)
    return f"{change(rows[rows['level'] == level].iloc[0])} at {tables.weights(curve, level)}"


def correlated(tables: Tables, curve: str, layer: str) -> str:
    """The partial rank correlations of units with accuracy and with density, over all networks of a replicate."""
    rows = tables["correlations"]
    rows = rows[(rows["base"] == curve) & (rows["layer"] == layer) & (rows["measure"] == "units")]
    differences = fisher_difference(rows["with_accuracy"], rows["with_density"])
    rows, differences = rows[~np.isnan(differences)], differences[~np.isnan(differences)]
    if (ends := interval_of(differences)) is None:
        return ""
    low, high = ends
    accuracy, density = rows["with_accuracy"].mean(), rows["with_density"].mean()
    verdict = (
        "units go more with accuracy than with density"
        if low > 0 and accuracy > 0
        else "units go more with density than with accuracy"
        if high < 0 and density > 0
        else "it is not shown that units go more with one of the two than with the other"
    )
    return (
        f"Over all networks of known accuracy and density {verdict}: their rank correlation with accuracy, density held"
        f" fixed, is {accuracy:z.2f}, with density, accuracy held fixed, {density:z.2f} (means of"
        f" {counted(len(rows), 'replicate')}; difference on Fisher's scale, 90 % interval: {low:z.2f} to {high:z.2f})."
    )


def interval_of(differences: Sequence[float]) -> tuple[float, float] | None:
    """The 90 % interval of the mean of differences; None of too few, and of ties, of which no spread is known."""
    if len(differences) < LEAST_REPLICATES:
        return None
    mean, sd = mean_and_sd_of(differences, 0)
    if sd == 0:
        return None
    half = half_width(sd, len(differences))
    return float(mean - half), float(mean + half)


# Identity


def same_units(tables: Tables, curve: str) -> Section:
    """Whether the same units detect the same concepts, beside what agrees without any pruning."""
    paragraphs = []
    for layer in tables.layers(curve):
        chain = tables.of("identity", curve, layer)
        chain = chain[(chain["against"] == "dense") & (chain["level"] > 0)]
        dense = tables.of("identity", tables.base(curve), layer, level=0)
        texts = [
            agreeing(tables, curve, chain, dense, "same_name", UNITS_AGREE),
            agreeing(tables, curve, chain, dense, "jaccard", CONCEPTS_AGREE),
        ]
        if text := " ".join(text for text in texts if text):
            paragraphs.append(f"In {layer}, {text[0].lower()}{text[1:]}")
    return Section(tables.title("Are they the same units and concepts?", curve), paragraphs)


UNITS_AGREE = "Of the units that are interpretable both in the dense network and after pruning, {} keep their concept."
CONCEPTS_AGREE = "Of the concepts that the dense or the pruned network has, {} are in both."


def agreeing(tables: Tables, curve: str, chain: pd.DataFrame, dense: pd.DataFrame, column: str, sentence: str) -> str:
    """A sentence with the share that agrees at each of three levels, and one of what agrees without any pruning."""
    known = chain[chain[column].notna()]
    parts = [
        f"{share(of_level[column])}{of_common(of_level, column)} at {tables.weights(curve, level)}"
        for level in tables.three_levels(curve, set(known["level"]))
        for of_level in [known[known["level"] == level]]
    ]
    if not parts:
        return ""
    without = [
        f"{share(of_one[column])} {words}"
        for against, words in WITHOUT_PRUNING.items()
        if (of_one := dense[dense["against"] == against])[column].notna().any()
    ]
    text = sentence.format(listed(parts))
    return f"{text} Without pruning: {listed(without)}." if without else text


def of_common(rows: pd.DataFrame, column: str) -> str:
    """Of how many units a share of same names is, which may be very few: " (of 15.2)"; nothing of other shares."""
    return f" (of {number(rows['common'].mean())})" if column == "same_name" else ""


def kept_concepts(tables: Tables, curve: str) -> Iterator[Section]:
    """Which concepts stay, by name, and how many of each category: a section for each layer."""
    units = tables.of("units", curve)
    units = units[units["detector"].astype(bool)]
    for layer in tables.layers(curve):
        if len(of_layer := units[units["layer"] == layer]):
            title = tables.title(f"Which concepts are kept in {layer}", curve)
            note = f"Unique concepts of each category, means of replicates, {layer}."
            yield Section(title, [followed(tables, curve, layer, of_layer)], by_category(tables, curve, layer), note)


def followed(tables: Tables, curve: str, layer: str, units: pd.DataFrame) -> str:
    """What becomes of the concepts that all replicates have at the first level, in words; `units` are detectors."""
    categories = units.groupby("label")["category"].nunique()
    name = units["label"].where(units["label"].map(categories) == 1, units["label"] + " (" + units["category"] + ")")
    have = units.assign(name=name).groupby(["level", "name"])["replicate"].nunique()
    networks = tables.of("networks", curve, layer)
    replicates = networks.groupby("level")["replicate"].nunique()
    first, *later = tables.three_levels(curve, set(replicates.index))
    always = [name for name in sorted(set(name)) if have.get((first, name), 0) == replicates[first]]
    each = f"each of {replicates[first]} replicates" if replicates[first] > 1 else "the one replicate"
    if not always:
        return f"No concept has a unit in {each} of {tables.first_networks(curve)}."
    sentences = [
        f"{counted(len(always), 'concept')} {'has' if len(always) == 1 else 'have'} a unit in {each} of"
        f" {tables.first_networks(curve)}: {listed(always, CONCEPTS_NAMED)}."
    ]
    for level in later:
        kept = [name for name in always if have.get((level, name), 0) == replicates[level]]
        gone = [name for name in always if have.get((level, name), 0) == 0]
        some = [name for name in always if name not in (*kept, *gone)]
        words = [in_brackets("in each", kept), in_brackets("in some", some), in_brackets("in none", gone)]
        place = tables.weights(curve, level)
        if replicates[level] != replicates[first]:
            place += f" ({counted(replicates[level], 'replicate')})"
        sentences.append(f"Of these at {place}: {', '.join(words)}.")
    return " ".join(sentences)


def in_brackets(words: str, names: list[str]) -> str:
    """How many concepts something is said of, and which: "in each 2 (hull and scales)"."""
    return f"{words} {len(names)}" + (f" ({listed(names, CONCEPTS_NAMED)})" if names else "")


def by_category(tables: Tables, curve: str, layer: str) -> list[list[str]]:
    """How many concepts of each category the networks of each level have."""
    rows = tables.of("categories", curve, layer)
    means = rows.pivot_table(index="level", columns="category", values="concepts_a", aggfunc="mean")
    table = [["weights", *means.columns]]
    for level in tables.levels(curve):
        if level in means.index:
            table.append([tables.share(curve, level), *(number(mean) for mean in means.loc[level])])
    return table


# Ablation


def causes(tables: Tables, curve: str) -> Iterator[Section]:
    """What happens to a class when its own detectors are switched off: a section for each layer."""
    if "ablation" not in tables.frames:
        return
    rows, title = tables.of("ablation", curve), "What the units do"
    if rows.empty and len(tables.of("classes", curve)):
        text = "No class is a concept that a unit detects: nothing could be switched off."
        yield Section(tables.title(title, curve), [text])
    for layer, of_layer in rows.groupby("layer", sort=False):
        levels = [level for level in tables.levels(curve) if level in set(of_layer["level"])]
        table = [["weights", "pairs", "units", "own class", "other classes", "own class, random units", "p ≤ 0.05"]]
        of_replicates = of_layer.groupby(["level", "replicate"])[["own", "others", "random_own_mean"]].mean()
        for level in levels:
            of_level, means = of_layer[of_layer["level"] == level], of_replicates.loc[level]
            cells = [tables.share(curve, level), str(len(of_level)), number(of_level["units"].mean())]
            cells += [mean_and_sd(100 * means[column]) for column in means]
            table.append([*cells, percent((of_level["p"] <= SMALL_P).mean(), 2)])
        means = of_replicates.groupby("level").mean()
        parts = [
            f"{number(100 * means.at[level, 'own'])} at {tables.weights(curve, level)} (as many random units:"
            f" {number(100 * means.at[level, 'random_own_mean'])})"
            for level in tables.three_levels(curve, levels)[:2]
        ]
        text = (
            "If the units that detect a class are switched off, the accuracy of that class changes by so many"
            f" percentage points: {listed(parts)}."
        )
        paragraphs = [text, *same_pairs(tables, curve, of_layer)]
        yield Section(tables.title(f"{title} in {layer}", curve), paragraphs, table, ABLATION_NOTE)


def same_pairs(tables: Tables, curve: str, rows: pd.DataFrame) -> Iterator[str]:
    """How the loss of a class differs between the dense network and the middle level, in pairs that both have."""
    pair, level = ["replicate", "class"], tables.middle_level(curve)
    dense, pruned = (rows[rows["level"] == one] for one in (tables.levels(curve)[0], level))
    both = dense.merge(pruned, on=pair, suffixes=("", "_pruned"))
    if both.empty:
        return
    differences = (100 * (both["own_pruned"] - both["own"])).groupby(both["replicate"]).mean()
    text = (
        f"In the {counted(len(both), 'pair')} of a class and a replicate that have such units both in"
        f" {tables.first_networks(curve)} and at {tables.weights(curve, level)}, the change at the latter less that at"
        f" the former is {differences.mean():+z.1f} points"
    )
    if ends := interval_of(differences):
        text += f" (90 % interval: {ends[0]:+z.1f} to {ends[1]:+z.1f}; {len(differences)} replicates)"
    yield f"{text}."
