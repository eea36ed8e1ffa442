"""The workflow run from other folders, and used by another workflow."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_workflow import ROOT, copy_sources, environment, listed

# A smaller tiny experiment; what stands within braces reaches the workflow as text.
SMALLER = ["--config", "pruning={levels: 1}", "dissection={layers: [stages.1]}"]
OUTER = """
rule count_units:
    input:
        units="{prefix}results/tiny/tables/units.csv",
        all="{prefix}results/tiny/report.html",
    output:
        "counted.txt",
    shell:
        "wc --lines < {{input.units:q}} > {{output}}"


module dissection:
    snakefile: "{clone}/Snakefile"
    config: config["small"]
    prefix: "{prefix}"


use rule * from dissection as d_*
"""
CONFIG = """
small:
  experiment: tiny
  replicates: [1]
  world: {train_images: 400, test_images: 40, concept_images: 40}
  images: {size: 32}
  network: {arguments: {widths: [16, 16], blocks: [1, 1], strides: [2, 2], stem_kernel: 3, stem_stride: 1}}
  training: {epochs: 2, batch_size: 32}
  pruning: {levels: 1, fraction: 0.5}
  dissection: {layers: [stages.1]}
"""

pytestmark = pytest.mark.rare


def snakemake(folder: Path, *arguments: object) -> str:
    """What snakemake writes in a run that ends well."""
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)],
        cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3600,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    return run.stdout


def from_elsewhere(clone: Path, folder: Path, *more: object) -> list:
    """The arguments that run the experiment of a clone in another folder."""
    files = ["--snakefile", clone / "Snakefile", "--configfile", clone / "configs/tiny.yaml"]
    return [*files, "--directory", folder, *more, *SMALLER]


def tables(results: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((results / "tables").iterdir())}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A clone, and a folder with what it has made there, run from a third."""
    folder = tmp_path_factory.mktemp("elsewhere")
    clone = copy_sources(ROOT, folder / "a clone")
    (folder / "run").mkdir()
    said = snakemake(folder, *from_elsewhere(clone, folder / "run"))
    assert "unique concepts" in said
    return clone, folder / "run"


def test_it_runs_from_any_folder(elsewhere, tmp_path):
    clone, run = elsewhere
    assert {"report.html", "summary.txt", "costs.csv"} <= {path.name for path in (run / "results/tiny").iterdir()}
    assert not (clone / "results").exists() and not (clone / ".snakemake").exists()
    assert "Nothing to be done" in snakemake(tmp_path, *from_elsewhere(clone, run))


def test_moving_the_clone_or_the_results_reruns_nothing(elsewhere, tmp_path):
    _, run = elsewhere
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    assert "Nothing to be done" in snakemake(tmp_path, *from_elsewhere(copy_sources(ROOT, tmp_path / "other"), moved))


def test_another_workflow_uses_it_with_a_prefix(elsewhere, tmp_path):
    clone, run = elsewhere
    (tmp_path / "Snakefile").write_text(OUTER.format(clone=clone, prefix="with in/"))
    (tmp_path / "config.yaml").write_text(CONFIG)
    arguments = ("--configfile", "config.yaml")
    said = snakemake(tmp_path, *arguments)
    jobs = listed(said)
    assert jobs["d_train_level"] == jobs["count_units"] == 1
    results = tmp_path / "with in/results/tiny"
    assert tables(results) == tables(run / "results/tiny")
    assert (tmp_path / "counted.txt").read_text().strip() == str(1 + 16 * 5)  # of level 0 and 1, and three controls
    assert {"report.html", "summary.txt", "gallery"} <= {path.name for path in results.iterdir()}
    assert not (tmp_path / "results").exists()
    assert "Nothing to be done" in snakemake(tmp_path, *arguments)


def test_without_a_prefix_results_lie_where_the_workflow_itself_has_them(elsewhere, tmp_path):
    clone, _ = elsewhere
    (tmp_path / "Snakefile").write_text(OUTER.format(clone=clone, prefix=""))
    (tmp_path / "config.yaml").write_text(CONFIG)
    dry = snakemake(tmp_path, "-n", "--configfile", "config.yaml")
    assert listed(dry)["d_make_images"] == 1 and "results/tiny/report.html" in dry


def test_another_copy_of_the_package_in_the_folder_is_refused(elsewhere, tmp_path):
    """Jobs would run its code, for Python looks there first."""
    clone, _ = elsewhere
    (tmp_path / "workflow_scripts").mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", *map(str, from_elsewhere(clone, tmp_path))],
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert run.returncode != 0 and "Traceback" not in run.stdout
    assert f"error: the folder {tmp_path} has its own folder workflow_scripts" in run.stdout
