"""Sharing out images among threads."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any


def in_shards(work: Callable, images: int, threads: int, *arguments: Any) -> list:
    """The results of work(first, last, *arguments) for as many runs of consecutive images as `threads`.

    The work is in compiled code, which lets other threads run.
    """
    bounds = [images * i // threads for i in range(threads + 1)]
    shards = [(first, last) for first, last in pairwise(bounds) if first < last]
    logging.info("%d threads", len(shards))
    with ThreadPoolExecutor(len(shards)) as pool:
        jobs = [pool.submit(work, *shard, *arguments) for shard in shards]
        return [job.result() for job in jobs]
