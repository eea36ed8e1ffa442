"""Pieces of the report's page: tables, links, and captions, which are reStructuredText."""

import csv
import io
from html import escape
from pathlib import Path
from urllib.parse import quote

from docutils.core import publish_doctree, publish_parts
from docutils.nodes import paragraph
from docutils.utils import SystemMessage
from docutils.writers import html5_polyglot

from workflow_scripts.shared.files import UserError, reading

STRICT = {  # captions include no other files, and none is shown half understood
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 2,
    "report_level": 5,
    "initial_header_level": 3,
    "doctitle_xform": False,
    "smart_quotes": False,
}
LONG = 40  # letters of a word
STYLE = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: #fff; color: #1c1e22;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: #0b5cad; }
nav a { display: inline-block; padding: .25rem 1rem .25rem 0; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8a8f98; padding-top: 1rem; }
h2, h3 { line-height: 1.25; break-after: avoid; }
figure { margin: 0 0 2rem; break-inside: avoid; }
img { display: block; max-width: 100%; max-height: 100vh; height: auto; margin-bottom: .5rem; }
figcaption, .caption, p, dd { max-width: 46rem; }
/* A shadow at the right while there is more to scroll to: a white cover that scrolls along hides it at the end. */
.scroll { overflow-x: auto; margin-bottom: 1rem;
  background: linear-gradient(to left, #fff 1rem, #fff0) right / 2rem 100% no-repeat local,
    linear-gradient(to left, #0004, #0000) right / .75rem 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid #0b5cad; }
table { border-collapse: collapse; overflow-wrap: normal; }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem; }
thead th { vertical-align: bottom; border-bottom: 1px solid #1c1e22; }
th, td { padding: .15rem .75rem .15rem 0; border-bottom: 1px solid #d5d8dd; text-align: left; vertical-align: top; }
tbody th { font-weight: 500; padding-top: .5rem; }
tr { break-inside: avoid; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
td.long { overflow-wrap: anywhere; min-width: 12rem; }
.finding caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
pre { font-size: .85rem; line-height: 1.4; white-space: pre-wrap; }
code, .literal { font-family: ui-monospace, monospace; font-size: .9em; }
dt { font-weight: 600; margin-top: .75rem; }
dd { margin: 0; }
@media (max-width: 30rem) { table { font-size: .75rem; } th, td { padding-right: .4rem; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .scroll { overflow: visible; background: none; break-inside: avoid; }
  table { font-size: 8.5pt; }
  img { max-height: 21cm; }
  a { color: inherit; }
  a[href]:not([href^="#"])::after { content: " (" attr(href) ")"; font-size: .85em; }
  a.named::after { content: none !important; }
}
"""


def whole_page(title: str, parts: list[str]) -> str:
    """Return a page of these parts, whose title is HTML."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            f"<style>\n{STYLE}</style></head>",
            "<body><main>",
            *parts,
            "</main></body></html>\n",
        ]
    )


def prose(text: str) -> str:
    """Return text as HTML in which numbers stay on one line with their per cent signs."""
    return escape(text).replace(" %", "\u00a0%")


def link(file: str, text: str | None = None) -> str:
    """Return a link to a file of the experiment's, by its name or by a text; in print its place stands behind that."""
    words = text or Path(file).name
    named = ' class="named"' if words == file else ""
    return f'<a href="{quote(file)}"{named}>{escape(words)}</a>'


def require_made(path: Path) -> None:
    """Raise UserError if there is no file at `path`."""
    if not path.is_file():
        raise UserError(f"{path} is missing: run snakemake again, which makes it")


def read_text(path: Path) -> str:
    """Return a text file's contents."""
    require_made(path)
    with reading(path, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, the first its columns' names; UserError if it has none, or of unequal length."""
    text = read_text(path)
    with reading(path, csv.Error):
        rows = list(csv.reader(io.StringIO(text, newline="")))
    if not rows:
        raise UserError(f"{path} has no rows: run snakemake again, which makes it")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise UserError(
                f"{path}, row {number}, has {len(row)} cells, but the first has {len(rows[0])}: run snakemake again,"
                " which makes it"
            )
    return rows


def html_table(title: str, rows: list[list[str]]) -> str:
    """Return a table, the first row its columns' names; columns of numbers are set to the right."""
    columns, *body = rows
    numbers = [all(is_number(row[place]) for row in body) for place in range(len(columns))]
    lines = ["<tr>" + "".join(map(cell, row, numbers)) + "</tr>" for row in body]
    return framed(title, head(columns, numbers) + f"<tbody>{''.join(lines)}</tbody>")


def head(columns: list[str], numbers: list[bool]) -> str:
    """Return the head of a table; of columns of numbers it is set to the right."""
    cells = (
        f'<th scope="col"{kind_of(number)}>{escape(text)}</th>' for text, number in zip(columns, numbers, strict=True)
    )
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def cell(text: str, is_number: bool) -> str:
    """Return a cell of a table; a long word in it, such as a checksum, may break anywhere."""
    kind = ' class="long"' if max(map(len, text.split()), default=0) > LONG else kind_of(is_number)
    return f"<td{kind}>{escape(text)}</td>"


def kind_of(is_number: bool) -> str:
    """Return the attribute of a cell in a column of numbers, or of others."""
    return ' class="number"' if is_number else ""


def framed(title: str, content: str) -> str:
    """Return a table that is scrolled by itself where the screen is narrow, by keyboard, too."""
    table = f"<table><caption>{escape(title)}</caption>{content}</table>"
    return f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0">{table}</div>'


def is_number(text: str) -> bool:
    """Tell whether Python reads `text` as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_caption(path: Path) -> tuple[str, str]:
    """Return a caption, reStructuredText, as HTML, and its first sentence without markup."""
    text = read_text(path)
    with reading(path, SystemMessage, IndexError):
        html = publish_parts(text, str(path), writer=html5_polyglot.Writer(), settings_overrides=STRICT)["body"]
        tree = publish_doctree(text, str(path), settings_overrides=STRICT)
        paragraphs = list(tree.findall(paragraph))
        words = " ".join(paragraphs[0].astext().split())
    return html.replace(" %", "\u00a0%"), words.partition(". ")[0].removesuffix(".") + "."
