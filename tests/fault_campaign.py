"""Disturbs the tiny experiment in every way that a cluster knows, and checks that nothing is lost.

    python -m tests.fault_campaign --kills 100 --seed 1     SIGKILL at random moments
    python -m tests.fault_campaign --faults all --seed 1    every other fault; --help lists them

After each fault the same command is given again, as docs/reruns.md says. In the end the bytes of all result files must
equal those of an undisturbed run, no finished step may have run twice, no saved training may have begun anew, and the
terminal must have shown no traceback. Faults that need a file system or memory of their own need root.
"""

import argparse
import base64
import ctypes
import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pandas as pd

from workflow_scripts.run.failures import CORRECT, GO_ON, TOO_LITTLE_MEMORY

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ["Snakefile", "config.yaml", "configs", "envs", "profiles", "report", "rules", "schemas", "workflow_scripts"]
TINY = ["--cores", "2", "--configfile", "configs/tiny.yaml"]
RESULTS = "results/tiny"
# What holds times of day, or how long things took.
DATED = ("logs", "benchmarks", "costs.csv", "provenance.json", "report.html", "checksums.sha256")
LATEST = 25  # seconds after its start at which an attempt is disturbed; most steps take a few
GIVE_UP = 3600  # seconds
LEFT_OVERS = (".part", ".lock", ".scratch")
NEW_NAMESPACE = 0x00020000  # CLONE_NEWNS
MEMORY = Path("/sys/fs/cgroup/memory")  # where version 1 of control groups is
SLOWLY = 0.2  # seconds between two looks


class Fault(Exception):
    """Something that should not have happened."""


class Campaign:
    """An experiment in a folder, run under faults until it has ended as an undisturbed one.

    Args:
        folder: for all runs.
        seed: draws what is disturbed, and when.
        targets: files to make; none means all of the tiny experiment.
    """

    def __init__(self, folder: Path, seed: int, targets: tuple[str, ...] = ()) -> None:
        self.folder, self.draw, self.targets = folder, random.Random(seed), targets
        self.arguments = [*targets, *TINY]
        self.runs, self.counts = 0, Counter[str]()
        self.reference = self.new_folder("reference")
        self.end_well(self.reference)
        self.expected = checksums(self.reference)

    def new_folder(self, name: str) -> Path:
        """Return a folder with the sources, for a run."""
        folder = self.folder / name
        folder.mkdir()
        for source in SOURCES:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder / source)
        if self.runs and (kernels := self.reference / "workflow_scripts/dissect/__pycache__").is_dir():
            shutil.copytree(kernels, folder / "workflow_scripts/dissect/__pycache__")  # compiled once
        self.runs += 1
        return folder

    def start(self, folder: Path, *more: str, before: tuple[str, ...] = ()) -> "Attempt":
        """Start snakemake in a session of its own; `before` are words before its command."""
        return Attempt(folder, [*before, sys.executable, "-m", "snakemake", *self.arguments, *more])

    def end_well(self, folder: Path, *more: str, before: tuple[str, ...] = ()) -> "Attempt":
        """Run snakemake, which must succeed."""
        attempt = self.start(folder, *more, before=before).wait()
        if attempt.status != 0:
            raise Fault(f"{folder}: a run that nothing disturbs has failed:\n{attempt.said()[-5000:]}")
        return attempt

    def recover(self, folder: Path) -> None:
        """Give the same command again, and compare what it has made with the undisturbed run."""
        unlock(folder, self.arguments)
        finished, saved = finished_files(folder), saved_trainings(folder)
        self.end_well(folder)
        require_kept(folder, finished)
        require_continued(folder, saved)
        self.require_expected(folder)

    def require_expected(self, folder: Path) -> None:
        """Check that a run has the bytes of the undisturbed one, and left nothing unfinished."""
        made = checksums(folder)
        wrong = sorted(name for name in self.expected.keys() | made.keys() if self.expected.get(name) != made.get(name))
        if wrong:
            raise Fault(f"{folder}: {len(wrong)} files differ from the undisturbed run's, such as {wrong[:5]}")
        left = [str(path) for path in (folder / RESULTS).rglob("*") if path.name.endswith(LEFT_OVERS)]
        if left:
            raise Fault(f"{folder}: {left[:5]} are left")
        if "Nothing to be done" not in self.start(folder, "-n").wait().said():
            raise Fault(f"{folder}: after its end there is something to do")

    def signals(self, count: int, choices: tuple[signal.Signals, ...]) -> None:
        """Send `count` signals at random moments: to snakemake, to one job, or to all; then start again.

        Runs that end before they are disturbed are compared with the undisturbed one, and another is begun.
        """
        folder = self.new_folder(f"signals_{self.runs}")
        while count:
            finished, saved = finished_files(folder), saved_trainings(folder)
            attempt = self.start(folder)
            time.sleep(self.draw.uniform(0, LATEST))
            number, whom = self.draw.choice(choices), self.draw.choice(("all", "snakemake", "one job"))
            if attempt.send(number, whom, self.draw):
                self.counts[f"{number.name} to {whom}"] += 1
                count -= 1
            attempt.wait()
            require_sentences(folder, attempt, number)
            require_kept(folder, finished)
            require_continued(folder, saved)
            if attempt.status == 0:
                self.require_expected(folder)
                shutil.rmtree(folder)
                folder = self.new_folder(f"signals_{self.runs}")
            unlock(folder, self.arguments)
        self.recover(folder)
        shutil.rmtree(folder)

    def terminals(self, count: int) -> None:
        """Close the terminal of a run, or press Ctrl-C there once or twice."""
        for number in range(count):
            folder = self.new_folder(f"terminal_{self.runs}")
            how = ("closed", "Ctrl-C", "Ctrl-C twice")[number % 3]
            main, terminal = pty.openpty()
            process = subprocess.Popen(
                ["setsid", "--ctty", "--wait", sys.executable, "-m", "snakemake", *self.arguments],
                cwd=folder,
                env=environment(),
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
            )
            os.close(terminal)
            said = bytearray()
            reader = threading.Thread(target=read_terminal, args=(main, said), daemon=True)
            reader.start()
            wait_for(folder / RESULTS / "imp/replicate_1/level_0/network.pt", process)
            time.sleep(self.draw.uniform(0, LATEST / 2))
            if how == "closed":
                processes = tree(process.pid)
                shells = [each for each in processes if "snakemake" in command_of(each)]
                for each in processes if not shells else shells + [p for p in processes if p not in shells]:
                    signal_one(each, signal.SIGHUP)
            else:
                os.write(main, b"\x03")
                if how.endswith("twice"):
                    time.sleep(0.5)
                    os.write(main, b"\x03")
            process.wait(timeout=GIVE_UP)
            wait_for_jobs(folder)
            text = said.decode(errors="replace")
            if "Traceback" in text and how != "Ctrl-C twice":
                raise Fault(f"{folder}: a traceback after {how}:\n{text[-5000:]}")
            self.counts[f"terminal: {how}"] += 1
            self.recover(folder)
            os.close(main)
            shutil.rmtree(folder)

    def full_disks(self, count: int) -> None:
        """Let the disk of the results be too small by more or less; then make room."""
        most = size_of(self.reference / RESULTS)
        for number in range(count):
            folder = self.new_folder(f"full_{self.runs}")
            size = int(most * (number + self.draw.random()) / count / 1024) + 64
            with own_disk(folder / "results", f"size={size}k,mode=755") as remount:
                attempt = self.start(folder, "--keep-going").wait()
                require_sentences(folder, attempt)
                said = attempt.said()
                if attempt.status == 0 or not re.search(r"No space left|make room|hardly any room", said):
                    raise Fault(f"{folder}: nothing is said of a full disk of {size} kB:\n{said[-5000:]}")
                remount("size=1g")
                self.counts["full disk"] += 1
                self.recover(folder)
            shutil.rmtree(folder)

    def read_only(self, count: int) -> None:
        """Let the results become read-only in the middle of a run; then writable again."""
        for _ in range(count):
            folder = self.new_folder(f"read_only_{self.runs}")
            with own_disk(folder / "results", "size=1g,mode=755") as remount:
                attempt = self.start(folder)
                time.sleep(self.draw.uniform(5, LATEST))
                while subprocess.run(["mount", "-o", "remount,ro", folder / "results"], capture_output=True).returncode:
                    attempt.send(signal.SIGKILL, "all", self.draw)  # somebody writes
                attempt.wait()
                unlock(folder, self.arguments)
                attempt = self.start(folder).wait()
                require_sentences(folder, attempt)
                if attempt.status == 0 or "Read-only file system" not in attempt.said():
                    raise Fault(f"{folder}: nothing is said of a read-only disk:\n{attempt.said()[-5000:]}")
                remount("rw")
                self.counts["read-only results"] += 1
                self.recover(folder)
            shutil.rmtree(folder)

    def other_users(self, count: int) -> None:
        """Let another user own some results, and nobody else may write there; then give them back."""
        for _ in range(count):
            folder = self.new_folder(f"user_{self.runs}")
            attempt = self.start(folder)
            time.sleep(self.draw.uniform(8, LATEST))
            attempt.send(signal.SIGKILL, "all", self.draw)
            attempt.wait()
            unlock(folder, self.arguments)
            (folder / RESULTS).mkdir(parents=True, exist_ok=True)
            change_owner(folder / "results", 65534)
            attempt = self.start(
                folder, before=("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
            ).wait()
            require_sentences(folder, attempt)
            if attempt.status == 0 or "Permission denied" not in attempt.said():
                raise Fault(f"{folder}: nothing is said of another user's results:\n{attempt.said()[-5000:]}")
            change_owner(folder / "results", os.getuid())
            self.counts["another user"] += 1
            self.recover(folder)
            shutil.rmtree(folder)

    def memory(self, count: int) -> None:
        """Let memory be too little, so that the kernel kills a process; then give more."""
        for number in range(count):
            folder = self.new_folder(f"memory_{self.runs}")
            group = MEMORY / f"fault_campaign_{os.getpid()}_{number}"
            group.mkdir()
            try:
                megabytes = self.draw.randrange(200, 500)
                (group / "memory.limit_in_bytes").write_text(f"{megabytes}M")
                enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
                attempt = self.start(folder, before=enter).wait()
                wait_for_jobs(folder)
                require_sentences(folder, attempt)
                if attempt.status == 0:
                    self.counts["memory that was enough"] += 1
                elif (
                    attempt.status > 0
                    and TOO_LITTLE_MEMORY not in attempt.said()
                    and "too little" not in attempt.said()
                ):
                    raise Fault(f"{folder}: nothing is said of {megabytes} MB of memory:\n{attempt.said()[-5000:]}")
                else:
                    self.counts["too little memory"] += 1
            finally:
                group.rmdir()
            self.recover(folder)
            shutil.rmtree(folder)

    def two_at_once(self, count: int) -> None:
        """Start snakemake a second time while it runs: it must say so, or, without its lock, end with the same."""
        for number in range(count):
            folder = self.new_folder(f"two_{self.runs}")
            first = self.start(folder)
            time.sleep(self.draw.uniform(6, LATEST))
            second = self.start(folder, *(["--nolock"] if number % 2 else [])).wait()
            if first.wait().status != 0:
                raise Fault(f"{folder}: the first of two has failed:\n{first.said()[-5000:]}")
            if number % 2 == 0 and (second.status == 0 or "--unlock" not in second.said()):
                raise Fault(f"{folder}: the second of two was not stopped:\n{second.said()[-5000:]}")
            require_sentences(folder, second)
            self.counts["two snakemake" + (" without its lock" if number % 2 else "")] += 1
            self.recover(folder)
            shutil.rmtree(folder)

    def readers(self, count: int) -> None:
        """Read all files while they are made: under its final name each must be whole."""
        for _ in range(count):
            folder = self.new_folder(f"readers_{self.runs}")
            attempt = self.start(folder)
            looks = 0
            while attempt.process.poll() is None:
                for path in (folder / RESULTS).rglob("*"):
                    looks += read_whole(path)
            attempt.wait()
            self.counts["files read while they were made"] += looks
            self.recover(folder)
            shutil.rmtree(folder)

    def locks(self, count: int) -> None:
        """Put stale and damaged locks and partial files beside results, as kills and power cuts leave them."""
        names = sorted(name for name in self.expected if not name.startswith(f"{RESULTS}/gallery/"))
        dead = {"machine": os.uname().nodename, "process": 2**22 - 1, "started": "1", "slurm_job": None}
        contents = ["", "{}", "12", "[]", '"x"', "\0\xff", '{"machine": 1}', json.dumps(dead), json.dumps(dead)[:20]]
        for _ in range(count):
            folder = self.new_folder(f"locks_{self.runs}")
            for name in self.draw.sample(names, min(60, len(names))):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                for ending in (".lock", ".part"):
                    if self.draw.random() < 0.7:
                        path.with_name(path.name + ending).write_text(self.draw.choice(contents), encoding="latin-1")
                        self.counts["damaged locks and parts"] += 1
            self.end_well(folder)
            made = checksums(folder)
            wrong = [name for name, digest in self.expected.items() if made.get(name) != digest]
            if wrong:
                raise Fault(f"{folder}: {wrong[:5]} differ from the undisturbed run's")
            shutil.rmtree(folder)

    def clocks(self, count: int) -> None:
        """Let the clock jump: all files of a run that was killed are dated otherwise by up to a year."""
        for _ in range(count):
            folder = self.new_folder(f"clock_{self.runs}")
            attempt = self.start(folder)
            time.sleep(self.draw.uniform(8, LATEST))
            attempt.send(signal.SIGKILL, "all", self.draw)
            attempt.wait()
            unlock(folder, self.arguments)
            jump = self.draw.choice((-1, 1)) * self.draw.uniform(100, 365 * 86400)
            for path in folder.rglob("*"):
                now = path.stat().st_mtime
                os.utime(path, (now + jump, now + jump))
            attempt = self.start(folder).wait()
            require_sentences(folder, attempt)
            self.counts["clock " + ("put forward" if jump < 0 else "put back")] += 1
            if attempt.status != 0:
                if jump < 0 or "dated in the future" not in attempt.said():
                    raise Fault(f"{folder}: a clock's jump of {jump:.0f} s is not said:\n{attempt.said()[-5000:]}")
                subprocess.run("find . -newermt now -exec touch {} +", shell=True, cwd=folder, check=True)
            self.recover(folder)
            shutil.rmtree(folder)


FAULTS: dict[str, tuple[Callable[[Campaign, int], None], int, bool]] = {
    # What it does, how many times, and whether it needs root.
    "signals": (lambda c, n: c.signals(n, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)), 11, False),
    "terminals": (Campaign.terminals, 6, False),
    "full_disks": (Campaign.full_disks, 11, True),
    "read_only": (Campaign.read_only, 3, True),
    "other_users": (Campaign.other_users, 3, True),
    "memory": (Campaign.memory, 6, True),
    "two_at_once": (Campaign.two_at_once, 4, False),
    "readers": (Campaign.readers, 1, False),
    "locks": (Campaign.locks, 3, False),
    "clocks": (Campaign.clocks, 6, False),
}


class Attempt:
    """A run of snakemake, whose terminal output goes to a file beside the folder."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder = folder
        number, name = tempfile.mkstemp(dir=folder.parent, prefix=f"{folder.name}_", suffix=".txt")
        self.output = Path(name)
        with os.fdopen(number, "w") as file:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def status(self) -> int:
        """The exit status of an attempt that has ended."""
        return self.process.returncode

    def said(self) -> str:
        """Return what the terminal shows."""
        return self.output.read_text(errors="replace")

    def wait(self) -> "Attempt":
        """Wait for snakemake to end."""
        self.process.wait(timeout=GIVE_UP)
        return self

    def send(self, number: signal.Signals, whom: str, draw: random.Random) -> bool:
        """Send a signal to snakemake, to one of its jobs, or to all of its session; return whether it was sent."""
        if self.process.poll() is not None:
            return False
        if whom == "snakemake":
            return signal_one(self.process.pid, number)
        if whom == "all":
            os.killpg(self.process.pid, number)
            return True
        jobs = [each for each in tree(self.process.pid) if " -m workflow_scripts." in command_of(each)]
        return bool(jobs) and signal_one(draw.choice(sorted(jobs)), number)


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
                continue
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found = [root]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def command_of(process: int) -> str:
    """Return a process's command; "" if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def signal_one(process: int, number: signal.Signals) -> bool:
    """Send a signal to a process; return whether it was there."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def jobs_in(folder: Path) -> list[int]:
    """Return the processes of steps that run in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and " -m workflow_scripts." in command_of(int(entry.name)):
            try:
                if os.readlink(entry / "cwd") == str(folder):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_for_jobs(folder: Path) -> None:
    """Wait until no step runs in a folder."""
    give_up = time.monotonic() + GIVE_UP
    while jobs_in(folder):
        if time.monotonic() > give_up:
            raise Fault(f"{folder}: steps do not end")
        time.sleep(SLOWLY)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until a running process has made a file."""
    while not path.exists():
        if process.poll() is not None:
            raise Fault(f"a run has ended without {path}")
        time.sleep(SLOWLY)


def read_terminal(main: int, said: bytearray) -> None:
    """Collect what a terminal shows until it closes."""
    while True:
        try:
            said += os.read(main, 65536)
        except OSError:
            return


def unlock(folder: Path, arguments: list[str]) -> None:
    """Unlock the folder, as after a kill of snakemake."""
    words = [sys.executable, "-m", "snakemake", *arguments, "--unlock"]
    subprocess.run(words, cwd=folder, env=environment(), check=True, capture_output=True)


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each result file that has no dates in it, by its path within the folder."""
    found = {}
    for path in (folder / RESULTS).rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[2] not in DATED and ".training" not in str(relative):
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def finished_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the outputs that Snakemake knows as finished: each with its inode and time."""
    begun = {path.name for path in (folder / ".snakemake/incomplete").glob("*")}
    found = {}
    for record in (folder / ".snakemake/metadata").glob("*"):
        path = folder / base64.b64decode(record.name).decode()
        if record.name not in begun and path.is_file() and path.relative_to(folder).parts[2] not in DATED:
            found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def require_kept(folder: Path, finished: dict[Path, tuple[int, int]]) -> None:
    """Check that no finished file was made again."""
    again = [path for path, mark in finished.items() if mark != (path.stat().st_ino, path.stat().st_mtime_ns)]
    if again:
        raise Fault(f"{folder}: {len(again)} finished files were made again, such as {again[0]}")


def saved_trainings(folder: Path) -> dict[Path, float]:
    """Return the logs of trainings that have saved a state and not ended, each with its time."""
    found = {}
    for state in (folder / RESULTS).glob("*/*/*/network.pt.training/state"):
        network = state.parents[1]
        for name in ("train_dense.log", "train_level.log"):
            log = folder / RESULTS / "logs" / network.relative_to(folder / RESULTS) / name
            if log.exists():
                found[log] = log.stat().st_mtime
    return found


def require_continued(folder: Path, saved: dict[Path, float]) -> None:
    """Check that saved trainings whose steps have run again did not begin anew."""
    for log, before in saved.items():
        text = log.read_text()
        if (
            log.stat().st_mtime > before
            and "epoch " in text
            and not re.search(r"continuing after|already trained", text)
        ):
            raise Fault(f"{folder}: a saved training has begun anew:\n{text}")


def require_sentences(folder: Path, attempt: Attempt, number: signal.Signals | None = None) -> None:
    """Check that a run that was disturbed has shown no traceback, and says at its end how to go on.

    A signal that no process can catch ends snakemake without a word.
    """
    said = attempt.said()
    if "Traceback" in said:
        raise Fault(f"{folder}: a traceback:\n{said[-5000:]}")
    if (
        attempt.status > 0
        and number is None
        and not re.search(f"{re.escape(CORRECT)}|{re.escape(GO_ON)}|error: ", said)
    ):
        raise Fault(f"{folder}: the end says nothing:\n{said[-5000:]}")


def read_whole(path: Path) -> bool:
    """Read a result file to its end, if it has a format that shows whether it is whole; return whether it has."""
    try:
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            pd.read_csv(path)
            if not path.read_bytes().endswith(b"\n"):
                raise Fault(f"{path} was half-written")
        elif path.suffix == ".pt":
            subprocess.run(["unzip", "-tqq", path], check=True, capture_output=True)
        else:
            return False
    except (FileNotFoundError, IsADirectoryError):
        return False  # it was replaced
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        if path.exists():
            raise Fault(f"{path} was half-written: {error}") from error
        return False
    return True


def size_of(folder: Path) -> int:
    """Return the bytes that the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


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


def own_namespace() -> None:
    """Let mounts of this process be its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NAMESPACE):
        raise OSError(ctypes.get_errno(), "this process cannot have mounts of its own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def main() -> None:
    """Run the campaigns that the command line names, and print what was done to the experiment, and how often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="number of SIGKILLs")
    parser.add_argument("--faults", nargs="+", default=[], choices=["all", *FAULTS], help="other faults")
    parser.add_argument("--seed", type=int, default=1, help="draws moments and victims")
    parser.add_argument("--folder", type=Path, help="where to run; kept. Without it a temporary folder")
    args = parser.parse_args()
    chosen = list(FAULTS) if "all" in args.faults else args.faults
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(folder.resolve(), args.seed)
        print(f"reference: {len(campaign.expected)} files", flush=True)
        if args.kills:
            campaign.signals(args.kills, (signal.SIGKILL,))
        root = os.getuid() == 0
        if root:
            own_namespace()
        for name in chosen:
            run, count, needs_root = FAULTS[name]
            if needs_root and not root:
                print(f"{name}: not run, for it needs root", flush=True)
                continue
            run(campaign, count)
            print(f"{name}: clean", flush=True)
        for what, count in sorted(campaign.counts.items()):
            print(f"{count:6}  {what}")


if __name__ == "__main__":
    main()
