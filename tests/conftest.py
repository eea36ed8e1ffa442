"""What several tests share."""

from typing import Any

import numpy as np
import pytest
import torch

from workflow_scripts.data.packed_images import PackedImages
from workflow_scripts.train.pictures import MemoryPictures

NETWORK: dict[str, Any] = {
    "constructor": "workflow_scripts.networks.architectures:small_resnet",
    "arguments": {"widths": [16, 16], "blocks": [1, 1], "strides": [1, 2], "stem_kernel": 3, "stem_stride": 2},
}
RESNET50 = {"constructor": "torchvision.models:resnet50", "arguments": {}}
TRAINING: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "micro_batch": "batch_size",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.01,
    "warmup_epochs": 1,
    "schedule": "cosine",
    "milestones": [],
    "gamma": 0.1,
    "shift": 2,
    "flip": True,
    "crop_scale": [0.3, 1.0],
    "crop_ratio": [0.8, 1.25],
    "precision": "float32",
    "compile": False,
}


@pytest.fixture(scope="session")
def packed() -> PackedImages:
    """40 noisy pictures of 4 classes, told apart by their brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    images = rng.integers(0, 60, (40, 12, 12, 3)) + 60 * labels[:, None, None, None]
    return PackedImages(images.astype(np.uint8), labels, ("a", "b", "c", "d"))


@pytest.fixture(scope="session")
def pictures(packed: PackedImages) -> MemoryPictures:
    """Packed pictures in memory on the CPU, normalised by a mean and a deviation of their own for each channel."""
    return MemoryPictures(packed, [0.5, 0.4, 0.3], [0.25, 0.2, 0.3], torch.device("cpu"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first, that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
