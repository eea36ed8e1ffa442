"""Checks of the config, before anything runs; they report all mistakes at once, each in a sentence."""

import copy
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from jsonschema import ValidationError
from jsonschema.protocols import Validator

from workflow_scripts.plan.bounds import load_yaml
from workflow_scripts.plan.check_arms import arm_mistakes
from workflow_scripts.plan.check_trained import SMALL_RESNET, trained_mistakes
from workflow_scripts.plan.concept_sets import OF_SET, is_drawn, set_mistakes
from workflow_scripts.plan.mistakes import require_none
from workflow_scripts.plan.old_config import old_keys
from workflow_scripts.plan.preprocessing import unequal_channels
from workflow_scripts.plan.protocols import protocol_mistakes, resolve_protocol
from workflow_scripts.plan.recipes import TRAINING, known_recipes
from workflow_scripts.plan.robustness import robustness_mistakes
from workflow_scripts.plan.rotations import RECIPE as ROTATED
from workflow_scripts.plan.schema import (
    LARGEST,
    ConfigValidator,
    Place,
    errors_of,
    explain,
    hint,
    nearest,
    place_of,
    read_schema,
    shown,
    unknown_keys,
    wanted,
)
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.printable import OBEYED, printable

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LONGEST_VALUE = 4000  # characters of a text that may mean something else
CONTROL = re.compile(rf"[\n\t]|{OBEYED.pattern}")
LEAST_TRAINED = 16  # channels: with fewer, channels-last training has crashed torch 2.13 on some processors
LONGEST_KEY = 60  # characters of a key that a sentence shows
NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
Check = Callable[[dict], Iterator[str]]
# The keys that each check across keys needs, whether it only concerns networks that are trained, and the check.
CHECKS: list[tuple[tuple[Place, ...], bool, Check]] = []


def check_config(config: dict) -> tuple[dict, list[str]]:
    """Return a config in which text that means a number, truth value or list is converted, and the mistakes in it.

    Each mistake is one sentence, and is reported only once.

    Args:
        config: with all sections; it is not modified.
    """
    config = copy.deepcopy(config)
    validator = ConfigValidator(read_schema())
    mistakes = dict(old_keys(config))
    for *outer, key in mistakes:
        del value_at(config, outer)[key]
    mistakes |= mend(config, validator)
    mistakes |= schema_mistakes(config, validator)
    check_recipes(config, mistakes)
    for place, sentence in unwritable(config, ()):
        mistakes.setdefault(place, f"{name_of(config, place)} {sentence}")
    sentences = list(dict.fromkeys(mistakes.values()))
    trained = may_train(config["arms"])
    for keys, of_training, check in CHECKS:
        if of_training and not trained:
            continue
        if not any(concerns(place, key) for place in mistakes for key in keys):
            sentences += check(config)
    return config, sentences + check_arms(config, mistakes)


def may_train(arms: object) -> bool:
    """Tell whether a network may be trained, given arms that may be wrong."""
    others = [recipe for recipe in known_recipes() if recipe not in TRAINING]
    known = isinstance(arms, list) and all(isinstance(item, dict) and item.get("recipe") in others for item in arms)
    return not known


def require_valid(values: dict, section: str) -> None:
    """Raise UserError for values that the config does not allow in a section; it lists all mistakes."""
    schema = read_schema()
    known = {"properties": schema["properties"][section]["properties"], "$defs": schema["$defs"]}
    require_none(list(schema_mistakes(values, ConfigValidator(known)).values()))


def mend(config: dict | list, validator: Validator) -> dict[Place, str]:
    """Convert text, in place, where text is not allowed, because within a section --config gives only text.

    Misspelt keys are renamed to what was meant, so that the right keys are not also reported as missing.

    Returns:
        a sentence on each misspelt key, by its place.
    """
    misspelt: dict[Place, str] = {}
    mended = True
    while mended:
        mended = False
        for error in list(errors_of(validator, config)):
            place, part = place_of(error), validator.evolve(schema=error.schema)
            if error.validator == "additionalProperties":
                for key, meant in list(renamed(error, validator)):
                    misspelt[*place, key] = unknown_key(error, key, name_of(config, (*place, key)))
                    error.instance[meant] = error.instance.pop(key)
                    mended = True
            elif isinstance(error.instance, str):
                value = parse_text(error.instance)
                mended_value = copy.deepcopy(value)
                if isinstance(mended_value, list):
                    mend(mended_value, part)
                if not isinstance(value, str) and part.is_valid(mended_value):
                    # Keep it as given: the next round converts it and notes its misspelt keys by their places.
                    value_at(config, place[:-1])[place[-1]] = value
                    mended = True
    return misspelt


def renamed(error: ValidationError, validator: Validator) -> Iterator[tuple[str, str]]:
    """Yield the unknown keys that resemble an absent key that allows their value, and that key."""
    properties = error.schema["properties"]
    for key in unknown_keys(error):
        meant = nearest(key, properties)
        if (
            meant
            and meant not in error.instance
            and validator.evolve(schema=properties[meant]).is_valid(error.instance[key])
        ):
            yield key, meant


def parse_text(text: str) -> object:
    """Return the number, truth value or list that a text clearly means, or else the text."""
    if len(text) > LONGEST_VALUE:
        return text
    if NUMBER.fullmatch(text):
        return float(text) if re.search(r"[.eE]", text) else int(text)
    try:
        value = load_yaml(text, text)
    except (yaml.YAMLError, ValueError, RecursionError, UserError):
        return text
    return value if isinstance(value, bool | list) else text


def schema_mistakes(config: dict, validator: Validator) -> dict[Place, str]:
    """Return the mistakes in keys and values by themselves, a sentence for each place."""
    mistakes: dict[Place, str] = {}
    for error in errors_of(validator, config):
        place = place_of(error)
        if error.validator == "additionalProperties":
            for key in unknown_keys(error):
                mistakes.setdefault((*place, key), unknown_key(error, key, name_of(config, (*place, key))))
        elif error.validator == "required":
            for key in error.validator_value:
                if key not in error.instance:
                    sentence = (
                        f"{name_of(config, (*place, key))} is missing: write {wanted(error.schema['properties'][key])}"
                    )
                    mistakes.setdefault((*place, key), sentence)
        else:
            mistakes.setdefault(place, explain(error, name_of(config, place)))
    return mistakes


def unwritable(value: object, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield the places of keys and values that cannot be arguments of a job, such as dates, with what to report.

    Arguments of constructors may have control characters, which are written as escapes there.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield (*place, key), "is a key that is not text: put it into quotes"
            elif CONTROL.search(key) and "arguments" not in place:
                yield (*place, key), "is a key with control characters: leave them out"
            else:
                yield from unwritable(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from unwritable(inner, (*place, index))
    elif isinstance(value, str):
        if CONTROL.search(value) and "arguments" not in place:
            yield place, f"is {shown(value)}, with control characters: leave them out"
    elif isinstance(value, int) and abs(value) >= LARGEST:
        yield place, f"is {shown(value)}: write a number of at most 63 bits"
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, f"is {value}, which is not finite: write another number"
    elif value is not None and not isinstance(value, bool | int | float):
        yield place, f"is {value}, a {type(value).__name__}: put it into quotes if it is meant as text"


def unknown_key(error: ValidationError, key: object, name: str) -> str:
    """Return a sentence on a key that is not in the schema."""
    known = list(error.schema["properties"])
    if "recipe" in error.instance and not nearest(key, known):
        return f"unknown key {name}; the keys of an arm of the recipe {error.instance['recipe']} are {', '.join(known)}"
    return f"unknown key {name}; {hint(key, known)}"


def name_of(config: Any, place: Place) -> str:
    """Return the name of a place: its keys, with an arm's name instead of its index."""
    parts = list(place)
    if len(parts) > 1 and parts[0] == "arms":
        item = config["arms"][parts[1]]
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            parts[1] = item["name"]
    return ".".join(map(part_text, parts)) or "the config"


def part_text(part: object) -> str:
    """Return a key or an index for a sentence: shortened."""
    text = shown(part) if isinstance(part, int) else " ".join(printable(str(part)).split())
    return text if len(text) <= LONGEST_KEY else f"{text[: LONGEST_KEY - 3]}..."


def value_at(config: Any, place: Iterable[str | int]) -> Any:
    """Return the value at a place."""
    for part in place:
        config = config[part]
    return config


def concerns(place: Place, key: Place) -> bool:
    """Tell whether one of two places is within the other."""
    return all(one == other for one, other in zip(place, key, strict=False))


def check_recipes(config: dict, mistakes: dict[Place, str]) -> None:
    """Report the unknown recipes of arms instead of mistakes in their other keys."""
    for index, item in enumerate(config["arms"] if isinstance(config["arms"], list) else []):
        if not isinstance(item, dict) or "recipe" not in item:
            continue
        recipe, place = item["recipe"], ("arms", index, "recipe")
        if isinstance(recipe, str) and recipe in known_recipes():
            continue
        for other in [
            other for other in mistakes if other[:2] == place[:2] and other[2:] not in (("name",), ("floors",))
        ]:
            del mistakes[other]
        mistakes[place] = f"{name_of(config, place)} is {shown(recipe)}; {hint(recipe, list(known_recipes()))}"


def check_arms(config: dict, mistakes: dict[Place, str]) -> list[str]:
    """Return mistakes in the arms beyond the values of single keys."""
    if ("arms",) in mistakes:
        return []
    items = [
        # Of a wrong value, only its existence counts.
        {key: None if ("arms", index, key) in mistakes else value for key, value in item.items()}
        for index, item in enumerate(config["arms"])
        if isinstance(item, dict)
    ]
    known = [item for item in items if item.get("name") is not None and item.get("recipe") is not None]
    return list(arm_mistakes(known, all_known=len(known) == len(config["arms"])))


def needs(*keys: str, of_training: bool = False) -> Callable[[Check], Check]:
    """Register a check across keys; it is skipped if one of these keys is wrong by itself.

    With `of_training`, it is also skipped if no network is trained.
    """

    def mark(check: Check) -> Check:
        CHECKS.append((tuple(tuple(key.split(".")) for key in keys), of_training, check))
        return check

    return mark


@needs("pruning.rewind_epoch", "training.epochs", of_training=True)
def check_rewind(config: dict) -> Iterator[str]:
    """Yield a sentence unless the rewind point lies within the training."""
    rewind, epochs = config["pruning"]["rewind_epoch"], config["training"]["epochs"]
    if rewind >= epochs:
        yield f"pruning.rewind_epoch is {rewind}: write a number below training.epochs, {epochs}"


@needs("training.warmup_epochs", "training.epochs", of_training=True)
def check_warmup(config: dict) -> Iterator[str]:
    """Yield a sentence unless the warm-up ends within the training."""
    warmup, epochs = config["training"]["warmup_epochs"], config["training"]["epochs"]
    if warmup >= epochs:
        yield f"training.warmup_epochs is {warmup}: write a number below training.epochs, {epochs}"


@needs("training.crop_scale", of_training=True)
def check_crop_scale(config: dict) -> Iterator[str]:
    """Yield a sentence unless the shares rise."""
    yield from falling("crop_scale", config)


@needs("training.crop_ratio", of_training=True)
def check_crop_ratio(config: dict) -> Iterator[str]:
    """Yield a sentence unless the ratios rise."""
    yield from falling("crop_ratio", config)


def falling(key: str, config: dict) -> Iterator[str]:
    """Yield a sentence if the first of two numbers is the higher one."""
    low, high = config["training"][key]
    if low > high:
        yield f"training.{key} is [{low}, {high}]: write the lower number first, [{high}, {low}]"


@needs("network", of_training=True)
def check_stages(config: dict) -> Iterator[str]:
    """Yield a sentence unless the lists of the small network have an item for each stage."""
    network = config["network"]
    if network["constructor"] == SMALL_RESNET:
        stages = [key for key in ("widths", "blocks", "strides", "inner") if key in network["arguments"]]
        lengths = {key: len(network["arguments"][key]) for key in stages}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            yield f"network.arguments: {counts}: write the same number of items in each, one for each stage"


@needs("network", of_training=True)
def check_widths(config: dict) -> Iterator[str]:
    """Yield a sentence for each number of channels with which the small network cannot be trained."""
    network = config["network"]
    for key in ("widths", "inner") if network["constructor"] == SMALL_RESNET else ():
        for place, channels in enumerate(network["arguments"].get(key, [])):
            if channels < LEAST_TRAINED:
                yield f"network.arguments.{key}.{place} is {channels}: write at least {LEAST_TRAINED}, to train it"


@needs("training.micro_batch", "training.batch_size", of_training=True)
def check_micro_batch(config: dict) -> Iterator[str]:
    """Yield a sentence unless micro-batches make up the batch."""
    batch, micro_batch = config["training"]["batch_size"], config["training"]["micro_batch"]
    if micro_batch != "batch_size" and batch % micro_batch:
        yield f"training.micro_batch is {micro_batch}: write a divisor of training.batch_size, {batch}"


@needs("training.micro_batch", "training.batch_size", "gpus", of_training=True)
def check_gpus(config: dict) -> Iterator[str]:
    """Yield a sentence unless the micro-batches of a step can be shared evenly among the GPUs."""
    batch, micro_batch, gpus = config["training"]["batch_size"], config["training"]["micro_batch"], config["gpus"]
    passes, left = (1, 0) if micro_batch == "batch_size" else divmod(batch, micro_batch)
    if gpus != "auto" and gpus > 1 and not left and passes % gpus:
        yield (
            f"gpus is {gpus}, but a step has {passes} micro-batches: make training.micro_batch a divisor of"
            " training.batch_size / gpus"
        )


@needs("arms", "pruning", "training", "replicates", "network", "dissection.layers", of_training=True)
def check_trained(config: dict) -> Iterator[str]:
    """Yield mistakes in trained arms beyond their single keys and values."""
    yield from trained_mistakes(config)


@needs("arms", "network", of_training=True)
def check_smaller(config: dict) -> Iterator[str]:
    """Yield mistakes in the arguments of smaller networks, checked like those of the network itself."""
    network = config["network"]
    for item in config["arms"]:
        for number, arguments in enumerate(item["arguments"] if item["recipe"] == "dense_small" else ()):
            name = f"arms.{item['name']}.arguments.{number}"
            yield from argument_mistakes(
                network["constructor"], network["arguments"] | arguments, name, (check_stages, check_widths)
            )


@needs("arms")
def check_brought(config: dict) -> Iterator[str]:
    """Yield mistakes in the arguments of users' networks, checked like those of the network itself."""
    for item in config["arms"]:
        given: Any = item.get("arguments") if "constructor" in item else None
        name = f"arms.{item['name']}.arguments"
        of_levels = isinstance(given, list)
        named = {f"{name}.{level}": own for level, own in enumerate(given)} if of_levels else {name: given}
        for place, arguments in named.items():
            if isinstance(arguments, dict):
                yield from argument_mistakes(item["constructor"], arguments, place)


def argument_mistakes(
    constructor: str, arguments: Mapping, name: str, checks: Iterable[Check] = (check_stages,)
) -> Iterator[str]:
    """Yield mistakes in a constructor's arguments, wherever they are written; sentences call them `name`.

    `checks` follow if each argument is right by itself.
    """
    given = {key: value for key, value in arguments.items() if (key, value) != ("inner", None)}  # the default
    own = {"network": {"constructor": constructor, "arguments": given}}
    mistakes = schema_mistakes(own, ConfigValidator(read_schema()))
    for place, sentence in unwritable(own, ()):
        mistakes.setdefault(place, f"{name_of(own, place)} {sentence}")
    for sentence in list(mistakes.values()) or chain.from_iterable(check(own) for check in checks):
        yield sentence.replace("network.arguments", name, 1)


@needs("gallery.tile", "gallery.tile_bytes")
def check_tile_bytes(config: dict) -> Iterator[str]:
    """Yield a sentence unless any tile can be made small enough."""
    tile, tile_bytes = config["gallery"]["tile"], config["gallery"]["tile_bytes"]
    if tile_bytes < least_tile_bytes(tile):
        yield f"gallery.tile_bytes is {tile_bytes}: write at least {least_tile_bytes(tile)}, or a smaller gallery.tile"


@needs("figures.arms", "arms")
def check_drawn_arms(config: dict) -> Iterator[str]:
    """Yield a sentence for each arm that figures should show but that has no networks."""
    yield from unknown_arms("figures", config)


@needs("gallery.arms", "arms")
def check_gallery_arms(config: dict) -> Iterator[str]:
    """Yield a sentence for each arm that the gallery should show but that has no networks."""
    yield from unknown_arms("gallery", config)


def unknown_arms(section: str, config: dict) -> Iterator[str]:
    """Yield a sentence for each arm that a section lists but that has no networks of its own."""
    chosen = config[section]["arms"]
    known = list(dict.fromkeys(item["name"] for item in config["arms"] if item["recipe"] != ROTATED))
    for name in [] if chosen == "all" else chosen:
        if name not in known:
            yield f"{section}.arms has {name}, but there is no such arm with networks; {hint(name, known)}"


def least_tile_bytes(side: int) -> int:
    """Return the smallest limit in bytes for a picture with this side in pixels; WebP fits even noise into it."""
    return side**2 // 4 + 64


@needs("images.source", "images.addresses", "images.storage", of_training=True)
def check_images_source(config: dict) -> Iterator[str]:
    """Yield a sentence unless the pictures to classify exist, or will be made or fetched."""
    yield from source_mistakes("images", config["images"])


@needs("concepts.source", "concepts.addresses", "concepts.sources")
def check_concepts_source(config: dict) -> Iterator[str]:
    """Yield a sentence unless the pictures with concepts exist, or will be made or fetched."""
    concepts = config["concepts"]
    if not concepts["sources"]:
        yield from source_mistakes("concepts", concepts)
        return
    yield from set_mistakes(concepts["sources"])
    for item in concepts["sources"]:
        place = f"concepts.sources, {item['name']}"
        yield from source_mistakes(place, OF_SET | item)
        if "pictures_from" in item:
            yield from source_mistakes(f"{place}, pictures_from", OF_SET | item["pictures_from"])


def source_mistakes(section: str, settings: Mapping) -> Iterator[str]:
    """Yield a sentence unless a source exists, or will be made or fetched.

    A folder of files that are too large to be packed is only checked when the work starts, so that jobs can be listed
    without it.
    """
    source, addresses = settings["source"], settings["addresses"]
    if addresses and not is_archive(source):
        yield (
            f"{section}.addresses are those of an archive, but {section}.source, {source}, is not one: write a name"
            f" that ends in {' or '.join(ARCHIVE_SUFFIXES[:3])}"
        )
    elif source != "shapes" and not addresses and settings.get("storage") != "files" and not Path(source).exists():
        yield (
            f"{section}.source is {source}, but there is no such folder or archive: correct it, or put the"
            f" {'pictures' if section == 'images' else 'concepts'} there"
        )
    elif source != "shapes" and os.path.exists(source) and not is_what_it_is_called(source):
        kind = "an archive" if is_archive(source) else "a folder, nor an archive by its name"
        yield f"{section}.source is {source}, which is not {kind}: correct it"


def is_what_it_is_called(source: str) -> bool:
    """Tell whether a source that exists is a file if its name is an archive's, and else a folder."""
    return os.path.isfile(source) if is_archive(source) else os.path.isdir(source)


def is_archive(source: str) -> bool:
    """Tell, by its name, whether a source is an archive."""
    return source.endswith(ARCHIVE_SUFFIXES)


@needs("images.size", "images.source", "concepts.source", "concepts.sources")
def check_world_size(config: dict) -> Iterator[str]:
    """Yield a sentence unless the generated world can be drawn at this size."""
    size = config["images"]["size"]
    drawn = config["images"]["source"] == "shapes" or is_drawn(config["concepts"])
    if drawn and (size < 16 or size % 2):
        yield f"images.size is {size}: the generated world needs an even number of at least 16, such as 48"


@needs("images.storage", "images.source", of_training=True)
def check_files_source(config: dict) -> Iterator[str]:
    """Yield a sentence if pictures of the generated world should stay in files."""
    if in_files(config) and config["images"]["source"] == "shapes":
        yield "images.storage is files, but images.source is shapes: write your own folder, such as data/imagenet"


@needs("images.storage", "images.per_class", of_training=True)
def check_files_per_class(config: dict) -> Iterator[str]:
    """Yield a sentence if pictures stay in files but some should be left out."""
    if in_files(config) and config["images"]["per_class"] != "all":
        yield f"images.per_class is {config['images']['per_class']}, but images.storage is files: write per_class: all"


@needs("images.storage", "images.test_resize", "images.size", of_training=True)
def check_test_resize(config: dict) -> Iterator[str]:
    """Yield a sentence if test pictures are scaled to less than the size of the crop."""
    resize, size = config["images"]["test_resize"], config["images"]["size"]
    if in_files(config) and resize < size:
        yield f"images.test_resize is {resize}: write at least images.size, {size}"


@needs("images.mean", "images.std", of_training=True)
def check_channels(config: dict) -> Iterator[str]:
    """Yield a sentence unless mean and std have the same number of channels."""
    yield from unequal_channels(config["images"], "images")


@needs("images.source", "images.test", "images.test_labels", of_training=True)
def check_test_labels(config: dict) -> Iterator[str]:
    """Yield a sentence if labels are given for test pictures that come with their classes."""
    images = config["images"]
    told = images["source"] == "shapes" or images["test"].endswith(".bin")
    if told and images["test_labels"] != "none":
        yield (
            f"images.test_labels is {images['test_labels']}, but the test pictures come with their classes: write"
            " test_labels: none"
        )


@needs("images.classes", "images.expect.classes", of_training=True)
def check_expected_classes(config: dict) -> Iterator[str]:
    """Yield a sentence if the expected number of classes differs from the number taken."""
    classes, expected = config["images"]["classes"], config["images"]["expect"]["classes"]
    if "all" != classes != expected != "any":
        yield f"images.expect.classes is {expected}, but images.classes is {classes}: write the same number"


def in_files(config: dict) -> bool:
    """Tell whether the pictures to classify stay in their files."""
    return config["images"]["storage"] == "files"


@needs("dissection")
def check_protocol(config: dict) -> Iterator[str]:
    """Yield a sentence for choices of the dissection that contradict each other."""
    yield from protocol_mistakes(resolve_protocol(config["dissection"]))


@needs("dissection", "robustness")
def check_robustness(config: dict) -> Iterator[str]:
    """Yield a sentence for each variation that needs maps that are not kept."""
    yield from robustness_mistakes(config | {"dissection": resolve_protocol(config["dissection"])})
