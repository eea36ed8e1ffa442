"""Captions of figures: the docstrings of their files, filled from the tables, as reStructuredText and as LaTeX.

A docstring may hold fields such as {n} and {layers}: what `FACTS` say of all figures, and what the figure's own
`facts(frames)` say, which come first. A fact is reStructuredText, or nothing. Where a figure's `why_empty(frames)` says
that there is nothing to draw, the caption is the docstring's first sentence and that reason.
"""

import importlib
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pandas as pd
from docutils.core import publish_doctree
from docutils.nodes import Node, Text, emphasis, literal, paragraph, strong

from workflow_scripts.figures.arms import of_role
from workflow_scripts.figures.panels import all_dense, count_replicates
from workflow_scripts.plan.figures import caption_of, module_of
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE
from workflow_scripts.shared.files import UserError
from workflow_scripts.tables.read_tables import detector_rule_of

Frames = dict[str, pd.DataFrame]

FIELD = re.compile(r"\{(\w+)\}")
WIDTH = 120  # letters of a line
MOST_LAYERS = 6  # that are named
STRICT = {"halt_level": 2, "report_level": 5, "smart_quotes": False, "doctitle_xform": False}
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    **{letter: f"\\{letter}" for letter in "%_&#${}"},
}
LIGATURES = re.compile(r"""([-,])(?=\1)|['"](?=['"])""")  # letters that TeX would join with the next


def fill_caption(name: str, frames: Frames) -> str:
    """The caption of a figure that is drawn from `frames`, the tables of `read_tables`: reStructuredText.

    Raises:
        UserError: the caption has a field that no fact has the name of.
    """
    reason = why_empty(name, frames)
    own: dict[str, str] = {} if reason else of_module(name, "facts", {})(frames)

    def fill(field: re.Match) -> str:
        fact = field[1]
        if fact in own:
            return own[fact]
        if fact not in FACTS:
            known = ", ".join([*own, *FACTS])
            raise UserError(f"the caption of the figure {name} has the field {{{fact}}}; fields are {known}")
        return FACTS[fact](frames)

    caption = caption_of(name)
    if reason:
        caption = f"{first_sentence(caption)} Nothing is drawn: {as_rst(reason[0].lower() + reason[1:])}"
        return refill(FIELD.sub(fill, caption))
    blocks = caption.split("\n\n")
    return "\n\n".join(refill(FIELD.sub(fill, block)) if FIELD.search(block) else block for block in blocks)


def of_module(name: str, function: str, otherwise: Any) -> Callable[[Frames], Any]:
    """A function of tables that the file of a figure may have; without it one that returns something else."""
    return getattr(importlib.import_module(module_of(name)), function, lambda frames: otherwise)


def why_empty(name: str, frames: Frames) -> str:
    """Why a figure has nothing to draw, in a sentence; empty if it has something."""
    return of_module(name, "why_empty", "")(frames)


def first_sentence(caption: str) -> str:
    """The first sentence of a caption with a full stop, and the question before it, if there is one."""
    return re.split(r"(?<=\.)\s", caption, maxsplit=1)[0]


def refill(text: str) -> str:
    """`text` in lines of `WIDTH` letters, at most where words allow it."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def as_rst(text: str) -> str:
    """Any text, such as a name, as reStructuredText of the same words."""
    return re.sub(r"([^A-Za-z0-9\s,;.()-])", r"\\\1", " ".join(text.split()))


def as_latex(caption: str) -> str:
    r"""A caption, reStructuredText, as LaTeX for the argument of \caption: one paragraph, every special letter escaped.

    Raises:
        SystemMessage: it is no reStructuredText.
    """
    tree = publish_doctree(caption, settings_overrides=STRICT)
    paragraphs = ["".join(map(latex_of, one.children)) for one in tree.findall(paragraph)]
    return refill(" ".join(paragraphs))


def latex_of(node: Node) -> str:
    """A part of a paragraph as LaTeX."""
    if isinstance(node, Text):
        return escape_latex(node.astext())
    inner = "".join(map(latex_of, node.children))
    for kind, command in ((literal, "texttt"), (emphasis, "emph"), (strong, "textbf")):
        if isinstance(node, kind):
            return f"\\{command}{{{inner}}}"
    return inner


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is, in any font encoding; straight double quotes are opened and closed."""
    text = "".join(LATEX.get(letter, letter) for letter in LIGATURES.sub("\\g<0>\0", text))
    text = re.sub(r'(?<![^\s(])"(?=\S)', "``", text).replace('"', "''")
    return text.replace("\0", "{}")


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


def describe_curves(frames: Frames) -> str:
    """What lines, dots and colours are, where measures stand against density; or on lines of dense networks."""
    curves = curves_of(frames)
    spread = curves["replicate"].nunique() > 1
    if all_dense(curves):
        dots = "circles are means over replicates, dots each replicate" if spread else "circles are networks"
        return f"Every network is dense: one row per network and layer; {dots}."
    several = "Colours: methods; dashes and markers of curves: networks. " if curves["arm"].nunique() > 1 else ""
    lines = "Thin lines: each replicate; bold: their mean; open" if spread else "Open"
    return f"{several}{lines} circle: dense; vertical line: 90 % of the weights pruned."


def describe_baselines(frames: Frames) -> str:
    """What the baselines are, if there are any."""
    names = names_of(frames, BASELINE)
    marks = "Grey marks" if all_dense(curves_of(frames)) else "Grey lines with markers"
    return f"{marks}: baselines ({names}), the counts that chance gives, means over replicates." if names else ""


def describe_references(frames: Frames) -> str:
    """What the references are, if there are any."""
    names = names_of(frames, REFERENCE)
    return f"Open black marks: references ({names}), networks that were not pruned." if names else ""


def names_of(frames: Frames, role: str) -> str:
    """What legends call the arms of a role, as reStructuredText."""
    arms = of_role(frames["networks"], role)
    return "; ".join(dict.fromkeys(as_rst(rows["name"].iloc[0]) for rows in arms))


def curves_of(frames: Frames) -> pd.DataFrame:
    """The networks of curves."""
    networks = frames["networks"]
    return networks[networks["role"] == CURVE]


FACTS: dict[str, Callable[[Frames], str]] = {
    "n": count,
    "layers": describe_layers,
    "detector_iou": describe_rule,
    "curves": describe_curves,
    "baselines": describe_baselines,
    "references": describe_references,
}
