"""The training loop: SGD with masks, from any step on, in one process or several."""

import logging
import math
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from workflow_scripts.networks.checkpoints import holds_tensors, is_whole
from workflow_scripts.networks.precisions import autocast
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import Masks, apply_masks
from workflow_scripts.networks.weights import require_fit, to_type
from workflow_scripts.shared.files import STOPPED, UserError
from workflow_scripts.shared.progress import Progress, pace
from workflow_scripts.train.processes import Group, alone
from workflow_scripts.train.training_state import TrainingState

EVALUATION_BATCH = 500
SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}  # of a GradScaler's state


class PlainPictures(Protocol):
    """Test pictures.

    A batch is an array of positions; its pictures are returned normalised, float32 (n, 3, S, S), with labels, int64
    (n,).
    """

    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many pictures there are."""

    def plain(self, batches: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each batch, the pictures in their test view, and their labels."""


class Pictures(PlainPictures, Protocol):
    """Pictures for training and testing: `MemoryPictures` or `FilePictures`."""

    device: torch.device

    def draw_augmentation(self, settings: dict, seed: tuple[int, ...], epoch: int) -> Any:
        """Draw an epoch's order and augmentation; `settings` is the config's `training` section."""

    def augmented(self, batches: list, augmentation: Any) -> Generator[tuple[Tensor, Tensor]]:
        """Yield, for each batch, a piece of the drawn order, the pictures, augmented as drawn, and their labels."""


def learning_rate(step: int, steps_per_epoch: int, settings: dict) -> float:
    """Return the learning rate at `step` (from 0): linear warm-up per step, then a cosine or milestones.

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


def passes_per_step(settings: dict) -> int:
    """Return in how many micro-batches a step's batch passes through the network."""
    micro_batch = settings["micro_batch"]
    return 1 if micro_batch == "batch_size" else settings["batch_size"] // micro_batch


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norms of a network that keep running statistics."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


def seed_of(*place: int) -> int:
    """Return a seed for torch that depends on a few integers and their order."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


def seed_torch(device: torch.device, *place: int) -> None:
    """Seed torch's random streams, the CPU's and that of `device`, from a few integers and their order.

    torch.manual_seed would do the same, but takes a tenth of a millisecond if there is no GPU.
    """
    seed = seed_of(*place)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def require_state(state: object, network: nn.Module, path: Path) -> dict:
    """Return what `Trainer.state` has returned, loaded from `path`, in the types of a network.

    Raises:
        UserError: it is something else, or it is of another network.
    """
    if not (
        isinstance(state, dict)
        and is_whole(state.get("epoch"))
        and all(holds_tensors(state.get(name)) for name in ("model", "momentum"))
        and ("scaler" not in state or is_of_scaler(state["scaler"]))
    ):
        raise not_a_state(path)
    parameters = dict(network.named_parameters())
    for name, momentum in state["momentum"].items():
        if name not in parameters or momentum.shape != parameters[name].shape:
            raise not_a_state(path)
    momenta = {name: to_type(tensor, parameters[name], name, path) for name, tensor in state["momentum"].items()}
    return state | {"model": require_fit(state["model"], network.state_dict(), path), "momentum": momenta}


def require_progress(state: object, network: nn.Module, path: Path) -> dict:
    """Return what `Trainer.keep` has saved in the folder `path`; raises as `require_state` does."""
    values = state if isinstance(state, dict) else {}
    sums, history = [values.get(name) for name in ("loss_sum", "correct")], values.get("history")
    if not (
        is_whole(values.get("step"))
        and isinstance(history, list)
        and all(isinstance(row, dict) and are_numbers(row) for row in history)
        and all(isinstance(number, Tensor) and number.shape == () for number in sums)
        and "rewind_point" in values
    ):
        raise not_a_state(path)
    if values["rewind_point"] is not None:
        require_state(values["rewind_point"], network, path)
    return require_state(state, network, path)


def is_of_scaler(scaler: object) -> bool:
    """Tell whether a value is the state of a GradScaler that is enabled."""
    return isinstance(scaler, dict) and scaler.keys() == SCALER and are_numbers(scaler)


def are_numbers(row: dict) -> bool:
    """Tell whether all values of a dict are plain numbers."""
    return all(isinstance(value, int | float) for value in row.values())


def not_a_state(path: Path) -> UserError:
    """Return the error for a file or folder that holds no state of a network's training."""
    return UserError(
        f"{path} does not hold the state of this network's training: check that it is the right one, or remove it and"
        " run again"
    )


class Trainer:
    """A network in training.

    A step's batch passes through the network in micro-batches, shared out among the processes of the group. Batch-norm
    normalises each micro-batch by itself, and its running statistics follow the first of each step, as in torch's
    distributed training with one micro-batch per process. So the number of processes changes only rounding.

    What the network draws from torch's random stream, for example for dropout, depends only on the replicate and the
    place in training, because the stream is seeded anew at each micro-batch. So an interrupted training draws the same
    numbers as an uninterrupted one, and a level the same as the dense network.

    Args:
        network: is trained in place, on the group's device.
        masks: the pruned weights stay zero in every forward pass.
        pictures: to train on.
        settings: the config's `training` section.
        replicate: seeds the data order, the augmentation, and the network's random draws.
        group: the processes that train together.
        kept: where to save the state, at the end of each epoch and when asked to stop; None saves nothing.
        order: another number gives another order of the data, another augmentation and other random draws.

    Attributes:
        epoch, step: epochs that are done, and steps of the next one; training continues there.
        history: a row per epoch, as `metrics.json` records it.
        rewind_point: the contents of `rewind.pt`, once the epoch to rewind to is reached.
    """

    def __init__(
        self,
        network: nn.Module,
        masks: Masks,
        pictures: Pictures,
        settings: dict,
        replicate: int,
        group: Group | None = None,
        kept: TrainingState | None = None,
        order: int = 0,
    ) -> None:
        self.group = group or alone(pictures.device)
        if len(pictures) < settings["batch_size"]:
            raise UserError(f"training.batch_size: {len(pictures)} pictures do not fill one batch")
        self.passes = passes_per_step(settings)
        if self.passes % self.group.size:
            raise UserError(
                f"the {self.passes} micro-batches of a step cannot be shared evenly among {self.group.size} processes:"
                " change gpus or training.micro_batch"
            )
        self.network = network.to(self.group.device)
        self.masks = {name: mask.to(self.group.device) for name, mask in masks.items()}
        self.pictures = pictures
        self.settings, self.kept = settings, kept
        # To numpy (1, 1) and (1, 1, 0) are the same seed, so another order begins with a number that no replicate has.
        self.seed = (2**31 + order, replicate) if order else (replicate,)
        self.epoch, self.step = 0, 0
        self.loss_sum, self.correct = (torch.zeros((), device=self.group.device) for _ in range(2))
        self.history: list[dict] = []
        self.rewind_point: dict | None = None
        self.progress: Progress | None = None
        self.optimizer = torch.optim.SGD(
            network.parameters(),
            lr=settings["learning_rate"],
            momentum=settings["momentum"],
            nesterov=settings["nesterov"],
            weight_decay=settings["weight_decay"],
        )
        self.scaler = torch.amp.GradScaler(self.group.device.type, enabled=settings["precision"] == "float16")
        self.norms = batch_norms(network)
        apply_masks(self.network, self.masks)
        forward = distributed(self.network) if self.group.size > 1 else self.network
        self.forward: Any = torch.compile(forward) if settings["compile"] else forward

    def state(self) -> dict:
        """Return what a level rewinds to: weights, batch-norm and momentum by name, on the CPU, and the epoch.

        In half precision it also has the factor that scales the loss, because that factor decides which steps are
        skipped.
        """
        momentum = {
            name: self.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.network.named_parameters()
            if self.optimizer.state[parameter]
        }
        return {
            "epoch": self.epoch,
            "model": {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()},
            "momentum": {name: tensor.cpu().clone() for name, tensor in momentum.items()},
            **({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}),
        }

    def restore(self, state: dict) -> None:
        """Restore a `state`, bit for bit."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["model"])
        for name, parameter in self.network.named_parameters():
            if name in state["momentum"]:
                buffer = state["momentum"][name].to(parameter.device).clone()
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        if "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])

    def rewind(self, state: dict) -> None:
        """Restore a `state`, but with pruned weights and their momentum set to zero."""
        self.restore(state)
        apply_masks(self.network, self.masks)
        weights = weights_of(self.network)
        for name, mask in self.masks.items():
            if momentum := self.optimizer.state[weights[name].tensor]:
                momentum["momentum_buffer"].mul_(mask)

    def keep(self) -> None:
        """Save everything that is needed to continue from here."""
        if self.kept is None:
            return
        sums = {"loss_sum": self.group.total(self.loss_sum), "correct": self.group.total(self.correct)}
        progress = {"step": self.step, "history": self.history, "rewind_point": self.rewind_point}
        self.kept.save(self.state() | sums | progress)

    def resume(self) -> bool:
        """Continue from the state that an interrupted training has saved; return whether there was one.

        Raises:
            UserError: the system cannot read it, or it does not fit the network.
        """
        state = self.kept.load() if self.kept else None
        if self.kept is None or state is None:
            return False
        self.restore(require_progress(state, self.network, self.kept.folder))
        self.step, self.history, self.rewind_point = state["step"], state["history"], state["rewind_point"]
        if self.group.rank == 0:  # it alone carries the sums of all processes
            self.loss_sum, self.correct = (state[name].to(self.group.device) for name in ("loss_sum", "correct"))
        logging.info("continuing after %d epochs and %d steps", self.epoch, self.step)
        return True

    def pictures_shown(self) -> int:
        """Return how many pictures the epochs of the history have shown the network, counted once per epoch."""
        batch = self.settings["batch_size"]
        return len(self.history) * (len(self.pictures) // batch) * batch

    def train_to(self, last_epoch: int) -> None:
        """Train until `last_epoch` epochs are done; after each, log a line and save the state.

        Raises:
            UserError: the loss is not finite; or the process was asked to stop, and the state has been saved.
        """
        with self.kept.listening() if self.kept else nullcontext():
            while self.epoch < last_epoch:
                row = self.train_epoch()
                assert self.progress is not None, "train_epoch has set it"
                logging.info(
                    "epoch %d of %d: loss %.3f, training accuracy %.1f %%; pictures: %s, %s left",
                    self.epoch,
                    self.settings["epochs"],
                    row["train_loss"],
                    100 * row["train_accuracy"],
                    pace(self.progress.rate(self.seen())),
                    self.progress.left(self.seen()),
                )
                self.keep()

    def seen(self) -> int:
        """Return how many pictures the training has shown the network, counted once per epoch."""
        batch = self.settings["batch_size"]
        return (self.epoch * (len(self.pictures) // batch) + self.step) * batch

    def train_epoch(self) -> dict:
        """Train to the end of the epoch and return its row of the history; an incomplete last batch is left out."""
        self.network.train()
        batch = self.settings["batch_size"]
        steps = len(self.pictures) // batch
        size = batch // self.passes
        share = self.passes // self.group.size
        mine = range(share * self.group.rank, share * (self.group.rank + 1))
        augmentation = self.pictures.draw_augmentation(self.settings, self.seed, self.epoch)
        starts = [step * batch + number * size for step in range(self.step, steps) for number in mine]
        batches = [augmentation.order[start : start + size] for start in starts]
        weights = weights_of(self.network)
        masked = [(weights[name].tensor, mask) for name, mask in self.masks.items() if not mask.all()]
        if self.progress is None:
            self.progress = Progress("pictures", self.settings["epochs"] * steps * batch, self.seen())
        with closing(self.pictures.augmented(batches, augmentation)) as loaded:
            while self.step < steps:
                rate = learning_rate(self.epoch * steps + self.step, steps, self.settings)
                self.optimizer.param_groups[0]["lr"] = rate
                self.optimizer.zero_grad()
                for number in mine:
                    self.add_gradients(*next(loaded), number, last=number == mine[-1])
                self.scaler.step(self.optimizer)
                self.scaler.update()
                with torch.no_grad():
                    for weight, mask in masked:
                        weight.mul_(mask)
                self.step += 1
                self.progress.log(self.seen(), f", epoch {self.epoch + 1}")
                self.stop_if_asked()
        return self.finish_epoch(steps)

    def add_gradients(self, pictures: Tensor, labels: Tensor, number: int, last: bool) -> None:
        """Add the gradients of micro-batch `number` of the step; after the `last` one, the processes share them."""
        together = self.group.size > 1
        seed_torch(self.group.device, *self.seed, self.epoch, self.step, number)
        with (
            self.forward.no_sync() if together and not last else nullcontext(),
            frozen_statistics(self.norms) if number else nullcontext(),
        ):
            with autocast(self.group.device, self.settings["precision"]):
                logits = self.forward(pictures)
            loss = F.cross_entropy(logits.float(), labels) / self.passes
            # Gradients are averaged over the processes, each of which has a share of the micro-batches.
            self.scaler.scale(loss * self.group.size).backward()
        self.loss_sum += loss.detach()
        self.correct += (logits.detach().argmax(1) == labels).sum()

    def stop_if_asked(self) -> None:
        """Save the state and end if any process of the group was asked to stop."""
        if self.kept is not None and self.group.any(self.kept.stop_asked):
            self.keep()
            raise UserError(
                f"{STOPPED} after step {self.step} of epoch {self.epoch + 1}: run again to continue from there"
            )

    def finish_epoch(self, steps: int) -> dict:
        """Finish an epoch of `steps` steps and return its row of the history."""
        self.group.share(list(self.network.buffers()))
        row = {
            "epoch": self.epoch + 1,
            "learning_rate": learning_rate((self.epoch + 1) * steps - 1, steps, self.settings),
            "train_loss": float(self.group.total(self.loss_sum)) / steps,
            "train_accuracy": float(self.group.total(self.correct)) / (steps * self.settings["batch_size"]),
        }
        if not math.isfinite(row["train_loss"]):
            raise UserError(f"the loss is {row['train_loss']} in epoch {row['epoch']}: lower training.learning_rate")
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.correct = (torch.zeros((), device=self.group.device) for _ in range(2))
        self.history.append(row)
        return row


def distributed(network: nn.Module) -> DistributedDataParallel:
    """Wrap a network so that its gradients are averaged over the processes.

    Its buffers are not synchronised: those of the first process are shared at the end of an epoch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 renames this, and 2.12 lacks the new name
        return DistributedDataParallel(network, broadcast_buffers=False)


@contextmanager
def frozen_statistics(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let batch-norms normalise by each batch's own statistics without updating their running ones."""
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Pictures, precision: str, group: Group | None = None) -> float:
    """Return the share of `pictures` that the network classifies correctly, with batch-norm in evaluation mode.

    The processes of a group divide the pictures among them, and all return the same result.
    """
    group = group or alone(pictures.device)
    network.eval()
    positions = np.arange(len(pictures))
    batches = [positions[start : start + EVALUATION_BATCH] for start in range(0, len(positions), EVALUATION_BATCH)]
    correct, done = torch.zeros((), dtype=torch.int64), 0
    mine = batches[group.rank :: group.size]
    progress = Progress("test pictures", sum(map(len, mine)))
    for batch, labels in pictures.plain(mine):
        with autocast(batch.device, precision):
            logits = network(batch)
        correct += (logits.argmax(1) == labels).sum().cpu()
        done += len(batch)
        progress.log(done)
    return int(group.total(correct)) / len(pictures)
