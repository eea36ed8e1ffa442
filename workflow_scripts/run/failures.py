"""How a run that failed ends: each failed step with its own sentence, and how to go on, in the last lines."""

import logging
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.run.forecast import Job, end_of_log
from workflow_scripts.run.terminal import describe_job, members
from workflow_scripts.shared.files import STOPPED
from workflow_scripts.shared.interruption import INTERRUPTED
from workflow_scripts.shared.printable import printable

MOST = 8  # failed steps that are named
ROOM = 10e6  # bytes; with less left on the disk, a step that fails without a word has failed for want of room
ANOTHER = "error: another process of this training"  # what the processes of a training say when one of them has failed
# What SLURM says of jobs that have not failed by themselves.
TAKEN_AWAY = re.compile(r"SLURM status is: '(CANCELLED|NODE_FAIL|PREEMPTED)")
CTRL_C = "Terminating processes on user request"
ON_REQUEST = (CTRL_C, "Will exit after finishing currently running jobs")
# Only the kernel, when memory runs out, and people send SIGKILL.
TOO_LITTLE_MEMORY = "probably killed for too little memory: give it more, or run fewer jobs at once"
NOT_RECORDED = "Error recording metadata for finished job"  # as when the disk is full
KEPT = "Finished steps are kept."
GO_ON = f"{KEPT} Run the same command to continue."
CORRECT = f"{KEPT} Correct the cause, then run the same command to continue."


class Reason(NamedTuple):
    """Why a step failed.

    `passes`: nothing needs to be corrected before it runs again. `is_rejected`: its own log says that all went well.
    """

    sentence: str
    passes: bool = False
    is_rejected: bool = False


class Failures(logging.Handler):
    """Notes what Snakemake and its executor say of jobs that fail, which they do not keep.

    Attributes:
        started: when each job last started, by its number.
        said: what was said of each job that ended with an error, likewise.
        full: folders of such jobs where hardly any room was left, likewise.
        others: by thread, what else was said: of outputs that Snakemake rejects, or of Snakemake's own failure.
        interrupted: whether the run was asked to end, as by Ctrl-C.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started: dict[int, float] = {}
        self.said: dict[int, str] = {}
        self.full: dict[int, Path] = {}
        self.others: dict[int, list[str]] = {}
        self.interrupted = False

    def emit(self, record: Any) -> None:
        """Note what a message of Snakemake's says of starts and failures."""
        event, others = getattr(record, "event", None), self.others.setdefault(threading.get_ident(), [])
        if str(record.msg).startswith(ON_REQUEST):
            self.interrupted = True
            if str(record.msg).startswith(CTRL_C):
                # Snakemake now ends its steps and waits for them; a second Ctrl-C would break it with a traceback.
                # Steps on this machine hear each themselves.
                signal.signal(signal.SIGINT, lambda *_: None)
        elif event == LogEvent.JOB_STARTED:
            self.started |= dict.fromkeys(record.jobs, time.time())
            for number in record.jobs:
                self.said.pop(number, None)
        elif event == LogEvent.ERROR:
            others.append(str(record.msg))
            if NOT_RECORDED in str(record.msg):  # after this Snakemake ends without a call of onerror
                logger.error(CORRECT)
        elif event == LogEvent.JOB_ERROR:
            # The error that a job raises is told in the same thread just before.
            self.said[record.jobid] = others.pop() if others else str(record.rule_msg or "")
            folder = Path(record.log[0]).parent if record.log else Path()
            if folder.is_dir() and shutil.disk_usage(folder).free < ROOM:
                self.full[record.jobid] = folder

    def tell(self, workflow: Any, share_left: Callable[[str, str, str], float | None], logs: Iterable[str] = ()) -> str:
        """Return the last lines of a run that has failed, such that a terminal can show them.

        Args:
            workflow: Snakemake's.
            share_left: as of `use_terminal`.
            logs: where Snakemake's whole log lies.
        """
        lines = [f"The whole log: {log}" for log in logs]
        failed = sorted(workflow.scheduler.failed, key=lambda job: self.started.get(job.jobid, 0))
        reasons = {job: self.reason(job) for job in failed}
        for place, job in enumerate(failed[:MOST]):
            logs_of_job = "" if reasons[job].is_rejected else see(job)
            lines.append(f"Failed: {' '.join(describe_job(job, share_left).split())}{logs_of_job}")
            if place + 1 == len(failed[:MOST]) or reasons[failed[place + 1]] != reasons[job]:
                lines.append(f"  {reasons[job].sentence}")
        if len(failed) > MOST:
            lines.append(f"And {len(failed) - MOST} more steps failed: the whole log names them.")
        own = [text for others in self.others.values() for text in others]
        if not failed and own and not self.interrupted:
            lines.append(f"Snakemake failed: {in_one_line(own[-1])}")
        elif not failed:
            return printable("\n".join([*lines, f"Interrupted. {GO_ON}"]))
        passes = failed and all(reasons[job].passes for job in failed)
        return printable("\n".join([*lines, GO_ON if passes else CORRECT]))

    def reason(self, job: Job) -> Reason:
        """Return why a job or group failed: by what Snakemake has against it, by its log, by how it ended."""
        jobs = members(job)
        numbers = [member.jobid for member in jobs if member.jobid in self.said]
        if not numbers and (rejection := self.rejection(jobs)):
            return Reason(rejection, is_rejected=True)
        since = min((self.started[each.jobid] for each in (job, *jobs) if each.jobid in self.started), default=0)
        ends = [end_of_log(member, since) for member in jobs]
        if own := next(filter(None, map(own_sentence, ends)), ""):
            return Reason(own, passes=own.startswith((INTERRUPTED, STOPPED)))
        said = next((self.said[number] for number in numbers if self.said[number]), "")
        if folder := next((self.full[number] for number in numbers if number in self.full), None):
            return Reason(f"hardly any room is left on the disk of {folder}: make room")
        if name := ended_by(said):
            memory = f": {TOO_LITTLE_MEMORY}" if name == "SIGKILL" else ""
            return Reason(f"ended by {name}{memory}", passes=name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"))
        if "SLURM" in said:
            memory = f" ({TOO_LITTLE_MEMORY})" if "OUT_OF_MEMORY" in said else ""
            return Reason(in_one_line(said) + memory, passes=TAKEN_AWAY.search(said) is not None)
        last = next((lines[-1] for lines in reversed(ends) if lines), "")
        return Reason(f"ended with an error; the last line of its log: {last}" if last else "ended without a word")

    def rejection(self, jobs: list[Job]) -> str:
        """Return what Snakemake has against the outputs of jobs that ended well; "" if it has nothing."""
        for text in (text for others in self.others.values() for text in reversed(others)):
            head, _, words = text.partition("\n")
            for job in jobs:
                if any(str(path) in words for path in job.output) or f" in rule {job.rule.name} " in head:
                    # Of a folder in which a file is missing it lists all else.
                    return f"Snakemake: {in_one_line(re.sub(r', parent dir contents: [^)]*', '', words))}"
        return ""


def own_sentence(lines: list[str]) -> str:
    """Return the sentence that a script ends with by its log: that of its UserError, or else of its last traceback."""
    for line in lines:
        if line.startswith("error: ") and not line.startswith(ANOTHER):
            return line.removeprefix("error: ")
    starts = [place for place, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[starts[-1] + 1 :] if starts else []
    return next((line for line in after if not line.startswith(" ")), "")


def ended_by(said: str) -> str:
    """Return the name of the signal that ended a command, as Snakemake has told it; "" for none."""
    if found := re.search(r"died with <Signals\.(\w+)", said):
        return found[1]
    if found := re.search(r"non-zero exit status (\d+)", said):
        number = int(found[1]) - 128  # as shells have it
        if number in {int(known) for known in signal.Signals}:
            return signal.Signals(number).name
    return ""


def see(job: Job) -> str:
    """Return where the logs of a job or group lie, in brackets; "" if there are none."""
    logs = [str(log) for member in members(job) for log in member.log if Path(log).is_file()]
    return f" ({' and '.join(logs)})" if logs else ""


def in_one_line(text: str) -> str:
    """Return text with each space or new line as one space."""
    return " ".join(text.split())
