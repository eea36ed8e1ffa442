"""Networks and pictures that several sections measure with."""

import os
from pathlib import Path

import numpy as np
import yaml

from benchmarks.input_pipeline import write_pictures
from workflow_scripts.data.decode import decode
from workflow_scripts.plan.code import ROOT

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RESNET50 = {"constructor": "torchvision.models:resnet50", "arguments": {}}
RESNET20 = {
    "constructor": "workflow_scripts.networks.architectures:small_resnet",
    "arguments": yaml.safe_load((ROOT / "configs/resnet20.yaml").read_text())["network"]["arguments"],
}
TINY = RESNET20 | {"arguments": RESNET20["arguments"] | {"widths": [16, 16], "blocks": [1, 1], "strides": [2, 2]}}


def photographs(folder: Path, count: int, side: int) -> np.ndarray:
    """Return made-up photographs, uint8 (count, side, side, 3), with the spectrum and the noise of JPEG files.

    The files are left in `folder`.
    """
    return np.stack([decode(data, "")[:side, :side] for data in write_pictures(folder, count)])


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
