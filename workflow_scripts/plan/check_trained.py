"""Checks of arms that are pruned and trained here against the rest of the config."""

import re
from collections.abc import Iterator
from dataclasses import replace

from workflow_scripts.plan.methods import IMP, MASKS, OF_MASKS, OF_TRAINING, Method, method_of
from workflow_scripts.plan.trained import RESEEDED, last_rate, levels_wanted

SMALL_RESNET = "workflow_scripts.networks.architectures:small_resnet"
DENSE = [Method("all", "straight", *start) for start in (("rewound", "continued"), ("initial", "whole"))]
# The methods of recipes that are made by other rules.
OTHERS = {"imp": IMP, "trained_twice": Method("all", "straight", "kept", "whole")}
STAGE = re.compile(r"stages\.(\d+)$")  # a layer of the small network, with as many units as the stage's width


def trained_mistakes(config: dict) -> Iterator[str]:
    """Yield mistakes in arms of pruned and of dense networks, each in a sentence; each item is valid by itself."""
    recipes = {item["name"]: item["recipe"] for item in config["arms"]}
    for item in config["arms"]:
        if item["recipe"] == "dense_early":
            yield from early_mistakes(item, config)
        elif item["recipe"] == "dense_small":
            yield from width_mistakes(item, config)
        elif method := method_of(item):
            # Which arms may be the `of` of a published recipe is checked with the arms' names.
            brought = item["recipe"] == "pruned" and recipes.get(item["of"]) == "brought"
            yield from method_mistakes(item, method, brought)
            yield from level_mistakes(item, method, config)
            yield from rate_mistakes(item, method, config["training"])
            yield from seed_mistakes(item, method, config["replicates"], recipes.get(item["of"]) == "brought")
    yield from twins(config)


def method_mistakes(item: dict, method: Method, brought: bool) -> Iterator[str]:
    """Yield a sentence for choices that contradict each other."""
    name = f"arms.{item['name']}"
    if method.mask == "all" and "levels" in item:
        yield f"{name}.levels: with mask: all nothing is pruned, so there are no levels: leave it out"
    if method.mask.startswith("shuffled") and method.rounds == "iterative":
        yield f"{name}.rounds: masks at random places are drawn anew at each level: write straight"
    if brought and method.mask in OF_MASKS:
        yield (
            f"{name}.mask is {method.mask}, which needs the masks of an arm of the recipe imp: write one of"
            f" {', '.join(mask for mask in MASKS if mask not in OF_MASKS)}"
        )
    if brought and method.weights in OF_TRAINING:
        yield (
            f"{name}.weights: the weights cannot go back to the training of {item['of']}, which is unknown: write kept"
            " or fresh"
        )


def level_mistakes(item: dict, method: Method, config: dict) -> Iterator[str]:
    """Yield a sentence for levels that are impossible."""
    if method.mask == "all":
        return
    wanted, last = levels_wanted(item, config), config["pruning"]["levels"]
    if wanted and wanted[-1] > last:
        yield (
            f"arms.{item['name']}.levels has {wanted[-1]}, but pruning.levels is {last}: there is no such level to take"
            " masks and densities from; leave it out, or raise pruning.levels"
        )
    elif method.rounds == "iterative" and wanted != list(range(1, len(wanted) + 1)):
        yield (
            f"arms.{item['name']}.levels: each round prunes the network of the round before it: write all levels from 1"
            f" on, {list(range(1, wanted[-1] + 1))}"
        )


def rate_mistakes(item: dict, method: Method, training: dict) -> Iterator[str]:
    """Yield a sentence for a rate that is missing or has no use."""
    name = f"arms.{item['name']}"
    if method.schedule != "constant":
        if "rate" in item:
            yield f"{name}.rate needs the schedule constant, but this one is {method.schedule}: leave it out"
    elif "rate" not in item and last_rate(training) is None:
        end = "a cosine ends at 0" if training["schedule"] == "cosine" else "no milestone lowers the peak"
        yield (
            f"{name}.rate is missing: {end}, so the schedule has no low rate to continue with; write one, such as rate:"
            f" {training['learning_rate'] / 100:g}"
        )


def seed_mistakes(item: dict, method: Method, replicates: list[int], brought: bool) -> Iterator[str]:
    """Yield a sentence for a seed that has no use, or draws weights that a replicate's dense network started from."""
    name = f"arms.{item['name']}.seed"
    if "seed" in item and method.weights != "fresh" and not method.mask.startswith("shuffled"):
        yield f"{name} needs fresh weights or masks at random places, but this arm has neither: leave it out"
    if method.weights != "fresh" or brought:
        return
    seed = item.get("seed", RESEEDED)
    taken = [replicate for replicate in replicates if seed + replicate in replicates]
    if taken:
        yield (
            f"{name} is {seed}, so replicate {taken[0]} would get the weights that replicate {seed + taken[0]} started"
            f" from: write a number above {max(replicates)}"
        )


def twins(config: dict) -> Iterator[str]:
    """Yield a sentence for each arm that would repeat another arm's networks, or the dense ones, bit for bit."""
    names: dict[tuple, str] = {}
    for item in config["arms"]:
        method = OTHERS.get(item["recipe"]) or method_of(item)
        if method is None:
            listed = {"dense_early": "epochs", "dense_small": "arguments"}.get(item["recipe"])
            keys = [(item["recipe"], repr(value)) for value in item.get(listed, [])]
            if others := others_of(item["name"], keys, names):
                yield (
                    f"arms.{item['name']}.{listed} repeats networks of {others[0]}: leave them out, or put both lists"
                    " into one arm"
                )
            continue
        method = plainest(method, config["pruning"]["rewind_epoch"])
        levels = [0] if method.mask == "all" else levels_wanted(item, config)
        keys = [(level, method, *settings_of(item, method, config["training"])) for level in levels]
        others = others_of(item["name"], keys, names)
        if method in DENSE:
            yield (
                f"arms.{item['name']} would repeat the dense network bit for bit: write another order of the data,"
                " order: 1"
            )
        elif others:
            yield (
                f"arms.{item['name']} would repeat the networks of {others[0]} bit for bit: leave it out, or give it"
                " another order of the data or, if anything is drawn, another seed"
            )


def others_of(name: str, keys: list[tuple], names: dict[tuple, str]) -> list[str]:
    """Return the arms that already have networks with these keys; the other keys are recorded for `name`."""
    return [other for key in keys if (other := names.setdefault(key, name)) != name]


def plainest(method: Method, rewind_epoch: int) -> Method:
    """Return one method for all methods that give the same networks."""
    if rewind_epoch == 0:  # the rewind point is the start, so the rest of the schedule is the whole of it
        weights, schedule = {"initial": "rewound"}, {"whole": "continued"}
        method = replace(
            method,
            weights=weights.get(method.weights, method.weights),
            schedule=schedule.get(method.schedule, method.schedule),
        )
    if method.mask == "all" or (method.mask == "same" and method.weights != "kept"):
        method = replace(method, rounds="straight")  # nothing depends on the round before
    if replace(method, order=0) == Method("same", "straight", "rewound", "continued"):
        method = replace(IMP, order=method.order)
    return method


def settings_of(item: dict, method: Method, training: dict) -> tuple:
    """Return what else networks of a method depend on: their `of`, the seeds and the rate, with defaults filled in."""
    places = item.get("seed", 0) if method.mask.startswith("shuffled") else None
    weights = item.get("seed", RESEEDED) if method.weights == "fresh" else None
    rate = item.get("rate", last_rate(training)) if method.schedule == "constant" else None
    return item.get("of", item["name"]), places, weights, rate


def early_mistakes(item: dict, config: dict) -> Iterator[str]:
    """Yield a sentence for epochs that are not between the rewind point and the end of the dense training."""
    first, last = config["pruning"]["rewind_epoch"] + 1, config["training"]["epochs"] - 1
    outside = [epoch for epoch in item["epochs"] if not first <= epoch <= last]
    if first > last:
        yield (
            f"arms.{item['name']}.epochs: there is no epoch between pruning.rewind_epoch and training.epochs: raise"
            " training.epochs, or leave the arm out"
        )
    elif outside:
        yield (
            f"arms.{item['name']}.epochs has {', '.join(map(str, outside))}: write numbers from {first} to {last},"
            " after pruning.rewind_epoch and before training.epochs"
        )


def width_mistakes(item: dict, config: dict) -> Iterator[str]:
    """Yield a sentence for arguments that change nothing, or widths that change a dissected layer's number of units.

    For networks other than the small one, a job checks the latter.
    """
    network = config["network"]
    widths = network["arguments"].get("widths")
    seen = [network["arguments"]]
    for arguments in item["arguments"]:
        seen.append(network["arguments"] | arguments)
        if seen[-1] in seen[:-1]:
            yield f"arms.{item['name']}.arguments: {arguments} make a network that already exists: leave them out"
        own = arguments.get("widths", widths)
        if network["constructor"] != SMALL_RESNET or not isinstance(own, list):
            continue
        for layer in config["dissection"]["layers"]:
            if not (match := STAGE.match(layer)) or (stage := int(match[1])) >= min(len(own), len(widths)):
                continue
            if own[stage] != widths[stage]:
                yield (
                    f"arms.{item['name']}.arguments: widths {own} change {layer}, which is dissected, but counts of"
                    f" units are only comparable if layers have equally many; write {widths[stage]} for it, and fewer"
                    " channels for other stages or for inner"
                )
