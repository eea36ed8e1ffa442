"""The networks that the workflow trains, and which of their weights may be pruned."""

from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from workflow_scripts.files import UserError


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
            from workflow_scripts.train.torchvision_models import models

            network: nn.Module = models.resnet50(weights=None, num_classes=classes)
        else:
            network = SmallResNet(classes, **shape)
        if settings["norm_init"] == "uniform":
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight)
    return network.to(memory_format=torch.channels_last)


def weight_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers by name: the layers whose weights count as weights."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def prunable_layers(network: nn.Module, exempt: list[str]) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the weight layers whose name matches none of the shell patterns in `exempt`.

    Raises:
        UserError: a pattern matches no layer, or nothing is left to prune.
    """
    layers = weight_layers(network)
    if not layers:
        raise UserError("the network has no convolution and no linear layer, so that nothing in it can be pruned")
    for pattern in exempt:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise UserError(f"exempt: {pattern!r} matches no layer; there are {', '.join(layers)}")
    kept = {name: layer for name, layer in layers.items() if not any(fnmatchcase(name, pattern) for pattern in exempt)}
    if not kept:
        raise UserError("exempt leaves no layer to prune: take something out of it")
    return kept
