"""Networks and pictures that several sections use."""

import os
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.input_pipeline import write_pictures
from workflow_scripts.data.decode import decode
from workflow_scripts.data.packed_images import PackedImages
from workflow_scripts.plan.code import ROOT
from workflow_scripts.train.controls import untrained_calibrated
from workflow_scripts.train.pictures import MemoryPictures
from workflow_scripts.train.training import batch_norms

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RESNET50 = {"constructor": "torchvision.models:resnet50", "arguments": {}}
RESNET20 = {
    "constructor": "workflow_scripts.networks.architectures:small_resnet",
    "arguments": yaml.safe_load((ROOT / "configs/resnet20.yaml").read_text())["network"]["arguments"],
}
TINY = RESNET20 | {"arguments": RESNET20["arguments"] | {"widths": [16, 16], "blocks": [1, 1], "strides": [2, 2]}}


def photographs(folder: Path, count: int, side: int) -> np.ndarray:
    """Return made-up photographs, uint8 (count, side, side, 3), with the spectrum and the noise of JPEG files.

    The files remain in `folder`.
    """
    return np.stack([decode(data, "")[:side, :side] for data in write_pictures(folder, count)])


def calibrated(network: nn.Module, drawn: np.ndarray, device: torch.device) -> nn.Module:
    """Return a network on the device with batch-norm statistics of the pictures; without them, activations overflow."""
    network.to(device)
    if batch_norms(network):
        shown = PackedImages(drawn, np.zeros(len(drawn), np.int64), ("a",))
        untrained_calibrated.make(network, {}, MemoryPictures(shown, MEAN, STD, device), seed=1)
    return network


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
