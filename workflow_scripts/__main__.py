"""The commands that people call besides snakemake.

python -m workflow_scripts            lists them
python -m workflow_scripts COMMAND    runs one; --help explains its arguments
"""

import os
import sys

if __name__ == "__main__":  # files here could hide modules that are needed below; `run` adds it again
    sys.path = [folder for folder in sys.path if folder != os.getcwd()]

import ast
import difflib
import importlib
from pathlib import Path

from workflow_scripts.plan.code import PACKAGE, ROOT
from workflow_scripts.run.before_start import require_no_hidden_module
from workflow_scripts.shared.files import UserError, run_command

COMMANDS = {
    "list_layers": f"{PACKAGE}.list_layers",
    "show_concepts": f"{PACKAGE}.show_concepts",
    "cost_sheet": f"{PACKAGE}.cost_sheet",
    "summarise": f"{PACKAGE}.findings.summarise",
    "draw_figures": f"{PACKAGE}.figures.draw_figures",
    "draw_unit": f"{PACKAGE}.gallery.draw_unit",
    "verify_results": f"{PACKAGE}.run.verify_results",
}


def list_commands() -> str:
    """Return a line for each command: its name, and the first line of its docstring."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {first_line(module)}" for name, module in COMMANDS.items()]
    return "\n".join([f"usage: python -m {PACKAGE} COMMAND [--help]", "", *lines])


def first_line(module: str) -> str:
    """Return the first line of a module's docstring without importing it, because some imports take seconds."""
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def run() -> None:
    """Run the command that the arguments name; without arguments, list all commands.

    Raises:
        UserError: there is no such command, a file here hides a module that commands need, or the command raises it.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print(list_commands())
        return
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        raise UserError(f"there is no command {name}: choose {' or '.join(close or COMMANDS)}")
    require_no_hidden_module(Path.cwd())
    sys.path.insert(0, os.getcwd())  # for the user's constructors, even if an installed program runs this
    sys.argv = [f"python -m {PACKAGE} {name}", *arguments]
    importlib.import_module(COMMANDS[name]).main()


def main() -> None:
    """Run the command on the command line; a UserError ends it with the error's sentence and exit status 1."""
    run_command(run)


if __name__ == "__main__":
    main()
