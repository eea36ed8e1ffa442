"""Mistakes in a user's input: all are reported together, each in a sentence."""

from collections.abc import Callable
from typing import Any, ParamSpec

from workflow_scripts.shared.files import UserError

MOST = 20  # mistakes that are reported; there may be one for each value of a config

Given = ParamSpec("Given")


class Mistakes(UserError):
    """One mistake or several, of which the first are reported; `where`, such as "config: ", comes before the first."""

    def __init__(self, sentences: list[str], where: str = "") -> None:
        self.sentences = sentences
        lines = sentences if len(sentences) == 1 else [f"{len(sentences)} mistakes", *sentences[:MOST]]
        if len(sentences) > MOST:
            lines.append(f"and {len(sentences) - MOST} more")
        super().__init__("\n  ".join([where + lines[0], *lines[1:]]))


class Attempts:
    """Calls that may fail: all are made, even if some fail; `sentences` collects what they raise."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def __call__(self, function: Callable[Given, object], *values: Given.args, **named: Given.kwargs) -> Any:
        """Return the function's result, or None if it raises a UserError, which is noted.

        After `require_none(attempts.sentences)`, every returned value is its function's result.
        """
        try:
            return function(*values, **named)
        except Mistakes as error:
            self.sentences += error.sentences
        except UserError as error:
            self.sentences.append(str(error))
        return None


def require_none(sentences: list[str], where: str = "") -> None:
    """Raise Mistakes if there are any sentences."""
    if sentences:
        raise Mistakes(sentences, where)
