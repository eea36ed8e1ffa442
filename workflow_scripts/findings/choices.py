"""Whether the counts hold under other choices of the dissection, and in other ways of counting."""

from collections.abc import Iterator

import pandas as pd

from workflow_scripts.findings.section import Section
from workflow_scripts.findings.source import Tables
from workflow_scripts.findings.words import NEVER, counted, percent

COUNTED = {
    "detectors_a": "units",
    "concepts_a": "concepts",
    "detectors_b": "units, counted in each category",
    "concepts_b": "concepts, counted in each category",
}
CHOICES = {"detector_iou": "IoU threshold", "quantile": "quantile", "protocol": "protocol", "knots": "knots"}
OWN = "detectors_a"
NOTHING = "-"


def other_choices(tables: Tables, curve: str, margin: float) -> Section:
    """Down to which level means stay within the margin, or above it: as the experiment counts, and under others."""
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
        f"Down to which share of the weights means of replicates stay above {percent(1 - margin)} of those of"
        f" {tables.first_networks(curve)}, at every level up to it; nothing is tested here."
    )
    if any(NOTHING in row for row in table):
        note += " -: these have none."
    title = tables.title("Does it depend on how units are counted?", curve)
    return Section(title, [text for text in paragraphs if text], table if names else (), note)


def ends(tables: Tables, curve: str, rows: pd.DataFrame, margin: float) -> Iterator[tuple[str, int | None]]:
    """What is counted or chosen in a layer, and the sparsest level that it holds down to; None of nothing."""
    own = rows[rows["own"]].drop_duplicates(["replicate", "level"])
    if len(own):
        for column, words in COUNTED.items():
            yield words, kept_down_to(tables, curve, own, column, margin)
    for choice, of_choice in rows[~rows["own"]].groupby("choice", sort=False):
        for value in sorted(of_choice["value"].unique(), key=sort_key):
            of_value = of_choice[of_choice["value"] == value]
            yield f"units, {CHOICES[choice]} {value}", kept_down_to(tables, curve, of_value, OWN, margin)


def sort_key(value: str) -> tuple:
    """Numbers by size, then words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def kept_down_to(tables: Tables, curve: str, rows: pd.DataFrame, column: str, margin: float) -> int | None:
    """The sparsest level of an unbroken sequence whose mean is above the first's less the margin; None if that is 0."""
    means = rows.groupby("level")[column].mean()
    means = means.reindex([level for level in tables.levels(curve) if level in means.index])
    if not means.iloc[0]:
        return None
    kept = (means / means.iloc[0] > 1 - margin).cumprod()
    return kept[kept == 1].index[-1]


def in_words(tables: Tables, curve: str, level: int | None) -> str:
    """The cell of such a level: the dense networks alone are no level that pruning reaches."""
    if level is None:
        return NOTHING
    return NEVER if level == tables.levels(curve)[0] else tables.share(curve, level)


def verdict(tables: Tables, curve: str, layer: str, found: dict[str, int | None], margin: float) -> str:
    """Where units end as the experiment counts, and how many other choices end earlier, there, or later."""
    own, order = found.get(COUNTED[OWN]), tables.levels(curve)
    others = [order.index(level) for name, level in found.items() if name.startswith("units, ") and level is not None]
    if own is None or not others:
        return ""
    place = order.index(own)
    counts = [sum(test) for test in zip(*((end < place, end == place, end > place) for end in others), strict=True)]
    kinds = ("at a denser level", "at the same", "at a sparser one")
    of_kinds = ", ".join(f"{words}: {count}" for words, count in zip(kinds, counts, strict=True))
    least, most = (in_words(tables, curve, order[end]) for end in (min(others), max(others)))
    reach = least if least == most else f"from {least} to {most}"
    held = in_words(tables, curve, own)
    held = f"hold {NEVER}" if held == NEVER else f"hold down to {held} of the weights"
    return (
        f"In {layer} interpretable units, means of replicates within {percent(margin)} of dense or above it, {held} as"
        f" the experiment counts. Of {counted(len(others), 'other way')} to count units, so many end {of_kinds}"
        f" ({reach})."
    )
