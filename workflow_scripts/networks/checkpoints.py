"""Networks on disk: only tensors, and the numbers that belong to them."""

import io
import json
from pathlib import Path

import torch
from torch import nn

from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import Masks, describe_density
from workflow_scripts.networks.weights import require_fit
from workflow_scripts.shared.files import UserError, reading, require_file, whole_file


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
    require_file(path, "run the step that writes it")
    with reading(path, Exception):  # torch raises many kinds of errors for contents that are not its own
        # Read here, because torch reports an error of the system like a damaged file.
        contents = io.BytesIO(path.read_bytes())
        tensors = torch.load(contents, map_location="cpu", weights_only=True)
    if not isinstance(tensors, dict):
        raise UserError(f"{path} holds a {type(tensors).__name__}: check that it is the right file, or make it again")
    return tensors


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
        UserError: the contents are not those of a network; or as in `build` and `require_fit`.
    """
    if not tensors.get("model") or not tensors.get("masks") or not tensors.keys() >= {"classes", "epochs"}:
        raise UserError(
            f"{path} does not hold a network with its masks: check that it is the right file, or make it again"
        )
    network = build(settings, tensors["classes"], seed=0)
    network.load_state_dict(require_fit(tensors["model"], network.state_dict(), path))
    return network, tensors["masks"]


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
