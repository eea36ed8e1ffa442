"""Precisions that forward passes run at, in training and in dissection."""

import torch

FORWARD = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run at `precision`, one of FORWARD."""
    return torch.autocast(device.type, FORWARD[precision], enabled=precision != "float32")
