"""JSON schemas for structured outputs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from router_anthropic.schema import as_object, structured


def narrowed(schema: Any) -> dict[str, Any] | None:
    return structured(Raw(json.dumps(schema).encode()))


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def test_a_narrow_schema_stays_as_it_is() -> None:
    schema = closed(
        name={"type": "string", "title": "Name", "description": "d"},
        day={"type": "string", "format": "date"},
        kind={"enum": ["a", "b"]},
        one={"const": 1},
        maybe={"anyOf": [{"type": "string"}, {"type": "null"}]},
        list={"type": "array", "items": {"$ref": "#/$defs/Item"}, "minItems": 1},
    ) | {"required": ["name"], "$defs": {"Item": closed(n={"type": ["integer", "null"]})}}

    assert narrowed(schema) == schema


def test_objects_are_closed() -> None:
    schema = {"type": "object", "properties": {"a": {"properties": {"b": {"type": "string"}}}}}

    assert narrowed(schema) == closed(a={"properties": {"b": {"type": "string"}}, "additionalProperties": False})


def test_limits_are_told_instead() -> None:
    schema = closed(
        n={"type": "integer", "minimum": 1, "maximum": 9, "description": "How many"},
        s={"type": "string", "pattern": "^a", "format": "color"},
        l={"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    )

    properties = (narrowed(schema) or {})["properties"]

    assert properties["n"] == {"type": "integer", "description": "How many\n{minimum: 1, maximum: 9}"}
    assert properties["s"] == {"type": "string", "description": '{pattern: "^a", format: "color"}'}
    assert properties["l"]["description"] == "{minItems: 2, uniqueItems: true}"
    assert "minItems" not in properties["l"]


def test_one_of_is_any_of() -> None:
    schema = {"$schema": "x", "oneOf": [{"type": "string"}, {"type": "null"}], "discriminator": {"propertyName": "k"}}

    assert narrowed(schema) == {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        [],
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array", "items": True},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {"not": {"type": "string"}},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/$defs/None"},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/A", "$defs": {"A": closed(b={"$ref": "#/$defs/B"}), "B": closed(a={"$ref": "#/$defs/A"})}},
        {"properties": [], "type": "object"},
        {"anyOf": 3},
    ],
)
def test_what_structured_outputs_cannot_say(schema: Any) -> None:
    assert narrowed(schema) is None


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (None, {"type": "object", "properties": {}}),
        (True, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        (
            {
                "type": "object",
                "properties": {"c": {}},
                "required": ["c"],
                "oneOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {}, "k": {}}, "required": ["b", "k"]}, 3],
                "$defs": {"A": {"properties": {"a": {}, "k": {}}, "required": ["a", "k"]}},
            },
            {
                "type": "object",
                "properties": {"a": {}, "b": {}, "c": {}, "k": {}},
                "required": ["c", "k"],
                "$defs": {"A": {"properties": {"a": {}, "k": {}}, "required": ["a", "k"]}},
            },
        ),
        (
            {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]},
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
        ),
    ],
)
def test_the_input_of_a_tool_is_one_object(schema: Any, sent: dict[str, Any]) -> None:
    raw = None if schema is None else Raw(json.dumps(schema).encode())

    made = as_object(raw)

    assert made == sent


def test_a_schema_that_is_an_objects_keeps_its_bytes() -> None:
    raw = Raw(b'{ "type" : "object" }')

    assert as_object(raw) is raw


def test_many_paths_to_one_definition_are_followed_once() -> None:
    definitions: dict[str, Any] = {"D0": {"type": "string"}}
    for number in range(1, 60):
        definitions[f"D{number}"] = closed(a={"$ref": f"#/$defs/D{number - 1}"}, b={"$ref": f"#/$defs/D{number - 1}"})

    assert narrowed({"$ref": "#/$defs/D59", "$defs": definitions}) is not None
