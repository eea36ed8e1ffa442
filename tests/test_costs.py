"""The table of what each rule took."""

import csv
import re
from pathlib import Path

import pytest

from workflow_scripts.run.costs import OF_NETWORK
from workflow_scripts.run.run_times import SEVERAL, read_benchmarks, rule_of
from workflow_scripts.run.sum_costs import COLUMNS, sum_costs

ROOT = Path(__file__).resolve().parent.parent
HEAD = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n"


def write(folder: Path, name: str, *rows: tuple) -> None:
    path = folder / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(f"{s}\t0:00:00\t{rss}\t1\t{cpu}\n" for s, rss, cpu in rows))


def test_rules_are_added_up_and_sorted_by_what_they_took(tmp_path):
    write(tmp_path, "imp/replicate_1/level_0/train_dense", (10, 300, 8))
    write(tmp_path, "imp/replicate_1/level_1/train_level", (20, 400, 15))
    write(tmp_path, "imp/replicate_1/level_2/train_level", (40, 350, 35), (30, 500, 20))
    write(tmp_path, "data/pack_train", (1, "NA", "NA"))
    write(tmp_path, "data/pack_test", (2, 50, "-"))
    out = tmp_path / "costs.csv"
    sum_costs(tmp_path, out)
    with open(out, newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert rows == [
        ["train_level", "3", "90.0", "30.0", "40.0", "70.0", "500.0"],
        ["train_dense", "1", "10.0", "10.0", "10.0", "8.0", "300.0"],
        ["pack_images", "2", "3.0", "1.5", "2.0", "0.0", "50.0"],
        ["all", "6", "103.0", "15.0", "40.0", "78.0", "500.0"],
    ]


def test_without_benchmarks_there_is_a_header(tmp_path):
    sum_costs(tmp_path / "none", tmp_path / "costs.csv")
    assert (tmp_path / "costs.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_seconds_by_benchmark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("results/mine/benchmarks")
    write(folder, "a/name_units", (1, 1, 1))
    write(folder, "b/name_units", (2, 1, 1), (3, 1, 1))
    assert read_benchmarks("mine") == {"name_units": [1, 2, 3]}


def benchmarks() -> list[tuple[str, str]]:
    """Every rule and the pattern of its benchmark's name."""
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):.*?(?=^rule |\Z)", text, re.M | re.S)
    bodies = re.split(r"^rule \w+:", text, flags=re.M)[1:]
    found = [(rule, re.search(r"/([^/]+)\.tsv\"", body)) for rule, body in zip(rules, bodies, strict=True)]
    return [(rule, match[1]) for rule, match in found if match]


WILDCARDS = {"{{kind}}": "images", "{{split}}": "test", "{{suffix}}": "_mine", "{{view}}": "_224_bilinear"}


@pytest.mark.parametrize(("rule", "pattern"), benchmarks())
def test_every_benchmark_is_known_to_be_its_rules(rule, pattern):
    some, none = pattern, pattern
    for wildcard, value in WILDCARDS.items():
        some = some.replace(wildcard, value)
        none = none.replace(wildcard, value if wildcard in ("{{kind}}", "{{split}}") else "")
    assert "{" not in some
    assert rule_of(some) == rule_of(none) == rule


def test_rules_of_one_network_are_known():
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert set(re.findall(r"\{TIMES\}/(\w+)\.tsv", text)) == set(OF_NETWORK)
    assert set(re.findall(r"(\w+)\{\{(?:suffix|view)\}\}\.tsv", text)) == set(SEVERAL)


def test_there_are_benchmarks_to_test():
    assert len(benchmarks()) > 15
