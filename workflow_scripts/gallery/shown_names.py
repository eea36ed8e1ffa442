"""Concepts' names as people read them."""

ENDINGS = {"scene": "-s", "color": "-c"}  # that Broden's labels of these categories have


def shown_name(name: str, category: str) -> str:
    """Return a label without underscores and without the ending that Broden gives to its category.

    The gallery's page does the same in parts.js.
    """
    ending = ENDINGS.get(category, "")
    bare = name.removesuffix(ending) if ending else name
    return bare.replace("_", " ").strip() or name
