"""The networks for training that come with the workflow: each function is a constructor that a config can name."""

import torch
from torch import Tensor, nn

from workflow_scripts.shared.files import UserError


class Block(nn.Module):
    """A basic residual block (He et al. 2015, figure 2): two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, inner: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, inner, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's rectified maps for its input maps; both are (n, channels, h, w)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """See `small_resnet`."""

    def __init__(
        self,
        num_classes: int,
        widths: list[int],
        blocks: list[int],
        strides: list[int],
        inner: list[int],
        stem_kernel: int,
        stem_stride: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], stem_kernel, stem_stride, stem_kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        stages = []
        channels = widths[0]
        for width, between, depth, stride in zip(widths, inner, blocks, strides, strict=True):
            stage = []
            for i in range(depth):
                stage.append(Block(channels, between, width, stride if i == 0 else 1))
                channels = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of pictures (n, 3, h, w)."""
        x = torch.relu(self.norm(self.stem(x)))
        return self.classifier(self.stages(x).mean((2, 3)))


def small_resnet(
    num_classes: int,
    widths: list[int],
    blocks: list[int],
    strides: list[int],
    stem_kernel: int,
    stem_stride: int,
    inner: list[int] | None = None,
) -> nn.Module:
    """Return a residual network for small pictures: a convolution, stages of blocks, a global average, a classifier.

    Its input is float32 (images, 3, height, width) and its output (images, num_classes). `widths=[16, 32, 64],
    blocks=[3, 3, 3], strides=[1, 2, 2], stem_kernel=3, stem_stride=1` is the ResNet-20 for CIFAR-10 of He et al. 2015,
    section 4.2, with projection shortcuts.

    Args:
        num_classes: how many logits the network returns.
        widths: channels of each stage.
        blocks: residual blocks in each stage.
        strides: stride of each stage's first block.
        stem_kernel: size of the first convolution, odd.
        stem_stride: its stride.
        inner: channels between the two convolutions of a stage's blocks; by default as many as the stage's `widths`.

    Raises:
        UserError: `widths`, `blocks`, `strides` and `inner` have different lengths.
    """
    inner = widths if inner is None else inner
    if not len(widths) == len(blocks) == len(strides) == len(inner):
        raise UserError(
            f"small_resnet has {len(widths)} widths, {len(blocks)} blocks, {len(strides)} strides and {len(inner)}"
            " inner widths: give one of each for every stage in its arguments"
        )
    return SmallResNet(num_classes, widths, blocks, strides, inner, stem_kernel, stem_stride)
