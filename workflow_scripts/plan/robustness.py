"""Variations: other choices of the dissection, one at a time, under which units are counted once more."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import NamedTuple

from workflow_scripts.plan.protocols import PROTOCOLS, Protocol

KEYS = {"quantile": "quantiles", "protocol": "protocols", "knots": "knots"}  # of the config's section, by choice
OWN = "own"  # in place of a protocol's name, where the experiment's choices are those of none
# Of a network's sweep.csv.
COLUMNS = [
    *("choice", "value", "layer", "units"),
    *("detectors_a", "concepts_a", "detectors_b", "concepts_b", "dead_units"),
]


class Variation(NamedTuple):
    """A choice, "quantile", "protocol" or "knots", its other value as tables have it, and all choices that follow."""

    choice: str
    value: str
    choices: Protocol


def text_of(value: float | str) -> str:
    """Return a value as tables have it."""
    return value if isinstance(value, str) else f"{value:.10g}"


def own_choices(dissection: dict) -> Protocol:
    """Return the experiment's own choices, from the config's section with its protocol's."""
    return Protocol(**{field.name: dissection[field.name] for field in fields(Protocol)})


def own_value(choice: str, own: Protocol) -> str:
    """Return the experiment's own value of a choice, as tables have it."""
    if choice == "protocol":
        return next((name for name, choices in PROTOCOLS.items() if choices == own), OWN)
    return text_of(getattr(own, choice))


def variations(config: dict) -> list[Variation]:
    """Return the variations that a config asks for, without those that are its own setting."""
    own, asked = own_choices(config["dissection"]), config["robustness"]
    found = [
        *(("quantile", quantile, replace(own, quantile=quantile)) for quantile in asked["quantiles"]),
        *(("protocol", name, PROTOCOLS[name]) for name in asked["protocols"]),
        *(("knots", knots, replace(own, knots=knots)) for knots in asked["knots"]),
    ]
    return [Variation(choice, text_of(value), choices) for choice, value, choices in found if choices != own]


def robustness_mistakes(config: dict) -> Iterator[str]:
    """Yield a sentence for each variation that a dump of candidates has not the maps for.

    `config` has its protocol's choices. Where the candidates would not even do for its own, nothing more is said.
    """
    dissection = config["dissection"]
    if dissection["dump"] != "candidates" or dissection["quantile_of"] == "upsampled":
        return
    for choice, value, choices in variations(config):
        place = f"robustness.{KEYS[choice]} has {value}"
        if choices.quantile_of == "upsampled":
            yield (
                f"{place}, whose thresholds are of upsampled maps, and dissection.dump is candidates, which are known"
                f" for raw maps only: set that to all, or leave {value} out"
            )
        elif choices.quantile > dissection["largest_quantile"]:
            yield (
                f"{place}, for which dissection.dump keeps too few candidates: set dissection.largest_quantile to at"
                f" least {text_of(choices.quantile)}, or dissection.dump to all"
            )


def to_json(found: list[Variation]) -> str:
    """Return variations as text."""
    return json.dumps([variation._asdict() | {"choices": asdict(variation.choices)} for variation in found])


def from_json(text: str) -> list[Variation]:
    """Return variations from the text of `to_json`."""
    return [Variation(**item | {"choices": Protocol(**item["choices"])}) for item in json.loads(text)]
