"""README.md and values.schema.json, from values.yaml and its comments: `python -m helm.generate`.

The schema knows the keys and types of values.yaml and refuses others; `app` has the schema of our settings. A comment
`@schema {...}` behind a value says what its default cannot.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from psychechat.config import Settings

CHART = Path(__file__).parent
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
NOT_OPENED = {"app", "workerGroups"}
"""They are not listed key by key: what they take stands elsewhere."""


def schema() -> str:
    app = Settings.model_json_schema(ref_template="#/definitions/{model}")
    definitions = app.pop("$defs")
    root = _schema_of(_mapping(), (CHART / "values.yaml").read_text("utf-8").splitlines(), Path())
    root["properties"]["app"] = app
    # A chart that has this one as a dependency may hand it globals.
    root["properties"]["global"] = {"type": "object"}
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", **root, "definitions": definitions}
    return json.dumps(_plain(whole), indent=1, ensure_ascii=False) + "\n"


def readme() -> str:
    lines = (CHART / "values.yaml").read_text("utf-8").splitlines()
    rows = "\n".join(_rows(_mapping(), lines, ""))
    return (CHART / "README.md.in").read_text("utf-8").replace("{{values}}", rows)


def _mapping() -> yaml.MappingNode:
    node = yaml.compose((CHART / "values.yaml").read_text("utf-8"), Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return node


def _schema_of(node: yaml.Node, lines: list[str], at: Path) -> dict[str, Any]:
    value = _value(node)
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style and at.name not in NOT_OPENED:
        properties = {
            key.value: _schema_of(child, lines, at / key.value) | _annotation(lines[key.start_mark.line])
            for key, child in node.value
        }
        return {"type": "object", "additionalProperties": False, "properties": properties}
    return {} if value is None else {"type": TYPES[type(value)]}


def _annotation(line: str) -> dict[str, Any]:
    found = re.search(r"# @schema (\{.*\})$", line)
    annotation: dict[str, Any] = json.loads(found[1]) if found else {}
    return annotation


def _rows(mapping: yaml.MappingNode, lines: list[str], prefix: str) -> list[str]:
    rows = []
    for key, child in mapping.value:
        name, comment = prefix + key.value, _comment(lines, key.start_mark.line)
        if isinstance(child, yaml.MappingNode) and child.value and not child.flow_style and name not in NOT_OPENED:
            rows += [f"| `{name}` | | {comment} |"] if comment else []
            rows += _rows(child, lines, f"{name}.")
        else:
            default = "see values.yaml" if name in NOT_OPENED else f"`{json.dumps(_value(child), ensure_ascii=False)}`"
            rows.append(f"| `{name}` | {default} | {comment} |")
    return rows


def _comment(lines: list[str], line: int) -> str:
    """What stands right above it."""
    above: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        above.insert(0, lines[line].strip().lstrip("# "))
    return " ".join(above).replace("|", "\\|")


def _value(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_document(node)


def _plain(schema: Any) -> Any:
    """Without what only describes: titles, defaults, and a format that Helm does not know."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(child) for name, child in value.items()}
        if key in ("properties", "definitions")
        else _plain(value)
        for key, value in schema.items()
        if key not in ("title", "default", "description") and (key, value) != ("format", "path")
    }


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema(), "utf-8")
    (CHART / "README.md").write_text(readme(), "utf-8")
