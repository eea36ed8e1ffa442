"""The cost sheet: Snakemake's jobs, amounts of work, the longest chain, and what replaces what."""

import copy
import io
import re
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_workflow import ROOT, environment, listed, snakemake

from workflow_scripts.cost_sheet import (
    list_jobs,
    longest_chain,
    main,
    parse_dot,
    print_sheet,
    read_benchmarks,
    read_experiment,
)
from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import lay_over, read_config
from workflow_scripts.run.costs import CANDIDATES, SET_SIZES, Costs, Job, Sizes, read_sizes
from workflow_scripts.shared.files import UserError

TINY, PAPER = ROOT / "configs/tiny.yaml", ROOT / "configs/paper.yaml"
ALL_ARMS = ROOT / "configs/paper_controls.yaml"  # laid over the paper's
HERE = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(TINY))
SMALL = {
    "gpus": 0,
    "world": {"train_images": 100, "test_images": 40},
    "images": {"size": 16},
    "training": {"epochs": 5, "batch_size": 32},
    "pruning": {"rewind_epoch": 2},
    "rates": {"start": 2, "decode": 10, "train": 20, "forward": 40},
}
CALIBRATED = {"arm": "untrained_calibrated", "replicate": "1", "level": "0"}
SIZES = Sizes(
    train=100,
    test=40,
    concepts=30,
    labels=10,
    units=8,
    values=72,
    state=4_000_000,
    momentum=3_900_000,
    masks=900_000,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the experiments run: neither sources nor results are there."""
    return tmp_path_factory.mktemp("sheet")


@pytest.fixture
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def paper(folder):
    """The paper's config and jobs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return read_experiment(read_config([PAPER])).config, list_jobs(["--configfile", str(PAPER)])


@pytest.fixture(scope="module")
def default():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def sizes_of(config: dict) -> Sizes:
    return read_sizes(Experiment(config))


def costs_of(config: dict, sizes: Sizes, cores: int | None = None) -> Costs:
    return Costs(Experiment(config), sizes, cores)


def job(rule: str, *needs: str, finished: bool = False, **wildcards: str) -> Job:
    return Job(rule, wildcards, finished, needs)


def sheet(jobs: dict[str, Job], costs: Costs, measured: dict[str, list[float]]) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        print_sheet(jobs, costs, measured)
    return printed.getvalue()


def rows(text: str) -> dict[str, list[str]]:
    """The table's rows by rule: jobs, time, unit, GPU hours, core hours, and where they come from."""
    table = text.split("from\n")[1].split("\n\n")[0]
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()}


def gpu_hours(config: dict, jobs: dict[str, Job]) -> float:
    costs = costs_of(config, sizes_of(config))
    return sum(costs.gpus(job) * (costs.seconds(job) or 0) for job in jobs.values()) / 3600


def chain_hours(config: dict, jobs: dict[str, Job]) -> float:
    costs = costs_of(config, sizes_of(config))
    return longest_chain(jobs, lambda job: costs.seconds(job) or 0)[0] / 3600


@pytest.mark.slow
def test_the_jobs_are_those_that_a_dry_run_lists(in_folder):
    jobs = list_jobs(["--configfile", str(TINY)])
    dry_run = listed(snakemake(in_folder, "-n", *HERE).stdout)
    assert Counter(job.rule for job in jobs.values()) == Counter(dry_run) - Counter(["all"])
    assert not any(job.finished for job in jobs.values())
    packed = {job.wildcards["split"]: job for job in jobs.values() if job.rule == "pack_images"}
    assert packed.keys() == {"train", "test"}
    assert [jobs[need].rule for need in packed["train"].needs] == ["make_images"]
    chain = longest_chain(jobs, lambda job: job.rule == "train_level")[1]
    assert [job.wildcards["level"] for job in chain if job.rule == "train_level"] == ["1", "2"]


def test_the_gpus_of_another_machine_can_be_given(in_folder):
    assert read_experiment(read_config([TINY]), gpus=2).config["gpus"] == 2
    assert read_experiment(read_config([PAPER]), gpus=0).config["gpus"] == 0
    assert read_experiment(read_config([PAPER])).config["gpus"] == 4


@pytest.mark.slow
def test_finished_jobs_cost_nothing_more_and_rates_rerun_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = snakemake(tmp_path, "results/tiny/data/network.json", "--cores", "2", *HERE)
    assert made.returncode == 0, made.stdout
    Path("rates.yaml").write_text("rates: {start: 99, train: 1}")
    jobs = list_jobs(["--configfile", str(TINY), "rates.yaml"])
    assert [job.rule for job in jobs.values() if job.finished] == ["check_network"]
    config = read_experiment(read_config([TINY])).config
    text = sheet(jobs, costs_of(config, sizes_of(config)), {})
    assert text.startswith(f"{len(jobs) - 1} jobs to run, 1 finished\n")
    assert "check_network" not in text


def test_wildcards_are_a_jobs_own_and_those_of_all_before_it():
    graph = r"""
	0[label = "all", color = "0 0 0", style="rounded"];
	1[label = "unpack_archive", color = "0 0 0", style="rounded"];
	2[label = "fetch_archive\nkind: concepts", color = "0 0 0", style="rounded,dashed"];
	3[label = "dump_activations\narm: imp\nlevel: 0", color = "0 0 0", style="rounded"];
	4[label = "tally_units", color = "0 0 0", style="rounded"];
	5[label = "tally_units\narm: shuffled", color = "0 0 0", style="rounded"];
	6[label = "name_units", color = "0 0 0", style="rounded"];
	2 -> 1
	1 -> 0
	5 -> 6
	3 -> 4
	3 -> 5
	4 -> 0
	6 -> 0
"""
    assert parse_dot(graph) == {
        "1": job("unpack_archive", "2", kind="concepts"),
        "2": job("fetch_archive", kind="concepts", finished=True),
        "3": job("dump_activations", arm="imp", level="0"),
        "4": job("tally_units", "3", arm="imp", level="0"),
        "5": job("tally_units", "3", arm="shuffled", level="0"),
        "6": job("name_units", "5", arm="shuffled", level="0"),
    }


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(
    st.lists(st.integers(0, 5), min_size=n, max_size=n),
    st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda edge: edge[0] < edge[1])),
)))  # fmt: skip
def test_the_longest_chain_is_that_of_all_paths(graph):
    lengths, edges = graph
    jobs = {str(i): job(str(i), *(str(a) for a, b in edges if b == i)) for i in range(len(lengths))}

    def paths(end: int) -> list[list[int]]:
        return [[end]] + [[*path, end] for a, b in edges if b == end for path in paths(a)]

    best = max(sum(lengths[i] for i in path) for end in range(len(lengths)) for path in paths(end))
    total, chain = longest_chain(jobs, lambda job: lengths[int(job.rule)])
    assert total == best == sum(lengths[int(job.rule)] for job in chain)
    assert all((int(a.rule), int(b.rule)) in edges for a, b in pairwise(chain))


@pytest.mark.parametrize(
    ("rule", "wildcards", "seconds"),
    [
        ("pack_images", {"split": "train"}, 100 / 10),
        ("pack_images", {"split": "test"}, 40 / 10),
        ("pack_concepts", {}, 2 * 30 / 10),
        ("init_network", {}, 40 / 40),
        ("make_control", CALIBRATED, (100 + 40) / 40),  # a batch of 100, for 128 are not there
        ("train_dense", {}, 5 * 96 / 20 + 40 / 40),  # three batches of 32
        ("train_level", {"arm": "imp", "replicate": "1", "level": "1"}, 3 * 96 / 20 + 40 / 40),
        ("dump_activations", {}, 30 / 40),
        ("ablate_units", {}, 40 / 40),
        ("tally_units", {}, 0),
        ("collect", {}, 0),
    ],
)
def test_work_counted_by_hand(default, rule, wildcards, seconds):
    costs = costs_of(lay_over(default, SMALL), SIZES)
    assert costs.seconds(job(rule, **wildcards)) == pytest.approx(2 + seconds)
    assert costs.gpus(job(rule)) == 0


@pytest.mark.parametrize(("dump", "passes"), [("all", 0), ("candidates", 30 / 40)])
def test_rotations_leave_nothing_but_take_scratch(default, dump, passes):
    arms = [{"name": "imp", "recipe": "imp"}]
    arms.append({"name": "turned", "recipe": "rotated", "of": "imp", "alphas": [0.5, 1], "seeds": 3})
    config = lay_over(default, SMALL | {"dissection": {"dump": dump}, "arms": arms})
    costs, alone = costs_of(config, SIZES), costs_of(config | {"arms": arms[:1]}, SIZES)
    rotate = of_network("rotate_units", "imp")
    assert costs.seconds(rotate) == pytest.approx(2 + passes)
    assert costs.bytes(rotate) == costs.bytes(job("collect"))
    values = 2 * 30 * 72
    more = 2 * CANDIDATES * values + (values * config["rates"]["maps"] if dump == "candidates" else 0)
    assert costs.scratch_bytes() - alone.scratch_bytes() == pytest.approx(3 * more)


def test_layers_further_up_take_a_pass_for_each_set_of_units(default):
    layers = {"dissection": {"layers": ["a", "b", "c"]}, "ablation": {"layers": "all", "random_sets": 50}}
    costs = costs_of(lay_over(default, SMALL | layers), SIZES)
    assert costs.seconds(job("ablate_units")) == pytest.approx(2 + (1 + 2 * SET_SIZES * 50) * 40 / 40)
    assert costs.bytes(job("ablate_units")) == costs.bytes(job("collect"))


def test_gpus_share_pictures_and_wait_for_decoding(default):
    files = lay_over(default, SMALL | {"gpus": 4, "images": {"storage": "files", "workers": 3}})
    train = job("train_dense")
    assert costs_of(files, SIZES).threads(train) == 12
    assert costs_of(files, SIZES).seconds(train) == pytest.approx(2 + 480 / (4 * 20) + 40 / (12 * 10))
    assert costs_of(files, SIZES, cores=6).seconds(train) == pytest.approx(2 + 480 / (6 * 10) + 40 / (6 * 10))
    assert costs_of(files, SIZES).threads(job("init_network")) == 3
    held = {rule: costs_of(files, SIZES).gpus(job(rule)) for rule in ("train_level", "tally_units", "name_units")}
    assert held == {"train_level": 4, "tally_units": 1, "name_units": 0}
    for rule in ("rotate_units", "sweep_units"):
        assert costs_of(files, SIZES).gpus(of_network(rule, "imp")) == 1


def test_fewer_classes_of_the_world_are_fewer_pictures_to_train_on_but_not_to_draw(default):
    config = lay_over(default, SMALL)
    narrowed = lay_over(config, {"images": {"classes": 5, "without": ["house"]}})
    whole, few = sizes_of(config), sizes_of(narrowed)
    assert (few.train, few.test) == (100 * 5 // 20, 40 * 5 // 20)
    assert whole.state - few.state == 4 * 15 * (96 + 1)  # the classifier's weights and biases of 15 classes
    drawn = [costs_of(of, sizes).bytes(job("make_images")) for of, sizes in ((config, whole), (narrowed, few))]
    assert drawn[0] == drawn[1]
    without = sizes_of(lay_over(config, {"images": {"without": ["house"]}}))
    assert (without.train, without.test) == (95, 38)


def test_sizes_follow_from_the_config(default):
    sizes = sizes_of(lay_over(default, {"pruning": {"exempt": ["classifier"]}}))
    assert (sizes.train, sizes.test, sizes.concepts, sizes.labels) == (6000, 1500, 2000, 122)
    # A stem and two stages of stride 2 make 6 x 6 of 48 x 48.
    assert (sizes.units, sizes.values) == (64 + 96, (64 + 96) * 6 * 6)
    network = build(default["network"], 20, seed=0)
    assert sizes.momentum == 4 * sum(parameter.numel() for parameter in network.parameters())
    # Of each batch-norm a mean and a variance for each weight, and a count of 8 bytes.
    norms = [module for module in network.modules() if hasattr(module, "running_mean")]
    assert sizes.state == sizes.momentum + sum(8 * norm.weight.numel() + 8 for norm in norms)
    assert sizes.masks == sum(weight.numel() for weight in network.parameters() if weight.ndim == 4)


def test_disk_counted_by_hand(default, tmp_path):
    config = lay_over(default, {"images": {"size": 16}})
    costs = costs_of(config, SIZES)
    small = costs.bytes(job("collect"))
    assert costs.bytes(job("pack_images", split="test")) - small == 40 * 16 * 16 * 3
    assert costs.bytes(job("train_dense")) - costs.bytes(job("train_level")) == 7_900_000
    assert costs.bytes(job("dump_activations")) - small == pytest.approx(2 * 30 * 72 * config["rates"]["maps"])
    # Three replicates, each with what of a turned dump may be active, found and then sorted out, and with three states
    # of a training: what it is at, and its rewind point.
    turned = 2 * CANDIDATES * 2 * 30 * 72
    assert costs.scratch_bytes() == pytest.approx(3 * (turned + 3 * 2 * 7_900_000))
    without = costs_of(lay_over(config, {"pruning": {"rewind_momentum": False}}), SIZES)
    assert without.bytes(job("train_dense")) - without.bytes(job("train_level")) == 4_000_000
    assert without.scratch_bytes() == pytest.approx(3 * (turned + 3 * (7_900_000 + 4_000_000)))
    fewer = costs_of(lay_over(config, {"dissection": {"dump": "candidates"}}), SIZES)
    assert 0 < fewer.maps_bytes() < costs.maps_bytes() / 5
    network = build(default["network"], 20, seed=0)
    save_network(tmp_path / "network.pt", network, full_masks(network, []), classes=20, epochs=9)
    predicted = costs_of(default, sizes_of(default)).bytes(job("train_level")) - small
    assert predicted == pytest.approx((tmp_path / "network.pt").stat().st_size, rel=0.03)


def test_an_archives_size_is_its_own_or_what_the_config_says_or_left_out(default, tmp_path):
    archive = tmp_path / "own.tar"
    there = {"concepts": {"source": str(archive)}}
    unpack = job("unpack_archive", kind="concepts")
    unknown = costs_of(lay_over(default, there), SIZES)
    assert f"{archive} takes" in sheet({"1": unpack}, unknown, {})
    nothing = unknown.bytes(unpack)
    said = costs_of(lay_over(default, there | {"rates": {"concepts_archive": 0.5}}), SIZES)
    assert f"{archive} takes" not in sheet({"1": unpack}, said, {})
    assert said.bytes(unpack) == nothing + 0.5e9 * 1.5
    archive.write_bytes(bytes(1000))
    assert said.bytes(unpack) == nothing + 1000 * 1.5


def with_brought(config: dict, weights: Path) -> dict:
    """A config of networks that are trained, of a brought one, and of others that are made from it."""
    weights.write_bytes(b"read by jobs alone")
    mine: dict[str, Any] = {
        "name": "mine",
        "recipe": "brought",
        "constructor": "torchvision.models:resnet18",
        "layers": ["layer4"],
    }
    mine |= {"weights": str(weights), "preprocessing": {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3}}
    pruned = {"name": "pruned", "recipe": "prune_once", "of": "mine", "method": "global", "densities": [0.5]}
    drawn = {"name": "drawn", "recipe": "untrained", "of": "mine"}
    return lay_over(config, {"arms": [{"name": "imp", "recipe": "imp"}, mine, pruned, drawn]})


def of_network(rule: str, arm: str, *needs: str, level: str = "0", finished: bool = False, **others: str) -> Job:
    return job(rule, *needs, finished=finished, arm=arm, replicate="1", level=level, **others)


def test_brought_networks_are_named_and_the_rest_is_priced(default, tmp_path):
    config = with_brought(lay_over(default, SMALL), tmp_path / "weights.pt")
    assert sizes_of(config) == sizes_of(lay_over(default, SMALL))
    trained = {
        "0": job("pack_concepts", view=""),
        "1": of_network("train_dense", "imp"),
        "2": of_network("dump_activations", "imp", "0", "1", view=""),
        "3": of_network("tally_units", "imp", "2", view=""),
        "4": job("check_network", suffix=""),
        "5": of_network("init_network", "untrained"),
    }
    brought = {
        "10": job("pack_concepts", view="_64_bilinear"),
        "11": of_network("import_network", "mine"),
        "12": of_network("dump_activations", "mine", "10", "11", view="_64_bilinear"),
        "13": of_network("tally_units", "mine", "12", view="_64_bilinear"),
        "14": of_network("prune_once", "pruned", "11", level="1"),
        "15": of_network("dump_activations", "pruned", "10", "14", level="1", view="_64_bilinear"),
        "16": of_network("import_network", "drawn"),
        "17": job("check_network", suffix="_mine"),
        "18": of_network("measure_network", "mine", "11", finished=True),
    }
    # What waits for networks has their wildcards, and is none of theirs.
    end = {"20": of_network("collect", "mine", "3", "13", "15", view="_64_bilinear")}
    costs, alone = costs_of(config, SIZES), costs_of(lay_over(default, SMALL), SIZES)
    both = sheet(trained | brought | end, costs, {})
    plain = sheet(trained | {"20": job("collect", "3")}, alone, {})
    assert both.startswith("15 jobs to run, 1 finished\n")
    assert rows(both) == rows(plain) and rows(both)["total"][0] == "7"
    more = "; the time of networks of your own (8 jobs); the disk that networks of your own take"
    assert both.partition("longest chain")[2] == plain.partition("longest chain")[2].rstrip() + more + "\n"


def test_what_is_measured_of_brought_networks_counts(default, tmp_path):
    config = with_brought(lay_over(default, SMALL), tmp_path / "weights.pt")
    jobs = {
        "0": job("pack_concepts", view=""),
        "1": job("pack_concepts", view="_64_bilinear"),
        "2": of_network("dump_activations", "imp", "0", view=""),
        "3": of_network("dump_activations", "mine", "1", view="_64_bilinear"),
        "4": of_network("import_network", "drawn"),
    }
    measured = {"dump_activations": [100], "pack_concepts_64_bilinear": [50]}
    text = sheet(jobs, costs_of(config, SIZES), measured)
    assert rows(text)["dump_activations"][:3] == ["2", "100.0", "s"]
    assert rows(text)["pack_concepts"][:3] == ["2", "29.0", "s"]  # 2 s to start, and 6 s to decode
    assert rows(text)["total"][0] == "4"
    assert "longest chain: 2.5 min: pack_concepts, dump_activations\n" in text
    assert "networks of your own (1 jobs); the disk" in text


def test_without_networks_that_are_trained_there_is_no_sheet(default, tmp_path, monkeypatch):
    config = with_brought(default, tmp_path / "weights.pt")
    (tmp_path / "brought.yaml").write_text(yaml.safe_dump({"arms": config["arms"][1:]}))
    monkeypatch.setattr(sys, "argv", ["cost_sheet", "--configfile", str(tmp_path / "brought.yaml")])
    with pytest.raises(UserError, match="networks of your own, and there are no others: snakemake -n lists"):
        main()


@pytest.mark.slow
def test_the_jobs_of_brought_networks_are_found(default, in_folder, tmp_path):
    config = with_brought(default, tmp_path / "weights.pt")
    (tmp_path / "both.yaml").write_text(yaml.safe_dump({"arms": config["arms"]}))
    files = [TINY, tmp_path / "both.yaml"]
    experiment = read_experiment(read_config(files))
    jobs, costs = list_jobs(["--configfile", *map(str, files)]), Costs(experiment, read_sizes(experiment))
    assert Counter(job.rule for job in jobs.values() if costs.is_brought(job)) == {
        "check_network": 1,
        "find_receptive_fields": 1,
        "pack_concepts": 1,
        "import_network": 2,
        "prune_once": 1,
        **dict.fromkeys(
            [
                *("measure_network", "dump_activations", "find_thresholds", "tally_units"),
                *("validate_units", "name_units", "draw_units"),
            ],
            3,
        ),
    }


def test_what_is_measured_replaces_rates(default, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for replicate, (seconds, name) in enumerate([(100, "x"), (300, "x"), (2, "x"), (50, "pack_train")]):
        stem = "train_level" if name == "x" else name
        path = Path(f"results/small/benchmarks/imp/{replicate}/{stem}.tsv")
        path.parent.mkdir(parents=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t3.5\t1\n")
    measured = read_benchmarks("small")
    assert {name: sorted(times) for name, times in measured.items()} == {
        "train_level": [2, 100, 300],
        "pack_train": [50],
    }
    jobs = {
        "0": job("pack_images", split="train"),
        "1": job("train_level", "0", finished=True),
        "2": job("train_level", "1"),
        "3": job("train_level", "2"),
        "4": job("pack_images", split="test"),
    }
    text = sheet(jobs, costs_of(lay_over(default, SMALL), SIZES), measured)
    assert rows(text)["train_level"] == ["2", "100.0", "s", "0.000", "0.056", "measured", "(3)"]
    # One of the two splits is measured, the other takes 2 s to start and 4 s to decode.
    assert rows(text)["pack_images"] == ["2", "28.0", "s", "0.000", "0.016", "rate"]
    assert "longest chain: 4.2 min: pack_images, 2 x train_level\n" in text
    assert "more than 2 cores would not help: the longest chain runs one job after another" in text


@pytest.mark.slow
def test_the_papers_sheet(folder, paper):
    run = subprocess.run(
        [sys.executable, "-m", "workflow_scripts.cost_sheet", "--configfile", str(PAPER)],
        cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    config, jobs = paper
    table = rows(run.stdout)
    assert table["train_dense"][0] == "3" and table["train_level"][0] == "54"
    assert {rule: int(row[0]) for rule, row in table.items() if rule != "total"} == Counter(
        job.rule for job in jobs.values()
    )
    assert float(table["total"][1].replace(",", "")) == pytest.approx(gpu_hours(config, jobs), abs=1e-3)
    # 3 x (90 + 18 x 84) epochs at the rate of one GPU, and little besides.
    training = 3 * (90 + 18 * 84) * 1_281_167 / config["rates"]["train"] / 3600
    assert training < gpu_hours(config, jobs) < 1.03 * training
    assert f"longest chain: {chain_hours(config, jobs) / 24:.1f} days" in run.stdout
    assert "train_dense, 18 x train_level, dump_activations" in run.stdout
    assert re.search(r"more than 1[23] GPUs would not help", run.stdout)
    assert "fetch and unpack" in run.stdout
    [unpack] = [job for job in jobs.values() if job.rule == "unpack_archive"]
    assert unpack.wildcards["kind"] == "concepts"


@pytest.mark.slow
def test_the_papers_costs_scale_with_its_knobs(paper):
    config, jobs = paper
    hours, chain = gpu_hours(config, jobs), chain_hours(config, jobs)
    longer = lay_over(config, {"training": {"epochs": 180}, "pruning": {"rewind_epoch": 12}})
    assert gpu_hours(longer, jobs) == pytest.approx(2 * hours, rel=0.01)
    alone = lay_over(config, {"gpus": 1})
    assert gpu_hours(alone, jobs) == pytest.approx(hours, rel=0.01)
    assert chain_hours(alone, jobs) == pytest.approx(4 * chain, rel=0.01)
    faster = lay_over(config, {"rates": {"train": 2 * config["rates"]["train"]}})
    assert gpu_hours(faster, jobs) == pytest.approx(hours / 2, rel=0.02)


def test_unknown_numbers_end_in_one_sentence(default, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(default)
    config["images"]["source"] = "own"
    for key in ("classes", "train", "test"):
        with pytest.raises(UserError, match=f"images.expect.{key} is any"):
            sizes_of(config)
        config["images"]["expect"][key] = 40
    assert sizes_of(config).train == 40
    config["concepts"]["source"] = "own.tar"
    with pytest.raises(UserError, match=r"concepts.expect.images is any"):
        sizes_of(config)


def test_packed_pictures_are_counted(default, packed, tmp_path, monkeypatch):
    from workflow_scripts.data.packed_images import write_packed_images

    monkeypatch.chdir(tmp_path)
    config = lay_over(default, {"images": {"source": "own"}})
    Path("results/shapes/data").mkdir(parents=True)
    for split in ("train", "test"):
        write_packed_images(f"results/shapes/data/{split}.h5", packed)
    sizes = sizes_of(config)
    assert (sizes.train, sizes.test) == (40, 40)
    assert sizes.state < sizes_of(default).state  # 4 classes, not 20


@pytest.mark.slow
def test_what_is_wrong_ends_in_one_sentence(in_folder, tmp_path):
    with pytest.raises(UserError, match=r"no_such.yaml is missing"):
        read_config([Path("no_such.yaml")])
    for name, text, words in [
        ("typo", "trainig: {}", "unknown key trainig; did you mean training?"),
        ("broken", "a: [", "broken.yaml is neither YAML nor JSON"),
    ]:
        (tmp_path / f"{name}.yaml").write_text(text)
        with pytest.raises(UserError, match=re.escape(words)):
            read_config([tmp_path / f"{name}.yaml"])
    with pytest.raises(UserError, match=r"^snakemake cannot list the jobs: .*no_such.yaml") as error:
        list_jobs(["--configfile", "no_such.yaml"])
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_sheet_of_all_arms_at_the_papers_size(folder):
    run = subprocess.run(
        [sys.executable, "-m", "workflow_scripts.cost_sheet", "--configfile", str(PAPER), str(ALL_ARMS)],
        cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    table = rows(run.stdout)
    counts = {rule: int(table[rule][0]) for rule in ("train_dense", "train_level", "rotate_units")}
    assert counts == {"train_dense": 6, "train_level": 3 * 90 + 3 * 3, "rotate_units": 3 * 19}
    # Of each replicate: two whole trainings; 18 levels of four arms, of which one goes back to the start; three levels
    # of four arms and of one that does; the dense network again, two smaller ones, and the dense one up to epochs 10,
    # 20 and 40.
    epochs = 2 * 90 + 3 * 18 * 84 + 18 * 90 + 4 * 3 * 84 + 3 * 90 + 84 + 2 * 90 + (10 - 6) + (20 - 6) + (40 - 6)
    training = 3 * epochs * 1_281_167 / read_config([PAPER])["rates"]["train"] / 3600
    trained = sum(float(table[rule][3].replace(",", "")) for rule in counts if rule != "rotate_units")
    assert training < trained < 1.03 * training
    assert "disk: " in run.stdout and "networks of your own" not in run.stdout
