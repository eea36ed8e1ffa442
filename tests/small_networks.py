"""Small networks of a user's own, constructed and saved."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from workflow_scripts.networks.constructors import build

HERE = f"{__name__}:small"
VIEW = {"size": 12, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def small(width: int = 4, classes: int = 3) -> nn.Module:
    """What a user's constructor could be."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 6, 3, groups=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
    )  # fmt: skip


class Bringing:
    """A constructor below a class, which may bring weights, or another network."""

    @staticmethod
    def maker(pretrained: bool = False, other: bool = False) -> nn.Module:
        """A small network; with constant weights if `pretrained`, with a softmax behind it if `other`."""
        network = small()
        if pretrained:
            nn.init.constant_(network.get_parameter("0.weight"), 0.25)
        return nn.Sequential(network, nn.Softmax(1)) if other else network


class Attending(nn.Module):
    """Attention over a picture's pixels, between a transposed convolution and the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.up = nn.ConvTranspose2d(3, 8, 2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.classes = nn.Linear(8, 3)


def drawn(seed: int = 0, **arguments: int) -> nn.Module:
    """A network that `small` makes of these arguments."""
    return build({"constructor": HERE, "arguments": arguments}, None, seed)


def saved(folder: Path, network: nn.Module, name: str = "weights.pt") -> Path:
    """The file of a network's state dict."""
    torch.save(network.state_dict(), folder / name)
    return folder / name


def greys(folder: Path) -> Path:
    """Class folders 0 to 11, a picture each."""
    for number in range(12):
        (folder / str(number)).mkdir(parents=True)
        Image.fromarray(np.full((16, 16, 3), 20 * number, np.uint8)).save(folder / f"{number}/x.png")
    return folder
