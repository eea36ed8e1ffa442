"""The networks of an experiment that the findings are not about, such as baselines and references."""

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables
from workflow_scripts.findings.words import mean_and_sd, percent
from workflow_scripts.tables.arms import begin_with_base


def other_networks(tables: Tables) -> Section:
    """A table of the arms that are not curves of the findings, with a row for each level."""
    networks, curves, repeating = tables["networks"], tables.curves(), begin_with_base(tables.arms)
    layers = list(networks["layer"].unique())
    table = [["networks", "level", "weights", "replicates", "test accuracy (%)"]]
    table[0] += [f"{layer}: {words}" for layer in layers for words in ("detectors", "concepts")]
    for arm in tables.arms["arm"]:
        if arm in curves:
            continue
        for level, rows in tables.of("networks", arm).groupby("level"):
            if level == 0 and arm in repeating:  # its base's network
                continue
            accuracy = mean_and_sd(100 * rows.drop_duplicates("replicate")["test_accuracy"])
            # A smaller network has no density, but a share of its base's weights.
            share = rows["density"].fillna(rows["share_of_base"]).mean()
            cells = [tables.called(arm), str(level), percent(share), str(rows["replicate"].nunique()), accuracy]
            for layer in layers:
                of_layer = rows[rows["layer"] == layer]
                cells += [mean_and_sd(of_layer[column]) for column in ("detectors_a", "concepts_a")]
            table.append(cells)
    note = (
        "Mean ± standard deviation over replicates. A level is a round of pruning; in other arms it is an epoch, or a"
        " position in a list of the config."
    )
    return Section("Other networks", [], table if len(table) > 1 else (), note)
