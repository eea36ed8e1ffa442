"""Make the second floor: the untrained network with its batch-norm statistics measured on training pictures."""

from pathlib import Path

import torch
from torch import nn

from workflow_scripts.files import run_command
from workflow_scripts.train.arguments import load_batches, training_parser
from workflow_scripts.train.checkpoints import load_network, save_network, write_metrics
from workflow_scripts.train.training import Batches, accuracy, choose_device

CALIBRATION_PICTURES = 2000


@torch.no_grad()
def calibrate_batch_norm(network: nn.Module, pictures: Batches, batch_size: int) -> None:
    """Set the running mean and variance of every batch-norm to the average over the first training pictures."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain average
    network.train()
    for start in range(0, min(CALIBRATION_PICTURES, len(pictures)), batch_size):
        network(pictures.plain(start, start + batch_size)[0])
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--start", type=Path, required=True, help="the untrained network.pt")
    args = parser.parse_args()
    device = choose_device()
    train, test = load_batches(args, device)
    network, masks = load_network(args.start, args.network)
    network.to(device)
    calibrate_batch_norm(network, train, args.training["batch_size"])
    save_network(args.out, network, masks)
    write_metrics(args.metrics, network, masks, accuracy(network, test, args.training["precision"]), [])


if __name__ == "__main__":
    run_command(main)
