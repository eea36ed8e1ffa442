"""What a section measures, kept line by line."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Bench:
    """What a section is to do, and where it records what it finds.

    Args:
        device: "cuda" or "cpu".
        small: whether to use tiny networks and pictures.
        seconds: how many the section has, from now on.
        folder: for files of the section's own; removed after it.
        record: the file of JSON lines to append to.
    """

    def __init__(self, device: str, small: bool, seconds: float, folder: Path, record: Path) -> None:
        self.device, self.small, self.folder = device, small, folder
        self._until = time.monotonic() + seconds
        self._record = record

    def seconds_left(self) -> float:
        """Return how many seconds the section still has; below 0, it will soon be killed."""
        return self._until - time.monotonic()

    def row(self, name: str, value: float, unit: str, note: str = "", variant: str = "") -> None:
        """Record a measurement; those of one name that differ in their `variant` may share a line of the table."""
        self._append("rows", name=name, variant=variant, value=float(value), unit=unit, note=note)

    def check(self, name: str, ok: bool, note: str = "") -> None:
        """Record whether something is right."""
        self._append("checks", name=name, ok=bool(ok), note=note)

    def skip(self, name: str, why: str) -> None:
        """Record that something is not measured here."""
        self._append("skipped", name=name, why=why)

    def part(self, name: str, seconds: float, work: Callable[..., object], *arguments: object) -> None:
        """Do a part of the section that others do not depend on.

        It is skipped if fewer than `seconds` are left. What it raises becomes a failed check, with its traceback in the
        section's log, and the section goes on.
        """
        if self.seconds_left() < seconds:
            self.skip(name, f"wants {seconds:.0f} s, and {max(0, self.seconds_left()):.0f} were left")
            return
        try:
            work(*arguments)
        except Exception as error:
            traceback.print_exc()
            self.check(name, False, " ".join(traceback.format_exception_only(error)[-1].split()))

    def _append(self, kind: str, **entry: object) -> None:
        with open(self._record, "a") as file:
            file.write(json.dumps({"kind": kind, **entry}) + "\n")
