"""How figures write numbers: one way for what is measured, one for ticks."""

import math


def exact(number: float, _: object = None) -> str:
    """A round number, such as a tick's, with all its digits and no zeros after them: "0", "0.05", "99.9".

    Matplotlib hands formatters a place as well, which is not used.
    """
    return f"{number + 0.0:g}"  # -0.0 is 0


def rounded(number: float) -> str:
    """A measured number in few letters: whole from 10 on, below in two digits, below 0.1 in one; "?" if not known.

    Such as "100", "12", "6.2", "0.8", "0.39", "0.08", "0".
    """
    if math.isnan(number):
        return "?"
    digits = 2 if abs(number) >= 0.095 else 1
    return f"{number:.0f}" if abs(number) >= 9.95 else f"{number:.{digits}g}"


def span(numbers: list[float]) -> str:
    """Several measured numbers as "3", or "3 to 12" where they differ."""
    ends = dict.fromkeys(rounded(end) for end in (min(numbers), max(numbers)))
    return " to ".join(ends)
