# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON schemas, checked with a validator of exactly the keywords they use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import files
from lab.spec.schema import schemas

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
SILENT = {"title", "description", "default", "$schema", "$id", "$defs"}


def errors(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for keyword, rule in schema.items():
        match keyword:
            case "$ref":
                found += errors(value, root["$defs"][rule.removeprefix("#/$defs/")], root)
            case "type":
                right = isinstance(value, TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool))
                found += [] if right else [f"{value!r} is no {rule}"]
            case "anyOf":
                found += [] if any(not errors(value, one, root) for one in rule) else [f"{value!r} fits none"]
            case "enum":
                found += [] if value in rule else [f"{value!r} not in {rule}"]
            case "required":
                found += [f"{key} missing" for key in rule if key not in value]
            case "properties":
                for key in rule.keys() & value.keys():
                    found += errors(value[key], rule[key], root)
            case "patternProperties":
                for pattern, one in rule.items():
                    for key in value:
                        found += errors(value[key], one, root) if re.search(pattern, key) else []
            case "propertyNames":
                found += [problem for key in value for problem in errors(key, rule, root)]
            case "additionalProperties":
                extra = value.keys() - schema.get("properties", {}).keys()
                if rule is False:
                    found += [f"{key} unknown" for key in extra]
                elif rule is not True:
                    found += [problem for key in extra for problem in errors(value[key], rule, root)]
            case "items":
                found += [problem for item in value for problem in errors(item, rule, root)]
            case "minItems":
                found += [] if len(value) >= rule else ["too few"]
            case "maxItems" | "maxProperties":
                found += [] if len(value) <= rule else ["too many"]
            case "maxLength":
                found += [] if len(value) <= rule else ["too long"]
            case "pattern":
                found += [] if re.search(rule, value) else [f"{value!r} against {rule}"]
            case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
                sign = 1 if "inimum" in keyword else -1
                distance = (value - rule) * sign
                found += (
                    []
                    if distance > 0 or (distance == 0 and "ex" not in keyword)
                    else [f"{value} out of range"]
                )
            case _:
                assert keyword in SILENT, f"this test does not know the keyword {keyword}"
    return found


def kind_of(path: Path) -> str:
    if path.parent.name == "machines":
        return "machine"
    if path.parent.name == "regressions":
        return "regression"
    return "answer" if path.name == "answer.yaml" else "case"


def shipped() -> list[Any]:
    root = files.shipped("testcases")
    return [
        pytest.param(path, kind_of(path), id=str(path.relative_to(root)))
        for path in sorted(root.glob("*/*.yaml"))
    ]


@pytest.mark.parametrize(("path", "kind"), shipped())
def test_every_shipped_file_fits_its_schema(path, kind):
    """What the lab ships is what its schemas allow."""
    schema = schemas()[kind]
    assert errors(yaml.safe_load(path.read_text()), schema, schema) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"title": "t", "question": "q", "machines": []},
        {"title": 5, "question": "q", "machines": ["a"]},
        {"title": "t", "question": "q", "machines": ["a"], "extra": 1},
        {"title": "t", "question": "q", "machines": ["a"], "timeout": 0},
        {"title": "t", "question": "q", "machines": ["a"], "metrics": {"a": {"title": "t", "unit": "m"}}},
    ],
)
def test_wrong_data_does_not_fit(data):
    """The schema refuses what the loader refuses."""
    schema = schemas()["case"]
    assert errors(data, schema, schema)


def test_schemas_say_who_they_are():
    """Editors need draft, id and title."""
    for kind, schema in schemas().items():
        assert (schema["$id"], schema["title"]) == (f"urn:faultlab:{kind}", f"faultlab {kind}")
        assert schema["$schema"].endswith("2020-12/schema")
