"""Section dump: how fast pictures pass through a network, and their maps into a file."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.timing import profile, time_runs
from benchmarks.gpu.workloads import MEAN, RESNET50, STD, TINY, calibrated, photographs
from workflow_scripts.data.hdf5 import FORMAT, append_rows, create_hdf5
from workflow_scripts.data.pack_concepts import create_pixels
from workflow_scripts.dissect.dump_activations import dump_activations
from workflow_scripts.networks.constructors import build
from workflow_scripts.shared.files import file_fingerprint
from workflow_scripts.shared.gpus import lease_gpu
from workflow_scripts.train.pictures import normaliser

CLASSES = 1000
CANDIDATES = (0.005, "above")
TOLERANCE = 1e-4  # of the largest output, between a GPU and the CPU in float32; TF32 differs by about 1e-3
COMPARED = 8  # pictures
# The type that forward passes are cast to, and whether float32 may be TF32.
PRECISIONS = {"float32": (None, False), "bfloat16": (torch.bfloat16, False), "TF32": (None, True)}
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


class Scale(NamedTuple):
    """What is measured: batches of the bare forward pass, and pictures of a short and a long dump."""

    network: dict
    layer: str
    side: int
    drawn: int  # pictures, which repeat
    batch: int
    batches: int
    short: int
    long: int
    runs: int


FULL = Scale(RESNET50, "layer4", 224, drawn=64, batch=128, batches=4, short=128, long=8192, runs=7)
SMALL = Scale(TINY, "stages.1", 32, drawn=8, batch=4, batches=2, short=8, long=512, runs=3)


def run(bench: Bench) -> None:
    """Measure forward passes of a ResNet-50, alone and within `dump_activations`; most valuable first."""
    scale = SMALL if bench.small else FULL
    device = torch.device(lease_gpu() or "cpu")
    torch.backends.cudnn.deterministic = True  # as in a dump
    drawn = photographs(bench.folder, scale.drawn, scale.side)
    network = calibrated_network(scale, drawn, device)
    inputs = random_batches(scale, drawn, device)
    bench.part("float32 as on the CPU", 10, compare_with_cpu, bench, network, inputs[0][:COMPARED])

    def forward_passes(layout: str) -> None:
        for precision in PRECISIONS:
            name = f"forward, {layout}"
            bench.part(f"{name}, {precision}", 5, time_forward, bench, name, network, inputs, precision, layout)

    def dumps(name: str, dump: Callable, seconds: float) -> None:
        for forward in ("float32", "bfloat16"):
            variant, work = f"forward {forward}", partial(dump, forward=forward)
            bench.part(f"{name}, {variant}", seconds, time_dump, bench, name, variant, work, few, many)

    forward_passes("channels last")
    few, many = bench.folder / "few.h5", bench.folder / "many.h5"
    write_concepts(few, drawn, scale.short)
    write_concepts(many, drawn, scale.long)
    for candidates in (CANDIDATES, None):
        kept = "candidates" if candidates else "all maps"
        dump = dumper(bench, network, scale.layer, candidates)
        if candidates:  # this also compiles the search for candidates, which is not to be timed
            bench.part("a dump made twice has the same bytes", 15, compare_dumps, bench, dump, few)
        dumps(f"dump, {kept}", dump, 25)
    forward_passes("contiguous")
    if bench.small:
        torch.compiler.set_stance("force_eager")  # compiling takes half a minute on a CPU
    dump = dumper(bench, network, scale.layer, CANDIDATES)
    for execution, seconds in (("compiled", 90), ("fused", 25)):  # fused last: it changes the network
        dumps(f"dump, candidates, {execution}", partial(dump, execution=execution), seconds)


def calibrated_network(scale: Scale, drawn: np.ndarray, device: torch.device) -> nn.Module:
    """Return a network with random weights, calibrated with two batches of pictures."""
    many = np.resize(drawn, (max(len(drawn), 2 * scale.batch), *drawn.shape[1:]))
    return calibrated(build(scale.network, CLASSES, seed=1), many, device)


def random_batches(scale: Scale, drawn: np.ndarray, device: torch.device) -> list[Tensor]:
    """Return different batches of pictures on the device, normalised, float32 (batch, 3, side, side)."""
    normalise = normaliser(MEAN, STD, device)
    rng = np.random.default_rng(0)
    chosen = (shifted(drawn, turn)[rng.integers(0, len(drawn), scale.batch)] for turn in range(scale.batches))
    return [normalise(torch.from_numpy(pictures).to(device)) for pictures in chosen]


def shifted(drawn: np.ndarray, turn: int) -> np.ndarray:
    """Return pictures shifted by some pixels, differently in each turn."""
    return np.roll(drawn, (5 * turn, 3 * turn), axis=(1, 2))


def write_concepts(path: Path, drawn: np.ndarray, count: int) -> None:
    """Write the parts of concepts.h5 that a dump reads: `count` pictures."""
    with create_hdf5(path) as file:
        stored = create_pixels(file, "images", (0, *drawn.shape[1:]), np.uint8)
        for turn, (first, last) in enumerate(pairwise([*range(0, count, len(drawn)), count])):
            append_rows(stored, shifted(drawn, turn)[: last - first])
        file.attrs.update(format=FORMAT, fingerprint="benchmark")


@torch.no_grad()
def compare_with_cpu(bench: Bench, network: nn.Module, pictures: Tensor) -> None:
    """Check the network's output in float32 against the CPU's."""
    allow_tf32(False)
    expected = deepcopy(network).cpu()(pictures.cpu())
    apart = float((network(pictures).cpu() - expected).abs().max() / expected.abs().max())
    bench.check("float32 as on the CPU", apart < TOLERANCE, f"differs by {apart:.1e} of the largest output")


def allow_tf32(allow: bool) -> None:
    """Allow a GPU to round float32 to TF32 in convolutions and matrix products, or forbid it."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allow


def time_forward(
    bench: Bench, name: str, network: nn.Module, inputs: list[Tensor], precision: str, layout: str
) -> None:
    """Time the network alone, with pictures that are on the device."""
    dtype, tf32 = PRECISIONS[precision]
    allow_tf32(tf32)
    network.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]  # torch's types lack memory_format
    inputs = [batch.contiguous(memory_format=LAYOUTS[layout]) for batch in inputs]

    def pass_all() -> None:
        with torch.no_grad(), torch.autocast(bench.device, dtype, enabled=dtype is not None):
            for batch in inputs:
                network(batch)

    timing = time_runs(pass_all, bench.device, SMALL.runs if bench.small else FULL.runs)
    pictures = sum(map(len, inputs))
    bench.row(name, timing.rate(pictures), "pictures/s", timing.spread(pictures) + timing.memory(), precision)
    allow_tf32(False)


def dumper(bench: Bench, network: nn.Module, layer: str, candidates: tuple[float, str] | None) -> Callable[..., Path]:
    """Return a function that dumps the maps of the pictures in a file, with a given forward pass."""

    def dump(concepts: Path, forward: str, execution: str = "plain") -> Path:
        out = bench.folder / "activations.h5"
        out.unlink(missing_ok=True)
        dump_activations(
            network, [layer], concepts, MEAN, STD, "float16", "benchmark", out, forward, candidates, execution
        )
        return out

    return dump


def compare_dumps(bench: Bench, dump: Callable[..., Path], concepts: Path) -> None:
    """Make a dump twice and compare the files."""
    first, second = (file_fingerprint(dump(concepts, "float32")) for _ in range(2))
    bench.check("a dump made twice has the same bytes", first == second)


def time_dump(bench: Bench, name: str, variant: str, dump: Callable[[Path], Path], few: Path, many: Path) -> None:
    """Time a long dump minus a short one, so that starting processes and compiling do not count."""
    dump(few)
    start, kernels_of_few = profile(lambda: dump(few), bench.device)
    whole, kernels = profile(lambda: dump(many), bench.device)
    pictures, seconds = picture_count(many) - picture_count(few), whole - start
    note = f"{start:.1f} s to start"
    if kernels is not None and kernels_of_few is not None:
        note += f"; kernels ran {100 * (kernels - kernels_of_few) / seconds:.0f} % of the time"
    bench.row(name, pictures / seconds, "pictures/s", note, variant)


def picture_count(concepts: Path) -> int:
    """Return the number of pictures in a packed concept set."""
    with h5py.File(concepts, locking=False) as file:
        return len(file["images"])
