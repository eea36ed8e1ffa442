"""How large a config may be: a few lines of YAML that refer to one another can mean millions of values."""

from collections.abc import Iterable, Mapping
from itertools import chain, islice

import yaml

from workflow_scripts.shared.files import UserError

MOST_VALUES, MOST_DEPTH = 100_000, 50


def compose_yaml(text: str, name: str) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    """Return the nodes of a YAML text, and the loader that makes values of them.

    Nodes are counted as values are, because merges (<<) of merges take up memory while values are made of them.

    Raises:
        yaml.YAMLError: the text is no YAML.
        UserError: it has too many nodes; the message begins with `name`.
    """
    loader = yaml.SafeLoader(text)
    node = loader.get_single_node()
    require_bounds(node, name)
    return loader, node


def load_yaml(text: str, name: str) -> object:
    """Return what a YAML text means; raises as `compose_yaml` does, or ValueError for a value without meaning."""
    loader, node = compose_yaml(text, name)
    if node is None:
        return None
    try:
        return loader.construct_document(node)
    except (LookupError, AttributeError, OverflowError) as error:  # of PyYAML, for text that does not fit its tag
        raise ValueError("a number, date or truth value in it means nothing") from error


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
    if isinstance(value, yaml.MappingNode):
        return chain.from_iterable(value.value)  # keys, too, which may be lists
    if isinstance(value, yaml.SequenceNode):
        return value.value
    return value if isinstance(value, list | tuple | set) else ()
