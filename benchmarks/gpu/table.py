"""A report as a table for a terminal."""

LINES, COLUMNS = 38, 120  # of the table; a line for the JSON file's name follows
SECTION, WHAT, VALUE, UNIT = 8, 46, 9, 12  # columns of each
ERROR_LINES = 12


def tell(section: dict) -> str:
    """Return how a section ended, with the end of its error."""
    error = section["error"].splitlines()[-ERROR_LINES:]
    lines = [f"{section['section']}: {section['status']} in {section['seconds']:.0f} s", *("    " + x for x in error)]
    return "\n".join(lines)


def table(report: dict) -> str:
    """Return the report's table: failed checks first, then each section.

    Checks that passed are listed if there is room, else counted.
    """
    whole = table_lines(report, list_passed=True)
    return "\n".join(whole if len(whole) <= LINES else table_lines(report, list_passed=False))


def table_lines(report: dict, list_passed: bool) -> list[str]:
    """Return the table's lines."""
    machine = f"{report['card'] or 'no GPU'}, {report['cpus']} x {report['cpu']}, torch {report['torch']}"
    lines = ["", fit(f"{machine}, {report['date']}{', small: figures mean nothing' * report['small']}")]
    lines.append(columns("section", "what", "value", "unit", "note"))
    sections = report["sections"]
    for section in sections:
        lines += [line_of(section, f"FAILED: {check_text(c)}") for c in section["checks"] if not c["ok"]]
    for section in sections:
        lines += section_lines(section, list_passed)
    return lines


def section_lines(section: dict, list_passed: bool) -> list[str]:
    """Return the lines of one section, less its failed checks."""
    passed = [check for check in section["checks"] if check["ok"]]
    status = section["status"] if section["status"] == "passed" else section["status"].upper()
    summary = f"{status} in {section['seconds']:.0f} s"
    if passed:
        summary += f", {len(passed)} check{'s' * (len(passed) != 1)} passed"
    if section["error"]:
        summary += f": {section['error'].splitlines()[-1]}"
    lines = [line_of(section, summary)]
    for row in section["rows"]:
        lines.append(columns(section["section"], row["name"], number(row["value"]), row["unit"], row["note"]))
    lines += [line_of(section, f"not measured: {skip['name']}: {skip['why']}") for skip in section["skipped"]]
    if list_passed:
        lines += [line_of(section, f"passed: {check_text(check)}") for check in passed]
    return lines


def check_text(check: dict) -> str:
    """Return a check's name and note."""
    return f"{check['name']}: {check['note']}" if check["note"] else check["name"]


def line_of(section: dict, text: str) -> str:
    """Return a line of a section that has no columns."""
    return fit(f"{section['section']:{SECTION}}  {text}")


def columns(section: str, what: str, value: str, unit: str, note: str) -> str:
    """Return a line of columns."""
    return fit(f"{section:{SECTION}}  {what:{WHAT}}  {value:>{VALUE}}  {unit:{UNIT}}  {note}")


def number(value: float) -> str:
    """Return a number with four digits that count, and no fewer before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def fit(line: str) -> str:
    """Return a line, cut to the columns that there are."""
    line = line.rstrip()
    return line if len(line) <= COLUMNS else line[: COLUMNS - 3] + "..."
