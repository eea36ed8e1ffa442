"""Precisions that forward passes run at, in training and in dissection."""

import logging
from functools import cache
from pathlib import Path

import torch

FORWARD = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
TRAINING = ("auto", *FORWARD)
CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and of ARM: products of bfloat16 in hardware


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run at `precision`, one of TRAINING."""
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16(device.type) else "float32"
    return torch.autocast(device.type, FORWARD[precision], enabled=precision != "float32")


@cache
def computes_bfloat16(device_type: str) -> bool:
    """Whether this machine multiplies in bfloat16, on its GPU or CPU; imitating that is slower than float32."""
    if device_type == "cuda":
        found = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = bool(CPU_FLAGS & cpu_flags(Path("/proc/cpuinfo")))
    logging.info("precision: %s, as this machine computes it", "bfloat16" if found else "float32")
    return found


def cpu_flags(path: Path) -> set[str]:
    """The instructions that Linux lists of a CPU; none on other systems."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[-1].split()}
