"""List the modules of a network, what each puts out, and how to write it among the layers in a config.

python -m workflow_scripts list_layers --constructor torchvision.models:vit_b_16 --size 224
python -m workflow_scripts list_layers --configfile configs/tiny.yaml
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor, nn

from workflow_scripts.dissect.check_network import CLASSES
from workflow_scripts.dissect.layer_outputs import has_channels_last, suggested_layer
from workflow_scripts.networks.constructors import build, show_picture
from workflow_scripts.plan.designs import Design
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import read_config
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.shared.sizes import Size, read_size, sides, size_text

SIZE = 224  # of a constructor's pictures, in pixels, unless another is given


def list_layers(network: nn.Module, size: Size, channels: int = 3) -> list[tuple[str, str, str]]:
    """Return for each module its name, its class, and what it puts out or why it cannot be dissected.

    A module that runs more than once in a pass is listed for each run.

    Args:
        network: in evaluation mode; a picture passes through it once.
        size: of the picture, in pixels.
        channels: of the picture.

    Raises:
        UserError: the network does not take such a picture.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    outputs: dict[str, list[object]] = {name: [] for name in modules}
    with ExitStack() as hooks:
        for name, module in modules.items():
            hook = module.register_forward_hook(
                lambda _module, _inputs, output, name=name: outputs[name].append(output)
            )
            hooks.callback(hook.remove)
        show_picture(network, size, channels)
    rows = []
    for name, module in modules.items():
        kind = type(module).__name__
        if not outputs[name]:
            rows.append((name, kind, "not to be dissected: never runs"))
        for run, output in enumerate(outputs[name], 1):
            layer = name if len(outputs[name]) == 1 else f"{name}#{run}"
            rows.append((layer, kind, describe_output(layer, output, sides(size))))
    return rows


def describe_output(name: str, output: object, picture: tuple[int, int]) -> str:
    """Return what the layer `name` puts out for one picture of such a height and width."""
    if not isinstance(output, Tensor):
        return f"not to be dissected: returns a {type(output).__name__}"
    shape = tuple(output.shape)
    if output.ndim not in (3, 4) or shape[0] != 1:
        return f"not to be dissected: output {shape}"
    if output.ndim == 3:
        return f"{shape[1]} tokens x {shape[2]} channels: write {suggested_layer(name, shape[1], picture)}"
    if has_channels_last(shape, picture):
        return f"{shape[1]} x {shape[2]} x {shape[3]} channels: write {name}@{shape[1]}x{shape[2]}"
    return f"{shape[1]} units x {shape[2]} x {shape[3]}"


def designs_of(experiment: Experiment, wanted: str | None) -> list[Design]:
    """Return the designs of an experiment's networks, or those of the arm that is `wanted`.

    Raises:
        UserError: no arm has that name.
    """
    arms = {arm.name for arm in experiment.arms}
    if wanted is not None and wanted not in arms:
        raise UserError(f"the config has no arm {wanted!r}: it names {', '.join(sorted(arms))}")
    of_arms = [network for network in experiment.networks.values() if wanted in (None, network.key.arm)]
    return list({network.design.suffix: network.design for network in of_arms}.values())


def print_layers(settings: dict, classes: int | None, size: Size, channels: int) -> None:
    """Print a line for each module of the network that `settings` describe."""
    rows = list_layers(build(settings, classes, seed=0), size, channels)
    names, classes = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    for name, kind, output in rows:
        print(f"{name:<{names}}  {kind:<{classes}}  {output}")


def read_arguments(text: str) -> dict:
    """Return arguments by name from JSON; argparse makes a sentence of the error."""
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise argparse.ArgumentTypeError(f"{text!r} holds no arguments by name: write JSON, such as '{{\"width\": 8}}'")
    return arguments


def require_fitting(args: argparse.Namespace) -> None:
    """Raise UserError for what is of a constructor beside a config, or the other way round."""
    source, others = ("constructor", ["arm"]) if args.constructor else ("configfile", ["arguments", "size", "channels"])
    if wrong := [f"--{name}" for name in others if getattr(args, name) is not None]:
        go = "does not go" if len(wrong) == 1 else "do not go"
        raise UserError(f"{' and '.join(wrong)} {go} together with --{source}: leave one or the other out")


def main() -> None:
    """Print the modules of the networks that a constructor or a config on the command line makes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--constructor", help="package.module:function")
    source.add_argument("--configfile", type=Path, nargs="+", help="as for snakemake")
    parser.add_argument("--arguments", type=read_arguments, help="the constructor's, as JSON")
    parser.add_argument(
        "--size", type=read_size, help=f"of the constructor's pictures, in pixels, as 224 or 224x160; without it {SIZE}"
    )
    parser.add_argument("--channels", type=int, choices=(1, 3), help="of these pictures, 1 for grey; without it 3")
    parser.add_argument("--arm", help="one of the config's arms; without it the networks of all are listed")
    args = parser.parse_args()
    require_fitting(args)
    if args.constructor:
        settings = {"constructor": args.constructor, "arguments": args.arguments or {}}
        networks: list[tuple[dict, int | None, Size, int]] = [(settings, None, args.size or SIZE, args.channels or 3)]
    else:
        networks = [
            (
                design.settings,
                CLASSES if design.is_trained else None,
                design.preprocessing["size"],
                len(design.preprocessing["mean"]),
            )
            for design in designs_of(Experiment(read_config(args.configfile)), args.arm)
        ]
    for settings, classes, size, channels in networks:
        if len(networks) > 1:
            print(f"{settings['constructor']} {json.dumps(settings['arguments'])}, {size_text(size)} pixels")
        print_layers(settings, classes, size, channels)


if __name__ == "__main__":
    run_command(main)
