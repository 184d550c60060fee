"""A value that fits a JSON schema: complete, small, and always the same one.

Covers the words of structured outputs: types, properties, items, enum, const, anyOf, oneOf, allOf, $ref (also recursive),
bounds, lengths, pattern and format. What it does not know (`not`, `if`, `contains`, …) it passes over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

from .patterns import PatternError, matching

#: words of schemas visited and characters made, at most: the schema comes from a client, the work is done in the server's loop
MOST_STEPS = 50_000
#: alternatives that come of two lists of alternatives, at most
MOST_PAIRS = 1000
#: objects deeper than this get their required properties only
DEEP = 4

#: `{n}` counts from 0 and `{m}` from 1 where several different ones are needed
FORMATS = {
    "date-time": "2026-01-02T03:04:{n:02}Z",
    "date": "2026-01-{m:02}",
    "time": "03:04:{n:02}Z",
    "duration": "P{m}D",
    "email": "echo{n}@example.com",
    "idn-email": "echo{n}@example.com",
    "hostname": "echo{n}.example.com",
    "idn-hostname": "echo{n}.example.com",
    "ipv4": "192.0.2.{m}",
    "ipv6": "2001:db8::{m:x}",
    "uuid": "00000000-0000-4000-8000-{n:012x}",
    "uri": "https://example.com/{n}",
    "uri-reference": "/{n}",
    "iri": "https://example.com/{n}",
    "iri-reference": "/{n}",
    "uri-template": "/{n}",
    "json-pointer": "/{n}",
    "relative-json-pointer": "{n}",
    "regex": "echo{n}",
}


class Unfit(Exception):
    """No value can be made for the schema; the message says why."""


class TooLarge(Exception):
    """The schema asks for more than is made here."""


def instance(schema: Any, name: str = "value") -> Any:
    """A value that fits `schema` (decoded JSON). Free texts say `name` or the name of their property. Raises Unfit."""
    for complete in (True, False):
        try:
            return _Maker(schema, complete).make(schema, name, 0, 0)
        except PatternError as error:
            raise Unfit(str(error)) from error
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            # It comes from a client: anything may stand where a number, a text or a list belongs.
            raise Unfit(f"it is not a JSON schema that can be followed ({type(error).__name__})") from error
        except TooLarge as error:
            if not complete:
                raise Unfit(str(error)) from error
    raise AssertionError("unreachable")


class _Maker:
    """One walk through a schema. `complete`: optional properties and items are made too."""

    def __init__(self, root: Any, complete: bool) -> None:
        self._root = root
        self._complete = complete
        self._left = MOST_STEPS
        #: the references that lead to where we are: entering one again would not end
        self._open: list[str] = ["#"]

    def make(self, schema: Any, name: str, nth: int, depth: int) -> Any:
        """A value; a different one for each `nth`, where the schema has so many."""
        self._spend(1)
        if schema is True:
            return name
        entered = len(self._open)
        try:
            return self._value(self._plain(schema, ()), name, nth, depth)
        finally:
            del self._open[entered:]

    def _value(self, schema: dict[str, Any], name: str, nth: int, depth: int) -> Any:
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return self._any(schema, word, name, nth, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _pick(schema, nth)
        match _kind(schema):
            case "object":
                return self._object(schema, nth, depth + 1)
            case "array":
                return self._array(schema, name, nth, depth + 1)
            case "string":
                return self._string(schema, name, nth)
            case "integer":
                return _number(schema, nth, whole=True)
            case "number":
                return _number(schema, nth, whole=False)
            case "boolean":
                return nth % 2 == 0
            case "null":
                return None
            case other:
                raise Unfit(f"{other!r} is no type of JSON schema")

    def _any(self, schema: dict[str, Any], word: str, name: str, nth: int, depth: int) -> Any:
        """The first alternative that comes to an end; a plain null only if nothing else does."""
        rest = {key: value for key, value in schema.items() if key != word}
        branches = _schemas(schema[word], word)
        problem = Unfit(f"{word} is empty")
        for branch in sorted(branches, key=lambda each: each == {"type": "null"}):
            try:
                return self.make(_both(rest, branch), name, nth, depth)
            except Unfit as error:
                problem = error
        raise problem

    # --- references ---

    def _plain(self, schema: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """The schema with `$ref` and `allOf` written out."""
        self._spend(1)
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise Unfit("nothing fits the schema `false`" if schema is False else f"{schema!r} is not a schema")
        self._spend(len(schema))
        while "$ref" in schema:
            reference = schema["$ref"]
            if reference in self._open or reference in path:
                raise Unfit(f"{reference} holds itself without an end")
            path = (*path, reference)
            others = {key: value for key, value in schema.items() if key != "$ref"}
            target = self._resolve(reference)
            schema = _both(target, others) if others or not isinstance(target, dict) else target
        self._open.extend(path)
        if "allOf" in schema:
            parts = _schemas(schema["allOf"], "allOf")
            schema = {key: value for key, value in schema.items() if key != "allOf"}
            for part in parts:
                before = len(self._open)
                schema = _both(schema, self._plain(part, ()))
                self._open, inner = self._open[:before], self._open[before:]
                path = (*path, *inner)
            self._open.extend(path)
        return dict(schema)

    def _resolve(self, reference: Any) -> Any:
        """What a JSON pointer into the same document names."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unfit(f"$ref {reference!r} leads outside of the schema")
        target = self._root
        for step in reference[1:].split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdigit() and int(step) < len(target):
                target = target[int(step)]
            else:
                raise Unfit(f"$ref {reference!r} leads nowhere")
        if reference != "#" and not reference.startswith("#/"):
            raise Unfit(f"$ref {reference!r} leads nowhere")
        return target

    # --- objects and arrays ---

    def _object(self, schema: dict[str, Any], nth: int, depth: int) -> dict[str, Any]:
        properties = _mapping(schema, "properties")
        required = schema.get("required", [])
        others = schema.get("additionalProperties", True)
        self._spend(schema.get("minProperties", 0))
        room = schema.get("maxProperties", math.inf) - len(required)
        value: dict[str, Any] = {}
        for name, inner in properties.items():
            if name in required:
                value[name] = self.make(inner, name, nth, depth)
            elif self._complete and depth < DEEP and room > 0:
                room -= 1
                try:
                    value[name] = self.make(inner, name, nth, depth)
                except Unfit:
                    continue  # it may stay away
        missing = [name for name in required if name not in value]
        missing += [f"key{number}" for number in range(1, schema.get("minProperties", 0) + 1)]
        for name in missing:
            if name in required or len(value) < schema.get("minProperties", 0):
                value[name] = self.make(properties.get(name, others), name, nth, depth)
        return value

    def _array(self, schema: dict[str, Any], name: str, nth: int, depth: int) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        self._spend(least)
        first = schema.get("prefixItems", [])
        rest: Any = schema.get("items", True)
        if isinstance(rest, list):  # the way of draft 7
            first, rest = rest, schema.get("additionalItems", True)
        wanted = max(least, min(1, most) if self._complete and depth < DEEP else 0)
        if "prefixItems" in schema or isinstance(schema.get("items"), list):
            wanted = max(least, min(len(first), most))
        value: list[Any] = []
        number = nth
        while len(value) < wanted:
            try:
                item = self.make(first[len(value)] if len(value) < len(first) else rest, name, number, depth)
            except Unfit:
                if len(value) < least:
                    raise
                break
            number += 1
            if not schema.get("uniqueItems") or not any(_same(item, other) for other in value):
                value.append(item)
        return value

    # --- texts ---

    def _string(self, schema: dict[str, Any], name: str, nth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        self._spend(least)
        if "pattern" in schema:
            return matching(schema["pattern"], least, most)
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]].format(n=nth % 60, m=nth % 28 + 1)
        text = f"{name}{nth + 1}" if nth else name
        return text.ljust(least, ".")[:most]

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooLarge("the schema asks for a larger value than is made here")


# --- numbers ---------------------------------------------------------------------------------------------------------


def _number(schema: dict[str, Any], nth: int, *, whole: bool) -> int | float:
    """A number within the bounds, on a multiple of the step where there is one; `nth` counts upwards from the first."""
    low, above = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, below = _bound(schema, "maximum", "exclusiveMaximum", min)
    step = Fraction(str(schema["multipleOf"])) if schema.get("multipleOf") else None
    if whole:
        step = Fraction(step.numerator) if step else Fraction(1)
    if step is None:
        found = _between(low, high, nth)
    elif low is not None:
        found = (math.ceil(low / step) + (above and low % step == 0) + nth) * step
    elif high is not None:
        found = (math.floor(high / step) - (below and high % step == 0) - nth) * step
    else:
        found = (nth + 1) * step
    if (low is not None and (found < low or (above and found == low))) or (
        high is not None and (found > high or (below and found == high))
    ):
        raise Unfit("no number lies between the bounds of the schema")
    return int(found) if found.denominator == 1 else float(found)


def _between(low: Fraction | None, high: Fraction | None, nth: int) -> Fraction:
    if low is not None and high is not None:
        return low + (high - low) / (2 + nth)
    if low is not None:
        return low + 1 + nth
    if high is not None:
        return high - 1 - nth
    return Fraction(1 + nth)


def _bound(schema: dict[str, Any], word: str, exclusive: str, tighter: Any) -> tuple[Fraction | None, bool]:
    """The bound and whether it is outside itself. `exclusive` is a number, or true beside `word` (draft 4, OpenAPI 3.0)."""
    inner = Fraction(str(schema[word])) if word in schema else None
    outer = schema.get(exclusive)
    if outer is True:
        return inner, True
    if outer is None or outer is False:
        return inner, False
    limit = Fraction(str(outer))
    if inner is None or tighter(inner, limit) == limit:
        return limit, True
    return inner, False


# --- words of schemas ------------------------------------------------------------------------------------------------

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}
#: which words betray the type where none is given
_HINTS = (
    ("object", ("properties", "required", "additionalProperties", "minProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def _kind(schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        if not kind:
            raise Unfit("nothing fits an empty list of types")
        return next((each for each in kind if each != "null"), "null")
    if kind is not None:
        return kind
    return next((kind for kind, words in _HINTS if any(word in schema for word in words)), "string")


def _pick(schema: dict[str, Any], nth: int) -> Any:
    """One of the values of `enum` that fit the type."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    values = [value for value in schema["enum"] if not kinds or any(_is(value, kind) for kind in kinds)]
    if not values:
        raise Unfit("no value of enum fits the rest of the schema")
    return values[nth % len(values)]


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or value == int(value))
    return isinstance(value, _TYPES.get(kind, ()))


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _schemas(value: Any, word: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise Unfit(f"{word} must be a list of schemas")
    return value


def _mapping(schema: dict[str, Any], word: str) -> dict[str, Any]:
    value = schema.get(word, {})
    if not isinstance(value, dict):
        raise Unfit(f"{word} must be an object")
    return value


# --- both at once ----------------------------------------------------------------------------------------------------

_LEAST = frozenset({"minimum", "minLength", "minItems", "minProperties"})
_MOST = frozenset({"maximum", "maxLength", "maxItems", "maxProperties"})


def _both(one: Any, other: Any) -> Any:
    """A schema that only fits what fits both."""
    if one is True or other is True:
        return other if one is True else one
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    merged = dict(one)
    for word, value in other.items():
        merged[word] = _joined(word, merged[word], value) if word in merged and merged[word] != value else value
    return merged


def _joined(word: str, one: Any, other: Any) -> Any:
    """What both values of one word come to."""
    if word in _LEAST:
        return max(one, other)
    if word in _MOST:
        return min(one, other)
    match word:
        case "properties":
            return {**one, **{name: _both(one[name], inner) if name in one else inner for name, inner in other.items()}}
        case "required":
            return [*one, *(name for name in other if name not in one)]
        case "enum":
            return [value for value in one if any(_same(value, each) for each in other)]
        case "type":
            return _types(one, other)
        case "items" | "additionalProperties":
            return {"allOf": [one, other]}
        case "allOf":
            return [*one, *other]
        case "anyOf" | "oneOf":
            if len(one) * len(other) > MOST_PAIRS:
                raise Unfit(f"the schema has too many combinations of {word}")
            return [{"allOf": [first, second]} for first in one for second in other]
    return other


def _types(one: Any, other: Any) -> list[str]:
    ones = {one} if isinstance(one, str) else set(one)
    others = {other} if isinstance(other, str) else set(other)
    common = ones & others
    if "integer" in ones | others and "number" in ones | others:
        common.add("integer")
    return sorted(common)
