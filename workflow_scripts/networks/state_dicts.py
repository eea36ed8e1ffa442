"""Finding a network's tensors by name in a checkpoint, whatever wrapped the network."""

import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.networks.weight_files import below, join, listed, shown, within
from workflow_scripts.shared.files import UserError

# Modules that wrap another and change no tensor: torch's, for parallel training, averaging, compilation, sharding and
# recomputation.
WRAPPERS = {
    *("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module")
}
# Names under which programs keep the network itself; in MoCo's checkpoints it is encoder_q.
USUAL = {
    *("state_dict", "model_state_dict", "net_state_dict", "model_state", "state", "ckpt", "checkpoint", "weights"),
    *("model", "_model", "net", "network", "module", "backbone", "encoder_q", "base_encoder", "online_encoder"),
}
# Names under which they keep another copy of it: running averages, and in MoCo's checkpoints the slow encoder.
COPY = re.compile(
    r"(.*_)?(ema|swa|averaged|shadow)(_.*)?|(avg|average)_model|model_(avg|average)|encoder_k|momentum_encoder"
    r"|target_(encoder|network)"
)
# Names of what they keep beside it and no network computes with: counters; and, by their first component, losses,
# metrics and queues.
COUNTERS = {"n_averaged", "total_ops", "total_params", "_extra_state"}
BESIDE = re.compile(
    r"criterion|criteria|losses|loss_(fn|func|function)|teacher|queue(_ptr)?|data_preprocessor|metrics?"
    r"|(.*_)?(loss|criterion|acc|accuracy|acc[15]|top[15])|.*_metrics?"
    r"|(train|val|valid|test)_(precision|recall|f1|auroc|iou|confmat)"
)


class Reading(NamedTuple):
    """The config's keys that say which tensors of a checkpoint are the network's.

    part: the dict that contains them: its keys, joined by dots.
    prefix: what their names begin with.
    missing: layers or shell patterns of names: the network's tensors that are not taken from the file.
    unused: the same for the file's tensors that the network lacks.
    """

    part: str = ""
    prefix: str = ""
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def unwrapped(containers: dict[str, str]) -> dict[str, str]:
    """Return the names in a file without the components of `WRAPPERS`, each with its full name.

    `containers` has the dict of each name; that dict's own name is kept. Names that would become equal are kept, too.
    """
    plain = {name: join(of, unwrap(below(name, of))) for name, of in containers.items()}
    times = Counter(plain.values())
    return {new if times[new] == 1 else name: name for name, new in plain.items()}


def unwrap(name: str) -> str:
    """Return a dotted name without the components of `WRAPPERS`."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name is one of these layers, lies below one, or matches one of these shell patterns."""
    return any(within(name, pattern) or fnmatchcase(name, pattern) for pattern in patterns)


def places_of(names: Iterable[str], wanted: AbstractSet[str]) -> dict[str, set[str]]:
    """Return which of the `wanted` names are below each prefix of `names`."""
    found: dict[str, set[str]] = {}
    deepest = max((name.count(".") for name in wanted), default=0) + 1
    for name in names:
        parts = name.split(".")
        for start in range(max(0, len(parts) - deepest), len(parts)):
            rest = ".".join(parts[start:])
            if rest in wanted:
                found.setdefault(".".join(parts[:start]), set()).add(rest)
    return found


def with_heads(names: dict[str, str], wanted: AbstractSet[str]) -> dict[str, str]:
    """Return `names`, but with the names of mmpretrain's `head` moved into the `backbone` beside it."""
    backbones = {name.split("backbone.")[0] for name in names if re.match(r"(.*\.)?backbone\.", name)}
    joined = {}
    for name, of in names.items():
        before, head, rest = name.rpartition("head.")
        moved = f"{before}backbone.{rest}"
        joined[moved if head and before in backbones and rest in wanted and moved not in names else name] = of
    return joined


def choose_place(
    path: Path, containers: dict[str, str], required: AbstractSet[str], wanted: AbstractSet[str], reading: Reading
) -> str:
    """Return the prefix in a file that has most of the network's names below it.

    Among several places, those that are not a copy are preferred, and then those with usual names.

    Args:
        path: the file.
        containers: the name of each of its tensors, and that of the dict that contains it.
        required: names of the network that must be there.
        wanted: all of its names.
        reading: where to look.

    Raises:
        UserError: it is unclear which place is meant, or whether names beside it matter; the message names the key to
            set.
    """
    dicts = set(containers.values())
    found = {place: names for place, names in places_of(containers, wanted).items() if may_mean(place, dicts, reading)}
    if not found and (reading.part or reading.prefix):
        keys = " with ".join(f"{key}: {getattr(reading, key)}" for key in ("part", "prefix") if getattr(reading, key))
        raise UserError(f"{path} has none of the network's names below {keys}: it holds {listed(tops(containers))}")
    # A place that lacks a few of the names is still preferred to a whole copy; the missing names are reported later.
    most = [place for place, names in found.items() if 2 * len(names & required) > len(required)]
    if not most:
        return max(found, key=lambda place: len(found[place]), default="")
    first = [place for place in most if not is_copy(place)] or most
    usual = [place for place in first if is_usual(place)]
    chosen = first if len(first) == 1 else usual
    if len(chosen) != 1:
        places = ", ".join(sorted(keys_for(place, dicts) for place in first if place))
        alone = "" if all(first) else "; or save only the outermost one"
        raise UserError(f"{path} holds the network several times: add one of these to this network: {places}{alone}")
    container, own = split_place(chosen[0], dicts)
    strange = [
        name
        for name, of in containers.items()
        if of == container and not within(name, chosen[0]) and not is_known(below(name, container), reading)
    ]
    if strange and not reading.prefix and not is_usual(own):
        raise UserError(
            f"{path} holds the network below {shown(own)}, and {listed(strange)} beside it: if the network does not"
            f" need these, add prefix: {shown(own)} to this network"
        )
    return chosen[0]


def tops(names: Iterable[str]) -> set[str]:
    """Return the first components of dotted names."""
    return {name.partition(".")[0] for name in names}


def may_mean(place: str, dicts: AbstractSet[str], reading: Reading) -> bool:
    """Tell whether `part` and `prefix` allow this place."""
    own = split_place(place, dicts)[1]
    return within(place, reading.part.strip(".")) and (not reading.prefix or own == unwrap(reading.prefix.strip(".")))


def is_copy(place: str) -> bool:
    """Tell whether a component of a dotted name marks a copy."""
    return any(COPY.fullmatch(part) for part in place.split("."))


def is_usual(place: str) -> bool:
    """Tell whether all components of a prefix, which may be empty, are usual."""
    return not place or all(part in USUAL for part in place.split("."))


def split_place(place: str, dicts: AbstractSet[str]) -> tuple[str, str]:
    """Split a prefix into the longest name of a dict in it, and the rest: the prefix of names within that dict."""
    container = max((name for name in dicts if within(place, name)), key=len, default="")
    return container, below(place, container)


def keys_for(place: str, dicts: AbstractSet[str]) -> str:
    """Return the keys of the config that choose a place."""
    pairs = zip(("part", "prefix"), split_place(place, dicts), strict=True)
    return " with ".join(f"{key}: {shown(value)}" for key, value in pairs if value)


def is_known(name: str, reading: Reading) -> bool:
    """Tell whether a tensor of this name, which the network lacks, is known to be irrelevant."""
    parts = name.split(".")
    return (
        not COUNTERS.isdisjoint(parts)
        or bool(BESIDE.fullmatch(parts[0]) or COPY.fullmatch(parts[0]))
        or is_unused(name, reading)
    )


def is_unused(name: str, reading: Reading) -> bool:
    """Tell whether `unused` names a tensor, by its whole name in the file or by the end of it from any module on."""
    parts = name.split(".")
    return any(matches_any(".".join(parts[start:]), reading.unused) for start in range(len(parts)))
