"""Section dissect: thresholds and tallies of a ResNet-50's last stage, on a device and on the host's cores."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import h5py
import numpy as np
import torch
from torch import Tensor

from benchmarks import full_size, quick
from benchmarks.concept_files import broden_images, write_broden
from benchmarks.full_size import MAP_SIDE, QUANTILE
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.both_ways import Comparison, order_statistics, tally
from benchmarks.gpu.timing import time_runs
from benchmarks.gpu.workloads import cores
from benchmarks.synthetic import SIDE, Labels, broden_like
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.interpolation import grid
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.order_statistics import order_statistic_rank
from workflow_scripts.dissect.parallel import in_order
from workflow_scripts.dissect.tallies import TallySettings, own_labels
from workflow_scripts.dissect.tensor_samples import LargestSamples
from workflow_scripts.dissect.tensor_tallies import Labels as DeviceLabels
from workflow_scripts.dissect.tensor_tallies import TensorTally
from workflow_scripts.dissect.tensors import VALUES_AT_ONCE, Blocks, DeviceBlock, pinned
from workflow_scripts.shared.gpus import lease_gpu

LAYER, BRODEN = "layer4", 63_305
THREADS = min(8, cores())  # they decode for a GPU, as in the workflow
# Bytes that drawing moves per pixel: a product is written; an addition reads and writes it; a comparison reads that and
# writes its result in half precision, which the product of masks and labels reads.
MASK_BYTES = 4 + 8 + 4 + 2 + 2
ROUNDING = 1e-4  # the share of pixels that may differ because quick-netdissect's interpolation rounds differently


class Scale(NamedTuple):
    """How much is measured: the most images, images per available second, images that are drawn, and units.

    quick: images for quick-netdissect's algorithm. side: side of the matrices that are multiplied. copied: bytes that
    are copied. runs: runs of each measurement.
    """

    images: int
    images_a_second: int
    drawn: int
    units: int
    quick: int
    side: int
    copied: int
    runs: int


FULL = Scale(BRODEN, 100, 256, full_size.UNITS, 64, 8192, 2**30, 3)
SMALL = Scale(8, 8, 8, 64, 2, 256, 2**20, 1)


class Rates(NamedTuple):
    """The machine's rates: bytes per second moved in the device's memory and copied to it, and products per second."""

    memory: float
    bus: float
    products: float


class Work(NamedTuple):
    """The work for a layer: bytes of maps, pixels of masks that are drawn, products that are summed."""

    bytes: int
    pixels: int
    products: int


class Layer:
    """A layer that is measured: its maps, labels and settings, on a device."""

    def __init__(self, maps: LayerMaps, labels: ConceptData, device: str):
        self.maps, self.labels, self.device = maps, labels, device
        self.rank = np.full(maps.units, order_statistic_rank(QUANTILE, maps.samples))
        self.settings: TallySettings  # set with the thresholds

    def find_thresholds(self, device: str | None, threads: int) -> dict[str, np.ndarray]:
        """Find the thresholds on a device or, without one, by the compiled kernels, and set them for the tally."""
        found = order_statistics(device, self.maps, self.rank, None, threads)
        to = grid((MAP_SIDE, MAP_SIDE), (SIDE, SIDE), "align_corners_false")
        categories = len(self.labels.category_name)
        self.settings = TallySettings(found["threshold"], to, self.labels.label_category, categories, False)
        return found

    def tally(self, device: str | None, threads: int) -> dict[str, np.ndarray]:
        """Tally on a device or, without one, by the compiled kernels."""
        found = tally(device, self.maps, self.labels, self.settings, own_labels(self.maps.images), threads)
        return {"intersection": found.intersection, "unit_area": found.unit_area}

    def read(self) -> None:
        """Read and decode all maps, as for the device."""
        empty = pinned if self.device == "cuda" else np.empty
        runs = self.maps.runs(0, self.maps.images, VALUES_AT_ONCE)
        for _ in in_order(lambda images: self.maps.read(images, empty), runs, THREADS):
            pass

    def on_device(self) -> tuple[list[DeviceBlock], list[Tensor]]:
        """Return all blocks on the device, and their values on the host."""
        blocks = list(Blocks(self.maps, torch.device(self.device), THREADS))
        self.wait()
        return blocks, [torch.from_numpy(block.host) for block in blocks]

    def wait(self) -> None:
        """Make the host wait until the device has finished."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def count_samples(self, blocks: list[DeviceBlock]) -> None:
        """Find thresholds from blocks that are on the device."""
        largest = LargestSamples(self.rank, self.maps.half, device=self.device)
        for block in blocks:
            largest.add(LAYER, block.values, block.unit, MAP_SIDE, None)
        largest.raise_floors()

    def count_pixels(self, blocks: list[DeviceBlock], labels: DeviceLabels) -> None:
        """Tally blocks that are on the device."""
        counts = TensorTally(self.settings, labels, own_labels(self.maps.images))
        streams = Blocks(self.maps, labels.device, 1)
        found = [counts.find_active(block) for block in blocks]
        for block, active in zip(blocks, found, strict=True):
            counts.add(streams, block, active)
        counts.fetch()

    def work(self, blocks: list[DeviceBlock], labels: DeviceLabels) -> Work:
        """Return the work for these blocks."""
        counts = TensorTally(self.settings, labels, own_labels(self.maps.images))
        # Each image's active maps, and its labels, including the additional one that areas are counted with.
        found = [counts.find_active(block) for block in blocks]
        self.wait()
        active = np.concatenate([active.counts.numpy() for active in found])
        pixels = active * SIDE**2
        size = sum(block.values.nbytes for block in blocks)
        return Work(size, int(pixels.sum()), int((pixels * np.diff(labels.start)).sum()))


def run(bench: Bench) -> None:
    """Measure thresholds and tallies from a dump of all maps and from one of candidates, and their bounds."""
    scale = SMALL if bench.small else FULL
    if bench.device == "cpu":
        torch.set_num_threads(1)  # other jobs may be running on a small machine
    images = min(scale.images, max(scale.drawn, int(scale.images_a_second * bench.seconds_left()) // 128 * 128))
    labels = broden_like(scale.drawn, 1)
    write_broden(bench.folder / "concepts.h5", broden_images(labels), images)
    with patch.multiple(full_size, UNITS=scale.units, DRAWN=scale.drawn):
        full_size.build_dumps(bench.folder, images)
    device = lease_gpu() or "cpu"
    rates = measure_rates(bench, device, scale)
    seconds: dict[str, dict[str, float]] = {}
    for kind in ("all", "candidates"):
        name = f"{kind} maps" if kind == "all" else kind
        bench.part(name, 10, measure_dump, bench, kind, name, device, scale, rates, seconds)
    bench.part("quick-netdissect", 5, measure_quick, bench, labels, device, scale, seconds)


def measure_dump(
    bench: Bench, kind: str, name: str, device: str, scale: Scale, rates: Rates, seconds: dict[str, dict[str, float]]
) -> None:
    """Measure the thresholds and the tally of one dump, whole and in parts."""
    with (
        h5py.File(bench.folder / f"{kind}.h5", locking=False) as dump,
        ConceptData(bench.folder / "concepts.h5") as labels,
    ):
        layer = Layer(LayerMaps(dump, LAYER), labels, device)
        whole = time_both(bench, layer, name, scale)
        seconds[name] = whole | {"images": layer.maps.images}
        blocks, hosts = layer.on_device()
        scratch = torch.empty(max(host.numel() for host in hosts), dtype=hosts[0].dtype, device=device)

        def copy() -> None:
            for host in hosts:
                scratch[: host.numel()].copy_(host.view(-1), non_blocking=True)

        record = partial(bench.row, f"{name}, parts")
        note = f"{layer.maps.images} images; {THREADS} threads decode"
        for part, work, clock in (("decoding", layer.read, "cpu"), ("copying", copy, bench.device)):
            record(median(work, clock, scale), "s", note, part)
        record(median(lambda: layer.count_samples(blocks), bench.device, scale), "s", note, "samples")
        read_labels = partial(DeviceLabels, labels, True, False, device, THREADS)
        record(median(read_labels, bench.device, scale), "s", note, "labels")
        on_device = read_labels()
        record(median(lambda: layer.count_pixels(blocks, on_device), bench.device, scale), "s", note, "pixels")
        record_floors(bench, name, layer.work(blocks, on_device), rates, drawing=kind == "all")


def time_both(bench: Bench, layer: Layer, name: str, scale: Scale) -> dict[str, float]:
    """Time thresholds and tally, from start to end, on the device and on the host, and compare the results.

    Returns seconds: "device" and "host" for both steps together, and "thresholds" and "tally" on the device.
    """
    found, total = Comparison(), {"device": 0.0, "host": 0.0}
    images = layer.maps.images
    for step, work in {"thresholds": layer.find_thresholds, "tally": layer.tally}.items():
        on_device, ours = time_result(partial(work, layer.device, THREADS), bench.device, scale)
        on_host, compiled = time_result(partial(work, None, cores()), "cpu", scale)
        for counts, values in compiled.items():
            found.add(f"{step}: {counts}", ours[counts], values)
        record = partial(bench.row, f"{name}: {step}")
        record(on_device, "s", f"{images} images", "device")
        record(on_host, "s", f"{cores()} threads", f"{cores()} cores")
        record(on_host / on_device, "ratio", "", "cores / device")
        total["device"], total["host"], total[step] = total["device"] + on_device, total["host"] + on_host, on_device
    bench.check(f"{name}: the device's numbers equal the kernels'", not found.first, found.note)
    line, note = "extrapolated to 63,305 images", f"thresholds and tally, from {images} images"
    short = name.removesuffix(" maps")
    bench.row(line, total["device"] * BRODEN / images, "s", note, short)
    bench.row(line, total["host"] * BRODEN / images, "s", note, f"{short}, {cores()} cores")
    return total


def record_floors(bench: Bench, name: str, work: Work, rates: Rates, drawing: bool) -> None:
    """Record the seconds in which the machine could do the work, at its measured rates.

    Without `drawing`, only reading is recorded: the rest is the same for every dump.
    """
    record = partial(bench.row, "floors")
    record(work.bytes / rates.bus, "s", f"{work.bytes / 1e9:.2f} GB, for each step", f"{name} over the bus")
    if not drawing:
        return
    note = f"{MASK_BYTES} bytes per pixel of {work.pixels / SIDE**2:.0f} masks: products, sums, comparisons, masks"
    record(work.pixels * MASK_BYTES / rates.memory, "s", note, "drawing masks")
    note = f"{work.products:.2e} products of masks' and labels' pixels, including additions"
    record(work.products / rates.products, "s", note, "counting")


def measure_rates(bench: Bench, device: str, scale: Scale) -> Rates:
    """Measure the rates that bound the device, with several inputs in turn: a single one would stay in a cache."""
    shape = (scale.copied // 2,)
    generator = torch.Generator(device).manual_seed(1)
    sources = [torch.randn(shape, dtype=torch.half, device=device, generator=generator) for _ in range(3)]
    target = torch.empty_like(sources[0])
    hosts = [source.cpu().pin_memory() if device == "cuda" else source.clone() for source in sources[:2]]
    matrices = [
        torch.randn(scale.side, scale.side, dtype=torch.half, device=device, generator=generator) for _ in range(3)
    ]

    def copy_all(tensors: list[Tensor]) -> None:
        for tensor in tensors:
            target.copy_(tensor, non_blocking=True)

    def multiply() -> None:
        for matrix in matrices:
            torch.mm(matrix, matrices[0])

    rates = Rates(
        2 * len(sources) * scale.copied / median(lambda: copy_all(sources), bench.device, scale),
        len(hosts) * scale.copied / median(lambda: copy_all(hosts), bench.device, scale),
        len(matrices) * scale.side**3 / median(multiply, bench.device, scale),
    )
    record = partial(bench.row, "measured rates")
    record(rates.memory / 1e9, "GB/s", "read and written", "device memory")
    record(rates.bus / 1e9, "GB/s", "pinned", "host to device")
    record(2 * rates.products / 1e12, "TFLOP/s", f"matrices of {scale.side}, half precision", "torch.mm, half")
    return rates


def measure_quick(
    bench: Bench, labels: Labels, device: str, scale: Scale, seconds: dict[str, dict[str, float]]
) -> None:
    """Measure quick-netdissect's tally of a few images, and compare one with the CPU's."""
    with h5py.File(bench.folder / "all.h5", locking=False) as dump:
        maps = dump[f"maps/{LAYER}"][: scale.quick]
    few = Labels(labels.planes[: len(maps)], labels.whole_labels[: len(maps)], labels.label_category, labels.categories)
    thresholds = np.quantile(maps.astype(np.float32), 1 - QUANTILE, axis=(0, 2, 3)).astype(np.float32)
    each = median(lambda: quick.tally(maps, thresholds, few, device), bench.device, scale) / len(maps)
    one = Labels(few.planes[:1], few.whole_labels[:1], few.label_category, few.categories)
    ours, theirs = (quick.tally(maps[:1], thresholds, one, way) for way in (device, "cpu"))
    apart = sum(np.abs(a - b).sum() for a, b in zip(ours, theirs, strict=True)) / sum(a.sum() for a in theirs)
    bench.check("quick-netdissect's algorithm counts as on the CPU", apart < ROUNDING, f"{apart:.1e} of pixels differ")
    record = partial(bench.row, "quick-netdissect's tally")
    record(1e3 * each, "ms", f"{len(maps)} images", "per image")
    record(each * BRODEN, "s", f"from {len(maps)} images", "extrapolated to 63,305 images")
    for name, whole in seconds.items():
        ratio = each * whole["images"] / whole["tally"]
        bench.row("quick-netdissect / device", ratio, "ratio", "tallies, of each image", name)


def median(work: Callable[[], Any], device: str, scale: Scale) -> float:
    """Return the median seconds of several runs, after a warm-up run."""
    return statistics.median(time_runs(work, device, scale.runs).seconds)


def time_result(work: Callable[[], Any], device: str, scale: Scale) -> tuple[float, Any]:
    """Return the median seconds, as `median`, and the result of the last run."""
    found: list[Any] = []

    def keep() -> None:
        found[:] = [work()]

    return median(keep, device, scale), found[0]
