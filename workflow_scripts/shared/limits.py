"""The config's limits: how much is read of what comes from outside, before it is refused.

They are passed to the processes of the workflow in the environment, because no result depends on them: a parameter of a
rule would make everything stale when a limit is raised.
"""

import json
import os
from collections.abc import Mapping
from functools import cache

LIMITS = "DISSECTION_LIMITS"  # the environment variable that holds them, as JSON
SHIPPED: dict[str, float] = {  # those of config.yaml, for scripts that run outside the workflow
    "download_gb": 500,
    "unpacked_gb": 1000,
    "file_gb": 1,
    "picture_megapixels": 178,
    "weights_gb": 20,
}


def set_limits(limits: Mapping[str, float]) -> None:
    """Make the config's `limits` those of this process and of all that it starts."""
    os.environ[LIMITS] = json.dumps(dict(limits))


def limit(name: str) -> float:
    """Return a limit, in the unit that its name ends with; gigabytes are of 10^9 bytes."""
    return limits_of(os.environ.get(LIMITS, ""))[name]


@cache
def limits_of(text: str) -> Mapping[str, float]:
    """Return the limits that the environment variable holds, or else those that are shipped; asked for each picture."""
    return json.loads(text) if text else SHIPPED


def raise_limit(name: str) -> str:
    """Return what a message says to do about something that is larger than a limit."""
    return f"raise limits.{name} in the config (now {limit(name):g}) if that is right"
