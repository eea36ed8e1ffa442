"""Names of concepts and classes: how tables hold them, and how people read them."""

COLOUR = "color"
SUFFIXES = {COLOUR: "-c", "scene": "-s"}  # as in Broden, where a scene and an object may have the same name
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with these begins what a spreadsheet computes


def table_name(name: str) -> str:
    """Return a name from outside as all files of results have it: a spreadsheet must take it for text."""
    return f"'{name}" if name.startswith(FORMULA) else name


def shown_name(name: str, category: str) -> str:
    """Return a label without underscores and without the ending of its category.

    The gallery's page does the same in parts.js.
    """
    return name.removesuffix(SUFFIXES.get(category, "")).replace("_", " ").strip() or name
