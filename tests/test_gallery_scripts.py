"""The gallery's scripts share one scope, so only together do they show which names are undeclared, unused or twice."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parents[1] / "workflow_scripts/gallery/site"
RULES = {"no-undef": "error", "no-unused-vars": "error", "no-redeclare": "error"}


def lint_as_one(folder: Path, scripts: list[str]) -> subprocess.CompletedProcess[str]:
    """Run oxlint on the scripts, joined in the order in which the page loads them."""
    config = {"env": {"browser": True, "es2024": True}, "categories": {"correctness": "off"}, "rules": RULES}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "joined.js").write_text("".join(scripts))
    oxlint = shutil.which("oxlint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert oxlint, "oxlint is not installed; see envs/requirements-tests.txt"
    command = [oxlint, "--config", "config.json", "--format", "unix", "joined.js"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def scripts() -> list[str]:
    loaded = re.findall(r'<script src="([^"]+)">', (SITE / "index.html").read_text())
    loaded.remove("experiment.js")  # data, written with the gallery
    assert sorted(loaded) == sorted(file.name for file in SITE.glob("*.js"))
    return [(SITE / name).read_text() for name in loaded]


def test_each_name_is_declared_once_and_used(scripts, tmp_path):
    done = lint_as_one(tmp_path, scripts)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("byNumber(1);", "'byNumber' is not defined"),
        ("function unneeded() {}", "'unneeded' is declared but never used"),
        ("const gallery = 1;", "`gallery` has already been declared"),
    ],
)
def test_a_name_that_is_not_is_found(scripts, tmp_path, line, problem):
    done = lint_as_one(tmp_path, [*scripts, line])
    assert done.returncode == 1
    assert problem in done.stdout
