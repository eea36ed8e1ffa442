"""Checks of the config's `arms` that concern more than one key."""

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from workflow_scripts.plan.recipes import INITIAL, known_recipes, label_of
from workflow_scripts.plan.rotations import rotation_mistakes
from workflow_scripts.plan.schema import hint

# Other files of an experiment have these names.
FOLDERS = ("data", "logs", "benchmarks", "tables", "figures", "gallery")


def arm_mistakes(items: list[dict], all_known: bool) -> Iterator[str]:
    """Yield mistakes in arms beyond their single keys and values, each in a sentence.

    Args:
        items: the arms whose names and recipes are valid.
        all_known: whether there are no others; if there are, an unknown name may belong to one of them.
    """
    arms: dict[str, dict] = {}
    for item in items:
        arms.setdefault(item["name"], item)
    yield from name_mistakes(items)
    for item in items:
        yield from item_mistakes(item, arms[item["name"]])
    yield from label_mistakes(arms)
    unfitting = [*of_mistakes(items, all_known), *rotation_mistakes(items)]
    yield from unfitting or circles(arms)


def name_mistakes(items: list[dict]) -> Iterator[str]:
    """Yield a sentence for each name that is reserved or used twice."""
    for name, times in Counter(item["name"] for item in items).items():
        recipes = {item["recipe"] for item in items if item["name"] == name}
        if name in FOLDERS:
            yield f"arms.{name}: the folder {name} of the results holds other files: choose another name"
        if times > 1 and recipes != {"brought"}:
            yield f"arms: the name {name} appears {times} times: give each arm its own name"
    trained = list(dict.fromkeys(item["name"] for item in items if item["recipe"] == "imp"))
    if len(trained) > 1:
        yield f"arms: {' and '.join(trained)} have the recipe imp: keep one of them"
    from_start = any(item["recipe"] == "untrained" and item.get("of") in trained for item in items)
    if trained and not from_start and any(item["name"] == INITIAL for item in items):
        yield f"arms.{INITIAL}: the networks that {trained[0]} starts from have this name: choose another"


def label_mistakes(arms: dict[str, dict]) -> Iterator[str]:
    """Yield a sentence for each label that figures cannot show, or that two arms with the same `of` share."""
    names: dict[tuple[str, str], str] = {}
    for name, item in arms.items():
        label = label_of(item)
        other = names.setdefault((item.get("of", ""), label), name)
        if label.startswith("_"):
            yield f"arms.{name}.label begins with _, and legends leave such labels out: write another"
        elif other != name and item["recipe"] != "imp":  # there is only one
            yield f"arms.{name}.label: figures would call it {label!r}, like {other}: give it its own label"


def item_mistakes(item: dict, first: dict) -> Iterator[str]:
    """Yield mistakes in an item of a `brought` arm; `first` is the first item with its name."""
    name = item["name"]
    if item["recipe"] != "brought" or first["recipe"] != "brought":
        return
    for key in ("of", "role", "label"):
        if item.get(key) != first.get(key):
            yield f"arms.{name}.{key} differs between the items with that name: write the same in each"
    if item.get("role") in ("baseline", "reference") and "of" not in item:
        yield f"arms.{name}.of is missing: write the name of the arm that this {item['role']} is compared with"


def of_mistakes(items: list[dict], all_known: bool) -> Iterator[str]:
    """Yield mistakes in the `of` of arms."""
    recipes: dict[str, str] = {}
    for item in items:
        recipes.setdefault(item["name"], item["recipe"])
    for item in items:
        name, base, fitting = item["name"], item.get("of"), known_recipes()[item["recipe"]].of
        if not isinstance(base, str):
            continue
        others = [other for other, recipe in recipes.items() if other != name and (not fitting or recipe in fitting)]
        if base in recipes and fitting and recipes[base] not in fitting:
            advice = f"name one, such as {others[0]}" if others else "add one, and name it"
            yield (
                f"arms.{name}.of is {base}, an arm of the recipe {recipes[base]}, but the recipe {item['recipe']} needs"
                f" an arm of the recipe {' or '.join(fitting)}: {advice}"
            )
        elif base not in recipes and all_known:
            advice = (
                hint(base, others)
                if others
                else (
                    f"add an arm of the recipe {' or '.join(fitting)}"
                    if fitting
                    else "write the name of an existing arm, or leave it out"
                )
            )
            yield f"arms.{name}.of is {base}, but there is no such arm; {advice}"


def circles(arms: dict[str, dict]) -> Iterator[str]:
    """Yield a sentence if arms are `of` one another in a circle."""
    bases = {name: {item["of"]} for name, item in arms.items() if isinstance(item.get("of"), str)}
    try:
        TopologicalSorter(bases).prepare()
    except CycleError as error:
        circle = ", which is of ".join(reversed(error.args[1])).replace(", which", "", 1)
        yield f"arms: {circle}: leave out `of` where it is not needed"
