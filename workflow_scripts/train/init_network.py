"""Make the untrained network of a replicate: initial weights, batch-norm as initialised."""

from workflow_scripts.networks.architectures import build_network
from workflow_scripts.networks.checkpoints import save_network, write_metrics
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.shared.files import run_command
from workflow_scripts.train.arguments import load_pictures, untrained_parser
from workflow_scripts.train.processes import join_group
from workflow_scripts.train.training import accuracy


def main() -> None:
    parser = untrained_parser(__doc__)
    parser.add_argument("--exempt", nargs="*", default=[], help="names of layers that are never pruned")
    args = parser.parse_args()
    device = join_group(args.gpus).device
    _, test = load_pictures(args, device)
    network = build_network(args.network, len(test.classes), args.replicate).to(device)
    masks = full_masks(network, args.exempt)
    save_network(args.out, network, masks)
    write_metrics(args.metrics, network, masks, accuracy(network, test, args.precision), [])


if __name__ == "__main__":
    run_command(main)
