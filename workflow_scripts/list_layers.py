"""List the modules of a network, what each puts out, and how to write it among the layers in a config.

python -m workflow_scripts list_layers --constructor torchvision.models:vit_b_16 --size 224
python -m workflow_scripts list_layers --configfile mine.yaml

Of a config it takes networks and how pictures are shown to them alone: layers, concepts and weights may be missing yet.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from torch import Tensor, nn

from workflow_scripts.dissect.check_network import CLASSES
from workflow_scripts.dissect.layer_outputs import has_channels_last, suggested_layer
from workflow_scripts.networks.constructors import build, show_picture
from workflow_scripts.plan.brought import READING, matches
from workflow_scripts.plan.command_line import add_config_arguments, read_values
from workflow_scripts.plan.designs import Design
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import complete_config, read_given
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.shared.outside_json import parse_json
from workflow_scripts.shared.printable import sentence
from workflow_scripts.shared.sizes import Size, read_size, sides, size_text

SIZE = 224  # of pictures, in pixels, unless another is given
LONGEST_SHOWN = 60  # characters of wrong arguments


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


def fill_gaps(given: dict) -> dict:
    """Return what a config gives with all in its place that may be missing while one looks for layers.

    That are the layers of brought networks, their weights and preprocessing, and the pictures.
    """
    there: dict[str, object] = {"source": ".", "addresses": []}  # any folder does
    filled = given | ({"concepts": there} if "concepts" in given else {})
    images, arms = given.get("images"), given.get("arms")
    if isinstance(images, Mapping) and images.get("source", "shapes") != "shapes":
        filled["images"] = dict(images) | there
    if isinstance(arms, list):
        filled["arms"] = [
            fill_arm(dict(item)) if isinstance(item, Mapping) and item.get("recipe") == "brought" else item
            for item in arms
        ]
    return filled


def fill_arm(item: dict) -> dict:
    """Return an item of `arms` for a brought network, with what is missing; without weights nothing is read of them."""
    own: dict[str, object] = {"layers": ["any"]} | item
    if "openlth" in item:
        return own
    own = {"preprocessing": {"size": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3}} | own
    weights = own.get("weights")
    if weights is None or (isinstance(weights, str) and weights != "none" and not is_there(weights)):
        own = {key: value for key, value in own.items() if key not in (*READING, "masks", "density")}
        own["weights"] = "none"
    return own


def is_there(weights: str) -> bool:
    """Tell whether there is a file of such a name, in which {replicate} and {level} stand for digits."""
    try:
        return bool(matches(weights, "weights"))
    except UserError:
        return False


def print_layers(settings: dict, classes: int | None, size: Size, channels: int) -> None:
    """Print a line for each module of the network that `settings` describe, and before them which network it is."""
    rows = list_layers(build(settings, classes, seed=0), size, channels)
    print(f"{settings['constructor']} {json.dumps(settings['arguments'])}, {size_text(size)} pixels")
    names, classes = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    for (name, kind, _), output in zip(rows, align_shapes([output for _, _, output in rows]), strict=True):
        print(sentence(f"{name:<{names}}  {kind:<{classes}}  {output}"))


def align_shapes(outputs: Sequence[str]) -> list[str]:
    """Return what layers put out with numbers to the right, those below each other that stand at the same place.

    The first of each do, and the others of shapes that differ in their numbers alone. What has no shape stays as it is.
    """
    shapes = [output.partition(":")[0] if output[:1].isdigit() else "" for output in outputs]
    kinds = [re.sub(r"\d+", "{}", shape) for shape in shapes]  # such as "{} units x {} x {}"
    numbers = [
        {(kind if place else "", place): number for place, number in enumerate(re.findall(r"\d+", shape))}
        for kind, shape in zip(kinds, shapes, strict=True)
    ]
    widths: dict[tuple[str, int], int] = {}
    for found in numbers:
        for column, number in found.items():
            widths[column] = max(widths.get(column, 0), len(number))
    return [
        kind.format(*(f"{number:>{widths[column]}}" for column, number in found.items())) + output[len(shape) :]
        for kind, found, shape, output in zip(kinds, numbers, shapes, outputs, strict=True)
    ]


def read_arguments(text: str) -> dict:
    """Return arguments by name from JSON; argparse makes a sentence of the error."""
    why = ""
    try:
        arguments = parse_json(text)
    except ValueError as error:
        arguments, why = None, f" ({error})"
    if not isinstance(arguments, dict):
        words = f"{text[:LONGEST_SHOWN]!r} holds no arguments by name{why}"
        raise argparse.ArgumentTypeError(f"{words}: write JSON, such as '{{\"width\": 8}}'")
    return arguments


def require_fitting(args: argparse.Namespace) -> None:
    """Raise UserError for what is of a config beside a constructor, or the other way round."""
    others = ["arm", "configfile", "config"] if args.constructor else ["arguments", "size", "channels"]
    if wrong := [f"--{name}" for name in others if getattr(args, name) not in (None, [])]:
        named = " and ".join(wrong)
        if args.constructor:
            raise UserError(f"{named} cannot stand beside --constructor: leave one or the other out")
        raise UserError(f"{named} cannot stand without --constructor: add it, or leave {named} out")


def main() -> None:
    """Print the modules of the networks that a constructor or a config on the command line makes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument("--arm", help="one of the config's arms; without it the networks of all are listed")
    parser.add_argument("--constructor", help="package.module:function, in place of a config")
    parser.add_argument("--arguments", type=read_arguments, help="the constructor's, as JSON")
    parser.add_argument(
        "--size", type=read_size, help=f"of the constructor's pictures, in pixels, as 224 or 224x160; without it {SIZE}"
    )
    parser.add_argument("--channels", type=int, choices=(1, 3), help="of these pictures, 1 for grey; without it 3")
    args = parser.parse_args()
    require_fitting(args)
    if args.constructor:
        settings = {"constructor": args.constructor, "arguments": args.arguments or {}}
        print_layers(settings, None, args.size or SIZE, args.channels or 3)
        return
    given = read_given(args.configfile, read_values(args.config))
    for design in designs_of(Experiment(complete_config(fill_gaps(given), args.configfile)), args.arm):
        shown = design.preprocessing
        print_layers(design.settings, CLASSES if design.is_trained else None, shown["size"], len(shown["mean"]))


if __name__ == "__main__":
    run_command(main)
