"""JSON schemas in the form that Anthropic's structured outputs take.

They want every object closed, know no recursion and no limits on numbers, texts and lists; a limit that is taken out is told to the
model in the description instead. https://platform.claude.com/docs/en/build-with-claude/structured-outputs, seen in November 2026.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

_decode = msgspec.json.Decoder().decode

#: kept as they are
_KEPT = frozenset({"type", "title", "description", "enum", "const", "default", "required", "$ref"})
#: one schema or several below these
_NESTED = ("items", "anyOf", "allOf")
_NAMED = ("properties", "$defs", "definitions")
#: not at the top of a tool's input
_CHOICES = ("anyOf", "oneOf", "allOf")
#: cannot be said in another way
_BEYOND = frozenset(
    {
        "patternProperties",
        "prefixItems",
        "not",
        "if",
        "then",
        "else",
        "dependentSchemas",
        "dependentRequired",
        "$dynamicRef",
    }
)
#: kept with these values alone
_LIMITED: dict[str, frozenset[object]] = {
    "format": frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}),
    "minItems": frozenset({0, 1}),
}


class Beyond(Exception):
    """The schema says something that structured outputs cannot."""


def structured(schema: Raw) -> dict[str, Any] | None:
    """The schema as `output_config.format` takes it; None where it cannot be expressed."""
    root = _decode(schema)
    if not isinstance(root, dict):
        return None
    try:
        _no_recursion(root)
        return _closed(root)
    except (Beyond, RecursionError):
        return None


def as_object(schema: Raw | None) -> dict[str, Any] | Raw:
    """The schema of a tool's input, which must be an object's: the client's own bytes where it is one already."""
    root = {} if schema is None else _decode(schema)
    if not isinstance(root, dict) or not root:
        return {"type": "object", "properties": {}}
    if any(name in root for name in _CHOICES):
        return _one_object(root)
    return {**root, "type": "object"} if root.get("type") != "object" or schema is None else schema


def _one_object(root: dict[str, Any]) -> dict[str, Any]:
    """Choices at the top, which Anthropic refuses, as one object with the properties of all; required is what all of them require."""
    merged = {name: value for name, value in root.items() if name not in _CHOICES} | {"type": "object"}
    properties: dict[str, Any] = {}
    required: set[str] = set(_list(root.get("required")))
    for name in _CHOICES:
        variants = [each for each in (_resolved(root, each) for each in _list(root.get(name))) if each]
        for variant in variants:
            properties |= variant.get("properties") or {}
        wanted = [set(_list(variant.get("required"))) for variant in variants]
        if wanted:
            required |= set.union(*wanted) if name == "allOf" else set.intersection(*wanted)
    merged["properties"] = properties | (root.get("properties") or {})
    if required:
        merged["required"] = sorted(required)
    return merged


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _resolved(root: dict[str, Any], variant: object) -> dict[str, Any]:
    """A variant itself, or the definition that it names; empty where it is none."""
    if isinstance(variant, dict) and isinstance(variant.get("$ref"), str):
        try:
            variant = _target(root, variant["$ref"])
        except Beyond:
            return {}
    return variant if isinstance(variant, dict) else {}


def _closed(node: object) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise Beyond
    told: dict[str, Any] = {}
    out: dict[str, Any] = {}
    for name, value in node.items():
        if name in _BEYOND:
            raise Beyond
        if name in _KEPT:
            out[name] = value
        elif name in _NAMED:
            out[name] = _all_closed(value)
        elif name in _NESTED:
            out[name] = _nested(value)
        elif name == "oneOf":
            out["anyOf"] = _nested(value)
        elif name in _LIMITED and isinstance(value, str | int) and value in _LIMITED[name]:
            out[name] = value
        elif name not in ("additionalProperties", "discriminator", "$schema", "$id"):
            told[name] = value
    if _is_object(node):
        out["additionalProperties"] = _nothing_else(node)
    if told:
        limits = ", ".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in told.items())
        out["description"] = "\n".join(filter(None, (out.get("description"), f"{{{limits}}}")))
    return out


def _nested(value: object) -> Any:
    return [_closed(each) for each in value] if isinstance(value, list) else _closed(value)


def _all_closed(nodes: object) -> dict[str, Any]:
    if not isinstance(nodes, dict):
        raise Beyond
    return {name: _closed(node) for name, node in nodes.items()}


def _is_object(node: dict[str, Any]) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in node


def _nothing_else(node: dict[str, Any]) -> bool:
    """False, the only value that is taken. Raises Beyond for an object that is open by its meaning."""
    rest = node.get("additionalProperties")
    if isinstance(rest, dict) or (rest is not False and not node.get("properties")):
        raise Beyond
    return False


def _no_recursion(root: dict[str, Any]) -> None:
    """Raise Beyond where a definition leads back to itself, or out of the schema."""

    fine: set[str] = set()

    def follow(node: object, path: tuple[str, ...]) -> None:
        if isinstance(node, list):
            for each in node:
                follow(each, path)
        elif isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str) and reference not in fine:
                if reference in path:
                    raise Beyond
                follow(_target(root, reference), (*path, reference))
                fine.add(reference)
            for name, value in node.items():
                if name not in ("$defs", "definitions", "enum", "const", "default"):
                    follow(value, path)

    follow(root, ("#",))


def _target(root: dict[str, Any], reference: str) -> object:
    if not reference.startswith("#"):
        raise Beyond
    node: Any = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or step not in node:
            raise Beyond
        node = node[step]
    return node
