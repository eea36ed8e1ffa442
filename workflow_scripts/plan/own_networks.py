"""The networks that the config's `networks` and `one_shot` name: which there are, and what each is made from.

Nothing heavy is imported, for this runs whenever Snakemake reads the config.
"""

import csv
import glob
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from workflow_scripts.plan import openlth
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.shared.files import UserError, file_fingerprint, reading, text_fingerprint

# Arms that follow from an entry are named after it: NAME_untrained, NAME_global and so on.
UNTRAINED, SHUFFLED = "untrained", "shuffled_labels"
# Other files of an experiment lie under these names, and the arms of networks that the workflow trains.
FOLDERS = ("data", "logs", "benchmarks", "tables", "figures", "gallery")
TAKEN = (*FOLDERS, "imp", UNTRAINED, "untrained_calibrated", "trained_twice")
PLACES = ("{replicate}", "{level}")
PRESETS = Path(__file__).with_name("torchvision_presets.csv")
READING = ("part", "prefix", "missing", "unused")


@dataclass(frozen=True)
class Entry:
    """What networks of one name, and all that follow from them, have in common.

    `settings` has the constructor, its arguments, and a fingerprint of the file that it stands in; `preprocessing` has
    size, resize, mean, std and interpolation; `layers` are as `layer_outputs` takes them; `test` is a folder or "none",
    `class_order` as `list_classes` takes it; `floors` are the controls that are made along.
    """

    name: str
    settings: dict
    layers: tuple[str, ...]
    preprocessing: dict
    test: str
    class_order: str | list[str] | None = None
    floors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """One network, and what it is made from.

    role: "imported" (from `weights`, a file or the constructor's further arguments or None for untrained ones, `masks`
        and `density`), "pruned" (from the network `parent` by `method` to `density`), "same" as `parent`, listed once
        more, or "shuffled": `parent`, compared with the labels of other pictures.
    start: the file of the weights that training started from, where there is one.
    reading: the keys in `READING` that the entry has: which tensors of the file of weights are the network's.
    """

    arm: str
    replicate: int
    level: int
    entry: Entry
    role: str = "imported"
    weights: str | dict | None = None
    masks: str | None = None
    start: str | None = None
    reading: dict = field(default_factory=dict)
    density: float | None = None
    parent: tuple[str, int, int] | None = None
    method: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        return self.arm, self.replicate, self.level


def read_networks(config: dict) -> dict[tuple[str, int, int], Network]:
    """Return all networks that are dissected, by (arm, replicate, level); none if the config names none.

    Raises:
        UserError: a file is missing or cannot be read, a preset is unknown, two networks have one name, replicate and
            level, entries of one name do not belong together, or as `openlth` and `list_classes` do.
    """
    if config["one_shot"]["methods"] and not config["networks"]:
        raise UserError("config: one_shot.methods prune the networks of your own, and networks names none: add some")
    named: dict[str, list[Network]] = {}
    for settings in config["networks"]:
        name = settings["name"]
        if name in TAKEN or name.endswith(SHUFFLED):
            raise UserError(f"config: networks: the name {name} means something else already: choose another")
        with reading(f"config: networks.{name}: a file"):
            named.setdefault(name, []).extend(imported(settings))
    networks: dict[tuple[str, int, int], Network] = {}
    for name, own in named.items():
        if any(network.entry != own[0].entry for network in own):
            raise UserError(
                f"config: networks: entries of the name {name} differ in more than weights, masks, density, replicate"
                " and level: give them different names"
            )
        for network in with_arms(sorted(own, key=lambda network: network.key), config["one_shot"]):
            if network.arm != name and network.arm in named:
                raise UserError(
                    f"config: networks: the name {network.arm} is that of an arm that follows from {name}: choose"
                    " another"
                )
            if network.key in networks:
                raise UserError(
                    f"config: networks: arm {network.arm}, replicate {network.replicate}, level {network.level} is"
                    " named twice: give one another name, replicate or level"
                )
            networks[network.key] = network
    return networks


def imported(settings: dict) -> Iterator[Network]:
    """Yield the networks that an entry of the config names."""
    if "openlth" in settings:
        yield from from_openlth(settings)
        return
    entry = read_entry(settings, settings)
    weights, masks = settings["weights"], settings.get("masks")
    in_files = isinstance(weights, str) and weights != "none"
    if "density" in settings and (masks or any(place in str(weights) for place in PLACES)):
        raise UserError(
            f"config: networks.{entry.name}.density is of one file without masks: leave it out, for masks or zeros tell"
            " it"
        )
    reading = {key: settings[key] for key in READING if key in settings}
    require_file_of_weights(entry, reading, in_files)
    given = None if weights == "none" else weights
    found = matches(weights, f"networks.{entry.name}.weights").items() if in_files else [(given, {})]
    for file, numbers in found:
        place = {"replicate": str(settings.get("replicate", 1)), "level": str(settings.get("level", 0))} | numbers
        network = Network(
            entry.name,
            **{name: int(number) for name, number in place.items()},
            entry=entry,
            weights=file,
            masks=masks and fill(masks, place),
            reading=reading,
            density=settings.get("density"),
        )
        if network.masks and not Path(network.masks).is_file():
            raise UserError(
                f"config: networks.{entry.name}.masks: there is no file {network.masks}: add it, or leave it out"
            )
        yield network


def require_file_of_weights(entry: Entry, reading: dict, in_files: bool) -> None:
    """Raise UserError for keys of `reading` without a file, and for what `missing` weights leave no sense in."""
    if reading and not in_files:
        raise UserError(f"config: networks.{entry.name}.{next(iter(reading))} is of a file of weights: leave it out")
    missing = reading.get("missing", [])
    if missing and entry.test != "none":
        raise UserError(
            f"config: networks.{entry.name}.missing leaves weights as they are drawn, so that no accuracy can be"
            " measured: leave out test"
        )
    for layer in entry.layers:
        if any(re.match(rf"{re.escape(name)}([.@#]|$)", layer) for name in missing):
            raise UserError(
                f"config: networks.{entry.name}.layers: {layer} is among the missing: choose a layer that was trained"
            )


def from_openlth(settings: dict) -> Iterator[Network]:
    """Yield the networks of a folder that OpenLTH wrote; what the entry itself says goes first."""
    folder = settings["openlth"]
    found: dict = {}
    if "constructor" not in settings:
        found["constructor"], found["arguments"] = openlth.read_model(folder)
    if "preprocessing" not in settings:
        found["preprocessing"] = openlth.read_preprocessing(folder)
    entry = read_entry(settings, settings | found)
    starts = openlth.read_starts(folder)
    for replicate, level, weights, masks in openlth.read_networks(folder):
        yield Network(entry.name, replicate, level, entry, weights=weights, masks=masks, start=starts.get(replicate))


def read_entry(settings: dict, resolved: dict) -> Entry:
    """Return what the networks of an entry share."""
    name, constructor = settings["name"], resolved["constructor"]
    network = {"constructor": constructor, "arguments": resolved.get("arguments", {}), "source": source_of(constructor)}
    try:
        json.dumps(network, sort_keys=True)
    except TypeError as error:
        raise UserError(
            f"config: networks.{name}.arguments hold more than numbers, texts, lists and the like ({error}): put quotes"
            " around what is meant as text"
        ) from None
    test = settings.get("test", "none")
    if test != "none" and not Path(test).is_dir():
        raise UserError(
            f"config: networks.{name}.test is {test!r}, and there is no such folder: correct it, or leave it out"
        )
    class_order = settings.get("class_order")
    if test != "none":
        try:
            list_classes(Path(test), class_order)
        except UserError as error:
            raise UserError(f"config: networks.{name}.{error}") from None
    elif class_order is not None:
        raise UserError(
            f"config: networks.{name}.class_order is the order of the class folders in test, which is not given: give"
            " test, or leave it out"
        )
    preprocessing = read_preprocessing(resolved["preprocessing"], f"networks.{name}.preprocessing")
    floors = tuple(settings.get("floors", (UNTRAINED, SHUFFLED)))
    return Entry(name, network, tuple(settings["layers"]), preprocessing, test, class_order, floors)


def with_arms(networks: list[Network], one_shot: dict) -> Iterator[Network]:
    """Yield the networks of a name, and of each replicate's first one the floors and the one-shot arms."""
    yield from networks
    firsts = [next(n for n in networks if n.replicate == r) for r in sorted({n.replicate for n in networks})]
    for first in firsts:
        follows = replace(first, level=0, weights=None, masks=None, start=None, reading={}, density=None)
        floors = first.entry.floors
        if UNTRAINED in floors and first.weights is not None:
            # The first level's masks keep all weights, also those that start at zero.
            masks = first.masks if first.start else None
            yield replace(follows, arm=f"{first.arm}_{UNTRAINED}", weights=first.start, masks=masks)
        if SHUFFLED in floors:
            yield replace(follows, arm=f"{first.arm}_{SHUFFLED}", role="shuffled", parent=first.key)
        for method in one_shot["methods"]:
            arm = replace(follows, arm=f"{first.arm}_{method}", parent=first.key, method=method)
            yield replace(arm, role="same")
            for level, density in enumerate(one_shot["densities"], 1):
                yield replace(arm, role="pruned", level=level, density=density)


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
    for path in glob.glob("".join("*" if part in PLACES else glob.escape(part) for part in parts)):
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


def read_preprocessing(settings: str | dict, key: str) -> dict:
    """Return size, resize, mean, std and interpolation, from the config or from torchvision's preset of that name.

    Raises:
        UserError: there is no such preset, or it is not one to classify pictures with.
    """
    if isinstance(settings, dict):
        if settings.get("resize", settings["size"]) < settings["size"]:
            raise UserError(f"config: {key}.resize must be at least size, {settings['size']}")
        return {"resize": settings["size"], "interpolation": "bilinear"} | settings
    presets = read_presets()
    if settings not in presets:
        raise UserError(
            f"config: {key} is {settings!r}, which is no preset of torchvision's for classifying pictures, such as"
            " ResNet50_Weights.IMAGENET1K_V1; name one, or give size, mean and std"
        )
    return presets[settings]


@cache
def read_presets() -> dict[str, dict]:
    """Return what `read_preprocessing` does of each preset, by name: a table, for torchvision imports torch."""
    with open(PRESETS, newline="") as file:
        return {
            row["preset"]: {
                "size": int(row["size"]),
                "resize": int(row["resize"]),
                "mean": [float(number) for number in row["mean"].split()],
                "std": [float(number) for number in row["std"].split()],
                "interpolation": row["interpolation"],
            }
            for row in csv.DictReader(file)
        }


def source_of(constructor: str) -> str:
    """Return a fingerprint of the module that a constructor stands in; "" if there is none, which is told later.

    If the module is part of a package of the user's own, which is not installed, all of that counts. Among a rule's
    parameters it makes the rule run again when the code changes. Nothing is imported to find it.
    """
    package, *names = constructor.partition(":")[0].split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    if spec.submodule_search_locations is None:
        files = [Path(spec.origin)]
    else:
        folder = Path(next(iter(spec.submodule_search_locations)))
        stem = folder.joinpath(*names)
        # This workflow's own constructors need nothing of its other code.
        alone = "site-packages" in folder.parts or package == __name__.partition(".")[0]
        files = [stem.with_suffix(".py"), stem / "__init__.py"] if alone else sorted(folder.rglob("*.py"))
    return text_fingerprint(*(file_fingerprint(file) for file in files if file.is_file()))
