"""A section of the page of findings, and the page in Markdown."""

from collections.abc import Sequence
from typing import NamedTuple


class Section(NamedTuple):
    """A heading, paragraphs, and a table with a note; the first row of the table has the names of its columns."""

    title: str
    paragraphs: list[str]
    table: Sequence[list[str]] = ()
    note: str = ""


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """The findings as a page in Markdown."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for paragraph in section.paragraphs:
            lines += [paragraph, ""]
        if section.table:
            head, *rows = [[cell.replace("|", r"\|") for cell in row] for row in section.table]
            lines += [" | ".join(head).join(("| ", " |")), "|--:" * len(head) + "|"]
            lines += [" | ".join(row).join(("| ", " |")) for row in rows]
            lines += ["", *([f"*{section.note}*", ""] if section.note else [])]
    return "\n".join(lines)
