"""How long the rest of a run takes: the longest chain, limited resources, and whom to believe about a job."""

import json
import os
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.cost_sheet import read_experiment
from workflow_scripts.plan.load import read_config
from workflow_scripts.run import forecast as forecast_module
from workflow_scripts.run.forecast import Forecast, last_line, longest_chain, rate, seconds_left

HOUR = 3600


class Job:
    """As much of Snakemake's job as a forecast looks at."""

    def __init__(
        self, rule: str, benchmark: Path | None = None, log: Path | None = None, output=("file",), **resources
    ):
        self.rule = SimpleNamespace(name=rule)
        self.benchmark, self.log, self.output = benchmark, [log] if log else [], output
        self.scheduler_resources = {"_cores": 1} | resources
        self.wildcards_dict: dict[str, str] = {}


def forecast(
    jobs: list, needs: dict, earlier: dict | None = None, running: dict | None = None, **limits
) -> float | None:
    return Forecast(earlier or {}).left(jobs, lambda job: needs.get(job, []), running or {}, limits)


def earlier(**seconds: float) -> dict:
    return {name: [value] for name, value in seconds.items()}


def jobs_of(*rules: str) -> list[Job]:
    return [Job(rule, Path(f"{rule}.tsv")) for rule in rules]


def test_a_chain_and_the_cores_each_set_a_bound():
    a, b, c = jobs_of("a", "b", "c")
    needs, known = {b: [a]}, earlier(a=10, b=20, c=100)
    assert forecast([a, b, c], needs, known) == 100
    assert forecast([a, b, c], {b: [a], c: [b]}, known) == 130
    assert forecast([a, b, c], needs, known, _cores=1) == 130
    assert forecast([a, b, c], needs, known, _cores=2) == 100
    wide = Job("a", Path("a.tsv"), _cores=4, gpu=1)
    assert forecast([wide], {}, known, _cores=4, gpu=1) == 10
    assert forecast([wide, Job("a", Path("a.tsv"), _cores=4)], {}, known, _cores=4) == 20


def test_a_forecast_does_not_average_what_was_measured_for_each_job(monkeypatch):
    jobs = jobs_of(*100 * ["a"])
    told = Forecast({})
    for seconds in range(100):
        told.note(jobs[0], seconds)
    averaged: list[object] = []
    monkeypatch.setattr(forecast_module, "fmean", averaged.append)
    assert told.left(jobs, lambda job: [], {}, {"_cores": 1}) == 100 * 49.5
    assert not averaged


def test_what_has_finished_does_not_lengthen_the_chain():
    a, b = jobs_of("a", "b")
    assert forecast([b], {b: [a]}, earlier(a=10, b=20)) == 20


def test_this_run_counts_before_earlier_ones_and_these_before_rates(tmp_path):
    a, b = Job("a", tmp_path / "a.tsv"), Job("a", tmp_path / "b.tsv")
    told = Forecast({"b": [7.0]})
    told.rated = {a: 1.0, b: 1.0}
    assert told.seconds(a, {}) == 1 and told.seconds(b, {}) == 7
    told.note(Job("a"), 30)
    assert told.seconds(a, {}) == told.seconds(b, {}) == 30
    (tmp_path / "a.tsv").write_text("s\th:m:s\tmax_rss\tcpu_time\n10.0\t0:00:10\t1\t1\n")
    told.note(a, 99)  # as Snakemake has measured it
    assert told.seconds(b, {}) == 20


def test_a_rule_without_a_rate_counts_as_half_of_those_that_were_measured_until_one_of_its_own_ends():
    told = Forecast({}, start=2)
    unknown, rated = Job("unknown"), Job("train")
    told.rated = {unknown: 2.0, rated: 50.0}
    assert told.seconds(unknown, {}) == 2
    for rule, seconds in (("a", 10), ("a", 30), ("b", 1000), ("c", 5)):  # means 20, 1000 and 5
        told.note(Job(rule), seconds)
    assert told.seconds(unknown, {}) == 20 and told.seconds(rated, {}) == 50
    told.note(Job("unknown"), 3)
    assert told.seconds(unknown, {}) == 3
    quick = Forecast({}, start=2)
    quick.rated = {unknown: 2.0}
    quick.note(Job("a"), 1)
    assert quick.seconds(unknown, {}) == 2


def test_without_a_basis_there_is_no_forecast():
    unknown = [Job("new") for _ in range(4)]
    assert forecast(unknown, {}) is None
    known = jobs_of("a")
    assert forecast([*known, *unknown[:3]], {}, earlier(a=10)) == 10  # odds and ends
    assert forecast([*known, *unknown], {}, earlier(a=10)) is None
    assert forecast([*known, *(Job("a", Path("a.tsv")) for _ in range(40)), *unknown], {}, earlier(a=10)) == 10


def test_a_running_job_takes_what_is_left_of_it(tmp_path):
    log = tmp_path / "train.log"
    trains, waits = Job("train", Path("t.tsv"), log), Job("train", Path("t.tsv"))
    jobs, needs, known = [trains, waits], {waits: [trains]}, earlier(t=HOUR)
    started = time.time() - HOUR / 2
    assert forecast(jobs, needs, known) == 2 * HOUR
    assert forecast(jobs, needs, known, {trains: started}) == pytest.approx(1.5 * HOUR, abs=5)
    # The log knows better, of the next job of the rule, too: 2.5 hours in all.
    log.write_text("10:00:00 something\n10:00:10 5 of 100 pictures, 10 a second, 2:00:00 left, epoch 1 of 90\n")
    assert forecast(jobs, needs, {}, {trains: started}) == pytest.approx(4.5 * HOUR, abs=5)
    # But not a log from before its start.
    os.utime(log, (started - 10, started - 10))
    assert forecast(jobs, needs, known, {trains: started}) == pytest.approx(1.5 * HOUR, abs=5)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("5 of 9 pictures, 1 a second, 0:01:20 left", 80),
        ("5 of 9 pictures, 1 a second, 30:00:01 left, epoch 2", 30 * HOUR + 1),
        ("epoch 1 of 9: loss 1.0; pictures: 4 a second, 3.2 days left", 3.2 * 24 * HOUR),
        ("continuing after 3 epochs and 2 steps", None),
        ("", None),
    ],
)
def test_the_last_line_of_a_log_says_what_is_left(tmp_path, line, seconds):
    log = tmp_path / "job.log"
    log.write_text("x" * 5000 + f"\n10:00:00 0:00:01 left\n23:59:59 {line}\n" if line else "")
    assert last_line(Job("a", log=log), since=0) == line
    assert seconds_left(Job("a", log=log), since=0) == (pytest.approx(seconds) if seconds else None)


def test_a_log_from_before_the_start_says_nothing_unless_the_clock_was_put_back(tmp_path):
    log = tmp_path / "job.log"
    log.write_text("5 of 9\n")
    now = time.time()
    os.utime(log, (now - 60, now - 60))
    assert [last_line(Job("a", log=log), since) for since in (now - 90, now - 30, now + HOUR)] == [
        "5 of 9",
        "",
        "5 of 9",
    ]


def test_a_job_without_a_log_says_nothing(tmp_path):
    assert last_line(Job("a"), 0) == last_line(Job("a", log=tmp_path / "no.log"), 0) == ""


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(
    st.lists(st.integers(0, 5), min_size=n, max_size=n),
    st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda edge: edge[0] < edge[1])),
)))  # fmt: skip
def test_the_longest_chain_is_that_of_all_paths(graph):
    lengths, edges = graph

    def paths(end: int) -> list[list[int]]:
        return [[end]] + [[*path, end] for a, b in edges if b == end for path in paths(a)]

    needs = {b: [a for a, end in edges if end == b] for b in range(len(lengths))}
    best = max((path for end in needs for path in paths(end)), key=lambda path: sum(lengths[i] for i in path))
    assert all(edge in edges for edge in pairwise(best))
    total, chain = longest_chain(dict(enumerate(lengths)), needs.__getitem__)
    assert total == sum(lengths[i] for i in best) == sum(lengths[i] for i in chain)


def test_a_chain_as_long_as_an_experiment_of_weeks():
    total, chain = longest_chain(dict.fromkeys(range(5000), 2), lambda i: range(max(i - 1, 0), i))
    assert total == 10_000 and chain == list(range(5000))


def test_the_configs_rates_are_those_of_the_cost_sheet(tiny_config):
    train, tally = Job("train_level"), Job("tally_units")
    train.wildcards_dict, tally.wildcards_dict = {"arm": "imp", "replicate": "1", "level": "1"}, {"arm": "imp"}
    rated = rate([train, tally], tiny_config, 2)
    rates, start = tiny_config["rates"], tiny_config["rates"]["start"]
    assert rated[train] == pytest.approx(start + 384 / rates["train"] + 40 / rates["forward"])
    assert rated[tally] == start


def test_rates_are_not_of_brought_networks(tiny_config, tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"read by jobs alone")
    mine = {"name": "mine", "recipe": "brought", "constructor": "torchvision.models:resnet18", "layers": ["layer4"]}
    mine |= {"weights": str(weights), "preprocessing": {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3}}
    train, dump, check, collect = (
        Job(rule) for rule in ("train_dense", "dump_activations", "check_network", "collect")
    )
    train.wildcards_dict = {"arm": "imp", "replicate": "1", "level": "0"}
    dump.wildcards_dict = {"arm": "mine", "replicate": "1", "level": "0"}
    check.wildcards_dict = {"suffix": "_mine"}
    jobs = [train, dump, check, collect]
    alone = rate([train, collect], tiny_config, 2)
    assert alone.keys() == {train, collect}
    assert rate(jobs, tiny_config | {"arms": [*tiny_config["arms"], mine]}, 2) == alone
    assert rate(jobs, tiny_config | {"arms": [mine]}, 2) == {}


@pytest.fixture(scope="module")
def tiny_config() -> dict:
    """As the Snakefile has it; JSON, for it goes to another process."""
    root = Path(__file__).resolve().parent.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return json.loads(json.dumps(read_experiment(read_config([Path("configs/tiny.yaml")]), gpus=0).config))
