"""The packages of the workflow: what imports what."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "workflow_scripts"
# A package may import from those above it.
PACKAGES = ["shared", "plan", "data", "networks", "train", "dissect", "tables", "findings", "figures", "gallery", "run"]
HEAVY = {"torch", "torchvision", "h5py", "matplotlib", "pandas", "numba"}


def name_of(script: Path) -> str:
    return ".".join(script.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(script): script for script in PACKAGE.rglob("*.py")}


def imports_of(script: Path) -> set[str]:
    """The modules of the package that a file imports, and all others by their first name."""
    found = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{script} imports by dots"
            assert node.module
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in names]
        else:
            continue
        found |= {name if name in MODULES else name.partition(".")[0] for name in names}
    return found


def test_every_file_is_in_a_package_or_is_a_command():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(PACKAGES)


def test_imports_go_one_way():
    for name, script in MODULES.items():
        if script.parent != PACKAGE:
            above = PACKAGES[: PACKAGES.index(name.split(".")[1]) + 1]
            assert all(other.split(".")[1] in above for other in imports_of(script) & MODULES.keys()), name


def test_no_imports_go_in_a_circle():
    TopologicalSorter({name: imports_of(script) & MODULES.keys() for name, script in MODULES.items()}).prepare()


def loaded_by(modules: list[str]) -> set[str]:
    """What Python has loaded once these modules are imported, at any depth."""
    loaded = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_plan_imports_nothing_heavy():
    plan = [name for name in MODULES if name.startswith("workflow_scripts.plan.")]
    assert not HEAVY & loaded_by(plan)
    assert all(not HEAVY & imports_of(MODULES[name]) for name in plan), "nor later"


def test_rules_import_nothing_heavy():
    # Snakemake reads them anew in each job.
    rules = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")])
    imported = re.findall(r"^ *from (workflow_scripts\S*) import", rules, re.MULTILINE)
    assert "workflow_scripts.plan.experiment" in imported and set(imported) <= MODULES.keys()
    assert not HEAVY & loaded_by(imported)


def test_the_package_needs_neither_its_tests_nor_its_benchmarks():
    others = {"tests", "benchmarks", *(path.stem for path in (ROOT / "tests").glob("*.py"))}
    assert all(not others & imports_of(script) for script in MODULES.values())
