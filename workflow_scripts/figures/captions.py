"""Captions of figures: the docstrings of their files, filled from the tables, as reStructuredText and as LaTeX.

A docstring may hold fields such as {n} and {layers}: what `FACTS` say of all figures, and what the figure's own
`facts(frames)` say, which come first. A fact is reStructuredText, or nothing. Where a figure's `why_empty(frames)` says
that there is nothing to draw, the caption is the docstring's first sentence, without facts of its own, and that reason.
"""

import importlib
import re
import textwrap
from collections.abc import Callable
from typing import Any

from docutils.core import publish_doctree
from docutils.nodes import Node, Text, emphasis, literal, paragraph, strong

from workflow_scripts.figures.facts import FACTS, Frames, as_rst
from workflow_scripts.plan.figures import caption_of, module_of
from workflow_scripts.shared.files import UserError

FIELD = re.compile(r"\{(\w+)\}")
WIDTH = 120  # letters of a line
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
