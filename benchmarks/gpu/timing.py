"""Timing on a GPU, with its own clock, and on the CPU."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity


class Timing(NamedTuple):
    """Several runs: `seconds` of each, and `peak`, the most bytes of GPU memory they allocated, None on the CPU."""

    seconds: tuple[float, ...]
    peak: int | None

    def rate(self, count: int) -> float:
        """Return the rate per second of the median run, if each run processes `count` items."""
        return count / statistics.median(self.seconds)

    def spread(self, count: int) -> str:
        """Return the rates of the slowest and the fastest run, for a note."""
        return f"{count / max(self.seconds):,.0f} to {count / min(self.seconds):,.0f}"

    def times_as_fast_as(self, base: "Timing") -> float:
        """Return the median over rounds of the ratio of its rate to that of `base`."""
        return statistics.median(one / other for one, other in zip(base.seconds, self.seconds, strict=True))

    def memory(self) -> str:
        """Return the peak memory, for a note; empty on the CPU."""
        return "" if self.peak is None else f"; {self.peak / 1e9:.1f} GB"


def time_runs(work: Callable[[], object], device: str, runs: int = 5) -> Timing:
    """Time several runs of `work` after a warm-up run."""
    [timing] = time_in_turn([work], device, runs)
    return timing


def time_in_turn(works: list[Callable[[], object]], device: str, runs: int = 5) -> list[Timing]:
    """Time several rounds of `works`, one after another in each round, so that conditions are the same for all.

    A warm-up round comes first.
    """
    for work in works:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    peaks = [0] * len(works)
    for _ in range(runs):
        for number, work in enumerate(works):
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds[number].append(seconds_of(work, device))
            if device == "cuda":
                peaks[number] = max(peaks[number], torch.cuda.max_memory_allocated())
    return [Timing(tuple(s), p if device == "cuda" else None) for s, p in zip(seconds, peaks, strict=True)]


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Return the seconds that one run of `work` takes until the GPU has finished it."""
    if device != "cuda":
        started = time.perf_counter()
        work()
        return time.perf_counter() - started
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def profile(work: Callable[[], object], device: str) -> tuple[float, float | None]:
    """Run `work` once; return the seconds it takes, and the seconds in which a kernel runs on the GPU.

    Copies do not count as kernels. The second number is None on the CPU.
    """
    if device != "cuda":
        return seconds_of(work, device), None
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    spans = [(event.time_range.start, event.time_range.end) for event in profiler.events() if is_kernel(event)]
    return seconds, covered(spans) / 1e6


def is_kernel(event: torch.autograd.profiler_util.FunctionEvent) -> bool:
    """Return whether an event is a kernel, and not a copy or an annotation."""
    on_gpu = event.device_type == DeviceType.CUDA and not event.is_user_annotation
    return on_gpu and not event.name.startswith(("Memcpy", "Memset"))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the total time that the spans (start, end) cover; overlaps count once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
