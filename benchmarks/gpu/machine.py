"""The machine that the numbers were measured on."""

import os
import platform
import re
import shutil
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CARD = ("name", "memory.total", "driver_version")  # names in nvidia-smi
PACKAGES = ("torch", "torchvision", "numpy", "h5py", "numba")


def describe_machine() -> dict:
    """Return the first card that the driver lists, versions, processor and date; None for missing items."""
    import torch

    card, memory, driver = query_card()
    return {
        "card": card,
        "memory": memory,
        "driver": driver,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **{package: installed(package) for package in PACKAGES},
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "date": datetime.now().isoformat(timespec="seconds"),
    }


def query_card() -> tuple[str | None, ...]:
    """Return the name, memory and driver version of the first card."""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", f"--query-gpu={','.join(CARD)}", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True)
        if found.returncode == 0 and found.stdout.strip():
            return tuple(found.stdout.splitlines()[0].split(", "))
    return (None,) * len(CARD)


def installed(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """Return the processor's name, as Linux reports it."""
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else None
