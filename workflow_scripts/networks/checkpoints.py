"""Networks on disk: only tensors, and the numbers that belong to them."""

import io
import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.masks import to_mask
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import Masks, describe_density
from workflow_scripts.networks.weight_files import listed, members_of, require_bounded, require_stored, unpickle
from workflow_scripts.networks.weights import require_fit
from workflow_scripts.shared.files import UserError, open_regular, reading, whole_file

MOST_CLASSES = 10**6  # of a network; it is built for as many as its file says


def save_tensors(path: Path, tensors: dict) -> None:
    """Write nested dicts of tensors and plain values; the same contents give the same bytes."""
    # Given a path, torch writes the file's name into the file; given a buffer, it does not.
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    with whole_file(path) as part:
        part.write_bytes(buffer.getvalue())


def load_tensors(path: Path) -> dict:
    """Read what `save_tensors` wrote; only tensors and plain values are ever unpickled.

    Raises:
        UserError: the file cannot be read, is damaged, or holds anything else.
    """
    # torch raises many kinds of errors for contents that are not its own.
    with reading(path, Exception), open_regular(path, "run the step that writes it") as file:
        require_bounded(os.fstat(file.fileno()).st_size, path)
        # Read here, because torch reports an error of the system like a damaged file.
        tensors = unpickle_bytes(file.read(), path)
    if not isinstance(tensors, dict):
        raise UserError(f"{path} holds a {type(tensors).__name__}: check that it is the right file, or make it again")
    return tensors


def unpickle_bytes(contents: bytes, path: Path) -> object:
    """Return what torch has saved, only tensors and plain values, from bytes that were read from `path`.

    Raises:
        UserError: as in `require_stored` and `unpickle`.
        Exception: as in `unpickle`.
    """
    file = io.BytesIO(contents)
    if contents.startswith(b"PK"):
        require_stored(members_of(file), path)
        file.seek(0)
    return unpickle(file, len(contents), path)


def save_network(
    path: Path, network: nn.Module, masks: Masks, classes: int | None, epochs: int | None, lineage: str = ""
) -> None:
    """Write `network.pt`: the state dict under `model`, the masks (bool, by name as `weights_of` has it) under `masks`.

    `classes` is what `build` was given, so that the network can be built again. `epochs` is for how many epochs its
    weights have been trained since they were drawn, None if unknown. `lineage` identifies the dense training that a
    trained network comes from; see `train_dense`.
    """
    tensors = {
        "model": {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        "masks": {name: mask.cpu() for name, mask in masks.items()},
        "classes": classes,
        "epochs": epochs,
        "lineage": lineage,
    }
    save_tensors(path, tensors)


def load_network(path: Path, settings: dict) -> tuple[nn.Module, Masks]:
    """Return the network of a `network.pt`, on the CPU, and its masks; raises as `load_tensors` and `rebuild` do."""
    return rebuild(load_tensors(path), settings, path)


def rebuild(tensors: dict, settings: dict, path: Path) -> tuple[nn.Module, Masks]:
    """Return the network whose contents were loaded from `path`, on the CPU, and its masks.

    Raises:
        UserError: as in `require_contents`, `build`, `require_fit` and `masks_for`.
    """
    require_contents(tensors, path)
    network = build(settings, tensors["classes"], seed=0)
    network.load_state_dict(require_fit(tensors["model"], network.state_dict(), path))
    return network, masks_for(network, tensors, path)


def require_contents(tensors: dict, path: Path) -> None:
    """Raise UserError unless the contents of `path` are of the kinds that `save_network` writes."""
    classes, epochs, lineage = (tensors.get(name, "") for name in ("classes", "epochs", "lineage"))
    if not (
        (classes is None or (is_whole(classes) and 1 <= classes <= MOST_CLASSES))
        and (epochs is None or is_whole(epochs))
        and isinstance(lineage, str)
        and all(holds_tensors(tensors.get(name)) and tensors[name] for name in ("model", "masks"))
    ):
        raise UserError(
            f"{path} does not hold a network with its masks: check that it is the right file, or make it again"
        )


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def holds_tensors(value: object) -> bool:
    """Tell whether a value is a dict of tensors by name; it may be empty."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) and not tensor.is_nested for name, tensor in value.items()
    )


def masks_for(network: nn.Module, tensors: dict, path: Path) -> Masks:
    """Return the masks in the contents of `path`, as bools.

    Raises:
        UserError: the network has no weight of a mask's name, or as in `to_mask`.
    """
    weights, masks = weights_of(network), tensors["masks"]
    if unknown := masks.keys() - weights.keys():
        raise UserError(
            f"{path} has masks of {listed(unknown)}, but the network has no such weights: check that it is the right"
            " file, or make it again"
        )
    return {name: to_mask(mask, weights[name].tensor, name, path) for name, mask in masks.items()}


def write_metrics(
    path: Path,
    network: nn.Module,
    masks: Masks,
    test_accuracy: float | None,
    history: list[dict],
    epochs: int | None = None,
    pictures: int = 0,
    density: float | None = None,
) -> None:
    """Write `metrics.json`: test accuracy (share; null if it was not measured), densities, layers, a row per epoch.

    The budget has the epochs of `history`; the `pictures` that were shown in them, where a picture counts once for each
    epoch; and `epochs_in_all`, the `epochs` of `save_network`. `density` is that of the prunable weights if masks do
    not show it. The other densities are then null, and the list of layers is empty.
    """
    budget = {"epochs": len(history), "pictures": pictures, "epochs_in_all": epochs}
    metrics = {"test_accuracy": test_accuracy, **describe_density(network, masks), "budget": budget, "epochs": history}
    if density is not None:
        metrics |= {"density": {"prunable": density, "weights": None, "all": None}, "layers": []}
    with whole_file(path) as part:
        part.write_text(json.dumps(metrics, indent=1) + "\n")
