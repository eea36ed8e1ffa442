"""The process of one section: imports its module and calls `run(bench)`."""

import argparse
import faulthandler
import importlib
from pathlib import Path

from benchmarks.gpu.bench import Bench
from workflow_scripts.shared.files import run_command
from workflow_scripts.shared.gpus import use_gpus

OVERTIME = 1.05  # multiple of its seconds after which a section logs where it is, before it is killed


def main() -> None:
    """Run one section; if it exceeds its seconds, print every thread's traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("--device", required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    bench = Bench(args.device, args.small, args.seconds, args.folder, args.record)
    faulthandler.dump_traceback_later(max(1e-3, OVERTIME * args.seconds))
    use_gpus(1 if args.device == "cuda" else 0)
    importlib.import_module(args.module).run(bench)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    run_command(main)
