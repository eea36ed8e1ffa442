"""The networks that the workflow trains, and which of their weights may be pruned."""

from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from workflow_scripts.shared.files import UserError

PRUNABLE = ("conv", "transposed_conv", "linear", "attention")
# Transposed convolutions are convolutions, too, so that they come first.
KINDS = {
    _ConvTransposeNd: "transposed_conv",
    _ConvNd: "conv",
    nn.Linear: "linear",
    (nn.Embedding, nn.EmbeddingBag): "embedding",
}
ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


class Block(nn.Module):
    """A basic residual block (He et al. 2015, figure 2): two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A residual network for small pictures: a convolution, stages of blocks, global average, classifier.

    `widths=[16, 32, 64], blocks=[3, 3, 3], strides=[1, 2, 2], stem_kernel=3, stem_stride=1` is the ResNet-20 for
    CIFAR-10 of He et al. 2015, section 4.2, with projection shortcuts.
    """

    def __init__(
        self,
        classes: int,
        widths: list[int],
        blocks: list[int],
        strides: list[int],
        stem_kernel: int,
        stem_stride: int,
    ) -> None:
        super().__init__()
        if not len(widths) == len(blocks) == len(strides):
            raise UserError("network.widths, network.blocks and network.strides must have the same length")
        self.stem = nn.Conv2d(3, widths[0], stem_kernel, stem_stride, stem_kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        stages = []
        channels = widths[0]
        for width, depth, stride in zip(widths, blocks, strides, strict=True):
            stage = []
            for i in range(depth):
                stage.append(Block(channels, width, stride if i == 0 else 1))
                channels = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        return self.classifier(self.stages(x).mean((2, 3)))


def build_network(settings: dict, classes: int, seed: int) -> nn.Module:
    """Return a network as `settings` (the config's `network` section) describes, initialised from `seed`.

    Its input is float32 (images, 3, size, size), its output (images, classes).
    """
    shape = {key: value for key, value in settings.items() if key not in ("architecture", "norm_init")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings["architecture"] == "resnet50":
            # torchvision takes a second to import; the small networks do without it.
            from workflow_scripts.networks.torchvision_models import models

            network: nn.Module = models.resnet50(weights=None, num_classes=classes)
        else:
            network = SmallResNet(classes, **shape)
        if settings["norm_init"] == "uniform":
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight)
    return network.to(memory_format=torch.channels_last)


class Weight(NamedTuple):
    """A parameter of two or more dimensions: its name in the state dict, itself, and what kind it is."""

    parameter: str
    tensor: Tensor
    kind: str  # one of PRUNABLE, or "embedding" or "matrix", which are never pruned


def weights_of(network: nn.Module) -> dict[str, Weight]:
    """Return all parameters of two or more dimensions: those that count as weights.

    They go by the name of their layer if they are its `weight`, and else by their own; a shared one by its first name.
    """
    weights = {}
    for parameter, tensor in network.named_parameters():
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
    """Return what kind of weight the parameter `name` of a module is."""
    if isinstance(module, nn.MultiheadAttention) and name in ATTENTION_WEIGHTS:
        return "attention"
    return next((kind for classes, kind in KINDS.items() if name == "weight" and isinstance(module, classes)), "matrix")


def prunable_weights(network: nn.Module, exempt: list[str]) -> dict[str, Tensor]:
    """Return the weights that pruning takes whose name matches none of the shell patterns in `exempt`.

    Raises:
        UserError: a pattern matches none, or nothing is left to prune.
    """
    weights = {name: weight.tensor for name, weight in weights_of(network).items() if weight.kind in PRUNABLE}
    if not weights:
        raise UserError("the network has no convolution, linear layer or attention: nothing in it can be pruned")
    for pattern in exempt:
        if not any(fnmatchcase(name, pattern) for name in weights):
            raise UserError(f"exempt: {pattern!r} matches no layer; there are {', '.join(weights)}")
    kept = {name: tensor for name, tensor in weights.items() if not any(fnmatchcase(name, p) for p in exempt)}
    if not kept:
        raise UserError("exempt leaves no layer to prune: take something out of it")
    return kept
