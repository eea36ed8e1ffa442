"""The networks of arms that are pruned and trained here: which there are, and what each is made from."""

from collections.abc import Iterator
from dataclasses import replace

from workflow_scripts.plan.designs import Design, with_source
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.methods import IMP, OF_TRAINING, Method
from workflow_scripts.plan.networks import Network
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.sizes import size_text

RESEEDED = 1000  # seeds of fresh weights are this much above the replicate's number, unless the arm gives another seed


def iterative(name: str, config: dict, design: Design, initial: str) -> Iterator[Network]:
    """Yield the dense network of each replicate, and its levels of iterative magnitude pruning; see `pruned`."""
    for replicate in config["replicates"]:
        parent = Key(initial, replicate, 0)
        dense = Network(Key(name, replicate, 0), design, "train_dense", "imp", parent=parent, density=1.0)
        yield dense
        yield from levels_of({"name": name, "recipe": "imp"}, IMP, dense, config, initial)


def pruned(item: dict, method: Method, dense: list[Network], config: dict, initial: str) -> Iterator[Network]:
    """Yield the networks of a pruned arm, by replicate and level.

    Args:
        item: the item of the config's `arms`.
        method: how the arm is pruned.
        dense: the network of each replicate that is pruned.
        config: the whole config.
        initial: the arm whose networks the dense ones start from.
    """
    for first in dense:
        key = Key(item["name"], first.key.replicate, 0)
        if method.mask == "all":
            yield trained(item, method, key, first, config, initial)
        else:
            yield Network(key, first.design, made_by="", recipe=item["recipe"], parent=first.key, density=first.density)
            yield from levels_of(item, method, first, config, initial)


def require_pictures(item: dict, dense: list[Network], config: dict) -> None:
    """Raise UserError if the pictures do not suit users' networks that should be trained on them."""
    if not dense or dense[0].design.is_trained:  # empty if mistakes in them have already been reported
        return
    design = dense[0].design
    size = design.preprocessing["size"]
    begin = f"arms.{item['name']} trains networks of the arm {item['of']}"
    if not isinstance(size, int):
        raise UserError(
            f"{begin}, whose preprocessing.size is {size_text(size)}, but training pictures are square: leave that arm"
            " out"
        )
    if size != config["images"]["size"]:
        raise UserError(f"{begin}, which take pictures of {size} pixels: set images.size to that number")
    if design.class_order not in (None, "text"):
        raise UserError(
            f"{begin}, whose class_order is {design.class_order}, but training pictures have their classes in the order"
            " of text: rename their folders so that both agree, and leave class_order out"
        )


def levels_of(item: dict, method: Method, dense: Network, config: dict, initial: str) -> Iterator[Network]:
    """Yield the levels of an arm's replicate that come after the dense network."""
    for level in levels_wanted(item, config):
        yield trained(item, method, Key(item["name"], dense.key.replicate, level), dense, config, initial)


def levels_wanted(item: dict, config: dict) -> list[int]:
    """Return the levels that an arm has besides the dense network, which is level 0."""
    return sorted(item.get("levels", range(1, config["pruning"]["levels"] + 1)))


def trained(item: dict, method: Method, key: Key, dense: Network, config: dict, initial: str) -> Network:
    """Return one network of an arm, which is pruned and then trained."""
    pruning, replicate, level = config["pruning"], key.replicate, key.level
    own_chain = method.rounds == "iterative" and level > 1
    parent = key._replace(level=level - 1) if own_chain else dense.key
    needs = {"parent": (parent, "network.pt")}
    choices = {"mask": method.mask, "weights": method.weights, **exempt(pruning)}
    if method.weights in OF_TRAINING:
        needs["rewind"] = (dense.key, "rewind.pt")
    if method.weights == "initial":
        needs["initial"] = (Key(initial, replicate, 0), "network.pt")
    if method.mask != "all":
        if dense.recipe == "imp" and not (method.mask == "global" and method.rounds == "iterative"):
            needs["like"] = (Key(dense.key.arm, replicate, level), "network.pt")
        else:
            choices["fraction"] = pruning["fraction"]
            choices |= {"rounds": level} if method.rounds == "straight" else {}
    if method.mask.startswith("shuffled"):
        choices["mask_seed"] = [item.get("seed", 0), level, replicate]
    if method.weights == "fresh":
        choices["seed"] = item.get("seed", RESEEDED) + replicate
    choices["from_epoch"] = 0 if method.schedule == "whole" else pruning["rewind_epoch"]
    if method.schedule == "constant":
        choices["constant_rate"] = item.get("rate", last_rate(config["training"]))
    if method.order:
        choices["order"] = method.order
    return Network(
        key,
        dense.design,
        made_by="train_level",
        recipe=item["recipe"],
        parent=parent,
        density=(1 - pruning["fraction"]) ** level if dense.recipe == "imp" and method.mask != "structured" else None,
        choices=choices,
        needs=needs,
    )


def exempt(pruning: dict) -> dict:
    """Return the argument for layers that are never pruned, if there are any."""
    return {"exempt": pruning["exempt"]} if pruning["exempt"] else {}


def last_rate(training: dict) -> float | None:
    """Return the last learning rate of a schedule with milestones; None if a schedule ends at 0 or at its peak."""
    if training["schedule"] == "cosine":
        return None
    passed = sum(milestone < training["epochs"] for milestone in training["milestones"])
    return training["learning_rate"] * training["gamma"] ** passed if passed else None


def early(item: dict, dense: list[Network], rewind_epoch: int) -> Iterator[Network]:
    """Yield the dense networks after some of their epochs; the level is the number of epochs.

    They are trained again from the rewind point. Their states equal those of the dense training bit for bit, so that
    training need not keep its states, nor be repeated for an epoch that is added later.
    """
    for first in dense:
        for epoch in sorted(item["epochs"]):
            yield Network(
                Key(item["name"], first.key.replicate, epoch),
                first.design,
                made_by="train_level",
                recipe=item["recipe"],
                parent=first.key,
                density=1.0,
                choices={"mask": "all", "weights": "rewound", "from_epoch": rewind_epoch, "until_epoch": epoch},
                needs={"parent": (first.key, "network.pt"), "rewind": (first.key, "rewind.pt")},
            )


def smaller(item: dict, config: dict, design: Design) -> Iterator[Network]:
    """Yield smaller networks, trained with all their weights, with a level for each set of arguments."""
    for level, arguments in enumerate(item["arguments"], 1):
        settings = with_source(config["network"] | {"arguments": config["network"]["arguments"] | arguments})
        own = replace(design, settings=settings, suffix=f"_{item['name']}.0.{level}")
        for replicate in config["replicates"]:
            yield Network(
                Key(item["name"], replicate, level),
                own,
                made_by="train_level",
                recipe=item["recipe"],
                choices={
                    **{"mask": "all", "weights": "fresh", "seed": replicate, "from_epoch": 0},
                    **exempt(config["pruning"]),
                },
            )
