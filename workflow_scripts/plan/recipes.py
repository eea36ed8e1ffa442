"""Recipes: the ways to come by networks, which the config's `arms` name.

One that makes a control from another network is a file in train/controls, and works without being named elsewhere. (Of
those that come with the workflow, the tests want an explanation in config.yaml.)
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE, ROLES
from workflow_scripts.plan.methods import PUBLISHED
from workflow_scripts.plan.source_files import constants_of, has_function, parse
from workflow_scripts.shared.files import UserError

INITIAL = "untrained"  # where the networks that trainings start from lie, unless an arm is made of them
CONTROLS = ROOT / "workflow_scripts" / "train" / "controls"
STARTS = {"untrained": "initial", "dense": "first"}  # what a control may be made from, and `Recipe.starts_from`
TRAINING = ("imp", "dense_early", "dense_small", "pruned", *PUBLISHED)  # those that train on pictures
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
    of: recipes of the arms that it may be `of`; empty for one that is of none, or of any.
    starts_from: the network of the same replicate that each of its own starts from: "first", level 0 of that arm;
        "initial", the one that trainings start from; or "", none.
    """

    role: str
    label: str
    of: tuple[str, ...] = ()
    starts_from: str = ""


BUILT_IN = {
    "imp": Recipe(CURVE, "iterative magnitude pruning"),
    "untrained": Recipe(BASELINE, "untrained", of=("imp", "brought")),
    "shuffled_labels": Recipe(BASELINE, "dense, labels shuffled", of=("imp", "brought"), starts_from="first"),
    "rotated": Recipe(BASELINE, "in a random basis"),
    "trained_twice": Recipe(REFERENCE, "dense, trained twice", of=("imp",), starts_from="first"),
    "imp_rewind0": Recipe(CURVE, "IMP, rewound to the start", of=("imp",), starts_from="first"),
    "lr_rewind": Recipe(CURVE, "learning-rate rewinding", of=("imp", "brought"), starts_from="first"),
    "finetune": Recipe(CURVE, "fine-tuning", of=("imp", "brought"), starts_from="first"),
    "oneshot": Recipe(CURVE, "one-shot magnitude, rewound", of=("imp",), starts_from="first"),
    "random_layerwise": Recipe(CURVE, "random masks, layer by layer", of=("imp",), starts_from="first"),
    "random_global": Recipe(CURVE, "random masks", of=("imp",), starts_from="first"),
    "reinit": Recipe(CURVE, "IMP's masks, new weights", of=("imp",), starts_from="first"),
    "structured": Recipe(CURVE, "whole filters, rewound", of=("imp",), starts_from="first"),
    "pruned": Recipe(CURVE, "", of=("imp", "brought"), starts_from="first"),
    "dense_again": Recipe(REFERENCE, "dense, another data order", of=("imp",), starts_from="first"),
    "dense_early": Recipe(REFERENCE, "dense, stopped early", of=("imp",), starts_from="first"),
    "dense_small": Recipe(REFERENCE, "dense, smaller", of=("imp",)),
    "brought": Recipe(CURVE, ""),
    "prune_once": Recipe(CURVE, "", of=("brought",), starts_from="first"),
}


def label_of(item: dict) -> str:
    """Return what figures call the arm that an item of the config's `arms` describes."""
    known = METHODS.get(item.get("method", ""), known_recipes()[item["recipe"]].label)
    return item.get("label") or known or item["name"].replace("_", " ")


def read_control(file: Path) -> Recipe:
    """Return the recipe that a file in train/controls is, from its constants; it is not run, for it imports torch.

    Raises:
        UserError: the file is no Python, lacks a constant or the function `make`, or has the name of another recipe.
    """
    tree = parse(file)
    constants = constants_of(tree)
    label, start, role = (constants.get(name) for name in ("LABEL", "STARTS_FROM", "ROLE"))
    if not isinstance(label, str) or not label:
        raise UserError(f'{file} has no LABEL: add what figures call the control, as LABEL = "dense, halved"')
    if start not in STARTS:
        raise UserError(f'{file}: write STARTS_FROM = "untrained" or "dense": the network that it is made from')
    if role not in (None, *ROLES):
        raise UserError(f"{file}: write ROLE as one of {', '.join(ROLES)}, or leave it out")
    if not has_function(tree, "make"):
        raise UserError(f"{file} makes nothing: add a function make, as docs/extending.md has it")
    if file.stem in BUILT_IN:
        raise UserError(f"{file}: {file.stem} is a recipe already: give the file another name")
    return Recipe(role or BASELINE, label, of=("imp",), starts_from=STARTS[start])


@cache
def known_recipes() -> dict[str, Recipe]:
    """Return all recipes by name, those that are files in train/controls last; UserError as `read_control`."""
    return BUILT_IN | {file.stem: read_control(file) for file in sorted(CONTROLS.glob("[!_]*.py"))}
