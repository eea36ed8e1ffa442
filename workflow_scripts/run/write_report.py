"""Put what an experiment has made on one page: the summary, figures with captions, tables, costs.

The page is one file without scripts. It shows the figures by links to their files, so it stays in the results folder.
"""

import argparse
import csv
from html import escape
from pathlib import Path
from urllib.parse import quote

from docutils.core import publish_doctree, publish_parts
from docutils.nodes import paragraph
from docutils.utils import SystemMessage
from docutils.writers import html5_polyglot

from workflow_scripts.findings.find import find
from workflow_scripts.findings.section import Section, as_markdown
from workflow_scripts.findings.source import read_tables
from workflow_scripts.findings.summarise import list_places, summarise
from workflow_scripts.plan.code import ROOT
from workflow_scripts.shared.files import UserError, reading, run_command, whole_file

CAPTIONS = ROOT / "report"  # of the page, the tables and the costs; those of figures lie beside the figures
ARM_COLUMNS = ("arm", "label", "role", "recipe", "starts_from", "base")
STRICT = {  # captions include no other files, and none is shown half understood
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 2,
    "report_level": 5,
    "initial_header_level": 3,
    "doctitle_xform": False,
    "smart_quotes": False,
}
STYLE = """\
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: #fff; color: #1c1e22;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
a { color: #0b5cad; }
nav a { margin-right: 1rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8a8f98; padding-top: 1rem; }
figure { margin: 0 0 2rem; break-inside: avoid; }
img { display: block; max-width: 100%; max-height: 100vh; height: auto; margin-bottom: .5rem; }
figcaption, .caption, .finding p { max-width: 46rem; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid #0b5cad; }
table { border-collapse: collapse; }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem; }
th, td { padding: .15rem .75rem .15rem 0; border-bottom: 1px solid #d5d8dd; text-align: left; vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { font-size: .85rem; line-height: 1.4; }
.finding caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
figcaption pre { white-space: pre-wrap; }
.literal { font-family: monospace; }
@media print { body { max-width: none; padding: 0; } nav { display: none; } pre { white-space: pre-wrap; } }
"""


def write_report(
    results: Path, findings: list[Section], summary: str, figures: list[str], tables: list[str], out: Path
) -> None:
    """Write the page of an experiment.

    Args:
        results: the experiment's folder, which has its name: costs.csv, and the folders of what follows.
        findings: what was found, in words.
        summary: the numbers, in a few lines.
        figures: names of those to show, in this order.
        tables: names of those to list, in this order.
        out: the page, in the same folder.

    Raises:
        UserError: a file of these is missing or damaged, or a caption is not what docutils can read.
    """
    name = escape(results.name)
    parts = [
        f"<h1>{name}</h1>",
        '<nav aria-label="Contents">'
        + "".join(
            f'<a href="#{part.lower()}">{part}</a>' for part in ("Findings", "Summary", "Figures", "Tables", "Costs")
        )
        + '<a href="gallery/index.html">Gallery of all units</a></nav>',
        show_caption("workflow"),
        '<h2 id="findings">Findings</h2>',
        *map(show_section, findings),
        '<h2 id="summary">Summary</h2>',
        scrolling("Summary", f"<pre>{escape(summary)}</pre>"),
        html_table("Arms: the ways to come by networks", select(read_rows(results / "tables" / "arms.csv"))),
        '<h2 id="figures">Figures</h2>',
        *(show_figure(results, figure) for figure in figures),
        '<h2 id="tables">Tables</h2>',
        *(show_table(results, table) for table in tables),
        '<h2 id="costs">Costs</h2>',
        show_caption("costs"),
        html_table("Time and memory by rule", read_rows(results / "costs.csv")),
        f"<p>{link('costs.csv')}</p>",
    ]
    page = "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}: dissecting pruned networks</title>",
            f"<style>\n{STYLE}</style></head>",
            "<body><main>",
            *parts,
            "</main></body></html>\n",
        ]
    )
    with whole_file(out) as part:
        part.write_text(page, encoding="utf-8")


def show_section(section: Section) -> str:
    """Return a section of the findings."""
    paragraphs = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs)
    table = ""
    if section.table:
        # The heading says to the eye what the table is of, and the table's caption to those who cannot see it.
        table = html_table(section.title, list(section.table))
        table += f"<p>{escape(section.note)}</p>" if section.note else ""
    return f'<section class="finding"><h3>{escape(section.title)}</h3>{paragraphs}{table}</section>'


def show_figure(results: Path, name: str) -> str:
    """Return a figure with its caption and links to its files."""
    formats = [f"figures/{name}.{ending}" for ending in ("pdf", "svg", "png")]
    for file in formats:
        require_made(results / file)
    caption, first_sentence = read_caption(results / "figures" / f"{name}.rst")
    title = name.replace("_", " ").capitalize().replace("Iou", "IoU")
    return (
        f'<section><h3 id="figure-{name}">{title}</h3>'
        f'<figure><img src="{quote(formats[1])}" alt="{escape(f"{title}: {first_sentence}")}">'
        f"<figcaption>{caption}<p>{', '.join(map(link, formats))}</p></figcaption></figure></section>"
    )


def show_table(results: Path, name: str) -> str:
    """Return the caption of a table and a link to it."""
    file = f"tables/{name}.csv"
    require_made(results / file)
    return f"<section><h3>{link(file)}</h3>{show_caption(name)}</section>"


def show_caption(name: str) -> str:
    """Return the caption of a table, or another text that belongs to the page."""
    return f'<div class="caption">{read_caption(CAPTIONS / f"{name}.rst")[0]}</div>'


def require_made(path: Path) -> None:
    """Raise UserError if there is no file at `path`."""
    if not path.is_file():
        raise UserError(f"{path} is missing: run snakemake again, which makes it")


def link(file: str) -> str:
    """Return a link to a file of the experiment's, by its name."""
    return f'<a href="{quote(file)}">{escape(Path(file).name)}</a>'


def read_text(path: Path) -> str:
    """Return a text file's contents."""
    require_made(path)
    with reading(path, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, the first its columns' names."""
    return list(csv.reader(read_text(path).splitlines()))


def select(arms: list[list[str]]) -> list[list[str]]:
    """Return the rows of arms.csv without the columns that the page does not show."""
    return [[dict(zip(arms[0], row, strict=True))[column] for column in ARM_COLUMNS] for row in arms]


def html_table(title: str, rows: list[list[str]]) -> str:
    """Return a table, the first row its columns' names; columns of numbers are set to the right."""
    columns, *body = rows
    numbers = [all(is_number(row[place]) for row in body) for place in range(len(columns))]
    kinds = [' class="number"' if number else "" for number in numbers]
    head = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for kind, text in zip(kinds, columns, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True)) + "</tr>"
        for row in body
    ]
    table = f"<caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return scrolling(title, f"<table>{table}</table>")


def scrolling(title: str, content: str) -> str:
    """Return content that is scrolled by itself where the screen is narrow, by keyboard, too."""
    return f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0">{content}</div>'


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
    with reading(path, SystemMessage):
        html = publish_parts(text, str(path), writer=html5_polyglot.Writer(), settings_overrides=STRICT)["body"]
        tree = publish_doctree(text, str(path), settings_overrides=STRICT)
    words = " ".join(next(tree.findall(paragraph)).astext().split())
    return html, words.partition(". ")[0].removesuffix(".") + "."


def main() -> None:
    """Write the report of an experiment, and its findings and summary as files of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--figures", nargs="+", required=True, help="names of the figures to show, in this order")
    parser.add_argument("--tables", nargs="+", required=True, help="names of the tables to list, in this order")
    parser.add_argument("--quantile", type=float, help="of the thresholds; one that is doubtful is named")
    parser.add_argument("--margin", type=float, required=True, help="as statistics.margin in the config")
    parser.add_argument("--accuracy-margin", type=float, required=True, help="as statistics.accuracy_margin there")
    parser.add_argument("--findings", type=Path, required=True, help="findings.md: the findings alone")
    parser.add_argument("--summary", type=Path, required=True, help="summary.txt: the page's summary alone")
    parser.add_argument("--out", type=Path, required=True, help="report.html, in the experiment's folder")
    args = parser.parse_args()
    summary = summarise(args.results, args.quantile)
    findings = find(read_tables(args.results / "tables", "ablation" in args.tables), args.margin, args.accuracy_margin)
    write_report(args.results, findings, summary, args.figures, args.tables, args.out)
    with whole_file(args.findings) as part:
        part.write_text(as_markdown(f"{args.results.name}: findings", findings), encoding="utf-8")
    with whole_file(args.summary) as part:
        part.write_text(f"{summary}\n\n{list_places(args.results)}\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
