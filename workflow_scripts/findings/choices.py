"""Whether the counts hold under other dissection settings and other ways of counting."""

from collections.abc import Iterator

import pandas as pd

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables
from workflow_scripts.findings.words import NEVER, counted, listed, percent

COUNTED = {
    "detectors_a": "detectors",
    "concepts_a": "concepts",
    "detectors_b": "detectors, counted in each category",
    "concepts_b": "concepts, counted in each category",
}
CHOICES = {"detector_iou": "IoU threshold", "quantile": "quantile", "protocol": "protocol", "knots": "knots"}
OWN = "detectors_a"
NOTHING = "-"


def other_choices(tables: Tables, curve: str, margin: float) -> Section:
    """The level down to which mean counts stay above the margin, as the experiment counts and in other ways."""
    rows = tables.of("sweep", curve)
    found = {
        layer: dict(ends(tables, curve, of_layer, margin)) for layer, of_layer in rows.groupby("layer", sort=False)
    }
    names = list(dict.fromkeys(name for of_layer in found.values() for name in of_layer))
    table = [["counted", *found]]
    for name in names:
        table.append([name, *(in_words(tables, curve, of_layer.get(name)) for of_layer in found.values())])
    paragraphs = [verdict(tables, curve, layer, of_layer, margin) for layer, of_layer in found.items()]
    note = (
        f"The share of the weights down to which the mean over replicates stays above {percent(1 - margin)} of that of"
        f" {tables.first_networks(curve)}, at every level. There are no tests here."
    )
    if any(NOTHING in row for row in table):
        note += " -: none at the densest level."
    title = tables.title("Does it depend on how units are counted?", curve)
    return Section(title, [text for text in paragraphs if text], table if names else (), note)


def ends(tables: Tables, curve: str, rows: pd.DataFrame, margin: float) -> Iterator[tuple[str, int | None]]:
    """Each way of counting in a layer, and the sparsest level its count holds down to; None if it counts nothing."""
    own = rows[rows["own"]].drop_duplicates(["replicate", "level"])
    if len(own):
        for column, words in COUNTED.items():
            yield words, kept_down_to(tables, curve, own, column, margin)
    for choice, of_choice in rows[~rows["own"]].groupby("choice", sort=False):
        for value in sorted(of_choice["value"].unique(), key=sort_key):
            of_value = of_choice[of_choice["value"] == value]
            yield f"detectors, {CHOICES[choice]} {value}", kept_down_to(tables, curve, of_value, OWN, margin)


def sort_key(value: str) -> tuple:
    """Numbers by size, then words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def kept_down_to(tables: Tables, curve: str, rows: pd.DataFrame, column: str, margin: float) -> int | None:
    """The last level before the mean falls to 1 - margin of the first level's, or less; None if the first mean is 0."""
    means = rows.groupby("level")[column].mean()
    means = means.reindex([level for level in tables.levels(curve) if level in means.index])
    if not means.iloc[0]:
        return None
    kept = (means / means.iloc[0] > 1 - margin).cumprod()
    return kept[kept == 1].index[-1]


def in_words(tables: Tables, curve: str, level: int | None) -> str:
    """The table cell for such a level; the first level has not been pruned, so it reads `NEVER`."""
    if level is None:
        return NOTHING
    return NEVER if level == tables.levels(curve)[0] else tables.share(curve, level)


def verdict(tables: Tables, curve: str, layer: str, found: dict[str, int | None], margin: float) -> str:
    """The level that detectors hold down to as the experiment counts, compared with other ways of counting."""
    own, order = found.get(COUNTED[OWN]), tables.levels(curve)
    of_units = [level for name, level in found.items() if name.startswith("detectors, ")]
    others = [order.index(level) for level in of_units if level is not None]
    if own is None or not others:
        return ""
    place = order.index(own)
    counts = [sum(test) for test in zip(*((end < place, end == place, end > place) for end in others), strict=True)]
    kinds = ("denser", "the same", "sparser")
    of_kinds = listed([f"{words} for {count}" for words, count in zip(kinds, counts, strict=True)])
    least, most = (in_words(tables, curve, order[end]) for end in (min(others), max(others)))
    reach = least if least == most else f"from {least.removeprefix('at ')} to {most}"
    held, above = in_words(tables, curve, own), f"above {percent(1 - margin)} of dense"
    held = (
        f"does not stay {above} at any pruned level"
        if held == NEVER
        else f"stays {above} down to {held} of the weights"
    )
    return (
        f"In {layer}, the mean number of detectors over replicates {held}, as the experiment counts. With"
        f" {counted(len(others), 'other way')} to count detectors, the level reached is {of_kinds} ({reach})."
    )
