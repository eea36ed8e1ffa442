"""What an experiment has found, in words: every sentence follows from its tables, and says no more than they do."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workflow_scripts.plan.keys import BASELINE, CURVE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.tables.arms import name_arms, read_arms
from workflow_scripts.tables.read_tables import detector_rule_of, farthest, read_rotations, read_table

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
TABLE_NOTE = "Mean ± standard deviation of the replicates; ° where equivalence is not shown from dense down to here"


class Section(NamedTuple):
    """A heading, paragraphs, and a table: rows of cells, the first its columns' names; without rows there is none."""

    title: str
    paragraphs: list[str]
    table: list[list[str]] = []


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
    sections = [asked(tables, margin, accuracy_margin)]
    for curve in tables.curves():
        for layer in tables["networks"]["layer"].unique():
            sections.append(found(tables, curve, layer))
        sections += [
            how_sure(tables, curve),
            accuracy_or_sparsity(tables, curve),
            same_units(tables, curve),
            causes(tables, curve),
            other_choices(tables, curve),
        ]
    sections.append(not_told(tables))
    return [section for section in sections if section.paragraphs or section.table]


def asked(tables: Tables, margin: float, accuracy_margin: float) -> Section:
    """The question, and what was measured to answer it."""
    networks = tables["networks"]
    iou, rule = detector_rule_of(networks)
    layers = networks.drop_duplicates("layer")
    dissected = listed([f"{layer} ({units} units)" for layer, units in layers[["layer", "units"]].to_numpy()])
    sentences = [
        "Does pruning cost a network units that a person can name? A unit counts as interpretable if the places where it"
        f" is most active overlap with one concept, IoU {DETECTOR_RULES[rule]} {iou:g}.",
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


def found(tables: Tables, curve: str, layer: str) -> Section:
    """Down to which density nothing is lost in a layer, and what is lost beyond."""
    rows = tables["equivalence"]
    rows = rows[(rows["arm"] == curve) & (rows["against"] == "dense") & rows["layer"].isin([layer, ""])]
    several = len(tables.curves()) > 1
    title = f"What was found in {layer}" + (f" of {tables.called(curve)}" if several else "")
    paragraphs = [down_to(rows), *(beyond(of_measure, name) for name, of_measure in by_measure(rows))]
    return Section(title, [text for text in paragraphs if text], table_of(tables, curve, layer, rows))


def by_measure(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The measures that there are, in the order of `MEASURES`, with their rows from dense downwards."""
    for measure in MEASURES:
        of_measure = rows[rows["measure"] == measure]
        if len(of_measure):
            yield measure, of_measure.sort_values("level")


def down_to(rows: pd.DataFrame) -> str:
    """The sparsest level of an unbroken sequence that is shown, of each measure."""
    if rows.empty or (rows["shown"] == "not testable").all():
        return ""
    shown = {True: [], False: []}
    for measure, of_measure in by_measure(rows):
        passed = of_measure[of_measure["in_sequence"]]
        if len(passed):
            shown[True].append(f"{MEASURES[measure]} down to {percent(passed['density'].iloc[-1])} of the weights")
        else:
            shown[False].append(MEASURES[measure])
    claim = "not to fall" if (rows["test"] == "noninferiority").all() else "not to change"
    sentences = []
    if shown[True]:
        sentences.append(f"Shown {claim} by more than the margin: {listed(shown[True])}.")
    if shown[False]:
        sentences.append(f"Not shown for any level: {listed(shown[False])}.")
    n = int(rows["n"].max())
    sentences.append(
        f"({counted(n, 'replicate')}, paired; level after level from the dense network on, so that each of these claims is"
        " wrong with a probability of at most 5 %.)"
    )
    return " ".join(sentences)


def beyond(rows: pd.DataFrame, measure: str) -> str:
    """What is known of the first level that is not shown, and of the first at which a loss is."""
    testable = rows[rows["shown"] != "not testable"]
    if testable.empty:
        return ""
    called = MEASURES[measure]
    failed = testable[~testable["in_sequence"]]
    sentences = []
    if len(failed):
        first = failed.iloc[0]
        sentences.append(f"{capital(called)} at {percent(first['density'])}: {change(first)}.")
        lost = failed[failed["high90"] < 0]
        later = lost[lost["level"] > first["level"]]
        if first["high90"] >= 0 and len(later):
            row = later.iloc[0]
            sentences.append(f"The first level with a loss beyond doubt is {percent(row['density'])}: {change(row)}.")
        last = failed.iloc[-1]
        if last["level"] > (later.iloc[0]["level"] if len(later) else first["level"]):
            sentences.append(f"At {percent(last['density'])}: {change(last)}.")
    return " ".join(sentences)


def table_of(tables: Tables, curve: str, layer: str, rows: pd.DataFrame) -> list[list[str]]:
    """Means and standard deviations of a layer at each level; marked where the sequence of a measure has ended."""
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
            ended = len(row) and row["shown"].iloc[0] != "not testable" and not row["in_sequence"].iloc[0]
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
            f"The dense network trained once more, with its data in another order, has in {row['layer']}"
            f" {change(row)}, standard deviation {number(row['sd'])}."
        )
    if sentences:
        yield "Noise of training. " + " ".join(sentences)
    of_curve = counts[(counts["arm"] == curve) & counts["smallest_change"].notna()]
    for layer, of_layer in of_curve.groupby("layer", sort=False):
        few = (of_layer["shown"] == "not testable").all()
        n, least, most = int(of_layer["n"].max()), of_layer["smallest_change"].min(), of_layer["smallest_change"].max()
        size = number(least) if number(least) == number(most) else f"{number(least)} to {number(most)}"
        start = f"With {counted(n, 'replicate')} equivalence cannot be tested in {layer}; a" if few else f"In {layer} a"
        yield f"{start} change of less than {size} units, depending on the level, could not have been ruled out."
    if counts[counts["arm"] == curve].empty or (counts.loc[counts["arm"] == curve, "n"] < 2).all():
        yield "With 1 replicate nothing can be said of how much another training would change."


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
            f"Pictures. In {layer} of the dense networks {percent(dense['keep'].mean(), 2)} of the units that one half of"
            f" the pictures finds interpretable are so on the other half, under the same name;"
            f" {percent(dense['agreement'].mean(), 2)} of those interpretable on both get the same name from each. Other"
            f" pictures of the same kind would change the count of a network by {number(dense['units_sd'].mean())} units"
            " (standard deviation)."
        )


def accuracy_or_sparsity(tables: Tables, curve: str) -> Section:
    """Whether units follow accuracy or density, by arms that are matched."""
    rows = tables["matched"]
    rows = rows[(rows["imp_arm"] == curve) & (rows["measure"] == "units")]
    paragraphs = []
    for layer, of_layer in rows.groupby("layer", sort=False):
        sentences = []
        for arm, of_arm in of_layer.groupby("arm", sort=False):
            decided = of_arm.drop_duplicates("level")
            decided = decided[decided["follows"].isin(["accuracy", "sparsity", "neither", "cannot tell"])]
            for verdict, of_verdict in decided.groupby("follows", sort=False):
                shown = of_verdict.iloc[-1]
                at = of_arm[of_arm["level"] == shown["level"]].set_index("matched_by")
                sentences.append(
                    f"{capital(tables.called(arm))}: {VERDICTS[verdict]} at {counted(len(of_verdict), 'level')}; at the"
                    f" sparsest of them {percent(density_of(tables, curve, shown['level']))},"
                    f" {' and '.join(matched_by(at, by) for by in ('accuracy', 'density') if by in at.index)}."
                )
        undecided = of_layer[of_layer["follows"].isin(["undecided", "no overlap"])]
        pairs = undecided.drop_duplicates(["arm", "level"])
        if len(pairs):
            counts = pairs["follows"].value_counts()
            parts = [f"{counts[kind]} {kind}" for kind in ("undecided", "no overlap") if kind in counts]
            total = len(of_layer.drop_duplicates(["arm", "level"]))
            sentences.append(f"Of {counted(total, 'pair')} of arm and level, {' and '.join(parts)}.")
        if sentences:
            paragraphs.append(f"In {layer}. " + " ".join(sentences))
    if paragraphs:
        paragraphs.append(
            "Arms differ in their masks and in what they start from; their accuracy was not assigned: these are"
            " associations, and no causes."
        )
    return Section("Does it go with accuracy, or with sparsity?", paragraphs)


VERDICTS = {
    "accuracy": "as many units at equal accuracy, not at equal density, so that they go with accuracy",
    "sparsity": "as many units at equal density, not at equal accuracy, so that they go with sparsity",
    "cannot tell": "as many units at equal accuracy and at equal density, so that this arm cannot tell",
    "neither": "another number of units at equal accuracy and at equal density, so that neither explains it alone",
}


def matched_by(rows: pd.DataFrame, by: str) -> str:
    """The difference at equal accuracy or density, in words."""
    return f"at equal {by} pruning has {change(rows.loc[by])}"


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
                f"at {percent(density_of(tables, curve, level))} of the weights {share(of_level['same_name'])} of the"
                f" units that are interpretable before and after, and {share(of_level['jaccard'])} of the concepts of"
                " either"
            )
        ceilings = []
        for against, words in CEILINGS.items():
            dense = of_layer[(of_layer["against"] == against) & (of_layer["level"] == 0)]
            names = f"{share(dense['same_name'])} of the units, " if dense["same_name"].notna().any() else ""
            if dense["jaccard"].notna().any():
                ceilings.append(f"{words} {names}{share(dense['jaccard'])} of the concepts")
        text = f"In {layer} the dense network's names are kept by: {'; '.join(parts)}."
        if ceilings:
            text += f" For comparison, without any pruning: {'; '.join(ceilings)}."
        paragraphs.append(text)
    return Section("Are they the same units and concepts?", paragraphs)


CEILINGS = {
    "other_half": "the same network, named on the other half of the pictures, keeps",
    "dense_again": "the dense network trained again shares",
    "other_replicate": "another replicate shares",
}


def causes(tables: Tables, curve: str) -> Section:
    """What happens to a class when its own detectors are switched off."""
    if "ablation" not in tables.frames:
        return Section("What the units do", [])
    rows = tables["ablation"]
    rows = rows[rows["arm"] == curve]
    if rows.empty:
        return Section(
            "What the units do", ["No class is a concept that a unit detects: nothing could be switched off."]
        )
    paragraphs = []
    for layer, of_layer in rows.groupby("layer", sort=False):
        parts = []
        for level in dict.fromkeys([of_layer["level"].min(), middle_level(tables, curve), of_layer["level"].max()]):
            of_level = of_layer[of_layer["level"] == level]
            if of_level.empty:
                continue
            parts.append(
                f"at {percent(density_of(tables, curve, level))} of the weights the class loses"
                f" {points(-of_level['own'].mean())} of its accuracy, the others {points(-of_level['others'].mean())};"
                f" as many random units cost the class {points(-of_level['random_own_mean'].mean())}"
                f" ({counted(len(of_level), 'pair')} of class and network, {percent((of_level['p'] <= 0.05).mean(), 2)} of"
                f" them with p at most 0.05, {number(of_level['units'].mean())} units each)"
            )
        paragraphs.append(f"In {layer}, if the units that detect a class are switched off: {'; '.join(parts)}.")
    return Section("What the units do", paragraphs)


def other_choices(tables: Tables, curve: str) -> Section:
    """How far the counts hold under other choices of the dissection."""
    rows = tables["sweep"]
    rows = rows[rows["arm"] == curve]
    paragraphs = []
    for layer, of_layer in rows.groupby("layer", sort=False):
        parts = []
        for choice, of_choice in of_layer.groupby("choice", sort=False):
            ends = {value: kept_down_to(tables, curve, of_value) for value, of_value in of_choice.groupby("value")}
            if len(ends) > 1:
                words = [f"{value}: {end}" for value, end in sorted(ends.items(), key=lambda item: sort_key(item[0]))]
                parts.append(f"by {CHOICES[choice]} {', '.join(words)}")
        if parts:
            paragraphs.append(
                f"In {layer} the mean number of units stays above 90 % of the dense networks' down to these shares of the"
                f" weights, {'; '.join(parts)}."
            )
    return Section("Does it hang on how units are counted?", paragraphs)


CHOICES = {"detector_iou": "IoU threshold", "quantile": "quantile", "protocol": "protocol", "knots": "knots"}


def sort_key(value: object) -> tuple:
    """Numbers by size, then words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, str(value)


def kept_down_to(tables: Tables, curve: str, rows: pd.DataFrame) -> str:
    """The sparsest level of an unbroken sequence whose mean is above 90 % of dense, in per cent of the weights."""
    means = rows.groupby("level")["detectors_a"].mean()
    if means.empty or not means.iloc[0]:
        return "none detected"
    kept = (means / means.iloc[0] > 0.9).cumprod()
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
                f"At some levels the test had a power of less than 80 % for {measures}{where}: that it is not shown there"
                " does not mean that there is a change."
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
    """The level of a curve nearest to a tenth of the weights, where the paper sees the end of what pruning leaves whole."""
    networks = tables["networks"]
    density = networks[(networks["arm"] == curve) & (networks["level"] > 0)].groupby("level")["density"].mean()
    return int((density - 0.1).abs().idxmin())


def change(row: pd.Series | dict) -> str:
    """A difference with its interval, of a count or of accuracy."""
    scale, unit = (100, " points") if row.get("measure") == "accuracy" else (1, "")
    difference, low, high = (scale * row[column] for column in ("difference", "low90", "high90"))
    word = "fewer" if scale == 1 else "less"
    if number(difference) in ("0", "-0"):
        text = f"no change{unit and ' of accuracy'} in the mean"
    else:
        text = f"{number(abs(difference))}{unit} {'more' if difference > 0 else word}"
    if pd.isna(low):
        return text
    return f"{text} (90 % interval: {interval(low, high, word)})"


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
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float, digits: int = 3) -> str:
    """A share in per cent, with so many digits: "12.5 %"."""
    return "-" if pd.isna(share) else f"{100 * share:.{digits}g} %"


def share(values: pd.Series) -> str:
    """The mean of shares, in per cent: "49 %"."""
    return percent(values.mean(), 2)


def points(value: float) -> str:
    """A change of accuracy, in percentage points."""
    return f"{number(100 * value)} points"


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
            lines += ["", f"*{TABLE_NOTE}*", ""]
    return "\n".join(lines)


def headlines(equivalence: pd.DataFrame) -> list[str]:
    """What was found, a sentence or two for each curve and layer that is compared with its dense networks."""
    rows = equivalence[equivalence["against"] == "dense"]
    lines = []
    for (arm, layer), of_layer in rows[rows["layer"] != ""].groupby(["arm", "layer"], sort=False):
        with_accuracy = rows[(rows["arm"] == arm) & rows["layer"].isin([layer, ""])]
        text = down_to(with_accuracy)
        if text and (of_layer["level"] > 0).sum() > 1:
            lines.append(f"{arm}, {layer}. {text}")
    return lines
