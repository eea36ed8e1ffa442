"""The workflow as the Snakemake workflow catalog finds it, and deployed as a module of another, by dry runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_workflow import ROOT, copy_sources, environment, listed

# As `snakedeploy deploy-workflow CLONE FOLDER --branch main` writes workflow/Snakefile, but for the path: of a local
# clone it gives just "Snakefile", which has to be completed.
DEPLOYED = """
from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


module dissection:
    snakefile:
        "{clone}/Snakefile"
    config:
        config


use rule * from dissection
"""


def plan(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """A dry run in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "1", *map(str, arguments)],
        cwd=folder, env=environment() | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=900,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return copy_sources(ROOT, tmp_path_factory.mktemp("deployed") / "a clone")


@pytest.mark.slow
def test_deployed_by_snakedeploy_it_plans_what_the_clone_does(clone, tmp_path):
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(DEPLOYED.format(clone=clone))
    shutil.copytree(clone / "profiles", tmp_path / "profiles")
    (tmp_path / "config").mkdir()  # empty but for a file that is yours to fill: the repository has no such folder
    shutil.copy(clone / "configs" / "tiny.yaml", tmp_path / "config" / "config.yaml")
    deployed = plan(tmp_path)
    itself = plan(clone, "--configfile", "configs/tiny.yaml")
    assert deployed.returncode == itself.returncode == 0, deployed.stdout + itself.stdout
    assert "Using workflow specific profile profiles/default" in deployed.stdout
    assert listed(deployed.stdout) == listed(itself.stdout)
    assert "results/tiny/report.html" in deployed.stdout


def test_rules_without_the_package_are_refused_with_what_to_do(clone, tmp_path):
    """What `github(...)` fetches: the Snakefile, and the files that it includes."""
    shutil.copy(clone / "Snakefile", tmp_path)
    shutil.copytree(clone / "rules", tmp_path / "rules")
    refused = plan(tmp_path)
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    assert "error: the package workflow_scripts is not beside this Snakefile: name the Snake" in refused.stdout


def test_a_system_without_such_locks_is_refused_with_what_to_do(clone, tmp_path):
    (tmp_path / "sitecustomize.py").write_text('import sys\n\nsys.modules["fcntl"] = None\n')
    refused = plan(clone, PYTHONPATH=str(tmp_path))
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    assert "error: this system cannot lock files as Linux does: on Windows, run" in refused.stdout


def test_the_catalog_finds_a_workflow():
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (ROOT / "Snakefile").is_file() and list((ROOT / "rules").glob("*.smk"))
    assert not (ROOT / "workflow").exists()  # with one it would look for the Snakefile there


def test_the_catalog_is_told_how_the_workflow_is_used():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"} and usage["report"] is True
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert usage["software-stack-deployment"] == {
        "conda": "conda:\n" in rules,
        "apptainer": "container:" in rules,
        "apptainer+conda": "container:" in rules,
    }
