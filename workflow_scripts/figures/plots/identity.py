"""Are they the same units, and the same concepts? Agreement with the dense network of the same replicate, against the
weights that remain. {measures} {curves} {ceilings} A unit is a detector if its IoU with its best concept is
{detector_iou}. {n}. {layers}.
"""

from itertools import product
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.arms import look_of, of_known_density
from workflow_scripts.figures.curves import draw_curve, legend_handles, mean_of_replicates
from workflow_scripts.figures.facts import describe_colours, describe_lines, describe_nine_tenths, sentence
from workflow_scripts.figures.measures import Measure
from workflow_scripts.figures.panels import (
    MOST_CURVES,
    add_legend,
    columns_within,
    mark_nine_tenths,
    place_panels,
    set_density_axis,
    sparsest,
)
from workflow_scripts.figures.style import GREY, TEXT_WIDTH, curve_look
from workflow_scripts.plan.keys import CURVE

ORDER = 75

MEASURES = (
    Measure("kappa_common", None, "Names of common detectors (kappa)"),
    Measure("kappa_all", None, "Names of all units (kappa)"),
    Measure("jaccard", None, "Concepts in both (share)"),
)
CEILINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense_again": ("dense, another data order", {"linestyle": "--"}),
    "other_half": ("other half of the pictures", {"linestyle": ":", "linewidth": 1.5}),
    "other_replicate": ("other replicates", {"linestyle": "-."}),
}
IN_WORDS = {
    "kappa_common": "Names of common detectors: of the units that are detectors in both networks.",
    "kappa_all": "Names of all units: also of those that are no detectors.",
    "jaccard": "Concepts in both: of the concepts of either network, the share that both detect (Jaccard).",
}
KAPPA = "Names agree by Cohen's kappa, which corrects for chance: 1 if all are the same, 0 if no more than by chance."
CEILINGS_IN_WORDS = {
    "dense_again": "Dashed: the dense network, trained again from the rewind point with the data in another order.",
    "other_half": "Dotted: the same network, by two halves of the pictures.",
    "other_replicate": (
        "Dash-dotted: networks of one level in different replicates, whose units do not correspond, so that only"
        " concepts can be compared."
    ),
}


def draw(frames: dict[str, pd.DataFrame], width: float | None = None) -> Figure:
    """The agreement with the dense networks: a row for each layer, a panel for each measure."""
    rows, related = curves_and_related(frames)
    ceilings = ceilings_of(rows)
    layers = list(related["layer"].unique())
    measures = known_measures(related)
    shown = list(product(layers, measures))
    width = width or TEXT_WIDTH
    figure, cells = place_panels(len(shown), columns_within(len(measures), width), width, panel_height=2)
    for axes, (layer, measure) in zip(cells, shown, strict=True):
        mark_nine_tenths(axes)
        draw_ceilings(axes, ceilings[ceilings["layer"] == layer], measure.column)
        draw_agreement(axes, related[related["layer"] == layer], measure)
        set_density_axis(axes, sparsest(rows))
        axes.set_ylim(min(-0.03, 1.1 * related[measure.column].min()), 1.03)
        axes.set_ylabel(measure.title)
        axes.set_title(layer)
    lines = [
        Line2D([], [], color=GREY, label=name, **look)
        for against, (name, look) in CEILINGS.items()
        if (ceilings["against"] == against).any()
    ]
    if handles := legend_handles(related, None) + lines:
        add_legend(figure, handles, columns=3)
    return figure


def why_empty(frames: dict[str, pd.DataFrame]) -> str:
    """Why there is nothing to draw; empty if there is something."""
    _, related = curves_and_related(frames)
    if related.empty:
        return "No network of known density here is a pruned copy of a dense one, so there is no identity to keep."
    if not known_measures(related):
        return "No unit of these networks detects a concept, so there are no names to compare."
    return ""


def facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """What is measured, and what lines there are."""
    rows, related = curves_and_related(frames)
    columns = [measure.column for measure in known_measures(related)]
    measures = [words for column, words in IN_WORDS.items() if column in columns]
    kappas = [column for column in columns if column.startswith("kappa")]
    if kappas:
        measures.insert(0, 'A unit\'s name is its best concept, or "none" if it is no detector.')
        measures.insert(-1 if "jaccard" in columns else len(measures), KAPPA)
    if kappas and related.groupby("arm")[kappas].count().eq(0).all(axis=1).any():
        measures.append("Names are compared in arms whose units keep their places from level to level.")
    ceilings = [words for against, words in CEILINGS_IN_WORDS.items() if against in set(ceilings_of(rows)["against"])]
    lines = sentence(describe_lines(related), describe_nine_tenths(sparsest(rows)))
    return {
        "measures": " ".join(measures),
        "curves": f"{describe_colours(related)} {lines}",
        "ceilings": f"Grey lines: the agreement to expect at best. {' '.join(ceilings)}" if ceilings else "",
    }


def ceilings_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that say how far names and concepts can agree at best."""
    return rows[rows["against"].isin(list(CEILINGS)) & (rows["arm"] == rows["base"])]


def curves_and_related(frames: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows of curves, and of these the comparisons with dense networks."""
    rows = frames["identity"]
    rows = of_known_density(rows[rows["role"] == CURVE])
    return rows, rows[rows["against"] == "dense"]


def known_measures(related: pd.DataFrame) -> list[Measure]:
    """The measures that a comparison with a dense network has."""
    return [measure for measure in MEASURES if related[measure.column].notna().any()]


def draw_agreement(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw one measure of the agreement of each curve in one layer with its dense networks."""
    known = rows[rows[measure.column].notna()]
    for _, of_arm in known.groupby("number"):
        draw_curve(axes, of_arm, measure, curve_look(*look_of(of_arm)), crowded=rows["arm"].nunique() > MOST_CURVES)


def draw_ceilings(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """Draw how far names can agree in one layer: with the dense network trained again, and at each level."""
    for _, of_arm in rows[rows[column].notna()].groupby("arm"):
        for against, (_, look) in CEILINGS.items():
            of_ceiling = of_arm[of_arm["against"] == against]
            if against == "dense_again":
                of_ceiling = of_ceiling[of_ceiling["level"] == 0]
                if len(of_ceiling):
                    axes.axhline(of_ceiling[column].mean(), color=GREY, **look)
                continue
            mean = mean_of_replicates(of_ceiling.sort_values("remaining %", ascending=False, kind="stable"))
            axes.plot(mean["remaining %"], mean[column], color=GREY, **look)
