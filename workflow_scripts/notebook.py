"""Dissect a network in a notebook: the workflow's own steps, with tables instead of files.

from workflow_scripts.notebook import dissect

layers, categories, units = dissect(
    model, ["layer4"], "concepts.h5", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
)
"""

import copy
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from workflow_scripts.data.hdf5 import open_hdf5
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect.dump_activations import dump_activations, find_pictures
from workflow_scripts.dissect.find_receptive_fields import find_receptive_fields
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.name_units import name_units
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.constructors import show_picture
from workflow_scripts.networks.weight_files import shown
from workflow_scripts.plan.check import require_valid
from workflow_scripts.plan.mistakes import require_none
from workflow_scripts.plan.preprocessing import unequal_channels
from workflow_scripts.plan.protocols import OF_FIELDS, Protocol, protocol_mistakes, resolve_protocol
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.sizes import Size
from workflow_scripts.tables.collect import count_detectors, read_units

CHOICES = tuple(asdict(Protocol()))
COUNTS = ["detectors_a", "concepts_a", "detectors_b", "concepts_b"]
PIXEL_COLUMNS = ("-truth", "-activation", "-intersect")


class Dissection(NamedTuple):
    """What a dissection found.

    layers: a row per layer: `knots`, `units`, both counts of detectors and of their distinct concepts (see
        `count_detectors`), `dead_units`, `median_score` (of the units' best IoUs) and `detector_iou`.
    categories: a row per layer and category: both counts.
    units: a row per layer and unit, with the columns of units.csv (see `name_units`).
    """

    layers: pd.DataFrame
    categories: pd.DataFrame
    units: pd.DataFrame


def dissect(
    model: nn.Module,
    layers: str | Sequence[str],
    concepts: str | Path,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: Size | None = None,
    protocol: str = "netdissect",
    precision: str = "float16",
    **choices: object,
) -> Dissection:
    """Dissect layers of a network, in evaluation mode, on a GPU if there is one; the network itself does not change.

    The GPU is leased, like those of the workflow's jobs, until this process ends.

    Args:
        model: takes pictures, float32 (images, channels, height, width).
        layers: one or several modules by name, with a grid if their output is tokens: see `layer_outputs`.
        concepts: a packed set, concepts.h5, or a folder in Broden's layout, which is packed first.
        mean: the mean of each channel that the network was trained with, as a share of full brightness; one number for
            grey pictures.
        std: the standard deviation, likewise.
        size: the size in pixels that a folder's pictures are packed with, or their height and width.
        protocol: one of `PROTOCOLS`; its rules hold unless `choices` change them.
        precision: the precision of the maps, "float16" or "float32".
        **choices: fields of `Protocol`, by name.

    Raises:
        UserError: a choice is unknown; a step raises it: `pack_concepts`, `find_receptive_fields`, `dump_activations`,
            `find_thresholds`, `tally_units`; or the network does not accept such pictures.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"the model is a {type(model).__name__}, not a torch.nn.Module: give the network itself")
    if any(map(is_lazy, model.parameters())):
        raise UserError("the model has lazy layers, whose sizes are not known yet: run it on a picture first")
    if any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()]):
        raise UserError("the model has tensors without data, on the device meta: load its weights first")
    if not isinstance(concepts, str | os.PathLike):
        raise UserError(f"concepts is a {type(concepts).__name__}: give the path of a packed set or of a folder")
    rules = resolve_choices(protocol, precision, choices)
    normal = {"mean": as_list(mean), "std": as_list(std)}
    require_valid(normal, "images")
    require_none(list(unequal_channels(normal, "images")))
    layers = [layers] if isinstance(layers, str) else as_list(layers)
    if not all(isinstance(layer, str) for layer in layers):
        raise UserError(
            f"layers: {shown(layers)} has something other than names: give names of modules, such as layer4"
        )
    with tempfile.TemporaryDirectory(prefix="dissection_") as folder, torch_kept():
        units = measure_units(
            copied(model), layers, packed(concepts, size, Path(folder)), mean, std, rules, Path(folder)
        )
    return tables(units, rules["detector_iou"])


def as_list(values: object) -> list:
    """Return the items of `values`, arrays' numbers as Python's; anything else as the only item of a list."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return [values]
    return [value.item() if hasattr(value, "item") else value for value in values]


def resolve_choices(protocol: str, precision: str, choices: dict) -> dict:
    """The choices of a protocol, overridden by `choices`; UserError for one that the config would reject."""
    unknown = sorted(choices.keys() - set(CHOICES))
    if unknown:
        raise UserError(f"there is no choice {unknown[0]}: known are {', '.join(CHOICES)}")
    rules = {"protocol": protocol, "precision": precision} | dict.fromkeys(CHOICES, "protocol") | choices
    require_valid(rules, "dissection")
    resolved = resolve_protocol(rules | {"dump": "all", "largest_quantile": "quantile"})
    require_none(list(protocol_mistakes(resolved)))
    return resolved


def packed(concepts: str | Path, size: Size | None, folder: Path) -> Path:
    """The packed concept set: `concepts` itself, or one that is made from it in `folder`."""
    if not Path(concepts).is_dir():
        return Path(concepts)
    if size is None:
        raise UserError(f"{concepts} is a folder: give the size of the network's pictures, in pixels")
    pack_concepts(concepts, size, folder / "concepts.h5")
    return folder / "concepts.h5"


def copied(model: nn.Module) -> nn.Module:
    """A copy of a network, even if it has tensors that autograd computed, as after torch.nn.utils.prune."""
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, computed)


@contextmanager
def torch_kept() -> Iterator[None]:
    """Restore what `dump_activations` changes for the whole process: settings, and the random state."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32 = before


def measure_units(
    network: nn.Module,
    layers: list[str],
    concepts: Path,
    mean: Sequence[float],
    std: Sequence[float],
    rules: dict,
    folder: Path,
) -> pd.DataFrame:
    """The units of a dissection, as `read_units` reads them; its files are written into `folder`."""
    activations, thresholds, tally, units = (folder / name for name in ("activations", "thresholds", "tally", "units"))
    with open_hdf5(concepts, "images") as file:
        size = find_pictures(file).shape[1:3]
    try:
        network = network.eval().cpu()
    except RecursionError:
        raise UserError("the model is a network that contains itself: correct it") from None
    show_picture(network, size, len(mean))
    fields = find_receptive_fields(network, layers, size, len(mean)) if rules["knots"] in OF_FIELDS else None
    # Candidates, where they suffice, save most of the disk space; the numbers are the same.
    raw = rules["quantile_of"] == "raw"
    candidates = (rules["quantile"], rules["mask"]) if raw and rules["border"] == "clamp" else None
    dump_activations(
        network, layers, concepts, mean, std, rules["precision"], "a notebook's", activations, candidates=candidates
    )
    find_thresholds(
        activations, rules["quantile"], thresholds, None if raw else rules["knots"], concepts, fields,
        border=rules["border"],
    )  # fmt: skip
    tally_units(
        activations, thresholds, concepts, tally,
        receptive_fields=fields,
        **{choice: rules[choice] for choice in ("knots", "border", "mask", "counted_images", "planes")},
    )  # fmt: skip
    name_units(tally, concepts, rules["detector_iou"], rules["detector_rule"], units)
    return read_units(units)


def tables(units: pd.DataFrame, detector_iou: float) -> Dissection:
    """The tables of a dissection, from units as `read_units` reads them."""
    layer_rows, categories = [], []
    for layer, of_layer in units.groupby("layer", sort=False):
        by_category = count_detectors(of_layer)
        categories.append(by_category.assign(layer=layer)[["layer", "category", *COUNTS]])
        layer_rows.append(
            {
                "layer": layer,
                "knots": of_layer["knots"].iloc[0],
                "units": len(of_layer),
                # A unit has one best concept, and a concept one category: sums count each once.
                **by_category[COUNTS].sum(),
                "dead_units": of_layer["dead"].sum(),
                "median_score": of_layer["score"].median(),
                "detector_iou": detector_iou,
            }
        )
    whole = [column for column in units.columns if column == "unit" or column.endswith(PIXEL_COLUMNS)]
    return Dissection(
        pd.DataFrame(layer_rows),
        pd.concat(categories, ignore_index=True),
        units.astype(dict.fromkeys(whole, int)),
    )
