"""docs/files.md names what files hold: no more and no less than what the code writes into them."""

import csv
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import reference_dissection as reference
from conftest import NETWORK, TRAINING
from small_experiments import collected, write_experiment

from workflow_scripts.data.image_index import ImageIndex, write_image_index
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.data.packed_images import write_packed_images
from workflow_scripts.data.unfolding import LZ4, filters_of
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.halves import SPLIT_COLUMNS
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.nulls import UNIT_COLUMNS
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.checkpoints import load_tensors, save_network, write_metrics
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.plan import ablation, robustness, rotations
from workflow_scripts.plan.experiment import ABLATION_TABLES, COMPARED, TABLES
from workflow_scripts.run.sum_costs import COLUMNS as COST_COLUMNS
from workflow_scripts.tables.collect import KEYS
from workflow_scripts.tables.compare_published import PUBLISHED, compare
from workflow_scripts.train.training import Trainer

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "files.md").read_text(encoding="utf-8")
LAYERS = ["stages.0", "stages.1"]
NET = Path("results/tiny/imp/replicate_1/level_0")  # as in the example of the page
CONCEPT, CATEGORY = "fish", "object"
PICTURES = 40


def section(heading: str) -> str:
    """What stands under a heading, to the next one of any level."""
    [text] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", TEXT, re.M | re.S)
    return text


def cells_of(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without headers."""
    lines = re.findall(r"^\|(.*)\|$", re.sub(r"^\|.*\|\n\|--.*$", "", text, flags=re.M), re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented(heading: str) -> dict[str, tuple[str, ...]]:
    """The names in the first cells of the rows under a heading, and the other cells."""
    rows = [(name, tuple(others)) for first, *others in cells_of(section(heading)) for name in names_in(first)]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def documented_tables() -> dict[str, list[str]]:
    """The columns of each table under "Tables"."""
    found: dict[str, list[str]] = {}
    for file, columns, _ in cells_of(section("Tables")):
        if file:
            [name] = names_in(file)
            assert name not in found
            found[name] = []
        found[name] += names_in(columns)
    return found


def header(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


# Tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The columns of all tables of experiments, by file."""
    folder = tmp_path_factory.mktemp("tables")
    written = collected(write_experiment(folder), folder)
    found = {f"{name}.csv": header(written / f"{name}.csv") for name in (*TABLES, *COMPARED, "sweep")}
    of_ablation = dict(zip(ABLATION_TABLES, (ablation.COLUMNS, ablation.CLASS_COLUMNS), strict=True))
    found |= {f"{name}.csv": [*KEYS, *columns] for name, columns in of_ablation.items()}
    published = pd.read_csv(PUBLISHED)
    columns = compare(published, pd.Series(np.nan, published.index), []).columns
    return found | {
        "rotations.csv": [*KEYS, *rotations.COLUMNS],
        "published.csv": ["arm", "replicate", *columns],
        "costs.csv": list(COST_COLUMNS),
    }


def test_columns_of_tables_are_those_on_the_page(tables):
    assert documented_tables() == tables


def test_tables_of_one_network_have_these_columns_without_its_names(tables):
    own = {"nulls": UNIT_COLUMNS, "split": SPLIT_COLUMNS, "rotations": rotations.COLUMNS}
    own |= {"ablation": ablation.COLUMNS, "classes": ablation.CLASS_COLUMNS}
    for name, columns in own.items():
        assert tables[f"{name}.csv"] == [*KEYS, *columns]
    assert robustness.COLUMNS[:2] == ["choice", "value"]
    assert set(robustness.COLUMNS) == set(tables["sweep.csv"]) - {*KEYS, "own"}


# Files of networks and of their dissection


@pytest.fixture(scope="module")
def results(tmp_path_factory, packed):
    """A folder with a network's files as in the page's example, and those of pictures."""
    folder = tmp_path_factory.mktemp("results")
    net, data = folder / NET, folder / "results/tiny/data"
    net.mkdir(parents=True)
    write_set(folder / "set")
    pack_concepts(folder / "set", 12, data / "concepts.h5")
    network = build(NETWORK, 4, seed=1)
    masks = full_masks(network, [])
    save_network(net / "network.pt", network, masks, 4, 0)
    write_metrics(net / "metrics.json", network, masks, 0.5, [])
    for name, candidates in (("activations.h5", None), ("candidates.h5", (0.1, "above"))):
        dump_activations(
            network, LAYERS, data / "concepts.h5", [0.5] * 3, [0.3] * 3, "float16", "a network", net / name,
            candidates=candidates,
        )  # fmt: skip
    find_thresholds(net / "activations.h5", 0.1, net / "thresholds.h5")
    tally_units(net / "activations.h5", net / "thresholds.h5", data / "concepts.h5", net / "tally.h5")
    name_units(net / "tally.h5", data / "concepts.h5", 0.04, "above", net / "units.csv")
    write_packed_images(data / "train.h5", packed)
    sides = np.ones(PICTURES, np.int32)
    paths = tuple(f"a/{place}.png" for place in range(PICTURES))
    write_image_index(
        data / "train_index.h5", ImageIndex(paths, packed.labels, packed.classes, sides, sides, "a fingerprint")
    )
    return folder


def write_set(folder: Path) -> None:
    """A set in Broden's layout: in each picture one object, the concept of the page's example, and a part."""
    labels = {1: (CONCEPT, [CATEGORY]), 2: ("a part", ["part"])}
    concepts = reference.Concepts([CATEGORY, "part"], labels, 9, 70)
    random = np.random.default_rng(0)
    for _ in range(PICTURES):
        objects, parts = random.choice([0, 1], (9, 70)), random.choice([0, 2], (9, 70))
        planes: dict[str, list] = {CATEGORY: [objects], "part": [parts, 2]}
        concepts.pictures.append(reference.Picture(random.integers(0, 256, (12, 12, 3)).astype(np.uint8), planes))
    reference.write_broden(concepts, folder)


def contents_of(path: Path) -> dict[str, h5py.Dataset | object]:
    """The datasets and attributes of a file by their paths, with <layer> in place of layers' names."""
    found: dict[str, h5py.Dataset | object] = {}

    def note(name: str, node: h5py.HLObject) -> None:
        of_layers = re.sub(r"stages\.\d", "<layer>", name)
        found.update({f"{of_layers}/{key}".lstrip("/"): value for key, value in node.attrs.items()})
        if isinstance(node, h5py.Dataset):
            found[of_layers] = node

    file = h5py.File(path)
    note("", file)
    file.visititems(note)
    return found


def type_of(found: h5py.Dataset | object) -> str:
    """What the page calls the type of a dataset or of an attribute's value."""
    if not isinstance(found, h5py.Dataset):
        kinds = {"str": str, "int": np.integer, "float": np.floating}
        return next(name for name, kind in kinds.items() if isinstance(found, kind))
    if h5py.check_string_dtype(found.dtype) is not None:
        return "bytes" if found.dtype.kind == "S" else "str"
    return found.dtype.name


@pytest.mark.parametrize(
    ("heading", "files"),
    [
        ("`concepts.h5`", ["results/tiny/data/concepts.h5"]),
        ("`train.h5` and `test.h5`", ["results/tiny/data/train.h5"]),
        ("`train_index.h5` and `test_index.h5`", ["results/tiny/data/train_index.h5"]),
        ("`activations.h5`", [NET / "activations.h5", NET / "candidates.h5"]),
        ("`thresholds.h5`", [NET / "thresholds.h5"]),
        ("`tally.h5`", [NET / "tally.h5"]),
    ],
)
def test_datasets_and_attributes_are_those_on_the_page(results, heading, files):
    on_page = documented(heading)
    found = [contents_of(results / file) for file in files]
    assert all(contents.pop("format") == 2 for contents in found)
    assert {name for contents in found for name in contents} == set(on_page)
    for contents in found:
        for name, value in contents.items():
            kind, meaning = on_page[name]
            types, shape = re.fullmatch(r"(?:attribute, )?([\w ]+?)(?: \((.*)\))?", kind).groups()
            assert type_of(value) in types.split(" or "), name
            assert kind.startswith("attribute") != isinstance(value, h5py.Dataset), name
            if isinstance(value, h5py.Dataset):
                assert value.ndim == len(shape.split(",")), name
                assert (filters_of(value) == [LZ4]) == ("LZ4" in meaning), name


def test_columns_of_units_are_those_on_the_page(results):
    columns = list(documented("`units.csv`"))
    of_unit = [column for column in columns if not column.startswith("<category>")]
    of_categories = [
        column.replace("<category>", category) for category in (CATEGORY, "part") for column in columns[len(of_unit) :]
    ]
    assert header(results / NET / "units.csv") == [*of_unit, *of_categories]


def test_keys_of_networks_are_those_on_the_page(results, pictures):
    of_files: dict[str, set[str]] = {"`network.pt`": set(), "`rewind.pt`": set()}
    for name, (files, meaning) in documented("Networks").items():
        for file in of_files if files == "both" else [files]:
            of_files[file] |= {name, *(names_in(meaning) if name == "momentum" else [])}
    assert load_tensors(results / NET / "network.pt").keys() == of_files["`network.pt`"]
    network = build(NETWORK, 4, seed=1)
    state = Trainer(network, full_masks(network, []), pictures, TRAINING | {"precision": "float16"}, 1).state()
    assert {*state, "start", "lineage"} == of_files["`rewind.pt`"]  # `train_dense` adds these two


def test_keys_of_metrics_are_those_on_the_page(results):
    def keys_of(value: object) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return {*(value if isinstance(value, dict) else ()), *(key for part in inner for key in keys_of(part))}

    metrics = json.loads((results / NET / "metrics.json").read_text())
    epoch = documented_tables()["epochs.csv"][len(KEYS) :]
    [paragraph] = re.findall(r"^`metrics\.json` has (.*?)\n\n", section("Networks"), re.M | re.S)
    assert set(names_in(paragraph)) == keys_of(metrics) | set(epoch)


def test_the_example_reads_the_iou_of_a_unit(results, monkeypatch, capsys):
    monkeypatch.chdir(results)
    [code] = re.findall(r"^```python\n(.*?)^```$", section("Reading them"), re.M | re.S)
    values: dict = {}
    exec(code, values)
    units = pd.read_csv(NET / "units.csv", keep_default_na=False)
    [unit] = units[(units["layer"] == values["layer"]) & (units["unit"] == values["unit"])].to_dict("records")
    assert values["concept"] == unit[f"{CATEGORY}-label"] == CONCEPT
    assert values["iou"] == pytest.approx(unit[f"{CATEGORY}-iou"], rel=1e-12) and values["iou"] > 0
    assert values["maps"].shape[0] == PICTURES and values["threshold"] == pytest.approx(unit["threshold"])
    assert f"{unit[f'{CATEGORY}-iou']:.6f}" in capsys.readouterr().out
