"""What has to be known of a SLURM cluster before jobs are submitted to it."""

import subprocess
from pathlib import Path

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.locks import ANSWER_SECONDS


def require_answers(status_command: str) -> None:
    """Make sure that Snakemake will hear how its jobs are, which it asks sacct or squeue, as it was told to.

    Raises:
        UserError: it is told to ask sacct, and that does not work: it would take every job to be running for ever.
    """
    if ask("sacct", "--allocations", "--noheader", "--starttime=now") is not None:
        return
    if status_command == "sacct":
        raise UserError(
            "sacct does not work here, which needs an accounting database: set slurm-status-command to squeue in"
            " profiles/slurm, or add --slurm-status-command squeue"
        )
    import snakemake_executor_plugin_slurm  # which only clusters need

    # While the controller is down, the plugin (2.8.0) goes over from squeue to sacct if there is a program of that
    # name, and stays with it: one that does not work is as good as none.
    snakemake_executor_plugin_slurm.is_query_tool_available = lambda tool: tool != "sacct"


def jobs_left(folder: Path) -> dict[str, str]:
    """Return the states of this user's jobs in the queue that Snakemake has submitted from `folder`, by their ids."""
    # What Snakemake submits bears the rule's name as its comment.
    listed = ask("squeue", "--me", "--noheader", "--format=%A|%T|%k|%Z") or ""
    jobs = [line.split("|", 3) for line in listed.splitlines()]
    return {
        job: state for job, state, comment, origin in jobs if comment.startswith("rule_") and Path(origin) == folder
    }


def ask(*command: str) -> str | None:
    """Return what one of SLURM's tools says; None if it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=ANSWER_SECONDS).stdout
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
