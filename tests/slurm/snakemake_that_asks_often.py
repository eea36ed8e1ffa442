"""Snakemake that asks SLURM every second how its jobs are, for tests: python snakemake_that_asks_often.py ARGUMENT ...

The executor asks after one second, then after 11, 21, and so on up to 180: a job that ends is noticed minutes later.
"""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def one_second(_: RemoteExecutor) -> None:
    """Wait for the next question."""
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = one_second
    main()
