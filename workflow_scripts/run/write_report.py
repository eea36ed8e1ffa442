"""Put what an experiment has made on one page: findings, numbers, figures, tables, costs, and how all was made.

The page is one file without scripts. It shows the figures by links to their files, so it stays in the results folder.
"""

import argparse
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from workflow_scripts.findings.find import find
from workflow_scripts.findings.section import Section, as_markdown
from workflow_scripts.findings.source import read_tables
from workflow_scripts.findings.summarise import list_places, summarise
from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.figures import tables_of
from workflow_scripts.plan.load import read_file
from workflow_scripts.plan.recipes import known_recipes
from workflow_scripts.run.doubts import doubts
from workflow_scripts.run.how_made import show_experiment, show_how_made
from workflow_scripts.run.page import (
    html_table,
    link,
    prose,
    read_caption,
    read_rows,
    require_made,
    whole_page,
)
from workflow_scripts.run.provenance import CONFIG, read_provenance
from workflow_scripts.run.summary_table import show_summary
from workflow_scripts.shared.files import reading, run_command, whole_file
from workflow_scripts.shared.outside_json import read_json

CAPTIONS = ROOT / "report"  # of the page, the tables and the costs; those of figures lie beside the figures
ARM_COLUMNS = ("arm", "label", "role", "recipe", "base")
FORMATS = {"pdf": "PDF", "svg": "SVG", "png": "PNG", "tex": "caption as LaTeX"}
FIRST, TRAINING = "overview", "training_curves"  # figures with places of their own
IN_SHORT = "In short"  # begins the titles of such findings
GALLERY = "gallery/index.html"
PARTS = {
    "findings": "Findings",
    "summary": "Summary",
    "overview": "Overview",
    "background": "Background",
    "detail": "Findings in detail",
    "figures": "Figures",
    "training": "Training",
    "tables": "Tables",
    "costs": "Costs",
    "warnings": "Warnings",
    "how-it-was-made": "How it was made",
}


class Contents(NamedTuple):
    """What the page shows besides files.

    findings: what was found, in words.
    warnings: what is doubtful, a sentence each.
    facts: how it was made, as provenance.json has it.
    figures: names of those to show, in their order.
    tables: names of those to list, in this order.
    """

    findings: list[Section]
    warnings: list[str]
    facts: dict
    figures: list[str]
    tables: list[str]


def write_report(results: Path, contents: Contents, out: Path) -> None:
    """Write the page of an experiment.

    Args:
        results: the experiment's folder, which has its name: costs.csv, tables and figures.
        contents: what else is shown.
        out: the page, in the same folder.

    Raises:
        UserError: a file of these is missing or damaged, or a caption is not what docutils can read.
    """
    name = escape(results.name)
    others = [figure for figure in contents.figures if figure not in (FIRST, TRAINING)]
    first = [figure for figure in (FIRST,) if figure in contents.figures]
    training = [figure for figure in (TRAINING,) if figure in contents.figures]
    in_short, in_detail = split_findings(contents.findings)
    shown = {
        "findings": [show_section(section) for section in in_short],
        "summary": [*show_summary(results / "tables"), show_units()],
        "overview": [show_figure(results, figure, contents.tables, headed=False) for figure in first],
        "background": [
            show_caption("workflow"),
            show_experiment(contents.facts),
            show_arms(results / "tables" / "arms.csv"),
        ],
        "detail": [show_section(section) for section in in_detail],
        "figures": [show_figure(results, figure, contents.tables) for figure in others],
        "training": [show_figure(results, figure, contents.tables, headed=False) for figure in training],
        "tables": [show_table(results, table) for table in contents.tables],
        "costs": show_costs(results / "costs.csv"),
        "warnings": [show_warnings(contents.warnings)],
        "how-it-was-made": show_how_made(contents.facts, str(results)),
    }
    titles = PARTS | {"warnings": f"{PARTS['warnings']} ({len(contents.warnings)})"}
    titles = {place: title for place, title in titles.items() if shown[place]}
    parts = [f"<h1>{name}</h1>", show_contents(titles)]
    for place, title in titles.items():
        parts += [f'<h2 id="{place}">{title}</h2>', *shown[place]]
    with whole_file(out) as part:
        part.write_text(whole_page(f"{name}: dissecting pruned networks", parts), encoding="utf-8")


def split_findings(sections: list[Section]) -> tuple[list[Section], list[Section]]:
    """Return the sections that answer in short, what was asked among them, and the others."""
    short = [place for place, section in enumerate(sections) if section.title.startswith(IN_SHORT)]
    end = max(short, default=0) + 1
    return sections[:end], sections[end:]


def show_contents(titles: dict[str, str]) -> str:
    """Return the links to the parts of the page, by their places, and to the gallery."""
    links = "".join(f'<a href="#{place}">{title}</a>' for place, title in titles.items())
    return f'<nav aria-label="Contents">{links}<a href="{GALLERY}">Gallery of all units</a></nav>'


def show_section(section: Section) -> str:
    """Return a section of the findings."""
    paragraphs = "".join(f"<p>{prose(paragraph)}</p>" for paragraph in section.paragraphs)
    table = ""
    if section.table:
        # The heading says to the eye what the table is of, and the table's caption to those who cannot see it.
        table = html_table(section.title, list(section.table))
        table += f"<p>{prose(section.note)}</p>" if section.note else ""
    return f'<section class="finding"><h3>{escape(section.title)}</h3>{paragraphs}{table}</section>'


def show_units() -> str:
    """Return where the numbers of each network and unit are."""
    return (
        f"<p>{link('tables/networks.csv')} has these numbers of each network, {link('tables/units.csv')} each unit with"
        f" its best concept, and the {link(GALLERY, 'gallery')} the pictures that each unit responds to most.</p>"
    )


def show_arms(path: Path) -> str:
    """Return the table of arms: what the networks of each are, and what they are compared with."""
    columns, *rows = read_rows(path)
    arms = [dict(zip(columns, row, strict=True)) for row in rows]
    what = {name: recipe.what for name, recipe in known_recipes().items()}
    shown = [[*(arm[column] for column in ARM_COLUMNS), what.get(arm["recipe"], "")] for arm in arms]
    return html_table("Arms: kinds of networks", [[*ARM_COLUMNS, "what it is"], *shown])


def show_figure(results: Path, name: str, tables: list[str], headed: bool = True) -> str:
    """Return a figure with its caption, and links to its files and to those of the `tables` that it is drawn from."""
    files = {f"figures/{name}.{ending}": text for ending, text in FORMATS.items()}
    for file in files:
        require_made(results / file)
    caption, first_sentence = read_caption(results / "figures" / f"{name}.rst")
    title = name.replace("_", " ").capitalize().replace("Iou", "IoU")
    heading = f'<h3 id="figure-{name}">{title}</h3>' if headed else ""
    image = f'<img src="figures/{quote(name)}.svg" alt="{escape(f"{title}: {first_sentence}")}">'
    sources = tables_of(name)
    drawn_from = [f"tables/{table}.csv" for table in tables if table in sources]
    places = [", ".join(link(file, text) for file, text in files.items())]
    places += [f"drawn from {', '.join(map(link, drawn_from))}"] if drawn_from else []
    places += [f"the units are in the {link(GALLERY, 'gallery')}"] if "tables/units.csv" in drawn_from else []
    return (
        f'<section>{heading}<figure><a class="named" href="figures/{quote(name)}.svg">{image}</a>'
        f"<figcaption>{caption}<p>{'; '.join(places)}</p></figcaption></figure></section>"
    )


def show_table(results: Path, name: str) -> str:
    """Return the caption of a table and a link to it."""
    file = f"tables/{name}.csv"
    require_made(results / file)
    return f"<section><h3>{link(file)}</h3>{show_caption(name)}</section>"


def show_costs(path: Path) -> list[str]:
    """Return what the costs are, and the table of them."""
    return [show_caption("costs"), html_table("Time and memory by rule", read_rows(path)), f"<p>{link(path.name)}</p>"]


def show_warnings(warnings: list[str]) -> str:
    """Return a list of what is doubtful."""
    if not warnings:
        return "<p>None: nothing in the tables or the config is doubtful by itself.</p>"
    return f"<ul>{''.join(f'<li>{escape(warning)}</li>' for warning in warnings)}</ul>"


def show_caption(name: str) -> str:
    """Return the caption of a table, or another text that belongs to the page."""
    return f'<div class="caption">{read_caption(CAPTIONS / f"{name}.rst")[0]}</div>'


def count_pictures(results: Path) -> int:
    """Return with how many pictures the networks are dissected; UserError if the file that says it is damaged."""
    path = results / "data" / "concepts.verified.json"
    with reading(path, ValueError, KeyError, TypeError, OverflowError):
        return int(read_json(path)["images"])


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
    tables = read_tables(args.results / "tables", "ablation" in args.tables)
    findings = find(tables, args.margin, args.accuracy_margin)
    facts = read_provenance(args.results).facts
    config, pictures = read_file(args.results / CONFIG), count_pictures(args.results)
    with reading(args.results / CONFIG, KeyError, TypeError):
        warnings = doubts(tables, config, facts, pictures)
    contents = Contents(findings, warnings, facts, args.figures, args.tables)
    write_report(args.results, contents, args.out)
    with whole_file(args.findings) as part:
        part.write_text(as_markdown(f"{args.results.name}: findings", findings), encoding="utf-8")
    with whole_file(args.summary) as part:
        part.write_text(f"{summary}\n\n{list_places(args.results)}\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
