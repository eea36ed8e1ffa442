"""Checks of arms that are pruned and trained here, which the rest of the config has to allow."""

import re
from collections.abc import Iterator
from dataclasses import replace

from workflow_scripts.plan.methods import IMP, MASKS, OF_MASKS, OF_TRAINING, Method, method_of
from workflow_scripts.plan.trained import RESEEDED, last_rate, levels_wanted

SMALL_RESNET = "workflow_scripts.networks.architectures:small_resnet"
DENSE = [Method("all", "straight", *start) for start in (("rewound", "continued"), ("initial", "whole"))]
# Of recipes that are made by other rules.
OTHERS = {"imp": IMP, "trained_twice": Method("all", "straight", "kept", "whole")}
STAGE = re.compile(r"stages\.(\d+)$")  # a layer of the small network whose units are the stage's width


def trained_mistakes(config: dict) -> Iterator[str]:
    """Yield what is wrong with arms of pruning and of dense networks, a sentence each; each item is right by itself."""
    recipes = {item["name"]: item["recipe"] for item in config["arms"]}
    for item in config["arms"]:
        if item["recipe"] == "dense_early":
            yield from early_mistakes(item, config)
        elif item["recipe"] == "dense_small":
            yield from width_mistakes(item, config)
        elif method := method_of(item):
            # Which arms a published recipe may be of is checked with the arms' names.
            brought = item["recipe"] == "pruned" and recipes.get(item["of"]) == "brought"
            yield from method_mistakes(item, method, brought)
            yield from level_mistakes(item, method, config)
            yield from rate_mistakes(item, method, config["training"])
            yield from seed_mistakes(item, method, config["replicates"], recipes.get(item["of"]) == "brought")
    yield from twins(config)


def method_mistakes(item: dict, method: Method, brought: bool) -> Iterator[str]:
    """Yield the choices that do not go together."""
    name = f"arms.{item['name']}"
    if method.mask == "all" and "levels" in item:
        yield f"{name}.levels: with mask: all nothing is pruned, and there are no levels: leave it out"
    if method.mask.startswith("shuffled") and method.rounds == "iterative":
        yield f"{name}.rounds: masks at random places are drawn anew at each level: write straight"
    if brought and method.mask in OF_MASKS:
        yield (
            f"{name}.mask is {method.mask}, which needs masks of an arm of the recipe imp: write one of"
            f" {', '.join(mask for mask in MASKS if mask not in OF_MASKS)}"
        )
    if brought and method.weights in OF_TRAINING:
        yield f"{name}.weights: the training of {item['of']}, to go back to, is not known: write kept or fresh"


def level_mistakes(item: dict, method: Method, config: dict) -> Iterator[str]:
    """Yield the levels that there cannot be."""
    if method.mask == "all":
        return
    wanted, last = levels_wanted(item, config), config["pruning"]["levels"]
    if wanted and wanted[-1] > last:
        yield (
            f"arms.{item['name']}.levels has {wanted[-1]}, and pruning.levels is {last}: there is no such level to take"
            " masks and densities of; leave it out, or raise pruning.levels"
        )
    elif method.rounds == "iterative" and wanted != list(range(1, len(wanted) + 1)):
        yield (
            f"arms.{item['name']}.levels: each round prunes the one before it: write all from 1 on,"
            f" {list(range(1, wanted[-1] + 1))}"
        )


def rate_mistakes(item: dict, method: Method, training: dict) -> Iterator[str]:
    """Yield a rate that is missing, or is of no use."""
    name = f"arms.{item['name']}"
    if method.schedule != "constant":
        if "rate" in item:
            yield f"{name}.rate is of the schedule constant, and this one is {method.schedule}: leave it out"
    elif "rate" not in item and last_rate(training) is None:
        end = "a cosine ends at 0" if training["schedule"] == "cosine" else "no milestone lowers the peak"
        yield (
            f"{name}.rate is missing: {end}, and the schedule has no low rate to go on with; write one, such as"
            f" rate: {training['learning_rate'] / 100:g}"
        )


def seed_mistakes(item: dict, method: Method, replicates: list[int], brought: bool) -> Iterator[str]:
    """Yield a seed that is of no use, or draws the weights that a replicate's dense network started from."""
    name = f"arms.{item['name']}.seed"
    if "seed" in item and method.weights != "fresh" and not method.mask.startswith("shuffled"):
        yield f"{name} is of fresh weights and of masks at random places, and this arm has neither: leave it out"
    if method.weights != "fresh" or brought:
        return
    seed = item.get("seed", RESEEDED)
    taken = [replicate for replicate in replicates if seed + replicate in replicates]
    if taken:
        yield (
            f"{name} is {seed}: with it replicate {taken[0]} would get the weights that replicate"
            f" {seed + taken[0]} started from; write a number above {max(replicates)}"
        )


def twins(config: dict) -> Iterator[str]:
    """Yield the arms that would be another arm's networks, or the dense ones, once more, to the bit."""
    names: dict[tuple, str] = {}
    for item in config["arms"]:
        method = OTHERS.get(item["recipe"]) or method_of(item)
        if method is None:
            listed = {"dense_early": "epochs", "dense_small": "arguments"}.get(item["recipe"])
            keys = [(item["recipe"], repr(value)) for value in item.get(listed, [])]
            if others := others_of(item["name"], keys, names):
                yield (
                    f"arms.{item['name']}.{listed} has networks of {others[0]} once more: leave them out, or put both"
                    " lists into one arm"
                )
            continue
        method = plainest(method, config["pruning"]["rewind_epoch"])
        levels = [0] if method.mask == "all" else levels_wanted(item, config)
        keys = [(level, method, *settings_of(item, method, config["training"])) for level in levels]
        others = others_of(item["name"], keys, names)
        if method in DENSE:
            yield (
                f"arms.{item['name']} would be the dense network once more, to the bit: write another order of the"
                " data, order: 1"
            )
        elif others:
            yield (
                f"arms.{item['name']} would be the networks of {others[0]} once more, to the bit: leave it out, or let"
                " it differ: by a seed, if anything is drawn, or by order, of the data"
            )


def others_of(name: str, keys: list[tuple], names: dict[tuple, str]) -> list[str]:
    """Return the arms that have networks of these keys already; the others are put down as those of `name`."""
    return [other for key in keys if (other := names.setdefault(key, name)) != name]


def plainest(method: Method, rewind_epoch: int) -> Method:
    """Return one method for all those that come to the same networks, whatever words they have."""
    if rewind_epoch == 0:  # the rewind point is the start, and the schedule from there on the whole
        weights, schedule = {"initial": "rewound"}, {"whole": "continued"}
        method = replace(
            method,
            weights=weights.get(method.weights, method.weights),
            schedule=schedule.get(method.schedule, method.schedule),
        )
    if method.mask == "all" or (method.mask == "same" and method.weights != "kept"):
        method = replace(method, rounds="straight")  # nothing is of the round before
    if replace(method, order=0) == Method("same", "straight", "rewound", "continued"):
        method = replace(IMP, order=method.order)
    return method


def settings_of(item: dict, method: Method, training: dict) -> tuple:
    """Return what else networks of a method depend on: what they are of, the seeds and the rate, also by default."""
    places = item.get("seed", 0) if method.mask.startswith("shuffled") else None
    weights = item.get("seed", RESEEDED) if method.weights == "fresh" else None
    rate = item.get("rate", last_rate(training)) if method.schedule == "constant" else None
    return item.get("of", item["name"]), places, weights, rate


def early_mistakes(item: dict, config: dict) -> Iterator[str]:
    """Yield the epochs that the dense training does not pass after the rewind point."""
    first, last = config["pruning"]["rewind_epoch"] + 1, config["training"]["epochs"] - 1
    outside = [epoch for epoch in item["epochs"] if not first <= epoch <= last]
    if first > last:
        yield (
            f"arms.{item['name']}.epochs: there is none between pruning.rewind_epoch and training.epochs: raise"
            " training.epochs, or leave the arm out"
        )
    elif outside:
        yield (
            f"arms.{item['name']}.epochs has {', '.join(map(str, outside))}: write numbers from {first} to {last},"
            " after pruning.rewind_epoch and before training.epochs"
        )


def width_mistakes(item: dict, config: dict) -> Iterator[str]:
    """Yield arguments that change nothing, and widths that change the number of a dissected layer's units.

    Of other networks than the small one a job tells the latter.
    """
    network = config["network"]
    widths = network["arguments"].get("widths")
    seen = [network["arguments"]]
    for arguments in item["arguments"]:
        seen.append(network["arguments"] | arguments)
        if seen[-1] in seen[:-1]:
            yield f"arms.{item['name']}.arguments: {arguments} make a network that there is already: leave them out"
        own = arguments.get("widths", widths)
        if network["constructor"] != SMALL_RESNET or not isinstance(own, list):
            continue
        for layer in config["dissection"]["layers"]:
            if not (match := STAGE.match(layer)) or (stage := int(match[1])) >= min(len(own), len(widths)):
                continue
            if own[stage] != widths[stage]:
                yield (
                    f"arms.{item['name']}.arguments: widths {own} change {layer}, which is dissected: counts of units"
                    f" only compare where there are as many; write {widths[stage]} for it, and fewer channels for other"
                    " stages or for inner"
                )
