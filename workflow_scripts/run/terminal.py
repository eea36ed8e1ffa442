"""What a person sees on the terminal while snakemake runs: a line when a job starts and ends, how far, how long still.

All that Snakemake would have shown is in its own log, .snakemake/log/. It is on the terminal, too, in dry runs, with
--verbose, and with a --quiet of one's own other than host.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.run.forecast import Forecast, Job, last_line, rate
from workflow_scripts.run.run_times import read_benchmarks
from workflow_scripts.shared.printable import printable
from workflow_scripts.shared.progress import clock

LEFT_OUT = (LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO, LogEvent.JOB_INFO, LogEvent.GROUP_INFO)
CHATTER = (
    "Assuming unrestricted shared filesystem",
    "Using shell",
    "Conda environments: ignored",
    "Group jobs: inactive",
    "Select jobs to execute",
    "Exiting because a job execution failed",  # "look above": below it says which, and why
)
AFTER_FAILURE = ("Complete log(s)", "Elapsed time", "WorkflowError:\nAt least one job did not complete")
LONG = 60  # seconds after which a job that runs is reported
MOST = 8  # jobs in a report
# Of a message of Snakemake's: a job that gathers the files of thousands of networks names them all when it fails.
MOST_LINES, WIDEST = 200, 2000
# The next report comes after a tenth of the time that is left: after a minute with ten minutes left. These bound it, in
# seconds, and so does a share of the time that has passed: what is nearly ready for hours must not flood a log.
TENTH, LEAST_PAUSE, MOST_PAUSE, LEAST_SHARE = 0.1, 10, 3600, 1 / 300


def outlive_terminal() -> None:
    """When the terminal closes, end this process as SIGTERM does; the steps that run heed the signal themselves.

    nohup's choice to ignore that stays.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def use_terminal(workflow: Any, config: dict, share_left: Callable[[str, str, str], float | None]) -> "Terminal | None":
    """Let the terminal show what a person needs, and return what shows it; None where Snakemake's own is wanted.

    `share_left` tells the share of weights of (arm, replicate, level), if it is known beforehand.
    """
    output = workflow.output_settings
    own = workflow.is_main_process and not (output.dryrun or output.verbose or output.debug_dag)
    if not own or set(output.quiet or ()) - {Quietness.HOST}:
        return None
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            terminal = Terminal(workflow, config, share_left, handler.formatter)
            handler.setFormatter(terminal)
            handler.addFilter(terminal.is_needed)
            return terminal
    return None


class Terminal(logging.Formatter):
    """Formats Snakemake's messages, and reports now and then what runs.

    Args:
        workflow: Snakemake's; what it knows of its jobs is looked up when it runs.
        config: the whole config.
        share_left: as of `use_terminal`.
        usual: formats what is shown as ever.
    """

    def __init__(self, workflow: Any, config: dict, share_left: Callable, usual: logging.Formatter | None) -> None:
        super().__init__()
        self.workflow, self.config, self.share_left = workflow, config, share_left
        self.usual = usual or logging.Formatter()
        self.forecast = Forecast(read_benchmarks(config["experiment"]), config["rates"]["start"])
        self.started: dict[Job, float] = {}  # jobs and groups of jobs that run, and since when
        self.ended: set[int] = set()
        self.done, self.total = 0, 0
        self.begun = time.monotonic()
        self.next_report = self.begun + LEAST_PAUSE
        self.failed = False  # whether it has been told how the run failed

    def is_needed(self, record: logging.LogRecord) -> bool:
        """Whether a person needs to see a message."""
        words = CHATTER + AFTER_FAILURE if self.failed else CHATTER
        return getattr(record, "event", None) not in LEFT_OUT and not str(record.msg).startswith(words)

    def format(self, record: Any) -> str:
        """Return what a message of Snakemake's shows on the terminal; "" shows nothing."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_STARTED:
            return self.start_lines(record.jobs)
        if event == LogEvent.JOB_FINISHED:
            self.ended.add(record.job_id)
            return ""  # shows nothing
        if event == LogEvent.PROGRESS:
            self.done, self.total = record.done, record.total
            return self.end_lines()
        return bounded(printable(self.usual.format(record)))

    def start_lines(self, numbers: list) -> str:
        """Note the start of jobs and groups, and return a line for each."""
        by_number = {job.jobid: job for job in self.workflow.scheduler.running}
        jobs = [by_number[number] for number in numbers if number in by_number]
        self.started |= dict.fromkeys(jobs, time.time())
        remote = self.workflow.non_local_exec
        return "\n".join(
            line("submit" if remote and not job.is_local else "start", describe_job(job, self.share_left))
            for job in jobs
            if job.output
        )

    def end_lines(self) -> str:
        """Note the end of jobs, and return a line for each, and how far all is."""
        lines = []
        for job, start in list(self.started.items()):
            if all(member.jobid in self.ended for member in members(job)):
                del self.started[job]
                seconds = max(time.time() - start, 0)  # the clock may have been put back
                for member in members(job):
                    self.forecast.note(member, seconds / len(members(job)))
                if job.output:
                    lines.append(line("done", f"{describe_job(job, self.share_left)}: {duration(seconds)}"))
        if self.done < self.total and time.monotonic() >= self.next_report:
            lines.append(self.steps())
        return "\n".join(lines)

    def steps(self) -> str:
        """Return how many steps are done and, by the forecast, what share of the time, and how long it will still take.

        The share is of the time of this run. It falls where the forecast turns out too short.
        """
        now, left = time.monotonic(), self.seconds_left()
        passed = now - self.begun
        self.next_report = now + pause(passed, left)
        words = f"{self.done:>{len(str(self.total))}} of {self.total} steps"
        if self.workflow.scheduler.failed and not self.workflow.execution_settings.keep_going:
            return line(f"{words}; a step has failed, so no other starts")
        if left is None or left < 1:  # what is left was foreseen as nothing, or takes longer than foreseen
            return line(words)
        return line(f"{words}, {100 * passed / (passed + left):2.0f} % of the time, about {clock(left)} left")

    def seconds_left(self) -> float | None:
        """Return how many seconds the jobs that are left will take; None if that is not known."""
        dag, scheduler = self.workflow.dag, self.workflow.scheduler
        return self.forecast.left(
            [job for job in dag.needrun_jobs() if job.jobid not in self.ended],
            lambda job: dag.dependencies[job],
            {members(job)[0]: start for job, start in list(self.started.items()) if job in scheduler.running},
            {name: limit for name, limit in scheduler.global_resources.items() if 0 < limit < sys.maxsize},
        )

    def watch(self) -> None:
        """Report from now on how far all is, as long as Snakemake runs."""
        self.begun = time.monotonic()
        threading.Thread(target=self.report_for_ever, daemon=True).start()

    def report_for_ever(self) -> None:
        """Forecast the jobs by the rates of the config, then log a report whenever it is due, without end."""
        jobs = [job for job in self.workflow.dag.needrun_jobs() if job.output]
        self.total = len(self.workflow.dag)
        self.forecast.rated = rate(jobs, self.config, self.workflow.resource_settings.cores)
        while True:
            time.sleep(1)
            if time.monotonic() >= self.next_report and self.started:
                logger.info(self.report())

    def report(self) -> str:
        """Return how far the jobs are that have run for long, those that run longest first, and how far all is."""
        now, running = time.time(), self.workflow.scheduler.running
        long = [(job, start) for job, start in list(self.started.items()) if job in running and now - start > LONG]
        lines = [
            line("runs", f"{describe_job(job, self.share_left)}, {clock(now - start)}: {last_words(job, start)}")
            for job, start in sorted(long, key=lambda pair: pair[1])[:MOST]
        ]
        if len(long) > MOST:
            lines.append(line("runs", f"and {len(long) - MOST} more"))
        return "\n".join([*lines, self.steps()])


def pause(passed: float, left: float | None) -> float:
    """Return how many seconds after a report the next one comes, in a run of which so many have passed, or are left."""
    tenth = TENTH * (left or passed)  # of what has passed, where there is no forecast, or it was too short
    return max(min(tenth, MOST_PAUSE), LEAST_PAUSE, LEAST_SHARE * passed)


def bounded(text: str) -> str:
    """Return a text without the middle of too many lines, and lines without the ends of too long ones."""
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"... {len(lines) - 2 * half} lines are only in the whole log", *lines[-half:]]
    return "\n".join(
        each if len(each) <= WIDEST else f"{each[:WIDEST]}... {len(each) - WIDEST} characters are only in the whole log"
        for each in lines
    )


def line(*words: str) -> str:
    """Return a line for the terminal: the time of day, then the words in columns."""
    return "  ".join([time.strftime("%H:%M:%S"), *(f"{word:<6}" for word in words)])


def members(job: Job) -> list[Job]:
    """Return the jobs of a group in order, or a job by itself."""
    return list(job) if job.is_group() else [job]


def describe_job(job: Job, share_left: Callable[[str, str, str], float | None]) -> str:
    """Return what a job does, and of which network."""
    jobs = members(job)
    rules = " + ".join(dict.fromkeys(member.rule.name for member in jobs))
    of = {name: value for member in jobs for name, value in member.wildcards_dict.items() if value}
    arm, replicate, level = of.pop("arm", ""), of.pop("replicate", ""), of.pop("level", "")
    share = share_left(arm, replicate, level) if level else None
    network = [arm, f"replicate {replicate}" if replicate else "", f"level {level}" if level else ""]
    weights = f" ({100 * share:.3g} % of weights)" if share is not None else ""
    words = [", ".join(filter(None, network)) + weights] if any(network) else []
    return "  ".join([f"{rules:<17}", *words, *(value.strip("_") for value in of.values())]).rstrip()


def last_words(job: Job, start: float) -> str:
    """Return the last words of a job, or of the last member of a group to have said any, since its start."""
    words = [last_line(member, start) for member in members(job)]
    return next((word for word in reversed(words) if word), "nothing in its log yet")


def duration(seconds: float) -> str:
    """Return seconds as text: "12.3 s" below a minute, then as `clock` has it."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
