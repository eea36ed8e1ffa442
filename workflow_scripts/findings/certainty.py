"""How sure the findings are: what chance would give, and other pictures; and what could not be told."""

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
    """What chance would give, and other pictures."""
    paragraphs = [*chance(tables, curve), *halves(tables, curve)]
    return Section(tables.title("How sure that is", curve), paragraphs)


def chance(tables: Tables, curve: str) -> Iterator[str]:
    """How many units chance explains."""
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
            f"Chance. In {layer}, of {counted(of_curve['units'].iloc[0], 'unit')} so many match their concept better"
            f" than chance would: {listed(words)}"
        )
        means = {arm: of_layer.loc[of_layer["arm"] == arm, "detectors_fdr"].mean() for arm in untrained}
        means = {arm: mean for arm, mean in means.items() if not pd.isna(mean)}
        if means:
            text += "; " + listed([f"{number(mean)} in {tables.called(arm)} networks" for arm, mean in means.items()])
            if max(means.values()) >= 1:
                text += ", so that such a match alone makes no unit interpretable"
        text += " (false discovery rate 5 %)."
        by_chance = ends[found[0]]["chance_detectors"].mean()
        if not pd.isna(by_chance) and found[0] == tables.levels(curve)[0]:
            text += (
                f" With permuted labels {counted(number(by_chance, 2), 'unit')} of {tables.first_networks(curve)} would"
                " count as interpretable."
            )
        few = of_layer[of_layer["detectors_fdr"] < of_layer["fewest_fdr"]]
        if len(few):
            text += (
                f" With so few permutations the test finds {counted(int(few['fewest_fdr'].max()), 'such unit')} or more"
                f" in a network, or none: none in {counted(count_networks(tables, few), 'network')}"
                f" ({listed([tables.called(arm) for arm in few['arm'].unique()])})."
            )
        yield text


def halves(tables: Tables, curve: str) -> Iterator[str]:
    """What other pictures would have given."""
    first = tables.levels(curve)[0]
    for layer, dense in tables.of("split", curve, level=first).groupby("layer", sort=False):
        if dense["keep"].isna().all():
            continue
        text = (
            f"Pictures. In {layer} of {tables.first_networks(curve)} {share(dense['keep'])} of the units that one half"
            " of the pictures finds interpretable are so on the other half, with the same concept"
        )
        if dense["agreement"].notna().any():
            text += f"; {share(dense['agreement'])} of those that both halves find so get the same name from each"
        text += (
            ". Other pictures of the same kind would change the count of a network by"
            f" {counted(number(dense['units_sd'].mean()), 'unit')} (standard deviation)"
        )
        if (tables.against_dense(curve)["n"] >= LEAST_REPLICATES).any():
            text += (
                "; the intervals above contain only a part of that, for all networks are dissected with the same"
                " pictures"
            )
        yield f"{text}."


# What could not be told


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
        last = f"No arm has dense networks and pruned levels: what pruning changes is not said here. {last}"
    return Section("What could not be told", [*paragraphs, last])


def left_open(tables: Tables, curve: str) -> Iterator[str]:
    """What the experiment leaves open of a curve, in sentences."""
    networks, rows = tables.of("networks", curve), tables.against_dense(curve)
    base, called = tables.base(curve), tables.called(curve)
    if rows.empty:
        yield "No level is compared with dense networks: what pruning changes is not known."
    elif (rows["n"] < LEAST_REPLICATES).all():
        count = counted(int(rows["n"].max()), "replicate")
        yield f"With {count} no test of equivalence is made: take {LEAST_REPLICATES} or more."
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
            "Neither a loss nor a gain is shown, and no loss is ruled out, where the power to show that nothing changes"
            f" was less than {percent(ENOUGH_POWER)}: {'; '.join(parts)}."
        )
    if networks["density"].isna().any():
        yield "The share of the weights is not known at every level."
    if networks["test_accuracy"].isna().all():
        yield "Test accuracy was not measured."
    if not tables.with_recipe(AGAIN, base):
        yield "No arm of the recipe dense_again says how much another training alone changes."
    if (tables["matched"]["imp_arm"] != curve).all():
        yield "No other arm tells sparsity and accuracy apart."
    if tables.rotations is None or (tables.rotations["arm"] != curve).all():
        yield (
            f"No networks of {called} are rotated: whether units detect more than any basis of their space is not"
            " known."
        )
    if "classes" not in tables.frames or tables.of("classes", curve).empty:
        yield f"No units of {called} were switched off: what they do for the network is not known."
    if networks["detectors_fdr"].isna().all():
        yield "No labels were permuted: how many units chance explains is not known."
    if tables.of("split", curve).empty:
        yield "The pictures were not halved: what other pictures would give is not known."
    baselines = tables.arms[(tables.arms["role"] == BASELINE) & (tables.arms["recipe"] != ROTATED)]
    if (baselines["base"] != base).all():
        yield "There is no baseline of chance."
