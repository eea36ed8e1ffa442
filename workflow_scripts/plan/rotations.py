"""Arms of the recipe `rotated`: how the layers of another arm's networks are rotated, to count what chance detects.

Such an arm has no networks of its own: a rotation is dissected within one job and only leaves numbers.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

RECIPE = "rotated"
WITHOUT_NETWORKS = (RECIPE, "shuffled_labels")  # recipes of arms that have no networks to rotate
ALPHAS, SEEDS = (1,), 5  # unless the arm gives others
# Columns of a network's rotations.csv.
COLUMNS = ["layer", "alpha", "seed", "units", "detectors_a", "concepts_a", "dead_units", "median_score"]


class Rotations(NamedTuple):
    """How each layer is rotated: by each share `alphas`, ascending, of each rotation, numbered from 1 to `seeds`."""

    alphas: tuple[float, ...]
    seeds: int


def rotated_arms(items: Iterable[dict]) -> dict[str, Rotations]:
    """Return how the networks of arms are rotated, by the names of the arms that `items` rotate."""
    return {
        item["of"]: Rotations(tuple(sorted(map(float, item.get("alphas", ALPHAS)))), item.get("seeds", SEEDS))
        for item in items
        if item["recipe"] == RECIPE
    }


def all_of(rotations: Iterable[Rotations]) -> Rotations:
    """Return the rotations of a network in several arms: all of theirs, and maybe some that none asks for."""
    alphas, seeds = zip(*rotations, strict=True)
    return Rotations(tuple(sorted({alpha for some in alphas for alpha in some})), max(seeds))


def rotation_mistakes(items: list[dict]) -> Iterator[str]:
    """Yield mistakes in the `of` of arms of this recipe, each in a sentence."""
    recipes: dict[str, str] = {}
    for item in items:
        recipes.setdefault(item["name"], item["recipe"])
    turned: dict[str, str] = {}
    for item in items:
        name, base = item["name"], item.get("of")
        if item["recipe"] != RECIPE or base not in recipes:
            continue
        if item.get("alphas") and not any(item["alphas"]):
            yield f"arms.{name}.alphas only has 0, which rotates nothing: add 1, or leave alphas out"
        if recipes[base] in WITHOUT_NETWORKS:
            yield (
                f"arms.{name}.of is {base}, an arm of the recipe {recipes[base]}, which has no networks of its own to"
                " rotate: name another arm"
            )
        elif base in turned:
            yield (
                f"arms: {turned[base]} and {name} are both rotations of {base}: keep one of them, and write all alphas"
                " into it"
            )
        turned.setdefault(base, name)
