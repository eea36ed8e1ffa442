"""Tables with the label of each pixel value, or colour, of a label map."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from workflow_scripts.data.concept_sets.files import read_text
from workflow_scripts.data.concept_sets.reader import Label
from workflow_scripts.data.csv_tables import table_rows, whole_number
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.outside_json import parse_json

SHIPPED = Path(__file__).with_name("tables")  # a CSV for each set whose archive has no usable table
MOST = 2**16 - 1  # the largest value of a pixel with 16 bits
COLOUR_COLUMNS = ("red", "green", "blue")

Value = int | tuple[int, ...]  # a number, or a colour: red, green and blue


def read_names(names: str | Mapping[str, int | list[int]], folder: Path, category: str) -> dict[Value, Label]:
    """Return the label of each pixel value, or of each colour (red, green, blue).

    Args:
        names: the value, or the colour, by label; or the name of a shipped table; or a file below `folder`, or else a
            user's file: a CSV with the columns name and number (or red, green, blue) and, optionally, category; a text
            file like objectInfo150.txt (SceneParse150), with `NUMBER: NAME` (COCO-Stuff), with `RED GREEN BLUE NAME`
            (CamVid), or with one name per line, the first for the value 0; or JSON with label_map and, for colours,
            segmentation_colors (Datumaro).
        folder: of the set, where a table is searched for first.
        category: of labels for which the table has none.

    Raises:
        UserError: there is no such file, it is none of these, or a value or a label is duplicate or has no name.
    """
    if isinstance(names, Mapping):
        pairs = ((name, tuple(value) if isinstance(value, list) else value) for name, value in names.items())
        return checked(((f"names, {name}", value, name, category) for name, value in pairs), "names")
    path = find_table(names, folder)
    return checked(rows_of(path, category), str(path))


def find_table(names: str, folder: Path) -> Path:
    """Return the file that a name means: below the set's folder, a user's file, or a shipped one."""
    # A path that leads out of the folder counts only as a user's file, because changes of those are noticed.
    within = [] if ".." in Path(names).parts else [folder / names]
    for path in (*within, Path(names), SHIPPED / f"{names}.csv"):
        if path.is_file():
            return path
    raise UserError(f"there is no table of names {names}, neither in {folder} nor here: correct names, or put it there")


def checked(rows: Iterator[tuple[str, Value, str, str]], table: str) -> dict[Value, Label]:
    """Return the labels of rows (place, value, name, category) by value; raise UserError if a row is invalid."""
    found: dict[Value, Label] = {}
    for place, value, name, category in rows:
        numbers = value if isinstance(value, tuple) else (value,)
        if any(not 0 <= number <= (255 if isinstance(value, tuple) else MOST) for number in numbers):
            raise UserError(f"{place}: {value} is not a pixel value: correct it")
        if isinstance(value, tuple) != isinstance(next(iter(found), value), tuple):
            raise UserError(f"{place}: some labels have numbers and some have colours: write all as one of the two")
        if value in found:
            raise UserError(f"{place}: {value} already means {found[value].name!r}: remove one of the two")
        if not name.strip() or not category.strip():
            raise UserError(f"{place}: the {'label' if not name.strip() else 'category'} has no name: give it one")
        found[value] = Label(name.strip(), category.strip())
    if not found:
        raise UserError(f"{table} names no label: complete it")
    return found


def rows_of(path: Path, category: str) -> Iterator[tuple[str, Value, str, str]]:
    """Yield (place, value, name, category) for each row of a table, in any of its forms."""
    ending = path.suffix.lower()
    if ending == ".csv":
        yield from csv_rows(path, category)
    elif ending == ".json":
        for value, name in json_rows(path, read_text(path)):
            yield f"{path}, label {value}", value, name, category
    else:
        lines = [line.strip() for line in read_text(path).splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        for place, value, name in text_rows(path, lines):
            yield place, value, name, category


def csv_rows(path: Path, category: str) -> Iterator[tuple[str, Value, str, str]]:
    """Yield the rows of a CSV file."""
    for place, row in table_rows(path, ("name", "number"), ("name", *COLOUR_COLUMNS)):
        columns = ("number",) if "number" in row else COLOUR_COLUMNS
        values = tuple(whole_number(row[column], place) for column in columns)
        yield place, values[0] if len(values) == 1 else values, row["name"], row.get("category") or category


def json_rows(path: Path, text: str) -> Iterator[tuple[Value, str]]:
    """Yield the labels of Datumaro's dataset_meta.json, except the background."""
    try:
        table = parse_json(text)
        labels = {int(number): name for number, name in table["label_map"].items()}
        colours = [tuple(colour) for colour in table.get("segmentation_colors", [])]
        if len(labels) < len(table["label_map"]):
            raise ValueError("a number twice")
        if not all(isinstance(name, str) for name in labels.values()):
            raise ValueError("a name that is not text")
        if not all(len(colour) == 3 and all(type(part) is int for part in colour) for colour in colours):
            raise ValueError("a colour that is not three whole numbers")
        background = table.get("background_label")
        if colours and len(colours) != len(labels):
            raise ValueError(f"{len(labels)} labels and {len(colours)} colours")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not JSON with label_map, a name for each number ({error}): correct it") from None
    for place, (number, name) in enumerate(labels.items()):
        if background is None or str(number) != str(background):
            yield colours[place] if colours else number, name


def text_rows(path: Path, lines: list[str]) -> Iterator[tuple[str, Value, str]]:
    """Yield the place of each line of a text file, its value, and its first name."""
    if lines and re.fullmatch(r"Idx\s+Ratio\s+Train\s+Val\s+Name", lines[0], re.IGNORECASE):
        for number, line in enumerate(lines[1:], 2):
            place, cells = f"{path}, line {number}", line.split("\t")
            if len(cells) != 5:
                raise UserError(f"{place}: cells between tabs: {len(cells)} instead of 5; copy the file again")
            yield place, whole_number(cells[0], place), re.split("[;,]", cells[-1])[0]
        return
    forms = set()
    row: tuple[Value, str]
    for number, line in enumerate(lines, 1):
        place = f"{path}, line {number}"
        if match := re.fullmatch(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(.+)", line):
            form, row = "RED GREEN BLUE NAME", (tuple(map(int, match.groups()[:3])), match[4])
        elif match := re.fullmatch(r"(\d{1,5})\s*[:\t]\s*(.+)", line):
            form, row = "NUMBER: NAME", (int(match[1]), match[2])
        elif re.match(r"\d+[\s,;:]", line):
            raise UserError(
                f"{place}: {line[:40]!r} begins with a number: write NUMBER: NAME in each line, or a CSV file"
            )
        else:
            form, row = "NAME", (number - 1, line)
        forms.add(form)
        if len(forms) > 1:
            raise UserError(
                f"{place}: {line[:40]!r} has the form {form}, unlike the lines before: write all lines in one form"
            )
        yield place, *row
