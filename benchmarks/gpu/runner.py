"""Run sections one after another, each in a process that is killed when its time is up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
SHARES = {"exact": 2, "dissect": 2, "dump": 3, "train": 4, "lease": 2}  # of the time; other sections have 1
OWN = 0.9  # share of its time that a section plans with; the rest is for ending in good order
ERROR_LINES = 30
POLL_SECONDS = 0.05
# Sections whose files, up to ROOM bytes, are put in memory if there is room.
IN_MEMORY, MEMORY, ROOM = ("dissect",), Path("/dev/shm"), 16e9


def run_sections(sections: dict[str, str], device: str, small: bool, minutes: float, out: Path) -> Iterator[dict]:
    """Run each of `sections`, modules by name, and yield what `run_section` returns."""
    until = time.monotonic() + 60 * minutes
    waiting = list(sections)
    while waiting:
        shares = [SHARES.get(name, 1) for name in waiting]
        seconds = max(0.0, until - time.monotonic()) * shares[0] / sum(shares)
        name = waiting.pop(0)
        yield run_section(name, sections[name], seconds, device, small, out)


def run_section(name: str, module: str, seconds: float, device: str, small: bool, out: Path) -> dict:
    """Run one section for at most `seconds`; its log and its record remain in `out`.

    Returns:
        `section`, its name; `status`: "passed", "failed" or "timed out"; `seconds`, the time it took; `error`, the end
        of its log if it did not end well; and `rows`, `checks` and `skipped` as `Bench` records them.
    """
    log, record = out / f"{name}.log", out / f"{name}.jsonl"
    record.write_text("")
    started = time.monotonic()
    with (
        TemporaryDirectory(prefix="gpu_benchmark_", dir=scratch(name), ignore_cleanup_errors=True) as folder,
        open(log, "w") as stream,
    ):
        words = ["--device", device, "--seconds", str(OWN * seconds), "--folder", folder, "--record", str(record)]
        process = subprocess.Popen(
            # With the fault handler, even a crash says where it happened.
            [sys.executable, "-u", "-X", "faulthandler", "-m", "benchmarks.gpu.section", module, *words]
            + ["--small"] * small,
            cwd=ROOT,
            # Threads that share tiny work mostly wait for each other, especially on a busy machine.
            env=os.environ | ({"OMP_NUM_THREADS": "1"} if small else {}),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        in_time = ends_within(process, seconds)
    measured = read_record(record)
    error = error_of(process.returncode, in_time, seconds, log)
    passed = not error and all(check["ok"] for check in measured["checks"])
    status = "timed out" if not in_time else "passed" if passed else "failed"
    took = round(time.monotonic() - started, 1)
    return {"section": name, "status": status, "seconds": took, "error": error, **measured}


def scratch(name: str) -> Path | None:
    """Return where to make the folder of a section; None for the usual place."""
    in_memory = name in IN_MEMORY and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if in_memory else None


def ends_within(process: subprocess.Popen, seconds: float) -> bool:
    """Wait for a process that leads a group, kill the rest of the group, and return whether it ended in time."""
    until = time.monotonic() + seconds
    try:
        while not (ended := has_ended(process)) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        return ended
    finally:
        # This comes before waiting for the leader: until then no other group can have this number.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def has_ended(process: subprocess.Popen) -> bool:
    """Return whether a process has ended, without reaping it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def error_of(status: int, in_time: bool, seconds: float, log: Path) -> str:
    """Return the end of a section's log, and how the section ended; empty if it ended well."""
    if in_time and status == 0:
        return ""
    lines = log.read_text(errors="replace").splitlines()[-ERROR_LINES:]
    if not in_time:
        lines.append(f"not finished after {seconds:.0f} s")
    elif status < 0:
        lines.append(f"ended by {signal.Signals(-status).name}")
    return "\n".join(lines) or f"exit status {status}"


def read_record(path: Path) -> dict[str, list[dict]]:
    """Return the `rows`, `checks` and `skipped` that a section recorded."""
    found: dict[str, list[dict]] = {"rows": [], "checks": [], "skipped": []}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        found[entry.pop("kind")].append(entry)
    return found


def write_report(path: Path, report: dict) -> None:
    """Write a report as JSON, atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(part, path)
