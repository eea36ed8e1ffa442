"""Find each unit's activation threshold, the exact order statistic over all images and positions."""

import argparse
import logging
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import FORMAT, create_hdf5, open_hdf5, read_attribute
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.dissect.interpolation import Grid, grid, layer_knots, read_receptive_fields
from workflow_scripts.dissect.maps import LayerMaps, layers_of
from workflow_scripts.dissect.order_statistics import Counts, LargestSamples, OrderStatistics, order_statistic_rank
from workflow_scripts.dissect.parallel import in_shards
from workflow_scripts.plan.protocols import BORDERS, SCHEMES
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.gpus import lease_gpu, use_gpus
from workflow_scripts.shared.progress import Progress

log = logging.getLogger(__name__)


def find_thresholds(
    activations: str | Path,
    quantile: float,
    out: str | Path,
    upsampled: str | None = None,
    concepts: str | Path | None = None,
    receptive_fields: dict | None = None,
    threads: int = 1,
    border: str = "clamp",
) -> None:
    """Write thresholds.h5: per layer a group with `threshold`, `maximum` and `minimum`, float32 (units).

    A unit's threshold T satisfies P(activation > T) = quantile (Bau et al. 2017, section 2.2): it is the
    (floor(quantile * n) + 1)-th largest of n samples. Samples are all values of the raw maps or, with `upsampled`
    (one of SCHEMES), all values of the maps interpolated to the size of the label maps of `concepts`, with `border`
    (one of BORDERS). `maximum` and `minimum` are those of the raw maps. `receptive_fields` is as `layer_knots` takes
    it. Layers are in the dump's order. Attributes: `format`, `activations` (fingerprint of the dump), `quantile`, and
    `samples` ("raw", or the knots of the interpolation).

    Raises UserError if the dump is missing or damaged, a map holds NaN or infinity (the error names layer and unit),
    the quantile does not lie between 0 and 0.5 or is less than one sample, or the dump has too few candidates for it.
    """
    with (
        open_hdf5(activations, "maps", "fingerprint") as dump,
        whole_file(out) as part,
        create_hdf5(part, track_order=True) as file,
    ):
        fingerprint = read_attribute(dump, "fingerprint", str)
        file.attrs.update(format=FORMAT, activations=fingerprint, quantile=quantile, samples=upsampled or "raw")
        label_size = read_label_size(activations, dump, concepts) if upsampled else None
        for layer in layers_of(dump):
            maps = LayerMaps(dump, layer)
            require_candidates(activations, maps, dump, quantile, upsampled)
            size, samples = (maps.height, maps.width), maps.samples
            to = None
            if upsampled and label_size:
                to = grid(size, label_size, *layer_knots(receptive_fields, layer, upsampled), border)
                samples = maps.images * label_size[0] * label_size[1]
            rank = np.full(maps.units, threshold_rank(quantile, samples, layer))
            found = order_statistics(maps, rank, to, threads, lease_gpu())
            for name, values in zip(("threshold", "maximum", "minimum"), found, strict=True):
                # Adding 0 makes -0 and 0 one number.
                file[f"{layer}/{name}"] = values + np.float32(0)
            log.info("%s: thresholds of %d units", layer, maps.units)


def threshold_rank(quantile: float, samples: int, layer: str) -> int:
    """The rank of the threshold among a unit's samples; UserError if that is the maximum, which no sample exceeds."""
    rank = order_statistic_rank(quantile, samples)
    if rank == 1:
        raise UserError(
            f"layer {layer} has {samples} values for each unit, and a share of {quantile} is less than one of them, so"
            f" no unit could be active: set dissection.quantile to at least 1 / {samples}, use more pictures with"
            " concepts, or choose a layer with larger maps"
        )
    return rank


def order_statistics(
    maps: LayerMaps, rank: np.ndarray, to: Grid | None, threads: int, device: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rank-th largest sample, the largest and the smallest value of each unit: three float32 (units).

    `device`: the torch device that counts; None for the compiled kernels.
    """
    if device:
        from workflow_scripts.dissect import tensor_samples

        largest: OrderStatistics = tensor_samples.LargestSamples(rank, maps.half and to is None, device=device)
    else:
        largest = LargestSamples(rank, maps.half and to is None)
    gather(largest, maps, to, threads)
    maximum, minimum = largest.maximum, largest.minimum
    if not largest.half:
        largest = largest.second_pass()
        gather(largest, maps, to, threads)
    if maps.candidates:
        return np.maximum(largest.threshold, maps.bound), maps.maximum, maps.minimum
    return largest.threshold, maximum, minimum


def gather(largest: OrderStatistics, maps: LayerMaps, to: Grid | None, threads: int) -> None:
    """Count all samples of a layer into `largest`."""
    if isinstance(largest, LargestSamples):
        for counts in in_shards(count_images, maps.images, threads, maps, largest, to):
            largest.merge(counts)
    else:
        largest.add_all(maps, to, threads)
    largest.raise_floors()


def count_images(first: int, last: int, maps: LayerMaps, like: LargestSamples, to: Grid | None) -> Counts:
    """The counts of the samples of images `first` to `last` that count for `like`."""
    largest = LargestSamples(like.rank, like.half, like.upper)
    progress = Progress(f"images of {maps.layer}", last - first)
    for block in maps.blocks(first, last):
        largest.add(maps.title, block.values, block.unit, maps.width, to)
        progress.log(block.images.stop - first)
    progress.finish()
    return largest.counts()


def read_label_size(activations: str | Path, dump: h5py.File, concepts: str | Path | None) -> tuple[int, int]:
    """The height and width of the label maps of the concept set that the dump was made with."""
    if concepts is None:
        raise UserError("the quantile of upsampled maps needs concepts.h5, for the label maps' size")
    with ConceptData(concepts) as labels:
        require_same(activations, read_attribute(dump, "concepts", str), concepts, labels.fingerprint)
        return labels.height, labels.width


def require_candidates(
    activations: str | Path, maps: LayerMaps, dump: h5py.File, quantile: float, upsampled: str | None
) -> None:
    """Raise UserError unless a dump of candidates has all maps that the threshold depends on."""
    largest = read_attribute(dump, "candidates_quantile", float) if maps.candidates else np.inf
    if maps.candidates and (upsampled or not quantile <= largest):
        raise UserError(
            f"{activations} keeps only the maps that matter for quantiles of raw maps up to {largest}: set"
            " dissection.dump to all"
        )


def main() -> None:
    """Find the thresholds of the dump that the command line names, and write thresholds.h5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", required=True, help="activations.h5")
    parser.add_argument("--quantile", type=float, required=True, help="share of samples above the threshold")
    parser.add_argument("--upsampled", choices=SCHEMES, help="take samples from interpolated maps, with these knots")
    parser.add_argument("--border", choices=BORDERS, default="clamp", help="their values beyond the outer knots")
    parser.add_argument("--concepts", help="concepts.h5, for --upsampled")
    parser.add_argument("--receptive-fields", type=Path, help="receptive_fields.json, for those knots")
    parser.add_argument("--threads", type=int, default=1, help="number of threads, which share the images")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")
    parser.add_argument("--out", required=True, help="thresholds.h5 to write")
    arguments = parser.parse_args()
    use_gpus(arguments.gpus)
    find_thresholds(
        arguments.activations,
        arguments.quantile,
        arguments.out,
        arguments.upsampled,
        arguments.concepts,
        read_receptive_fields(arguments.receptive_fields),
        arguments.threads,
        arguments.border,
    )


if __name__ == "__main__":
    run_command(main)
