"""Concepts' names: the endings that Broden gives them, and how people read them."""

COLOUR = "color"
SUFFIXES = {COLOUR: "-c", "scene": "-s"}  # as in Broden, where a scene and an object may have the same name


def shown_name(name: str, category: str) -> str:
    """Return a label without underscores and without the ending of its category.

    The gallery's page does the same in parts.js.
    """
    return name.removesuffix(SUFFIXES.get(category, "")).replace("_", " ").strip() or name
