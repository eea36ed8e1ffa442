"""The networks of arms of the recipe `brought`: which there are, and what each is made from."""

import glob
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from workflow_scripts.plan import openlth
from workflow_scripts.plan.bounds import require_bounds
from workflow_scripts.plan.check import argument_mistakes
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.plan.designs import Design, with_source
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.mistakes import Attempts, require_none
from workflow_scripts.plan.networks import Network
from workflow_scripts.plan.preprocessing import read_preprocessing
from workflow_scripts.shared.files import UserError, reading
from workflow_scripts.shared.outside_json import read_json

PLACES = ("{replicate}", "{level}")
READING = ("part", "prefix", "missing", "unused")


def read_brought(name: str, items: list[dict]) -> list[Network]:
    """Return the networks of an arm, in the order of replicates and levels; `items` are its items in `arms`.

    Raises:
        UserError: a file is missing or cannot be read, a preset is unknown, keys contradict each other, or as in
            `openlth` and `list_classes`; the error lists all mistakes. If there are none: two networks have the same
            replicate and level, or items do not belong together.
    """
    attempts = Attempts()
    with reading(f"arms.{name}: a file"):
        networks = [network for item in items for network in attempts(read_item, item) or []]
    begin = f"arms.{name}"
    require_none([words if words.startswith(begin) else f"{begin}: {words}" for words in attempts.sentences])
    networks.sort(key=lambda network: network.key)
    for one, following in pairwise(networks):
        if one.key == following.key:
            raise UserError(
                f"arm {name}, replicate {one.key.replicate}, level {one.key.level} is listed twice: give one of them"
                " another name, replicate or level"
            )
    by_level = all(isinstance(item.get("arguments"), list | str) for item in items)
    if any(common(network.design, by_level) != common(networks[0].design, by_level) for network in networks):
        raise UserError(
            f"arms called {name} differ in more than weights, masks, density, replicate and level: give them different"
            " names, or give the arguments by level"
        )
    return with_suffixes(networks) if has_levels_of_their_own(networks) else networks


def common(design: Design, by_level: bool) -> tuple:
    """Return what the networks of one arm must share; arguments that are given by level may differ."""
    settings = {key: value for key, value in design.settings.items() if key != "arguments" or not by_level}
    return settings, design.layers, design.preprocessing, design.test, design.class_order


def has_levels_of_their_own(networks: list[Network]) -> bool:
    """Tell whether networks differ in their constructor's arguments; their units then have no common descent."""
    return any(network.design.settings != networks[0].design.settings for network in networks)


def with_suffixes(networks: list[Network]) -> list[Network]:
    """Return the networks with a suffix for each different design."""
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


def read_item(item: dict) -> list[Network]:
    """Return the networks of an item of `arms`."""
    if "openlth" in item:
        return from_openlth(item)
    attempts = Attempts()
    attempts(require_sense, item)
    found = attempts(files_of_weights, item) or []
    if found:
        attempts(require_all_used, item, max(int(numbers.get("level", item.get("level", 0))) for _, numbers in found))
    design = attempts(read_design, item, item)
    parts = []
    for file, numbers in found:
        place = {"replicate": str(item.get("replicate", 1)), "level": str(item.get("level", 0))} | numbers
        made = [attempts(part, item, place) for part in (arguments_of, masks_of, density_of)]
        parts.append((file, place, *made))
    require_none(attempts.sentences)
    return [
        Network(
            Key(item["name"], int(place["replicate"]), int(place["level"])),
            replace(design, settings=design.settings | {"arguments": arguments}),
            made_by="import_network",
            recipe="brought",
            weights=file,
            masks=masks,
            reading={key: item[key] for key in READING if key in item},
            density=density,
        )
        for file, place, arguments, masks, density in parts
    ]


def files_of_weights(item: dict) -> list[tuple[str | dict | None, dict[str, str]]]:
    """Return the weights of an item, and the replicate and level in each file's name."""
    weights = item["weights"]
    if has_files(item):
        return list(matches(weights, f"arms.{item['name']}.weights").items())
    levels = range(len(item["arguments"])) if isinstance(item.get("arguments"), list) else [item.get("level", 0)]
    return [(None if weights == "none" else weights, {"level": str(level)}) for level in levels]


def has_files(item: dict) -> bool:
    """Tell whether an item's weights are in files."""
    return isinstance(item["weights"], str) and item["weights"] != "none"


def masks_of(item: dict, place: dict[str, str]) -> str | None:
    """Return a network's file of masks, if it has one."""
    if "masks" not in item:
        return None
    file = fill(item["masks"], place)
    if not Path(file).is_file():
        raise UserError(f"arms.{item['name']}.masks: there is no file {file}: add it, or leave masks out")
    return file


def density_of(item: dict, place: dict[str, str]) -> float | None:
    """Return the share of weights that remain in a network, if the item gives it."""
    return of_level(item, "density", place) if isinstance(item.get("density"), list) else item.get("density")


def arguments_of(item: dict, place: dict[str, str]) -> dict:
    """Return the constructor's arguments at a level: the item's, an entry of its list, or those in a JSON file."""
    arguments, key = item.get("arguments", {}), f"arms.{item['name']}.arguments"
    if isinstance(arguments, list):
        return of_level(item, "arguments", place)
    if isinstance(arguments, str):
        file = fill(arguments, place)
        if not Path(file).is_file():
            raise UserError(f"{key}: there is no file {file}: write the arguments of that level into it, as JSON")
        arguments = read_json(file)
        require_bounds(arguments, f"{key}: {file}")
        if not isinstance(arguments, dict):
            raise UserError(f'{key}: {file} does not hold arguments by name: write it as {{"width": 8}}')
        require_none(list(argument_mistakes(item["constructor"], arguments, f"{key}: {file}: arguments")))
    return arguments


def require_all_used(item: dict, last: int) -> None:
    """Raise UserError if a list with a value for each level has values for levels after the last."""
    for key in ("arguments", "density"):
        values = item.get(key)
        if isinstance(values, list) and len(values) > last + 1:
            raise UserError(
                f"arms.{item['name']}.{key} has length {len(values)}, for levels from 0 on, but the last level is"
                f" {last}: leave out the others"
            )


def of_level(item: dict, key: str, place: dict[str, str]) -> Any:
    """Return the value for a level from a list with a value for each level."""
    values, level = item[key], int(place["level"])
    if level >= len(values):
        raise UserError(
            f"arms.{item['name']}.{key} has length {len(values)}, for levels from 0 on, but there is a level {level}:"
            " add its value"
        )
    return values[level]


def require_sense(item: dict) -> None:
    """Raise UserError for keys that contradict each other."""
    key = f"arms.{item['name']}"
    several = "masks" in item or any(place in str(item["weights"]) for place in PLACES)
    if "density" in item and not isinstance(item["density"], list) and several:
        raise UserError(
            f"{key}.density needs a single file without masks: leave it out if masks or zeros show it, or give a list"
            " with a value for each level"
        )
    of_files = [name for name in READING if name in item]
    if of_files and not has_files(item):
        raise UserError(f"{key}.{of_files[0]} only applies to weight files: leave it out")
    missing = item.get("missing", [])
    if missing and item.get("test", "none") != "none":
        raise UserError(
            f"{key}.missing leaves weights as they are drawn, so no accuracy can be measured: leave out test"
        )
    for layer in item["layers"]:
        if any(re.match(rf"{re.escape(name)}([.@#]|$)", layer) for name in missing):
            raise UserError(f"{key}.layers: {layer} is listed under missing: choose a layer that was trained")


def from_openlth(item: dict) -> list[Network]:
    """Return the networks of a folder that OpenLTH wrote; keys of the item itself take precedence."""
    folder, attempts = item["openlth"], Attempts()
    found: dict = {}
    if "constructor" not in item:
        found["constructor"], found["arguments"] = attempts(openlth.read_model, folder) or (None, None)
    if "preprocessing" not in item:
        found["preprocessing"] = attempts(openlth.read_preprocessing, folder)
    networks, starts = attempts(openlth.read_networks, folder), attempts(openlth.read_starts, folder)
    require_none(list(dict.fromkeys(attempts.sentences)))
    design = read_design(item, item | found)
    return [
        Network(
            Key(item["name"], replicate, level),
            design,
            made_by="import_network",
            recipe="brought",
            weights=weights,
            masks=masks,
            start=starts.get(replicate),
        )
        for replicate, level, weights, masks in networks
    ]


def read_design(item: dict, resolved: dict) -> Design:
    """Return the design of an item's networks, with the arguments as given; `resolved` has the values found for it."""
    attempts = Attempts()
    attempts(require_test, item)
    preprocessing = attempts(read_preprocessing, resolved["preprocessing"], f"arms.{item['name']}.preprocessing")
    require_none(attempts.sentences)
    settings = with_source({"constructor": resolved["constructor"], "arguments": resolved.get("arguments", {})})
    layers, test = tuple(item["layers"]), item.get("test", "none")
    return Design(f"_{item['name']}", settings, layers, preprocessing, test, item.get("class_order"))


def require_test(item: dict) -> None:
    """Raise UserError unless the test pictures, if any, exist and their classes have an order."""
    key, test, class_order = f"arms.{item['name']}", item.get("test", "none"), item.get("class_order")
    if test == "none":
        if class_order is not None:
            raise UserError(
                f"{key}.class_order is the order of the class folders in test, but test is not given: give test, or"
                " leave class_order out"
            )
        return
    if not Path(test).is_dir():
        raise UserError(f"{key}.test is {test!r}, but there is no such folder: correct it, or leave it out")
    try:
        list_classes(Path(test), class_order)
    except UserError as error:
        raise UserError(f"{key}.{error}") from None


def matches(pattern: str, key: str) -> dict[str, dict[str, str]]:
    """Return the files that match a pattern, and the digits that {replicate} and {level} stand for in each.

    Raises:
        UserError: there is no such file, or a number is too large.
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
            for digits in found[path].values():
                openlth.number_in(digits, path)
    if not found:
        raise UserError(f"{key} is {pattern!r}, but there is no such file: correct it, or put the file there")
    return found


def fill(pattern: str, numbers: dict[str, str]) -> str:
    """Return a pattern with the digits filled in."""
    for name, digits in numbers.items():
        pattern = pattern.replace(f"{{{name}}}", digits)
    return pattern
