"""Make the untrained network of a replicate: initial weights, and batch-norm as initialised."""

import numpy as np

from workflow_scripts.networks.checkpoints import save_network, write_metrics
from workflow_scripts.networks.constructors import build, require_trainable
from workflow_scripts.networks.precisions import resolved
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.shared.files import run_command
from workflow_scripts.train.arguments import load_pictures, untrained_parser
from workflow_scripts.train.processes import join_group
from workflow_scripts.train.training import accuracy


def main() -> None:
    """Make the untrained network that the command line describes; write network.pt and metrics.json."""
    parser = untrained_parser(__doc__)
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    args = parser.parse_args()
    device = join_group(args.gpus).device
    _, test = load_pictures(args, device)
    classes = len(test.classes)
    network = build(args.network, classes, args.replicate)
    masks = full_masks(network, args.exempt)
    pictures, _ = next(iter(test.plain([np.arange(2) % len(test)])))
    require_trainable(build(args.network, classes, args.replicate).to(device), pictures, classes)
    network.to(device)
    save_network(args.out, network, masks, classes, epochs=0)
    write_metrics(args.metrics, network, masks, accuracy(network, test, resolved(args.precision, device)), [], epochs=0)


if __name__ == "__main__":
    run_command(main)
