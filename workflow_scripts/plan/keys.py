"""The names of networks, and the roles of arms. Jobs import this module, so it imports nothing itself."""

from typing import NamedTuple

MOST_NUMBER = 2**32 - 1  # of a replicate or a level: replicates are seeds
# A curve has levels of density. A baseline shows what chance gives, a reference what an unpruned network can reach.
CURVE, BASELINE, REFERENCE = ROLES = ("curve", "baseline", "reference")


class Key(NamedTuple):
    """Names one network of an experiment."""

    arm: str
    replicate: int
    level: int

    @property
    def folder(self) -> str:
        """The folder of its files, within the folders of the experiment, of its logs, and so on."""
        return f"{self.arm}/replicate_{self.replicate}/level_{self.level}"
