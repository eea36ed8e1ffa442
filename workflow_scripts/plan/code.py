"""Which of the workflow's own modules a script is made of."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "workflow_scripts"


def code_of(module: str) -> list[str]:
    """Return the files, relative to the repository, that `module` imports at any depth, itself included.

    As inputs of a rule they are compared by content, so a job is stale just when code that it runs has changed.
    """
    if not (ROOT / module.replace(".", "/")).with_suffix(".py").is_file():
        raise ValueError(f"there is no module {module}")
    found: set[str] = set()
    waiting = {module}
    while waiting:
        for path in files_of(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting |= imports_of(path)
    return sorted(found)


def files_of(module: str) -> list[str]:
    """Return the files that importing `module` runs: its own, and the `__init__` of each package above it."""
    parts = module.split(".")
    files = []
    for depth in range(1, len(parts) + 1):
        stem = Path(*parts[:depth])
        for candidate in (stem / "__init__.py", stem.with_suffix(".py")):
            if (ROOT / candidate).is_file():
                files.append(candidate.as_posix())
    return files


@cache
def imports_of(path: str) -> frozenset[str]:
    """Return the names below the package that a file imports anywhere; some may be objects, not modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)
