"""An instance fits its schema: jsonschema says so."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from router_echo.instances import FORMATS, Unfit, instance

#: formats that jsonschema checks without further packages
CHECKED = ["date", "email", "idn-email", "ipv4", "ipv6", "regex", "uuid"]


def check(schema: Any) -> Any:
    """The instance, which must fit and always be the same."""
    made = instance(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(made)
    assert instance(schema) == made
    return made


# --- laws ------------------------------------------------------------------------------------------------------------

NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
VALUES = st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=5)
HUNDREDTHS = st.integers(-10_000, 10_000).map(lambda number: number / 100)


def ranged(kind: str, least: str, most: str, top: int) -> st.SearchStrategy[dict[str, Any]]:
    """A type with two lengths."""
    pair = st.tuples(st.integers(0, top), st.integers(0, top)).map(sorted)
    return pair.map(lambda ends: {"type": kind, least: ends[0], most: ends[1]})


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    """Integers and numbers between bounds that leave room."""
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(HUNDREDTHS)
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + 20
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 3, 0.5, 0.25]))
    return schema


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Objects with some required properties."""
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Arrays of few items."""
    schema = draw(ranged("array", "minItems", "maxItems", 4))
    schema["items"] = draw(inner)
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inner, max_size=2))
    return schema


LEAVES = st.one_of(
    ranged("string", "minLength", "maxLength", 12),
    st.sampled_from([*CHECKED]).map(lambda name: {"type": "string", "format": name}),
    st.sampled_from(["^[a-z]{2,5}$", r"^\d{3}-\d{4}$", "^(yes|no)$", r"^[^@\s]+@[^@\s]+$", r"^v\d+(\.\d+)*$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    numbers(),
    st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["null", "integer"]}, {}, True]),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | arrays(inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
        | inner.map(lambda schema: {"allOf": [schema, True]})
        | inner.map(lambda schema: {"$ref": "#/$defs/it", "$defs": {"it": schema}} if schema is not True else schema)
    ),
    max_leaves=8,
)


@given(SCHEMAS.filter(lambda schema: "$ref" not in repr(schema)))
@settings(max_examples=200, deadline=None)
def test_an_instance_fits_its_schema(schema: Any) -> None:
    check(schema)


@given(LEAVES, objects(LEAVES))
@settings(max_examples=50, deadline=None)
def test_references_are_followed(leaf: Any, inner: dict[str, Any]) -> None:
    check(
        {
            "type": "object",
            "properties": {
                "one": {"$ref": "#/$defs/leaf"},
                "many": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}},
            },
            "required": ["one", "many"],
            "$defs": {"leaf": leaf, "a/b": inner},
        }
    )


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner), max_leaves=20))
@settings(max_examples=200, deadline=None)
def test_anything_at_all_is_an_instance_or_a_refusal(nonsense: Any) -> None:
    words = [
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "allOf",
        "enum",
        "minLength",
        "minimum",
        "$ref",
        "pattern",
    ]
    for word in words:
        with suppress(Unfit):
            instance({word: nonsense})


# --- examples --------------------------------------------------------------------------------------------------------


def test_properties_say_their_names() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}

    assert check(schema) == {"city": "city", "days": 1}


def test_a_recursive_schema_comes_to_an_end() -> None:
    schema = {
        "type": "object",
        "properties": {
            "value": {"type": "integer"},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "children": {"type": "array", "items": {"$ref": "#"}},
        },
        "required": ["value", "next", "children"],
        "additionalProperties": False,
    }

    assert check(schema) == {"value": 1, "next": None, "children": []}


def test_an_optional_value_is_not_null_where_it_can_be_something() -> None:
    assert check({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 7}]}) == 8 - 1


def test_a_union_told_apart_by_a_constant() -> None:
    cat = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
    dog = {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]}

    assert check({"oneOf": [cat, dog], "discriminator": {"propertyName": "kind"}}) == {"kind": "cat"}


def test_all_of_several_schemas() -> None:
    schema = {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string", "minLength": 4}}, "required": ["a"]},
            {"properties": {"a": {"maxLength": 5}, "b": {"type": ["integer", "string"]}}, "required": ["b"]},
            {"properties": {"b": {"type": "number", "minimum": 3}}},
        ]
    }

    assert check(schema) == {"a": "a...", "b": 3}


def test_unique_items_differ() -> None:
    made = check({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3})

    assert made == ["a", "b", "c"]


def test_a_dictionary_of_a_wanted_size() -> None:
    assert check({"type": "object", "additionalProperties": {"type": "boolean"}, "minProperties": 2}) == {
        "key1": True,
        "key2": True,
    }


@pytest.mark.parametrize("format", [name for name in FORMATS if name in Draft202012Validator.FORMAT_CHECKER.checkers])
def test_formats(format: str) -> None:
    made = check({"type": "array", "items": {"type": "string", "format": format}, "minItems": 5, "uniqueItems": True})

    assert len(set(made)) == 5


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (False, "false"),
        ({"$ref": "#"}, "without an end"),
        ({"$ref": "https://example.com/schema.json"}, "outside"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "bounds"),
        ({"type": "string", "enum": [1, 2]}, "enum"),
        ({"type": "fish"}, "fish"),
        ({"type": "string", "minLength": "long"}, "cannot|can be followed"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ],
)
def test_a_schema_without_an_instance_says_why(schema: Any, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        instance(schema)


def deep(levels: int) -> dict[str, Any]:
    """Objects within objects."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


BRANCHES = {f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{other}"} for other in range(12)]} for number in range(12)}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9},
        {"type": "object", "minProperties": 10**9},
        {"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2},
        {"type": "string", "pattern": "((a{999}){999}){999}"},
        {"type": "string", "pattern": "(((((a+)+)+)+)+)+", "minLength": 40_000},
        {"$defs": BRANCHES, "$ref": "#/$defs/d0"},
        {"allOf": [{"anyOf": [{"const": number} for number in range(start, 300)]} for start in range(4)]},
        deep(900),
    ],
    ids=["length", "items", "properties", "unique", "counts", "nested", "paths", "pairs", "deep"],
)
def test_a_malicious_schema_is_refused_soon(schema: Any) -> None:
    began = time.perf_counter()

    with pytest.raises(Unfit):
        instance(schema)

    assert time.perf_counter() - began < 2
