"""Run a network over the concept pictures once, and keep the maps of the dissected layers."""

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from workflow_scripts.data.hdf5 import (
    FORMAT,
    create_hdf5,
    find_dataset,
    open_hdf5,
    read_attribute,
    reading_hdf5,
)
from workflow_scripts.data.unfolding import require_bounded_chunks
from workflow_scripts.dissect.forward_passes import EXECUTIONS, ForwardPass
from workflow_scripts.dissect.layer_outputs import layer_names, layer_outputs
from workflow_scripts.dissect.map_writers import PRECISIONS, AllMaps, Candidates, bad_unit, map_writer
from workflow_scripts.networks.checkpoints import load_network
from workflow_scripts.networks.constructors import show_picture
from workflow_scripts.networks.precisions import FORWARD
from workflow_scripts.plan.protocols import MASKS
from workflow_scripts.shared.files import (
    UserError,
    file_fingerprint,
    run_command,
    scratch_file,
    text_fingerprint,
    whole_file,
)
from workflow_scripts.shared.gpus import lease_gpu, use_gpus
from workflow_scripts.shared.memory import keep_freed_memory
from workflow_scripts.shared.progress import Progress
from workflow_scripts.train.pictures import normaliser, portions

BATCH = 128  # pictures; a power of two, so that batches fill whole chunks of the dump


def dump_activations(
    network: nn.Module,
    layers: list[str],
    concepts: Path,
    mean: Sequence[float],
    std: Sequence[float],
    precision: str,
    network_fingerprint: str,
    out: Path,
    forward: str = "float32",
    candidates: tuple[float, str] | None = None,
    execution: str = "plain",
) -> None:
    """Write `activations.h5`, as `maps` describes it, with values in float16 or float32.

    Args:
        network: the network; its batch-norms run in evaluation mode.
        layers: as `layer_outputs` takes them.
        concepts: the packed concept set, whose pictures are dissected.
        mean: the mean of each channel, as in training, as a share of full brightness.
        std: the standard deviation, likewise.
        precision: the precision of the values, "float16" or "float32".
        network_fingerprint: identifies the network in the dump.
        out: activations.h5.
        forward: the precision of the forward pass, as `ForwardPass` takes it.
        candidates: the largest quantile of raw maps that will be asked for, and how masks will be taken ("above" or
            "at_least" the threshold): only maps that can have a mask are kept. None keeps all.
        execution: how the forward pass is executed, as `ForwardPass` takes it.

    Raises:
        UserError: a layer is missing, its output is not (images, units, h, w), or a value is not finite.
    """
    if not layers:
        raise UserError("layers: none is listed; list at least one")
    device = torch.device(lease_gpu() or "cpu")
    torch.backends.cudnn.deterministic = True
    # On a CPU with AMX, channels-last was a third as fast for a ResNet-50, and no faster for a small network.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network.to(device, memory_format=layout).eval()  # type: ignore[call-overload]  # torch's types lack memory_format
    torch.backends.cudnn.allow_tf32 = False  # so that float32 is not reduced to TF32
    normalise = normaliser(mean, std, device)
    with open_hdf5(concepts, "images", "fingerprint") as source:
        images, concepts_fingerprint = len(find_pictures(source)), read_attribute(source, "fingerprint", str)
    with (
        layer_outputs(network, layers, partial(stored, precision=precision)) as outputs,
        whole_file(out) as part,
        create_hdf5(part) as dump,
        scratch_file(out) as scratch,
        create_hdf5(scratch) if candidates else nullcontext() as found,
        writing_thread(device) as pool,
    ):
        maps_of = ForwardPass(network, outputs, forward, execution)
        progress = Progress("pictures", images)
        done = 0
        dump.create_group("maps", track_order=True)  # layers keep the order of `layers`
        writers = {}
        writing = None
        for pictures in picture_batches(concepts, workers=2 if device.type == "cuda" else 0):
            parts: dict[str, list[Tensor]] = {name: [] for name in layer_names(layers)}
            for portion in portions(pictures, device):
                shown = normalise(portion.to(device))
                for name, maps in maps_of(shown).items():
                    if (unit := bad_unit(maps)) is not None:
                        raise not_finite(network, layers, name, unit, shown, forward, precision, execution)
                    parts[name].append(maps)
            if writing is None:
                for name, (first, *_) in parts.items():
                    shape, dtype = (images, *first.shape[1:]), np.dtype(precision)
                    writers[name] = map_writer(dump, found, name, shape, dtype, candidates)
            else:
                writing.result()
            writing = pool.submit(write, writers, parts)  # while the next pass runs
            done += len(pictures)
            progress.log(done, f", {written(part, scratch):.2f} GB written")
        if writing is not None:
            writing.result()
        for writer in writers.values():
            writer.finish()
        dump.attrs["format"] = FORMAT
        dump.attrs["concepts"] = concepts_fingerprint
        dump.attrs["network"] = network_fingerprint
        if candidates:
            dump.attrs["candidates_quantile"], dump.attrs["candidates_mask"] = candidates
        dump.attrs["fingerprint"] = text_fingerprint(
            "activations",
            network_fingerprint,
            concepts_fingerprint,
            *layers,
            precision,
            mean,
            std,
            forward,
            candidates,
            execution,
        )
        dump.flush()
        values = sum(writer.bytes for writer in writers.values()) / 1e9
        progress.finish(f"; {values:.3f} GB of {precision} maps of {', '.join(layers)} in {written(part):.3f} GB")


class PictureBatches(Dataset):
    """The pictures of a packed concept set, uint8 (n, H, W, 3) tensors of up to BATCH."""

    def __init__(self, concepts: Path):
        self.concepts = concepts
        with open_hdf5(concepts, "images") as source:
            pictures = find_pictures(source)
            require_bounded_chunks(pictures)
            self.images = len(pictures)

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller."""
        return -(-self.images // BATCH)

    def __getitem__(self, batch: int) -> Tensor:
        """Return the pictures of a batch as they are packed."""
        with open_hdf5(self.concepts, "images") as source, reading_hdf5(self.concepts):
            return torch.from_numpy(source["images"][batch * BATCH : (batch + 1) * BATCH])


def find_pictures(concepts: h5py.File) -> h5py.Dataset:
    """The pictures of a concept set, uint8 (N, H, W, 3); UserError if their type or shape differs."""
    return find_dataset(concepts, "images", np.uint8, (None, None, None, 3))


def picture_batches(concepts: Path, workers: int) -> Iterator[Tensor]:
    """All batches in order, decoded in `workers` processes; 0 decodes in this one."""
    context: dict[str, Any] = {"multiprocessing_context": "spawn", "pin_memory": True} if workers else {}
    return iter(DataLoader(PictureBatches(concepts), batch_size=None, num_workers=workers, **context))


def stored(maps: Tensor, precision: str) -> Tensor:
    """Return a copy of maps (n, units, h, w) in the form that a dump stores."""
    return maps.to(PRECISIONS[precision], memory_format=torch.contiguous_format, copy=True)


def writing_thread(device: torch.device) -> ThreadPoolExecutor:
    """Return a thread for writing, which uses the same GPU as this thread."""
    if device.type == "cuda":
        return ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),))
    return ThreadPoolExecutor(1)


def write(writers: dict[str, AllMaps | Candidates], parts: dict[str, list[Tensor]]) -> None:
    """Write the maps of the next images, by layer and portion; `parts` is emptied meanwhile, which frees memory."""
    while parts:
        name = next(iter(parts))
        writers[name].add(torch.cat(parts.pop(name)))


def not_finite(
    network: nn.Module,
    layers: list[str],
    layer: str,
    bad: int,
    pictures: Tensor,
    forward: str,
    precision: str,
    execution: str,
) -> UserError:
    """Return the error for a layer whose unit `bad` has maps of `pictures` that cannot be dumped.

    Passes in single precision and without compilation show whether the network itself is the cause, and so what the
    user can do.
    """
    with layer_outputs(network, layers) as outputs:
        output, single = (ForwardPass(network, outputs, kind)(pictures)[layer] for kind in (forward, "float32"))
    if (unit := bad_unit(single)) is not None:
        return UserError(
            f"layer {layer}, unit {unit} is NaN or infinite in any precision, because of the network's weights or the"
            " pictures' mean and std: correct these, give another network, or leave the layer out"
        )
    if (unit := bad_unit(output)) is not None:
        other = "float32 or bfloat16" if forward == "float16" else "float32"
        return UserError(
            f"layer {layer}, unit {unit} is NaN or infinite in a pass in {forward}, but not in float32: set"
            f" dissection.forward to {other}"
        )
    if (unit := bad_unit(output.to(PRECISIONS[precision]))) is not None:
        return UserError(
            f"layer {layer}, unit {unit} has values outside the range of {precision}: set dissection.precision to"
            " float32"
        )
    return UserError(
        f"layer {layer}, unit {bad} is NaN or infinite in a {execution} pass, but not in a plain one: set"
        " dissection.execution to plain"
    )


def written(*files: Path) -> float:
    """The total size of the files that exist, in GB."""
    return sum(file.stat().st_size for file in files if file.exists()) / 1e9


def add_dump_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which maps are made, of which network and of which pictures."""
    parser.add_argument("--network", type=Path, required=True, help="network.pt")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--layers", nargs="+", required=True)
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument("--mean", type=float, nargs="+", required=True)
    parser.add_argument("--std", type=float, nargs="+", required=True)
    parser.add_argument("--precision", choices=PRECISIONS, required=True, help="precision of the maps")
    parser.add_argument("--forward", choices=FORWARD, required=True, help="precision of the forward pass")
    parser.add_argument("--execution", choices=EXECUTIONS, required=True, help="how the forward pass is executed")


def dump_network(args: argparse.Namespace, out: Path, candidates: tuple[float, str] | None) -> None:
    """Write the dump that the arguments of `add_dump_arguments` describe, with all maps or only `candidates`."""
    keep_freed_memory()
    network, _ = load_network(args.network, args.settings)
    with open_hdf5(args.concepts, "images") as source:
        show_picture(network, find_pictures(source).shape[1:3], len(args.mean))
    dump_activations(
        network,
        args.layers,
        args.concepts,
        args.mean,
        args.std,
        args.precision,
        file_fingerprint(args.network),
        out,
        args.forward,
        candidates,
        args.execution,
    )


def main() -> None:
    """Dump the maps of the network that the command line names into --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_dump_arguments(parser)
    parser.add_argument(
        "--candidates", type=float, metavar="QUANTILE", help="keep only maps that matter up to this quantile"
    )
    parser.add_argument("--mask", choices=MASKS, default="above", help="how masks will be taken, for --candidates")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    use_gpus(args.gpus)
    dump_network(args, args.out, (args.candidates, args.mask) if args.candidates else None)


if __name__ == "__main__":
    run_command(main)
