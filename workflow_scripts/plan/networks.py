"""The networks of an experiment."""

from dataclasses import dataclass, field
from pathlib import Path

from workflow_scripts.plan.designs import Design
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.openlth import SPARSITY_REPORT


@dataclass(frozen=True)
class Network:
    """One network, and what it is made from.

    made_by: the rule that makes it; "" if it is another network, `parent`, under a second name.
    parent: the network that it starts from.
    shuffled: whether it is compared with the labels of other pictures.
    density: share of the weights that remain, if the config gives it.
    weights: of a user's network: a file, further arguments of the constructor, or None for untrained weights.
    masks, reading: its file of masks, and the keys that say which tensors of the weight file belong to the network.
    start: the file of the weights that its training started from, if there is one.
    recipe, method, exempt: those of the arm, as the rule needs them.
    choices: arguments of `train_level`, by name.
    needs: arguments of `train_level` that are files: for each, the network whose folder has the file, and its name
        there.
    """

    key: Key
    design: Design
    made_by: str
    recipe: str = ""
    parent: Key | None = None
    shuffled: bool = False
    density: float | None = None
    weights: str | dict | None = None
    masks: str | None = None
    start: str | None = None
    reading: dict = field(default_factory=dict)
    method: str | None = None
    exempt: tuple[str, ...] = ()
    choices: dict = field(default_factory=dict)
    needs: dict[str, tuple[Key, str]] = field(default_factory=dict)

    @property
    def files_of(self) -> Key:
        """The network whose maps and measurements it has: itself, or the one that it is except for labels or name."""
        if self.made_by:
            return self.key
        assert self.parent, "a network that no job makes has the files of its parent"
        return self.parent

    @property
    def dissection_of(self) -> Key:
        """The network whose named units this one has."""
        return self.key if self.shuffled else self.files_of

    @property
    def own_files(self) -> list[str]:
        """The user's files that it is made from: weights, or files that its constructor loads, masks, a report.

        If its constructor gets a folder, they are the files in it.
        """
        weights = self.weights.values() if isinstance(self.weights, dict) else [self.weights]
        masks = [self.masks, Path(self.masks).with_name(SPARSITY_REPORT)] if self.masks else []
        named = [Path(path) for path in [*weights, *masks] if isinstance(path, str | Path)]
        within = [sorted(path.glob("[!.]*")) if path.is_dir() else [path] for path in named]
        return [str(file) for files in within for file in files if file.is_file()]
