"""Runs of snakemake that are disturbed: by signals, on terminals, on disks of their own."""

import ctypes
import os
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GIVE_UP = 1200  # seconds
PAUSE = 0.2  # seconds between two looks
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS: mounts of one's own
CTRL_C = b"\x03"


class Attempt:
    """A command that runs in a folder and a session of its own; what it says goes to a file beside the folder."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        number, name = tempfile.mkstemp(dir=folder.parent, prefix=f"{folder.name}_", suffix=".txt")
        self.output = Path(name)
        with os.fdopen(number, "w") as file:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=heed_signals,
            )

    @property
    def status(self) -> int:
        """The exit status of an attempt that has ended; negative for a signal."""
        return self.process.returncode

    def said(self) -> str:
        """Return what it has said so far."""
        return self.output.read_text(errors="replace")

    def wait(self) -> "Attempt":
        """Wait for the command to end; its steps may go on."""
        self.process.wait(timeout=GIVE_UP)
        return self

    def send(self, number: signal.Signals, whom: str, draw: random.Random) -> bool:
        """Send a signal to "snakemake", to "one job" of its, or to "all" of its session; return whether it was sent."""
        if self.process.poll() is not None:
            return False
        if whom == "snakemake":
            return signal_process(self.process.pid, number)
        if whom == "all":
            os.killpg(self.process.pid, number)
            return True
        steps = self.steps()
        return bool(steps) and signal_process(draw.choice(steps), number)

    def has_come_to_a_step_or_ended(self) -> bool:
        """Tell whether a step runs, or nothing any more."""
        return bool(self.steps()) or self.process.poll() is not None

    def steps(self) -> list[int]:
        """Return the processes that run steps."""
        return sorted(process for process in tree(self.process.pid) if is_step(process))


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.main, end = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *words],
            cwd=folder,
            env=environment(),
            stdin=end,
            stdout=end,
            stderr=end,
            preexec_fn=heed_signals,
        )
        os.close(end)
        self.shown = b""
        self.is_open = True
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        """Collect what the terminal shows until it is closed."""
        while self.is_open:
            if select.select([self.main], [], [], PAUSE)[0]:
                try:
                    self.shown += os.read(self.main, 65536)
                except OSError:
                    return  # the command has ended

    def said(self) -> str:
        """Return what the terminal has shown."""
        return self.shown.decode(errors="replace")

    def type(self, keys: bytes) -> None:
        """Type on the terminal."""
        os.write(self.main, keys)

    def close(self) -> None:
        """Close the terminal: the kernel sends SIGHUP to the command and its steps."""
        self.is_open = False
        self.reader.join()
        os.close(self.main)


def heed_signals() -> None:
    """Let a process heed the signals that programs in the background, or under nohup, ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def environment() -> dict[str, str]:
    """Return an environment in which the rules' `python` is the one that runs this."""
    found = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    found.pop("PYTHONPATH", None)
    return found


def tree(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue  # it has ended
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def is_step(process: int) -> bool:
    """Tell whether a process runs a step of the workflow."""
    try:
        return b"\0-m\0workflow_scripts." in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def signal_process(process: int, number: signal.Signals) -> bool:
    """Send a signal to a process; return whether it was there."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def has_steps(folder: Path) -> bool:
    """Tell whether a step of the workflow runs in a folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_step(int(entry.name)):
            try:
                if os.readlink(entry / "cwd") == str(folder):
                    return True
            except OSError:
                continue
    return False


def wait_for_steps(folder: Path) -> None:
    """Wait until no step of the workflow runs in a folder."""
    wait_until(lambda: not has_steps(folder))


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; raise TimeoutError if it takes too long."""
    give_up = time.monotonic() + GIVE_UP
    while not is_so():
        if time.monotonic() > give_up:
            raise TimeoutError
        time.sleep(PAUSE)


def change_owner(folder: Path, user: int) -> None:
    """Give a folder and all in it to a user."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user, user, follow_symlinks=False)


@contextmanager
def own_disk(folder: Path, options: str) -> Iterator[Callable[[str], int]]:
    """Let a folder be a disk of its own, in memory; yield a function that changes its options."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield lambda changed: subprocess.check_call(["mount", "-o", f"remount,{changed}", folder])
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def own_mounts() -> None:
    """Let the mounts of this process be its own; OSError if it may not have any."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "this process cannot have mounts of its own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
