"""Schemas in Google's own kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from router_gemini.schema import MAX_SCHEMAS, clean

ALLOWED = {
    "type",
    "format",
    "description",
    "nullable",
    "enum",
    "items",
    "properties",
    "required",
    "anyOf",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "pattern",
}


def member(schema: Any, **root: Any) -> Any:
    """What becomes of a schema as a member of an object."""
    cleaned = clean({"type": "object", "properties": {"x": schema}, **root})
    assert cleaned is not None
    return cleaned["properties"]["x"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "title": "T", "default": "d", "examples": ["e"]}, {"type": "STRING"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["integer", "string"]}, {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}),
        (
            {"oneOf": [{"type": "string"}, {"type": "number"}], "description": "either"},
            {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}], "description": "either"},
        ),
        ({"const": "on"}, {"type": "STRING", "enum": ["on"]}),
        ({"type": "integer", "enum": [1, 2, None]}, {"type": "STRING", "enum": ["1", "2"], "nullable": True}),
        ({"enum": [True, False]}, {"type": "STRING", "enum": ["true", "false"]}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "email"}, {"type": "STRING"}),
        (
            {"type": "number", "minimum": 0, "exclusiveMaximum": 9, "multipleOf": 2},
            {"type": "NUMBER", "minimum": 0},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 3},
            {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": 3},
        ),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        (
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
            {"type": "ARRAY", "items": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}},
        ),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}], "description": "both"},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"], "description": "both"},
        ),
        (
            {"properties": {"a": {"type": "string"}}, "required": ["a", "gone"], "additionalProperties": False},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]},
        ),
        ({"type": "object", "patternProperties": {"^x": {}}, "propertyNames": {}}, {"type": "OBJECT"}),
        (True, {"type": "OBJECT"}),
    ],
)
def test_one_keyword_at_a_time(schema: Any, expected: dict[str, Any]) -> None:
    assert member(schema) == expected


def test_members_called_like_keywords_stay() -> None:
    cleaned = clean({"type": "object", "properties": {"title": {"type": "string"}, "default": {"type": "integer"}}})

    assert cleaned is not None
    assert cleaned["properties"] == {"title": {"type": "STRING"}, "default": {"type": "INTEGER"}}


def test_references_are_put_in_place() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}}}

    found = member({"$ref": "#/$defs/a~1b", "description": "where"}, **{"$defs": {"a/b": point}})

    assert found == {"type": "OBJECT", "properties": {"x": {"type": "NUMBER"}}, "description": "where"}


def test_a_reference_to_itself_ends_in_an_object() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}

    found = member({"$ref": "#/$defs/node"}, **{"$defs": {"node": node}})

    assert found["properties"] == {"next": {"type": "OBJECT"}, "name": {"type": "STRING"}}


@pytest.mark.parametrize("reference", ["#/$defs/none", "https://example.com/schema", "#/properties/0/x", "", "#/"])
def test_a_reference_to_nothing_is_an_object(reference: str) -> None:
    assert member({"$ref": reference}) == {"type": "OBJECT"}


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}, None, [], "x"])
def test_an_empty_object_is_left_out(schema: Any) -> None:
    assert clean(schema) is None


def test_references_that_multiply_stay_small() -> None:
    names = [f"d{n}" for n in range(40)]
    defs: dict[str, Any] = {"d40": {"type": "string"}}
    for n, name in enumerate(names):
        again = {"$ref": f"#/$defs/d{n + 1}"}
        defs[name] = {"type": "object", "properties": {"a": again, "b": again, "c": again}}

    found = member({"$ref": "#/$defs/d0"}, **{"$defs": defs})

    assert count(found) < 4 * MAX_SCHEMAS


def test_all_of_that_leads_in_a_circle_ends() -> None:
    defs = {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}

    assert member({"allOf": [{"$ref": "#/$defs/a"}]}, **{"$defs": defs}) == {"type": "OBJECT"}


def count(schema: Any) -> int:
    inner = [
        *schema.get("properties", {}).values(),
        *schema.get("anyOf", []),
        *([schema["items"]] if "items" in schema else []),
    ]
    return 1 + sum(count(each) for each in inner)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null", "any", 3])
NAMES = st.sampled_from(["a", "b", "type", "items", "properties", "$ref", "required"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Anything that looks a little like a schema."""
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, max_size=3),
        "properties": st.dictionaries(NAMES, inner, max_size=3) | JSON,
        "required": st.lists(NAMES, max_size=3) | JSON,
        "items": inner | st.lists(inner, max_size=2),
        "prefixItems": st.lists(inner, max_size=2) | JSON,
        "anyOf": st.lists(inner, max_size=3) | JSON,
        "oneOf": st.lists(inner, max_size=2) | JSON,
        "allOf": st.lists(inner, max_size=2) | JSON,
        "$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/x", "#/anyOf/0"]) | JSON,
        "$defs": st.dictionaries(st.just("x"), inner, max_size=1),
        "enum": st.lists(JSON, max_size=3) | JSON,
        "const": JSON,
        "format": st.sampled_from(["date-time", "int32", "float", "uuid"]) | JSON,
        "description": st.text(max_size=3) | JSON,
        "nullable": JSON,
        "minimum": JSON,
        "maxItems": JSON,
        "pattern": JSON,
        "additionalProperties": inner | JSON,
        "default": JSON,
        "title": JSON,
    }
    return st.fixed_dictionaries({}, optional=keywords)


SCHEMAS = st.recursive(JSON, schemas, max_leaves=12)


@given(SCHEMAS)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_in_google_takes_what_comes_out(schema: Any) -> None:
    cleaned = clean(schema)

    if cleaned is not None:
        check(cleaned)


@given(SCHEMAS)
@settings(max_examples=60, deadline=None)
def test_what_is_clean_stays_as_it_is(schema: Any) -> None:
    cleaned = clean(schema)

    if cleaned is not None:
        assert clean(cleaned) == cleaned


def check(schema: dict[str, Any]) -> None:
    """The rules of Google's schemas that lead to 400 when broken."""
    assert set(schema) <= ALLOWED
    assert ("type" in schema) != ("anyOf" in schema)
    assert schema.get("type", "STRING") in {"STRING", "INTEGER", "NUMBER", "BOOLEAN", "ARRAY", "OBJECT"}
    assert ("items" in schema) == (schema.get("type") == "ARRAY")
    if "enum" in schema:
        assert schema["type"] == "STRING"
        assert schema["enum"]
        assert all(isinstance(each, str) for each in schema["enum"])
    assert set(schema.get("required", [])) <= set(schema.get("properties", {}))
    for inner in (*schema.get("properties", {}).values(), *schema.get("anyOf", [])):
        check(inner)
    if "items" in schema:
        check(schema["items"])
