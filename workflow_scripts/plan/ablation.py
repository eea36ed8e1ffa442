"""What the jobs that switch units off share with the job that collects their tables.

The columns listed here do not include those that identify a network.
"""

from collections.abc import Sequence

from workflow_scripts.plan.schema import nearest

COLUMNS = [
    *("layer", "class", "concept", "units", "pictures", "accuracy", "own", "others", "all"),
    *("random_own_mean", "random_own_sd", "random_all_mean", "p", "sets", "by"),
]
CLASS_COLUMNS = ["class", "pictures", "accuracy"]


def advice(word: str, known: Sequence[str]) -> str:
    """Return advice on an unknown word, where there may be very many known ones."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"write an existing name, such as {known[0]}"
