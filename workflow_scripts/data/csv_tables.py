"""Tables that users provide: CSV files in UTF-8 with a header."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file

MOST_DIGITS = 18  # of a number that fits into 64 bits


def table_rows(path: Path, *choices: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a CSV file, each with its place ("FILE, line N").

    Args:
        path: of the file.
        choices: lists of columns that it must have, in any order, among others; the first list that it has in full
            counts.

    Raises:
        UserError: it cannot be read; one of these columns is missing; any column is there twice; a row has more cells
            than the header; or a row has no cell, or a NUL character, in one of these columns.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_file(path).decode("utf-8-sig"), newline=""))
        header = list(reader.fieldnames or [])
        columns = next((choice for choice in choices if set(choice) <= set(header)), choices[0])
        for column, times in (dict.fromkeys(columns, 0) | Counter(header)).items():
            if not times or (times > 1 and column):  # spreadsheets add columns without a name
                raise UserError(f"{path}, line 1: the header must have the column {column[:60]} once: correct it")
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if any(row[column] is None for column in columns):
                raise UserError(f"{place}: the row has fewer cells than the header: complete it")
            if None in row:
                raise UserError(f"{place}: the row has more cells than the header: put text with commas into quotes")
            if any("\0" in row[column] for column in columns):
                raise UserError(f"{place}: the row holds a NUL character: remove it")
            yield place, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 ({error}): save it as one") from error


def whole_number(text: str, place: str) -> int:
    """Return the number in a cell; raise UserError, with its place, if there is none."""
    digits = text.strip()
    if not digits.isdecimal() or len(digits) > MOST_DIGITS:
        raise UserError(f"{place}: {text[:40]!r} is not a whole number of at most {MOST_DIGITS} digits: correct it")
    return int(digits)
