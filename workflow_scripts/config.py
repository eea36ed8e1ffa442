"""Checks of the config that end in one sentence, before anything runs."""

import difflib
import json
from functools import cache
from pathlib import Path

import jsonschema
import yaml

from workflow_scripts.files import UserError, file_fingerprint, text_fingerprint, whole_file

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def check_config(config: dict, schema_path: str | Path) -> None:
    """Check `config` against the schema, and what a schema cannot say.

    Raises:
        UserError: the first thing found wrong, naming its key.
    """
    schema = yaml.safe_load(Path(schema_path).read_text())
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is not None:
        raise UserError(f"config: {describe(error)}")
    training, pruning = config["training"], config["pruning"]
    if pruning["rewind_epoch"] >= training["epochs"]:
        raise UserError("config: pruning.rewind_epoch must lie below training.epochs")
    if training["warmup_epochs"] >= training["epochs"]:
        raise UserError("config: training.warmup_epochs must lie below training.epochs")
    network = config["network"]
    if network["architecture"] == "small_resnet" and not (
        len(network["widths"]) == len(network["blocks"]) == len(network["strides"])
    ):
        raise UserError("config: network.widths, network.blocks and network.strides must have the same length")
    for section in ("images", "concepts"):
        source = config[section]["source"]
        if source != "shapes" and not Path(source).exists():
            raise UserError(f"config: {section}.source is {source!r}, and there is no such folder or archive")


def describe(error: jsonschema.ValidationError) -> str:
    """Return a schema error as a sentence that names the key."""
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        key = str(next(key for key in error.instance if key not in known))
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"unknown key {path + '.' if path else ''}{key}; {hint}"
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        return f"{path + '.' if path else ''}{key} is missing"
    if error.validator == "type" and isinstance(error.instance, str) and is_number(error.instance):
        return f"{path} is text, {error.instance!r}, where a number belongs; write 1.0e-4 for 1e-4, and no quotes"
    expected = error.schema.get("description")
    return (
        f"{path or 'the file'} is {error.instance!r}, {expected}"
        if expected
        else f"{path or 'the file'}: {error.message}"
    )


def is_number(text: str) -> bool:
    """Tell whether Python reads `text` as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_archive(source: str) -> bool:
    """Tell whether a source is an archive by its name."""
    return source.endswith(ARCHIVE_SUFFIXES)


@cache
def folder_fingerprint(folder: str, memory: Path) -> str:
    """Return a fingerprint of the names and contents of all files below `folder`.

    Passed to a rule as a parameter, it makes the rule run again when a file changes, and not when it is touched or
    copied. `memory` is a JSON file that remembers contents by path, size and time, so that only files that are new
    or touched are read again.
    """
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    contents = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            status = path.stat()
            key = f"{path} {status.st_size} {status.st_mtime_ns}"
            contents[key] = known.get(key) or file_fingerprint(path)
    if contents != known:
        with whole_file(memory) as part:
            part.write_text(json.dumps(contents, indent=0))
    names = [key.rsplit(" ", 2)[0] for key in contents]
    return text_fingerprint(*names, *contents.values())
