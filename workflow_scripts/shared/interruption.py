"""Ctrl-C where nothing else heeds it: while a script's modules are loaded, while Snakemake plans, and as it ends."""

import sys
from types import TracebackType

INTERRUPTED = "interrupted: run the same command again"


def say_interruption() -> None:
    """Let Ctrl-C end this process with a sentence."""
    sys.excepthook, sys.unraisablehook = show_exception, show_unraisable


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an exception that nothing has caught; of Ctrl-C only a sentence."""
    if isinstance(error, KeyboardInterrupt):
        print(f"error: {INTERRUPTED}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def show_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Show an exception that could not be raised, but not Ctrl-C: mostly, Python ends then, and all has been said."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
