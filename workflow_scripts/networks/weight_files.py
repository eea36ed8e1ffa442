"""Reading files of weights or masks as tensors by name. Nothing in such a file is ever executed."""

import argparse
import os
import pickle
import struct
import warnings
import zipfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from workflow_scripts.shared.files import UserError, open_regular, reading
from workflow_scripts.shared.limits import limit, raise_limit
from workflow_scripts.shared.memory import bounded_memory
from workflow_scripts.shared.regular_files import LFS_POINTER

DEEPEST = 6  # levels of nested dicts that are searched
MOST_ENTRIES = 10**6  # in these dicts: pickles can hold one dict many times, and so grow with each level
LONGEST = 100  # characters of a name, in messages
LONGEST_NAME = 1000  # characters of a tensor's name
MOST_FOR_EACH_BYTE, MOST_BESIDE = 4, 2**29  # bytes of memory that restoring a file may take
# What reading a file raises if its contents are wrong.
DAMAGES = (
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError),
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, safetensors.SafetensorError),
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
    with reading(path, *DAMAGES), open_regular(path, "correct the config's arms, or put the file there") as file:
        size = os.fstat(file.fileno()).st_size
        require_bounded(size, path)
        start = file.read(64)
        require_weights(start, file, path)
        if start[8:9] == b"{":  # safetensors: the length of a header in JSON, and the header
            return safetensors.torch.load_file(path)
        file.seek(0)
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = unpickle(file, size, path)
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors by name: save a state dict")
    return loaded


def unpickle(file: IO[bytes], size: int, path: Path) -> object:
    """Return the tensors and plain values in a torch file of `size` bytes, which is at `path`; nothing is executed.

    Only the memory is given out that a file of this size can need, because some pickles ask for any amount of it.

    Raises:
        UserError: the file holds objects that could only be restored by running code, or is a damaged pickle.
        Exception: of many kinds, for other contents that are not torch's own.
    """
    try:
        with bounded_memory(MOST_FOR_EACH_BYTE * size + MOST_BESIDE), warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} {refused(error)}") from None


def require_bounded(size: int, path: Path) -> None:
    """Raise UserError for a file of more bytes than the config's limit; its tensors are not compressed."""
    if size > limit("weights_gb") * 1e9:
        raise UserError(f"{path} has {size / 1e9:.1f} GB, which is not read: {raise_limit('weights_gb')}")


def require_weights(start: bytes, file: IO[bytes], path: Path) -> None:
    """Raise UserError for an open file that is known not to hold weights; `start` are its first bytes."""
    if not start:
        raise UserError(f"{path} is empty: copy or save it again")
    for begin, words in OTHER_KINDS.items():
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(begin):
            raise UserError(f"{path} {words}")
    if not start.startswith(b"PK"):
        return
    members = members_of(file)
    names = [member.filename for member in members]
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path} is TorchScript, which holds code: save only the weights, torch.jit.load(...).state_dict()"
        )
    if any(name.endswith(".npy") for name in names):
        raise UserError(f"{path} is an archive of NumPy arrays: save a torch state dict")
    if not any(name.endswith("data.pkl") for name in names):
        raise UserError(f"{path} is a zip archive that torch has not written: unpack it")
    require_stored(members, path)


def members_of(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """Return the members of an open zip archive."""
    with zipfile.ZipFile(file) as archive:
        return archive.infolist()


def require_stored(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Raise UserError for members that are compressed, and could take any amount of memory, or have one name."""
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UserError(f"{path} is compressed, which torch never does: save it again")
    if len({member.filename for member in members}) < len(members):
        raise UserError(f"{path} is an archive with two members of one name: save it again")


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

    Entries of long names are left out, unless they are tensors.

    Raises:
        UserError: two entries have the same name; there are too many; or the name of a tensor is too long.
    """
    leaves: dict[str, object] = {}
    containers: dict[str, str] = {}
    pending: deque[tuple[str, dict, int]] = deque([("", loaded, 0)])
    while pending:
        container, value, depth = pending.popleft()
        if len(leaves) + len(pending) + len(value) > MOST_ENTRIES:
            raise UserError(f"{path} holds more than a million entries: save only the state dict")
        for key, inner in value.items():
            name = join(container, text_of(key))
            if isinstance(inner, dict) and depth < DEEPEST and len(name) <= LONGEST_NAME:
                pending.append((name, inner, depth + 1))
                continue
            if len(name) > LONGEST_NAME:
                if isinstance(inner, Tensor):
                    raise UserError(f"{path} has a tensor called {shown(name)}, and such a name is too long: rename it")
                continue
            if isinstance(inner, Tensor) and inner.is_nested:
                raise UserError(f"{path}: {shown(name)} is a nested tensor, which has no shape: save plain numbers")
            if name in leaves:
                raise UserError(f"{path} holds two entries called {shown(name)}: save only the state dict")
            leaves[name], containers[name] = inner, container
    return leaves, containers


def text_of(key: object) -> str:
    """Return a key of a dict as text; it may be a number of any length, or tuples in tuples."""
    try:
        return str(key)
    except (RecursionError, ValueError):
        return f"a long {type(key).__name__}"


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
    text = "".join(character if character.isprintable() else "?" for character in text_of(name)[: LONGEST + 1])
    return f"{text[:LONGEST]}..." if len(text) > LONGEST else text


def listed(names: Iterable, most: int = 4) -> str:
    """Return up to `most` names, and how many more there are."""
    names = sorted(map(shown, names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shape(tensor: Tensor) -> str:
    """Return a shape as people write it: 64 x 3 x 7 x 7."""
    return " x ".join(str(side) for side in tensor.shape) or "a number"
