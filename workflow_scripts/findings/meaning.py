"""What the counts mean: whether units follow accuracy or sparsity, whether they stay the same, and what they do."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables
from workflow_scripts.findings.words import change, counted, listed, mean_and_sd, number, percent, share
from workflow_scripts.plan.replicates import LEAST_REPLICATES
from workflow_scripts.shared.concept_names import shown_name
from workflow_scripts.tables.statistics import fisher_difference, half_width
from workflow_scripts.tables.statistics import mean_and_sd as mean_and_sd_of

NO_CAUSES = (
    "These are associations, not causes: arms differ in their masks and starting points, and their accuracy was not"
    " assigned."
)
VERDICTS = {
    "accuracy": "detectors follow accuracy (equivalent at equal accuracy, different at equal density)",
    "sparsity": "detectors follow sparsity (equivalent at equal density, different at equal accuracy)",
    "neither": "neither alone explains the difference (detectors differ at equal accuracy and at equal density)",
    "cannot tell": "detectors are equivalent both ways",
    "undecided": (
        "it is undecided (an interval lies neither within the margin nor beyond it, or too few replicates can be"
        " compared)"
    ),
    "no overlap": "the arm has no network known to be as accurate, or none known to be as dense",
}
DECIDED = ("accuracy", "sparsity", "neither")  # verdicts whose arms are named
WITHOUT_PRUNING = {  # `against` of a dense network in identity.csv: what is compared
    "other_half": "between two halves of the pictures",
    "dense_again": "between the dense network and the same network trained again",
    "other_replicate": "between two replicates",
}
CONCEPTS_NAMED = 30
SMALL_P = 0.05
ABLATION_NOTE = (
    "Pairs: a class and a network that detects it; each level has its own. Units: the mean number switched off per"
    " pair. Then changes of accuracy in percentage points: means over the pairs of a replicate, then mean ± standard"
    " deviation over replicates. p ≤ 0.05: the share of pairs with such a p; of the detectors themselves and random"
    " sets of as many live units, p is the share that costs the class at least as much."
)


def accuracy_or_sparsity(tables: Tables, curve: str, layer: str) -> Section:
    """Whether the detectors of a layer follow accuracy or density, by comparison with matched arms."""
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
            decided.append(f"in {len(of_kind)}, {words}" + (f": {listed(which)}" if kind in DECIDED else ""))
    text = (
        f"Each level of {tables.called(curve)} is compared with each other arm, interpolated to the same accuracy and"
        f" to the same density. Of {counted(len(pairs), 'comparison')}: {'; '.join(decided)}. There is no correction"
        " for their number."
    )
    paragraphs = [text, correlated(tables, curve, layer), NO_CAUSES]
    table = [["compared with", "at equal accuracy", "at equal density"]]
    for arm, of_arm in rows.groupby("arm", sort=False):
        table.append([tables.called(arm), *(matched(tables, curve, of_arm, by) for by in ("accuracy", "density"))])
    note = (
        f"How {tables.called(curve)} differs from the arm, at the sparsest level where at least {LEAST_REPLICATES}"
        " replicates can be compared; -: there is no such level."
    )
    return Section(title, [text for text in paragraphs if text], table, note)


def matched(tables: Tables, curve: str, rows: pd.DataFrame, by: str) -> str:
    """The cell of an arm: how a curve differs from it at equal accuracy or density, at the sparsest level."""
    rows = rows[(rows["matched_by"] == by) & (rows["n"] >= LEAST_REPLICATES)]
    if rows.empty:
        return "-"
    level = max(rows["level"], key=tables.levels(curve).index)
    return f"{change(rows[rows['level'] == level].iloc[0])} at {tables.weights(curve, level)}"


def correlated(tables: Tables, curve: str, layer: str) -> str:
    """The partial rank correlations of detectors with accuracy and with density, over all networks of a replicate."""
    rows = tables["correlations"]
    rows = rows[(rows["base"] == curve) & (rows["layer"] == layer) & (rows["measure"] == "units")]
    differences = fisher_difference(rows["with_accuracy"], rows["with_density"])
    rows, differences = rows[~np.isnan(differences)], differences[~np.isnan(differences)]
    if (ends := interval_of(differences)) is None:
        return ""
    low, high = ends
    accuracy, density = rows["with_accuracy"].mean(), rows["with_density"].mean()
    verdict = (
        "detectors follow accuracy more than density"
        if low > 0 and accuracy > 0
        else "detectors follow density more than accuracy"
        if high < 0 and density > 0
        else "it is not shown that detectors follow one of the two more than the other"
    )
    return (
        f"Over all networks whose accuracy and density are known, {verdict}. Their rank correlation is {accuracy:z.2f}"
        f" with accuracy (density held fixed) and {density:z.2f} with density (accuracy held fixed); these are means of"
        f" {counted(len(rows), 'replicate')}. The 90 % interval of the difference on Fisher's scale is {low:z.2f} to"
        f" {high:z.2f}."
    )


def interval_of(differences: Sequence[float]) -> tuple[float, float] | None:
    """The 90 % interval of the mean difference; None if there are too few, or if all are equal (unknown spread)."""
    if len(differences) < LEAST_REPLICATES:
        return None
    mean, sd = mean_and_sd_of(differences, 0)
    if sd == 0:
        return None
    half = half_width(sd, len(differences))
    return float(mean - half), float(mean + half)


# Identity


def same_units(tables: Tables, curve: str) -> Section:
    """Whether the same units detect the same concepts, compared with the agreement without pruning."""
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


UNITS_AGREE = (
    "Of the units that are detectors both in the dense network and after pruning, {} keep their concept (means over"
    " replicates)."
)
CONCEPTS_AGREE = "Of the concepts that the dense or the pruned network detects, {} are detected by both."


def agreeing(tables: Tables, curve: str, chain: pd.DataFrame, dense: pd.DataFrame, column: str, sentence: str) -> str:
    """The share that agrees at each of three levels, in a sentence, and the share that agrees without pruning."""
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
    """How many units a share of same names is of, which may be few: " (of 15.2 units)"; empty for other shares."""
    return f" (of {counted(number(rows['common'].mean()), 'unit')})" if column == "same_name" else ""


def kept_concepts(tables: Tables, curve: str) -> Iterator[Section]:
    """Which concepts stay, by name, and how many of each category, in a section for each layer."""
    units = tables.of("units", curve)
    units = units[units["detector"].astype(bool)]
    for layer in tables.layers(curve):
        if len(of_layer := units[units["layer"] == layer]):
            title = tables.title(f"Which concepts are kept in {layer}", curve)
            note = f"Unique concepts of each category in {layer}, means over replicates."
            yield Section(title, [followed(tables, curve, layer, of_layer)], by_category(tables, curve, layer), note)


def followed(tables: Tables, curve: str, layer: str, units: pd.DataFrame) -> str:
    """What becomes of the concepts that every replicate detects at the first level; `units` are the detectors."""
    name = pd.Series(list(map(shown_name, units["label"], units["category"])), units.index)
    categories = units.groupby(name)["category"].nunique()
    name = name.where(name.map(categories) == 1, name + " (" + units["category"] + ")")
    have = units.assign(name=name).groupby(["level", "name"])["replicate"].nunique()
    networks = tables.of("networks", curve, layer)
    replicates = networks.groupby("level")["replicate"].nunique()
    first, *later = tables.three_levels(curve, set(replicates.index))
    always = [name for name in sorted(set(name)) if have.get((first, name), 0) == replicates[first]]
    each = f"each of {replicates[first]} replicates" if replicates[first] > 1 else "the one replicate"
    if not always:
        return f"No concept is detected in {each} of {tables.first_networks(curve)}."
    sentences = [
        f"{counted(len(always), 'concept')} {'is' if len(always) == 1 else 'are'} detected in {each} of"
        f" {tables.first_networks(curve)}: {listed(always, CONCEPTS_NAMED)}."
    ]
    for level in later:
        kept = [name for name in always if have.get((level, name), 0) == replicates[level]]
        gone = [name for name in always if have.get((level, name), 0) == 0]
        some = [name for name in always if name not in (*kept, *gone)]
        words = [in_brackets(kept, "in each replicate"), in_brackets(some, "in some"), in_brackets(gone, "in none")]
        place = tables.weights(curve, level)
        if replicates[level] != replicates[first]:
            place += f" ({counted(replicates[level], 'replicate')})"
        sentences.append(f"Of these, at {place}: {', '.join(words)}.")
    return " ".join(sentences)


def in_brackets(names: list[str], words: str) -> str:
    """The number of concepts, where they are, and their names: "2 in some (hull and scales)"."""
    return f"{len(names)} {words}" + (f" ({listed(names, CONCEPTS_NAMED)})" if names else "")


def by_category(tables: Tables, curve: str, layer: str) -> list[list[str]]:
    """The mean number of concepts of each category at each level, as a table."""
    rows = tables.of("categories", curve, layer)
    means = rows.pivot_table(index="level", columns="category", values="concepts_a", aggfunc="mean")
    table = [["weights", *means.columns]]
    for level in tables.levels(curve):
        if level in means.index:
            table.append([tables.share(curve, level), *(number(mean) for mean in means.loc[level])])
    return table


# Ablation


def causes(tables: Tables, curve: str) -> Iterator[Section]:
    """What happens to a class when its own detectors are switched off, in a section for each layer."""
    if "ablation" not in tables.frames:
        return
    rows, title = tables.of("ablation", curve), "What the units do"
    if rows.empty and len(tables.of("classes", curve)):
        text = "No class is a concept that a unit detects, so nothing could be switched off."
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
            "Switching off the units that detect a class changes the mean accuracy of that class, in percentage points,"
            f" by {listed(parts)}."
        )
        paragraphs = [text, *same_pairs(tables, curve, of_layer)]
        yield Section(tables.title(f"{title} in {layer}", curve), paragraphs, table, ABLATION_NOTE)


def same_pairs(tables: Tables, curve: str, rows: pd.DataFrame) -> Iterator[str]:
    """How the change of a class differs between the first and the middle level, in pairs that both have."""
    pair, level = ["replicate", "class"], tables.middle_level(curve)
    dense, pruned = (rows[rows["level"] == one] for one in (tables.levels(curve)[0], level))
    both = dense.merge(pruned, on=pair, suffixes=("", "_pruned"))
    if both.empty:
        return
    differences = (100 * (both["own_pruned"] - both["own"])).groupby(both["replicate"]).mean()
    first, pruned_level = tables.first_networks(curve), tables.weights(curve, level)
    text = (
        f"In the {counted(len(both), 'pair')} of a class and a replicate with such units both in"
        f" {first} and at {pruned_level}, the change at {pruned_level} minus that in {first} is"
        f" {differences.mean():+z.1f} points"
    )
    if ends := interval_of(differences):
        text += f" (90 % interval: {ends[0]:+z.1f} to {ends[1]:+z.1f}; {len(differences)} replicates)"
    yield f"{text}."
