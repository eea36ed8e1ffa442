"""Checks of the config that end in one sentence, before anything runs."""

import difflib
import math
from pathlib import Path

import jsonschema
import yaml

from workflow_scripts.shared.files import UserError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

# A JSON schema takes 8.0 for a whole number, and no bound stops .nan: every comparison with it is false.
TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
    }
)
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=TYPES)


def check_config(config: dict, schema_path: str | Path) -> None:
    """Check `config` against the schema, and what a schema cannot say.

    Raises:
        UserError: the first thing found wrong, naming its key.
    """
    schema = yaml.safe_load(Path(schema_path).read_text())
    error = jsonschema.exceptions.best_match(Validator(schema).iter_errors(config))
    if error is not None:
        raise UserError(f"config: {explain(error)}")
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
    size = config["images"]["size"]
    if "shapes" in (config["images"]["source"], config["concepts"]["source"]) and (size < 16 or size % 2):
        raise UserError(f"config: images.size is {size}; the generated world needs an even number of at least 16")
    for key in ("crop_scale", "crop_ratio"):
        if training[key][0] > training[key][1]:
            raise UserError(f"config: training.{key} must rise")
    check_batches(config)
    least = least_tile_bytes(config["gallery"]["tile"])
    if config["gallery"]["tile_bytes"] < least:
        raise UserError(f"config: gallery.tile_bytes must be at least {least}, or gallery.tile smaller")
    for section in ("images", "concepts"):
        check_source(section, config[section])
    if config["images"]["storage"] == "files":
        if config["images"]["source"] == "shapes" or config["images"]["per_class"] != "all":
            raise UserError("config: images.storage is files: give a source of your own, and per_class: all")
        if config["images"]["test_resize"] < size:
            raise UserError(f"config: images.test_resize must be at least images.size, {size}")
    elif config["images"]["test_labels"] != "none":
        raise UserError("config: images.test_labels needs images.storage: files")


def least_tile_bytes(side: int) -> int:
    """Return what a picture of so many pixels a side may take at least: WebP can make any noise as small."""
    return side**2 // 4 + 64


def check_batches(config: dict) -> None:
    """Raise UserError unless micro-batches make up the batch and can be shared out among the GPUs."""
    batch, micro_batch = config["training"]["batch_size"], config["training"]["micro_batch"]
    passes = 1 if micro_batch == "batch_size" else batch // micro_batch
    if micro_batch != "batch_size" and passes * micro_batch != batch:
        raise UserError(f"config: training.micro_batch is {micro_batch}, which does not divide batch_size, {batch}")
    gpus = config["gpus"]
    if gpus != "auto" and gpus > 1 and passes % gpus:
        raise UserError(
            f"config: gpus is {gpus}, and a step has {passes} micro-batches: make training.micro_batch a divisor of"
            f" batch_size / gpus"
        )


def network_section(config: dict) -> dict:
    """Return the section `network` without what does not concern its architecture."""
    network = config["network"]
    if network["architecture"] == "resnet50":
        return {key: network[key] for key in ("architecture", "norm_init")}
    return network


def check_source(section: str, settings: dict) -> None:
    """Raise UserError unless a source is there, or will be made or fetched.

    A folder of files too large to be packed is looked for when the work starts: its jobs can be listed before.
    """
    source = settings["source"]
    if settings["addresses"] and not is_archive(source):
        raise UserError(f"config: {section}.addresses are of an archive, and {section}.source, {source!r}, is none")
    comes_later = settings["addresses"] or settings.get("storage") == "files"
    if source != "shapes" and not comes_later and not Path(source).exists():
        raise UserError(f"config: {section}.source is {source!r}, and there is no such folder or archive")


def explain(error: jsonschema.ValidationError) -> str:
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
    number_wanted = error.validator == "type" and error.validator_value in ("number", "integer")
    if number_wanted and isinstance(error.instance, str) and is_number(error.instance):
        return f"{path} is text, {error.instance!r}, where a number belongs; write 1.0e-4 for 1e-4, and no quotes"
    if isinstance(error.instance, float) and error.validator in ("type", "anyOf"):
        if not math.isfinite(error.instance):
            return f"{path} is {error.instance}, which is not finite: write a number"
        options = error.validator_value if error.validator == "anyOf" else [error.schema]
        if error.instance.is_integer() and any(option.get("type") == "integer" for option in options):
            return f"{path} is {error.instance}, where a whole number belongs: write {error.instance:.0f}"
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
