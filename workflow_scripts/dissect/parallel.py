"""Share work among threads; the work is done in compiled code, which lets other threads run."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise
from typing import Any


def in_shards(work: Callable, images: int, threads: int, *arguments: Any) -> list:
    """The results of work(first, last, *arguments) for up to `threads` runs of consecutive images."""
    bounds = [images * i // threads for i in range(threads + 1)]
    shards = [(first, last) for first, last in pairwise(bounds) if first < last]
    if len(shards) == 1:
        return [work(*shards[0], *arguments)]
    logging.info("%d threads", len(shards))
    with ThreadPoolExecutor(len(shards)) as pool:
        jobs = [pool.submit(work, *shard, *arguments) for shard in shards]
        return [job.result() for job in jobs]


def in_order(work: Callable, items: Iterable, threads: int) -> Iterator:
    """Yield work(item) for each item, in order; a bounded number of items is processed ahead."""
    items = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future] = deque()
        while True:
            waiting.extend(pool.submit(work, item) for item in islice(items, threads + 2 - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
