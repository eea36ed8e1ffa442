"""Check what runs on a GPU, and measure how fast it is, with one command in a few minutes.

    python -m benchmarks.gpu                                    # all sections, nine minutes at most
    python -m benchmarks.gpu --only dump train --minutes 5
    python -m benchmarks.gpu --small --device cpu               # the same code on tiny data, without a GPU

Sections: exact and dissect (what a GPU counts, and how fast), dump (forward passes), train, lease (several jobs on one
card). Each runs in a process of its own, because a CUDA error leaves a process unusable, and has a share of the time;
the time that it leaves goes to later sections. At the end the command prints a table and the name of a JSON file; its
exit status is 1 if anything failed. The sections' logs are in the same folder.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.machine import describe_machine
from benchmarks.gpu.runner import run_sections, write_report
from benchmarks.gpu.table import table, tell

SECTIONS = {name: f"benchmarks.gpu.{name}" for name in ("exact", "dissect", "dump", "train", "lease")}


def main(arguments: list[str] | None = None, sections: dict[str, str] = SECTIONS) -> int:
    """Run `sections`, modules by name, as the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sections, default=list(sections), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=9, help="time limit for all sections together")
    parser.add_argument("--small", action="store_true", help="tiny networks and pictures: the numbers mean nothing")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", type=Path, help="folder for results; by default $OUT, or a new temporary folder")
    args = parser.parse_args(arguments)
    out = Path(args.out or os.environ.get("OUT") or tempfile.mkdtemp(prefix="gpu_benchmark_")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = {name: module for name, module in sections.items() if name in args.only}
    report = {
        "command": " ".join(sys.argv),
        "minutes": args.minutes,
        "device": args.device,
        "small": args.small,
        **describe_machine(),
        "sections": [],
    }
    for section in run_sections(chosen, args.device, args.small, args.minutes, out):
        report["sections"].append(section)
        write_report(out / "gpu.json", report)  # after each section, in case this process is killed
        print(tell(section), flush=True)
    print(table(report))
    print(out / "gpu.json")
    return int(any(section["status"] != "passed" for section in report["sections"]))


if __name__ == "__main__":
    # Exit by an exception, which also ends the running section.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    sys.exit(main())
