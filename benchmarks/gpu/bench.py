"""What a section measures, recorded line by line."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Bench:
    """What a section is to do, and where it records its results.

    Args:
        device: "cuda" or "cpu".
        small: whether to use tiny networks and pictures.
        seconds: the time that the section has, from now on.
        folder: a folder for the section's files, which is removed at the end.
        record: the file of JSON lines to append to.
    """

    def __init__(self, device: str, small: bool, seconds: float, folder: Path, record: Path) -> None:
        self.device, self.small, self.folder = device, small, folder
        self._until = time.monotonic() + seconds
        self._record = record

    def seconds_left(self) -> float:
        """Return the seconds that the section has left; below 0, it will soon be killed."""
        return self._until - time.monotonic()

    def row(self, name: str, value: float, unit: str, note: str = "", variant: str = "") -> None:
        """Record a measurement; variants of the same name may share a line of the table."""
        self._append("rows", name=name, variant=variant, value=float(value), unit=unit, note=note)

    def check(self, name: str, ok: bool, note: str = "") -> None:
        """Record whether something is correct."""
        self._append("checks", name=name, ok=bool(ok), note=note)

    def skip(self, name: str, why: str) -> None:
        """Record that something is not measured here."""
        self._append("skipped", name=name, why=why)

    def part(self, name: str, seconds: float, work: Callable[..., object], *arguments: object) -> None:
        """Do a part of the section that no other part depends on.

        It is skipped if fewer than `seconds` are left. If it raises an exception, that becomes a failed check, with the
        traceback in the section's log, and the section continues.
        """
        if self.seconds_left() < seconds:
            self.skip(name, f"needs {seconds:.0f} s, but only {max(0, self.seconds_left()):.0f} were left")
            return
        try:
            work(*arguments)
        except Exception as error:
            traceback.print_exc()
            self.check(name, False, " ".join(traceback.format_exception_only(error)[-1].split()))

    def _append(self, kind: str, **entry: object) -> None:
        with open(self._record, "a") as file:
            file.write(json.dumps({"kind": kind, **entry}) + "\n")
