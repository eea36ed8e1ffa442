"""Thresholds and tallies by the compiled kernels or on a device, as requested, and their comparison."""

from pathlib import Path

import numpy as np
import torch

from workflow_scripts.dissect import find_thresholds, tensor_tallies
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.interpolation import Grid
from workflow_scripts.dissect.map_writers import AllMaps, Candidates
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.tallies import Labels, Pairing, Tally, TallySettings, tally_layer

Writer = AllMaps | Candidates


def order_statistics(
    device: str | None, maps: LayerMaps, rank: np.ndarray, to: Grid | None, threads: int
) -> dict[str, np.ndarray]:
    """Return each unit's `threshold`, `maximum` and `minimum`, as `find_thresholds` finds them."""
    found = find_thresholds.order_statistics(maps, rank, to, threads, device)
    return dict(zip(("threshold", "maximum", "minimum"), found, strict=True))


def tally(
    device: str | None,
    maps: LayerMaps,
    labels: ConceptData,
    settings: TallySettings,
    pairing: Pairing,
    threads: int,
    with_category: bool = True,
    each_plane: bool = False,
) -> Tally:
    """Return a layer's tallies, on a torch device or, without one, by the compiled kernels."""
    if device is None:
        return tally_layer(maps, Labels(labels, with_category, each_plane), settings, pairing, threads)
    on_device = tensor_tallies.Labels(labels, with_category, each_plane, device, threads)
    return tensor_tallies.tally_layer(maps, on_device, settings, pairing, threads)


class Comparison:
    """Compares numbers from a device and from the compiled kernels: how many, and the first difference in words."""

    def __init__(self) -> None:
        self.numbers, self.first = 0, ""

    def add(self, where: str, on_device: np.ndarray, compiled: np.ndarray) -> None:
        """Compare two arrays; `where` names them."""
        self.numbers += compiled.size
        if not self.first and not np.array_equal(on_device, compiled):
            self.first = f"{where} {difference(on_device, compiled)}"

    def add_tallies(self, where: str, on_device: Tally, compiled: Tally) -> None:
        """Compare two tallies."""
        for name in ("intersection", "unit_area"):
            self.add(f"{where}: {name}", getattr(on_device, name), getattr(compiled, name))

    @property
    def note(self) -> str:
        """The first difference, or how many numbers are equal."""
        return self.first or f"{self.numbers:,} numbers"


def difference(on_device: np.ndarray, compiled: np.ndarray) -> str:
    """Return where two arrays first differ, and how often they do."""
    if on_device.shape != compiled.shape:
        return f"has the shape {on_device.shape} on the device, {compiled.shape} by the kernels"
    apart = np.argwhere(on_device != compiled)
    place = tuple(apart[0].tolist())
    values = f"{on_device[place]} on the device, {compiled[place]} by the kernels"
    return f"at {place}: {values}; {len(apart)} of {compiled.size} differ"


def write_maps(writer: Writer, maps: np.ndarray, device: str | None, batch: int) -> None:
    """Pass maps (N, U, h, w) to a dump's writer as if they came from a forward pass on the device."""
    for part in torch.from_numpy(maps).split(batch):
        writer.add(part.to(device or "cpu"))
    writer.finish()


def remove(*paths: Path) -> None:
    """Remove those files that exist."""
    for path in paths:
        path.unlink(missing_ok=True)
