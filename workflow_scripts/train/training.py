"""The training loop: SGD on packed pictures, with masks, from any epoch on."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workflow_scripts.data.packed_images import PackedImages
from workflow_scripts.files import UserError
from workflow_scripts.train.networks import weight_layers
from workflow_scripts.train.pruning import Masks, apply_masks

EVALUATION_BATCH = 500


def choose_device() -> torch.device:
    """Return the GPU if there is one, else the CPU; make convolutions on a GPU repeatable."""
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Batches:
    """Pictures on a device, handed out as normalised batches.

    Args:
        packed: the pictures, uint8 (N, S, S, 3), and their labels.
        mean, std: per channel, in units of the full brightness (0 to 1).
    """

    def __init__(self, packed: PackedImages, mean: list[float], std: list[float], device: torch.device) -> None:
        self.images = torch.from_numpy(packed.images).to(device)
        self.labels = torch.from_numpy(packed.labels).to(device)
        self.classes = packed.classes
        self.normalise = normaliser(mean, std, device)

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return the pictures at `index`, float32 (n, 3, S, S), channels last, and their labels."""
        return self.normalise(self.images[index]), self.labels[index]

    def augmented(self, index: Tensor, augmentation: "Augmentation") -> tuple[Tensor, Tensor]:
        """Return the pictures at `index`, shifted and flipped, and their labels.

        A shifted picture is continued by its edge.
        """
        size = self.images.shape[1]
        grid = torch.arange(size, device=self.images.device)
        rows = (grid + augmentation.down[index, None]).clamp(0, size - 1)
        columns = (grid + augmentation.right[index, None]).clamp(0, size - 1)
        columns = torch.where(augmentation.flip[index, None], columns.flip(1), columns)
        pictures = self.images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self.normalise(pictures), self.labels[index]


def normaliser(mean: list[float], std: list[float], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function from pictures, uint8 (n, S, S, 3), to a network's input, float32 (n, 3, S, S), channels last.

    It takes each byte to (byte / 255 - mean) / std of its channel.
    """
    deviation = torch.tensor(std, device=device)
    scale, offset = 1 / (255 * deviation), -torch.tensor(mean, device=device) / deviation
    return lambda pictures: (pictures.float() * scale + offset).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Augmentation:
    """One epoch's order and changes, by picture: `order`, `down`, `right` int64 (N,), `flip` bool (N,)."""

    order: Tensor
    down: Tensor
    right: Tensor
    flip: Tensor


def draw_augmentation(pictures: int, settings: dict, replicate: int, epoch: int, device: torch.device) -> Augmentation:
    """Draw an epoch's order, shifts and flips, from nothing but (replicate, epoch, picture).

    So level n sees in epoch k just what the dense network saw there (the data order continues at the rewind point).
    """
    rng = np.random.default_rng([replicate, epoch])
    shift = settings["shift"]
    flip = rng.random(pictures) < 0.5 if settings["flip"] else np.zeros(pictures, bool)
    arrays = (
        rng.permutation(pictures),
        rng.integers(-shift, shift + 1, pictures),
        rng.integers(-shift, shift + 1, pictures),
        flip,
    )
    return Augmentation(*(torch.from_numpy(array).to(device) for array in arrays))


def learning_rate(step: int, steps_per_epoch: int, settings: dict) -> float:
    """Return the rate at `step` (from 0): linear warm-up per step, times cosine or milestones.

    The cosine runs from the end of the warm-up to the end of training; milestones multiply by `gamma` from the
    start of each epoch listed.
    """
    peak = settings["learning_rate"]
    warmup = settings["warmup_epochs"] * steps_per_epoch
    if step < warmup:
        return peak * (step + 1) / warmup
    if settings["schedule"] == "cosine":
        progress = (step - warmup) / (settings["epochs"] * steps_per_epoch - warmup)
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    passed = sum(step >= milestone * steps_per_epoch for milestone in settings["milestones"])
    return peak * settings["gamma"] ** passed


class Trainer:
    """A network on its way through the epochs.

    Args:
        network: is trained in place, on the device on which `train` lies.
        masks: the pruned weights stay zero in every forward pass.
        settings: the config's `training` section.
        replicate: seeds the data order and the augmentation.

    Attributes:
        epoch: epochs that are done; training goes on there.
        history: a row per epoch, as `metrics.json` records it.
    """

    def __init__(
        self,
        network: nn.Module,
        masks: Masks,
        train: Batches,
        settings: dict,
        replicate: int,
    ) -> None:
        if len(train) < settings["batch_size"]:
            raise UserError(f"training.batch_size: {len(train)} pictures do not fill one batch")
        device = train.images.device
        self.network = network.to(device)
        self.masks = {name: mask.to(device) for name, mask in masks.items()}
        self.train = train
        self.settings, self.replicate = settings, replicate
        self.epoch = 0
        self.history: list[dict] = []
        self.optimizer = torch.optim.SGD(
            network.parameters(),
            lr=settings["learning_rate"],
            momentum=settings["momentum"],
            nesterov=settings["nesterov"],
            weight_decay=settings["weight_decay"],
        )
        apply_masks(self.network, self.masks)

    def state(self) -> dict:
        """Return everything that training needs to go on from here: tensors by name, on the CPU, and the epoch."""
        momentum = {
            name: self.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.network.named_parameters()
            if self.optimizer.state[parameter]
        }
        return {
            "epoch": self.epoch,
            "model": {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()},
            "momentum": {name: tensor.cpu().clone() for name, tensor in momentum.items()},
        }

    def restore(self, state: dict) -> None:
        """Go back to a `state`, with pruned weights, and their momentum, at zero."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["model"])
        for name, parameter in self.network.named_parameters():
            if name in state["momentum"]:
                buffer = state["momentum"][name].to(parameter.device).clone()
                layer = name.removesuffix(".weight")
                if layer in self.masks:
                    buffer.mul_(self.masks[layer])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        apply_masks(self.network, self.masks)

    def train_to(self, last_epoch: int) -> None:
        """Train until `last_epoch` epochs are done; log a line after each."""
        while self.epoch < last_epoch:
            started = time.monotonic()
            row = self.train_epoch()
            self.history.append(row)
            seconds = time.monotonic() - started
            logging.info(
                "epoch %d of %d: loss %.3f, training accuracy %.1f %%, %.1f s, %.0f s left",
                self.epoch,
                self.settings["epochs"],
                row["train_loss"],
                100 * row["train_accuracy"],
                seconds,
                seconds * (self.settings["epochs"] - self.epoch),
            )

    def train_epoch(self) -> dict:
        """Train one epoch and return its row of the history; the last pictures count only if they fill a batch."""
        self.network.train()
        device = self.train.images.device
        batch = self.settings["batch_size"]
        steps = len(self.train) // batch
        layers = weight_layers(self.network)
        masked = [(layers[name].weight, mask) for name, mask in self.masks.items() if not mask.all()]
        augmentation = draw_augmentation(len(self.train), self.settings, self.replicate, self.epoch, device)
        loss_sum = torch.zeros((), device=device)
        correct = torch.zeros((), device=device)
        for step in range(steps):
            rate = learning_rate(self.epoch * steps + step, steps, self.settings)
            self.optimizer.param_groups[0]["lr"] = rate
            index = augmentation.order[step * batch : (step + 1) * batch]
            pictures, labels = self.train.augmented(index, augmentation)
            with autocast(device, self.settings["precision"]):
                logits = self.network(pictures)
            loss = F.cross_entropy(logits.float(), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                for weight, mask in masked:
                    weight.mul_(mask)
            loss_sum += loss.detach()
            correct += (logits.detach().argmax(1) == labels).sum()
        self.epoch += 1
        mean_loss = float(loss_sum) / steps
        if not math.isfinite(mean_loss):
            raise UserError(f"the loss is {mean_loss} in epoch {self.epoch}: lower training.learning_rate")
        return {
            "epoch": self.epoch,
            "learning_rate": rate,
            "train_loss": mean_loss,
            "train_accuracy": float(correct) / (steps * batch),
        }


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run at `precision`, "bfloat16" or "float32"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Batches, precision: str) -> float:
    """Return the share of `pictures` that the network classifies rightly, batch-norm in evaluation mode."""
    network.eval()
    correct = 0
    for start in range(0, len(pictures), EVALUATION_BATCH):
        batch, labels = pictures.plain(slice(start, start + EVALUATION_BATCH))
        with autocast(batch.device, precision):
            logits = network(batch)
        correct += int((logits.argmax(1) == labels).sum())
    return correct / len(pictures)
