"""What captions say of the tables: words for what a figure shows, and none for what it does not show."""

import re
from collections.abc import Callable, Sequence

import pandas as pd

from workflow_scripts.figures.arms import of_known_density, of_role
from workflow_scripts.figures.panels import DENSE, all_dense, count_replicates, reaches_nine_tenths, sparsest
from workflow_scripts.findings.words import capital
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE
from workflow_scripts.tables.read_tables import detector_rule_of

Frames = dict[str, pd.DataFrame]

MOST_LAYERS = 6  # that are named
EXPLAINED = {  # baselines by their recipes
    "untrained": "initial weights",
    "untrained_calibrated": "with batch-norm statistics measured on training pictures",
    "shuffled_labels": "with the labels of other pictures",
}


def as_rst(text: str) -> str:
    """Any text, such as a name, as reStructuredText of the same words."""
    return re.sub(r"([^A-Za-z0-9\s,;.()-])", r"\\\1", " ".join(text.split()))


def sentence(*parts: str) -> str:
    """The parts that are not empty as a sentence, with semicolons between them; nothing if all are empty."""
    text = "; ".join(filter(None, parts))
    return f"{capital(text)}." if text else ""


def count(frames: Frames) -> str:
    """How many replicates there are."""
    return f"n = {count_replicates(curves_of(frames))}"


def describe_layers(frames: Frames) -> str:
    """The layers that are dissected, and how many units they have; of many layers, only how many."""
    counts = curves_of(frames).groupby("layer", sort=False)["units"].agg(["min", "max"])
    if len(counts) > MOST_LAYERS:
        return f"{len(counts)} layers of {as_span(counts)} units"
    units = [f"{as_rst(layer)} ({as_span(counts.loc[[layer]])} units)" for layer in counts.index]
    return f"Layer{'s' if len(units) > 1 else ''}: {', '.join(units)}"


def as_span(counts: pd.DataFrame) -> str:
    """The least and the most of `counts`, which has the columns min and max, in words."""
    return " to ".join(dict.fromkeys(f"{end:,}" for end in (counts["min"].min(), counts["max"].max())))


def describe_rule(frames: Frames) -> str:
    """What makes a unit a detector."""
    threshold, rule = detector_rule_of(frames["networks"])
    return f"{'above' if rule == 'above' else 'of at least'} {threshold:g}"


def describe_axis(frames: Frames) -> str:
    """What measures stand against, if there are sparse networks; it follows a word."""
    return "" if all_dense(frames["networks"]) else ", against the weights that remain"


def describe_curves(frames: Frames) -> str:
    """What lines, dots and colours are, where measures stand against density; or on lines of dense networks."""
    curves = curves_of(frames)
    if all_dense(curves):
        several = "circles are means over replicates, dots each replicate"
        dots = several if has_spread(curves) else "circles are networks"
        return f"Every network is dense: one row per network and layer; {dots}."
    dense = "open marker: the dense network" if (curves["remaining %"] >= DENSE).any() else ""
    return (
        f"{describe_colours(curves)} {sentence(describe_lines(curves), dense, describe_nine_tenths(sparsest(curves)))}"
    )


def describe_colours(curves: pd.DataFrame) -> str:
    """What tells the curves apart, if there are several."""
    methods = "colours: methods" if curves["method"].nunique() > 1 else ""
    return sentence(methods, "dashes and markers of curves: networks" if curves["network"].nunique() > 1 else "")


def describe_lines(curves: pd.DataFrame) -> str:
    """What thin and bold lines are, if there are both."""
    return "thin lines: each replicate; bold: their mean" if has_spread(curves) else ""


def describe_nine_tenths(lowest: float) -> str:
    """What the vertical line is, where an axis of densities down to `lowest` (per cent) has it."""
    return "vertical line: 90 % of the weights pruned" if reaches_nine_tenths(lowest) else ""


def describe_means(frames: Frames) -> str:
    """That values are means, if they are."""
    return "Means over replicates." if has_spread(curves_of(frames)) else ""


def describe_baselines(frames: Frames) -> str:
    """What the baselines are, if there are any: lines, or marks of dense networks."""
    drawn = on_axis(frames["networks"])
    arms = of_role(drawn, BASELINE)
    if not arms:
        return ""
    means = "means over replicates" if has_spread(pd.concat(arms)) else ""
    if all_dense(drawn):
        return f"Grey marks: {list_baselines(arms)}. {sentence(means)}"
    flat = [rows["level"].nunique() == 1 for rows in arms]
    where = "" if all(flat) else " of flat lines"
    markers = f"markers{where} only tell the lines apart" if any(flat) else ""
    return f"Grey lines: {list_baselines(arms)}. {sentence(means, markers)}"


def list_baselines(arms: Sequence[pd.DataFrame], column: str = "name") -> str:
    """The baselines by what the `column` calls them, each known one explained once."""
    names: dict[str, str] = {}
    for rows in arms:
        recipe, name = rows["recipe"].iloc[0], as_rst(rows[column].iloc[0])
        names.setdefault(name, "" if recipe in names.values() else recipe)
    listed_names = [f"{name} ({EXPLAINED[recipe]})" if recipe in EXPLAINED else name for name, recipe in names.items()]
    return f"baselines, that is, {'; '.join(listed_names)}"


def describe_references(frames: Frames) -> str:
    """What the references are, if there are any."""
    words = list_references(of_role(on_axis(frames["networks"]), REFERENCE))
    return f"Open black marks: {words}." if words else ""


def list_references(arms: Sequence[pd.DataFrame], column: str = "name") -> str:
    """The references by what the `column` calls them; nothing if there are none."""
    names = "; ".join(dict.fromkeys(as_rst(rows[column].iloc[0]) for rows in arms))
    return f"references ({names}), networks that were not pruned" if names else ""


def describe_once(frames: Frames) -> str:
    """The look of counts in which a unit counts once."""
    return "Blue circles" if all_dense(frames["networks"]) else "Solid"


def describe_often(frames: Frames) -> str:
    """The look of counts in which a unit counts in every category in which it detects a concept."""
    return "Blue crosses" if all_dense(frames["networks"]) else "Dotted"


def curves_of(frames: Frames) -> pd.DataFrame:
    """The networks of curves."""
    networks = frames["networks"]
    return networks[networks["role"] == CURVE]


def on_axis(networks: pd.DataFrame) -> pd.DataFrame:
    """The networks that have a place where measures stand against density, or all where every network is dense."""
    return networks if all_dense(networks) else of_known_density(networks)


def has_spread(rows: pd.DataFrame) -> bool:
    """Whether there are several replicates of an arm."""
    return bool(rows.groupby("arm")["replicate"].nunique().max() > 1)


FACTS: dict[str, Callable[[Frames], str]] = {
    "n": count,
    "layers": describe_layers,
    "detector_iou": describe_rule,
    "against": describe_axis,
    "curves": describe_curves,
    "means": describe_means,
    "once": describe_once,
    "often": describe_often,
    "baselines": describe_baselines,
    "references": describe_references,
}
