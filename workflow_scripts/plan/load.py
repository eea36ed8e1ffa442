"""The config of an experiment: the user's values, merged into the default and checked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml

from workflow_scripts.plan.bounds import compose_yaml, load_yaml, require_bounds
from workflow_scripts.plan.check import check_config, parse_text
from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.concept_sets import WITHOUT, complete_sets
from workflow_scripts.plan.mistakes import require_none
from workflow_scripts.plan.protocols import resolve_protocol
from workflow_scripts.shared.files import UserError, reading
from workflow_scripts.shared.regular_files import read_file as read_bytes

DEFAULT = ROOT / "config.yaml"
NO_RESULT = ("limits", "rates")  # sections that no result depends on
HEADER = """\
# The config of this experiment with all defaults and the choices of its protocol, for snakemake --configfile.
# (Without limits and rates, on which no result depends.)
"""


def read_config(configfiles: Sequence[str | Path], command_line: Mapping | None = None) -> dict:
    """Return the complete config that snakemake gets from `--configfile` with these files.

    Args:
        configfiles: a later one is laid over those before.
        command_line: the values of `--config`, as Snakemake reads them.

    Raises:
        UserError: a file cannot be read; or as in `complete_config`.
    """
    return complete_config(read_given(configfiles, command_line or {}), configfiles)


def read_given(configfiles: Sequence[str | Path], command_line: Mapping) -> dict:
    """Return what files and values give, without the default; UserError if a file cannot be read."""
    given: dict = {}
    for file in configfiles:
        given = lay_over(given, read_file(file))
    return lay_over(lay_over(given, command_line), typed(command_line))


def complete_config(given: Mapping, files: Sequence[str | Path] = (), command_line: Mapping | None = None) -> dict:
    """Return the complete config: `given` merged into the default, with the choices of its protocol and presets.

    The default network's arguments only apply to its constructor: with another constructor they are left out.

    Args:
        given: the config that Snakemake has made of the files and the command line; it is not modified.
        files: those files, to find duplicate keys, which Snakemake does not report.
        command_line: the part of `given` that comes from `--config`. Snakemake reads everything within its values as
            text.

    Raises:
        UserError: there are mistakes; the error lists all of them, each in a sentence.
    """
    require_bounds(given, "config: the config")
    given = lay_over(given, typed(command_line or {}))
    default = read_default()
    network = given.get("network")
    constructor = default["network"]["constructor"]
    if isinstance(network, Mapping) and network.get("constructor", constructor) != constructor:
        default = default | {"network": default["network"] | {"arguments": {}}}
    config, mistakes = check_config(lay_over(default, given))
    duplicates = [sentence for file in [DEFAULT, *files] for sentence in duplicate_keys(file)]
    require_none(duplicates + mistakes, "config: ")
    return config | {
        "dissection": resolve_protocol(config["dissection"]),
        "concepts": complete_sets(config["concepts"]),
    }


def config_text(config: Mapping) -> str:
    """Return the text of a config file from which `complete_config` makes `config` again, but for its limits and rates.

    Args:
        config: as `complete_config` returns it.
    """
    sets = [
        {key: value for key, value in item.items() if key not in WITHOUT.get(item["format"], ())}
        for item in config["concepts"]["sources"]
    ]
    sections = {key: value for key, value in config.items() if key not in NO_RESULT}
    sections["concepts"] = config["concepts"] | {"sources": sets}
    text = yaml.safe_dump(
        in_order(sections, read_default()), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )
    return HEADER + text


def in_order(values: Mapping, like: object) -> dict:
    """Return a dict, and dicts within it, with keys in the order that they have in `like`, others sorted behind."""
    known = like if isinstance(like, Mapping) else {}
    keys = [*(key for key in known if key in values), *sorted(key for key in values if key not in known)]
    return {
        key: in_order(values[key], known.get(key)) if isinstance(values[key], Mapping) else values[key] for key in keys
    }


def typed(command_line: Mapping) -> dict:
    """Return the values of `--config` that hold arguments, with text converted to what it means.

    The schema does not know the types of arguments; it knows those of all other values.
    """
    changes: dict = {}
    network, arms = command_line.get("network"), command_line.get("arms")
    if isinstance(network, Mapping) and "arguments" in network:
        changes["network"] = {"arguments": meant(network["arguments"])}
    if isinstance(arms, list) and all(isinstance(item, Mapping) for item in arms):
        changes["arms"] = [
            # A text by itself is a file name there.
            item | {key: meant(item[key]) for key in ("arguments", "weights") if isinstance(item.get(key), dict | list)}
            for item in arms
        ]
    return changes


def meant(value: object) -> object:
    """Convert text to what it means, also within lists and dicts."""
    if isinstance(value, Mapping):
        return {key: meant(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [meant(inner) for inner in value]
    return parse_text(value) if isinstance(value, str) else value


def lay_over(base: Mapping, changes: Mapping) -> dict:
    """Return a config with changes, merged as Snakemake merges files: dicts are merged, all else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, Mapping):
            value = lay_over(below if isinstance(below, Mapping) else {}, value)
        result[key] = value
    return result


@cache
def read_default() -> dict:
    """Return the repository's config; callers must not modify it."""
    return read_file(DEFAULT)


def read_file(file: str | Path) -> dict:
    """Return a config file, YAML or JSON, as Snakemake reads it.

    Raises:
        UserError: it is missing, is neither YAML nor JSON, has no keys, or has too many values.
    """
    text = read_text(file)
    try:
        config = parse(text, f"config: {file}")
    except (yaml.YAMLError, ValueError) as error:  # a ValueError for a date without meaning, or too many digits
        raise UserError(f"config: {file} is neither YAML nor JSON ({in_one_line(error)}): correct it") from None
    except RecursionError:
        raise UserError(f"config: {file} is nested too deeply: no key of a config needs that") from None
    if not isinstance(config, dict):
        raise UserError(f"config: {file} has no keys: write them as in config.yaml, such as experiment: mine")
    require_bounds(config, f"config: {file}")
    return config


def parse(text: str, name: str) -> object:
    """Return what a text means as JSON, or else as YAML; raises as `load_yaml` does."""
    try:
        return json.loads(text)
    except ValueError:
        return load_yaml(text, name)


def duplicate_keys(file: str | Path) -> Iterator[str]:
    """Yield a sentence for each key that appears twice in the same place of a config file.

    Raises:
        UserError: it has too many values.
    """
    # JSON is YAML, except that it may have tabs between tokens; within tokens there are none.
    text = read_text(file)
    try:
        as_yaml = text if not text.lstrip().startswith("{") else text.replace("\t", " ")
        _, node = compose_yaml(as_yaml, f"config: {file}")
    except (yaml.YAMLError, RecursionError):
        return  # reading the file reports this
    yield from duplicates_in(node, str(file), ())


def duplicates_in(node: yaml.Node | None, file: str, place: tuple[str, ...]) -> Iterator[str]:
    """Yield the same for a part of a file; `place` has the keys that lead to it."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from duplicates_in(item, file, (*place, str(index)))
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            here = (*place, str(key.value))
            line = key.start_mark.line + 1
            if here[-1] in lines:
                yield (
                    f"{file}, line {line}: the key {'.'.join(here)} is already in line {lines[here[-1]]}: leave one out"
                )
            lines[here[-1]] = line
            yield from duplicates_in(value, file, here)


def read_text(file: str | Path) -> str:
    """Return the text of a config file; raise UserError if it cannot be read."""
    with reading(f"config: the file {file}", UnicodeDecodeError):
        return read_bytes(file).decode("utf-8")


def in_one_line(error: yaml.YAMLError | ValueError) -> str:
    """Return, in one line, the objection to a text, and where."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + " ".join(str(getattr(error, "problem", None) or error).split())[:200]
