"""Google's own kind of schema, a part of OpenAPI 3.0, as JSON Schema. JSON Schema itself comes out as it went in."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_ONE = ("items", "additionalProperties", "not")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


def json_schema(raw: Raw) -> Raw:
    """The schema as JSON Schema: types in small letters, `nullable` as a type, members in the order that was asked for."""
    given = _decode(raw)
    converted = _converted(given)
    return raw if converted == given and list(converted) == list(given) else Raw(_encode(converted))


def _converted(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = {name: _member(name, value) for name, value in schema.items()}
    for name, nothing in (("type", None), ("format", "enum")):
        if name in found and found[name] == nothing:
            del found[name]
    order = found.pop("propertyOrdering", None)
    if isinstance(order, list) and isinstance(properties := found.get("properties"), dict):
        named = [name for name in order if isinstance(name, str) and name in properties]
        found["properties"] = {name: properties[name] for name in dict.fromkeys([*named, *properties])}
    if found.pop("nullable", None) is True:
        _allow_null(found)
    return found


def _member(name: str, value: Any) -> Any:
    if name == "type":
        return _type(value)
    if name in _ONE:
        return _converted(value)
    if name in _LISTS and isinstance(value, list):
        return [_converted(each) for each in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: _converted(each) for key, each in value.items()}
    if name in _COUNTS and isinstance(value, str) and value.isdigit():
        return int(value)  # Google's JSON writes numbers of 64 bits as strings
    return value


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return [_type(each) for each in value]
    if not isinstance(value, str):
        return value
    return None if value == "TYPE_UNSPECIFIED" else value.lower()


def _allow_null(schema: dict[str, Any]) -> None:
    if isinstance(schema.get("type"), str) and schema["type"] != "null":
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
