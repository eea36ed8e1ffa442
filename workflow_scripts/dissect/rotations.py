"""Random rotations of a layer's units: what a basis other than the units' own would detect (Bau et al. 2017, 3.2)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import schur

from workflow_scripts.data.hdf5 import FORMAT, create_hdf5, open_hdf5, read_attribute
from workflow_scripts.dissect.map_writers import PRECISIONS, bad_unit, map_writer
from workflow_scripts.dissect.maps import LayerMaps, layers_of
from workflow_scripts.shared.files import UserError, scratch_file, text_fingerprint
from workflow_scripts.shared.gpus import lease_gpu


def random_rotation(units: int, seed: Sequence[int]) -> np.ndarray:
    """A random rotation, float64 (units, units), uniform among all with determinant 1.

    It is the orthogonal factor of a matrix of normal random numbers, with the signs of R's diagonal (Mezzadri 2007); if
    the determinant is -1, the first row changes its sign.
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((units, units)))
    q *= np.sign(np.diag(r))
    if np.linalg.slogdet(q)[0] < 0:
        q[0] *= -1
    return q


def rotation_power(rotation: np.ndarray, alpha: float) -> np.ndarray:
    """A partial rotation, Q^alpha: the angles of all its planes times `alpha`, float64 (units, units).

    With the complex Schur form Q = Z D Z*, whose D is diagonal for a normal matrix, it is Re(Z D^alpha Z*).
    """
    if alpha in (0, 1):
        return rotation if alpha else np.eye(len(rotation))
    diagonal, basis = schur(rotation, output="complex")
    turned = np.exp(1j * alpha * np.angle(np.diag(diagonal)))
    return ((basis * turned) @ basis.conj().T).real


def turn_maps(
    activations: Path, seed: Sequence[int], alpha: float, out: Path, candidates: tuple[float, str] | None = None
) -> None:
    """Write a dump like `activations` in which unit u of each layer is sum_v Q[u, v] * (map of unit v).

    Sums are computed in single precision and rounded to the precision of the dump, like the maps of the units.

    Args:
        activations: a dump with all maps.
        seed: the seed of the random rotation that Q is a part of.
        alpha: how far Q rotates: 0 leaves the units as they are, 1 is the whole rotation.
        out: the dump to write.
        candidates: as `dump_activations` takes it.

    Raises:
        UserError: a rotated map is outside the range of the dump's precision, or the dump has only candidates.
    """
    device = torch.device(lease_gpu() or "cpu")
    with (
        open_hdf5(activations, "maps", "fingerprint", "concepts", "network") as dump,
        create_hdf5(out) as turned,
        scratch_file(out) as scratch,
        create_hdf5(scratch) as found,
    ):
        turned.create_group("maps", track_order=True)
        for layer in layers_of(dump):
            maps = LayerMaps(dump, layer)
            if maps.candidates:
                raise UserError(f"{activations} keeps only candidates, but a rotation needs all maps: dump all of them")
            precision = maps.values.dtype.name
            rotation = rotation_power(random_rotation(maps.units, seed), alpha)
            matrix = torch.from_numpy(rotation.astype(np.float32)).to(device)
            shape = (maps.images, maps.units, maps.height, maps.width)
            writer = map_writer(turned, found, layer, shape, maps.values.dtype, candidates)
            for block in maps.blocks(0, maps.images):
                values = torch.from_numpy(block.values).to(device).float().unflatten(0, (-1, maps.units))
                values = (matrix @ values.transpose(0, 1).flatten(1)).unflatten(1, (len(values), -1)).transpose(0, 1)
                part = values.unflatten(2, shape[2:]).to(PRECISIONS[precision]).contiguous()
                if (unit := bad_unit(part)) is not None:
                    raise UserError(
                        f"layer {layer}, unit {unit} of a rotation has values outside the range of {precision}: set"
                        " dissection.precision to float32"
                    )
                writer.add(part)
            writer.finish()
        attributes = {name: read_attribute(dump, name, str) for name in ("concepts", "network", "fingerprint")}
        fingerprint = text_fingerprint("turned", attributes["fingerprint"], *seed, alpha, candidates)
        turned.attrs.update(attributes | {"format": FORMAT, "fingerprint": fingerprint})
        if candidates:
            turned.attrs["candidates_quantile"], turned.attrs["candidates_mask"] = candidates
