"""Catching what layers put out."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from workflow_scripts.files import UserError
from workflow_scripts.train.networks import find_module


@contextmanager
def layer_outputs(network: nn.Module, layers: list[str]) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that each forward pass fills with the outputs (images, units, h, w) of `layers`, by name.

    The caller empties it between passes.

    Raises:
        UserError: a layer is missing, runs more than once in a pass, or has an output of another kind.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UserError(
                f"dissection.layers: the output of {name} is {shape}, not (images, units, height, width);"
                " choose another layer"
            )
        if name in outputs:
            raise UserError(f"dissection.layers: {name} runs more than once in a pass; choose another layer")
        outputs[name] = output.clone()  # what follows may work in place

    with ExitStack() as hooks:
        for name in layers:
            hook = find_module(network, name).register_forward_hook(
                lambda _module, _inputs, output, name=name: keep(name, output)
            )
            hooks.callback(hook.remove)
        yield outputs
