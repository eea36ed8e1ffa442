"""Building the network that a config names, from its constructor and arguments."""

import importlib
import inspect
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.sizes import Size, sides

OWN_PACKAGE = __name__.partition(".")[0]
PRETRAINED = "pretrained_model_name_or_path"  # an argument of the networks of transformers that loads weights


def build(settings: dict, classes: int | None, seed: int) -> nn.Module:
    """Return the network that `settings` describe, in evaluation mode and on the CPU.

    Random numbers that the constructor draws from torch follow from `seed`. Of the weight files that it loads, only
    tensors and plain values are unpickled. For a class of transformers, the arguments are its configuration, and its
    network returns only the logits, if it has any.

    Args:
        settings: `constructor`, "package.module:function"; its `arguments` by name; and `norm_init`: uniform, if
            batch-norm scales are to be drawn from between 0 and 1, as OpenLTH does. Other keys are ignored.
        classes: the number of classes of a network that is to be trained. The constructor gets it as `num_classes` if
            it has such an argument, or takes any argument, and `arguments` do not give it (a class of transformers gets
            it as `num_labels`). The weights of 2D convolutions are then stored with channels last, as the pictures are.
            None: the network is built exactly as the arguments say.
        seed: of the numbers that the constructor draws.

    Raises:
        UserError: the constructor cannot be imported, fails, or does not return a torch network of plain tensors.
    """
    constructor, arguments = settings["constructor"], settings["arguments"]
    function = find_constructor(constructor)
    added = class_argument(function, arguments, classes)
    with torch.random.fork_rng(devices=[]), only_tensors_loaded():
        torch.manual_seed(seed)
        network = call(function, constructor, arguments, added)
        require_plain(network, constructor)
        if is_of_transformers(network):
            network.register_forward_hook(logits_alone)
        if settings.get("norm_init") == "uniform":
            draw_norm_scales(network)
    if classes is not None:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                # torch's type hints lack this argument
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def takes_classes(settings: dict) -> bool:
    """Tell whether `build` passes the number of classes to the constructor; raise UserError if importing it fails."""
    return bool(class_argument(find_constructor(settings["constructor"]), settings["arguments"], 1))


def class_argument(function: Callable, arguments: dict, classes: int | None) -> dict[str, int]:
    """Return the number of classes as a named argument; empty if the constructor should not get it."""
    if classes is not None and is_of_transformers(function):
        return {} if arguments.keys() & {"num_labels", "id2label"} else {"num_labels": classes}
    if classes is None or "num_classes" in arguments:
        return {}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # raised for code that is not Python
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes = any(
        parameter.kind == inspect.Parameter.VAR_KEYWORD
        or (parameter.name == "num_classes" and parameter.kind in by_name)
        for parameter in parameters
    )
    return {"num_classes": classes} if takes else {}


def call(function: Callable, constructor: str, arguments: dict, added: dict[str, int]) -> nn.Module:
    """Return the network that a constructor makes from `arguments` and those `added` to them, in evaluation mode.

    Raises:
        UserError: it fails, or does not return a torch network.
    """
    try:
        make = make_of_transformers if is_of_transformers(function) else lambda function, given: function(**given)
        network = make(function, arguments | added)
    except UserError:
        raise
    except BaseException as error:  # the user's code may raise anything
        source = "".join(f"; {name} is the number of the pictures' classes" for name in added)
        raise UserError(
            f"constructor {constructor} failed with {arguments | added} ({first_line_of(error)}): correct it or its"
            f" arguments{source}"
        ) from None
    if not isinstance(network, nn.Module):
        raise UserError(
            f"constructor {constructor} returns a {type(network).__name__}, not a torch.nn.Module: name another"
        )
    try:
        return network.eval()
    except RecursionError:
        raise UserError(f"constructor {constructor} returns a network that contains itself: correct it") from None


def is_of_transformers(made: object) -> bool:
    """Tell whether a class, or a network, belongs to transformers and is made from a configuration."""
    return isinstance(getattr(made, "config_class", None), type) and hasattr(made, "from_pretrained")


def make_of_transformers(function: Any, arguments: dict) -> nn.Module:
    """Return a network of transformers whose configuration `arguments` give.

    If `pretrained_model_name_or_path` is among them, it names the weights, as for `from_pretrained`.

    Raises:
        UserError: some weights are missing, and transformers would draw them.
    """
    configuration = {name: value for name, value in arguments.items() if name != PRETRAINED}
    config = function.config_class.from_dict(configuration)
    if PRETRAINED not in arguments:
        return function(config)
    source = arguments[PRETRAINED]
    network, found = function.from_pretrained(source, config=config, dtype=torch.float32, output_loading_info=True)
    if lacking := sorted(map(str, found["missing_keys"])):
        raise UserError(
            f"{source} lacks {len(lacking)} tensors of {function.__name__}, such as {lacking[0]}, which would be drawn"
            " at random: name a class that does not need them, or weights that have them"
        )
    return network


def logits_alone(_network: nn.Module, _inputs: tuple, output: object) -> object:
    """Return the logits of the output of a network of transformers, or the whole output if it has none."""
    return output["logits"] if isinstance(output, dict) and isinstance(output.get("logits"), Tensor) else output


def require_plain(network: nn.Module, constructor: str) -> None:
    """Raise UserError unless a network consists of plain tensors whose numbers each have their own place in memory."""
    what = f"constructor {constructor} returns a network"
    for name, value in network.state_dict(keep_vars=True).items():
        if is_lazy(value):
            raise UserError(f"{what} in which {name} has no shape yet: let it give its lazy layers their sizes")
        if not isinstance(value, Tensor) or value.is_quantized or value.layout != torch.strided:
            raise UserError(f"{what} in which {name} is quantised, sparse or not a tensor: build it in floating point")
        if value.is_meta and torch.get_default_device().type != "meta":  # the cost sheet builds without data
            raise UserError(f"{what} in which {name} has no data: build it on the CPU")
        if any(side > 1 and step == 0 for side, step in zip(value.shape, value.stride(), strict=True)):
            raise UserError(f"{what} in which numbers of {name} share one place in memory: copy what it expands")


def draw_norm_scales(network: nn.Module) -> None:
    """Draw the scales of all batch-norms uniformly between 0 and 1, in place."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.affine:
            nn.init.uniform_(module.weight)


def show_picture(network: nn.Module, size: Size, channels: int = 3) -> None:
    """Pass a black picture through a network; raise UserError if it does not accept the size and number of channels."""
    pass_through(network, black_pictures(1, size, channels))


def require_trainable(network: nn.Module, pictures: Tensor, classes: int | None) -> None:
    """Raise UserError unless a network returns a score for each class, in training mode and in evaluation mode.

    Args:
        network: cannot be used afterwards, because its batch-norm statistics have changed.
        pictures: float32 (images, channels, height, width), at least two, because batch-norm cannot train on one.
        classes: how many; None if unknown.
    """
    with torch.random.fork_rng(devices=[]):  # dropout draws random numbers
        for training in (True, False):
            network.train(training)
            output = pass_through(network, pictures)
            mode = "training" if training else "evaluation"
            if not isinstance(output, Tensor):
                raise UserError(
                    f"the network returns a {type(output).__name__} in {mode} mode, but it can only be trained if it"
                    " returns one tensor, (images, classes): switch its further outputs off by its arguments, or name a"
                    " constructor without them"
                )
            if output.ndim != 2 or len(output) != len(pictures) or output.shape[1] != (classes or output.shape[1]):
                wanted = f"{len(pictures)} x {classes or 'classes'}"
                raise UserError(
                    f"the network's output for {len(pictures)} pictures is {tuple(output.shape)} in {mode} mode, but"
                    f" should be {wanted}: correct its constructor or arguments, or let it take num_classes, the number"
                    " of the pictures' classes"
                )


def pass_through(network: nn.Module, pictures: Tensor) -> object:
    """Return a network's output for pictures; raise UserError if it does not accept them."""
    try:
        with torch.no_grad():
            return network(pictures)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the network's code may raise anything
        channels, height, width = pictures.shape[1:]
        require_channels(network, channels)
        raise UserError(
            f"the network does not accept a picture of {height} x {width} pixels in single precision"
            f" ({first_line_of(error)}): correct size or constructor"
        ) from None


def require_channels(network: nn.Module, channels: int) -> None:
    """Raise UserError if a network's first convolution expects another number of channels."""
    taken = next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), channels)
    if taken != channels:
        numbers = {1: "one number each, for grey pictures", 3: "three numbers each, for colour pictures"}
        remedy = (
            f"give mean and std (of the arm's preprocessing, or of images) {numbers[taken]}"
            if taken in numbers
            else "only one channel (grey) or three (colour) are possible: correct the constructor or its arguments"
        )
        raise UserError(
            f"the network's first convolution expects pictures with {taken} channel{'s' * (taken > 1)}, but mean and"
            f" std give them {channels}: {remedy}"
        )


def black_pictures(count: int, size: Size, channels: int = 3) -> Tensor:
    """Return black pictures, float32 (count, channels, height, width).

    Channels are last in memory, as in all pictures that a job reads.
    """
    return torch.zeros(count, *sides(size), channels).permute(0, 3, 1, 2)


def find_constructor(constructor: str) -> Callable[..., nn.Module]:
    """Return the function that "package.module:function" names; raise UserError if it cannot be imported."""
    module, _, path = constructor.partition(":")
    if module.partition(".")[0] != OWN_PACKAGE:  # importing torchvision takes a second
        import workflow_scripts.networks.torchvision_models  # noqa: F401 - see there
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except BaseException as error:  # importing runs the user's code
        raise UserError(
            f"constructor {constructor} cannot be imported ({first_line_of(error)}): write package.module:function, and"
            " install the package or put the module into the folder that snakemake runs in"
        ) from None
    return found


def first_line_of(error: BaseException) -> str:
    """Return an error of foreign code as one line: its type, its message, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) != Path(__file__) and "importlib" not in frame.filename]
    place = f", {own[-1].filename}, line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


@contextmanager
def only_tensors_loaded() -> Iterator[None]:
    """Make every torch.load load only tensors and plain values, whatever its caller asks for."""
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
