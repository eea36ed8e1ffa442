"""What the terminal shows: a line for each start and end, what runs for long, Snakemake's own words where wanted."""

import logging
import re
from types import SimpleNamespace

import pytest
from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.run import terminal as module
from workflow_scripts.run.terminal import Terminal, describe_job, is_needed, tell_failures, use_terminal


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
    scheduler = SimpleNamespace(running=set(jobs), global_resources={"_cores": 2})
    dag = SimpleNamespace(needrun_jobs=lambda: jobs, dependencies={job: {} for job in jobs})
    workflow = SimpleNamespace(scheduler=scheduler, dag=dag, non_local_exec=remote)
    usual = logging.Formatter("usual: %(message)s")
    return Terminal(workflow, {"experiment": "none"}, share_left, usual)


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
    assert lines[0] == "12:00:00  done    train_level        imp, replicate 1, level 3 (12.5 % of weights): 0:01:15"
    assert lines[1].startswith("12:00:00  2 of 20 steps (10 %)")


def test_steps_are_not_told_with_every_job(clock):
    jobs = [Job(number, "pack_images", split="train") for number in range(30)]
    terminal = make_terminal(*jobs)
    terminal.format(record(LogEvent.JOB_STARTED, jobs=list(range(30))))
    told = 0
    for number in range(30):
        clock.now += 1
        told += "steps" in end(terminal, number, done=number + 1, total=31)
    assert told == 2


def test_what_is_left_is_told_as_soon_as_there_is_a_basis(clock):
    jobs = [Job(number, "dump_activations", arm="imp", replicate="1", level=str(number)) for number in range(10)]
    terminal = make_terminal(*jobs)
    assert terminal.steps().endswith("(0 %)")
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[0]))
    clock.now += 40
    assert end(terminal, 0, done=1, total=10).endswith(
        "1 of 10 steps (10 %), about 0:03:00 left"
    )  # 9 x 40 s on 2 cores


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


def test_what_runs_for_long_is_reported_with_the_last_words_of_its_log(clock, tmp_path):
    log = tmp_path / "train.log"
    train = Job(3, "train_level", log=log, arm="imp", replicate="1", level="1")
    short = Job(4, "pack_images", split="train")
    terminal = make_terminal(train, short)
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[3]))
    assert terminal.report() == ""
    clock.now += 90
    terminal.format(record(LogEvent.JOB_STARTED, jobs=[4]))
    words = "train_level        imp, replicate 1, level 1 (50 % of weights), 0:01:30"
    assert terminal.report().split("\n")[0] == f"12:00:00  runs    {words}: nothing in its log yet"
    log.write_text("09:00:00 5 of 9 pictures, 1 a second, 0:00:04 left\n")
    first, steps = terminal.report().split("\n")
    assert first == f"12:00:00  runs    {words}: 5 of 9 pictures, 1 a second, 0:00:04 left"
    assert "steps" in steps
    terminal.workflow.scheduler.running.clear()  # it has failed
    assert terminal.report() == ""


def test_of_many_jobs_a_few_are_reported(clock):
    jobs = [Job(number, "dump_activations", arm="imp", replicate="1", level=str(number)) for number in range(100)]
    terminal = make_terminal(*jobs)
    terminal.format(record(LogEvent.JOB_STARTED, jobs=list(range(100))))
    clock.now += 100
    lines = terminal.report().split("\n")
    assert len(lines) == module.MOST + 2 and lines[-2] == f"12:00:00  runs    and {100 - module.MOST} more"


def test_a_handler_without_a_formatter_shows_messages_as_they_are():
    terminal = Terminal(SimpleNamespace(), {"experiment": "none"}, share_left, None)
    assert terminal.format(record(LogEvent.JOB_ERROR, "it failed")) == "it failed"


def test_errors_are_shown_as_ever_and_chatter_is_not():
    terminal = make_terminal()
    error = record(LogEvent.JOB_ERROR, "it failed")
    assert is_needed(error) and terminal.format(error) == "usual: it failed"
    assert is_needed(record(None, "Complete log(s): here")) and is_needed(record(LogEvent.RUN_INFO))
    assert not is_needed(record(LogEvent.JOB_INFO)) and not is_needed(record(None, "Select jobs to execute..."))


def test_failures_are_named_with_their_logs(tmp_path):
    log = tmp_path / "train.log"
    log.touch()
    train = Job(3, "train_level", log=log, arm="imp", replicate="1", level="1")
    other = Job(4, "pack_images", split="train", log=tmp_path / "none.log")
    last = "What has finished is kept: the same command goes on from here."
    said = tell_failures(SimpleNamespace(scheduler=SimpleNamespace(failed=[train, other])), share_left)
    assert said.split("\n") == [
        f"Failed: train_level imp, replicate 1, level 1 (50 % of weights); see {log}.",
        "Failed: pack_images train; see above.",
        last,
    ]
    said = tell_failures(SimpleNamespace(scheduler=SimpleNamespace(failed=[other] * 20)), share_left)
    assert len(said.split("\n")) == module.MOST + 2
    assert tell_failures(SimpleNamespace(scheduler=SimpleNamespace(failed=[])), share_left) == last  # Ctrl-C


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
    made = use_terminal(workflow, {"experiment": "none"}, share_left)
    assert (made is not None) == isinstance(handler.formatter, Terminal) == bool(handler.filters) == ours


def test_lines_fit_a_terminal(clock):
    long = Job(1, "make_control", arm="untrained_calibrated", replicate="1", level="0")
    terminal = make_terminal(long)
    assert len(terminal.format(record(LogEvent.JOB_STARTED, jobs=[1]))) <= 80
    assert re.fullmatch(r"12:00:00  0 of 0 steps \(0 %\)", terminal.steps())
