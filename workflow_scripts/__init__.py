"""The workflow's Python: the scripts that its rules run, and the commands that people call."""

import sys

from workflow_scripts.shared.interruption import say_interruption

if sys.argv[:1] == ["-m"]:  # as Python has it while it looks for the module that `python -m` is to run
    say_interruption()
