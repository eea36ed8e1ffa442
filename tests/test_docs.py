"""The docs hang together: links lead somewhere, the README stays short, and every page can be found from it."""

import re
from pathlib import Path

import pytest

from workflow_scripts.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
SOURCES = [path for folder in ("workflow_scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
OPTIONS = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', "".join(path.read_text() for path in SOURCES)))
ENVS = [*(ROOT / "envs").glob("*.txt")]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_our_commands_are_given_options_that_there_are_and_those_that_they_need(page):
    """By the text of the sources: a command's own has what it needs, all together what there is."""
    command = r"python -m (workflow_scripts (\w+)|(?:workflow_scripts|benchmarks)[.\w]+)((?: [^\s`#|;)]+)*)"
    for name, word, words in re.findall(command, page.read_text()):
        folder = ROOT / (COMMANDS[word] if word else name).replace(".", "/")
        own = folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")
        needed = re.findall(r'add_argument\(\s*"(--[\w-]+)"[^()]*required=True', own.read_text())
        given = [option for option in words.split() if option.startswith("--") and option != "--help"]
        assert set(given) <= OPTIONS, (name, given)
        assert "--help" in words or set(needed) <= set(given), (name, needed)


def test_versions_that_are_named_are_those_that_are_pinned():
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", "".join(path.read_text() for path in ENVS), flags=re.MULTILINE))
    for path in [*PAGES, *SOURCES]:
        for name, version in re.findall(r"([\w-]+)==(\d[\w.]*\w)", path.read_text()):
            assert pins.get(name, version) == version, f"{path}: {name}=={version}"
