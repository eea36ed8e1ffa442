"""Finding a network's tensors by name among all that a checkpoint holds, whatever wrapped the network."""

import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.networks.weight_files import below, join, listed, shown, within
from workflow_scripts.shared.files import UserError

# Modules around a module, which change no tensor: torch's of parallel training, averaging, compilation, sharding and
# recomputation.
WRAPPERS = {
    *("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module")
}
# Under which programs keep the network itself; in MoCo's checkpoints encoder_q.
USUAL = {
    *("state_dict", "model_state_dict", "net_state_dict", "model_state", "state", "ckpt", "checkpoint", "weights"),
    *("model", "_model", "net", "network", "module", "backbone", "encoder_q", "base_encoder", "online_encoder"),
}
# Under which they keep another copy of it: running averages, and in MoCo's the slow encoder.
COPY = re.compile(
    r"(.*_)?(ema|swa|averaged|shadow)(_.*)?|(avg|average)_model|model_(avg|average)|encoder_k|momentum_encoder"
    r"|target_(encoder|network)"
)
# What they keep beside it and no network computes with: counters, and by their first component losses, metrics, queues.
COUNTERS = {"n_averaged", "total_ops", "total_params", "_extra_state"}
BESIDE = re.compile(
    r"criterion|criteria|losses|loss_(fn|func|function)|teacher|queue(_ptr)?|data_preprocessor|metrics?"
    r"|(.*_)?(loss|criterion|acc|accuracy|acc[15]|top[15])|.*_metrics?"
    r"|(train|val|valid|test)_(precision|recall|f1|auroc|iou|confmat)"
)


class Reading(NamedTuple):
    """The config's keys that say which tensors of a checkpoint are the network's.

    part: the dict that they stand in, by its keys with dots between them.
    prefix: what their names begin with.
    missing: layers or shell patterns of names; the network's tensors that are not taken from the file.
    unused: the same, of the file's tensors that the network lacks.
    """

    part: str = ""
    prefix: str = ""
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def unwrapped(containers: dict[str, str]) -> dict[str, str]:
    """Return names in a file without the components of `WRAPPERS`, and the name of each.

    `containers` has for each the dict that it stands in, whose own name stays; so do names of which two would be one.
    """
    plain = {name: join(of, unwrap(below(name, of))) for name, of in containers.items()}
    times = Counter(plain.values())
    return {new if times[new] == 1 else name: name for name, new in plain.items()}


def unwrap(name: str) -> str:
    """Return a dotted name without the components of `WRAPPERS`."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name is, or lies below, one of these layers, or matches one of these shell patterns."""
    return any(within(name, pattern) or fnmatchcase(name, pattern) for pattern in patterns)


def places_of(names: Iterable[str], wanted: AbstractSet[str]) -> dict[str, set[str]]:
    """Return which of the `wanted` names stand below each prefix of `names`."""
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
    """Return names, the keys, those of mmpretrain's `head` as if they stood in the `backbone` beside it."""
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
    """Return the prefix below which most of the network's names stand in a file.

    Of several places those of no copy go first, and then those of usual names.

    Args:
        path: the file.
        containers: the name of each of its tensors, and of the dict that it stands in.
        required: names of the network's that have to be there.
        wanted: all of its names.
        reading: where to look.

    Raises:
        UserError: it is unclear which place is meant, or whether names beside it matter; the key that says so is named.
    """
    dicts = set(containers.values())
    found = {place: names for place, names in places_of(containers, wanted).items() if may_mean(place, dicts, reading)}
    if not found and (reading.part or reading.prefix):
        keys = " with ".join(f"{key}: {getattr(reading, key)}" for key in ("part", "prefix") if getattr(reading, key))
        raise UserError(f"{path} has none of the network's names below {keys}: it holds {listed(tops(containers))}")
    # A place without a few of the names is still preferred to a whole copy; what is missing is reported later.
    most = [place for place, names in found.items() if 2 * len(names & required) > len(required)]
    if not most:
        return max(found, key=lambda place: len(found[place]), default="")
    first = [place for place in most if not is_copy(place)] or most
    usual = [place for place in first if is_usual(place)]
    chosen = first if len(first) == 1 else usual
    if len(chosen) != 1:
        places = ", ".join(sorted(keys_for(place, dicts) for place in first if place))
        alone = "" if all(first) else "; or save the outermost one alone"
        raise UserError(f"{path} holds the network several times: add to this network one of {places}{alone}")
    container, own = split_place(chosen[0], dicts)
    strange = [
        name
        for name, of in containers.items()
        if of == container and not within(name, chosen[0]) and not is_known(below(name, container), reading)
    ]
    if strange and not reading.prefix and not is_usual(own):
        raise UserError(
            f"{path} holds the network below {shown(own)}, and beside it {listed(strange)}: if it does without these,"
            f" add prefix: {shown(own)} to this network"
        )
    return chosen[0]


def tops(names: Iterable[str]) -> set[str]:
    """Return the first components of dotted names."""
    return {name.partition(".")[0] for name in names}


def may_mean(place: str, dicts: AbstractSet[str], reading: Reading) -> bool:
    """Tell whether `part` and `prefix` mean this place, or leave it open."""
    own = split_place(place, dicts)[1]
    return within(place, reading.part.strip(".")) and (not reading.prefix or own == unwrap(reading.prefix.strip(".")))


def is_copy(place: str) -> bool:
    """Tell whether a component of a dotted name is one of those of a copy."""
    return any(COPY.fullmatch(part) for part in place.split("."))


def is_usual(place: str) -> bool:
    """Tell whether all components of a prefix, which may be empty, are usual ones."""
    return not place or all(part in USUAL for part in place.split("."))


def split_place(place: str, dicts: AbstractSet[str]) -> tuple[str, str]:
    """Return a prefix in two: the longest name of a dict in it, and the rest, that of names in this dict."""
    container = max((name for name in dicts if within(place, name)), key=len, default="")
    return container, below(place, container)


def keys_for(place: str, dicts: AbstractSet[str]) -> str:
    """Return the keys of the config that mean a place."""
    pairs = zip(("part", "prefix"), split_place(place, dicts), strict=True)
    return " with ".join(f"{key}: {shown(value)}" for key, value in pairs if value)


def is_known(name: str, reading: Reading) -> bool:
    """Tell whether a tensor of this name, which the network lacks, is known not to matter."""
    parts = name.split(".")
    return (
        not COUNTERS.isdisjoint(parts)
        or bool(BESIDE.fullmatch(parts[0]) or COPY.fullmatch(parts[0]))
        or is_unused(name, reading)
    )


def is_unused(name: str, reading: Reading) -> bool:
    """Tell whether `unused` names a tensor, by its whole name in the file or from any module on."""
    parts = name.split(".")
    return any(matches_any(".".join(parts[start:]), reading.unused) for start in range(len(parts)))
