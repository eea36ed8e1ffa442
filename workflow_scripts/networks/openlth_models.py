"""The networks for CIFAR-10 that OpenLTH trains, written anew; their modules and tensors have the same names."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from workflow_scripts.shared.files import UserError

# Channels of the 3x3 convolutions between poolings: Simonyan & Zisserman 2014, table 1, columns A, B, D and E.
VGG_STAGES = {
    11: [[64], [128], [256] * 2, [512] * 2, [512] * 2],
    13: [[64] * 2, [128] * 2, [256] * 2, [512] * 2, [512] * 2],
    16: [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3],
    19: [[64] * 2, [128] * 2, [256] * 4, [512] * 4, [512] * 4],
}


class ResidualBlock(nn.Module):
    """A basic residual block (He et al. 2015, figure 2); a 1x1 convolution is the shortcut where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        widens = channels_out != channels_in
        stride = 2 if widens else 1
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        projection = [nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)]
        self.shortcut = nn.Sequential(*projection if widens else [])

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's rectified maps for its input maps; both are (n, channels, h, w)."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class CifarResNet(nn.Module):
    """See `cifar_resnet`."""

    def __init__(self, blocks: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        channels = [width, *[width] * blocks, *[2 * width] * blocks, *[4 * width] * blocks]
        self.blocks = nn.Sequential(*[ResidualBlock(before, after) for before, after in pairwise(channels)])
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of pictures (n, 3, h, w)."""
        x = self.blocks(torch.relu(self.bn(self.conv(x))))
        return self.fc(x.mean((2, 3)))


class NormedConvolution(nn.Module):
    """A 3x3 convolution, batch-norm and ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified maps for the input maps; both are (n, channels, h, w)."""
        return torch.relu(self.bn(self.conv(x)))


class CifarVGG(nn.Module):
    """See `cifar_vgg`."""

    def __init__(self, stages: list[list[int]], num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in stages:
            for width in stage:
                layers.append(NormedConvolution(channels, width))
                channels = width
            layers.append(nn.MaxPool2d(2))
        # The global average replaces the pooling after the last stage.
        self.layers = nn.Sequential(*layers[:-1])
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of pictures (n, 3, h, w)."""
        return self.fc(self.layers(x).mean((2, 3)))


def cifar_resnet(depth: int, width: int = 16, num_classes: int = 10) -> nn.Module:
    """Return the residual network for CIFAR-10 of He et al. 2015, section 4.2, with projection shortcuts.

    It has `depth` weight layers, not counting the shortcuts; its three stages have `width`, 2 x `width` and 4 x `width`
    channels. Its input is float32 (images, 3, height, width) and its output (images, num_classes).

    Raises:
        UserError: `depth` is not 8, 14, 20, ...
    """
    if depth < 8 or depth % 6 != 2:
        raise UserError(f"cifar_resnet has no depth {depth}: give 8, 14, 20 or another 6 n + 2")
    return initialised(CifarResNet((depth - 2) // 6, width, num_classes))


def cifar_vgg(depth: int, num_classes: int = 10) -> nn.Module:
    """Return the VGG of Simonyan & Zisserman 2014, table 1, with batch-norm, and one linear layer instead of three.

    Its input is float32 (images, 3, height, width), with sides of at least 16, and its output (images, num_classes).
    The whole last maps are averaged, whereas OpenLTH averages 2x2 places; for its pictures of 32x32 this is the same.

    Raises:
        UserError: `depth` is not one of 11, 13, 16 and 19, as in the table.
    """
    if depth not in VGG_STAGES:
        raise UserError(f"cifar_vgg has no depth {depth}: give one of {', '.join(map(str, VGG_STAGES))}")
    return initialised(CifarVGG(VGG_STAGES[depth], num_classes))


def initialised(network: nn.Module) -> nn.Module:
    """Draw the weights as OpenLTH does by default: normal with variance 2 / fan-in (He et al. 2015, "Delving deep")."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return network
