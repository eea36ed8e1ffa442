"""Which parameters of a network are weights, and which of these may be pruned."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from workflow_scripts.shared.files import UserError

PRUNABLE = ("conv", "transposed_conv", "linear", "attention")
# Transposed convolutions come first, because they are convolutions, too.
KINDS: dict[type | tuple[type, ...], str] = {
    _ConvTransposeNd: "transposed_conv",
    _ConvNd: "conv",
    nn.Linear: "linear",
    (nn.Embedding, nn.EmbeddingBag): "embedding",
}
ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


class Weight(NamedTuple):
    """A parameter of two or more dimensions: its name in the state dict, the tensor, and its kind."""

    parameter: str
    tensor: Tensor
    kind: str  # one of PRUNABLE, or "embedding" or "matrix", which are never pruned


def weights_of(network: nn.Module) -> dict[str, Weight]:
    """Return all parameters of two or more dimensions, which count as weights.

    A parameter that is the `weight` of its layer has the layer's name; others have their own. A shared one has its
    first name.
    """
    weights = {}
    for parameter, own_tensor in network.named_parameters():
        tensor: Tensor = own_tensor
        if tensor.ndim < 2:
            continue
        layer, _, own = parameter.rpartition(".")
        module = network.get_submodule(layer)
        plain = own.removesuffix("_orig")
        if plain != own and isinstance(remaining := getattr(module, plain, None), Tensor):  # torch.nn.utils.prune
            parameter, own, tensor = parameter.removesuffix("_orig"), plain, remaining
        weights[layer if own == "weight" else parameter] = Weight(parameter, tensor, kind_of(module, own))
    return weights


def kind_of(module: nn.Module, name: str) -> str:
    """Return the kind of weight that the parameter `name` of a module is."""
    if isinstance(module, nn.MultiheadAttention) and name in ATTENTION_WEIGHTS:
        return "attention"
    return next((kind for classes, kind in KINDS.items() if name == "weight" and isinstance(module, classes)), "matrix")


def prunable_weights(network: nn.Module, exempt: list[str]) -> dict[str, Tensor]:
    """Return the weights that may be pruned: those whose name matches no shell pattern in `exempt`.

    Raises:
        UserError: a pattern matches no layer, or nothing is left to prune.
    """
    weights = {name: weight.tensor for name, weight in weights_of(network).items() if weight.kind in PRUNABLE}
    if not weights:
        raise UserError("the network has no convolution, linear layer or attention: nothing in it can be pruned")
    for pattern in exempt:
        if not any(fnmatchcase(name, pattern) for name in weights):
            raise UserError(f"exempt: {pattern!r} matches no layer; the layers are {', '.join(weights)}")
    kept = {name: tensor for name, tensor in weights.items() if not any(fnmatchcase(name, p) for p in exempt)}
    if not kept:
        raise UserError("exempt leaves no layer to prune: remove some of its entries")
    return kept
