"""Weights in files of the user's own, made to fit a network."""

import logging
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workflow_scripts.bring.masks import mask_dict, mask_dicts, masked_tensor, match_masks, plain_numbers, to_mask
from workflow_scripts.bring.state_dicts import (
    Reading,
    choose_place,
    is_known,
    matches_any,
    places_of,
    unwrap,
    unwrapped,
    with_heads,
)
from workflow_scripts.bring.weight_files import below, flatten, listed, read_tensors, shape, shown, within
from workflow_scripts.files import UserError
from workflow_scripts.train.networks import weights_of
from workflow_scripts.train.pruning import Masks

WHOLE = Reading()


class Checkpoint(NamedTuple):
    """What a file holds, by dotted name.

    tensors: those that may be a network's; of torch.nn.utils.prune's x_orig under the name x.
    containers: the dict that each thing in the file stands in.
    beside: masks by the name of their tensor.
    dicts: by their names, dicts of masks by the name in them.
    left: the names of everything else.
    """

    tensors: dict[str, Tensor]
    containers: dict[str, str]
    beside: dict[str, Tensor]
    dicts: dict[str, dict[str, Tensor]]
    left: set[str]


def load_weights(network: nn.Module, path: Path, reading: Reading = WHOLE, with_masks: bool = True) -> Masks:
    """Load a file's weights into `network`, and return the masks that stand in the file, if any.

    The file holds a state dict, as torch saves it or as safetensors, at any depth among other things. Modules around
    the network are looked through, what is known not to belong to it is left out, and the log says what was taken and
    what was not. Masks are those that torch.nn.utils.prune leaves, and `with_masks` those in a dict beside the weights
    whose key has "mask" in it.

    Raises:
        UserError: as `read_checkpoint`, `choose_tensors`, `to_mask`, `require_fit`, `masks_beside`.
    """
    own = network.state_dict()
    wanted = unwrapped(own)
    checkpoint = read_checkpoint(path, wanted.keys())
    kept = {name for name, of in wanted.items() if matches_any(of, reading.missing)}
    chosen, extra = choose_tensors(checkpoint, wanted.keys(), kept, path, reading)
    state = {wanted[name]: checkpoint.tensors[of] for name, of in chosen.items()}
    masks = {
        wanted[name]: to_mask(checkpoint.beside[of], checkpoint.tensors[of], of, path)
        for name, of in chosen.items()
        if of in checkpoint.beside
    }
    # torch before 0.4.1 did not count the batches, which only matters to training.
    optional = {name for name in own if is_count(name)} | {wanted[name] for name in kept}
    drawn = {name: own[name] for name in optional - state.keys()}
    state = require_fit(drawn | state | {name: checkpoint.tensors[of] for name, of in extra.items()}, own, path)
    state |= {name: state[name] * mask for name, mask in masks.items()}
    masks = {key: masks[weight.parameter] for key, weight in weights_of(network).items() if weight.parameter in masks}
    if with_masks:
        masks |= masks_beside(network, checkpoint, chosen.values(), masks, path)
    network.load_state_dict(state)
    log_taken(path, checkpoint, chosen.values(), masks, {wanted[name] for name in kept})
    return masks


def read_checkpoint(path: Path, wanted: AbstractSet[str]) -> Checkpoint:
    """Read a file of weights for a network whose tensors have the names `wanted`.

    Raises:
        UserError: as `read_tensors`, `flatten`, `mask_dicts`; or it holds no tensor.
    """
    loaded = read_tensors(path)
    leaves, containers = flatten(loaded, path)
    dicts = mask_dicts(leaves, containers, path)
    apart = {name for name in leaves if mask_dict(containers[name]) in dicts}
    tensors = {
        name: value
        for name, value in leaves.items()
        if isinstance(value, Tensor) and name not in apart and not of_optimiser(containers[name])
    }
    left = leaves.keys() - tensors.keys() - apart
    beside = {}
    for name in list(tensors):
        of = masked_tensor(name, tensors)
        if of is None or places_of([unwrap(name)], wanted):  # the constructor's network has masks of its own
            continue
        stem = of.removesuffix("_orig")
        beside[stem] = tensors.pop(name)
        containers[stem], tensors[stem] = containers[of], tensors.pop(of)
    if not tensors:
        raise UserError(f"{path} should hold a state dict and holds none, only {listed(loaded) or 'an empty dict'}")
    return Checkpoint(tensors, containers, beside, dicts, left)


def of_optimiser(container: str) -> bool:
    """Tell whether the dict of this name is an optimiser's state, whose tensors go by numbers."""
    return any(part.startswith("optim") for part in container.split("."))


def choose_tensors(
    checkpoint: Checkpoint, wanted: AbstractSet[str], kept: AbstractSet[str], path: Path, reading: Reading
) -> tuple[dict[str, str], dict[str, str]]:
    """Return which tensors of a file are a network's, and which stand among them and are not.

    Both by names without wrappers, with the names that they have in the file.

    Args:
        checkpoint: the file's contents.
        wanted: the names of the network's tensors, without wrappers.
        kept: those of them that are not taken from the file.
        path: the file.
        reading: where to look.

    Raises:
        UserError: as `choose_place`, or `missing` names nothing of the network's.
    """
    for pattern in reading.missing:
        if not any(matches_any(name, [pattern]) for name in kept):
            raise UserError(f"missing: {pattern!r} is no layer or tensor of the network, which has {listed(wanted)}")
    names = with_heads(unwrapped(checkpoint.tensors), wanted)
    required = {name for name in wanted - kept if not is_count(name)}
    containers = {name: unwrap(checkpoint.containers[of]) for name, of in names.items()}
    place = choose_place(path, containers, required, wanted, reading)
    found = {below(name, place): name for name in names if within(name, place)}
    homes = {containers[name] for rest, name in found.items() if rest in wanted}
    chosen = {rest: names[name] for rest, name in found.items() if rest in wanted - kept}
    extra = {
        rest: names[name]
        for rest, name in found.items()
        if rest not in wanted and (containers[name] in homes or not homes) and not is_known(rest, reading)
    }
    return chosen, extra


def require_fit(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return a file's tensors in the types of the network's `own`.

    Raises:
        UserError: names or shapes are not the network's, which are named; or a tensor holds other than plain finite
            numbers.
    """
    lacking, extra = own.keys() - state.keys(), state.keys() - own.keys()
    other = {name for name in own.keys() & state.keys() if state[name].shape != own[name].shape}
    if lacking or extra or other:
        raise UserError(
            f"{path} is of another architecture than the constructor's: {differences(state, own)}; correct constructor,"
            f" arguments or weights{way_out(lacking | other, extra, own)}"
        )
    return {name: to_type(tensor, own[name], name, path) for name, tensor in state.items()}


def differences(state: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    """Return in words what differs between a file's tensors and the network's own."""
    lacking, extra = own.keys() - state.keys(), state.keys() - own.keys()
    if lacking or extra:
        lacks = f"lacks {listed(lacking)}" if lacking else ""
        has = f"has {listed(extra)}, which the network lacks" if extra else ""
        if normal := sorted(name for name in extra if name.endswith(("_g", "_v", "_u", "original0", "original1"))):
            has += f" ({shown(normal[0])} looks like a parametrisation, as weight_norm's: remove that before you save)"
        return f"it {' and '.join(filter(None, (lacks, has)))}"
    name = next(name for name in own if state[name].shape != own[name].shape)
    return f"{name} is {shape(state[name])}, and the network's {shape(own[name])}"


def way_out(lacking: AbstractSet[str], extra: AbstractSet[str], own: Collection[str]) -> str:
    """Return which key of the config would make tensors fit that lack some of a network's `own`, or have more."""
    if lacking and not extra and len(lacking) < len(own):
        return (
            f"; or, to dissect a network without these weights, add missing: [{listed(layers_of(lacking, own))}] to it"
        )
    if extra and not lacking:
        return f"; or, if the network does without, add unused: [{listed(layers_of(extra, own))}] to it"
    return ""


def layers_of(names: AbstractSet[str], own: Collection[str]) -> set[str]:
    """Return the outermost layers that hold these tensors and no other of a network's `own`, but counts of batches."""
    others = {name for name in own if name not in names and not is_count(name)}
    shared = {prefix for name in others for prefix in prefixes(name)}
    return {next(prefix for prefix in [*prefixes(name), name] if prefix not in shared) for name in names}


def is_count(name: str) -> bool:
    """Tell whether a tensor counts the batches of a batch-norm's training."""
    return name.endswith("num_batches_tracked")


def prefixes(name: str) -> list[str]:
    """Return what a dotted name begins with, shortest first, itself left out."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def to_type(tensor: Tensor, own: Tensor, name: str, path: Path) -> Tensor:
    """Return a tensor of a file as the network's own one has it; UserError unless it is of plain finite numbers."""
    tensor = plain_numbers(tensor, name, path)
    if own.is_floating_point() and not tensor.is_floating_point():
        raise UserError(
            f"{path}: {shown(name)} holds whole numbers, perhaps quantised ones: save floating-point numbers"
        )
    tensor = tensor.to(own.dtype)
    if not torch.isfinite(tensor).all():
        raise UserError(f"{path}: {shown(name)} holds what is not finite: give a network whose training went well")
    return tensor


def masks_beside(network: nn.Module, checkpoint: Checkpoint, taken: Iterable[str], left: Masks, path: Path) -> Masks:
    """Return the masks that stand in a dict beside the weights that were `taken`.

    Raises:
        UserError: there are several such dicts, or one elsewhere in the file; they differ from those that were `left`
            by torch.nn.utils.prune; or as `match_masks`.
    """
    homes = {checkpoint.containers[name] for name in taken}
    near = [place for place in checkpoint.dicts if all(within(home, place.rpartition(".")[0]) for home in homes)]
    if len(near) != 1:
        if checkpoint.dicts:
            raise UserError(
                f"{path} holds masks in {listed(checkpoint.dicts)}, and it is unclear whether they are those of the"
                " weights: save the right ones alone, and name that file under masks"
            )
        return {}
    masks = match_masks(network, checkpoint.dicts[near[0]], path)
    for name in masks.keys() & left.keys():
        if not torch.equal(masks[name], left[name]):
            raise UserError(
                f"{path} holds two different masks of {name}: save the right ones alone, and name that file under masks"
            )
    return masks


def log_taken(path: Path, checkpoint: Checkpoint, taken: Collection[str], masks: Masks, kept: AbstractSet[str]) -> None:
    """Log what was taken from a file, what was left out, and which of the network's tensors stay as they were drawn."""
    of_taken = {prefix for name in taken for prefix in prefixes(name)}
    left = checkpoint.left | (checkpoint.tensors.keys() - set(taken))
    left = {next(prefix for prefix in [*prefixes(name), name] if prefix not in of_taken) for name in left}
    homes = {checkpoint.containers[name] for name in taken} - {""}
    where = f" of {listed(homes)}" if homes else ""
    with_masks = f" and masks of {listed(masks, most=30)}" if masks else ""
    logging.info(
        "%s: took %d tensors%s%s%s",
        path,
        len(taken),
        where,
        with_masks,
        f"; left out {listed(left, most=30)}" if left else "",
    )
    if kept:
        logging.warning("missing: %s stay as the constructor draws them", listed(kept))
