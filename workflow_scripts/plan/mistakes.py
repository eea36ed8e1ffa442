"""Mistakes in what a user gives: all are told together, a sentence each."""

from collections.abc import Callable
from typing import Any, ParamSpec

from workflow_scripts.shared.files import UserError

Given = ParamSpec("Given")


class Mistakes(UserError):
    """One mistake or several; `where`, as "config: ", goes before the first."""

    def __init__(self, sentences: list[str], where: str = "") -> None:
        self.sentences = sentences
        lines = sentences if len(sentences) == 1 else [f"{len(sentences)} mistakes", *sentences]
        super().__init__("\n  ".join([where + lines[0], *lines[1:]]))


class Attempts:
    """Calls that may fail, each of them made, whatever the others did; `sentences` has what they raised."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def __call__(self, function: Callable[Given, object], *values: Given.args, **named: Given.kwargs) -> Any:
        """Return what a function makes of the values, or None if it raises a UserError, which is noted.

        After `require_none(attempts.sentences)` every value is what its function made.
        """
        try:
            return function(*values, **named)
        except Mistakes as error:
            self.sentences += error.sentences
        except UserError as error:
            self.sentences.append(str(error))
        return None


def require_none(sentences: list[str], where: str = "") -> None:
    """Raise Mistakes if there are any."""
    if sentences:
        raise Mistakes(sentences, where)
