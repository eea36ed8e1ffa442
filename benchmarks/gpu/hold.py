"""A job that leases one card and holds it until it is killed: `python -m benchmarks.gpu.hold DEVICE NAME`."""

import signal
import sys

from workflow_scripts.shared import gpus as gpu
from workflow_scripts.shared.files import run_command


def main() -> None:
    """Lease a card, or a pretended one called NAME, say so, and wait for a signal."""
    device, name = sys.argv[1:]
    if device == "cuda":
        gpu.lease_gpus(1)
    else:
        gpu.lease([name], 1)
    print("has leased it", flush=True)
    signal.pause()


if __name__ == "__main__":
    run_command(main)
