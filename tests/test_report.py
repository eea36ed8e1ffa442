"""The report: one page that answers first, links what is there, says how it came about, and keeps nothing back."""

import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from small_experiments import BASELINES, REFERENCES
from small_results import ALL_TABLES, FIGURES, read_facts, write_results

from benchmarks.gallery import BROWSERS
from workflow_scripts.findings.section import Section
from workflow_scripts.plan.experiment import ABLATION_TABLES, COMPARED, TABLES
from workflow_scripts.plan.figures import caption_of, figure_names, tables_of
from workflow_scripts.run.how_made import in_words
from workflow_scripts.run.page import read_caption
from workflow_scripts.run.write_report import CAPTIONS, PARTS, Contents, split_findings, write_report
from workflow_scripts.shared.files import UserError

VOID = {"meta", "img", "br", "hr", "col"}
WARNINGS = ["Few <pictures>.", "Dead units."]


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


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("made") / "one")


@pytest.fixture
def results(made, tmp_path):
    """The folder of an experiment with a name that HTML and addresses must escape."""
    return Path(shutil.copytree(made, tmp_path / "one & #2"))


FINDINGS = [
    Section("What <is> asked", ["More & <b>more</b>.", "IoU > 0.04."]),
    Section("In short", ["It holds."], [["of", "n"], ["a <i>", "3"]], "A <note>."),
    Section("What is not", ["Nothing."]),
]


def report(results: Path, **changed: Any) -> Page:
    contents = Contents(FINDINGS, WARNINGS, read_facts(results), FIGURES, ALL_TABLES)
    write_report(results, contents._replace(**changed), results / "report.html")
    return Page(results / "report.html")


def test_every_link_leads_to_a_file_or_a_place_on_the_page(results):
    page = report(results)
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")] + [image["src"] for image in page.all("img")]
    for link in links:
        assert link[1:] in places if link.startswith("#") else (results / link).is_file(), link
    assert {f"figures/{name}.{ending}" for name in FIGURES for ending in ("pdf", "svg", "png", "tex")} <= set(links)
    files = {"costs.csv", "config.yaml", "provenance.json", "checksums.sha256", "gallery/index.html"}
    assert {f"tables/{name}.csv" for name in ALL_TABLES} | files <= set(links)


def test_the_overview_comes_first_and_training_last_with_captions_and_words_for_those_who_cannot_see(results):
    page = report(results)
    order = ["overview", "relative_to_dense", "iou_distribution", "training_curves"]
    assert [image["src"] for image in page.all("img")] == [f"figures/{name}.svg" for name in order]
    assert page.all("img")[2]["alt"] == "IoU distribution: What iou_distribution shows & why."
    assert page.text.count("More of <it>.") == len(FIGURES)


def test_parts_stand_in_their_order_and_those_without_contents_are_left_out(results):
    page = report(results)
    titles = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert titles == list(PARTS)
    assert [link["href"] for link in page.all("a")][: len(PARTS)] == [f"#{name}" for name in PARTS]
    untrained = report(results, figures=FIGURES[:1], findings=FINDINGS[:2])
    left_out = {"training", "overview", "detail"}
    titles = [attributes["id"] for tag, attributes in untrained.tags if tag == "h2"]
    assert titles == [part for part in PARTS if part not in left_out]


def test_each_figure_names_the_tables_that_it_is_drawn_from(results):
    html = Path(results / "report.html")
    report(results)
    after = html.read_text().partition('src="figures/iou_distribution.svg"')[2].partition("</figure>")[0]
    assert all(f'href="tables/{name}.csv"' in after for name in ("networks", "units"))
    assert 'href="gallery/index.html"' in after and 'href="tables/categories.csv"' not in after


@pytest.mark.parametrize("name", figure_names())
def test_every_figure_is_drawn_from_tables_that_there_are(name):
    known = {*TABLES, *COMPARED, *ABLATION_TABLES, "rotations", "sweep"}
    assert tables_of(name) and tables_of(name) <= known


def test_numbers_are_those_of_the_table_with_n_and_spread_for_each_arm_and_level(results):
    report(results)
    page = (results / "report.html").read_text()
    summary = page.partition('<h2 id="summary">')[2].partition("<h2")[0]
    networks = pd.read_csv(results / "tables" / "networks.csv")
    for (arm, level), rows in networks.groupby(["arm", "level"]):
        of_level = [f"{100 * rows['test_accuracy'].mean():.1f} ± {100 * rows['test_accuracy'].std():.1f}"]
        of_level += [f"{rows[name].mean():.1f} ± {rows[name].std():.1f}" for name in ("detectors_a", "concepts_a")]
        lines = [line for line in summary.split("<tr>") if all(f">{cell}<" in line for cell in of_level)]
        assert lines and all(f">{len(rows)}<" in line for line in lines), (arm, level)
    assert summary.count("<tr>") == 1 + 1 + 3 + 2 * (len(BASELINES) + len(REFERENCES))  # a row names each arm
    rotations = pd.read_csv(results / "tables" / "rotations.csv")
    dense = rotations[rotations["level"] == 0].groupby("replicate")["detectors_a"].mean()
    assert f">{dense.mean():.1f} ± {dense.std():.1f}<" in summary
    for label in BASELINES.values():
        assert f"baseline: {label}<" in summary


def test_arms_costs_and_warnings_are_on_the_page_itself(results):
    page = report(results)
    for words in ("one & #2", "iterative magnitude pruning", "baseline", "train_dense", "512.0", *WARNINGS):
        assert words in page.text
    assert all("scope" in column for column in page.all("th"))
    assert page.text.count("Warnings (2)") == 2 and "None: nothing" not in page.text
    assert "None: nothing" in report(results, warnings=[]).text


def test_what_was_trained_and_dissected_is_on_the_page_in_words(results):
    text = report(results).text
    assert "Trained: a_network(widths=[4, 8]), with 1,234 pictures of 5 classes; tested with 56 others." in text
    assert "Dissected with 2,000 pictures, which have 77 labels of 2 kinds: object and <part>." in text
    assert "networks with initial weights" in text  # what the arm "untrained" is


def test_how_it_was_made_is_on_the_page_in_words(results):
    page = report(results)
    facts = read_facts(results)
    how = page.text.rpartition("How it was made")[2]
    for words in (
        *("git checkout c0ffee", "snakemake --cores 3", "version 1.2.3", "2026-01-02 03:04:05 UTC", "a <CPU>", "a GPU"),
        *("Python 3.11.7", "torch 2.13.0", "timm not installed", "con & cepts", facts["data"][0]["sha256"]),
        *("Seeds: 0, 1 and 2 of the replicates, 2019", "0.5 % of its activations", "IoU is > 0.04"),
    ):
        assert words in how, words
    facts["seeds"] = {"replicates": [], "world": None}
    facts["project"] |= {"commit": None, "changed": None}
    unknown = report(results, facts=facts)
    assert "git checkout" not in unknown.text and "the commit is not known" in unknown.text
    assert "Seeds" not in unknown.text


def test_every_choice_of_the_dissection_has_words_of_its_own(made):
    choices = {
        "quantile_of": ("raw", "upsampled"),
        "knots": ("receptive_field", "receptive_field_exact", "align_corners_false", "align_corners_true"),
        "border": ("clamp", "zero"),
        "mask": ("above", "at_least"),
        "counted_images": ("with_category", "with_label_in_mask", "all"),
        "planes": ("once", "each"),
        "detector_rule": ("above", "at_least"),
        "detector_iou": (0.04, 0.1),
        "quantile": (0.005, 0.01),
        "forward": ("float32", "bfloat16"),
    }
    protocol = read_facts(made)["protocol"]
    texts = {in_words(protocol | {name: value}) for name, values in choices.items() for value in values}
    assert len(texts) == 1 + sum(len(values) - 1 for values in choices.values())


def test_what_was_found_comes_first_in_short_and_behind_the_numbers_in_detail(results):
    page = report(results)
    assert page.text.count("In short") == 2  # the heading, and the caption of its table
    for words in ("More & <b>more</b>.", "IoU > 0.04.", "a <i>", "A <note>.", "What is not"):
        assert page.text.count(words) == 1
    assert not page.all("b") and not page.all("i")
    places = [page.text.index(words) for words in ("What <is> asked", "In short", "12 units", "Nothing.")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("titles", "short"),
    [(["asked"], 1), (["asked", "In short: a", "In short: b", "more"], 3), (["asked", "more"], 1), ([], 0)],
)
def test_findings_are_split_behind_those_in_short(titles, short):
    sections = [Section(title, [title]) for title in titles]
    first, others = split_findings(sections)
    assert first + others == sections and len(first) == short


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
    (results / "report.html").unlink()
    with pytest.raises(UserError, match=f"{lost} is missing"):
        report(results)
    assert not (results / "report.html").exists()


def test_what_is_not_asked_for_is_not_shown(results):
    report(results, figures=FIGURES[:1])
    assert f"figures/{FIGURES[1]}" not in (results / "report.html").read_text()


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


def test_the_page_fits_any_screen_and_the_accessibility_checker_finds_nothing(results):
    """Skipped where there is no Chromium; with NEED_BROWSER set that is a failure."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        (pytest.fail if os.environ.get("NEED_BROWSER") else pytest.skip)("there is no Chromium")
    facts = read_facts(results)
    facts["command"] = "snakemake " + 300 * "x"
    report(results, facts=facts)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for width, media in ((360, "screen"), (1280, "screen"), (760, "print")):
            page = browser.new_context(offline=True, viewport={"width": width, "height": 800}).new_page()
            page.emulate_media(media=media)
            page.goto((results / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 300)")
            wide = page.locator(".scroll").evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth)")
            assert page.locator(".scroll:not([tabindex='0'])").count() == 0
            assert media == "screen" or not wide
            checked = Axe().run(page).response
            assert len(checked["passes"]) > 10
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in checked["violations"]] == []
        browser.close()
