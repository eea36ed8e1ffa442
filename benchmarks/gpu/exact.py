"""Section exact: a device counts the same as the compiled kernels, and the scripts make the same bytes twice."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch

from benchmarks.concept_files import broden_images, odd_images, write_broden, write_odd
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.both_ways import Comparison, order_statistics, remove, tally, write_maps
from benchmarks.gpu.chain import NAME, compare_chains
from benchmarks.synthetic import UNIT_KINDS, broden_like, relu_maps, unit_maps
from workflow_scripts.data.hdf5 import create_hdf5
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.interpolation import Field, Grid, grid, grid_at
from workflow_scripts.dissect.map_writers import AllMaps, Candidates
from workflow_scripts.dissect.maps import LayerMaps, strict_bound
from workflow_scripts.dissect.order_statistics import order_statistic_rank
from workflow_scripts.dissect.tallies import Pairing, Tally, TallySettings, own_labels
from workflow_scripts.plan.protocols import COUNTED_IMAGES, PROTOCOLS, Protocol
from workflow_scripts.shared.gpus import lease_gpu

LAYER, THREADS = "layer", 2
DTYPES = (np.float16, np.float32)
UPSAMPLED = Protocol(quantile=0.1, quantile_of="upsampled")
# With so few samples, quantiles are large.
ALL_PROTOCOLS = {
    **{name: replace(protocol, quantile=10 * protocol.quantile) for name, protocol in PROTOCOLS.items()},
    "at least": Protocol(quantile=0.1, mask="at_least", counted_images="with_label_in_mask"),
    "upsampled": UPSAMPLED,
    "receptive fields": Protocol(quantile=0.1, knots="receptive_field"),
    "receptive fields, upsampled": replace(UPSAMPLED, knots="receptive_field"),
}
FIELDS = (Field(-3, 16, 112), Field(11, 15, 112))
ODD_SIZES = ((97, 113), (5, 130))
MAP_SIZES = ((1, 1), (3, 5), (14, 14))


class Scale(NamedTuple):
    """How much is compared: images and sizes of label maps in most cases; images and units of the large case."""

    images: int
    sizes: tuple[tuple[int, int], ...]
    large_images: int
    units: int


Part = Callable[[Comparison, Path, str, Scale], None]
FULL, SMALL = Scale(12, ODD_SIZES, 384, 2048), Scale(3, ODD_SIZES[1:], 6, 64)


def run(bench: Bench) -> None:
    """Compare everything; scripts come first, because they need the card that this process leases afterwards."""
    if bench.device == "cpu":
        torch.set_num_threads(1)  # with so little to do, more threads only wait for each other
    with ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(compile_kernels, bench.folder / "kernels")
        bench.part(NAME, 10, compare_chains, bench)
        compiled.result()
    device = lease_gpu() or "cpu"
    scale = SMALL if bench.small else FULL
    parts = {
        "every protocol, threshold, mask and kind of unit": compare_protocols,
        "every size of maps and label maps, and one image": compare_sizes,
        "borders of zeros and knots anywhere": compare_borders,
        "groups, label partners and planes": compare_pairings,
        f"{scale.units} units with maps of 7 x 7": compare_many_units,
    }
    numbers: list[int] = []
    for name, part in parts.items():
        bench.part(name, 2, check, bench, name, part, device, scale, numbers)
    bench.row("numbers compared between a device and the kernels", sum(numbers), "numbers", "")


def check(bench: Bench, name: str, part: Part, device: str, scale: Scale, numbers: list[int]) -> None:
    """Make one comparison and record it."""
    found = Comparison()
    part(found, bench.folder / "exact", device, scale)
    numbers.append(found.numbers)
    bench.check(name, not found.first, found.note)


def compare_protocols(found: Comparison, folder: Path, device: str, scale: Scale) -> None:
    """Compare every protocol, for units of every kind in both precisions."""
    for name, dtype in product(ALL_PROTOCOLS, DTYPES):
        maps = odd_maps(scale.images, (7, 7), dtype)
        compare_case(found, f"{name}, {dtype.__name__}", folder, device, maps, scale.sizes[0], ALL_PROTOCOLS[name])


def compile_kernels(folder: Path) -> None:
    """Make Numba compile the kernels, for both precisions, and for raw and upsampled maps."""
    for dtype, protocol in product(DTYPES, (Protocol(quantile=0.1), UPSAMPLED)):
        compare_case(Comparison(), "", folder, None, odd_maps(1, (7, 7), dtype), ODD_SIZES[1], protocol)


def compare_sizes(found: Comparison, folder: Path, device: str, scale: Scale) -> None:
    """Compare maps and label maps of odd sizes, and a single image."""
    for map_size, size, images in product(MAP_SIZES, ODD_SIZES, (1, scale.images)):
        maps = odd_maps(images, map_size, DTYPES[images == 1])
        for protocol in (Protocol(quantile=0.1), replace(UPSAMPLED, knots="align_corners_true")):
            compare_case(found, f"{images} x {map_size} on {size}", folder, device, maps, size, protocol)


def compare_borders(found: Comparison, folder: Path, device: str, scale: Scale) -> None:
    """Compare maps with borders of zeros, at the usual knots and at uneven positions, also beyond the maps."""
    rng = np.random.default_rng(5)
    for dtype, size in product(DTYPES, scale.sizes):
        maps = odd_maps(scale.images, (7, 5), dtype)
        rows, columns = (np.sort(rng.uniform(-2, knots + 1, n)) for knots, n in zip((7, 5), size, strict=True))
        grids = {
            "zero": grid((7, 5), size, "align_corners_false", border="zero"),
            "zero, uneven": grid_at((7, 5), rows, columns, "zero"),
            "clamp, uneven": grid_at((7, 5), rows, columns),
        }
        with dumped(folder, maps, size, 0.1, "above", device) as (paths, concepts):
            for border, to in grids.items():
                where = f"{border}, {dtype.__name__}, {size}"
                compare_dissection(found, where, device, paths["all"], concepts, UPSAMPLED, to)


def compare_pairings(found: Comparison, folder: Path, device: str, scale: Scale) -> None:
    """Compare tallies in groups, which add up, and with labels of several images, with planes counted once and each."""
    rng = np.random.default_rng(6)
    images, size = scale.images, scale.sizes[0]
    maps = odd_maps(images, (7, 7), np.float16)
    groups, own = rng.integers(0, 3, images), own_labels(images)
    shuffled = rng.permuted(np.tile(own.partner, (4, 1)), axis=1)
    pairings = {
        "groups": (Pairing(own.partner, groups[None]), 3),
        "partners": (Pairing(shuffled, np.repeat(np.arange(4)[:, None], images, 1)), 4),
        "groups and partners": (Pairing(rng.integers(0, images, (2, images)), np.array([groups, groups + 3])), 6),
    }
    to = grid((7, 7), size, "align_corners_false")
    cut = np.quantile(maps.astype(np.float32), 0.8, axis=(0, 2, 3)).astype(np.float32)
    with (
        dumped(folder, maps, size, 0.1, "above", device) as (paths, concepts),
        h5py.File(paths["all"], locking=False) as dump,
        ConceptData(concepts) as labels,
    ):
        layer = LayerMaps(dump, LAYER)
        for each_plane, in_mask, with_category in product((False, True), repeat=3):
            settings = TallySettings(cut, to, labels.label_category, len(labels.category_name), in_mask)
            options = {"with_category": with_category, "each_plane": each_plane}
            where = f"in_mask={in_mask}, with_category={with_category}, each_plane={each_plane}"
            together = both_tallies(device, layer, labels, settings, own, options)
            found.add_tallies(f"together, {where}", *together)
            for name, (pairing, tallies) in pairings.items():
                apart = both_tallies(device, layer, labels, settings._replace(tallies=tallies), pairing, options)
                found.add_tallies(f"{name}, {where}", *apart)
                if name == "groups":
                    for counts in ("intersection", "unit_area"):
                        total = getattr(apart[0], counts).sum(0)
                        found.add(f"sum of groups, {where}: {counts}", total, getattr(together[1], counts)[0])


def both_tallies(
    device: str | None,
    maps: LayerMaps,
    labels: ConceptData,
    settings: TallySettings,
    pairing: Pairing,
    options: dict[str, bool],
) -> list[Tally]:
    """Return a layer's tallies from a device and from the kernels."""
    return [tally(way, maps, labels, settings, pairing, THREADS, **options) for way in (device, None)]


def compare_many_units(found: Comparison, folder: Path, device: str, scale: Scale) -> None:
    """Compare a layer of a ResNet-50's width, in several blocks, with Broden's labels."""
    drawn = relu_maps(min(scale.large_images, 64), scale.units, 7, seed=3)
    maps = np.concatenate([np.roll(drawn, 37 * turn, axis=1) for turn in range(-(-scale.large_images // len(drawn)))])
    labels = broden_images(broden_like(min(scale.large_images, 64), 2))
    for name in ("netdissect", "quick"):
        with dumped(folder, maps, None, PROTOCOLS[name].quantile, "above", device, labels) as (paths, concepts):
            for kind, path in paths.items():
                compare_dissection(found, f"{name}, {kind}", device, path, concepts, PROTOCOLS[name])


def compare_case(
    found: Comparison,
    where: str,
    folder: Path,
    device: str | None,
    maps: np.ndarray,
    size: tuple[int, int],
    protocol: Protocol,
) -> None:
    """Compare a protocol's results for maps (N, U, h, w), from a dump of all and, if they suffice, from candidates."""
    with dumped(folder, maps, size, protocol.quantile, protocol.mask, device) as (paths, concepts):
        if protocol.quantile_of == "upsampled":
            paths = {"all": paths["all"]}
        elif device:
            compare_files(found, f"{where}: candidates", paths.pop("candidates of the kernels"), paths["candidates"])
        for kind, path in paths.items():
            compare_dissection(found, f"{where}, {kind}", device, path, concepts, protocol)


@contextmanager
def dumped(
    folder: Path,
    maps: np.ndarray,
    size: tuple[int, int] | None,
    quantile: float,
    mask: str,
    device: str | None,
    labels: list | None = None,
) -> Iterator[tuple[dict[str, Path], Path]]:
    """Dump maps (N, U, h, w) in every way, with a concept set of odd labels of `size`, or of `labels`.

    Yields the paths of the dumps by name, and that of the concept set.
    """
    folder.mkdir(exist_ok=True)
    concepts = folder / "concepts.h5"
    if labels:
        write_broden(concepts, labels, len(maps))
    else:
        assert size, "odd labels have a size"
        write_odd(concepts, odd_images(np.random.default_rng(7), len(maps), size), size)
    paths = {name: folder / f"{name}.h5" for name in ("all", "candidates", "candidates of the kernels")}
    if device is None:
        paths.pop("candidates of the kernels")
    scratch = folder / "scratch.h5"
    for name, path in paths.items():
        with create_hdf5(path) as dump, create_hdf5(scratch) as kept:
            if name == "all":
                write_maps(AllMaps(dump, LAYER, maps.shape, maps.dtype), maps, None, 128)
            else:
                way = device if name == "candidates" else None
                writer = Candidates(dump, kept, LAYER, maps.shape, maps.dtype, quantile, mask, way)
                writer.largest.next_raise = 0  # so that bounds rise even with few maps
                write_maps(writer, maps, way, 128 if len(maps) > 128 else 3)
    yield paths, concepts
    remove(*paths.values(), scratch, concepts)


def compare_files(found: Comparison, where: str, compiled: Path, on_device: Path) -> None:
    """Compare the candidates in two dumps."""
    with h5py.File(compiled, locking=False) as one, h5py.File(on_device, locking=False) as other:
        for name, values in one[f"maps/{LAYER}"].items():
            found.add(f"{where}: {name}", other[f"maps/{LAYER}/{name}"][:], values[:])


def compare_dissection(
    found: Comparison,
    where: str,
    device: str | None,
    path: Path,
    concepts: Path,
    protocol: Protocol,
    to: Grid | None = None,
) -> None:
    """Compare thresholds and tallies of a dump; `to` replaces the protocol's grid."""
    with h5py.File(path, locking=False) as dump, ConceptData(concepts) as labels:
        maps = LayerMaps(dump, LAYER)
        if to is None:
            to = grid((maps.height, maps.width), (labels.height, labels.width), protocol.knots, FIELDS, protocol.border)
        upsampled = protocol.quantile_of == "upsampled"
        samples = maps.images * labels.height * labels.width if upsampled else maps.samples
        rank = np.full(maps.units, order_statistic_rank(protocol.quantile, samples))
        ways = [order_statistics(way, maps, rank, to if upsampled else None, THREADS) for way in (device, None)]
        for name, compiled in ways[1].items():
            found.add(f"{where}: {name}", ways[0][name], compiled)
        cut = strict_bound(ways[1]["threshold"], protocol.mask)
        rule = COUNTED_IMAGES.index(protocol.counted_images)
        settings = TallySettings(cut, to, labels.label_category, len(labels.category_name), rule == 1)
        options = {"with_category": rule == 0, "each_plane": protocol.planes == "each"}
        found.add_tallies(where, *both_tallies(device, maps, labels, settings, own_labels(maps.images), options))


def odd_maps(images: int, size: tuple[int, int], dtype: type) -> np.ndarray:
    """Return maps (images, units, h, w), with one unit of each kind."""
    rng = np.random.default_rng(8)
    return np.stack([unit_maps(kind, (images, *size), rng, dtype) for kind in UNIT_KINDS], axis=1)
