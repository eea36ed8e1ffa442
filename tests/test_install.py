"""The package, installed from a clone, and the commands that people call."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from workflow_scripts.__main__ import COMMANDS
from workflow_scripts.plan.code import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = [
    Requirement(line.partition("#")[0].strip())
    for line in (ROOT / "envs" / "requirements.txt").read_text().splitlines()
]


def pinned(requirement: Requirement) -> str:
    [specifier] = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


def test_the_project_asks_for_what_the_environment_pins():
    asked = {requirement.name: requirement for requirement in map(Requirement, PROJECT["project"]["dependencies"])}
    assert list(asked) == [pin.name for pin in PINS]
    for pin in PINS:
        assert asked[pin.name].specifier.contains(pinned(pin)), pin.name


def test_the_workflow_and_the_project_ask_for_the_same_lowest_snakemake():
    [lowest] = re.findall(r'min_version\("([\d.]+)"\)', (ROOT / "Snakefile").read_text())
    [snakemake] = [line for line in PROJECT["project"]["dependencies"] if line.startswith("snakemake>")]
    assert snakemake.startswith(f"snakemake>={lowest},")


def test_the_build_tool_is_pinned_as_for_the_tests():
    assert PROJECT["build-system"]["requires"][0] in (ROOT / "envs" / "requirements-tests.txt").read_text()


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_commands_are_listed_with_a_line_each(arguments):
    listed = run(sys.executable, "-m", "workflow_scripts", *arguments, cwd=ROOT)
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(re.fullmatch(r" +\w+ +[A-Z].{20,110}\.", line) for line in lines), lines


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_takes(command):
    helped = run(sys.executable, "-m", "workflow_scripts", command, "--help", cwd=ROOT)
    assert helped.returncode == 0 and f"workflow_scripts {command}" in helped.stdout


def test_a_command_that_there_is_not_is_refused_with_the_nearest():
    refused = run(sys.executable, "-m", "workflow_scripts", "summarize", cwd=ROOT)
    assert refused.returncode == 1 and refused.stderr == "error: there is no command summarize: choose summarise\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The programs of an environment with the package installed from a clone, beside what runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    clone = folder / "clone"
    assert run("git", "clone", "-q", ROOT, clone, cwd=folder).returncode == 0
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / "bin"
    # What the running interpreter has, which may be an environment of its own that --system-site-packages leaves out.
    packages = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    Path(packages, "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done = run(
        programs / "python",
        *("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-e", clone),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return programs


def test_the_notebooks_function_is_there_from_any_folder(installed, tmp_path):
    code = "from workflow_scripts import notebook; print(notebook.dissect.__module__, notebook.__file__)"
    done = run(installed / "python", "-c", code, cwd=tmp_path)
    assert done.stdout.split() == [
        "workflow_scripts.notebook",
        str(installed.parents[1] / "clone" / "workflow_scripts" / "notebook.py"),
    ], done.stderr


def test_the_program_runs_a_command_from_any_folder(installed, tmp_path):
    config = installed.parents[1] / "clone" / "configs" / "tiny.yaml"
    done = run(installed / "dissection", "list_layers", "--configfile", config, cwd=tmp_path)
    assert done.returncode == 0 and "stages.1" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []


def test_the_program_finds_constructors_in_the_folder_it_runs_in(installed, tmp_path):
    (tmp_path / "mine.py").write_text("from torch import nn\n\n\ndef net():\n    return nn.Conv2d(3, 5, 1)\n")
    arguments = ["list_layers", "--constructor", "mine:net", "--size", "8"]
    listed = run(installed / "dissection", *arguments, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
