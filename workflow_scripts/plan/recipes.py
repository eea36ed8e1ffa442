"""Recipes: the ways to come by networks, which the config's `arms` name.

One that makes a control from another network is a file in train/controls, and needs to be named nowhere else.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.plan.code import ROOT

CURVE, BASELINE, REFERENCE = ROLES = ("curve", "baseline", "reference")
INITIAL = "untrained"  # where the networks that trainings start from lie, unless an arm is made of them
CONTROLS = ROOT / "workflow_scripts" / "train" / "controls"
METHODS = {  # of the recipe prune_once, and what figures call its arms
    "global": "one-shot, global magnitude",
    "layerwise": "one-shot, layerwise magnitude",
    "random": "one-shot, random",
    "structured": "one-shot, whole filters",
}


@dataclass(frozen=True)
class Recipe:
    """A way to come by networks.

    role: that of its arms, unless they say another.
    label: what figures call its arms, unless they say something else; "" for their names.
    of: recipes of the arms that it may be `of`; empty for one that is of none.
    starts_from: which of that arm's networks it starts from: "initial" or "first", as `Network.parent`; or "".
    """

    role: str
    label: str
    of: tuple[str, ...] = ()
    starts_from: str = ""


BUILT_IN = {
    "imp": Recipe(CURVE, "iterative magnitude pruning"),
    "untrained": Recipe(BASELINE, "untrained", of=("imp", "brought")),
    "shuffled_labels": Recipe(BASELINE, "dense, labels shuffled", of=("imp", "brought"), starts_from="first"),
    "trained_twice": Recipe(REFERENCE, "dense, trained twice", of=("imp",), starts_from="first"),
    "brought": Recipe(CURVE, ""),
    "prune_once": Recipe(CURVE, "", of=("brought",), starts_from="first"),
}


def label_of(item: dict) -> str:
    """Return what figures call the arm that an item of the config's `arms` describes."""
    known = METHODS.get(item.get("method"), RECIPES[item["recipe"]].label)
    return item.get("label") or known or item["name"].replace("_", " ")


def read_control(file: Path) -> Recipe:
    """Return the recipe that a file in train/controls is, from its constants; it is not run, for it imports torch."""
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.isupper()
        and node.targets[0].id in ("LABEL", "STARTS_FROM", "ROLE")
    }
    starts_from = {"untrained": "initial", "dense": "first"}[constants["STARTS_FROM"]]
    return Recipe(constants.get("ROLE", BASELINE), constants["LABEL"], of=("imp",), starts_from=starts_from)


def list_controls() -> dict[str, Recipe]:
    """Return the recipes that are files in train/controls, by name."""
    return {file.stem: read_control(file) for file in sorted(CONTROLS.glob("*.py")) if file.stem != "__init__"}


RECIPES = BUILT_IN | list_controls()
