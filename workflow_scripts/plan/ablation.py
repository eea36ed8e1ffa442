"""What the jobs that switch units off share with the one that gathers their tables.

Columns of the tables are without those that name a network.
"""

from collections.abc import Sequence

from workflow_scripts.plan.schema import nearest

COLUMNS = [
    *("layer", "class", "concept", "units", "pictures", "accuracy", "own", "others", "all"),
    *("random_own_mean", "random_own_sd", "random_all_mean", "p", "sets", "by"),
]
CLASS_COLUMNS = ["class", "pictures", "accuracy"]


def advice(word: str, known: Sequence[str]) -> str:
    """Return what to do about a word that is none of those known, which may be very many."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"write a name that is there, such as {known[0]}"
