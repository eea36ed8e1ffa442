"""What was asked, down to which density nothing is lost, and what changes at each level."""

from collections.abc import Iterator, Sequence

import pandas as pd

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import NETWORK, Tables, count_networks, levels_of, tested, weights
from workflow_scripts.findings.words import (
    MEASURES,
    NEVER,
    capital,
    change,
    counted,
    decimal,
    joined,
    listed,
    mean_and_sd,
    number,
    one_after_another,
    percent,
    span,
)
from workflow_scripts.plan.keys import REFERENCE
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.plan.replicates import LEAST_REPLICATES
from workflow_scripts.tables.compare_networks import DENSE, UNTESTED
from workflow_scripts.tables.read_tables import detector_rule_of, units_above_rotation

SHOWN = {  # columns of equivalence.csv, and what is ruled out at the levels where they are true
    "no_loss_in_sequence": "a loss as large as the margin",
    "in_sequence": "a change as large as the margin, in either direction,",
}
NOTE = "Mean ± standard deviation over {}."
INTERVALS = (
    "In brackets: the 90 % interval of the difference from dense, for each level alone, without correction for the"
    " number of levels."
)
MARKED = (
    "°: a loss as large as the margin is not ruled out here; tests go from dense to sparse, and ended here or earlier."
)
UNMARKED = f"Losses are not tested with fewer than {LEAST_REPLICATES} replicates."


def asked(tables: Tables, margin: float, accuracy_margin: float) -> Section:
    """The question, and what was measured to answer it."""
    networks = tables["networks"]
    shuffled = tables.arms.loc[tables.arms["recipe"] == "shuffled_labels", "arm"]  # the dense networks again
    is_again = networks["arm"].isin(shuffled)
    count = count_networks(tables, networks[~is_again])
    repeated = len(networks[is_again].drop_duplicates(NETWORK[:3]))
    again = f" ({repeated} of them once more with the labels of other pictures)" if repeated else ""
    iou, rule = detector_rule_of(networks)
    sizes = {layer: sorted(set(rows["units"])) for layer, rows in networks.groupby("layer", sort=False)}
    dissected = listed([f"{layer} ({counted(' or '.join(map(str, units)), 'unit')})" for layer, units in sizes.items()])
    question = (
        "Does pruning cost a network units that a person can name? A unit is a detector (interpretable) if the places"
        f" where it is most active overlap with one concept at IoU {DETECTOR_RULES[rule]} {decimal(iou)}."
        f" Dissected layers: {dissected}, in {counted(count, 'network')}{again}."
    )
    if tables.rotations is not None:
        question += (
            " Units above rotation: the number of detectors among a layer's units, minus the mean number in random"
            " bases of the layer's space."
        )
    fixed = (
        f"The config sets the margins: {percent(margin)} of the dense networks' mean count, and"
        f" {counted(decimal(100 * accuracy_margin), 'percentage point')} of test accuracy. A loss as large as the"
        " margin is ruled out if the whole 90 % interval of the difference from dense lies above minus the margin."
        " Training again, for instance on another machine, gives different networks and different numbers."
    )
    curves = [pruned_to(tables, curve) for curve in tables.curves()]
    return Section("What was asked", [" ".join([question, *curves, fixed])])


def pruned_to(tables: Tables, curve: str) -> str:
    """How many replicates a curve has, and at which densities."""
    replicates = counted(tables.of("networks", curve)["replicate"].nunique(), "replicate")
    densities = [tables.density(curve, level) for level in tables.levels(curve)]
    known = [percent(density) for density in densities if not pd.isna(density)]
    parts = [f"with {joined(known)} of the weights remaining"] if known else []
    if len(known) < len(densities):
        parts.append(f"{counted(len(densities) - len(known), 'level')} of unknown density")
    return f"{capital(tables.called(curve))}: {replicates}, {listed(parts)}."


# Down to which density nothing is lost


def in_short(tables: Tables, curve: str) -> Section:
    """Down to which density nothing is lost, in words and in a table."""
    rows = tables.against_dense(curve)
    compared = tested(rows)
    paragraphs = headlines(rows, [curve])
    table = [["measure", "dense", "margin", "no loss down to", "no change down to"]]
    for (layer, measure), of_one in compared.groupby(["layer", "measure"], sort=False):
        row = of_one.loc[of_one["n"].idxmax()]
        scale = 100 if measure == "accuracy" else 1
        ends = [ended(of_one, column) or NEVER for column in SHOWN]
        name = f"{MEASURES[measure]}{f', {layer}' if layer else ' (%)'}"
        cells = [number(scale * row["mean_against"]), number(scale * row["margin"])]
        table.append([name, *cells, *(end.removesuffix(" of the weights") for end in ends)])
    paragraphs += disagreeing(tables, curve, rows)
    if len(compared):
        count = counted(span(compared["n"].min(), compared["n"].max()), "replicate")
        paragraphs.append(
            f"Each level is compared with the dense network of the same replicate ({count}). Lower or higher than"
            " dense: the 90 % interval of the difference excludes 0 at that level, without correction for the number of"
            " levels. What is ruled out is tested from dense to sparse until a test fails, so that in at most 5 % of"
            " experiments a cell of the table names a level where the true loss, or change, is as large as the margin"
            f" or larger. There is no correction for the number of cells ({2 * (len(table) - 1)})."
        )
    note = (
        "The share of the weights down to which a loss, or a change in either direction, as large as the margin is"
        " ruled out. At no level: there may be a change, or too few data to rule one out."
    )
    return Section(tables.title("In short", curve), paragraphs, table if len(compared) else (), note)


def disagreeing(tables: Tables, curve: str, rows: pd.DataFrame) -> Iterator[str]:
    """At which levels a layer has fewer detectors than dense, but more above rotation: random bases lose even more."""
    for layer in tables.layers(curve):
        of_layer = rows[rows["layer"] == layer]
        fewer, more = (of_layer[of_layer["measure"] == name] for name in ("units", "units_above_rotation"))
        more = more[more["low90"] > 0]
        both = fewer[fewer["high90"] < 0].merge(more[["level", "n"]], on=["level", "n"])
        if len(both):
            yield (
                f"In {layer}, the two counts of units disagree at {levels_of(from_dense(both))}: there are fewer"
                " detectors than in the dense networks, but more above rotation. Random bases lose even more there."
            )


def headlines(equivalence: pd.DataFrame, curves: Sequence[str]) -> list[str]:
    """What is shown to differ from dense, and what is ruled out down to which level: for accuracy and each layer."""
    rows = equivalence[equivalence["arm"].isin(curves) & (equivalence["against"] == "dense")]
    rows = rows.sort_values("level", kind="stable")
    texts = []
    for (arm, layer), of_layer in rows.groupby(["arm", "layer"], sort=False):
        places = ([f"in {layer}"] if layer else []) + ([f"of {arm}"] if len(curves) > 1 else [])
        start = capital(" ".join(places)) + ": " if places else ""
        sentences = [text for text in (differing(of_layer), ruled_out(of_layer) or untested(of_layer)) if text]
        if text := one_after_another(sentences):
            texts.append(start + (text if start else capital(text)))
    return texts


def differing(rows: pd.DataFrame) -> str:
    """Which measures of a layer are below or above those of the dense networks, and at which levels; "" if none is."""
    rows, sentences = tested(rows), []
    for words, side in (("lower than dense in", below), ("higher than dense in", above)):
        parts = []
        for measure, name in MEASURES.items():
            if len(of_one := side(rows[rows["measure"] == measure])):
                sizes = (100 if measure == "accuracy" else 1) * of_one["difference"].abs()
                size = span(sizes.min(), sizes.max())
                size = counted(size, "point") if measure == "accuracy" else size
                parts.append(f"{name} at {levels_of(of_one)} (by {size})")
        if parts:
            sentences.append(f"{words} {joined(parts)}.")
    return one_after_another(sentences)


def below(rows: pd.DataFrame) -> pd.DataFrame:
    """The levels of one measure whose 90 % interval of the difference lies below 0, from dense to sparse."""
    return from_dense(rows[rows["high90"] < 0])


def above(rows: pd.DataFrame) -> pd.DataFrame:
    """The same of those whose interval lies above 0."""
    return from_dense(rows[rows["low90"] > 0])


def from_dense(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one measure in the order of the tests: from dense to sparse, or by level if a density is unknown."""
    known = rows["density"].notna().all()
    return rows.sort_values(["density", "level"], ascending=[False, True]) if known else rows.sort_values("level")


def ended(rows: pd.DataFrame, column: str) -> str | None:
    """The sparsest level of one measure for which a column of `SHOWN` is true; None if there is none."""
    rows = from_dense(rows)
    passed = rows[rows[column].astype(bool)]
    return weights(passed.iloc[-1]) if len(passed) else None


def ruled_out(rows: pd.DataFrame) -> str:
    """Which changes are ruled out in a layer, and down to which level; measures that are not tested are left out."""
    rows = tested(rows)
    of_measures = {measure: of_one for measure in MEASURES if len(of_one := rows[rows["measure"] == measure])}
    sentences = []
    for column, words in SHOWN.items():
        ends: dict[str, list[str]] = {}
        for measure, of_one in of_measures.items():
            end = ended(of_one, column)
            if end is not None:
                ends.setdefault(end, []).append(with_margin(of_one, measure))
        if ends:
            parts = [f"for {listed(names)} down to {end}" for end, names in ends.items()]
            sentences.append(f"{words} is ruled out {'; '.join(parts)}.")
    never = [
        with_margin(of_one, measure)
        for measure, of_one in of_measures.items()
        if all(ended(of_one, column) is None for column in SHOWN)
    ]
    if never:
        sentences.append(f"a loss or change as large as the margin is not ruled out at any level for {listed(never)}.")
    return one_after_another(sentences)


def with_margin(rows: pd.DataFrame, measure: str) -> str:
    """The name of a measure, and its margin: "detectors (margin 8.2)"."""
    margin = rows["margin"].iloc[0]
    size = counted(number(100 * margin), "point") if measure == "accuracy" else number(margin)
    return f"{MEASURES[measure]} (margin {size})"


def untested(rows: pd.DataFrame) -> str:
    """What a comparison with too few replicates leaves open in a layer."""
    units = rows[rows["measure"] == "units"]
    if units.empty:
        return ""
    text = f"changes are not tested with {counted(int(units['n'].max()), 'replicate')}"
    least, most = units["smallest_change"].min(), units["smallest_change"].max()
    if pd.isna(least):
        return f"{text}, and it is unknown how much another training run would change."
    return f"{text}; no change of less than {counted(span(least, most), 'detector')} could have been ruled out."


# What changes at each level


def changed(tables: Tables, curve: str) -> Iterator[Section]:
    """What a curve has at each level, and what it loses or gains: first accuracy, then each layer."""
    rows = tables.against_dense(curve)
    networks = tables.of("networks", curve)
    accuracy = 100 * networks.drop_duplicates(NETWORK[:3])["test_accuracy"]
    if accuracy.notna().any():
        of_accuracy = rows[rows["measure"] == "accuracy"]
        table, note = table_of(tables, curve, {"accuracy": accuracy}, of_accuracy)
        paragraphs = [*lost_or_gained(of_accuracy, "accuracy"), *without_pruning(tables, curve, "")]
        yield Section(tables.title("Test accuracy", curve), paragraphs, table, note)
    for layer in tables.layers(curve):
        of_layer, own = rows[rows["layer"] == layer], networks[networks["layer"] == layer]
        values = {"units": own["detectors_a"], "concepts": own["concepts_a"]}
        if tables.rotations is not None:
            above = units_above_rotation(own, tables.rotations)
            values |= {"units_above_rotation": above} if above.notna().any() else {}
        paragraphs = beside_rotation(tables, curve, layer, values)
        for measure in values:
            paragraphs += lost_or_gained(of_layer[of_layer["measure"] == measure], measure)
        paragraphs += noise(tables, curve, layer)
        table, note = table_of(tables, curve, values, of_layer)
        yield Section(tables.title(f"What changes in {layer}", curve), paragraphs, table, note)


def beside_rotation(tables: Tables, curve: str, layer: str, values: dict[str, pd.Series]) -> list[str]:
    """How many directions of a random basis would count as detectors, against the units, at three levels."""
    if "units_above_rotation" not in values:
        return []
    networks = tables.of("networks", curve, layer)
    of_levels = pd.DataFrame(values)[values["units_above_rotation"].notna()].groupby(networks["level"]).mean()
    means = of_levels[of_levels["units"] > 0]
    parts = [
        f"{number(units - above)} against {number(units)} at {tables.weights(curve, level)}"
        for level in tables.three_levels(curve, set(means.index))
        for units, above in [means.loc[level, ["units", "units_above_rotation"]]]
    ]
    if not parts:
        return []
    text = (
        "Random directions can be detectors, too. The mean number of detectors in a random basis of the units' space,"
        f" against that of the units, is {listed(parts)}. Only the difference, units above rotation, says something"
        " about the units themselves."
    )
    first = tables.levels(curve)[0]
    if first in of_levels.index and of_levels.at[first, "units_above_rotation"] <= 0:
        text += f" In {tables.first_networks(curve)} this difference is not above 0, so there is none to lose."
    return [text]


def lost_or_gained(rows: pd.DataFrame, measure: str) -> list[str]:
    """At which levels the interval of a measure is below or above 0; empty if there are too few replicates to test."""
    tested_rows = rows[rows["shown"] != UNTESTED]
    if tested_rows.empty:
        return []
    name = capital(MEASURES[measure])
    fewer, more = ("lower", "higher") if measure == "accuracy" else ("fewer", "more")
    sentences = []
    for words, of_kind in ((fewer, below(tested_rows)), (more, above(tested_rows))):
        if len(of_kind):
            most = of_kind.loc[of_kind["difference"].abs().idxmax()]
            which = f"; most at {weights(most)}" if len(of_kind) > 1 else ""
            sentences.append(f"{words} than dense at {levels_of(of_kind)}{which}: {change(most)}.")
    if not sentences:
        every = "every level" if len(tested_rows) == len(rows) else "every level with enough replicates"
        return [f"{name}: the 90 % interval of the difference from dense includes 0 at {every}."]
    return [f"{name}: {one_after_another(sentences)}"]


def noise(tables: Tables, curve: str, layer: str) -> Iterator[str]:
    """How other dense networks differ, and how far the intervals reach."""
    yield from without_pruning(tables, curve, layer)
    rows = tables.against_dense(curve)
    rows = rows[(rows["measure"] == "units") & (rows["layer"] == layer) & rows["smallest_change"].notna()]
    if len(rows):
        size = span(rows["smallest_change"].min(), rows["smallest_change"].max())
        by_level = ", depending on the level," if "to" in size else ","
        yield (
            f"The 90 % intervals for the number of detectors reach {counted(size, 'detector')} to each side{by_level}"
            " so no smaller margin could have been met in both directions. The margin is"
            f" {number(rows['margin'].iloc[0])}."
        )


def without_pruning(tables: Tables, curve: str, layer: str) -> Iterator[str]:
    """How references of one level, such as the dense network trained again, differ; layer "" stands for accuracy."""
    arms = tables.arms[(tables.arms["role"] == REFERENCE) & (tables.arms["base"] == tables.base(curve))]
    for arm in arms["arm"]:
        rows = tables.against_dense(arm)
        rows = rows[(rows["n"] > 1) & (rows["layer"] == layer) & ~(rows["density"] < DENSE)]
        if len(rows) and tables.of("networks", arm)["level"].nunique() == 1:
            changes = [
                ("above rotation " if row["measure"] == "units_above_rotation" else "") + change(row)
                for row in rows.to_dict("records")
            ]
            yield f"Without pruning ({tables.called(arm)}): {listed(changes)}."


def table_of(
    tables: Tables, curve: str, values: dict[str, pd.Series], rows: pd.DataFrame
) -> tuple[list[list[str]], str]:
    """Means and intervals at each level, marked where a loss is not ruled out, and the note that explains them.

    Args:
        tables: the experiment's tables.
        curve: the arm.
        values: the values of each measure, indexed like networks.csv.
        rows: the rows of equivalence.csv for these measures.
    """
    table = [["weights", *(MEASURES[measure] + (" (%)" if measure == "accuracy" else "") for measure in values)]]
    level_of = tables["networks"]["level"]
    any_tested = (rows["shown"] != UNTESTED).any()
    for level in tables.levels(curve):
        cells = [tables.share(curve, level)]
        for measure, column in values.items():
            cell = mean_and_sd(column[level_of[column.index] == level])
            compared = rows[(rows["measure"] == measure) & (rows["level"] == level)]
            if any_tested and level > 0 and cell != "-":
                scale = 100 if measure == "accuracy" else 1
                for low, high in (scale * compared[["low90", "high90"]]).dropna().itertuples(index=False):
                    cell += f" ({low:+z.1f} to {high:+z.1f})"
                cell += "" if compared["no_loss_in_sequence"].all() or compared["margin"].isna().any() else "\u00a0°"
            cells.append(cell)
        table.append(cells)
    cells = [cell for cells in table for cell in cells]
    replicates = tables.of("networks", curve).groupby("level")["replicate"].nunique()
    notes = {
        NOTE.format(counted(span(replicates.min(), replicates.max()), "replicate")): any("±" in cell for cell in cells),
        INTERVALS: any_tested,
        MARKED: any(cell.endswith("°") for cell in cells),
        UNMARKED: len(rows) and not any_tested,
    }
    return table, " ".join(words for words, holds in notes.items() if holds)
