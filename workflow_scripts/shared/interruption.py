"""Ctrl-C where nothing else heeds it: while a script's modules are loaded, and while Snakemake plans."""

import sys
from types import TracebackType

INTERRUPTED = "interrupted: run the same command again"


def say_interruption() -> None:
    """Let Ctrl-C end this process with a sentence."""
    sys.excepthook = show_exception


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an exception that nothing has caught; of Ctrl-C only a sentence."""
    if isinstance(error, KeyboardInterrupt):
        print(f"error: {INTERRUPTED}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
