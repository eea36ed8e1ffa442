"""A report as a table for a terminal."""

LINES, COLUMNS = 38, 120  # size of the table; a line with the JSON file's name follows
SECTION, WHAT, VALUE, UNIT = 8, 46, 9, 12  # width of each column
ERROR_LINES = 12


def tell(section: dict) -> str:
    """Return how a section ended, with the end of its error."""
    error = section["error"].splitlines()[-ERROR_LINES:]
    lines = [f"{section['section']}: {section['status']} in {section['seconds']:.0f} s", *("    " + x for x in error)]
    return "\n".join(lines)


def table(report: dict) -> str:
    """Return the report's table: failed checks first, then each section.

    If there is not enough room, passed checks are only counted, and variants of a row share a line without notes.
    """
    whole = table_lines(report, short=False)
    return "\n".join(whole if len(whole) <= LINES else table_lines(report, short=True))


def table_lines(report: dict, short: bool) -> list[str]:
    """Return the table's lines."""
    machine = f"{report['card'] or 'no GPU'}, {report['cpus']} x {report['cpu']}, torch {report['torch']}"
    lines = ["", fit(f"{machine}, {report['date']}{', small: the numbers mean nothing' * report['small']}")]
    lines.append(columns("section", "what", "value", "unit", "note"))
    sections = report["sections"]
    for section in sections:
        lines += [line_of(section, f"FAILED: {check_text(c)}") for c in section["checks"] if not c["ok"]]
    for section in sections:
        lines += section_lines(section, short)
    return lines


def section_lines(section: dict, short: bool) -> list[str]:
    """Return the lines of one section, without its failed checks."""
    passed = [check for check in section["checks"] if check["ok"]]
    status = section["status"] if section["status"] == "passed" else section["status"].upper()
    summary = f"{status} in {section['seconds']:.0f} s"
    if passed:
        summary += f", {len(passed)} check{'s' * (len(passed) != 1)} passed"
    if section["error"]:
        summary += f": {section['error'].splitlines()[-1]}"
    skipped = [f"{skip['name']}: {skip['why']}" for skip in section["skipped"]]
    if short:
        lines = [*short_rows(section), *[line_of(section, f"not measured: {'; '.join(skipped)}")] * bool(skipped)]
    else:
        lines = [row_line(section, row) for row in section["rows"]]
        lines += [line_of(section, f"not measured: {skip}") for skip in skipped]
        lines += [line_of(section, f"passed: {check_text(check)}") for check in passed]
    return [line_of(section, summary), *lines]


def row_line(section: dict, row: dict) -> str:
    """Return the line of a row."""
    what = f"{row['name']}, {row['variant']}" if row["variant"] else row["name"]
    return columns(section["section"], what, number(row["value"]), row["unit"], row["note"])


def short_rows(section: dict) -> list[str]:
    """Return a line for each row, and one for all variants of a row."""
    of_name: dict[str, list[dict]] = {}
    for row in section["rows"]:
        of_name.setdefault(row["name"], []).append(row)
    lines = []
    for name, rows in of_name.items():
        if len(rows) == 1:
            lines.append(row_line(section, rows[0]))
            continue
        texts, unit = [], ""
        for row in rows:
            # A unit is written only where it changes.
            said = f" {row['unit']}" * (row["unit"] != unit)
            texts.append(f"{row['variant']} {number(row['value'], 3)}{said}")
            unit = row["unit"]
        lines.append(line_of(section, f"{name}: {', '.join(texts)}"))
    return lines


def check_text(check: dict) -> str:
    """Return a check's name and note."""
    return f"{check['name']}: {check['note']}" if check["note"] else check["name"]


def line_of(section: dict, text: str) -> str:
    """Return a line of a section without columns."""
    return fit(f"{section['section']:{SECTION}}  {text}")


def columns(section: str, what: str, value: str, unit: str, note: str) -> str:
    """Return a line of columns."""
    return fit(f"{section:{SECTION}}  {what:{WHAT}}  {value:>{VALUE}}  {unit:{UNIT}}  {note}")


def number(value: float, digits: int = 4) -> str:
    """Return a number with `digits` significant digits, but never fewer than its whole part has."""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def fit(line: str) -> str:
    """Return a line, cut to the width of the table."""
    line = line.rstrip()
    return line if len(line) <= COLUMNS else line[: COLUMNS - 3] + "..."
