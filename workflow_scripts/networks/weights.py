"""Weights in users' files, matched to a network."""

import logging
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workflow_scripts.networks.masks import mask_dict, mask_dicts, masked_tensor, match_masks, plain_numbers, to_mask
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import Masks
from workflow_scripts.networks.state_dicts import (
    Reading,
    choose_place,
    is_copy,
    is_known,
    is_unused,
    matches_any,
    places_of,
    unwrap,
    unwrapped,
    with_heads,
)
from workflow_scripts.networks.weight_files import below, flatten, listed, read_tensors, shape, shown, within
from workflow_scripts.shared.files import UserError

WHOLE = Reading()
MOST_LAYERS = 4  # if more layers differ, the file is of another network


class Checkpoint(NamedTuple):
    """The contents of a file, by dotted name.

    tensors: those that may belong to a network; x_orig of torch.nn.utils.prune has the name x.
    containers: the dict that contains each entry of the file.
    pairs: masks by the name of their tensor.
    dicts: dicts of masks, by the name of the dict and then the name in it.
    rest: the names of all other entries.
    """

    tensors: dict[str, Tensor]
    containers: dict[str, str]
    pairs: dict[str, Tensor]
    dicts: dict[str, dict[str, Tensor]]
    rest: set[str]


def load_weights(network: nn.Module, path: Path, reading: Reading = WHOLE, with_masks: bool = True) -> Masks:
    """Load a file's weights into `network`, and return the masks in the file, if any.

    The file holds a state dict, in torch's or the safetensors format, at any depth among other entries. Modules that
    wrap the network are ignored, entries that are known not to belong to it are left out, and the log says what was
    taken and what was not. Masks are those that torch.nn.utils.prune leaves and, `with_masks`, those in a dict beside
    the weights whose key contains the word "mask".

    Raises:
        UserError: as in `read_checkpoint`, `choose_tensors`, `to_mask`, `require_no_masks`, `require_fit`,
            `masks_beside`.
    """
    own = network.state_dict()
    wanted = unwrapped(dict.fromkeys(own, ""))
    checkpoint = read_checkpoint(path, wanted.keys(), with_masks)
    drawn = {name for name, full in wanted.items() if matches_any(full, reading.missing)}
    chosen, extra = choose_tensors(checkpoint, wanted.keys(), drawn, path, reading)
    if with_masks:
        require_no_masks(checkpoint, chosen.values(), wanted.keys(), path, reading)
    state = {wanted[name]: checkpoint.tensors[in_file] for name, in_file in chosen.items()}
    pruned = {
        wanted[name]: to_mask(checkpoint.pairs[in_file], checkpoint.tensors[in_file], in_file, path)
        for name, in_file in chosen.items()
        if in_file in checkpoint.pairs
    }
    # torch before 0.4.1 did not count batches; the count only matters in training.
    optional = {name for name in own if is_count(name)} | {wanted[name] for name in drawn}
    kept = {name: own[name] for name in optional - state.keys()}
    state = require_fit(
        kept | state | {name: checkpoint.tensors[in_file] for name, in_file in extra.items()}, own, path
    )
    state |= {name: state[name] * mask for name, mask in pruned.items()}
    masks = {key: pruned[weight.parameter] for key, weight in weights_of(network).items() if weight.parameter in pruned}
    masks |= masks_beside(network, checkpoint, chosen.values(), masks, path)
    network.load_state_dict(state)
    log_taken(path, checkpoint, chosen.values(), masks, {wanted[name] for name in drawn})
    return masks


def read_checkpoint(path: Path, wanted: AbstractSet[str], with_masks: bool) -> Checkpoint:
    """Read a weight file for a network whose tensors have the names `wanted`; look for dicts of masks if `with_masks`.

    Raises:
        UserError: as in `read_tensors`, `flatten` and `mask_dicts`; or the file holds no tensor.
    """
    loaded = read_tensors(path)
    leaves, containers = flatten(loaded, path)
    dicts = mask_dicts(leaves, containers, path) if with_masks else {}
    apart = {name for name in leaves if mask_dict(containers[name]) in dicts}
    tensors = {
        name: value
        for name, value in leaves.items()
        if isinstance(value, Tensor) and name not in apart and not of_optimiser(containers[name])
    }
    rest = leaves.keys() - tensors.keys() - apart
    pairs = {}
    for name in list(tensors):
        masked = masked_tensor(name, tensors)
        if masked is None or places_of([unwrap(name)], wanted):  # the network itself has such a mask
            continue
        plain = masked.removesuffix("_orig")
        pairs[plain] = tensors.pop(name)
        containers[plain], tensors[plain] = containers[masked], tensors.pop(masked)
    if not tensors:
        raise UserError(f"{path} should hold a state dict, but only holds {listed(loaded) or 'an empty dict'}")
    return Checkpoint(tensors, containers, pairs, dicts, rest)


def of_optimiser(container: str) -> bool:
    """Tell whether the dict of this name is an optimiser's state, whose tensors are named by numbers."""
    return any(part.startswith("optim") for part in container.split("."))


def choose_tensors(
    checkpoint: Checkpoint, wanted: AbstractSet[str], drawn: AbstractSet[str], path: Path, reading: Reading
) -> tuple[dict[str, str], dict[str, str]]:
    """Return which tensors of a file belong to a network, and which are among them but do not.

    Both map names without wrappers to the names in the file.

    Args:
        checkpoint: the file's contents.
        wanted: the names of the network's tensors, without wrappers.
        drawn: those of them that are not taken from the file.
        path: the file.
        reading: where to look.

    Raises:
        UserError: as in `choose_place` and `require_choice`; or `missing` names no tensor of the network, or all of
            them.
    """
    for pattern in reading.missing:
        if not any(matches_any(name, [pattern]) for name in drawn):
            raise UserError(f"missing: {pattern!r} is not a layer or tensor of the network, which has {listed(wanted)}")
    if drawn == wanted:
        raise UserError('missing: nothing would be taken from the file: write weights: "none" for an untrained network')
    require_choice(checkpoint, path, reading)
    in_file = with_heads(unwrapped({name: checkpoint.containers[name] for name in checkpoint.tensors}), wanted)
    required = {name for name in wanted - drawn if not is_count(name)}
    containers = {name: checkpoint.containers[full] for name, full in in_file.items()}
    place = choose_place(path, containers, required, wanted, reading)
    found = {below(name, place): name for name in in_file if within(name, place)}
    homes = {containers[name] for own, name in found.items() if own in wanted}
    chosen = {own: in_file[name] for own, name in found.items() if own in wanted - drawn}
    extra = {
        own: in_file[name]
        for own, name in found.items()
        # Dicts beside the one that holds the network do not belong to it; but if each module has its own dict, they are
        # modules.
        if own not in wanted and (len(homes) != 1 or containers[name] in homes) and not is_known(own, reading)
    }
    return chosen, extra


def require_choice(checkpoint: Checkpoint, path: Path, reading: Reading) -> None:
    """Raise UserError for files that have a running average in the network's place, unless `part` chooses.

    Lightning's WeightAveraging and mmengine's EMAHook write such files.
    """
    names = checkpoint.tensors.keys() | checkpoint.rest
    of_mmengine = any(within(name, "meta.mmengine_version") or within(name, "message_hub") for name in names)
    for raw in ("current_model_state", *(["ema_state_dict"] if of_mmengine else [])):
        if not reading.part and any(within(name, raw) for name in names):
            raise UserError(
                f"{path} has the running average under state_dict, and the weights themselves under {raw}: add part:"
                f" {raw} or part: state_dict to this network"
            )


def require_no_masks(
    checkpoint: Checkpoint, taken: Collection[str], wanted: AbstractSet[str], path: Path, reading: Reading
) -> None:
    """Raise UserError for tensors that are called masks and would be left out, except those of another copy."""
    for name in checkpoint.tensors.keys() - set(taken):
        of_network = places_of([unwrap(name)], wanted)
        if mask_dict(name) and not is_copy(name) and not of_network and not is_unused(name, reading):
            raise UserError(
                f"{path} has masks in {shown(name)}, but it is unclear to which weights they belong: save masks as"
                " tensors named after their weights, and name that file under masks; or, if none of them prunes, add"
                f" unused: [{shown(name)}] to this network"
            )


def require_fit(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return a file's tensors, converted to the types of the network's `own`.

    Raises:
        UserError: names or shapes differ from the network's; or a tensor does not hold plain finite numbers.
    """
    lacking, extra = own.keys() - state.keys(), state.keys() - own.keys()
    other = {name for name in own.keys() & state.keys() if state[name].shape != own[name].shape}
    if lacking or extra or other:
        raise UserError(
            f"{path} has a different architecture from the constructor's: {differences(state, own)}; correct"
            f" constructor, arguments or weights{way_out(lacking | other, extra, own)}"
        )
    return {name: to_type(tensor, own[name], name, path) for name, tensor in state.items()}


def differences(state: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    """Describe how a file's tensors differ from the network's `own`."""
    lacking, extra = own.keys() - state.keys(), state.keys() - own.keys()
    if lacking or extra:
        lacks = f"lacks {listed(lacking)}" if lacking else ""
        has = f"has {listed(extra)}, which the network lacks" if extra else ""
        if normal := sorted(name for name in extra if name.endswith(("_g", "_v", "_u", "original0", "original1"))):
            has += f" ({shown(normal[0])} looks like a parametrisation, as of weight_norm: remove that before you save)"
        return f"it {' and '.join(filter(None, (lacks, has)))}"
    name = next(name for name in own if state[name].shape != own[name].shape)
    return f"{name} is {shape(state[name])}, but the network's is {shape(own[name])}"


def way_out(lacking: AbstractSet[str], extra: AbstractSet[str], own: Collection[str]) -> str:
    """Return the config keys that make a file fit if it lacks a few of a network's `own` tensors, or has others."""
    layers = {"missing": layers_of(lacking, own), "unused": layers_of(extra, own)}
    if 2 * len(lacking) > len(own) or max(map(len, layers.values())) > MOST_LAYERS:
        return ""
    keys = " and ".join(f"{key}: [{listed(names)}]" for key, names in layers.items() if names)
    return f"; or, if the network does not need these, add {keys} to it"


def layers_of(names: AbstractSet[str], own: Collection[str]) -> set[str]:
    """Return the outermost layers that hold, besides batch counts, only these of a network's `own` tensors."""
    others = {name for name in own if name not in names and not is_count(name)}
    shared = {prefix for name in others for prefix in prefixes(name)}
    return {next((prefix for prefix in prefixes(name) if prefix not in shared), name) for name in names}


def is_count(name: str) -> bool:
    """Tell whether a tensor counts the batches that a batch-norm was trained on."""
    return name.endswith("num_batches_tracked")


def prefixes(name: str) -> list[str]:
    """Return the proper prefixes of a dotted name, shortest first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def to_type(tensor: Tensor, own: Tensor, name: str, path: Path) -> Tensor:
    """Return a file's tensor in the type of the network's `own`; raise UserError unless it is plain and finite."""
    tensor = plain_numbers(tensor, name, path)
    if own.is_floating_point() and not tensor.is_floating_point():
        raise UserError(
            f"{path}: {shown(name)} holds whole numbers, perhaps quantised ones: save floating-point numbers"
        )
    tensor = tensor.to(own.dtype)
    if not torch.isfinite(tensor).all():
        raise UserError(
            f"{path}: {shown(name)} holds numbers that are not finite: give a network whose training succeeded"
        )
    return tensor


def masks_beside(network: nn.Module, checkpoint: Checkpoint, taken: Iterable[str], pruned: Masks, path: Path) -> Masks:
    """Return the masks in a dict beside the weights that were `taken`.

    Raises:
        UserError: there are several such dicts, or one elsewhere in the file; the masks differ from `pruned`, those
            that torch.nn.utils.prune left; or as in `match_masks`.
    """
    homes = {checkpoint.containers[name] for name in taken}
    near = [place for place in checkpoint.dicts if all(within(home, place.rpartition(".")[0]) for home in homes)]
    if len(near) != 1:
        if checkpoint.dicts:
            raise UserError(
                f"{path} holds masks in {listed(checkpoint.dicts)}, but it is unclear whether they belong to these"
                " weights: save only the right ones, and name that file under masks"
            )
        return {}
    masks = match_masks(network, checkpoint.dicts[near[0]], path)
    for name in masks.keys() & pruned.keys():
        if not torch.equal(masks[name], pruned[name]):
            raise UserError(
                f"{path} holds two different masks of {name}: save only the right ones, and name that file under masks"
            )
    return masks


def log_taken(
    path: Path, checkpoint: Checkpoint, taken: Collection[str], masks: Masks, drawn: AbstractSet[str]
) -> None:
    """Log what was taken from a file, what was left out, and which of the network's tensors stay as drawn."""
    of_taken = {prefix for name in taken for prefix in prefixes(name)}
    left_out = checkpoint.rest | (checkpoint.tensors.keys() - set(taken))
    left_out = {next((prefix for prefix in prefixes(name) if prefix not in of_taken), name) for name in left_out}
    homes = {checkpoint.containers[name] for name in taken} - {""}
    where = f" of {listed(homes)}" if homes else ""
    with_masks = f" and masks of {listed(masks, most=30)}" if masks else ""
    rest = f"; left out {listed(left_out, most=30)}" if left_out else ""
    logging.info("%s: took %d tensors%s%s%s", path, len(taken), where, with_masks, rest)
    if drawn:
        logging.warning("missing: %s stay as the constructor draws them", listed(drawn))
