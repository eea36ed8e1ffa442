"""Recipes: the ways to obtain networks, for the config's `arms`.

A recipe that makes a control from another network is a file in train/controls, and needs no entry elsewhere. (The tests
require that config.yaml explains the recipes that come with the workflow.)
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE, ROLES
from workflow_scripts.plan.methods import PUBLISHED
from workflow_scripts.plan.source_files import constants_of, has_function, parse
from workflow_scripts.shared.files import UserError

INITIAL = "untrained"  # folder of the networks that trainings start from, unless an arm consists of them
CONTROLS = ROOT / "workflow_scripts" / "train" / "controls"
STARTS = {"untrained": "initial", "dense": "first"}  # what a control may be made from, as `Recipe.starts_from`
TRAINING = ("imp", "dense_early", "dense_small", "pruned", *PUBLISHED)  # recipes that train on pictures
METHODS = {  # of the recipe prune_once, and the names of its arms in figures
    "global": "one-shot, global magnitude",
    "layerwise": "one-shot, layerwise magnitude",
    "random": "one-shot, random",
    "structured": "one-shot, whole filters",
}


@dataclass(frozen=True)
class Recipe:
    """A way to obtain networks.

    role: the role of its arms, unless they give another.
    label: the name of its arms in figures, unless they give another; "" for their own names.
    what: what these networks are, for reports.
    of: recipes of the arms that it may be `of`; empty if it is `of` none, or may be `of` any.
    starts_from: the network of the same replicate that each of its networks starts from: "first", level 0 of the arm
        under `of`; "initial", the network that trainings start from; or "", none.
    """

    role: str
    label: str
    what: str
    of: tuple[str, ...] = ()
    starts_from: str = ""


BUILT_IN = {
    "imp": Recipe(
        CURVE,
        "iterative magnitude pruning",
        "in each round the smallest of the remaining weights are removed, and the others trained again from the rewind"
        " point",
    ),
    "untrained": Recipe(BASELINE, "untrained", "networks with initial weights", of=("imp", "brought")),
    "shuffled_labels": Recipe(
        BASELINE,
        "dense, labels shuffled",
        "the dense networks, dissected with the labels of other pictures; the accuracy is that of the dense networks",
        of=("imp", "brought"),
        starts_from="first",
    ),
    "rotated": Recipe(BASELINE, "in a random basis", "a layer's output, turned by a random rotation"),
    "trained_twice": Recipe(
        REFERENCE,
        "dense, trained twice",
        "the dense networks, trained for as long once more",
        of=("imp",),
        starts_from="first",
    ),
    "imp_rewind0": Recipe(
        CURVE,
        "IMP, rewound to the start",
        "like iterative magnitude pruning, but the weights go back to their initial values",
        of=("imp",),
        starts_from="first",
    ),
    "lr_rewind": Recipe(
        CURVE,
        "learning-rate rewinding",
        "like iterative magnitude pruning, but the weights keep their values and only the learning rate goes back",
        of=("imp", "brought"),
        starts_from="first",
    ),
    "finetune": Recipe(
        CURVE,
        "fine-tuning",
        "like iterative magnitude pruning, but the weights keep their values and are trained at one low learning rate",
        of=("imp", "brought"),
        starts_from="first",
    ),
    "oneshot": Recipe(
        CURVE,
        "one-shot magnitude, rewound",
        "like iterative magnitude pruning, but pruned in a single round",
        of=("imp",),
        starts_from="first",
    ),
    "random_layerwise": Recipe(
        CURVE,
        "random masks, layer by layer",
        "as many weights of each layer as with iterative magnitude pruning, at random places",
        of=("imp",),
        starts_from="first",
    ),
    "random_global": Recipe(
        CURVE,
        "random masks",
        "as many weights in all as with iterative magnitude pruning, at random places",
        of=("imp",),
        starts_from="first",
    ),
    "reinit": Recipe(
        CURVE,
        "IMP's masks, new weights",
        "the masks of iterative magnitude pruning, other initial weights",
        of=("imp",),
        starts_from="first",
    ),
    "structured": Recipe(
        CURVE,
        "whole filters, rewound",
        "like iterative magnitude pruning, but whole filters are removed",
        of=("imp",),
        starts_from="first",
    ),
    "pruned": Recipe(
        CURVE, "", "mask, weights and schedule as the config combines them", of=("imp", "brought"), starts_from="first"
    ),
    "dense_again": Recipe(
        REFERENCE,
        "dense, another data order",
        "the dense networks, trained again from the rewind point with the pictures in another order",
        of=("imp",),
        starts_from="first",
    ),
    "dense_early": Recipe(
        REFERENCE,
        "dense, stopped early",
        "the dense networks at an earlier epoch of their training",
        of=("imp",),
        starts_from="first",
    ),
    "dense_small": Recipe(
        REFERENCE, "dense, smaller", "dense networks with fewer channels before the dissected layers", of=("imp",)
    ),
    "brought": Recipe(CURVE, "", "networks from files"),
    "prune_once": Recipe(
        CURVE, "", "a network from a file, pruned without training", of=("brought",), starts_from="first"
    ),
}


def label_of(item: dict) -> str:
    """Return the name in figures of the arm that an item of the config's `arms` describes."""
    known = METHODS.get(item.get("method", ""), known_recipes()[item["recipe"]].label)
    return item.get("label") or known or item["name"].replace("_", " ")


def read_control(file: Path) -> Recipe:
    """Return the recipe that a file in train/controls defines, from its constants; it is not run: it imports torch.

    Raises:
        UserError: the file is not Python, lacks a constant or the function `make`, or has the name of another recipe.
    """
    tree = parse(file)
    constants = constants_of(tree)
    label, start, role = (constants.get(name) for name in ("LABEL", "STARTS_FROM", "ROLE"))
    if not isinstance(label, str) or not label:
        raise UserError(f'{file} has no LABEL: add its name in figures, such as LABEL = "dense, halved"')
    if start not in STARTS:
        raise UserError(f'{file}: write STARTS_FROM = "untrained" or "dense", the network that it is made from')
    if role not in (None, *ROLES):
        raise UserError(f"{file}: write ROLE as one of {', '.join(ROLES)}, or leave it out")
    if not has_function(tree, "make"):
        raise UserError(f"{file} makes nothing: add a function make, as in docs/extending.md")
    if file.stem in BUILT_IN:
        raise UserError(f"{file}: there is already a recipe {file.stem}: give the file another name")
    summary = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split()).removesuffix(".")
    what = summary if summary[1:2].isupper() else summary[:1].lower() + summary[1:]
    return Recipe(role or BASELINE, label, what, of=("imp",), starts_from=STARTS[start])


@cache
def known_recipes() -> dict[str, Recipe]:
    """Return all recipes by name, those in train/controls last; raises as `read_control` does."""
    return BUILT_IN | {file.stem: read_control(file) for file in sorted(CONTROLS.glob("[!_]*.py"))}
