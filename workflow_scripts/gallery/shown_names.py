"""Concepts' names as people read them."""

from workflow_scripts.data.concept_sets.joined import SUFFIXES


def shown_name(name: str, category: str) -> str:
    """Return a label without underscores and without the ending that Broden gives to its category.

    The gallery's page does the same in parts.js.
    """
    return name.removesuffix(SUFFIXES.get(category, "")).replace("_", " ").strip() or name
