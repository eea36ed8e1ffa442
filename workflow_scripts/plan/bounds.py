"""How large a config may be: a few lines of YAML that refer to one another can mean millions of values."""

from collections.abc import Iterable, Mapping
from itertools import chain, islice

from workflow_scripts.shared.files import UserError

MOST_VALUES, MOST_DEPTH = 100_000, 50


def require_bounds(config: object, name: str) -> None:
    """Raise UserError, which begins with `name`, for a config with too many values, or nested too deeply."""
    values: list = [config]
    total = 0
    for _ in range(MOST_DEPTH):
        values = list(islice(chain.from_iterable(map(parts_of, values)), MOST_VALUES))
        total += len(values)
        if total >= MOST_VALUES:
            raise UserError(f"{name} has more than {MOST_VALUES:,} values: leave out what the experiment does not need")
        if not values:
            return
    raise UserError(f"{name} is nested more than {MOST_DEPTH} levels deep: no key of a config needs that")


def parts_of(value: object) -> Iterable:
    """Return the values within a value."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set) else ()
