"""Find where in the picture the receptive fields of the dissected layers' units are centred."""

import argparse
import copy
import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from workflow_scripts.bring.constructors import build
from workflow_scripts.dissect.layer_outputs import layer_names, layer_outputs
from workflow_scripts.files import UserError, run_command, whole_file

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish)
GATES = (nn.Sigmoid, nn.Hardsigmoid)
MARGIN = 640  # pixels beyond the picture: more than the receptive field of a ResNet-50's last stage

log = logging.getLogger(__name__)


def find_receptive_fields(network: nn.Module, layers: list[str], size: int) -> dict:
    """Return `picture`, the size, and `layers`: by name [centre, stride] of rows and of columns, in pixels, or None.

    The centre is that of the receptive field of the first unit along the axis; pixel 0 is the first. None stands for a
    layer that does not look at a grid of places, as after attention or pooling over all places, and for all layers of
    a network that takes pictures of its own size only.

    The network is shown two pictures, one of ones and one whose pixels hold their own position, with every weight
    replaced by the same positive number, so that a unit's output is a sum over its receptive field: their ratio is
    the mean position, the centre. (Bau et al. 2017 add up the paddings, sizes and strides along the way instead.)
    The pictures are longer than `size`, so that the middle of a map does not see their borders.

    Raises:
        UserError: there is no such layer.
    """
    names = layer_names(layers)
    fields: dict = dict.fromkeys(names)
    maps = [layer for layer in layers if "@" not in layer]  # the others' outputs are tokens
    network = only_geometry(network)
    try:
        # What looks at shares of the picture, as adaptive pooling does, looks elsewhere in a larger one.
        found, again = (measured_fields(network, maps, size, size + margin) for margin in (2 * MARGIN, 3 * MARGIN))
    except UserError:
        raise
    except Exception as error:  # whatever a network of somebody else's says to a picture of another size
        log.warning("the network cannot be shown a picture of another size (%s)", str(error).partition("\n")[0])
    else:
        fields |= {layer: found[layer] for layer in maps if found[layer] == again[layer]}
    for name in names:
        if fields[name] is None:
            log.warning("%s: no receptive fields on a grid were found; its knots are cell centres", name)
    return {"picture": size, "layers": fields}


def measured_fields(network: nn.Module, layers: list[str], size: int, side: int) -> dict[str, list | None]:
    """The fields of the layers, from pictures of `side` pixels along one axis and `size` along the other."""
    place = torch.arange(1, side + 1, dtype=torch.float64) / side
    fields: dict = {name: [] for name in layers}
    for rows in (True, False):
        strip = torch.stack([torch.ones_like(place), place])[:, None, :, None].expand(-1, 3, -1, size)
        with layer_outputs(network, layers) as outputs, torch.no_grad():
            network(strip if rows else strip.transpose(2, 3))
        for name, output in outputs.items():
            along = output if rows else output.transpose(2, 3)
            ones, places = along[:, 0, :, along.shape[3] // 2].numpy()
            with np.errstate(invalid="ignore"):  # 0 / 0 where a convolution sees only padding
                centres = places / ones * side - 1
            fields[name].append(axis_field(centres))
    return {name: None if None in axes else axes for name, axes in fields.items()}


def axis_field(centres: np.ndarray) -> list[float] | None:
    """The centre of the first unit and the stride, from all centres along an axis, those in the middle exact.

    None if they do not lie on a grid.
    """
    middle, margin = len(centres) // 2, len(centres) // 8
    inner = np.arange(middle - margin, middle + margin + 1)
    step = centres[middle + 1] - centres[middle] if len(centres) > middle + 1 else 0
    if not np.isfinite(centres[inner]).all() or not np.isfinite(step):
        return None
    stride = round(2 * step) / 2
    offset = round(2 * (centres[middle] - stride * middle)) / 2
    on_grid = stride >= 1 and np.abs(offset + stride * inner - centres[inner]).max() < 0.01
    return [offset, stride] if on_grid else None


class Open(nn.Module):
    """A gate that lets everything pass: squeeze-and-excitation scales whole channels, wherever they look."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(x)


def only_geometry(network: nn.Module) -> nn.Module:
    """A copy whose convolutions and pools average and whose norms and activations pass on what they get."""
    network = copy.deepcopy(network).cpu().double().eval()
    for name, module in list(network.named_modules()):
        if prune.is_pruned(module) and hasattr(module, "weight_mask"):
            prune.remove(module, "weight")  # which would be computed anew in each pass
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
        if isinstance(module, CONVOLUTIONS):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, NORMS) or type(module) in ACTIVATIONS:
            network.set_submodule(name, nn.Identity())
        elif type(module) in GATES:
            network.set_submodule(name, Open())
        elif isinstance(module, nn.MaxPool2d):
            sizes = [
                value if isinstance(value, tuple) else (value, value)
                for value in (module.kernel_size, module.stride, module.padding, module.dilation)
            ]
            kernel = tuple(dilation * (size - 1) + 1 for size, dilation in zip(sizes[0], sizes[3], strict=True))
            network.set_submodule(name, nn.AvgPool2d(kernel, sizes[1], sizes[2], module.ceil_mode))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--size", type=int, required=True, help="of the pictures, in pixels")
    parser.add_argument("--layers", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="receptive_fields.json")
    args = parser.parse_args()
    # Neither the number of classes nor the weights bear on it.
    found = find_receptive_fields(build(args.network, 2, seed=0), args.layers, args.size)
    with whole_file(args.out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main)
