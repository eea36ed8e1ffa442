"""Variations: other choices of the dissection, one at a time, with which units are counted again."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import NamedTuple

from workflow_scripts.plan.protocols import PROTOCOLS, Protocol

KEYS = {"quantile": "quantiles", "protocol": "protocols", "knots": "knots"}  # of the config's section, by choice
OWN = "own"  # instead of a protocol's name, if the experiment's choices match no protocol
# Columns of a network's sweep.csv.
COLUMNS = [
    *("choice", "value", "layer", "units"),
    *("detectors_a", "concepts_a", "detectors_b", "concepts_b", "dead_units"),
]


class Variation(NamedTuple):
    """A choice, "quantile", "protocol" or "knots"; its other value, as in tables; and all resulting choices."""

    choice: str
    value: str
    choices: Protocol


def text_of(value: float | str) -> str:
    """Return a value in the form of the tables."""
    return value if isinstance(value, str) else f"{value:.10g}"


def own_choices(dissection: dict) -> Protocol:
    """Return the experiment's own choices, from the config's section with its protocol's choices filled in."""
    return Protocol(**{field.name: dissection[field.name] for field in fields(Protocol)})


def own_value(choice: str, own: Protocol) -> str:
    """Return the experiment's own value of a choice, in the form of the tables."""
    if choice == "protocol":
        return next((name for name, choices in PROTOCOLS.items() if choices == own), OWN)
    return text_of(getattr(own, choice))


def variations(config: dict) -> list[Variation]:
    """Return the variations that a config asks for, except those that equal its own setting."""
    own, asked = own_choices(config["dissection"]), config["robustness"]
    found = [
        *(("quantile", quantile, replace(own, quantile=quantile)) for quantile in asked["quantiles"]),
        *(("protocol", name, PROTOCOLS[name]) for name in asked["protocols"]),
        *(("knots", knots, replace(own, knots=knots)) for knots in asked["knots"]),
    ]
    return [Variation(choice, text_of(value), choices) for choice, value, choices in found if choices != own]


def robustness_mistakes(config: dict) -> Iterator[str]:
    """Yield a sentence for each variation for which a dump of candidates lacks the maps.

    `config` has its protocol's choices filled in. If the candidates do not even suffice for these, `protocol_mistakes`
    says so.
    """
    dissection = config["dissection"]
    if dissection["dump"] != "candidates" or dissection["quantile_of"] == "upsampled":
        return
    for choice, value, choices in variations(config):
        place = f"robustness.{KEYS[choice]} has {value}"
        if choices.quantile_of == "upsampled":
            yield (
                f"{place}, whose thresholds are those of upsampled maps, but dissection.dump is candidates, which only"
                f" suffice for raw maps: set dissection.dump to all, or leave {value} out"
            )
        elif choices.quantile > dissection["largest_quantile"]:
            yield (
                f"{place}, for which dissection.dump keeps too few candidates: set dissection.largest_quantile to at"
                f" least {text_of(choices.quantile)}, or dissection.dump to all"
            )


def to_json(found: list[Variation]) -> str:
    """Return variations as JSON."""
    return json.dumps([variation._asdict() | {"choices": asdict(variation.choices)} for variation in found])


def from_json(text: str) -> list[Variation]:
    """Return variations from the JSON of `to_json`."""
    return [Variation(**item | {"choices": Protocol(**item["choices"])}) for item in json.loads(text)]
