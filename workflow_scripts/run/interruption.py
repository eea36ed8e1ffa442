"""Ctrl-C while Snakemake reads the rules or plans, which it does not expect."""

import sys
from types import TracebackType

from workflow_scripts.shared.files import INTERRUPTED


def say_interruption() -> None:
    """Let Ctrl-C end this process with a sentence where nothing else heeds it."""
    sys.excepthook = show_exception


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an exception that nothing has caught; of Ctrl-C only a sentence."""
    if isinstance(error, KeyboardInterrupt):
        print(f"error: {INTERRUPTED}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
