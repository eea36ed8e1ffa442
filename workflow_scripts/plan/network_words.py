"""Many networks on one command line, in a few words each: the paths of thousands would be too long for it."""

from collections.abc import Iterable, Mapping, Sequence

from workflow_scripts.plan.keys import Key
from workflow_scripts.shared.files import UserError


def as_words(networks: Mapping[Key, Key]) -> list[list[str]]:
    """Return a list of words for each arm: its name, then REPLICATE/LEVEL for each network.

    Args:
        networks: for each network the one that has its files, itself or another: =ARM/REPLICATE/LEVEL follows then.
    """
    words: dict[str, list[str]] = {}
    for key, other in networks.items():
        of_arm = words.setdefault(key.arm, [key.arm])
        of_arm.append(f"{key.replicate}/{key.level}" + (f"={'/'.join(map(str, other))}" if other != key else ""))
    return list(words.values())


def read_words(words: Iterable[Sequence[str]]) -> dict[Key, Key]:
    """Return what `as_words` was given; UserError for other words, or if a network is named twice."""
    networks: dict[Key, Key] = {}
    for arm, *of_arm in words:
        for word in of_arm:
            own, _, other = word.partition("=")
            key = read_key(f"{arm}/{own}", word)
            if key in networks:
                raise UserError(
                    f"arm {key.arm}, replicate {key.replicate}, level {key.level} is named twice: name it once"
                )
            networks[key] = read_key(other, word) if other else key
    return networks


def read_key(text: str, word: str) -> Key:
    """Return the key of a network, ARM/REPLICATE/LEVEL; UserError, which names the word, for any other text."""
    arm, _, numbers = text.partition("/")
    replicate, _, level = numbers.partition("/")
    if not (arm and replicate.isdecimal() and level.isdecimal()):
        raise UserError(
            f"the network {word!r} is not understood: write REPLICATE/LEVEL or, if another has its files,"
            " REPLICATE/LEVEL=ARM/REPLICATE/LEVEL"
        )
    return Key(arm, int(replicate), int(level))
