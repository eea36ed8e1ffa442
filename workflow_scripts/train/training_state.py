"""The saved progress of a training, beside the network that it writes. An interrupted training continues from it.

Snakemake deletes a rule's outputs before each attempt, but does not know this folder:

    state, previous    the last two states, each preceded by the SHA-256 of its bytes
    finished/          the outputs of a finished training, in case the attempt is cut off right after it
    training.lock      exists while a process trains, so that a new attempt waits for one that was left running
"""

import hashlib
import io
import json
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from workflow_scripts.networks.checkpoints import unpickle_bytes
from workflow_scripts.shared.files import (
    UserError,
    file_fingerprint,
    open_regular,
    reading,
    remove,
    system_reason,
    to_disk,
    whole_file,
)
from workflow_scripts.shared.locks import exclusive

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # a scheduler's or kill's, Ctrl-C's, a closed terminal's
DIGEST = hashlib.sha256().digest_size


class TrainingState:
    """The saved states of one training.

    Args:
        folder: where they are kept.
        recipe: a fingerprint of everything that the training depends on; states of another recipe are ignored.
        writes: whether this process writes; if several train together, one of them does.

    Attributes:
        stop_asked: whether a signal of STOPS has arrived while `listening`.
    """

    def __init__(self, folder: Path, recipe: str, writes: bool = True) -> None:
        self.folder, self.recipe, self.writes = folder, recipe, writes
        self.stop_asked = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make sure that no other process trains this network: wait for one that does, perhaps one left running."""
        with exclusive(self.folder / "training") if self.writes else nullcontext():
            yield

    def load(self) -> dict | None:
        """Return the newest intact state of this recipe, or None; raise UserError if the system cannot read one."""
        for name in ("state", "previous"):
            state = self.read(self.folder / name)
            if state is not None:
                return state
        return None

    def read(self, path: Path) -> dict | None:
        """Return the state in a file; return None and log a line if it is damaged or of another recipe.

        Raises:
            UserError: the system cannot read it, whether it is intact or not.
        """
        with reading(path, RuntimeError):
            try:
                with open_regular(path, "remove it") as file:
                    content = file.read()
            except FileNotFoundError:
                return None
            saved = unpacked(content, path)
        if saved is None:
            logging.warning("the saved state %s is damaged: ignoring it", path)
            return None
        if saved["recipe"] != self.recipe:
            logging.warning("the saved state %s belongs to another recipe: starting over", path)
            return None
        return saved["state"]

    def save(self, state: dict) -> None:
        """Save `state`, nested dicts of tensors and plain values, and keep the one before it.

        Raises:
            UserError: it cannot be written.
        """
        if not self.writes:
            return
        buffer = io.BytesIO()
        torch.save({"recipe": self.recipe, "state": state}, buffer)
        payload = buffer.getbuffer()
        try:
            with whole_file(self.folder / "state") as part:
                with open(part, "wb") as file:
                    file.write(hashlib.sha256(payload).digest())
                    file.write(payload)
                to_disk(part)
                if (self.folder / "state").exists():
                    os.replace(self.folder / "state", self.folder / "previous")
        except OSError as error:
            raise UserError(
                f"the state in {self.folder} cannot be saved ({error.strerror}): make room or fix that, and run again"
            ) from None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Set `stop_asked` on a signal of STOPS instead of ending the process; nohup's SIGHUP stays ignored."""

        def ask(*_: object) -> None:
            self.stop_asked = True

        heard = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, ask) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def outputs(self, *paths: Path) -> Iterator[list[Path]]:
        """Yield a path to write to for each of `paths`; the files get their final names when all are written."""
        with whole_file(self.folder / "finished") as part:
            part.mkdir()
            yield [part / path.name for path in paths]
            record = {"recipe": self.recipe, "files": {path.name: file_fingerprint(part / path.name) for path in paths}}
            (part / "record.json").write_text(json.dumps(record, indent=1))
        self.hand_out(paths)
        remove(self.folder / "state")
        remove(self.folder / "previous")

    def was_finished(self, *paths: Path) -> bool:
        """If this training has ended before, give its outputs their names, `paths`; return whether it has.

        Always false in a process that does not write.

        Raises:
            UserError: the system cannot read the kept outputs, whether they are intact or not.
        """
        finished = self.folder / "finished"
        if not self.writes or not finished.is_dir():
            return False
        recipe = None
        with reading(finished):
            try:
                with open_regular(finished / "record.json", "remove it") as file:
                    record = json.load(file)
                if all(file_fingerprint(finished / path.name) == record["files"][path.name] for path in paths):
                    recipe = record["recipe"]
            except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
                pass  # a missing or changed file means that the folder is damaged
        if recipe is None:
            logging.warning("the finished training in %s is damaged: training anew", finished)
        elif recipe != self.recipe:
            logging.warning("%s was trained by another recipe: training anew", paths[0])
        else:
            logging.info("already trained by the same recipe: using the outputs kept in %s", finished)
            self.hand_out(paths)
            return True
        remove(finished)
        return False

    def hand_out(self, paths: tuple[Path, ...]) -> None:
        """Give the finished outputs their names: as hard links if the file system supports them, else as copies."""
        for path in paths:
            path.unlink(missing_ok=True)  # a link cannot replace a link to the same file
            with whole_file(path) as part:
                try:
                    os.link(self.folder / "finished" / path.name, part)
                    os.utime(part)  # newer than the inputs, as an output should be
                except OSError:
                    shutil.copyfile(self.folder / "finished" / path.name, part)


def unpacked(content: bytes, path: Path) -> dict | None:
    """Return the contents of a state file, `recipe` and `state`, read from `path`; None if it is damaged."""
    digest, payload = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    try:
        saved = unpickle_bytes(payload, path)
    except Exception as error:  # torch raises many kinds of errors for foreign or executable contents
        if system_reason(error):
            raise
        return None
    return saved if isinstance(saved, dict) and saved.keys() == {"recipe", "state"} else None
