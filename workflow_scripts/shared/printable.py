"""Text from outside, such that a terminal shows it and does not obey it."""

import logging
import re

MOST_CHARACTERS = 900  # of a sentence; a hostile name may have any number
MISTAKE = "\n  "  # what several mistakes in one message are separated by
# Control characters but new lines and tabs; those that end lines or change the direction of writing; what stands for
# bytes that are no text; and the two that XML, and so a figure, cannot have besides.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    r"""Return a text with escapes, such as \x1b, in place of what a terminal would obey, or XML cannot have.

    New lines and tabs stay.
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape", "replace").decode(), text)


def sentence(text: str) -> str:
    """Return a text as one printable line; a very long one loses its middle, because its end says what to do."""
    text = printable(text).replace("\n", r"\n").replace("\t", r"\t")
    half = MOST_CHARACTERS // 2
    return text if len(text) <= MOST_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def sentences(text: str) -> str:
    """Return the message of an error, one sentence or several, for a terminal."""
    return MISTAKE.join(map(sentence, text.split(MISTAKE)))


class PrintableFormatter(logging.Formatter):
    """Formats messages as `sentence` does; the traceback of an exception keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        record.message = sentence(record.message)
        return super().formatMessage(record)
