"""Numbers in words: without exponents, with their nouns, and "-" for unknown values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

MEASURES = {  # of equivalence.csv, and what they are called
    "units": "detectors",
    "concepts": "unique concepts",
    "units_above_rotation": "units above rotation",
    "accuracy": "test accuracy",
}
NOUNS = {"units": "detector", "concepts": "concept", "units_above_rotation": "unit", "accuracy": "point"}
NEVER = "at no level"
NAMED = 4  # items in a sentence


def number(value: float, digits: int = 1) -> str:
    """A number with at most `digits` digits after the decimal point; "-" if it is unknown."""
    return "-" if pd.isna(value) else decimal(value, digits, fractional=True)


def decimal(value: float, digits: int = 6, fractional: bool = False) -> str:
    """A number with `digits` significant digits, or decimals if `fractional`; no exponent, and 0 without a sign."""
    text = np.format_float_positional(value, digits, fractional=fractional, trim="-")
    return "0" if text == "-0" else text


def percent(share: float, digits: int = 3) -> str:
    """A share in per cent, with `digits` significant digits, but never fewer than its whole part has: "12.5 %"."""
    if pd.isna(share):
        return "-"
    return f"{100 * share:.0f} %" if share >= 1 else f"{decimal(100 * share, digits)} %"


def share(values: pd.Series) -> str:
    """The mean of shares, in per cent: "49 %"."""
    return percent(values.mean(), 2)


def mean_and_sd(values: pd.Series) -> str:
    """The mean of values and, if there are several, their standard deviation."""
    known = values.dropna().astype(float)
    if known.empty:
        return "-"
    return f"{known.mean():z.1f}" + (f" ± {known.std():.1f}" if len(known) > 1 else "")


def counted(count: float | str, noun: str) -> str:
    """A count and its noun: "1 replicate", "2 replicates"; the count may be text such as "2 to 3"."""
    return f"{count} {noun if str(count) in ('1', '-1') else f'{noun}s'}"


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def one_after_another(sentences: Sequence[str]) -> str:
    """Join sentences; all but the first get a capital, because the first may follow a colon."""
    return " ".join([*sentences[:1], *map(capital, sentences[1:])])


def listed(items: Sequence[str], most: int = NAMED) -> str:
    """Items in a sentence: "a, b and c"; those beyond `most` are only counted."""
    items = list(items)
    return joined([*items[:most], f"{len(items) - most} more"] if len(items) > most else items)


def joined(items: Sequence[str], last: str = "and") -> str:
    """All items in a sentence: "a, b and c"."""
    *others, final = items
    return f"{', '.join(others)} {last} {final}" if others else final


def span(least: float, most: float) -> str:
    """Two numbers, or one if they read the same: "2.2 to 5.7"."""
    return number(least) if number(least) == number(most) else f"{number(least)} to {number(most)}"


def change(row: pd.Series | dict) -> str:
    """A difference in a count or in accuracy with its interval, from a row of equivalence.csv or matched.csv."""
    noun = NOUNS[row["measure"]]
    of_accuracy = noun == "point"
    scale, fewer, more = (100, "lower", "higher") if of_accuracy else (1, "fewer", "more")
    difference, low, high = (scale * row[column] for column in ("difference", "low90", "high90"))
    size, word = number(abs(difference)), more if difference > 0 else fewer
    text = f"{counted(size, noun)} {word}" if of_accuracy else counted(size, f"{word} {noun}")
    if size == "0":
        text = f"no difference in {'accuracy' if of_accuracy else f'{noun}s'}"
    return text if pd.isna(low) else f"{text} (90 % interval: {interval(low, high, fewer, more)})"


def interval(low: float, high: float, fewer: str, more: str) -> str:
    """An interval of differences: "5.9 to 16.1 fewer", "3 fewer to 2 more"."""
    if high <= 0:
        return f"{number(-high)} to {number(-low)} {fewer}"
    if low >= 0:
        return f"{number(low)} to {number(high)} {more}"
    return f"{number(-low)} {fewer} to {number(high)} {more}"
