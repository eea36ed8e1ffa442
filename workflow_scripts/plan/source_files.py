"""What Python files say of themselves, read without running them."""

import ast


def constants_of(tree: ast.Module) -> dict[str, object]:
    """Return the plain constants that a module assigns to names, at its top."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def imported_names(tree: ast.Module) -> set[str]:
    """Return the dotted names that a module imports anywhere; some may be objects, not modules."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names
