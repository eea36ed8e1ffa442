"""Sharing out images among processes."""

import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

from workflow_scripts.files import UserError, start_log


def in_shards(work: Callable, images: int, processes: int, *arguments: Any) -> list:
    """The results of work(first, last, *arguments) for as many runs of consecutive images as `processes`.

    Processes and not threads, because HDF5 decodes under one lock.
    """
    bounds = [images * i // processes for i in range(processes + 1)]
    shards = [(first, last) for first, last in pairwise(bounds) if first < last]
    if len(shards) == 1:
        return [work(*shards[0], *arguments)]
    logging.info("%d processes", len(shards))
    with ProcessPoolExecutor(len(shards), get_context("spawn"), initializer=start_log) as pool:
        jobs = [pool.submit(work, *shard, *arguments) for shard in shards]
        try:
            return [job.result() for job in jobs]
        except BrokenProcessPool:
            raise UserError("a process was killed, perhaps for want of memory: give more, or fewer processes") from None
