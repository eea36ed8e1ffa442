"""Find the centres, in the picture, of the receptive fields of the dissected layers' units."""

import argparse
import copy
import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from workflow_scripts.dissect.layer_outputs import layer_names, layer_outputs
from workflow_scripts.networks.constructors import build
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.sizes import Size, read_size, sides

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish)
GATES = (nn.Sigmoid, nn.Hardsigmoid)
TOLERANCE = 0.05  # pixels: centres are multiples of a half
MARGIN = 640  # pixels beyond the picture: more than the receptive field of a ResNet-50's last stage

log = logging.getLogger(__name__)


def find_receptive_fields(network: nn.Module, layers: list[str], size: Size, channels: int = 3) -> dict:
    """Return `picture`, height and width, and `layers`: by name [centre, stride] of rows and of columns, or None.

    All are in pixels.

    The centre is that of the receptive field of the first unit along the axis; pixel 0 is the first. None stands for a
    layer that does not look at a grid of places, for instance after attention or global pooling, and for a layer that
    takes only pictures of its own size.

    Every weight is replaced by the same positive number, so that a unit's output is a sum over its receptive field plus
    a constant. The network sees four pictures. The difference of two uniform ones gives the weight of the field; the
    difference of one that rises from place to place and one that falls gives the mean position, the centre. (A maximum
    takes the last place of the one and the first of the other. Bau et al. 2017 instead add up paddings, sizes and
    strides along the way.) The pictures are longer than `size`, so that the middle of a map does not see their borders.

    Raises:
        UserError: a layer does not exist.
    """
    names = layer_names(layers)
    maps = [layer for layer in layers if "@" not in layer]  # the others' outputs are tokens
    network = only_geometry(network)
    # Layers that look at shares of the picture, such as adaptive pooling, look elsewhere in a larger picture.
    found, again = (measured_fields(network, maps, size, channels, margin) for margin in (2 * MARGIN, 5 * MARGIN // 2))
    fields = {name: found.get(name) if found.get(name) == again.get(name) else None for name in names}
    for name in names:
        if fields[name] is None:
            log.warning("%s: no receptive fields on a grid were found; its knots are cell centres", name)
    return {"picture": list(sides(size)), "layers": fields}


def measured_fields(
    network: nn.Module, layers: list[str], size: Size, channels: int, margin: int
) -> dict[str, list | None]:
    """The fields of the layers that run, from pictures of `size` that are longer by `margin` along one axis."""
    fields: dict = {name: [] for name in layers}
    height, width = sides(size)
    for rows, along, across in ((True, height, width), (False, width, height)):
        side = along + margin
        rising = torch.arange(1, side + 1) / side
        one = torch.ones_like(rising)
        changing = torch.stack([one, 2 * one, one + rising, one + rising.flip(0)])[:, None, :, None]
        pictures = changing.expand(-1, channels, -1, across)
        pictures = pictures if rows else pictures.transpose(2, 3)
        with layer_outputs(network, layers) as outputs, torch.no_grad():
            try:
                network(pictures)
            except UserError:
                raise
            except Exception as error:  # whatever the network's code raises
                reason = str(error).partition("\n")[0]
                log.warning("the network does not accept a picture of %d x %d pixels (%s)", *pictures.shape[2:], reason)
            outputs = dict(outputs)
        for name, output in outputs.items():
            lines = (output if rows else output.transpose(2, 3)).double()
            even, twice, up, down = lines[..., lines.shape[3] // 2].numpy()
            with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 where a convolution sees only padding
                centres = ((up - down) / (twice - even) * side + side - 1) / 2
            fields[name].append(axis_field(centres))
    return {name: None if None in axes or len(axes) < 2 else axes for name, axes in fields.items()}


def axis_field(centres: np.ndarray) -> list[float] | None:
    """The first unit's centre and the stride, from the centres of channels and places (C, n), exact in the middle.

    None if they do not lie on a grid that is the same for all channels.
    """
    middle, margin = centres.shape[1] // 2, centres.shape[1] // 8
    inner = np.arange(middle - margin, middle + margin + 1)
    if centres.shape[1] <= middle + 1 or not np.isfinite(centres[:, [*inner, middle + 1]]).all():
        return None
    stride = round(2 * (centres[0, middle + 1] - centres[0, middle])) / 2
    offset = round(2 * (centres[0, middle] - stride * middle)) / 2
    on_grid = stride >= 1 and np.abs(offset + stride * inner - centres[:, inner]).max() < TOLERANCE
    return [offset, stride] if on_grid else None


class Open(nn.Module):
    """A gate that passes everything: squeeze-and-excitation scales whole channels, so places do not matter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ones of the shape of `x`."""
        return torch.ones_like(x)


def only_geometry(network: nn.Module) -> nn.Module:
    """A copy whose convolutions average and whose norms and activations are identities."""
    network = copy.deepcopy(network).cpu().float().eval()
    for name, module in list(network.named_modules()):
        if prune.is_pruned(module) and hasattr(module, "weight_mask"):
            prune.remove(module, "weight")  # otherwise it would be computed anew in each pass
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
    return network


def main() -> None:
    """Find the receptive fields of the network that the command line describes, and write receptive_fields.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--trained", action="store_true", help="the network will be trained")
    parser.add_argument("--size", type=read_size, required=True, help="size of the pictures, in pixels")
    parser.add_argument("--channels", type=int, default=3, help="channels of the pictures")
    parser.add_argument("--layers", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="receptive_fields.json")
    args = parser.parse_args()
    # Neither the number of classes nor the weights matter here.
    network = build(args.network, 2 if args.trained else None, seed=0)
    found = find_receptive_fields(network, args.layers, args.size, args.channels)
    with whole_file(args.out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main)
