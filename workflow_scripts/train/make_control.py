"""Make a control from a network by one of the recipes in `controls`."""

import importlib
from pathlib import Path

import torch

from workflow_scripts.networks.checkpoints import load_tensors, rebuild, save_network, write_metrics
from workflow_scripts.networks.precisions import resolved
from workflow_scripts.shared.files import run_command
from workflow_scripts.train.arguments import load_pictures, untrained_parser
from workflow_scripts.train.processes import join_group
from workflow_scripts.train.training import accuracy


def main() -> None:
    """Make the control of the recipe on the command line; write network.pt and metrics.json."""
    parser = untrained_parser(__doc__)
    parser.add_argument("--recipe", required=True, help="the name of a file in controls")
    parser.add_argument("--initial", type=Path, required=True, help="the network.pt to start from")
    args = parser.parse_args()
    control = importlib.import_module(f"workflow_scripts.train.controls.{args.recipe}")
    device = join_group(args.gpus).device
    train, test = load_pictures(args, device)
    tensors = load_tensors(args.initial)
    network, masks = rebuild(tensors, args.network, args.initial)
    network.to(device)
    torch.manual_seed(args.replicate)  # for random draws of the network itself, such as dropout
    control.make(network, masks, train, args.replicate)
    save_network(args.out, network, masks, tensors["classes"], tensors["epochs"])
    test_accuracy = accuracy(network, test, resolved(args.precision, device))
    write_metrics(args.metrics, network, masks, test_accuracy, [], tensors["epochs"])


if __name__ == "__main__":
    run_command(main)
