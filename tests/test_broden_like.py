"""configs/concepts/broden_like.yaml: the sets that Broden was joined from, in the layouts of their archives, joined."""

from pathlib import Path

import numpy as np
import pytest
import set_fixtures as fixtures

from workflow_scripts.data.concept_sets.formats import read_joined
from workflow_scripts.data.concept_sets.joined import read_synonyms
from workflow_scripts.data.concept_sets.reader import nearest
from workflow_scripts.plan.concept_sets import options_of
from workflow_scripts.plan.load import read_config

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
BRODEN_LIKE = CONFIGS / "concepts" / "broden_like.yaml"
NO_MINIMUM = {"least_pictures": 0, "least_pixels": 0}  # of sets so small


def write_dtd(folder: Path) -> fixtures.Carried:
    every = np.ones((1, 1), bool)
    textures = {"banded/banded_0001": ["banded"], "grid/grid_0001": ["grid", "banded"]}
    for key in textures:
        fixtures.write_jpeg(folder / "images" / f"{key}.jpg", 4, 5)
    (folder / "labels").mkdir()
    lines = [f"{key}.jpg {' '.join(names)} \n" for key, names in textures.items()]
    (folder / "labels" / "labels_joint_anno.txt").write_text("".join(lines))
    return {key: {(name, "texture"): every for name in names} for key, names in textures.items()}


WRITERS = {
    "ade20k": fixtures.write_ade20k_2016,
    "dtd": write_dtd,
    "opensurfaces": fixtures.write_open_surfaces,
    "pascal-context": fixtures.write_pascal_context,
    "pascal-part": fixtures.write_pascal_part,
}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """`read_config` in a folder that has the one source that must already exist."""
    (tmp_path / "data" / "opensurfaces").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return lambda *files: read_config(files)


@pytest.fixture
def concepts(read):
    return read(BRODEN_LIKE)["concepts"]


@pytest.fixture
def written(concepts, tmp_path):
    """The config's sources, as `read_joined` takes them, and their labels."""
    sets, carried = [], {}
    for item in concepts["sources"]:
        folder = pictures = tmp_path / Path(item["source"]).name / item["folder"]
        carried[item["name"]] = WRITERS[item["name"]](folder)
        if "pictures_from" in item:
            pictures = tmp_path / Path(item["pictures_from"]["source"]).name / item["pictures_from"]["folder"]
            fixtures.write_voc_pictures(pictures)
        places = {"folder": folder, "pictures_folder": pictures, "options": options_of(item)}
        sets.append({key: item[key] for key in ("name", "format", "category")} | places)
    return sets, carried


def test_labels_are_where_the_sets_have_them(written, concepts):
    sets, carried = written
    joined = read_joined(sets, concepts | NO_MINIMUM)
    side, synonyms = concepts["label_size"], read_synonyms("shipped")
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


def test_limits_are_those_of_the_authors_script(concepts):
    assert concepts["least_pictures"] == 10
    assert concepts["least_pixels"] == 0.5 * concepts["label_size"] ** 2
    assert concepts["label_size"] == 224 // 2


@pytest.mark.parametrize("experiment", ["paper.yaml", "tiny.yaml"])
def test_it_can_replace_an_experiments_concepts(read, concepts, experiment):
    config = read(CONFIGS / experiment, BRODEN_LIKE)
    assert config["concepts"]["sources"] == concepts["sources"]
    assert config["concepts"]["pixel_totals"] == "none" and config["concepts"]["expect"]["images"] == "any"
    assert config["training"] == read(CONFIGS / experiment)["training"]
