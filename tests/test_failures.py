"""How a failed run ends: each failed step with its own sentence, and whether something must be corrected."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from attempts import CTRL_C, GIVE_UP, Terminal, wait_until
from snakemake_interface_logger_plugins.common import LogEvent
from test_terminal import Group, Job, record, share_left

from workflow_scripts.plan.code import ROOT
from workflow_scripts.run import failures as module
from workflow_scripts.run.failures import CORRECT, GO_ON, MOST, TOO_LITTLE_MEMORY, Failures
from workflow_scripts.shared.files import STOPPED
from workflow_scripts.shared.interruption import INTERRUPTED

TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    raise ValueError\n'


def command(words: str) -> str:
    """What Snakemake says of a command that failed."""
    return f"RuleException:\nCalledProcessError in file 'x.smk', line 1:\nCommand 'python x.py' {words}."


KILLED = f"ended by SIGKILL: {TOO_LITTLE_MEMORY}"
EXIT_1 = command("returned non-zero exit status 1")


def start(failures: Failures, *jobs: Job) -> None:
    failures.handle(record(LogEvent.JOB_STARTED, jobs=[job.jobid for job in jobs]))


def fail(failures: Failures, job: Job, error: str = EXIT_1, said: str | None = None) -> None:
    """Let a job fail as Snakemake tells it: in a thread of its own, where no other error comes between."""

    def tell() -> None:
        if error:
            failures.handle(record(LogEvent.ERROR, error, exception="RuleException"))
        log = [str(path) for path in job.log]
        failures.handle(record(LogEvent.JOB_ERROR, jobid=job.jobid, rule_msg=said, log=log))

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()


def ended(failures: Failures, *failed: Job) -> list[str]:
    workflow = SimpleNamespace(scheduler=SimpleNamespace(failed=set(failed)))
    return failures.tell(workflow, share_left).split("\n")


@pytest.fixture
def train(tmp_path) -> Job:
    (tmp_path / "train.log").touch()
    return Job(3, "train_level", log=tmp_path / "train.log", arm="imp", replicate="1", level="1", output=["net.pt"])


@pytest.mark.parametrize(
    ("log", "error", "sentence", "last"),
    [
        # A UserError, also before what libraries write at exit, or beside what other processes of a training say.
        ("12:00:00 5 of 9\nerror: a.h5 is damaged: copy it again\n", EXIT_1, "a.h5 is damaged: copy it again", CORRECT),
        ("error: no room\nx.py:3: UserWarning: leaked\n  warnings.warn(\n", EXIT_1, "no room", CORRECT),
        (
            "error: another process of this training has ended: correct it\nerror: a.pt is missing\n",
            EXIT_1,
            "a.pt is missing",
            CORRECT,
        ),
        # The last traceback, whose message may have several lines.
        (
            f"{TRACEBACK}KeyError: 1\n\nDuring handling:\n\n{TRACEBACK}ValueError: no\n",
            EXIT_1,
            "ValueError: no",
            CORRECT,
        ),
        (f"{TRACEBACK}RuntimeError: cuda\nCompile with X\n", EXIT_1, "RuntimeError: cuda", CORRECT),
        # What passes by itself.
        (f"error: {INTERRUPTED}\n", EXIT_1, INTERRUPTED, GO_ON),
        (f"error: {STOPPED} after step 3\n", EXIT_1, f"{STOPPED} after step 3", GO_ON),
        # Neither: how the command ended.
        ("5 of 9\n", command("died with <Signals.SIGKILL: 9>"), KILLED, GO_ON),
        ("5 of 9\n", command("returned non-zero exit status 137"), KILLED, GO_ON),
        ("5 of 9\n", command("returned non-zero exit status 143"), "ended by SIGTERM", GO_ON),
        ("5 of 9\n", command("returned non-zero exit status 139"), "ended by SIGSEGV", CORRECT),
        ("5 of 9\n", EXIT_1, "ended with an error; the last line of its log: 5 of 9", CORRECT),
        ("", EXIT_1, "ended without a word", CORRECT),
    ],
)
def test_a_failed_step_ends_with_its_own_sentence(train, log, error, sentence, last):
    failures = Failures()
    start(failures, train)
    train.log[0].write_text(log)
    os.utime(train.log[0], (time.time(),) * 2)  # the system's own times lag by milliseconds
    fail(failures, train, error)
    name = f"Failed: train_level imp, replicate 1, level 1 (50 % of weights) ({train.log[0]})"
    assert ended(failures, train) == [name, f"  {sentence}", last]


@pytest.mark.parametrize(
    ("status", "last"), [("NODE_FAIL", GO_ON), ("PREEMPTED", GO_ON), ("OUT_OF_MEMORY", CORRECT), ("TIMEOUT", CORRECT)]
)
def test_what_slurm_says_counts_where_the_log_says_nothing(train, status, last):
    failures = Failures()
    said = f"SLURM-job '7' failed, SLURM status is: '{status}'.\nReason: Unknown."
    fail(failures, train, error="", said=said)
    memory = f" ({TOO_LITTLE_MEMORY})" if status == "OUT_OF_MEMORY" else ""
    assert ended(failures, train)[1:] == [
        f"  SLURM-job '7' failed, SLURM status is: '{status}'. Reason: Unknown.{memory}",
        last,
    ]
    train.log[0].write_text("error: a.h5 is damaged: copy it again\n")
    assert ended(failures, train)[1:] == ["  a.h5 is damaged: copy it again", CORRECT]


def test_a_log_from_before_a_step_started_is_not_its_own(train):
    failures = Failures()
    train.log[0].write_text("error: of an earlier run\n")
    os.utime(train.log[0], (1000, 1000))
    start(failures, train)
    fail(failures, train, command("died with <Signals.SIGKILL: 9>"))
    assert ended(failures, train)[1] == f"  {KILLED}"


def test_a_full_disk_is_told_where_the_log_could_not_be_written(train, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000))
    failures = Failures()
    fail(failures, train)
    monkeypatch.undo()  # once it has failed Snakemake removes its outputs
    folder = Path(train.log[0]).parent
    assert ended(failures, train)[1:] == [f"  hardly any room is left on the disk of {folder}: make room", CORRECT]
    train.log[0].write_text("error: net.pt cannot be written (No space left on device): mend that, and run again\n")
    assert "No space left on device" in ended(failures, train)[1]


MISSING = """MissingOutputException in rule train_level in file "rules/train.smk", line 274:
Job 3  completed successfully, but some output files are missing. Missing files after 5 seconds:
net.pt (missing locally, parent dir contents: a.txt, b.txt)"""
SKEW = """WorkflowError in rule train_level in file "rules/train.smk", line 195:
Output net.pt has older modification time (2026-11-30) than input a.h5 (2026-12-01)."""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            MISSING,
            "Job 3 completed successfully, but some output files are missing. Missing files after 5 seconds: net.pt"
            " (missing locally)",
        ),
        (SKEW, "Output net.pt has older modification time (2026-11-30) than input a.h5 (2026-12-01)."),
    ],
)
def test_what_snakemake_finds_after_a_step_is_told_in_place_of_a_log_that_says_all_went_well(train, error, sentence):
    failures = Failures()
    train.log[0].write_text("12:00:00 net.pt is written\n")
    other = Job(4, "pack_images", output=["b.h5"])
    wrong = error.replace("train_level", "pack_images").replace("net.pt", "b.h5").replace("Job 3", "Job 4")
    start(failures, train, other)
    failures.handle(record(LogEvent.ERROR, error))
    failures.handle(record(LogEvent.ERROR, wrong))
    found = ended(failures, train, other)
    assert found[-1] == CORRECT
    assert found.index(f"  Snakemake: {sentence}") == 1 + next(
        n for n, each in enumerate(found) if "train_level" in each
    )
    assert sum("b.h5" in each for each in found) == 1


def test_of_several_steps_that_say_the_same_it_is_told_once_and_of_many_a_few_are_named():
    failures = Failures()
    jobs = [Job(number, "pack_images", split=str(number)) for number in range(20)]
    for job in reversed(jobs):  # in the order in which they started
        start(failures, job)
        failures.started[job.jobid] = -job.jobid
        fail(failures, job)
    names = [f"Failed: pack_images {job.jobid}" for job in reversed(jobs)]
    assert ended(failures, *jobs[:2]) == [*names[-2:], "  ended without a word", CORRECT]
    more = f"And {20 - MOST} more steps failed: the whole log names them."
    assert ended(failures, *jobs) == [*names[:MOST], "  ended without a word", more, CORRECT]


def test_of_steps_of_which_one_must_be_corrected_it_is_told_so(train):
    failures = Failures()
    other = Job(4, "pack_images", split="train")
    for job, error in ((train, command("died with <Signals.SIGKILL: 9>")), (other, EXIT_1)):
        fail(failures, job, error)
    assert ended(failures, train)[-1] == GO_ON
    assert ended(failures, train, other)[-1] == CORRECT


def test_a_step_that_runs_again_is_told_by_its_last_attempt(train):
    failures = Failures()
    start(failures, train)
    fail(failures, train)
    start(failures, train)
    failures.handle(record(LogEvent.ERROR, MISSING))
    assert ended(failures, train)[1].startswith("  Snakemake: Job 3 completed successfully")


def test_of_a_group_the_member_that_failed_speaks(tmp_path):
    for name, text in (("dump", "12:00:00 all written\n"), ("name", "error: no unit: choose a layer\n")):
        (tmp_path / f"{name}.log").write_text(text)
    dump, name = (Job(n, rule, log=tmp_path / f"{rule}.log") for n, rule in ((5, "dump"), (6, "name")))
    last = Job(7, "never", log=tmp_path / "never.log")
    failures = Failures()
    for job in (dump, name, last):
        fail(failures, job, error="")
    assert ended(failures, Group("a-b", dump, name, last)) == [
        f"Failed: dump + name + never ({tmp_path / 'dump.log'} and {tmp_path / 'name.log'})",
        "  no unit: choose a layer",
        CORRECT,
    ]


@pytest.mark.parametrize("words", module.ON_REQUEST)
def test_an_interrupted_run_goes_on_with_the_same_command(words, monkeypatch):
    handled = []
    monkeypatch.setattr(signal, "signal", lambda number, _: handled.append(number))
    failures = Failures()
    failures.handle(record(None, f"{words}, this might take some time."))
    assert ended(failures) == [f"Interrupted. {GO_ON}"]
    assert handled == [signal.SIGINT] * (words == module.CTRL_C)


SLOW_STEP = f"""
import sys

sys.path.insert(0, "{ROOT}")

from snakemake.logging import logger
from workflow_scripts.run.failures import Failures

logger.addHandler(Failures())


rule:
    output:
        "made",
    shell:
        "trap '' INT; touch begun; while [ ! -e typed ]; do sleep 0.1; done; touch {{output}}"
"""


def test_while_snakemake_waits_for_its_steps_more_ctrl_c_does_no_harm(tmp_path):
    (tmp_path / "Snakefile").write_text(SLOW_STEP)
    terminal = Terminal(tmp_path, [sys.executable, "-m", "snakemake", "--cores", "1", "made"])
    wait_until((tmp_path / "begun").exists)
    terminal.type(CTRL_C)
    wait_until(lambda: module.CTRL_C in terminal.said())
    for _ in range(2):
        time.sleep(0.2)
        terminal.type(CTRL_C)
    time.sleep(0.2)
    (tmp_path / "typed").touch()
    status = terminal.process.wait(GIVE_UP)
    terminal.close()
    assert (tmp_path / "made").exists()
    assert status == 1 and "Traceback" not in terminal.said(), terminal.said()


def test_what_makes_snakemake_itself_fail_is_told():
    failures = Failures()
    failures.handle(record(LogEvent.ERROR, "WorkflowError:\n  no such partition"))
    assert ended(failures) == ["Snakemake failed: WorkflowError: no such partition", CORRECT]


def test_a_run_that_snakemake_ends_for_want_of_room_says_how_to_go_on(caplog):
    Failures().handle(record(LogEvent.ERROR, "WorkflowError:\nError recording metadata for finished job ([Errno 28])"))
    assert caplog.messages == [CORRECT]
    Failures().handle(record(LogEvent.ERROR, "WorkflowError:\n  no such partition"))
    assert caplog.messages == [CORRECT]


def test_the_whole_log_is_named_first():
    failures = Failures()
    workflow = SimpleNamespace(scheduler=SimpleNamespace(failed=set()))
    assert failures.tell(workflow, share_left, ["a.log"]).startswith("The whole log: a.log\n")


def test_messages_that_are_no_events_do_no_harm():
    failures = Failures()
    failures.handle(logging.makeLogRecord({"msg": None}))
    assert not failures.said and not any(failures.others.values())
