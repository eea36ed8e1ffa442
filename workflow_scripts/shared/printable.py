"""Text from outside, such that a terminal shows it and does not obey it."""

import re

# Control characters but new lines and tabs, and those that change the direction of writing.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Return a text with escapes, such as \x1b, in place of characters that a terminal would obey.

    New lines and tabs stay.
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
