"""From nearly JSON to JSON, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_response_healing import is_json
from router_response_healing.repair import close, heal

TEXTS = st.text(st.characters(codec="utf-8"))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(LEAVES, lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXTS, each, max_size=4))
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(TEXTS, VALUES, max_size=4)
WRITTEN = st.tuples(CONTAINERS, st.booleans(), st.sampled_from([None, 2])).map(
    lambda each: json.dumps(each[0], ensure_ascii=each[1], indent=each[2])
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@given(VALUES)
def test_json_is_known_as_json(value: Any) -> None:
    assert is_json(json.dumps(value))


@given(WRITTEN, st.data())
def test_any_beginning_of_json_becomes_json_without_anything_new(text: str, data: st.DataObject) -> None:
    beginning = text[: data.draw(st.integers(1, len(text)))]

    healed = heal(beginning)

    assert healed is not None
    assert is_beginning(json.loads(healed), json.loads(text))


def is_beginning(part: Any, whole: Any) -> bool:
    """Is it the same up to some place, and nothing behind?"""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_beginning(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) <= len(whole) and all(map(is_beginning, part, whole))
    if isinstance(part, str):
        return isinstance(whole, str) and whole.startswith(part)
    # a number that was cut is another one
    return part == whole or (type(part) in (int, float) and type(whole) in (int, float))


@given(WRITTEN)
def test_json_in_a_fence_comes_out_as_it_was(text: str) -> None:
    assert heal(f"Here you are:\n```json\n{text}\n```\nAnything else?") == text


@given(st.text())
def test_whatever_comes_the_result_is_json(text: str) -> None:
    healed = heal(text)

    assert healed is None or is_json(healed)


@given(st.text())
def test_only_beginnings_are_closed(text: str) -> None:
    closed = close("{" + text)

    assert closed is None or is_json(closed)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "Ann", "age": 30', {"name": "Ann", "age": 30}),
        ('{"name": "Ann", "age": 30,}', {"name": "Ann", "age": 30}),
        ('{name: "Ann", age: 30}', {"name": "Ann", "age": 30}),
        ("{'name': 'Ann', 'old': True, 'left': None}", {"name": "Ann", "old": True, "left": None}),
        ('Sure! {"name": "Ann"}\nIs that right?', {"name": "Ann"}),
        ('The field {name} of [it] is\n{"name": "Ann"}', {"name": "Ann"}),
        ('<think>{"x": 1}</think>{"y": 2}', {"y": 2}),
        ('```json\n{"code": "```py\\nx\\n```", "ok": true}\n```', {"code": "```py\nx\n```", "ok": True}),
        ('```json\n{"list": [1, 2,\n```', {"list": [1, 2]}),
        ('{"text": "two\nlines"}', {"text": "two\nlines"}),
        ('{"text": "she said "no" twice"}', {"text": 'she said "no" twice'}),
        ('{"a": 1, "b": nul', {"a": 1, "b": None}),
        ('{"a": "\\ud83d', {"a": ""}),
        ('{"a": [{"b": 1}, {"c": "cu', {"a": [{"b": 1}, {"c": "cu"}]}),
    ],
)
def test_what_models_write(text: str, value: Any) -> None:
    healed = heal(text)

    assert healed is not None
    assert json.loads(healed) == value


@pytest.mark.parametrize("text", ["I cannot do that.", "", "```\n```", "{x}", "[as said]"])
def test_where_there_is_no_json_none_is_made_up(text: str) -> None:
    assert heal(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Ann: {"name": "Ann", "age": 30}', {"name": "Ann", "age": 30}),
        ('Not {"name": "Ann"} but {"name": "Bo", "age": 3}', {"name": "Bo", "age": 3}),
        ('{"name": "Ann", "age": "30",}', {"name": "Ann", "age": 30}),
        ('```{"name": "Ann", "age": "30"}```', {"name": "Ann", "age": 30}),
        ('{"name": "Ann", "age": 30, "more": tru', {"name": "Ann", "age": 30}),
    ],
)
def test_what_is_healed_fits_the_schema(text: str, value: Any) -> None:
    healed = heal(text, PERSON)

    assert healed is not None
    assert json.loads(healed) == value


@pytest.mark.parametrize("text", ['{"name": "Ann"', '{"age": 3,}', "Ann is 30."])
def test_nothing_is_made_that_the_schema_does_not_allow(text: str) -> None:
    assert heal(text, PERSON) is None


@pytest.mark.parametrize(
    "schema", [{"$ref": "http://127.0.0.1:1/schema"}, {"$ref": "#/$defs/none"}, {"type": "nothing"}]
)
def test_schemas_that_are_none_fit_nothing_and_nothing_is_fetched(schema: Any) -> None:
    assert heal('{"a": 1,}', schema) is None


def test_a_number_keeps_its_digits() -> None:
    text = '{"a": 12345678901234567890.12345678901234567890}'

    assert heal(f"It is {text}") == text
