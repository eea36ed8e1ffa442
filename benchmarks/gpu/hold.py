"""A job that leases one card and holds it until it is killed: `python -m benchmarks.gpu.hold DEVICE FOLDER`."""

import signal
import sys
from pathlib import Path

from workflow_scripts.shared import gpus as gpu
from workflow_scripts.shared.files import run_command


def main() -> None:
    """Lease a card, or a pretended one whose lock is in FOLDER, say so, and wait for a signal."""
    device, folder = sys.argv[1:]
    if device == "cuda":
        gpu.lease_gpus(1)
    else:
        gpu.lease(["pretended"], 1, Path(folder))
    print("has leased it", flush=True)
    signal.pause()


if __name__ == "__main__":
    run_command(main)
