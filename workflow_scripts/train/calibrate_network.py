"""Make the second floor: the untrained network with its batch-norm statistics measured on training pictures."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from workflow_scripts.files import run_command
from workflow_scripts.train.arguments import load_batches, untrained_parser
from workflow_scripts.train.checkpoints import load_network, save_network, write_metrics
from workflow_scripts.train.training import Batches, accuracy, choose_device

CALIBRATION_BATCHES, BATCH = 16, 128


@torch.no_grad()
def calibrate_batch_norm(network: nn.Module, pictures: Batches, seed: int) -> None:
    """Set the running mean and variance of every batch-norm to the average over batches of random pictures."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain average
    network.train()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pictures)))
    for index in order.to(pictures.images.device).split(BATCH)[:CALIBRATION_BATCHES]:
        if len(index) == BATCH or len(pictures) < BATCH:
            network(pictures.plain(index)[0])
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def main() -> None:
    parser = untrained_parser(__doc__)
    parser.add_argument("--start", type=Path, required=True, help="the untrained network.pt")
    args = parser.parse_args()
    device = choose_device()
    train, test = load_batches(args, device)
    network, masks = load_network(args.start, args.network)
    network.to(device)
    calibrate_batch_norm(network, train, args.replicate)
    save_network(args.out, network, masks)
    write_metrics(args.metrics, network, masks, accuracy(network, test, args.precision), [])


if __name__ == "__main__":
    run_command(main)
