"""Run a network over the concept pictures once and keep the maps of the dissected layers."""

import argparse
import json
import logging
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.data.hdf5 import FORMAT, open_hdf5
from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.files import UserError, file_fingerprint, run_command, text_fingerprint, whole_file
from workflow_scripts.train.checkpoints import load_network
from workflow_scripts.train.training import choose_device, normaliser

BATCH = 250
PROGRESS_SECONDS = 10
PRECISIONS = {"float16": np.float16, "float32": np.float32}


def dump_activations(
    network: nn.Module,
    layers: list[str],
    concepts: Path,
    mean: list[float],
    std: list[float],
    precision: str,
    network_fingerprint: str,
    out: Path,
) -> None:
    """Write `activations.h5`: `maps/<layer>`, (images, units, h, w), float16 or float32.

    The forward pass runs in single precision, batch-norm in evaluation mode.

    Args:
        concepts: the packed concept set, whose pictures are dissected.
        mean, std: as in training.
        network_fingerprint: names the network in the dump.

    Raises:
        UserError: a layer is missing, its output is not (images, units, h, w), or a value is not finite.
    """
    device = choose_device()
    network.to(device).eval()
    normalise = normaliser(mean, std, device)
    with (
        layer_outputs(network, layers) as outputs,
        open_hdf5(concepts, "images") as source,
        whole_file(out) as part,
        h5py.File(part, "w") as dump,
    ):
        images = source["images"]
        concepts_fingerprint = source.attrs["fingerprint"]
        started = last = time.monotonic()
        for start in range(0, len(images), BATCH):
            pictures = torch.from_numpy(images[start : start + BATCH]).to(device)
            with torch.no_grad():
                network(normalise(pictures))
            for name in layers:
                write_maps(dump, name, start, len(images), outputs.pop(name), PRECISIONS[precision])
            if time.monotonic() - last > PROGRESS_SECONDS:
                last = time.monotonic()
                done = start + len(pictures)
                rate = done / (last - started)
                logging.info(
                    "%d of %d pictures, %.0f a second, %.0f s left",
                    done,
                    len(images),
                    rate,
                    (len(images) - done) / rate,
                )
        dump.attrs["format"] = FORMAT
        dump.attrs["concepts"] = concepts_fingerprint
        dump.attrs["network"] = network_fingerprint
        dump.attrs["fingerprint"] = text_fingerprint(
            "activations", network_fingerprint, concepts_fingerprint, *layers, precision, mean, std
        )
        logging.info("dumped %s for %d pictures, %s", ", ".join(layers), len(images), precision)


def write_maps(dump: h5py.File, layer: str, start: int, total: int, output: Tensor, dtype: type[np.floating]) -> None:
    """Write one batch of a layer's maps at image `start`, creating the dataset at the first."""
    with np.errstate(over="ignore"):
        maps = output.float().contiguous().cpu().numpy().astype(dtype)
    finite = np.isfinite(maps).all((0, 2, 3))
    if not finite.all():
        raise UserError(
            f"layer {layer}, unit {int(np.argmin(finite))} has a value that is not finite in {np.dtype(dtype)}:"
            " set dissection.precision to float32, or train the network anew"
        )
    if start == 0:
        chunks = (min(64, total), *maps.shape[1:])
        dump.create_dataset(f"maps/{layer}", (total, *maps.shape[1:]), dtype, chunks=chunks)
    dump[f"maps/{layer}"][start : start + len(maps)] = maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, required=True, help="network.pt")
    parser.add_argument("--settings", type=json.loads, required=True, help="the config's network section")
    parser.add_argument("--layers", nargs="+", required=True)
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument("--mean", type=float, nargs=3, required=True)
    parser.add_argument("--std", type=float, nargs=3, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    network, _ = load_network(args.network, args.settings)
    dump_activations(
        network,
        args.layers,
        args.concepts,
        args.mean,
        args.std,
        args.precision,
        file_fingerprint(args.network),
        args.out,
    )


if __name__ == "__main__":
    run_command(main)
