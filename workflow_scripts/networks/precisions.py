"""Precisions of forward passes, in training and in dissection."""

import logging
from pathlib import Path

import torch

FORWARD = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
TRAINING = ("auto", *FORWARD)
CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and ARM: bfloat16 products in hardware


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run in `precision`, one of FORWARD."""
    return torch.autocast(device.type, FORWARD[precision], enabled=precision != "float32")


def resolved(precision: str, device: torch.device) -> str:
    """Turn one of TRAINING into one of FORWARD: `auto` becomes bfloat16 if the device computes in it, else float32."""
    if precision != "auto":
        return precision
    found = "bfloat16" if computes_bfloat16(device.type) else "float32"
    logging.info("precision: %s, chosen for this machine", found)
    return found


def computes_bfloat16(device_type: str) -> bool:
    """Tell whether this machine's GPU or CPU multiplies in bfloat16 instead of emulating it."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(CPU_FLAGS & cpu_flags(Path("/proc/cpuinfo")))


def cpu_flags(path: Path) -> set[str]:
    """Return the instruction sets that Linux lists for the CPU; none on other systems."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[-1].split()}
