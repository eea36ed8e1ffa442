"""Whether there is a GPU."""

from functools import cache
from pathlib import Path


@cache
def find_gpu() -> str | None:
    """ "cuda" where torch can use a GPU, else None."""
    if not Path("/dev/nvidiactl").exists():
        return None  # importing torch takes longer than many a dissection
    import torch

    return "cuda" if torch.cuda.is_available() else None
