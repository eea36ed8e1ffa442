"""The folder of a lottery ticket experiment of OpenLTH (github.com/facebookresearch/open_lth).

The networks are in `replicate_<r>/level_<n>/main/`: the state dicts `model_ep<E>_it<I>.pth` from the start and the end
of training, `mask.pth` and `sparsity_report.json`; level 0 has `hparams.log`, which names model and dataset. With
rewinding, the training up to the rewind point is in `level_pretrain/main/`. Snakemake reads this whenever it reads the
config, so only the standard library is used and no weights are opened.
"""

import re
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.plan.keys import MOST_NUMBER
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.regular_files import read_file

SPARSITY_REPORT = "sparsity_report.json"  # beside masks: how many weights there are and how many remain
LONGEST = 100  # characters of a hyperparameter
START = "model_ep0_it0.pth"
TORCHVISION_DEPTHS = (18, 34, 50, 101, 152)
VGG_DEPTHS = (11, 13, 16, 19)
SIZES = {"cifar10": (32, 32), "imagenet": (224, 256)}  # side of test pictures, and shorter side before they are cropped


class OpenLTHNetwork(NamedTuple):
    """A trained network, and the files of its weights and masks."""

    replicate: int
    level: int
    weights: str
    masks: str


def read_networks(folder: str) -> list[OpenLTHNetwork]:
    """Return the networks of `folder`, called lottery_<hash>, at the end of training, by replicate and level.

    Raises:
        UserError: a replicate, a level, or one of their files is missing; or training has not ended.
    """
    return [network for number, path in replicates(folder).items() for network in read_replicate(number, path)]


def read_starts(folder: str) -> dict[int, str]:
    """Return the files of the untrained weights, by replicate; replicates without such a file are left out."""
    starts = {}
    for number, path in replicates(folder).items():
        for level in ("level_pretrain", "level_0"):
            start = path / level / "main" / START
            if start.is_file():
                starts[number] = str(start)
                break
    return starts


def read_model(folder: str) -> tuple[str, dict]:
    """Return the constructor, "package.module:function", of the experiment's model, and its arguments.

    The dataset does not matter: OpenLTH gives each model its default number of classes.

    Raises:
        UserError: as in `agreed_hyperparameter`; or this workflow does not know the model.
    """
    name = agreed_hyperparameter(folder, "Model Hyperparameters", "model_name")
    if (match := re.fullmatch(r"imagenet_resnet_([0-9]{1,4})(_64)?", name)) and int(match[1]) in TORCHVISION_DEPTHS:
        return f"torchvision.models:resnet{int(match[1])}", {}
    if match := re.fullmatch(r"cifar_resnet_([0-9]{1,4})(?:_([0-9]{1,4}))?", name):
        depth, width = int(match[1]), int(match[2] or 16)
        if depth > 2 and depth % 6 == 2 and width > 0:
            return "workflow_scripts.networks.openlth_models:cifar_resnet", {"depth": depth, "width": width}
    if (match := re.fullmatch(r"cifar_vgg_([0-9]{1,4})", name)) and int(match[1]) in VGG_DEPTHS:
        return "workflow_scripts.networks.openlth_models:cifar_vgg", {"depth": int(match[1])}
    raise UserError(
        f"OpenLTH's model {name}, of {folder}, is not one that this workflow can build: give its constructor and"
        " arguments in the config"
    )


def read_preprocessing(folder: str) -> dict:
    """Return how OpenLTH prepares test pictures.

    They are scaled until the shorter side has `resize` pixels, and a central square of `size` pixels is cropped; `mean`
    and `std` refer to brightness from 0 to 1 (they are ImageNet's, for CIFAR-10, too).

    Raises:
        UserError: as in `agreed_hyperparameter`; or this workflow does not know the dataset.
    """
    name = agreed_hyperparameter(folder, "Dataset Hyperparameters", "dataset_name")
    if name not in SIZES:
        raise UserError(
            f"OpenLTH's dataset {name}, of {folder}, is unknown to this workflow: give preprocessing in the config"
        )
    size, resize = SIZES[name]
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return {"size": size, "resize": resize, "mean": mean, "std": std, "interpolation": "bilinear"}


def replicates(folder: str) -> dict[int, Path]:
    """Return the folders of the replicates by number, in order; raise UserError if there are none."""
    if not Path(folder).is_dir():
        raise UserError(f"there is no folder {folder}: name the one called lottery_... that OpenLTH has written")
    found = numbered(Path(folder), "replicate")
    if not found:
        raise UserError(
            f"{folder} holds no replicate_1 or other replicate: name the folder called lottery_... that OpenLTH has"
            " written"
        )
    return found


def numbered(folder: Path, name: str) -> dict[int, Path]:
    """Return the folders `<name>_<number>` in `folder` by number, in order; level_pretrain is not among them."""
    found = {}
    for path in folder.iterdir():
        match = re.fullmatch(rf"{name}_(0|[1-9][0-9]*)", path.name)
        if match and path.is_dir():
            found[number_in(match[1], path)] = path
    return dict(sorted(found.items()))


def number_in(digits: str, path: str | Path) -> int:
    """Return the replicate or level that the name of a file or folder has; raise UserError if it is too large."""
    number = int(digits)
    if number > MOST_NUMBER:
        raise UserError(f"{path} has a replicate or level above {MOST_NUMBER} in its name: give it another name")
    return number


def read_replicate(number: int, path: Path) -> list[OpenLTHNetwork]:
    """Return the networks of the replicate in `path`, level by level; raises as `read_networks` does."""
    levels = numbered(path, "level")
    for level in range(max(1, len(levels))):
        if level not in levels:
            missing = path / f"level_{level}"
            raise UserError(f"there is no folder {missing}: copy all levels of the replicate, from level_0 on")
    last = last_model(path)
    networks = []
    for level, level_folder in levels.items():
        main = level_folder / "main"
        for name in ("mask.pth", SPARSITY_REPORT):
            require_file(main / name)
        if not (main / last).is_file():
            raise not_ended(main, last)
        networks.append(OpenLTHNetwork(number, level, str(main / last), str(main / "mask.pth")))
    return networks


def last_model(replicate: Path) -> str:
    """Return the file name of the model at the end of training, which is the same in each level of a replicate.

    Raises:
        UserError: the name follows from level 0, but training has not ended there; or as in `hyperparameter`.
    """
    steps = hyperparameter(replicate, "Training Hyperparameters", "training_steps")
    if match := re.fullmatch(r"([0-9]+)ep", steps):
        return f"model_ep{int(match[1])}_it0.pth"
    # The epoch of an iteration depends on the dataset's size; but level 0 has the first and the last model.
    main = replicate / "level_0" / "main"
    found = models(main)
    if len(found) < 2:
        raise not_ended(main, f"model of the end, {steps}")
    return found[-1]


def models(main: Path) -> list[str]:
    """Return the names of a level's models in the order of training."""
    found = {}
    for path in main.glob("*.pth"):
        if match := re.fullmatch(r"model_ep([0-9]+)_it([0-9]+)\.pth", path.name):
            found[int(match[1]), int(match[2])] = path.name
    return [name for _, name in sorted(found.items())]


def not_ended(main: Path, lacking: str) -> UserError:
    """Return the error for a level whose training has not ended."""
    there = ", ".join(models(main)) or "its masks"
    return UserError(
        f"training has not ended: {main} has no {lacking}, only {there}; let OpenLTH finish it, or remove this level"
        " and those after it"
    )


def agreed_hyperparameter(folder: str, section: str, name: str) -> str:
    """Return a hyperparameter that all replicates share.

    Raises:
        UserError: as in `hyperparameter`; or two replicates have different values.
    """
    values = {path: hyperparameter(path, section, name) for path in replicates(folder).values()}
    (first, value), *others = values.items()
    for other, differing in others:
        if differing != value:
            raise UserError(
                f"{name} is {value} in {first}, but {differing} in {other}: put replicates of different experiments"
                " into separate folders"
            )
    return value


def hyperparameter(replicate: Path, section: str, name: str) -> str:
    """Return the value in the line "    * <name> => ..." below the line `section` of a replicate's hparams.log.

    Raises:
        UserError: there is no such file or no such line, or it is too long.
    """
    path = replicate / "level_0" / "main" / "hparams.log"
    require_file(path)
    current = ""
    for line in read_file(path).decode(errors="replace").splitlines():
        key, arrow, value = line.strip().partition(" => ")
        if not arrow:
            current = line.strip()
        elif current == section and key == f"* {name}":
            if len(value) > LONGEST:
                raise UserError(
                    f"{path}: {name} has {len(value)} characters, but OpenLTH writes a few: copy the file again from"
                    " where OpenLTH has written it"
                )
            return value
    raise UserError(f"{path} has no {name} below {section!r}: copy the file again from where OpenLTH has written it")


def require_file(path: Path) -> None:
    """Raise UserError unless there is a file `path`."""
    if not path.is_file():
        raise UserError(f"there is no file {path}: copy it from where OpenLTH has written it, or run OpenLTH again")
