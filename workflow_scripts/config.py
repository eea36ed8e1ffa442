"""Checks of the config that end in one sentence, before anything runs."""

import difflib
import hashlib
import os
from functools import cache
from pathlib import Path

import jsonschema
import yaml

from workflow_scripts.files import UserError

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
        key = next(key for key in error.instance if key not in known)
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"unknown key {path + '.' if path else ''}{key}; {hint}"
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        return f"{path + '.' if path else ''}{key} is missing"
    return f"{path or 'the file'}: {error.message}"


def is_archive(source: str) -> bool:
    """Tell whether a source is an archive by its name."""
    return source.endswith(ARCHIVE_SUFFIXES)


@cache
def folder_listing(folder: str) -> str:
    """Return a fingerprint of the names and sizes of all files below `folder`.

    Passed to a rule as a parameter, it makes the rule run again when the folder's files change, and not when they
    are touched or copied.
    """
    digest = hashlib.sha256()
    for path, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            full = os.path.join(path, name)
            digest.update(f"{os.path.relpath(full, folder)}\0{os.path.getsize(full)}\n".encode())
    return digest.hexdigest()
