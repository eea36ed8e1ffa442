"""The untrained network with its batch-norm statistics measured on training pictures."""

import logging

import numpy as np
import torch
from torch import nn

from workflow_scripts.networks.pruning import Masks
from workflow_scripts.train.training import Pictures, batch_norms

LABEL = "untrained, calibrated"
STARTS_FROM = "untrained"
CALIBRATION_BATCHES, BATCH = 16, 128


@torch.no_grad()
def make(network: nn.Module, masks: Masks, train: Pictures, seed: int) -> None:
    """Set the running mean and variance of every batch-norm to their averages over batches of random pictures."""
    norms = batch_norms(network)
    if not norms:
        logging.warning("the network has no batch-norm statistics: this control is the same as the network itself")
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # asks torch for the plain average
    network.train()
    order = np.random.default_rng(seed).permutation(len(train))
    size = min(BATCH, len(train))
    batches = min(CALIBRATION_BATCHES, len(train) // size)
    for batch, _ in train.plain([order[i * size : (i + 1) * size] for i in range(batches)]):
        network(batch)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
