"""Reading provenance.json: what it says is checked, for a folder of results may come from anywhere."""

from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from workflow_scripts.plan.keys import MOST_NUMBER
from workflow_scripts.shared.files import UserError, require_file
from workflow_scripts.shared.outside_json import read_json

PROVENANCE, CONFIG, CHECKSUMS = "provenance.json", "config.yaml", "checksums.sha256"
COMMAND = "DISSECTION_COMMAND"  # the environment variable by which a job hears how snakemake was called
FORMAT = 2  # raised when what the file says changes its meaning
MOST_BYTES = 2 * 10**7  # of the file: no experiment has so many networks
MAKE_AGAIN = "copy it again from where it was made, or run snakemake there"

TEXT = {"type": "string", "maxLength": 10_000}
MAYBE_TEXT = {"type": ["string", "null"], "maxLength": 10_000}
SHA256 = {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}
TEXTS = {"type": "array", "items": TEXT}
NOT_EMPTY = TEXTS | {"minItems": 1}
NAMES = {"type": "array", "items": {"type": "string", "pattern": r"^[a-z0-9_]+\Z"}}
COUNT = {"type": "integer", "minimum": 0, "maximum": 10**9}
NUMBER = COUNT | {"maximum": MOST_NUMBER}
MAYBE_NUMBER = NUMBER | {"type": ["integer", "null"]}
PACKED = r"^concepts[A-Za-z0-9_]*\.h5\Z"
FOLDER = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_-]*/replicate_\d+/level_\d+\Z"}


def an_object(values: dict) -> dict:
    """Return the schema of an object with all these keys and no others."""
    return {"type": "object", "properties": values, "required": list(values), "additionalProperties": False}


SCHEMA = an_object(
    {
        "format": {"const": FORMAT},
        "experiment": TEXT,
        "project": an_object(
            {"name": MAYBE_TEXT, "version": MAYBE_TEXT, "commit": MAYBE_TEXT, "changed": {"type": ["boolean", "null"]}}
        ),
        "command": TEXT,
        "again": TEXT,
        "config": SHA256,
        "first_job": MAYBE_TEXT,
        "last_job": MAYBE_TEXT,
        "python": TEXT,
        "packages": {"type": "object", "additionalProperties": MAYBE_TEXT},
        "machine": an_object(
            {
                "cpu": TEXT,
                "cores": COUNT,
                "memory_gb": {"type": "number"},
                "gpus": TEXTS,
                "system": TEXT,
                "kernel": TEXT,
            }
        ),
        "seeds": an_object({"replicates": {"type": "array", "items": NUMBER}, "world": MAYBE_NUMBER}),
        "protocol": {"type": "object"},
        "training": an_object(
            {
                "constructor": MAYBE_TEXT,
                "arguments": {"type": "object"},
                "classes": COUNT,
                "train": COUNT,
                "test": COUNT,
            }
        )
        | {"type": ["object", "null"]},
        "labelled": {
            "type": "object",
            "propertyNames": {"pattern": PACKED},
            "additionalProperties": an_object({"pictures": COUNT, "labels": COUNT, "categories": NOT_EMPTY}),
        },
        "data": {
            "type": "array",
            "items": an_object(
                {
                    "name": TEXT,
                    "kind": {"enum": ["generated", "archive", "folder"]},
                    "source": TEXT,
                    "addresses": TEXTS,
                    "sha256": SHA256,
                }
            ),
        },
        "concepts": {
            "type": "object",
            "propertyNames": {"pattern": PACKED},
            "additionalProperties": SHA256,
        },
        "networks": {
            "type": "array",
            "items": an_object(
                {
                    "arm": {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_-]*\Z"},
                    "replicate": NUMBER,
                    "level": NUMBER,
                    "files": FOLDER,
                    "dissection": FOLDER,
                    "network": SHA256,
                    "activations": SHA256,
                    "concepts": SHA256,
                    "own": {"type": "object", "additionalProperties": SHA256},
                }
            ),
        },
        "tables": NAMES,
        "figures": NAMES,
    }
)


class Dissected(NamedTuple):
    """A network as provenance.json names it: its folders, and the fingerprints of its files."""

    arm: str
    replicate: int
    level: int
    files: str
    dissection: str
    network: str
    activations: str
    concepts: str


class Provenance(NamedTuple):
    """What provenance.json says: all of it, and the networks."""

    facts: dict[str, Any]
    networks: list[Dissected]


def read_provenance(results: Path) -> Provenance:
    """Return what provenance.json in a folder of results says.

    Raises:
        UserError: it is missing, damaged, of another format, or lacks something; the sentence names the first fault.
    """
    path = results / PROVENANCE
    if require_file(path, MAKE_AGAIN).st_size > MOST_BYTES:
        raise UserError(
            f"{path} has more than {MOST_BYTES // 10**6} MB, which none has that snakemake wrote: {MAKE_AGAIN}"
        )
    facts = read_json(path)
    if isinstance(facts, dict) and facts.get("format") != FORMAT and "format" in facts:
        raise UserError(f"{path} is of another format than {FORMAT}: verify it with the version that wrote it")
    for error in Draft202012Validator(SCHEMA).iter_errors(facts):
        place = ".".join(map(str, error.absolute_path)) or "the whole"
        raise UserError(f"{path} is not what snakemake writes ({place}: {error.message[:100]!r}): {MAKE_AGAIN}")
    networks = [Dissected(*(network[name] for name in Dissected._fields)) for network in facts["networks"]]
    return Provenance(facts, networks)
