"""Reading files of weights or masks as tensors by name. Nothing in such a file is ever executed."""

import argparse
import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from workflow_scripts.shared.files import UserError, reading, require_file
from workflow_scripts.shared.regular_files import LFS_POINTER

DEEPEST = 6  # levels of nested dicts that are searched
LONGEST = 100  # characters of a name, in messages
DAMAGES = (  # what wrong contents raise, most of it while torch unpickles them
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError),
    *(struct.error, zipfile.BadZipFile, safetensors.SafetensorError),
)
# Kinds of files that users mistake for weight files, by their first bytes.
OTHER_KINDS = {
    LFS_POINTER: "is a Git LFS pointer, not the file itself: run git lfs pull",
    b"<": "is a web page, or XML: download the file itself",
    b"{": "is JSON, perhaps the index of weights in several files: save them as one state dict",
    b"\x89HDF\r\n": "is an HDF5 file, as Keras writes: save a torch state dict",
    b"GGUF": "is a GGUF file, whose weights are quantised: save a torch state dict",
    b"\x1f\x8b": "is compressed by gzip: unpack it",
    b"\xfd7zXZ": "is compressed by xz: unpack it",
    b"\x93NUMPY": "is a NumPy array: save a torch state dict",
}


def read_tensors(path: Path) -> dict:
    """Return what a file holds: tensors by name, or in torch's format nested dicts of tensors and plain values.

    An argparse.Namespace, which many programs save beside the weights, is accepted and ignored.

    Raises:
        UserError: it cannot be read, is damaged or another kind of file, or holds objects that could only be restored
            by running code.
    """
    require_file(path, "correct the config's arms, or put the file there")
    with reading(path, *DAMAGES):
        with open(path, "rb") as file:
            start = file.read(64)
        require_weights(start, path)
        if start[8:9] == b"{":  # safetensors: the length of a header in JSON, and the header
            return safetensors.torch.load_file(path)
        try:
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise UserError(f"{path} {refused(error)}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors by name: save a state dict")
    return loaded


def require_weights(start: bytes, path: Path) -> None:
    """Raise UserError for a file that is known not to hold weights; `start` are its first bytes."""
    if not start:
        raise UserError(f"{path} is empty: copy or save it again")
    for begin, words in OTHER_KINDS.items():
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(begin):
            raise UserError(f"{path} {words}")
    if not start.startswith(b"PK"):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [member.filename for member in members]
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path} is TorchScript, which holds code: save only the weights, torch.jit.load(...).state_dict()"
        )
    if any(name.endswith(".npy") for name in names):
        raise UserError(f"{path} is an archive of NumPy arrays: save a torch state dict")
    if not any(name.endswith("data.pkl") for name in names):
        raise UserError(f"{path} is a zip archive that torch has not written: unpack it")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise UserError(f"{path} is compressed, which torch never does: save it again")


def refused(error: pickle.UnpicklingError) -> str:
    """Return the end of a sentence that says why torch refuses to unpickle a file."""
    words = str(error).split("GLOBAL ", 1)
    if len(words) == 1:
        return "is damaged, or not a torch file: copy or save it again"
    blocked = shown(words[1].split()[0])
    if blocked.startswith("numpy."):
        return f"holds NumPy objects ({blocked}): save only tensors and plain numbers"
    return (
        f"holds {blocked}, a whole network or other object that only running code could restore, which is refused:"
        " save its weights, torch.save(model.state_dict(), ...), and if its shapes differ from level to level, its"
        " constructor's arguments as JSON, channels_{level}.json, for the key arguments"
    )


def flatten(loaded: dict, path: Path) -> tuple[dict[str, object], dict[str, str]]:
    """Return the entries of nested dicts by dotted name, and for each the dotted name of the dict that contains it.

    Raises:
        UserError: two entries have the same name.
    """
    leaves: dict[str, object] = {}
    containers: dict[str, str] = {}
    pending: list[tuple[str, dict, int]] = [("", loaded, 0)]
    while pending:
        container, value, depth = pending.pop(0)
        for key, inner in value.items():
            name = join(container, str(key))
            if isinstance(inner, dict) and depth < DEEPEST:
                pending.append((name, inner, depth + 1))
                continue
            if name in leaves:
                raise UserError(f"{path} holds two entries called {shown(name)}: save only the state dict")
            leaves[name], containers[name] = inner, container
    return leaves, containers


def join(prefix: str, name: str) -> str:
    """Join a prefix and a name, either of which may be empty."""
    return f"{prefix}.{name}" if prefix and name else prefix or name


def within(name: str, prefix: str) -> bool:
    """Tell whether a name is a prefix or lies below it."""
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def below(name: str, prefix: str) -> str:
    """Return the part of a name after a prefix."""
    return name[len(prefix) :].lstrip(".") if prefix else name


def shown(name: object) -> str:
    """Return a name from a file in a form that is safe in a message."""
    text = "".join(character if character.isprintable() else "?" for character in str(name)[: LONGEST + 1])
    return f"{text[:LONGEST]}..." if len(text) > LONGEST else text


def listed(names: Iterable, most: int = 4) -> str:
    """Return up to `most` names, and how many more there are."""
    names = sorted(map(shown, names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shape(tensor: Tensor) -> str:
    """Return a shape as people write it: 64 x 3 x 7 x 7."""
    return " x ".join(str(side) for side in tensor.shape) or "a number"
