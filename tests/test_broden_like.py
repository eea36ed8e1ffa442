"""configs/concepts/broden_like.yaml: the sets that Broden was joined from, in the layouts of their archives, joined."""

from pathlib import Path

import numpy as np
import pytest
import set_fixtures as fixtures
import yaml

from workflow_scripts.data.concept_sets.ade20k import Ade20k
from workflow_scripts.data.concept_sets.joined import JoinedSet, Rules, read_synonyms
from workflow_scripts.data.concept_sets.open_surfaces import OpenSurfaces
from workflow_scripts.data.concept_sets.pascal import PascalContext, PascalPart
from workflow_scripts.data.concept_sets.picture_labels import PictureLabels
from workflow_scripts.data.concept_sets.reader import nearest

ROOT = Path(__file__).resolve().parent.parent
CONCEPTS = yaml.safe_load((ROOT / "configs" / "concepts" / "broden_like.yaml").read_text())["concepts"]
READERS = {
    "ade20k": Ade20k,
    "picture_labels": PictureLabels,
    "open_surfaces": OpenSurfaces,
    "pascal_context": PascalContext,
    "pascal_part": PascalPart,
}
OF_SOURCE = {"name", "format", "source", "addresses", "folder", "pictures_from", "category"}


def write_dtd(folder: Path) -> fixtures.Carried:
    for texture in ("banded", "polka-dotted"):
        fixtures.write_jpeg(folder / "images" / texture / f"{texture}_0001.jpg", 4, 5)
    every = np.ones((1, 1), bool)
    return {f"{texture}/{texture}_0001": {(texture, "texture"): every} for texture in ("banded", "polka-dotted")}


WRITERS = {
    "ade20k": fixtures.write_ade20k_2016,
    "dtd": write_dtd,
    "opensurfaces": fixtures.write_open_surfaces,
    "pascal-context": fixtures.write_pascal_context,
    "pascal-part": fixtures.write_pascal_part,
}


@pytest.fixture
def sets(tmp_path):
    """The readers of the config's sources, and what their sets carry."""
    readers, carried = {}, {}
    for item in CONCEPTS["sources"]:
        folder = tmp_path / Path(item["source"]).name / item.get("folder", ".")
        carried[item["name"]] = WRITERS[item["name"]](folder)
        pictures = folder
        if "pictures_from" in item:
            pictures = tmp_path / Path(item["pictures_from"]["source"]).name / item["pictures_from"]["folder"]
            fixtures.write_voc_pictures(pictures)
        options = {key: value for key, value in item.items() if key not in OF_SOURCE}
        readers[item["name"]] = READERS[item["format"]](folder, pictures, item.get("category", "object"), **options)
    return readers, carried


def join(readers, **changes) -> JoinedSet:
    rules = {"colours": CONCEPTS["colours"], "synonyms": read_synonyms(CONCEPTS["synonyms"])}
    return JoinedSet(readers, Rules(side=CONCEPTS["label_size"], **rules | changes))


def test_labels_lie_where_the_sets_have_them(sets):
    readers, carried = sets
    joined = join(readers)
    side, synonyms = CONCEPTS["label_size"], read_synonyms("shipped")
    without = {"opensurfaces": ("object", "scene"), "pascal-part": ("object",)}
    expected = {}
    for name, pictures in carried.items():
        for key, of_picture in pictures.items():
            of_joined = {}
            for (label, category), mask in of_picture.items():
                if category in without.get(name, ()):
                    continue
                plain = label.replace("_", " ")
                plain = synonyms.get(plain, plain) + ("-s" if category == "scene" else "")
                of_joined[plain, category] = nearest(mask, side, side)
            expected[f"{name}/{key}"] = of_joined
    assert list(joined.names) == list(expected)
    name_of = {label.number: label.name for label in joined.labels}
    for index, of_picture in enumerate(expected.values()):
        labelled = joined.labelled(index, joined.picture(index))
        found = {}
        for plane, category in zip(labelled.planes, labelled.categories, strict=True):
            for number in np.unique(plane[plane > 0]).tolist():
                label = name_of[number], joined.categories[category]
                found[label] = found.get(label, False) | (plane == number)
        for category, number in labelled.whole:
            found[name_of[number], joined.categories[category]] = np.ones((side, side), bool)
        colours = [found.pop(label) for label in list(found) if label[1] == "color"]
        assert (np.sum(colours, 0) == 1).all(), "each pixel has one colour"
        assert found.keys() == of_picture.keys()
        assert all((found[label] == mask).all() for label, mask in of_picture.items())
    names = {label.name for label in joined.labels}
    assert {"airplane", "fabric", "plastic-clear", "eye", "airport terminal-s", "banded", "sky"} <= names
    assert not {"aeroplane", "boat", "book", "unknown"} & names


def test_limits_are_those_of_the_authors_script():
    assert CONCEPTS["least_pictures"] == 10
    assert CONCEPTS["least_pixels"] == 0.5 * CONCEPTS["label_size"] ** 2
    assert CONCEPTS["label_size"] == 224 // 2
