"""Keys that configs had in earlier versions: what to write instead."""

from collections.abc import Iterator
from typing import TypeGuard

from workflow_scripts.plan.schema import Place, written

ARCHITECTURES = {
    "small_resnet": "workflow_scripts.networks.architectures:small_resnet",
    "resnet50": "torchvision.models:resnet50",
}
ARGUMENTS = ("widths", "blocks", "strides", "stem_kernel", "stem_stride")  # of small_resnet
FLOORS = ("untrained", "shuffled_labels")
RATES = ("draw", "thresholds", "tally", "tiles")


def old_keys(config: dict) -> Iterator[tuple[Place, str]]:
    """Yield the places of keys that no longer exist, with a sentence for each; several may share a sentence."""
    if "controls" in config:
        yield (
            ("controls",),
            f"controls is no longer a key: list the arms that you want, as in arms: {written(with_controls(config))}",
        )
    if "networks" in config and not config["networks"]:
        yield ("networks",), "networks is no longer a key: leave it out"
    elif "networks" in config:
        yield (
            ("networks",),
            "networks is no longer a key: write each of them under arms, with recipe: brought and its other keys as"
            f" they are, and its baselines beside it, as in arms: {written(brought_arms(config))}",
        )
    if "one_shot" in config and not methods_of(config["one_shot"]):
        yield ("one_shot",), "one_shot is no longer a key: leave it out"
    elif "one_shot" in config:
        yield (
            ("one_shot",),
            f"one_shot is no longer a key: write an arm for each method, as in arms: {written(pruned_arms(config))}",
        )
    network = config.get("network")
    if isinstance(network, dict):
        yield from old_network_keys(network)
    rates = config.get("rates")
    if isinstance(rates, dict) and (old := [key for key in RATES if key in rates]):
        are = "are no longer keys: delete them" if old[1:] else "is no longer a key: delete it"
        sentence = f"{enumerated([f'rates.{key}' for key in old])} {are}"
        for key in old:
            yield ("rates", key), sentence
    arms = config.get("arms")
    for index, arm in enumerate(arms if isinstance(arms, list) else []):
        if isinstance(arm, dict) and "floors" in arm:
            name, floors = arm.get("name", "NAME"), floors_of(arm)
            beside = written([baseline(name, floor) for floor in floors]) if floors else "none here"
            yield (
                ("arms", index, "floors"),
                f"arms.{name}.floors is no longer a key: baselines are separate arms, {beside}",
            )


def old_network_keys(network: dict) -> Iterator[tuple[Place, str]]:
    """Yield the same for the section `network`."""
    if "architecture" in network:
        constructor = ARCHITECTURES.get(str(network["architecture"]), "package.module:function")
        yield (
            ("network", "architecture"),
            "network.architecture is no longer a key: name the function that makes the network, as in network:"
            f" {written({'constructor': constructor})}",
        )
    if arguments := {key: network[key] for key in ARGUMENTS if key in network}:
        keys = enumerated([f"network.{key}" for key in arguments])
        sentence = f"{keys} belong under network.arguments: write network: {written({'arguments': arguments})}"
        for key in arguments:
            yield ("network", key), sentence


def enumerated(keys: list[str]) -> str:
    """Return the names of keys, joined as in a sentence."""
    return " and ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))


def with_controls(config: dict) -> list[dict]:
    """Return the arms that `controls` meant."""
    controls = config["controls"] if isinstance(config["controls"], list) else ["untrained"]
    return [{"name": "imp", "recipe": "imp"}, *({"name": c, "recipe": c, "of": "imp"} for c in controls)]


def brought_arms(config: dict) -> list[dict]:
    """Return the names and recipes of the arms that `networks` meant."""
    arms: dict[str, dict] = {}
    for entry in old_entries(config):
        name = entry["name"]
        arms[name] = {"name": name, "recipe": "brought"}
        arms |= {f"{name}_{floor}": baseline(name, floor) for floor in floors_of(entry)}
    return list(arms.values())


def pruned_arms(config: dict) -> list[dict]:
    """Return the arms that `one_shot` meant."""
    one_shot = config["one_shot"] if isinstance(config["one_shot"], dict) else {}
    densities = one_shot.get("densities", [0.5, 0.25, 0.12, 0.06, 0.03])
    exempt = {"exempt": one_shot["exempt"]} if one_shot.get("exempt") else {}
    return [
        {"name": f"{name}_{method}", "recipe": "prune_once", "of": name, "method": method, "densities": densities}
        | exempt
        for name in dict.fromkeys(entry["name"] for entry in old_entries(config))
        for method in methods_of(one_shot)
    ]


def methods_of(one_shot: object) -> list:
    """Return the methods of `one_shot`, or one as an example."""
    methods = one_shot.get("methods") if isinstance(one_shot, dict) else None
    return methods if is_list(methods) else ["global"]


def old_entries(config: dict) -> list[dict]:
    """Return the entries of `networks` that have a name, or one as an example."""
    networks = config.get("networks")
    named = (
        [entry for entry in networks if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
        if is_list(networks)
        else []
    )
    return named or [{"name": "NAME"}]


def floors_of(entry: dict) -> list[str]:
    """Return the baselines under `floors` of an entry of `networks`."""
    return entry["floors"] if is_list(entry.get("floors")) else list(FLOORS)


def baseline(name: object, floor: object) -> dict:
    """Return the arm for a baseline that was listed under `floors`."""
    return {"name": f"{name}_{floor}", "recipe": floor, "of": name}


def is_list(value: object) -> TypeGuard[list]:
    """Tell whether a value is a list."""
    return isinstance(value, list)
