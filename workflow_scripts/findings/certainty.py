"""How sure the findings are: what chance and other pictures would give, and what remains open."""

from collections.abc import Iterator

import pandas as pd

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables, count_networks, levels_of
from workflow_scripts.findings.words import MEASURES, capital, counted, listed, number, percent, share
from workflow_scripts.plan.keys import BASELINE
from workflow_scripts.plan.replicates import LEAST_REPLICATES
from workflow_scripts.plan.rotations import RECIPE as ROTATED
from workflow_scripts.tables.arms import AGAIN
from workflow_scripts.tables.compare_networks import NO_LOSS
from workflow_scripts.tables.statistics import EQUIVALENT

ENOUGH_POWER = 0.8


def how_sure(tables: Tables, curve: str) -> Section:
    """What chance and other pictures would give."""
    paragraphs = [*chance(tables, curve), *halves(tables, curve)]
    return Section(tables.title("How sure this is", curve), paragraphs)


def chance(tables: Tables, curve: str) -> Iterator[str]:
    """How many units match their concept better than chance, and how many detectors chance gives."""
    networks = tables["networks"]
    networks = networks[networks["detectors_fdr"].notna()]
    base = tables.base(curve)
    of_base = networks[networks["arm"].map(tables.arms.set_index("arm")["base"]) == base]
    untrained = [arm for recipe in ("untrained", "untrained_calibrated") for arm in tables.with_recipe(recipe, base)]
    for layer, of_layer in of_base.groupby("layer", sort=False):
        of_curve = of_layer[of_layer["arm"] == curve]
        found = [level for level in tables.levels(curve) if level in set(of_curve["level"])]
        if not found:
            continue
        ends = {level: of_curve[of_curve["level"] == level] for level in dict.fromkeys([found[0], found[-1]])}
        words = [
            f"{number(rows['detectors_fdr'].mean())} at {tables.weights(curve, level)}" for level, rows in ends.items()
        ]
        text = (
            f"Chance. In {layer} ({counted(of_curve['units'].iloc[0], 'unit')}), the mean number of units that match"
            f" their concept better than chance (false discovery rate 5 %) is {listed(words)}"
        )
        means = {arm: of_layer.loc[of_layer["arm"] == arm, "detectors_fdr"].mean() for arm in untrained}
        means = {arm: mean for arm, mean in means.items() if not pd.isna(mean)}
        if means:
            text += "; " + listed([f"{number(mean)} in {tables.called(arm)} networks" for arm, mean in means.items()])
            if max(means.values()) >= 1:
                text += ". Such a match alone therefore does not make a unit a detector"
        text += "."
        by_chance = ends[found[0]]["chance_detectors"].mean()
        if not pd.isna(by_chance) and found[0] == tables.levels(curve)[0]:
            text += (
                f" With permuted labels, {tables.first_networks(curve)} would have a mean of"
                f" {counted(number(by_chance, 2), 'detector')}."
            )
        few = of_layer[of_layer["detectors_fdr"] < of_layer["fewest_fdr"]]
        if len(few):
            text += (
                f" The number of permutations limits the test: it can find"
                f" {counted(int(few['fewest_fdr'].max()), 'such unit')} or more in a network, or none. It finds none in"
                f" {counted(count_networks(tables, few), 'network')}"
                f" ({'; '.join(tables.called(arm) for arm in few['arm'].unique())})."
            )
        yield text


def halves(tables: Tables, curve: str) -> Iterator[str]:
    """What other pictures would have given."""
    first = tables.levels(curve)[0]
    for layer, dense in tables.of("split", curve, level=first).groupby("layer", sort=False):
        if dense["keep"].isna().all():
            continue
        text = (
            f"Pictures. In {layer} of {tables.first_networks(curve)}, {share(dense['keep'])} of the detectors on one"
            " half of the pictures detect the same concept on the other half"
        )
        if dense["agreement"].notna().any():
            text += f"; {share(dense['agreement'])} of the detectors on both halves get the same name from each"
        text += (
            ". With other pictures of the same kind, the count of a network would vary by"
            f" {counted(number(dense['units_sd'].mean()), 'detector')} (standard deviation)"
        )
        if (tables.against_dense(curve)["n"] >= LEAST_REPLICATES).any():
            text += (
                "; the intervals above include only part of this, because all networks are dissected with the same"
                " pictures"
            )
        yield f"{text}."


# What remains open


def left_open(tables: Tables) -> Section:
    """What the experiment leaves open."""
    curves = tables.curves()
    paragraphs = []
    for curve in curves:
        start = f"{capital(tables.called(curve))}: " if len(curves) > 1 else ""
        if text := " ".join(open_questions(tables, curve)):
            paragraphs.append(start + text)
    last = "Networks of another architecture, or trained on other pictures, may behave differently."
    if not curves:
        last = f"No arm has both dense networks and pruned levels, so nothing is said here about pruning. {last}"
    return Section("What remains open", [*paragraphs, last])


def open_questions(tables: Tables, curve: str) -> Iterator[str]:
    """What the experiment leaves open about a curve, in sentences."""
    networks, rows = tables.of("networks", curve), tables.against_dense(curve)
    base, called = tables.base(curve), tables.called(curve)
    if rows.empty:
        yield "No level is compared with dense networks, so it is unknown what pruning changes."
    elif (rows["n"] < LEAST_REPLICATES).all():
        count = counted(int(rows["n"].max()), "replicate")
        yield f"Equivalence is not tested with {count}: use at least {LEAST_REPLICATES}."
    weak = rows[~rows["shown"].isin([EQUIVALENT, NO_LOSS]) & (rows["low90"] <= 0) & (rows["high90"] >= 0)]
    weak = weak[weak["power"] < ENOUGH_POWER]
    if len(weak):
        parts = [
            f"{words}{f' in {layer}' if layer else ''} at {levels_of(of_one)}"
            for layer in ("", *tables.layers(curve))
            for measure, words in MEASURES.items()
            if len(of_one := weak[(weak["layer"] == layer) & (weak["measure"] == measure)])
        ]
        yield (
            "Some comparisons neither show a loss or gain nor rule out a loss, and their power to show equivalence was"
            f" below {percent(ENOUGH_POWER)}: {'; '.join(parts)}."
        )
    if networks["density"].isna().any():
        yield "The share of the weights is unknown at some levels."
    if networks["test_accuracy"].isna().all():
        yield "Test accuracy was not measured."
    if not tables.with_recipe(AGAIN, base):
        yield (
            "The dense networks were not trained a second time (recipe dense_again), so it is unknown how much another"
            " training run alone changes."
        )
    if (tables["matched"]["imp_arm"] != curve).all():
        yield "No other arm separates the effect of sparsity from that of accuracy."
    if tables.rotations is None or (tables.rotations["arm"] != curve).all():
        yield (
            f"No networks of {called} are rotated, so it is unknown whether units detect more than a random basis of"
            " their space would."
        )
    if "classes" not in tables.frames or tables.of("classes", curve).empty:
        yield f"No units of {called} were switched off, so it is unknown what they do for the network."
    if networks["detectors_fdr"].isna().all():
        yield "No labels were permuted, so it is unknown how many units chance explains."
    if tables.of("split", curve).empty:
        yield "The pictures were not halved, so it is unknown what other pictures would give."
    baselines = tables.arms[(tables.arms["role"] == BASELINE) & (tables.arms["recipe"] != ROTATED)]
    if (baselines["base"] != base).all():
        yield "There is no baseline of untrained networks or shuffled labels."
