"""The docs hang together: links lead somewhere, the README stays short, and every page can be found from it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """Where a page's links within the repository lead: file and anchor."""
    targets = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", page.read_text())
    inner = [first or second for first, second in targets if not (first or second).startswith("http")]
    pairs = [target.partition("#") for target in inner]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in pairs]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_page_and_picture_can_be_reached_from_the_readme():
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            ahead += [target for target, _ in links(page)] if page.suffix == ".md" else []
    shown = {path for path in DOCS.rglob("*") if path.suffix in (".md", ".png", ".jpg")}
    shown -= {path for path in shown if DOCS / "example" in path.parents and path.suffix != ".md"}
    assert shown <= reached, shown - reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_configs_that_are_named_exist(page):
    text = page.read_text()
    modules = re.findall(r"python -m ((?:workflow_scripts|benchmarks)(?:\.\w+)*)", text)
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for config in re.findall(r"(?<![\w/])configs/[\w/]+\.yaml", text):
        assert (ROOT / config).exists(), config
