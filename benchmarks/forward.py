"""How fast networks make the maps of a layer, for each choice of execution, layout and precision.

    python -m benchmarks.forward

Networks have random weights, and batch-norm statistics from the pictures, which are made up. Pictures pass through the
network as in a dump: in portions, with channels last, and the maps are copied in half precision. In each round every
choice has its turn; ratios are medians of ratios within a round. The bound is what arithmetic alone allows: one large
convolution in the same round does as many operations as the network's convolutions and matrix products take.
EfficientNet-Lite0 is left out unless its package is installed (`pip install efficientnet_lite_pytorch`). The last line
is one JSON object.
"""

import argparse
import importlib.util
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.timing import time_in_turn
from benchmarks.gpu.workloads import MEAN, RESNET50, STD, calibrated, photographs
from workflow_scripts.dissect.dump_activations import BATCH, stored
from workflow_scripts.dissect.forward_passes import EXECUTIONS, ForwardPass
from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.precisions import FORWARD
from workflow_scripts.plan.code import ROOT
from workflow_scripts.shared.gpus import lease_gpu
from workflow_scripts.shared.memory import keep_freed_memory
from workflow_scripts.train.pictures import normaliser, portions

LITE0 = {
    "constructor": "efficientnet_lite_pytorch:EfficientNet.from_name",
    "arguments": {"model_name": "efficientnet-lite0"},
}
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
SMALL = DEFAULT["network"] | {"arguments": DEFAULT["network"]["arguments"] | {"num_classes": 20}}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
CHANNELS, PLACES, IMAGES = 512, 28, 8  # of the 3 x 3 convolution that is the bound: one of the fastest
DRAWN = 64  # pictures, which repeat


class Workload(NamedTuple):
    """A network, the layers whose maps are wanted, and the side and number of the pictures in a turn."""

    settings: dict
    layers: list[str]
    side: int
    pictures: int


WORKLOADS = {
    "resnet50": Workload(RESNET50, ["layer4"], 224, 32),
    "efficientnet_lite0": Workload(LITE0, ["_swish#2"], 224, 128),
    "vit_b_16": Workload(
        {"constructor": "torchvision.models:vit_b_16", "arguments": {}},
        ["encoder.layers.encoder_layer_11@14x14"],
        *(224, 16),
    ),
    "default": Workload(SMALL, DEFAULT["dissection"]["layers"], DEFAULT["images"]["size"], 1024),
}


class Choice(NamedTuple):
    """How pictures pass through a network; `portion` is the number of pictures at once, None for the dump's."""

    forward: str
    execution: str
    layout: str
    portion: int | None


def main() -> None:
    """Measure each combination of the choices on the command line for each network; print the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--forward", nargs="+", choices=FORWARD, default=["float32", "bfloat16"])
    parser.add_argument("--executions", nargs="+", choices=EXECUTIONS, default=list(EXECUTIONS))
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), help="layouts of the weights")
    parser.add_argument("--portions", nargs="+", type=int, default=[None], help="pictures at once; else as in a dump")
    parser.add_argument("--pictures", type=int, help="pictures in a turn; by default enough for a second or two")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    choices = [Choice(*of) for of in itertools.product(args.forward, args.executions, args.layouts, args.portions)]
    device = torch.device(lease_gpu() or "cpu")
    result = {"threads": args.threads, "device": str(device), "rounds": args.rounds, "rows": []}
    for name in args.networks:
        if name == "efficientnet_lite0" and importlib.util.find_spec("efficientnet_lite_pytorch") is None:
            print("efficientnet_lite0 is left out: efficientnet_lite_pytorch is not installed")
            continue
        workload = WORKLOADS[name]
        if args.pictures:
            workload = workload._replace(pictures=args.pictures)
        for row in measure(workload, choices, args.rounds, device):
            result["rows"].append({"network": name} | row)
            print(
                f"{name:18} {row['forward']:8} {row['execution']:8} {row['layout']:13} portions of {row['portion']:3}:"
                f" {row['rate']:8.1f} pictures/s ({row['slowest']:.1f} to {row['fastest']:.1f}), ratio"
                f" {row['ratio']:.2f}, {100 * row['of_bound']:.0f} % of the bound, first pass {row['start']:.1f} s",
                flush=True,
            )
    print(json.dumps(result))


def measure(workload: Workload, choices: list[Choice], rounds: int, device: torch.device) -> list[dict]:
    """Return a row for each choice, with ratios to the first."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = photographs(Path(folder), DRAWN, workload.side)
    network = calibrated(build(workload.settings, classes=None, seed=1), drawn, torch.device("cpu"))
    pictures = torch.from_numpy(np.resize(drawn, (workload.pictures, *drawn.shape[1:])))
    operations = count_operations(network, normaliser(MEAN, STD, torch.device("cpu"))(pictures[:1]))
    precisions = list(dict.fromkeys(choice.forward for choice in choices))
    works: list[Callable[[], object]] = [
        partial(convolve, *large_convolution(FORWARD[precision], device)) for precision in precisions
    ]
    torch.compiler.reset()  # torch compiles a function only for a limited number of networks
    with ExitStack() as hooks:
        starts, executions = [], []
        for choice in choices:
            copied = deepcopy(network).eval()
            # torch's types lack memory_format
            copied.to(device, memory_format=LAYOUTS[choice.layout])  # type: ignore[call-overload]
            outputs = hooks.enter_context(layer_outputs(copied, workload.layers, partial(stored, precision="float16")))
            maps_of = ForwardPass(copied, outputs, choice.forward, choice.execution)
            parts = [
                part
                for batch in pictures.split(BATCH)
                for part in (batch.split(choice.portion) if choice.portion else portions(batch, device))
            ]
            works.append(partial(pass_all, maps_of, parts, normaliser(MEAN, STD, device), device))
            started = time.perf_counter()
            works[-1]()
            starts.append(time.perf_counter() - started)
            executions.append(maps_of.execution)
        timings = time_in_turn(works, device.type, rounds)
    bounds = dict(zip(precisions, timings, strict=False))
    first = timings[len(precisions)]
    share_of_bound = operations * len(pictures) / (2 * 9 * CHANNELS**2 * PLACES**2 * IMAGES)
    return [
        choice._asdict()
        | {
            "execution": execution,
            "portion": choice.portion or len(portions(pictures[:BATCH], device)[0]),
            "rate": timing.rate(len(pictures)),
            "slowest": len(pictures) / max(timing.seconds),
            "fastest": len(pictures) / min(timing.seconds),
            "ratio": timing.times_as_fast_as(first),
            "of_bound": timing.times_as_fast_as(bounds[choice.forward]) * share_of_bound,
            "start": start,
        }
        for choice, timing, start, execution in zip(
            choices, timings[len(precisions) :], starts, executions, strict=True
        )
    ]


def pass_all(maps_of: ForwardPass, parts: Sequence[Tensor], normalise: Callable, device: torch.device) -> None:
    """Pass all pictures through a network for the maps of its layers."""
    for part in parts:
        maps_of(normalise(part.to(device)))


def large_convolution(dtype: torch.dtype | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the maps and the weights of the convolution that is the bound."""
    maps = torch.rand(IMAGES, PLACES, PLACES, CHANNELS, device=device, dtype=dtype).permute(0, 3, 1, 2)
    return maps, torch.rand(CHANNELS, CHANNELS, 3, 3, device=device, dtype=dtype)


@torch.no_grad()
def convolve(maps: Tensor, weights: Tensor) -> None:
    """Compute the convolution that is the bound."""
    F.conv2d(maps, weights, padding=1)


def count_operations(network: nn.Module, picture: Tensor) -> int:
    """Return the number of multiplications and additions of convolutions and matrix products for a picture."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(picture)
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
