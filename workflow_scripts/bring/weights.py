"""Weights and masks in files of the user's own, made to fit a network. Nothing in such a file is ever executed."""

import pickle
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from workflow_scripts.files import UserError
from workflow_scripts.train.networks import prunable_weights, weights_of
from workflow_scripts.train.pruning import Masks

# Under which checkpoints keep the state dict, among other things.
USUAL_KEYS = ("state_dict", "model", "model_state_dict", "net", "network")


def load_weights(network: nn.Module, path: Path) -> Masks:
    """Load a file's weights into `network`, and return the masks that torch.nn.utils.prune has left in it, if any.

    The file is a state dict, or a checkpoint that holds one, as torch saves them or as safetensors. A first component
    that all names share, such as "module.", is dropped where the network's names lack it.

    Raises:
        UserError: as `read_tensors`, `state_dict_in`; or the names or shapes are not the network's, which are named.
    """
    state = state_dict_in(read_tensors(path), path)
    wanted = network.state_dict()
    state = without_prefix(state, with_pruning(wanted))
    pruned = {name: state.get(f"{weight.parameter}_mask") for name, weight in weights_of(network).items()}
    masks = {name: mask.bool() for name, mask in pruned.items() if mask is not None}
    state = merge_pruned(state)
    # torch before 0.4.1 did not count the batches, which only matters to training.
    state = {name: tensor for name, tensor in wanted.items() if name.endswith("num_batches_tracked")} | state
    require_fit(state, wanted, path)
    network.load_state_dict(state)
    return masks


def read_tensors(path: Path) -> dict:
    """Return what a file holds: tensors by name, or with torch's format nested dicts of them and of plain values.

    Raises:
        UserError: it is missing or damaged, or holds objects that only running code could restore.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}: correct the config's networks, or put it there")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged, or holds objects that only running code could restore, which is refused"
            f" ({blocked(error)}): save the state dict alone, torch.save(network.state_dict(), ...)"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path} is damaged, or no file of weights ({' '.join(str(error).split())[:150]}): copy or save it again"
        ) from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds a {type(loaded).__name__}, not a state dict: save network.state_dict()")
    return loaded


def blocked(error: pickle.UnpicklingError) -> str:
    """Return the object that torch refused to restore, from its words."""
    words = str(error).split("GLOBAL ", 1)
    return words[1].split()[0] if len(words) == 2 else "its pickle does not load"


def state_dict_in(loaded: dict, path: Path) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint: what was loaded itself, or the one dict of tensors in it.

    Raises:
        UserError: there is none, or it is unclear which.
    """
    if is_state_dict(loaded):
        return loaded
    found = [key for key, value in loaded.items() if is_state_dict(value)]
    usual = [key for key in found if key in USUAL_KEYS]
    if len(found) != 1 and len(usual) != 1:
        what = f"several: {listed(found)}" if found else f"none, only {listed(loaded)}"
        raise UserError(f"{path} should hold one state dict and holds {what}; save the one alone")
    return loaded[(usual or found)[0]]


def is_state_dict(value: object) -> bool:
    """Tell whether this is a dict of tensors by name, and of nothing else."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def without_prefix(tensors: dict[str, Tensor], known: AbstractSet[str]) -> dict[str, Tensor]:
    """Return `tensors` without as many first components, shared by all names, as make the most names `known`."""
    found = [tensors]
    while len({name.partition(".")[0] for name in found[-1]}) == 1 and all("." in name for name in found[-1]):
        found.append({name.partition(".")[2]: tensor for name, tensor in found[-1].items()})
    return max(found, key=lambda named: len(named.keys() & known))


def with_pruning(names: Iterable[str]) -> set[str]:
    """Return a network's names, and those that torch.nn.utils.prune has for pruned tensors in their place."""
    return {f"{name}{ending}" for name in names for ending in ("", "_orig", "_mask")}


def merge_pruned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with each pair `x_orig` and `x_mask` made one `x`, their product."""
    merged = {}
    for name, tensor in state.items():
        if name.endswith("_orig") and name.removesuffix("_orig") + "_mask" in state:
            merged[name.removesuffix("_orig")] = tensor * state[name.removesuffix("_orig") + "_mask"]
        elif not (name.endswith("_mask") and name.removesuffix("_mask") + "_orig" in state):
            merged[name] = tensor
    return merged


def require_fit(state: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    """Raise UserError, which names what differs, unless names and shapes are those of the network."""
    missing, extra = (listed(a.keys() - b.keys()) for a, b in ((wanted, state), (state, wanted)))
    if missing or extra:
        lacks = f"lacks {missing}" if missing else ""
        has = f"has {extra}, which the network lacks" if extra else ""
        raise UserError(
            f"{path} is of another architecture than the constructor's: it {' and '.join(filter(None, (lacks, has)))};"
            " correct constructor, arguments or weights"
        )
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_complex()
        if not plain or not torch.isfinite(tensor).all():
            raise UserError(
                f"{path}: {name} is sparse, complex, without data, or holds what is not finite: save plain numbers"
            )
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"{path} is of another architecture than the constructor's: {name} is {shape(tensor)}, and the"
                f" network's {shape(wanted[name])}; correct constructor, arguments or weights"
            )


def read_masks(network: nn.Module, path: Path) -> Masks:
    """Return the masks in a file: tensors of 0 and 1, or of bools, by the name of the layer or of its weight.

    Raises:
        UserError: as `read_tensors`; or a mask is of no weight, of another shape than its weight, or holds other
            numbers.
    """
    weights = weights_of(network)
    loaded = read_tensors(path)
    if isinstance(loaded.get("masks"), dict):  # a network.pt of this workflow
        loaded = loaded["masks"]
    if not is_state_dict(loaded):
        raise UserError(f"{path} should hold masks, tensors by the name of their weight, and holds {listed(loaded)}")
    named = {name.removesuffix(".weight"): mask for name, mask in loaded.items()}
    named = without_prefix(named, weights.keys())
    masks = {}
    for name, mask in named.items():
        if name not in weights:
            raise UserError(
                f"{path} has a mask for {name}, and the network has no such weight of two or more dimensions: name the"
                f" masks after {listed(weights)}"
            )
        weight = weights[name].tensor
        if mask.shape != weight.shape:
            raise UserError(
                f"{path}: the mask of {name} is {shape(mask)}, and its weight {shape(weight)}; name the masks that"
                " belong to these weights"
            )
        if not ((mask == 0) | (mask == 1)).all():
            raise UserError(
                f"{path}: the mask of {name} holds numbers other than 0 and 1; give one that says what remains"
            )
        masks[name] = mask.bool()
    return masks


def masks_of_zeros(network: nn.Module) -> Masks:
    """Return masks that say of every weight that is zero, of those that pruning takes, that it was pruned."""
    return {name: weight.detach() != 0 for name, weight in prunable_weights(network, exempt=[]).items()}


def shape(tensor: Tensor) -> str:
    """Return a shape as people write it: 64 x 3 x 7 x 7."""
    return " x ".join(str(side) for side in tensor.shape) or "a number"


def listed(names: Iterable) -> str:
    """Return up to four names, and how many more there are."""
    names = sorted(map(str, names))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
