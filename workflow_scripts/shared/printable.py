"""Text that may come from elsewhere, in a form that is safe to show on a terminal and in logs."""

import logging

MOST_CHARACTERS = 900  # of a sentence; a hostile name may have any number
MISTAKE = "\n  "  # what several mistakes in one message are separated by


def printable(text: str) -> str:
    """Return a text for a terminal: what would control it is written as an escape sequence in letters."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape", "replace").decode() for sign in text)


def sentence(text: str) -> str:
    """Return a sentence for a terminal; a very long one loses its middle, because its end says what to do."""
    text = printable(text)
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
