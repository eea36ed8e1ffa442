"""What Python files contain, read without running them."""

import ast
from pathlib import Path

from workflow_scripts.shared.files import UserError, reading


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file; raise UserError, with the line, if it is not Python."""
    with reading(path):
        source = path.read_bytes()
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{path}{line} is no Python ({getattr(error, 'msg', error)}): correct it") from None


def constants_of(tree: ast.Module) -> dict[str, object]:
    """Return the literal values that a module assigns to names at its top level."""
    constants: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            constants |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return constants


def has_function(tree: ast.Module, name: str) -> bool:
    """Tell whether a module defines a function of this name at its top level."""
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def imported_names(tree: ast.Module) -> set[str]:
    """Return the dotted names that a module imports anywhere; some may be objects, not modules."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names
