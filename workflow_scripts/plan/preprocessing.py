"""How pictures are shown to networks that are brought along: from the config, or as a package or a file names it."""

import csv
import importlib.util
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.mistakes import require_none
from workflow_scripts.shared.files import UserError, reading
from workflow_scripts.shared.sizes import sides

PRESETS = Path(__file__).with_name("torchvision_presets.csv")
TIMM = "timm/"
PROCESSOR_FILE = "preprocessor_config.json"
OFFERED = (
    "ResNet50_Weights.IMAGENET1K_V1 of torchvision's, timm/resnet18.a1_in1k of timm's, or a folder or a name of"
    f" transformers' with {PROCESSOR_FILE}"
)
# Image processors of transformers that do no more than resize, cut, rescale and normalise, and what a size of one
# number means to each.
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
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's numbers
CROPPED_BELOW = 384  # pixels: ConvNext's pictures of that size and more are squeezed to it


def read_preprocessing(settings: str | dict, key: str) -> dict:
    """Return size, resize, mean, std and interpolation, from the config or as it names them.

    size: pixels, or [height, width]. resize: pixels of the shorter side before the middle is cut out, or [height,
    width] to which the whole picture is squeezed. mean, std: three numbers, or one each for grey pictures.

    Raises:
        UserError: there is nothing of that name, its package is not installed, or it asks for what is not done here.
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
        f"{key} is {settings!r}, which is no preset of torchvision's for classifying pictures; name one, as {OFFERED};"
        " or give size, mean and std"
    )


def of_config(settings: dict, key: str) -> dict:
    """Return what a config itself says, completed."""
    require_none(list(unequal_channels(settings, key)))
    completed = {"resize": max(sides(settings["size"])), "interpolation": "bilinear"} | settings
    if not covers(completed["resize"], completed["size"]):
        raise UserError(f"{key}.resize must be at least size, {settings['size']}")
    return as_written(completed)


def unequal_channels(settings: dict, key: str) -> Iterator[str]:
    """Yield a sentence unless there are as many numbers in mean as in std."""
    mean, std = len(settings["mean"]), len(settings["std"])
    if mean != std:
        yield f"{key}.mean has {counted(mean)} and std {counted(std)}: write three each, or one each for grey pictures"


def counted(numbers: int) -> str:
    """Return how many numbers there are, in words."""
    return "one number" if numbers == 1 else f"{numbers} numbers"


def covers(resize: int | list[int], size: int | list[int]) -> bool:
    """Tell whether pictures that were resized are large enough for `size` to be cut out."""
    return all(before >= after for before, after in zip(sides(resize), sides(size), strict=True))


def as_written(preprocessing: dict) -> dict:
    """Return a preprocessing whose size is one number where its sides are equal, whichever way it was written."""
    height, width = sides(preprocessing["size"])
    return preprocessing | {"size": height if height == width else [height, width]}


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


def of_timm(settings: str, key: str) -> dict:
    """Return how timm shows pictures to a pretrained network that is tested."""
    config = timm_config(settings.removeprefix(TIMM), key)
    begin = f"{key} is {settings!r}, "
    (channels, *size), crop = config["input_size"], config["crop_mode"]
    if channels != len(config["mean"]) or channels not in (1, 3):
        raise UserError(f"{begin}whose pictures have {channels} channels: only 1 and 3 are possible")
    if config["interpolation"] not in RESAMPLING:
        raise UserError(f"{begin}which asks for the interpolation {config['interpolation']}: {instead()}")
    if crop == "border" or (crop == "center" and size[0] != size[1]):
        raise UserError(
            f"{begin}whose pictures are fitted in by timm's crop_mode {crop}, which is not done: {instead()}"
        )
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
    """Return the configuration of a pretrained network of timm's, which another process asks timm for: it has torch."""
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"{key} is 'timm/{name}', and timm is not there: pip install timm, or {instead()}")
    command = [sys.executable, "-m", "workflow_scripts.networks.timm_config", name]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        words = (run.stderr.strip().splitlines() or ["it was killed"])[-1].removeprefix("error: ")
        raise UserError(f"{key} is 'timm/{name}', and timm does not say what that is ({words}): correct the name")
    return json.loads(run.stdout)


def processor_file(settings: str, key: str) -> Path:
    """Return the file of an image processor of transformers': in a folder, or of a name that it is fetched by once."""
    if Path(settings).is_dir():
        return Path(settings) / PROCESSOR_FILE
    begin = f"{key} is {settings!r}, and there is no such folder"
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
    except ImportError:
        raise UserError(f"{begin}; to fetch what transformers has of that name, pip install transformers") from None
    try:
        kept = try_to_load_from_cache(settings, PROCESSOR_FILE)
        return Path(kept if isinstance(kept, str) else hf_hub_download(settings, PROCESSOR_FILE))
    except Exception as error:  # of the network, the host, or the name
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{begin}, nor can {PROCESSOR_FILE} of that name be fetched ({type(error).__name__}: {reason}): correct it,"
            f" or put the file into a folder and name that"
        ) from None


def of_processor(path: Path, key: str) -> dict:
    """Return what an image processor of transformers' does, from its file."""
    if not path.is_file():
        raise UserError(f"{key}: there is no file {path}: put it there, or {instead()}")
    damages = ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError
    with reading(f"{key}: {path}", *damages):
        return followed(json.loads(path.read_text()), f"{key}: {path}")


def followed(processor: dict, begin: str) -> dict:
    """Return the preprocessing that an image processor's settings mean; UserError for what is not done here."""
    named = processor.get("image_processor_type", processor.get("feature_extractor_type", ""))
    kind = re.sub("(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", named)
    if kind not in PROCESSORS:
        raise UserError(
            f"{begin} is of {named or 'no type'}, and only these are known: {', '.join(PROCESSORS)}; {instead()}"
        )
    for name, done in (
        ("do_resize", True),
        ("do_rescale", True),
        ("do_pad", False),
        ("do_flip_channel_order", False),
    ):
        if bool(processor.get(name, done)) != done:
            raise UserError(f"{begin} has {name}: {json.dumps(processor[name])}, which is not done: {instead()}")
    if not math.isclose(processor.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-3):
        raise UserError(f"{begin} has a rescale_factor of {processor['rescale_factor']}, not of 1 / 255: {instead()}")
    normalises = processor.get("do_normalize", True)
    wanted = ["size", "resample", *(["image_mean", "image_std"] if normalises else [])]
    if missing := [name for name in wanted if processor.get(name) is None]:
        raise UserError(f"{begin} does not say {missing[0]}: add it, or {instead()}")
    size, resize = size_and_resize(processor, kind, begin)
    mean, std = (
        (numbers_of(processor[name]) for name in ("image_mean", "image_std")) if normalises else ([0.0] * 3, [1.0] * 3)
    )
    interpolation = RESAMPLING[processor["resample"]] if processor["resample"] in range(len(RESAMPLING)) else None
    fits = covers(resize, size) and min(sides(size)) > 0
    if not interpolation or len(mean) != len(std) or len(mean) not in (1, 3) or not min(std) > 0 or not fits:
        raise UserError(
            f"{begin} has a size, a mean, a standard deviation or a resample that cannot be: mend it, or {instead()}"
        )
    return as_written({"size": size, "resize": resize, "mean": mean, "std": std, "interpolation": interpolation})


def size_and_resize(processor: dict, kind: str, begin: str) -> tuple[int | list[int], int | list[int]]:
    """Return the size of an image processor's pictures, and what they are resized to before they are cut to it."""
    found = processor["size"]
    resize: int | list[int]
    if isinstance(found, dict) and "shortest_edge" in found:
        resize = int(found["shortest_edge"])
    elif isinstance(found, dict):
        resize = [int(found["height"]), int(found["width"])]
    else:
        resize = int(found) if PROCESSORS[kind] == "shorter side" else [int(found)] * 2
    if kind == "ConvNext":
        side = sides(resize)[0]
        small = side < CROPPED_BELOW
        return side, int(side / processor.get("crop_pct", 224 / 256)) if small else [side, side]
    if not processor.get("do_center_crop", "crop_size" in processor):
        if isinstance(resize, int):
            raise UserError(f"{begin} has no crop_size, so that pictures would keep their shapes: {instead()}")
        return resize, resize
    crop = processor["crop_size"]
    return [int(crop["height"]), int(crop["width"])] if isinstance(crop, dict) else int(crop), resize


def numbers_of(values: list) -> list[float]:
    """Return numbers as they may stand in a file."""
    return [float(value) for value in values]


def instead() -> str:
    """Return what can be done in place of naming a preprocessing."""
    return "give size, mean and std yourself"
