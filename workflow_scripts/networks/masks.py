"""Masks in users' files, matched to a network."""

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

ENDINGS = ("_mask", ".mask")  # of a mask's name, after the name of its tensor or layer
MASK = re.compile(r"(?:^|[^A-Za-z])(?:[Mm]ask|MASK)(?:s|S)?(?![a-z])|[a-z]Masks?(?![a-z])")  # as a word in a name
# Types that torch computes with.
COMPUTED = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
}


def read_masks(network: nn.Module, path: Path) -> Masks:
    """Return the masks in a file: tensors of 0 and 1, or of bools, named after the layer or its weight.

    They are the tensors in the dict whose key contains the word "mask", or those whose names end in it, or else all.

    Raises:
        UserError: as in `read_tensors`, `mask_dicts` and `match_masks`; or there are no masks, or several such dicts.
    """
    leaves, containers = flatten(read_tensors(path), path)
    dicts = mask_dicts(leaves, containers, path)
    if len(dicts) > 1:
        raise UserError(f"{path} holds masks in several places, {listed(dicts)}: save only the right ones")
    masks = next(iter(dicts.values()), None) or {name: t for name, t in leaves.items() if isinstance(t, Tensor)}
    if not masks:
        raise UserError(
            f"{path} should hold masks, which are tensors named after their weights, but holds {listed(leaves)}"
        )
    matched = match_masks(network, masks, path)
    if not matched:
        raise UserError(
            f"{path} only has masks of biases and the like: name the masks after {listed(weights_of(network))}"
        )
    return matched


def mask_dicts(leaves: dict[str, object], containers: dict[str, str], path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors in each dict whose key contains the word "mask", by dotted name; arguments as for `flatten`.

    Raises:
        UserError: masks are in a list.
    """
    dicts: dict[str, dict[str, Tensor]] = {}
    for name, value in leaves.items():
        place = mask_dict(containers[name])
        if place is not None and isinstance(value, Tensor):
            dicts.setdefault(place, {})[below(name, place)] = value
        elif mask_dict(name) is not None and not isinstance(value, Tensor) and has_tensor(value):
            raise UserError(
                f"{path}: {shown(name)} is a {type(value).__name__}: save masks as tensors named after their weights"
            )
    return dicts


def mask_dict(name: str) -> str | None:
    """Return a dotted name up to the first component that contains the word "mask"; None if none does."""
    parts = name.split(".")
    return next((".".join(parts[: place + 1]) for place, part in enumerate(parts) if MASK.search(part)), None)


def has_tensor(value: object) -> bool:
    """Tell whether lists, tuples and dicts contain a tensor, at any depth; they may contain themselves."""
    pending, seen = [value], set()
    while pending:
        inner = pending.pop()
        if isinstance(inner, Tensor):
            return True
        if isinstance(inner, dict | list | tuple) and id(inner) not in seen:
            seen.add(id(inner))
            pending += inner.values() if isinstance(inner, dict) else inner
    return False


def masked_tensor(name: str, tensors: Collection[str]) -> str | None:
    """Return which of `tensors` a tensor of this name masks: x_mask masks x or x_orig, and layer.mask layer.weight."""
    for ending, own in (("_mask", ""), (".mask", ".weight")):
        if name.endswith(ending):
            masked = name.removesuffix(ending) + own
            return next((of for of in (f"{masked}_orig", masked) if of in tensors), None)
    return None


def match_masks(network: nn.Module, masks: dict[str, Tensor], path: Path) -> Masks:
    """Return masks by the names of `weights_of`; `masks` has them by the name of a layer or a weight, as in a file.

    Masks of ones for biases and the like are left out.

    Raises:
        UserError: a mask belongs to no weight, or as in `to_mask`.
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
            raise UserError(f"{path} has two masks of {key}, one called {shown(name)}: save only the right ones")
        if key is not None:
            matched[key] = to_mask(mask, weights[key].tensor, key, path)
        elif own not in others:
            raise UserError(
                f"{path} has a mask for {shown(own)}, but the network has no such weight of two or more dimensions:"
                f" name the masks after {listed(weights)}"
            )
        elif not to_mask(mask, others[own], own, path).all():
            raise UserError(
                f"{path}: the mask of {own} prunes a bias or the like, which is never pruned here: leave it out, or set"
                " these values to zero in the weight file"
            )
    return matched


def bare(name: str) -> str:
    """Return the name of the tensor or layer that a mask of this name belongs to."""
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return unwrap(name)


def to_mask(mask: Tensor, weight: Tensor, name: str, path: Path) -> Tensor:
    """Return a mask as bools; raise UserError unless it has its weight's shape and holds only 0 and 1."""
    if mask.shape != weight.shape:
        raise UserError(
            f"{path}: the mask of {shown(name)} is {shape(mask)}, but its weight is {shape(weight)}; name the masks"
            " that belong to these weights"
        )
    mask = plain_numbers(mask, f"the mask of {name}", path)
    if not ((mask == 0) | (mask == 1)).all():
        raise UserError(
            f"{path}: the mask of {shown(name)} holds numbers other than 0 and 1; give one that has 1 where a weight"
            " remains"
        )
    return mask.bool()


def plain_numbers(tensor: Tensor, name: str, path: Path) -> Tensor:
    """Return a tensor as a dense one; check its shape first, because a sparse tensor is filled up.

    Numbers of eight bits, with which torch hardly computes, become double precision.

    Raises:
        UserError: it is quantised, complex, has no data, or is a damaged sparse tensor.
    """
    kind = (
        "has no data" if tensor.is_meta
        else "is quantised" if tensor.is_quantized
        else "is complex" if tensor.is_complex()
        else ""
    )  # fmt: skip
    if kind:
        raise UserError(f"{path}: {shown(name)} {kind}: save plain numbers, in floating point")
    try:
        tensor = tensor if tensor.layout == torch.strided else filled(tensor)
        return tensor if tensor.dtype in COMPUTED else tensor.double()
    except (RuntimeError, ValueError, TypeError):
        raise UserError(
            f"{path}: {shown(name)}, of {tensor.dtype}, is damaged or of a kind that cannot be read: save plain"
            " numbers, in floating point"
        ) from None


def filled(tensor: Tensor) -> Tensor:
    """Return a sparse tensor as a dense one.

    Raises:
        RuntimeError, ValueError: there are more numbers than places, or some are outside of it: torch would write them
            anywhere.
    """
    if tensor.layout == torch.sparse_coo:
        if tensor._nnz() > tensor.numel():
            raise ValueError
        parts = tensor._indices(), tensor._values(), tensor.shape
        return torch.sparse_coo_tensor(*parts, check_invariants=True).to_dense()
    if tensor.values().numel() > tensor.numel():
        raise ValueError
    by_columns = tensor.layout in (torch.sparse_csc, torch.sparse_bsc)
    starts = tensor.ccol_indices() if by_columns else tensor.crow_indices()
    places = tensor.row_indices() if by_columns else tensor.col_indices()
    return torch.sparse_compressed_tensor(
        starts, places, tensor.values(), tensor.shape, layout=tensor.layout, check_invariants=True
    ).to_dense()


def masks_of_zeros(network: nn.Module) -> Masks:
    """Return masks that count every zero among the prunable weights as pruned."""
    return {name: weight.detach() != 0 for name, weight in prunable_weights(network, exempt=[]).items()}
