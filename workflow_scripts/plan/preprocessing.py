"""How pictures are shown to users' networks: from the config, or from a preset of a package or a file."""

import csv
import importlib.util
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.mistakes import require_none
from workflow_scripts.plan.schema import value_mistakes
from workflow_scripts.shared.files import UserError, reading
from workflow_scripts.shared.outside_json import parse_json
from workflow_scripts.shared.regular_files import read_file
from workflow_scripts.shared.sizes import sides

PRESETS = Path(__file__).with_name("torchvision_presets.csv")
TIMM = "timm/"
PROCESSOR_FILE = "preprocessor_config.json"
OFFERED = (
    "ResNet50_Weights.IMAGENET1K_V1 of torchvision, timm/resnet18.a1_in1k of timm, or a folder or a name of"
    f" transformers with {PROCESSOR_FILE}"
)
# Image processors of transformers that only resize, crop, rescale and normalise, and what a single number as the size
# means to each.
PROCESSORS = {
    "ViT": "square",
    "DeiT": "square",
    "Beit": "square",
    "Pvt": "square",
    "Bit": "shorter side",
    "CLIP": "shorter side",
    "Siglip": "shorter side",
    "MobileNetV1": "shorter side",
    "MobileNetV2": "shorter side",
    "ConvNext": "shorter side",
}
KINDS = {"size": "sides", "resize": "sides", "mean": "mean", "std": "std"}  # as in the schema of the config
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's numbers
CROPPED_BELOW = 384  # pixels: ConvNext squeezes pictures to sizes from here on, and crops them to smaller ones


def read_preprocessing(settings: str | dict, key: str) -> dict:
    """Return size, resize, mean, std and interpolation, from the config or from the preset that it names.

    size: pixels, or [height, width]. resize: pixels of the shorter side before the centre is cropped, or [height,
    width] to which the whole picture is squeezed. mean, std: three numbers each, or one each for grey pictures.

    Raises:
        UserError: there is no preset of that name, its package is not installed, or it asks for unsupported steps.
    """
    if isinstance(settings, dict):
        return of_config(settings, key)
    presets = read_presets()
    if settings in presets:
        return presets[settings]
    if settings.startswith(TIMM):
        return of_timm(settings, key)
    if Path(settings).is_dir() or re.fullmatch(r"[\w.-]+/[\w.-]+", settings):
        return of_processor(processor_file(settings, key), key)
    raise UserError(
        f"{key} is {settings!r}, which is not a preset of torchvision for classifying pictures; name one, such as"
        f" {OFFERED}; or give size, mean and std"
    )


def of_config(settings: dict, key: str) -> dict:
    """Return the preprocessing in a config, completed."""
    require_none(list(unequal_channels(settings, key)))
    completed = {"resize": max(sides(settings["size"])), "interpolation": "bilinear"} | settings
    if not covers(completed["resize"], completed["size"]):
        raise UserError(f"{key}.resize must be at least size, {settings['size']}")
    return as_written(completed)


def unequal_channels(settings: dict, key: str) -> Iterator[str]:
    """Yield a sentence unless mean and std have equally many numbers."""
    mean, std = len(settings["mean"]), len(settings["std"])
    if mean != std:
        yield (
            f"{key}.mean has {counted(mean)}, but std has {counted(std)}: write three each, or one each for grey"
            " pictures"
        )


def counted(numbers: int) -> str:
    """Return a count of numbers as text."""
    return "one number" if numbers == 1 else f"{numbers} numbers"


def covers(resize: int | list[int], size: int | list[int]) -> bool:
    """Tell whether resized pictures are large enough for a crop of `size`."""
    return all(before >= after for before, after in zip(sides(resize), sides(size), strict=True))


def as_written(preprocessing: dict) -> dict:
    """Return a preprocessing whose size is one number if its sides are equal, however it was written."""
    height, width = sides(preprocessing["size"])
    return preprocessing | {"size": height if height == width else [height, width]}


@cache
def read_presets() -> dict[str, dict]:
    """Return the result of `read_preprocessing` for each preset, from a table, because torchvision imports torch."""
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


def of_timm(settings: str, key: str) -> dict:
    """Return how timm shows pictures to a pretrained network in tests."""
    config = timm_config(settings.removeprefix(TIMM), key)
    begin = f"{key} is {settings!r}, "
    (channels, *size), crop = config["input_size"], config["crop_mode"]
    if channels != len(config["mean"]) or channels not in (1, 3):
        raise UserError(f"{begin}whose pictures have {channels} channels, but only 1 and 3 are possible")
    if config["interpolation"] not in RESAMPLING:
        raise UserError(f"{begin}which asks for the interpolation {config['interpolation']}: {instead()}")
    if crop == "border" or (crop == "center" and size[0] != size[1]):
        raise UserError(f"{begin}which uses timm's crop_mode {crop}, and that is not supported: {instead()}")
    before = [math.floor(side / config["crop_pct"]) for side in size]
    return as_written(
        {
            "size": size,
            "resize": before if crop == "squash" else before[0],
            "mean": list(config["mean"]),
            "std": list(config["std"]),
            "interpolation": config["interpolation"],
        }
    )


@cache
def timm_config(name: str, key: str) -> dict:
    """Return timm's configuration of a pretrained network, read in another process, because timm imports torch."""
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"{key} is 'timm/{name}', but timm is not installed: pip install timm, or {instead()}")
    command = [sys.executable, "-m", "workflow_scripts.networks.timm_config", name]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode or not run.stdout:  # a module that timm imports may end the process with status 0
        words = (run.stderr.strip().splitlines() or ["it was killed"])[-1].removeprefix("error: ")
        raise UserError(f"{key} is 'timm/{name}', but timm does not know it ({words}): correct the name")
    return json.loads(run.stdout)


def processor_file(settings: str, key: str) -> Path:
    """Return the file of an image processor of transformers: in a folder, or fetched once by its name."""
    if Path(settings).is_dir():
        return Path(settings) / PROCESSOR_FILE
    begin = f"{key} is {settings!r}, but there is no such folder"
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
    except ImportError:
        raise UserError(
            f"{begin}; to fetch the file that transformers has by that name, pip install transformers"
        ) from None
    try:
        kept = try_to_load_from_cache(settings, PROCESSOR_FILE)
        return Path(kept if isinstance(kept, str) else hf_hub_download(settings, PROCESSOR_FILE))
    except Exception as error:  # an error of the connection, the host, or the name
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{begin}, and {PROCESSOR_FILE} of that name cannot be fetched ({type(error).__name__}: {reason}): correct"
            " the name, or put the file into a folder and name that"
        ) from None


def of_processor(path: Path, key: str) -> dict:
    """Return the preprocessing of an image processor of transformers, from its file."""
    if not path.is_file():
        raise UserError(f"{key}: there is no file {path}: put it there, or {instead()}")
    damages = ValueError, KeyError, TypeError, AttributeError, ArithmeticError
    with reading(f"{key}: {path}", *damages):
        return followed(parse_json(read_file(path)), f"{key}: {path}")


def followed(processor: dict, begin: str) -> dict:
    """Return the preprocessing that an image processor's settings mean; raise UserError if it is not supported."""
    named = processor.get("image_processor_type", processor.get("feature_extractor_type", ""))
    kind = re.sub("(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", named)
    if kind not in PROCESSORS:
        raise UserError(
            f"{begin} is of {named or 'no type'}, but only these are known: {', '.join(PROCESSORS)}; {instead()}"
        )
    for name, done in (
        ("do_resize", True),
        ("do_rescale", True),
        ("do_pad", False),
        ("do_flip_channel_order", False),
    ):
        if (processor.get(name, done) or False) is not done:
            raise UserError(f"{begin} has {name}: {json.dumps(processor[name])}, which is not supported: {instead()}")
    if not math.isclose(processor.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-3):
        raise UserError(f"{begin} has a rescale_factor of {processor['rescale_factor']}, not 1 / 255: {instead()}")
    normalises = processor.get("do_normalize", True)
    wanted = ["size", "resample", *(["image_mean", "image_std"] if normalises else [])]
    if missing := [name for name in wanted if processor.get(name) is None]:
        raise UserError(f"{begin} does not say {missing[0]}: add it, or {instead()}")
    size, resize = size_and_resize(processor, kind, begin)
    mean, std = (processor[name] for name in ("image_mean", "image_std")) if normalises else ([0.0] * 3, [1.0] * 3)
    interpolation = RESAMPLING[processor["resample"]] if processor["resample"] in range(len(RESAMPLING)) else None
    found = {"size": size, "resize": resize, "mean": mean, "std": std}
    mistake = next(chain.from_iterable(value_mistakes(found[name], kind, name) for name, kind in KINDS.items()), None)
    if mistake or not interpolation or len(mean) != len(std) or not covers(resize, size):
        why = f" ({mistake})" if mistake else ""
        raise UserError(
            f"{begin} has an impossible size, mean, standard deviation or resample{why}: correct it, or {instead()}"
        )
    return as_written(found | {"mean": numbers_of(mean), "std": numbers_of(std), "interpolation": interpolation})


def size_and_resize(processor: dict, kind: str, begin: str) -> tuple[int | list[int], int | list[int]]:
    """Return the size of an image processor's pictures, and the size that they are resized to before the crop."""
    found = processor["size"]
    resize: int | list[int]
    if isinstance(found, dict) and "shortest_edge" in found:
        resize = whole(found["shortest_edge"])
    elif isinstance(found, dict):
        resize = [whole(found["height"]), whole(found["width"])]
    else:
        resize = whole(found) if PROCESSORS[kind] == "shorter side" else [whole(found)] * 2
    if kind == "ConvNext":
        side = sides(resize)[0]
        small = side < CROPPED_BELOW
        return side, int(side / processor.get("crop_pct", 224 / 256)) if small else [side, side]
    if not processor.get("do_center_crop", "crop_size" in processor):
        if isinstance(resize, int):
            raise UserError(f"{begin} has no crop_size, so pictures would keep their proportions: {instead()}")
        return resize, resize
    crop = processor["crop_size"]
    return [whole(crop["height"]), whole(crop["width"])] if isinstance(crop, dict) else whole(crop), resize


def whole(value: object) -> int:
    """Return a number of pixels from a file; raise ValueError if it is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"the size {value!r}, which is not a whole number")
    return value


def numbers_of(values: list) -> list[float]:
    """Return numbers from a file as floats."""
    return [float(value) for value in values]


def instead() -> str:
    """Return what the user can do instead of naming a preprocessing."""
    return "give size, mean and std yourself"
