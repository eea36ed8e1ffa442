"""The names of networks. Jobs import this, so that it imports nothing itself."""

from typing import NamedTuple


class Key(NamedTuple):
    """Names one network of an experiment."""

    arm: str
    replicate: int
    level: int

    @property
    def folder(self) -> str:
        """Where its files lie, within the folder of the experiment, of its logs, and so on."""
        return f"{self.arm}/replicate_{self.replicate}/level_{self.level}"
