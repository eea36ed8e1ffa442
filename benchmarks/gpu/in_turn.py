"""Run scripts of the workflow one after another in this process: `python -m benchmarks.gpu.in_turn FILE`.

FILE holds their commands as JSON: a list of modules with their arguments.
"""

import importlib
import json
import logging
import sys
from pathlib import Path

from workflow_scripts.shared.files import run_command


def main() -> None:
    """Run the `main` of each [module, argument, ...] in the JSON file with its arguments."""
    for module, *arguments in json.loads(Path(sys.argv[1]).read_text()):
        logging.info("%s", module)
        sys.argv = [module, *arguments]
        importlib.import_module(module).main()


if __name__ == "__main__":
    run_command(main)
