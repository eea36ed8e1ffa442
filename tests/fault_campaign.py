"""Disturbs the tiny experiment in every way that a cluster knows, and checks that nothing is lost.

    python -m tests.fault_campaign --kills 100 --seed 1     SIGKILL at random moments
    python -m tests.fault_campaign --faults all --seed 1    every other fault; --help lists them

After each fault the same command is given again, as docs/reruns.md says. In the end the bytes of all result files must
equal those of an undisturbed run, no finished step may have run twice, no saved training may have begun anew, and
neither the terminal nor a log may have shown a traceback. Faults that need a disk, an owner or memory of their own
need root.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # as pytest does

from attempts import (
    CTRL_C,
    PAUSE,
    Attempt,
    Terminal,
    change_owner,
    environment,
    own_disk,
    own_mounts,
    wait_for_steps,
    wait_until,
)
from nothing_lost import (
    RESULTS,
    SNAKEMAKES_OWN,
    Lost,
    checksums,
    finished_files,
    read_whole,
    require_continued,
    require_kept,
    require_same,
    require_sentence,
    require_words,
    saved_trainings,
)

from benchmarks.gpu.commands import copy_sources
from workflow_scripts.plan.code import ROOT

KERNELS = "workflow_scripts/dissect/__pycache__"  # compiled once for all runs
TINY = ["--cores", "2", "--configfile", "configs/tiny.yaml"]
DENSE = f"{RESULTS}/imp/replicate_1/level_0/network.pt"
LATEST = 25.0  # seconds after its start at which a run is disturbed
POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")  # root that may not write anywhere
NOBODY = 65534
MEMORY = Path("/sys/fs/cgroup/memory")  # where control groups of version 1 are
DAMAGED_LOCKS = ("", "{}", "12", "[]", '"x"', "\0\xff", '{"machine": 1}', "[" * 5000)


class Campaign:
    """Runs of an experiment that are disturbed, and compared with one that is not.

    Args:
        folder: for all runs.
        seed: draws what is disturbed, and when.
        targets: files to make; none means all of the experiment.
        latest: seconds after its start at which a run is disturbed at the latest.
    """

    def __init__(self, folder: Path, seed: int, targets: tuple[str, ...] = (), latest: float = LATEST) -> None:
        self.folder, self.draw, self.latest = folder, random.Random(seed), latest
        self.command = [sys.executable, "-m", "snakemake", *targets, *TINY]
        self.runs, self.counts = 0, Counter[str]()
        self.hits = 0  # signals that came while a step ran
        reference = self.new_folder()
        self.end_well(reference)
        self.expected = checksums(reference)
        self.finished = [str(path.relative_to(reference)) for path in finished_files(reference)]
        self.size = sum(path.stat().st_blocks * 512 for path in (reference / RESULTS).rglob("*"))
        self.kernels = reference / KERNELS

    def new_folder(self) -> Path:
        """Return a folder with the sources, for a run."""
        folder = self.folder / f"run_{self.runs}"
        copy_sources(folder)
        kernels = self.kernels if self.runs else ROOT / KERNELS
        if kernels.is_dir():
            shutil.copytree(kernels, folder / KERNELS)
        self.runs += 1
        return folder

    @contextmanager
    def run(self) -> Iterator[Path]:
        """Yield a new folder for a run, and remove it if all went well."""
        folder = self.new_folder()
        yield folder
        shutil.rmtree(folder)

    def start(self, folder: Path, *more: str, before: tuple[str, ...] = ()) -> Attempt:
        """Start snakemake; `before` are words before its command."""
        return Attempt(folder, [*before, *self.command, *more])

    def some_time(self, earliest: float = 0) -> None:
        """Wait for a random time, until which a run is not disturbed."""
        time.sleep(self.draw.uniform(earliest, self.latest))

    def end_well(self, folder: Path) -> None:
        """Run snakemake, which must succeed."""
        attempt = self.start(folder).wait()
        if attempt.status != 0:
            raise Lost(f"{folder}: a run that nothing disturbs has failed:\n{attempt.said()[-5000:]}")

    def unlock(self, folder: Path) -> None:
        """Unlock the folder, if a snakemake that was killed has left it locked."""
        if list((folder / ".snakemake/locks").glob("*")):
            subprocess.run([*self.command, "--unlock"], cwd=folder, env=environment(), check=True, capture_output=True)

    @contextmanager
    def kept(self, folder: Path) -> Iterator[None]:
        """Check that a block runs nothing again that is finished, and lets no saved training begin anew."""
        finished, saved = finished_files(folder), saved_trainings(folder)
        yield
        require_kept(finished)
        require_continued(saved)

    def recover(self, folder: Path) -> None:
        """Give the same command again, and compare what it has made with the undisturbed run."""
        self.unlock(folder)
        with self.kept(folder):
            self.end_well(folder)
        self.compare(folder)

    def compare(self, folder: Path) -> None:
        """Compare a run that has ended with the undisturbed one."""
        require_same(self.expected, folder)
        require_words("Nothing to be done", self.start(folder, "-n").wait().said())

    def interrupt(self, folder: Path) -> None:
        """Begin a run, and kill all of it at a random moment."""
        attempt = self.start(folder)
        self.some_time(earliest=self.latest / 3)
        attempt.send(signal.SIGKILL, "all", self.draw)
        attempt.wait()
        self.unlock(folder)

    def signals(self, count: int, choices: tuple[signal.Signals, ...] = POLITE) -> None:
        """Signals at random moments to snakemake, to one step, or to all."""
        folder = self.new_folder()
        while count:
            with self.kept(folder):
                attempt = self.start(folder)
                self.some_time()
                number, whom = self.draw.choice(choices), self.draw.choice(("all", "snakemake", "one job"))
                if count == 1 and not self.hits:  # a slow machine may not have come to a step before
                    wait_until(attempt.has_come_to_a_step_or_ended)
                hit = bool(attempt.steps())
                if attempt.send(number, whom, self.draw):
                    self.counts[f"{number.name} to {whom}"] += 1
                    self.hits += hit
                    count -= 1
                attempt.wait()
                require_sentence(folder, attempt.status, attempt.said())
            if attempt.status == 0:
                self.compare(folder)
                shutil.rmtree(folder)
                folder = self.new_folder()
            self.unlock(folder)
        self.recover(folder)
        shutil.rmtree(folder)

    def terminals(self, count: int) -> None:
        """A terminal that closes, Ctrl-C, and Ctrl-C twice."""
        for number in range(count):
            with self.run() as folder:
                terminal = Terminal(folder, self.command)
                wait_until((folder / DENSE).exists)
                self.some_time()
                how = ("closed", "Ctrl-C", "Ctrl-C twice")[number % 3]
                if how == "closed":
                    terminal.close()
                else:
                    terminal.type(CTRL_C)
                if how == "Ctrl-C twice":
                    time.sleep(self.draw.uniform(0, 1))
                    terminal.type(CTRL_C)
                terminal.process.wait()
                wait_for_steps(folder)
                log = max((folder / ".snakemake/log").iterdir(), key=lambda path: path.stat().st_mtime)
                require_sentence(
                    folder, terminal.process.returncode, log.read_text() if how == "closed" else terminal.said()
                )
                if terminal.is_open:
                    terminal.close()
                self.counts[f"terminal: {how}"] += 1
                self.recover(folder)

    def full_disks(self, count: int) -> None:
        """A disk for the results and Snakemake's records that is too small, more or less; then there is room."""
        for number in range(count):
            with self.run() as folder:
                size = int(self.size * (number + self.draw.random()) / count / 1024) + 64
                with own_disk(folder / "results", f"size={size}k,mode=755") as remount:
                    (folder / "results/records").mkdir()
                    (folder / ".snakemake").symlink_to("results/records")
                    attempt = self.start(folder, "--keep-going").wait()
                    require_sentence(folder, attempt.status, attempt.said())
                    if attempt.status != 0:
                        require_words("No space left|make room", attempt.said())
                    remount("size=1g")
                    self.counts["full disk" if attempt.status else "disk that was large enough"] += 1
                    self.recover(folder)

    def read_only(self, count: int) -> None:
        """Results that cannot be written any more; then they can."""
        for _ in range(count):
            with self.run() as folder, own_disk(folder / "results", "size=1g,mode=755") as remount:
                self.interrupt(folder)
                wait_for_steps(folder)
                remount("ro")
                attempt = self.start(folder).wait()
                require_sentence(folder, attempt.status, attempt.said())
                require_words(f"Read-only file system|{SNAKEMAKES_OWN}", attempt.said())
                remount("rw")
                self.counts["read-only results"] += 1
                self.recover(folder)

    def other_users(self, count: int) -> None:
        """Results that belong to somebody else, who lets nobody write there; then they are given back."""
        for _ in range(count):
            with self.run() as folder:
                self.interrupt(folder)
                (folder / "results").mkdir(exist_ok=True)
                change_owner(folder / "results", NOBODY)
                attempt = self.start(folder, before=UNPRIVILEGED).wait()
                require_sentence(folder, attempt.status, attempt.said())
                require_words(f"Permission denied|{SNAKEMAKES_OWN}", attempt.said())
                change_owner(folder / "results", os.getuid())
                self.counts["another user's results"] += 1
                self.recover(folder)

    def memory(self, count: int) -> None:
        """Too little memory, so that the kernel kills a process; then there is more."""
        for number in range(count):
            with self.run() as folder:
                group = MEMORY / f"fault_campaign_{os.getpid()}_{number}"
                group.mkdir()
                (group / "memory.limit_in_bytes").write_text(f"{self.draw.randrange(200, 450)}M")
                enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
                attempt = self.start(folder, before=enter).wait()
                wait_for_steps(folder)
                while (group / "cgroup.procs").read_text():  # helpers of steps, too
                    time.sleep(PAUSE)
                group.rmdir()
                require_sentence(folder, attempt.status, attempt.said())
                if attempt.status > 0:  # otherwise snakemake itself was killed, or there was enough
                    require_words("too little memory", attempt.said())
                self.counts["too little memory" if attempt.status else "memory that was enough"] += 1
                self.recover(folder)

    def two_at_once(self, count: int) -> None:
        """A second snakemake in the same folder, with its lock and without."""
        for number in range(count):
            with self.run() as folder:
                first = self.start(folder)
                self.some_time(earliest=self.latest / 3)
                second = self.start(folder, *(["--nolock"] if number % 2 else [])).wait()
                first.wait()
                for attempt in (first, second):
                    require_sentence(folder, attempt.status, attempt.said())
                if number % 2:  # each removes what the other's steps have made or read
                    self.counts["two snakemake without their lock"] += 1
                    self.end_well(folder)
                    self.compare(folder)
                else:
                    self.counts["two snakemake"] += 1
                    if first.status != 0:
                        raise Lost(f"{folder}: the first of two has failed:\n{first.said()[-5000:]}")
                    require_words("--unlock|Nothing to be done", second.said())
                    self.recover(folder)

    def readers(self, count: int) -> None:
        """Files that are read while they are made: under its final name each is whole."""
        for _ in range(count):
            with self.run() as folder:
                attempt = self.start(folder)
                while attempt.process.poll() is None:
                    self.counts["files read while they were made"] += sum(
                        map(read_whole, (folder / RESULTS).rglob("*"))
                    )
                    time.sleep(PAUSE)
                self.recover(folder)

    def locks(self, count: int) -> None:
        """Stale and damaged locks, and partial files, as kills and power cuts leave them."""
        dead = json.dumps({"machine": socket.gethostname(), "process": 2**22, "started": "1", "slurm_job": None})
        for _ in range(count):
            with self.run() as folder:
                for name in self.draw.sample(self.finished, min(60, len(self.finished))):
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    for ending in (".lock", ".part"):
                        text = self.draw.choice((*DAMAGED_LOCKS, dead, dead[:20]))
                        path.with_name(path.name + ending).write_text(text, encoding="latin-1")
                        self.counts[f"damaged {ending} files"] += 1
                self.recover(folder)

    def clocks(self, count: int) -> None:
        """A clock that jumps by up to a year, so that all files are dated otherwise."""
        for number in range(count):
            with self.run() as folder:
                self.interrupt(folder)
                jump = (-1) ** number * self.draw.uniform(100, 365 * 86400)
                for path in folder.rglob("*"):
                    now = path.stat().st_mtime
                    os.utime(path, (now + jump, now + jump))
                attempt = self.start(folder).wait()
                require_sentence(folder, attempt.status, attempt.said())
                if attempt.status != 0:
                    if jump < 0:
                        raise Lost(f"{folder}: a run with older files has failed:\n{attempt.said()[-5000:]}")
                    require_words("dated in the future", attempt.said())
                    subprocess.run("find . -newermt now -exec touch {} +", shell=True, cwd=folder, check=True)
                self.counts["clock put back" if jump > 0 else "clock put forward"] += 1
                self.recover(folder)


# Each with how many times, and whether it needs root.
FAULTS: dict[str, tuple[Callable[[Campaign, int], None], int, bool]] = {
    "signals": (Campaign.signals, 20, False),
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


def main() -> None:
    """Run the campaigns that the command line names, and print what was done to the experiment, and how often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="number of SIGKILLs")
    parser.add_argument("--faults", nargs="+", default=[], choices=["all", *FAULTS], help="other faults")
    parser.add_argument("--seed", type=int, default=1, help="draws moments and victims")
    args = parser.parse_args()
    chosen = list(FAULTS) if "all" in args.faults else args.faults
    folder = Path(tempfile.mkdtemp()).resolve()  # kept if something is lost
    campaign = Campaign(folder, args.seed)
    if args.kills:
        campaign.signals(args.kills, (signal.SIGKILL,))
    is_root = os.getuid() == 0
    if is_root:
        own_mounts()
    for name in chosen:
        run, count, needs_root = FAULTS[name]
        if needs_root and not is_root:
            print(f"{name}: not run, because it needs root", flush=True)
        elif name == "memory" and not MEMORY.is_dir():
            print(f"{name}: not run, because it needs control groups of version 1", flush=True)
        else:
            run(campaign, count)
            print(f"{name}: clean", flush=True)
    print(f"{len(campaign.expected)} files the same in each of {campaign.runs - 1} runs")
    for what, count in sorted(campaign.counts.items()):
        print(f"{count:6}  {what}")
    if campaign.hits:
        print(f"{campaign.hits:6}  of these signals came while a step ran")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
