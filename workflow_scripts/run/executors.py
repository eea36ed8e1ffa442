"""What must be true of the place that jobs are sent to before the first is."""

import subprocess
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.locks import ANSWER_SECONDS

NEEDED = {SharedFSUsage.INPUT_OUTPUT, SharedFSUsage.PERSISTENCE, SharedFSUsage.SOURCES}


def require_shared_files(storage: Any) -> None:
    """Make sure that jobs find all files where the others have left them.

    Args:
        storage: Snakemake's settings: `default_storage_provider`, and `shared_fs_usage`, which tells what
            files all machines share.

    Raises:
        UserError: files would go through a storage provider, or not all are shared.
    """
    if storage.default_storage_provider is not None:
        raise UserError(
            f"the workflow cannot keep its files in storage ({storage.default_storage_provider}): leave out"
            " --default-storage-provider, and run in a folder that all machines share"
        )
    lacking = sorted(usage.item_to_choice() for usage in NEEDED - set(storage.shared_fs_usage))
    if lacking:
        raise UserError(
            "the workflow needs a folder that all machines share: choose an executor whose machines do, and add"
            f" {', '.join(lacking)} to --shared-fs-usage, or leave that out"
        )


def require_executor(workflow: Any, gpus: int | str) -> None:
    """Check where jobs are sent before they are, and warn of what Snakemake and the jobs cannot see there.

    Args:
        workflow: Snakemake's; its executor is known once the workflow starts.
        gpus: as the config says it.

    Raises:
        UserError: as `require_shared_files`; jobs go to other machines and `gpus` is "auto"; as `require_answers`.
    """
    require_shared_files(workflow.storage_settings)  # once more, for an executor may imply that none are shared
    executor = workflow.executor_plugin
    if not executor.common_settings.non_local_exec:
        return
    if gpus == "auto":
        raise UserError(
            "gpus is auto, which looks for a GPU on this machine, not where the jobs run: say how many each training"
            " gets, as in --config gpus=1, or gpus=0 for none"
        )
    if executor.name == "slurm":
        require_answers(workflow.executor_settings.status_command)
        notice_preempted_jobs()
        for warning in left_over(jobs_left(Path.cwd())):
            logger.warning(warning)
    else:
        logger.warning(
            f"Under {executor.name} jobs cannot see whether a process on another machine still runs:"
            " after a run from this folder was killed, make sure that none of its jobs is left."
        )


def require_answers(status_command: str) -> None:
    """Make sure that Snakemake will hear how its jobs are, for which it asks sacct or squeue, as its options have it.

    Raises:
        UserError: it is to ask sacct, and that does not work: it would take every job to be running for ever.
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


def notice_preempted_jobs() -> None:
    """Let Snakemake submit a preempted job again if SLURM will not start it again.

    The plugin (2.8.0) waits for every preempted job, but one from a partition with PreemptMode=CANCEL has ended.
    """
    import snakemake_executor_plugin_slurm as plugin  # which only clusters need

    query = plugin.query_job_status

    async def query_and_decide(*arguments: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await query(*arguments)
        if states and "PREEMPTED" in states.values():
            states = without_preempted(states)
        return states, seconds

    plugin.query_job_status = query_and_decide


def without_preempted(states: dict[str, str]) -> dict[str, str]:
    """Return the states of jobs, by id, where preempted jobs that have left the queue count as cancelled."""
    queue = ask("squeue", "--me", "--noheader", "--format=%i")
    if queue is None:
        return states
    return {
        job: "CANCELLED" if state == "PREEMPTED" and job not in queue.split() else state
        for job, state in states.items()
    }


def jobs_left(folder: Path) -> dict[str, str]:
    """Return the states of this user's jobs in the queue that Snakemake has submitted from `folder`, by their ids."""
    # What Snakemake submits bears the rule's name as its comment.
    listed = ask("squeue", "--me", "--noheader", "--format=%A|%T|%k|%Z") or ""
    jobs = [line.split("|", 3) for line in listed.splitlines()]
    return {
        job: state for job, state, comment, origin in jobs if comment.startswith("rule_") and Path(origin) == folder
    }


def left_over(jobs: dict[str, str]) -> list[str]:
    """Return what to say of jobs of an earlier run that are still in the queue, by id their states."""
    warnings = []
    if jobs:
        warnings.append(
            f"Jobs of an earlier run from this folder are still in SLURM's queue: {' '.join(jobs)}. Trainings that run"
            " are waited for. If you have changed the config or the code since, cancel them all first (scancel)."
        )
    pending = [job for job, state in jobs.items() if state == "PENDING"]
    if pending:
        warnings.append(
            "Those that have not started would begin by deleting what is made from now on. If the run that submitted"
            f" them has ended: scancel {' '.join(pending)}"
        )
    return warnings


def ask(*command: str) -> str | None:
    """Return what one of SLURM's tools says; None if it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=ANSWER_SECONDS).stdout
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
