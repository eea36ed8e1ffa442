"""The code of a script: the workflow's modules that it imports, and their fingerprint."""

import ast
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from workflow_scripts.plan.source_files import imported_names
from workflow_scripts.shared.files import UserError, file_fingerprint, text_fingerprint

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "workflow_scripts"


def code_fingerprint(*modules: str, files: Sequence[str] = ()) -> str:
    """Return a fingerprint of the code of a script's modules, and of other `files` of the repository.

    As a parameter of a rule it makes a job stale exactly when code that the job runs has changed, by an edit or by
    switching to another version, even an earlier one. The files' times and locations do not matter.
    """
    paths = sorted({path for module in modules for path in code_of(module)}.union(files))
    return text_fingerprint(*map(fingerprint_of, paths))


def files_in(folder: str, ending: str) -> list[str]:
    """Return the files in a folder of the repository with this ending, relative to the repository."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(f"*{ending}"))


@cache
def fingerprint_of(path: str) -> str:
    """Return a fingerprint of a file of the repository."""
    return file_fingerprint(ROOT / path)


def let_jobs_find_package() -> None:
    """Let the processes that this one starts find the package, whatever folder they run in.

    Raises:
        UserError: they would find another copy of it, because they search that folder first.
    """
    here = Path.cwd()
    if (here / PACKAGE).is_dir() and not (here / PACKAGE).samefile(ROOT / PACKAGE):
        raise UserError(
            f"the folder {here} has its own folder {PACKAGE}, but the Snakefile is that of {ROOT}: run it in another"
            " folder, or run the Snakefile that is there"
        )
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@cache
def code_of(module: str) -> tuple[str, ...]:
    """Return the files, relative to the repository, of `module` and of all modules that it imports at any depth."""
    if not (ROOT / module.replace(".", "/")).with_suffix(".py").is_file():
        raise ValueError(f"there is no module {module}")
    found: set[str] = set()
    waiting = {module}
    while waiting:
        for path in files_of(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting |= imports_of(path)
    return tuple(sorted(found))


@cache
def files_of(module: str) -> tuple[str, ...]:
    """Return the files that importing `module` runs: its own, and the `__init__` of each package above it."""
    parts = module.split(".")
    files = []
    for depth in range(1, len(parts) + 1):
        stem = Path(*parts[:depth])
        for candidate in (stem / "__init__.py", stem.with_suffix(".py")):
            if (ROOT / candidate).is_file():
                files.append(candidate.as_posix())
    return tuple(files)


@cache
def imports_of(path: str) -> frozenset[str]:
    """Return the names within the package that a file imports anywhere; some may be objects, not modules."""
    names = imported_names(ast.parse((ROOT / path).read_text()))
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)
