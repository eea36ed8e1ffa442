"""Precisions that forward passes run at, in training and in dissection."""

import logging
from pathlib import Path

import torch

FORWARD = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
TRAINING = ("auto", *FORWARD)
CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and of ARM: products of bfloat16 in hardware


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run at `precision`, one of FORWARD."""
    return torch.autocast(device.type, FORWARD[precision], enabled=precision != "float32")


def resolved(precision: str, device: torch.device) -> str:
    """Return one of TRAINING as one of FORWARD: `auto` is bfloat16 where the device computes in it, else float32."""
    if precision != "auto":
        return precision
    found = "bfloat16" if computes_bfloat16(device.type) else "float32"
    logging.info("precision: %s, as this machine computes it", found)
    return found


def computes_bfloat16(device_type: str) -> bool:
    """Whether this machine's GPU or CPU multiplies in bfloat16, and does not imitate it."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(CPU_FLAGS & cpu_flags(Path("/proc/cpuinfo")))


def cpu_flags(path: Path) -> set[str]:
    """The instructions that Linux lists of a CPU; none on other systems."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[-1].split()}
