"""Arms: the ways to obtain networks that the config's `arms` list, and the networks of each arm."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from graphlib import TopologicalSorter
from itertools import islice

from workflow_scripts.plan.brought import has_levels_of_their_own, read_brought
from workflow_scripts.plan.designs import Design, trained_design
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.methods import method_of
from workflow_scripts.plan.mistakes import Attempts, require_none
from workflow_scripts.plan.networks import Network
from workflow_scripts.plan.recipes import INITIAL, known_recipes, label_of
from workflow_scripts.plan.rotations import RECIPE as ROTATED
from workflow_scripts.plan.trained import early, iterative, pruned, require_pictures, smaller
from workflow_scripts.shared.files import UserError

MOST_NETWORKS = 10_000  # of an experiment: each has several jobs, which Snakemake plans before any of them runs


@dataclass(frozen=True)
class Arm:
    """A row of arms.csv.

    role: "curve", "baseline" or "reference".
    base: the arm that it is compared with or pruned from; its own name if there is none.
    starts_from: the arm whose networks its networks start from, or "".
    label: its name in figures, without its base.
    same_units: unit n of a level descends from unit n of the level before.
    """

    name: str
    base: str
    role: str
    recipe: str
    starts_from: str
    label: str
    same_units: bool = True

    @property
    def row(self) -> dict:
        """The row, by column."""
        row = asdict(self)
        return {"arm": row.pop("name")} | row


def read_arms(config: dict) -> tuple[list[Arm], dict[Key, Network]]:
    """Return the arms of a checked config, in its order, and the networks that are dissected, by their keys.

    Raises:
        UserError: as in `read_brought`, for all arms at once; or there are too many networks.
    """
    items: dict[str, list[dict]] = {}
    for item in config["arms"]:
        items.setdefault(item["name"], []).append(item)
    trained = trained_design(config)
    bases = {name: items[name][0].get("of", name) for name in items}
    of_arms: dict[str, list[Network]] = {}
    attempts = Attempts()
    for name in TopologicalSorter({name: {base} - {name} for name, base in bases.items()}).static_order():
        of_arms[name] = attempts(networks_of, items[name], of_arms.get(bases[name], []), config, trained) or []
        require_few(sum(map(len, of_arms.values())))
    require_none(attempts.sentences, "config: ")
    arms = [arm_of(items[name][0], of_arms[name], config) for name in items]
    return arms, {network.key: network for name in items for network in of_arms[name]}


def arm_of(item: dict, networks: list[Network], config: dict) -> Arm:
    """Return the row of an arm that the config's item describes."""
    recipe = known_recipes()[item["recipe"]]
    base = item.get("of", item["name"])
    method = method_of(item)
    drawn_anew = method is not None and method.weights == "fresh"  # at each level
    return Arm(
        name=item["name"],
        base=base,
        role=item.get("role", recipe.role),
        recipe=item["recipe"],
        starts_from={"first": base, "initial": initial_arm(config), "": ""}[recipe.starts_from],
        label=label_of(item),
        same_units=not drawn_anew and not has_levels_of_their_own(networks),
    )


def networks_of(items: list[dict], base: list[Network], config: dict, trained: Design) -> list[Network]:
    """Return the networks of an arm, by replicate and level; `base` are the networks of the arm under `of`."""
    item = items[0]
    name, recipe = item["name"], item["recipe"]
    if recipe == "brought":
        return read_brought(name, items)
    if recipe == "imp":
        return some(iterative(name, config, trained, initial_arm(config)))
    if recipe == ROTATED:
        return []
    firsts = first_networks(base)
    if recipe == "dense_early":
        return some(early(item, firsts, config["pruning"]["rewind_epoch"]))
    if recipe == "dense_small":
        return some(smaller(item, config, trained))
    if method := method_of(item):
        require_pictures(item, firsts, config)
        return some(pruned(item, method, firsts, config, initial_arm(config)))
    if recipe == "shuffled_labels":
        return [
            Network(
                Key(name, first.key.replicate, 0),
                first.design,
                made_by="",
                recipe=recipe,
                parent=first.key,
                shuffled=True,
            )
            for first in firsts
        ]
    if recipe == "prune_once":
        return some(network for first in firsts for network in pruned_once(item, first))
    if firsts and firsts[0].recipe == "brought":
        return untrained(name, firsts)
    made_by = {"untrained": "init_network", "trained_twice": "train_dense"}.get(recipe, "make_control")
    return [
        Network(Key(name, replicate, 0), trained, made_by, recipe, parent=parent_of(item, replicate, config))
        for replicate in config["replicates"]
    ]


def some(networks: Iterable[Network]) -> list[Network]:
    """Return the networks of an arm, not more than one above `MOST_NETWORKS`, which are too many."""
    return list(islice(networks, MOST_NETWORKS + 1))


def require_few(networks: int) -> None:
    """Raise UserError if there are too many networks."""
    if networks > MOST_NETWORKS:
        raise UserError(
            f"config: replicates, pruning.levels and arms ask for more than {MOST_NETWORKS:,} networks: share them"
            " among several experiments"
        )


def parent_of(item: dict, replicate: int, config: dict) -> Key | None:
    """Return the network that a trained network of an arm starts from."""
    starts_from = known_recipes()[item["recipe"]].starts_from
    if not starts_from:
        return None
    return Key(item["of"] if starts_from == "first" else initial_arm(config), replicate, 0)


def initial_arm(config: dict) -> str:
    """Return the arm whose networks all trainings start from."""
    trained = [item["name"] for item in config["arms"] if item["recipe"] == "imp"]
    untrained = (item["name"] for item in config["arms"] if item["recipe"] == "untrained" and item["of"] in trained)
    return next(untrained, INITIAL)


def first_networks(networks: list[Network]) -> list[Network]:
    """Return the network of the lowest level of each replicate."""
    return list({network.key.replicate: network for network in reversed(networks)}.values())[::-1]


def untrained(name: str, firsts: list[Network]) -> list[Network]:
    """Return networks like those of the user, with the weights that they started from, or with fresh weights."""
    found = []
    for first in firsts:
        # The first level's masks keep all weights, including those that start at zero.
        masks = first.masks if first.start else None
        network = replace(
            first, key=Key(name, first.key.replicate, 0), weights=first.start, masks=masks, start=None, reading={},
            density=None,
        )  # fmt: skip
        found.append(network)
    return found


def pruned_once(item: dict, first: Network) -> Iterator[Network]:
    """Yield a network under the arm's name, and the pruned network at each density."""
    name, replicate = item["name"], first.key.replicate
    same = Network(Key(name, replicate, 0), first.design, made_by="", recipe="prune_once", parent=first.key)
    yield same
    for level, density in enumerate(item["densities"], 1):
        yield replace(
            same,
            key=Key(name, replicate, level),
            made_by="prune_once",
            density=density,
            method=item["method"],
            exempt=tuple(item.get("exempt", ())),
        )
