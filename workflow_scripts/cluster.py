"""What has to be known of a SLURM cluster before jobs are submitted to it."""

import subprocess
from pathlib import Path

from workflow_scripts.files import UserError

ANSWER_SECONDS = 60.0  # for an answer of the scheduler's


def require_accounting(status_command: str) -> None:
    """Make sure that SLURM can be asked how jobs are by sacct, if that is how it is to be asked.

    Raises:
        UserError: it cannot, so that Snakemake would take every job to be running for ever.
    """
    if status_command == "sacct" and ask("sacct", "--allocations", "--noheader", "--starttime=now") is None:
        raise UserError(
            "sacct does not work here, which needs an accounting database: set slurm-status-command to squeue in"
            " profiles/slurm, or add --slurm-status-command squeue"
        )


def jobs_left(folder: Path) -> list[str]:
    """Return the ids of this user's jobs in the queue that Snakemake has submitted from `folder`."""
    # What Snakemake submits bears the rule's name as its comment.
    listed = ask("squeue", "--me", "--noheader", "--format=%A|%k|%Z") or ""
    jobs = [line.split("|", 2) for line in listed.splitlines()]
    return sorted({job for job, comment, origin in jobs if comment.startswith("rule_") and Path(origin) == folder})


def ask(*command: str) -> str | None:
    """Return what one of SLURM's tools says; None if it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=ANSWER_SECONDS).stdout
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
