"""The schema of the config, and its errors as sentences that say what to write."""

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache

import jsonschema
import yaml

from workflow_scripts.plan.code import ROOT

Place = tuple[str | int, ...]  # of a value: the keys that lead to it

LARGEST = 2**63  # whole numbers are below this, as those of files and of other libraries are
LONGEST = 100  # characters of a misspelt word that is compared with known ones

# A JSON schema accepts 8.0 as an integer, and no bound stops .nan, because every comparison with it is false.
TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST,
        "number": lambda _, value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and abs(value) < (LARGEST if isinstance(value, int) else math.inf)
        ),
    }
)
ConfigValidator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=TYPES)


@cache
def read_schema() -> dict:
    """Return the schema of the config."""
    return yaml.safe_load((ROOT / "schemas" / "config.schema.yaml").read_text())


def resolved(schema: dict) -> dict:
    """Return a part of the schema with a reference at its top resolved."""
    if "$ref" not in schema:
        return schema
    target = read_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return resolved(target) | {key: value for key, value in schema.items() if key != "$ref"}


def value_mistakes(value: object, definition: str, name: str) -> Iterator[str]:
    """Yield a sentence on each mistake in a value from elsewhere, as for one in a config.

    Args:
        value: whose keys, if it has any, are known and complete.
        definition: the part of the schema's `$defs` that describes it.
        name: of the value, for the sentences.
    """
    validator = ConfigValidator({"$ref": f"#/$defs/{definition}", "$defs": read_schema()["$defs"]})
    for error in errors_of(validator, value):
        yield explain(error, ".".join(map(str, (name, *place_of(error)))))


def errors_of(validator: jsonschema.protocols.Validator, value: object) -> Iterator[jsonschema.ValidationError]:
    """Yield the errors of a value by their places; if it may have several kinds, those of the intended kind."""
    for error in sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path]):
        yield from innermost(error)


def innermost(error: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    """Yield an error; or, if a value has the type of one of several kinds, its errors as a value of that kind."""
    kinds: dict[int, list[jsonschema.ValidationError]] = {}
    for inner in error.context:
        kinds.setdefault(inner.schema_path[0], []).append(inner)
    meant = [
        inners
        for inners in kinds.values()
        if all(inner.path or inner.validator in ("required", "additionalProperties") for inner in inners)
    ]
    if len(meant) != 1:
        yield error
        return
    for inner in meant[0]:
        yield from innermost(inner)


def place_of(error: jsonschema.ValidationError) -> Place:
    """Return the place of the value that an error concerns."""
    return tuple(error.absolute_path)


def unknown_keys(error: jsonschema.ValidationError) -> list:
    """Return the keys of a value that are not in its schema."""
    return [key for key in error.instance if key not in error.schema["properties"]]


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that a word resembles most, if it resembles any."""
    text = shown(word) if isinstance(word, int) else str(word)
    return next(iter(difflib.get_close_matches(text, known, 1)), None) if len(text) <= LONGEST else None


def hint(word: object, known: list[str]) -> str:
    """Return advice on an unknown word."""
    close = nearest(word, known)
    return f"did you mean {close}?" if close else f"known are {', '.join(known)}"


def explain(error: jsonschema.ValidationError, name: str) -> str:
    """Return an error of the value `name` as a sentence; errors of unknown and missing keys are worded elsewhere."""
    value, schema = error.instance, error.schema
    if error.validator == "uniqueItems":
        texts = Counter(json.dumps(item, sort_keys=True, default=str) for item in value)
        twice = json.loads(texts.most_common(1)[0][0])
        return f"{name} has {shown(twice)} twice: leave one out"
    if error.validator == "not":
        return f"{name} is {schema['description']}: leave it out"
    if schema.get("type") == "string" and isinstance(value, bool | int | float | date):
        kind = "a truth value" if isinstance(value, bool) else "a date" if isinstance(value, date) else "a number"
        return f"{name} is {str(value).lower()}, {kind}, but must be text: put it into quotes"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"{name} is {value}, which is not finite: write {wanted(schema)}"
        kinds = [resolved(kind).get("type") for kind in [schema, *schema.get("anyOf", [])]]
        if value.is_integer() and "integer" in kinds:
            return f"{name} is {value}, but must be a whole number: write {value:.0f}"
    return f"{name} is {shown(value)}: write {wanted(schema)}"


def wanted(schema: dict) -> str:
    """Describe what a part of the schema expects, with an example."""
    schema = resolved(schema)
    examples = schema.get("examples", [])
    return in_words(schema) + (f", such as {' or '.join(map(written, examples))}" if examples else "")


def in_words(schema: dict) -> str:
    """Describe what a part of the schema expects, without an example."""
    schema = resolved(schema)
    if "description" in schema:
        return schema["description"]
    if "anyOf" in schema:
        return " or ".join(in_words(kind) for kind in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        *others, last = [shown(value) for value in schema.get("enum", [schema.get("const")])]
        return f"{', '.join(others)} or {last}" if others else last
    match schema["type"]:
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number{bounds(schema)}"
        case "number":
            return f"a number{bounds(schema)}"
        case "object":
            return f"its keys below it, such as {next(iter(schema['properties']))}"
    raise ValueError(f"a schema of type {schema['type']} needs a description")


def bounds(schema: dict) -> str:
    """Return the bounds of a number in words, to follow "a number"."""
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    words = {
        "minimum": "of at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
    }
    limits = [phrase.format(schema[key]) for key, phrase in words.items() if key in schema]
    return "".join(f" {phrase}" for phrase in [" and ".join(limits)] if phrase)


def shown(value: object) -> str:
    """Return a value for a sentence: shortened, with text in quotes."""
    if value is None:
        return "empty"
    if isinstance(value, int) and abs(value) >= LARGEST:  # Python refuses to write very long ones
        return f"a number of {value.bit_length()} bits"
    text = str(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def written(value: object) -> str:
    """Return a value as it is written in a config, on one line."""
    if not isinstance(value, dict | list):
        return str(value)
    return yaml.dump(value, Dumper=Plain, default_flow_style=True, width=math.inf, sort_keys=False).strip()


class Plain(yaml.SafeDumper):
    """Writes a list that is used in two places twice, instead of writing a reference."""

    def ignore_aliases(self, _: object) -> bool:
        """Return that no value is ever written as a reference."""
        return True
