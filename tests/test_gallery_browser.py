"""The gallery's page, opened from disk in Chromium, compared with what its data say.

Skipped where there is no Chromium; with NEED_BROWSER set that is a failure.
"""

import io
import json
import os
import re
import shlex
import shutil
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

import h5py
import numpy as np
import pandas as pd
import pytest
import reference_dissection as reference
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import ConsoleMessage, sync_playwright
from small_experiments import arm_row, complete, write_validation

from benchmarks.gallery import BROWSERS, IMAGES, TILE, TILE_BYTES, UNITS_PER_SHEET, write_synthetic
from workflow_scripts.__main__ import COMMANDS
from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.interpolation import grid, interpolate
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.gallery import draw_unit
from workflow_scripts.gallery.draw_concepts import draw_concepts
from workflow_scripts.gallery.draw_pictures import draw_pictures
from workflow_scripts.gallery.draw_units import Tiles, draw_units
from workflow_scripts.gallery.site_data import network_folder
from workflow_scripts.gallery.write_gallery import write_gallery

HOSTILE = '<img src=x onerror="document.title=1">'
LABELS = {  # number: name and category
    1: ("car", "object"),
    2: ("cart", "object"),
    3: (HOSTILE, "object"),
    4: ("a_&_b", "part"),
    5: ("wheel", "part"),
    6: ("17", "part"),
    7: ("red-c", "color"),
}
CATEGORIES = ["color", "object", "part"]
LAYERS = {"stages.2": 9, "stages.3": 30}
CUT = 0.04
TILES = Tiles(3, 64, 10**6, enlarged=True)
NETWORKS = [  # arm, replicate, level, density, accuracy
    *[("imp", 1, level, 0.3**level, 0.97 - 0.1 * level) for level in range(4)],
    *[("imp", 2, level, 0.5**level, None) for level in range(2)],
    ("trained_twice", 1, 0, 1, 0.98),
    ("untrained", 1, 0, 1, 0.05),
]
ARMS = {"imp": "curve", "trained_twice": "reference", "untrained": "baseline"}  # and their roles
ONE_LAYER = "untrained"  # has stages.3 alone
SHARED = ("trained_twice", ("imp", 2, 0))  # drawn where the other is
DESK = (1400, 900)  # pixels


# ---------------------------------------------------------------- a gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    """A gallery made by the workflow's scripts: of random maps, and of tallies with IoUs of our choice."""
    work = tmp_path_factory.mktemp("dissected")
    folder = tmp_path_factory.mktemp("a folder, 100 % #1") / "gallery"
    write_concepts(work)
    for arm, replicate, level, *_ in NETWORKS:
        if arm != SHARED[0]:
            layers = layers_of(arm)
            write_dissection(work, layers, seed=100 * replicate, level=level)
            activations, tally, concepts = (work / f"{name}.h5" for name in ("activations", "tally", "concepts"))
            name = network_folder(arm, replicate, level)
            draw_units(activations, tally, concepts, work / "nulls.csv", TILES, name, folder / name)
    write_tables(folder, work)
    draw_concepts(work / "concepts.h5", TILES, folder / "concepts")
    networks = [path.parent for path in folder.glob("networks/**/layer_0.js")]
    draw_pictures(work / "concepts.h5", networks, 48, folder / "pictures")
    about = {"name": "browsed", "quantile": 0.005, "detector_iou": CUT, "detector_rule": "above"}
    about |= {"images": TILES.pictures, "tile": TILES.side, "enlarged_pixels": 48}
    other = {network_folder(SHARED[0], 1, 0): network_folder(*SHARED[1])}
    write_gallery(about, work, work / "concepts.h5", other, folder)
    return folder


def layers_of(arm: str) -> dict[str, int]:
    return {name: units for name, units in LAYERS.items() if arm != ONE_LAYER or name == "stages.3"}


def write_concepts(work: Path) -> None:
    """Twenty pictures of a few large patches of colour, which tell a strip from another."""
    labels = {number: (name, [category]) for number, (name, category) in LABELS.items()}
    concepts = reference.Concepts(CATEGORIES, labels, 12, 12)
    random = np.random.default_rng(5)
    for place in range(20):
        pixels = np.kron(random.integers(0, 256, (3, 3, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        planes = {
            category: [np.full((12, 12), next(number for number in LABELS if LABELS[number][1] == category))]
            for category in CATEGORIES
        }
        if place < len(LABELS):  # so that each occurs
            planes[LABELS[place + 1][1]] = [np.full((12, 12), place + 1)]
        concepts.pictures.append(reference.Picture(pixels, planes))
    reference.write_broden(concepts, work / "set")
    pack_concepts(work / "set", 48, work / "concepts.h5")


def write_dissection(work: Path, layers: dict[str, int], seed: int, level: int) -> None:
    """Maps and tally of a network.

    Unit 3 dies at level 2, 4 touches no concept, 5 is active in one picture, 6 becomes a detector at level 1.
    """
    with h5py.File(work / "concepts.h5") as concepts:
        fingerprint = concepts.attrs["fingerprint"]
    with h5py.File(work / "activations.h5", "w") as dump, h5py.File(work / "tally.h5", "w") as tally:
        dump.attrs.update(format=FORMAT, fingerprint=f"{seed} {level}", concepts=fingerprint)
        tally.attrs.update(format=FORMAT, activations=f"{seed} {level}", concepts=fingerprint)
        tally.attrs.update(knots="align_corners_false", border="clamp", mask="above", shuffle_labels="none")
        for layer, units in layers.items():
            maps = maps_of(units, seed, level)
            dump[f"maps/{layer}"] = maps
            scores = chosen_scores(units, seed, level)
            area = np.int64(100_000)
            tally[f"{layer}/intersection"] = np.round(2 * area * scores / (1 + scores)).astype(np.int64)
            tally[f"{layer}/unit_area"] = np.full((units, len(CATEGORIES)), area)
            tally[f"{layer}/label_area"] = np.full(len(LABELS), area)
            tally[f"{layer}/threshold"] = np.full(units, 1.5, np.float32)
            tally[f"{layer}/maximum"] = maps.max((0, 2, 3)).astype(np.float32)
            tally[f"{layer}/minimum"] = maps.min((0, 2, 3)).astype(np.float32)
            tally[f"{layer}/dead"] = np.ptp(maps, axis=(0, 2, 3)) == 0
            tally[layer].attrs["knots"] = "align_corners_false"

    name_units(work / "tally.h5", work / "concepts.h5", CUT, "above", work / "units.csv")
    random, count = np.random.default_rng([seed, level]), sum(layers.values())
    chance, agreement = random.uniform(0, 0.02, count), random.integers(0, 41, count) / 40
    # Of the last layer's units: the least and the most that there can be.
    chance[-2:], agreement[-2:] = [0.000321, 1], [0, 1]
    write_validation(work / "units.csv", iou_chance=chance, agreement=agreement)


def maps_of(units: int, seed: int, level: int) -> np.ndarray:
    """Maps float16 (20, units, 4, 4) of a layer of a network."""
    maps = np.random.default_rng([seed, level, units]).normal(size=(20, units, 4, 4)).astype(np.float16)
    maps[:, 5] = 0
    maps[7, 5] = 3
    if level >= 2:
        maps[:, 3] = 0
    return maps


def chosen_scores(units: int, seed: int, level: int) -> np.ndarray:
    """IoU of units and concepts: one or two that stay over the levels and fall, and some noise."""
    random = np.random.default_rng([seed, units])
    scores = np.zeros((units, len(LABELS)))
    favourite, second = random.integers(0, len(LABELS), (2, units))
    scores[np.arange(units), second] = random.uniform(0.02, 0.2, units)
    scores[np.arange(units), favourite] = random.uniform(0.03, 0.4, units) * 0.6**level
    scores += np.random.default_rng([seed, units, level]).uniform(0, 0.03, scores.shape)
    scores[4] = 0
    scores[6, 0] = [0.02, 0.3, 0.2, 0.3][level]
    scores[6, 1:] = 0.01
    if level >= 2:
        scores[3] = 0
    return scores


def write_tables(folder: Path, tables: Path) -> None:
    """networks.csv, arms.csv and units.csv of what is drawn."""
    arms = [arm_row(arm, "imp", role) for arm, role in ARMS.items()]
    pd.DataFrame(arms).to_csv(tables / "arms.csv", index=False)
    networks, units = [], []
    for arm, replicate, level, density, accuracy in NETWORKS:
        place = {"arm": arm, "replicate": replicate, "level": level}
        drawn = SHARED[1] if arm == SHARED[0] else (arm, replicate, level)
        for index, (layer, count) in enumerate(layers_of(arm).items()):
            found = read_units(folder, *drawn, index)
            named = [unit["best"][0][:2] for unit in found if unit["detector"]]
            counts = {"layer": layer, "units": count, "detectors_a": len(named), "concepts_a": len(set(named))}
            shown = "" if accuracy is None else accuracy
            networks.append(place | {"density": density, "test_accuracy": shown} | counts)
            for unit in found:
                name, category, _ = unit["best"][0] if unit["best"] else ("", "", 0)
                says = {"unit": unit["number"], "category": category, "label": name, "detector": unit["detector"]}
                units.append(place | {"layer": layer} | says)
    for name, rows in (("networks", networks), ("units", units)):
        complete(name, pd.DataFrame(rows)).to_csv(tables / f"{name}.csv", index=False)


def read_call(path: Path) -> list:
    """The arguments of the call that a data script is made of."""
    text = path.read_text()
    return json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")


def read_units(folder: Path, arm="imp", replicate=1, level=0, index=1) -> list[dict]:
    """A layer's units as its data script lists them: their concepts are (name, category, IoU)."""
    _, data = read_call(folder / network_folder(arm, replicate, level) / f"layer_{index}.js")
    units = []
    for number, best in enumerate(data["best"]):
        concepts = [
            (data["labels"][place][0], CATEGORIES[data["labels"][place][1]], iou)
            for place, iou in zip(best[::2], best[1::2], strict=True)
        ]
        units.append(
            {
                "number": number,
                "best": concepts,
                "detector": bool(concepts) and concepts[0][2] > CUT,
                "slot": data["slot"][number],
                "shown": data["shown"][number],
                "dead": number in data["dead"],
                "chance": data["chance"][number],
                "agreement": data["agreement"][number],
            }
        )
    return units


# ---------------------------------------------------------------- the browser


@pytest.fixture(scope="module")
def new_page():
    """A function that opens a page in Chromium, without a network; its arguments are Playwright's for a context."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("NEED_BROWSER"):
        pytest.fail("there is no Chromium")
    if path is None:
        pytest.skip("there is no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])

        @lru_cache
        def context(**options):
            return browser.new_context(offline=True, **options)

        yield lambda **options: context(**options).new_page()
        browser.close()


class Visit:
    """Pages that are open, and all that went wrong or was asked for in them."""

    def __init__(self, new_page):
        self.new_page = new_page
        self.pages = []
        self.errors: list[str] = []
        self.requests: list[str] = []

    def note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def open(self, folder: Path, address: str = "", view: str = ".card", size=DESK, **options):
        """A page of that width and height, once it shows `view`."""
        page = self.new_page(**options)
        self.pages.append(page)
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        page.set_default_timeout(20_000)
        page.on("console", self.note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto((folder / "index.html").as_uri() + address)
        page.wait_for_selector(view, state="visible")
        return page

    def files(self, ending: str) -> set[Path]:
        """The files of some kind that were asked for."""
        return {Path(unquote(url.removeprefix("file://"))) for url in self.requests if url.endswith(ending)}


@pytest.fixture
def visit(new_page):
    visit = Visit(new_page)
    yield visit
    for page in visit.pages:
        page.close()
    assert visit.errors == []
    assert [url for url in visit.requests if not url.startswith(("file://", "data:,"))] == []


def shown_units(page) -> list[int]:
    return page.eval_on_selector_all(".card", "cards => cards.map(card => Number(card.dataset.unit))")


def texts(page, selector: str) -> list[str]:
    return page.eval_on_selector_all(selector, "elements => elements.map(element => element.textContent)")


def address_of(page) -> str:
    return "#" + page.url.partition("#")[2] if "#" in page.url else ""


def network_value(arm: str, replicate: int) -> str:
    return json.dumps([arm, replicate], separators=(",", ":"))


def expected_units(
    units: list[dict], sort="iou", category="", concept="", search="", detectors=False, since="", first=None
) -> list[int]:
    """The numbers of the units that some filters leave, in order, by the definition; `first` those of level 0."""

    def is_left(unit):
        name, its_category, _ = unit["best"][0] if unit["detector"] else (None, None, 0)
        listed = [each[0] for rank, each in enumerate(unit["best"]) if rank == 0 or each[2] > CUT]
        numbered = re.fullmatch(r"(unit)?\s*#?(\d+)", search.lower())
        found = any(search.lower() in text.lower() for each in listed for text in (each, shown(each)))
        found = found or (numbered and int(numbered[2]) == unit["number"])
        return (
            (not search or found)
            and (not category or its_category == category)
            and (not concept or f"{its_category}/{name}" == concept)
            and (unit["detector"] or not detectors)
            and (not since or since == state_of(unit, first and first[unit["number"]], since))
        )

    left = [unit for unit in units if is_left(unit)]
    if sort != "unit":
        left.sort(key=lambda unit: (-unit["best"][0][2] if unit["best"] else 0, unit["number"]))
    if sort == "concept":
        left.sort(
            key=lambda unit: (not unit["detector"], shown(unit["best"][0][0]).lower() if unit["detector"] else "")
        )
    return [unit["number"] for unit in left]


def shown(name: str) -> str:
    """A name as the page shows it; of the labels here one has an ending, and one underscores."""
    return {"red-c": "red", "a_&_b": "a & b"}.get(name, name)


def state_of(unit: dict, first: dict | None, asked: str) -> str:
    """What has become of a unit since it was `first`; "dead" is asked for by itself."""
    if asked == "dead":
        return "dead" if unit["dead"] else ""
    before, now = (each["best"][0][:2] if each and each["detector"] else None for each in (first, unit))
    if before and now:
        return "kept" if before == now else "renamed"
    return "lost" if before else "new" if now else ""


def choose(page, sort=None, category=None, concept=None, search=None, detectors=None) -> None:
    """Set filters as a person does."""
    if sort:
        page.check(f"input[name=sort][value={sort}]", force=True)
    if category:
        page.click(f".chip[value={category}]")
    if concept:
        page.select_option("#concept", concept)
    if search is not None:
        page.fill("#search", search)
    if detectors is not None:
        page.set_checked("#detectors", detectors)


def strip_of(page, selector: str) -> np.ndarray:
    """What is on the screen of a strip, float (TILES.side, TILES.pictures * TILES.side, 3)."""
    page.locator(selector).scroll_into_view_if_needed()
    page.wait_for_function("s => document.querySelector(s).style.backgroundImage", arg=selector)
    page.evaluate(
        """async (selector) => {
          const picture = new Image();
          picture.src = document.querySelector(selector).style.backgroundImage.slice(5, -2);
          await picture.decode();
        }""",
        selector,
    )
    png = page.locator(selector).screenshot()
    size = (TILES.pictures * TILES.side, TILES.side)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB").resize(size), float)


def row_of_sheet(folder: Path, unit: dict, arm="imp", replicate=1, level=0, index=1) -> np.ndarray:
    """The row of a sheet that is a unit's, of the same shape."""
    number, row = divmod(unit["slot"], UNITS_PER_SHEET)
    sheet = Image.open(folder / network_folder(arm, replicate, level) / f"sheets/layer_{index}_{number}.webp")
    return np.asarray(sheet.convert("RGB"), float)[row * TILES.side : (row + 1) * TILES.side]


def difference(one: np.ndarray, other: np.ndarray, count: int) -> float:
    """The mean difference of the middles of the first `count` pictures."""
    middle = [slice(place * TILES.side + 8, (place + 1) * TILES.side - 8) for place in range(count)]
    return float(np.mean([np.abs(one[8:-8, part] - other[8:-8, part]).mean() for part in middle]))


# ---------------------------------------------------------------- all units


def test_it_opens_from_disk_and_says_what_it_shows(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    units = read_units(gallery)
    detected = [unit for unit in units if unit["detector"]]
    assert page.title() == "browsed: unit gallery"
    assert page.inner_text("#shown") == "30 units"
    concepts = len({unit["best"][0][0] for unit in detected})
    assert (
        page.inner_text("#facts")
        == f"{len(detected)} detectors of {concepts} concepts · accuracy 97\u00a0% · 100\u00a0% of the weights"
    )
    for number, text in zip(shown_units(page), texts(page, ".card"), strict=True):
        unit = units[number]
        assert f"unit {unit['number']}" in text
        assert ("not a detector" in text) == (not unit["detector"])
        if unit["best"]:
            name, category, iou = unit["best"][0]
            assert f"{shown(name)}{category} {iou:.3f}" in text
        for name, _, iou in unit["best"][1:]:
            assert (f"{shown(name)} {iou:.3f}" in text) == (iou > CUT)


@pytest.mark.parametrize("rule", ["above", "at_least"])
def test_the_rule_says_what_a_detector_is(copied, visit, rule):
    units = read_units(copied)
    cut = units[8]["best"][0][2]  # unit 8's own
    (experiment,) = read_call(copied / "experiment.js")
    assert experiment["least_iou"] == np.nextafter(CUT, 1)
    experiment["least_iou"] = cut if rule == "at_least" else float(np.nextafter(cut, 1))
    experiment |= {"detector_iou": cut, "detector_rule": rule}
    (copied / "experiment.js").write_text(f"gallery.experiment({json.dumps(experiment)});")

    def is_past(iou: float) -> bool:
        return iou > cut or (rule == "at_least" and iou == cut)

    page = visit.open(copied, "#layer=stages.3&sort=unit")
    cards = texts(page, ".card")
    detectors = [unit["number"] for unit in units if unit["best"] and is_past(unit["best"][0][2])]
    assert [number for number, text in enumerate(cards) if "not a detector" not in text] == detectors
    assert (8 in detectors) == (rule == "at_least") and 1 < len(detectors) < 29
    for unit, text in zip(units, cards, strict=True):
        for name, _, iou in unit["best"][1:]:
            assert (f"{shown(name)} {iou:.3f}" in text) == is_past(iou)
    assert page.text_content("#cut") == f"{'above' if rule == 'above' else 'at least'} {cut}"
    choose(page, detectors=True)
    assert shown_units(page) == detectors
    page.click(f'.card[data-unit="{detectors[0]}"]')
    page.wait_for_selector("#across li")
    here = page.query_selector("#across li.here")
    weak = sum(not is_past(iou) for *_, iou in units[detectors[0]]["best"])
    assert len(texts(here, ".short > .weak")) == len(texts(page, "#focus li.weak")) == weak


@pytest.mark.parametrize(
    "chosen",
    [
        {"sort": "unit"},
        {"category": "part"},
        {"sort": "concept"},
        {"concept": "object/car"},
        {"detectors": True},
        {"search": "CAR"},
        {"search": "17"},
        {"search": "unit 17"},
        {"search": "Unit #8"},
        {"search": "a & b"},
        {"search": "a_&"},
        {"search": HOSTILE[:7]},
        {"sort": "unit", "category": "object", "detectors": True},
        {"category": "object", "concept": "object/cart", "search": "car", "detectors": True},
        {"search": "no such concept"},
    ],
    ids=str,
)
def test_what_is_shown_is_what_the_filters_leave_and_the_address_gives_it_again(gallery, visit, chosen):
    units = read_units(gallery)
    page = visit.open(gallery, "#layer=stages.3")
    choose(page, **chosen)
    expected = expected_units(units, **chosen)
    assert shown_units(page) == expected
    assert page.inner_text("#shown") == ("30 units" if len(expected) == 30 else f"{len(expected)} of 30 units")
    assert page.locator("#nothing").is_visible() == (not expected)
    # The number beside a choice is what choosing it would leave.
    others = {key: value for key, value in chosen.items() if key not in ("category", "concept")}
    counts = {name: len(expected_units(units, **others | {"category": name})) for name in CATEGORIES}
    assert texts(page, "#categories .chip") == [f"{name} {count}" for name, count in counts.items()]
    others = {key: value for key, value in chosen.items() if key != "concept"}
    keys = {f"{category}/{name}": shown(name) for name, category in LABELS.values()}
    counts = {key: len(expected_units(units, **others | {"concept": key})) for key in keys}
    some = {key: f"{keys[key]} ({count})" for key, count in counts.items() if count}
    if "concept" in chosen and chosen["concept"] not in some:
        some[chosen["concept"]] = f"{chosen['concept']} (0)"
    assert sorted(texts(page, "#concept option")[1:]) == sorted(some.values())
    # A bar for each, as high as its number.
    most = max(1, *counts.values())
    bars = page.eval_on_selector_all(
        "#graph button",
        "all => all.map(b => [b.value, b.querySelector('b').textContent, b.style.getPropertyValue('--share')])",
    )
    assert {key: (int(number), float(share)) for key, number, share in bars} == {
        key: (count, pytest.approx(count / most)) for key, count in counts.items() if count
    }

    again = visit.open(gallery, address_of(page), view="#units")
    again.wait_for_function("() => document.querySelector('#shown').textContent")
    assert shown_units(again) == expected
    assert again.input_value("#search") == chosen.get("search", "")
    assert again.input_value("#concept") == chosen.get("concept", "")
    assert again.is_checked("#detectors") == chosen.get("detectors", False)
    assert again.locator('#categories [aria-pressed="true"]').count() == ("category" in chosen)
    assert address_of(again) == address_of(page)


def test_filters_can_be_cleared_and_a_category_chosen_again_is_left(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&search=zzz&detectors=1", view="#nothing")
    page.click("#nothing .clear")
    assert len(shown_units(page)) == 30
    page.click(".chip[value=part]")
    page.click(".chip[value=part]")
    assert len(shown_units(page)) == 30
    assert address_of(page) == "#layer=stages.3"


def test_cards_show_their_row_of_the_sheet(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    units = [unit for unit in read_units(gallery) if unit["shown"]]
    for unit in (units[0], units[5], units[-1]):
        strip = strip_of(page, f'.card[data-unit="{unit["number"]}"] .strip')
        own = difference(strip, row_of_sheet(gallery, unit), unit["shown"])
        others = [
            difference(strip, row_of_sheet(gallery, other), unit["shown"]) for other in units if other is not unit
        ]
        assert own < 6 < 20 < min(others)


def test_a_strip_ends_where_the_pictures_end(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    unit = read_units(gallery)[5]
    assert unit["shown"] == 1
    strip = strip_of(page, '.card[data-unit="5"] .strip')
    blank = strip[8:-8, TILES.side + 8 : -8]
    assert np.ptp(blank) == 0
    assert blank.mean() > 240  # the card's ground


def test_networks_layers_and_levels_are_chosen(gallery, visit):
    page = visit.open(gallery)
    assert len(shown_units(page)) == 9  # the first layer
    page.select_option("#layer", "stages.3")
    page.wait_for_selector('.card[data-unit="29"]', state="attached")
    choose(page, category="part", detectors=True)
    for level in (1, 2, 3):
        page.click("#level-after")
        units = read_units(gallery, level=level)
        page.wait_for_function("d => document.querySelector('#facts').textContent.endsWith(d)", arg=density(level))
        assert shown_units(page) == expected_units(units, category="part", detectors=True)
    assert page.is_disabled("#level-after")
    page.check('#levels input[value="1"]', force=True)
    page.select_option("#network", network_value("imp", 2))
    page.wait_for_function("() => document.querySelector('#facts').textContent.includes('not measured')")
    assert address_of(page) == "#replicate=2&level=1&layer=stages.3&category=part&detectors=1"
    assert shown_units(page) == expected_units(
        read_units(gallery, replicate=2, level=1), category="part", detectors=True
    )
    # A network of one level, with one layer.
    page.select_option("#network", network_value(ONE_LAYER, 1))
    page.wait_for_function("() => document.querySelector('#facts').textContent.includes('5\u00a0%')")
    assert shown_units(page) == expected_units(read_units(gallery, ONE_LAYER, index=0), category="part", detectors=True)
    assert not page.is_visible("#level-field")
    assert not page.is_visible("#layer-field")


def density(level: int) -> str:
    return {0: "100", 1: "30", 2: "9", 3: "2.7"}[level] + "\u00a0% of the weights"


def test_a_network_under_a_second_name_shows_the_other_ones_units(gallery, visit):
    page = visit.open(gallery, f"#arm={SHARED[0]}&layer=stages.3")
    assert "accuracy 98\u00a0%" in page.inner_text("#facts")
    assert shown_units(page) == expected_units(read_units(gallery, *SHARED[1]))
    assert visit.files("layer_1.js") == {gallery / network_folder(*SHARED[1]) / "layer_1.js"}


def test_names_are_text(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    unit = next(unit for unit in read_units(gallery) if unit["best"] and unit["best"][0][0] == HOSTILE)
    assert page.locator(f'.card[data-unit="{unit["number"]}"] .name').text_content() == HOSTILE
    assert page.locator("#concept option", has_text=HOSTILE).count() == 1
    page.click(f'.card[data-unit="{unit["number"]}"]')
    page.wait_for_selector("#across li")
    assert HOSTILE in page.inner_text("#focus")
    assert page.locator("img").count() == 0
    assert page.title() == f"Unit {unit['number']}, browsed: unit gallery"


# ---------------------------------------------------------------- one unit


@pytest.mark.parametrize("number", [3, 4, 5, 6, 29])
def test_a_unit_is_shown_at_all_levels(gallery, visit, number):
    page = visit.open(gallery, f"#layer=stages.3&level=1&unit={number}", view="#across li")
    levels = [read_units(gallery, level=level)[number] for level in range(4)]
    rows = page.query_selector_all("#across li")
    assert len(rows) == 4
    before = None
    for level, (row, unit) in enumerate(zip(rows, levels, strict=True)):
        assert row.query_selector(".level b").inner_text() + " of the weights" == density(level)
        assert f"accuracy {97 - 10 * level}\u00a0%" in row.inner_text()
        assert (row.get_attribute("class").split().count("here") == 1) == (level == 1)
        assert row.query_selector(".level").get_attribute("aria-current") == ("true" if level == 1 else None)
        listed = texts(row, ".short > span")
        assert listed == [f"{shown(name)} {category} {iou:.3f}" for name, category, iou in unit["best"]]
        assert len(texts(row, ".short > .weak")) == sum(iou <= CUT for *_, iou in unit["best"])
        name = unit["best"][0][0] if unit["detector"] else ""
        change = "no longer a detector" if not name else f"was {shown(before)}" if before else "becomes a detector"
        assert texts(row, "em") == ([f"◆ {change}"] if before not in (None, name) else [])
        before = name
        assert len(texts(row, ".strip.blank")) == (unit["shown"] == 0)
        if unit["shown"]:
            strip = strip_of(page, f"#across li:nth-child({level + 1}) .strip")
            count = unit["shown"]
            own = difference(strip, row_of_sheet(gallery, unit, level=level), count)
            other = (level + 1) % 4
            assert own < 12
            # The pictures of unit 5 are the same at all levels.
            assert difference(strip, row_of_sheet(gallery, levels[other], level=other), count) > 20 or number == 5
    best = [unit["best"][0][2] if unit["best"] else 0 for unit in levels]
    heights = page.eval_on_selector_all("svg circle", "dots => dots.map(dot => -dot.getAttribute('cy'))")
    assert np.argsort(heights, kind="stable").tolist() == np.argsort(best, kind="stable").tolist()


@pytest.mark.parametrize("number", [0, 6, 8, 28, 29])
def test_a_unit_has_a_line_on_what_chance_gives_and_half_of_the_pictures(gallery, visit, number):
    page = visit.open(gallery, f"#layer=stages.3&unit={number}", view="#across li")
    lines = []
    for level in range(4):
        unit = read_units(gallery, level=level)[number]
        page.wait_for_selector(f"#across li.here:nth-child({level + 1})")
        chance = "less than 0.001" if number == 28 else f"{unit['chance']:.3f}"
        often = f"{100 * unit['agreement']:.1f}".removesuffix(".0")
        lines.append(
            f"Chance gives this unit and its best concept an IoU of {chance}. "
            f"It has the same best concept on {often}\u00a0% of random halves of the pictures."
        )
        assert texts(page, "#focus .concepts p.muted") == lines[-1:]
        table, line = (page.locator(f"#focus .concepts > {each}") for each in ("ol", "p"))
        assert line.bounding_box()["y"] > table.bounding_box()["y"] + table.bounding_box()["height"]
        page.keyboard.press("]")
    assert len(set(lines)) == (1 if number > 27 else 4)


def test_nothing_is_said_of_chance_where_a_unit_has_no_concept(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&unit=4", view="#across li")
    assert texts(page, "#focus .concepts p") == ["It overlaps no concept."]
    assert "hance" not in page.inner_text("#unit")


def test_from_unit_to_unit_and_from_level_to_level(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&category=object")
    order = shown_units(page)
    page.click(f'.card[data-unit="{order[0]}"]')
    page.wait_for_selector("#across li")
    assert page.is_disabled("#unit-before")
    page.click("#unit-after")
    page.wait_for_function("n => document.title.startsWith(`Unit ${n},`)", arg=order[1])
    page.click("#across li:nth-child(3) .level")
    page.wait_for_selector("#across li:nth-child(3).here")
    assert page.inner_text("#focus .concepts h3") == f"Level 2, {density(2)}"
    assert address_of(page) == f"#level=2&layer=stages.3&category=object&unit={order[1]}"


def test_a_unit_is_not_followed_where_levels_have_other_units(copied, visit):
    (experiment,) = read_call(copied / "experiment.js")
    for network in experiment["networks"]:
        assert network["same_units"]
        network["same_units"] = network["arm"] != "imp"
    (copied / "experiment.js").write_text(f"gallery.experiment({json.dumps(experiment)});")
    page = visit.open(copied, "#layer=stages.3&level=1&unit=6", view="#across li")
    [row] = page.query_selector_all("#across li")
    assert row.query_selector(".level b").inner_text() + " of the weights" == density(1)
    assert texts(page, "#across em") == []
    assert not page.is_visible("#across-title")
    note = (
        "Unit 6 of another level is another unit: every level of this arm has a shape, or initial weights, of its own."
    )
    assert page.inner_text("#across-note") == note
    assert page.locator(".curve svg").count() == 0
    assert visit.files("layer_1.js") == {copied / network_folder("imp", 1, 1) / "layer_1.js"}
    # The keys that lead from level to level leave an open unit alone; among all units they work.
    page.keyboard.press("]")
    page.keyboard.press("[")
    assert address_of(page) == "#level=1&layer=stages.3&unit=6"
    page.keyboard.press("Escape")
    page.wait_for_selector(".card", state="visible")
    page.keyboard.press("]")
    page.wait_for_function("d => document.querySelector('#facts').textContent.endsWith(d)", arg=density(2))
    assert address_of(page) == "#level=2&layer=stages.3"
    # An arm of one level has no other units, and its page nothing to explain.
    page = visit.open(copied, f"#arm={ONE_LAYER}&unit=6", view="#across li")
    assert not page.is_visible("#across-note")


def test_back_and_forward(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    choose(page, sort="unit")
    page.click('.card[data-unit="20"]')
    page.wait_for_selector("#across li")
    page.go_back()
    page.wait_for_selector(".card", state="visible")
    assert address_of(page) == "#layer=stages.3&sort=unit"
    page.go_forward()
    page.wait_for_selector("#unit-title", state="visible")
    assert page.inner_text("#unit-title") == "Unit 20"
    page.click("#close")
    page.wait_for_selector(".card", state="visible")
    assert address_of(page) == "#layer=stages.3&sort=unit"
    # All units are those of the level at which the unit was left, and there is nothing to go back to twice.
    page.click('.card[data-unit="20"]')
    page.wait_for_selector("#across li")
    page.keyboard.press("]")
    page.wait_for_selector("#across li.here:nth-child(2)")
    page.keyboard.press("Escape")
    page.wait_for_selector(".card", state="visible")
    page.wait_for_function("d => document.querySelector('#facts').textContent.endsWith(d)", arg=density(1))
    assert address_of(page) == "#level=1&layer=stages.3&sort=unit"
    # A unit that was opened by its address is left for all units.
    direct = visit.open(gallery, "#layer=stages.3&unit=8", view="#across li")
    direct.click("#close")
    direct.wait_for_selector(".card", state="visible")
    assert address_of(direct) == "#layer=stages.3"


def test_the_list_is_where_it_was_after_a_unit_is_closed(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&sort=unit", size=(700, 500))
    page.locator('.card[data-unit="20"]').scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 90)")  # not just as far as to see it
    scrolled = page.evaluate("scrollY")
    assert scrolled > 500
    page.click('.card[data-unit="20"]')
    page.wait_for_selector("#across li")
    assert page.evaluate("scrollY") == 0
    page.click("#close")
    page.wait_for_selector(".card", state="visible")
    assert page.evaluate("scrollY") == scrolled
    assert page.evaluate("document.activeElement.dataset.unit") == "20"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("#arm=no_such&layer=stages.3", "#layer=stages.3"),
        ("#replicate=9", ""),
        ("#level=99", "#level=3"),
        ("#level=-1&unit=x", ""),
        ("#layer=gone&sort=up&category=none", ""),
        ("#unit=9", ""),
        ("#unit=99999999999999999999", ""),
        ("#%E0%A4%A&&==&=1", ""),
        (f"#arm={ONE_LAYER}&layer=stages.2", f"#arm={ONE_LAYER}"),
    ],
)
def test_an_address_that_leads_nowhere_leads_to_what_there_is(gallery, visit, wrong, right):
    page = visit.open(gallery, wrong)
    assert address_of(page) == right
    assert len(shown_units(page)) in LAYERS.values()
    assert re.fullmatch(
        r"This link asks for what this gallery does not have: .+\. The nearest view is shown\.",
        page.inner_text("#problems"),
    )
    choose(page, sort="unit")
    assert not page.is_visible("#problems")


def test_a_link_says_what_of_it_is_not_there(gallery, visit):
    page = visit.open(gallery, "#level=99&layer=stages.3&unit=400&colour=red&search=car")
    assert "does not have: level 99, unit 400, colour red." in page.inner_text("#problems")
    page = visit.open(gallery, "#level=2&layer=stages.3&detectors=1&since=kept")
    assert not page.is_visible("#problems")


def test_an_address_is_followed_in_an_open_page(gallery, visit):
    page = visit.open(gallery)
    page.evaluate("location.hash = '#level=2&layer=stages.3&unit=7'")
    page.wait_for_selector("#across li.here:nth-child(3)")
    assert page.inner_text("#unit-title") == "Unit 7"
    page.evaluate("location.hash = '#layer=stages.3&search=car'")
    page.wait_for_selector(".card", state="visible")
    assert shown_units(page) == expected_units(read_units(gallery), search="car")


# ---------------------------------------------------------------- what became of units, and two networks


@pytest.mark.parametrize("level", [1, 2, 3])
def test_units_are_told_apart_by_what_became_of_them(gallery, visit, level):
    units, first = read_units(gallery, level=level), read_units(gallery)
    page = visit.open(gallery, f"#layer=stages.3&level={level}")
    sizes = {}
    for state in ("kept", "renamed", "lost", "new", "dead"):
        expected = expected_units(units, since=state, first=first)
        assert page.inner_text(f"#since [value={state}] b") == str(len(expected))
        page.click(f"#since [value={state}]")
        assert shown_units(page) == expected
        assert page.locator(f"#since [value={state}]").get_attribute("aria-pressed") == "true"
        page.click(f"#since [value={state}]")
        sizes[state] = len(expected)
    assert sizes["kept"] + sizes["renamed"] + sizes["lost"] == sum(unit["detector"] for unit in first)
    assert sizes["dead"] == (level >= 2)


def test_at_the_first_level_only_dead_units_are_told_apart(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    assert [chip.text_content() for chip in page.query_selector_all("#since .chip") if chip.is_visible()] == ["dead 0"]
    assert page.inner_text("#since-title") == "State"


def cards_of(page, grid: str) -> list[int]:
    return page.eval_on_selector_all(f"{grid} .card", "cards => cards.map(card => Number(card.dataset.unit))")


def test_two_levels_stand_side_by_side_unit_by_unit(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&detectors=1")
    page.select_option("#beside", network_value("imp", 1))
    page.wait_for_selector("#grid-beside .card")
    page.select_option("#beside-level", "imp/1/2")
    page.wait_for_function("() => document.querySelector('#there').textContent.includes('level 2')")
    expected = expected_units(read_units(gallery), detectors=True)
    assert cards_of(page, "#grid") == cards_of(page, "#grid-beside") == expected
    assert address_of(page) == "#layer=stages.3&detectors=1&beside=imp%2F1%2F2"
    there = read_units(gallery, level=2)
    for number, text in zip(expected, texts(page, "#grid-beside .card"), strict=True):
        best = there[number]["best"]
        assert not best or f"{shown(best[0][0])}{best[0][1]} {best[0][2]:.3f}" in text
    # Both scales end at the same IoU.
    lengths = [page.locator(f"{grid} .card .bar").first.get_attribute("style") for grid in ("#grid", "#grid-beside")]
    largest = max(unit["best"][0][2] for units in (there, read_units(gallery)) for unit in units if unit["best"])
    ends = np.ceil(10 * largest - 1e-9) / 10
    for style, unit in zip(lengths, (read_units(gallery)[expected[0]], there[expected[0]]), strict=True):
        length = float(re.search(r"--length: ([\d.]+)%", style)[1])
        assert length == pytest.approx(100 * unit["best"][0][2] / ends, rel=1e-4)
    page.click(f'#grid-beside [data-unit="{expected[0]}"]')
    page.wait_for_selector("#across li.here:nth-child(3)")
    assert page.inner_text("#unit-title") == f"Unit {expected[0]}"


def test_both_of_two_networks_are_filtered_by_what_became_of_their_units(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&level=2&since=lost&beside=imp/2/1")
    expected = expected_units(read_units(gallery, level=2), since="lost", first=read_units(gallery))
    assert cards_of(page, "#grid") == expected
    there, first = read_units(gallery, replicate=2, level=1), read_units(gallery, replicate=2)
    assert cards_of(page, "#grid-beside") == expected_units(there, since="lost", first=first)
    assert page.is_visible("#nothing-beside") == (not cards_of(page, "#grid-beside"))


def test_an_open_unit_keeps_its_neighbours_among_those_that_a_state_leaves(gallery, visit):
    order = expected_units(read_units(gallery, level=1), since="kept", first=read_units(gallery))
    page = visit.open(gallery, f"#layer=stages.3&level=1&since=kept&unit={order[0]}", view="#across li")
    assert page.inner_text("#unit-after") == f"unit {order[1]} \u203a"


def test_a_first_level_that_cannot_be_read_is_named(copied, visit):
    (copied / network_folder("imp", 1, 0) / "layer_1.js").unlink()
    page = visit.open(copied, "#layer=stages.3&level=2", view="#problems p")
    assert page.inner_text("#problems").startswith("Units cannot be compared with level 0. ")
    assert [chip.text_content() for chip in page.query_selector_all("#since .chip") if chip.is_visible()] == ["dead 1"]
    allow_browsers_own_errors(visit, Path.unlink)


def test_a_network_beside_that_lacks_the_layer_leaves_the_other_alone(gallery, visit):
    page = visit.open(gallery, f"#layer=stages.2&beside={ONE_LAYER}/1/0")
    assert cards_of(page, "#grid") == expected_units(read_units(gallery, index=0))
    assert cards_of(page, "#grid-beside") == []
    assert page.inner_text("#there") == "untrained, replicate 1, level 0: There is no layer stages.2 in this network."


def test_closing_a_unit_of_the_network_beside_changes_no_level(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&beside=imp/1/2")
    page.locator("#grid-beside .card").first.click()
    page.wait_for_selector("#across li.here:nth-child(3)")
    page.keyboard.press("Escape")
    page.wait_for_selector("#grid-beside .card")
    assert address_of(page) == "#layer=stages.3&beside=imp%2F1%2F2"


def test_a_network_of_other_units_is_filtered_by_itself(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&category=part&beside=imp/2/1")
    assert cards_of(page, "#grid") == expected_units(read_units(gallery), category="part")
    there = read_units(gallery, replicate=2, level=1)
    assert cards_of(page, "#grid-beside") == expected_units(there, category="part")
    page.select_option("#beside", "")
    page.wait_for_selector("#grid-beside", state="hidden")
    assert address_of(page) == "#layer=stages.3&category=part"


# ---------------------------------------------------------------- concepts


def all_detectors(gallery) -> list[tuple]:
    """(arm, replicate, level, layer, unit, key of the concept) of all detectors of all networks."""
    found = []
    for arm, replicate, level, *_ in NETWORKS:
        drawn = SHARED[1] if arm == SHARED[0] else (arm, replicate, level)
        for index, layer in enumerate(layers_of(arm)):
            for unit in read_units(gallery, *drawn, index):
                if unit["detector"]:
                    name, category, _ = unit["best"][0]
                    found.append((arm, replicate, level, layer, unit["number"], f"{category}/{name}"))
    return found


@pytest.mark.parametrize("search", ["", "car", "a & b", "nothing"])
def test_the_heat_map_counts_the_detectors_of_each_concept(gallery, visit, search):
    page = visit.open(gallery, "#layer=stages.3", view=".card")
    page.click("#to-concepts")
    page.wait_for_selector("#concepts-pane", state="visible")
    page.fill("#search", search)
    detectors = all_detectors(gallery)
    expected = {}
    labels = {f"{category}/{name}" for name, category in LABELS.values()}
    for key in labels if search else {each[-1] for each in detectors}:
        name = key.partition("/")[2]
        if any(search in text for text in (name, shown(name))):
            of_levels = [
                sum(each[:4] == ("imp", 1, level, "stages.3") and each[-1] == key for each in detectors)
                for level in range(4)
            ]
            own = [each for each in detectors if each[-1] == key]
            expected[shown(name)] = [*of_levels, len(own), len({each[:3] for each in own})]
    rows = page.eval_on_selector_all(
        "#heat-map tbody tr",
        "rows => rows.map(row => [row.querySelector('.name').textContent, "
        "...[...row.querySelectorAll('td')].map(cell => Number(cell.textContent))])",
    )
    assert {name: counts for name, *counts in rows} == expected
    assert len(rows) == len(expected)
    totals = [sum(counts[:4]) for _, *counts in rows]
    assert totals == sorted(totals, reverse=True)
    assert page.is_visible("#no-concept") == (not expected)
    categories = [key.partition("/")[0] for key in labels if shown(key.partition("/")[2]) in expected]
    assert texts(page, "#categories .chip") == [f"{name} {categories.count(name)}" for name in CATEGORIES]


@pytest.mark.parametrize("number", list(LABELS))
def test_a_concept_has_a_page_with_examples_and_all_its_detectors(gallery, visit, number):
    name, category = LABELS[number]
    key = f"{category}/{name}"
    page = visit.open(gallery, f"#layer=stages.3&about={quote(key)}", view="#about")
    assert page.inner_text("#concept-title") == shown(name)
    assert page.locator("#concept-title img").count() == 0
    expected = {}
    for arm, replicate, level, layer, unit, own in all_detectors(gallery):
        if own == key:
            arm = arm.replace("_", " ")
            expected.setdefault((f"{arm}, replicate {replicate}, level {level}", layer), []).append(unit)
    rows = page.eval_on_selector_all(
        "#detecting tbody tr",
        "rows => rows.map(row => [row.querySelector('th').textContent, row.children[2].textContent, "
        "[...row.querySelectorAll('a')].map(link => Number(link.textContent))])",
    )
    assert {(network, layer): units for network, layer, units in rows} == expected
    found = sum(map(len, expected.values()))
    assert page.inner_text("#detected").startswith(f"{found} detector" if found else "No unit")
    _, concepts = read_call(gallery / "concepts/concepts.js")
    place = number - 1
    sheet = Image.open(gallery / f"concepts/sheet_{place // UNITS_PER_SHEET}.webp").convert("RGB")
    row = np.asarray(sheet, float)[place % UNITS_PER_SHEET * TILES.side :][: TILES.side]
    count = len(concepts["image"][place])
    assert f"in {concepts['pictures'][place]} picture" in page.inner_text("#examples")
    assert difference(strip_of(page, "#examples .strip"), row, count) < 12
    if found:
        page.locator("#detecting a").last.click()
        page.wait_for_selector("#across li")
        (network, _), units = list(expected.items())[-1]
        assert page.inner_text("#unit-title") == f"Unit {units[-1]}"
        assert network.partition(",")[0] in page.inner_text("#unit-place")
        page.go_back()
        page.wait_for_selector("#about", state="visible")


def test_a_level_without_the_layer_is_no_level_without_detectors(copied, visit):
    (experiment,) = read_call(copied / "experiment.js")
    del experiment["networks"][2]["layers"][1]
    (copied / "experiment.js").write_text(f"gallery.experiment({json.dumps(experiment)});")
    (name, detectors) = read_call(copied / "detectors.js")
    del detectors["networks"][2][1]
    (copied / "detectors.js").write_text(f"gallery.data({json.dumps(name)}, {json.dumps(detectors)});")
    page = visit.open(copied, "#layer=stages.3&view=concepts", view="#heat-map td")
    assert set(texts(page, "#heat-map td:nth-child(4)")) == {"\u2013"}
    assert [bool(head.query_selector("a")) for head in page.query_selector_all("#heat-map thead th")[1:5]] == [
        *(True, True, False, True)
    ]
    page.click("#to-units")
    page.wait_for_selector(".card")
    page.keyboard.press("]")
    page.keyboard.press("]")
    page.wait_for_selector("#problems p")
    assert page.inner_text("#problems") == "imp, replicate 1, level 2 has no layer stages.3: stages.2 is shown."


def test_units_lead_to_the_pages_of_their_concepts_and_back(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&unit=11", view="#across li")
    name, _, _ = read_units(gallery)[11]["best"][0]
    assert page.inner_text("#close") == "← All units"
    page.locator("#focus .concept-table a").first.click()
    page.wait_for_selector("#about", state="visible")
    assert page.inner_text("#concept-title") == shown(name)
    assert page.title() == f"{name}, browsed: unit gallery"
    page.keyboard.press("Escape")
    page.wait_for_selector("#across li", state="visible")
    assert page.inner_text("#unit-title") == "Unit 11"
    page = visit.open(gallery, "#about=object%2Fgone", view="#about")
    assert "no such label" in page.inner_text("#examples")


def test_the_header_leads_to_the_report(gallery, visit):
    page = visit.open(gallery)
    link = page.get_by_role("link", name="Report of the experiment")
    assert link.evaluate("link => link.href") == (gallery.parent / "report.html").as_uri()


# ---------------------------------------------------------------- pictures enlarged, activations


@pytest.mark.parametrize("number", [0, 5, 11])
def test_masks_of_enlarged_pictures_are_those_of_the_dissection_to_the_bit(gallery, visit, number):
    page = visit.open(gallery, f"#layer=stages.3&level=1&unit={number}", view="#across li")
    unit, maps = read_units(gallery, level=1)[number], maps_of(LAYERS["stages.3"], 100, 1)
    _, columns = read_call(gallery / network_folder("imp", 1, 1) / "layer_1.js")
    for place, image in enumerate(columns["image"][number]):
        drawn, cut, label = page.evaluate(
            """async ([number, place]) => {
              const maps = await loadMaps(networkOf(state), state.layer, number);
              const label = maskOf(maps.units.labels[place], [maps.rows[0].length, maps.columns[0].length]);
              return [interpolate(valuesOf(maps, place), maps), maps.units.cut, label];
            }""",
            [number, place],
        )
        expected = interpolate(maps[[image], number], grid((4, 4), (12, 12), "align_corners_false"))[0]
        np.testing.assert_array_equal(np.array(drawn, np.float32), expected)
        assert cut == 1.5
        label_number = next(each for each, (name, _) in LABELS.items() if name == unit["best"][0][0])
        assert np.array(label).tolist() == label_map(gallery, image, label_number).tolist()


def label_map(gallery: Path, image: int, number: int) -> np.ndarray:
    """Where a picture of the concept set carries a label: every plane is of one label."""
    last = {category: max(each for each in LABELS if LABELS[each][1] == category) for category in CATEGORIES}
    first = {category: min(each for each in LABELS if LABELS[each][1] == category) for category in CATEGORIES}
    category = LABELS[number][1]
    carried = image + 1 if image < len(LABELS) and LABELS[image + 1][1] == category else first[category]
    assert last[category] >= carried
    return np.full((12, 12), carried == number)


def test_a_picture_is_enlarged_and_turned_by_keys(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&unit=11", view="#across li")
    _, names = read_call(gallery / "pictures/names.js")
    _, columns = read_call(gallery / network_folder("imp", 1, 0) / "layer_1.js")
    images, maps = columns["image"][11], maps_of(LAYERS["stages.3"], 100, 0)
    page.locator(".enlarge").first.click()
    page.wait_for_selector("#enlarged[open]")
    for place, image in enumerate(images):
        page.wait_for_function("t => document.querySelector('#enlarged-title').textContent === t",
                               arg=f"Unit 11, picture {place + 1} of 3")  # fmt: skip
        facts = dict(zip(texts(page, "#enlarged-facts dt"), texts(page, "#enlarged-facts dd"), strict=True))
        assert facts["file"] == names[image]
        assert facts["picture"] == f"{image} of the concept set"
        assert float(facts["highest activation"]) == pytest.approx(maps[image, 11].max(), rel=1e-2)
        assert page.is_disabled("#enlarged-before") == (place == 0)
        assert page.is_disabled("#enlarged-after") == (place == 2)
        page.keyboard.press("ArrowRight")
    plain = {}
    for overlay in ("activation", "mask", "label"):
        before = page.locator("#enlarged-picture").screenshot()
        page.click(f"#overlays label:has([value={overlay}])")
        page.wait_for_timeout(150)
        plain[overlay] = before != page.locator("#enlarged-picture").screenshot()
    assert plain["activation"] and plain["mask"]
    assert page.inner_text("#unit-title") == "Unit 11"  # the keys are the dialog's alone
    # Also when the button that had the focus can no longer be pressed.
    page.click("#enlarged-before")
    page.click("#enlarged-before")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('#enlarged-title').textContent.includes('picture 2')")
    assert page.inner_text("#unit-title") == "Unit 11"
    page.keyboard.press("Escape")
    page.wait_for_selector("#enlarged", state="hidden")
    assert page.is_visible("#across li >> nth=0")


def test_going_back_closes_an_enlarged_picture(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    page.click('.card[data-unit="11"]')
    page.locator(".enlarge").first.click()
    page.wait_for_selector("#enlarged[open]")
    page.go_back()
    page.wait_for_selector(".card", state="visible")
    assert not page.is_visible("#enlarged")


def test_without_enlarged_pictures_there_is_nothing_to_click(copied, visit):
    (experiment,) = read_call(copied / "experiment.js")
    experiment["enlarged_pixels"] = 0
    (copied / "experiment.js").write_text(f"gallery.experiment({json.dumps(experiment)});")
    page = visit.open(copied, "#layer=stages.3&unit=11", view="#across li")
    assert page.locator(".enlarge").count() == 0
    page.click(".help summary")
    assert not page.is_visible("#enlarging")


@pytest.mark.parametrize(
    "file", ["pictures/sheet_0.webp", "pictures/names.js", f"{network_folder('imp', 1, 0)}/layer_1_maps_0.js"]
)
def test_what_is_missing_of_an_enlarged_picture_is_named(copied, visit, file):
    for path in copied.glob("pictures/sheet_*" if file.endswith("webp") else file):
        path.unlink()
    page = visit.open(copied, "#layer=stages.3&unit=11", view="#across li")
    page.locator(".enlarge").first.click()
    page.wait_for_selector("#problems p")
    assert file.rpartition("/")[0] in page.inner_text("#problems")
    assert "missing" in page.inner_text("#problems")
    allow_browsers_own_errors(visit, Path.unlink)


@pytest.mark.parametrize("number", [0, 5, 11])
def test_the_histogram_says_how_often_a_unit_has_which_activation(gallery, visit, number):
    page = visit.open(gallery, f"#layer=stages.3&unit={number}", view=".activations svg")
    _, found = read_call(gallery / network_folder("imp", 1, 0) / "layer_1_histograms.js")
    counts = found["counts"][number]
    heights = page.eval_on_selector_all(
        ".activations rect", "bars => bars.map(bar => Number(bar.getAttribute('height')))"
    )
    assert np.argsort(heights, kind="stable").tolist() == np.argsort(counts, kind="stable").tolist()
    rest = 100 * (1 - sum(counts) / found["samples"])
    says = page.inner_text(".activations p")
    assert float(re.search(r"([\d.]+)\u00a0% are at or below", says)[1]) == pytest.approx(rest, abs=0.06)
    line, bars = (page.locator(f".activations {each}") for each in ("line.cut", "rect"))
    share = (line.bounding_box()["x"] - bars.first.bounding_box()["x"]) / (
        bars.last.bounding_box()["x"] + bars.last.bounding_box()["width"] - bars.first.bounding_box()["x"]
    )
    high = maps_of(LAYERS["stages.3"], 100, 0)[:, number].max()
    assert share == pytest.approx((1.5 - found["low"][number]) / (high - found["low"][number]), abs=0.02)


# ---------------------------------------------------------------- taken along


def test_a_units_data_are_downloaded(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&unit=11", view="#across li")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "browsed_stages.3_unit_11.json"
    content = json.loads(Path(download.value.path()).read_text())
    assert (content["experiment"], content["layer"], content["unit"]) == ("browsed", "stages.3", 11)
    for level, says in enumerate(content["levels"]):
        unit = read_units(gallery, level=level)[11]
        assert (says["arm"], says["level"], says["detector"]) == ("imp", level, unit["detector"])
        assert [(each["label"], each["category"], each["iou"]) for each in says["concepts"]] == unit["best"]
        assert (says["iou_chance"], says["agreement"]) == (unit["chance"], unit["agreement"])


def test_the_command_for_a_figure_draws_it(gallery, visit, tmp_path, monkeypatch):
    page = visit.open(gallery, "#layer=stages.3&unit=11", view="#across li")
    page.click(".take summary")
    python, _, package, name, *arguments = shlex.split(page.inner_text("#figure-command"))
    assert (python, package, COMMANDS[name]) == ("python", "workflow_scripts", draw_unit.__name__)
    place = arguments.index("--gallery") + 1
    assert arguments[place] == "results/browsed/gallery"
    arguments[place] = str(gallery)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["draw_unit", *arguments])
    draw_unit.main()
    assert (tmp_path / "unit_11.pdf").read_bytes().startswith(b"%PDF")


def test_a_link_is_copied(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&unit=11", view="#across li")
    page.evaluate("navigator.clipboard.writeText = async (text) => (window.copied = text)")
    page.click("#unit .copy >> nth=0")
    page.wait_for_function("() => window.copied")
    assert page.evaluate("copied") == page.url
    assert page.inner_text("#unit .copy >> nth=0") == "Copied"


# ---------------------------------------------------------------- people


VIEWS = {
    "units": ("#layer=stages.3&level=2", ".card"),
    "two networks": ("#layer=stages.3&beside=imp/2/0", "#grid-beside .card"),
    "unit": ("#layer=stages.3&unit=11", ".activations svg"),
    "concepts": ("#layer=stages.3&view=concepts", "#heat-map td"),
    "concept": ("#layer=stages.3&about=object%2Fcar", "#about"),
    "enlarged": ("#layer=stages.3&unit=11", ".enlarge"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, (390, 844)], ids=["desk", "phone"])
@pytest.mark.parametrize("name", list(VIEWS))
def test_the_accessibility_checker_finds_nothing(gallery, visit, name, size, scheme):
    address, view = VIEWS[name]
    page = visit.open(gallery, address, view=view, size=size, color_scheme=scheme)
    if name == "enlarged":
        page.locator(view).first.click()
        page.wait_for_selector("#enlarged[open]")
    checked = Axe().run(page, options={"preload": False}).response  # it may not read the style sheet from disk
    assert len(checked["passes"]) > 10
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in checked["violations"]] == []


@pytest.mark.parametrize("name", ["units", "unit", "concept", "concepts", "two networks"])
def test_print_cuts_no_name(gallery, visit, name):
    address, view = VIEWS[name]
    page = visit.open(gallery, address, view=view, size=(700, 900))
    page.emulate_media(media="print")
    cut = page.eval_on_selector_all(
        ".name, .also, .level em, #graph span",
        "all => all.filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && "
        "getComputedStyle(e).overflowX !== 'visible').map(e => e.textContent)",
    )
    assert cut == []
    for control in ("#controls", ".take", ".copy", "#download"):
        assert not page.is_visible(f"{control} >> nth=0")


@pytest.mark.parametrize("size", [DESK, (360, 740)], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["units", "two networks", "unit", "concepts", "concept"])
def test_every_name_has_room(gallery, visit, name, size):
    address, view = VIEWS[name]
    page = visit.open(gallery, address, view=view, size=size)
    widths = page.eval_on_selector_all(
        "main .name", "all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().width)"
    )
    assert bool(widths) == (name != "concept")
    assert min(widths, default=99) > 12
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_first_key_leads_past_the_filters_to_the_units(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&sort=unit")
    before = address_of(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "cards"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.unit") == "0"
    assert address_of(page) == before


def test_a_bar_that_is_pressed_by_keyboard_keeps_the_focus(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    page.locator("#graph button").nth(1).focus()
    key = page.evaluate("document.activeElement.value")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('concept=')")
    assert page.evaluate("document.activeElement.value") == key


def test_numbers_keep_their_unit_and_words_their_space(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&unit=11", view="#across li")
    assert texts(page, "#across .level")[0].startswith("100\u00a0% level 0 accuracy 97\u00a0%")
    for address, view in VIEWS.values():
        page = visit.open(gallery, address, view=view)
        assert not re.search(r"\d %", page.inner_text("main"))


def test_everything_is_done_by_keys(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3&sort=unit")
    focused = "document.activeElement.dataset.unit"
    page.keyboard.press("/")
    page.keyboard.type("[car")
    assert page.input_value("#search") == "[car"  # what is typed is no command
    page.keyboard.press("Escape")
    assert page.input_value("#search") == ""
    reached = set()
    page.locator("#network").focus()
    for _ in range(45):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        page.keyboard.press("Tab")
    assert {"network", "layer", "level-after", "search", "chip", "concept", "detectors", "beside", "card"} <= reached
    page.locator('.card[data-unit="0"]').focus()
    for key, unit in [("ArrowRight", 1), ("ArrowDown", 5), ("ArrowLeft", 4), ("ArrowUp", 0), ("ArrowUp", 0)]:
        page.keyboard.press(key)
        assert page.evaluate(focused) == str(unit), key
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("]")
    page.wait_for_function("d => document.querySelector('#facts').textContent.endsWith(d)", arg=density(1))
    assert page.evaluate(focused) == "0"  # the same unit, a level later
    page.keyboard.press("[")
    page.wait_for_function("d => document.querySelector('#facts').textContent.endsWith(d)", arg=density(0))
    page.keyboard.press("Enter")
    page.wait_for_selector("#across li")
    assert page.evaluate("document.activeElement.id") == "unit-title"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.title.startsWith('Unit 2,')")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("]")
    page.wait_for_selector("#across li.here:nth-child(2)")
    assert page.inner_text("#unit-title") == "Unit 1"
    page.keyboard.press("Escape")
    page.wait_for_selector(".card", state="visible")
    assert page.evaluate(focused) == "1"


def test_what_is_on_the_page_is_named_for_screen_readers(gallery, visit):
    page = visit.open(gallery, "#layer=stages.3")
    for role, count in [("banner", 1), ("main", 1), ("search", 1), ("status", 2), ("heading", 1)]:
        assert page.get_by_role(role).count() == count, role
    for selector in ("select", "input", "button"):
        for element in page.locator(f"{selector}:visible").all():
            named = element.evaluate("e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent")
            assert named.strip(), element
    strips = page.eval_on_selector_all("[data-sheet]", "all => all.map(e => `${e.role} ${e.ariaLabel}`)")
    expected = []
    for unit in read_units(gallery):
        if unit["shown"]:
            many = f"the {unit['shown']} pictures with its highest activations"
            what = many if unit["shown"] > 1 else "the picture with its highest activation"
            best = f"; best concept {shown(unit['best'][0][0])}" if unit["best"] else ""
            expected.append(f"img Unit {unit['number']}, {what}{best}")
    assert sorted(strips) == sorted(expected)
    assert page.get_by_role("link", name="unit 11").count() == 1


@pytest.mark.parametrize(
    ("address", "view"),
    [
        ("#layer=stages.3", ".card"),
        ("#layer=stages.3&unit=11", "#across li"),
        (f"#arm={ONE_LAYER}&unit=4", "#across li"),
    ],
)
def test_nothing_sticks_out_sideways(gallery, visit, address, view):
    page = visit.open(gallery, address, view=view, size=(360, 740))
    page.click(".help summary")
    if view == ".card":
        assert not page.is_visible("#search")  # folded, so that the units come first
        page.click("#controls summary")
    for width in (360, 800, 1400):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.is_visible("#search") == (view == ".card")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        beyond = page.eval_on_selector_all(
            "main *, header *",
            "all => all.filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && "
            "!e.closest('.name, .also, svg')).map(e => e.outerHTML.slice(0, 90))",
        )
        assert beyond == []


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((value, i) => a * value + (1 - a) * under[i]);
  const ground = (element) => {
    if (!element) return [255, 255, 255];
    const style = getComputedStyle(element);
    const own = numbers(style.backgroundColor);
    return own.length === 3 ? own : over(own, ground(element.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, noscript")) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const ink = over(numbers(element.closest("svg") ? style.fill : style.color), under);
    const [a, b] = [light(ink), light(under)].sort((one, other) => other - one);
    found.push([(a + 0.05) / (b + 0.05), texts.currentNode.data.trim()]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(gallery, visit, scheme):
    grounds = set()
    for address, view in [
        ("#layer=stages.3&category=part", ".card"),
        ("#layer=stages.3&unit=11&level=2", "#across li"),
    ]:
        page = visit.open(gallery, address, view=view, color_scheme=scheme)
        page.click(".help summary")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 50
        assert [(round(ratio, 2), text) for ratio, text in contrasts if ratio < 4.5] == []
    assert len(grounds) == 1
    assert (int(re.search(r"\d+", grounds.pop())[0]) > 128) == (scheme == "light")


# ---------------------------------------------------------------- what may be wrong


@pytest.fixture
def copied(gallery, tmp_path) -> Path:
    return Path(shutil.copytree(gallery, tmp_path / "gallery"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def shorten(column: str):
    def harm(path: Path) -> None:
        name, data = read_call(path)
        data[column].pop()
        path.write_text(f"gallery.data({json.dumps(name)}, {json.dumps(data)});")

    return harm


def as_before_validation(path: Path) -> None:
    name, data = read_call(path)
    del data["chance"], data["agreement"]
    path.write_text(f"gallery.data({json.dumps(name)}, {json.dumps(data)});")


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (Path.unlink, "missing"),
        (truncate, "damaged"),
        *((shorten(column), "damaged") for column in ("threshold", "chance", "agreement")),
        (as_before_validation, "damaged"),
    ],
)
def test_a_layer_that_cannot_be_read_is_named(copied, visit, harm, problem):
    name = f"{network_folder('imp', 1, 1)}/layer_1.js"
    harm(copied / name)
    page = visit.open(copied, "#layer=stages.3&level=1", view="#problems p")
    assert page.inner_text("#problems") == f"{name} is {problem}. Run the workflow again."
    assert shown_units(page) == []
    page.keyboard.press("[")
    page.wait_for_selector(".card")
    assert len(shown_units(page)) == 30
    assert not page.is_visible("#problems")
    page.click('.card[data-unit="6"]')
    page.wait_for_selector("#across li")
    assert (
        page.locator("#across li").nth(1).locator("p").inner_text() == f"{name} is {problem}. Run the workflow again."
    )
    assert page.locator("#across .strip").count() == 3
    allow_browsers_own_errors(visit, harm)


def allow_browsers_own_errors(visit: Visit, harm) -> None:
    """The browser itself reports a file that is not there, or no script; nothing else may be reported."""
    own = {Path.unlink: "ERR_FILE_NOT_FOUND", truncate: "Invalid or unexpected token"}.get(harm)
    if own:
        assert visit.errors
        visit.errors = [error for error in visit.errors if own not in error and "Unexpected end of input" not in error]


@pytest.mark.parametrize("harm", [Path.unlink, truncate])
def test_an_experiment_that_cannot_be_read_is_named(copied, visit, harm):
    harm(copied / "experiment.js")
    page = visit.open(copied, view="#problems p")
    assert "experiment.js is missing or damaged" in page.inner_text("#problems")
    allow_browsers_own_errors(visit, harm)


def test_missing_pictures_are_named(copied, visit):
    for sheet in (copied / network_folder("imp", 1, 0) / "sheets").glob("layer_1_*"):
        sheet.unlink()
    page = visit.open(copied, "#layer=stages.3", view="#problems p")
    page.wait_for_function("() => document.querySelector('#problems').textContent.includes('So are')")
    assert f"The pictures {network_folder('imp', 1, 0)}/sheets/layer_1_" in page.inner_text("#problems")
    assert len(shown_units(page)) == 30
    allow_browsers_own_errors(visit, Path.unlink)


def test_a_layer_or_unit_that_a_level_does_not_have_is_named(copied, visit):
    (experiment,) = read_call(copied / "experiment.js")
    experiment["networks"][1]["layers"].pop()
    experiment["networks"][2]["layers"][1]["units"] = 5
    (copied / "experiment.js").write_text(f"gallery.experiment({json.dumps(experiment)});")
    path = copied / network_folder("imp", 1, 2) / "layer_1.js"
    name, data = read_call(path)
    for key in ("best", "chance", "agreement", "slot", "shown", "image", "threshold", "maximum"):
        data[key] = data[key][:5]
    path.write_text(f"gallery.data({json.dumps(name)}, {json.dumps(data)});")
    page = visit.open(copied, "#layer=stages.3&unit=11", view="#across li")
    problems = [texts(row, ":scope > p") for row in page.query_selector_all("#across li")]
    assert problems == [
        [],
        ["There is no layer stages.3 in this network."],
        ["There is no unit 11 in this network."],
        [],
    ]


def test_without_scripts_a_sentence_says_so(gallery, visit):
    page = visit.open(gallery, view=".problems", java_script_enabled=False)
    assert "needs JavaScript" in page.locator("noscript").inner_text()


# ---------------------------------------------------------------- two thousand units


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """2,048 units at two levels, every sheet as large as the default config allows."""
    folder = tmp_path_factory.mktemp("large") / "gallery"
    noise = np.random.default_rng(0).integers(0, 256, (UNITS_PER_SHEET * TILE, IMAGES * TILE, 3)).astype(np.uint8)
    sheet = folder.with_name("sheet.webp")
    Image.fromarray(noise).save(sheet, quality=1)
    most = UNITS_PER_SHEET * IMAGES * TILE_BYTES
    write_synthetic(folder, [sheet.read_bytes()[:most].ljust(most, b"\0")], 2048, 2)
    return folder


@pytest.mark.parametrize(("address", "sheets"), [("", 12), ("#sort=unit", 30)])
def test_the_first_view_of_a_large_layer_is_small(large, visit, address, sheets):
    page = visit.open(large, address)
    page.wait_for_function("() => document.querySelector('.block .strip').style.backgroundImage")
    page.wait_for_load_state("networkidle")
    files = visit.files("")
    assert sum(path.stat().st_size for path in files if path.is_file()) < 2e6
    assert 1 <= len(visit.files(".webp")) <= sheets
    assert len(shown_units(page)) == 2048
    # The others come when they are looked at, and only they.
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_function("() => document.querySelector('.block:last-child .strip').style.backgroundImage")
    page.wait_for_load_state("networkidle")
    assert len(visit.files(".webp")) <= 2 * sheets
    last = page.locator(".card").last
    assert last.bounding_box()["y"] < DESK[1]


def test_blocks_of_cards_are_as_high_before_they_are_laid_out_as_after(large, visit):
    page = visit.open(large)
    for width in (360, 1400, 2600):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("() => document.querySelector('#grid').style.getPropertyValue('--width')")
        heights = page.eval_on_selector_all(
            ".block",
            """blocks => [false, true].map((laidOut) => {
              const some = blocks.slice(10, 20);
              for (const block of some) block.style = laidOut ? "content-visibility: visible; height: auto" : "";
              return some.map((block) => block.getBoundingClientRect().height);
            })""",
        )
        np.testing.assert_allclose(*heights, atol=2)
