"""JSON that users or others provide: all its readers refuse what Python's own reader accepts without a word."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow_scripts.shared.files import reading
from workflow_scripts.shared.regular_files import read_file


def read_json(path: str | Path) -> Any:
    """Return the contents of a JSON file; raise UserError as `read_file` does, or if it is no JSON for `parse_json`."""
    data = read_file(path)
    with reading(path, ValueError):
        return parse_json(data)


def parse_json(text: str | bytes, made_of: Callable[[dict], Any] = lambda found: found) -> Any:
    """Return what a JSON text means.

    Args:
        text: in UTF-8, UTF-16 or UTF-32 if it is bytes.
        made_of: makes what is kept of an object, as soon as that is read.

    Raises:
        ValueError: it is no JSON, or holds NaN or Infinity, or is nested too deeply, or an object has a key twice.
    """
    try:
        return json.loads(
            text, object_pairs_hook=lambda pairs: made_of(without_twins(pairs)), parse_constant=refuse_constant
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def without_twins(pairs: list[tuple[str, Any]]) -> dict:
    """Return an object of JSON; raise ValueError if it has a key twice, of which Python would take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twin, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has the key {twin[:60]!r} twice")
    return found


def refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which are not valid JSON."""
    raise ValueError(f"it holds {text}")
