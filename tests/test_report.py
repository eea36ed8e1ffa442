"""The report: one page that links what is there, says how it came about, and keeps nothing silently back."""

import csv
from html.parser import HTMLParser
from pathlib import Path

import pytest

from workflow_scripts.findings.section import Section
from workflow_scripts.plan.arms import Arm
from workflow_scripts.plan.experiment import TABLES
from workflow_scripts.plan.figures import caption_of, figure_names
from workflow_scripts.run.sum_costs import COLUMNS
from workflow_scripts.run.write_report import CAPTIONS, read_caption, write_report
from workflow_scripts.shared.files import UserError

FIGURES = ["overview", "iou_distribution"]
VOID = {"meta", "img", "br", "hr", "col"}


class Page(HTMLParser):
    """What a browser would make of the page; refuses tags that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def results(tmp_path):
    """The folder of an experiment with a name that HTML and addresses must escape."""
    results = tmp_path / "one & #2"
    for file in [
        *(f"figures/{name}.{ending}" for name in FIGURES for ending in ("pdf", "svg", "png")),
        *(f"tables/{name}.csv" for name in TABLES),
        "gallery/index.html",
    ]:
        (results / file).parent.mkdir(parents=True, exist_ok=True)
        (results / file).touch()
    for name in FIGURES:
        (results / "figures" / f"{name}.rst").write_text(f"What *{name}* shows & why. More of <it>.\n")
    arms = [
        Arm("imp", "imp", "curve", "imp", "", "iterative magnitude pruning").row,
        Arm("untrained", "imp", "baseline", "untrained", "", "untrained <b>").row,
    ]
    write_csv(results / "tables" / "arms.csv", list(arms[0]), [list(arm.values()) for arm in arms])
    write_csv(results / "costs.csv", COLUMNS, [["train_dense", 2, 3.5, 1.0, 2.5, 7.0, 512.0]])
    return results


SUMMARY = "units > 10 %"
FINDINGS = [
    Section("What <is> found", ["More & <b>more</b>.", "IoU > 0.04."], [["of", "n"], ["a <i>", "3"]], "A <note>."),
    Section("What is not", ["Nothing."]),
]


def write_csv(path: Path, columns, rows) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def report(results: Path) -> Page:
    write_report(results, FINDINGS, SUMMARY, FIGURES, list(TABLES), results / "report.html")
    return Page(results / "report.html")


def test_every_link_leads_to_a_file_or_a_place_on_the_page(results):
    page = report(results)
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")] + [image["src"] for image in page.all("img")]
    for link in links:
        assert link[1:] in places if link.startswith("#") else (results / link).is_file(), link
    assert {f"figures/{name}.{ending}" for name in FIGURES for ending in ("pdf", "svg", "png")} <= set(links)
    assert {f"tables/{name}.csv" for name in TABLES} | {"costs.csv", "gallery/index.html"} <= set(links)


def test_figures_stand_in_the_order_asked_for_with_captions_and_words_for_those_who_cannot_see_them(results):
    page = report(results)
    assert [image["src"] for image in page.all("img")] == [f"figures/{name}.svg" for name in FIGURES]
    assert page.all("img")[1]["alt"] == "IoU distribution: What iou_distribution shows & why."
    assert page.text.count("More of <it>.") == len(FIGURES)


def test_summary_arms_and_costs_are_on_the_page_itself(results):
    page = report(results)
    assert "units > 10 %" in page.text and "one & #2" in page.text
    for words in ("iterative magnitude pruning", "baseline", "untrained <b>", "train_dense", "512.0"):
        assert words in page.text
    assert all(column["scope"] == "col" for column in page.all("th")) and len(page.all("caption")) == 3


def test_findings_come_first_as_they_are_written(results):
    page = report(results)
    assert page.text.count("What <is> found") == 2  # the heading, and the caption of its table
    for words in ("More & <b>more</b>.", "IoU > 0.04.", "a <i>", "A <note>.", "What is not"):
        assert page.text.count(words) == 1
    assert not page.all("b") and not page.all("i")
    assert page.text.index("What <is> found") < page.text.index("Nothing.") < page.text.index(SUMMARY)
    columns = [column for column in page.all("th") if "scope" in column]
    assert [column.get("class") for column in columns[:2]] == [None, "number"]


def test_the_page_needs_no_script_and_nothing_from_elsewhere(results):
    page = report(results)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert "http" not in (results / "report.html").read_text()
    assert page.all("html") == [{"lang": "en"}] and page.all("title")
    assert [tag for tag, _ in page.tags if tag == "h1"] == ["h1"]


@pytest.mark.parametrize(
    "lost",
    ["figures/overview.svg", "figures/overview.pdf", "figures/overview.rst", "tables/units.csv", "costs.csv"],
)
def test_what_is_to_be_shown_and_is_missing_is_named(results, lost):
    (results / lost).unlink()
    with pytest.raises(UserError, match=f"{lost} is missing"):
        report(results)
    assert not (results / "report.html").exists()


def test_what_is_not_asked_for_is_not_shown(results):
    write_report(results, FINDINGS, SUMMARY, FIGURES[:1], list(TABLES), results / "report.html")
    assert FIGURES[1] not in (results / "report.html").read_text()


def test_a_caption_that_is_no_restructured_text_is_named(results):
    (results / "figures" / "overview.rst").write_text("A *caption that is not closed.\n")
    with pytest.raises(UserError, match=r"overview\.rst is damaged.*emphasis"):
        report(results)


def test_every_caption_can_be_read(tmp_path):
    for name in figure_names():
        (tmp_path / f"{name}.rst").write_text(caption_of(name))
    captions = [*CAPTIONS.glob("*.rst"), *tmp_path.glob("*.rst")]
    assert {*TABLES, "costs", "workflow", "overview"} <= {path.stem for path in captions}
    for path in captions:
        html, sentence = read_caption(path)
        assert "{{" not in html and len(sentence) > 10, path
