"""The whole workflow on the tiny config: end to end, again, after touching, after editing, after a kill."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from attempts import environment
from nothing_lost import checksums, require_same
from playwright.sync_api import sync_playwright

from benchmarks.gallery import BROWSERS
from workflow_scripts.plan.figures import figure_names
from workflow_scripts.run.failures import CORRECT

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ["Snakefile", "config.yaml", "configs", "envs", "profiles", "report", "rules", "schemas", "workflow_scripts"]
TINY = ["--cores", "2", "--configfile", "configs/tiny.yaml"]
NETWORKS = 6  # levels 0 to 2 of imp, and three controls
ONE_NETWORK = "results/tiny/imp/replicate_1/level_2"
# The shuffled control takes its dump and thresholds from the dense network.
REPORT = {"write_report": 1, "list_checksums": 1}
LAST = {"sum_costs": 1, "record_provenance": 1, **REPORT}
FROM_TABLES = {
    **dict.fromkeys(("collect", "collect_sweep", "compare_networks", "draw_figures", "write_gallery"), 1),
    **LAST,
}
ROTATED, SEEDS = 3, range(1, 6)  # levels 0 to 2 of imp
FROM_ROTATIONS = {"rotate_units": ROTATED, "collect_rotations": 1}
ABLATION = {"ablate_units": ROTATED, "collect_ablation": 1}
NAMED = ("name_units", "validate_units", "draw_units")
DRAWN_ONCE = ("draw_concepts", "draw_pictures")  # for the gallery, whatever number of networks there is
FROM_TALLIES = {
    **{"tally_units": NETWORKS, "name_units": NETWORKS, "draw_units": NETWORKS, "draw_pictures": 1},
    **ABLATION,
    **FROM_ROTATIONS,
    **FROM_TABLES,
}
FROM_THRESHOLDS = {"find_thresholds": NETWORKS - 1, "validate_units": NETWORKS, **FROM_TALLIES}

pytestmark = pytest.mark.slow


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=3600,
    )


def copy_sources(origin: Path, folder: Path) -> Path:
    """Copy the sources as a clone does: same content, new times."""
    folder.mkdir(parents=True)
    for name in SOURCES:
        if (origin / name).is_dir():
            shutil.copytree(
                origin / name, folder / name, copy_function=shutil.copy, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(origin / name, folder / name)
    return folder


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """How many jobs of each rule a dry run lists."""
    run = snakemake(folder, "-n", *TINY, *arguments)
    assert run.returncode == 0, run.stdout
    if "Nothing to be done" in run.stdout:
        return {}
    jobs = listed(run.stdout)
    del jobs["all"]
    return jobs


def listed(output: str) -> dict[str, int]:
    """How many jobs of each rule snakemake has listed."""
    table = output.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def kill_when_there(file: Path, folder: Path, *arguments: str) -> None:
    """Run snakemake until it has made `file`, end it and its jobs by SIGKILL, and lift its lock."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    give_up = time.monotonic() + 3600
    while not file.exists():
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "Nothing to be done" not in snakemake(folder, "-n", *arguments).stdout
    assert snakemake(folder, *arguments, "--unlock").returncode == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("tiny") / "run")
    run = snakemake(folder, *TINY)
    assert run.returncode == 0, run.stdout
    (folder / "terminal.txt").write_text(run.stdout)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """The finished run in a fresh clone: sources with new times, results as they were."""
    folder = copy_sources(finished, tmp_path / "clone")
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, folder / name)
    return folder


@pytest.fixture
def copied_with_kernels(finished, tmp_path):
    """The finished run as it is, with its compiled kernels, for tests that run them again."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def read_table(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / "results" / "tiny" / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_everything_is_made(finished):
    rows = read_table(finished, "networks")
    assert len(rows) == 2 * NETWORKS
    imp = [row for row in rows if row["arm"] == "imp" and row["layer"] == "stages.1"]
    assert [row["level"] for row in imp] == ["0", "1", "2"]
    assert [float(row["density"]) for row in imp] == pytest.approx([1, 0.5, 0.25], abs=1e-3)
    for row in rows:
        assert int(row["detectors_a"]) <= int(row["units"]) == 16
        assert int(row["concepts_a"]) <= int(row["detectors_a"])
        assert int(row["detectors_b"]) >= int(row["detectors_a"])
    rotations = read_table(finished, "rotations")
    names = [(row["level"], row["layer"], row["alpha"], row["seed"]) for row in rotations]
    assert names == [(level, f"stages.{stage}", "1", str(seed)) for level in "012" for stage in "01" for seed in SEEDS]
    assert {(row["arm"], row["replicate"], row["units"]) for row in rotations} == {("imp", "1", "16")}
    results = finished / "results" / "tiny"
    assert {path.name for path in (results / "figures").iterdir()} == {
        f"{figure}.{form}" for figure in figure_names() for form in ("pdf", "svg", "png", "rst", "tex")
    }
    assert not list(results.rglob("*.part"))
    assert all(log.stat().st_size < 10_000 for log in (results / "logs").rglob("*.log"))


def read_call(path: Path) -> dict:
    """The data in one of the gallery's scripts."""
    text = path.read_text()
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def test_the_gallery_shows_what_the_tables_say(finished):
    gallery = finished / "results/tiny/gallery"
    networks = read_call(gallery / "experiment.js")["networks"]
    assert len(networks) == NETWORKS
    units = read_table(finished, "units")
    for network in networks:
        keys = [network["arm"], str(network["replicate"]), str(network["level"])]
        for index, layer in enumerate(network["layers"]):
            rows = [
                row
                for row in units
                if [row["arm"], row["replicate"], row["level"]] == keys and row["layer"] == layer["name"]
            ]
            shown = read_call(gallery / network["folder"] / f"layer_{index}.js")
            named = [
                shown["labels"][best[0]][0] if best else row["label"]
                for best, row in zip(shown["best"], rows, strict=True)
            ]
            assert named == [row["label"] for row in rows]
            scores = [best[1] if best else 0 for best in shown["best"]]
            assert scores == pytest.approx([float(row["score"]) for row in rows], rel=1e-5)
            assert layer["detectors"] == sum(score > 0.04 for score in scores)


def test_costs_foretold_and_measured_can_be_compared(finished):
    command = [sys.executable, "-m", "benchmarks.cost", "--configfile", "configs/tiny.yaml"]
    run = subprocess.run(
        command, cwd=finished, env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    [total] = [line for line in run.stdout.splitlines() if line.startswith("all, seconds")]
    with open(finished / "results/tiny/costs.csv", newline="") as file:
        [sums] = [row for row in csv.DictReader(file) if row["rule"] == "all"]
    jobs, foretold, measured = (float(number.replace(",", "")) for number in total.split()[2:5])
    assert jobs == int(sums["jobs"]) and foretold > 0
    assert measured == pytest.approx(float(sums["seconds"]), abs=0.1)


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in snakemake(finished, *TINY).stdout


def test_a_fresh_clone_over_kept_results_has_nothing_to_do(copied):
    assert planned(copied) == {}


def test_the_config_beside_the_results_and_another_command_line_have_nothing_to_do(copied):
    run = snakemake(copied, "-n", "--cores", "1", "--keep-going", "--configfile", "results/tiny/config.yaml")
    assert "Nothing to be done" in run.stdout, run.stdout


def test_rates_rerun_nothing_and_another_learning_rate_records_again(copied):
    edit(copied / "config.yaml", "train: 1535", "train: 99")
    assert planned(copied) == {}
    edit(copied / "config.yaml", "learning_rate: 0.07", "learning_rate: 0.06")
    assert planned(copied).items() >= LAST.items()


def test_results_are_verified_and_so_is_a_copy_without_large_files(finished, tmp_path):
    results = Path(shutil.copytree(finished / "results/tiny", tmp_path / "tiny"))
    assert json.loads((results / "provenance.json").read_text())["command"] == "snakemake " + " ".join(TINY)

    def verify() -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "workflow_scripts", "verify_results", str(results)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    whole = verify()
    assert whole.returncode == 0 and f"agree on {NETWORKS} networks" in whole.stdout, whole.stderr
    for name in ("logs", "benchmarks", "data/shapes", "data/concepts.h5", "imp/replicate_1/level_1/activations.h5"):
        (shutil.rmtree if (results / name).is_dir() else os.remove)(results / name)
    assert verify().returncode == 0
    (results / "tables/networks.csv").write_text("")
    damaged = verify()
    assert damaged.returncode == 1 and damaged.stderr.count("error: ") == 1 and "networks.csv" in damaged.stderr


def test_touching_reruns_nothing(copied):
    assert (copied / "results/tiny/data/train.h5").stat().st_size > 1_000_000
    later = time.time() + 5
    for name in [*SOURCES, "results/tiny/data/train.h5", "results/tiny/data/concepts.h5"]:
        for path in [copied / name, *(copied / name).rglob("*")]:
            os.utime(path, (later, later))
    assert planned(copied) == {}


def test_editing_the_tally_reruns_tallies_and_what_follows(copied):
    edit(copied / "workflow_scripts/dissect/tally_units.py", '"""', '"""Edited. ')
    assert planned(copied) == FROM_TALLIES


@pytest.mark.parametrize(
    ("file", "follows"),
    [
        ("workflow_scripts/dissect/tally_units.py", FROM_TALLIES),
        ("workflow_scripts/gallery/site/gallery.css", {"write_gallery": 1, **LAST}),
        ("report/units.rst", REPORT),
        ("workflow_scripts/figures/plots/overview.py", {"draw_figures": 1, **LAST}),
    ],
)
def test_another_version_with_older_times_is_noticed(copied, file, follows):
    """As an archive of the sources brings it."""
    with open(copied / file, "a") as opened:
        opened.write("\n")
    os.utime(copied / file, (1, 1))
    assert planned(copied) == follows


def test_editing_a_module_deep_in_training_reruns_training(copied):
    edit(copied / "workflow_scripts/networks/pruning.py", '"""', '"""Edited. ')
    jobs = planned(copied)
    assert (jobs["train_dense"], jobs["train_level"]) == (1, 2)
    assert "make_images" not in jobs and "pack_images" not in jobs


def test_editing_the_figures_reruns_the_figures(copied):
    edit(copied / "workflow_scripts/figures/draw_figures.py", '"""', '"""Edited. ')
    assert planned(copied) == {"draw_figures": 1, **LAST}


@pytest.mark.parametrize(
    ("layers", "names"), [("last", figure_names()), ("none", figure_names(["accuracy", "rotations", "epochs"]))]
)
def test_only_the_figures_of_the_plan_are_drawn(tmp_path, layers, names):
    """Others may be possible in a folder where an earlier config has left its tables."""
    folder = copy_sources(ROOT, tmp_path / "run")
    edit(folder / "config.yaml", "layers: last  ", f"layers: {layers}  ")
    run = snakemake(folder, "-n", "-p", *TINY)
    assert run.returncode == 0, run.stdout
    assert re.findall(r"--figure (\w+)", run.stdout) == names


def test_another_margin_compares_again(copied):
    edit(copied / "config.yaml", "margin: 0.1 ", "margin: 0.2 ")
    assert planned(copied) == {"compare_networks": 1, "draw_figures": 1, **LAST}


def test_editing_the_gallerys_page_draws_no_unit_again(copied):
    with open(copied / "workflow_scripts/gallery/site/gallery.css", "a") as page:
        page.write("/* edited */")
    assert planned(copied) == {"write_gallery": 1, **LAST}


def test_another_size_of_the_gallerys_pictures_draws_the_units_again(copied):
    edit(copied / "config.yaml", "tile: 96", "tile: 64")
    drawn = {"draw_units": NETWORKS, "draw_concepts": 1, "draw_pictures": 1}
    assert planned(copied) == {**drawn, "write_gallery": 1, **LAST}


def test_without_enlarged_pictures_none_are_drawn(copied):
    edit(copied / "config.yaml", "enlarged_pixels: 224", "enlarged_pixels: 0")
    assert planned(copied) == {"draw_units": NETWORKS, "write_gallery": 1, **LAST}


def test_another_iou_cut_reruns_the_counting_only(copied):
    edit(copied / "config.yaml", "detector_iou: protocol", "detector_iou: 0.05")
    named = {**dict.fromkeys(NAMED, NETWORKS), "draw_pictures": 1}
    assert planned(copied) == {**named, **ABLATION, **FROM_ROTATIONS, **FROM_TABLES}


def test_another_quantile_reruns_from_the_thresholds_on(copied):
    edit(copied / "config.yaml", " quantile: protocol", " quantile: 0.01")
    assert planned(copied) == FROM_THRESHOLDS


@pytest.mark.parametrize(
    ("exchanged", "rerun"),
    [
        ("dissection: {precision: float32, forward: float16}", {"dump_activations": NETWORKS - 1} | FROM_THRESHOLDS),
        ("world: {train_images: 40, test_images: 400}", {"make_images": 1, "pack_images": 2}),
    ],
)
def test_settings_that_change_places_rerun_what_they_concern(copied, exchanged, rerun):
    (copied / "exchanged.yaml").write_text(exchanged)
    jobs = planned(copied, "exchanged.yaml")
    assert jobs.items() >= rerun.items()


def test_what_a_protocol_chooses_may_be_said_in_words_without_rerunning_anything(copied):
    edit(copied / "config.yaml", " quantile: protocol", " quantile: 0.005")
    edit(copied / "config.yaml", "mask: protocol", "mask: above")
    assert planned(copied) == {}


@pytest.mark.parametrize(
    ("protocol", "differs"),
    [
        ("lite", FROM_THRESHOLDS),
        ("quick", FROM_TALLIES | {"validate_units": NETWORKS}),  # same thresholds
        ("pnas", FROM_THRESHOLDS),
    ],
)
def test_another_protocol_reruns_what_it_concerns(copied, protocol, differs):
    edit(copied / "config.yaml", "protocol: netdissect", f"protocol: {protocol}")
    assert planned(copied) == differs


def test_alpha_0_is_the_units_themselves_and_another_alpha_rotates_again(copied_with_kernels):
    folder = copied_with_kernels
    arms = "- {name: imp, recipe: imp}\n- {name: rotated, recipe: rotated, of: imp, alphas: [0, 1], seeds: 2}\n"
    (folder / "two.yaml").write_text("arms:\n" + arms)
    kept = {(row["level"], row["layer"], row["seed"]): row for row in read_table(folder, "rotations")}
    for dump in ("all", "candidates"):
        table = "results/tiny/tables/rotations.csv"
        run = snakemake(folder, table, *TINY, "two.yaml", "--config", f"dissection={{dump: {dump}}}")
        assert run.returncode == 0, run.stdout
        units = {(row["level"], row["layer"]): row for row in read_table(folder, "networks") if row["arm"] == "imp"}
        rows = read_table(folder, "rotations")
        assert len(rows) == ROTATED * 2 * 2 * 2
        for row in rows:
            own = units[row["level"], row["layer"]]
            other = own if row["alpha"] == "0" else kept[row["level"], row["layer"], row["seed"]]
            for column in ("units", "detectors_a", "concepts_a", "dead_units", "median_score"):
                assert row[column] == other[column]


def dissect_one_network(folder: Path) -> list[str]:
    """Make the units.csv of one network; the rules that this took."""
    run = snakemake(folder, f"{ONE_NETWORK}/units.csv", *TINY)
    assert run.returncode == 0, run.stdout
    return sorted(re.findall(r"^(\w+) +1$", run.stdout, re.M))


def test_a_dump_of_candidates_names_the_units_alike(copied_with_kernels):
    edit(copied_with_kernels / "config.yaml", "dump: all", "dump: candidates")
    folder = copied_with_kernels / ONE_NETWORK
    before = {name: (folder / name).read_bytes() for name in ("units.csv", "activations.h5")}
    rules = dissect_one_network(copied_with_kernels)
    assert rules == ["dump_activations", "find_thresholds", "name_units", "tally_units"]
    assert (folder / "units.csv").read_bytes() == before["units.csv"]
    assert (folder / "activations.h5").read_bytes() != before["activations.h5"]
    assert not list(folder.glob("*.scratch"))


def test_thresholds_of_maps_upsampled_by_receptive_fields(copied_with_kernels):
    edit(copied_with_kernels / "config.yaml", "quantile_of: protocol", "quantile_of: upsampled")
    before = (copied_with_kernels / ONE_NETWORK / "units.csv").read_bytes()
    rules = dissect_one_network(copied_with_kernels)
    assert rules == ["find_thresholds", "name_units", "tally_units"]
    fields = json.loads((copied_with_kernels / "results/tiny/data/receptive_fields.json").read_text())
    # Of a 3 x 3 stem and of 3 x 3 convolutions with stride 2, all padded, the first unit looks at the first pixel.
    assert fields["layers"] == {"stages.0": [[0, 2], [0, 2]], "stages.1": [[0, 4], [0, 4]]}
    assert (copied_with_kernels / ONE_NETWORK / "units.csv").read_bytes() != before


def test_what_candidates_cannot_do_is_refused_at_once(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "wrong")
    edit(folder / "config.yaml", "protocol: netdissect", "protocol: pnas")
    edit(folder / "config.yaml", "dump: all", "dump: candidates")
    run = snakemake(folder, "-n", *TINY)
    assert run.returncode != 0
    assert "error: config: dissection.dump: candidates only suffice for quantiles of raw maps" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_copy_with_new_times_reruns_nothing(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy)
    assert planned(tmp_path / "copy") == {}


def test_more_concept_pictures_train_nothing_again(copied):
    edit(copied / "configs/tiny.yaml", "concept_images: 40", "concept_images: 50")
    jobs = planned(copied)
    assert jobs["make_concepts"] == jobs["pack_concepts"] == 1 and jobs["dump_activations"] == NETWORKS - 1
    assert not jobs.keys() & {"make_images", "pack_images", "init_network", "train_dense", "train_level"}


def test_another_learning_rate_spares_the_untrained_networks(copied):
    edit(copied / "config.yaml", "learning_rate: 0.07", "learning_rate: 0.06")
    jobs = planned(copied)
    assert (jobs["train_dense"], jobs["train_level"]) == (1, 2)
    assert not jobs.keys() & {"make_images", "pack_images", "init_network", "make_control"}


def test_one_more_level_runs_that_level_only(copied):
    edit(copied / "configs/tiny.yaml", "levels: 2", "levels: 3")
    jobs = planned(copied)
    assert jobs == dict.fromkeys(("train_level", "dump_activations", "check_network", *FROM_THRESHOLDS), 1)


def test_config_keys_in_another_order_and_comments_rerun_nothing(copied):
    edit(copied / "configs/tiny.yaml", "  epochs: 2\n  batch_size: 32\n", "  batch_size: 32 # so\n  epochs: 2\n")
    assert planned(copied) == {}


def test_killed_and_started_again_ends_with_the_same_bytes(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "again")
    kill_when_there(folder / "results/tiny/imp/replicate_1/level_0/network.pt", folder, *TINY)
    run = snakemake(folder, *TINY)
    assert run.returncode == 0, run.stdout
    expected = checksums(finished)
    require_same(expected, folder)
    assert len(expected) > 100


def test_a_wrong_key_ends_in_one_sentence_before_anything_runs(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "wrong")
    edit(folder / "configs/tiny.yaml", "epochs:", "epoch:")
    run = snakemake(folder, *TINY)
    assert run.returncode != 0
    assert "unknown key training.epoch; did you mean epochs?" in run.stdout
    assert "Traceback" not in run.stdout
    assert not (folder / "results").exists()


def test_a_wrong_layer_is_found_before_training(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "wrong")
    edit(folder / "configs/tiny.yaml", "[stages.0, stages.1]", "[stages.0, stages.7]")
    run = snakemake(folder, *TINY)
    assert run.returncode != 0
    assert "error: layers: the network has no layer 'stages.7'" in run.stdout
    assert "Traceback" not in run.stdout
    assert not list((folder / "results/tiny").rglob("network.pt"))


def test_changed_contents_of_ones_own_labels_are_noticed(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "own")
    shutil.copytree(finished / "results/tiny/data/shapes/concepts", folder / "own")
    edit(folder / "configs/tiny.yaml", "images:\n", "concepts:\n  source: own\nimages:\n")
    packed = "results/tiny/data/concepts.h5"
    run = snakemake(folder, packed, *TINY)
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in snakemake(folder, "-n", packed, *TINY).stdout
    edit(folder / "own/label.csv", ",house,", ",hovse,")
    assert "pack_concepts" in snakemake(folder, "-n", packed, *TINY).stdout


def test_changed_binary_files_of_ones_own_are_noticed(finished, tmp_path):
    """CIFAR-10's, which the config names by a pattern."""
    folder = copy_sources(finished, tmp_path / "own")
    (folder / "own").mkdir()
    rng = np.random.default_rng(0)
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        records = rng.integers(0, 256, (20, 3073), np.uint8)
        records[:, 0] = np.arange(20) % 2
        (folder / "own" / name).write_bytes(records.tobytes())
    (folder / "own/batches.meta.txt").write_text("cat\ndog\n\n")
    own = "images:\n  source: own\n  train: data_batch_*.bin\n  test: test_batch.bin\n"
    edit(folder / "configs/tiny.yaml", "images:\n", own)
    packed = "results/tiny/data/train.h5"
    run = snakemake(folder, packed, *TINY)
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in snakemake(folder, "-n", packed, *TINY).stdout
    for change in (("data_batch_2.bin", bytes(3073)), ("batches.meta.txt", b"cat\ncow\n")):
        before = (folder / "own" / change[0]).read_bytes()
        (folder / "own" / change[0]).write_bytes(change[1])
        assert "pack_images" in snakemake(folder, "-n", packed, *TINY).stdout
        (folder / "own" / change[0]).write_bytes(before)


def test_an_archive_that_is_older_but_another_is_noticed(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "own")
    edit(folder / "configs/tiny.yaml", "images:\n", "concepts:\n  source: own.tar\nimages:\n")
    packed = "results/tiny/data/concepts.h5"
    concepts = finished / "results/tiny/data/shapes/concepts"
    subprocess.run(["tar", "-cf", folder / "own.tar", "."], cwd=concepts, check=True)
    run = snakemake(folder, packed, *TINY)
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in snakemake(folder, "-n", packed, *TINY).stdout
    subprocess.run(["tar", "-cf", folder / "own.tar", "--exclude", "c_color.csv", "."], cwd=concepts, check=True)
    os.utime(folder / "own.tar", (1, 1))
    assert "unpack_archive" in snakemake(folder, "-n", packed, *TINY).stdout


def test_a_damaged_picture_of_ones_own_ends_in_one_sentence(finished, tmp_path):
    folder = copy_sources(finished, tmp_path / "own")
    shutil.copytree(finished / "results/tiny/data/shapes", folder / "own")
    damaged = next((folder / "own/images/train/house").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:200])
    edit(
        folder / "configs/tiny.yaml", "images:\n", "concepts:\n  source: own/concepts\nimages:\n  source: own/images\n"
    )
    assert not planned(folder).keys() & {"make_images", "make_concepts"}
    run = snakemake(folder, *TINY, "--keep-going")
    assert run.returncode != 0
    assert f"error: own/images/train/house/{damaged.name} is not a whole picture" in run.stdout
    assert "Traceback" not in run.stdout
    assert (folder / "results/tiny/data/concepts.h5").exists()
    assert not list((folder / "results/tiny/data").glob("train.h5*"))


def test_the_report_is_there_at_the_end_of_the_run(finished):
    page = (finished / "results/tiny/report.html").read_text()
    assert all(name in page for name in ("overview", "iou_distribution", "networks", "train_level"))
    assert 'href="gallery/index.html"' in page
    with open(finished / "results/tiny/costs.csv", newline="") as file:
        costs = {row["rule"]: row for row in csv.DictReader(file)}
    jobs = listed((finished / "terminal.txt").read_text())
    assert {rule: int(row["jobs"]) for rule, row in costs.items() if rule != "all"} == {
        rule: count for rule, count in jobs.items() if rule not in ("all", *LAST)
    }


def test_the_report_opens_from_disk_and_leads_to_the_gallery(finished):
    """Skipped where there is no Chromium; with NEED_BROWSER set that is a failure."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        (pytest.fail if os.environ.get("NEED_BROWSER") else pytest.skip)("there is no Chromium")
    errors = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.goto((finished / "results/tiny/report.html").as_uri())
        page.get_by_role("heading", name="tiny", exact=True).wait_for()
        page.wait_for_function("[...document.images].every((image) => image.naturalWidth > 300)")
        page.get_by_role("cell", name="train_level", exact=True).wait_for()
        page.get_by_role("link", name="gallery").first.click()
        page.wait_for_url("**/results/tiny/gallery/index.html")
        browser.close()
    assert not errors


def test_a_report_that_is_missing_is_made_again(copied):
    (copied / "results/tiny/report.html").unlink()
    run = snakemake(copied, *TINY)
    assert run.returncode == 0, run.stdout
    assert listed(run.stdout) == {**REPORT, "all": 1}
    assert "overview" in (copied / "results/tiny/report.html").read_text()
    assert planned(copied) == {}


def test_another_caption_makes_the_report_again_and_nothing_else(copied):
    edit(copied / "report/units.rst", "row", "line")
    assert planned(copied) == REPORT


def test_another_target_leaves_report_and_summary_alone(copied_with_kernels):
    page = copied_with_kernels / "results/tiny/report.html"
    before = page.read_bytes()
    units = copied_with_kernels / ONE_NETWORK / "units.csv"
    units.unlink()
    run = snakemake(copied_with_kernels, f"{ONE_NETWORK}/units.csv", *TINY)
    assert run.returncode == 0 and units.exists(), run.stdout
    assert page.read_bytes() == before and "unique concepts" not in run.stdout


def test_snakemakes_own_report_can_be_made(finished):
    run = snakemake(finished, *TINY, "--report", "workflow.html")
    assert run.returncode == 0, run.stdout
    assert "Test accuracy, detectors" in (finished / "workflow.html").read_text()


def test_the_terminal_shows_jobs_in_a_line_each_and_the_result(finished):
    text = (finished / "terminal.txt").read_text()
    assert "Traceback" not in text and "Logging error" not in text
    lines = [line for line in text.split("\n") if re.match(r"\d\d:\d\d:\d\d  (?!runs  )", line)]  # without long jobs'
    jobs = sum(listed(text).values()) - 1
    assert sum("  start  " in line for line in lines) == sum("  done  " in line for line in lines) == jobs
    steps = [line for line in lines if " steps" in line]
    assert len(lines) == 2 * jobs + len(steps)
    assert re.search(r"start +train_level +imp, replicate 1, level 2 \(25 % of weights\)$", text, re.M)
    assert re.search(r"steps, [ \d]\d % of the time, about \d:\d\d:\d\d left$", text, re.M)
    assert len(text.split("\n")) < 2 * jobs + 120
    # On the screen at the end: the table, and where things are.
    screen = text.split("\n")[-40:]
    assert sum(line.startswith("  iterative magnitude pruning") for line in screen) == 2  # layers
    places = ("report.html", "figures", "gallery/index.html", "tables", "costs.csv")
    assert all(any(line.endswith(f"results/tiny/{place}") for line in screen) for place in places)
    # The whole story is in Snakemake's own log.
    logs = [path.read_text() for path in (finished / ".snakemake/log").iterdir()]
    assert any("rule train_level:" in log and "Snakemake version" in log for log in logs)


def test_the_last_lines_of_a_failed_run_have_its_own_sentence(copied):
    edit(
        copied / "workflow_scripts/run/sum_costs.py",
        "    parser = ",
        "    raise ValueError('on purpose')\n    parser = ",
    )
    run = snakemake(copied, *TINY)
    assert run.returncode != 0
    assert "ValueError: on purpose" in run.stdout
    assert run.stdout.splitlines()[-3:] == [
        "Failed: sum_costs (results/tiny/logs/figures/sum_costs.log)",
        "  ValueError: on purpose",
        CORRECT,
    ]
