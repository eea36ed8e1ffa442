"""How the generated world is made: every picture has its own seed, and any number of processes can draw."""

import argparse
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.parent import end_with_parent
from workflow_scripts.shared.progress import Progress

# The seed of a picture is (seed of the world, its stream, its index), so no two sets share a picture.
STREAMS = {"train": 0, "test": 1, "concepts": 2}


def check_order(size: int, processes: int, **counts: int) -> None:
    """Raise UserError if `size` is odd or below 16, a seed or count below 0, or `processes` below 1."""
    if size < 16 or size % 2:
        raise UserError(f"size is {size}: it must be an even number of at least 16, because label maps have half of it")
    for name, count in counts.items():
        if count < 0:
            raise UserError(f"{name} is {count}: it must not be negative")
    if processes < 1:
        raise UserError(f"processes is {processes}: at least 1 must do the work")


@contextmanager
def workers(processes: int) -> Iterator[Callable]:
    """Yield a `map` that spreads its work over `processes` and keeps the order.

    It raises BrokenProcessPool if one of them is killed; multiprocessing.Pool would wait for its work for ever.
    """
    if processes == 1:
        yield map
        return
    pool = ProcessPoolExecutor(processes, initializer=follow_parent)
    try:
        yield partial(pool.map, chunksize=50)
    finally:
        pool.shutdown(cancel_futures=True)


def follow_parent() -> None:
    """Let this process end with its parent, even if that is killed, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)


def progress(results: Iterable, count: int, what: str) -> Iterator:
    """Yield `results` and log the progress."""
    lines = Progress(what, count)
    for done, result in enumerate(results, start=1):
        yield result
        lines.log(done)
    lines.finish()


def picture_generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """The random numbers of picture `index` of a stream, one of `STREAMS`, which no other picture shares."""
    return np.random.default_rng([seed, STREAMS[stream], index])


def world_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for what both scripts that make the world need."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, required=True, help="of the whole world, not negative")
    parser.add_argument("--size", type=int, required=True, help="pixels along an image's side; label maps have half")
    parser.add_argument("--processes", type=int, default=1, help="to share the work; the files stay the same")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--checksums", type=Path, required=True, help="the list of its files' checksums")
    return parser
