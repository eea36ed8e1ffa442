"""A section of the page of findings, and the page in Markdown."""

import re
from collections.abc import Sequence
from typing import NamedTuple

# What Markdown, or HTML in it, would obey; it takes an underscore within a word for a letter.
MARKUP = re.compile(r"[\\`*\[\]<&|]|(?<!\w)_|_(?!\w)")


class Section(NamedTuple):
    """A heading, paragraphs, and a table with a note; the first row of the table has the names of its columns."""

    title: str
    paragraphs: list[str]
    table: Sequence[list[str]] = ()
    note: str = ""


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """The findings as a page in Markdown."""
    lines = [f"# {escape_markdown(title)}", ""]
    for section in sections:
        lines += [f"## {escape_markdown(section.title)}", ""]
        for paragraph in section.paragraphs:
            lines += [escape_markdown(paragraph), ""]
        if section.table:
            head, *rows = [list(map(escape_markdown, row)) for row in section.table]
            lines += [" | ".join(head).join(("| ", " |")), "|--:" * len(head) + "|"]
            lines += [" | ".join(row).join(("| ", " |")) for row in rows]
            lines += ["", *([f"*{escape_markdown(section.note)}*", ""] if section.note else [])]
    return "\n".join(lines)


def escape_markdown(text: str) -> str:
    """The text in one line, in which layers and labels of any name are not taken for markup."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
