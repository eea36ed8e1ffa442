"""Masks in files of the user's own, made to fit a network."""

import re
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.networks.prunable import prunable_weights, weights_of
from workflow_scripts.networks.pruning import Masks
from workflow_scripts.networks.state_dicts import places_of, unwrap
from workflow_scripts.networks.weight_files import below, flatten, listed, read_tensors, shape, shown, within
from workflow_scripts.shared.files import UserError

ENDINGS = ("_mask", ".mask")  # of a mask's name, behind that of its tensor or layer
MASK = re.compile(r"(?:^|[^A-Za-z])(?:[Mm]ask|MASK)(?:s|S)?(?![a-z])|[a-z]Masks?(?![a-z])")  # in a name as a word


def read_masks(network: nn.Module, path: Path) -> Masks:
    """Return the masks in a file: tensors of 0 and 1, or of bools, by the name of the layer or of its weight.

    They are those in the dict whose key has the word "mask" in it, or those whose names end so, or else all.

    Raises:
        UserError: as `read_tensors`, `mask_dicts`, `match_masks`; or there are none, or several such dicts.
    """
    leaves, containers = flatten(read_tensors(path), path)
    dicts = mask_dicts(leaves, containers, path)
    if len(dicts) > 1:
        raise UserError(f"{path} holds masks in several places, {listed(dicts)}: save the right ones alone")
    masks = next(iter(dicts.values()), None) or {name: t for name, t in leaves.items() if isinstance(t, Tensor)}
    if not masks:
        raise UserError(f"{path} should hold masks, tensors by the name of their weight, and holds {listed(leaves)}")
    matched = match_masks(network, masks, path)
    if not matched:
        raise UserError(
            f"{path} has masks of biases and the like alone: name the masks after {listed(weights_of(network))}"
        )
    return matched


def mask_dicts(leaves: dict[str, object], containers: dict[str, str], path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors in each dict whose key has the word "mask" in it, by dotted name; arguments as of `flatten`.

    Raises:
        UserError: masks stand in a list.
    """
    dicts: dict[str, dict[str, Tensor]] = {}
    for name, value in leaves.items():
        place = mask_dict(containers[name])
        if place is not None and isinstance(value, Tensor):
            dicts.setdefault(place, {})[below(name, place)] = value
        elif mask_dict(name) is not None and not isinstance(value, Tensor) and has_tensor(value):
            raise UserError(
                f"{path}: {shown(name)} is a {type(value).__name__}: save masks as tensors by the name of their weight"
            )
    return dicts


def mask_dict(name: str) -> str | None:
    """Return a dotted name up to the first component that has the word "mask" in it."""
    parts = name.split(".")
    return next((".".join(parts[: place + 1]) for place, part in enumerate(parts) if MASK.search(part)), None)


def has_tensor(value: object) -> bool:
    """Tell whether a tensor is in lists, tuples and dicts, at any depth."""
    if isinstance(value, dict):
        return any(map(has_tensor, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(has_tensor, value)))


def masked_tensor(name: str, tensors: Collection[str]) -> str | None:
    """Return which of `tensors` a tensor of this name is the mask of: x or x_orig of x_mask, a weight of mask."""
    for ending, own in (("_mask", ""), (".mask", ".weight")):
        if name.endswith(ending):
            masked = name.removesuffix(ending) + own
            return next((of for of in (f"{masked}_orig", masked) if of in tensors), None)
    return None


def match_masks(network: nn.Module, masks: dict[str, Tensor], path: Path) -> Masks:
    """Return masks by the names of `weights_of`; in `masks` by a layer's or a weight's name, as they stand in a file.

    Masks of ones for biases and the like are left out.

    Raises:
        UserError: a mask is of no weight, or as `to_mask`.
    """
    if any(name.endswith(ENDINGS) for name in masks):
        masks = {name: mask for name, mask in masks.items() if name.endswith(ENDINGS)}
    weights = weights_of(network)
    keys = {unwrap(name): key for key, weight in weights.items() for name in (key, weight.parameter)}
    others = {unwrap(name): tensor for name, tensor in network.state_dict().items() if tensor.ndim < 2}
    found = places_of(map(bare, masks), keys.keys() | others.keys())
    place = max(found, key=lambda place: len(found[place]), default="")
    matched = {}
    for name, mask in masks.items():
        own = below(bare(name), place) if within(bare(name), place) else bare(name)
        key = keys.get(own)
        if key in matched:
            raise UserError(f"{path} has two masks of {key}, one called {shown(name)}: save the right ones alone")
        if key is not None:
            matched[key] = to_mask(mask, weights[key].tensor, key, path)
        elif own not in others:
            raise UserError(
                f"{path} has a mask for {shown(own)}, and the network has no such weight of two or more dimensions:"
                f" name the masks after {listed(weights)}"
            )
        elif not to_mask(mask, others[own], own, path).all():
            raise UserError(
                f"{path}: the mask of {own} prunes a bias or the like, and such are never pruned here: leave it out, or"
                " give the weights with these set to zero"
            )
    return matched


def bare(name: str) -> str:
    """Return the name of the tensor or layer that a mask of this name belongs to."""
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return unwrap(name)


def to_mask(mask: Tensor, weight: Tensor, name: str, path: Path) -> Tensor:
    """Return a mask as bools; UserError unless it has its weight's shape and is of numbers 0 and 1."""
    if mask.shape != weight.shape:
        raise UserError(
            f"{path}: the mask of {shown(name)} is {shape(mask)}, and its weight {shape(weight)}; name the masks that"
            " belong to these weights"
        )
    mask = plain_numbers(mask, f"the mask of {name}", path)
    if not ((mask == 0) | (mask == 1)).all():
        raise UserError(
            f"{path}: the mask of {shown(name)} holds numbers other than 0 and 1; give one that says what remains"
        )
    return mask.bool()


def plain_numbers(tensor: Tensor, name: str, path: Path) -> Tensor:
    """Return a tensor with all of its numbers in place, a sparse one filled up; its shape is to be checked before.

    Raises:
        UserError: it is quantised, complex, or has no data.
    """
    if tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        kind = "has no data" if tensor.is_meta else "is quantised" if tensor.is_quantized else "is complex"
        raise UserError(f"{path}: {shown(name)} {kind}: save plain numbers, in floating point")
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def masks_of_zeros(network: nn.Module) -> Masks:
    """Return masks that count every zero among the prunable weights as pruned."""
    return {name: weight.detach() != 0 for name, weight in prunable_weights(network, exempt=[]).items()}
