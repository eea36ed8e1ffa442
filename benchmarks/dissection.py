"""How fast thresholds and tallies are, compared with the algorithms of published tools, on the same data.

    python -m benchmarks.dissection

The data are synthetic, at the scale of a ResNet-50's last stage: 2,048 units with maps of 7 x 7, label maps of
112 x 112, 1,197 labels with Broden's statistics. Prints times and ratios; the last line is one JSON object.

Everything runs in one process. The engine runs on two threads, each with images of its own. It is compared with our own
implementations of the published algorithms, on as many threads as these use: one for sorting and NetDissect-Lite,
torch's number for quick-netdissect. Every time is the best of several runs, except that quick-netdissect runs once.
Setting up counters is not timed, because it happens once for all images.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from benchmarks import lite, quick
from benchmarks.synthetic import SIDE, Labels, broden_like, packed_labels, relu_maps
from workflow_scripts.dissect.concept_data import LabelBlock
from workflow_scripts.dissect.interpolation import grid
from workflow_scripts.dissect.maps import MapBlock, whole_block
from workflow_scripts.dissect.order_statistics import Counts, LargestSamples, order_statistic_rank
from workflow_scripts.dissect.tallies import Tally, TallySettings

UNITS, MAP_SIDE, QUANTILE, THREADS = 2048, 7, 0.005, 2


def main() -> None:
    """Time thresholds, tallies and a stream of maps at the sizes on the command line; print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24, help="images for all three tallies")
    parser.add_argument("--stream", type=int, default=16384, help="images for thresholds and bandwidth")
    arguments = parser.parse_args()
    maps = many_maps(arguments.stream)
    result = {"threads": THREADS, "images": arguments.images, "stream": arguments.stream}
    thresholds = time_thresholds(maps, result)
    time_tallies(maps[: arguments.images], thresholds, broden_like(arguments.images, 1), result)
    time_stream(maps, thresholds, result)
    print(json.dumps(result))


def many_maps(images: int) -> np.ndarray:
    """Maps (images, units, 7, 7): up to 512 images are drawn; the others repeat them with units in another order."""
    drawn = relu_maps(min(images, 512), UNITS, MAP_SIDE, seed=0)
    parts = [np.roll(drawn, 37 * turn, axis=1) for turn in range(-(-images // len(drawn)))]
    return np.concatenate(parts)[:images]


def best_time(work: Callable, runs: int) -> tuple[float, Any]:
    """The seconds of the fastest of several runs, and the result of the last."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), found


def time_thresholds(maps: np.ndarray, result: dict) -> np.ndarray:
    """Time the order statistics of all units against sorting each unit's values on one thread; return the former.

    Values are sorted in single precision, which numpy sorts much faster than half precision.
    """
    rank = order_statistic_rank(QUANTILE, len(maps) * MAP_SIDE**2)
    bounds = np.linspace(0, len(maps), THREADS + 1).astype(int)

    def count(first: int, last: int) -> Counts:
        largest = LargestSamples(np.full(UNITS, rank), half=True)
        for start in range(first, last, 64):
            block = whole_block(maps[start : min(start + 64, last)])
            largest.add("layer4", block.values, block.unit, MAP_SIDE, None)
        return largest.counts()

    def stream() -> np.ndarray:
        largest = LargestSamples(np.full(UNITS, rank), half=True)
        for counts in pool.map(count, bounds[:-1], bounds[1:]):
            largest.merge(counts)
        largest.raise_floors()
        return largest.threshold

    def by_sorting(unit: int) -> np.float32:
        return np.sort(maps[:, unit].astype(np.float32), axis=None)[-rank]

    units = range(0, UNITS, UNITS // 64)
    with ThreadPoolExecutor(THREADS) as pool:
        stream()  # compiles
        ours, thresholds = best_time(stream, 3)
    theirs, expected = best_time(lambda: [by_sorting(unit) for unit in units], 2)
    ours, theirs, exact = ours / UNITS, theirs / len(units), thresholds[units].tolist() == expected
    result |= {"thresholds_vs_sort": round(theirs / ours, 1), "thresholds_exact": exact}
    print(
        f"threshold of a unit, {len(maps)} images: {1e6 * ours:.0f} us ({THREADS} threads);"
        f" by sorting {1e6 * theirs:.0f} us (1 thread)"
    )
    return thresholds


def label_block(labels: Labels) -> LabelBlock:
    """The labels in the form that `ConceptData.block` returns."""
    masks, rows = packed_labels(labels)
    tables = {name: table for name, table in rows.tables().items() if not name.startswith("again")}
    counts_for = np.zeros((len(labels.planes), len(labels.categories)), bool)
    image, label = rows.occurrences()
    counts_for[image, labels.label_category[label + 1]] = True
    joined = np.concatenate(masks)
    return LabelBlock(joined.reshape(len(joined), -1), counts_for=counts_for, **tables)


def time_engine(
    blocks: list[tuple[MapBlock, LabelBlock]],
    thresholds: np.ndarray,
    labels: Labels,
    knots: str,
    in_mask: bool,
    runs: int,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The seconds to tally blocks, one per thread, and the total counts (L, U) and (U, C)."""
    to = grid((MAP_SIDE, MAP_SIDE), (SIDE, SIDE), knots)

    def counters() -> list[Tally]:
        settings = (thresholds, to, labels.label_category[1:].astype(np.uint8), len(labels.categories), in_mask)
        return [Tally(TallySettings(*settings)) for _ in blocks]

    def add(tally: Tally, block: tuple[MapBlock, LabelBlock]) -> None:
        images = len(block[1].counts_for)
        tally.add(block[0], MAP_SIDE, block[1], np.arange(images), np.zeros(images, np.int64))

    with ThreadPoolExecutor(len(blocks)) as pool:

        def run(tallies: list[Tally]) -> None:
            list(pool.map(add, tallies, blocks))

        counted, timed = counters(), counters()
        run(counted)  # compiles
        seconds, _ = best_time(lambda: run(timed), runs)
    return seconds, sum(t.intersection[0] for t in counted), sum(t.unit_area[0] for t in counted)


def halves(maps: np.ndarray, labels: Labels) -> list[tuple[MapBlock, LabelBlock]]:
    """Divide the images among the threads."""
    bounds = np.linspace(0, len(maps), THREADS + 1).astype(int)
    return [
        (
            whole_block(maps[first:last]),
            label_block(
                Labels(
                    labels.planes[first:last], labels.whole_labels[first:last], labels.label_category, labels.categories
                )
            ),
        )
        for first, last in pairwise(bounds)
    ]


def time_tallies(maps: np.ndarray, thresholds: np.ndarray, labels: Labels, result: dict) -> None:
    """Time the tallies of the same images: the engine's, NetDissect-Lite's and quick-netdissect's."""
    blocks, double = halves(maps, labels), maps.astype(np.float64)
    for name, work, runs, knots, in_mask in (
        ("lite", lambda: lite.tally(double, thresholds, labels), 3, "align_corners_false", True),
        ("quick", lambda: quick.tally(maps, thresholds, labels), 1, "align_corners_false", False),
    ):
        ours, shared, area = time_engine(blocks, thresholds, labels, knots, in_mask, 30)
        theirs, counts = best_time(work, runs)
        result[f"tally_vs_{name}"] = round(theirs / ours, 1)
        result[f"counts_unlike_{name}"] = differences(shared, area, *counts)
        print(
            f"tally of an image: {1e3 * ours / len(maps):.3f} ms ({THREADS} threads);"
            f" {name}'s algorithm {1e3 * theirs / len(maps):.1f} ms"
            f" ({torch.get_num_threads() if name == 'quick' else 1} at most)"
        )


def differences(shared: np.ndarray, area: np.ndarray, their_shared: np.ndarray, their_area: np.ndarray) -> float:
    """The share of all counted pixels by which two tallies differ. Different rounding moves single pixels."""
    apart = np.abs(shared.T - their_shared[:, 1:]).sum() + np.abs(area - their_area).sum()
    return float(f"{apart / (their_shared.sum() + their_area.sum()):.1e}")


def time_stream(maps: np.ndarray, thresholds: np.ndarray, result: dict) -> None:
    """Time the tally of many images against reading their maps and label masks from memory once."""
    labels = broden_like(256, 2)
    turns = len(maps) // 256
    labels = Labels(labels.planes * turns, labels.whole_labels * turns, labels.label_category, labels.categories)
    blocks = halves(maps[: 256 * turns], labels)
    ours, *_ = time_engine(blocks, thresholds, labels, "align_corners_false", False, 3)
    arrays = [(block.values.ravel().view(np.uint64), label.masks.ravel()) for block, label in blocks]
    with ThreadPoolExecutor(THREADS) as pool:
        floor, _ = best_time(lambda: list(pool.map(lambda pair: [np.bitwise_xor.reduce(a) for a in pair], arrays)), 5)
    gigabytes = sum(a.nbytes for pair in arrays for a in pair) / 1e9
    result["share_of_memory_bandwidth"] = round(floor / ours, 3)
    result["tally_us_per_image"] = round(1e6 * ours / (256 * turns))
    print(
        f"tally of {256 * turns} images: {ours:.2f} s; reading their {gigabytes:.2f} GB once: {floor:.2f} s"
        f" ({gigabytes / floor:.0f} GB/s)"
    )


if __name__ == "__main__":
    main()
