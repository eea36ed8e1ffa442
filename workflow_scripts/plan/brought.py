"""The networks that arms of the recipe `brought` name: which there are, and what each is made from."""

import glob
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from workflow_scripts.plan import openlth
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.plan.designs import Design, read_preprocessing, with_source
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.networks import Network
from workflow_scripts.shared.files import UserError, reading

PLACES = ("{replicate}", "{level}")
READING = ("part", "prefix", "missing", "unused")


def read_brought(name: str, items: list[dict]) -> list[Network]:
    """Return the networks of an arm, in the order of replicates and levels; `items` are what `arms` says of it.

    Raises:
        UserError: a file is missing or cannot be read, a preset is unknown, two networks have one replicate and level,
            items do not belong together, or as `openlth` and `list_classes` do.
    """
    with reading(f"config: arms.{name}: a file"):
        networks = [network for item in items for network in read_item(item)]
    networks.sort(key=lambda network: network.key)
    for one, following in pairwise(networks):
        if one.key == following.key:
            raise UserError(
                f"config: arm {name}, replicate {one.key.replicate}, level {one.key.level} is named twice: give one"
                " another name, replicate or level"
            )
    by_level = all(isinstance(item.get("arguments"), list | str) for item in items)
    if any(common(network.design, by_level) != common(networks[0].design, by_level) for network in networks):
        raise UserError(
            f"config: arms of the name {name} differ in more than weights, masks, density, replicate and level: give"
            " them different names, or the arguments by level"
        )
    return with_suffixes(networks) if has_levels_of_their_own(networks) else networks


def common(design: Design, by_level: bool) -> tuple:
    """Return what the networks of one arm must share: of arguments that are given by level none."""
    settings = {key: value for key, value in design.settings.items() if key != "arguments" or not by_level}
    return settings, design.layers, design.preprocessing, design.test, design.class_order


def has_levels_of_their_own(networks: list[Network]) -> bool:
    """Tell whether networks differ in their constructor's arguments: their units do not descend from one another."""
    return any(network.design.settings != networks[0].design.settings for network in networks)


def with_suffixes(networks: list[Network]) -> list[Network]:
    """Return networks whose designs have names of their own, one for each that differs."""
    designs: list[Design] = []
    found = []
    for network in networks:
        design = next((known for known in designs if known.settings == network.design.settings), None)
        if design is None:
            key = network.key
            design = replace(network.design, suffix=f"_{key.arm}.{key.replicate}.{key.level}")
            designs.append(design)
        found.append(replace(network, design=design))
    return found


def read_item(item: dict) -> Iterator[Network]:
    """Yield the networks that an item of `arms` names."""
    if "openlth" in item:
        yield from from_openlth(item)
        return
    name, weights, masks = item["name"], item["weights"], item.get("masks")
    in_files = isinstance(weights, str) and weights != "none"
    by_level = isinstance(item.get("density"), list)
    if "density" in item and not by_level and (masks or any(place in str(weights) for place in PLACES)):
        raise UserError(
            f"config: arms.{name}.density is of one file without masks: leave it out, where masks or zeros show it, or"
            " give a list of one for each level"
        )
    read = {key: item[key] for key in READING if key in item}
    require_file_of_weights(item, read, in_files)
    if in_files:
        found = list(matches(weights, f"arms.{name}.weights").items())
    else:
        levels = range(len(item["arguments"])) if isinstance(item.get("arguments"), list) else [item.get("level", 0)]
        found = [(None if weights == "none" else weights, {"level": str(level)}) for level in levels]
    require_all_used(item, max(int(numbers.get("level", item.get("level", 0))) for _, numbers in found))
    design = read_design(item, item)
    for file, numbers in found:
        place = {"replicate": str(item.get("replicate", 1)), "level": str(item.get("level", 0))} | numbers
        network = Network(
            Key(name, int(place["replicate"]), int(place["level"])),
            replace(design, settings=design.settings | {"arguments": arguments_of(item, place)}),
            made_by="import_network",
            recipe="brought",
            weights=file,
            masks=masks and fill(masks, place),
            reading=read,
            density=of_level(item, "density", place) if by_level else item.get("density"),
        )
        if network.masks and not Path(network.masks).is_file():
            raise UserError(f"config: arms.{name}.masks: there is no file {network.masks}: add it, or leave it out")
        yield network


def arguments_of(item: dict, place: dict[str, str]) -> dict:
    """Return the constructor's arguments at a level: the item's, one of its list, or those in a JSON file."""
    arguments, key = item.get("arguments", {}), f"config: arms.{item['name']}.arguments"
    if isinstance(arguments, list):
        return of_level(item, "arguments", place)
    if isinstance(arguments, str):
        file = fill(arguments, place)
        if not Path(file).is_file():
            raise UserError(f"{key}: there is no file {file}: write the arguments of that level into it, as JSON")
        with reading(file, ValueError):
            arguments = json.loads(Path(file).read_text())
        if not isinstance(arguments, dict):
            raise UserError(f'{key}: {file} holds no arguments by name: write it as {{"width": 8}}')
    return arguments


def require_all_used(item: dict, last: int) -> None:
    """Raise UserError if a list of one for each level has more than there are levels, up to the last."""
    for key in ("arguments", "density"):
        values = item.get(key)
        if isinstance(values, list) and len(values) > last + 1:
            raise UserError(
                f"config: arms.{item['name']}.{key} are {len(values)} for levels from 0 on, and the last level is"
                f" {last}: leave out the others"
            )


def of_level(item: dict, key: str, place: dict[str, str]) -> Any:
    """Return what a list of one for each level has for a level."""
    values, level = item[key], int(place["level"])
    if level >= len(values):
        raise UserError(
            f"config: arms.{item['name']}.{key} are {len(values)} for levels from 0 on, and there is a level {level}:"
            " add its own"
        )
    return values[level]


def require_file_of_weights(item: dict, read: dict, in_files: bool) -> None:
    """Raise UserError for keys of `READING` without a file, and for what `missing` weights leave no sense in."""
    key = f"config: arms.{item['name']}"
    if read and not in_files:
        raise UserError(f"{key}.{next(iter(read))} is of a file of weights: leave it out")
    missing = read.get("missing", [])
    if missing and item.get("test", "none") != "none":
        raise UserError(
            f"{key}.missing leaves weights as they are drawn, so that no accuracy can be measured: leave out test"
        )
    for layer in item["layers"]:
        if any(re.match(rf"{re.escape(name)}([.@#]|$)", layer) for name in missing):
            raise UserError(f"{key}.layers: {layer} is among the missing: choose a layer that was trained")


def from_openlth(item: dict) -> Iterator[Network]:
    """Yield the networks of a folder that OpenLTH wrote; what the item itself says goes first."""
    folder = item["openlth"]
    found: dict = {}
    if "constructor" not in item:
        found["constructor"], found["arguments"] = openlth.read_model(folder)
    if "preprocessing" not in item:
        found["preprocessing"] = openlth.read_preprocessing(folder)
    design = read_design(item, item | found)
    starts = openlth.read_starts(folder)
    for replicate, level, weights, masks in openlth.read_networks(folder):
        yield Network(
            Key(item["name"], replicate, level),
            design,
            made_by="import_network",
            recipe="brought",
            weights=weights,
            masks=masks,
            start=starts.get(replicate),
        )


def read_design(item: dict, resolved: dict) -> Design:
    """Return the design of an item's networks, with the arguments as given; `resolved` has what was found for it."""
    name = item["name"]
    settings = with_source(
        {"constructor": resolved["constructor"], "arguments": resolved.get("arguments", {})}, f"arms.{name}"
    )
    test, class_order = item.get("test", "none"), item.get("class_order")
    if test != "none":
        if not Path(test).is_dir():
            raise UserError(
                f"config: arms.{name}.test is {test!r}, and there is no such folder: correct it, or leave it out"
            )
        try:
            list_classes(Path(test), class_order)
        except UserError as error:
            raise UserError(f"config: arms.{name}.{error}") from None
    elif class_order is not None:
        raise UserError(
            f"config: arms.{name}.class_order is the order of the class folders in test, which is not given: give test,"
            " or leave it out"
        )
    preprocessing = read_preprocessing(resolved["preprocessing"], f"arms.{name}.preprocessing")
    return Design(f"_{name}", settings, tuple(item["layers"]), preprocessing, test, class_order)


def matches(pattern: str, key: str) -> dict[str, dict[str, str]]:
    """Return the files that there are of a pattern, and the digits that {replicate} and {level} stand for in each.

    Raises:
        UserError: there is no such file.
    """
    parts = re.split(r"(\{replicate\}|\{level\})", pattern)
    found = {}
    expression = ""
    for part in parts:
        name = part[1:-1]
        again = f"(?P<{name}>" in expression
        number = f"(?P={name})" if again else rf"(?P<{name}>\d+)"
        expression += number if part in PLACES else re.escape(part)
    for path in sorted(glob.glob("".join("*" if part in PLACES else glob.escape(part) for part in parts))):
        if match := re.fullmatch(expression, path):
            found[path] = match.groupdict()
    if not found:
        raise UserError(f"config: {key} is {pattern!r}, and there is no such file: correct it, or put it there")
    return found


def fill(pattern: str, numbers: dict[str, str]) -> str:
    """Return a file's name with the digits in their places."""
    for name, digits in numbers.items():
        pattern = pattern.replace(f"{{{name}}}", digits)
    return pattern
