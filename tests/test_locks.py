"""One process at a time: with locks, without locks, and where locks are granted but have no effect."""

import errno
import fcntl
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from workflow_scripts.shared import locks
from workflow_scripts.shared.files import Unwritable, run_command, system_reason, whole_file
from workflow_scripts.shared.locks import exclusive

ELSEWHERE = {"machine": "elsewhere", "process": 1, "started": "1", "slurm_job": "17"}
SQUEUE = """#!/bin/sh
# Answers with one line of the file `answers` each time: "RUNNING", "", or "error: ..." with a failure.
test "$3" = --jobs=17 || exit 9
cd {folder}
answer=$(head -n 1 answers)
tail -n +2 answers > rest; mv rest answers
case "$answer" in error:*) echo "$answer" >&2; exit 1;; esac
echo "$answer"
"""


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    locks.warn_once.cache_clear()
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that grants every lock."""
    monkeypatch.setattr(fcntl, "flock", lambda file, operation: None)


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A scheduler that gives prepared answers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "squeue").write_text(SQUEUE.format(folder=folder))
    (folder / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda *answers: (folder / "answers").write_text("".join(f"{answer}\n" for answer in answers)) and folder


def held(path: Path, holder: dict) -> Path:
    lock = Path(f"{path}.lock")
    lock.write_text(json.dumps(holder))
    return lock


def test_a_lock_excludes_all_others_and_leaves_nothing(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(25):
            with exclusive(counter):
                number = int(counter.read_text())
                time.sleep(0.0005)
                counter.write_text(str(number + 1))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "200"
    assert list(tmp_path.iterdir()) == [counter]


WRITER = """
import sys, time
from workflow_scripts.shared.files import whole_file
with whole_file(sys.argv[1]) as part, open(part, "w") as file:
    for _ in range(20):
        file.write(sys.argv[2])
        file.flush()
        time.sleep(0.005)
"""


def test_processes_that_write_the_same_file_never_mix(tmp_path):
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "abcd"]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert path.read_text() in {letter * 20 for letter in "abcd"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("again", [OSError(errno.EIO, "x"), RuntimeError("x"), AttributeError("x"), KeyError("x")])
def test_a_full_disk_is_named_although_the_file_cannot_be_closed_either(tmp_path, again):
    """As HDF5 and matplotlib do when they close what they could not write."""
    sentence = r"out cannot be written \(No space left on device\): make room"
    with pytest.raises(Unwritable, match=sentence), whole_file(tmp_path / "out"):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise again
    with pytest.raises(KeyError), whole_file(tmp_path / "out"):
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []


def test_on_a_disk_without_any_room_the_file_is_named(tmp_path):
    program = f"""
from pathlib import Path
from workflow_scripts.shared.files import run_command, whole_file

def write():
    with whole_file(Path({str(tmp_path)!r}) / "out"):
        raise AssertionError

run_command(write)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    sentence = f"error: {tmp_path}/out cannot be written (File too large): make room, and run again\n"
    assert (done.returncode, done.stderr) == (1, sentence)
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_python_does_not_end_as_usual_even_if_its_log_is_full_too(tmp_path):
    """HDF5 may crash then, for which the function at exit stands."""
    program = """
import atexit, os
from workflow_scripts.shared.files import Unwritable, run_command

def fail():
    raise Unwritable("out cannot be written")

atexit.register(os._exit, 139)
run_command(fail)
"""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stderr=full)
    assert done.returncode == 1


@pytest.mark.parametrize("names", [["file"], ["folder/a", "folder/b/c"]])
def test_files_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch, names):
    path, settled = tmp_path / Path(names[0]).parts[0], []

    def settle(number):
        assert not path.exists()
        settled.append(os.fstat(number).st_ino)

    monkeypatch.setattr(os, "fsync", settle)
    with whole_file(path) as part:
        for name in names:
            file = part.joinpath(*Path(name).parts[1:])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x")
    assert sorted(settled) == sorted((tmp_path / name).stat().st_ino for name in names)


HOLDER = """
import sys, time
from workflow_scripts.shared.locks import exclusive
with exclusive(sys.argv[1]):
    print(flush=True)
    time.sleep(1000)
"""


def test_a_lock_that_a_kill_has_left_is_taken_over(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "file"], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert (tmp_path / "file.lock").exists()
    with whole_file(tmp_path / "file") as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_block_gives_the_lock_up(tmp_path):
    with pytest.raises(ValueError), exclusive(tmp_path / "file"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answers",
    [
        ["RUNNING", "RUNNING", "COMPLETING", ""],
        ["RUNNING", "error: Unable to contact slurm controller (connect failure)", "error: Invalid job id specified"],
        ["CONFIGURING", "SUSPENDED", "RUNNING", "PENDING"],
    ],
)
def test_where_locks_mean_nothing_a_running_job_is_waited_for(tmp_path, no_locks, squeue, caplog, answers):
    asked = squeue(*answers, answers[-1], "RUNNING")  # who has waited asks once more
    lock = held(tmp_path / "file", ELSEWHERE)
    with exclusive(tmp_path / "file"):
        assert (asked / "answers").read_text() == "RUNNING\n"
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert caplog.text.count("on elsewhere (SLURM job 17) holds") == 1
    assert ("counts as running" in caplog.text) == ("connect failure" in " ".join(answers))
    assert "cannot find out" not in caplog.text
    assert not lock.exists()


def test_a_scheduler_that_does_not_answer_is_asked_again(tmp_path, no_locks, monkeypatch):
    ended = SimpleNamespace(returncode=0, stderr="", stdout="")
    answers = [subprocess.TimeoutExpired("squeue", 60), ended, ended]

    def answer(*_, **__):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(subprocess, "run", answer)
    held(tmp_path / "file", ELSEWHERE)
    with exclusive(tmp_path / "file"):
        assert answers == []


def test_who_has_waited_holds_the_file_that_others_find(tmp_path, squeue, monkeypatch):
    squeue("RUNNING")
    lock = held(tmp_path / "file", ELSEWHERE)
    ends = SimpleNamespace(sleep=lambda seconds: lock.unlink())  # the holder, elsewhere, meanwhile
    monkeypatch.setattr(locks, "time", ends)
    with exclusive(tmp_path / "file"), open(lock) as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_who_waits_sees_who_came_before(tmp_path, no_locks, squeue, monkeypatch):
    squeue(*["RUNNING"] * 1000)
    lock = held(tmp_path / "file", ELSEWHERE)
    naps = []

    def nap(seconds: float) -> None:
        naps.append(lock.read_text())
        if len(naps) == 3:  # another waiter was faster
            held(tmp_path / "file", ELSEWHERE | {"process": 2})
        if len(naps) == 6:
            lock.unlink()

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=nap))
    with exclusive(tmp_path / "file"):
        assert len(naps) == 6


@pytest.mark.parametrize(
    ("holder", "job", "words"),
    [
        (ELSEWHERE, "17", "started this job anew: if process 1 on elsewhere (SLURM job 17) still runs"),
        (ELSEWHERE | {"machine": locks.myself()["machine"]}, "18", ""),
    ],
    ids=["the same job, started again", "this machine"],
)
def test_no_scheduler_is_asked_where_it_would_not_help(tmp_path, squeue, monkeypatch, caplog, holder, job, words):
    monkeypatch.setenv("SLURM_JOB_ID", job)
    asked = squeue("RUNNING")
    held(tmp_path / "file", holder)
    with exclusive(tmp_path / "file"):
        assert (asked / "answers").read_text() == "RUNNING\n"
    assert words in caplog.text and bool(words) == bool(caplog.text)


@pytest.mark.parametrize("holder", [ELSEWHERE, ELSEWHERE | {"slurm_job": None}], ids=["no scheduler", "no job"])
def test_an_unknown_holder_is_reported_once(tmp_path, monkeypatch, caplog, holder):
    monkeypatch.setenv("PATH", str(tmp_path))
    for _ in range(2):
        held(tmp_path / "file", holder)
        with exclusive(tmp_path / "file"):
            pass
    assert caplog.text.count(" has begun to write") == 1 and "cannot find out whether" in caplog.text


@pytest.fixture
def locks_refused(monkeypatch):
    """A file system without locks."""

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_locks_a_process_of_this_machine_is_waited_for(tmp_path, locks_refused, caplog):
    process = subprocess.Popen(["sleep", "1000"])
    held(tmp_path / "file", locks.myself() | {"process": process.pid, "started": locks.start_of(process.pid)})
    waiting = threading.Thread(target=lambda: exclusive(tmp_path / "file").__enter__())
    waiting.start()
    while "waiting for it to end" not in caplog.text:
        assert waiting.is_alive()
        time.sleep(0.01)
    process.kill()
    process.wait()
    waiting.join(60)
    assert not waiting.is_alive()


def test_without_locks_a_later_process_of_the_same_number_is_not_waited_for(tmp_path, locks_refused):
    with subprocess.Popen(["sleep", "1000"]) as process:
        for number in (process.pid, os.getpid()):
            held(tmp_path / "file", locks.myself() | {"process": number, "started": "1"})
            with exclusive(tmp_path / "file"):
                pass
        process.kill()


def test_a_lock_that_another_machine_has_removed_is_made_anew(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def stale_at_first(file, operation):
        calls.append(operation)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", stale_at_first)
    with exclusive(tmp_path / "file"):
        assert len(calls) == 2


def test_a_file_system_without_locks_is_reported_once(tmp_path, locks_refused, caplog):
    for _ in range(2):
        with exclusive(tmp_path / "file"):
            pass
    assert caplog.text.count("this file system has no locks") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "record",
    [
        *("{}", "7", '"x"', "[]", '{"machine": "elsewhere"}', "null", "[" * 100_000, '{"mach', "\0" * 300),
        *(json.dumps(ELSEWHERE | {key: [1]}) for key in ELSEWHERE),
        json.dumps(ELSEWHERE | {"slurm_job": "--help"}),
        json.dumps(ELSEWHERE | {"machine": "a" * 10**6}),
    ],
    ids=lambda record: record[:20],
)
def test_a_record_of_another_form_is_nobodys(tmp_path, no_locks, squeue, caplog, record):
    squeue("RUNNING")
    (tmp_path / "file.lock").write_text(record)
    with exclusive(tmp_path / "file"):
        pass
    assert caplog.text == ""


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.lock").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / "b.lock")
    (tmp_path / "c.lock").hardlink_to(tmp_path / "mine")
    for name in "abc":
        with pytest.raises(OSError, match=rf"{name}\.lock"), exclusive(tmp_path / name):
            pass
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out.h5"),
            "out.h5 cannot be read or written (No space left on device): make room",
        ),
        (
            OSError(errno.EROFS, "Unable to write (errno = 30)"),
            "a file cannot be read or written (Read-only file system): fix that",
        ),
        (RuntimeError("can't allocate memory: you tried to allocate 4 bytes"), "there is too little memory: give"),
        (MemoryError(), "there is too little memory: give"),
        (KeyboardInterrupt(), "interrupted: run the same command again"),
    ],
)
def test_what_the_system_refuses_a_script_ends_in_one_sentence(error, words):
    def refuse() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command(refuse)
    assert str(ended.value).startswith(f"error: {words}")


def test_a_fault_of_the_code_keeps_its_traceback():
    def fail() -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError):
        run_command(fail)


PRINTER = """
import os, sys
from workflow_scripts.shared.files import run_command
def main():
    for _ in range(int(sys.argv[1])):
        print("a line of a long list")
    if "break" in sys.argv:
        reader, writer = os.pipe()
        os.close(reader)
        os.write(writer, b"x")
run_command(main)
"""


@pytest.mark.parametrize("options", [[], ["-u"]])
@pytest.mark.parametrize("lines", ["1", "10000"])
def test_output_that_is_not_read_to_its_end_is_no_error(options, lines):
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run([sys.executable, *options, "-c", PRINTER, lines], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (run.returncode, run.stderr) == (1, b"")


def test_another_pipe_that_breaks_is_an_error():
    run = subprocess.run([sys.executable, "-c", PRINTER, "1", "break"], capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.startswith("error: a file cannot be read or written (Broken pipe)")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ELOOP, "x", "/allocation/file"), "Too many levels of symbolic links"),
        (MemoryError("Unable to allocate 3 GiB"), "Cannot allocate memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Cannot allocate memory"),
        (OSError("Unable to open file (unable to lock file, errno = 11)"), "Resource temporarily unavailable"),
        (OSError("truncated file"), None),
        (ValueError("damaged"), None),
    ],
)
def test_errors_of_the_system_are_distinguished_from_damage(error, words):
    assert system_reason(error) == words
