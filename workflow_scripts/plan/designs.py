"""What defines a network besides its weights: how it is built, shown pictures, and dissected."""

import importlib.machinery
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.plan.code import PACKAGE
from workflow_scripts.plan.source_files import imported_names, parse
from workflow_scripts.shared.files import UserError, file_fingerprint, text_fingerprint
from workflow_scripts.shared.sizes import size_text


@dataclass(frozen=True)
class Design:
    """How networks are built, shown pictures, tested and dissected.

    suffix: ends the names of files that concern all networks of this design; "" for the design in the config's
        `network`.
    settings: constructor, its arguments, `norm_init`, and a fingerprint of the constructor's code.
    layers: as `layer_outputs` takes them.
    preprocessing: size, resize, mean, std and interpolation, as `read_preprocessing` returns them.
    test: a folder of class folders with test pictures for a user's network, or "none".
    class_order: as `list_classes` takes it.
    is_trained: whether its networks are trained here, from initial weights, for the classes of the pictures.
    """

    suffix: str
    settings: dict
    layers: tuple[str, ...]
    preprocessing: dict
    test: str = "none"
    class_order: str | list[str] | None = None
    is_trained: bool = False

    @property
    def settings_text(self) -> str:
        """The settings as JSON, which changes only when a setting does."""
        return json.dumps(self.settings, sort_keys=True)

    @property
    def view(self) -> str:
        """The end of the name of the concept set that is packed for networks of this design."""
        if self.is_trained:
            return ""
        return f"_{size_text(self.preprocessing['size'])}_{self.preprocessing['interpolation']}"

    @property
    def shown(self) -> dict:
        """How a picture is made for a network, as arguments of scripts: its size and channels."""
        return {"size": size_text(self.preprocessing["size"]), "channels": len(self.preprocessing["mean"])}


def trained_design(config: dict) -> Design:
    """Return the design of the networks that are trained here."""
    images = config["images"]
    settings = with_source(config["network"])
    preprocessing = {key: images[key] for key in ("size", "mean", "std")} | {"interpolation": "bilinear"}
    return Design("", settings, tuple(config["dissection"]["layers"]), preprocessing, is_trained=True)


def with_source(settings: dict) -> dict:
    """Return settings with a fingerprint of the constructor's code."""
    return settings | {"source": source_of(settings["constructor"])}


def source_of(constructor: str) -> str:
    """Return a fingerprint of a constructor's code; "" if it is not found, which a job reports.

    For an installed package, and for this workflow, only the constructor's module counts; for a user's package all
    files; for a single module also the modules beside it that it imports, at any depth. As a parameter of a rule it
    makes the rule run again when the code changes. Nothing is imported to find the code, and the search follows the
    jobs': first in the folder that snakemake runs in.
    """
    package, *names = constructor.partition(":")[0].split(".")
    try:
        spec = importlib.machinery.PathFinder.find_spec(package, [str(Path.cwd()), *sys.path])
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    if spec.submodule_search_locations is None:
        assert spec.origin, "a module that is not a folder is a file"
        file = Path(spec.origin)
        files = [file] if "site-packages" in file.parts else modules_beside(file)
    else:
        folder = Path(next(iter(spec.submodule_search_locations)))
        stem = folder.joinpath(*names)
        alone = "site-packages" in folder.parts or package == PACKAGE
        files = [stem.with_suffix(".py"), stem / "__init__.py"] if alone else sorted(folder.rglob("*.py"))
    return text_fingerprint(*(file_fingerprint(file) for file in files if file.is_file()))


def modules_beside(file: Path) -> list[Path]:
    """Return a module's file and the files in its folder that it imports, at any depth."""
    found: set[Path] = set()
    waiting = {file}
    while waiting:
        path = waiting.pop()
        found.add(path)
        for name in packages_imported(path):
            for beside in (file.parent / f"{name}.py", *(file.parent / name).rglob("*.py")):
                if beside.is_file() and beside not in found:
                    waiting.add(beside)
    return sorted(found)


def packages_imported(file: Path) -> set[str]:
    """Return the first parts of the names that a file imports; none if it is not Python, which a job reports."""
    try:
        tree = parse(file)
    except UserError:
        return set()
    return {name.partition(".")[0] for name in imported_names(tree)}
