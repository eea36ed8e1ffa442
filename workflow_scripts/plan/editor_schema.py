"""Write the JSON schema that editors use to check a config and to show a key's explanation.

python -m workflow_scripts.plan.editor_schema

It is made of schemas/config.schema.yaml, the explanations in config.yaml, and the known recipes.
"""

import copy
import json
import re

from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.load import DEFAULT
from workflow_scripts.plan.recipes import BUILT_IN
from workflow_scripts.plan.schema import Place, read_schema, resolved

FILE = ROOT / "schemas" / "config.schema.json"


def editor_schema() -> dict:
    """Return the schema in the draft that editors support best; both drafts have all keywords that it uses."""
    schema = copy.deepcopy(read_schema()) | {"$schema": "http://json-schema.org/draft-07/schema#"}
    recipe = schema["$defs"]["recipe"]
    recipe["anyOf"] = [{"enum": list(BUILT_IN)}, {"pattern": recipe.pop("pattern")}]
    for place, text in explanations(DEFAULT.read_text()).items():
        properties = properties_at(schema, place[:-1])
        # That draft ignores keywords beside a reference.
        properties[place[-1]] = resolved(properties[place[-1]]) | {"description": text}
    return schema


def properties_at(schema: dict, place: Place) -> dict:
    """Return the properties of a section; for the network's arguments, those of the default constructor."""
    if place == ("network", "arguments"):
        return schema["$defs"]["small_resnet"]["properties"]
    for key in place:
        schema = schema["properties"][key]
    return schema["properties"]


def explanations(text: str) -> dict[Place, str]:
    """Return what the comments of a config say about its keys: above a key, beside it, and continued below."""
    found: dict[Place, str] = {}
    above: list[str] = []
    place: Place = ()
    column = -1  # of the comment beside the last key
    for line in text.splitlines():
        parts = re.fullmatch(r"(.*?)(?:(?:^|(?<=\s))(#) ?(.*))?", line)
        assert parts, "the pattern fits every line"
        code, mark, comment = parts.groups()
        if key := re.match(r"( *)(\w+):", code):
            place = (*place[: len(key[1]) // 2], key[2])
            column = len(code) if mark else -1
            if description := "\n".join([*above, *([comment] if mark else [])]):
                found[place] = description
            above = []
        elif mark and len(code) == column:
            found[place] += f"\n{comment}"
        elif mark:
            above.append(comment)
        else:
            above = []
    return found


def main() -> None:
    """Write the schema to `FILE`."""
    FILE.write_text(json.dumps(editor_schema(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
