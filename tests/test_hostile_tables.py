"""Tables, metrics and other files of results that are hostile or broken: each is refused in one sentence."""

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hostile_inputs import Put, device, fifo, instead
from hostile_runner import require_harmless, require_refusal, run_hostile
from small_results import write_results

from workflow_scripts.run.forecast import benchmark_seconds
from workflow_scripts.run.record_provenance import describe_dates
from workflow_scripts.run.run_times import read_benchmarks

NETWORK = "results/imp/replicate_1/level_1"
COLLECT = [
    *("--results", "results", "--networks", "imp", "1/1", "--detector-iou", "0.04", "--detector-rule", "above"),
    *("--tables", "new", "--arms"),
]
ARM = {"arm": "imp", "base": "imp", "role": "curve", "recipe": "imp", "starts_from": "", "label": "x"}
COMMANDS = {
    "collect": ["workflow_scripts.tables.collect", *COLLECT, json.dumps([{**ARM, "same_units": True}])],
    "sweep": [
        *("workflow_scripts.tables.collect_sweep", "--results", "results", "--networks", "imp", "1/1"),
        *("--detector-rule", "above", "--values", "detector_iou", "0.04", "--values", "quantile", "0.005", "0.01"),
        *("--out", "new.csv"),
    ],
    "rotations": [
        *("workflow_scripts.tables.collect_rotations", "--results", "results", "--networks", "imp", "1/1"),
        *("--rotated", "imp", "2", "1.0", "--out", "new.csv"),
    ],
    "ablation": [
        *("workflow_scripts.tables.collect_ablation", "--results", "results", "--networks", "imp", "1/1"),
        *("--given", "[]", "--ablation", "new.csv", "--classes", "new2.csv"),
    ],
    "compare": [
        *("workflow_scripts.tables.compare_networks", "--tables", "results/tables"),
        *("--margin", "0.1", "--accuracy-margin", "0.01"),
    ],
    "summarise": ["workflow_scripts.findings.summarise", "results"],
    "figures": [
        *("workflow_scripts.figures.draw_figures", "--tables", "results/tables", "--out", "new"),
        *("--figure", "overview", "--figure", "ablation", "--figure", "robustness", "--figure", "training_curves"),
    ],
    "report": [
        *("workflow_scripts.run.write_report", "--results", "results", "--figures", "overview"),
        *("--tables", "networks", "ablation", "--margin", "0.1", "--accuracy-margin", "0.01"),
        *("--findings", "findings2.md", "--summary", "summary2.txt", "--out", "results/report2.html"),
    ],
    "verify": ["workflow_scripts.run.verify_results", "results"],
    "checksums": ["workflow_scripts.run.list_checksums", "--results", "results", "--out", "results/new.sha256"],
    "costs": ["workflow_scripts.run.sum_costs", "--benchmarks", "results/benchmarks", "--out", "new.csv"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with results/, which all commands accept."""
    folder = tmp_path_factory.mktemp("whole")
    write_results(folder / "results")
    of_network = folder / NETWORK
    for name, rows in OWN_TABLES.items():
        (of_network / f"{name}.csv").write_text(rows)
    return folder


OWN_TABLES = {
    "sweep": "choice,value,layer,units,detectors_a,concepts_a,detectors_b,concepts_b,dead_units\n"
    "quantile,0.01,stages.3.conv2,12,3,3,4,4,0\n",
    "rotations": "layer,alpha,seed,units,detectors_a,concepts_a,dead_units,median_score\n"
    "stages.3.conv2,1.0,1,12,3,3,0,0.05\nstages.3.conv2,1.0,2,12,4,3,0,0.05\n",
    "ablation": "layer,class,concept,units,pictures,accuracy,own,others,all,random_own_mean,random_own_sd,"
    "random_all_mean,p,sets,by\nstages.3.conv2,dog,dog,2,10,0.9,-0.1,0,-0.1,-0.05,0.1,0,0.05,19,logits\n",
    "classes": "class,pictures,accuracy\ndog,10,0.9\n",
}


@pytest.fixture
def results(whole, tmp_path) -> Path:
    """A copy of these results, to be broken."""
    shutil.copytree(whole / "results", tmp_path / "results")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_whole_results_are_accepted(command, results):
    name, *words = COMMANDS[command]
    outcome = run_hostile(results, name, *words, seconds=100)
    require_harmless(results, outcome)
    assert outcome.status == 0, outcome.output[-3000:]


# Tables


def change(path: Path, column: str, value: str) -> None:
    """Give the last row of a table another cell."""
    rows = read(path)
    rows[-1][rows[0].index(column)] = value
    write(path, rows)


def leave_out(path: Path, column: str) -> None:
    """Leave a column out of a table."""
    rows = read(path)
    place = rows[0].index(column)
    write(path, [row[:place] + row[place + 1 :] for row in rows])


def repeat(path: Path, column: str) -> None:
    """Add a column again, with zeros in place of its cells."""
    write(path, [[*row, column if number == 0 else "0"] for number, row in enumerate(read(path))])


def read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def write(path: Path, rows: list[list[str]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def replace_by(put: Put) -> Callable[[Path, str], object]:
    """What replaces a file by another thing of its name."""
    return lambda path, _: instead(put)(path)


WRONG = "{column} is '[^']*', but must be|has \"[^\"]*\" in column {column} where"
SHORT = r"row \d+: \w+ is '', but must be|has \"\" in column \w+ where"
BREAKAGES: dict[str, tuple[Callable[[Path, str], object], str]] = {
    "column gone": (leave_out, "has no column {column}"),
    "column twice": (repeat, "has the column {column} twice"),
    "text": (
        lambda path, column: change(path, column, "x"),
        "{column} is 'x', but must be|has \"x\" in column {column}",
    ),
    "doubled row": (
        lambda path, _: path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n"),
        "has two rows of|twice",
    ),
    "empty file": (lambda path, _: path.write_text(""), "is damaged, or another kind of file"),
    "header only": (
        lambda path, _: path.write_text(path.read_text().partition("\n")[0] + "\n"),
        "has no (rows|units|quantile)|of other units|lacks rotations",
    ),
    "NaN": (lambda path, column: change(path, column, "nan"), WRONG),
    "infinity": (lambda path, column: change(path, column, "inf"), WRONG),
    "huge": (lambda path, column: change(path, column, "1e308"), WRONG),
    "5000 digits": (lambda path, column: change(path, column, "9" * 5000), WRONG),
    "negative": (lambda path, column: change(path, column, "-7"), WRONG),
    "nothing": (lambda path, column: change(path, column, ""), WRONG),
    "escapes": (lambda path, column: change(path, column, "\x1b[31mred"), r"\\x1b\[31mred"),
    "binary": (
        lambda path, _: path.write_bytes(bytes(range(256)) * 9),
        "is damaged|ends within",
    ),
    "no end": (lambda path, _: os.truncate(path, 3 * 10**11), "has 300 GB"),
    "UTF-16": (lambda path, _: path.write_bytes(path.read_text().encode("utf-16")), "is damaged|ends within"),
    "one more cell": (lambda path, _: path.write_text(path.read_text() + "a" + ",1" * 40 + "\n"), "is damaged"),
    "a row too short": (lambda path, _: path.write_text(path.read_text() + "a,1\n"), SHORT),
    "last line cut": (lambda path, _: path.write_text(path.read_text()[:-2]), "ends within a line"),
    "folder": (replace_by(Path.mkdir), "is a folder, pipe, socket or device"),
    "pipe": (replace_by(fifo), "is a folder, pipe, socket or device"),
    "device": (replace_by(device), "is a folder, pipe, socket or device"),
    "missing": (replace_by(lambda path: None), "is missing or is a broken link"),
    "broken link": (replace_by(lambda path: path.symlink_to("nowhere")), "is missing or is a broken link"),
}
EVERY = [
    ("summarise", "results/tables/networks.csv", "detectors_a"),
    ("collect", f"{NETWORK}/units.csv", "score"),
    ("collect", f"{NETWORK}/nulls.csv", "iou"),
]
FEW = [
    ("collect", f"{NETWORK}/split.csv", "groups"),
    ("sweep", f"{NETWORK}/sweep.csv", "units"),
    ("rotations", f"{NETWORK}/rotations.csv", "detectors_a"),
    ("ablation", f"{NETWORK}/ablation.csv", "pictures"),
    ("ablation", f"{NETWORK}/classes.csv", "pictures"),
    ("summarise", "results/tables/arms.csv", "same_units"),
    ("summarise", "results/tables/equivalence.csv", "difference"),
    ("compare", "results/tables/units.csv", "score"),
    ("compare", "results/tables/split.csv", "jaccard"),
    ("compare", "results/tables/rotations.csv", "alpha"),
    ("figures", "results/tables/networks.csv", "detectors_a"),
    ("figures", "results/tables/categories.csv", "detectors_a"),
    ("figures", "results/tables/layers.csv", "weights"),
    ("figures", "results/tables/sweep.csv", "units"),
    ("figures", "results/tables/identity.csv", "jaccard"),
    ("figures", "results/tables/epochs.csv", "train_loss"),
    ("figures", "results/tables/ablation.csv", "own"),
    ("figures", "results/tables/classes.csv", "accuracy"),
    ("report", "results/tables/correlations.csv", "with_accuracy"),
]
BROKEN = [(*reader, breakage) for reader in EVERY for breakage in BREAKAGES]
OF_FEW = ("column gone", "column twice", "text", "doubled row", "empty file")
BROKEN += [(*reader, breakage) for reader in FEW for breakage in OF_FEW]
MAY_BE_EMPTY = [
    f"results/tables/{name}.csv"
    for name in (
        "equivalence",
        "rotations",
        "layers",
        "split",
        "sweep",
        "identity",
        "epochs",
        "ablation",
        "correlations",
    )
]
MAY_BE_EMPTY.append(f"{NETWORK}/ablation.csv")
BROKEN += [(*reader, "header only") for reader in FEW if reader[1] not in MAY_BE_EMPTY]


@pytest.mark.parametrize(("command", "file", "column", "breakage"), BROKEN)
def test_a_broken_table_is_refused(command, file, column, breakage, results):
    break_it, says = BREAKAGES[breakage]
    break_it(results / file, column)
    name, *words = COMMANDS[command]
    require_refusal(results, run_hostile(results, name, *words), says.format(column=column))
    assert not (results / "new").exists() and not (results / "new.csv").exists()


@pytest.mark.parametrize(("command", "file"), [reader[:2] for reader in FEW if reader[1] in MAY_BE_EMPTY])
def test_tables_that_may_be_empty_end_in_no_traceback(command, file, results):
    path = results / file
    BREAKAGES["header only"][0](path, "")
    name, *words = COMMANDS[command]
    require_harmless(results, run_hostile(results, name, *words, seconds=100))


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("role", "curved", "role is 'curved', but must be one of curve, baseline, reference"),
        ("base", "nobody", "does not list nobody, which trained_twice is compared with"),
        ("arm", "other", "does not list arm trained_twice of networks.csv"),
        ("same_units", "", "same_units is '', but must be True or False"),
    ],
)
def test_arms_that_cannot_be_are_refused(column, value, says, results):
    path = results / "results/tables/arms.csv"
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("imp_rotated")]
    last = [line for line in lines if line.startswith("trained_twice")]
    path.write_text("".join([*(line for line in lines if line not in last), *last]))
    change(path, column, value)
    require_refusal(results, run_hostile(results, *COMMANDS["summarise"]), says)


def test_a_circle_of_bases_is_refused(results):
    path = results / "results/tables/arms.csv"
    text = path.read_text().replace("\ntrained_twice,imp", "\ntrained_twice,untrained")
    path.write_text(text.replace("\nuntrained,imp", "\nuntrained,trained_twice"))
    require_refusal(results, run_hostile(results, *COMMANDS["summarise"]), "has a circle of bases")


# Texts from outside, which end in figures, pages and tables

NAMED = ("stages.3.conv2", "stem", "iterative magnitude pruning", "untrained, calibrated", "object 0", "dog", "class 1")
TEXTS = {
    "HTML and LaTeX": "<script>touch(1)</script><img src=x onerror=touch(1)>&lt;&#0;]]></text>--><!--"
    r"\input{/etc/passwd} %_^#{}~$x$&",
    "formula of matplotlib": r"$\frac$ $_{$ \$x",
    "reStructuredText, Markdown, fields": ".. include:: /etc/passwd :: *a `b`_ |c| **d ``e :raw:`f` [1]_ _"
    "[a](javascript:touch(1)) ![](http://b) *c _d_ `e | <f> {n} {0} {layers} %s %(x)s",
    "characters that are obeyed": "\x1b[31mred\x1b]0;title\x07 a\nb\rc\x85d\u2028e\x0bf a\u202eb\u2066c a\x01b\uffffc",
    "long": "x" * 3000,
}
HARMFUL = re.compile("[\u2028-\u202e\u2066-\u2069]")  # besides control characters


class Elements(HTMLParser):
    """Notes the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found |= {tag, *(name for name, _ in attrs if name.startswith("on"))}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_from_outside_do_no_harm(text, results):
    for path in (results / "results").rglob("*.csv"):
        rows = [[text if cell in NAMED else cell for cell in row] for row in read(path)]
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(rows)
    metrics = results / NETWORK / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"stem"', json.dumps(text)))
    for command in ("collect", "summarise", "figures", "report"):
        name, *words = COMMANDS[command]
        outcome = run_hostile(results, name, *words, seconds=100)
        require_harmless(results, outcome)
        assert outcome.status == 0, outcome.output[-3000:]
        assert not HARMFUL.search(outcome.output)
    for path in (results / "new").glob("*.csv"):
        assert len({len(row) for row in read(path)}) == 1, path
    for path in (results / "new").glob("*.svg"):
        assert not [node.tag for node in ElementTree.parse(path).iter() if node.tag.endswith("script")]
    for path in (results / "new").glob("*.tex"):
        assert not re.search(r"(?<!\\)[%&#_$^~]|\\input", path.read_text()), path
    page = Elements()
    page.feed((results / "results/report2.html").read_text())
    assert not page.found & {"script", "onerror", "f", "text"}
    assert not re.search(r"(?<!\\)[<\[`]", (results / "findings2.md").read_text())


# metrics.json

DELETE = object()


def with_value(place: str, value: object) -> Callable[[dict], object]:
    """What changes a value of a metrics.json."""

    def put(metrics: dict) -> object:
        *outer, last = place.split(".")
        inner = metrics
        for key in outer:
            inner = inner[int(key) if key.isdigit() else key]
        if value is DELETE:
            del inner[last]
        else:
            inner[last] = value
        return metrics

    return put


NAN, INF = float("nan"), float("inf")
METRICS: list[tuple[Callable[[dict], object], str]] = [
    (lambda metrics: [metrics], 'has no key "test_accuracy"'),
    (lambda metrics: "text", 'has no key "test_accuracy"'),
    (lambda metrics: None, 'has no key "test_accuracy"'),
    (with_value("epochs", 5), 'has no list "epochs"'),
    (with_value("epochs", {}), 'has no list "epochs"'),
    (with_value("epochs", [7]), 'has no key "epoch" in one of its epochs'),
    (with_value("layers", "x"), 'has no list "layers"'),
    (with_value("layers", [None]), 'has no key "name" in one of its layers'),
    (with_value("test_accuracy", "abc"), "\"test_accuracy\" is 'abc', but must be a number from 0 to 1"),
    (with_value("test_accuracy", NAN), '"test_accuracy" is nan'),
    (with_value("test_accuracy", 97.5), '"test_accuracy" is 97.5'),
    (with_value("test_accuracy", True), '"test_accuracy" is True'),
    (with_value("test_accuracy", [0.5]), r'"test_accuracy" is \[0.5\]'),
    (with_value("test_accuracy", "\x1b[31m"), r"'\\x1b\[31m'"),
    (with_value("test_accuracy", "x" * 10**6), '"test_accuracy" is'),
    (with_value("test_accuracy", DELETE), 'has no key "test_accuracy"'),
    (with_value("density", [1]), 'has no key "prunable" under density'),
    (with_value("density.all", "x"), "\"all\" under density is 'x'"),
    (with_value("density.prunable", INF), '"prunable" under density is inf'),
    (with_value("density.weights", -1), '"weights" under density is -1'),
    (with_value("budget.epochs", 1.5), '"epochs" under budget is 1.5'),
    (with_value("budget.pictures", None), '"pictures" under budget is None'),
    (with_value("budget.pictures", 10**400), '"pictures" under budget is 1000'),
    (with_value("epochs.0.train_loss", "x"), "\"train_loss\" in one of its epochs is 'x'"),
    (with_value("epochs.0.epoch", "1"), "\"epoch\" in one of its epochs is '1'"),
    (with_value("layers.0.remaining", "x"), "\"remaining\" in one of its layers is 'x'"),
    (with_value("layers.0.prunable", 1), '"prunable" in one of its layers is 1'),
    (with_value("layers.0.name", 7), '"name" in one of its layers is 7'),
]


@pytest.mark.parametrize(("broken", "says"), METRICS)
def test_broken_metrics_are_refused(broken, says, results):
    path = results / NETWORK / "metrics.json"
    path.write_text(json.dumps(broken(json.loads(path.read_text()))))
    require_refusal(results, run_hostile(results, *COMMANDS["collect"]), says)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text(""), "is damaged, or another kind of file"),
        (lambda path: path.write_bytes(b"\xff\xfe{}"), "is damaged, or another kind of file"),
        (lambda path: path.write_text("[" * 99999), "is damaged, or another kind of file"),
        (lambda path: path.write_text(f'{{"test_accuracy": {"9" * 5000}}}'), "is damaged, or another kind of file"),
        (Path.mkdir, "is a folder, pipe, socket or device"),
        (os.mkfifo, "is a folder, pipe, socket or device"),
        (lambda path: None, "is missing or is a broken link"),
    ],
)
def test_what_is_no_metrics_file_is_refused(make, says, results):
    path = results / NETWORK / "metrics.json"
    path.unlink()
    make(path)
    require_refusal(results, run_hostile(results, *COMMANDS["collect"]), says)


# Benchmarks, the report, the gallery, and lists of what was made

BENCHMARK = "s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t100\t2\n"
DAMAGED = [
    lambda path: path.touch(),
    lambda path: path.write_bytes(bytes(4096)),
    lambda path: path.write_bytes(bytes(range(256))),
    lambda path: path.write_text(BENCHMARK.replace("1.5", "nan")),
    lambda path: path.write_text(BENCHMARK.replace("1.5", "-inf")),
    lambda path: path.write_text(BENCHMARK.replace("1.5", "9" * 5000)),
    lambda path: path.write_text(BENCHMARK.partition("\n")[0] + "\n"),
    lambda path: path.write_text("a\tb\n1\t2\n"),
    lambda path: path.write_text(BENCHMARK[:-10]),
    Path.mkdir,
    os.mkfifo,
    lambda path: path.symlink_to("nowhere"),
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_benchmark_is_left_out_and_named(damage, tmp_path, monkeypatch):
    folder = tmp_path / "results/one/benchmarks"
    folder.mkdir(parents=True)
    (folder / "name_units.tsv").write_text(BENCHMARK)
    damage(folder / "tally_units.tsv")
    outcome = run_hostile(tmp_path, "workflow_scripts.run.sum_costs", "--benchmarks", folder, "--out", "costs.csv")
    require_harmless(tmp_path, outcome)
    assert outcome.status == 0 and "a job is left out: " in outcome.output and "tally_units.tsv" in outcome.output
    assert (tmp_path / "costs.csv").read_text().splitlines()[-1] == "all,1,1.5,1.5,1.5,2.0,100.0"
    monkeypatch.chdir(tmp_path)
    assert read_benchmarks("one") == {"name_units": [1.5]}  # as at each start
    job = SimpleNamespace(benchmark=str(folder / "tally_units.tsv"))
    assert benchmark_seconds(job) is None  # as at the end of each job
    dates = describe_dates(folder)
    assert dates["first_job"] and dates["last_job"]


@pytest.mark.parametrize(
    ("command", "file", "content", "says"),
    [
        ("report", "costs.csv", "", "costs.csv has no rows"),
        ("report", "costs.csv", "rule,jobs\na,1,2\n", "costs.csv, row 2, has 3 cells, but the first has 2"),
        ("report", "costs.csv", b"\xff\xfe", "costs.csv is damaged"),
        ("report", "data/concepts.verified.json", "[]", "concepts.verified.json is damaged"),
        ("report", "data/concepts.verified.json", '{"images": Infinity}', "concepts.verified.json is damaged"),
        ("report", "data/concepts.verified.json", '{"images": "x"}', "concepts.verified.json is damaged"),
        ("report", "config.yaml", "experiment: one\n", "config.yaml is damaged"),
        ("report", "config.yaml", "- a\n", "config.yaml has no keys"),
        ("report", "figures/overview.rst", b"\xff", "overview.rst is damaged"),
        ("report", "figures/overview.rst", ".. include:: /etc/passwd\n", "overview.rst is damaged"),
        ("report", "figures/overview.rst", "", "overview.rst is damaged"),
        ("report", "provenance.json", "{}", "provenance.json is not what snakemake writes"),
        ("report", "provenance.json", "[" * 99999, "provenance.json is damaged"),
        ("checksums", "provenance.json", "", "provenance.json is damaged"),
        ("checksums", "provenance.json", "[]", "provenance.json is not what snakemake writes"),
        ("verify", "provenance.json", "null", "provenance.json is not what snakemake writes"),
        ("verify", "checksums.sha256", "", "lists no file that is there"),
        ("verify", "checksums.sha256", "x" * 10**6, "checksums.sha256 is damaged in line 1"),
        ("verify", "checksums.sha256", f"{'0' * 64}  ../../etc/passwd\n", "lies outside the folder"),
        ("verify", "checksums.sha256", f"{'0' * 64}  \x1b[31mred\n", r"\\x1b\[31mred is missing"),
        ("verify", "checksums.sha256", b"\xff", "checksums.sha256 is damaged"),
        ("report", "data/concepts.verified.json", "[" * 99999, "concepts.verified.json is damaged"),
        ("report", "data/concepts.verified.json", '{"images": 1e999}', "concepts.verified.json is damaged"),
        ("report", "data/concepts.verified.json", '{"images": 1, "images": 2}', "the key 'images' twice"),
        ("report", "provenance.json", '{"format": 2, "format": 2}', "the key 'format' twice"),
        ("verify", "tables/networks.csv", "", "networks.csv has (changed|no column)"),
    ],
)
def test_other_broken_files_of_results_are_refused(command, file, content, says, results):
    path = results / "results" / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    name, *words = COMMANDS[command]
    outcome = run_hostile(results, name, *words)
    require_harmless(results, outcome)
    assert outcome.status == 1, outcome.output[-2000:]
    assert re.search(f"error: .*({says})", outcome.output), outcome.output[-2000:]


@pytest.mark.parametrize(
    "content",
    [
        *("", "x", "gallery.experiment()", "gallery.experiment([])", "gallery.experiment({})"),
        f"gallery.experiment({'[' * 9999})",
        'gallery.experiment({"networks": 7})',
        'gallery.experiment({"networks": [{"arm": "imp", "replicate": 1}]})',
    ],
)
def test_a_broken_gallery_is_refused(content, tmp_path):
    (tmp_path / "experiment.js").write_text(content)
    words = ["--gallery", ".", "--arm", "imp", "--layer", "a", "--unit", 1, "--out", "unit.pdf"]
    require_refusal(tmp_path, run_hostile(tmp_path, "workflow_scripts.gallery.draw_unit", *words), "is damaged")
