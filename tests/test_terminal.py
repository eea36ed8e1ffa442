"""What the terminal shows: a line for each start and end, what runs for long, Snakemake's own words where wanted."""

import logging
import re
from itertools import pairwise
from types import SimpleNamespace

import pytest
from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.run import terminal as module
from workflow_scripts.run.terminal import Terminal, describe_job, pause, use_terminal

CONFIG = {"experiment": "none", "rates": {"start": 2}}


class Job:
    """A job as far as the terminal looks at Snakemake's."""

    def __init__(self, number: int | str, rule: str, log=None, local: bool = True, output=("file",), **wildcards: str):
        self.jobid, self.rule, self.wildcards_dict = number, SimpleNamespace(name=rule), wildcards
        self.log, self.benchmark, self.output, self.is_local = [log] if log else [], None, output, local
        self.scheduler_resources = {"_cores": 1}

    def is_group(self) -> bool:
        return False


class Group(Job):
    """A group of jobs that a cluster runs as one."""

    def __init__(self, number: str, *members: Job):
        super().__init__(number, "group", local=False)
        self.members = members

    def is_group(self) -> bool:
        return True

    def __iter__(self):
        """Give the members in order."""
        return iter(self.members)


class Clock:
    """A clock that the test sets, and that always shows noon."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def strftime(self, _: str) -> str:
        return "12:00:00"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("workflow_scripts.run.forecast.time", clock)
    return clock


def share_left(arm: str, replicate: str, level: str) -> float | None:
    return 0.5 ** int(level) if arm == "imp" else None


def make_terminal(*jobs: Job, remote: bool = False) -> Terminal:
    scheduler = SimpleNamespace(running=set(jobs), failed=set(), global_resources={"_cores": 2})
    dag = SimpleNamespace(needrun_jobs=lambda: jobs, dependencies={job: {} for job in jobs})
    execution = SimpleNamespace(keep_going=False)
    workflow = SimpleNamespace(scheduler=scheduler, dag=dag, non_local_exec=remote, execution_settings=execution)
    usual = logging.Formatter("usual: %(message)s")
    return Terminal(workflow, CONFIG, share_left, usual)


def record(event: LogEvent | None, message: str | None = "words", **more) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message} | more)
    made.event = event
    return made


def end(terminal: Terminal, *numbers: int, done: int, total: int) -> str:
    for number in numbers:
        assert terminal.format(record(LogEvent.JOB_FINISHED, job_id=number)) == ""
    return terminal.format(record(LogEvent.PROGRESS, None, done=done, total=total))


def test_jobs_have_a_line_when_they_start_and_when_they_end(clock):
    train = Job(3, "train_level", arm="imp", replicate="1", level="3")
    pack = Job(4, "pack_images", split="train")
    terminal = make_terminal(train, pack)
    assert terminal.format(record(LogEvent.JOB_STARTED, jobs=[3, 4])).split("\n") == [
        "12:00:00  start   train_level        imp, replicate 1, level 3 (12.5 % of weights)",
        "12:00:00  start   pack_images        train",
    ]
    clock.now += 5
    assert end(terminal, 4, done=1, total=20) == "12:00:00  done    pack_images        train: 5.0 s"
    clock.now += 70
    lines = end(terminal, 3, done=2, total=20).split("\n")
    assert lines == [
        "12:00:00  done    train_level        imp, replicate 1, level 3 (12.5 % of weights): 0:01:15",
        "12:00:00   2 of 20 steps",
    ]


def test_progress_is_told_after_a_tenth_of_what_is_left_not_with_every_job(clock):
    jobs = [Job(number, "pack_images", split="train") for number in range(300)]
    terminal = make_terminal(*jobs)
    terminal.workflow.scheduler.global_resources["_cores"] = 1
    told = []
    for number in range(300):
        terminal.format(record(LogEvent.JOB_STARTED, jobs=[number]))
        clock.now += 2
        if "steps" in end(terminal, number, done=number + 1, total=300):
            told.append(clock.now - 1000)
    # Of 600 seconds 590 are left after the first ten: the next line comes 59 later, or with the next job that ends.
    assert told[:3] == [10, 70, 124] and told[-1] > 580
    for before, after in pairwise(told):
        assert max(10, (600 - before) / 10) <= after - before < max(10, (600 - before) / 10) + 2


@pytest.mark.parametrize(
    ("passed", "left", "seconds"),
    [
        (0, None, 10),
        (400, None, 40),  # without a forecast, of what has passed
        (0, 600, 60),  # a minute with ten minutes left
        (0, 6 * 3600, 36 * 60),
        (0, 7 * 86400, 3600),
        (3600, 20, 12),
        (86400, 0, 3600),  # it takes longer than foreseen
        (86400, 1, 288),  # and nearly ready for hours
    ],
)
def test_reports_are_rarer_the_longer_a_run_still_takes(passed, left, seconds):
    assert pause(passed, left) == pytest.approx(seconds)


def test_a_run_of_days_has_few_reports_and_one_of_ten_minutes_one_a_minute():
    def reports(total):
        now, times = 0.0, []
        while (now := now + pause(now, total - now)) < total:
            times.append(now)
        return times

    minutes, days = reports(600), reports(3 * 86400)
    assert all(after - before <= 60 for before, after in pairwise([0, *minutes, 600]))
    assert len(days) < 150 and all(after - before <= 3600 for before, after in pairwise([0, *days, 3 * 86400]))


def test_the_share_is_of_time_and_what_is_left_is_told_as_soon_as_there_is_a_basis(clock):
    jobs = [Job(number, "dump_activations", arm="imp", replicate="1", level=str(number)) for number in range(10)]
    terminal = make_terminal(*jobs)
    terminal.total = 10
    assert terminal.steps() == "12:00:00   0 of 10 steps"
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[0]))
    clock.now += 40
    # 9 x 40 s on 2 cores are left of 220 s.
    words = " 1 of 10 steps, 18 % of the time, about 0:03:00 left"
    assert end(terminal, 0, done=1, total=10).endswith(words)
    clock.now += 20  # the other steps have not begun: the forecast was too short, and the share falls to 60 of 240 s
    assert terminal.steps().endswith("25 % of the time, about 0:03:00 left")
    clock.now += 60
    assert terminal.steps().endswith("40 % of the time, about 0:03:00 left")


def test_after_a_failure_no_time_is_told_unless_the_others_go_on(clock):
    jobs = [Job(number, "dump_activations", arm="imp", replicate="1", level=str(number)) for number in range(10)]
    terminal = make_terminal(*jobs)
    terminal.forecast.means["dump_activations"] = 40
    terminal.workflow.scheduler.failed.add(jobs[0])
    assert terminal.steps().endswith(" steps; a step has failed, so no other starts")
    terminal.workflow.execution_settings.keep_going = True
    assert terminal.steps().endswith(" left")


def test_groups_are_told_as_one(clock):
    dump = Job(5, "dump_activations", arm="imp", replicate="1", level="1")
    name = Job(6, "name_units", arm="imp", replicate="1", level="1")
    group = Group("a-b-c", dump, name)
    terminal = make_terminal(group, remote=True)
    started = terminal.format(record(LogEvent.JOB_STARTED, jobs=["a-b-c"]))
    assert started == "12:00:00  submit  dump_activations + name_units  imp, replicate 1, level 1 (50 % of weights)"
    clock.now += 2
    assert end(terminal, 5, done=1, total=2) == ""
    ended = end(terminal, 6, done=2, total=2)
    assert ended == started.replace("submit", "done  ") + ": 2.0 s"
    assert not terminal.started


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job(1, "make_images"), "make_images"),
        (Job(1, "init_network", replicate="2"), "init_network       replicate 2"),
        (Job(1, "train_dense", arm="trained_twice", replicate="1"), "train_dense        trained_twice, replicate 1"),
        (Job(1, "check_network", entry="_mine"), "check_network      mine"),
        (Job(1, "check_network", entry=""), "check_network"),
        (Job(1, "name_units", arm="mine", replicate="1", level="0"), "name_units         mine, replicate 1, level 0"),
    ],
)
def test_jobs_are_described_by_their_network(job, words):
    assert describe_job(job, share_left) == words


def test_a_clock_that_is_put_back_makes_no_time_negative_and_delays_no_report(clock, monkeypatch):
    train = Job(3, "train_level", arm="imp", replicate="1", level="1", output=["network.pt"])
    terminal = make_terminal(train, Job(4, "pack_images", split="train"))
    monkeypatch.setattr(clock, "monotonic", lambda: 2000.0)
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[3]))
    clock.now -= 3600
    terminal.format(record(LogEvent.JOB_FINISHED, job_id=3))
    done, steps = terminal.format(record(LogEvent.PROGRESS, done=1, total=2)).split("\n")
    assert done.endswith(": 0.0 s") and "1 of 2 steps" in steps


def test_what_runs_for_long_is_reported_with_the_last_words_of_its_log(clock, tmp_path):
    log = tmp_path / "train.log"
    train = Job(3, "train_level", log=log, arm="imp", replicate="1", level="1")
    short = Job(4, "pack_images", split="train")
    terminal = make_terminal(train, short)
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[3]))
    assert terminal.report() == "12:00:00  0 of 0 steps"
    clock.now += 90
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[4]))
    words = "train_level        imp, replicate 1, level 1 (50 % of weights), 0:01:30"
    assert terminal.report().split("\n")[0] == f"12:00:00  runs    {words}: nothing in its log yet"
    log.write_text("09:00:00 5 of 9 pictures, 1 a second, 0:00:04 left\n")
    first, steps = terminal.report().split("\n")
    assert first == f"12:00:00  runs    {words}: 5 of 9 pictures, 1 a second, 0:00:04 left"
    assert "steps" in steps
    terminal.workflow.scheduler.running.clear()  # it has failed
    assert "runs" not in terminal.report()


def test_of_many_jobs_a_few_are_reported(clock):
    jobs = [Job(number, "dump_activations", arm="imp", replicate="1", level=str(number)) for number in range(100)]
    terminal = make_terminal(*jobs)
    terminal.format(record(LogEvent.JOB_STARTED, jobs=list(range(100))))
    clock.now += 100
    lines = terminal.report().split("\n")
    assert len(lines) == module.MOST + 2 and lines[-2] == f"12:00:00  runs    and {100 - module.MOST} more"


def test_a_handler_without_a_formatter_shows_messages_as_they_are():
    terminal = Terminal(SimpleNamespace(), CONFIG, share_left, None)
    assert terminal.format(record(LogEvent.JOB_ERROR, "it failed")) == "it failed"


def test_errors_are_shown_as_ever_and_chatter_is_not():
    terminal = make_terminal()
    is_needed = terminal.is_needed
    error = record(LogEvent.JOB_ERROR, "it failed")
    assert is_needed(error) and terminal.format(error) == "usual: it failed"
    assert is_needed(record(None, "Complete log(s): here")) and is_needed(record(LogEvent.RUN_INFO))
    assert not is_needed(record(LogEvent.JOB_INFO)) and not is_needed(record(None, "Select jobs to execute..."))


def test_nothing_follows_what_is_told_of_a_failure():
    terminal = make_terminal()
    after = [
        "Complete log(s): here",
        "Elapsed time: 0:01:00",
        "WorkflowError:\nAt least one job did not complete successfully.",
    ]
    assert all(terminal.is_needed(record(None, words)) for words in after)
    terminal.failed = True
    assert not any(terminal.is_needed(record(None, words)) for words in after)
    assert terminal.is_needed(record(LogEvent.ERROR, "WorkflowError:\nsomething else"))


@pytest.fixture
def handler():
    """Snakemake's own handler for the terminal."""
    handler = logging.StreamHandler()
    handler.name = "DefaultStreamHandler"
    handler.setFormatter(logging.Formatter())
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("main", "settings", "ours"),
    [
        (True, {}, True),
        (True, {"quiet": {Quietness.HOST}}, True),
        (False, {}, False),  # a job
        (True, {"dryrun": True}, False),
        (True, {"verbose": True}, False),
        (True, {"quiet": {Quietness.PROGRESS}}, False),
    ],
)
def test_snakemakes_own_words_where_they_are_wanted(handler, main, settings, ours):
    output = SimpleNamespace(**{"dryrun": False, "verbose": False, "debug_dag": False, "quiet": None} | settings)
    workflow = SimpleNamespace(output_settings=output, is_main_process=main)
    made = use_terminal(workflow, CONFIG, share_left)
    assert (made is not None) == isinstance(handler.formatter, Terminal) == bool(handler.filters) == ours


def test_lines_fit_a_terminal(clock):
    long = Job(1, "make_control", arm="untrained_calibrated", replicate="1", level="0")
    terminal = make_terminal(long)
    assert len(terminal.format(record(LogEvent.JOB_STARTED, jobs=[1]))) <= 80
    terminal.done, terminal.total = 1234, 5678
    terminal.forecast.means["make_control"] = 5 * 86400
    assert re.fullmatch(r"12:00:00  1234 of 5678 steps,  0 % of the time, about 5.0 days left", terminal.steps())


def test_a_message_of_snakemakes_is_bounded_and_printable():
    terminal = make_terminal()
    files = ", ".join(f"results/one/imp/replicate_{number}/level_0/metrics.json" for number in range(8000))
    shown = terminal.format(record(None, f"Error in rule collect:\n    input: {files}\n    log: \x1b[31mred"))
    first, inputs, last = shown.split("\n")
    assert (first, last) == ("usual: Error in rule collect:", r"    log: \x1b[31mred")
    assert len(inputs) < 2100 and inputs.endswith(f"... {len(files) + 11 - 2000} characters are only in the whole log")
    lines = terminal.format(record(None, "\n".join(map(str, range(5000))))).split("\n")
    assert len(lines) == 201 and (lines[99], lines[101]) == ("99", "4900")
    assert lines[100] == "... 4800 lines are only in the whole log"
