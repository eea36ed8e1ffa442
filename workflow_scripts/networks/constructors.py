"""Networks that are named in the config: constructing them, and loading those that the workflow has kept."""

import importlib
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from workflow_scripts.networks.architectures import build_network
from workflow_scripts.networks.checkpoints import load_network as load_trained
from workflow_scripts.networks.checkpoints import load_tensors
from workflow_scripts.networks.pruning import Masks
from workflow_scripts.networks.weights import require_fit
from workflow_scripts.shared.files import UserError


def build(settings: dict, classes: int, seed: int) -> nn.Module:
    """Return the network that `settings` describe, initialised from `seed`, on the CPU.

    Args:
        settings: the config's `network` section; or of a network of the user's own `constructor` and `arguments`.
        classes: of a network from the `network` section; a constructor's arguments say its own.

    Raises:
        UserError: as `construct`.
    """
    if "constructor" in settings:
        return construct(settings["constructor"], settings["arguments"], seed)
    return build_network(settings, classes, seed)


def load_network(path: Path, settings: dict) -> tuple[nn.Module, Masks]:
    """Return the network of a `network.pt`, on the CPU, and its masks.

    Raises:
        UserError: as `construct`, `load_tensors`, `require_fit` and, of a trained network, `rebuild_network`.
    """
    if "constructor" not in settings:
        return load_trained(path, settings)
    tensors = load_tensors(path)
    network = construct(settings["constructor"], settings["arguments"], seed=0)
    network.load_state_dict(require_fit(tensors["model"], network.state_dict(), path))
    return network, tensors["masks"]


def construct(constructor: str, arguments: dict, seed: int) -> nn.Module:
    """Return what `constructor`, "package.module:function", returns for `arguments`, in evaluation mode.

    Random numbers that it draws from torch follow from `seed`. Files of weights that it loads are not unpickled
    beyond tensors and plain values.

    Raises:
        UserError: it cannot be imported, it fails, or it returns no torch network.
    """
    function = find_constructor(constructor)
    with torch.random.fork_rng(devices=[]), only_tensors_loaded():
        torch.manual_seed(seed)
        try:
            network = function(**arguments)
        except (Exception, SystemExit) as error:  # whatever the user's code raises
            raise UserError(
                f"constructor {constructor} failed with {arguments} ({first_line_of(error)}): mend it or its arguments"
            ) from None
    if not isinstance(network, nn.Module):
        raise UserError(
            f"constructor {constructor} returns a {type(network).__name__}, not a torch.nn.Module: name another"
        )
    try:
        network.eval()
    except RecursionError:
        raise UserError(f"constructor {constructor} returns a network that contains itself: mend it") from None
    require_plain(network, constructor)
    return network


def require_plain(network: nn.Module, constructor: str) -> None:
    """Raise UserError unless all that a network consists of are tensors of numbers, each in a place of its own."""
    what = f"constructor {constructor} returns a network"
    for name, value in network.state_dict(keep_vars=True).items():
        if is_lazy(value):
            raise UserError(f"{what} with {name} of no shape yet: let it give its lazy layers their sizes")
        if not isinstance(value, torch.Tensor) or value.is_quantized or value.layout != torch.strided:
            raise UserError(f"{what} with {name}, quantised, sparse or no tensor: build it in floating point")
        if any(side > 1 and step == 0 for side, step in zip(value.shape, value.stride(), strict=True)):
            raise UserError(f"{what} with {name}, whose numbers share one place in memory: copy what it expands")


def show_picture(network: nn.Module, size: int) -> None:
    """Pass a black picture of `size` x `size` pixels through a network; UserError if it does not take it."""
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, size, size))
    except UserError:
        raise
    except Exception as error:  # whatever the network's code raises
        raise UserError(
            f"the network does not take a picture of {size} x {size} pixels in single precision"
            f" ({first_line_of(error)}): correct size or constructor"
        ) from None


def find_constructor(constructor: str) -> Callable[..., nn.Module]:
    """Return the function that "package.module:function" names; UserError if it cannot be imported."""
    # First, for whatever imports torchvision: see there.
    importlib.import_module("workflow_scripts.networks.torchvision_models")
    module, _, path = constructor.partition(":")
    try:
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # importing runs the user's code
        raise UserError(
            f"constructor {constructor} cannot be imported ({first_line_of(error)}): write package.module:function, and"
            " install the package or put the module into the folder that snakemake runs in"
        ) from None
    return found


def first_line_of(error: BaseException) -> str:
    """Return an error of somebody else's code as one line: its kind, its words, and where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) != Path(__file__) and "importlib" not in frame.filename]
    place = f", {own[-1].filename}, line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


@contextmanager
def only_tensors_loaded() -> Iterator[None]:
    """Make every torch.load load tensors and plain values alone, whatever its caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
