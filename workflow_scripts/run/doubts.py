"""What is doubtful in an experiment, a sentence each: what its tables and its config can tell by themselves."""

from collections.abc import Iterator

from workflow_scripts.findings.source import Tables, weights
from workflow_scripts.findings.summarise import LARGE_QUANTILE, missing_baselines
from workflow_scripts.findings.words import capital, counted, number, percent
from workflow_scripts.plan.replicates import LEAST_REPLICATES

FEW_PICTURES = 1000  # with labels
LOW_ACCURACY = 0.5
MANY_UNITS = 0.1  # of a layer: dead, or without a threshold above 0
BY_CHANCE = 0.05  # of the detectors
UNTRAINED = 0.5  # the same


def doubts(tables: Tables, config: dict, facts: dict, pictures: int) -> list[str]:
    """Return a sentence for each doubt.

    Args:
        tables: of the experiment.
        config: as merged.
        facts: of provenance.json.
        pictures: how many have labels.
    """
    found = [
        *of_design(tables, config, pictures),
        *of_accuracy(tables, config["statistics"]["accuracy_margin"]),
        *of_units(tables, config["dissection"]["quantile"]),
        *of_chance(tables),
        *of_code(facts["project"]),
    ]
    return list(dict.fromkeys(found))


def of_design(tables: Tables, config: dict, pictures: int) -> Iterator[str]:
    """Doubts about what was measured, and with what."""
    networks, dissection = tables["networks"], config["dissection"]
    if dissection["quantile"] > LARGE_QUANTILE:
        share = percent(dissection["quantile"])
        yield (
            f"Units are active at {share} of the places (dissection.quantile), where 0.5 % is usual: IoU then tells how"
            " large a concept is more than what a unit detects."
        )
    if pictures < FEW_PICTURES:
        yield f"The networks are dissected with {counted(pictures, 'picture')} only: others may give other counts."
    for arm, of_arm in networks.groupby("arm", sort=False):
        replicates = of_arm.groupby("level")["replicate"].nunique()
        if arm in tables.curves() and replicates.max() < LEAST_REPLICATES:
            yield (
                f"{capital(tables.called(arm))} has {counted(replicates.max(), 'replicate')}, too few to tell a change"
                " from the spread between replicates."
            )
        for level, count in replicates[replicates < replicates.max()].items():
            yield (
                f"{capital(tables.called(arm))} has {count} of {counted(replicates.max(), 'replicate')} at"
                f" {tables.weights(arm, level)}: means over levels are not of the same replicates."
            )
    for (layer, knots), _ in networks.groupby(["layer", "knots"], sort=False):
        if knots != dissection["knots"]:
            yield (
                f"In {layer} activations are placed by {knots}, not by {dissection['knots']}, for no receptive fields"
                " are known there."
            )
    if config["images"]["unreadable"] == "skip" and config["images"]["storage"] == "files":
        yield "Pictures that cannot be read are left out (images.unreadable): logs/data/index_*.log names them."
    if bare := missing_baselines(tables.arms):
        yield " ".join(bare)


def of_accuracy(tables: Tables, margin: float) -> Iterator[str]:
    """Doubts about the networks that all others come from."""
    for curve in tables.curves():
        dense = tables.of("networks", curve, level=tables.levels(curve)[0])
        accuracy = dense["test_accuracy"].mean()
        if accuracy < LOW_ACCURACY:
            yield (
                f"{capital(tables.first_networks(curve))} classify {percent(accuracy)} of the test pictures rightly:"
                " what holds for them need not hold for more accurate ones."
            )
        again = tables.with_recipe("trained_twice", tables.base(curve))
        rows = tables["equivalence"]
        rows = rows[rows["arm"].isin(again) & (rows["measure"] == "accuracy") & (rows["against"] == "dense")]
        if len(better := rows[(rows["difference"] > margin) & ~(rows["low90"] <= 0)]):
            gain = counted(number(100 * better["difference"].max()), "point")
            yield (
                f"The dense networks had not converged: trained once more they are {gain} more accurate, so that pruned"
                " networks may gain by longer training alone."
            )


def of_units(tables: Tables, quantile: float) -> Iterator[str]:
    """Doubts about units that cannot detect anything, or whose masks are small."""
    networks = tables["networks"]
    networks = networks[networks["arm"].isin(tables.curves())]
    rest = networks["zero_threshold_units"] - networks["dead_units"]
    for column, words in (
        ("dead_units", "are dead, that is, constant over all pictures, and detect nothing"),
        ("rest", f"are active at fewer than {percent(quantile)} of the places, so that their masks are smaller"),
    ):
        rows = networks.assign(rest=rest, share=networks.assign(rest=rest)[column] / networks["units"])
        for layer, of_layer in rows[rows["share"] >= MANY_UNITS].groupby("layer", sort=False):
            most = of_layer.loc[of_layer["share"].idxmax()]
            yield (
                f"In {layer} up to {most[column]} of {counted(most['units'], 'unit')} {words}"
                f" ({tables.called(most['arm'])}, replicate {most['replicate']}, {weights(most)})."
            )


def of_chance(tables: Tables) -> Iterator[str]:
    """Doubts about counts that come near to those of the baselines."""
    for curve in tables.curves():
        first = tables.levels(curve)[0]
        untrained = tables.with_recipe("untrained", tables.base(curve))
        for layer in tables.layers(curve):
            rows = tables.of("networks", curve, layer, first)
            detectors, chance = rows["detectors_a"].mean(), rows["chance_detectors"].mean()
            if detectors and chance >= BY_CHANCE * detectors:
                yield (
                    f"In {layer} chance alone would make {counted(number(chance), 'detector')} of"
                    f" {tables.first_networks(curve)}, which have {number(detectors)}: the IoU threshold is low for"
                    " these pictures."
                )
            for arm in untrained:
                count = tables.of("networks", arm, layer)["detectors_a"].mean()
                if detectors and count >= UNTRAINED * detectors:
                    yield (
                        f"In {layer} untrained networks have {counted(number(count), 'detector')},"
                        f" {tables.first_networks(curve)} {number(detectors)}: much of the count needs no training."
                    )


def of_code(project: dict) -> Iterator[str]:
    """Doubts about which code has made the results."""
    if project["changed"]:
        yield "The code had changes that no commit has, so that the commit alone does not make these results again."
    elif project["commit"] is None:
        yield "Which commit of the code made the results is not known: it did not run in a clone."
