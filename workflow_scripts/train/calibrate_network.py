"""Make the second floor: the untrained network with its batch-norm statistics measured on training pictures."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from workflow_scripts.networks.checkpoints import load_network, save_network, write_metrics
from workflow_scripts.shared.files import run_command
from workflow_scripts.train.arguments import load_pictures, untrained_parser
from workflow_scripts.train.processes import join_group
from workflow_scripts.train.training import Pictures, accuracy

CALIBRATION_BATCHES, BATCH = 16, 128


@torch.no_grad()
def calibrate_batch_norm(network: nn.Module, pictures: Pictures, seed: int) -> None:
    """Set the running mean and variance of every batch-norm to the average over batches of random pictures."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain average
    network.train()
    order = np.random.default_rng(seed).permutation(len(pictures))
    size = min(BATCH, len(pictures))
    batches = min(CALIBRATION_BATCHES, len(pictures) // size)
    for batch, _ in pictures.plain([order[i * size : (i + 1) * size] for i in range(batches)]):
        network(batch)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def main() -> None:
    parser = untrained_parser(__doc__)
    parser.add_argument("--initial", type=Path, required=True, help="the untrained network.pt")
    args = parser.parse_args()
    device = join_group(args.gpus).device
    train, test = load_pictures(args, device)
    network, masks = load_network(args.initial, args.network)
    network.to(device)
    calibrate_batch_norm(network, train, args.replicate)
    save_network(args.out, network, masks)
    write_metrics(args.metrics, network, masks, accuracy(network, test, args.precision), [])


if __name__ == "__main__":
    run_command(main)
